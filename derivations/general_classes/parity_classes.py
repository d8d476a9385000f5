"""Two classes that are not Gaussian and agree in all moments below a chosen order: signs with a preferred parity.

The d coordinates are divided into d/k tuples of k signs +-1. In the first class all signs are fair and independent. In
the second the product of a tuple is +1 more often than -1, with mean tau; any k-1 of its signs are still fair and
independent. So the first moments that tell the classes apart are those of order k: means for k = 1, covariances for
k = 2, third moments for k = 3.

In noise each sign has a posterior mean T = tanh(x / sigma^2), and a tuple has the likelihood ratio

    p_B / p_A = 1 + tau P,    P = T_1 T_2 ... T_k,

with independent T under the first class. Its odd moments vanish, and E P^m = (E T^m)^k: every expectation over the
state of a tuple is a power series in one-dimensional integrals, whatever k. Entropies are in nats, levels are log-snr
in the variance-exploding frame, both classes are equally probable.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import log1p
from torch import Tensor

from companion.arguments import Array, finite_levels, number, whole_number
from companion.errors import InputError
from companion.exact.affinity import LINE, ComplexArray, entropy_on_line, production_on_line
from companion.exact.quadrature import normal_rule
from companion.forward import noise_of

# A Gaussian is negligible, 1e-18, beyond 9 deviations. tanh has its poles at a distance of pi / 2 from the real line.
_XI, _BELL = normal_rule(360)[0][:, 0], normal_rule(360)[1]


@dataclass(frozen=True)
class SignPair:
    """Fair signs against signs whose tuples of `order` have a product of mean `correlation`; see `sign_pair`."""

    dimension: int
    order: int
    correlation: float
    weights = 0.5, 0.5

    @property
    def tuples(self) -> int:
        return self.dimension // self.order

    def entropy(self, log_snr: ArrayLike) -> Array:
        """The class entropy H(Z | X_t) of the two classes at each log-snr, in nats.

            Z(q) = ( E (1 + tau P)^(1-q) )^(d/k),    H = (1/4) int Z(q) / ( q (1-q) cosh(pi omega) ) d omega

        Exact to about 1e-15 times the dimension. Raises InputError for a log-snr that is not finite or beyond 200.

        >>> float(sign_pair(65536).entropy(-5.0).round(10))
        0.587780799
        """
        return entropy_on_line(_on_line(self, log_snr)[0])

    def production(self, log_snr: ArrayLike) -> Array:
        """The class entropy lost per unit of log-snr, -dH/dlambda >= 0, at each log-snr, in nats.

        From -d log Z / d lambda, exactly. Raises as `entropy` does. Source: ES 33.

        >>> float(sign_pair(64).production(0.0).round(10))
        0.2999125692
        """
        return production_on_line(*_on_line(self, log_snr))

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` clean samples (count, d) float64 of signs and their classes (count,) int64.

        Raises InputError for fewer than one sample.

        >>> sign_pair(6, 3).sample(2, torch.Generator().manual_seed(0))[0].abs().tolist()
        [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
        """
        classes = torch.randint(2, (whole_number("count", count, least=1),), generator=generator)
        draw = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        signs = [_signs(self, bool(z), draw).ravel() for z in classes]
        return torch.from_numpy(np.array(signs)), classes

    def log_odds_moments(self, log_snr: ArrayLike) -> tuple[Array, Array]:
        """Mean and standard deviation of the log-odds L = log p_A / p_B on states of the first class, at each log-snr.

            E L = -(d/k) E log(1 + tau P),    Var L = (d/k) Var log(1 + tau P)

        d times the free-entropy gap and sqrt(d) times its fluctuation of ES 24, 83. Raises as `entropy` does.

        >>> mean, deviation = sign_pair(64).log_odds_moments(-10.0)                 # to leading order 2 mean = variance
        >>> round(float(2.0 * mean / deviation**2), 4)
        1.0
        """
        moments, _ = _moments(self, log_snr)
        powers = moments**self.order
        m = _even_orders(self.correlation)
        # -log(1 + x) and its square have the coefficients (-1)^m / m and (-1)^m 2 H_(m-1) / m, H the harmonic numbers.
        harmonic = np.cumsum(1.0 / np.arange(1.0, m[-1] + 1.0))
        scale = self.correlation**m / m
        mean = powers @ scale
        square = powers @ (2.0 * harmonic[m.astype(int) - 2] * scale)
        return self.tuples * mean, np.sqrt(self.tuples * (square - mean**2))

    def control_parameter(self, log_snr: ArrayLike) -> Array:
        """What takes the place of the control parameter: kappa = (d/k) tau^2 (E T^2)^k, at each log-snr.

        The mean of (p_B / p_A - 1)^2, to leading order twice the mean of the log-odds and its variance. Where the noise
        is large it is snr^k |Delta M_k|^2 / k!, with M_k the moments of order k. Raises as `entropy` does.

        >>> round(float(sign_pair(64).control_parameter(-10.0) * np.exp(20.0)), 1)   # (d/2) tau^2 is 20.48
        20.5
        """
        moments, _ = _moments(self, log_snr)
        return self.tuples * self.correlation**2 * moments[..., 0] ** self.order


