"""The forward equation step by step from its drift and diffusion, and a test of what comes out."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor

from companion.arguments import Array, numbers, whole_number
from companion.errors import InputError
from companion.forward import Process


def forward_paths(process: Process, clean: Tensor, t: ArrayLike, steps: int, generator: torch.Generator) -> Tensor:
    """Solutions of a process's stochastic differential equation, simulated from clean points, at times t.

        X' = X + h f (X + X')/2 + g sqrt(h) xi,    f and g^2 at the middle of the step, xi standard normal

    This is the implicit midpoint rule, solved for X'; mean and variance are wrong by the order of h^2. A step never
    reads the coefficients at its ends, where those of the flow and of the cosine are infinite. Of the process only
    `drift` and `diffusion` are used, so that a simulation can be held against the kernel N(alpha x_0, sigma^2 I).

    `clean` is (count, *shape), at the first time of the process; `t` (times,) increases from there, with `steps` equal
    steps from each time to the next. Returned are states (times, count, *shape) of the process's own frame. Raises
    InputError for times not increasing, not inside the process, or fewer than one step. Source: ES 1.

    >>> from companion.forward import variance_exploding
    >>> start = torch.zeros(1000, 1, dtype=torch.float64)
    >>> paths = forward_paths(variance_exploding(), start, [0.5, 3.0], 10, torch.Generator().manual_seed(0))
    >>> [round(x, 1) for x in paths.std(dim=1).flatten().tolist()]                       # sigma = t
    [0.5, 3.0]
    """
    times = np.append(process.span[0], process.check_time(t))
    if np.ndim(t) != 1 or len(times) < 2 or not np.all(np.isfinite(times)) or not np.all(np.diff(times) > 0.0):
        raise InputError("t", t, f"one or more finite times that increase from above {process.span[0]}")
    if not bool(torch.isfinite(clean).all()):
        raise InputError("clean", "with numbers that are not finite", "finite points")
    steps, states, found = whole_number("steps", steps, least=1), clean, []
    for first, last in pairwise(times.tolist()):
        h = (last - first) / steps
        middles = first + h * (np.arange(steps) + 0.5)
        drifts, noises = 0.5 * h * process.drift(middles), np.sqrt(h * process.diffusion(middles))
        for drift, noise in zip(drifts.tolist(), noises.tolist(), strict=True):
            xi = torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
            states = ((1.0 + drift) * states + noise * xi) / (1.0 - drift)
        found.append(states)
    return torch.stack(found)


@dataclass(frozen=True)
class NormalTest:
    """The p-values of `normal_test`: `mean` and `kolmogorov` (times, d) of each coordinate, `covariance`
    (times, d (d + 1) / 2) of each entry on and below the diagonal."""

    mean: Array
    covariance: Array
    kolmogorov: Array

    @property
    def count(self) -> int:
        return self.mean.size + self.covariance.size + self.kolmogorov.size

    @property
    def smallest(self) -> float:
        return float(min(self.mean.min(), self.covariance.min(), self.kolmogorov.min()))


def normal_test(samples: Tensor) -> NormalTest:
    """Tests at every time whether samples (times, count, d) have mean 0, covariance I and the normal distribution.

        mean          sqrt(n) average(x_a)                        is N(0, 1)
        covariance    sum x_a^2                                   is chi^2 with n degrees of freedom
                      sum x_a x_b / sqrt(sum x_b^2), a not b      is N(0, 1)
        Kolmogorov    the largest distance of the distribution functions

    All p-values are two-sided and exact for any n. Asked whether the smallest of `count` m lies below q/m, a correct
    sampler is refused with probability q at most (Bonferroni). Raises InputError for samples of another shape, fewer
    than two, or not finite.

    >>> test = normal_test(torch.randn(2, 1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    >>> test.covariance.shape, test.smallest > 0.01 / test.count
    ((2, 6), True)
    """
    values = numbers("samples", samples, "finite numbers", np.isfinite)
    if values.ndim != 3 or values.shape[1] < 2 or values.size == 0:
        raise InputError("samples", f"of shape {values.shape}", "at least two samples, of shape (times, count, d)")
    count, dimension = values.shape[1:]
    products = np.einsum("tna,tnb->tab", values, values)
    squares = np.diagonal(products, axis1=1, axis2=2)
    row, column = np.tril_indices(dimension, -1)
    mean = 2.0 * stats.norm.sf(np.abs(values.mean(axis=1)) * np.sqrt(count))
    diagonal = 2.0 * np.minimum(stats.chi2.cdf(squares, count), stats.chi2.sf(squares, count))
    below = 2.0 * stats.norm.sf(np.abs(products[:, row, column]) / np.sqrt(squares[:, column]))
    kolmogorov = stats.kstest(values, "norm", axis=1).pvalue
    return NormalTest(mean, np.concatenate([diagonal, below], axis=1), kolmogorov)
