"""The laws of the log-odds on guided paths: two routes to each number, what is known without guidance, and paths."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import expit

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.guidance import guided
from derivations.guidance import flow, half_levels, resolvent
from derivations.guidance.fokker_planck import guided_law
from derivations.guidance.half_levels import cross_entropy, half_level, posterior_entropy, surprise
from derivations.guidance.schedule import stretches

NAN, INF = math.nan, math.inf
WEIGHTS = (0.7, 2.0, 7.0)
HALF = 0.5 * math.log(2.0)


def test_eq_guided_measures_are_the_class_entropy_without_guidance():
    kappa = np.array([0.1, 1.0, 4.0])
    truth = two_gaussians.entropy(kappa)
    for sampler in ("sde", "ode"):
        np.testing.assert_allclose(cross_entropy(kappa, 1.0, sampler), truth, atol=1e-9)
        np.testing.assert_allclose(posterior_entropy(kappa, 1.0, sampler), truth, atol=1e-9)
    np.testing.assert_allclose(resolvent.expectation(surprise, kappa, 1.0), truth, atol=1e-9)
    assert half_level(1.0) == pytest.approx(half_level(1.0, "ode"), abs=1e-8)
    assert half_level(1.0) == pytest.approx(half_level(1.0, quantity="posterior entropy"), abs=1e-8)


def test_levels_far_apart_are_each_as_good_as_alone():
    kappa = np.array([0.001, 0.003, 0.01, 0.05, 0.1, 0.3, 9.0])
    np.testing.assert_allclose(cross_entropy(kappa, 1.0), two_gaussians.entropy(kappa), atol=1e-8)
    alone = [cross_entropy([each], 7.0).item() for each in kappa]
    np.testing.assert_allclose(cross_entropy(kappa, 7.0), alone, atol=1e-8)
    # The slope at the start is -(2 w - 1) / 8; what is left is of the second order in 13/8 of 0.001.
    assert alone[0] == pytest.approx(np.log(2.0) - 13.0 / 8.0 * 0.001, abs=3e-6)


def test_weight_zero_samples_the_mixture():
    """A path without its class is one of the mixture: both signs of L, and the entropy is the class entropy."""
    law = guided_law([1.0, 4.0], 0.0)
    np.testing.assert_allclose(law.expectation(np.tanh), 0.0, atol=1e-9)
    np.testing.assert_allclose(posterior_entropy([1.0, 4.0], 0.0), two_gaussians.entropy([1.0, 4.0]), atol=1e-9)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_eq_guided_hypergeometric_by_two_routes(weight):
    """Fokker-Planck on a circle against hypergeometric functions: nothing in common but the equation."""
    kappa = np.array([0.1, 0.4, 1.0, 3.0])
    for start in (0.0, -1.2):
        law = guided_law(kappa, weight, start)
        for function in (surprise, binary_entropy):
            other = resolvent.expectation(function, kappa, weight, start)
            np.testing.assert_allclose(law.expectation(function), other, atol=2e-8)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_two_routes_to_the_law_of_the_flow(weight):
    for kappa in (0.3, 2.0):
        of_surprise = flow.expectation_from_behind(surprise, lambda L: -expit(-L), kappa, weight)
        assert of_surprise == pytest.approx(cross_entropy([kappa], weight, "ode").item(), abs=1e-8)
        of_entropy = flow.expectation_from_behind(binary_entropy, lambda L: -L * expit(L) * expit(-L), kappa, weight)
        assert of_entropy == pytest.approx(posterior_entropy([kappa], weight, "ode").item(), abs=1e-8)


HALVES = {
    ("sde", "cross entropy"): {1.0: 4.176053, 2.0: 1.433640, 4.0: 0.632560, 7.0: 0.345640},
    ("ode", "cross entropy"): {1.0: 4.176053, 2.0: 1.330373, 4.0: 0.578728, 7.0: 0.314799},
    ("sde", "posterior entropy"): {1.0: 4.176053, 2.0: 2.855042, 4.0: 1.717206, 7.0: 1.086571},
    ("ode", "posterior entropy"): {1.0: 4.176053, 2.0: 2.623911, 4.0: 1.438154, 7.0: 0.858852},
}


@pytest.mark.parametrize(("sampler", "quantity"), HALVES)
def test_half_levels_by_two_routes(sampler, quantity):
    """Where `half_level` says, the other route finds half of log 2, to 2e-8; no curve is flatter there than 0.05."""
    function = surprise if quantity == "cross entropy" else binary_entropy
    slope = (lambda L: -expit(-L)) if quantity == "cross entropy" else (lambda L: -L * expit(L) * expit(-L))
    for weight, printed in HALVES[sampler, quantity].items():
        kappa = half_level(weight, sampler, quantity)
        assert kappa == pytest.approx(printed, abs=1e-6)
        if sampler == "sde":
            value = guided_law([kappa], weight).expectation(function).item()
        else:
            value = flow.expectation_from_behind(function, slope, kappa, weight)
        assert value == pytest.approx(HALF, abs=2e-8)


def test_eq_guided_denoiser_draws_paths_of_one_law_for_points_and_wide_classes():
    """Steps of the reverse diffusion of real mixtures, other dimensions and widths, against the law in kappa."""
    generator, count, weight = torch.Generator().manual_seed(0), 4000, 3.0
    for s, direction in ((0.0, [1.0]), (0.7, [0.6, 0.0, 0.8])):
        half = 1.5 * torch.tensor([direction], dtype=torch.float64)
        mixture = isotropic_mixture(torch.cat([half, -half]), s)
        rule, own = guided(mixture, weight), torch.zeros(count, dtype=torch.long)
        snr = np.geomspace(1e-4, 1.2, 250)
        y = math.sqrt(snr[0]) * torch.randn(count, len(direction), generator=generator, dtype=torch.float64)
        for before, after in pairwise(snr):
            sigma = torch.full((count,), before**-0.5, dtype=torch.float64)
            noise = torch.randn(y.shape, generator=generator, dtype=torch.float64)
            y = y + (after - before) * rule(y / before, sigma, own) + math.sqrt(after - before) * noise
        sigma = torch.full((count,), snr[-1] ** -0.5, dtype=torch.float64)
        whole, of_class = (mixture(y / snr[-1], sigma, z) for z in (None, own))
        assert torch.allclose(rule(y / snr[-1], sigma, own), whole + weight * (of_class - whole), atol=1e-12)
        found = surprise(torch.logit(mixture.posterior(y / snr[-1], sigma)[:, 0].exp()).numpy())
        kappa = two_gaussians.control_parameter(1.0, snr[-1] ** -0.5, 3.0, s)
        exact = cross_entropy([float(kappa)], weight).item()
        # Euler's steps of 4% in the snr are a hundredth of the error of 4000 paths.
        assert found.mean() == pytest.approx(exact, abs=4.5 * found.std() / math.sqrt(count))


def test_an_interval_is_a_change_of_weight():
    """Outside it nothing is guided, and one that ends before the first level, then goes on by the unguided law."""
    kappa = [0.5, 2.0, 5.0]
    for sampler in ("sde", "ode"):
        whole = cross_entropy(kappa, 3.0, sampler)
        np.testing.assert_allclose(cross_entropy(kappa, 3.0, sampler, interval=(0.0, 9.0)), whole, atol=1e-9)
        late = cross_entropy(kappa, 3.0, sampler, interval=(2.0, 9.0))
        np.testing.assert_allclose(late[:2], two_gaussians.entropy(kappa[:2]), atol=1e-9)
        assert whole[2] < late[2] < float(two_gaussians.entropy(5.0))
    # Unguided from 1/2 on: L moves by a normal variable of the mean and variance kappa - 1/2 over two and one.
    early = cross_entropy(kappa, 3.0, interval=(0.0, 0.5))
    law, xi = guided_law([0.5], 3.0), flow.NOISE
    at_end = law.log_odds[:, None] + 0.5 * 4.5 + math.sqrt(4.5) * xi
    spacing = law.log_odds[1] - law.log_odds[0]
    assert early[2] == pytest.approx(spacing * float(law.density[0] @ surprise(at_end) @ flow.SHARES), abs=1e-9)


def test_bad_input():
    for bad in ([], [2.0, 1.0], [-1.0], [NAN], 3.0, [0.0], [500.0], "x", None):
        with pytest.raises(InputError, match="kappa"):
            cross_entropy(bad, 2.0)
    for bad in (NAN, INF, -11.0, 21.0, "x", None, [1.0]):
        with pytest.raises(InputError, match="weight"):
            stretches([1.0], bad)
        with pytest.raises(InputError, match="weight"):
            half_level(bad)
    for bad in ((1.0, 1.0), (2.0, 1.0), (-1.0, 2.0), (NAN, 1.0), (1.0,), None, "ab"):
        with pytest.raises(InputError, match="interval"):
            cross_entropy([1.0], 2.0, interval=bad)
    for bad in (0.0, 1.0, NAN, "x"):
        with pytest.raises(InputError, match="prior"):
            cross_entropy([1.0], 2.0, prior=bad)
    for name, bad in (("sampler", "euler"), ("quantity", "entropy")):
        with pytest.raises(InputError, match=name):
            half_level(2.0, **{name: bad})
    for bad in (0.5, 0.0, 10.5):
        with pytest.raises(InputError, match="weight"):
            half_levels.half_level(bad)
        with pytest.raises(InputError, match="weight"):
            resolvent.expectation(surprise, 1.0, bad)
    for bad in (0.0, 0.05, 101.0, NAN):
        with pytest.raises(InputError, match="kappa"):
            resolvent.expectation(surprise, bad, 2.0)
    with pytest.raises(InputError, match="start"):
        resolvent.expectation(surprise, 1.0, 2.0, 4.0)
    for of in (guided_law, flow.guided_flow):
        with pytest.raises(InputError, match="start"):
            of([1.0], 2.0, 11.0)
