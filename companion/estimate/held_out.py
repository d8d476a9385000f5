"""The honest check: the posterior of real data, noised by the exact forward chain and scored by the model.

A profile's own paths are drawn from the kernels that score them, so their posterior is calibrated by construction.
Data the model has not seen is not: there y = x / sigma^2 is the exact chain

    dy = x_0 dsnr + dB,

and the log-likelihood of branch z grows by the Ito increment D_z . dy - |D_z|^2 dsnr / 2, D at the noisier end of the
step, on whatever path (ES 107-110).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from companion.denoiser import Denoiser
from companion.errors import InputError
from companion.estimate.entropy import BLOCK
from companion.estimate.trajectories import check_finite, check_levels, check_model, trajectories

__all__ = ["Calibration", "calibration", "log_likelihoods"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How the accumulated posterior of real data fares against the true labels, level by level (nats).

    `cross_entropy` is the mean of -log p(true class | path), `posterior_entropy` the mean entropy of the posterior; a
    calibrated posterior makes them equal. `gap` is the first minus the second and `gap_se` its standard error over
    the data. `accuracy` is the share whose most probable class is the true one.
    """

    log_snr: Array
    cross_entropy: Array
    posterior_entropy: Array
    gap: Array
    gap_se: Array
    accuracy: Array


def log_likelihoods(
    model: Denoiser,
    data: torch.Tensor,
    log_snr: ArrayLike,
    seed: int = 0,
    branches: Sequence[int] | None = None,
    block: int = BLOCK,
    progress: Callable[[int], None] | None = None,
) -> Array:
    """log p(path | branch) along the exact noising chain of `data`, up to what all branches share.

    `data` is (samples, *shape), `log_snr` (levels,) increases from noise to data, `branches` are classes or NULL, by
    default all classes; returns (samples, levels, branches), float64, in nats. The chain starts at snr 0, where D is
    asked at the top level's noise. The error is first order in the steps of snr. Raises InputError for data of another
    shape or not finite, and as `trajectories` does.

    >>> from companion.theory.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> found = log_likelihoods(pair, torch.tensor([[1.0], [-1.0]]), np.linspace(-6.0, 4.0, 50))
    >>> found.shape, found[:, -1].argmax(axis=1).tolist()
    ((2, 50, 2), [1, 0])
    """
    grid = check_levels(model, log_snr)
    chosen = tuple(range(len(model.classes))) if branches is None else tuple(branches)
    if data.shape[1:] != model.shape or len(data) == 0 or not bool(torch.isfinite(data).all()):
        raise InputError("data", f"of shape {tuple(data.shape)}", f"finite samples of shape {model.shape}")
    check_model(model, chosen, grid)
    result = np.empty((len(data), len(grid), len(chosen)))
    for start in range(0, len(data), block):
        numbers = range(start, min(start + block, len(data)))
        run = trajectories(
            model, chosen, [0] * len(numbers), grid, seed, paths=numbers, data=data[start : numbers.stop]
        )
        levels = [level for level in run if np.isfinite(level.log_snr)]
        check_finite([(level.log_snr, level.finite) for level in levels])
        result[start : numbers.stop] = torch.stack([level.held for level in levels], dim=1).cpu().numpy()
        if progress is not None:
            progress(len(numbers) * len(chosen) * (len(grid) + 1))
    return result


def calibration(log_likelihood: Array, labels: ArrayLike, log_snr: ArrayLike, weights: ArrayLike) -> Calibration:
    """Compare the posterior p(z | path) = softmax(log_likelihood + log weights) with the true `labels`.

    `log_likelihood` is (samples, levels, classes) as `log_likelihoods` returns it, `labels` (samples,) int, and
    `weights` (classes,) the prior probabilities. Raises InputError unless there is one class a sample.

    >>> even = calibration(np.zeros((4, 1, 2)), [0, 1, 0, 1], [0.0], [0.5, 0.5])
    >>> float(even.cross_entropy[0].round(6)), float(even.gap[0].round(6))
    (0.693147, 0.0)
    """
    label = np.asarray(labels, dtype=np.int64)
    samples, _, classes = log_likelihood.shape
    if label.shape != (samples,) or not np.all((label >= 0) & (label < classes)):
        raise InputError("labels", labels, f"{samples} classes from 0 to {classes - 1}")
    scores = log_likelihood + np.log(np.asarray(weights, dtype=np.float64))
    log_posterior = scores - np.logaddexp.reduce(scores, axis=2, keepdims=True)
    surprise = -log_posterior[np.arange(len(label)), :, label]
    uncertainty = -np.sum(np.exp(log_posterior) * log_posterior, axis=2)
    gap = surprise - uncertainty
    return Calibration(
        log_snr=np.asarray(log_snr, dtype=np.float64),
        cross_entropy=surprise.mean(axis=0),
        posterior_entropy=uncertainty.mean(axis=0),
        gap=gap.mean(axis=0),
        gap_se=gap.std(axis=0, ddof=1) / np.sqrt(len(label)) if len(label) > 1 else np.full(gap.shape[1], np.inf),
        accuracy=(log_posterior.argmax(axis=2) == label[:, None]).mean(axis=0),
    )
