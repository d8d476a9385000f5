"""Classifier-free guidance: a rule by which samples are drawn, and no posterior mean.

    D_w = D_0 + w (D_c - D_0),    D_0 the model's unconditional branch,

w = 1 is no guidance (as in ES; SI's w is one less). Inside an interval of log-snr the weight is w, outside it 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from companion.arguments import Array, numbers
from companion.denoiser import Denoiser, FunctionDenoiser, digest_of
from companion.errors import InputError

__all__ = ["Guidance", "Guided", "guided", "unguided"]

EDGE = 1e-6  # what float32 loses between sigma and log-snr


@dataclass(frozen=True, eq=False)
class Guidance:
    """The weight of guidance at each log-snr: `weights` (n,) at increasing `log_snr` (n,), linear between them and
    constant beyond, from the first end of `interval` to below the second; 1 elsewhere.

    >>> Guidance(np.array([0.0]), np.array([3.0]), (-2.5, 0.5)).weight([-3.0, -2.5, 0.0, 0.5])
    array([1., 3., 3., 1.])
    """

    log_snr: Array
    weights: Array
    interval: tuple[float, float] | None = None

    def inside(self, log_snr: ArrayLike) -> NDArray[np.bool_]:
        first, last = self.interval or (-np.inf, np.inf)
        levels = np.asarray(log_snr, dtype=np.float64)
        return (levels >= first - EDGE) & (levels < last - EDGE)

    def weight(self, log_snr: ArrayLike) -> Array:
        levels = np.asarray(log_snr, dtype=np.float64)
        return np.where(self.inside(levels), np.interp(levels, self.log_snr, self.weights), 1.0)

    def jumps(self, log_snr: ArrayLike) -> list[int]:
        """The places of those levels before which guidance sets in or ends."""
        found: list[int] = (np.flatnonzero(np.diff(self.inside(log_snr))) + 1).tolist()
        return found

    def as_dict(self) -> dict[str, Any]:
        """The weight, a number or levels and weights, and the interval, or None: what JSON can hold."""
        table = [self.log_snr.tolist(), self.weights.tolist()]
        return {
            "weight": table if len(self.weights) > 1 else float(self.weights[0]),
            "interval": None if self.interval is None else list(self.interval),
        }


@dataclass(frozen=True, kw_only=True)
class Guided(FunctionDenoiser):
    """A rule of sampling behind the call of a denoiser: D_w of the denoiser `posterior`; `guided` makes one.

    Whatever takes its answers for posterior means, `examine`, `bracket`, another `guided`, refuses it.
    """

    posterior: Denoiser
    guidance: Guidance

    @property
    def decode(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        return getattr(self.posterior, "decode", None)


def guided(model: Denoiser, weight: ArrayLike, interval: tuple[float, float] | None = None) -> Denoiser:
    """A model that draws with guidance: D_w = D_0 + w (D_c - D_0) inside an interval of log-snr, D_c outside.

    `weight` is w, any finite number, or increasing log-snr (n,) and the weights (n,) there, linear between and constant
    beyond. `interval` is from its first log-snr to below its second, and everywhere by default. What comes back is
    called as the model is, (batch, *shape), for samplers; where a batch has no level inside, the unconditional branch
    is not asked. It is no posterior mean, and is refused where one is needed; `profile` draws paths with it and scores
    them with the model. A weight of 1 is no guidance: it gives the model itself.

    Raises InputError for a model without an unconditional branch, one that is guided already, a weight that is not
    finite, and an interval that is upside down or not inside the model's range. Source: Ho and Salimans (2022),
    Kynkäänniemi et al. (2024).

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> rule = guided(pair, 3.0, (-2.5, 0.5))
    >>> x, sigma = torch.zeros(2, 1, dtype=torch.float64), torch.tensor([1.0, 0.1], dtype=torch.float64)
    >>> rule(x, sigma, torch.tensor([1, 1])).flatten().tolist()
    [3.0, 1.0]
    >>> guided(pair, 1.0) is pair
    True
    """
    unguided(model)
    if not model.has_null:
        raise InputError("model", model.name, "one with an unconditional branch, which guidance leads away from")
    said, (lowest, highest) = "a finite number, or increasing log-snr and as many finite weights", model.log_snr_range
    table = numbers("weight", weight, said, np.isfinite)
    if table.ndim == 0:
        table = np.array([[0.0], [float(table)]])
    if table.ndim != 2 or len(table) != 2 or table.size == 0 or not np.all(np.diff(table[0]) > 0.0):
        raise InputError("weight", weight, said)
    if interval is not None:
        said = f"two increasing log-snr in the model's range, {lowest:.3f} to {highest:.3f}"
        ends = numbers("interval", interval, said, lambda end: (end >= lowest - EDGE) & (end <= highest + EDGE))
        if ends.shape != (2,) or not ends[0] < ends[1]:
            raise InputError("interval", interval, said)
        interval = float(ends[0]), float(ends[1])
    if np.all(table[1] == 1.0):
        return model
    rule = Guidance(table[0], table[1], interval)

    def drawn(x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        weights = rule.weight(-2.0 * np.log(sigma.detach().cpu().double().numpy()))
        return _led(partial(model, x, sigma), condition, torch.from_numpy(weights).to(x))

    def drawn_from_noise(noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        weights = torch.full((len(noise),), float(rule.weight(lowest))).to(noise)
        return _led(partial(model.from_noise, noise), condition, weights)  # type: ignore[attr-defined]

    facts = {name: getattr(model, name) for name in ("shape", "classes", "weights", "has_null", "log_snr_range")}
    facts |= {name: getattr(model, name) for name in ("dtype", "device", "name")}
    told = torch.from_numpy(np.append(table, [interval or (-np.inf, np.inf)]))
    return Guided(
        drawn,
        **facts,
        digest=f"{model.digest}-{digest_of(told)}",
        from_noise=drawn_from_noise if getattr(model, "from_noise", None) else None,
        posterior=model,
        guidance=rule,
    )


def unguided(model: Denoiser) -> Denoiser:
    """The model itself, where it is no rule of guidance: InputError for one, wherever a posterior mean is needed."""
    if isinstance(model, Guided):
        raise InputError("model", f"{model.name}, guided", "a posterior mean: a guided prediction is none")
    return model


def _led(ask: Callable[..., torch.Tensor], condition: torch.Tensor | None, weight: torch.Tensor) -> torch.Tensor:
    """D_w of a batch with the weights (batch,), from what `ask` says of a condition; D_c to the bit where w is 1."""
    conditional = ask(condition)
    if condition is None or bool((weight == 1.0).all()):
        return conditional
    null, w = ask(None), weight.reshape(-1, *(1,) * (conditional.dim() - 1))
    return torch.where(w == 1.0, conditional, null + w * (conditional - null))
