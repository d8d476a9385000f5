"""Trajectories of the reverse equation, exactly."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from companion.arguments import finite_levels, whole_number
from companion.errors import InputError

__all__ = ["reverse_paths"]


class _Samples(Protocol):
    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


def reverse_paths(model: _Samples, log_snr: ArrayLike, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`count` solutions of the reverse stochastic differential equation at given levels, and the class each ends in.

        y = x / sigma^2 = snr x_0 + B(snr),    B a Brownian motion whose time is the snr

    The reverse equation undoes the forward one: its solutions are, in law, forward trajectories read backwards
    (Anderson 1982; ES 3). Those are drawn here at once, from a clean point and one Brownian motion, so that no step
    size enters. `log_snr` (levels,) increases from noise to data; returned are the states of the variance-exploding
    frame (levels, count, *shape) and the classes (count,). Raises InputError for levels that are not finite and
    increasing, or fewer than one path.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> paths, classes = reverse_paths(pair, [-2.0, 0.0, 30.0], 4, torch.Generator().manual_seed(0))
    >>> paths.shape, bool((paths[-1, :, 0].round() == 2.0 * classes - 1.0).all())
    (torch.Size([3, 4, 1]), True)
    """
    levels = finite_levels(log_snr)
    if levels.ndim != 1 or len(levels) == 0 or not np.all(np.diff(levels) > 0.0):
        raise InputError("log_snr", log_snr, "one or more increasing log-snr")
    clean, classes = model.sample(whole_number("count", count, least=1), generator)
    snr = torch.from_numpy(np.exp(levels)).to(clean.dtype).reshape(-1, *[1] * clean.ndim)
    # The first increment reaches from snr 0, where nothing is known, to the first level.
    steps = torch.from_numpy(np.diff(np.exp(levels), prepend=0.0)).to(clean.dtype).reshape(snr.shape)
    brownian = torch.randn(len(levels), *clean.shape, dtype=clean.dtype, generator=generator) * steps.sqrt()
    return clean + brownian.cumsum(dim=0) / snr, classes
