"""How sure a curve is: standard errors over paths, and bands that hold level by level or everywhere at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from companion.estimate.measure import Measurement

__all__ = [
    "limits",
    "pointwise_factor",
    "resampled",
    "simultaneous_factor",
    "skewness",
    "stratified",
    "weighted_mean",
    "widest",
]

Array = NDArray[np.float64]

COVERAGE = 0.95
_REPLICATES = 400
_NEARLY_DECIDED = 0.1
_MULTIPLIERS = 2000
_MOST_SKEW = 0.6  # beyond it the estimate is a handful of paths, and the cubic turns over
_STILL = 1e-12  # a standard error below this is rounding


def weighted_mean(values: Array, measured: Measurement) -> tuple[Array, Array]:
    """The stratified mean of values (paths, levels), sum_z W_z mean_z, and its standard error (ES 26).

    >>> from companion.entropy import Partition
    >>> pair, levels = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5), np.array([0.0])
    >>> four, stratum = np.array([[1.0], [3.0], [0.0], [0.0]]), np.array([0, 0, 1, 1])
    >>> found = Measurement(pair, levels, *[four] * 6, stratum, np.array([0.5, 0.5]))
    >>> [float(each[0]) for each in weighted_mean(four, found)]
    [1.0, 0.5]
    """
    mean, variance = stratified(values, measured.stratum, measured.weights)
    return mean, np.sqrt(variance)


def stratified(values: Array, stratum: NDArray[np.int64], weights: ArrayLike) -> tuple[Array, Array]:
    """The mean of values (paths, ...) in the weights of their strata, and its variance; a stratum has two paths."""
    mean, variance = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
    for index, weight in enumerate(np.asarray(weights)):
        members = values[stratum == index]
        mean += weight * members.mean(axis=0)
        variance += weight**2 * members.var(axis=0, ddof=1) / len(members)
    return mean, variance


def _strata(values: Array, measured: Measurement) -> Iterator[tuple[float, Array]]:
    """The weight of each stratum and the values of its paths."""
    for stratum, weight in enumerate(measured.weights):
        yield float(weight), values[measured.stratum == stratum]


def skewness(values: Array, measured: Measurement) -> Array:
    """The third cumulant of the stratified mean over its standard error cubed, level by level; 0 where all is still."""
    _, error = weighted_mean(values, measured)
    third = np.zeros(values.shape[1])
    for weight, members in _strata(values, measured):
        third += weight**3 * np.mean((members - members.mean(axis=0)) ** 3, axis=0) / len(members) ** 2
    result: Array = third / np.where(error > _STILL, error, np.inf) ** 3
    return result


def pointwise_factor(measured: Measurement) -> float:
    """Standard errors on either side of a curve that hold the truth at each single level 95 times in 100.

    Student's quantile, one degree of freedom lost for each branch and for each of two controls.
    """
    freedom = max(len(measured.stratum) - len(measured.weights) - 2, 1)
    return float(stats.t.ppf(0.5 + 0.5 * COVERAGE, freedom))


def simultaneous_factor(values: Array, measured: Measurement) -> float:
    """Standard errors on either side of a curve that hold the truth at all levels at once 95 times in 100.

    The quantile of the largest standardised deviation over the levels, from 2000 draws of a Gaussian multiplier for
    each path (Chernozhukov, Chetverikov, Kato 2013), always the same draws; never less than the pointwise factor.
    """
    _, error = weighted_mean(values, measured)
    moving = error > _STILL
    if not np.any(moving):
        return pointwise_factor(measured)
    parts = []
    for weight, members in _strata(values[:, moving], measured):
        count = len(members)
        parts.append((members - members.mean(axis=0)) * (weight / np.sqrt(count * (count - 1.0)) / error[moving]))
    # One normal variable a path is one for each row of the triangular factor, which has the same correlations.
    factor = np.linalg.qr(np.concatenate(parts), mode="r")
    draws = np.random.default_rng(0).standard_normal((_MULTIPLIERS, len(factor)))
    largest = np.max(np.abs(draws @ factor), axis=1)
    # The normal quantile becomes Student's by the same stretch as the pointwise one.
    pointwise = pointwise_factor(measured)
    stretch = pointwise / stats.norm.ppf(0.5 + 0.5 * COVERAGE)
    return max(pointwise, float(np.quantile(largest, COVERAGE) * stretch))


def limits(entropy: Array, error: Array, skew: Array, factor: float, floor: float = 0.0) -> tuple[Array, Array]:
    """The ends of a band of `factor` standard errors, level by level; all arrays are (levels,), entropies in nats.

    Where more than 0.1 nats are left above the floor, or the estimate is below a floor, the ends are
    entropy - t(+-factor) error, with the cubic that takes the `skew` out of the estimate inverted (Hall 1992),

        t(f) = (3 / g) [ (1 + g (f - g / 6))^(1/3) - 1 ],    g the skewness of the estimate.

    Elsewhere what is left, x, sits in the few paths that are still undecided, and a run that drew none of them would
    call itself certain. There the variance goes in proportion to what is left, c = error^2 / x nats, and no later level
    has a smaller c than an earlier one; the ends are those x' whose own deviation explains the estimate,

        |x - x'| = factor sqrt(c x')    (a score interval, as Wilson's for a proportion; Wilson 1927).

    >>> middle, tail = limits(np.array([0.5, 0.01, 0.0]), np.array([0.01, 0.003, 0.0]), np.zeros(3), 2.0)
    >>> [(round(float(a), 4), round(float(b), 4)) for a, b in zip(middle, tail)]
    [(0.48, 0.52), (0.0055, 0.0181), (0.0, 0.0036)]
    """
    left = entropy - floor
    after = (np.cumsum(left < _NEARLY_DECIDED) > 0) & ((left >= 0.0) | (floor == 0.0))
    x = np.maximum(left, 0.0)
    ratio = np.divide(error**2, x, out=np.zeros_like(x), where=after & (x > error**2))  # entropies are below one nat
    spread = factor**2 * np.maximum.accumulate(ratio)
    half, middle = np.sqrt(spread * x + 0.25 * spread**2), x + 0.5 * spread + floor
    g = np.where(np.abs(skew) < 1e-6, 1e-6, np.clip(skew, -_MOST_SKEW, _MOST_SKEW))
    low, high = (entropy - error * (3.0 / g) * (np.cbrt(1.0 + g * (f - g / 6.0)) - 1.0) for f in (factor, -factor))
    lower, upper = np.where(after, middle - half, low), np.where(after, middle + half, high)
    return np.clip(lower, 0.0, np.log(2.0)), np.clip(upper, 0.0, np.log(2.0))


def widest(measured: Measurement, factor: float) -> float:
    """Half of the band of `factor` standard errors around the entropy, where it is widest, in nats."""
    entropy, error = weighted_mean(measured.entropy_of_path, measured)
    skew = skewness(measured.entropy_of_path, measured)
    lower, upper = limits(entropy, error, skew, factor, measured.partition.floor)
    return 0.5 * float(np.max(upper - lower))


def resampled(values: Array, measured: Measurement) -> Array:
    """Curves (replicates, levels) from paths drawn again with replacement, branch by branch; always the same draws."""
    generator = np.random.default_rng(0)
    total = np.zeros((_REPLICATES, values.shape[1]))
    for weight, members in _strata(values, measured):
        count = len(members)
        drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=_REPLICATES)
        total += weight / count * (drawn @ members)
    return total
