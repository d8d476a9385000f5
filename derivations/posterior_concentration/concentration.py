"""How far a posterior over N points has concentrated, and what that does to the squared norm of the score.

The data are N equally probable points y_n in d dimensions, noised in the variance-exploding frame, x = y + sigma eps;
their posterior is p_n = p(y_n | x), with the mean D. Concentration is E sum_n p_n^2, one over an effective number of
points; the spread is E tr Cov(y | x), and the two meet in

    E|s|^2 = d/sigma^2 - spread/sigma^4,    spread = (Delta^2/2) (1 - E sum_n p_n^2) for points at one distance Delta.

Arrays are float64 numpy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.signal import fftconvolve
from torch import Tensor

from companion.arguments import Array, finite_levels, numbers, whole_number
from companion.errors import InputError
from companion.exact import equidistant
from companion.exact.empirical import empirical_distribution
from companion.exact.laws import class_entropy_of
from companion.forward import noise_of

# exp(-e^v) is summed to 1e-14 in steps of 0.3 (see companion.exact.equidistant), a normal density in steps of 0.6.
_STEP, _NORMAL_STEP, _REACH = 0.3, 0.6, 8.0
# A level whose points differ by less than this many deviations of the noise is not told: the error is its square.
_SMALLEST = 1e-4
_CERTAIN = 37.0  # exp(-37) is rounding error


def equidistant_points(kappa: ArrayLike, points: int) -> Array:
    """E sum_n p_n^2 for N equally probable points at one distance Delta, kappa = Delta^2/sigma^2.

        E sum_n p_n^2 = E p(y | x) = 1 + 4 dH/dkappa

    From 1/N at kappa = 0 to 1, to about 1e-12. Raises InputError for fewer than two points, and a negative or NaN
    kappa. Source: ID 26, 31, for points at one distance.

    >>> equidistant_points([0.0, 4.0, 40.0], 10).round(6)
    array([0.1     , 0.333479, 0.990816])
    """
    return np.asarray(1.0 - 4.0 * equidistant.production(kappa, points))


def nested_points(snr: ArrayLike, lengths: Sequence[float], branching: Sequence[int]) -> Array:
    """E sum P^2 over the nodes of every level of a tree of points, coarsest level first: (levels, *snr.shape).

        y = sum_l lengths_l e_l,    e_l a unit vector of the node of y on level l, all of them orthogonal

    Every node of level l - 1 has branching_l children; P is the posterior of a node, snr = 1/sigma^2. The last row is
    E sum_n p_n^2 over the points. To about 1e-8. With W = exp(sum_l a_l y_l), a_l = lengths_l sqrt(snr), the mean of a
    ratio of sums of W is an integral of Laplace transforms, which the tree multiplies and each y_l smears in log u.

    Raises InputError unless there is one positive length and one whole number of at least 2 for each level, and for an
    snr that is not positive. Source: ID 31, 32.

    >>> nested_points(4.0, [1.0, 0.1], [2, 2]).round(6)
    array([0.885232, 0.451307])
    """
    spread = numbers("lengths", lengths, "a positive number for each level", lambda each: (each > 0) & (each < np.inf))
    counts = [whole_number("branching", count, least=2, most=10**9) for count in branching]
    if spread.ndim != 1 or not len(spread) == len(counts) > 0:
        raise InputError("lengths", lengths, f"{len(counts)} positive numbers, one for each level of branching")
    values = numbers("snr", snr, "positive numbers", lambda each: (each > 0.0) & (each < np.inf))
    # A false node is preferred with probability exp(-a^2/4) at most: beyond this a, no float tells it from never.
    largest = 2.0 * math.sqrt(_CERTAIN + sum(map(math.log, counts)))
    results = [_nested(np.clip(spread * math.sqrt(each), _SMALLEST, largest), counts) for each in values.flat]
    return np.array(results).T.reshape(len(counts), *values.shape)


def _nested(a: Array, counts: list[int]) -> list[float]:
    step = min(_STEP, _NORMAL_STEP * float(a.min()))
    whole = float(a @ a)
    # T, the sum of all W, is 1/u somewhere: between its largest and the smallest values that are not negligible.
    first = -(whole + _REACH * math.sqrt(whole) + 40.0 + sum(map(math.log, counts)))
    v = np.arange(first, _REACH * math.sqrt(whole) + 5.0, step)
    u = np.exp(np.minimum(v, 7.0))  # exp(-u) is no float beyond
    false = true = np.exp(-u)  # E exp(-u S) over the sum S below a node
    false_slope = true_slope = u * false  # E u S exp(-u S)
    targets: list[Array] = []  # E u S' exp(-u S) for the true node's part S' of S, for each level so far
    for width, count in zip(a[::-1], counts[::-1], strict=True):
        false, false_slope = (_smeared(each, width, 0.0, step) for each in (false, false_slope))
        true, true_slope, *targets = (
            _smeared(each, width, width**2, step) for each in (true, true_slope, *targets)
        )  # the true node's own variable is larger by a, its logarithm by a^2
        targets.append(true_slope)
        others = false ** (count - 1)
        targets = [each * others for each in targets]
        true_slope = true_slope * others + (count - 1) * true * false_slope * false ** (count - 2)
        true = true * others
        false_slope = count * false_slope * others
        false = false * others
    return [float(each.sum() * step) for each in reversed(targets)]


def _smeared(values: Array, width: float, shift: float, step: float) -> Array:
    """E f(v + shift + width xi), xi standard normal, on the grid of v; f is constant beyond its ends."""
    reach = math.ceil((shift + (_REACH + 1.0) * width) / step)
    offsets = step * np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * ((offsets - shift) / width) ** 2) * step / (width * math.sqrt(2.0 * math.pi))
    return np.asarray(fftconvolve(np.pad(values, reach, mode="edge"), kernel[::-1], mode="valid"))


def squared_score(sigma: ArrayLike, dimension: int, spread: ArrayLike) -> Array:
    """E|s|^2 of noisy data from the mean trace of the posterior's covariance; any data.

        E|s|^2 = d/sigma^2 - spread/sigma^4

    Arrays broadcast. Raises InputError for a sigma that is not positive, a negative spread, or no dimension. Source:
    ID 25, 27, 28.

    >>> float(squared_score(2.0, 3, 4.0))
    0.5
    """
    noise, covariance, d = _checked(sigma, dimension, "spread", spread)
    return np.asarray(d / noise**2 - covariance / noise**4)


def score_floor(sigma: ArrayLike, dimension: int, variance: ArrayLike) -> Array:
    """The least that E|s|^2 can be for data of this total variance tr Cov(y).

        E|s|^2 >= d^2 / (variance + d sigma^2) >= d/sigma^2 - variance/sigma^4

    The first is an equality for an isotropic Gaussian; the second bound is that of ID 30 and is empty, below zero, for
    sigma^2 < variance/d. Raises as `squared_score` does. Source: none.

    >>> float(score_floor(2.0, 3, 4.0))
    0.5625
    """
    noise, total, d = _checked(sigma, dimension, "variance", variance)
    return np.asarray(d**2 / (total + d * noise**2))


def _checked(sigma: ArrayLike, dimension: int, argument: str, value: ArrayLike) -> tuple[Array, Array, int]:
    noise = numbers("sigma", sigma, "positive numbers", lambda level: (level > 0.0) & (level < np.inf))
    given = numbers(argument, value, "numbers of at least 0", lambda each: (each >= 0.0) & (each < np.inf))
    return noise, given, whole_number("dimension", dimension, least=1)


@dataclass(frozen=True)
class Measured:
    """Means over noisy states at each log-snr, and their standard errors: (levels,).

    `concentration` is E sum_n p_n^2, `of_the_truth` E p(y | x), which ID 31 says is the same number; `spread` is
    E tr Cov(y | x), `entropy` H(y | x) in nats.
    """

    log_snr: Array
    concentration: Array
    concentration_se: Array
    of_the_truth: Array
    of_the_truth_se: Array
    spread: Array
    spread_se: Array
    entropy: Array
    entropy_se: Array


def measure(points: Tensor, log_snr: ArrayLike, count: int, generator: torch.Generator) -> Measured:
    """The concentration of the exact posterior over given points (N, *shape), from `count` noisy states at each level.

    Nothing is assumed of the points; `log_snr` (levels,) is -log sigma^2. Raises InputError for fewer than two points
    or two states, levels that are no list of finite numbers, and as `empirical_distribution` does. Source: ID 21, 26,
    31, 33.

    >>> pair = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    >>> found = measure(pair, [-3.0, 3.0], 100, torch.Generator().manual_seed(0))
    >>> found.concentration.round(2)
    array([0.53, 1.  ])
    """
    levels = finite_levels(log_snr)
    if levels.ndim != 1:
        raise InputError("log_snr", log_snr, "a list of levels")
    states = whole_number("count", count, least=2)
    law, rows = empirical_distribution(points.double()), []
    for noise in noise_of(levels).tolist():
        x, index = law.sample_noised(states, noise, generator)
        sigma = torch.full((states,), noise, dtype=torch.float64)
        log_posterior = law.posterior(x, sigma)
        posterior = log_posterior.exp()
        truth = posterior.gather(1, index[:, None])[:, 0]
        each = (posterior.square().sum(dim=1), truth, law.spread(x, sigma), class_entropy_of(log_posterior))
        rows.append([n for values in each for n in (float(values.mean()), float(values.std()) / math.sqrt(states))])
    return Measured(levels, *np.array(rows).reshape(len(levels), -1).T)
