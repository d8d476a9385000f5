"""The law of a sampler without noise: against laws in closed form, by what it must conserve, and by its orders."""

import itertools
import math

import numpy as np
import pytest
import torch

from companion.errors import InputError
from companion.exact.mixtures import full_mixture, isotropic_mixture
from derivations.kit.pushed_forward import (
    back_along_the_flow,
    back_by_steps,
    divergence,
    euler,
    heun,
    log_density,
    runge_kutta,
)

LINE = isotropic_mixture([[-2.0], [0.5], [2.0]], [0.4, 0.6, 0.3], [0.3, 0.4, 0.3], [0, 0, 1])
PLANE = full_mixture(
    [[0.0, 0.0], [1.5, 0.5]], [[[1.0, 0.3], [0.3, 0.5]], [[0.4, -0.1], [-0.1, 0.8]]], [0.4, 0.6]
)  # fmt: skip
TOP, END = 1e4, 0.05


def levels(steps, first=TOP, last=END):
    return np.geomspace(first, last, steps + 1).tolist()


def whole(law):
    return lambda x, sigma: law(x, sigma, None)


def law_of_flow(denoise, sigma):
    return lambda x: log_density(*back_along_the_flow(denoise, x, sigma), sigma[0])


@pytest.mark.parametrize("law", [LINE, PLANE])
def test_the_flow_of_a_law_draws_the_law(law):
    """Pure noise at 1e4 is the law up to (2 / 1e4)^2 nats; 132 steps, or 17 nodes an axis, leave 1e-7."""
    sigma, nodes = levels(132), 150 if law is LINE else 16
    assert abs(divergence(law, None, law_of_flow(whole(law), sigma), END, nodes)) < 1e-6


def test_the_flow_of_a_normal_law_is_a_stretch():
    """x / sqrt(s^2 + sigma^2) is kept, and the error of the steps is of fourth order."""
    s, x = 0.5, torch.tensor([[0.3], [-1.2]], dtype=torch.float64)
    stretch = math.sqrt((s**2 + 9.0) / (s**2 + END**2))
    missed = []
    for steps in (20, 40):
        start, log_det = back_along_the_flow(
            lambda x, sigma: x * (s**2 / (s**2 + sigma**2))[:, None], x, levels(steps, 3.0)
        )
        missed.append(abs(float(start[0]) / 0.3 - stretch))
        assert float(log_det[1]) == pytest.approx(math.log(stretch), abs=1e-4)
    assert math.log2(missed[0] / missed[1]) == pytest.approx(4.0, abs=0.3)


def pushed(x, sigma):
    """No law's denoiser: its flow conserves probability all the same."""
    return LINE(x, sigma, None) + 0.3 * torch.sin(x) * torch.exp(-((sigma[:, None] - 1.0) ** 2))


def test_probability_is_conserved():
    x = torch.linspace(-12.0, 12.0, 1201, dtype=torch.float64)[:, None]
    flow = law_of_flow(pushed, levels(200, 80.0))(x)
    assert float(flow.exp().sum()) * 0.02 == pytest.approx(1.0, abs=1e-7)  # (80 / 0.05)^(1/200) is a step of 0.04
    for step in (euler, heun):
        sigma = [*levels(40, 80.0), 0.0]
        by_steps = log_density(*back_by_steps(whole(LINE), x, sigma, step), 80.0)
        assert float(by_steps.exp().sum()) * 0.02 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("step", "order"), [(euler, 1), (heun, 2), (runge_kutta, 4)])
def test_finite_steps_lead_back_and_have_their_order(step, order):
    """The state before every step is found to the last digits, and shorter steps come to the flow at their order."""
    x = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)[:, None]
    exact = law_of_flow(whole(LINE), levels(256, 20.0, 0.2))(x)
    missed = []
    for steps in (32, 64):
        sigma = levels(steps, 20.0, 0.2)
        start, log_det = back_by_steps(whole(LINE), x, sigma, step)
        missed.append(float((log_density(start, log_det, 20.0) - exact).abs().max()))
        there = start
        for level, following in itertools.pairwise(sigma):
            there = step(whole(LINE), there, level, following)
        # A step loses 1e-13 of its noise; what the flow has stretched by 100 on the way is lost 100 times.
        torch.testing.assert_close(there, x, atol=1e-9, rtol=0.0)
    assert math.log2(missed[0] / missed[1]) == pytest.approx(order, abs=0.4)


def test_divergence_of_normal_laws():
    """KL of N(m, s^2) from N(0, 1), for a class of two components and noise: log(1/s) + (s^2 + m^2 - 1) / 2."""
    law = isotropic_mixture([[0.7], [0.7], [5.0]], 0.3, [0.2, 0.3, 0.5], [0, 0, 1])
    found = divergence(law, 0, lambda x: -0.5 * (x[:, 0] ** 2 + math.log(2.0 * math.pi)), 0.4)
    assert found == pytest.approx(-math.log(0.5) + 0.5 * (0.25 + 0.49 - 1.0), abs=1e-10)
    assert abs(divergence(law, None, lambda x: law.log_density(x, torch.zeros(len(x))))) < 1e-12


def test_what_cannot_be_undone_is_refused():
    x = torch.zeros(3, 1, dtype=torch.float64)
    with pytest.raises(InputError, match="keeps the order of states"):
        back_by_steps(lambda x, sigma: -2.0 * x, x, [2.0, 1.0])  # (1 - 3/2) x
    with pytest.raises(InputError, match="states"):
        back_by_steps(whole(PLANE), torch.zeros(3, 2, dtype=torch.float64), [2.0, 1.0])
