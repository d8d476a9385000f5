"""Gaussian classes of one isotropic covariance and any means: entropy and production in K - 1 dimensions, with errors.

Classes see each other only through their control parameters kappa_ij (ES 15). Under class i the log-odds L_ij, j != i,
are jointly normal,

    E L_ij = kappa_ij / 2,    Cov(L_ij, L_ik) = (kappa_ij + kappa_ik - kappa_jk) / 2,

so that the dimension of the data never enters, only that of the span of the means, at most K - 1 (ES 16, 17 for all
pairs at once). What is drawn is one standard normal vector of that dimension. Estimates are float64 numpy in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from companion.arguments import Array, numbers, probabilities, whole_number
from companion.errors import InputError

__all__ = ["Estimate", "monte_carlo"]

_SQUARES = "finite squared distances, one for each pair of at least two classes"
_TABLE = 2**22  # the largest table of draws times classes held at once, in numbers of 8 bytes: 32 MiB


@dataclass(frozen=True)
class Estimate:
    """Class entropy and its production per unit of log scale, in nats, each with its standard error."""

    entropy: Array
    entropy_se: Array
    production: Array
    production_se: Array


def monte_carlo(
    kappa: ArrayLike,
    scale: ArrayLike,
    count: int,
    generator: torch.Generator,
    weights: Sequence[float] | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> Estimate:
    """The class entropy of K classes with control parameters `scale` times `kappa` (K, K), from `count` draws.

        H = E[ entropy of p(. | x) ],    -dH/dlog scale = (scale / 4) E sum_jk p(j|x) p(k|x) kappa_jk

    Pass squared distances of the means as `kappa` and two_gaussians.control_parameter(1, sigma, 1, s) as `scale`, of
    any shape; for points production is then per log-snr. The same draws serve every scale, so curves are smooth and
    their errors correlated. `weights` (K,) are prior probabilities, equal by default. `groups` ask for the entropy of a
    partition instead: group g of the classes is side g, classes in no group are left out, weights renormalised (ES 25).
    Both are without bias. Where the entropy is below about 10 / `count`, a handful of draws carry it or none does, and
    a standard error says little.

    Raises InputError unless `kappa` are squared distances, for weights that are not probabilities, fewer than two
    groups, empty or overlapping groups, a negative or infinite scale, or fewer than two draws. Source: ES 7, 33.

    >>> result = monte_carlo([[0.0, 4.0], [4.0, 0.0]], 1.0, 20000, torch.Generator().manual_seed(0))
    >>> bool(abs(result.entropy - 0.35631636) < 4.0 * result.entropy_se < 0.01)
    True
    """
    scales = numbers("scale", scale, "finite numbers of at least 0", lambda x: (x >= 0.0) & np.isfinite(x))
    count = whole_number("count", count, least=2)
    squares = numbers("kappa", kappa, _SQUARES, np.isfinite)
    if squares.ndim != 2 or squares.shape[0] != squares.shape[1] or len(squares) < 2:
        raise InputError("kappa", f"of shape {squares.shape}", _SQUARES)
    classes = len(squares)
    prior = np.full(classes, 1.0) if weights is None else probabilities("weights", weights, count=classes)
    sides = _checked_sides(groups, classes)
    kept = [k for side in sides for k in side]
    places = _places(squares[np.ix_(kept, kept)])
    log_prior = torch.from_numpy(np.log(prior[kept] / prior[kept].sum()))
    side = torch.cat([torch.full((len(group),), g) for g, group in enumerate(sides)])
    sums = torch.zeros(2, 2, scales.size, dtype=torch.float64)  # of entropy and production; of their squares
    for true, noise in _draws(log_prior, places.shape[1], count, generator):
        for n, each in enumerate(scales.flat):
            # log p(x | j) up to a term without j, for x = sqrt(each) m_true + noise and means sqrt(each) m_j
            state = each * places[true] + each**0.5 * noise
            log_likelihood = state @ places.T - 0.5 * each * places.square().sum(dim=1)
            log_posterior = torch.log_softmax(log_prior + log_likelihood, dim=1)
            entropy, spread = _entropy_and_spread(log_posterior, places, side)
            values = torch.stack([entropy, 0.5 * each * spread])
            sums[:, :, n] += torch.stack([values.sum(dim=1), values.square().sum(dim=1)])
    means, squares_of = (sums.numpy() / count).reshape(2, 2, *scales.shape)
    errors = np.sqrt(np.maximum(squares_of - means**2, 0.0) / (count - 1))
    return Estimate(means[0], errors[0], means[1], errors[1])


def _places(squares: Array) -> Tensor:
    """Points (K, rank) whose squared distances are given, their centre at zero."""
    near = 1e-9 * float(np.abs(squares).max())  # distances computed from a matrix product are not zero on the diagonal
    if not np.allclose(squares, squares.T) or np.any(np.diag(squares) > near):
        raise InputError("kappa", squares, "finite squared distances: symmetric, zero on the diagonal")
    centring = np.eye(len(squares)) - 1.0 / len(squares)
    sizes, directions = np.linalg.eigh(-0.5 * centring @ squares @ centring)
    # Rounding leaves eigenvalues of both signs, 1e-15 of the largest for each class.
    tolerance = 1e-13 * len(squares) * max(float(sizes[-1]), 0.0)
    if np.any(sizes < -tolerance):
        raise InputError("kappa", squares, "squared distances of points; no points are so far apart")
    held = sizes > tolerance
    return torch.from_numpy(directions[:, held] * np.sqrt(sizes[held]))


def _draws(log_prior: Tensor, rank: int, count: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """True classes and standard normal vectors in blocks; each class is drawn its share of times, to within one."""
    shift = torch.rand((), generator=generator, dtype=torch.float64)
    at = (torch.arange(count, dtype=torch.float64) + shift) / count
    true = torch.bucketize(at, log_prior.exp().cumsum(dim=0)).clamp(max=len(log_prior) - 1)
    noise = torch.randn(count, rank, generator=generator, dtype=torch.float64)
    rows = max(1, _TABLE // len(log_prior))
    return [(true[n : n + rows], noise[n : n + rows]) for n in range(0, count, rows)]


def _entropy_and_spread(log_posterior: Tensor, places: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """The entropy of each posterior over the sides, and sum_A p(A | x) |m_A - m|^2 of the sides' posterior means."""
    posterior = log_posterior.exp()
    sides = int(side.max()) + 1
    if sides == len(side):
        entropy = -(posterior * log_posterior.clamp(min=-1e4)).sum(dim=1)
        within = posterior @ places.square().sum(dim=1)
    else:
        total = torch.zeros(len(posterior), sides, dtype=torch.float64).index_add_(1, side, posterior)
        # A side of probability zero contributes nothing, to either.
        entropy = -torch.xlogy(total, total).sum(dim=1)
        within = torch.zeros(len(posterior), dtype=torch.float64)
        for g in range(sides):
            mean = posterior[:, side == g] @ places[side == g]
            within += mean.square().sum(dim=1) / total[:, g].clamp(min=1e-300)
    return entropy, (within - (posterior @ places).square().sum(dim=1)).clamp(min=0.0)


def _checked_sides(groups: Sequence[Sequence[int]] | None, count: int) -> list[list[int]]:
    expected = f"at least two groups of the classes 0 to {count - 1}, none empty, none overlapping"
    try:
        sides = [[k] for k in range(count)] if groups is None else [list(group) for group in groups]
    except TypeError:  # no sequence of sequences
        raise InputError("groups", groups, expected) from None
    kept = [k for side in sides for k in side]
    if len(sides) < 2 or not all(sides) or len(set(kept)) < len(kept) or not set(kept) <= set(range(count)):
        raise InputError("groups", groups, expected)
    return sides
