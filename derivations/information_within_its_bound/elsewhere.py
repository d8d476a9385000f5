"""The distance of SI 12 averaged over states of another class, and the numbers that the paper prints."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from companion.arguments import Array, numbers
from companion.exact.mixtures import GaussianMixture
from companion.forward import noise_of

__all__ = ["PUBLISHED", "distance_under"]

# What the paper prints for I(X; Y), in nats, and how many classes share it (SI Figure 16).
PUBLISHED = {"MNIST": (4.1, 10), "CIFAR-10": (7.5404, 10), "Tiny ImageNet": (9.2868, 200)}

_STEPS = torch.linspace(-9.0, 9.0, 2401, dtype=torch.float64)  # of a normal variable; what is beyond is below 1e-17


def distance_under(mixture: GaussianMixture, asked: int, drawn: int, log_snr: ArrayLike) -> Array:
    """(snr / 2) E|D_asked - D|^2 with the states drawn from class `drawn`, at each log-snr, in nats per unit of it.

    For isotropic mixtures of one number with one component a class, by the trapezoidal rule. Source: SI 12, footnote 1.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.5)
    >>> np.allclose(distance_under(pair, 0, 0, [0.0, 1.0]), pair.production([0.0, 1.0]))
    True
    """
    found = []
    for level in numbers("log_snr", log_snr, "finite levels", np.isfinite).tolist():
        sigma = float(noise_of(level))
        spread = float(torch.sqrt(mixture.deviations[drawn] ** 2 + sigma**2))
        x = (mixture.means[drawn] + spread * _STEPS)[:, None]
        noise = torch.full((len(x),), sigma, dtype=torch.float64)
        apart = mixture(x, noise, torch.full((len(x),), asked)) - mixture(x, noise, None)
        density = torch.exp(-0.5 * _STEPS**2) / np.sqrt(2.0 * np.pi)
        found.append(0.5 * np.exp(level) * float(torch.trapezoid(density * apart[:, 0].square(), _STEPS)))
    return np.array(found)
