"""Reverse paths against densities and kernels."""

import numpy as np
import pytest
import torch
from scipy import stats

from companion.errors import InputError
from companion.exact.mixtures import isotropic_mixture
from companion.forward import noise_of
from derivations.kit.reverse_paths import reverse_paths

LEVELS = np.array([-4.0, -1.0, 0.5, 2.0, 5.0])
COUNT = 20_000
MIXTURE = isotropic_mixture([[-1.0], [0.5]], [0.2, 0.6], [0.3, 0.7])
PATHS, ENDS = reverse_paths(MIXTURE, LEVELS, COUNT, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_states_have_the_density_of_the_process(level):
    widths = np.sqrt(np.array([0.2, 0.6]) ** 2 + float(noise_of(LEVELS[level])) ** 2)
    for k, (mean, width) in enumerate(zip([-1.0, 0.5], widths, strict=True)):
        states = PATHS[level, ENDS.eq(k), 0].numpy()
        assert stats.kstest(states, stats.norm(mean, width).cdf).pvalue > 1e-3  # the seed is fixed


@pytest.mark.parametrize("step", range(len(LEVELS) - 1))
def test_steps_are_those_of_the_reverse_kernel(step):
    """E[x_s | x_t] = D + (sigma_s/sigma_t)^2 (x_t - D) for any step: what is left is orthogonal to functions of x_t."""
    before, after = PATHS[step], PATHS[step + 1]
    sigma, ratio = float(noise_of(LEVELS[step])), float(np.exp(LEVELS[step] - LEVELS[step + 1]))
    denoised = MIXTURE(before, torch.full((COUNT,), sigma, dtype=torch.float64), None)
    left = (after - denoised - ratio * (before - denoised))[:, 0]
    for function in (
        torch.ones_like(left),
        before[:, 0] / sigma,
        torch.tanh(before[:, 0]),
        (before[:, 0] / sigma) ** 2,
    ):
        products = left * function
        assert abs(float(products.mean())) < 4.0 * float(products.std()) / COUNT**0.5


def test_one_path_is_enough():
    paths, classes = reverse_paths(MIXTURE, LEVELS, 1, torch.Generator().manual_seed(0))
    assert paths.shape == (len(LEVELS), 1, 1)
    assert classes.shape == (1,)


def test_bad_input_is_refused():
    for levels in ([1.0, 0.0], [0.0, 0.0], [0.0, np.inf], 0.0):
        with pytest.raises(InputError, match="log_snr is"):
            reverse_paths(MIXTURE, levels, 3, torch.Generator())
    with pytest.raises(InputError, match="count is 0"):
        reverse_paths(MIXTURE, LEVELS, 0, torch.Generator())
