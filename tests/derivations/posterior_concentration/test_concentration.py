"""Concentration of the posterior over points: the theorems of its chapter, by routes that share no code with them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.errors import InputError
from companion.exact import equidistant
from companion.exact.mixtures import isotropic_mixture
from derivations.posterior_concentration import concentration

NAN, INF = math.nan, math.inf


def on_grid(points, sigma, step=0.02):
    """Of points on a line: E s^2, E sum p^2, E tr Cov, H(y|x), and the entropy of x, by a sum over a fine grid."""
    y = np.asarray(points, dtype=float)
    x = np.arange(y.min() - 10.0 * sigma, y.max() + 10.0 * sigma, step * sigma)
    bells = np.exp(-0.5 * ((x - y[:, None]) / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi) * len(y))
    p = bells.sum(axis=0)
    shares, cell = bells / p, step * sigma
    score = np.gradient(np.log(p), x, edge_order=2)
    mean = y @ shares
    spread = ((y[:, None] - mean) ** 2 * shares).sum(axis=0)
    open_ = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=0)
    fields = (score**2, (shares**2).sum(axis=0), spread, open_, -np.log(p))
    return [float((field * p).sum() * cell) for field in fields]


def test_thm_concentration_norm():
    """Any points: the squared score, by differences of log p, from the spread; the production, from it too."""
    for points in ([-1.0, 0.2, 0.5, 2.0], [-3.0, -2.9, 3.0]):
        for sigma in (0.3, 1.0, 2.5):
            norm, _, spread, _, _ = on_grid(points, sigma)
            # The gradient's differences are of second order in steps of 0.02 sigma.
            assert norm == pytest.approx(float(concentration.squared_score(sigma, 1, spread)), abs=2e-3 / sigma**2)
            step = 1e-3
            above, below = (on_grid(points, (sigma**-2 + sign * step) ** -0.5)[3] for sign in (1.0, -1.0))
            assert (below - above) / (2.0 * step) == pytest.approx(0.5 * spread, abs=1e-5 + step**2 * 10.0)


def test_thm_concentration_equidistant():
    """Three and four points at one distance: the entropy's slope by quadrature in space, means over noisy states."""
    for points in (torch.eye(3, dtype=torch.float64), torch.eye(4, dtype=torch.float64) - 0.25):
        mixture, step = isotropic_mixture(points.tolist(), 0.0), 1e-3
        for snr in (0.5, 3.0):
            above, below = mixture.entropy(np.log([snr + step, snr - step]))
            found = float(concentration.equidistant_points(2.0 * snr, len(points)))  # Delta^2 = 2
            assert (below - above) / (2.0 * step) == pytest.approx(0.5 * (1.0 - found), abs=1e-6)
        seen = concentration.measure(points, [-1.0, 1.0], 4000, torch.Generator().manual_seed(0))
        exact = concentration.equidistant_points(2.0 * np.exp(seen.log_snr), len(points))
        assert np.all(np.abs(seen.concentration - exact) < 4.0 * seen.concentration_se)
        assert np.all(np.abs(seen.spread - (1.0 - exact)) < 4.0 * seen.spread_se)
        assert np.all(np.abs(seen.of_the_truth - exact) < 4.0 * seen.of_the_truth_se)
        left = equidistant.entropy(2.0 * np.exp(seen.log_snr), len(points))
        assert np.all(np.abs(seen.entropy - left) < 4.0 * seen.entropy_se)


def test_prop_concentration_centred():
    """Points at one distance whose mean is zero lie at R with Delta^2/2 = R^2 N/(N-1)."""
    for count in (2, 3, 10):
        points = np.eye(count) - 1.0 / count
        radius2 = (points**2).sum(axis=1)
        assert np.allclose(points.mean(axis=0), 0.0)
        assert radius2 == pytest.approx(1.0 - 1.0 / count)
        assert radius2[0] * count / (count - 1) == pytest.approx(1.0)  # Delta^2 / 2 = 1
        gram = points @ points.T
        assert gram[0, 1] == pytest.approx(-radius2[0] / (count - 1))
    # For two points at +-1 the printed right side, R^2 in the place of Delta^2/2, is half of the truth.
    norm, squares, spread, _, _ = on_grid([-1.0, 1.0], 1.0)
    assert spread == pytest.approx(2.0 * (1.0 - squares), rel=1e-9)
    assert 1.0 - norm == pytest.approx(2.0 * (1.0 - squares), abs=1e-3)


