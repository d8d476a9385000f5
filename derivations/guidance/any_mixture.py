"""The cross entropy on stochastic guided paths of any Gaussian mixture, from the production that its theorem names.

    E[ -log p(c | x) ] = -log pi_c - (w - 1/2) int E |D_c - D_0|^2 dsnr    on paths guided to c by the weight w

which has less variance than the mean of the surprise itself: the martingale between them is left out.
"""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike

from companion.arguments import Array, finite_levels, number, whole_number
from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture
from companion.forward import noise_of

__all__ = ["cross_entropy_of_mixture"]


def cross_entropy_of_mixture(
    mixture: GaussianMixture, log_snr: ArrayLike, weight: float, count: int, generator: torch.Generator
) -> tuple[Array, Array]:
    """The mean and its standard error, in nats, at each rising log-snr, guided to class 0 on `count` paths.

    Steps go through the levels by Euler's rule in y = snr x, from no signal at the first: choose it low and the levels
    dense. Raises InputError for levels that do not rise, a weight that is not finite, or fewer than two paths. Source:
    none.

    >>> from companion import isotropic_mixture
    >>> two, levels = isotropic_mixture([[-1.0], [1.0]], 0.0), np.linspace(-8.0, 0.0, 100)
    >>> mean, error = cross_entropy_of_mixture(two, levels, 1.0, 2000, torch.Generator().manual_seed(0))
    >>> bool(abs(mean[-1] - 0.3563) < 4.0 * error[-1] + 0.01)  # the class entropy at kappa = 4
    True
    """
    levels = finite_levels(log_snr)
    if levels.ndim != 1 or len(levels) < 2 or np.any(np.diff(levels) <= 0.0):
        raise InputError("log_snr", log_snr, "a rising list of at least two levels")
    w = number("weight", weight, "a finite number", np.isfinite)
    paths = whole_number("count", count, least=2)
    snr, own = np.exp(levels), torch.zeros(paths, dtype=torch.long)
    y = torch.randn(paths, mixture.means.shape[1], generator=generator, dtype=torch.float64) * float(np.sqrt(snr[0]))

    def denoisers(y: torch.Tensor, level: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, sigma = y / snr[level], torch.full((paths,), float(noise_of(levels[level])), dtype=torch.float64)
        whole = mixture(x, sigma, None)
        return whole, mixture(x, sigma, own) - whole

    whole, gap = denoisers(y, 0)
    lost = snr[0] * gap.square().sum(dim=1)
    all_lost = [lost]
    for level, (before, after) in enumerate(pairwise(snr.tolist()), start=1):
        noise = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        y = y + (after - before) * (whole + w * gap) + (after - before) ** 0.5 * noise
        earlier = gap
        whole, gap = denoisers(y, level)
        lost = lost + 0.5 * (after - before) * (earlier.square() + gap.square()).sum(dim=1)
        all_lost.append(lost)
    each = -np.log(mixture.weights[0]) - (w - 0.5) * torch.stack(all_lost).numpy()
    return each.mean(axis=1), each.std(axis=1) / np.sqrt(paths - 1.0)