def sign_pair(dimension: int, order: int = 2, correlation: float = 0.8) -> SignPair:
    """Two classes of `dimension` signs that first differ in their moments of `order`, by `correlation`.

    Raises InputError unless the order is at least 1 and divides the dimension, and the correlation is between 0 and
    0.98 (series in its powers are summed to rounding error).

    >>> sign_pair(64).tuples
    32
    """
    order = whole_number("order", order, least=1)
    dimension = whole_number("dimension", dimension, least=order)
    if dimension % order:
        raise InputError("dimension", dimension, f"a multiple of the order {order}")
    expected = "a mean of the product above 0 and at most 0.98"
    return SignPair(dimension, order, number("correlation", correlation, expected, lambda c: (c > 0.0) & (c <= 0.98)))


def sample_log_odds(pair: SignPair, log_snr: float, count: int, generator: np.random.Generator) -> Array:
    """`count` draws of the log-odds L = log p_A / p_B, the class first: states are drawn, noised and judged.

    Half of them, the first, are of the first class, the others of the second: (count,) float64. An independent check
    of everything above; it shares no formula with the series. Raises InputError for a count that is not even or
    positive, or a log-snr that is not one finite number.

    >>> sample_log_odds(sign_pair(64), 0.0, 4, np.random.default_rng(0)).shape
    (4,)
    """
    count = whole_number("count", count, least=2)
    if count % 2:
        raise InputError("count", count, "an even number of draws")
    sigma = float(noise_of(number("log_snr", log_snr, "a finite log-snr of at most 200", lambda x: np.abs(x) <= 200.0)))
    log_odds = np.empty(count)
    for draw in range(count):
        signs = _signs(pair, draw >= count // 2, generator)
        state = signs + sigma * generator.standard_normal(signs.shape)
        log_odds[draw] = -np.log1p(pair.correlation * np.tanh(state / sigma**2).prod(axis=1)).sum()
    return log_odds


def _signs(pair: SignPair, of_second: bool, generator: np.random.Generator) -> Array:
    """One clean sample, (tuples, order)."""
    signs = generator.choice([-1.0, 1.0], size=(pair.tuples, pair.order))
    if of_second:
        wanted = np.where(generator.random(pair.tuples) < 0.5 * (1.0 + pair.correlation), 1.0, -1.0)
        signs[:, 0] = wanted * signs[:, 1:].prod(axis=1)
    return signs


def _even_orders(correlation: float) -> Array:
    """m = 2, 4, ... until tau^m is below 1e-18."""
    return np.arange(2.0, max(4.0, np.log(1e-18) / np.log(correlation)) + 2.0, 2.0)


def _moments(pair: SignPair, log_snr: ArrayLike) -> tuple[Array, Array]:
    """E T^m for even m and its derivative by lambda, each (*levels, orders), both over a class of fair signs.

    In snr, T is the posterior mean of a sign and follows dT = (1 - T^2) dB, so dE T^m / dsnr =
    (1/2) m (m-1) E T^(m-2) (1 - T^2)^2.
    """
    snr = np.exp(finite_levels(log_snr))[..., None]
    field = snr + np.sqrt(snr) * _XI  # x / sigma^2 for a sign +1; even powers do not see the sign
    squared = np.tanh(field) ** 2
    spread = _BELL / np.cosh(np.minimum(np.abs(field), 150.0)) ** 4
    orders = _even_orders(pair.correlation)
    moments, slopes = [], []
    power = np.ones_like(squared)
    for m in orders:
        slopes.append(0.5 * m * (m - 1.0) * (power * spread).sum(axis=-1))
        power = power * squared
        moments.append((power * _BELL).sum(axis=-1))
    return np.stack(moments, axis=-1), snr * np.stack(slopes, axis=-1)


def _on_line(pair: SignPair, log_snr: ArrayLike) -> tuple[ComplexArray, ComplexArray]:
    """log Z and R = -(d log Z / d lambda) / (q (1-q)) at `LINE`, each (*levels, len(LINE))."""
    moments, slopes = _moments(pair, log_snr)
    k, orders = pair.order, _even_orders(pair.correlation)
    every = np.arange(1.0, orders[-1] + 1.0)
    # The coefficients of (1 + x)^(1-q), tau^m (1-q)(-q)...(2-q-m) / m!; the first two factors are taken out, as
    # -q (1-q), since R divides by them.
    factors = np.concatenate([[1.0, 0.5], np.zeros(len(every) - 2)])
    steps = pair.correlation * np.where(every < 3, factors, (2.0 - every - LINE[:, None]) / every)
    coefficients = np.cumprod(steps, axis=1)[:, 1::2].T
    outer = LINE * (1.0 - LINE)
    # The affinity of one tuple may turn around zero. Any branch of its logarithm will do: tuples come in whole numbers.
    affinity = -outer * (moments**k @ coefficients)  # of one tuple, less 1
    slope = (k * moments ** (k - 1) * slopes) @ coefficients
    return pair.tuples * log1p(affinity), pair.tuples * slope / (1.0 + affinity)
