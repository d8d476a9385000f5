"""A finite data set and its exact denoiser: a trained model without training and without error.

The data p_0 = (1/N) sum_n delta(x - x_n), noised, is a mixture of N equal Gaussians, so the posterior mean is the
softmax-weighted average of the points (Karras et al. 2022, appendix B.3). Its classes are the labels of the points.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from companion.denoiser import digest_of
from companion.errors import InputError

__all__ = ["FiniteData", "finite_data"]

# The largest table of batch times points held at once, in numbers of 8 bytes: half a GiB.
_TABLE = 2**26


@dataclass(frozen=True, eq=False)
class FiniteData:
    """The exact denoiser of labelled points; build it with `finite_data`.

        D_z(x, sigma) = sum_{n in z} softmax_n( (x . x_n - |x_n|^2 / 2) / sigma^2 ) x_n,

    over the points of a class, or over all of them for condition None. `points` is (N, *shape) sorted by class,
    `bounds` holds K + 1 offsets: class k is points[bounds[k] : bounds[k + 1]]. The softmax is taken in float64,
    whatever the dtype of the points, because its exponents are differences of numbers 1e6 times their size.
    Defined for every sigma > 0.

    >>> data = finite_data(torch.tensor([[-1.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]))
    >>> x, sigma = torch.zeros(2, 1), torch.ones(2)
    >>> data(x, sigma, torch.tensor([0, 1])).flatten().tolist()
    [0.0, 3.0]
    """

    points: Tensor
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
        return tuple((self.bounds[k + 1] - self.bounds[k]) / len(self.points) for k in range(len(self.classes)))

    @property
    def dtype(self) -> torch.dtype:
        return self.points.dtype

    @property
    def device(self) -> torch.device:
        return self.points.device

    @property
    def digest(self) -> str:
        return digest_of(self.points, torch.tensor(self.bounds))

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
        """log p(z | x) of every class, its weight its share of the points: x (batch, *shape) to (batch, K), float64.

            p(z | x) = sum_{n in z} softmax_n( -|x - x_n|^2 / (2 sigma^2) )

        >>> data = finite_data(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
        >>> data.posterior(torch.tensor([[0.5]]), torch.ones(1)).exp().round(decimals=6).tolist()
        [[0.268941, 0.731059]]
        """
        parts = []
        for part, level in self._parts(x, sigma, len(self.points)):
            exponent = self._exponent(part, level, slice(None))
            totals = [torch.logsumexp(exponent[:, self._points_of(k)], dim=1) for k in range(len(self.classes))]
            parts.append(torch.log_softmax(torch.stack(totals, dim=1), dim=1))
        return torch.cat(parts)

    def sample(self, count: int, generator: torch.Generator, condition: int | None = None) -> tuple[Tensor, Tensor]:
        """`count` points drawn with replacement from a class, or from all, and their classes (count,) int64.

        Raises InputError for fewer than one sample or an unknown class.

        >>> data = finite_data(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
        >>> data.sample(3, torch.Generator().manual_seed(0), condition=1)[0].flatten().tolist()
        [1.0, 1.0, 1.0]
        """
        if count < 1:
            raise InputError("count", count, "at least one sample")
        chosen = slice(0, len(self.points)) if condition is None else self._points_of(condition)
        index = torch.randint(chosen.start, chosen.stop, (count,), generator=generator)
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
        for part, level in self._parts(x, sigma, len(points)):
            # Once normalised, the shares need no more digits than the points have.
            share = torch.softmax(self._exponent(part, level, chosen), dim=1).to(self.dtype)
            parts.append(share @ points)
        return torch.cat(parts).reshape(x.shape)

    def _exponent(self, x: Tensor, sigma: Tensor, chosen: slice) -> Tensor:
        """-|x - x_n|^2 / (2 sigma^2) up to a term without n, which a softmax does not see: (batch, points), float64."""
        points = self.points[chosen].flatten(1).double()
        products = torch.addmm(-0.5 * points.square().sum(dim=1), x.flatten(1).double(), points.T)
        return products / sigma.double()[:, None] ** 2

    def _parts(self, x: Tensor, sigma: Tensor, points: int) -> list[tuple[Tensor, Tensor]]:
        rows = max(1, _TABLE // points)
        return [(x[i : i + rows], sigma[i : i + rows]) for i in range(0, len(x), rows)]


def finite_data(
    points: Tensor, labels: Tensor, classes: Sequence[str] | None = None, name: str = "finite data"
) -> FiniteData:
    """The exact model of labelled points: `points` (N, *shape) float32 or float64, `labels` (N,) int64 from 0 to K-1.

    `classes` names the K classes, by default "0" to "K-1". Raises InputError where shapes disagree, a number is not
    finite, the points are not float32 or float64, there are fewer than two classes, or a class has no point.

    >>> finite_data(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 1, 1])).weights
    (0.25, 0.75)
    """
    if points.ndim < 2 or points.dtype not in (torch.float32, torch.float64) or not bool(torch.isfinite(points).all()):
        expected = "finite float32 or float64 numbers of shape (points, *shape)"
        raise InputError("points", f"{points.dtype} of shape {tuple(points.shape)}", expected)
    if labels.shape != points.shape[:1]:
        raise InputError("labels", f"of shape {tuple(labels.shape)}", f"one label for each of {len(points)} points")
    count = int(labels.max()) + 1 if classes is None else len(classes)
    names = tuple(str(k) for k in range(count)) if classes is None else tuple(classes)
    if count < 2 or set(labels.tolist()) != set(range(count)):
        raise InputError("labels", sorted(set(labels.tolist())), f"each of 0 to {max(count, 2) - 1} at least once")
    order = torch.argsort(labels, stable=True)
    sizes = torch.bincount(labels, minlength=count)
    bounds = (0, *torch.cumsum(sizes, dim=0).tolist())
    return FiniteData(points[order].contiguous(), bounds, names, name)
