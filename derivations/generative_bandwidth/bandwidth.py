"""Generative bandwidth: how many dimensions a diffusion model writes at once, at each noise level.

The entropy of the clean sample given its noisy state falls, on the way to the data, by half a nat per unit of log-snr
for every direction in which the posterior is as wide as the noise (ID 33, 36, 38, 62):

    D(sigma) = E tr Cov(X_0 | x) / sigma^2 = d - sigma^2 E|s|^2,        -dH(X_0 | X)/dlambda = D / 2

This is the dimension at noise level sigma. Everything is in the variance-exploding frame x = x_0 + sigma eps, so that
log-snr is -2 log sigma, and `rate` converts to the time of a process. Entropies are in nats, arrays float64.

A set of N points, which a denoiser knows by heart, has the dimension zero at small noise; what it seems to have before
is spread over log-snr so that int D(sigma) dlambda / 2 = log N. Where every point is a class of its own, D is twice the
production of class entropy.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import ive, log_ndtr, ndtr, roots_genlaguerre, roots_hermitenorm

from companion.arguments import Array, number, numbers, whole_number
from companion.errors import InputError
from companion.exact.empirical import EmpiricalDistribution, empirical_distribution
from companion.forward import Process


def rate(dimension: ArrayLike, process: Process, t: ArrayLike) -> Array:
    """The rate at which the sample's entropy grows in the time of a process, given the dimension at its noise level.

        dH(X_0 | X_t)/dt = (g^2 / (2 sigma^2)) D(sigma / alpha)

    In nats per unit of time; `dimension` and `t` broadcast. Raises InputError for a dimension below 0 and times that
    the process does not have. Source: ID 36, 38, 62.

    >>> from companion.forward import variance_exploding
    >>> rate(3.0, variance_exploding(), 2.0).item()                 # g^2 = 2t, sigma = t
    1.5
    """
    dimensions = numbers("dimension", dimension, "numbers of at least 0", lambda x: x >= 0.0)
    times = process.check_time(t)
    result: Array = 0.5 * process.diffusion(times) / process.sigma(times) ** 2 * dimensions
    return result


def gaussian(variances: ArrayLike, sigma: ArrayLike) -> Array:
    """The dimension of a Gaussian at each noise level, from the eigenvalues (d,) of its covariance.

        D(sigma) = sum_j rho_j / (rho_j + sigma^2)

    A direction without data has rho = 0. Shape of `sigma`. Raises InputError unless every variance is finite and at
    least 0, and sigma is positive and finite. Source: ID 35-38, 61.

    >>> gaussian([1.0, 1.0, 0.0], [1.0, 0.001]).round(4)
    array([1., 2.])
    """
    rho = numbers("variances", variances, "finite numbers of at least 0", lambda x: (x >= 0.0) & np.isfinite(x))
    noise = _noise(sigma)[..., None] ** 2
    result: Array = (rho.ravel() / (rho.ravel() + noise)).sum(axis=-1)
    return result


def sphere(dimension: int, radius: float, sigma: ArrayLike) -> Array:
    """The dimension at each noise level of the uniform law on a sphere of `dimension` m, in m + 1 coordinates.

        D(sigma) = (R^2/sigma^2) (1 - E A(|x| R/sigma^2)^2),    A the ratio of Bessel functions `bessel_ratio`

    To about 1e-8, plus 1e-15 R^2/sigma^2 of rounding. Raises InputError unless the dimension is a whole number from 1
    to 300, the radius positive, and sigma positive and at least 1e-5 of the radius.

    >>> sphere(1, 1.0, [0.1, 0.01]).round(5)                        # 1 + sigma^2/2 + ...
    array([1.00513, 1.00005])
    """
    along, across = sphere_spectrum(dimension, radius, sigma)
    return dimension * along + across


def sphere_spectrum(dimension: int, radius: float, sigma: ArrayLike) -> tuple[Array, Array]:
    """The mean eigenvalues of Cov(X_0 | x) / sigma^2 on a sphere: along it (there are m of them), and across it.

        along: E[R A/|x|]        across: (R^2/sigma^2) E A'        at kappa = |x| R/sigma^2

    Sources and errors are those of `sphere`.

    >>> along, across = sphere_spectrum(2, 1.0, 0.1)
    >>> round(float(along), 4), round(float(across), 4)            # 1 - (m - 1) sigma^2, m sigma^2/2
    (0.9899, 0.0101)
    """
    m = whole_number("dimension", dimension, least=1, most=300)
    size = number("radius", radius, "a positive finite number", lambda x: (x > 0.0) & np.isfinite(x))
    noise = _noise(sigma) / size
    if np.any(noise < 1e-5):
        raise InputError("sigma", sigma, "noise of at least 1e-5 of the radius")
    # A state is (1 + sigma z, sigma w) with z normal along the axis of its clean point and |w|^2 chi-square with m.
    z, share = roots_hermitenorm(160)
    half_square, other = roots_genlaguerre(60, 0.5 * m - 1.0)
    weight = np.outer(share / share.sum(), other / other.sum())
    scale = noise[..., None, None]
    place = np.sqrt((1.0 + scale * z[:, None]) ** 2 + 2.0 * scale**2 * half_square)
    kappa = place / scale**2
    ratio = bessel_ratio(m, kappa)
    slope = 1.0 - ratio**2 - m * ratio / kappa
    along = (weight * ratio / place).sum(axis=(-2, -1))
    across = (weight * slope / scale**2).sum(axis=(-2, -1))
    return along, across


def bessel_ratio(dimension: int, kappa: ArrayLike) -> Array:
    """How far towards the sphere a state points: the mean cosine of its clean point's angle, on the sphere S^m.

        A(kappa) = I_{(m+1)/2}(kappa) / I_{(m-1)/2}(kappa),        A' = 1 - A^2 - m A / kappa

    The denoiser is D(x) = R A(|x| R/sigma^2) x/|x|. Raises InputError unless the dimension is a whole number from 1 to
    300 and kappa positive and finite.

    >>> float(bessel_ratio(2, 1.0).round(9))                        # coth(1) - 1
    0.313035285
    """
    m = whole_number("dimension", dimension, least=1, most=300)
    k = numbers("kappa", kappa, "positive finite numbers", lambda x: (x > 0.0) & np.isfinite(x)).reshape(-1)
    order = 0.5 * (m - 1)
    below = ive(order, k)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Array = ive(order + 1.0, k) / below
    # Where the Bessel functions are too small for a float, kappa is far below the order, and the continued fraction
    # 1/(2 (order + 1)/kappa + 1/(2 (order + 2)/kappa + ...)) converges in a few steps.
    small = below < 1e-250
    fraction = np.zeros(int(small.sum()))
    for step in range(80, 0, -1):
        fraction = 1.0 / (2.0 * (order + step) / k[small] + fraction)
    ratio[small] = fraction
    return ratio.reshape(np.shape(kappa))


def curve(points: ArrayLike, shares: ArrayLike, sigma: float) -> float:
    """The dimension of a law on a smooth closed curve in the plane, given by points so close that noise blurs them.

    `points` (M, 2) at equal steps of a periodic parameter, `shares` (M,) their positive weights, summing to one. The
    mean over noise, a Gauss-Hermite rule, misses 1e-8 at a tenth of the smallest radius of curvature, 1e-5 at a third.
    Raises InputError for other shapes or weights, and for neighbours more than sigma apart.

    >>> angle = 2.0 * np.pi * np.arange(100) / 100
    >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    >>> round(curve(circle, np.full(100, 0.01), 0.1), 6), sphere(1, 1.0, 0.1).round(6).item()
    (1.005131, 1.005131)
    """
    places = numbers("points", points, "finite points (M, 2)", np.isfinite)
    if places.ndim != 2 or places.shape[1] != 2 or len(places) < 3:
        raise InputError("points", points, "three or more finite points (M, 2)")
    expected = f"{len(places)} positive weights that sum to one"
    weights = numbers("shares", shares, expected, lambda x: x > 0.0)
    if weights.shape != (len(places),) or abs(weights.sum() - 1.0) > 1e-9:
        raise InputError("shares", shares, expected)
    noise = float(_noise(number("sigma", sigma, "a positive finite number", lambda x: x > 0.0)))
    if np.linalg.norm(places - np.roll(places, 1, axis=0), axis=1).max() > noise:
        raise InputError("sigma", sigma, "more noise than the distance of neighbouring points")
    law = empirical_distribution(torch.from_numpy(places), weights=weights)
    level = torch.full((len(places),), noise, dtype=torch.float64)
    nodes, share = roots_hermitenorm(24)
    share = share / share.sum()
    total = 0.0
    for first, one in zip(nodes, share, strict=True):
        for second, other in zip(nodes, share, strict=True):
            states = law.points + noise * torch.tensor([first, second])
            total += one * other * float(weights @ law.spread(states, level).numpy())
    return float(total / noise**2)


def interval(length: float, sigma: ArrayLike) -> Array:
    """The dimension at each noise level of the uniform law on an interval: a manifold that ends.

        D(sigma) = 1 - (sigma/L) int ( phi(z) - phi(z - L/sigma) )^2 / ( Phi(z) - Phi(z - L/sigma) ) dz
                 = 1 - 2 b sigma/L + exponentially little,        b = `edge_constant`

    Raises InputError unless length and sigma are positive and finite, and sigma between 1e-4 and 1e2 lengths.

    >>> interval(1.0, [0.1, 0.01]).round(6)
    array([0.819361, 0.981936])
    """
    size = number("length", length, "a positive finite number", lambda x: (x > 0.0) & np.isfinite(x))
    noise = _noise(sigma) / size
    if np.any((noise < 1e-4) | (noise > 1e2)):
        raise InputError("sigma", sigma, "noise between 1e-4 and 1e2 lengths")
    return np.array([_of_interval(float(1.0 / one)) for one in noise.ravel()]).reshape(noise.shape)


def _of_interval(length: float) -> float:
    """In units of sigma; by symmetry from the middle outwards, on the left half."""
    z = np.linspace(-12.0, 0.5 * length, int(np.ceil((12.0 + 0.5 * length) / 0.01)) + 1)
    inside = ndtr(z) - ndtr(z - length)
    # Far outside both terms are tiny and their ratio is not: there the interval looks like a point and an edge.
    slope = (np.exp(-0.5 * z**2) - np.exp(-0.5 * (z - length) ** 2)) / np.sqrt(2.0 * np.pi)
    return 1.0 - 2.0 / length * float(np.trapezoid(slope**2 / inside, z))


def edge_constant() -> float:
    """What an edge costs: b = int phi^2/Phi dz = - int Phi log Phi dz, for a smooth edge of any manifold.

        D(sigma) = m - b sigma |edge| / |manifold| + O(sigma^2)

    >>> round(edge_constant(), 9)
    0.903197286
    """
    z = np.arange(-40.0, 14.0, 0.01)
    return float(0.01 * np.exp(-(z**2) - np.log(2.0 * np.pi) - log_ndtr(z)).sum())


@dataclass(frozen=True)
class Dimension:
    """A mean over states with its standard error; what they estimate is exact for the given set of points."""

    value: float
    standard_error: float


def sampled(law: EmpiricalDistribution, sigma: float, count: int, generator: torch.Generator) -> Dimension:
    """The dimension at noise level sigma of a set of points, as a mean over `count` random states.

    Raises InputError for a sigma that is not positive and finite, and fewer than two states.

    >>> square = empirical_distribution(torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]))
    >>> found = sampled(square, 1.0, 10_000, torch.Generator().manual_seed(0))
    >>> abs(found.value - 2 * 0.4496) < 4 * found.standard_error < 0.05
    True
    """
    x, level = _states(law, sigma, count, generator)
    each = law.spread(x, level) / level**2
    return Dimension(float(each.mean()), float(each.std()) / count**0.5)


def spectrum(law: EmpiricalDistribution, sigma: float, count: int, generator: torch.Generator) -> Array:
    """The eigenvalues of Cov(X_0 | x) / sigma^2 at random states of a set of points: (count, d), largest first.

    They are sigma^2 times those of the Fisher information (ID 60), 1 + sigma^2 times those of the score's Jacobian.
    Errors are those of `sampled`. Source: ID 59-61.

    >>> pair = empirical_distribution(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    >>> spectrum(pair, 0.5, 3, torch.Generator().manual_seed(0)).shape
    (3, 2)
    """
    x, level = _states(law, sigma, count, generator)
    eigenvalues: Array = torch.linalg.eigvalsh(law.covariance(x, level)).flip(1).clamp(min=0.0).numpy()
    return eigenvalues / float(level[0]) ** 2


def _states(
    law: EmpiricalDistribution, sigma: float, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    noise = float(_noise(number("sigma", sigma, "a positive finite number", lambda x: x > 0.0)))
    x, _ = law.sample_noised(whole_number("count", count, least=2), noise, generator)
    return x, torch.full((count,), noise, dtype=torch.float64)


def _noise(sigma: ArrayLike) -> Array:
    return numbers("sigma", sigma, "positive finite numbers", lambda x: (x > 0.0) & np.isfinite(x))
