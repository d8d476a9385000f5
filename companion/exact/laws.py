"""What every law that can be written down answers, and what is read off any of them."""

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from torch import Tensor

from companion.arguments import finite_levels, whole_number
from companion.errors import InputError
from companion.forward import Process, noise_of

__all__ = ["Law", "class_entropy_of", "half_level", "monte_carlo_entropy", "production_in_time"]

Array = NDArray[np.float64]


class Law(Protocol):
    """A law p_0 of clean samples x_0 and their classes z, whose class entropy in noise is known exactly.

        entropy(log_snr)        H(Z | X_t) in nats
        production(log_snr)     -dH/dlambda >= 0 in nats per unit of log-snr
        sample(count, g)        x_0 (count, *shape), torch, and z (count,) int64

    Class entropy is a function of the log-snr alone, in the variance-exploding frame at sigma = exp(-log_snr / 2); a
    process is a clock on it. `log_snr` and what comes back are float64 numpy of any one shape; InputError is raised for
    a log-snr that is NaN or farther than 200 from zero. `weights` are the prior probabilities of the classes.
    """

    @property
    def weights(self) -> tuple[float, ...]: ...

    def entropy(self, log_snr: ArrayLike) -> Array: ...

    def production(self, log_snr: ArrayLike) -> Array: ...

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


def half_level(law: Law) -> float:
    """The log-snr at which half of the class entropy is left: H(Z | X_t) = H(Z) / 2.

    For two equally probable classes of one width it lies where kappa = 4.17605. Raises InputError where classes overlap
    so much that more than half of H(Z) is never resolved, and as the law's entropy does.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> round(half_level(isotropic_mixture([[-1.0], [1.0]], 0.0)), 5)            # log(4.17605 / 4)
    0.04307
    """
    half = -0.5 * sum(weight * math.log(weight) for weight in law.weights)
    first, last = -20.0, 20.0
    while law.entropy(first) < half:
        first -= 20.0
    while law.entropy(last) > half:
        last += 20.0
        if last > 60.0:
            raise InputError("law", "of overlapping classes", "one whose clean classes leave less than half of H(Z)")
    return float(brentq(lambda level: float(law.entropy(level)) - half, first, last, xtol=1e-10))


def production_in_time(law: Law, process: Process, t: ArrayLike) -> Array:
    """The class entropy produced per unit of a process's own time, dH/dt, in nats; t of any shape.

        dH/dt = (g^2 / 2) sum_i pi_i E_i | s_i - s |^2 = -(dH/dlambda) g^2 / sigma^2

    The same curve for every process, read on its clock. Raises InputError for times outside the process or at which
    the log-snr is infinite, and as the law's production does. Source: ES 33.

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
    return law.production(levels) * (process.diffusion(times) / process.sigma(times) ** 2)


class _KnowsItsPosterior(Protocol):
    def posterior(self, x: Tensor, sigma: Tensor) -> Tensor: ...

    def sample_noised(self, count: int, sigma: float, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


def monte_carlo_entropy(
    law: _KnowsItsPosterior, log_snr: ArrayLike, count: int, generator: torch.Generator
) -> tuple[Array, Array]:
    """The class entropy of a mixture or an empirical distribution from `count` fresh noised samples a level.

        H = mean over samples of the posterior's entropy

    An independent estimate without bias: (entropy, standard error), both of the shape of `log_snr`, in nats. Raises
    InputError for fewer than two samples or a log-snr farther than 200 from zero.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> entropy, error = monte_carlo_entropy(pair, 0.0, 1000, torch.Generator().manual_seed(0))
    >>> bool(abs(entropy - pair.entropy(0.0)) < 4.0 * error)
    True
    """
    count = whole_number("count", count, least=2)
    levels = finite_levels(log_snr)
    moments = []
    for sigma in noise_of(levels).ravel().tolist():
        x, _ = law.sample_noised(count, sigma, generator)
        entropies = class_entropy_of(law.posterior(x, torch.full((count,), sigma, dtype=x.dtype)))
        moments.append((float(entropies.mean()), float(entropies.std()) / math.sqrt(count)))
    mean, error = np.array(moments).T.reshape(2, *levels.shape)
    return mean, error


def class_entropy_of(log_posterior: Tensor) -> Tensor:
    """The entropy of each log-posterior (batch, K) in nats, (batch,); a class of probability zero contributes nothing.

    >>> class_entropy_of(torch.tensor([[0.5, 0.5, 0.0]]).log()).item()
    0.6931471824645996
    """
    return -(log_posterior.exp() * log_posterior.clamp(min=-1e4)).sum(dim=1)
