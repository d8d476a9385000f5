"""Two isotropic Gaussian classes of equal means by the law of |x|^2: the second way to their class entropy.

It shares nothing with the integral of `GaussianPair.entropy`, and has the logarithm where the entropy is 1e-1000.
Noise and variances enter by l = log(A/B) alone, `GaussianPair.log_ratio`. Entropies are in nats.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import lambertw

from companion.arguments import Array, numbers, whole_number
from companion.exact.gaussian_pairs import less_its_logarithm

__all__ = ["isotropic_log_entropy"]


def isotropic_log_entropy(dimension: int, ratio: ArrayLike) -> Array:
    """log H at each log-ratio l = log(A/B), of any shape.

    With v = l / (1/B - 1/A) the densities cross at |x|^2 = d v. There |x|^2 = d v e^y makes L = (d/2) l (e^y - 1), and

        H = e^(-(d/2) C) int chi(y) (1/2) [ e^((1-q) L) + e^(-q L) ] h_b(L) dy,
        q = r/l - 1/l,    r = l / (1 - e^-l),    C = r - 1 - log r,

    chi(y) the density of the logarithm of a chi-squared variable over d, and (d/2) C the Chernoff information of the
    classes. Accurate to about 1e-11, relatively. Raises InputError for a dimension that is no whole number from 1 to
    1e15, or a ratio that is zero (below 1e-100) or beyond 700. Source: the log-odds of ES 24 for Gaussians.

    >>> float(isotropic_log_entropy(3000, 2.0).round(6))
    -714.915328
    """
    half = 0.5 * whole_number("dimension", dimension, least=1, most=10**15)
    expected = "logarithms of a ratio of variances that differ, of at most 700"
    ratios = numbers("ratio", ratio, expected, lambda x: (np.abs(x) >= 1e-100) & (np.abs(x) <= 700.0))
    size = np.abs(ratios)[..., None]  # exchanging the classes changes the sign and not the entropy
    q = _crossing_exponent(size)  # and size * q is r - 1
    chernoff = half * less_its_logarithm(size * q, np.log1p(size * q))
    # chi(y) is below e^-42 of its top outside the two solutions of (d/2) (e^y - 1 - y) = 42; the rest of the
    # integrand is below e^-42 where q L or -(1-q) L exceeds 50. Of these the nearer bound the integral.
    (below, above), slope = _where_divergence_is(42.0 / half), half * size
    with np.errstate(divide="ignore"):
        first = np.maximum(below, np.log(np.maximum(1.0 - 50.0 / ((1.0 - q) * slope), 0.0)))
    last = np.minimum(above, np.log1p(50.0 / (q * slope)))
    # That range in L is 50 l long at most, while h_b has poles at +-i pi whatever l.
    steps = 1200 * math.ceil(size.max(initial=1.0) / 12.0)
    step = (last - first) / steps
    y = first + step * np.arange(steps + 1)
    odds = slope * np.expm1(y)
    density = np.exp(-half * less_its_logarithm(np.expm1(y), y) - _log_gamma_remainder(half))
    # The tilted weight times h_b, with e^-|L| taken out of the second and into the first, where it cancels.
    against, decay = np.exp(-np.abs(odds)), np.exp(-np.where(odds < 0.0, 1.0 - q, q) * np.abs(odds))
    surprise = np.where(against > 0.0, np.log1p(against) / np.maximum(against, 1e-300), 1.0)
    terms = density * decay * ((1.0 + against) * surprise + np.abs(odds))
    return np.asarray(np.log(0.5 * terms.sum(axis=-1) * step[..., 0]) - chernoff[..., 0])


def _crossing_exponent(size: Array) -> Array:
    """1 / (1 - e^-l) - 1 / l for l > 0, by its series where the difference would lose its digits."""
    near = np.minimum(size, 0.2)
    series = 0.5 + near / 12.0 - near**3 / 720.0 + near**5 / 30240.0 - near**7 / 1209600.0
    return np.where(size < 0.2, series, -1.0 / np.expm1(-size) - 1.0 / size)


def _where_divergence_is(size: float) -> tuple[float, ...]:
    """The two y with e^y - 1 - y = size: by Lambert's function, or a little beyond them where that loses its digits."""
    if size < 1e-4:
        root = 1.01 * math.sqrt(2.0 * size)
        return -root, root
    return tuple(math.log(-lambertw(-math.exp(-1.0 - size), branch).real) for branch in (0, -1))


def _log_gamma_remainder(half: float) -> float:
    """log Gamma(h) - h log h + h, by Stirling's series where the difference would lose its digits."""
    if half < 20.0:
        return math.lgamma(half) - half * math.log(half) + half
    series = 1.0 / (12.0 * half) - 1.0 / (360.0 * half**3) + 1.0 / (1260.0 * half**5) - 1.0 / (1680.0 * half**7)
    return 0.5 * math.log(2.0 * math.pi / half) + series
