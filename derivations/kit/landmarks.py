"""Where two Gaussian classes are decided: the landmarks of one curve, each as a value of the control parameter kappa.

Half entropy, the largest variance, the largest production per unit of log kappa and the splitting of the score depend
on kappa alone: they are the same numbers for every dimension, distance, width and process. A peak of the production
*per unit of a clock* c also asks how fast the clock runs,

    dH/dc = -(dH/dkappa) |dkappa/dc|,    largest where    d log(-dH/dkappa) + d log|dkappa/dc| = 0.

Every landmark is the root of a derivative that is itself an exact integral, and so known to rounding error: a maximum
located by its height would have half of the digits. `weight`, from 0.001 to 0.999, is the first class's prior
probability; `distance` lies between the means, `s` is the deviation of each class. Another weight, a distance that is
not positive and finite, or an s that is not between 0 and 1e6 distances raises InputError.
"""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from companion.arguments import number
from companion.entropy import binary_entropy
from companion.exact.two_gaussians import curvature, entropy, expectation, production
from derivations.kit.speciation import kappa_decided

__all__ = [
    "half_entropy",
    "largest_production",
    "largest_variance",
    "peak_in_log_snr",
    "peak_in_ve_time",
    "peak_in_vp_time",
    "score_splits",
]

_FIRST, _LAST = 1e-3, 1e3  # what kappa is searched in, for a weight up to 0.999: larger prior odds need larger kappa
_LEAST_WEIGHT, _MOST_WEIGHT = 0.001, 0.999


def half_entropy(weight: float = 0.5) -> float:
    """The control parameter at which half of the class entropy is left: H(kappa) = H(0) / 2. Source: ES 15, 16.

    >>> round(half_entropy(), 10)
    4.1760532618
    """
    return kappa_decided(0.5, _checked_weight(weight))


def largest_production(weight: float = 0.5) -> float:
    """The control parameter at which most entropy is produced per unit of log kappa.

        E[ gamma (1 - gamma) ] = kappa E[ gamma^2 (1 - gamma)^2 ]

    It is also the peak per unit of log-snr for points (s = 0), and of VP-OU time for s = 1. Source: ES 52.

    >>> round(largest_production(), 10)
    6.0333225151
    """
    return _peak(lambda kappa: 1.0, np.inf, _checked_weight(weight))


def largest_variance(weight: float = 0.5) -> float:
    """The control parameter at which the posterior's entropy varies most over states.

        dV_Z/dkappa = E[ L^2 gamma^2 (1 - gamma)^2 ] - Cov( h_b(L), gamma (1 - gamma) ) = 0

    Source: ID 78, 83, differentiated.

    >>> round(largest_variance(), 10)
    5.3819106789
    """
    weight = _checked_weight(weight)

    def slope(kappa: float) -> float:
        spread = expectation(lambda odds: (odds * expit(odds) * expit(-odds)) ** 2, kappa, weight)
        together = expectation(lambda odds: binary_entropy(odds) * expit(odds) * expit(-odds), kappa, weight)
        return float(spread - together + 2.0 * entropy(kappa, weight) * production(kappa, weight))

    return _root(slope, 1.0, 20.0)


def score_splits(weight: float = 0.5) -> float:
    """The control parameter from which on the noised density has two tops, and the score three zeros.

        |log(weight / (1 - weight))| / 2 = a y - artanh y,    y = sqrt(1 - 1/a),    a = kappa / 4

    For equal weights the middle zero forks there, at exactly 4: the slope of the denoiser at the midpoint is
    1 - (sigma^2/v) (1 - kappa/4), and passes 1. For others a pair of zeros appears beside the first (a fold). So for
    any class width s. Source: ID 39-45.

    >>> score_splits()
    4.0
    """
    weight = _checked_weight(weight)
    offset = 0.5 * abs(np.log(weight) - np.log1p(-weight))

    def gap(kappa: float) -> float:
        y = np.sqrt(1.0 - 4.0 / kappa)
        return float(0.25 * kappa * y - np.arctanh(y) - offset)

    return 4.0 if offset == 0.0 else _root(gap, 4.0, _LAST)


def peak_in_log_snr(distance: float, s: float) -> float:
    """The control parameter at which most entropy is produced per unit of log-snr.

        dkappa/dlambda = kappa (1 - kappa s^2 / distance^2)

    The width pulls the peak towards the noise. Source: ES 15.

    >>> peak_in_log_snr(2.0, 0.0) == largest_production()
    True
    """
    largest = _largest(distance, s)
    return _peak(lambda kappa: 1.0 - kappa / (largest - kappa), largest)


def peak_in_ve_time(distance: float, s: float) -> float:
    """The control parameter at which most entropy is produced per unit of sigma = t, the time of VE and EDM.

        |dkappa/dt| = (2 / distance) kappa^(3/2) sqrt(1 - kappa s^2 / distance^2)

    For points (s = 0), and for classes far apart, this is a universal number too. Source: ES 71.

    >>> round(peak_in_ve_time(2.0, 0.0), 10)
    9.6505955833
    """
    largest = _largest(distance, s)
    return _peak(lambda kappa: 1.5 - 0.5 * kappa / (largest - kappa), largest)


def peak_in_vp_time(distance: float, s: float) -> float:
    """The control parameter at which most entropy is produced per unit of VP-OU time.

        |dkappa/dt| = 2 kappa (1 + (1 - s^2) kappa / distance^2)

    For s = 1, and for classes far apart, it is `largest_production`. Where classes overlap so much that the production
    falls from t = 0 on, the peak is the data's own kappa, distance^2 / s^2. Source: ES 53.

    >>> peak_in_vp_time(2.0, 1.0) == 4.0                            # at t = 0: more of it than of any later kappa
    True
    """
    largest = _largest(distance, s)
    # (1 - s^2) kappa / distance^2 is written without large squares.
    return _peak(lambda kappa: 2.0 - 1.0 / (1.0 + kappa / distance / distance - kappa / largest), largest)


def _largest(distance: float, s: float) -> float:
    """The kappa of clean data."""
    apart = number("distance", distance, "a positive finite distance", lambda x: (x > 0.0) & np.isfinite(x))
    expected = "a deviation of at least 0 and at most a million distances"
    share = (number("s", s, expected, lambda x: (x >= 0.0) & (x <= 1e6 * apart)) / apart) ** 2
    return np.inf if share == 0.0 else 1.0 / share


def _peak(rate_slope: Callable[[float], float], largest: float, weight: float = 0.5) -> float:
    """Where d log|dkappa/dc| / d log kappa + d log(-dH/dkappa) / d log kappa passes zero; at the end if it does not."""

    def slope(kappa: float) -> float:
        return rate_slope(kappa) - kappa * float(curvature(kappa, weight) / production(kappa, weight))

    last = min(_LAST, largest * (1.0 - 1e-15))
    return largest if slope(last) > 0.0 else _root(slope, min(_FIRST, 0.1 * largest), last)


def _root(function: Callable[[float], float], first: float, last: float) -> float:
    return float(brentq(function, first, last, xtol=1e-300, rtol=4.0 * np.finfo(np.float64).eps))


def _checked_weight(weight: float) -> float:
    expected = f"a probability between {_LEAST_WEIGHT} and {_MOST_WEIGHT}"
    return number("weight", weight, expected, lambda w: (w >= _LEAST_WEIGHT) & (w <= _MOST_WEIGHT))
