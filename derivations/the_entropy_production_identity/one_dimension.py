"""Classes on a line that are no Gaussian mixtures: heavy tails and sharp edges, under Gaussian noise.

    cauchy_classes   without a mean, so that no moment helps a proof
    box_classes      with edges, so that the production per unit of time is infinite in the data themselves

The frame is the variance-exploding one; entropies are in nats. Integrals are adaptive.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtr, wofz

from companion.arguments import Array, number, numbers, probabilities
from companion.errors import InputError


@dataclass(frozen=True)
class LineClasses:
    """Classes whose noised densities are known on a line; build them with `cauchy_classes` or `box_classes`.

    `densities(x, sigma)` returns p_i and dp_i/dx of every class at one place, `places` are where they change fast.

    >>> boxes = box_classes([0.0, 0.5], 1.0, [0.5, 0.5])
    >>> bool(abs(boxes.entropy(1e-6) - 0.5 * math.log(2.0)) < 1e-5)      # half of either box is shared
    True
    """

    weights: Array
    densities: Callable[[float, float], tuple[Array, Array]]
    places: tuple[float, ...]
    infinite: bool

    def entropy(self, sigma: float) -> float:
        """H(Z | X) at a noise level, to about 1e-10; InputError for a level that is not between 1e-50 and 1e50.

        H(Z) - int sum_i pi_i p_i log(p_i / p) dx
        """

        def information(x: float) -> float:
            joint, share = self._joint(x, sigma)[:2]
            kept = joint > 0.0
            return float(joint[kept] @ np.log(share[kept] / self.weights[kept]))

        return -float(self.weights @ np.log(self.weights)) - self._integral(information, _checked_noise(sigma))

    def production(self, sigma: float) -> float:
        """-dH/dlambda = (sigma^2/2) sum_i pi_i E_i |s_i - s|^2, to about 1e-10; raises as `entropy` does."""

        def squares(x: float) -> float:
            joint, share, scores = self._joint(x, sigma)
            return float(joint @ (scores - share @ scores) ** 2)

        return 0.5 * _checked_noise(sigma) ** 2 * self._integral(squares, sigma)

    def _joint(self, x: float, sigma: float) -> tuple[Array, Array, Array]:
        """pi_i p_i, p(i | x) and s_i; zeros where there is no state at all."""
        densities, slopes = self.densities(x, sigma)
        joint = self.weights * densities
        if not joint.sum() > 1e-290:
            return (np.zeros_like(joint),) * 3
        scores = np.divide(slopes, densities, out=np.zeros_like(joint), where=densities > 0.0)
        return joint, joint / joint.sum(), scores

    def _integral(self, function: Callable[[float], float], sigma: float) -> float:
        near = sorted({place + m * sigma for place in self.places for m in (-10.0, -3.0, 0.0, 3.0, 10.0)})
        spans = [*pairwise(near), *(((-math.inf, near[0]), (near[-1], math.inf)) if self.infinite else ())]
        return float(sum(quad(function, *span, epsabs=1e-13, epsrel=1e-11, limit=200)[0] for span in spans))


def cauchy_classes(centres: Sequence[float], scale: float, weights: Sequence[float]) -> LineClasses:
    """Classes with the density c / (pi (c^2 + (x - a_i)^2)) in clean data: not even E|x_0| is finite.

        p_i = Re w(z) / (sigma sqrt(2 pi)),    z = (x - a_i + i c) / (sigma sqrt 2),    w the Faddeeva function

    Raises InputError for a scale that is not positive, or weights that are not probabilities.

    >>> round(cauchy_classes([-1.0, 1.0], 0.5, [0.5, 0.5]).entropy(1e3), 6)
    0.693147
    """
    _check("scale", scale, "centres", centres, weights)
    middles = np.asarray(centres, dtype=np.float64)

    def densities(x: float, sigma: float) -> tuple[Array, Array]:
        z = (x - middles + 1j * scale) / (sigma * math.sqrt(2.0))
        value = wofz(z)
        slope = 2j / math.sqrt(math.pi) - 2.0 * z * value
        norm = sigma * math.sqrt(2.0 * math.pi)
        return value.real / norm, slope.real / (norm * sigma * math.sqrt(2.0))

    return LineClasses(np.asarray(weights, dtype=np.float64), densities, tuple(centres), infinite=True)


def box_classes(starts: Sequence[float], length: float, weights: Sequence[float]) -> LineClasses:
    """Classes that are uniform on [a_i, a_i + length] in clean data.

    Raises InputError for a length that is not positive, or weights that are not probabilities.

    >>> round(box_classes([0.0, 5.0], 1.0, [0.5, 0.5]).entropy(0.1), 9)
    0.0
    """
    _check("length", length, "starts", starts, weights)
    lefts = np.asarray(starts, dtype=np.float64)

    def densities(x: float, sigma: float) -> tuple[Array, Array]:
        # From whichever side the tail is small: a difference of two numbers near one has no digits.
        away = np.abs(x - lefts - 0.5 * length)
        near, far = (0.5 * length - away) / sigma, (-0.5 * length - away) / sigma
        heights = (ndtr(near) - ndtr(far)) / length
        bells = np.exp(-0.5 * near**2) - np.exp(-0.5 * far**2)
        sides = np.sign(lefts + 0.5 * length - x)
        return heights, sides * bells / (length * sigma * math.sqrt(2.0 * math.pi))

    edges = {*lefts.tolist(), *(lefts + length).tolist()}
    return LineClasses(np.asarray(weights, dtype=np.float64), densities, tuple(sorted(edges)), infinite=False)


def _checked_noise(sigma: float) -> float:
    return number("sigma", sigma, "a noise level between 1e-50 and 1e50", lambda x: (x >= 1e-50) & (x <= 1e50))


def _check(argument: str, value: float, where: str, places: Sequence[float], weights: Sequence[float]) -> None:
    number(argument, value, "a positive number", lambda x: (x > 0.0) & np.isfinite(x))
    expected = f"as many finite numbers as there are weights, {len(probabilities('weights', weights))}"
    if numbers(where, places, expected, np.isfinite).shape != (len(weights),):
        raise InputError(where, places, expected)
