"""Quadrature: one set of rules, and the means over noised states of a Gaussian mixture that are the truth of the book.

A rule is nodes (n, dimension) and weights (n,) that sum to one, float64 numpy: expectations of a standard normal become
sums. The means are taken in the variance-exploding frame at sigma = exp(-log_snr / 2).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import softmax
from torch import Tensor

from companion.arguments import Array, finite_levels
from companion.errors import InputError
from companion.forward import noise_of

if TYPE_CHECKING:  # a mixture's own entropy is one of these means
    from companion.exact.mixtures import GaussianMixture

__all__ = ["mean_over_states", "normal_rule", "radius_rule"]

_FARTHEST = 9.0  # deviations, beyond which a Gaussian is negligible, 1e-18
_FARTHEST_IN_SPACE = 7.5  # 4e-12 of the mass in three dimensions lies beyond

# Between two classes of the same width the posterior has a pole pi / sqrt(kappa) deviations off the real line and the
# overlap is weighted by exp(-kappa/8): a step of 0.12 deviations leaves at most
# exp(-2 pi^2 / (0.12 sqrt(kappa)) - kappa/8) < 1e-12, whatever kappa.
_STEP = 0.12
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
    return _normal(np.linspace(-_FARTHEST, _FARTHEST, intervals + 1), dimension)


@lru_cache(maxsize=4)
def space_rule(step: float) -> tuple[Array, Array]:
    """The trapezoidal rule in three dimensions, on a cubic grid inside a ball of 7.5 deviations."""
    reach = math.floor(_FARTHEST_IN_SPACE / step)
    return _normal(step * np.arange(-reach, reach + 1.0), 3, _FARTHEST_IN_SPACE)


def radius_rule(dimension: int, intervals: int) -> tuple[Array, Array]:
    """A rule (n,) for functions of the length r of a standard normal vector in `dimension` dimensions, two or more.

    Its density is r^(d-1) e^(-r^2/2) up to a constant. Its range may end at 0, where only Gauss's rule is accurate.

    >>> radius, weights = radius_rule(9, 100)
    >>> round(float(weights @ radius**2), 9)
    9.0
    """
    typical = math.sqrt(dimension)
    first, last = max(0.0, typical - _FARTHEST), typical + _FARTHEST
    nodes, gauss = np.polynomial.legendre.leggauss(intervals)
    radius = first + 0.5 * (last - first) * (nodes + 1.0)
    # What is taken from the exponent keeps its digits in a million dimensions.
    exponent = (dimension - 1) * np.log(radius / typical) - 0.5 * (radius**2 - typical**2)
    return radius, softmax(np.log(gauss) + exponent)


@lru_cache(maxsize=8)
def radial_rule(intervals: int, dimension: int) -> tuple[Array, Array]:
    """A rule in `dimension` dimensions, three or more, for functions of x_1 and of |x_2, ..., x_d|, laid along x_2."""
    (line, line_share), (radius, radius_share) = normal_rule(intervals), radius_rule(dimension - 1, intervals)
    units = np.zeros((len(line), len(radius), dimension))
    units[:, :, 0], units[:, :, 1] = line, radius
    return units.reshape(-1, dimension), np.outer(line_share, radius_share).ravel()


def _normal(u: Array, dimension: int, farthest: float = math.inf) -> tuple[Array, Array]:
    """The grid of places `u` along each axis, as far as `farthest` from the origin, with the weights of a normal."""
    nodes = np.stack(np.meshgrid(*[u] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    square = (nodes**2).sum(axis=1)
    inside = square <= farthest**2
    return nodes[inside], softmax(-0.5 * square[inside])


Integrand = Callable[["GaussianMixture", Tensor, Tensor], Tensor]


def mean_over_states(mixture: "GaussianMixture", log_snr: ArrayLike, integrand: Integrand) -> Array:
    """E f(x_t) over the noised states of a mixture at each log-snr, to about 1e-10.

    `integrand` takes the mixture, or one with the same classes in fewer dimensions, states (batch, d) and sigma
    (batch,) to (batch,); it must not change when states and means are moved or turned. For dimension 1 (a
    millisecond a level), 2 (a tenth of a second) or 3 (seconds); in any dimension for isotropic components of one
    deviation whose means span a line, a plane or a space, and for two isotropic components. Raises InputError for other
    mixtures, for a log-snr farther than 200 from zero, and where deviations differ so much, or classes in space are so
    sharp, that the grid would grow beyond four million nodes.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> first = lambda mixture, x, sigma: mixture.posterior(x, sigma).exp()[:, 0]
    >>> float(mean_over_states(isotropic_mixture([[-1.0], [1.0]], 0.0), 0.0, first).round(9))
    0.5
    """
    levels = finite_levels(log_snr)
    if levels.size == 0:
        return levels
    reduced = _reduced(mixture)
    dimension, count = reduced.shape[0], len(reduced.means)
    sigma = torch.from_numpy(noise_of(levels).ravel())
    radial = dimension > 2 and count == 2 and reduced.axes is None
    if dimension > 3 and not radial:
        raise InputError("mixture", f"of {count} components in dimension {dimension}", "one that quadrature can handle")
    if dimension == 3 and not radial:
        return np.array([_in_space(reduced, at, integrand) for at in sigma]).reshape(levels.shape)
    if dimension == 1 and count > _MANY and reduced.alike:
        return np.array([_on_a_line(reduced, at, integrand) for at in sigma]).reshape(levels.shape)
    ratio = _ratio_of_widths(reduced, sigma)
    intervals = torch.ceil(2.0 * _FARTHEST * ratio / _STEP).to(torch.int64)
    if int(intervals.max()) ** min(2, dimension) > _MOST_NODES:
        raise InputError("mixture", f"of deviations {float(ratio.max()):.3g} times apart", "deviations less far apart")
    values = torch.empty_like(sigma)
    for steps in sorted(set(intervals.tolist())):
        units, shares = map(torch.from_numpy, (radial_rule if radial else normal_rule)(steps, dimension))
        for rows in torch.split(torch.nonzero(intervals == steps)[:, 0], max(1, _ROWS // len(units))):
            values[rows] = _average(reduced, sigma[rows], units, shares, integrand)
    return values.numpy().reshape(levels.shape)


def _reduced(mixture: "GaussianMixture") -> "GaussianMixture":
    """The same classes along few axes: isotropic noise orthogonal to all means carries nothing if all share it."""
    centred = mixture.means - mixture.means[:1]
    if mixture.shape != (1,) and mixture.alike:
        _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
        rank = max(1, int((sizes > 1e-12 * sizes[0]).sum()))
        return replace(mixture, means=centred @ directions[:rank].T)
    if mixture.shape[0] > 2 and mixture.axes is None and len(centred) == 2:
        means = torch.zeros_like(centred)  # turned: only the place along the line of the means and the distance matter
        means[1, 0] = torch.linalg.vector_norm(centred[1])
        return replace(mixture, means=means)
    return mixture


def _on_a_line(mixture: "GaussianMixture", sigma: Tensor, integrand: Integrand) -> float:
    """int p(x) f(x) dx over the parts of a line that are within nine deviations of one of many means."""
    width = float(torch.hypot(mixture.deviations[0], sigma))
    places = mixture.means[:, 0].sort().values
    breaks = 1 + torch.nonzero(places.diff() > 2.0 * _FARTHEST * width)[:, 0]
    total = 0.0
    for part in torch.tensor_split(places, breaks.tolist()):
        count = math.ceil(float(part[-1] - part[0]) / (_STEP * width) + 2.0 * _FARTHEST / _STEP) + 1
        states = part[0] + width * (_STEP * torch.arange(count, dtype=torch.float64) - _FARTHEST)
        for x in torch.split(states[:, None], _ROWS):
            at = sigma.expand(len(x))
            total += _STEP * width * float(mixture.log_density(x, at).exp() @ integrand(mixture, x, at))
    return total


def _ratio_of_widths(mixture: "GaussianMixture", sigma: Tensor) -> Tensor:
    """Widest over narrowest: seen from a wide component, what a narrow one does to the posterior is narrower still."""
    width = torch.sqrt(mixture.deviations.reshape(-1) ** 2 + sigma[:, None] ** 2)
    return width.amax(dim=1) / width.amin(dim=1)


def _in_space(mixture: "GaussianMixture", sigma: Tensor, integrand: Integrand) -> float:
    """sum_c w_c E_c f(x) in three dimensions, on ever finer grids."""
    step = _COARSEST_STEP * min(1.0, 2.0 / float(_ratio_of_widths(mixture, sigma[None])))
    values, changes = [math.inf], [math.inf]
    while changes[-1] > _SETTLED or changes[-2] > _SETTLING:
        if 4.0 / 3.0 * math.pi * (_FARTHEST_IN_SPACE / step) ** 3 > _MOST_NODES:
            given = f"too sharp at sigma = {float(sigma):.3g} for a grid of {_MOST_NODES} nodes"
            raise InputError("mixture", given, "wider classes, of widths less far apart, or more noise")
        units, shares = map(torch.from_numpy, space_rule(step))
        chunks = zip(torch.split(units, _ROWS), torch.split(shares, _ROWS), strict=True)
        values.append(sum(float(_average(mixture, sigma[None], *chunk, integrand)) for chunk in chunks))
        changes.append(abs(values[-1] - values[-2]))
        step /= math.sqrt(2.0)
    return values[-1]


def _average(mixture: "GaussianMixture", sigma: Tensor, units: Tensor, shares: Tensor, integrand: Integrand) -> Tensor:
    """sum_c w_c E_c f(x) at each sigma, each expectation on a grid in the component's own standard units."""
    at, total = sigma.repeat_interleave(len(units)), torch.zeros_like(sigma)
    for c, weight in enumerate(mixture.component_weights.tolist()):
        width = torch.sqrt(mixture.deviations[c] ** 2 + sigma[:, None, None] ** 2)
        offset = (units * width).reshape(len(at), -1)
        if mixture.axes is not None:
            offset = offset @ mixture.axes[c].T
        total += weight * (integrand(mixture, mixture.means[c] + offset, at).reshape(len(sigma), -1) @ shares)
    return total
