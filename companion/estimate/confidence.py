"""How sure a curve is: standard errors over paths, and bands that hold level by level or everywhere at once."""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from companion.arguments import Array
from companion.estimate.measure import Measurement
from companion.estimate.plan import Indices

__all__ = ["Strata", "limits", "pointwise_factor", "simultaneous_factor", "skewness", "stratified", "weighted_mean"]
__all__ += ["widest"]

COVERAGE = 0.95
_NEARLY_DECIDED = 0.1
_MULTIPLIERS = 2000
_MOST_SKEW = 0.6  # beyond it the estimate is a handful of paths, and the cubic turns over
_MOST = float(np.log(2.0))
_STILL = 1e-12  # a standard error below this is rounding


class Strata(Protocol):
    """Paths with the stratum of each, and the weights of the strata in the expectation: a measurement, for one."""

    @property
    def stratum(self) -> Indices: ...
    @property
    def weights(self) -> Array: ...


def weighted_mean(values: Array, measured: Strata) -> tuple[Array, Array]:
    """The stratified mean of values (paths, levels), sum_z W_z mean_z, and its standard error (ES 26)."""
    mean, variance = stratified(values, measured.stratum, measured.weights)
    return mean, np.sqrt(variance)


def stratified(values: Array, stratum: NDArray[np.int64], weights: ArrayLike) -> tuple[Array, Array]:
    """The mean of values (paths, ...) in the weights of their strata, and its variance; a stratum has two paths.

    >>> stratified(np.array([[1.0], [3.0], [0.0], [0.0]]), np.array([0, 0, 1, 1]), [0.5, 0.5])
    (array([1.]), array([0.25]))
    """
    mean, variance = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
    for weight, members in _strata(values, stratum, weights):
        mean += weight * members.mean(axis=0)
        variance += weight**2 * members.var(axis=0, ddof=1) / len(members)
    return mean, variance


def _strata(values: Array, stratum: NDArray[np.int64], weights: ArrayLike) -> list[tuple[float, Array]]:
    """The weight of each stratum and the values of its paths."""
    return [(float(weight), values[stratum == index]) for index, weight in enumerate(np.asarray(weights))]


def skewness(values: Array, measured: Measurement) -> Array:
    """The third cumulant of the stratified mean over its standard error cubed, level by level; 0 where all is still."""
    _, error = weighted_mean(values, measured)
    third = np.zeros(values.shape[1])
    for weight, members in _strata(values, measured.stratum, measured.weights):
        third += weight**3 * np.mean((members - members.mean(axis=0)) ** 3, axis=0) / len(members) ** 2
    return np.asarray(third / np.where(error > _STILL, error, np.inf) ** 3)


def pointwise_factor(measured: Strata) -> float:
    """Standard errors on either side of a curve that hold the truth at each single level 95 times in 100: Student's
    quantile, one degree of freedom lost for each branch and for each of two controls.
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
    parts = []
    for weight, members in _strata(values[:, moving], measured.stratum, measured.weights):
        scale = weight / np.sqrt(len(members) * (len(members) - 1.0)) / error[moving]
        parts.append((members - members.mean(axis=0)) * scale)
    # One normal variable a path is one for each row of the triangular factor, which has the same correlations.
    factor = np.linalg.qr(np.concatenate(parts), mode="r")
    draws = np.random.default_rng(0).standard_normal((_MULTIPLIERS, len(factor)))
    largest = np.quantile(np.max(np.abs(draws @ factor), axis=1, initial=0.0), COVERAGE)
    # The normal quantile becomes Student's by the same stretch as the pointwise one.
    pointwise = pointwise_factor(measured)
    return max(pointwise, float(largest * (pointwise / stats.norm.ppf(0.5 + 0.5 * COVERAGE))))


def limits(
    entropy: Array, error: Array, skew: Array, factor: float, floor: float = 0.0, most: float = _MOST
) -> tuple[Array, Array]:
    """The ends of a band of `factor` standard errors, level by level; all arrays are (levels,), entropies in nats.

    A band keeps between 0 and `most`, log 2 for an entropy of two sides.

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
    return np.clip(lower, 0.0, most), np.clip(upper, 0.0, most)


def widest(measured: Measurement, factor: float) -> float:
    """Half of the band of `factor` standard errors around the entropy, where it is widest, in nats."""
    values = measured.entropy_of_path
    skew = skewness(values, measured)
    most = max(_MOST, measured.partition.entropy) if measured.posterior_of_path is None else np.inf
    lower, upper = limits(*weighted_mean(values, measured), skew, factor, measured.partition.floor, most)
    return 0.5 * float(np.max(upper - lower))
