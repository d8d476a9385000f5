"""Pixels one by one: what their own histograms say, and what is left for the correlations between them.

The neural entropy of a law is that of its single coordinates and the total correlation of the noisy coordinates (SI 7),
at every level. A grey value is one of a few numbers, so that a pixel by itself is a law of points on a line.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from companion.arguments import Array, finite_levels
from companion.denoiser import FunctionDenoiser, digest_of
from companion.errors import InputError
from companion.exact.empirical import empirical_distribution

__all__ = ["pixel_bandwidth", "pixel_denoiser", "pixel_entropy"]


def pixel_bandwidth(images: Tensor, log_snr: ArrayLike) -> Array:
    """Half the local dimension of every pixel by itself, (pixels, levels), in nats per log-snr, by quadrature.

        (1/2) (snr) E Var(x_k | x_k + sigma eps),    x_k as often as in `images` (images, *shape)

    `log_snr` is (levels,). The integral over all levels is `pixel_entropy`. Raises InputError as `finite_levels` does.

    >>> images = torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]])                         # a coin, and a pixel that is dark
    >>> pixel_bandwidth(images, [0.0, 20.0]).round(6)
    array([[0.2248, 0.    ],
           [0.    , 0.    ]])
    """
    levels, rows = finite_levels(log_snr), list[Array]()
    for values, share in _histograms(images):
        one = len(values) == 1
        rows.append(
            np.zeros(len(levels)) if one else empirical_distribution(values[:, None], None, share).production(levels)
        )
    return np.array(rows)


def pixel_entropy(images: Tensor) -> Array:
    """The entropy of the grey value of each pixel, (pixels,), in nats.

    >>> pixel_entropy(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).round(4)
    array([0.6931, 0.    ])
    """
    return np.array([-float(share @ np.log(share)) for _, share in _histograms(images)]) + 0.0  # no minus zero


def pixel_denoiser(images: Tensor, labels: Tensor, values: Tensor) -> FunctionDenoiser:
    """The denoiser that knows the histogram of each pixel and nothing of the others, nor of the class.

        D_k(x) = sum_v w_kv v exp(-(x_k - v)^2 / 2 sigma^2) / sum_v w_kv exp(-(x_k - v)^2 / 2 sigma^2)

    over the grey `values` (values,), with w_kv one more than their count in pixel k of `images` (images, *shape), so
    that no value is impossible. `labels` (images,) name the classes. Raises InputError for an image with another value.

    >>> images, labels = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    >>> model = pixel_denoiser(images, labels, torch.tensor([0.0, 1.0]))
    >>> model(torch.tensor([[0.5]]), torch.ones(1), None).item()
    0.5
    """
    shape, grey = tuple(images.shape[1:]), values.double()
    hits = images.flatten(1).double()[:, :, None] == grey
    if not bool(hits.any(dim=2).all()):
        raise InputError("images", "with other grey values", f"values among {grey.tolist()}")
    log_weight = (hits.sum(dim=0) + 1.0).log()  # (pixels, values)

    def denoised(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        apart = x.flatten(1).double()[:, :, None] - grey
        share = torch.softmax(log_weight - 0.5 * (apart / sigma.double()[:, None, None]).square(), dim=2)
        return (share @ grey).reshape(x.shape).to(x.dtype)

    return FunctionDenoiser(
        denoised,
        shape=shape,
        classes=tuple(map(str, range(int(labels.max()) + 1))),
        has_null=True,
        dtype=torch.float64,
        name="pixels one by one",
        digest=digest_of(log_weight),
    )


def _histograms(images: Tensor) -> list[tuple[Tensor, Array]]:
    """For each pixel its values, and how often each of them is there."""
    found = []
    for pixel in images.flatten(1).double().numpy().T:
        values, counts = np.unique(pixel, return_counts=True)
        found.append((torch.from_numpy(values), counts / counts.sum()))
    return found
