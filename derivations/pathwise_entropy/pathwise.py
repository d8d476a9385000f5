"""The entropy that one trajectory carries, and how much it varies over trajectories.

A state x has an entropy of its own, of the sample it will become or of the class:

    h(x) = H(X_0 | X_t = x),    V_h = Var h(X_t),        h_Z(x) = H(Z | X_t = x),    V_Z = Var h_Z(X_t).

By the chain rule h = H(X_0 | x, Z) + h_Z - H(Z | X_0, x) (ID 69). For two Gaussian classes of one width the first term
is a number, and the other two are functions of the log-odds L at x,

    h = number + i(L),    i(L) = h_b(L) - H(kappa_0 - kappa; L),

H(kappa; L) the class entropy of two classes with prior log-odds L, kappa_0 the control parameter of clean data: what
is left of the evidence when L is known is kappa_0 - kappa. So V_h is a number of (kappa, kappa_0), V_Z of kappa alone
(`binary.variance`), whatever the dimension. Entropies are in nats, their variances in nats squared.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit

from companion.arguments import Array, finite_levels, number, numbers, whole_number
from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact.empirical import EmpiricalDistribution
from companion.exact.laws import class_entropy_of
from companion.exact.mixtures import GaussianMixture
from companion.exact.quadrature import mean_over_states, normal_rule, radius_rule
from companion.exact.two_gaussians import entropy_of_normal, variance
from companion.forward import noise_of
from derivations.kit.landmarks import largest_variance

# The trapezoidal rule over nine deviations to either side, in 400 steps: what it misses is far below rounding, except
# for the posterior's poles, pi/sqrt(kappa) deviations off the line: exp(-2 pi^2/(0.045 sqrt(kappa)) - kappa/8).
_DEVIATIONS, _SHARES = normal_rule(400)[0][:, 0], normal_rule(400)[1]
_RADII = 300
_ALL_TOLD = 320.0  # of evidence still to come: what it leaves open is below log 2 e^(-320/8) = 3e-18
_MOST_DIMENSIONS = 10**9


def information_to_come(log_odds: ArrayLike, remaining: ArrayLike) -> Array:
    """What the sample will tell of the class beyond its state, I(Z; X_0 | X_t = x), for two classes of one width.

        i(L) = h_b(L) - gamma E h_b(L + r/2 + sqrt(r) xi) - (1 - gamma) E h_b(L - r/2 + sqrt(r) xi)

    `log_odds` L are those of the state, gamma its posterior; `remaining` r = kappa_0 - kappa is the evidence still to
    come, infinite for points. Both broadcast; the result is in nats, to 1e-14, and between 0 and h_b(L). Raises
    InputError for log-odds that are not finite, or a remainder that is negative. Source: ID 69.

    >>> information_to_come([0.0, 0.0, 3.0], [0.0, np.inf, np.inf]).round(6)
    array([0.      , 0.693147, 0.190865])
    """
    odds = numbers("log_odds", log_odds, "finite numbers", np.isfinite)
    left = numbers("remaining", remaining, "numbers of at least 0", lambda r: r >= 0.0)
    odds, left = np.broadcast_arrays(odds, left)
    kept = np.zeros(odds.shape)
    some = left < _ALL_TOLD
    at, spread, share = odds[some], left[some], expit(odds[some])
    kept[some] = share * entropy_of_normal(at + 0.5 * spread, spread)
    kept[some] += (1.0 - share) * entropy_of_normal(at - 0.5 * spread, spread)
    return np.maximum(binary_entropy(odds) - kept, 0.0)


def sample_variance(kappa: ArrayLike, clean_kappa: float) -> Array:
    """The variance of the sample's own entropy, V_h = Var H(X_0 | X_t), for two equally probable classes of one width.

        V_h(kappa, kappa_0) = Var i(L),    kappa_0 = distance^2 / s^2

    `kappa` of any shape, between 0 and kappa_0; `clean_kappa` is infinite for points, and V_h then is V_Z. To about
    1e-13, absolutely, in nats squared, in every dimension. Raises InputError for a kappa outside that range or one that
    is not finite. Source: ID 66, 69.

    >>> float(sample_variance(2.0, 4.0).round(4)), float(sample_variance(2.0, np.inf).round(4))
    (0.0032, 0.032)
    """
    clean = number("clean_kappa", clean_kappa, "a positive number", lambda x: x > 0.0)
    expected = f"finite numbers between 0 and {clean:g}"
    checked = numbers("kappa", kappa, expected, lambda x: (x >= 0.0) & (x <= clean) & np.isfinite(x))
    values = np.empty(checked.size)
    for place, at in enumerate(checked.ravel().tolist()):
        # i is even in L, and the two classes are each other's image: one of them is enough.
        come = information_to_come(0.5 * at + np.sqrt(at) * _DEVIATIONS, clean - at)
        values[place] = _SHARES @ (come - _SHARES @ come) ** 2
    return values.reshape(checked.shape)


def largest_sample_variance(clean_kappa: float) -> float:
    """The control parameter at which the sample's own entropy varies most, to about 1e-6.

        d V_h(kappa, kappa_0) / d kappa = 0

    Always inside the process: V_h vanishes in clean data, where V_Z does not. For well separated classes it is that of
    V_Z, 5.38191. Raises InputError for a kappa_0 that is not between 0.01 and infinity, included.

    >>> round(largest_sample_variance(1e6), 4)
    5.3819
    """
    clean = number("clean_kappa", clean_kappa, "a number of at least 0.01", lambda x: x >= 0.01)
    if clean > 1e3:  # where e^(-kappa_0/8) is below rounding
        return largest_variance()
    last = min(clean, 20.0)

    def lost(kappa: float) -> float:
        return -float(sample_variance(kappa, clean))

    return float(minimize_scalar(lost, bounds=(0.0, last), method="bounded", options={"xatol": 1e-8 * last}).x)


def half_height() -> tuple[float, float]:
    """The two control parameters at which V_Z is half of its maximum: where its peak begins and ends.

        V_Z(kappa) = max V_Z / 2

    Universal, as the maximum is. Source: ID 83.

    >>> [round(kappa, 6) for kappa in half_height()]
    [1.678828, 13.699505]
    """
    top = largest_variance()
    aim = 0.5 * float(variance(top))

    def surplus(kappa: float) -> float:
        return float(variance(kappa)) - aim

    return float(brentq(surplus, 1e-3, top, xtol=1e-13)), float(brentq(surplus, top, 100.0, xtol=1e-13))


def own_entropy(law: GaussianMixture | EmpiricalDistribution, log_snr: ArrayLike) -> tuple[Array, Array]:
    """Mean and variance over states of the entropy that the class has given the state, at each log-snr.

        h_Z(x) = - sum_z p(z | x) log p(z | x)

    Where every point is a class of its own, it is the sample's entropy. Both results have the shape of `log_snr`, in
    nats and nats squared, to about 1e-10. Raises InputError as the law's `entropy` does. Source: ID 65, 66.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> mean, spread = own_entropy(pair, 0.0)                                    # kappa = 4
    >>> float(mean.round(8)), float(spread.round(12))
    (0.35631636, 0.050857317461)
    """
    mixture = law.mixture if isinstance(law, EmpiricalDistribution) else law
    mean = mixture.entropy(log_snr)
    square = mean_over_states(mixture, log_snr, lambda m, x, sigma: class_entropy_of(m.posterior(x, sigma)) ** 2)
    return mean, square - mean**2


@dataclass(frozen=True, eq=False)
class TwoWidths:
    """Entropy and variances of two isotropic Gaussian classes of different widths; build it with `two_widths`.

    Arrays of one shape, a value for each log-snr: `entropy` is E h_Z, `class_part` V_Z; `posterior` is the variance of
    the posterior gamma of the first class, `within` the gap H(X_0 | x, Z = 1) - H(X_0 | x, Z = 2) of the two classes'
    own entropies; `both` the variance of within gamma + h_Z, which is V_h up to what clean samples leave open of the
    class.
    """

    entropy: Array
    class_part: Array
    posterior: Array
    within: Array
    both: Array


def two_widths(dimension: int, distance: float, first: float, second: float, log_snr: ArrayLike) -> TwoWidths:
    """The variance of class and sample entropy for two isotropic Gaussian classes of different widths, any dimension.

        h = gamma c + h_b(L) + number - H(Z | X_0, x),    c = (d/2) log(C_1 / C_2),    C = s^2 sigma^2 / (s^2 + sigma^2)

    L depends on the state by its place along the line of the means, which is normal, and its distance from that line,
    whose square is chi-squared: two integrals, whatever the dimension. `first` and `second` are the positive widths
    s. To about 1e-10 for widths at most four times apart. Raises InputError for a dimension that is no whole number
    from 3 to 1e9, a negative or infinite distance, widths that are not positive or farther apart, or a log-snr that is
    farther than 200 from zero. Source: ID 69, 91, 96.

    >>> alike = two_widths(10, 2.0, 1.0, 1.0, 0.0)                               # kappa = 2
    >>> float(alike.class_part.round(10)), float(alike.within)
    (0.0319933592, 0.0)
    """
    count = whole_number("dimension", dimension, least=3, most=_MOST_DIMENSIONS)
    apart = number("distance", distance, "a finite number of at least 0", lambda x: (x >= 0.0) & np.isfinite(x))
    widths = [
        number(name, value, "a positive finite number", lambda x: (x > 0.0) & np.isfinite(x))
        for name, value in (("first", first), ("second", second))
    ]
    if max(widths) > 4.0 * min(widths):
        raise InputError("first, second", (first, second), "widths at most four times apart")
    levels = finite_levels(log_snr)
    rows = [_moments_of_widths(count, apart, widths, sigma) for sigma in noise_of(levels).ravel().tolist()]
    return TwoWidths(*np.array(rows).T.reshape(5, *levels.shape))


def _moments_of_widths(count: int, apart: float, widths: list[float], sigma: float) -> tuple[float, ...]:
    a, b = (width**2 + sigma**2 for width in widths)
    tilt = (widths[0] ** 2 - widths[1] ** 2) / b  # a/b - 1
    within = 0.5 * count * float(np.log(widths[0] ** 2 / widths[1] ** 2) - np.log1p(tilt))
    radii, shares = radius_rule(count - 1, _RADII)
    weights = np.outer(_SHARES, shares)
    values = []
    for centre, total in ((0.0, a), (apart, b)):
        along = centre + np.sqrt(total) * _DEVIATIONS
        line = 0.5 * ((along - apart) ** 2 / b - along**2 / a)
        aside = 0.5 * (tilt * total / a * radii**2 - count * np.log1p(tilt))
        odds = line[:, None] + aside
        values.append((binary_entropy(odds), expit(odds)))

    def variance_of(function: Callable[[Array, Array], Array]) -> tuple[float, float]:
        sides = [function(*value) for value in values]
        mean = 0.5 * sum(float((weights * side).sum()) for side in sides)
        return mean, 0.5 * sum(float((weights * (side - mean) ** 2).sum()) for side in sides)

    mean, class_part = variance_of(lambda entropy, share: entropy)
    _, posterior = variance_of(lambda entropy, share: share)
    _, both = variance_of(lambda entropy, share: within * share + entropy)
    return mean, class_part, posterior, within, both
