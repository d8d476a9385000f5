"""What a network stores, measured on any denoiser and exact where the data can be written down.

Rates are in nats per unit of log-snr lambda, in the variance-exploding frame x = x_0 + sigma eps, sigma^2 = e^-lambda.
A process enters by one number c, alone: e is proportional to D - c x (`share`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson, quad
from torch import Tensor

from companion.arguments import Array, finite_levels, number, whole_number
from companion.denoiser import Denoiser
from companion.entropy import neural_entropy_rate
from companion.exact.empirical import EmpiricalDistribution, empirical_distribution
from companion.exact.mixtures import GaussianMixture
from companion.forward import Process, noise_of, ornstein_uhlenbeck
from derivations.kit.joint_gaussian import stored as stored_by
from derivations.kit.joint_gaussian import total_correlation as total_correlation


def stored(
    model: Denoiser, clean: Tensor, log_snr: ArrayLike, generator: torch.Generator, labels: Tensor | None = None
) -> tuple[Array, Array]:
    """What a denoiser stores per unit of log-snr in a variance-preserving process, and its standard errors, (levels,).

    `neural_entropy_rate` averaged over noised data `clean` (n, *shape), fresh noise at each level; the model's own
    unconditional branch is asked, or, with `labels` (n,) int64, that of the classes. Source: SI 11.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> law, generator = isotropic_mixture([[-1.0], [1.0]], 0.0), torch.Generator().manual_seed(0)
    >>> found, error = stored(law, law.sample(4000, generator)[0], [8.0], generator)
    >>> found.round(1), bool(error < 0.02)                                       # a half, d/2, of two points
    (array([0.5]), True)
    """
    found = []
    for level in finite_levels(log_snr):
        x, sigma = _noised(clean, level, generator)
        with torch.no_grad():
            found.append(neural_entropy_rate(model(x, sigma, labels), x, level).double().numpy())
    each = np.array(found)
    return each.mean(axis=1), each.std(axis=1) / len(clean) ** 0.5


def shared(model: Denoiser, clean: Tensor, labels: Tensor, log_snr: ArrayLike, generator: torch.Generator) -> Array:
    """(snr/2) E|D_y - D|^2, the information of state and class that appears per unit of log-snr, (levels,).

    Over noised data `clean` (n, *shape) of the classes `labels` (n,) int64. Source: SI 12 in log-snr.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> law, generator = isotropic_mixture([[-1.0], [1.0]], 0.0), torch.Generator().manual_seed(0)
    >>> shared(law, *law.sample(100, generator), [8.0], generator).round(6)
    array([0.])
    """
    found = []
    for level in finite_levels(log_snr):
        x, sigma = _noised(clean, level, generator)
        with torch.no_grad():
            apart = model(x, sigma, labels) - model(x, sigma, None)
        found.append(0.5 * np.exp(level) * float(apart.flatten(1).square().sum(dim=1).mean()))
    return np.array(found)


def _noised(clean: Tensor, level: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    sigma = float(noise_of(level))
    noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
    return clean + sigma * noise, torch.full((len(clean),), sigma, dtype=clean.dtype)


def capacity(dimension: int, second_moment: float, log_snr: ArrayLike) -> Array:
    """The divergence of a noised sample that is known, from the equilibrium: what is stored, and I(X_0; X_t) with it.

        S + I(X_0; X_t) = (d/2) log(1 + snr) + (alpha^2/2)(E|x_0|^2 - d),    alpha^2 = snr / (1 + snr)

    >>> float(capacity(1, 1.0, 0.0).round(6))                                    # of N(0, 1): S = 0, I = log(2)/2
    0.346574
    """
    snr = np.exp(np.asarray(log_snr, dtype=np.float64))
    return np.asarray(0.5 * dimension * np.log1p(snr) + 0.5 * snr / (1.0 + snr) * (second_moment - dimension))


def capacity_rate(dimension: int, second_moment: float, log_snr: ArrayLike) -> Array:
    """The derivative of `capacity` in the log-snr: (alpha^2/2) (d + sigma^2 (E|x_0|^2 - d)).

    >>> float(capacity_rate(2, 5.0, 40.0))
    1.0
    """
    snr = np.exp(np.asarray(log_snr, dtype=np.float64))
    signal = snr / (1.0 + snr)
    return np.asarray(0.5 * signal * (dimension + (1.0 - signal) * (second_moment - dimension)))


def sample_rate(law: EmpiricalDistribution, log_snr: ArrayLike, count: int, generator: torch.Generator) -> Array:
    """dI(X_0; X)/dlambda = E tr Cov(X_0 | x) / (2 sigma^2) of points, from `count` noisy states a level.

    >>> two = empirical_distribution(torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
    >>> float(sample_rate(two, [12.0], 100, torch.Generator())[0])
    0.0
    """
    found = []
    for sigma in noise_of(finite_levels(log_snr)):
        x, _ = law.sample_noised(whole_number("count", count, least=1), float(sigma), generator)
        spread = law.spread(x, torch.full((count,), float(sigma), dtype=x.dtype))
        found.append(0.5 * float(spread.mean()) / float(sigma) ** 2)
    return np.array(found)


def total(log_snr: Array, rate: Array) -> Array:
    """The integral of a rate from the first level to each, by Simpson's rule; zero at the first.

    >>> total(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])).round(12).tolist()
    [0.0, 1.0, 2.0]
    """
    return np.asarray(cumulative_simpson(rate, x=log_snr, initial=0.0))


def share(process: Process, t: ArrayLike) -> Array:
    """c of a process: an entropy-matching network holds D - c x, with c = (d sigma^2/dt) / g^2 = 1 + 2 f sigma^2 / g^2.

    It is alpha^2 in a variance-preserving process, 1 in a variance-exploding one and alpha in rectified flow.

    >>> from companion.forward import rectified_flow, variance_exploding
    >>> share(variance_exploding(), [0.5, 2.0]).tolist(), share(rectified_flow(), [0.25]).tolist()
    ([1.0, 1.0], [0.75])
    """
    at = np.asarray(t, dtype=np.float64)
    return np.asarray(1.0 + 2.0 * process.drift(at) * process.sigma(at) ** 2 / process.diffusion(at))


# c as a function of snr / (1 + snr), which is alpha^2 in a variance-preserving process.
SHARES: dict[str, Callable[[Array], Array]] = {
    "variance preserving": lambda signal: signal,
    "variance exploding": np.ones_like,
    "rectified flow": lambda signal: np.sqrt(signal) / (np.sqrt(signal) + np.sqrt(1.0 - signal)),
}


def gaussian_rate(
    variances: ArrayLike, log_snr: ArrayLike, share_of: Callable[[Array], Array], means: ArrayLike = 0.0
) -> Array:
    """(snr/2) E|D - c x|^2 of Gaussian data with these variances and normal means of the variances `means`.

    `share_of` gives c. Means other than 0 are those of a conditional law, over its conditions.

    >>> float(gaussian_rate([1.0, 0.0], 0.0, lambda signal: signal).round(6))     # N(0, 1) is the equilibrium
    0.125
    """
    rho = np.asarray(variances, dtype=np.float64)[:, None]
    snr = np.exp(np.atleast_1d(np.asarray(log_snr, dtype=np.float64)))
    origin = share_of(snr / (1.0 + snr))
    kept = rho * snr / (1.0 + rho * snr) - origin
    moved = np.broadcast_to(means, len(rho))[:, None] * (1.0 - origin) ** 2
    result = (0.5 * snr * (kept**2 * (rho + 1.0 / snr) + moved)).sum(axis=0)
    return np.asarray(result.reshape(np.shape(log_snr)))


def curve(count: int = 1200) -> EmpiricalDistribution:
    """Two classes along one curve in the plane, (u, 0.6 sin 2u): u normal about -1 and 1 of width 0.45.

    The law is `count` points a class at equal steps of u with the normal's weights: a curve for every noise that is
    wide compared with their distance, 0.003 at 1200.

    >>> curve(200).weights
    (0.5, 0.5)
    """
    steps = np.linspace(-4.0, 4.0, whole_number("count", count, least=10))
    weight = np.exp(-0.5 * steps**2)
    u = np.concatenate([-1.0 + 0.45 * steps, 1.0 + 0.45 * steps])
    points = torch.from_numpy(np.stack([u, 0.6 * np.sin(2.0 * u)], axis=1))
    labels = torch.arange(2).repeat_interleave(count)
    return empirical_distribution(points, labels, np.tile(weight / weight.sum() / 2.0, 2), name="curve")


def correlated(law: EmpiricalDistribution, log_snr: ArrayLike, count: int, generator: torch.Generator) -> Array:
    """d TC(X)/dlambda of points in noise: the rates of single coordinates less that of the whole, `sample_rate` both.

    Each coordinate of the points is a law of few values on a line, whose rate is read from the same number of states.
    """
    points = law.points.flatten(1).double()
    whole = sample_rate(law, log_snr, count, generator)
    singles = np.zeros_like(whole)
    for column in points.T:
        values, counts = column.unique(return_counts=True)
        if len(values) > 1:
            alone = empirical_distribution(values[:, None], None, counts.double().numpy() / len(column))
            singles += sample_rate(alone, log_snr, count, generator)
    return singles - whole


def stored_gaussian(covariance: ArrayLike, log_snr: ArrayLike) -> Array:
    """What an ideal network stores of a normal law of mean zero from no signal to a log-snr (SI 50 in noise).

        (tr C - log|C| - d) / 2,    C = alpha^2 Sigma + sigma^2

    >>> float(stored_gaussian([[1.0, 0.6], [0.6, 1.0]], 50.0).round(6))          # all of it total correlation
    0.223144
    """
    return stored_by(np.linalg.eigvalsh(np.asarray(covariance, dtype=np.float64)), log_snr)


@dataclass(frozen=True)
class Controlled:
    """-log of a controlled process's density at one number, the bound of SI 27 on it, and the gap, in nats."""

    truth: float
    bound: float
    gap: float


