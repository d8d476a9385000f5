"""K Gaussian classes of one isotropic width, all means equally far apart: entropies of any partition as one integral.

Everything depends on the control parameter kappa of a pair (ES 15). Write the means along K orthogonal axes. Then
p(x | j) is proportional to W_j = exp(a y_j), where a = sqrt(kappa / 2) and the y_j are independent standard normal
variables, that of the true class plus a. A sum of some W_j has the Laplace transform

    product of phi(u) over the false classes and of phi(u e^(a^2)) for the true one,    phi(u) = E exp(-u e^(a xi)),

and the entropies are means of logarithms of ratios of such sums, 0 < N <= T, for which Frullani's integral gives

    E log(T / N) = int_0^inf ( E e^(-u N) - E e^(-u T) ) du / u .

The integrand is positive, so nothing cancels however small the entropy. In v = log u it is smooth and decays on both
sides, and the trapezoidal rule sums it to rounding error. Arrays are float64 numpy of any shape; entropies are in nats.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import wrightomega

from companion.arguments import Array, number, numbers
from companion.errors import InputError

__all__ = ["entropy", "half_kappa", "partition_entropy", "production"]


# exp(-e^z) is bounded for |Im z| < pi/2, where steps of 0.3 leave an error of exp(-pi^2 / 0.3) = 5e-15; a normal
# density only ones of 1/2. What is farther than 8 deviations, or below exp(-37) of the maximum, is left out (1e-15).
_STEP, _NORMAL_STEP, _FARTHEST_DEVIATION, _NEGLIGIBLE = 0.3, 0.5, 8.0, -37.0
_MOST_CLASSES = 1e100
# Entropies and productions are at most K e^(-kappa/8) times a small number: beyond this exponent they are no float.
_UNDERFLOW = 710.0


def entropy(kappa: ArrayLike, classes: int) -> Array:
    """The class entropy H(Z | X_t) of K equally probable, equally distant classes, in nats.

        H(kappa) = int_0^inf phi(u e^(a^2)) [ 1 - phi(u)^(K-1) ] du / u,    a = sqrt(kappa / 2)

    To about 1e-12, relatively, until it underflows near kappa = 5600. Raises InputError for a number of classes that is
    not between 2 and 1e100, or a negative or NaN kappa. Source: ES 7 with ES 16, 17.

    >>> entropy([0.0, 4.0, 20.0], 1000).round(8)
    array([6.90775528, 5.91090312, 2.41581173])
    """
    count = _checked_count("classes", classes, at_least=2)
    groups = [_Group(1.0, 1.0, 1.0), _Group(count - 1.0, 0.0, 1.0)]
    return _for_each(kappa, count, lambda a: _mean_log_ratio(a, groups, groups[0]))


def production(kappa: ArrayLike, classes: int) -> Array:
    """The entropy produced per unit of kappa, in nats: a quarter of the mean doubt about the true class.

        -dH/dkappa = (1 - E p(Z | X_t)) / 4 = (K-1)/4 e^(a^2/2) int_0^inf phi(u e^(a^2))^2 phi(u)^(K-2) du

    Times kappa, it is per unit of log kappa. Raises as `entropy` does. Source: ES 33 with the means at one distance.

    >>> production([0.0, 4.0], 2).round(8)
    array([0.125     , 0.05619994])
    """
    count = _checked_count("classes", classes, at_least=2)

    def log_integrand(v: Array, a: float) -> Array:
        return v + 2.0 * _log_laplace(v + a * a, a) + (count - 2.0) * _log_laplace(v, a)

    def production_at(a: float) -> float:
        return math.exp(_log_integral(log_integrand, a, count, 1.0, 1.0) + 0.5 * a * a) * (count - 1.0) / 4.0

    return _for_each(kappa, count, production_at)


def partition_entropy(kappa: ArrayLike, first: int, second: int, weight: float | None = None, shared: int = 0) -> Array:
    """The entropy of a partition whose sides hold `first` and `second` of the classes, `shared` of them in both.

        H = pi E_A log(1 + (1-pi) p_B / (pi p_A)) + (1-pi) E_B log(1 + pi p_A / ((1-pi) p_B)),
        p_A and p_B the average of the densities of their classes

    `weight` is the prior probability pi of the first side; None stands for its true share first / (first + second).
    One class against the others is (1, K-1), balanced with `weight` 1/2; against all of them, itself included,
    (1, K, shared=1). To about 1e-12, relatively where no class is shared. Raises InputError for an empty side, more
    shared classes than a side has, a weight not between 0 and 1, and as `entropy` does. Source: ES 26, 99, 101, 105.

    >>> partition_entropy([0.0, 20.0], 1, 999, 0.5).round(8)
    array([0.69314718, 0.12919282])
    """
    m, n = _checked_count("first", first, at_least=1), _checked_count("second", second, at_least=1)
    expected = f"a number of classes between 0 and {min(first, second)}"
    number("shared", shared, expected, lambda k: (k >= 0.0) & (k <= min(m, n)) & (k == np.round(k)))
    expected = "a probability between 0 and 1, both excluded"
    prior = m / (m + n) if weight is None else number("weight", weight, expected, lambda w: (w > 0.0) & (w < 1.0))
    alpha, beta = prior / m, (1.0 - prior) / n
    # The groups: classes of the first side alone, of the second alone, of both. A side's own sum is N, both sides' T.
    of_first = [_Group(m - shared, alpha, alpha), _Group(n - shared, 0.0, beta), _Group(shared, alpha, alpha + beta)]
    of_second = [_Group(m - shared, 0.0, alpha), _Group(n - shared, beta, beta), _Group(shared, beta, alpha + beta)]
    sides = [[group for group in side if group.classes > 0.0] for side in (of_first, of_second)]
    cases = [(groups, true) for groups in sides for true in groups if true.own > 0.0]

    def entropy_at(a: float) -> float:
        return sum(true.own * true.classes * _mean_log_ratio(a, groups, true) for groups, true in cases)

    # With the class known, only what both sides share stays open.
    floor = sum(true.own * true.classes * math.log(true.whole / true.own) for _, true in cases)
    return _for_each(kappa, m + n, entropy_at, floor)


def half_kappa(entropy_of: Callable[[float], Array], floor: float = 0.0) -> float:
    """The kappa at which half of what can be known is known, H(kappa) = ( H(0) + floor ) / 2.

    `entropy_of` is any entropy that falls with kappa. Raises InputError where it never falls so far.

    >>> round(half_kappa(lambda kappa: entropy(kappa, 2)), 5)
    4.17605
    """
    start = float(entropy_of(0.0))
    if not math.isfinite(start):
        raise InputError("entropy_of", f"{start} at kappa = 0", "an entropy")
    floor = number("floor", floor, f"an entropy between 0 and {start:.6g}", lambda x: (x >= 0.0) & (x < start))
    half = 0.5 * (start + floor)
    last = next((kappa for kappa in 8.0 * 2.0 ** np.arange(17) if not float(entropy_of(kappa)) > half), None)
    if last is None:
        raise InputError("entropy_of", f"above {half:.6g} for every kappa", "one that falls half way to the floor")
    return float(brentq(lambda kappa: float(entropy_of(kappa)) - half, 0.0, last, xtol=1e-11))


class _Group(NamedTuple):
    """So many `classes` of equal coefficients: `own` in the sum N, `whole` in the sum T."""

    classes: float
    own: float
    whole: float


def _mean_log_ratio(a: float, groups: list[_Group], true: _Group) -> float:
    """E log(T / N), where the true class belongs to the group `true`; own <= whole in every group."""

    def log_integrand(v: Array, a: float) -> Array:
        log_own, log_ratio = np.zeros_like(v), np.zeros_like(v)
        for group in groups:
            of_own = _log_transform(v, a, group.classes, group.own, group is true)
            log_own += of_own
            if group.whole != group.own:
                log_ratio += _log_transform(v, a, group.classes, group.whole, group is true) - of_own
        with np.errstate(divide="ignore"):  # where 1 - phi is no float, far outside the range that counts
            return log_own + np.log(-np.expm1(log_ratio))

    coefficients = [c for group in groups for c in (group.own, group.whole) if c > 0.0]
    count = sum(group.classes for group in groups)
    return math.exp(_log_integral(log_integrand, a, count, min(coefficients), max(coefficients)))


def _log_transform(v: Array, a: float, count: float, coefficient: float, holds_true: bool) -> Array:
    """log E exp(-u coefficient sum of W_j) over `count` classes at u = e^v, one of them true if so said."""
    if coefficient == 0.0:
        return np.zeros_like(v)
    at, false = v + math.log(coefficient), count - holds_true
    result = false * _log_laplace(at, a) if false > 0.0 else np.zeros_like(v)
    return result + _log_laplace(at + a * a, a) if holds_true else result


def _log_laplace(v: Array, a: float) -> Array:
    """log phi(e^v), to all its digits on either side: phi = int N(xi) exp(-e^(v + a xi)) dxi by the trapezoidal rule.

    Where phi is near 1 what is summed is 1 - phi. Both integrands are N(xi) times a log-concave factor, so they fall
    from their maximum at least as fast as a standard normal does: 8 deviations on either side hold them.
    """
    step = min(_NORMAL_STEP, _STEP / a)
    reach = math.ceil((_FARTHEST_DEVIATION + 1.0) / step)
    around, density = step * np.arange(-reach, reach + 1), step / math.sqrt(2.0 * math.pi)
    result, small = np.empty_like(v), v < 0.0
    # The maximum of 1 - phi's integrand, to less than a deviation.
    xi = np.clip(-v[small] / a, 0.0, a)[:, None] + around
    z = v[small][:, None] + a * xi
    taken = np.where(z < -30.0, z, np.log(-np.expm1(-np.exp(np.clip(z, -30.0, 5.0)))))
    result[small] = np.log1p(-np.exp(_log_sum(taken - 0.5 * xi**2, density)))
    # The maximum of phi's: xi = -a e^(v + a xi), a Lambert equation.
    xi = (-wrightomega(v[~small] + 2.0 * math.log(a)) / a)[:, None] + around
    left = -np.exp(np.minimum(v[~small][:, None] + a * xi, 700.0))
    result[~small] = _log_sum(left - 0.5 * xi**2, density)
    return result


def _log_sum(exponents: Array, step: float) -> Array:
    """log of step times the sum of exp(exponents) along the last axis."""
    largest = exponents.max(axis=-1, keepdims=True)
    return np.asarray(largest[..., 0] + np.log(step * np.exp(exponents - largest).sum(axis=-1)))


def _log_integral(
    log_integrand: Callable[[Array, float], Array], a: float, count: float, smallest: float, largest: float
) -> float:
    """log of the integral over v, by the trapezoidal rule where the integrand is not negligible.

    `count` classes have coefficients between `smallest` and `largest`. The left end is where the sum of all is far
    below e^-v; the right end, where even the smallest term is above it. The first pass finds the range within.
    """
    first = -(a * a + _FARTHEST_DEVIATION * a - _NEGLIGIBLE + 10.0 + math.log(count * largest))
    last = _FARTHEST_DEVIATION * a + 10.0 - math.log(smallest)
    # The largest of K normal variables is known to a deviation of about 1/sqrt(2 log K): K classes need finer steps.
    deviation = a / math.sqrt(1.0 + 2.0 * math.log(count))
    width = max(2.0, deviation)
    coarse = np.arange(first, last + width, width)
    values = log_integrand(coarse, a)
    held = coarse[values > values.max() + _NEGLIGIBLE]
    step = _STEP * max(1.0, deviation)
    return float(_log_sum(log_integrand(np.arange(held[0] - width, held[-1] + width, step), a), step))


def _for_each(kappa: ArrayLike, count: float, function: Callable[[float], float], limit: float = 0.0) -> Array:
    """function(a) at a = sqrt(kappa / 2), for kappa of any shape; its limit where the difference is no float."""
    values = numbers("kappa", kappa, "numbers of at least 0", lambda x: x >= 0.0)
    # Below kappa = 1e-18 nothing moves by a rounding error, and a may be divided by.
    a = np.sqrt(0.5 * np.maximum(values, 1e-18))
    held = values / 8.0 < _UNDERFLOW + math.log(count)
    results = [function(each) if holds else limit for each, holds in zip(a.flat, held.flat, strict=True)]
    return np.array(results).reshape(values.shape)


def _checked_count(argument: str, value: int, at_least: int) -> float:
    expected = f"a whole number from {at_least} to {_MOST_CLASSES:g}"
    return number(argument, value, expected, lambda n: (n >= at_least) & (n <= _MOST_CLASSES) & (n == np.round(n)))
