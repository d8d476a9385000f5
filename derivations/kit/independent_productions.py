"""One production by three routes that share nothing but the mixture: the numbers behind the identities.

The production -dH/dlambda of class entropy, in nats per unit of log-snr, is three different integrals:

    the slope of the entropy               differences of `entropy`: posteriors, on a grid around each component
    the mean squared gap of the scores     (sigma^2/2) sum_i pi_i E_i |s_i - s|^2: precision matrices, Gauss and Hermite
    the difference of denoising errors     (snr/2) (E|x_0 - D|^2 - E|x_0 - D_Z|^2): gain matrices, one box for all

The frame is the variance-exploding one, and every component is a class of its own. The mixture's `production` is the
number to use; these are here so that it, and the identity, can be doubted.
"""

import math
from functools import cache

import numpy as np
import torch
from scipy.special import roots_hermitenorm

from companion.arguments import Array, finite_levels, whole_number
from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture, full_mixture
from companion.forward import noise_of
from derivations.kit.differences import slope

# Nodes along each axis and steps in deviations of the narrowest component, by dimension: as fine as stays cheap.
_HERMITE_NODES = {1: 600, 2: 240, 3: 140}
_STEPS = {1: 0.02, 2: 0.1, 3: 0.25}
_NEGLIGIBLE_SHARE = 1e-16
_FARTHEST_DEVIATION = 8.0


def random_mixture(components: int, dimension: int, seed: int) -> GaussianMixture:
    """A mixture with random means, weights and full covariances whose classes overlap at log-snr around 0.

    Means are normal with covariance (4 / dimension) I, the standard deviations along random axes lie between 0.5 and
    1.5, and no weight is below a sixth of the largest. Raises InputError for fewer than two components or a dimension
    other than 1, 2 or 3.

    >>> random_mixture(3, 2, seed=0).means.shape
    torch.Size([3, 2])
    """
    components = whole_number("components", components, least=2, most=1000)
    dimension = whole_number("dimension", dimension, least=1, most=max(_HERMITE_NODES))
    seed = whole_number("seed", seed, least=0)
    return drawn_mixture(components, dimension, seed, spread=2.0, widths=(0.5, 1.5), odds=6.0)


def drawn_mixture(
    components: int, dimension: int, seed: int, spread: float, widths: tuple[float, float], odds: float
) -> GaussianMixture:
    """Normal means of mean square `spread`^2, widths between two ends along random axes, weights up to 1 : `odds`.

    >>> drawn_mixture(3, 2, seed=0, spread=1.0, widths=(0.5, 1.5), odds=3.0).means.shape
    torch.Size([3, 2])
    """
    draw = np.random.default_rng([seed, components, dimension])
    means = draw.standard_normal((components, dimension)) * spread / math.sqrt(dimension)
    axes = np.linalg.qr(draw.standard_normal((components, dimension, dimension)))[0]
    variances = draw.uniform(*widths, (components, dimension)) ** 2
    covariances = (axes * variances[:, None, :]) @ axes.transpose(0, 2, 1)
    weights = draw.uniform(1.0, odds, components)
    return full_mixture(
        torch.from_numpy(means),
        torch.from_numpy(0.5 * (covariances + covariances.transpose(0, 2, 1))),
        torch.from_numpy(weights / weights.sum()),
    )


def production_from_entropy(mixture: GaussianMixture, log_snr: float) -> float:
    """-dH/dlambda by central differences of order eight of `GaussianMixture.entropy`, to about 1e-10. Source: ES 7.

    Raises as `GaussianMixture.entropy` does.

    >>> round(production_from_entropy(random_mixture(2, 1, seed=0), 0.0), 8)
    0.09494786
    """
    if finite_levels(log_snr).ndim > 0:
        raise InputError("log_snr", log_snr, "one log-snr")
    # The entropy, a function of log-snr, has its nearest singularities about pi off the real line: steps of 0.08 leave
    # 1e-11, and what its quadrature misses is divided by 0.08.
    return -float(slope(mixture.entropy, log_snr, 0.08))


def production_from_scores(mixture: GaussianMixture, log_snr: float) -> float:
    """(sigma^2 / 2) sum_i pi_i E_i |s_i - s|^2 by Gauss and Hermite's rule around each component. Source: ES 33.

        s_i(x) = -(Sigma_i + sigma^2 I)^-1 (x - mu_i)

    Accurate to about 1e-9 on random mixtures at log-snr between -1 and 1; less for classes far apart. Raises
    InputError for a log-snr that is not finite, a dimension above 3, or a class of several components.

    >>> round(production_from_scores(random_mixture(2, 1, seed=0), 0.0), 8)
    0.09494786
    """
    weights, means, _, total, sigma = _classes(mixture, log_snr)
    precisions, roots = np.linalg.inv(total), np.linalg.cholesky(total)
    log_norms = np.log(weights) - 0.5 * np.linalg.slogdet(total)[1]
    units, shares = hermite_rule(_HERMITE_NODES[means.shape[1]], means.shape[1], _NEGLIGIBLE_SHARE)
    gap = 0.0
    for i, weight in enumerate(weights):
        x = means[i] + units @ roots[i].T
        offsets = x - means[:, None, :]
        scores = -offsets @ precisions
        log_joint = log_norms[:, None] + 0.5 * (offsets * scores).sum(axis=2)
        posterior = np.exp(log_joint - log_joint.max(axis=0))
        posterior /= posterior.sum(axis=0)
        mixture_score = (posterior[:, :, None] * scores).sum(axis=0)
        gap += weight * float(shares @ ((scores[i] - mixture_score) ** 2).sum(axis=1))
    return float(0.5 * sigma**2 * gap)


