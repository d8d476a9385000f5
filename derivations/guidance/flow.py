"""The law of the log-odds under guided probability flow, by an ordinary differential equation; no path is drawn.

    dL/dkappa = 1/4 + (L - eta) / (2 kappa) + (w - 1) logistic(-L) / 2,    L = eta + sqrt(kappa) xi for small kappa

with eta the prior log-odds and xi standard normal. In deviations, L = eta + s r at s = sqrt(kappa), nothing is
singular, and the drift is the stochastic one's with s for kappa:

    dr/ds = 1/2 + (w - 1) logistic(-eta - s r),    r = xi at s = 0

Paths do not cross, so that the law of L is that of xi, moved. Two routes: forward from xi, where means are sums over a
normal law, and back from L to its xi, where the distribution function of L is that of xi.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import simpson, solve_ivp
from scipy.special import expit, ndtr

from companion.arguments import Array, number
from derivations.guidance.schedule import EVERYWHERE, stretches

__all__ = ["NOISE", "SHARES", "expectation", "expectation_from_behind", "guided_flow", "origin_of"]

# A trapezoidal rule over a normal law: 9.5 deviations leave 1e-21; poles are pi / sqrt(kappa) off the line.
NOISE, _STEP = np.linspace(-9.5, 9.5, 401, retstep=True)
SHARES = _STEP * np.exp(-0.5 * NOISE**2) / np.sqrt(2.0 * np.pi)
_EARLIEST = -36.0  # of log kappa, against the last: there the push on r is below 1e-7 of its 1e-8


def guided_flow(
    kappa: ArrayLike, weight: float, start: float = 0.0, interval: tuple[float, float] = EVERYWHERE
) -> Array:
    """The log-odds at each kappa of the guided flow from each of 401 equally spaced xi, `NOISE`: (levels, 401).

    Guided by `weight` where kappa is inside `interval`, else by 1; `start` is the prior log-odds. To about 1e-11 of
    their size. Raises InputError for a start farther than 10 from zero, and as `stretches` does. Source: none.

    >>> guided_flow([4.0], 1.0)[0, 200].round(8).item()
    2.0
    """
    eta = number("start", start, "a number between -10 and 10", lambda each: np.abs(each) <= 10.0)
    r, found = NOISE, []
    for piece in stretches(kappa, weight, interval):

        def moved(s: float, r: Array, push: float = piece.weight - 1.0) -> Array:
            return np.asarray(0.5 + push * expit(-eta - s * r))

        at = np.sqrt(np.union1d(piece.levels, piece.last))
        ends = np.sqrt(piece.first), np.sqrt(piece.last)
        solved = solve_ivp(moved, ends, r, "DOP853", at, rtol=1e-12, atol=1e-12)
        found += [eta + s * each for s, each in zip(at, solved.y.T[: len(piece.levels)], strict=False)]
        r = solved.y[:, -1]
    return np.array(found)


def expectation(
    function: Callable[[Array], Array],
    kappa: ArrayLike,
    weight: float,
    start: float = 0.0,
    interval: tuple[float, float] = EVERYWHERE,
) -> Array:
    """E f(L) at each kappa of the guided flow; arguments as `guided_flow`, `function` takes log-odds.

    To about 1e-10 for kappa up to 40, beyond which the function's poles come near the rule's nodes. Raises as that
    does. Source: none.

    >>> expectation(lambda log_odds: np.logaddexp(0.0, -log_odds), [1.0, 4.0], 2.0).round(8)
    array([0.4103453, 0.0913495])
    """
    return np.asarray(function(guided_flow(kappa, weight, start, interval)) @ SHARES)


def origin_of(log_odds: ArrayLike, kappa: float, weight: float) -> Array:
    """The xi from which the guided flow reaches each of the log-odds (n,) at this kappa, equal priors.

    By Adams's and Gear's methods, to about 1e-9. Raises as `stretches` does. Source: none.

    >>> origin_of([2.0, 4.0], 4.0, 1.0).round(7)
    array([0., 1.])
    """
    (only,) = stretches([kappa], weight)

    def moved(log_kappa: float, L: Array) -> Array:
        return np.asarray(0.5 * L + np.exp(log_kappa) * (0.25 + 0.5 * (only.weight - 1.0) * expit(-L)))

    last = float(np.log(only.last))
    there = np.asarray(log_odds, dtype=np.float64)
    solved = solve_ivp(moved, (last, last + _EARLIEST), there, "LSODA", rtol=1e-11, atol=1e-30)
    return np.asarray(solved.y[:, -1] * np.exp(-0.5 * (last + _EARLIEST)))


def expectation_from_behind(
    function: Callable[[Array], Array], slope: Callable[[Array], Array], kappa: float, weight: float
) -> float:
    """E f(L) of the guided flow from the distribution function F of L, with f and its slope; equal priors.

        E f(L) = f(0) + int f'(L) (1 - F(L)) dL over L > 0  -  int f'(L) F(L) dL over L < 0,    F(L) = Phi(xi(L))

    Nothing in it is shared with `expectation`. To about 1e-8. Raises as `stretches` does. Source: none.

    >>> surprise = lambda log_odds: np.logaddexp(0.0, -log_odds)
    >>> round(expectation_from_behind(surprise, lambda log_odds: -expit(-log_odds), 1.0, 2.0), 7)
    0.4103453
    """
    reach = 9.0 * np.sqrt(kappa)
    halves = np.linspace(-reach, 0.0, 1201), np.linspace(0.0, 0.5 * kappa + reach + 8.0, 1201)
    left, right = (ndtr(side * origin_of(half, kappa, weight)) for side, half in zip((1.0, -1.0), halves, strict=True))
    below, above = (simpson(slope(half) * tail, x=half) for half, tail in zip(halves, (left, right), strict=True))
    return float(function(np.zeros(1))[0] + above - below)
