"""Means over stochastic guided paths by their Laplace transform in kappa, which is a pair of hypergeometric functions.

In the posterior gamma = logistic(L) of the guiding class the generator of the guided log-odds,

    G u = (1/2 + (w - 1) logistic(-L)) u' + u''/2,    is    gamma^2 (1 - gamma)^2 u''/2 + w gamma (1 - gamma)^2 u'

by gamma, with singular points at 0, 1 and infinity. So G u = z u has two solutions, one that decays on either side,

    gamma^r (1 - gamma)^m 2F1(r + m, r + m + 2w - 1; 1 + S; gamma)        r = (S - 2w + 1)/2,  S^2 = (2w - 1)^2 + 8z
    gamma^r (1 - gamma)^m 2F1(r + m, r + m + 2w - 1; 1 + T; 1 - gamma)    m = (T + 1)/2,       T^2 = 1 + 8z

and the transform of E f(L) is an integral of their product. Talbot's contour inverts it.
"""

from collections.abc import Callable

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, loggamma

from companion.arguments import Array, number, numbers

__all__ = ["expectation"]

_Complex = NDArray[np.complex128]

# 24 points of the contour leave e^(-0.6 * 24) times the rounding of what cancels, e^(0.4 * 24): 1e-11 of the mean.
_CONTOUR = 24
# The integrand decays as e^(-rate L) with a known rate, to e^(-45) at the last node; squares of the nodes of Gauss
# resolve it near the start and in its tail.
_ABSCISSAE, _WEIGHTS = leggauss(120)
_NODES, _FARTHEST = 0.5 * (_ABSCISSAE + 1.0), 45.0
_STEPS = 2.0 * _FARTHEST * _NODES * 0.5 * _WEIGHTS
_ROUNDING = 1e-17


def expectation(function: Callable[[Array], Array], kappa: ArrayLike, weight: float, start: float = 0.0) -> Array:
    """E f(L) on stochastic guided paths at each kappa, for two Gaussian classes of one width.

        dL = (1/2 + (w - 1) logistic(-L)) dkappa + dB,    L = `start`, the prior log-odds, at kappa = 0

    `function` takes log-odds; it grows slower than any exponential to the left and falls like e^(-L) to the right, as
    a surprise and an entropy do. To about 1e-8 of its size: earlier, for more weight or a start farther out the series
    would lose its digits, and `fokker_planck` has them. Raises InputError for a kappa that is not between 0.1 and 100,
    a weight w that is not above 1/2 (below, paths do not all end in the guiding class) and at most 10, or a start
    farther than 3 from zero. Source: none.

    >>> surprise = lambda log_odds: np.logaddexp(0.0, -log_odds)
    >>> expectation(surprise, [1.0, 4.0], 2.0).round(8)
    array([0.42138117, 0.1284843 ])
    """
    values = numbers("kappa", kappa, "numbers between 0.1 and 100", lambda x: (x >= 0.1) & (x <= 100.0))
    w = number("weight", weight, "a number above 1/2 and at most 10", lambda each: (each > 0.5) & (each <= 10.0))
    first = number("start", start, "a number between -3 and 3", lambda each: np.abs(each) <= 3.0)
    return np.array([_inverted(function, at, w, first) for at in values.flat]).reshape(values.shape)


def _inverted(function: Callable[[Array], Array], kappa: float, w: float, start: float) -> float:
    """Talbot's inversion: the contour z = r a (cot a + i), closed around every singularity, all of them below zero."""
    scale = 0.4 * _CONTOUR / kappa
    angle = np.pi * np.arange(1, _CONTOUR) / _CONTOUR
    cotangent = 1.0 / np.tan(angle)
    z = np.concatenate([[scale + 0.0j], scale * angle * (cotangent + 1j)])
    slope = np.concatenate([[0.5], 1.0 + 1j * (angle + (angle * cotangent - 1.0) * cotangent)])
    transformed = _transform(function, z[:, None], w, start)
    return float(scale / _CONTOUR * (slope * np.exp(kappa * z) * transformed).real.sum())


def _transform(function: Callable[[Array], Array], z: _Complex, w: float, start: float) -> _Complex:
    """The integral of e^(-z kappa) E f(L) over kappa, for z of the shape (points, 1)."""
    left, right = (np.asarray(np.sqrt(each**2 + 8.0 * z), np.complex128) for each in (2.0 * w - 1.0, 1.0))
    r, m = 0.5 * (left - (2.0 * w - 1.0)), 0.5 * (right + 1.0)
    a: _Complex = r + m
    b: _Complex = a + (2.0 * w - 1.0)
    # Divided by the functions' Wronskian and by what both have at the start.
    outside = -loggamma(1.0 + left) - loggamma(1.0 + right) + loggamma(a) + loggamma(b)
    outside += r * log_expit(start) + m * log_expit(-start)
    total = np.zeros(len(z), dtype=np.complex128)
    for side, own, other, rate in (
        (-1.0, left, right, 0.5 * (left + 2.0 * w - 1.0).real),
        (1.0, right, left, m.real),
    ):
        log_odds = start + side * _FARTHEST * _NODES**2 / rate
        # With the speed measure of the paths, 2 gamma^(2w - 1) / (1 - gamma) dL.
        exponent = outside + (r + 2.0 * w - 1.0) * log_expit(log_odds) + (m - 1.0) * log_expit(-log_odds)
        exponent += np.log(_series(a, b, 1.0 + own, expit(-side * log_odds)))
        exponent += np.log(_series(a, b, 1.0 + other, expit(side * start)))
        total += (2.0 * _STEPS / rate * function(log_odds) * np.exp(exponent)).sum(axis=1)
    return total


def _series(a: _Complex, b: _Complex, c: _Complex, x: Array | float) -> _Complex:
    """Gauss's hypergeometric series 2F1(a, b; c; x) for complex parameters and 0 <= x < 1, which broadcast."""
    term: _Complex = np.ones(np.broadcast_shapes(c.shape, np.shape(x)), dtype=np.complex128)
    total, n = term, 0
    while np.any(np.abs(term) > _ROUNDING * np.abs(total)):
        term = term * ((a + n) * (b + n) / ((c + n) * (1 + n)) * x)
        total, n = total + term, n + 1
    return total
