"""The rate at which a sample is forgotten by five routes that share only the mixture, and by the entropy itself.

The rate -dH(X_0 | X_t)/dlambda, in nats per unit of log-snr, is one number and many integrals (ID 19, 33, 56, 62, 64):

    slope         d/2 + dH(X_t)/dlambda             differences of the differential entropy of the states, -E log p
    score norm    (d - sigma^2 E|s|^2) / 2          precision matrices, Gauss and Hermite around each component
    error         E tr Cov(x_0 | x) / (2 sigma^2)   gain matrices, weights by an eigenbasis
    divergence    (d + sigma^2 E div s) / 2         log p alone, differentiated twice by torch
    Fisher        sigma^2 E tr I / 2                Hessians of the components' log-densities, and their spread
    exponents     sum_j (1 + sigma^2 E lambda_j)/2  eigenvalues of the slope of the package's denoiser

The frame is the variance-exploding one, dimensions are 1 to 4. All but the second are sums over a cubic lattice in a
ball, each turned and shifted by its own random numbers: where the routes agree the lattice does not matter.
`entropy_rate.entropy_rate` is the number to use; these are here so that it can be doubted.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from companion.arguments import Array, whole_number
from companion.exact.mixtures import GaussianMixture
from companion.forward import noise_of
from derivations.kit.differences import slope
from derivations.kit.independent_productions import drawn_mixture, hermite_rule, noisy_components

# A step of h deviations leaves exp(-2 pi^2 / h^2) of a bell and exp(-2 pi^2 / (h sqrt(kappa))) of a posterior between
# two classes; the ball leaves out less than 1e-10 of the mass.
_STEP = {1: 0.1, 2: 0.25, 3: 0.36, 4: 0.6}
_REACH = {1: 8.0, 2: 7.8, 3: 7.6, 4: 7.4}
_HERMITE_NODES = {1: 600, 2: 160, 3: 60, 4: 34}
_NEGLIGIBLE_SHARE = 1e-14
_AT_ONCE = 2**14  # states, all of them in the processor's cache


def small_mixture(components: int, dimension: int, seed: int) -> GaussianMixture:
    """A random mixture in one to four dimensions whose components overlap at log-snr around 0.

    Means are normal with covariance (2 / dimension) I, deviations along random axes lie between 0.6 and 1.2, no weight
    is below a third of the largest. Raises InputError for fewer than two components or another dimension.

    >>> small_mixture(3, 4, seed=0).means.shape
    torch.Size([3, 4])
    """
    count, size = whole_number("components", components, 2), whole_number("dimension", dimension, 1, 4)
    return drawn_mixture(count, size, seed, spread=math.sqrt(2.0), widths=(0.6, 1.2), odds=3.0)


def rate_from_entropy(mixture: GaussianMixture, log_snr: float) -> float:
    """d/2 + dH(X_t)/dlambda, by central differences of the entropy of the states. Source: ID 17, 57.

    Raises InputError for a log-snr that is not finite or a dimension above 4, as all routes do.

    >>> round(rate_from_entropy(small_mixture(2, 1, seed=0), 0.0), 8)
    0.32010317
    """

    def entropy(level: float) -> float:
        weights, means, _, total, _ = noisy_components(mixture, level, most=4)
        return float(_mean_over_states(weights, means, total, 1, lambda x: -_log_density(weights, means, total, x)))

    return 0.5 * mixture.shape[0] + float(slope(entropy, log_snr, 0.1))


def rate_from_scores(mixture: GaussianMixture, log_snr: float) -> float:
    """(d - sigma^2 E|s|^2) / 2. Source: ID 19.

    >>> round(rate_from_scores(small_mixture(2, 1, seed=0), 0.0), 8)
    0.32010317
    """
    weights, means, _, total, sigma = noisy_components(mixture, log_snr, most=4)
    size = means.shape[1]
    precisions, roots = np.linalg.inv(total), np.linalg.cholesky(total)
    log_norms = np.log(weights) - 0.5 * np.linalg.slogdet(total)[1]
    units, shares = hermite_rule(_HERMITE_NODES[size], size, _NEGLIGIBLE_SHARE)
    norm = 0.0
    for weight, mean, root in zip(weights, means, roots, strict=True):
        x = mean + units @ root.T
        score, heights = np.zeros_like(x), np.zeros(len(x))
        for centre, precision, log_norm in zip(means, precisions, log_norms, strict=True):
            pull = (centre - x) @ precision
            height = np.exp(log_norm - 0.5 * ((centre - x) * pull).sum(axis=1))
            score += height[:, None] * pull
            heights += height
        norm += weight * float(shares @ ((score / heights[:, None]) ** 2).sum(axis=1))
    return float(0.5 * (size - sigma**2 * norm))


def rate_from_errors(mixture: GaussianMixture, log_snr: float) -> float:
    """E tr Cov(x_0 | x) / (2 sigma^2), the trace from the posterior's own mixture. Source: ID 33.

    >>> round(rate_from_errors(small_mixture(2, 1, seed=0), 0.0), 8)
    0.32010317
    """
    weights, means, covariances, total, sigma = noisy_components(mixture, log_snr, most=4)
    variances, axes = np.linalg.eigh(covariances)
    gains = variances / (variances + sigma**2)
    left = (gains * sigma**2).sum(axis=1)  # tr Cov(x_0 | x, component)

    def trace(x: Array) -> Array:
        along = np.einsum("cnd,cde->cne", x - means[:, None], axes)
        exponents = -0.5 * (along**2 / (variances + sigma**2)[:, None]).sum(axis=2)
        exponents += (np.log(weights) - 0.5 * np.log(variances + sigma**2).sum(axis=1))[:, None]
        share = np.exp(exponents - exponents.max(axis=0))
        share /= share.sum(axis=0)
        guesses = means[:, None] + np.einsum("cne,cde->cnd", along * gains[:, None], axes)
        guess = np.einsum("cn,cnd->nd", share, guesses)
        return np.asarray(share.T @ left + np.einsum("cn,cnd->n", share, (guesses - guess) ** 2))

    return float(_mean_over_states(weights, means, total, 2, trace)) / (2.0 * sigma**2)


def rate_from_divergence(mixture: GaussianMixture, log_snr: float) -> float:
    """(d + sigma^2 E div s) / 2 with div s the Laplacian of log p, by automatic differentiation. Source: ID 52, 56.

    >>> round(rate_from_divergence(small_mixture(2, 1, seed=0), 0.0), 8)
    0.32010317
    """
    weights, means, _, total, sigma = noisy_components(mixture, log_snr, most=4)
    centres, factors = torch.from_numpy(means), torch.from_numpy(np.linalg.cholesky(np.linalg.inv(total)))
    heights = torch.from_numpy(np.log(weights)) + factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)

    def laplacian(x: Array) -> Array:
        at = torch.from_numpy(x).requires_grad_(True)
        square = ((at - centres[:, None]) @ factors).square().sum(dim=2)
        log_density = torch.logsumexp(heights[:, None] - 0.5 * square, dim=0)
        (score,) = torch.autograd.grad(log_density.sum(), at, create_graph=True)
        bends = [torch.autograd.grad(score[:, a].sum(), at, retain_graph=True)[0][:, a] for a in range(x.shape[1])]
        return np.asarray(torch.stack(bends).sum(dim=0).numpy())

    mean = float(_mean_over_states(weights, means, total, 3, laplacian))
    return float(0.5 * (means.shape[1] + sigma**2 * mean))


def rate_from_fisher(mixture: GaussianMixture, log_snr: float) -> float:
    """sigma^2 E tr I / 2: what every component knows, and what their posterior adds. Source: ID 62.

        tr I(x) = sum_c p(c|x) ( tr (1/sigma^2 - P_c) + |s_c - s|^2 ),     P_c = (Sigma_c + sigma^2 I)^-1

    >>> round(rate_from_fisher(small_mixture(2, 1, seed=0), 0.0), 8)
    0.32010317
    """
    weights, means, _, total, sigma = noisy_components(mixture, log_snr, most=4)
    precisions = np.linalg.inv(total)
    inside = means.shape[1] / sigma**2 - np.trace(precisions, axis1=1, axis2=2)

    def trace(x: Array) -> Array:
        scores = [(mean - x) @ precision for mean, precision in zip(means, precisions, strict=True)]
        logs = [_log_density(weights[c : c + 1], means[c : c + 1], total[c : c + 1], x) for c in range(len(weights))]
        whole = np.logaddexp.reduce(logs, axis=0)
        shares = [np.exp(each - whole) for each in logs]
        middle = sum(share[:, None] * score for share, score in zip(shares, scores, strict=True))
        spread = [((score - middle) ** 2).sum(axis=1) for score in scores]
        return np.asarray(sum(share * (own + gap) for share, own, gap in zip(shares, inside, spread, strict=True)))

    return 0.5 * sigma**2 * float(_mean_over_states(weights, means, total, 4, trace))


def rate_from_exponents(mixture: GaussianMixture, log_snr: float) -> float:
    """sum_j (1 + sigma^2 E lambda_j) / 2 over the expected local exponents. Source: ID 63, 64.

    >>> round(rate_from_exponents(small_mixture(2, 1, seed=0), 0.0), 8)
    0.32010317
    """
    sigma = float(noise_of(log_snr))
    return float((0.5 * (1.0 + sigma**2 * exponents(mixture, log_snr))).sum())


def exponents(mixture: GaussianMixture, log_snr: float) -> Array:
    """E lambda_j, the mean over states of each eigenvalue of the Jacobian of the score, (d,), in increasing order.

    The Jacobian is (dD/dx - 1) / sigma^2, of the mixture's denoiser by automatic differentiation. Only the sum is as
    accurate as the routes: a single eigenvalue has a kink where it meets the next. Raises as the routes do.

    >>> (exponents(small_mixture(2, 2, seed=0), 0.0) < 0.0).tolist()
    [True, True]
    """
    weights, means, _, total, sigma = noisy_components(mixture, log_snr, most=4)

    def spectrum(x: Array) -> Array:
        at = torch.from_numpy(x).requires_grad_(True)
        denoised = mixture(at, torch.full((len(x),), sigma, dtype=torch.float64), None)
        rows = [torch.autograd.grad(denoised[:, a].sum(), at, retain_graph=True)[0] for a in range(x.shape[1])]
        slopes = torch.stack(rows, dim=1)
        return np.asarray((torch.linalg.eigvalsh(0.5 * (slopes + slopes.mT)) - 1.0) / sigma**2)

    return _mean_over_states(weights, means, total, 5, spectrum)


ROUTES: dict[str, Callable[[GaussianMixture, float], float]] = {
    "slope of the entropy": rate_from_entropy,
    "score norm": rate_from_scores,
    "denoising error": rate_from_errors,
    "divergence": rate_from_divergence,
    "Fisher information": rate_from_fisher,
    "exponents": rate_from_exponents,
}


def _log_density(weights: Array, means: Array, total: Array, x: Array) -> Array:
    roots = np.linalg.cholesky(total)
    logs = []
    for weight, mean, root in zip(weights, means, roots, strict=True):
        standard = np.linalg.solve(root, (x - mean).T)
        height = math.log(weight) - np.log(np.diag(root)).sum() - 0.5 * len(mean) * math.log(2.0 * math.pi)
        logs.append(height - 0.5 * (standard**2).sum(axis=0))
    return np.asarray(np.logaddexp.reduce(logs, axis=0))


def _mean_over_states(
    weights: Array, means: Array, total: Array, seed: int, function: Callable[[Array], Array]
) -> Array:
    """sum_c w_c E_c f(x), each component on the lattice in its own standard units."""
    units, shares = _lattice(means.shape[1], seed)
    roots = np.linalg.cholesky(total)
    result: Array = np.asarray(0.0)
    for weight, mean, root in zip(weights, means, roots, strict=True):
        for part in np.array_split(np.arange(len(units)), 1 + len(units) // _AT_ONCE):
            result = result + weight * (shares[part] @ function(mean + units[part] @ root.T))
    return result


@cache
def _lattice(dimension: int, seed: int) -> tuple[Array, Array]:
    """Nodes (n, d) and weights (n,) of a standard normal: a cubic lattice, turned and shifted at random, in a ball."""
    step, reach = _STEP[dimension], _REACH[dimension]
    draw = np.random.default_rng([seed, dimension])
    turn = np.linalg.qr(draw.standard_normal((dimension, dimension)))[0]
    count = math.ceil(reach / step) + 1
    line = step * np.arange(-count, count + 1)
    nodes = np.stack(np.meshgrid(*[line] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    nodes += step * draw.uniform(-0.5, 0.5, dimension)
    square = (nodes**2).sum(axis=1)
    nodes, square = nodes[square <= reach**2], square[square <= reach**2]
    return nodes @ turn.T, (step / math.sqrt(2.0 * math.pi)) ** dimension * np.exp(-0.5 * square)
