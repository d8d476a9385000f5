"""Guidance of one number by one number: everything in closed form, a function of the information I_0 and the weight.

With rho = Var(X | Y) / Var X = exp(-2 I_0), M the slope of E[X | Y] and eta the churn (`joint_gaussian.guided`),

    Var_w(X | Y) / Var(X | Y) = int_0^1 (rho + (1 - rho) s^(1/eta))^((1 + eta)(w - 1)) ds       (eta = 0: rho^(w - 1))
    slope of E_w[X | Y] / M   = w int_0^1 (rho + (1 - rho) s^(1/b))^(b (w - 1)) ds,             b = (1 + eta)/2

Covariances that commute are such pairs side by side. To about 1e-9, relatively, for weights up to 1000. Source: none.
"""

import numpy as np
from numpy.typing import ArrayLike

from companion.arguments import Array, number, numbers

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)
_PLACES, _SHARES = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS  # of s


def log_shrinkage(information: ArrayLike, weight: ArrayLike, churn: float = 0.0) -> Array:
    """The logarithm of Var_w(X | Y) / Var(X | Y); `information` I_0 > 0 in nats and `weight` w >= 1 broadcast.

    Raises InputError for an information that is not positive, a weight below 1, or a churn outside 0 to 1.

    >>> log_shrinkage(0.5, [1.0, 3.0]).tolist(), round(float(log_shrinkage(0.5, 3.0, churn=1.0)), 6)
    ([-0.0, -2.0], -1.157524)
    """
    nats, w, kept = _checked(information, weight, churn)
    if kept == 0.0:
        return np.asarray(-2.0 * (w - 1.0) * nats)
    return np.log(_mean(nats, 1.0 / kept, (1.0 + kept) * (w - 1.0)))


def stretch(information: ArrayLike, weight: ArrayLike, churn: float = 0.0) -> Array:
    """The slope of E_w[X | Y] over that of E[X | Y]: 1 at w = 1, and for large w 1/(1 - rho), that of Y = A X reversed.

    Arguments and errors as for `log_shrinkage`.

    >>> stretch(0.5, [1.0, 3.0, 1000.0]).round(4), (1.0 / (1.0 - np.exp(-1.0))).round(4)
    (array([1.    , 1.7358, 1.5829]), np.float64(1.582))
    """
    nats, w, kept = _checked(information, weight, churn)
    half = 0.5 * (1.0 + kept)
    return w * _mean(nats, 1.0 / half, half * (w - 1.0))


def guided_information(information: ArrayLike, weight: ArrayLike, churn: float = 0.0) -> Array:
    """The information I(X; Y)_w of guided samples of one number, in nats.

        I_w = (1/2) log( 1 + stretch^2 (1 - rho) / (rho shrinkage) )

    Arguments and errors as for `log_shrinkage`.

    >>> guided_information(0.5, [1.0, 2.0, 3.0]).round(4), guided_information(0.5, [1.0, 2.0, 3.0], 1.0).round(4)
    (array([0.5   , 1.2228, 1.835 ]), array([0.5   , 1.0018, 1.2959]))
    """
    nats, _, _ = _checked(information, weight, churn)
    shrinkage, pull = log_shrinkage(information, weight, churn), stretch(information, weight, churn)
    signal = 2.0 * np.log(pull) + np.log(-np.expm1(-2.0 * nats)) + 2.0 * nats - shrinkage
    return np.asarray(0.5 * np.logaddexp(0.0, signal))


def _mean(nats: Array, power: float, exponent: Array) -> Array:
    """The integral over s of (rho + (1 - rho) s^power)^exponent."""
    shared = -np.expm1(-2.0 * nats)[..., None]
    values: Array = (1.0 - shared * (1.0 - _PLACES**power)) ** exponent[..., None] @ _SHARES
    return values


def _checked(information: ArrayLike, weight: ArrayLike, churn: float) -> tuple[Array, Array, float]:
    nats = numbers("information", information, "positive finite numbers", lambda i: (i > 0.0) & (i < np.inf))
    w = numbers("weight", weight, "finite numbers of at least 1", lambda w: (w >= 1.0) & (w < np.inf))
    return nats, w, number("churn", churn, "a number between 0 and 1", lambda c: (c >= 0.0) & (c <= 1.0))
