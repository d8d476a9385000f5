"""Power laws fitted to exact values, with how far the exponent varies along their range."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from companion.arguments import Array, numbers
from companion.errors import InputError

__all__ = ["Power", "power_law"]


@dataclass(frozen=True)
class Power:
    """A power law y = factor x^exponent: its least-squares fit, and how far the exponent varies along the range.

    `standard_error` is the regression's. `interval` spans the slopes between neighbours: for exact values there is no
    noise, and what misses a line is curvature, which only a comparison of ranges shows.
    """

    exponent: float
    factor: float
    standard_error: float
    interval: tuple[float, float]


def power_law(x: ArrayLike, y: ArrayLike) -> Power:
    """The power law through positive values y at increasing x, by least squares on logarithms.

        log y = log(factor) + exponent log x

    Raises InputError for fewer than four values, or values that are not positive and finite, x increasing.

    >>> law = power_law([1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0])
    >>> round(law.exponent, 12), round(law.factor, 12)
    (1.0, 2.0)
    """
    across = _logarithms("x", x, "four or more positive finite numbers, increasing")
    if across.ndim != 1 or len(across) < 4 or not np.all(np.diff(across) > 0.0):
        raise InputError("x", x, "four or more positive finite numbers, increasing")
    up = _logarithms("y", y, f"as many positive finite numbers as x, {len(across)}")
    if up.shape != across.shape:
        raise InputError("y", y, f"as many positive finite numbers as x, {len(across)}")
    centred = across - across.mean()
    exponent = float(centred @ up / (centred @ centred))
    left_over = up - up.mean() - exponent * centred
    error = float(np.sqrt(left_over @ left_over / ((len(across) - 2) * (centred @ centred))))
    steps = np.diff(up) / np.diff(across)
    with np.errstate(over="ignore"):
        factor = float(np.exp(up.mean() - exponent * across.mean()))
    return Power(exponent, factor, error, (float(steps.min()), float(steps.max())))


def _logarithms(argument: str, value: ArrayLike, expected: str) -> Array:
    return np.log(numbers(argument, value, expected, lambda x: (x > 0.0) & np.isfinite(x)))
