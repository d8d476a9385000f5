"""The reverse probability flow of a point set, and how fast neighbouring trajectories part along it."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson

from companion.arguments import Array, numbers, whole_number
from companion.errors import InputError
from derivations.fixed_points_and_branching.data_in_noise import PointSet


@dataclass(frozen=True, eq=False)
class Trajectories:
    """States `x` (levels, count, d) of some trajectories at the levels `sigma` (levels,), from noise to data.

    `rate` (levels, count) is the largest of `PointSet.stretching` there.
    """

    sigma: Array
    x: Array
    rate: Array

    @property
    def stretch(self) -> Array:
        """The integral of the largest rate since the first level, by Simpson's rule: the most that log |delta| can have
        grown by, (levels, count). On a line it is what it has grown by. Source: ID 50, 51."""
        return np.asarray(cumulative_simpson(self.rate, x=-np.log(self.sigma), axis=0, initial=0.0))


def reverse_flow(points: PointSet, x: ArrayLike, sigma: ArrayLike, steps: int = 4) -> Trajectories:
    """Solutions of the reverse probability flow from states x (count, d) at the first of the decreasing levels `sigma`.

        dx / d(-log sigma) = D(x, sigma) - x

    By the Runge-Kutta rule of fourth order with `steps` equal steps in log sigma from each level to the next. On a line
    the flow keeps the share of the states below a trajectory. Raises InputError for states of another dimension, levels
    that are not positive and decreasing, or fewer than one step. Source: ID 47.

    >>> from derivations.fixed_points_and_branching.data_in_noise import point_set
    >>> reverse_flow(point_set([[-1.0], [1.0]]), [[0.0], [0.1]], np.geomspace(2.0, 0.01, 50)).x[-1].round(1)
    array([[0.],
           [1.]])
    """
    levels = numbers("sigma", sigma, "positive decreasing levels", lambda s: (s > 0.0) & np.isfinite(s))
    states = numbers("x", x, "finite coordinates", np.isfinite)
    if levels.ndim != 1 or len(levels) < 2 or not np.all(np.diff(levels) < 0.0):
        raise InputError("sigma", sigma, "positive decreasing levels")
    if states.ndim != 2 or states.shape[1] != points.points.shape[1]:
        raise InputError("x", x, f"states of shape (count, {points.points.shape[1]})")
    count = whole_number("steps", steps, 1)

    law = points.law

    def velocity(places: Array, log_level: float) -> Array:
        level = torch.full((len(places),), float(np.exp(log_level)), dtype=torch.float64)
        return np.asarray(law(torch.from_numpy(places), level, None)) - places

    found, logs = [states], np.log(levels)
    for first, last in pairwise(logs):
        h = (first - last) / count
        for at in first - h * np.arange(count):
            one = velocity(states, at)
            two = velocity(states + 0.5 * h * one, at - 0.5 * h)
            three = velocity(states + 0.5 * h * two, at - 0.5 * h)
            four = velocity(states + h * three, at - h)
            states = states + h / 6.0 * (one + 2.0 * two + 2.0 * three + four)
        found.append(states)
    trail = np.array(found)
    at_levels = torch.from_numpy(levels).repeat_interleave(len(states))
    spread = law.covariance(torch.from_numpy(trail).flatten(0, 1), at_levels)
    largest = np.asarray(torch.linalg.eigvalsh(spread)[:, -1]).reshape(trail.shape[:2])
    return Trajectories(levels, trail, largest / levels[:, None] ** 2 - 1.0)
