"""A finite set of points as a law, with its exact denoiser: a trained model without training and without error.

The data p_0 = sum_n w_n delta(x - x_n), noised, are a mixture of N Gaussians of one width, so the posterior mean is the
softmax-weighted average of the points (Karras et al. 2022, appendix B.3). Its classes are the labels of the points;
where every point is a class of its own, class entropy is the entropy H(X_0 | X_t) of the clean sample.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from companion.arguments import Array, probabilities, whole_number
from companion.denoiser import digest_of
from companion.errors import InputError
from companion.exact.laws import NoisedLaw
from companion.exact.mixtures import GaussianMixture

__all__ = ["EmpiricalDistribution", "empirical_distribution"]


# The largest table of batch times points, or of their differences, held at once, in numbers of 8 bytes: half a GiB.
_TABLE = 2**26
# Points of so many numbers altogether are compared with a state by differences, which keep their digits at any noise;
# more are multiplied with it, which is as fast as a processor is.
_FEW = 2**12


@dataclass(frozen=True, eq=False)
class EmpiricalDistribution(NoisedLaw):
    """The exact denoiser of labelled points; build it with `empirical_distribution`.

        D_z(x, sigma) = sum_{n in z} softmax_n( log w_n - |x - x_n|^2 / (2 sigma^2) ) x_n,

    over the points of a class, or over all for condition None. `points` is (N, *shape) sorted by class, class k being
    points[bounds[k] : bounds[k + 1]]; `log_weights` (N,) float64 are None where all are equal. The softmax is taken in
    float64 because its exponents are differences of numbers 1e6 times their size. Defined for every sigma > 0.

    >>> data = empirical_distribution(torch.tensor([[-1.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]))
    >>> x, sigma = torch.zeros(2, 1), torch.ones(2)
    >>> data(x, sigma, torch.tensor([0, 1])).flatten().tolist()
    [0.0, 3.0]
    """

    points: Tensor
    log_weights: Tensor | None
    bounds: tuple[int, ...]
    classes: tuple[str, ...]
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.points.shape[1:])

    @property
    def weights(self) -> tuple[float, ...]:
        if self.log_weights is None:
            return tuple((last - first) / len(self.points) for first, last in pairwise(self.bounds))
        return tuple(float(self.log_weights[self._points_of(k)].exp().sum()) for k in range(len(self.classes)))

    @property
    def dtype(self) -> torch.dtype:
        return self.points.dtype

    @property
    def device(self) -> torch.device:
        return self.points.device

    @property
    def digest(self) -> str:
        weights = [] if self.log_weights is None else [self.log_weights]
        return digest_of(self.points, torch.tensor(self.bounds), *weights)

    @property
    def mixture(self) -> GaussianMixture:
        """The same law as a mixture of Gaussians of width zero, in float64, the points flattened."""
        equal = torch.full((len(self.points),), 1.0 / len(self.points), dtype=torch.float64)
        weights = equal if self.log_weights is None else self.log_weights.exp()
        classes = torch.repeat_interleave(torch.tensor(self.bounds).diff())
        return GaussianMixture(self.points.flatten(1).double(), 0.0 * equal, None, weights, classes)

    def entropy(self, log_snr: ArrayLike) -> Array:
        """`GaussianMixture.entropy` of points that span a line, a plane or a space; InputError for others.

        >>> float(empirical_distribution(torch.tensor([[-1.0], [1.0]])).entropy(0.0).round(8))
        0.35631636
        """
        return self.mixture.entropy(log_snr)

    def production(self, log_snr: ArrayLike) -> Array:
        """`GaussianMixture.production`: half of E tr Cov(x_0 | x) / sigma^2 where every point is a class.

        >>> float(empirical_distribution(torch.tensor([[-1.0], [1.0]])).production(0.0).round(8))
        0.22479975
        """
        return self.mixture.production(log_snr)

    def posterior(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(z | x) = log sum_{n in z} softmax_n of every class, x (batch, *shape) to (batch, K), float64.

        >>> empirical_distribution(torch.tensor([[-1.0], [1.0]])).posterior(torch.zeros(1, 1), torch.ones(1)).exp()
        tensor([[0.5000, 0.5000]], dtype=torch.float64)
        """
        parts = []
        for table in self._tables(x, sigma):
            if len(self.classes) < len(self.points):
                totals = [torch.logsumexp(table[:, self._points_of(k)], dim=1) for k in range(len(self.classes))]
                table = torch.stack(totals, dim=1)
            parts.append(torch.log_softmax(table, dim=1))
        return torch.cat(parts)

    def log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(x) = log sum_n w_n N(x; x_n, sigma^2 I) of noised points, x (batch, *shape) to (batch,), float64.

        >>> x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
        >>> round(empirical_distribution(x).log_density(x, torch.full((2,), 0.1)).exp()[0].item(), 6)     # 0.5 / 0.2507
        1.994711
        """
        parts = [torch.logsumexp(table, dim=1) for table in self._tables(x, sigma)]
        return torch.cat(parts) - x[0].numel() * (0.5 * math.log(2.0 * math.pi) + sigma.double().log())

    def covariance(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Cov(x_0 | x) = sigma^2 dD/dx, x (batch, *shape) to (batch, d, d), float64. Source: ID 16, 21.

        >>> empirical_distribution(torch.tensor([[-1.0], [1.0]])).covariance(torch.zeros(1, 1), torch.ones(1)).tolist()
        [[[1.0]]]
        """
        points = self.points.flatten(1).double()
        shares = (share for table in self._tables(x, sigma) for share in torch.softmax(table, dim=1))
        found = [torch.cov(points.T, correction=0, aweights=share) for share in shares]
        return torch.stack(found).reshape(len(x), points.shape[1], points.shape[1])

    def spread(self, x: Tensor, sigma: Tensor) -> Tensor:
        """tr Cov(x_0 | x) of each state, x (batch, *shape) to (batch,), float64. Source: ID 21.

        >>> empirical_distribution(torch.tensor([[-1.0], [1.0]])).spread(torch.zeros(1, 1), torch.ones(1)).tolist()
        [1.0]
        """
        points = self.points.flatten(1).double()
        centred, parts = points - points.mean(dim=0), []
        for table in self._tables(x, sigma):
            share = torch.softmax(table, dim=1)
            parts.append(share @ centred.square().sum(dim=1) - (share @ centred).square().sum(dim=1))
        return torch.cat(parts).clamp(min=0.0)

    def sample(self, count: int, generator: torch.Generator, condition: int | None = None) -> tuple[Tensor, Tensor]:
        """`count` points drawn with replacement from a class, or from all, and their classes (count,) int64.

        Raises InputError for fewer than one sample or an unknown class.

        >>> empirical_distribution(torch.tensor([[-1.0], [1.0]])).sample(1, torch.Generator(), condition=1)
        (tensor([[1.]]), tensor([1]))
        """
        count = whole_number("count", count, least=1)
        chosen = self._points_of(condition)
        if self.log_weights is None:
            index = torch.randint(chosen.start, chosen.stop, (count,), generator=generator)
        else:
            weights = self.log_weights[chosen].exp()
            index = chosen.start + torch.multinomial(weights, count, replacement=True, generator=generator)
        return self.points[index], torch.bucketize(index, torch.tensor(self.bounds[1:]), right=True)

    def _points_of(self, k: int | None) -> slice:
        if k is None:
            return slice(0, len(self.points))
        if not 0 <= k < len(self.classes):
            raise InputError("condition", k, f"a class between 0 and {len(self.classes) - 1}")
        return slice(self.bounds[k], self.bounds[k + 1])

    def _denoised(self, x: Tensor, sigma: Tensor, condition: int | None) -> Tensor:
        points = self.points[self._points_of(condition)].flatten(1)
        # Once normalised, the shares need no more digits than the points have.
        tables = self._tables(x, sigma, condition)
        return torch.cat([torch.softmax(table, dim=1).to(self.dtype) @ points for table in tables]).reshape(x.shape)

    def _tables(self, x: Tensor, sigma: Tensor, condition: int | None = None) -> Iterator[Tensor]:
        """log w_n - |x - x_n|^2 / (2 sigma^2), (states, points), float64, of a part of the states after another."""
        chosen, numbers = self._points_of(condition), self.points.numel()
        points = self.points[chosen].flatten(1).double()
        weight = -math.log(len(self.points)) if self.log_weights is None else self.log_weights[chosen]
        rows = max(1, _TABLE // (numbers if numbers <= _FEW else len(self.points)))
        for part, level in zip(torch.split(x.flatten(1), rows), torch.split(sigma, rows), strict=True):
            states = part.double()
            if numbers <= _FEW:
                half_squares = (states[:, None] - points).square_().sum(dim=2).mul_(-0.5)
            else:
                norms = -0.5 * (states.square().sum(dim=1, keepdim=True) + points.square().sum(dim=1))
                half_squares = norms.addmm_(states, points.T)
            yield half_squares.div_(level.double()[:, None] ** 2).add_(weight)


def empirical_distribution(
    points: Tensor,
    labels: Tensor | None = None,
    weights: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    name: str = "empirical distribution",
) -> EmpiricalDistribution:
    """The law of labelled points: `points` (N, *shape) float32 or float64, `labels` (N,) int64 from 0 to K-1.

    Without labels every point is a class of its own. `weights` (N,) are probabilities of the points, equal by default;
    `classes` names the K classes, by default "0" to "K-1". Raises InputError for shapes that disagree, points of other
    dtypes or not finite, weights that are no probabilities, fewer than two classes, or a class without a point.

    >>> empirical_distribution(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 1, 1])).weights
    (0.25, 0.75)
    """
    if points.ndim < 2 or points.dtype not in (torch.float32, torch.float64) or not bool(torch.isfinite(points).all()):
        expected = "finite float32 or float64 numbers of shape (points, *shape)"
        raise InputError("points", f"{points.dtype} of shape {tuple(points.shape)}", expected)
    labels = torch.arange(len(points)) if labels is None else labels
    if labels.shape != points.shape[:1]:
        raise InputError("labels", f"of shape {tuple(labels.shape)}", f"one label for each of {len(points)} points")
    names = tuple(map(str, range(int(labels.max()) + 1)) if classes is None else classes)
    count = len(names)
    if count < 2 or set(labels.tolist()) != set(range(count)):
        raise InputError("labels", sorted(set(labels.tolist())), f"each of 0 to {max(count, 2) - 1} at least once")
    order = torch.argsort(labels, stable=True)
    log_weights = None
    if weights is not None:
        log_weights = torch.from_numpy(np.log(probabilities("weights", weights, count=len(points))))[order]
    bounds = (0, *torch.cumsum(torch.bincount(labels, minlength=count), dim=0).tolist())
    return EmpiricalDistribution(points[order].contiguous(), log_weights, bounds, names, name)