@settings(max_examples=25)
@given(
    st.lists(st.floats(-3.0, 3.0), min_size=2, max_size=6, unique=True).filter(lambda y: np.ptp(y) > 0.1),
    st.floats(0.2, 3.0),
)
def test_prop_concentration_bounds(points, sigma):
    norm, squares, _, _, _ = on_grid(points, sigma)
    variance = float(np.var(points))
    rounding = 2e-3 / sigma**2
    floor = float(concentration.score_floor(sigma, 1, variance))
    assert floor >= 1.0 / sigma**2 - variance / sigma**4 - 1e-9
    assert floor - rounding <= norm <= 1.0 / sigma**2 + rounding
    assert 1.0 / len(points) - 1e-9 <= squares <= 1.0 + 1e-9


def test_prop_concentration_bounds_are_reached():
    """The floor by an isotropic Gaussian, whose score is -x/(h^2 + sigma^2)."""
    for h2, sigma, d in ((4.0, 0.7, 3), (0.1, 2.0, 10)):
        gaussian = d / (h2 + sigma**2)
        assert float(concentration.score_floor(sigma, d, d * h2)) == pytest.approx(gaussian, rel=1e-14)


def test_which_entropy_the_bounds_make_grow():
    """Per unit of sigma^2 the entropy of x grows by E|s|^2/2, that of y given x by what is missing to d/sigma^2."""
    points, sigma, step = [-1.0, 0.3, 2.0], 0.8, 1e-3
    norm, *_ = on_grid(points, sigma)
    above, below = (on_grid(points, math.sqrt(sigma**2 + sign * step)) for sign in (1.0, -1.0))
    of_x, of_y = ((above[k] - below[k]) / (2.0 * step) for k in (4, 3))
    assert of_x == pytest.approx(0.5 * norm, abs=1e-3)
    assert of_y == pytest.approx(0.5 * (1.0 / sigma**2 - norm), abs=1e-3)


@pytest.mark.parametrize("count", [2, 7, 1000])
def test_cor_concentration_area(count):
    """The doubt 1 - E sum p^2 has the area 4 log N over kappa."""
    levels = np.linspace(-16.0, 7.0, 1151)  # below, the area is kappa itself; above, it is exp(-kappa/8)
    doubt = 1.0 - concentration.equidistant_points(np.exp(levels), count)
    area = np.trapezoid(doubt * np.exp(levels), levels) + math.exp(levels[0])
    # The trapezoidal rule is of second order: 0.02^2/12 times slopes at its ends, which vanish.
    assert area == pytest.approx(4.0 * math.log(count), rel=1e-6)


def test_prop_concentration_groups():
    """m groups that are told apart, of points that are not: m/N, whatever the sizes of the groups."""
    sizes = [1, 2, 7]
    points = np.concatenate([np.full(size, 40.0 * g) + 1e-5 * np.arange(size) for g, size in enumerate(sizes)])
    _, squares, spread, _, _ = on_grid(points, 1.0)
    assert squares == pytest.approx(3.0 / 10.0, abs=1e-8)
    assert spread < 1e-9  # and not R^2 (1 - m/N): the groups are small


def test_prop_concentration_levels():
    """Trees of points: against Monte Carlo with the exact posterior, and one level against the equidistant integral."""
    lengths, branching, snr = [1.0, 0.3], [3, 4], np.array([0.3, 2.0, 12.0, 60.0])
    axes = torch.eye(15, dtype=torch.float64)
    points = torch.stack([lengths[0] * axes[g] + lengths[1] * axes[3 + 4 * g + k] for g in range(3) for k in range(4)])
    exact = concentration.nested_points(snr, lengths, branching)
    seen = concentration.measure(points, np.log(snr), 6000, torch.Generator().manual_seed(1))
    assert np.all(np.abs(seen.concentration - exact[1]) < 4.0 * seen.concentration_se)
    spread = lengths[0] ** 2 * (1.0 - exact[0]) + lengths[1] ** 2 * (1.0 - exact[1])
    assert np.all(np.abs(seen.spread - spread) < 4.0 * seen.spread_se)
    one = concentration.nested_points(snr, [0.7], [9])[0]
    np.testing.assert_allclose(one, concentration.equidistant_points(2.0 * 0.49 * snr, 9), atol=1e-10)
    # A level of two and a level of three under one length are six points at two distances; at the ends, counts.
    start, end = (concentration.nested_points(at, [1.0, 0.2], [2, 3]) for at in (1e-6, 5e3))
    np.testing.assert_allclose(start, [1 / 2, 1 / 6], atol=1e-5)
    np.testing.assert_allclose(end, [1.0, 1.0], atol=1e-8)


