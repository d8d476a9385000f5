"""The weight of guidance that real data ask for, level by level: by denoising alone, without samples or a search."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from companion.arguments import Array
from companion.denoiser import Denoiser
from companion.entropy import NULL
from companion.errors import InputError
from companion.estimate.noise import check_seed, path_noise
from companion.estimate.paths import check_levels, predict
from companion.estimate.plan import BLOCK, Data
from companion.forward import noise_of
from companion.guidance import unguided

__all__ = ["BestWeight", "best_weight"]


@dataclass(frozen=True, eq=False)
class BestWeight:
    """The `weight` of guidance that denoises real data best at each `log_snr`, its standard error, and what it gains.

    `spread` is E|D_c - D_0|^2. `gain` is what this weight takes, per unit of log-snr and in nats, off the divergence of
    the data's noised paths from the paths that the model draws with weight 1. All are (levels,).
    """

    log_snr: Array
    weight: Array
    weight_se: Array
    spread: Array
    gain: Array


def best_weight(model: Denoiser, data: Data, log_snr: ArrayLike, seed: int = 0) -> BestWeight:
    """The guidance weight w that minimises E|x_0 - D_w|^2 at each level, D_w = D_0 + w (D_c - D_0), w = 1 for none.

        w* = E <x_0 - D_0, D_c - D_0> / E|D_c - D_0|^2,    gain = (snr / 2) (w* - 1)^2 E|D_c - D_0|^2

    The means are over real samples x_0 with their classes c, noised by the exact chain to each log-snr (levels,), which
    increases; D_0 is the model's null branch. A model whose branches are posterior means of the data's law has w* = 1.
    Errors are those of a ratio of means, over the samples; the gain is less their square, so that chance gains nothing.
    Raises InputError for a model without a null branch or guided already, data that are not of its shape and classes,
    fewer than two samples, branches that agree on all samples, and as `check_levels`, `check_seed` and `predict` do.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.5)
    >>> samples, labels = pair.sample(2000, torch.Generator().manual_seed(0))
    >>> bool(abs(best_weight(pair, Data(samples, labels.numpy()), [-2.0, 0.0]).weight - 1.0).max() < 0.1)
    True
    """
    levels = check_levels(model, log_snr)
    if not unguided(model).has_null:
        raise InputError("the null branch", "asked for", "a model with a null class")
    clean = data.checked(model).samples.flatten(1).double().cpu().numpy()
    products, squares = np.empty((2, len(clean), len(levels)))
    for label in sorted(set(data.labels.tolist())):
        of_class = data.of(label)
        for rows in np.split(of_class, range(BLOCK, len(of_class), BLOCK)):
            x_0, noise = torch.from_numpy(clean[rows]), path_noise(check_seed(seed), rows.tolist(), clean.shape[1])
            for number, sigma in enumerate(noise_of(levels).tolist()):
                x = x_0 + sigma * torch.from_numpy(next(noise))
                guided, null = predict(model, (label, NULL), x, sigma)
                products[rows, number] = ((x_0 - null) * (guided - null)).sum(dim=1)
                squares[rows, number] = (guided - null).square().sum(dim=1)
    spread = squares.mean(axis=0)
    if not np.all(spread > 0.0):
        raise InputError("the null branch", "the same as every class at some level", "branches that differ")
    weight = products.mean(axis=0) / spread
    error = (products - weight * squares).std(axis=0, ddof=1) / np.sqrt(len(clean)) / spread
    gain = 0.5 * np.exp(levels) * ((weight - 1.0) ** 2 - error**2) * spread
    return BestWeight(levels, weight, error, spread, gain)
