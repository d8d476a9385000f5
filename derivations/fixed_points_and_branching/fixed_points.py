"""Paths of fixed points of the denoiser of a point set, x = D(x, sigma), followed as the noise changes.

In the variance-exploding frame they are the zeros of the score (D - x) / sigma^2; each is a weighted mean of the
points, and stable as long as the largest eigenvalue of Cov(Y | x) is below sigma^2. Paths are followed by their arc
length in (x / sigma, log sigma): a fold, where sigma turns, is no obstacle. Arrays are float64 numpy.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from companion.arguments import Array, whole_number
from companion.errors import InputError
from derivations.fixed_points_and_branching.data_in_noise import PointSet, positive_level

_LONGEST, _SHORTEST = 0.1, 1e-9  # steps of arc length
_RESOLVED = 1e-4  # a gap in x / sigma where paths nearly meet in a fork; narrower ones count as forks
_BEND = 0.98  # cosine of the largest angle between the tangents of two neighbours on a path
_NODES, _PARTS = 14, (1.0, 0.1, 0.01)  # nodes on a piece of path, and pieces that are tried, to find a turn in it


@dataclass(frozen=True, eq=False)
class Turn:
    """Where something happens on a path: the noise level, the state (d,), and what.

    Folds are told from forks by a gap of 1e-4 sigma; several forks in one place are not told apart.

    "fold": sigma turns, and a stable and an unstable path meet. "fork": sigma turns, and the path goes on as stable or
    unstable as it came, the mirror image of itself. "crossing": the path goes on in sigma and changes its stability,
    because others fork from it.
    """

    sigma: float
    x: Array
    kind: Literal["fold", "fork", "crossing"]


@dataclass(frozen=True, eq=False)
class Path:
    """A connected path of fixed points: `sigma` (n,), `x` (n, d), `unstable` (n,) the number of positive rates, and
    its turns in the order in which they are met."""

    sigma: Array
    x: Array
    unstable: NDArray[np.int64]
    turns: tuple[Turn, ...]


def data_path(points: PointSet, which: int, last_sigma: float, to_first_turn: bool = False) -> Path:
    """The path of fixed points that begins at point number `which`, where the noise is small.

    It starts at a twentieth of the smallest distance, where the fixed point and the data point agree to rounding,
    and ends where it passes `last_sigma`, comes back to little noise, or, if so asked, at its first turn. Raises
    InputError for a point that does not exist and a last level below the first.

    >>> from derivations.fixed_points_and_branching.data_in_noise import point_set
    >>> pair = point_set([[-1.0], [1.0]])
    >>> path = data_path(pair, 1, 1.5)
    >>> path.turns[0].kind, round(path.turns[0].sigma, 12), path.x[-1].round(12)
    ('fork', 1.0, array([-1.]))
    """
    start = points.points[whole_number("which", which, 0, len(points.points) - 1)]
    return follow(points, start, 0.05 * points.nearest, last_sigma, to_first_turn=to_first_turn)


def follow(points: PointSet, x: ArrayLike, sigma: float, last_sigma: float, to_first_turn: bool = False) -> Path:
    """The path of fixed points through the one near (x, sigma), set out towards `last_sigma`, through folds and forks.

    Pseudo-arclength continuation: a step along the tangent in (x, log sigma), Newton's method back to the path on the
    plane across it. Turns are roots along the path of the tangent's component in log sigma, or of an eigenvalue, to
    rounding. The path ends where it leaves the levels between `sigma` and `last_sigma`. Raises InputError for levels
    that are not positive, not finite, or equal, and where no fixed point is near.

    >>> from derivations.fixed_points_and_branching.data_in_noise import point_set
    >>> skewed = point_set([[-1.0], [1.0]], [0.4, 0.6])
    >>> [(turn.kind, round(turn.sigma, 6)) for turn in data_path(skewed, 0, 1.5).turns]
    [('fold', 0.818782)]
    """
    first, last = positive_level("sigma", sigma), positive_level("last_sigma", last_sigma)
    if first == last:
        raise InputError("last_sigma", last_sigma, "another level than sigma")
    curve = _Curve(points)
    low, high = np.log(min(first, last)), np.log(max(first, last))
    here = curve.polished(points.state(x), np.log(first))
    tangent = curve.tangent(here, np.append(np.zeros(len(here) - 1), np.sign(last - first)))
    trail, turns, step = [here], [], 0.25 * _LONGEST
    while step > _SHORTEST:
        found = curve.step(here, tangent, step)
        if found is None or curve.leaves_the_tangent(here, tangent, step, found):
            step *= 0.5
            continue
        ahead = curve.tangent(found, tangent)
        turned = bool(tangent[-1] * ahead[-1] < 0.0)
        if step > _RESOLVED and turned != (curve.unstable(here) != curve.unstable(found)):
            step *= 0.5  # no fold: a fork, or a step across the gap where a fork is not quite one
            continue
        turn = curve.turn(here, tangent, step, found, turned)
        if turn is not None:
            turns.append(turn)
            if to_first_turn and turn.kind != "crossing":
                trail.append(np.append(turn.x, np.log(turn.sigma)))
                break
        if not low <= found[-1] <= high:
            trail.append(curve.cut(here, tangent, step, low if found[-1] < low else high))
            break
        here, tangent = found, ahead
        trail.append(here)
        step = min(1.3 * step, _LONGEST)
    states = np.array(trail)
    unstable = np.array([curve.unstable(state) for state in trail])
    return Path(np.exp(states[:, -1]), states[:, :-1], unstable, tuple(turns))


def relax(points: PointSet, x: ArrayLike, sigma: float) -> Array:
    """The stable fixed point (d,) into which a state runs when it climbs the log density at a fixed noise level.

        x <- x + |I - Cov(Y | x) / sigma^2|^-1 (D(x) - x)

    This is Newton's step to the top where the density is concave, and away from the bottom where it is not; no step is
    longer than a twentieth of sigma, or leads down. From an unstable fixed point it goes nowhere: kick it along the top
    eigenvector first. Raises InputError for a state of another dimension or a level that is not positive.

    >>> from derivations.fixed_points_and_branching.data_in_noise import point_set
    >>> relax(point_set([[-1.0], [1.0]]), [0.1], 0.5).round(6)
    array([0.999326])
    """
    state, level = points.state(x), positive_level("sigma", sigma)
    rounding = 8.0 * np.finfo(np.float64).eps * float(np.abs(points.points).max())
    for _ in range(10_000):
        residual = points.denoised(state, level) - state
        if np.linalg.norm(residual) <= rounding:
            break
        values, axes = np.linalg.eigh(np.eye(len(state)) - points.covariance(state, level) / level**2)
        step = axes @ (axes.T @ residual / np.maximum(np.abs(values), 1e-12))
        size = float(np.linalg.norm(step))
        step *= min(1.0, 0.05 * level / size)
        if size > 1e-3 * level:  # shorter ones are Newton's last, whose gain is lost in rounding
            here = points.log_density(state, level)
            while points.log_density(state + step, level) < here and np.linalg.norm(step) > 1e-6 * level:
                step *= 0.5
        state = state + step
        if size <= 1e-13 * level:
            break
    return state


class _Curve:
    """F(x, log sigma) = D(x) - x = 0; a state is z = (x, log sigma), and lengths of x are in units of sigma."""

    def __init__(self, points: PointSet) -> None:
        self.set, self.eye = points, np.eye(points.points.shape[1])

    def equations(self, z: Array) -> tuple[Array, Array]:
        """F / sigma (d,) and the derivatives (d, d + 1) by x / sigma, this sigma as a unit, and log sigma."""
        x, sigma = z[:-1], np.exp(z[-1])
        posterior = self.set.posterior(x, sigma)
        mean = posterior @ self.set.points
        centred = (self.set.points - mean) / sigma
        weighted = posterior[:, None] * centred
        # d log p_j / d log sigma is |x - y_j|^2 / sigma^2 but for a term without j.
        sweep = weighted.T @ (((x - self.set.points) / sigma) ** 2).sum(axis=1)
        return (mean - x) / sigma, np.column_stack([weighted.T @ centred - self.eye, sweep])

    def rates(self, z: Array) -> Array:
        return self.set.stretching(z[:-1], np.exp(z[-1]))

    def unstable(self, z: Array) -> int:
        return int((self.rates(z) > 0.0).sum())

    def polished(self, place: Array, level: float) -> Array:
        z, sigma = np.append(place, level), np.exp(level)
        for _ in range(50):
            value, slopes = self.equations(z)
            change = np.linalg.lstsq(slopes[:, :-1], -value, rcond=None)[0]
            z[:-1] += sigma * change
            if np.linalg.norm(change) < 1e-13:
                break
        if not np.linalg.norm(self.equations(z)[0]) < 1e-9 or np.linalg.norm(z[:-1] - place) > 0.5 * sigma:
            raise InputError("x", place.tolist(), "a state near a fixed point")
        return z

    def tangent(self, z: Array, towards: Array) -> Array:
        """The unit vector along the path, on the side of `towards`."""
        direction: Array = np.linalg.svd(self.equations(z)[1])[2][-1]
        return direction if direction @ towards > 0.0 else -direction

    def step(self, here: Array, tangent: Array, length: float) -> Array | None:
        """The state of the path in the plane across its tangent at `length`; None if Newton's method got lost."""
        unit = np.append(np.full(len(here) - 1, np.exp(here[-1])), 1.0)
        offset = length * tangent
        for _ in range(9):
            value, slopes = self.equations(here + unit * offset)
            slopes[:, :-1] *= np.exp(-offset[-1])
            system, miss = np.vstack([slopes, tangent]), np.append(value, tangent @ offset - length)
            change = np.linalg.lstsq(system, -miss, rcond=None)[0]
            offset = offset + change
            if np.linalg.norm(change) < 1e-13:
                break
        # Rounding moves a state by this much, divided by how fast F changes there.
        settled = np.linalg.norm(change) < 1e-10 or np.linalg.norm(value) < 1e-13
        return here + unit * offset if settled else None

    def leaves_the_tangent(self, here: Array, tangent: Array, length: float, found: Array) -> bool:
        """Whether the step bends too much, and may have ended on another path."""
        ahead = self.tangent(found, tangent)
        off = (found - here) / np.append(np.full(len(here) - 1, np.exp(here[-1])), 1.0) - length * tangent
        return bool(ahead @ tangent < _BEND or np.linalg.norm(off) > 0.2 * length)

    def turn(self, here: Array, tangent: Array, step: float, found: Array, turned: bool) -> Turn | None:
        before, after = self.unstable(here), self.unstable(found)
        if not turned and before == after:
            return None

        # The path is analytic in its length: a polynomial through some of its states stands for it, since at a fork
        # itself Newton's method has two directions to choose from.
        reaches = (
            [(0.0, step)] if turned and before != after else [(-part * _LONGEST, part * _LONGEST) for part in _PARTS]
        )
        nodes = chebyshev.chebpts1(_NODES)
        at = 0.5 * (here + found)  # right to the square of a step, if no polynomial can be had
        for first, last in reaches:
            lengths = 0.5 * (first + last) + 0.5 * (last - first) * nodes
            states = [self.step(here, tangent, float(length)) for length in lengths]
            if any(state is None for state in states):
                continue
            series = chebyshev.chebfit(nodes, np.array(states), _NODES - 1)

            def passes(node: float, series: Array = series) -> float:
                if turned:
                    return float(chebyshev.chebval(node, chebyshev.chebder(series[:, -1])))
                return float(self.rates(np.asarray(chebyshev.chebval(node, series)))[-max(before, after)])

            if passes(-1.0) * passes(1.0) < 0.0:
                at = np.asarray(chebyshev.chebval(brentq(passes, -1.0, 1.0, xtol=1e-15, rtol=1e-14), series))
                break
        kind: Literal["fold", "fork", "crossing"] = "crossing" if not turned else "fork" if before == after else "fold"
        return Turn(float(np.exp(at[-1])), at[:-1], kind)

    def cut(self, here: Array, tangent: Array, step: float, level: float) -> Array:
        """The state at which a step passes a level."""

        def above(length: float) -> float:
            state = self.step(here, tangent, length)
            return float((here if state is None else state)[-1]) - level

        state = self.step(here, tangent, float(brentq(above, 0.0, step, xtol=1e-15, rtol=1e-14)))
        return here if state is None else state
