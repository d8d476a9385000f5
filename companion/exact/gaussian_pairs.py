"""Two Gaussian classes that differ in mean, in covariance, or along one strong direction, in any dimension.

Classes whose covariances share their axes are independent along them, and so are their noised versions. Along an axis
with variances a and b, noised to A = a + sigma^2 and B = b + sigma^2, and means m apart, the affinity of `affinity` is

    log Z(q) = -(1/2) log( q e^(-(1-q) l) + (1-q) e^(q l) ) - (1/2) q (1-q) m^2 / ( (1-q) A + q B ),    l = log(A/B),

so the class entropy is one integral with a sum over the distinct axes in it: a million dimensions cost what two do.
Entropies are in nats, levels are log-snr in the variance-exploding frame, both classes are equally probable.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import log1p
from torch import Tensor

from companion.arguments import Array, finite_levels, numbers, whole_number
from companion.errors import InputError
from companion.exact.affinity import LINE, ComplexArray, entropy_on_line, production_on_line
from companion.forward import noise_of

__all__ = ["GaussianPair", "gaussian_pair", "less_its_logarithm"]


@dataclass(frozen=True, eq=False)
class GaussianPair:
    """Two Gaussian classes with shared axes; build it with `gaussian_pair`.

    Of each kind of axis: the variances of the two classes, the distance `gap` of their means, and how many axes are of
    this kind; four float64 arrays of one shape (kinds,).
    """

    first: Array
    second: Array
    gap: Array
    multiplicity: Array
    weights = 0.5, 0.5

    @property
    def dimension(self) -> int:
        return int(self.multiplicity.sum())

    def entropy(self, log_snr: ArrayLike) -> Array:
        """The class entropy H(Z | X_t) of two equally probable Gaussian classes at each log-snr, in nats.

            H = (1/4) int Z(q) / ( q (1-q) cosh(pi omega) ) d omega,    q = 1/2 + i omega

        Exact to about 1e-15 times the dimension, absolutely. Raises InputError for a log-snr that is NaN or farther
        than 200 from zero. Source: ES 7; the integral is derived in the chapter on general classes.

        >>> float(gaussian_pair(1.5, 0.5, multiplicity=65536).entropy(-5.0).round(10))
        0.5373841841
        """
        return entropy_on_line(_on_line(self, finite_levels(log_snr))[0])

    def production(self, log_snr: ArrayLike) -> Array:
        """The class entropy lost per unit of log-snr, -dH/dlambda >= 0, at each log-snr, in nats.

            -dH/dlambda = (snr/2) E[ gamma (1-gamma) |D_A - D_B|^2 ] = (1/4) int Z(q) R(q) / cosh(pi omega) d omega

        Raises as `entropy` does. Source: ES 33.

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

    def log_ratio(self, log_snr: ArrayLike) -> Array:
        """l = log(A/B) of the noised variances along each kind of axis, (*levels, kinds). Raises as `entropy` does.

        >>> gaussian_pair(3.0, 1.0).log_ratio(0.0).round(9)                          # log(4/2)
        array([0.69314718])
        """
        noise = noise_of(finite_levels(log_snr))[..., None] ** 2
        # Over the lesser of the two no digit is lost, where they are alike and where one is nothing.
        apart, lesser = self.first - self.second, np.minimum(self.first, self.second) + noise
        return np.copysign(np.log1p(np.abs(apart) / lesser), apart)

    def log_odds_moments(self, log_snr: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the log-odds L = log p_A / p_B on states of the first class, at each log-snr.

            E L = (1/2) sum [ r - 1 - log r + m^2/B ],    Var L = sum [ (r - 1)^2 / 2 + r m^2/B ],    r = A/B

        The mean is the Kullback-Leibler divergence. These are d times the free-entropy gap and sqrt(d) times its
        fluctuation in ES 24, 83. Raises as `entropy` does.

        >>> [moment.item() for moment in gaussian_pair(0.0, 0.0, gap=2.0).log_odds_moments(0.0)]
        [2.0, 2.0]
        """
        noise = noise_of(finite_levels(log_snr))[..., None] ** 2
        excess = (self.first - self.second) / (self.second + noise)
        shift = self.gap**2 / (self.second + noise)
        divergence = less_its_logarithm(excess, self.log_ratio(log_snr))
        variance = 0.5 * excess**2 + (1.0 + excess) * shift
        return 0.5 * (divergence + shift) @ self.multiplicity, np.sqrt(variance @ self.multiplicity)

    def control_parameter(self, log_snr: ArrayLike) -> Array:
        """What takes the place of the control parameter of two equal Gaussians, at each log-snr.

            kappa = sum [ m^2 / V + (1/2) ((A - B) / V)^2 ],    V = (A + B)/2

        Exact for equal variances; for equal means the entropy tends to the two-class curve in it, with an error of 1/d;
        in much noise it is twice the mean of the log-odds. Raises as `entropy` does. Source: ES 15, 88.

        >>> float(gaussian_pair(1.5, 0.5, multiplicity=50).control_parameter(0.0))
        6.25
        """
        noise = noise_of(finite_levels(log_snr))[..., None] ** 2
        middle = 0.5 * (self.first + self.second) + noise
        shape = 0.5 * ((self.first - self.second) / middle) ** 2
        return np.asarray((self.gap**2 / middle + shape) @ self.multiplicity)


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
    # Squares of what these and the farthest log-snr make are float64 numbers.
    variances = [
        numbers(name, value, "variances between 0 and 1e50", lambda v: (v >= 0.0) & (v <= 1e50))
        for name, value in (("first", first), ("second", second))
    ]
    apart = numbers("gap", gap, "distances of at most 1e25", lambda m: np.abs(m) <= 1e25)
    expected = "positive whole numbers of at most 1e15"
    counts = numbers("multiplicity", multiplicity, expected, lambda n: (n >= 1.0) & (n <= 1e15) & (n == np.round(n)))
    given = [*variances, apart, counts]
    try:
        kinds = np.broadcast_arrays(*map(np.atleast_1d, given))
        if kinds[0].size == 0:
            raise ValueError
    except ValueError:
        shapes = f"of shapes {[each.shape for each in given]}"
        raise InputError("first, second, gap, multiplicity", shapes, "shapes that broadcast, none empty") from None
    return GaussianPair(*(np.array(kind).ravel() for kind in kinds))


def less_its_logarithm(a: Array, logarithm: Array) -> Array:
    """a - log(1 + a) with all digits; for small a from the series of log(1 + a) = 2 artanh(x), x = a / (2 + a).

    >>> print(f"{less_its_logarithm(np.array(1e-9), np.log1p(1e-9)):.9e}")
    4.999999997e-19
    """
    x = np.clip(a, -0.5, 0.5) / (2.0 + np.clip(a, -0.5, 0.5))
    series = sum((x ** (2 * k) / (2.0 * k + 1.0) for k in range(14, 0, -1)), start=np.zeros_like(x))
    return np.where(np.abs(a) < 0.5, x * (a - 2.0 * series), a - logarithm)


def _on_line(pair: GaussianPair, levels: Array) -> tuple[ComplexArray, ComplexArray]:
    """log Z and R = -(d log Z / d lambda) / (q (1-q)) at `LINE`, each (*levels, len(LINE))."""
    noise = noise_of(levels)[..., None] ** 2
    log_affinity = np.zeros((*levels.shape, len(LINE)), dtype=complex)
    rate = np.zeros_like(log_affinity)
    ratios = np.moveaxis(pair.log_ratio(levels)[..., None], -2, 0)
    for a, b, gap, count, ratio in zip(pair.first, pair.second, pair.gap, pair.multiplicity, ratios, strict=True):
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
