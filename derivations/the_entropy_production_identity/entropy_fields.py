"""Class entropy in space and time: its density, where it is created, and how it flows, on a line.

The density of class entropy h(x, t) = p_t(x) H(Z | X_t = x) of a one-dimensional mixture obeys

    dh/dt = -dJ/dx + source,    J = f h - (g^2/2) dh/dx,    source = (g^2/2) sum_i pi_i p_i |s_i - s|^2

with the drift f and the diffusion g^2 of the process and everything in its own frame. Times and positions are float64
numpy arrays that broadcast; entropies are in nats.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike

from companion.arguments import Array, numbers
from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture
from companion.forward import Process


def entropy_density(mixture: GaussianMixture, process: Process, t: ArrayLike, x: ArrayLike) -> Array:
    """The density of class entropy, in nats per unit of x.

        h = -sum_i pi_i p_i log p(i | x)

    Raises InputError for a mixture of another dimension, or times outside the process or without noise.

    >>> from companion.forward import variance_exploding
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> float(entropy_density(pair, variance_exploding(), 1.0, 0.0).round(9))     # log 2 times a normal density at 1
    0.167721325
    """
    joint, log_posterior, _ = _fields(mixture, process, t, x)
    density: Array = -(joint * log_posterior).sum(axis=-1)
    return density


def entropy_source(mixture: GaussianMixture, process: Process, t: ArrayLike, x: ArrayLike) -> Array:
    """What is created in a place, in nats per unit of x and of time; never negative.

        (g^2/2) sum_i pi_i p_i |s_i - s|^2

    Its integral over x is `production_in_time`. Raises as `entropy_density` does.

    >>> from companion.forward import variance_exploding
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> float(entropy_source(pair, variance_exploding(), 1.0, 0.0).round(9))      # |s_i - s| = 1 between the points
    0.241970725
    """
    joint, log_posterior, scores = _fields(mixture, process, t, x)
    gaps = scores - (np.exp(log_posterior) * scores).sum(axis=-1, keepdims=True)
    source: Array = 0.5 * process.diffusion(np.asarray(t, dtype=np.float64)) * (joint * gaps**2).sum(axis=-1)
    return source


def entropy_current(mixture: GaussianMixture, process: Process, t: ArrayLike, x: ArrayLike) -> Array:
    """The current of class entropy, in nats per unit of time, positive to the right.

        J = f h - (g^2/2) dh/dx,    dh/dx = -sum_i pi_i p_i s_i log p(i | x)

    Raises as `entropy_density` does.

    >>> from companion.forward import variance_exploding
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> bool(entropy_current(pair, variance_exploding(), 1.0, 0.5) > 0.0)         # away from where it is created
    True
    """
    joint, log_posterior, scores = _fields(mixture, process, t, x)
    times = np.asarray(t, dtype=np.float64)
    carried = process.drift(times) * np.asarray(x, dtype=np.float64) * -(joint * log_posterior).sum(axis=-1)
    current: Array = carried + 0.5 * process.diffusion(times) * (joint * scores * log_posterior).sum(axis=-1)
    return current


def _fields(mixture: GaussianMixture, process: Process, t: ArrayLike, x: ArrayLike) -> tuple[Array, Array, Array]:
    """pi_i p_i, log p(i | x) and s_i of every class, along a last axis."""
    if mixture.shape != (1,):
        raise InputError("mixture", f"of shape {mixture.shape}", "a one-dimensional mixture")
    times, positions = np.broadcast_arrays(
        process.check_time(t), numbers("x", x, "positions of at most 1e50", lambda at: np.abs(at) <= 1e50)
    )
    alpha, sigma = process.alpha(times), process.sigma(times)
    if not np.all((sigma > 0.0) & (alpha > 0.0)):
        raise InputError("t", t, "times at which there is noise and signal")
    clean = torch.from_numpy((positions / alpha).reshape(-1, 1))
    noise = torch.from_numpy((sigma / alpha).reshape(-1))
    classes = range(len(mixture.classes))
    log_posterior = mixture.posterior(clean, noise).numpy()
    log_density = mixture.log_density(clean, noise).numpy()[:, None]
    scores = np.concatenate([mixture.score(clean, noise, torch.full((len(clean),), c)) for c in classes], axis=1)
    shape, factor = (*positions.shape, len(classes)), alpha[..., None]
    joint = np.exp(log_posterior + log_density).reshape(shape) / factor
    # A class of probability zero has log-probability -inf and contributes nothing.
    return joint, np.maximum(log_posterior, -1e4).reshape(shape), scores.reshape(shape) / factor
