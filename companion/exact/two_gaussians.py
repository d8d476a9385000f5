"""Two Gaussian classes of equal isotropic covariance: class entropy, its variance and its production, as one integral.

Everything depends on the control parameter kappa = alpha^2 |mu_1 - mu_2|^2 / (alpha^2 s^2 + sigma^2) alone (ES 15). The
log-odds of the two classes is normal, L ~ N(eta + kappa/2, kappa) under the first class and N(eta - kappa/2, kappa)
under the second, eta the prior log-odds (ES 14, 16, 17), so that over the mixture with weights pi and 1 - pi

    E f(L) = 2 sqrt(pi (1 - pi)) e^(-kappa/8) int N(L; eta, kappa) cosh(L/2) f(L) dL.

The factor e^(-kappa/8) is all that underflows, and it is known: logarithms are exact where entropy and production
underflow. What is left is smooth, decays on both sides, and the trapezoidal rule sums it to rounding error. Arrays are
float64 numpy of any shape; entropies are in nats. `weight` is the prior probability pi of the first class.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from companion.arguments import Array, number, numbers
from companion.entropy import binary_entropy
from companion.errors import InputError

__all__ = [
    "control_parameter",
    "curvature",
    "entropy",
    "entropy_of_normal",
    "expectation",
    "log_entropy",
    "log_production",
    "production",
    "variance",
]


# Beyond |L| = 90 the integrands, at most |L| e^(-|L|/2), are below 1e-17 of their value at 0; a Gaussian is so at 9
# deviations. The integrands have their poles at |Im L| = pi or farther, where steps of 180/400 in L leave an error of
# exp(-2 pi^2 / 0.45) = 1e-19.
_FARTHEST_LOG_ODDS, _FARTHEST_DEVIATION, _NODES = 90.0, 9.0, 401
# From there on the prior log-odds is at most 35, and what is confused at L = 0 is never nine deviations away from it
# without being negligible.
_LEAST_WEIGHT = 1e-15


def control_parameter(alpha: ArrayLike, sigma: ArrayLike, distance: ArrayLike, s: ArrayLike) -> Array:
    """The control parameter kappa of two isotropic Gaussian classes whose means are `distance` apart.

    `s` is the standard deviation of both; all four broadcast. In the variance-exploding frame alpha is 1. Exact to
    rounding, relatively. Raises InputError for an argument that is negative, NaN or, but for sigma, infinite, and where
    alpha^2 s^2 + sigma^2 is zero: two clean points have no finite kappa. Source: ES 15.

    >>> float(control_parameter(1.0, 1.0, 2.0, 0.0))
    4.0
    """
    signal, apart, width = (
        numbers(name, value, "finite numbers of at least 0", lambda x: (x >= 0.0) & np.isfinite(x))
        for name, value in (("alpha", alpha), ("distance", distance), ("s", s))
    )
    noise = numbers("sigma", sigma, "numbers of at least 0", lambda x: x >= 0.0)
    with np.errstate(over="ignore"):  # of the last square, to the infinite kappa of classes that are never confused
        total = np.hypot(signal * width, noise)
        if not np.all(total > 0.0):
            raise InputError("sigma, s", (sigma, s), "a positive total variance")
        return np.square(signal * apart / total)


def entropy(kappa: ArrayLike, weight: float = 0.5) -> Array:
    """The class entropy H(Z | X_t) = E h_b(L), in nats.

    Accurate to rounding, relatively, until it underflows near kappa = 5700. Raises InputError for a negative or NaN
    kappa, or a weight that is not between 1e-15 and 1. Source: ES 7, 14.

    >>> entropy([0.0, 4.0]).round(8)
    array([0.69314718, 0.35631636])
    """
    return np.exp(log_entropy(kappa, weight))


def log_entropy(kappa: ArrayLike, weight: float = 0.5) -> Array:
    """The natural logarithm of `entropy`, which does not underflow; raises as that does.

    >>> float(log_entropy(10000.0).round(8))
    -1253.68712385
    """
    integral, exponent = _without_decay(binary_entropy, kappa, weight)
    return np.log(integral) + exponent


def production(kappa: ArrayLike, weight: float = 0.5) -> Array:
    """The entropy produced per unit of the control parameter, in nats; gamma is the posterior of the first class.

        -dH/dkappa = E[ gamma (1 - gamma) ] / 2

    Times kappa, it is per unit of log kappa. Raises as `entropy` does. Source: ES 33 with |s_1 - s_2|^2 = kappa / v.

    >>> float(production(0.0).round(12))
    0.125
    """
    return np.exp(log_production(kappa, weight))


def log_production(kappa: ArrayLike, weight: float = 0.5) -> Array:
    """The natural logarithm of `production`, which does not underflow; raises as `entropy` does.

    >>> float(log_production(10000.0).round(8))
    -1255.76616619
    """
    integral, exponent = _without_decay(lambda log_odds: 0.5 * expit(log_odds) * expit(-log_odds), kappa, weight)
    return np.log(integral) + exponent


def curvature(kappa: ArrayLike, weight: float = 0.5) -> Array:
    """How fast the production falls with kappa, d^2 H / dkappa^2 = E[ gamma^2 (1 - gamma)^2 ] / 2, in nats.

    Raises as `entropy` does. Source: ES 52, differentiated once more.

    >>> float(curvature(0.0))
    0.03125
    """
    return expectation(lambda log_odds: 0.5 * (expit(log_odds) * expit(-log_odds)) ** 2, kappa, weight)


def expectation(function: Callable[[Array], Array], kappa: ArrayLike, weight: float = 0.5) -> Array:
    """The mean E f(L) over the mixture's states of a function of the log-odds with |f(L)| <= C (1 + L^2) e^(-|L|).

    `function` takes and returns float64 arrays. Beyond |L| = 90 it is not asked. Raises as `entropy` does.

    >>> bool(np.isclose(expectation(binary_entropy, 4.0), entropy(4.0), rtol=1e-14))
    True
    """
    integral, exponent = _without_decay(function, kappa, weight)
    return np.exp(exponent) * integral


def entropy_of_normal(mean: ArrayLike, variance: ArrayLike) -> Array:
    """The mean entropy E h_b(L) of a choice whose log-odds is normal with any mean and variance, in nats.

    At (kappa/2, kappa) it is the class entropy; elsewhere, that of an estimate whose log-odds is off. To 1e-14,
    absolutely; arguments broadcast. Raises InputError for one that is not finite, or a negative variance.

    >>> entropy_of_normal([2.0, 0.0], [4.0, 0.0]).round(8)
    array([0.35631636, 0.69314718])
    """
    spread = numbers("variance", variance, "finite numbers of at least 0", lambda v: (v >= 0.0) & np.isfinite(v))
    return _normal_mean(binary_entropy, numbers("mean", mean, "finite numbers", np.isfinite), spread)


def variance(kappa: ArrayLike) -> Array:
    """The variance V_Z = Var h_b(L) over X_t of the posterior's entropy for two equally probable classes, nats squared.

    Raises InputError for a negative or NaN kappa. Source: ID 78, 83.

    >>> float(variance(4.0).round(12))
    0.050857317461
    """

    def variance_of(function: Callable[[Array], Array]) -> Array:
        return expectation(lambda log_odds: function(log_odds) ** 2, kappa) - expectation(function, kappa) ** 2

    # For small kappa the variance is of order kappa^2 and h_b near log 2: there the same variance is taken of the
    # information log 2 - h_b, which is small too. For large kappa it is the other way round.
    small, large = variance_of(_information), variance_of(binary_entropy)
    return np.where(np.asarray(kappa, dtype=np.float64) < 1.0, small, large)


def _information(log_odds: Array) -> Array:
    """log 2 - h_b(L) = y tanh y - log cosh y at y = L/2, with all its digits for small L."""
    half = 0.5 * np.abs(log_odds)
    return np.asarray(half * np.tanh(half) - 0.5 * np.log1p(np.sinh(half) ** 2))


def _without_decay(function: Callable[[Array], Array], kappa: ArrayLike, weight: float) -> tuple[Array, Array]:
    """2 sqrt(pi (1 - pi)) int N(L; eta, kappa) cosh(L/2) f(L) dL, and the exponent -kappa/8 that E f(L) has besides."""
    checked = numbers("kappa", kappa, "numbers of at least 0", lambda x: x >= 0.0)
    expected = f"a probability between {_LEAST_WEIGHT:g} and 1, excluded"
    weight = number("weight", weight, expected, lambda w: (w >= _LEAST_WEIGHT) & (w < 1.0))
    prior_log_odds = np.log(weight) - np.log1p(-weight)
    mean = _normal_mean(lambda log_odds: np.cosh(0.5 * log_odds) * function(log_odds), prior_log_odds, checked)
    return 2.0 * np.sqrt(weight * (1.0 - weight)) * mean, -checked / 8.0


def _normal_mean(function: Callable[[Array], Array], centre: ArrayLike, variance: Array) -> Array:
    """int N(L; centre, variance) f(L) dL by the trapezoidal rule in the number u of deviations."""
    centre, deviation = np.broadcast_arrays(centre, np.sqrt(np.clip(variance, 1e-100, 1e100)))
    first = np.maximum(-_FARTHEST_DEVIATION, (-_FARTHEST_LOG_ODDS - centre) / deviation)
    last = np.minimum(_FARTHEST_DEVIATION, (_FARTHEST_LOG_ODDS - centre) / deviation)
    step = np.maximum(last - first, 0.0) / (_NODES - 1)  # 0 where all of it is farther out
    u = first[..., None] + step[..., None] * np.arange(_NODES)
    values = np.exp(-0.5 * u**2) * function(centre[..., None] + deviation[..., None] * u)
    integral: Array = step / np.sqrt(2.0 * np.pi) * values.sum(axis=-1)
    return integral
