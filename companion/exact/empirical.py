"""A finite set of points as a law, with its exact denoiser: a trained model without training and without error.

The data p_0 = sum_n w_n delta(x - x_n), noised, are a mixture of N Gaussians of one width, so the posterior mean is the
softmax-weighted average of the points (Karras et al. 2022, appendix B.3). Its classes are the labels of the points;
where every point is a class of its own, class entropy is the entropy H(X_0 | X_t) of the clean sample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from companion.arguments import probabilities, whole_number
from companion.denoiser import digest_of
from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture
from companion.exact.quadrature import mean_over_states

__all__ = ["EmpiricalDistribution", "empirical_distribution"]

Array = NDArray[np.float64]

# The largest table of batch times points, or of their differences, held at once, in numbers of 8 bytes: half a GiB.
_TABLE = 2**26
# Points of so many numbers altogether are compared with a state by differences, which keep their digits at any noise;
# more are multiplied with it, which is as fast as a processor is.
_FEW = 2**12


@dataclass(frozen=True, eq=False)
class EmpiricalDistribution:
    """The exact denoiser of labelled points; build it with `empirical_distribution`.

        D_z(x, sigma) = sum_{n in z} softmax_n( log w_n - |x - x_n|^2 / (2 sigma^2) ) x_n,

    over the points of a class, or over all of them for condition None. `points` is (N, *shape) sorted by class,
    `bounds` holds K + 1 offsets: class k is points[bounds[k] : bounds[k + 1]]; `log_weights` (N,) float64 are those of
    the points, None where all are equal. The softmax is taken in float64, whatever the dtype of the points, because its
    exponents are differences of numbers 1e6 times their size. Defined for every sigma > 0.

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
    has_null: bool = field(default=True, init=False)
    log_snr_range: tuple[float, float] = field(default=(-math.inf, math.inf), init=False)

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
        count, sizes = len(self.points), torch.tensor(self.bounds).diff()
        equal = torch.full((count,), 1.0 / count, dtype=torch.float64)
        weights = equal if self.log_weights is None else self.log_weights.exp()
        classes = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        return GaussianMixture(self.points.flatten(1).double(), 0.0 * equal, None, weights, classes)

    def entropy(self, log_snr: ArrayLike) -> Array:
        """The class entropy H(Z | X_t) at each log-snr, in nats, to about 1e-10.

        By quadrature, where the points span a line, a plane or a space; for others InputError is raised, and
        `monte_carlo_entropy` has an estimate. Raises as `GaussianMixture.entropy` does. Source: ES 7.

        >>> float(empirical_distribution(torch.tensor([[-1.0], [1.0]])).entropy(0.0).round(8))
        0.35631636
        """
        return self.mixture.entropy(log_snr)

    def production(self, log_snr: ArrayLike) -> Array:
        """The class entropy lost per unit of log-snr, -dH/dlambda >= 0, at each log-snr, in nats.

            -dH/dlambda = (snr / 2) E sum_z p(z | x) |D_z - D|^2

        Half of E tr Cov(x_0 | x) / sigma^2 where every point is a class. Raises as `entropy` does. Source: ES 33.

        >>> float(empirical_distribution(torch.tensor([[-1.0], [1.0]])).production(0.0).round(8))
        0.22479975
        """
        return mean_over_states(self.mixture, log_snr, _half_spread_of_classes)

    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            return self._denoised(x, sigma, slice(None))
        present = sorted(set(condition.tolist()))
        result = torch.empty_like(x)
        for k in present:
            rows = slice(None) if len(present) == 1 else condition == k
            result[rows] = self._denoised(x[rows], sigma[rows], self._points_of(k))
        return result

    def posterior(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(z | x) of every class, its weight that of its points: x (batch, *shape) to (batch, K), float64.

            p(z | x) = sum_{n in z} softmax_n( log w_n - |x - x_n|^2 / (2 sigma^2) )

        >>> data = empirical_distribution(torch.tensor([[-1.0], [1.0]]))
        >>> data.posterior(torch.tensor([[0.5]]), torch.ones(1)).exp().round(decimals=6).tolist()
        [[0.268941, 0.731059]]
        """
        parts = []
        for part, level in self._parts(x, sigma):
            exponent = self._exponent(part, level, slice(None))
            if len(self.classes) < len(self.points):
                totals = [torch.logsumexp(exponent[:, self._points_of(k)], dim=1) for k in range(len(self.classes))]
                exponent = torch.stack(totals, dim=1)
            parts.append(torch.log_softmax(exponent, dim=1))
        return torch.cat(parts)

    def log_density(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(x) of noised points, x (batch, *shape) to (batch,), float64.

            p(x) = sum_n w_n N(x; x_n, sigma^2 I)

        >>> data = empirical_distribution(torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
        >>> round(data.log_density(data.points, torch.full((2,), 0.1)).exp()[0].item(), 6)      # 1/2 / (0.1 sqrt(2 pi))
        1.994711
        """
        parts = [
            torch.logsumexp(self._exponent(part, level, slice(None)), dim=1) for part, level in self._parts(x, sigma)
        ]
        return torch.cat(parts) - x[0].numel() * (0.5 * math.log(2.0 * math.pi) + sigma.double().log())

    def covariance(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Cov(x_0 | x) of each state, x (batch, *shape) to (batch, d, d), float64: sigma^2 times dD/dx.

        Source: ID 16, 21.

        >>> data = empirical_distribution(torch.tensor([[-1.0], [1.0]]))
        >>> data.covariance(torch.zeros(1, 1), torch.ones(1)).tolist()
        [[[1.0]]]
        """
        points, found = self.points.flatten(1).double(), []
        for part, level in self._parts(x, sigma):
            for share in torch.softmax(self._exponent(part, level, slice(None)), dim=1):
                centred = points - share @ points
                found.append((share[:, None] * centred).T @ centred)
        return torch.stack(found)

    def spread(self, x: Tensor, sigma: Tensor) -> Tensor:
        """tr Cov(x_0 | x) of each state, x (batch, *shape) to (batch,), float64. Source: ID 21.

        >>> data = empirical_distribution(torch.tensor([[-1.0], [1.0]]))
        >>> data.spread(torch.zeros(1, 1), torch.ones(1)).tolist()
        [1.0]
        """
        points, parts = self.points.flatten(1).double(), []
        centred = points - points.mean(dim=0)
        for part, level in self._parts(x, sigma):
            share = torch.softmax(self._exponent(part, level, slice(None)), dim=1)
            parts.append(share @ centred.square().sum(dim=1) - (share @ centred).square().sum(dim=1))
        return torch.cat(parts).clamp(min=0.0)

    def sample(self, count: int, generator: torch.Generator, condition: int | None = None) -> tuple[Tensor, Tensor]:
        """`count` points drawn with replacement from a class, or from all, and their classes (count,) int64.

        Raises InputError for fewer than one sample or an unknown class.

        >>> data = empirical_distribution(torch.tensor([[-1.0], [1.0]]))
        >>> data.sample(3, torch.Generator().manual_seed(0), condition=1)[0].flatten().tolist()
        [1.0, 1.0, 1.0]
        """
        count = whole_number("count", count, least=1)
        chosen = slice(0, len(self.points)) if condition is None else self._points_of(condition)
        if self.log_weights is None:
            index = torch.randint(chosen.start, chosen.stop, (count,), generator=generator)
        else:
            weights = self.log_weights[chosen].exp()
            index = chosen.start + torch.multinomial(weights, count, replacement=True, generator=generator)
        return self.points[index], torch.bucketize(index, torch.tensor(self.bounds[1:]), right=True)

    def sample_noised(
        self, count: int, sigma: float, generator: torch.Generator, condition: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """`sample` followed by noise of level `sigma`: x_0 + sigma eps (count, *shape), and the classes (count,)."""
        clean, classes = self.sample(count, generator, condition)
        return clean + sigma * torch.randn(clean.shape, dtype=self.dtype, generator=generator), classes

    def _points_of(self, k: int) -> slice:
        if not 0 <= k < len(self.classes):
            raise InputError("condition", k, f"a class between 0 and {len(self.classes) - 1}")
        return slice(self.bounds[k], self.bounds[k + 1])

    def _denoised(self, x: Tensor, sigma: Tensor, chosen: slice) -> Tensor:
        points = self.points[chosen].flatten(1)
        parts = []
        for part, level in self._parts(x, sigma):
            # Once normalised, the shares need no more digits than the points have.
            share = torch.softmax(self._exponent(part, level, chosen), dim=1).to(self.dtype)
            parts.append(share @ points)
        return torch.cat(parts).reshape(x.shape)

    def _exponent(self, x: Tensor, sigma: Tensor, chosen: slice) -> Tensor:
        """log w_n - |x - x_n|^2 / (2 sigma^2), (batch, points), float64."""
        points, states = self.points[chosen].flatten(1).double(), x.flatten(1).double()
        if self.points.numel() <= _FEW:
            half_squares = (states[:, None] - points).square_().sum(dim=2).mul_(-0.5)
        else:
            norms = -0.5 * (states.square().sum(dim=1, keepdim=True) + points.square().sum(dim=1))
            half_squares = norms.addmm_(states, points.T)
        exponent = half_squares.div_(sigma.double()[:, None] ** 2)
        weight = -math.log(len(self.points)) if self.log_weights is None else self.log_weights[chosen]
        return exponent.add_(weight)

    def _parts(self, x: Tensor, sigma: Tensor) -> list[tuple[Tensor, Tensor]]:
        numbers = self.points.numel()
        rows = max(1, _TABLE // (numbers if numbers <= _FEW else len(self.points)))
        return [(x[i : i + rows], sigma[i : i + rows]) for i in range(0, len(x), rows)]


def _half_spread_of_classes(mixture: GaussianMixture, x: Tensor, sigma: Tensor) -> Tensor:
    """(snr / 2) sum_z p(z | x) |D_z - D|^2 for components of width zero."""
    apart = replace(mixture, component_classes=torch.arange(len(mixture.means)))
    share = apart.posterior(x, sigma).exp()
    mean, total = share @ mixture.means, torch.zeros_like(sigma)
    if len(mixture.classes) == len(mixture.means):
        squares = torch.cdist(mean, mixture.means, compute_mode="donot_use_mm_for_euclid_dist").square_()
        return 0.5 * (share * squares).sum(dim=1) / sigma**2
    for k in range(len(mixture.classes)):
        members = mixture.component_classes == k
        weight = share[:, members].sum(dim=1)
        # weight (D_z - D); a class of probability zero contributes nothing.
        moved = share[:, members] @ mixture.means[members] - weight[:, None] * mean
        total += moved.square().sum(dim=1) / weight.clamp(min=1e-300)
    return 0.5 * total / sigma**2


def empirical_distribution(
    points: Tensor,
    labels: Tensor | None = None,
    weights: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    name: str = "empirical distribution",
) -> EmpiricalDistribution:
    """The law of labelled points: `points` (N, *shape) float32 or float64, `labels` (N,) int64 from 0 to K-1.

    Without labels every point is a class of its own. `weights` (N,) are probabilities of the points, equal by default;
    `classes` names the K classes, by default "0" to "K-1". Raises InputError where shapes disagree, a number is not
    finite, the points are not float32 or float64, weights are no probabilities, there are fewer than two classes, or a
    class has no point.

    >>> empirical_distribution(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 1, 1])).weights
    (0.25, 0.75)
    >>> empirical_distribution(torch.tensor([[-1.0], [1.0]]), weights=[0.25, 0.75]).weights
    (0.25, 0.75)
    """
    if points.ndim < 2 or points.dtype not in (torch.float32, torch.float64) or not bool(torch.isfinite(points).all()):
        expected = "finite float32 or float64 numbers of shape (points, *shape)"
        raise InputError("points", f"{points.dtype} of shape {tuple(points.shape)}", expected)
    labels = torch.arange(len(points)) if labels is None else labels
    if labels.shape != points.shape[:1]:
        raise InputError("labels", f"of shape {tuple(labels.shape)}", f"one label for each of {len(points)} points")
    count = int(labels.max()) + 1 if classes is None else len(classes)
    names = tuple(str(k) for k in range(count)) if classes is None else tuple(classes)
    if count < 2 or set(labels.tolist()) != set(range(count)):
        raise InputError("labels", sorted(set(labels.tolist())), f"each of 0 to {max(count, 2) - 1} at least once")
    order = torch.argsort(labels, stable=True)
    log_weights = None
    if weights is not None:
        shares = probabilities("weights", weights)
        if len(shares) != len(points):
            raise InputError("weights", weights, f"one for each of {len(points)} points")
        log_weights = torch.from_numpy(np.log(shares))[order]
    bounds = (0, *torch.cumsum(torch.bincount(labels, minlength=count), dim=0).tolist())
    return EmpiricalDistribution(points[order].contiguous(), log_weights, bounds, names, name)
