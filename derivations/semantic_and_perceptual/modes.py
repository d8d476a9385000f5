"""The best latents of Gaussian data, in closed form: what each mode leaves in the semantic and the perceptual one.

A mode of the variance v is seen through noise of the signal-to-noise ratio s: b = s v/(1 + s v) is the squared
correlation of the mode and its noisy state. A latent Z of a mode is described by its share r, the squared correlation
of the mode and Z, so that I(X; Z) = -log(1 - r)/2. With the best decoder and the weight gamma of the KL term

    semantic    maximises  I(Z; X_tau) - gamma I(X; Z)           = ( gamma log(1 - r) - log(1 - r b) )/2
    perceptual  maximises  I(Z; X_1 | X_tau) - gamma I(X; Z)     = ( gamma log(1 - r) + log(1 - r b) - log(1 - r a) )/2

with b at the split and a at the last level.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike

from companion.arguments import Array, number, numbers
from derivations.semantic_and_perceptual.autoencoders import Latent


def resolved(variance: ArrayLike, log_snr: ArrayLike) -> Array:
    """The squared correlation of a mode and its noisy state, s v/(1 + s v), s = exp(log_snr).

    >>> float(resolved(2.0, 0.0).round(6))
    0.666667
    """
    signal = np.asarray(log_snr, dtype=np.float64) + np.log(_positive(variance))
    return np.asarray(1.0 / (1.0 + np.exp(-signal)))


def semantic_share(variance: ArrayLike, split: float, weight: float) -> Array:
    """The share of the best semantic latent,  r = (b - gamma)/(b (1 - gamma)) where b > gamma, and 0 elsewhere.

    Raises InputError for variances that are not positive, or a weight outside 0 to 1, where nothing is best.

    >>> semantic_share([1.0, 4.0], 0.0, 0.5)                             # the first mode is at its threshold
    array([0.  , 0.75])
    """
    gamma, b = _weight(weight), resolved(variance, split)
    return np.asarray(np.clip((b - gamma) / (b * (1.0 - gamma)), 0.0, None))


def perceptual_share(variance: ArrayLike, split: float, last: float, weight: float) -> tuple[Array, Array]:
    """The share of the best perceptual latent and what it gains, in nats: the larger root of

        gamma a b r^2 + ((a - b) - gamma (a + b)) r - ((a - b) - gamma) = 0

    where that gains anything, and 0 elsewhere. Raises InputError as `semantic_share` does, and for a last level that
    does not lie above the split.

    >>> share, gain = perceptual_share([1.0, 4.0], -np.inf, 0.0, 0.5)    # all levels are perceptual: one latent
    >>> share
    array([0.  , 0.75])
    """
    gamma = _weight(weight)
    end = number("last", last, f"a log-snr above {split:g}", lambda level: (level > split) & (level < np.inf))
    a, b = resolved(variance, end), resolved(variance, split)
    curve, line, start = gamma * a * b, (a - b) - gamma * (a + b), (a - b) - gamma
    root = np.sqrt(np.clip(line**2 + 4.0 * curve * start, 0.0, None))
    # Of the two ways to write the larger root, the one without a difference of almost equal numbers.
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(line > 0.0, 2.0 * start / (root + line), (root - line) / (2.0 * curve))
    share = np.clip(np.nan_to_num(share, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0 - 1e-12)
    gain = 0.5 * (np.log1p(-share * b) - np.log1p(-share * a) + gamma * np.log1p(-share))
    return np.where(gain > 0.0, share, 0.0), np.where(gain > 0.0, gain, 0.0)


def limit_gain(variance: ArrayLike, split: float, last: float, weight: float) -> Array:
    """What the perceptual latent gains from a mode that the last level resolves, in nats, up to the order 1/(s_1 v):

        ( (1 - gamma) (last + log v) - log(1 + s v) - h_b(gamma) )/2,    s = exp(split)

    Negative where the latent leaves the mode alone; greatest for the variance (1 - gamma)/(gamma s).
    """
    gamma, v = _weight(weight), _positive(variance)
    told = -gamma * np.log(gamma) - (1.0 - gamma) * np.log1p(-gamma)
    return np.asarray(0.5 * ((1.0 - gamma) * (last + np.log(v)) - np.logaddexp(0.0, split + np.log(v)) - told))


def nats(share: ArrayLike) -> Array:
    """I(X; Z) = -log(1 - r)/2 of a latent of the share r, in nats."""
    return np.asarray(-0.5 * np.log1p(-np.asarray(share, dtype=np.float64)))


def best_shares(variances: Array, split: float, last: float, weight: float, room: int) -> tuple[Array, Array]:
    """The shares of both latents, each with `room` coordinates for the modes that gain it most, others 0.

    >>> semantic, perceptual = best_shares(np.array([4.0, 1.0, 0.25]), 0.0, 6.0, 0.2, 1)
    >>> np.flatnonzero(semantic), np.flatnonzero(perceptual)
    (array([0]), array([0]))
    """
    semantic, (perceptual, gain) = (
        semantic_share(variances, split, weight),
        perceptual_share(variances, split, last, weight),
    )
    # The semantic latent gains more from a larger variance; what is equal keeps its order.
    for share, worth in ((semantic, np.asarray(variances, dtype=np.float64)), (perceptual, gain)):
        share[np.argsort(-worth, kind="stable")[room:]] = 0.0
    return semantic, perceptual


def principal_modes(images: torch.Tensor) -> tuple[Array, Array, Array]:
    """The mean (d,), the variances (d,) from large to small, and the directions (d, d) as columns, of images (n, ...).

    Directions in which no image differs from another are left out.
    """
    flat = images.flatten(1).double().numpy()
    variances, directions = np.linalg.eigh(np.cov(flat.T))
    kept = np.flatnonzero(variances > 1e-10 * variances[-1])[::-1]
    return flat.mean(axis=0), variances[kept], directions[:, kept]


def linear_latent(images: torch.Tensor, modes: tuple[Array, Array, Array], shares: Array) -> Latent:
    """The latents that Gaussian data of these modes would get, of images (n, ...); shares (copies, modes).

    z = sqrt(r) u + sqrt(1 - r) eps,    u the mode's coordinate in its own deviations; pure noise where r is 0.
    """
    mean, variances, directions = modes
    own = (images.flatten(1).double().numpy() - mean) @ directions / np.sqrt(variances)
    seen = torch.from_numpy(np.sqrt(shares)[:, None, :] * own).float()
    return Latent(seen, torch.from_numpy(np.sqrt(1.0 - shares)[:, None, :]).float().expand_as(seen))


def _positive(variance: ArrayLike) -> Array:
    return numbers("variance", variance, "positive finite numbers", lambda v: (v > 0.0) & (v < np.inf))


def _weight(weight: float) -> float:
    return number("weight", weight, "a number between 0 and 1", lambda w: (w > 0.0) & (w < 1.0))
