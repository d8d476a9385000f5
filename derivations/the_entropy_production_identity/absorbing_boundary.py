"""Where the global identity fails: two points diffuse on a half-line whose end swallows what arrives.

A Brownian motion dX = dW starts in a_i > 0 if the class is i and ends when it reaches 0. By reflection,

    p_i(x, t) = N(x; a_i, t) - N(x; -a_i, t),    x > 0

is the density of what is left, and loses mass. The class entropy of what is left, int h dx, obeys the local theorem in
every x > 0, and its balance has a term at the wall: what leaves takes its class entropy along. Entropies are in nats.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from scipy.integrate import quad

from companion.arguments import Array, number, numbers, probabilities
from companion.errors import InputError


def survival(starts: Sequence[float], weights: Sequence[float], t: float) -> float:
    """The probability that the wall has not been reached: sum_i pi_i erf(a_i / sqrt(2t)).

    Raises InputError for a start that is not positive, weights that are not probabilities, or a time that is not
    positive.

    >>> round(survival([1.0, 2.0], [0.5, 0.5], 1e-3), 12)
    1.0
    """
    _check(starts, weights, t)
    return sum(w * math.erf(a / math.sqrt(2.0 * t)) for a, w in zip(starts, weights, strict=True))


def entropy_before_wall(starts: Sequence[float], weights: Sequence[float], t: float) -> float:
    """The class entropy of what is left, int_0^inf h dx, to about 1e-11. Raises as `survival` does.

    >>> entropy_before_wall([1.0, 2.0], [0.5, 0.5], 1.0) < survival([1.0, 2.0], [0.5, 0.5], 1.0) * math.log(2.0)
    True
    """
    _check(starts, weights, t)

    def density(x: float) -> float:
        joint, _ = _joint_and_scores(starts, weights, t, x)
        share = joint / max(joint.sum(), 1e-300)
        return -float(joint @ np.log(np.maximum(share, 1e-300)))

    return _over_half_line(density, starts, t)


def production_before_wall(starts: Sequence[float], weights: Sequence[float], t: float) -> float:
    """The production (1/2) sum_i pi_i E_i |s_i - s|^2 over x > 0, to about 1e-11. Raises as `survival` does.

    >>> production_before_wall([1.0, 2.0], [0.5, 0.5], 1.0) > 0.0
    True
    """
    _check(starts, weights, t)

    def source(x: float) -> float:
        joint, scores = _joint_and_scores(starts, weights, t, x)
        mean = joint @ scores / max(joint.sum(), 1e-300)
        return 0.5 * float(joint @ (scores - mean) ** 2)

    return _over_half_line(source, starts, t)


def flux_into_wall(starts: Sequence[float], weights: Sequence[float], t: float) -> float:
    """What leaves through the wall per unit of time: (1/2) dh/dx at 0, in closed form. Raises as `survival` does.

        flux = r H(q),    r = sum_i r_i,    q_i = r_i / r,    r_i = pi_i (a_i / t) N(a_i; 0, t)

    r_i is the rate at which class i arrives, and H(q) the entropy of the class of what arrives now.

    >>> round(flux_into_wall([1.0, 1.0], [0.5, 0.5], 1.0) / math.log(2.0), 9)     # nothing but the rate of arrival
    0.241970725
    """
    _check(starts, weights, t)
    at_wall = [math.exp(-0.5 * a * a / t) / math.sqrt(2.0 * math.pi * t) for a in starts]
    rates = [w * a / t * bell for a, w, bell in zip(starts, weights, at_wall, strict=True)]
    return -sum(rate * math.log(rate / sum(rates)) for rate in rates if rate > 0.0)


def _joint_and_scores(starts: Sequence[float], weights: Sequence[float], t: float, x: float) -> tuple[Array, Array]:
    """pi_i p_i and s_i at one place: p_i is 2 N(x; 0, t) e^(-a^2/2t) sinh(a x/t), and its logarithm is taken apart."""
    a = np.asarray(starts, dtype=np.float64)
    bells = np.exp(-0.5 * (x - a) ** 2 / t) * -np.expm1(-2.0 * a * x / t) / math.sqrt(2.0 * math.pi * t)
    return np.asarray(weights) * bells, (a / np.tanh(a * x / t) - x) / t


def _over_half_line(function: Callable[[float], float], starts: Sequence[float], t: float) -> float:
    width = math.sqrt(t)
    last = max(starts) + 12.0 * width
    near = {a + m * width for a in starts for m in (-4.0, 0.0, 4.0)}
    places = [0.0, *sorted(place for place in near if place > 0.0), last]
    return float(sum(quad(function, *ends, epsabs=1e-13, epsrel=1e-12)[0] for ends in pairwise(places)))


def _check(starts: Sequence[float], weights: Sequence[float], t: float) -> None:
    expected = f"as many positive numbers as there are weights, {len(probabilities('weights', weights))}"
    if numbers("starts", starts, expected, lambda a: (a > 0.0) & np.isfinite(a)).shape != (len(weights),):
        raise InputError("starts", starts, expected)
    number("t", t, "a positive time between 1e-50 and 1e50", lambda x: (x >= 1e-50) & (x <= 1e50))
