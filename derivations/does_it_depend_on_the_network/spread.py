"""How much networks differ beyond the chance of a run: a random-effects analysis of variance, and a band mended by it.

Of N networks, each measured in S runs with the same S seeds of the paths, a number is

    y_ns = mean + network_n + paths_s + rest_ns,    Var(network_n) = s_net^2,  Var(rest_ns) = s_run^2.

Runs with one seed have the same noise, so they err alike, which is what `paths_s` takes up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from companion.arguments import Array, numbers
from companion.errors import InputError

__all__ = ["Spread", "half_width", "interval_of_deviation", "share_that_agrees", "spread_over_networks"]


@dataclass(frozen=True)
class Spread:
    """The variance between networks `between` = s_net^2, and `rest` = s_run^2 of one run, of each question.

    `between` is the unbiased estimate, which chance can make negative. `of_means` is the variance over networks of the
    mean of their runs, whose expectation is s_net^2 + s_run^2 / S; `networks` and `runs` are N and S.
    """

    between: Array
    rest: Array
    of_means: Array
    networks: int
    runs: int

    @property
    def deviation(self) -> float:
        """s_net, from the mean over the questions of `between`, or 0 where that is negative."""
        return self._beyond(float(np.mean(self.of_means)))

    def interval(self, freedom: float, level: float = 0.95) -> tuple[float, float]:
        """That of `deviation`: the chi-square interval of the means' deviation, less what the runs contribute."""
        of_means = interval_of_deviation(float(np.sqrt(np.mean(self.of_means))), freedom, level)
        lower, upper = (self._beyond(end**2) for end in of_means)
        return lower, upper

    @property
    def p_of_none(self) -> Array:
        """How often chance makes MS_network / MS_rest as large, each question: the F test of s_net = 0, normal laws."""
        ratio = self.runs * self.of_means / self.rest
        tail: Array = stats.f.sf(ratio, self.networks - 1, (self.networks - 1) * (self.runs - 1))
        return tail

    def _beyond(self, variance: float) -> float:
        return float(np.sqrt(max(variance - float(np.mean(self.rest)) / self.runs, 0.0)))


def spread_over_networks(values: ArrayLike) -> Spread:
    """The spread of `values` (networks, runs, questions) over networks, by a two-way analysis of variance:

        s_net^2 = (MS_network - MS_rest) / S,    E MS_network = S s_net^2 + s_run^2,    E MS_rest = s_run^2.

    Raises InputError unless the numbers are finite and there are two networks and two runs at the least.

    >>> found = spread_over_networks([[[0.0], [0.2]], [[1.0], [1.2]]])  # the second network is later by one
    >>> found.between.round(6).tolist(), found.rest.round(6).tolist()
    ([0.5], [0.0])
    """
    y = numbers("values", values, "finite (networks, runs, questions)", np.isfinite)
    if y.ndim != 3 or min(y.shape[:2]) < 2 or y.shape[2] < 1:
        raise InputError("values", f"of shape {y.shape}", "(networks, runs, questions), two of each of the first two")
    networks, runs, _ = y.shape
    of_networks, of_runs = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    left = y - of_networks - of_runs + y.mean(axis=(0, 1), keepdims=True)
    rest = np.square(left).sum(axis=(0, 1)) / ((networks - 1) * (runs - 1))
    of_means = of_networks[:, 0].var(axis=0, ddof=1)
    return Spread(of_means - rest / runs, rest, of_means, networks, runs)


def interval_of_deviation(deviation: float, freedom: float, level: float = 0.95) -> tuple[float, float]:
    """The interval of a standard deviation from one estimate with so many degrees of freedom:

        deviation sqrt( freedom / q ),    q the two quantiles of chi^2 that leave half of 1 - level outside each,

    of normal numbers. Raises InputError for a negative deviation, fewer than one degree, and a level outside (0, 1).

    >>> [round(end, 2) for end in interval_of_deviation(1.0, 4)]
    [0.6, 2.87]
    """
    if deviation < 0.0:
        raise InputError("deviation", deviation, "0 or more")
    if freedom < 1.0:
        raise InputError("freedom", freedom, "1 or more degrees")
    if not 0.0 < level < 1.0:
        raise InputError("level", level, "a probability between 0 and 1")
    outside = 0.5 * (1.0 - level)
    ends = np.sqrt(freedom / stats.chi2.ppf([1.0 - outside, outside], freedom))
    return float(deviation * ends[0]), float(deviation * ends[1])


def half_width(error: ArrayLike, deviation: float, freedom: float = np.inf, level: float = 0.95) -> Array:
    """Half the width of a band that counts the training too, t sqrt(error^2 + deviation^2), around one network's value.

    `error` is the standard error of the run, any shape. It holds what the recipe gives on average; for what *another*
    network of the recipe gives, hand on sqrt(2) times the deviation. t is Student's, because the deviation is
    estimated with `freedom` degrees; without them it is the normal law's.

    >>> half_width([0.0, 0.3], 0.4).round(2).tolist()
    [0.78, 0.98]
    """
    error = numbers("error", error, "standard errors, 0 or more", lambda e: e >= 0.0)
    if deviation < 0.0:
        raise InputError("deviation", deviation, "0 or more")
    half: Array = stats.t.ppf(0.5 * (1.0 + level), freedom) * np.hypot(error, deviation)
    return half


def share_that_agrees(values: ArrayLike, error: ArrayLike, deviation: float = 0.0) -> float:
    """How often two networks lie within what their bands of 95% say of their difference, over networks and questions.

    `values` and `error` are (networks, runs, questions); one network's first run is held against the others' second,
    whose noise is another. With `deviation` the bands are mended by it, twice, because both networks were drawn.

    >>> share_that_agrees([[[0.0], [0.0]], [[1.0], [1.0]]], np.full((2, 2, 1), 0.1))
    0.0
    """
    y = numbers("values", values, "finite (networks, runs, questions)", np.isfinite)
    of_y = numbers("error", error, "standard errors, as many as values", lambda e: e >= 0.0)
    if y.ndim != 3 or min(y.shape[:2]) < 2 or of_y.shape != y.shape:
        raise InputError("values", f"of shape {y.shape}", "(networks, runs, questions), and errors of that shape")
    gap, of_gap = y[:, None, 0] - y[None, :, 1], np.hypot(of_y[:, None, 0], of_y[None, :, 1])
    inside = np.abs(gap) <= half_width(of_gap, np.sqrt(2.0) * deviation)
    return float(inside[~np.eye(len(y), dtype=bool)].mean())
