"""The dimension at each noise level of a finite set of points: what a denoiser that knows its data by heart writes.

A set of N points has the dimension zero at small noise; what it seems to have before is spread over log-snr so that

    int D(sigma) dlambda / 2 = log N.

Everything is in the variance-exploding frame; entropies are in nats, results float64.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from companion.arguments import number, numbers, whole_number
from companion.errors import InputError

__all__ = ["Dimension", "points_on_line", "sampled", "spectrum"]

Array = NDArray[np.float64]

# Between two points the posterior has poles off the real line: this step leaves 1e-12, as in `quadrature`.
_STEP, _REACH = 0.12, 9.0


def points_on_line(points: ArrayLike, sigma: ArrayLike) -> Array:
    """The dimension at each noise level of equally probable points on a line, by quadrature, to about 1e-10.

    `points` (N,). Goes to zero for every finite set, exponentially in 1/sigma^2; the area under D/2 over log-snr is
    log N. Raises InputError unless points are finite, and sigma positive, finite and at least 1e-5 of their extent.

    >>> float(points_on_line([-1.0, 1.0], 1.0).round(6))            # E[1 - tanh^2]
    0.4496
    """
    places = numbers("points", points, "finite numbers", np.isfinite).ravel()
    noise = numbers("sigma", sigma, "positive finite numbers", lambda x: (x > 0.0) & np.isfinite(x))
    if np.any(noise < 1e-5 * np.ptp(places)):
        raise InputError("sigma", sigma, "noise of at least 1e-5 of the points' extent")
    found = [_on_line(places, float(one)) for one in noise.ravel()]
    return np.array(found).reshape(noise.shape)


def _on_line(places: Array, noise: float) -> float:
    count = int(np.ceil((np.ptp(places) / noise + 2.0 * _REACH) / _STEP)) + 1
    total = 0.0
    for states in np.array_split(places.min() + noise * (_STEP * np.arange(count) - _REACH), 1 + count // 4096):
        bells = np.exp(-0.5 * ((states[:, None] - places) / noise) ** 2) / np.sqrt(2.0 * np.pi)
        density = bells.mean(axis=1)
        mean = bells @ places / len(places)
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = np.where(density > 0.0, mean / density, 0.0)
        total += float((bells * (places - centre[:, None]) ** 2).mean(axis=1).sum())
    return _STEP * total / noise**2


@dataclass(frozen=True)
class Dimension:
    """A mean over states with its standard error; what they estimate is exact for the given set of points."""

    value: float
    standard_error: float


def sampled(points: Tensor, sigma: float, count: int, generator: torch.Generator) -> Dimension:
    """The dimension at noise level sigma of equally probable points (N, d), as a mean over `count` random states.

    Raises InputError unless points are (N, d) floating-point and finite, sigma positive, the count at least 2.

    >>> square = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> found = sampled(square, 1.0, 10_000, torch.Generator().manual_seed(0))
    >>> abs(found.value - 2 * 0.4496) < 4 * found.standard_error < 0.05
    True
    """
    places, noise, states = _states(points, sigma, count, generator)
    weight = _posterior(states, places, noise)
    spread = weight @ places.square().sum(dim=1) - (weight @ places).square().sum(dim=1)
    each = spread.clamp(min=0.0) / noise**2
    return Dimension(float(each.mean()), float(each.std()) / count**0.5)


def spectrum(points: Tensor, sigma: float, count: int, generator: torch.Generator) -> Array:
    """The eigenvalues of Cov(X_0 | x) / sigma^2 at random states of equally probable points: (count, d), largest first.

    They are sigma^2 times those of the Fisher information (ID 60), 1 + sigma^2 times those of the score's Jacobian.
    Errors are those of `sampled`. Source: ID 59-61.

    >>> pair = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    >>> spectrum(pair, 0.5, 3, torch.Generator().manual_seed(0)).shape
    (3, 2)
    """
    places, noise, states = _states(points, sigma, count, generator)
    weight = _posterior(states, places, noise)
    centre = weight @ places
    second = torch.stack([(one[:, None] * places).T @ places for one in weight])
    covariance = second - centre[:, :, None] * centre[:, None, :]
    eigenvalues: Array = torch.linalg.eigvalsh(covariance).flip(1).clamp(min=0.0).numpy() / noise**2
    return eigenvalues


def _states(points: Tensor, sigma: float, count: int, generator: torch.Generator) -> tuple[Tensor, float, Tensor]:
    if points.ndim != 2 or not points.is_floating_point() or not bool(torch.isfinite(points).all()) or not len(points):
        raise InputError("points", f"{points.dtype} of shape {tuple(points.shape)}", "finite points (N, d)")
    noise = number("sigma", sigma, "a positive finite number", lambda x: (x > 0.0) & np.isfinite(x))
    whole_number("count", count, least=2)
    places = points.double() - points.double().mean(dim=0)
    chosen = torch.randint(len(places), (count,), generator=generator)
    blur = torch.randn(count, places.shape[1], dtype=torch.float64, generator=generator)
    return places, noise, places[chosen] + noise * blur


def _posterior(states: Tensor, places: Tensor, noise: float) -> Tensor:
    return torch.softmax((states @ places.T - 0.5 * places.square().sum(dim=1)) / noise**2, dim=1)
