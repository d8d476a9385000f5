"""The law of the log-odds on stochastic guided paths, by the Fokker-Planck equation in kappa; no path is drawn.

    dq/dkappa = (1/2) d^2 q / dL^2 - d/dL [ (1/2 + (w - 1) logistic(-L)) q ],    q = delta(L - start) at kappa = 0

L is the log-odds of the guiding one of two Gaussian classes of one width, w(kappa) the weight. Derivatives are those of
a trigonometric polynomial on equally spaced L: a point mass is one of them, and what it lacks is gone after a few
squares of the spacing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.special import expit, ndtr

from companion.arguments import Array, number
from derivations.guidance.schedule import EVERYWHERE, stretches

__all__ = ["GuidedLaw", "guided_law"]

# Poles of the drift are pi off the line: a spacing of 0.15 leaves exp(-pi^2 / 0.15) = 1e-28 of its step, and of a point
# mass exp(-pi^2 kappa / 0.045), which smooth functions do not see. At the ends even a point
# mass has become small.
_SPACING, _WIDER, _DEVIATIONS, _SEAM = 0.15, 0.2, 8.5, 8.0


@dataclass(frozen=True, eq=False)
class GuidedLaw:
    """The densities (levels, n) of the log-odds (n,), equally spaced, at each kappa (levels,)."""

    kappa: Array
    log_odds: Array
    density: Array

    def expectation(self, function: Callable[[Array], Array]) -> Array:
        """E f(L) at each kappa; `function` takes log-odds."""
        return np.asarray((self.log_odds[1] - self.log_odds[0]) * self.density @ function(self.log_odds))


def guided_law(
    kappa: ArrayLike, weight: float, start: float = 0.0, interval: tuple[float, float] = EVERYWHERE
) -> GuidedLaw:
    """The law of the log-odds of the guiding class, guided by `weight` where kappa is inside `interval`, else by 1.

    `start` is the prior log-odds. Means of smooth functions that grow no faster than L are good to about 1e-8, or
    1e-7 beyond kappa = 10, from 0.4 of the last kappa on, or from kappa = 0.1: earlier laws are narrow for the grid and
    want a list of their own. Raises InputError for a start farther than 10 from zero, and as `stretches` does.
    Source: ES appendix B for the paths; the equation, none.

    >>> law = guided_law([1.0, 4.0], 2.0)
    >>> law.expectation(lambda log_odds: np.logaddexp(0.0, -log_odds)).round(8)
    array([0.42138117, 0.1284843 ])
    """
    pieces = stretches(kappa, weight, interval)
    first = number("start", start, "a number between -10 and 10", lambda each: np.abs(each) <= 10.0)
    log_odds, origin = _circle(first, pieces[-1].last, weight)
    spacing = log_odds[1] - log_odds[0]
    frequency = 2.0 * np.pi * np.fft.rfftfreq(len(log_odds), spacing)
    # Where no path is, the drift is led back, so that it is as smooth on the circle as on the line.
    doubt = expit(-log_odds) * ndtr(2.0 * (log_odds - log_odds[0] - 0.5 * _SEAM))
    density = np.zeros(len(log_odds))
    density[origin] = 1.0 / spacing
    found = []
    for piece in pieces:
        drift = 0.5 + (piece.weight - 1.0) * doubt

        def moved(_: float, q: Array, drift: Array = drift) -> Array:
            bent, carried = -0.5 * frequency**2 * np.fft.rfft(q), 1j * frequency * np.fft.rfft(drift * q)
            return np.asarray(np.fft.irfft(bent - carried, len(q)))

        at = np.union1d(piece.levels, piece.last)
        solved = solve_ivp(moved, (piece.first, piece.last), density, "DOP853", at, rtol=1e-10, atol=1e-13)
        found += [*solved.y.T[: len(piece.levels)]]
        density = solved.y[:, -1]
    return GuidedLaw(np.asarray(kappa, dtype=np.float64), log_odds, np.array(found))


def _circle(start: float, last: float, weight: float) -> tuple[Array, int]:
    """Equally spaced log-odds that hold all paths up to kappa = `last`, with a seam below; which of them is `start`."""
    slow, fast = sorted((0.5, weight - 0.5))
    # A drift d holds the paths above the least of d kappa - 8.5 sqrt(kappa).
    turn = min(last, (0.5 * _DEVIATIONS / slow) ** 2) if slow > 0.0 else last
    low = start + slow * turn - _DEVIATIONS * np.sqrt(turn) - _SEAM
    # Guidance hardly acts above L = log w + 8, from where all goes on at 1/2.
    pushed = min((fast - 0.5) * last, np.log1p(abs(weight)) + 8.0)
    high = max(start, 0.0) + 0.5 * last + _DEVIATIONS * np.sqrt(last) + pushed + _SEAM
    spacing = min(_SPACING if last < 10.0 else _WIDER, 0.3 * np.sqrt(last))
    below, above = int(np.ceil((start - low) / spacing)), int(np.ceil((high - start) / spacing))
    return start + spacing * np.arange(-below, above + 1), below
