"""The posterior of data noised by the exact chain: calibrated where the model is right, found out where it is not."""

import numpy as np
import pytest
import torch

from companion.denoiser import FunctionDenoiser
from companion.errors import InputError
from companion.estimate.held_out import calibration, log_likelihoods
from companion.estimate.partition import NULL
from companion.forward import log_snr_levels
from companion.theory.mixtures import isotropic_mixture
from companion.theory.quadrature import exact_entropy

THREE = isotropic_mixture([[-2.0, 0.0], [0.0, 1.0], [3.0, 0.0]], [0.5, 1.0, 0.5], [0.5, 0.3, 0.2])
LEVELS = log_snr_levels(256, -7.0, 7.0)


def scaled(factor):
    """THREE with every class's denoiser pushed away from the middle: too sure of itself."""
    return FunctionDenoiser(
        lambda x, sigma, z: factor * THREE(x, sigma, z),
        shape=(2,),
        classes=THREE.classes,
        weights=THREE.weights,
        dtype=torch.float64,
    )


def held_out(model, samples=600, seed=0):
    data, labels = THREE.sample(samples, torch.Generator().manual_seed(seed))
    found = log_likelihoods(model, data, LEVELS, seed + 1)
    return calibration(found, labels.numpy(), LEVELS, THREE.weights)


def test_exact_model_is_calibrated():
    """Gap within 3.5 standard errors at each level (1 in 500 by chance) + 0.005 for the steps, with 600 samples."""
    found = held_out(THREE)
    assert np.all(np.abs(found.gap) <= 3.5 * found.gap_se + 0.005)
    np.testing.assert_allclose(found.gap, found.cross_entropy - found.posterior_entropy, atol=1e-12)


def test_posterior_entropy_is_the_truth():
    """Three deviations of 0.6 / sqrt(600), the largest a posterior's entropy can have, and 0.01 for the steps."""
    found = held_out(THREE)
    error = found.posterior_entropy[::32] - exact_entropy(THREE, LEVELS[::32])
    assert np.all(np.abs(error) <= 3.0 * 0.6 / np.sqrt(600.0) + 0.01)
    data, labels = THREE.sample(600, torch.Generator().manual_seed(0))  # the same as in held_out
    best = THREE.posterior(data, torch.full((600,), np.exp(-3.5), dtype=torch.float64)).argmax(dim=1)
    assert found.accuracy[-1] == pytest.approx(float((best == labels).double().mean()), abs=0.03)


@pytest.mark.parametrize("factor", [1.5, 0.6])
def test_wrong_model_is_found_out(factor):
    found = held_out(scaled(factor))
    assert np.max(np.abs(found.gap) - 3.5 * found.gap_se) > 0.02


def test_likelihood_ratio_of_points_is_exact():
    """Points: D is constant, log p(path | z) = mu_z . y - |mu_z|^2 snr / 2, and its law over the noise is known."""
    points = isotropic_mixture([[-1.0, 0.0], [1.0, 2.0]], 0.0)
    levels = log_snr_levels(5, -3.0, 2.0)
    data = torch.tensor([[1.0, 2.0]], dtype=torch.float64).expand(4000, 2)
    found = log_likelihoods(points, data, levels, 0)
    odds = found[:, :, 1] - found[:, :, 0]
    snr = np.exp(levels)
    distance2 = 8.0  # |mu_1 - mu_0|^2: L ~ N(kappa / 2, kappa), kappa = 8 snr (ES 14)
    error = np.sqrt(distance2 * snr / 4000.0)
    assert np.all(np.abs(odds.mean(axis=0) - 0.5 * distance2 * snr) <= 4.0 * error)
    np.testing.assert_allclose(odds.var(axis=0), distance2 * snr, rtol=0.1)  # 4.5 deviations of sqrt(2 / 4000)


def test_null_branch_and_seed():
    data, _ = THREE.sample(20, torch.Generator().manual_seed(0))
    first = log_likelihoods(THREE, data, [-2.0, 0.0, 2.0], 3, branches=[0, NULL])
    assert first.shape == (20, 3, 2)
    np.testing.assert_array_equal(first, log_likelihoods(THREE, data, [-2.0, 0.0, 2.0], 3, branches=[0, NULL]))
    small = log_likelihoods(THREE, data, [-2.0, 0.0, 2.0], 3, branches=[0, NULL], block=3)
    np.testing.assert_allclose(small, first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "data", [torch.zeros(3, 1), torch.zeros(0, 2), torch.full((3, 2), torch.nan)], ids=["shape", "empty", "nan"]
)
def test_bad_data_is_named(data):
    with pytest.raises(InputError, match=r"finite samples of shape \(2,\)"):
        log_likelihoods(THREE, data, LEVELS)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2, 3], [0, 1, -1], [0, 1, 3]])
def test_labels_that_are_no_classes_are_named(labels):
    with pytest.raises(InputError, match="3 classes from 0 to 2"):
        calibration(np.zeros((3, 2, 3)), labels, [0.0, 1.0], THREE.weights)
