"""The honest check: the posterior of real data, noised by the exact forward chain and scored by the model.

A profile's own paths are drawn from the kernels that score them, so their posterior is calibrated by construction. Data
the model has not seen is not: there y = x / sigma^2 is the exact chain dy = x_0 dsnr + dB, and `by_levels` scores every
branch z on it by -(1/2) |D_z - x_0|^2 dsnr + (D_z - x_0) . dB. Two checks follow: the posterior against the labels
(`calibration`), and the profile of real data against that of the model's own paths (`against_data`), which agree where
the model is the law of the data. Both are also asked of samples that the model has drawn itself (`drawn_samples`),
without any data: denoisers that belong to one law pass that, others do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from companion.arguments import Array, finite_levels, numbers, probabilities, whole_number
from companion.denoiser import Denoiser
from companion.entropy import Partition
from companion.errors import InputError
from companion.estimate.certificate import LIMIT_OF_CHANCE, Certificate, judge, worst
from companion.estimate.paths import Paths, by_levels, path_likelihoods
from companion.estimate.placement import default_levels
from companion.estimate.plan import BLOCK, Data, Plan
from companion.estimate.result import Profile

__all__ = ["Calibration", "against_data", "calibration", "drawn_samples", "log_likelihoods"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How the accumulated posterior of real data fares against the true labels, level by level (nats).

    `cross_entropy` is the mean of -log p(true class | path), `posterior_entropy` the mean entropy of the posterior; a
    calibrated posterior makes them equal. `gap` is the first minus the second and `gap_se` its standard error over the
    data. `accuracy` is the share whose most probable class is the true one.
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
    default all classes; returns (samples, levels, branches), float64, in nats. The chain starts at snr 0. `block`
    samples are evaluated at once, and the noise of each is its own; `progress` gets the evaluations of each level of a
    block. The drift of a step is averaged over both its ends: for exact mixtures and 64 levels that brings the
    posterior's entropy 2 to 10 times nearer to the truth than the left end alone, and its gap to the cross entropy 1.1
    to 2 times nearer to zero. Raises InputError for data of another shape or not finite, and as `path_likelihoods`
    does.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> found = log_likelihoods(pair, torch.tensor([[1.0], [-1.0]]), np.linspace(-6.0, 4.0, 50))
    >>> found[:, -1].argmax(axis=1).tolist()
    [1, 0]
    """
    chosen = tuple(range(len(model.classes))) if branches is None else tuple(branches)
    if not chosen:
        raise InputError("branches", branches, "at least one class, or NULL")
    if not isinstance(data, torch.Tensor):
        raise InputError("data", f"of type {type(data).__name__}", f"a tensor of samples of shape {model.shape}")
    if data.shape[1:] != model.shape or len(data) == 0 or not bool(torch.isfinite(data).all()):
        raise InputError("data", f"of shape {tuple(data.shape)}", f"finite samples of shape {model.shape}")
    paths = Paths(chosen, np.zeros(len(data)), log_snr, seed, data=data)
    return path_likelihoods(model, paths, whole_number("block", block, 1), progress)


def drawn_samples(model: Denoiser, asked: Partition, samples: int, seed: int = 0, levels: int = 128) -> Data:
    """Samples that the model draws of the branches of a partition, as many as a run of so many `samples` wants.

    The last prediction of reverse trajectories over all levels, equally spaced in log-snr, with the branch as label,
    NULL for the null branch. Raises InputError as `measure` does.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> asked = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5)
    >>> drawn_samples(isotropic_mixture([[-1.0], [1.0]], 0.0), asked, 4).samples.flatten().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    grid = default_levels(model, levels)
    owner = Plan((asked,), grid, samples, seed).owner
    drawn = []
    for paths in Paths(asked.branches, owner, grid, seed, predicted=True).blocks(BLOCK):
        for some in by_levels(model, paths):
            last = some.predictions[-1]
        drawn.append(last[torch.as_tensor(paths.owner), torch.arange(last.shape[1])].cpu())
    return Data(torch.cat(drawn), np.array(asked.branches)[owner])


def against_data(own: Profile, real: Profile) -> Profile:
    """The profile of a model's own paths, with two more lines in its certificate: what real data say of it.

    "calibration" is that of `real`, the profile of the same partition of the same model, at the same levels, measured
    on data with another seed. "own and real" is the largest difference of the two entropies, with the error of both.
    Raises InputError where one of these is not so.
    """
    if own.paths != "model" or real.paths != "data":
        raise InputError("profiles", f"of {own.paths} and {real.paths} paths", "one of the model's, then one of data")
    for name in ("partition", "model_digest", "prior", "method"):
        if getattr(own, name) != getattr(real, name):
            raise InputError(name, getattr(real, name), f"{getattr(own, name)}, as on the model's own paths")
    if not np.array_equal(own.log_snr, real.log_snr):
        raise InputError("log_snr", "different", "the same levels in both profiles")
    if own.seed == real.seed:
        raise InputError("seed", real.seed, "another one than on the model's own paths: the noise would be the same")
    half = np.hypot(own.simultaneous * own.entropy_se, real.simultaneous * real.entropy_se)
    meaning = "the model draws classes that are more, or less, alike than those of the data"
    difference = judge("own and real", *worst(own.entropy - real.entropy, half), meaning, LIMIT_OF_CHANCE)
    kept = [check for check in own.certificate.checks if check.name not in ("calibration", "own and real")]
    return replace(own, certificate=Certificate((*kept, real.certificate["calibration"], difference)))


def calibration(log_likelihood: Array, labels: ArrayLike, log_snr: ArrayLike, weights: ArrayLike) -> Calibration:
    """Compare the posterior p(z | path) = softmax(log_likelihood + log weights) with the true `labels`.

    `log_likelihood` is (samples, levels, classes) as `log_likelihoods` returns it, `labels` (samples,) int, and
    `weights` (classes,) the prior probabilities. Raises InputError for other shapes, for numbers that are not finite,
    and for weights that do not sum to one.

    >>> calibration(np.zeros((4, 1, 2)), [0, 1, 0, 1], [0.0], [0.5, 0.5]).cross_entropy.round(6)
    array([0.693147])
    """
    log_likelihood = numbers("log_likelihood", log_likelihood, "finite (samples, levels, classes)", np.isfinite)
    if log_likelihood.ndim != 3 or 0 in log_likelihood.shape:
        raise InputError("log_likelihood", f"of shape {log_likelihood.shape}", "(samples, levels, classes)")
    samples, count, classes = log_likelihood.shape
    levels = finite_levels(log_snr)
    if levels.shape != (count,):
        raise InputError("log_snr", log_snr, f"{count} levels, one for each of log_likelihood")
    expected = f"{samples} classes from 0 to {classes - 1}"
    label = numbers("labels", labels, expected, lambda z: (z >= 0) & (z < classes) & (z == np.round(z))).astype(int)
    if label.shape != (samples,):
        raise InputError("labels", labels, expected)
    log_posterior = log_softmax(log_likelihood + np.log(probabilities("weights", weights, count=classes)), axis=2)
    surprise = -log_posterior[np.arange(samples), :, label]
    uncertainty = -np.sum(np.exp(log_posterior) * log_posterior, axis=2)
    gap = surprise - uncertainty
    gap_se = gap.std(axis=0, ddof=1) / np.sqrt(samples) if samples > 1 else np.full(count, np.inf)
    accuracy = (log_posterior.argmax(axis=2) == label[:, None]).mean(axis=0)
    return Calibration(levels, surprise.mean(axis=0), uncertainty.mean(axis=0), gap.mean(axis=0), gap_se, accuracy)
