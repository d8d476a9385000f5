"""Pixels one by one: a denoiser that knows the histogram of each, and nothing else.

A grey value is one of a few numbers, so that a pixel by itself is a law of points on a line.
"""

import torch
from torch import Tensor

from companion.denoiser import FunctionDenoiser, digest_of
from companion.errors import InputError

__all__ = ["pixel_denoiser"]


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