def test_prop_concentration_levels_area():
    """The entropy that a tree of points gives up is the logarithm of their number."""
    lengths, branching = [1.0, 0.2, 0.05], [2, 3, 4]
    levels = np.linspace(-5.0, 11.5, 100)
    told = concentration.nested_points(np.exp(levels), lengths, branching)
    rate = 0.5 * sum(a**2 * (1.0 - c) for a, c in zip(lengths, told, strict=True))
    start = 0.5 * sum(a**2 * (1.0 - 1.0 / n) for a, n in zip(lengths, np.cumprod(branching), strict=True))
    # Below the first level the rate is a straight line, to snr^2; the rule misses step^2/12 of the slope there.
    per_level, step = rate * np.exp(levels), levels[1] - levels[0]
    area = np.trapezoid(per_level, levels) - step**2 / 12.0 * (0.0 - per_level[0])
    area += 0.5 * (start + rate[0]) * math.exp(levels[0])
    assert area == pytest.approx(math.log(24.0), abs=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 6), st.floats(-2.0, 3.0))
def test_prop_concentration_bracket(seed, count, level):
    """State by state, so also on average: the spread between the smallest and the largest squared distance."""
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    seen = concentration.measure(points, [level], 50, torch.Generator().manual_seed(seed + 1))
    apart = torch.cdist(points, points).square()
    least, most = float(apart[~torch.eye(count, dtype=torch.bool)].min()), float(apart.max())
    doubt = 1.0 - seen.concentration[0]
    assert 0.5 * least * doubt - 1e-12 <= seen.spread[0] <= 0.5 * most * doubt + 1e-12


def test_concentration_of_equidistant_points_is_the_posterior_of_the_truth():
    kappa = np.array([0.0, 1.0, 10.0])
    step = 1e-3
    slope = (equidistant.entropy(kappa + 2 * step, 5) - equidistant.entropy(kappa, 5)) / (2 * step)
    np.testing.assert_allclose(concentration.equidistant_points(kappa + step, 5), 1.0 + 4.0 * slope, atol=1e-5)


NUMBERS = (NAN, -1.0, "many", None, [1.0, NAN], INF)


@pytest.mark.parametrize("bad", NUMBERS, ids=str)
def test_bad_numbers(bad):
    with pytest.raises(InputError, match="sigma"):
        concentration.squared_score(bad, 2, 1.0)
    with pytest.raises(InputError, match="spread"):
        concentration.squared_score(1.0, 2, bad)
    with pytest.raises(InputError, match="variance"):
        concentration.score_floor(1.0, 2, bad)
    with pytest.raises(InputError, match="snr"):
        concentration.nested_points(bad, [1.0], [2])
    with pytest.raises(InputError, match="kappa"):
        concentration.equidistant_points(bad if bad != INF else -1.0, 3)
    with pytest.raises(InputError, match="log_snr"):
        concentration.measure(torch.eye(2), bad, 10, torch.Generator())


def test_bad_trees_and_counts():
    for lengths, branching, name in (
        ([1.0], [2, 2], "lengths"), ([], [], "lengths"), ([0.0], [2], "lengths"), ([1.0], [1], "branching"),
        ([1.0], [2.5], "branching"), ("a", [2], "lengths"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=name):
            concentration.nested_points(1.0, lengths, branching)
    assert concentration.nested_points(1e300, [1.0, 1e-3], [2, 2]).tolist() == pytest.approx([1.0, 1.0], abs=1e-12)
    for bad in (0, 1, 2.5, "many", None):
        with pytest.raises(InputError, match="count"):
            concentration.measure(torch.eye(2), [0.0], bad, torch.Generator())
    for bad in (0, -1, 1.5, None):
        with pytest.raises(InputError, match="dimension"):
            concentration.squared_score(1.0, bad, 1.0)
    with pytest.raises(InputError, match="points"):
        concentration.measure(torch.tensor([[1.0], [NAN]]), [0.0], 10, torch.Generator())
