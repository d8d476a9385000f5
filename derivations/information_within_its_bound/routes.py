"""Every route to the information of label and data, from one set of paths of one model.

Paths obey dy = u dsnr + dB in y = x / sigma^2. On the model's own chain u is the denoiser D_Y of the path's label, on
data that are noised by the exact chain the clean sample x_0. With q(z | path) the accumulated posterior, Dbar the mean
of all D_z in its weights and D_0 the null branch, every route is the mean of -log q, or the integral over snr of halves
of squared distances between u, D_Y, Dbar and D_0.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from companion.arguments import Array
from companion.denoiser import Denoiser
from companion.entropy import NULL
from companion.estimate.paths import Levels, Paths, by_levels

__all__ = ["Routes", "routes"]


@dataclass(frozen=True, eq=False)
class Routes:
    """What each path says at each level, (paths, levels): in nats, or for rates in nats per unit of snr.

    `log_snr` (levels,) begins with minus infinity. `entropy` and `surprise` are those of the accumulated posterior:
    its own entropy, and -log q(Y | path). Rates are halves of squared distances: `mixture` |D_Y - Dbar|^2, `null`
    |D_Y - D_0|^2, `between` |Dbar - D_0|^2, the losses |u - D_Y|^2, |u - Dbar|^2 and |u - D_0|^2; `spread` is the mean
    of |D_z - Dbar|^2 over the posterior, in place of the label. Those of the null branch are None for a model without.
    """

    log_snr: Array
    entropy: Array
    surprise: Array
    spread: Array
    mixture: Array
    loss_own: Array
    loss_mixture: Array
    null: Array | None = None
    between: Array | None = None
    loss_null: Array | None = None

    def integral(self, rate: Array) -> Array:
        """The integral of a rate over snr from nothing up to each level, (paths, levels).

        By the trapezoidal rule over log-snr: over snr it is too large by 2% at steps of 0.2, as rates fall with it.
        Before the first level the rate is that of the first level.
        """
        scaled, steps = np.exp(self.log_snr[1:]) * rate[:, 1:], np.diff(self.log_snr[1:])
        grown = np.cumsum(0.5 * steps * (scaled[:, 1:] + scaled[:, :-1]), axis=1)
        start = scaled[:, :1]
        return np.concatenate([np.zeros_like(start), start, start + grown], axis=1)

    def per_log_snr(self, rate: Array) -> tuple[Array, Array]:
        """The mean of a rate per unit of log-snr and its standard error, at the finite levels."""
        scaled = np.exp(self.log_snr[1:]) * rate[:, 1:]
        return scaled.mean(axis=0), scaled.std(axis=0, ddof=1) / np.sqrt(len(scaled))


def routes(
    model: Denoiser,
    labels: ArrayLike,
    log_snr: ArrayLike,
    data: torch.Tensor | None = None,
    seed: int = 0,
    block: int = 500,
    held: bool = False,
) -> Routes:
    """All routes along the model's own paths of the given `labels` (paths,), or of `data` with these labels.

    `held` keeps every denoiser over a step: then the likelihoods are exactly those of the chain that is drawn, whatever
    the denoisers are. Otherwise drifts are second order in the step. Raises InputError as `by_levels` does.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> found = routes(pair, [0, 1] * 50, np.linspace(-6.0, 4.0, 50))
    >>> bool(abs(found.mixture.shape[1] - 51) == 0 and found.entropy[:, -1].max() < 0.01)
    True
    """
    owner, classes = np.asarray(labels, dtype=np.int64), len(model.classes)
    branches = (*range(classes), NULL) if model.has_null else tuple(range(classes))
    paths = Paths(branches, owner, log_snr, seed, predicted=not held, data=data)
    log_weights = torch.from_numpy(np.log(np.asarray(model.weights)))
    parts = []
    for some in paths.blocks(block):
        mine = torch.as_tensor(np.asarray(some.owner))
        walked = by_levels(model, some, together=1)
        levels = [_at_level(level, mine, log_weights, held) for level in walked]
        parts.append({name: np.stack([each[name] for each in levels], axis=1) for name in levels[0]})
    columns = {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
    return Routes(log_snr=np.concatenate([[-np.inf], np.asarray(log_snr, dtype=np.float64)]), **columns)


def _at_level(level: Levels, mine: torch.Tensor, log_weights: torch.Tensor, held: bool) -> dict[str, Array]:
    """The fields of `Routes` at one level, each (paths,)."""
    rows, classes = torch.arange(len(mine)), len(log_weights)
    ratios = (level.held if held else level.averaged)[0, :, :classes]
    log_posterior = torch.log_softmax(ratios + log_weights, dim=1)
    posterior = log_posterior.exp()
    gaps = level.gaps[0]  # of every D from u
    own, mixture = gaps[rows, mine], torch.einsum("nz,nzd->nd", posterior, gaps[:, :classes])
    apart = {"mixture": own - mixture, "loss_own": own, "loss_mixture": mixture}
    if gaps.shape[1] > classes:
        null = gaps[:, classes]
        apart |= {"null": own - null, "between": mixture - null, "loss_null": null}
    found = {name: 0.5 * each.square().sum(dim=1) for name, each in apart.items()}
    found["spread"] = 0.5 * (posterior * (gaps[:, :classes] - mixture[:, None]).square().sum(dim=2)).sum(dim=1)
    # A class of probability 0 adds nothing to the entropy, however far its logarithm lies.
    found["entropy"] = -(posterior * log_posterior).sum(dim=1)
    found["surprise"] = -log_posterior[rows, mine]
    return {name: each.cpu().numpy() for name, each in found.items()}
