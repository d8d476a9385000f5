"""Derivatives of what is known in numbers alone, a table of values at a time: central differences of order eight.

A function that takes arrays place by place is left to `scipy.differentiate.derivative`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from companion.arguments import Array

_FIRST = (4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0)
_SECOND = (8.0 / 5.0, -1.0 / 5.0, 8.0 / 315.0, -1.0 / 560.0)  # and -205/72 in the middle


def slope(function: Callable[[float], Any], at: float, step: float) -> Array:
    """The derivative of a function of one number, whose values are numbers or arrays.

    >>> slope(lambda x: np.array([x**8, np.exp(x)]), 0.0, 0.1).round(9).tolist()
    [0.0, 1.0]
    """
    ends = [function(at + m * step) - function(at - m * step) for m in range(1, 5)]
    return np.asarray(sum(factor * end for factor, end in zip(_FIRST, ends, strict=True)) / step)


def bend(function: Callable[[float], Any], at: float, step: float) -> Array:
    """The second derivative of a function of one number, whose values are numbers or arrays.

    >>> float(bend(np.cos, 0.0, 0.1).round(9))
    -1.0
    """
    ends = [function(at + m * step) + function(at - m * step) for m in range(1, 5)]
    middle = -205.0 / 72.0 * function(at)
    return np.asarray(sum((factor * end for factor, end in zip(_SECOND, ends, strict=True)), middle) / step**2)
