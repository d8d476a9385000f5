"""Exact class entropies of Gaussian mixtures by quadrature: the truth that every estimate is compared with.

Class entropy is a function of the log-snr alone; a process is a clock on it. So everything
here is computed in the variance-exploding frame at sigma = exp(-log_snr / 2), and `production_in_time` converts.
Arrays of log-snr are float64 numpy of any shape; entropies are in nats.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from torch import Tensor

from companion.arguments import finite_levels, numbers, whole_number
from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture
from companion.exact.quadrature_nodes import (
    FARTHEST,
    FARTHEST_IN_SPACE,
    plane_rule,
    radial_rule,
    space_rule,
)
from companion.forward import Process, noise_of

__all__ = [
    "density",
    "exact_entropy",
    "exact_half_level",
    "exact_production",
    "monte_carlo_entropy",
    "production_in_time",
]

Array = NDArray[np.float64]

# Between two classes of the same width the posterior has a pole pi / sqrt(kappa) deviations off the real line and the
# overlap is weighted by exp(-kappa/8): a step of 0.12 deviations leaves at most
# exp(-2 pi^2 / (0.12 sqrt(kappa)) - kappa/8) < 1e-12, whatever kappa.
_STEP = 0.12
_MOST_NODES = 2**22
_ROWS = 2**14  # states in one call of the mixture: few calls, and all of them in the processor's cache

# In three dimensions that step is too dear for every mixture, and most need far less: there the step shrinks until the
# integral stays. Convergence is exponential in 1/step, so a step that changes the integral by 1e-6 and a next one that
# changes it by 1e-9 leave less than that: 1e-11 on random mixtures.
_COARSEST_STEP = 0.5
_SETTLING, _SETTLED = 1e-6, 1e-9


def exact_entropy(mixture: GaussianMixture, log_snr: ArrayLike) -> Array:
    """The class entropy H(Z | X_t) of a mixture at each log-snr, in nats, to about 1e-10.

        H = - sum_i pi_i E_i log p(i | x)

    By quadrature where it is cheap: dimension 1 (a millisecond a level), 2 (a tenth of a second) or 3 (seconds);
    isotropic components of one common deviation whose means span a line, a plane or a space, in any dimension; two
    isotropic components of different deviations, in any dimension. For a partition pass `mixture.regroup(...)`. Raises
    InputError for other mixtures, for a log-snr farther than 200 from zero, and where deviations differ so much, or
    classes in space are so sharp, that the grid would grow beyond four million nodes. Source: ES 7.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)       # kappa = 4 at sigma = 1
    >>> float(exact_entropy(pair, 0.0).round(10))
    0.3563163602
    """
    return _over_levels(mixture, log_snr, lambda m, x, sigma: _entropy_of(m.posterior(x, sigma)))


def exact_production(mixture: GaussianMixture, log_snr: ArrayLike) -> Array:
    """The class entropy lost per unit of log-snr, -dH/dlambda >= 0, at each log-snr, in nats.

        -dH/dlambda = (snr / 2) sum_i pi_i E_i | D_i - D |^2

    Arguments, accuracy and errors are those of `exact_entropy`. Source: ES 33, with the snr as
    the time.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)       # -dH/dlambda = kappa * -dH/dkappa for two points
    >>> float(exact_production(pair, 0.0).round(10))
    0.2247997546
    """
    return _over_levels(mixture, log_snr, _production_of)


def exact_half_level(mixture: GaussianMixture) -> float:
    """The log-snr at which half of the class entropy is left: H(Z | X_t) = H(Z) / 2.

    For two equally probable classes of one width it lies where kappa = 4.17605. Raises InputError where classes overlap
    so much that more than half of H(Z) is never resolved, and as `exact_entropy` does.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> round(exact_half_level(isotropic_mixture([[-1.0], [1.0]], 0.0)), 5)      # log(4.17605 / 4)
    0.04307
    """
    half = -0.5 * sum(weight * math.log(weight) for weight in mixture.weights)
    first, last = -20.0, 20.0
    while exact_entropy(mixture, first) < half:
        first -= 20.0
    while exact_entropy(mixture, last) > half:
        last += 20.0
        if last > 60.0:
            raise InputError(
                "mixture", "of overlapping classes", "one whose clean classes leave less than half of H(Z)"
            )
    return float(brentq(lambda level: float(exact_entropy(mixture, level)) - half, first, last, xtol=1e-10))


def production_in_time(mixture: GaussianMixture, process: Process, t: ArrayLike) -> Array:
    """The class entropy produced per unit of a process's own time, dH/dt, in nats; t of any shape.

        dH/dt = (g^2 / 2) sum_i pi_i E_i | s_i - s |^2 = -(dH/dlambda) g^2 / sigma^2

    The same curve for every process, read on its clock. Raises InputError for times outside the process or at which
    the log-snr is infinite, and as `exact_entropy` does. Source: ES 33.

    >>> from companion.forward import variance_exploding
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> float(production_in_time(pair, variance_exploding(), 1.0).round(10))     # |dlambda/dt| = 2/t
    0.4495995092
    """
    times = process.check_time(t)
    levels = process.log_snr(times)
    if not np.all(np.isfinite(levels)):
        raise InputError("t", t, "times of finite log-snr")
    rate = process.diffusion(times) / process.sigma(times) ** 2
    return exact_production(mixture, levels) * rate


def density(mixture: GaussianMixture, process: Process, t: ArrayLike, x: ArrayLike) -> Array:
    """The density p_t(x) of a one-dimensional mixture in a process's own frame; t and x broadcast.

        p_t(x) = sum_c w_c N(x; alpha mu_c, alpha^2 s_c^2 + sigma^2)

    Raises InputError for a mixture of another dimension, times outside the process, or a point without noise.
    Source: ES 6, 12.

    >>> from companion.forward import rectified_flow
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> float(density(pair, rectified_flow(), 1.0, 0.0).round(9))                # nothing but noise is left
    0.39894228
    """
    if mixture.shape != (1,):
        raise InputError("mixture", f"of shape {mixture.shape}", "a one-dimensional mixture")
    times, positions = np.broadcast_arrays(process.check_time(t), numbers("x", x, "finite numbers", np.isfinite))
    alpha, sigma = process.alpha(times)[..., None], process.sigma(times)[..., None]
    centre = alpha * mixture.means[:, 0].numpy()
    width = np.sqrt((alpha * mixture.deviations.reshape(-1).numpy()) ** 2 + sigma**2)
    if not np.all(width > 0.0):
        raise InputError("t", t, "times with noise, since the mixture has points")
    bells = np.exp(-0.5 * ((positions[..., None] - centre) / width) ** 2) / (width * math.sqrt(2.0 * math.pi))
    result: Array = bells @ mixture.component_weights.numpy()
    return result


class _KnowsItsPosterior(Protocol):
    def posterior(self, x: Tensor, sigma: Tensor) -> Tensor: ...

    def sample_noised(self, count: int, sigma: float, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


def monte_carlo_entropy(
    model: _KnowsItsPosterior, log_snr: ArrayLike, count: int, generator: torch.Generator
) -> tuple[Array, Array]:
    """The class entropy of a mixture or a finite data set from `count` fresh noised samples a level, and its error.

        H = mean over samples of the posterior's entropy

    An independent estimate without bias: (entropy, standard error), both of the shape of `log_snr`, in nats. Raises
    InputError for fewer than two samples or a log-snr farther than 200 from zero.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> entropy, error = monte_carlo_entropy(pair, 0.0, 1000, torch.Generator().manual_seed(0))
    >>> bool(abs(entropy - exact_entropy(pair, 0.0)) < 4.0 * error)
    True
    """
    count = whole_number("count", count, least=2)
    levels = finite_levels(log_snr)
    moments = []
    for sigma in noise_of(levels).ravel().tolist():
        x, _ = model.sample_noised(count, sigma, generator)
        entropies = _entropy_of(model.posterior(x, torch.full((count,), sigma, dtype=x.dtype)))
        moments.append((float(entropies.mean()), float(entropies.std()) / math.sqrt(count)))
    mean, error = np.array(moments).T.reshape(2, *levels.shape)
    return mean, error


Integrand = Callable[[GaussianMixture, Tensor, Tensor], Tensor]


def _entropy_of(log_posterior: Tensor) -> Tensor:
    # A class of probability zero has log-probability -inf and contributes nothing.
    return -(log_posterior.exp() * log_posterior.clamp(min=-1e4)).sum(dim=1)


def _production_of(mixture: GaussianMixture, x: Tensor, sigma: Tensor) -> Tensor:
    """(snr / 2) sum_z p(z | x) |D_z - D|^2, in nats, so that one tolerance serves every level."""
    posterior = mixture.posterior(x, sigma).exp()
    classes = range(posterior.shape[1])
    predictions = torch.stack([mixture(x, sigma, torch.full((len(x),), k)) for k in classes], dim=1)
    mean = (posterior[:, :, None] * predictions).sum(dim=1, keepdim=True)
    return 0.5 * (posterior * (predictions - mean).square().sum(dim=2)).sum(dim=1) / sigma**2


def _over_levels(mixture: GaussianMixture, log_snr: ArrayLike, integrand: Integrand) -> Array:
    levels = finite_levels(log_snr)
    if levels.size == 0:
        return levels
    reduced = _reduced(mixture)
    sigma = torch.from_numpy(noise_of(levels).ravel())
    if reduced.shape == (3,) and not _has_an_axis(reduced):
        return np.array([_in_space(reduced, at, integrand) for at in sigma]).reshape(levels.shape)
    intervals = _intervals(reduced, sigma)
    values = torch.empty_like(sigma)
    for count in sorted(set(intervals.tolist())):
        units, shares = _rule(reduced, count)
        alike, at_once = torch.nonzero(intervals == count)[:, 0], max(1, _ROWS // len(units))
        for first in range(0, len(alike), at_once):
            rows = alike[first : first + at_once]
            values[rows] = _average(reduced, sigma[rows], units, shares, integrand)
    return values.numpy().reshape(levels.shape)


def _reduced(mixture: GaussianMixture) -> GaussianMixture:
    """The same classes in fewer dimensions: isotropic noise orthogonal to all means carries nothing if all share it."""
    shared = mixture.axes is None and bool((mixture.deviations == mixture.deviations[0]).all())
    if mixture.shape == (1,) or not shared:
        return mixture
    centred = mixture.means - mixture.means[:1]
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    rank = max(1, int((sizes > 1e-12 * sizes[0]).sum()))
    return GaussianMixture(
        means=centred @ directions[:rank].T,
        deviations=mixture.deviations,
        axes=None,
        component_weights=mixture.component_weights,
        component_classes=mixture.component_classes,
    )


def _intervals(mixture: GaussianMixture, sigma: Tensor) -> Tensor:
    """How many steps to take over 2 * 9 deviations at each sigma."""
    ratio = _ratio_of_widths(mixture, sigma)
    count = torch.ceil(2.0 * FARTHEST * ratio / _STEP).to(torch.int64)
    if int(count.max()) ** min(2, mixture.shape[0]) > _MOST_NODES:
        raise InputError("mixture", f"of deviations {float(ratio.max()):.3g} times apart", "deviations less far apart")
    return count


def _ratio_of_widths(mixture: GaussianMixture, sigma: Tensor) -> Tensor:
    """Widest over narrowest: seen from a wide component, what a narrow one does to the posterior is narrower still."""
    width = torch.sqrt(mixture.deviations.reshape(-1) ** 2 + sigma[:, None] ** 2)
    return width.amax(dim=1) / width.amin(dim=1)


def _has_an_axis(mixture: GaussianMixture) -> bool:
    """Whether everything depends on the position along one line and the distance from it."""
    return mixture.axes is None and len(mixture.means) == 2


def _in_space(mixture: GaussianMixture, sigma: Tensor, integrand: Integrand) -> float:
    """sum_c w_c E_c f(x) in three dimensions, on ever finer grids."""
    step = _COARSEST_STEP * min(1.0, 2.0 / float(_ratio_of_widths(mixture, sigma[None])))
    values: list[float] = []
    changes = [math.inf]
    while changes[-1] > _SETTLED or changes[-2] > _SETTLING:
        if 4.0 / 3.0 * math.pi * (FARTHEST_IN_SPACE / step) ** 3 > _MOST_NODES:
            given = f"too sharp at sigma = {float(sigma):.3g} for a grid of {_MOST_NODES} nodes"
            raise InputError("mixture", given, "wider classes, of widths less far apart, or more noise")
        units, shares = space_rule(step)
        chunks = zip(torch.split(units, _ROWS), torch.split(shares, _ROWS), strict=True)
        values.append(sum(float(_average(mixture, sigma[None], *chunk, integrand)) for chunk in chunks))
        changes.append(abs(values[-1] - values[-2]) if len(values) > 1 else math.inf)
        step /= math.sqrt(2.0)
    return values[-1]


def _rule(mixture: GaussianMixture, intervals: int) -> tuple[Tensor, Tensor]:
    """Nodes (n, d) and weights (n,) for what the mixture asks of a standard normal."""
    (dimension,) = mixture.shape
    if dimension <= 2:
        return plane_rule(intervals, dimension)
    if _has_an_axis(mixture):
        return radial_rule(intervals, dimension)
    given = f"of {len(mixture.means)} components in dimension {dimension}"
    raise InputError("mixture", given, "one that quadrature can handle")


def _average(mixture: GaussianMixture, sigma: Tensor, units: Tensor, shares: Tensor, integrand: Integrand) -> Tensor:
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


def _aligned(mixture: GaussianMixture) -> GaussianMixture:
    """Two isotropic components turned so that the first axis joins their means."""
    means = torch.zeros_like(mixture.means)
    means[1, 0] = torch.linalg.vector_norm(mixture.means[1] - mixture.means[0])
    return GaussianMixture(means, mixture.deviations, None, mixture.component_weights, mixture.component_classes)
