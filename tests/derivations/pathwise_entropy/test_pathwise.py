"""Pathwise entropy against integrals over the sample itself, against sampling, and routes that share nothing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.errors import InputError
from companion.exact import gaussian_pairs, two_gaussians
from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import isotropic_mixture
from derivations.kit import landmarks
from derivations.pathwise_entropy import pathwise


def own_entropies(places: np.ndarray, apart: float, s: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """h(x) and the weights of states x, for two classes on a line, from the density of x_0 given x on a grid."""
    reach = 0.5 * apart + 10.0 * s
    clean = np.linspace(-reach, reach, 3001)
    data = sum(np.exp(-0.5 * ((clean - m) / s) ** 2) for m in (-0.5 * apart, 0.5 * apart))
    joint = np.exp(-0.5 * ((places[:, None] - clean) / sigma) ** 2) * data
    total = joint.sum(axis=1)
    given = joint / (total[:, None] * (clean[1] - clean[0]))
    surprise = -np.log(np.maximum(given, 1e-300))
    return (given * surprise).sum(axis=1) * (clean[1] - clean[0]), total / total.sum()


@pytest.mark.parametrize(("apart", "s", "sigma"), [(2.0, 1.0, 1.0), (2.31, 1.0, 0.4), (4.0, 0.8, 2.0), (8.0, 1.0, 2.0)])
def test_the_samples_variance_is_that_of_integrals_over_the_sample(apart, s, sigma):
    states = np.linspace(-0.5 * apart - 10.0 * math.hypot(s, sigma), 0.5 * apart + 10.0 * math.hypot(s, sigma), 1201)
    h, weight = own_entropies(states, apart, s, sigma)
    kappa = float(two_gaussians.control_parameter(1.0, sigma, apart, s))
    found = float(pathwise.sample_variance(kappa, (apart / s) ** 2))
    assert found == pytest.approx(float(weight @ (h - weight @ h) ** 2), abs=1e-11)


def test_the_information_to_come_is_the_chain_rule_at_a_state():
    """h(x) less the entropy of one Gaussian, at single states: no variance in which an error could hide."""
    apart, s, sigma = 3.0, 0.9, 0.7
    states = np.array([-2.0, -0.3, 0.0, 0.5, 4.0])
    h, _ = own_entropies(states, apart, s, sigma)
    total, clean = s**2 + sigma**2, (apart / s) ** 2
    one = 0.5 * math.log(2.0 * math.pi * math.e * (s * sigma) ** 2 / total)
    come = pathwise.information_to_come(apart * states / total, clean - apart**2 / total)
    np.testing.assert_allclose(h, one + come, rtol=0.0, atol=1e-11)


def test_points_have_the_variance_of_the_class():
    kappa = np.array([0.0, 0.3, 2.0, 5.4, 20.0, 80.0])
    np.testing.assert_allclose(
        pathwise.sample_variance(kappa, np.inf), two_gaussians.variance(kappa), rtol=0.0, atol=1e-13
    )
    np.testing.assert_allclose(
        pathwise.sample_variance(kappa, 500.0), two_gaussians.variance(kappa), rtol=0.0, atol=1e-13
    )


@given(st.floats(0.05, 200.0), st.floats(0.0, 1.0))
@settings(max_examples=30)
def test_the_samples_variance_keeps_its_bounds(clean, part):
    kappa = part * clean
    found, of_class = float(pathwise.sample_variance(kappa, clean)), float(two_gaussians.variance(kappa))
    assert 0.0 <= found <= of_class + 1e-13  # the information to come is flatter than the entropy
    bound = 0.5 * math.log(2.0) * math.exp(-(clean - kappa) / 8.0)
    assert abs(math.sqrt(found) - math.sqrt(of_class)) <= bound + 1e-6  # the root of 1e-13


@pytest.mark.parametrize("clean", [0.5, 4.0, 16.0 / 3.0, 30.0, 300.0])
def test_the_largest_variance_of_a_sample_is_the_top(clean):
    at = pathwise.largest_sample_variance(clean)
    grid = np.linspace(0.0, min(clean, 20.0), 201)
    assert pathwise.sample_variance(grid, clean).max() <= float(pathwise.sample_variance(at, clean)) + 1e-13
    around = at * np.array([0.99, 1.0, 1.01])
    assert pathwise.sample_variance(around, clean).argmax() == 1


def test_the_largest_variance_of_points_is_the_landmark():
    assert pathwise.largest_sample_variance(np.inf) == landmarks.largest_variance()
    assert pathwise.largest_sample_variance(900.0) == pytest.approx(landmarks.largest_variance(), abs=1e-5)


def test_half_height_is_half_of_the_height():
    low, high = pathwise.half_height()
    top = float(two_gaussians.variance(landmarks.largest_variance()))
    np.testing.assert_allclose(two_gaussians.variance([low, high]), 0.5 * top, rtol=1e-10)
    assert low < landmarks.largest_variance() < high


def test_own_entropy_agrees_with_quadrature_and_with_sampling():
    places, weights, levels = [-2.3, -1.7, 1.7, 2.6], [0.1, 0.4, 0.3, 0.2], np.array([-3.0, -1.0, 1.0, 3.0])
    mixture = isotropic_mixture([[place] for place in places], 0.0, weights)
    law = empirical_distribution(mixture.means, weights=weights)
    mean, spread = pathwise.own_entropy(law, levels)
    np.testing.assert_allclose(mean, mixture.entropy(levels), atol=1e-10)
    count = 200_000
    for level, expected in zip(levels, spread, strict=True):
        sigma = math.exp(-0.5 * level)
        x, _ = mixture.sample_noised(count, sigma, torch.Generator().manual_seed(0))
        log_p = mixture.posterior(x, torch.full((count,), sigma, dtype=torch.float64)).numpy()
        h = -(np.exp(log_p) * np.maximum(log_p, -700.0)).sum(axis=1)
        squares = (h - h.mean()) ** 2
        assert squares.mean() == pytest.approx(float(expected), abs=4.5 * squares.std() / math.sqrt(count))


def test_own_entropy_is_an_integral_over_the_state():
    """Mean and variance of the entropy of p(n | x) over a grid of states, in the density of the noised points."""
    places, weights = np.array([-2.3, -1.7, 1.7, 2.6]), np.array([0.1, 0.4, 0.3, 0.2])
    for level, share in ((-3.0, None), (0.0, weights), (2.0, weights)):
        sigma = math.exp(-0.5 * level)
        prior = np.full(4, 0.25) if share is None else share
        x = np.linspace(-2.3 - 10.0 * sigma, 2.6 + 10.0 * sigma, 4001)  # the trapezoidal rule: rounding error
        joint = prior * np.exp(-0.5 * ((x[:, None] - places) / sigma) ** 2)
        p = joint / joint.sum(axis=1, keepdims=True)
        h = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
        density = joint.sum(axis=1) / joint.sum()
        law = empirical_distribution(torch.from_numpy(places)[:, None], weights=share)
        mean, spread = pathwise.own_entropy(law, level)
        assert float(mean) == pytest.approx(density @ h, abs=1e-11)
        assert float(spread) == pytest.approx(density @ (h - density @ h) ** 2, abs=1e-11)


@pytest.mark.parametrize(
    ("d", "distance", "first", "second", "sigma"),
    [(3, 2.0, 1.0, 0.5, 0.7), (3, 0.0, 0.6, 1.2, 2.0), (6, 3.0, 0.5, 1.5, 1.0)],
)
def test_two_widths_are_integrals_over_the_state(d, distance, first, second, sigma):
    """Over the place along the line of the means and the distance from it, in the densities of scipy: every field."""
    widths = [math.hypot(s, sigma) for s in (first, second)]
    reach = 9.0 * max(widths)
    line = np.linspace(-reach, distance + reach, 1201)[:, None]
    aside, step = np.linspace(0.0, reach + 3.0, 1501, retstep=True)
    aside = aside[1:]  # the density of the distance is zero there
    densities = [
        stats.norm(centre, width).pdf(line) * stats.chi(d - 1, scale=width).pdf(aside)
        for centre, width in zip((0.0, distance), widths, strict=True)
    ]
    joint = 0.5 * sum(densities) * (line[1] - line[0]) * step
    assert joint.sum() == pytest.approx(1.0, abs=1e-5)  # the rule's own error, at the distance zero for d = 3
    gamma = densities[0] / np.maximum(sum(densities), 1e-300)
    h = -sum(p * np.log(np.maximum(p, 1e-300)) for p in (gamma, 1.0 - gamma))
    own = [0.5 * d * math.log((s * sigma) ** 2 / width**2) for s, width in zip((first, second), widths, strict=True)]
    found = pathwise.two_widths(d, distance, first, second, -2.0 * math.log(sigma))
    assert float(found.entropy) == pytest.approx((joint * h).sum(), abs=2e-5)
    assert float(found.within) == pytest.approx(own[0] - own[1], rel=1e-12)
    for name, value in (("class_part", h), ("posterior", gamma), ("both", (own[0] - own[1]) * gamma + h)):
        mean = (joint * value).sum()
        assert float(getattr(found, name)) == pytest.approx((joint * (value - mean) ** 2).sum(), abs=2e-5), name
    assert abs(float(found.both) - float(found.class_part)) > 1e-3


@pytest.mark.parametrize(
    ("d", "distance", "first", "second"),
    [(3, 2.0, 1.0, 0.5), (10, 5.0, 1.0, 0.7), (100, 5.0, 2.0, 0.7), (30, 0.0, 0.5, 2.0), (10**6, 2000.0, 1.0, 0.5)],
)
def test_two_widths_have_the_entropy_of_the_affinity(d, distance, first, second):
    levels = np.array([-20.0, -12.0, -8.0, -5.0, -2.0, 0.0, 2.0])
    pair = gaussian_pairs.gaussian_pair([first**2] * 2, [second**2] * 2, gap=[distance, 0.0], multiplicity=[1, d - 1])
    found = pathwise.two_widths(d, distance, first, second, levels)
    np.testing.assert_allclose(found.entropy, pair.entropy(levels), rtol=0.0, atol=1e-10)


def test_the_gap_within_two_widths_is_that_of_two_gaussian_samples():
    """Of a clean sample given the state and the class: precisions add, 1/C = 1/s^2 + 1/sigma^2, in every direction."""
    sigma, widths, d = 1.7, (1.2, 0.5), 9
    entropies = [0.5 * d * math.log(2.0 * math.pi * math.e / (s**-2 + sigma**-2)) for s in widths]
    found = pathwise.two_widths(d, 4.0, *widths, -2.0 * math.log(sigma))
    assert float(found.within) == pytest.approx(entropies[0] - entropies[1], rel=1e-12)


def test_two_equal_widths_are_the_binary_curve():
    levels = np.array([-4.0, -1.0, 1.0])
    kappa = two_gaussians.control_parameter(1.0, np.exp(-0.5 * levels), 3.0, 0.8)
    found = pathwise.two_widths(7, 3.0, 0.8, 0.8, levels)
    np.testing.assert_allclose(found.class_part, two_gaussians.variance(kappa), atol=1e-13)
    np.testing.assert_allclose(found.both, found.class_part, rtol=0.0, atol=0.0)
    np.testing.assert_allclose(found.posterior, 0.25 - 2.0 * two_gaussians.production(kappa), atol=1e-13)


@pytest.mark.parametrize(
    "call",
    [
        lambda: pathwise.information_to_come(np.nan, 1.0),
        lambda: pathwise.information_to_come(0.0, -1.0),
        lambda: pathwise.sample_variance(5.0, 4.0),
        lambda: pathwise.sample_variance(np.inf, np.inf),
        lambda: pathwise.sample_variance(1.0, 0.0),
        lambda: pathwise.largest_sample_variance(0.0),
        lambda: pathwise.own_entropy(isotropic_mixture([[0.0], [1.0]], 0.0), np.nan),
        lambda: pathwise.two_widths(2, 1.0, 1.0, 1.0, 0.0),
        lambda: pathwise.two_widths(4, -1.0, 1.0, 1.0, 0.0),
        lambda: pathwise.two_widths(4, 1.0, 0.0, 1.0, 0.0),
        lambda: pathwise.two_widths(4, 1.0, 1.0, 9.0, 0.0),
        lambda: pathwise.two_widths(4, 1.0, 1.0, 2.0, np.inf),
    ],
)
def test_bad_input_is_one_clear_line(call):
    with pytest.raises(InputError, match=r" is .* expected "):
        call()
