"""Samples without noise after the first draw, so that two grids or two rules can be compared pair by pair.

A rule is anything that is called as a denoiser is: a model, or a model with guidance.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from companion.arguments import finite_levels
from companion.errors import InputError
from companion.forward import noise_of
from derivations.kit.pushed_forward import Step, euler

__all__ = ["Rule", "deterministic", "predictions", "start"]

Rule = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def start(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Unit noise (count, *shape), float32, the same for the same seed.

    >>> torch.equal(start(3, (1,), 0), start(3, (1,), 0))
    True
    """
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def deterministic(
    rule: Rule, noise: Tensor, condition: Tensor | None, log_snr: ArrayLike, step: Step = euler
) -> Tensor:
    """What unit `noise` (count, *shape) becomes, by steps from each noise level to the next and from the last to zero.

    With Euler's step, which is DDIM without noise, n levels cost n evaluations; with Heun's 2 n - 1. `condition` is
    (count,) or None for the null branch. Raises InputError unless the log-snr (n,) increase.

    >>> points = lambda x, sigma, condition: torch.sign(x)
    >>> deterministic(points, torch.tensor([[-0.3], [2.0]]), None, [-4.0, 0.0, 4.0]).tolist()
    [[-1.0], [1.0]]
    """
    levels = finite_levels(log_snr)
    if not (levels[1:] > levels[:-1]).all():
        raise InputError("log_snr", log_snr, "increasing levels, from noise to data")
    sigma = [*noise_of(levels).tolist(), 0.0]
    x: Tensor = noise * sigma[0]
    for level, following in pairwise(sigma):
        x = step(lambda state, at: rule(state, at, condition), x, level, following)
    return x


def predictions(rule: Rule, noise: Tensor, condition: Tensor | None, log_snr: ArrayLike) -> Tensor:
    """What the rule predicts along the way of `deterministic` with Euler's step: (levels, count, *shape).

    >>> points = lambda x, sigma, condition: torch.sign(x)
    >>> predictions(points, torch.tensor([[-0.3], [2.0]]), None, [-4.0, 4.0]).flatten(1).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    seen: list[Tensor] = []

    def noted(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        seen.append(rule(x, sigma, condition))
        return seen[-1]

    deterministic(noted, noise, condition, log_snr)
    return torch.stack(seen)
