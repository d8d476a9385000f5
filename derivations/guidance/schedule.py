"""Where in kappa a path is guided, and with what weight: constant inside an interval, and 1, no guidance, outside."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from companion.arguments import Array, number, numbers
from companion.errors import InputError

__all__ = ["EVERYWHERE", "Stretch", "stretches"]

EVERYWHERE = (0.0, np.inf)


class Stretch(NamedTuple):
    """Kappa from `first` to `last` under one weight, and those of the levels that lie in it, none in two of them."""

    first: float
    last: float
    weight: float
    levels: Array


def stretches(kappa: ArrayLike, weight: float, interval: tuple[float, float] = EVERYWHERE) -> list[Stretch]:
    """The stretches from kappa = 0 to the last level, guided by `weight` inside `interval` and by 1 outside.

    Raises InputError unless kappa is a rising list of numbers between 0 and 200, the last above 0, the weight a number
    between -10 and 20, and the interval two rising numbers of at least 0.

    >>> [(each.first, each.weight, each.levels.tolist()) for each in stretches([1.0, 2.0, 3.0], 4.0, (2.0, 9.0))]
    [(0.0, 1.0, [1.0, 2.0]), (2.0, 4.0, [3.0])]
    """
    expected = "a rising list of numbers between 0 and 200, the last above 0"
    levels = numbers("kappa", kappa, expected, lambda each: (each >= 0.0) & (each <= 200.0))
    if levels.ndim != 1 or not levels.size or not levels[-1] > 0.0 or np.any(np.diff(levels) <= 0.0):
        raise InputError("kappa", kappa, expected)
    w = number("weight", weight, "a number between -10 and 20", lambda each: (each >= -10.0) & (each <= 20.0))
    expected = "two rising numbers of at least 0"
    ends = numbers("interval", interval, expected, lambda each: each >= 0.0)
    if ends.shape != (2,) or not ends[0] < ends[1]:
        raise InputError("interval", interval, expected)
    stops = np.unique([0.0, levels[-1], *ends[ends < levels[-1]]])
    found = []
    for first, last in pairwise(stops.tolist()):
        held = (levels > first) & (levels <= last) | (levels == 0.0) & (first == 0.0)
        found.append(Stretch(first, last, w if ends[0] <= first < ends[1] else 1.0, levels[held]))
    return found
