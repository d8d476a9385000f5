"""What a denoiser says of images that are noised exactly: three readings of one dimension, image by image.

Of the exact denoiser of the law that the images come from, all three mean the same at every level:

    (snr/2) E|D - alpha^2 x|^2    the rate of neural entropy: what the network saves of the loss of no network
    (snr/2) E|x_0 - D|^2          the denoising loss, half the local dimension: the generative bandwidth
    (1/2) E tr dD/dx              half the divergence of D, which is half the local dimension too (Tweedie)

Rate and loss add up to the loss of no network. Of a trained network they add up to more or to less, by the *excess*

    snr E (D - alpha^2 x) . (D - x_0),

which is how fast its loss grows when its own part, D - alpha^2 x, is made longer.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from companion.arguments import Array, numbers, whole_number
from companion.denoiser import Denoiser
from companion.entropy import neural_entropy_rate
from companion.errors import InputError
from companion.estimate.paths import Paths, by_levels, check_levels
from companion.forward import noise_of

__all__ = ["Mean", "Pair", "Readings", "between", "mean_of", "own_images", "read_images"]


@dataclass(frozen=True)
class Mean:
    """A mean over images and its standard error, both of one shape."""

    value: Array
    error: Array


@dataclass(frozen=True, eq=False)
class Readings:
    """Rate, loss, divergence and excess of one branch, (images, levels) each, in nats per log-snr."""

    log_snr: Array
    rate: Array
    loss: Array
    divergence: Array
    excess: Array

    def best_length(self) -> Mean:
        """The factor of the network's own part, D - alpha^2 x, for which the loss is least: 1 - excess/(2 rate).

        It is 1 for an exact denoiser; above 1 the network says too little. The error is that of a ratio of means.
        """
        excess, rate = mean_of(self.excess).value, mean_of(self.rate).value
        # To first order the ratio varies as its numerator less the ratio times its denominator.
        spread = mean_of(self.excess - excess / rate * self.rate).error
        return Mean(1.0 - 0.5 * excess / rate, 0.5 * spread / rate)


@dataclass(frozen=True, eq=False)
class Pair:
    """The branch of each image's class and the null branch, and (snr/2) |D_z - D_0|^2, (images, levels)."""

    conditional: Readings
    null: Readings
    apart: Array


def mean_of(values: Array) -> Mean:
    """The mean over the first axis with its standard error.

    >>> found = mean_of(np.array([1.0, 3.0]))
    >>> float(found.value), float(found.error)
    (2.0, 1.0)
    """
    return Mean(values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values)))


def between(log_snr: Array, values: Array, first: float, last: float) -> Array:
    """The integral over log-snr from `first` to `last`, levels of the grid, of values (..., levels), in nats.

    By the trapezoidal rule. Raises InputError for ends that are no levels, or not increasing.

    >>> float(between(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]), 0.0, 2.0))
    2.0
    """
    start, end = (int(np.argmin(np.abs(log_snr - at))) for at in (first, last))
    if start >= end or not np.allclose(log_snr[[start, end]], [first, last], atol=1e-9):
        raise InputError("first, last", (first, last), "two increasing levels of the grid")
    return np.asarray(np.trapezoid(values[..., start : end + 1], log_snr[start : end + 1]))


def read_images(
    model: Denoiser,
    images: Tensor,
    labels: Tensor,
    log_snr: ArrayLike,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Pair:
    """Readings of the branch of each image's class and of the null branch, on the same noise, at every level.

    `images` (images, *shape) are clean, `labels` (images,) int64 their classes, `log_snr` (levels,) increases. The
    noise is new at each level and the same for every model with that seed. From each rate the part of the noise that
    any denoiser has is taken: (snr/2) |x_0 - alpha^2 x|^2 less its mean over the noise. Raises InputError for fewer
    than two images, shapes that disagree, a model without a null branch, and levels as `check_levels` does.

    >>> from companion.exact.empirical import empirical_distribution
    >>> points, labels = torch.tensor([[-1.0], [1.0], [1.5]]), torch.tensor([0, 1, 1])
    >>> read = read_images(empirical_distribution(points, labels), points, labels, [0.0, 20.0])
    >>> read.conditional.rate[:, 1].round(3)                                  # identified: half a nat for the one pixel
    array([0.5, 0.5, 0.5])
    """
    levels = check_levels(model, log_snr)
    count = whole_number("images", len(images), least=2)
    if images.shape[1:] != model.shape or labels.shape != (count,):
        raise InputError("images, labels", (tuple(images.shape), tuple(labels.shape)), f"(n, *{model.shape}) and (n,)")
    if not model.has_null:
        raise InputError("model", model.name, "a model with a null branch")
    generator, clean = torch.Generator().manual_seed(seed), images.double()
    columns: list[Array] = []
    for level, sigma in zip(levels.tolist(), noise_of(levels).tolist(), strict=True):
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        x, snr = clean + sigma * noise, 1.0 / sigma**2
        signal = snr / (1.0 + snr)
        state, noises = x.to(model.dtype), torch.full((count,), sigma, dtype=model.dtype)
        idle = 0.5 * snr * _squares(clean - signal * x)
        common = idle - 0.5 * signal * (signal * clean[0].numel() + (1.0 - signal) * _squares(clean))
        found = list[Tensor]()
        for condition in (labels, None):
            prediction = model(state.clone(), noises, condition).double()
            missed = clean - prediction
            found += [
                neural_entropy_rate(prediction, x, level) - common,
                0.5 * snr * _squares(missed),
                -0.5 / sigma * _dots(missed, noise),
                -snr * _dots(prediction - signal * x, missed),
                prediction,
            ]
            if progress is not None:
                progress(count)
        told, _, untold = found[4], found[:4], found.pop()
        found.pop(4)
        columns.append(torch.stack([*found, 0.5 * snr * _squares(told - untold)]).numpy())
    rows = np.stack(columns, axis=-1)  # (readings, images, levels)
    return Pair(Readings(levels, *rows[:4]), Readings(levels, *rows[4:8]), rows[8])


def own_images(
    model: Denoiser,
    labels: Tensor,
    log_snr: ArrayLike,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Images that a model makes of classes `labels` (images,) by its reverse process over `log_snr`, (images, *shape).

    The prediction at the last level. Raises InputError for an unknown class, and as `by_levels` does.

    >>> from companion.exact.empirical import empirical_distribution
    >>> pair = empirical_distribution(torch.tensor([[-1.0], [1.0]]))
    >>> own_images(pair, torch.tensor([1, 0, 1]), [-4.0, 0.0, 4.0]).flatten().tolist()
    [1.0, -1.0, 1.0]
    """
    numbers("labels", labels.numpy(), "classes of the model", lambda z: (z >= 0) & (z < len(model.classes)))
    images = torch.empty(len(labels), *model.shape, dtype=torch.float64)
    for k in sorted(set(labels.tolist())):
        (rows,) = torch.nonzero(labels == k, as_tuple=True)
        paths = Paths((k,), np.zeros(len(rows)), log_snr, seed, predicted=True, numbers=rows.tolist())
        for levels in by_levels(model, paths, together=1, progress=progress):
            images[rows] = levels.predictions[-1, 0]
    return images


def _squares(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(dim=1)


def _dots(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).flatten(1).sum(dim=1)
