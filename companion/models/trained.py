"""What every trained network has in common behind the denoiser contract; an adapter adds how its network is called.

Rows 0 to K-1 of whatever a network is conditioned on are its classes, row K is its null.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from companion.errors import InputError
from companion.models.pretrained import check_size
from companion.models.schedules import Schedule

__all__ = ["TrainedDenoiser", "decoder"]


@dataclass(frozen=True, eq=False)
class TrainedDenoiser(ABC):
    """A network, its schedule and its classes as D(x, sigma | condition).

    The network is put in eval mode and its weights are frozen. States stay in float32 (float64 for a float64 network);
    a network in half precision gets them rounded, and only its own output is rounded with them. `decode` is None where
    D is the image.
    """

    network: torch.nn.Module
    schedule: Schedule
    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    weights: tuple[float, ...]
    has_null: bool
    digest: str
    decode: Callable[[torch.Tensor], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        for network in self.networks:
            network.eval().requires_grad_(False)

    @abstractmethod
    def output(self, state: torch.Tensor, times: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """What the network says of states in its frame and dtype, told timesteps and classes (batch,) or its null."""

    @property
    def networks(self) -> tuple[torch.nn.Module, ...]:
        return (self.network,)

    @property
    def log_snr_range(self) -> tuple[float, float]:
        return self.schedule.log_snr_range

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.network_dtype == torch.float64 else torch.float32

    @property
    def network_dtype(self) -> torch.dtype:
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """The posterior mean D, (batch, *shape), in the dtype of `x`.

        Raises InputError for a class outside 0 to K-1, for None without a null class, for noise outside the range and
        for a network in train mode. On a GPU, where looking at numbers would make the program wait for the device,
        classes and noise outside their range give NaN instead.
        """
        place = torch.device("cpu") if _looks(x.device) else x.device
        log_snr = -2.0 * sigma.detach().to(place, torch.float64).log()
        condition, known = self._known(condition, x)
        if place.type == "cpu":
            self.schedule.check(log_snr)
        mean = self.schedule.posterior_mean(self._call(condition), x, log_snr)
        return _nan_outside(known & self.schedule.inside(log_snr).to(x.device), mean)

    @property
    def from_noise(self) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None:
        """D at snr 0 as a function of (noise, condition), or None where the network was not trained without signal."""
        return self._from_noise if self.schedule.starts_from_noise else None

    @torch.no_grad()
    def _from_noise(self, noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        condition, known = self._known(condition, noise)
        return _nan_outside(known, self.schedule.mean_from_noise(self._call(condition), noise))

    def rows(self, condition: torch.Tensor | None, state: torch.Tensor) -> torch.Tensor:
        """Which of the K + 1 rows of what the network is conditioned on a batch asks for; the last is the null's."""
        null = len(self.classes)
        return torch.full((len(state),), null, device=state.device) if condition is None else condition

    def _known(self, condition: torch.Tensor | None, x: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The condition with 0 where there is no such class, and where there is one: on a CPU everywhere."""
        if condition is None:
            if not self.has_null:
                raise InputError("condition", None, f"a class: {self.name} has no null class")
            return None, torch.ones(len(x), dtype=torch.bool, device=x.device)
        known = (condition >= 0) & (condition < len(self.classes))
        if _looks(x.device) and not bool(known.all()):
            raise InputError("condition", condition.tolist(), f"classes from 0 to {len(self.classes) - 1}")
        return torch.where(known, condition, 0), known

    def _call(self, condition: torch.Tensor | None) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        if any(network.training for network in self.networks):
            raise InputError("the network", "in train mode", "eval mode: call network.eval()")
        # Further channels are learned variances.
        return lambda state, times: self.output(state.to(self.network_dtype), times, condition)[:, : self.shape[0]]


def _looks(device: torch.device) -> bool:
    """Whether numbers on a device may be looked at: on an accelerator the program would have to wait for them."""
    # Apple's is looked at all the same, because clocks are kept in float64, which it does not have.
    return device.type in ("cpu", "mps")


def _nan_outside(inside: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    return torch.where(inside.reshape(-1, *(1,) * (mean.dim() - 1)), mean, torch.nan)


def decoder(vae: Any, channels: int) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Images (batch, 3, height, width) as a function of latents, by an `AutoencoderKL`; None without one.

    Latents (batch, channels, height, width) are shifted and scaled to about unit variance; both are taken back. Raises
    InputError for an autoencoder of another number of channels.
    """
    if vae is None:
        return None
    check_size("latent_channels of the autoencoder", vae.config.latent_channels, channels, "as the network's")
    return lambda latents: _decoded(vae, latents)


def _decoded(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    config = vae.config
    if getattr(config, "latents_mean", None) is not None and getattr(config, "latents_std", None) is not None:
        mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std))
        latents = latents * std.to(latents) / config.scaling_factor + mean.to(latents)
    else:
        latents = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    parameter = next(vae.parameters())
    if getattr(config, "force_upcast", False) and parameter.dtype == torch.float16:  # it overflows there
        vae, parameter = copy.deepcopy(vae).float(), parameter.float()
    with torch.no_grad():
        images: torch.Tensor = vae.decode(latents.to(parameter.device, parameter.dtype), return_dict=False)[0]
    return images.float()
