"""Quadrature: one set of rules, and the means over noised states of a Gaussian mixture that are the truth of the book.

A rule is nodes (n, dimension) and weights (n,) that sum to one, float64 numpy: expectations of a standard normal become
sums. The means here are computed in the variance-exploding frame at sigma = exp(-log_snr / 2), in nats.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from companion.arguments import finite_levels
from companion.errors import InputError
from companion.forward import noise_of

if TYPE_CHECKING:  # a mixture's own entropy is one of these means
    from companion.exact.mixtures import GaussianMixture

__all__ = ["FARTHEST", "STEP", "mean_over_states", "normal_rule", "radial_rule", "radius_rule", "space_rule"]

Array = NDArray[np.float64]

FARTHEST = 9.0  # deviations, beyond which a Gaussian is negligible, 1e-18
_FARTHEST_IN_SPACE = 7.5  # 4e-12 of the mass in three dimensions lies beyond

# Between two classes of the same width the posterior has a pole pi / sqrt(kappa) deviations off the real line and the
# overlap is weighted by exp(-kappa/8): a step of 0.12 deviations leaves at most
# exp(-2 pi^2 / (0.12 sqrt(kappa)) - kappa/8) < 1e-12, whatever kappa.
STEP = 0.12
_MOST_NODES = 2**22
_ROWS = 2**14  # states in one call of the mixture: few calls, and all of them in the processor's cache
_MANY = 16  # components on a line of which more share one grid of states; fewer have a grid each

# In three dimensions that step is too dear for every mixture, and most need far less: there the step shrinks until the
# integral stays. Convergence is exponential in 1/step, so a step that changes the integral by 1e-6 and a next one that
# changes it by 1e-9 leave less than that: 1e-11 on random mixtures.
_COARSEST_STEP = 0.5
_SETTLING, _SETTLED = 1e-6, 1e-9


def normal_rule(intervals: int, dimension: int = 1) -> tuple[Array, Array]:
    """The trapezoidal rule in one or two dimensions, `intervals` steps over 2 * 9 deviations along each axis.

    >>> nodes, weights = normal_rule(150)
    >>> round(float(weights @ nodes[:, 0] ** 4), 12)
    3.0
    """
    u = np.linspace(-FARTHEST, FARTHEST, intervals + 1)
    share = _normalised(-0.5 * u**2)
    if dimension == 1:
        return u[:, None], share
    return np.stack(np.meshgrid(u, u, indexing="ij"), axis=-1).reshape(-1, 2), np.outer(share, share).ravel()


@lru_cache(maxsize=4)
def space_rule(step: float) -> tuple[Array, Array]:
    """The trapezoidal rule in three dimensions, on a cubic grid inside a ball of 7.5 deviations.

    >>> nodes, weights = space_rule(0.5)
    >>> round(float(weights @ nodes[:, 0] ** 2), 9)
    1.0
    """
    reach = math.floor(_FARTHEST_IN_SPACE / step)
    u = step * np.arange(-reach, reach + 1.0)
    nodes = np.stack(np.meshgrid(u, u, u, indexing="ij"), axis=-1).reshape(-1, 3)
    square = (nodes**2).sum(axis=1)
    inside = square <= _FARTHEST_IN_SPACE**2
    return nodes[inside], _normalised(-0.5 * square[inside])


def radius_rule(dimension: int, intervals: int) -> tuple[Array, Array]:
    """A rule (n,) for functions of the length of a standard normal vector in `dimension` dimensions, two or more.

    The length has the density r^(d-1) e^(-r^2/2) up to a constant. Its range may end at 0, where only Gauss's rule is
    accurate.

    >>> radius, weights = radius_rule(9, 100)
    >>> round(float(weights @ radius**2), 9)
    9.0
    """
    typical = math.sqrt(dimension)
    first, last = max(0.0, typical - FARTHEST), typical + FARTHEST
    nodes, gauss = np.polynomial.legendre.leggauss(intervals)
    radius = first + 0.5 * (last - first) * (nodes + 1.0)
    # What is taken from the exponent keeps its digits in a million dimensions.
    exponent = (dimension - 1) * np.log(radius / typical) - 0.5 * (radius**2 - typical**2)
    return radius, _normalised(np.log(gauss) + exponent)


@lru_cache(maxsize=8)
def radial_rule(intervals: int, dimension: int) -> tuple[Array, Array]:
    """A rule in `dimension` dimensions, three or more, for functions of x_1 and of |x_2, ..., x_d|.

    The radius of the other d - 1 coordinates is laid along the second axis.

    >>> nodes, weights = radial_rule(150, 10)
    >>> round(float(weights @ (nodes**2).sum(axis=1)), 9)
    10.0
    """
    (line, line_share), (radius, radius_share) = normal_rule(intervals), radius_rule(dimension - 1, intervals)
    units = np.zeros((len(line), len(radius), dimension))
    units[:, :, 0], units[:, :, 1] = line, radius
    return units.reshape(-1, dimension), np.outer(line_share, radius_share).ravel()


def _normalised(exponents: Array) -> Array:
    shares = np.exp(exponents - exponents.max())
    result: Array = shares / shares.sum()
    return result


Integrand = Callable[["GaussianMixture", Tensor, Tensor], Tensor]


def mean_over_states(mixture: "GaussianMixture", log_snr: ArrayLike, integrand: Integrand) -> Array:
    """E f(x_t) over the noised states of a mixture at each log-snr, to about 1e-10.

    `integrand` takes the mixture, or one with the same classes in fewer dimensions, states (batch, d) and sigma
    (batch,) to (batch,); it must not change when states and means are moved or turned. Cheap in dimension 1 (a
    millisecond a level), 2 (a tenth of a second) or 3 (seconds); for isotropic components of one deviation whose means
    span a line, a plane or a space, in any dimension; for two isotropic components of different deviations, in any
    dimension. Raises InputError for other mixtures, for a log-snr farther than 200 from zero, and where deviations
    differ so much, or classes in space are so sharp, that the grid would grow beyond four million nodes.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> float(mean_over_states(pair, 0.0, lambda mixture, x, sigma: mixture.posterior(x, sigma).exp()[:, 0]).round(9))
    0.5
    """
    levels = finite_levels(log_snr)
    if levels.size == 0:
        return levels
    reduced = _reduced(mixture)
    sigma = torch.from_numpy(noise_of(levels).ravel())
    if reduced.shape == (3,) and not _has_an_axis(reduced):
        return np.array([_in_space(reduced, at, integrand) for at in sigma]).reshape(levels.shape)
    if reduced.shape == (1,) and len(reduced.means) > _MANY and bool((_ratio_of_widths(reduced, sigma) == 1.0).all()):
        return np.array([_on_a_line(reduced, at, integrand) for at in sigma]).reshape(levels.shape)
    intervals = _intervals(reduced, sigma)
    values = torch.empty_like(sigma)
    for count in sorted(set(intervals.tolist())):
        units, shares = map(torch.from_numpy, _rule(reduced, count))
        alike, at_once = torch.nonzero(intervals == count)[:, 0], max(1, _ROWS // len(units))
        for rows in torch.split(alike, at_once):
            values[rows] = _average(reduced, sigma[rows], units, shares, integrand)
    return values.numpy().reshape(levels.shape)


def _reduced(mixture: "GaussianMixture") -> "GaussianMixture":
    """The same classes in fewer dimensions: isotropic noise orthogonal to all means carries nothing if all share it."""
    shared = mixture.axes is None and bool((mixture.deviations == mixture.deviations[0]).all())
    if mixture.shape == (1,) or not shared:
        return mixture
    centred = mixture.means - mixture.means[:1]
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    rank = max(1, int((sizes > 1e-12 * sizes[0]).sum()))
    return replace(mixture, means=centred @ directions[:rank].T)


def _on_a_line(mixture: "GaussianMixture", sigma: Tensor, integrand: Integrand) -> float:
    """int p(x) f(x) dx over the parts of a line that are within nine deviations of one of many means."""
    width = float(torch.hypot(mixture.deviations[0].reshape(()), sigma))
    places = mixture.means[:, 0].sort().values
    breaks = 1 + torch.nonzero(places.diff() > 2.0 * FARTHEST * width)[:, 0]
    total = 0.0
    for part in torch.tensor_split(places, breaks.tolist()):
        count = math.ceil(float(part[-1] - part[0]) / (STEP * width) + 2.0 * FARTHEST / STEP) + 1
        states = part[0] + width * (STEP * torch.arange(count, dtype=torch.float64) - FARTHEST)
        for x in torch.split(states[:, None], _ROWS):
            at = sigma.expand(len(x))
            total += STEP * width * float(mixture.log_density(x, at).exp() @ integrand(mixture, x, at))
    return total


def _intervals(mixture: "GaussianMixture", sigma: Tensor) -> Tensor:
    """How many steps to take over 2 * 9 deviations at each sigma."""
    ratio = _ratio_of_widths(mixture, sigma)
    count = torch.ceil(2.0 * FARTHEST * ratio / STEP).to(torch.int64)
    if int(count.max()) ** min(2, mixture.shape[0]) > _MOST_NODES:
        raise InputError("mixture", f"of deviations {float(ratio.max()):.3g} times apart", "deviations less far apart")
    return count


def _ratio_of_widths(mixture: "GaussianMixture", sigma: Tensor) -> Tensor:
    """Widest over narrowest: seen from a wide component, what a narrow one does to the posterior is narrower still."""
    width = torch.sqrt(mixture.deviations.reshape(-1) ** 2 + sigma[:, None] ** 2)
    return width.amax(dim=1) / width.amin(dim=1)


def _has_an_axis(mixture: "GaussianMixture") -> bool:
    """Whether everything depends on the position along one line and the distance from it."""
    return mixture.axes is None and len(mixture.means) == 2


def _in_space(mixture: "GaussianMixture", sigma: Tensor, integrand: Integrand) -> float:
    """sum_c w_c E_c f(x) in three dimensions, on ever finer grids."""
    step = _COARSEST_STEP * min(1.0, 2.0 / float(_ratio_of_widths(mixture, sigma[None])))
    values: list[float] = []
    changes = [math.inf]
    while changes[-1] > _SETTLED or changes[-2] > _SETTLING:
        if 4.0 / 3.0 * math.pi * (_FARTHEST_IN_SPACE / step) ** 3 > _MOST_NODES:
            given = f"too sharp at sigma = {float(sigma):.3g} for a grid of {_MOST_NODES} nodes"
            raise InputError("mixture", given, "wider classes, of widths less far apart, or more noise")
        units, shares = map(torch.from_numpy, space_rule(step))
        chunks = zip(torch.split(units, _ROWS), torch.split(shares, _ROWS), strict=True)
        values.append(sum(float(_average(mixture, sigma[None], *chunk, integrand)) for chunk in chunks))
        changes.append(abs(values[-1] - values[-2]) if len(values) > 1 else math.inf)
        step /= math.sqrt(2.0)
    return values[-1]


def _rule(mixture: "GaussianMixture", intervals: int) -> tuple[Array, Array]:
    """The rule for what the mixture asks of a standard normal."""
    (dimension,) = mixture.shape
    if dimension <= 2:
        return normal_rule(intervals, dimension)
    if _has_an_axis(mixture):
        return radial_rule(intervals, dimension)
    given = f"of {len(mixture.means)} components in dimension {dimension}"
    raise InputError("mixture", given, "one that quadrature can handle")


def _average(mixture: "GaussianMixture", sigma: Tensor, units: Tensor, shares: Tensor, integrand: Integrand) -> Tensor:
    """sum_c w_c E_c f(x) at each sigma, each expectation on a grid in the component's own standard units."""
    if mixture.shape[0] > 2 and _has_an_axis(mixture):
        mixture = _aligned(mixture)
    at = sigma.repeat_interleave(len(units))
    total = torch.zeros_like(sigma)
    for c, weight in enumerate(mixture.component_weights.tolist()):
        width = torch.sqrt(mixture.deviations[c] ** 2 + sigma[:, None, None] ** 2)
        offset = (units * width).reshape(len(at), -1)
        if mixture.axes is not None:
            offset = offset @ mixture.axes[c].T
        total += weight * (integrand(mixture, mixture.means[c] + offset, at).reshape(len(sigma), -1) @ shares)
    return total


def _aligned(mixture: "GaussianMixture") -> "GaussianMixture":
    """Two isotropic components turned so that the first axis joins their means."""
    means = torch.zeros_like(mixture.means)
    means[1, 0] = torch.linalg.vector_norm(mixture.means[1] - mixture.means[0])
    return replace(mixture, means=means)
