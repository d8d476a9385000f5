"""Guidance among K equidistant Gaussian classes of one width: a law for three classes, paths for any number.

With the means along orthogonal axes and tau = kappa/2, kappa of a pair, the logarithms Y_j of the classes' weights move
as independent Brownian motions, all but the posterior the same for every process, dimension and width:

    dY_j = (1{j = c} + (w - 1) (1{j = c} - p_j)) dtau + dB_j,    p = softmax(Y),    Y = 0 at tau = 0

c, here class 0, guides. For three classes the Fokker-Planck equation of (Y_c - Y_1, Y_c - Y_2) is solved; there is no
smaller one. For more classes paths are drawn, and what is averaged is the cross entropy less its own martingale:

    -log p_c = log K - (w - 1/2) int |e_c - p|^2 dtau - a martingale,    |e_c - p|^2 = (1 - p_c)^2 + sum_{j != c} p_j^2
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.special import ndtr, softmax

from companion.arguments import Array, number, numbers, whole_number
from companion.errors import InputError

__all__ = ["Drawn", "cross_entropy_of_paths", "half_level_of_strong_guidance", "three_classes"]

_SPACING, _DEVIATIONS, _SEAM = 0.2, 7.0, 6.0
_BATCH = 5000  # paths that are drawn together: what a cache holds


def three_classes(kappa: ArrayLike, weight: float) -> Array:
    """The cross entropy of class c on stochastic paths guided to it, among three equidistant classes, in nats.

    At each kappa of a rising list, to about 1e-6; no path is drawn. Raises InputError unless kappa rises between 0.1
    and 10 and the weight is between 1/2 and 10, for which the equation's grid is laid out. Source: none.

    >>> from companion.exact import equidistant
    >>> bool(abs(three_classes([0.2], 1.0) - equidistant.entropy([0.2], 3)).max() < 1e-6)
    True
    """
    expected = "a rising list of numbers between 0.1 and 10"
    levels = numbers("kappa", kappa, expected, lambda each: (each >= 0.1) & (each <= 10.0))
    if levels.ndim != 1 or not levels.size or np.any(np.diff(levels) <= 0.0):
        raise InputError("kappa", kappa, expected)
    w = number("weight", weight, "a number between 1/2 and 10", lambda each: (each >= 0.5) & (each <= 10.0))
    last = float(levels[-1])
    reach = _DEVIATIONS * np.sqrt(last)
    below = int(np.ceil((reach + _SEAM) / _SPACING))
    above = int(np.ceil((reach + 0.5 * last + min(0.75 * (w - 1.0) * last, np.log(w) + 6.0) + _SEAM) / _SPACING))
    line = _SPACING * np.arange(-below, above + 1)
    first, second = np.meshgrid(line, line, indexing="ij")
    first_odds, second_odds = np.exp(-first), np.exp(-second)
    p = 1.0 / (1.0 + first_odds + second_odds)
    # Where no path is, guidance fades, so that the drift is as smooth on the torus as in the plane.
    window = ndtr(2.0 * (line - line[0]) - _SEAM) * ndtr(2.0 * (line[-1] - line) - _SEAM)
    push = 0.5 * (w - 1.0) * window[:, None] * window
    drifts = [0.5 + push * (1.0 - p + p * odds) for odds in (first_odds, second_odds)]
    frequencies = (2.0 * np.pi * each(len(line), _SPACING) for each in (np.fft.fftfreq, np.fft.rfftfreq))
    a, b = np.meshgrid(*frequencies, indexing="ij")
    spread = -0.5 * (a**2 + b**2 + a * b)  # (Y_c - Y_1, Y_c - Y_2) have the covariance kappa (1, 1/2; 1/2, 1)

    def moved(_: float, flat: Array) -> Array:
        q = flat.reshape(first.shape)
        change = spread * np.fft.rfft2(q)
        for frequency, drift in zip((a, b), drifts, strict=True):
            change -= 1j * frequency * np.fft.rfft2(drift * q)
        return np.asarray(np.fft.irfft2(change, q.shape)).ravel()

    density = np.zeros(first.shape)
    density[below, below] = 1.0 / _SPACING**2
    solved = solve_ivp(moved, (0.0, last), density.ravel(), "RK45", levels, rtol=1e-8, atol=1e-11)
    return np.asarray(_SPACING**2 * solved.y.T @ -np.log(p).ravel())


class Drawn(NamedTuple):
    """Means over paths at each kappa and their standard errors, in nats."""

    kappa: Array
    cross_entropy: Array
    standard_error: Array


def cross_entropy_of_paths(
    kappa: ArrayLike, weight: float, classes: int, count: int, generator: np.random.Generator
) -> Drawn:
    """The cross entropy of class c on `count` stochastic paths guided to it, among K equidistant classes.

        log K - (w - 1/2) E int ( (1 - p_c)^2 + sum_{j != c} p_j^2 ) dtau

    At each kappa, in nats. Steps go from 0 through every kappa, by Heun's rule, whose mean is of second order here as
    the noise is additive: halve them to see what they cost. Raises InputError for fewer than two classes or paths, a
    rising list that is none, or a weight that is not finite. Source: none.

    >>> drawn = cross_entropy_of_paths(np.linspace(0.1, 2.0, 20), 2.0, 10, 2000, np.random.default_rng(0))
    >>> bool(abs(drawn.cross_entropy[-1] - 1.21) < 0.03), bool(drawn.standard_error[-1] < 0.01)
    (True, True)
    """
    expected = "a rising list of positive numbers"
    levels = numbers("kappa", kappa, expected, lambda each: (each > 0.0) & np.isfinite(each))
    if levels.ndim != 1 or not levels.size or np.any(np.diff(levels) <= 0.0):
        raise InputError("kappa", kappa, expected)
    w = number("weight", weight, "a finite number", np.isfinite)
    k, paths = whole_number("classes", classes, least=2), whole_number("count", count, least=2)
    own = np.eye(k)[0]
    total, squares = np.zeros(len(levels)), np.zeros(len(levels))
    for first in range(0, paths, _BATCH):
        y = np.zeros((min(_BATCH, paths - first), k))
        p = softmax(y, axis=1)
        gone, before = np.zeros(len(y)), ((own - p) ** 2).sum(axis=1)
        for n, step in enumerate(0.5 * np.diff(levels, prepend=0.0)):
            noise = np.sqrt(step) * generator.standard_normal(y.shape)
            ahead = softmax(y + step * (own + (w - 1.0) * (own - p)) + noise, axis=1)
            y += step * (own + (w - 1.0) * (own - 0.5 * (p + ahead))) + noise
            p = softmax(y, axis=1)
            after = ((own - p) ** 2).sum(axis=1)
            gone, before = gone + 0.5 * step * (before + after), after
            lost = (w - 0.5) * gone
            total[n], squares[n] = total[n] + lost.sum(), squares[n] + (lost**2).sum()
    mean = total / paths
    return Drawn(levels, np.log(k) - mean, np.sqrt(np.maximum(squares / paths - mean**2, 0.0) / (paths - 1)))


def half_level_of_strong_guidance(classes: int) -> float:
    """w times the kappa at which half of log K is gone, in the limit of strong guidance, w to infinity.

        (2/K) ( sqrt(K) + (K - 1) log(1 + sqrt(K)) )

    Raises InputError for fewer than two classes. Source: none.

    >>> round(half_level_of_strong_guidance(2), 6)
    2.295587
    """
    k = whole_number("classes", classes, least=2)
    return float(2.0 / k * (np.sqrt(k) + (k - 1.0) * np.log1p(np.sqrt(k))))