def controlled(slope: float, offset: float, start: float, end: float) -> Controlled:
    """A linear control of one number, where density, bound and gap have closed forms in s, integrated by quadrature.

    Noising is dX = -X ds + sqrt(2) dB for 0 <= s <= `end`, from X = `start`; generation starts from N(0, 1) and is
    dX = (slope X + offset) dt + sqrt(2) dB, t = end - s. Its density at `start` is normal.

    >>> exact = controlled(-1.0, 0.0, 0.7, 1.5)                                  # the reversal of N(0, 1): best
    >>> round(exact.bound - exact.truth, 9), exact.gap
    (0.0, 0.0)
    """
    number("slope", slope, "a finite number other than 0", lambda x: np.isfinite(x) & (x != 0.0))
    number("end", end, "a positive number", lambda x: (x > 0.0) & np.isfinite(x))

    def law(t: float) -> tuple[float, float]:
        grown = np.exp(slope * t)
        return offset / slope * (grown - 1.0), grown**2 * (1.0 + 1.0 / slope) - 1.0 / slope

    def square(factor: float, constant: float, s: float) -> float:
        """E (factor X_s + constant)^2."""
        return float((factor * start * np.exp(-s) + constant) ** 2 - factor**2 * np.expm1(-2.0 * s))

    def missed(s: float) -> float:
        mean, spread = law(end - s)
        return square(-1.0 / spread - 0.5 * (slope - 1.0), mean / spread - 0.5 * offset, s)

    price = quad(lambda s: 0.25 * square(slope - 1.0, offset, s) + slope, 0.0, end, epsabs=1e-11)[0]
    last = 0.5 * square(1.0, 0.0, end) + 0.5 * np.log(2.0 * np.pi)
    mean, spread = law(end)
    truth = 0.5 * (start - mean) ** 2 / spread + 0.5 * np.log(2.0 * np.pi * spread)
    return Controlled(float(truth), float(price + last), float(quad(missed, 0.0, end, epsabs=1e-11)[0]))


