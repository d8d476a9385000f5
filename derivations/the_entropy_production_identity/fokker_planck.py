"""Class densities on a line under any drift: the Fokker-Planck equation itself, solved without a Gaussian kernel.

    dp_i/dt = -d(f p_i)/dx + (g^2/2) d^2 p_i / dx^2

for a drift f(x) that holds the states together and a constant g. The densities are so small at the ends of the grid
that they may be continued periodically; derivatives are then those of their Fourier series, and the solution in time
is a matrix exponential: both to rounding error. Arrays are float64, entropies in nats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from companion.arguments import Array, number, numbers, probabilities, whole_number
from companion.errors import InputError

# Below this density a spectral derivative is rounding; what lies there adds less than 1e-10 to an integral.
_NEGLIGIBLE = 1e-13


@dataclass(frozen=True)
class ClassDensities:
    """The joint densities pi_i p_i (K, n) of class and state at places x (n,), equally spaced.

    >>> two = on_line([-1.0, 1.0], 0.5, [0.5, 0.5])
    >>> bool(abs(two.joint.sum() * (two.x[1] - two.x[0]) - 1.0) < 1e-12)
    True
    """

    x: Array
    joint: Array

    def entropy(self) -> float:
        """H(Z | X) = -int sum_i pi_i p_i log p(i | x) dx."""
        total = self.joint.sum(axis=0)
        kept = self.joint > _NEGLIGIBLE
        shares = np.where(kept, self.joint, 1.0) / np.where(kept, total, 1.0)
        return -float((self.joint * np.log(shares)).sum()) * float(self.x[1] - self.x[0])

    def production(self, g2: float) -> float:
        """(g^2/2) sum_i pi_i E_i |s_i - s|^2, the scores by differentiating the densities."""
        slopes = self.joint @ _derivative(len(self.x), float(self.x[1] - self.x[0])).T
        total, slope = self.joint.sum(axis=0), slopes.sum(axis=0)
        squares = slopes**2 / np.maximum(self.joint, _NEGLIGIBLE) * (self.joint > _NEGLIGIBLE)
        mean = slope**2 / np.maximum(total, _NEGLIGIBLE) * (total > _NEGLIGIBLE)
        return 0.5 * g2 * float(squares.sum() - mean.sum()) * float(self.x[1] - self.x[0])


def on_line(
    centres: list[float], width: float, weights: list[float], reach: float = 5.0, nodes: int = 401
) -> ClassDensities:
    """Normal classes N(centre_i, width^2) on a grid of `nodes` places between -reach and reach.

    Raises InputError for an even number of nodes, fewer than two classes, a width that is not positive, weights that
    are not probabilities, or classes that reach the ends of the grid.

    >>> on_line([0.0, 9.0], 0.5, [0.5, 0.5])
    Traceback (most recent call last):
        ...
    companion.errors.InputError: centres is [0.0, 9.0], expected numbers eight widths inside the grid
    """
    if whole_number("nodes", nodes, least=3, most=10_001) % 2 == 0:
        raise InputError("nodes", nodes, "an odd number")
    number("reach", reach, "a positive number", lambda x: (x > 0.0) & (x <= 1e50))
    number("width", width, "a positive number", lambda x: (x >= 1e-50) & np.isfinite(x))
    numbers("centres", centres, "numbers eight widths inside the grid", lambda c: np.abs(c) + 8.0 * width <= reach)
    if probabilities("weights", weights).shape != np.shape(centres):
        raise InputError("weights", weights, f"one probability for each of the centres {centres}")
    x = np.linspace(-reach, reach, nodes, endpoint=False)
    offsets = (x - np.array(centres)[:, None]) / width
    bells = np.exp(-0.5 * offsets**2) / (width * math.sqrt(2.0 * math.pi))
    return ClassDensities(x, np.array(weights)[:, None] * bells)


def evolve(
    start: ClassDensities, drift: Callable[[Array], Array], g2: float, times: list[float]
) -> list[ClassDensities]:
    """The densities at each of some times after `start`.

    Raises InputError for g2 or a time that is not positive, or a drift under which states reach the ends of the grid.

    >>> start = on_line([-1.0, 1.0], 0.5, [0.5, 0.5])
    >>> (later,) = evolve(start, lambda x: -x, 0.5, [1.0])
    >>> bool(abs(later.joint.sum() * 10.0 / 401 - 1.0) < 1e-10)
    True
    """
    number("g2", g2, "a positive number", lambda x: (x > 0.0) & (x <= 1e50))
    after = numbers("times", times, "one or more positive times", lambda time: (time > 0.0) & (time <= 1e50))
    if after.ndim != 1 or len(after) == 0:
        raise InputError("times", times, "one or more positive times")
    slope = _derivative(len(start.x), float(start.x[1] - start.x[0]))
    forward = 0.5 * g2 * slope @ slope - slope * drift(start.x)
    later = [ClassDensities(start.x, start.joint @ expm(time * forward).T) for time in times]
    at_ends = max(float(np.abs(one.joint[:, [0, -1]]).max()) for one in later)
    if not at_ends < _NEGLIGIBLE:
        raise InputError(
            "drift", f"one that brings a density of {at_ends:.1g} to the ends", "one that keeps states away"
        )
    return later


def _derivative(nodes: int, step: float) -> Array:
    """The matrix that differentiates a periodic function of an odd number of equally spaced places."""
    offsets = np.subtract.outer(np.arange(nodes), np.arange(nodes))
    with np.errstate(divide="ignore"):
        entries = np.where(offsets == 0, 0.0, 0.5 * (-1.0) ** offsets / np.sin(math.pi * offsets / nodes))
    return np.asarray(entries * 2.0 * math.pi / (nodes * step))
