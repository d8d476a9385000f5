"""The derivations for fixed points: every displayed equation, its mutants, and the numbers that follow from it."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from companion.exact.mixtures import isotropic_mixture
from companion.forward import ornstein_uhlenbeck
from derivations.fixed_points_and_branching import proofs
from derivations.fixed_points_and_branching.branch_tree import branch_tree
from derivations.fixed_points_and_branching.data_in_noise import point_set
from derivations.fixed_points_and_branching.fixed_points import data_path, follow, relax
from derivations.kit import landmarks
from derivations.kit.identity import survivors

IDENTITIES = {identity.label: identity for identity in proofs.identities()}


@pytest.mark.parametrize("label", sorted(IDENTITIES))
def test_every_identity_holds_and_no_slip_survives(label):
    assert IDENTITIES[label].holds()
    assert [mutant.slip for mutant in survivors(IDENTITIES[label])] == []


def test_def_fixed_points():
    """Stable means that states nearby come back under x <- D(x), unstable that they do not."""
    points = point_set([[-1.0, 0.0], [1.0, 0.3], [0.2, 1.5]])
    sigma = 0.6
    for top in (relax(points, y, sigma) for y in points.points):
        assert points.stretching(top, sigma).max() < 0.0
        x = top + np.array([1e-3, -2e-3])
        for _ in range(2000):
            x = points.denoised(x, sigma)
        assert x == pytest.approx(top, abs=1e-9)
    path = data_path(points, 0, points.diameter)
    saddle = path.x[-2]
    level = path.sigma[-2]
    assert path.turns[0].kind == "fold" and points.stretching(saddle, level).max() > 0.0
    along = np.linalg.eigh(points.covariance(saddle, level))[1][:, -1]
    moved = points.denoised(saddle + 1e-6 * along, level) - saddle
    assert abs(moved @ along) > 1e-6


def test_thm_fixed_stability():
    """sigma^2 times the Jacobian of the score, by differences of an independent score, has the rates as eigenvalues."""
    draw = np.random.default_rng(0)
    places, weights, sigma, step = draw.standard_normal((5, 3)), draw.dirichlet(np.full(5, 3.0)), 0.7, 1e-5
    mixture, points = isotropic_mixture(places.tolist(), 0.0, weights.tolist()), point_set(places, weights)
    level = torch.tensor([sigma], dtype=torch.float64)

    def score(x):
        return mixture.score(torch.from_numpy(x)[None], level)[0].numpy()

    for x in draw.standard_normal((4, 3)):
        jacobian = np.array([(score(x + e) - score(x - e)) / (2.0 * step) for e in step * np.eye(3)])
        rates = np.linalg.eigvalsh(0.5 * (jacobian + jacobian.T)) * sigma**2
        assert points.stretching(x, sigma) == pytest.approx(rates, abs=1e-7)  # the step squared
    top = relax(points, places[0], sigma)
    assert score(top) == pytest.approx(np.zeros(3), abs=1e-12)
    assert points.posterior(top, sigma) @ places == pytest.approx(top, abs=1e-13)


def test_thm_fixed_contraction():
    """No slope above (diameter / 2 sigma)^2 at random states; two equal points attain it at their midpoint."""
    draw = np.random.default_rng(1)
    for dimension in (1, 2, 5):
        points = point_set(draw.standard_normal((6, dimension)), draw.dirichlet(np.ones(6)))
        for x in 2.0 * draw.standard_normal((200, dimension)):
            sigma = points.diameter * draw.uniform(0.2, 2.0)
            bound = (0.5 * points.diameter / sigma) ** 2
            assert points.stretching(x, sigma).max() + 1.0 <= bound * (1.0 + 1e-12)
        ends = [relax(points, y, 0.5001 * points.diameter) for y in points.points]
        assert np.ptp(ends, axis=0) == pytest.approx(0.0, abs=1e-9)
    assert point_set([[-1.0], [1.0]]).stretching([0.0], 1.0) == pytest.approx([0.0], abs=1e-15)
    assert branch_tree(point_set([[-1.0], [1.0]])).mergers[0].sigma == pytest.approx(1.0, abs=1e-11)


def test_prop_fixed_drift():
    """Where the drift at the midpoint loses its slope, by bisection on the score of the diffused pair."""
    process, step = ornstein_uhlenbeck(), 1e-6
    for m in (0.5, 1.0, 1.7):
        pair = isotropic_mixture([[-m], [m]], 0.0)

        def slope(signal, factor, pair=pair):
            t = -0.5 * np.log(signal)
            diffused = pair.diffused(process, t)
            at = torch.tensor([[step]], dtype=torch.float64)
            score = float(diffused.score(at, torch.zeros(1, dtype=torch.float64)))
            return (0.0 if factor == 0 else step) + (1.0 if factor == 0 else factor) * score

        of_score = brentq(lambda a: slope(a, 0), 0.01, 0.99)
        of_equation = brentq(lambda a: slope(a, 2), 0.001, 0.99)
        assert of_score == pytest.approx(1.0 / (1.0 + m**2), rel=1e-6)
        assert of_equation == pytest.approx(np.sqrt(1.0 + m**4) - m**2, rel=1e-6)
        if m < 1.0:
            assert brentq(lambda a: slope(a, 1), 0.01, 0.99) == pytest.approx(1.0 - m**2, rel=1e-6)
        else:
            assert all(slope(a, 1) > -1e-12 for a in np.linspace(0.01, 0.99, 50))  # never a slope below zero


def test_thm_fixed_two_points():
    """Fork, fold, and the square-root law with its factor, on paths that were followed."""
    assert IDENTITIES["eq-fixed-curie-weiss"].holds() and IDENTITIES["eq-fixed-field"].holds()
    m = 1.3
    path = data_path(point_set([[-m], [m]]), 1, 2.0)
    below = 1.0 - path.sigma / m
    near = (below > 1e-5) & (below < 1e-3) & (path.x[:, 0] > 0.0)
    exponent, intercept = np.polyfit(np.log(below[near]), np.log(path.x[near, 0] / m), 1)
    assert exponent == pytest.approx(0.5, abs=1e-3)  # the next term is smaller by a factor of `below`
    assert np.exp(intercept) == pytest.approx(np.sqrt(6.0), rel=1e-2)
    for weight in (0.3, 0.45):
        half_log_odds = 0.5 * np.log(weight / (1.0 - weight))
        turn = data_path(point_set([[-m], [m]], [1.0 - weight, weight]), 1, 2.0).turns[0]
        a = (m / turn.sigma) ** 2
        y = np.sqrt(1.0 - 1.0 / a)
        assert abs(half_log_odds) == pytest.approx(a * y - np.arctanh(y), rel=1e-9)
        assert turn.x[0] / m == pytest.approx(y, rel=1e-6)
        assert 4.0 * a == pytest.approx(landmarks.score_splits(weight), rel=1e-10)


def test_prop_fixed_interference():
    """The exact field of the other points gives their fixed point; the field as printed in the paper does not."""
    places, sigma = np.array([1.0, -1.0, 3.0]), 0.9
    points = point_set(places[:, None])
    x = float(relax(points, [-0.7], sigma)[0])
    share = points.posterior([x], sigma)
    exact = 0.5 * sigma**2 * np.log((share @ (1.0 + places)) / (share @ (1.0 - places))) - x
    assert np.tanh((x + exact) / sigma**2) == pytest.approx(x, abs=1e-12)
    printed = 0.5 * sigma**2 * (np.log(np.exp(x) + 3.0 * np.exp((-4.5 + 3.0 * x) / sigma**2)) - x)
    assert exact > 0.0 and printed / exact < 0.7


@pytest.mark.parametrize("count", [3, 4, 7])
def test_prop_fixed_simplex(count):
    """The branch of a point folds at the least kappa of the curve, before the centre gives way at 2K."""
    points = point_set(np.eye(count) / np.sqrt(2.0)).in_its_span()
    path = data_path(points, 0, 1.0, to_first_turn=True)
    z = np.linspace(1e-3, 12.0, 200_001)
    curve = 2.0 * z * (np.exp(z) + count - 1.0) / np.expm1(z)
    assert path.turns[0].kind == "fold"
    assert path.turns[0].sigma ** -2.0 == pytest.approx(curve.min(), rel=1e-8)  # the grid's step squared
    assert curve.min() < 2.0 * count
    # between the two the centre is a top, and so are all the points: K + 1 of them
    sigma = np.sqrt(1.0 / (0.5 * curve.min() + count))
    assert points.stretching(np.zeros(count - 1), sigma).max() < 0.0
    assert points.stretching(relax(points, points.points[0], sigma), sigma).max() < 0.0
    assert np.linalg.norm(relax(points, points.points[0], sigma)) > 0.1
    starts = np.random.default_rng(0).dirichlet(np.full(count, 0.5), 60) @ points.points
    tops = {tuple(relax(points, start, sigma).round(5) + 0.0) for start in starts}
    stable = {top for top in tops if points.stretching(top, sigma).max() < 0.0}
    assert len(stable) == count + 1
    centre = follow(points, np.zeros(count - 1), 0.6, 0.1)
    assert centre.turns[0].sigma ** -2.0 == pytest.approx(2.0 * count, rel=1e-9)


def test_prop_fixed_stretching():
    """Two neighbours on the reverse probability flow of a pair, against the closed form of their distance."""
    points, first, last, apart = point_set([[-1.0], [1.0]]), 2.0, 0.5, 1e-7

    def flow(x, steps=20_000):
        levels = np.linspace(np.log(first), np.log(last), steps + 1)
        h = levels[1] - levels[0]
        for level in levels[:-1]:  # the middle of the step: an error of h^2
            half = x + 0.5 * h * (x - points.denoised([x], np.exp(level))[0])
            x = x + h * (half - points.denoised([half], np.exp(level + 0.5 * h))[0])
        return x

    expected = (last / first) * np.exp(0.5 * (last**-2.0 - first**-2.0))
    assert flow(apart) / apart == pytest.approx(expected, rel=1e-6)
    assert points.stretching([0.0], last) == pytest.approx([last**-2.0 - 1.0])


def test_prop_fixed_line():
    """On a line the number of fixed points never rises with the noise, and mergers are one fewer than points."""
    draw = np.random.default_rng(3)
    points = point_set(draw.standard_normal((7, 1)), draw.dirichlet(np.full(7, 2.0)))
    grid = np.linspace(points.points.min() - 1e-3, points.points.max() + 1e-3, 20_001)
    counts = []
    for sigma in points.spread * np.geomspace(0.1, 2.0, 60):
        log_share = np.log(points.weights) - 0.5 * (grid[:, None] - points.points[:, 0]) ** 2 / sigma**2
        share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
        gap = share @ points.points[:, 0] / share.sum(axis=1) - grid
        counts.append(int((gap[:-1] * gap[1:] < 0.0).sum()))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1
    assert len(branch_tree(points).mergers) == 6