def loss_weights(process: Process, log_snr: ArrayLike) -> dict[str, Array]:
    """What each level counts in a denoising loss, against the weight 1 that bounds the likelihood (SI 40).

    A loss int lambda(s) E|score error|^2 ds is int w (snr/2) E|D - x_0|^2 dlog snr with w = 2 lambda / g^2.

    >>> from companion.forward import linear
    >>> {name: one.round(2).tolist() for name, one in loss_weights(linear(), [-4.0, 4.0]).items()}
    {'likelihood': [1.0, 1.0], 'scores alike': [0.16, 2.34], 'noise alike': [0.16, 0.04]}
    """
    t = process.time(finite_levels(log_snr))
    g2, noise = process.diffusion(t), process.sigma(t) ** 2
    return {"likelihood": np.ones_like(g2), "scores alike": 2.0 / g2, "noise alike": 2.0 * noise / g2}


def schematic_paths(
    mixture: GaussianMixture, end: float, steps: int, count: int, seed: int
) -> tuple[Array, Array, Array]:
    """Paths (count, steps + 1) of one number over the noising time: noising, its reversal, and the control u = -b.

    Euler steps of dX = -X ds + sqrt(2) dB from the mixture, of its exact reversal (SI 2), and of the generation
    without a network, e = 0, which stays in the equilibrium (SI 4); the last two start from N(0, 1) at `end`.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> [one.shape for one in schematic_paths(isotropic_mixture([[-1.0], [1.0]], 0.1), 2.0, 10, 3, seed=0)]
    [(3, 11), (3, 11), (3, 11)]
    """
    draw, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    step, at = end / steps, np.linspace(0.0, end, steps + 1)
    noising = [mixture.sample(count, generator)[0][:, 0].numpy()]
    reverse = [draw.standard_normal(count)]
    resting = [draw.standard_normal(count)]
    for k in range(steps):
        noise = np.sqrt(2.0 * step) * draw.standard_normal((3, count))
        noising.append(noising[-1] * (1.0 - step) + noise[0])
        x = reverse[-1]
        seen = mixture.diffused(ornstein_uhlenbeck(), float(at[steps - k]))
        score = seen.score(torch.from_numpy(x[:, None]), torch.zeros(count, dtype=torch.float64))[:, 0].numpy()
        reverse.append(x + step * (x + 2.0 * score) + noise[1])
        resting.append(resting[-1] * (1.0 - step) + noise[2])
    return np.array(noising).T, np.array(reverse[::-1]).T, np.array(resting[::-1]).T


def schematic_density(mixture: GaussianMixture, times: Array, places: Array) -> Array:
    """The density (times, places) of a noised mixture on a line, each time's divided by its largest value."""
    x, clean = torch.from_numpy(places[:, None]), torch.zeros(len(places), dtype=torch.float64)
    found = [mixture.diffused(ornstein_uhlenbeck(), float(t)).log_density(x, clean).exp().numpy() for t in times]
    return np.array([one / one.max() for one in found])
