"""The deterministic sampler against closed forms, and its orders of convergence."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from companion.errors import InputError
from companion.exact.mixtures import isotropic_mixture
from companion.forward import log_snr_levels, noise_of
from derivations.kit.pushed_forward import euler, heun
from derivations.kit.sampling import deterministic, start

PAIR = isotropic_mixture([[-1.0], [1.0]], 0.4)
NOISE = start(64, (1,), 0).double()


def test_a_gaussian_class_is_scaled_by_every_step():
    levels = log_snr_levels(6, -5.0, 4.0)
    sigma = [*noise_of(levels).tolist(), 0.0]
    factor = sigma[0]
    for now, following in pairwise(sigma):
        factor *= (0.16 + now * following) / (0.16 + now**2)
    alone = isotropic_mixture([[0.0], [0.0]], 0.4)
    torch.testing.assert_close(deterministic(alone, NOISE, None, levels), factor * NOISE, rtol=1e-12, atol=1e-12)


def test_a_sample_does_not_depend_on_its_company_or_on_other_conditions():
    labels, levels = torch.arange(64) % 2, log_snr_levels(8, -6.0, 6.0)
    together = deterministic(PAIR, NOISE, labels, levels)
    torch.testing.assert_close(together[5:6], deterministic(PAIR, NOISE[5:6], labels[5:6], levels))
    assert bool(((together[:, 0] > 0.0) == (labels == 1)).double().mean() > 0.9)


@pytest.mark.parametrize(("step", "order"), [(euler, 1), (heun, 2)])
def test_steps_have_their_orders(step, order):
    """Between levels where the last step to zero is the same for all: halving the steps divides what is missed."""
    fine = deterministic(PAIR, NOISE, None, log_snr_levels(1025, -6.0, 6.0), step)
    missed = [
        float((deterministic(PAIR, NOISE, None, log_snr_levels(count, -6.0, 6.0), step) - fine).square().mean().sqrt())
        for count in (65, 129)
    ]
    assert missed[0] / missed[1] == pytest.approx(2.0**order, rel=0.25)


def test_levels_that_do_not_increase_are_refused():
    with pytest.raises(InputError, match="log_snr"):
        deterministic(PAIR, NOISE, None, np.array([1.0, 0.0]))
