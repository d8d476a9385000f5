"""What every law that can be written down answers, and what is read off any of them."""

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from torch import Generator, Tensor

from companion.arguments import Array, finite_levels, number, whole_number
from companion.errors import InputError
from companion.forward import Process, noise_of

__all__ = ["Law", "NoisedLaw", "class_entropy_of", "half_level", "monte_carlo_entropy", "production_in_time"]

Draws = tuple[Tensor, Tensor]


class Law(Protocol):
    """A law p_0 of clean samples x_0 and their classes z, whose class entropy in noise is known exactly.

    `entropy` is H(Z | X_t) in nats, `production` -dH/dlambda >= 0, at sigma = exp(-log_snr / 2) in the
    variance-exploding frame; a process is a clock on them. `log_snr` and they are float64 numpy of any one shape;
    InputError is raised for a log-snr that is NaN or farther than 200 from zero. `sample` gives x_0 (count, *shape),
    torch, and z (count,) int64; `weights` are the prior probabilities of the classes.
    """

    @property
    def weights(self) -> tuple[float, ...]: ...

    def entropy(self, log_snr: ArrayLike) -> Array: ...

    def production(self, log_snr: ArrayLike) -> Array: ...

    def sample(self, count: int, generator: Generator) -> Draws: ...


class NoisedLaw(Protocol):
    """A law whose denoiser and class posterior are known in every noise: what such laws share of the contract."""

    has_null: bool = True
    log_snr_range: tuple[float, float] = (-math.inf, math.inf)

    def posterior(self, x: Tensor, sigma: Tensor) -> Tensor: ...

    def sample(self, count: int, generator: Generator, condition: int | None = None) -> Draws: ...

    def _denoised(self, x: Tensor, sigma: Tensor, condition: int | None) -> Tensor: ...

    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            return self._denoised(x, sigma, None)
        present = sorted(set(condition.tolist()))
        result = torch.empty_like(x)
        for k in present:
            rows = slice(None) if len(present) == 1 else condition == k
            result[rows] = self._denoised(x[rows], sigma[rows], k)
        return result

    def sample_noised(self, count: int, sigma: float, generator: Generator, condition: int | None = None) -> Draws:
        """`sample` followed by noise of level `sigma`: x_0 + sigma eps (count, *shape), and the classes (count,).

        Raises InputError as `sample` does, and for a sigma that is negative or not finite.
        """
        sigma = number("sigma", sigma, "a finite noise level of at least 0", lambda x: (x >= 0.0) & np.isfinite(x))
        clean, classes = self.sample(count, generator, condition)
        return clean + sigma * torch.randn(clean.shape, dtype=clean.dtype, generator=generator), classes


def half_level(law: Law) -> float:
    """The log-snr at which half of the class entropy is left: H(Z | X_t) = H(Z) / 2.

    Raises InputError where classes overlap so much that more than half of H(Z) stays, and as the law's entropy does.

    >>> from companion.exact.gaussian_pairs import gaussian_pair
    >>> round(half_level(gaussian_pair(0.0, 0.0, gap=2.0)), 5)                   # log(4.17605 / 4)
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
    """The class entropy produced per unit of a process's own time, in nats; t of any shape.

        dH/dt = (g^2 / 2) sum_i pi_i E_i | s_i - s |^2 = -(dH/dlambda) g^2 / sigma^2

    Raises InputError for times outside the process or at which the log-snr is infinite, and as the law's production
    does. Source: ES 33.

    >>> from companion.forward import variance_exploding
    >>> from companion.exact.gaussian_pairs import gaussian_pair
    >>> float(production_in_time(gaussian_pair(0.0, 0.0, 2.0), variance_exploding(), 1.0).round(10))
    0.4495995092
    """
    times = process.check_time(t)
    levels = process.log_snr(times)
    if not np.all(np.isfinite(levels)):
        raise InputError("t", t, "times of finite log-snr")
    return law.production(levels) * (process.diffusion(times) / process.sigma(times) ** 2)


def monte_carlo_entropy(law: NoisedLaw, log_snr: ArrayLike, count: int, generator: Generator) -> tuple[Array, Array]:
    """The class entropy as the mean of the posterior's entropy over `count` fresh noised samples a level.

    An estimate without bias: (entropy, standard error), both of the shape of `log_snr`, in nats. Raises InputError for
    fewer than two samples or a log-snr farther than 200 from zero.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> apart = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> [each.item() for each in monte_carlo_entropy(apart, 20.0, 9, torch.Generator().manual_seed(0))]
    [0.0, 0.0]
    """
    count, levels, moments = whole_number("count", count, least=2), finite_levels(log_snr), []
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
