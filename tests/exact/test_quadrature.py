"""Exact entropies against the binary integral, adaptive quadrature, fresh samples, and their own derivative."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from companion.entropy import binary_entropy, partition
from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.empirical import empirical_distribution
from companion.exact.laws import half_level, monte_carlo_entropy, production_in_time
from companion.exact.mixtures import GaussianMixture, full_mixture, isotropic_mixture
from companion.exact.quadrature import normal_rule, radial_rule, space_rule
from companion.forward import (
    cosine,
    linear,
    noise_of,
    ornstein_uhlenbeck,
    rectified_flow,
    scaled_linear,
    variance_exploding,
)

LEVELS = np.linspace(-8.0, 8.0, 17)
PROCESSES = [ornstein_uhlenbeck(), linear(), scaled_linear(), cosine(), variance_exploding(), rectified_flow()]

FOUR = isotropic_mixture([[-5.0], [-3.0], [3.0], [5.0]], 0.2)
UNEQUAL = isotropic_mixture([[0.0], [0.5]], [0.5, 1.0], [0.3, 0.7])
TRIANGLE = isotropic_mixture(torch.eye(3), 0.3)
SPREAD = isotropic_mixture([[0.0] * 16, [2.0] + [0.0] * 15], [0.5, 0.7])
TILTED = full_mixture(
    [[0.0, 0.0], [1.0, 0.0]], torch.tensor([[[1.0, 0.6], [0.6, 1.0]], [[0.5, -0.2], [-0.2, 0.3]]], dtype=torch.float64)
)
TILTED_IN_SPACE = full_mixture(
    [[0.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, -0.5, 1.0]],
    torch.tensor(
        [
            [[1.0, 0.6, 0.0], [0.6, 1.0, 0.2], [0.0, 0.2, 0.7]],
            [[0.5, -0.2, 0.1], [-0.2, 0.6, 0.0], [0.1, 0.0, 1.0]],
            [[0.8, 0.0, 0.3], [0.0, 0.5, 0.0], [0.3, 0.0, 0.9]],
        ],
        dtype=torch.float64,
    ),
    [0.5, 0.3, 0.2],
)
MIXTURES = {
    "four": FOUR,
    "unequal": UNEQUAL,
    "triangle": TRIANGLE,
    "spread": SPREAD,
    "tilted": TILTED,
    "space": TILTED_IN_SPACE,
}


@pytest.mark.parametrize("dimension", [1, 2, 7])
@pytest.mark.parametrize("weight", [0.5, 0.2])
def test_two_equal_classes_are_the_binary_integral(dimension, weight):
    direction = torch.nn.functional.normalize(torch.arange(1.0, dimension + 1.0, dtype=torch.float64), dim=0)
    mixture = isotropic_mixture(torch.stack([-direction, direction]), 0.25, [weight, 1.0 - weight])
    kappa = two_gaussians.control_parameter(1.0, noise_of(LEVELS), 2.0, 0.25)
    np.testing.assert_allclose(mixture.entropy(LEVELS), two_gaussians.entropy(kappa, weight), atol=1e-11, rtol=0.0)
    per_log_snr = two_gaussians.production(kappa, weight) * kappa / (1.0 + 0.25**2 * np.exp(LEVELS))  # dkappa/dlambda
    np.testing.assert_allclose(mixture.production(LEVELS), per_log_snr, atol=1e-10, rtol=0.0)


@pytest.mark.parametrize("width", [0.0, 0.02])
def test_narrow_and_wide_class_against_adaptive_quadrature(width):
    mixture = isotropic_mixture([[0.0], [0.5]], [width, 1.0], [0.3, 0.7])
    for level in (-4.0, 0.0, 4.0, 8.0):
        sigma = float(noise_of(level))
        narrow, wide = np.hypot([width, 1.0], sigma)
        bells = stats.norm([0.0, 0.5], [narrow, wide])

        def integrand(x, bells=bells):
            joint = np.array([0.3, 0.7]) * bells.pdf(x)
            share = joint / joint.sum()
            return -joint.sum() * (share * np.log(np.maximum(share, 1e-300))).sum()

        pieces = np.unique(np.r_[np.linspace(-9.0, 9.0, 13) * narrow, np.linspace(-9.0, 10.0, 13) * wide])
        ends = list(itertools.pairwise(pieces))
        truth = sum(integrate.quad(integrand, a, b, epsabs=1e-13)[0] for a, b in ends)
        assert float(mixture.entropy(level)) == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("dimension", [3, 16, 64])
def test_equal_means_and_unequal_deviations_are_one_chi_squared_integral(dimension):
    mixture = isotropic_mixture(torch.zeros(2, dimension), [0.5, 0.7])
    for level in (-4.0, 0.0, 4.0):
        v_a, v_b = 0.5**2 + float(noise_of(level)) ** 2, 0.7**2 + float(noise_of(level)) ** 2

        def integrand(square, own, v_a=v_a, v_b=v_b):
            log_odds = 0.5 * dimension * np.log(v_b / v_a) + 0.5 * (1.0 / v_b - 1.0 / v_a) * own * square
            return stats.chi2.pdf(square, dimension) * binary_entropy(log_odds)

        spans = [(0.0, dimension / 2), (dimension / 2, 2 * dimension), (2 * dimension, 4 * dimension + 100)]
        truth = 0.5 * sum(
            integrate.quad(integrand, a, b, args=(own,), epsabs=1e-13)[0] for own in (v_a, v_b) for a, b in spans
        )
        assert float(mixture.entropy(level)) == pytest.approx(truth, abs=1e-8)  # the accuracy that is promised


TURN = torch.linalg.qr(torch.tensor([[1.0, 2.0, 0.5], [0.3, -1.0, 1.0], [2.0, 0.1, -0.7]], dtype=torch.float64)).Q


def in_space(means, variances, weights):
    """A mixture with diagonal covariances in three dimensions, turned so that nothing is along an axis."""
    covariances = TURN @ torch.diag_embed(torch.tensor(variances, dtype=torch.float64)) @ TURN.T
    return full_mixture(torch.tensor(means, dtype=torch.float64) @ TURN.T, covariances, weights)


def test_space_with_one_telling_direction_is_the_line():
    """Two more coordinates that all classes share carry nothing: the same entropy as in one dimension."""
    weights, levels = [0.5, 0.3, 0.2], LEVELS[4:9:4]
    turned = in_space(
        [[0.0, 1.0, 2.0], [2.0, 1.0, 2.0], [-1.0, 1.0, 2.0]], [[0.5, 1, 0.6], [1, 1, 0.6], [0.8, 1, 0.6]], weights
    )
    line = isotropic_mixture([[0.0], [2.0], [-1.0]], [0.5**0.5, 1.0, 0.8**0.5], weights)
    for quantity in (GaussianMixture.entropy, GaussianMixture.production):
        np.testing.assert_allclose(quantity(turned, levels), quantity(line, levels), atol=1e-9, rtol=0.0)


def test_space_is_refined_until_it_settles():
    """A narrow class among wide ones, which the first grids get wrong by 1e-8."""
    weights = [0.5, 0.3, 0.2]
    turned = in_space([[m, 1.0, 2.0] for m in (0.0, 2.0, -1.0)], [[v, 0.5, 0.4] for v in (0.05, 1.0, 0.3)], weights)
    line = isotropic_mixture([[0.0], [2.0], [-1.0]], [0.05**0.5, 1.0, 0.3**0.5], weights)
    assert float(turned.entropy(1.0)) == pytest.approx(float(line.entropy(1.0)), abs=1e-10)


def test_space_of_one_shared_covariance_is_the_binary_integral():
    weight = 0.3
    pair = in_space([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5]], [[0.4, 0.9, 0.6]] * 2, [weight, 1.0 - weight])
    for level in (-2.0, 0.0, 2.0):
        total = np.array([0.4, 0.9, 0.6]) + float(noise_of(level)) ** 2
        kappa = (np.array([1.0, -1.0, 0.5]) ** 2 / total).sum()  # the squared Mahalanobis distance
        assert float(pair.entropy(level)) == pytest.approx(float(two_gaussians.entropy(kappa, weight)), abs=1e-10)


def test_four_means_in_seven_dimensions_span_a_space():
    """Regrouped in two ways, the four classes obey the grouping property, and three of them are a plane."""
    four = isotropic_mixture(torch.nn.functional.pad(torch.eye(4), (0, 3)) @ torch.ones(7, 7).tril(), 0.4)
    pairs, left, right = (four.sides(partition(four, *g)) for g in ([[0, 1], [2, 3]], [[0], [1]], [[2], [3]]))
    parts = pairs.entropy(0.0) + 0.5 * left.entropy(0.0) + 0.5 * right.entropy(0.0)
    assert float(four.entropy(0.0)) == pytest.approx(float(parts), abs=1e-10)


@pytest.mark.parametrize("name", MIXTURES)
def test_fresh_samples_agree(name):
    entropy, error = monte_carlo_entropy(MIXTURES[name], LEVELS[::4], 20_000, torch.Generator().manual_seed(0))
    # Five levels: all within four standard errors, which a correct value leaves once in 3000 seeds; the seed is fixed.
    assert np.all(np.abs(entropy - MIXTURES[name].entropy(LEVELS[::4])) < 4.0 * error + 1e-12)


@pytest.mark.parametrize("name", MIXTURES)
def test_thm_class_entropy_production(name):
    """Production is minus the derivative of the entropy: the theorem of the first chapter, by finite differences."""
    levels, step = LEVELS[8:9] if name == "space" else LEVELS[::4], 0.02  # the third dimension is dear
    before, after = MIXTURES[name].entropy(levels - step), MIXTURES[name].entropy(levels + step)
    twice = MIXTURES[name].entropy(levels - 2 * step) - MIXTURES[name].entropy(levels + 2 * step)
    derivative = (8.0 * (before - after) - twice) / (12.0 * step)
    # Fourth order: (0.02)^4 / 30 times a fifth derivative of order one.
    np.testing.assert_allclose(MIXTURES[name].production(levels), derivative, atol=1e-7, rtol=0.0)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)
def test_cor_clocks(process):
    """Production per unit of time is the mean squared distance of the scores in the process's own frame (ES 33)."""
    lowest, highest = process.span
    times = lowest + (min(highest, 3.0) - lowest) * np.array([0.1, 0.5, 0.9])
    for t in times:
        alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
        width = np.sqrt((alpha * 0.2) ** 2 + sigma**2)
        centre = alpha * FOUR.means[:, 0].numpy()
        x = np.linspace(-40.0, 40.0, 80_001)[:, None]
        bells = stats.norm.pdf(x, centre, width) / 4.0
        scores = (centre - x) / width**2
        mean = (bells * scores).sum(axis=1, keepdims=True) / np.maximum(bells.sum(axis=1, keepdims=True), 1e-300)
        squares = (bells * (scores - mean) ** 2).sum() * (x[1, 0] - x[0, 0])
        expected = 0.5 * float(process.diffusion(np.array(t))) * squares
        assert float(production_in_time(FOUR, process, t)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_prop_grouping():
    """H(four) = H(which pair) + the mean of H(which of the pair): the grouping property, exact at every level."""
    weighted = isotropic_mixture([[-5.0], [-3.0], [3.0], [5.0]], 0.2, [0.1, 0.2, 0.3, 0.4])
    for mixture in (FOUR, weighted):
        share = sum(mixture.weights[:2])
        pairs, left, right = (
            mixture.sides(partition(mixture, *g, "true")) for g in ([[0, 1], [2, 3]], [[0], [1]], [[2], [3]])
        )
        for quantity in (GaussianMixture.entropy, GaussianMixture.production):
            parts = quantity(pairs, LEVELS) + share * quantity(left, LEVELS) + (1.0 - share) * quantity(right, LEVELS)
            np.testing.assert_allclose(quantity(mixture, LEVELS), parts, atol=1e-10, rtol=0.0)


def test_wider_classes_are_half_decided_later_and_produce_most_at_more_noise():
    """Of two classes of width 0, 1/4, 1/2 and 1 at +-1; the last pair keeps more than half of log 2 for ever."""
    levels = np.linspace(-2.0, 2.0, 401)
    pairs = [isotropic_mixture([[-1.0], [1.0]], width) for width in (0.0, 0.25, 0.5, 1.0)]
    peaks = [levels[pair.production(levels).argmax()] for pair in pairs]
    assert np.all(np.diff(peaks) < 0.0)
    np.testing.assert_allclose(peaks, [0.41, 0.38, 0.24, -0.39], atol=0.011)  # a step of the levels
    assert np.all(np.diff([half_level(pair) for pair in pairs[:3]]) > 0.0)
    assert float(pairs[3].entropy(30.0)) > 0.5 * np.log(2.0)
    with pytest.raises(InputError, match="less than half"):
        half_level(pairs[3])


def test_half_level_is_where_half_is_left():
    pair = isotropic_mixture([[-1.0], [1.0]], 0.25)
    kappa = two_gaussians.control_parameter(1.0, noise_of(half_level(pair)), 2.0, 0.25)
    assert float(kappa) == pytest.approx(4.17605, abs=5e-6)  # six digits of a separate quadrature
    tiny = isotropic_mixture([[-1e-6], [1e-6]], 0.0)
    assert half_level(tiny) == pytest.approx(np.log(4.17605 / 4e-12), abs=2e-6)
    huge = isotropic_mixture([[-1e6], [1e6]], 0.0)
    assert half_level(huge) == pytest.approx(np.log(4.17605 / 4e12), abs=2e-6)
    with pytest.raises(InputError, match="overlapping"):
        half_level(isotropic_mixture([[-1.0], [1.0]], 2.0))


def test_one_class_against_all_has_the_papers_floor():
    """A class against the whole mixture, balanced: q = 1/10 of the whole leaves 0.16755 nats."""
    means = [[4.0 * k] for k in [0, *range(10)]]
    against_all = isotropic_mixture(means, 0.0, [0.5] + [0.05] * 10, [0] + [1] * 10)
    assert float(against_all.entropy(10.0)) == pytest.approx(0.16755, abs=5e-6)


def test_finite_data_by_monte_carlo():
    data = empirical_distribution(torch.tensor([[-1.0], [1.0]], dtype=torch.float64), torch.tensor([0, 1]))
    entropy, error = monte_carlo_entropy(data, [0.0, 2.0], 20_000, torch.Generator().manual_seed(0))
    truth = two_gaussians.entropy(two_gaussians.control_parameter(1.0, noise_of([0.0, 2.0]), 2.0, 0.0))
    assert np.all(np.abs(entropy - truth) < 4.0 * error)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(InputError, match="one that quadrature can handle"):
        isotropic_mixture(torch.eye(4), [0.1, 0.2, 0.3, 0.4]).entropy(0.0)
    with pytest.raises(InputError, match="less far apart"):
        isotropic_mixture([[0.0, 0.0], [1.0, 0.0]], [0.0, 1.0]).entropy(12.0)
    with pytest.raises(InputError, match=r"too sharp at sigma = 0\.0302"):
        needle = in_space([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[1e-6, 1.0, 1.0], [1.0, 1.0, 1e-6]], [0.5, 0.5])
        needle.entropy(7.0)
    for level in (np.inf, np.nan):
        with pytest.raises(InputError, match="finite log-snr"):
            FOUR.entropy(level)
    with pytest.raises(InputError, match="count is 1"):
        monte_carlo_entropy(FOUR, 0.0, 1, torch.Generator())


RULES = {
    "line": normal_rule(150, 1),
    "plane": normal_rule(150, 2),
    "space": space_rule(0.4),
    "radial": radial_rule(150, 3),
    "radial, many": radial_rule(150, 200),
}


@pytest.mark.parametrize("name", RULES)
def test_moments_of_rules(name):
    """E|x|^2 = d, E x_1^4 = 3, E x_1 = 0; a ball of 7.5 deviations leaves 1e-10 of the fourth moment out."""
    nodes, weights = RULES[name]
    dimension = nodes.shape[1]
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-13)
    assert float(weights @ (nodes**2).sum(axis=1)) == pytest.approx(dimension, rel=1e-9)
    assert float(weights @ nodes[:, 0] ** 4) == pytest.approx(3.0, abs=1e-8)
    assert float(weights @ nodes[:, 0]) == pytest.approx(0.0, abs=1e-13)


@pytest.mark.parametrize("name", RULES)
def test_rules_on_a_smooth_function_of_the_distance(name):
    """E exp(-|x|^2 / 2d) = (1 + 1/d)^(-d/2)."""
    nodes, weights = RULES[name]
    dimension = nodes.shape[1]
    mean = float(weights @ np.exp(-0.5 * (nodes**2).sum(axis=1) / dimension))
    assert mean == pytest.approx((1.0 + 1.0 / dimension) ** (-0.5 * dimension), rel=1e-10)


def test_the_radius_is_a_chi_variable():
    nodes, weights = radial_rule(400, 5)
    assert float(weights @ nodes[:, 1]) == pytest.approx(stats.chi(4).mean(), rel=1e-10)
    assert float(weights @ np.log(nodes[:, 1])) == pytest.approx(0.5 * (math.log(2.0) + 1.0 - 0.5772156649015329))
