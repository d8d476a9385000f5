"""Two Gaussian classes that differ in mean, in covariance, or along one strong direction, in any dimension.

Classes whose covariances share their axes are independent along them, and so are their noised versions. Along an axis
with variances a and b, noised to A = a + sigma^2 and B = b + sigma^2, and means m apart, the affinity of `affinity` is

    log Z(q) = -(1/2) log( q e^(-(1-q) l) + (1-q) e^(q l) ) - (1/2) q (1-q) m^2 / ( (1-q) A + q B ),    l = log(A/B),

so the class entropy is one integral with a sum over the distinct axes in it: a million dimensions cost what two do.

For isotropic classes of equal means there is a second way, by the law of |x|^2. It is kept apart because it shares
nothing with the first, and because it gives the logarithm of the entropy where that is 1e-1000. Entropies are in nats,
levels are log-snr in the variance-exploding frame, both classes are equally probable.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw, log1p
from torch import Tensor

from companion.arguments import finite_levels, number, numbers, whole_number
from companion.errors import InputError
from companion.exact.affinity import LINE, ComplexArray, entropy_on_line, production_on_line
from companion.forward import noise_of

__all__ = ["GaussianPair", "gaussian_pair", "isotropic_log_entropy", "log_ratio"]

Array = NDArray[np.float64]

# Squares of what these and the farthest log-snr make are float64 numbers.
_LARGEST_VARIANCE, _LARGEST_GAP, _MOST_AXES = 1e50, 1e25, 1e15


@dataclass(frozen=True, eq=False)
class GaussianPair:
    """Two Gaussian classes with shared axes; build it with `gaussian_pair`.

    Of each kind of axis: the variances `first` and `second` of the two classes, the distance `gap` of their means, and
    the `multiplicity`, how many axes are of this kind; four float64 arrays of one shape (kinds,).
    """

    first: Array
    second: Array
    gap: Array
    multiplicity: Array

    @property
    def weights(self) -> tuple[float, ...]:
        return 0.5, 0.5

    @property
    def dimension(self) -> int:
        return int(self.multiplicity.sum())

    def entropy(self, log_snr: ArrayLike) -> Array:
        """The class entropy H(Z | X_t) of two equally probable Gaussian classes at each log-snr, in nats.

            H = (1/4) int Z(q) / ( q (1-q) cosh(pi omega) ) d omega,    q = 1/2 + i omega

        Exact to about 1e-15 times the dimension, absolutely. Raises InputError for a log-snr that is NaN or farther
        than 200 from zero. Source: ES 7; the integral is derived in the chapter on general classes.

        >>> two_points = gaussian_pair(0.0, 0.0, gap=2.0)                            # kappa = 4 at sigma = 1
        >>> float(two_points.entropy(0.0).round(10))
        0.3563163602
        >>> float(gaussian_pair(1.5, 0.5, multiplicity=65536).entropy(-5.0).round(10))
        0.5373841841
        """
        log_affinity, _ = _on_line(self, finite_levels(log_snr))
        return entropy_on_line(log_affinity)

    def production(self, log_snr: ArrayLike) -> Array:
        """The class entropy lost per unit of log-snr, -dH/dlambda >= 0, at each log-snr, in nats.

            -dH/dlambda = (snr/2) E[ gamma (1-gamma) |D_A - D_B|^2 ] = (1/4) int Z(q) R(q) / cosh(pi omega) d omega

        Times g^2/sigma^2 it is the production per unit of a process's time. Raises as `entropy` does. Source: ES 33.

        >>> float(gaussian_pair(0.0, 0.0, gap=2.0).production(0.0).round(10))
        0.2247997546
        """
        return production_on_line(*_on_line(self, finite_levels(log_snr)))

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` clean samples (count, d) float64, the first mean at zero, and their classes (count,) int64.

        Raises InputError for fewer than one sample, or more than 2^26 numbers altogether.

        >>> gaussian_pair([1.5, 0.5], [0.5, 1.5]).sample(3, torch.Generator().manual_seed(0))[0].shape
        torch.Size([3, 2])
        """
        count = whole_number("count", count, least=1, most=2**26 // min(self.dimension, 2**26))
        classes = torch.randint(2, (count,), generator=generator)
        kinds = torch.from_numpy(np.repeat(np.arange(len(self.gap)), self.multiplicity.astype(int)))
        variances = torch.from_numpy(np.stack([self.first, self.second]))[:, kinds][classes]
        gaps = classes[:, None] * torch.from_numpy(self.gap)[kinds]
        return gaps + variances.sqrt() * torch.randn(variances.shape, dtype=torch.float64, generator=generator), classes

    def log_odds_moments(self, log_snr: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the log-odds L = log p_A / p_B on states of the first class, at each log-snr.

            E L = (1/2) sum [ r - 1 - log r + m^2/B ],    Var L = sum [ (r - 1)^2 / 2 + r m^2/B ],    r = A/B

        Sums over all axes; the mean is the Kullback-Leibler divergence. These are d times the free-entropy gap and
        sqrt(d) times its fluctuation in ES 24, 83. Raises as `entropy` does.

        >>> mean, deviation = gaussian_pair(0.0, 0.0, gap=2.0).log_odds_moments(0.0)
        >>> float(mean), float(deviation)
        (2.0, 2.0)
        """
        noise = noise_of(finite_levels(log_snr))[..., None] ** 2
        excess = (self.first - self.second) / (self.second + noise)
        shift = self.gap**2 / (self.second + noise)
        divergence = _less_its_logarithm(excess, _log_ratio(self.first, self.second, noise))
        mean = 0.5 * (divergence + shift) @ self.multiplicity
        variance = (0.5 * excess**2 + (1.0 + excess) * shift) @ self.multiplicity
        return mean, np.sqrt(variance)

    def control_parameter(self, log_snr: ArrayLike) -> Array:
        """What takes the place of the control parameter of two equal Gaussians, at each log-snr.

            kappa = sum [ m^2 / V + (1/2) ((A - B) / V)^2 ],    V = (A + B)/2

        Exact for equal variances; for equal means in a high dimension the entropy tends to the two-class curve in it,
        with an error of 1/d. Where the noise is large it is snr |Delta m|^2 + (1/2) snr^2 |Delta Sigma|_F^2, twice the
        mean of the log-odds. Raises as `entropy` does. Source: ES 15, 88.

        >>> float(gaussian_pair(1.5, 0.5, multiplicity=50).control_parameter(0.0))
        6.25
        """
        noise = noise_of(finite_levels(log_snr))[..., None] ** 2
        middle = 0.5 * (self.first + self.second) + noise
        result: Array = (self.gap**2 / middle + 0.5 * ((self.first - self.second) / middle) ** 2) @ self.multiplicity
        return result


def gaussian_pair(
    first: ArrayLike, second: ArrayLike, gap: ArrayLike = 0.0, multiplicity: ArrayLike = 1
) -> GaussianPair:
    """Two Gaussian classes with clean variances `first` and `second` along shared axes; the arguments broadcast.

    Isotropic classes in dimension d are gaussian_pair(a, b, multiplicity=d); a spike is gaussian_pair([1 + d, 1],
    [1, 1], multiplicity=[1, d - 1]). Raises InputError for a variance that is negative or beyond 1e50, a gap beyond
    1e25, a multiplicity that is no positive whole number or beyond 1e15, and shapes that do not broadcast.

    >>> gaussian_pair([1.5, 0.5], [0.5, 1.5], multiplicity=50).dimension
    100
    """
    for name, value in (("first", first), ("second", second)):
        expected = f"variances between 0 and {_LARGEST_VARIANCE:g}"
        numbers(name, value, expected, lambda v: (v >= 0.0) & (v <= _LARGEST_VARIANCE))
    numbers("gap", gap, f"distances of at most {_LARGEST_GAP:g}", lambda m: np.abs(m) <= _LARGEST_GAP)
    expected = f"positive whole numbers of at most {_MOST_AXES:g}"
    numbers("multiplicity", multiplicity, expected, lambda n: (n >= 1.0) & (n <= _MOST_AXES) & (n == np.round(n)))
    given = (first, second, gap, multiplicity)
    try:
        kinds = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in given))
        if kinds[0].size == 0:
            raise ValueError
    except ValueError:
        shapes = f"of shapes {[np.shape(a) for a in given]}"
        raise InputError("first, second, gap, multiplicity", shapes, "shapes that broadcast, none empty") from None
    return GaussianPair(*(np.array(kind).ravel() for kind in kinds))


def _less_its_logarithm(a: Array, logarithm: Array) -> Array:
    """a - log(1 + a) with all digits; for small a from the series of log(1 + a) = 2 artanh(x), x = a / (2 + a)."""
    x = np.clip(a, -0.5, 0.5) / (2.0 + np.clip(a, -0.5, 0.5))
    series = sum((x ** (2 * k) / (2.0 * k + 1.0) for k in range(14, 0, -1)), start=np.zeros_like(x))
    return np.where(np.abs(a) < 0.5, x * (a - 2.0 * series), a - logarithm)


def log_ratio(log_snr: ArrayLike, first: float, second: float) -> Array:
    """l = log(A/B), the logarithm of the ratio of two noised variances, in the variance-exploding frame.

    All that two isotropic classes of equal means have of noise and variances, besides the dimension. Raises as
    `entropy` does, and InputError for a variance that is negative or beyond 1e50.

    >>> float(log_ratio(0.0, 3.0, 1.0))           # log(4/2)
    0.6931471805599453
    """
    noise = noise_of(finite_levels(log_snr)) ** 2
    expected = f"a variance between 0 and {_LARGEST_VARIANCE:g}"
    a, b = (
        np.asarray(number(name, value, expected, lambda v: (v >= 0.0) & (v <= _LARGEST_VARIANCE)))
        for name, value in (("first", first), ("second", second))
    )
    return _log_ratio(a, b, noise)


def _log_ratio(first: Array, second: Array, noise: Array) -> Array:
    """log( (first + noise) / (second + noise) ), with all digits where the two are alike and where one is nothing."""
    excess = (first - second) / (second + noise)
    alike = np.abs(excess) < 0.5
    apart: Array = np.log((first + noise) / (second + noise))
    return np.where(alike, np.log1p(np.where(alike, excess, 0.0)), apart)


def isotropic_log_entropy(dimension: int, ratio: ArrayLike) -> Array:
    """log H for two isotropic Gaussian classes of equal means, from the log-ratio l = log(A/B) of their variances.

    With v = l / (1/B - 1/A) the densities cross at |x|^2 = d v. There |x|^2 = d v e^y makes L = (d/2) l (e^y - 1), and

        H = e^(-(d/2) C) int chi(y) (1/2) [ e^((1-q) L) + e^(-q L) ] h_b(L) dy,
        q = r/l - 1/l,    r = l / (1 - e^-l),    C = r - 1 - log r,

    chi(y) the density of the logarithm of a chi-squared variable over d, and (d/2) C the Chernoff information of the
    classes. Accurate to about 1e-11, relatively, for every l and dimension. Raises InputError for a dimension that is
    no whole number from 1 to 1e15, or a ratio that is zero (below 1e-100) or beyond 700. Source: the log-odds of ES 24
    for Gaussians.

    >>> float(np.exp(isotropic_log_entropy(65536, log_ratio(-5.0, 1.5, 0.5))).round(10))
    0.5373841841
    """
    half = 0.5 * whole_number("dimension", dimension, least=1, most=int(_MOST_AXES))
    expected = "logarithms of a ratio of variances that differ, of at most 700"
    ratios = numbers("ratio", ratio, expected, lambda x: (np.abs(x) >= 1e-100) & (np.abs(x) <= 700.0))
    size = np.abs(ratios)  # exchanging the classes changes the sign and not the entropy
    q = _crossing_exponent(size)
    above_one = size * q  # r - 1
    chernoff = half * _less_its_logarithm(above_one, np.log1p(above_one))
    # chi(y) is below e^-42 of its top outside the two solutions of (d/2) (e^y - 1 - y) = 42; the rest of the
    # integrand is below e^-42 where q L or -(1-q) L exceeds 50. Of these the nearer bound the integral.
    ends = _where_divergence_is(42.0 / half)
    slope = half * size
    with np.errstate(divide="ignore"):
        first = np.maximum(ends[0], np.log(np.maximum(1.0 - 50.0 / ((1.0 - q) * slope), 0.0)))
    last = np.minimum(ends[1], np.log1p(50.0 / (q * slope)))
    # That range in L is 50 l long at most, while h_b has poles at +-i pi whatever l.
    steps = 1200 * math.ceil(size.max(initial=1.0) / 12.0)
    step = (last - first) / steps
    y = first[..., None] + step[..., None] * np.arange(steps + 1)
    odds = slope[..., None] * np.expm1(y)
    density = np.exp(-half * _less_its_logarithm(np.expm1(y), y) - _log_gamma_remainder(half))
    # The tilted weight times h_b, with e^-|L| taken out of the second and into the first, where it cancels.
    against = np.exp(-np.abs(odds))
    decay = np.exp(-np.where(odds < 0.0, 1.0 - q[..., None], q[..., None]) * np.abs(odds))
    surprise = np.where(against > 0.0, np.log1p(against) / np.maximum(against, 1e-300), 1.0)
    integral = 0.5 * (density * decay * ((1.0 + against) * surprise + np.abs(odds))).sum(axis=-1) * step
    result: Array = np.log(integral) - chernoff
    return result


def _crossing_exponent(size: Array) -> Array:
    """1 / (1 - e^-l) - 1 / l for l > 0, by its series where the difference would lose its digits."""
    near = np.minimum(size, 0.2)
    series = 0.5 + near / 12.0 - near**3 / 720.0 + near**5 / 30240.0 - near**7 / 1209600.0
    return np.where(size < 0.2, series, -1.0 / np.expm1(-size) - 1.0 / size)


def _where_divergence_is(size: float) -> tuple[float, float]:
    """The two y with e^y - 1 - y = size: by Lambert's function, or a little beyond them where that loses its digits."""
    if size < 1e-4:
        root = 1.01 * math.sqrt(2.0 * size)
        return -root, root
    below, above = (math.log(-lambertw(-math.exp(-1.0 - size), branch).real) for branch in (0, -1))
    return below, above


def _log_gamma_remainder(half: float) -> float:
    """log Gamma(h) - h log h + h, by Stirling's series where the difference would lose its digits."""
    if half < 20.0:
        return math.lgamma(half) - half * math.log(half) + half
    series = 1.0 / (12.0 * half) - 1.0 / (360.0 * half**3) + 1.0 / (1260.0 * half**5) - 1.0 / (1680.0 * half**7)
    return 0.5 * math.log(2.0 * math.pi / half) + series


def _on_line(pair: GaussianPair, levels: Array) -> tuple[ComplexArray, ComplexArray]:
    """log Z and R = -(d log Z / d lambda) / (q (1-q)) at `LINE`, each (*levels, len(LINE))."""
    noise = noise_of(levels)[..., None] ** 2
    log_affinity = np.zeros((*levels.shape, len(LINE)), dtype=complex)
    rate = np.zeros_like(log_affinity)
    for a, b, gap, count in zip(pair.first, pair.second, pair.gap, pair.multiplicity, strict=True):
        ratio = _log_ratio(a, b, noise)
        lost = (a - b) / (a + noise)  # 1 - B/A
        # q e^(-(1-q) l) + (1-q) e^(q l) = e^(q l) (1 - q lost), whose last factor never leaves the half plane Re > 1/2
        # (l > 0) or Re > 1 (l < 0): the principal logarithm is the right one.
        log_affinity -= 0.5 * count * (LINE * ratio + log1p(-LINE * lost))
        slope = noise * (a - b) / ((a + noise) * (b + noise))  # dl/dlambda
        rate += 0.5 * count * slope * lost / (1.0 - LINE * lost)
        pooled = (1.0 - LINE) * (a + noise) + LINE * (b + noise)
        shift = 0.5 * count * gap**2 / pooled
        log_affinity -= LINE * (1.0 - LINE) * shift
        rate += shift * noise / pooled
    return log_affinity, rate
