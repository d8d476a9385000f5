"""Paths of fixed points against closed forms for two points, brute-force root scans, and the score of a mixture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from companion.errors import InputError
from derivations.fixed_points_and_branching.data_in_noise import point_set
from derivations.fixed_points_and_branching.fixed_points import data_path, follow, relax
from derivations.kit import landmarks

ROUNDING = 1e-11  # a turn is a root of a series through states that are known to 1e-13


def scanned(points, sigma, count=200_001):
    """All zeros of D(x) - x between the outermost of points on a line, from its changes of sign on a fine grid."""
    y, w = points.points[:, 0], points.weights

    def gap(x):
        exponent = np.log(w) - 0.5 * (np.asarray(x)[..., None] - y) ** 2 / sigma**2
        share = np.exp(exponent - exponent.max(axis=-1, keepdims=True))
        return (share @ y) / share.sum(axis=-1) - x

    grid = np.linspace(y.min() - 1e-3, y.max() + 1e-3, count)
    values = gap(grid)
    at = np.flatnonzero(values[:-1] * values[1:] < 0.0)
    return np.array([brentq(gap, grid[i], grid[i + 1], xtol=1e-14) for i in at])


@given(weight=st.floats(0.05, 0.95), distance=st.floats(0.1, 10.0))
@settings(max_examples=25)
def test_fold_of_two_points_is_the_landmark(weight, distance):
    pair = point_set([[0.0], [distance]], [weight, 1.0 - weight])
    kappa = landmarks.score_splits(weight)
    path = data_path(pair, int(weight > 0.5), distance)  # the lighter point's path ends
    assert path.turns[0].sigma == pytest.approx(distance / np.sqrt(kappa), rel=1e-9)
    if abs(weight - 0.5) > 1e-6:
        assert [turn.kind for turn in path.turns] == ["fold"]
        assert path.unstable[0] == 0 and path.unstable[-1] == 1
        # there the largest eigenvalue of the posterior's covariance is sigma^2
        turn = path.turns[0]
        assert pair.covariance(turn.x, turn.sigma)[0, 0] == pytest.approx(turn.sigma**2, rel=1e-8)


def test_fork_of_two_points():
    pair = point_set([[-1.5, 0.0], [1.5, 0.0]])
    path = data_path(pair, 1, 2.0)
    (turn,) = path.turns
    assert turn.kind == "fork"
    assert turn.sigma == pytest.approx(1.5, abs=ROUNDING)
    assert path.x[-1] == pytest.approx([-1.5, 0.0], abs=1e-12)
    down = follow(pair, [0.0, 0.0], 2.0, 0.3)
    assert [crossing.kind for crossing in down.turns] == ["crossing"]
    assert down.turns[0].sigma == pytest.approx(1.5, abs=ROUNDING)
    # the path itself, as a parametrised curve: sigma^2 = m^2 y / artanh y at x = m y
    y = path.x[(path.x[:, 0] > 1e-3) & (path.x[:, 0] < 1.4), 0] / 1.5
    level = path.sigma[(path.x[:, 0] > 1e-3) & (path.x[:, 0] < 1.4)]
    assert level**2 == pytest.approx(2.25 * y / np.arctanh(y), rel=1e-10)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_paths_on_a_line_are_all_roots_of_a_scan(seed):
    """Every root at every level lies on a path of a data point, and every path goes through roots."""
    draw = np.random.default_rng(seed)
    points = point_set(draw.standard_normal((6, 1)), draw.dirichlet(np.full(6, 4.0)))
    paths = [data_path(points, j, points.diameter) for j in range(6)]
    for sigma in points.spread * np.array([0.25, 0.4, 0.6, 0.9]):
        followed = []
        for path in paths:
            level = np.log(path.sigma / sigma)
            for i in np.flatnonzero(level[:-1] * level[1:] < 0.0):
                share = level[i] / (level[i] - level[i + 1])
                state = (1.0 - share) * path.x[i] + share * path.x[i + 1]
                followed.append(float(follow(points, state, sigma, 2.0 * sigma).x[0, 0]))
        roots = scanned(points, sigma)
        unique = np.unique(np.round(followed, 9))
        assert len(unique) == len(roots)
        assert unique == pytest.approx(roots, abs=1e-8)


def test_relax_climbs_to_the_top():
    points = point_set([[-1.0, 0.0], [1.0, 0.2], [0.3, 1.4]], [0.3, 0.3, 0.4])
    draw = np.random.default_rng(0)
    for sigma in (0.2, 0.5, 2.0):
        for start in draw.standard_normal((5, 2)):
            top = relax(points, start, sigma)
            assert points.denoised(top, sigma) == pytest.approx(top, abs=1e-13)
            assert points.stretching(top, sigma).max() < 0.0


@pytest.mark.parametrize(("x", "sigma", "last"), [([0.0], 1.0, 1.0), ([0.0], -1.0, 1.0), ([9.0], 0.5, 1.0)])
def test_bad_input(x, sigma, last):
    pair = point_set([[-1.0], [1.0]])
    with pytest.raises(InputError):
        follow(pair, x, sigma, last)
    with pytest.raises(InputError):
        data_path(pair, 2, 1.0)
    with pytest.raises(InputError):
        relax(pair, x, 0.0)
