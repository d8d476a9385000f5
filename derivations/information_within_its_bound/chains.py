"""Denoisers that belong to no law of data, and what their chains know of the class: where routes part."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from companion.arguments import Array, numbers
from companion.denoiser import FunctionDenoiser
from companion.exact.equidistant import entropy

__all__ = ["forgetful", "forgetful_information", "random_denoisers"]


def random_denoisers(size: float, seed: int, classes: int = 4, dimension: int = 3) -> FunctionDenoiser:
    """Random functions for every class and for the null branch, bounded by `size` in each coordinate.

        D_z(x, sigma) = size tanh( W_z x / sqrt(1 + sigma^2) + b_z + c_z / (1 + sigma) ),    all entries standard normal

    float64. No law has these for its posterior means.

    >>> model = random_denoisers(0.5, seed=0)
    >>> bool(model(torch.zeros(2, 3), torch.ones(2), None).abs().max() < 0.5)
    True
    """
    draw = torch.Generator().manual_seed(seed)
    matrices = torch.randn(classes + 1, dimension, dimension, generator=draw, dtype=torch.float64)
    offsets, slopes = torch.randn(2, classes + 1, dimension, generator=draw, dtype=torch.float64)

    def denoised(x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        which = torch.full((len(x),), classes) if condition is None else condition
        level = sigma.double()[:, None]
        turned = torch.einsum("nij,nj->ni", matrices[which], x.double() / torch.sqrt(1.0 + level**2))
        return size * torch.tanh(turned + offsets[which] + slopes[which] / (1.0 + level))

    names = tuple(map(str, range(classes)))
    return FunctionDenoiser(denoised, (dimension,), names, has_null=True, dtype=torch.float64, name="random denoisers")


def forgetful(push: float, until: float) -> FunctionDenoiser:
    """Two classes of one number that are pushed apart up to a noise level, and told nothing after it.

        D_z = -push, push for log-snr below `until`, and 0 from there on

    >>> model = forgetful(2.0, 0.0)
    >>> [model(torch.zeros(1, 1), torch.tensor([sigma]), torch.tensor([1])).item() for sigma in (1.5, 0.9)]
    [2.0, 0.0]
    """

    def denoised(x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        assert condition is not None
        side = push * (2.0 * condition.to(x.dtype) - 1.0)
        early = -2.0 * torch.log(sigma.to(x.dtype)) < until - 1e-9
        return (side * early)[:, None].expand_as(x).clone()

    return FunctionDenoiser(denoised, (1,), ("left", "right"), dtype=torch.float64, name="forgetful")


def forgetful_information(push: float, until: float, log_snr: ArrayLike) -> tuple[Array, Array]:
    """What the path of `forgetful`, and what its state, knows of the class at each log-snr; nats, closed form.

    That of two points, with m = min(snr, e^until): kappa = 4 push^2 m for the path, 4 push^2 m^2 / snr for the state.
    Raises InputError for levels that are not finite.

    >>> path, state = forgetful_information(2.0, 0.0, [0.0, 6.0])
    >>> path.round(3), state.round(3)
    (array([0.633, 0.633]), array([0.633, 0.005]))
    """
    snr = np.exp(numbers("log_snr", log_snr, "finite levels", np.isfinite))
    shared = np.minimum(snr, np.exp(until))
    first, last = (np.log(2.0) - entropy(4.0 * push**2 * each, 2) for each in (shared, shared**2 / snr))
    return np.asarray(first), np.asarray(last)