def production_from_errors(mixture: GaussianMixture, log_snr: float) -> float:
    """(snr / 2) (E|x_0 - D|^2 - E|x_0 - D_Z|^2), both errors by themselves. Source: I-MMSE (Guo et al. 2005), ES 33.

        E|x_0 - D_Z|^2 = sum_i pi_i tr (Sigma_i - G_i Sigma_i),    G_i = Sigma_i (Sigma_i + sigma^2 I)^-1
        E|x_0 - D|^2 = E|x_0|^2 - int p |D|^2 dx,                  D = sum_j p(j|x) (mu_j + G_j (x - mu_j))

    The first is exact, the second a trapezoidal sum over one box that holds all of the mixture. Both are large
    against their difference where snr is small, so that about 1e-14/snr of it is rounding. On random mixtures it misses
    less than 1e-11. Raises as `production_from_scores` does.

    >>> round(production_from_errors(random_mixture(2, 1, seed=0), 0.0), 8)
    0.09494786
    """
    weights, means, covariances, total, sigma = _classes(mixture, log_snr)
    gains = covariances @ np.linalg.inv(total)
    error_of_classes = weights @ np.trace(covariances - gains @ covariances, axis1=1, axis2=2)
    power = weights @ ((means**2).sum(axis=1) + np.trace(covariances, axis1=1, axis2=2))
    error_of_mixture = power - _power_of_prediction(weights, means, total, gains)
    return float(0.5 * (error_of_mixture - error_of_classes) / sigma**2)


def noisy_components(mixture: GaussianMixture, log_snr: float, most: int) -> tuple[Array, Array, Array, Array, float]:
    """Weights, means, clean and noisy covariances of the components, and the noise level.

    Raises InputError for more than `most` dimensions, or anything but one finite log-snr.

    >>> weights, means, clean, noisy, sigma = noisy_components(random_mixture(2, 1, seed=0), 0.0, most=3)
    >>> (noisy - clean).tolist(), sigma
    ([[[1.0]], [[1.0]]], 1.0)
    """
    count, dimension = mixture.means.shape
    if dimension > most:
        raise InputError("mixture", f"of dimension {dimension}", f"{most} dimensions at most")
    if finite_levels(log_snr).ndim > 0:
        raise InputError("log_snr", log_snr, "one log-snr")
    sigma = float(noise_of(log_snr))
    axes = torch.eye(dimension, dtype=torch.float64) if mixture.axes is None else mixture.axes
    scaled = axes * mixture.deviations.reshape(count, 1, -1)
    clean = (scaled @ scaled.mT).numpy()
    return mixture.component_weights.numpy(), mixture.means.numpy(), clean, clean + sigma**2 * np.eye(dimension), sigma


def _classes(mixture: GaussianMixture, log_snr: float) -> tuple[Array, Array, Array, Array, float]:
    if len(mixture.classes) != len(mixture.means):
        given = f"of {len(mixture.classes)} classes, {len(mixture.means)} components"
        raise InputError("mixture", given, "one component a class")
    return noisy_components(mixture, log_snr, max(_HERMITE_NODES))


@cache
def hermite_rule(nodes: int, dimension: int, negligible: float = 0.0) -> tuple[Array, Array]:
    """Gauss and Hermite's rule for a standard normal: nodes (n, d), and those weights (n,) that are not negligible.

    >>> units, shares = hermite_rule(3, 2)
    >>> (shares @ units**2).round(12).tolist()
    [1.0, 1.0]
    """
    places, weights = roots_hermitenorm(nodes)
    units = np.stack(np.meshgrid(*[places] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    products = np.prod(np.meshgrid(*[weights / weights.sum()] * dimension, indexing="ij"), axis=0).reshape(-1)
    kept = products > negligible
    return units[kept], products[kept]


def _power_of_prediction(weights: Array, means: Array, total: Array, gains: Array) -> float:
    """int p |D|^2 dx."""
    dimension = means.shape[1]
    # A box eight deviations beyond every component.
    reach = _FARTHEST_DEVIATION * np.sqrt(np.diagonal(total, axis1=1, axis2=2))
    step = _STEPS[dimension] * math.sqrt(np.linalg.eigvalsh(total).min())
    corners = zip((means - reach).min(axis=0), (means + reach).max(axis=0), strict=True)
    first, *others = [np.arange(low, high, step) for low, high in corners]
    heights = weights / np.sqrt(np.linalg.det(2.0 * math.pi * total))
    factors = np.linalg.cholesky(np.linalg.inv(total))
    power = 0.0
    for slab in np.array_split(first, 1 + len(first) // 8):  # a few planes at a time stay in the processor's cache
        x = np.stack(np.meshgrid(slab, *others, indexing="ij"), axis=-1).reshape(-1, dimension)
        density, moment = np.zeros(len(x)), np.zeros_like(x)
        for height, mean, factor, gain in zip(heights, means, factors, gains, strict=True):
            offset = x - mean
            bell = height * np.exp(-0.5 * ((offset @ factor) ** 2).sum(axis=1))
            density += bell
            moment += bell[:, None] * (mean + offset @ gain.T)
        power += float(((moment**2).sum(axis=1) / np.maximum(density, 1e-300)).sum())
    return float(power * step**dimension)
