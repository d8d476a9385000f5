"""What every trained network has in common behind the denoiser contract; an adapter adds how its network is called.

Rows 0 to K-1 of whatever a network is conditioned on are its classes, row K is its null.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike

from companion.errors import InputError
from companion.models.schedules import Array, Schedule, looks

__all__ = ["TrainedDenoiser"]


@dataclass(frozen=True, eq=False)
class TrainedDenoiser(ABC):
    """A network, its schedule and its classes as D(x, sigma | condition).

    The network is put in eval mode and its weights are frozen. States stay in float32 (float64 for a float64 network);
    a network in half precision gets them rounded, and only its own output is rounded with them. `vae` is the
    autoencoder of a latent model, for `decode`.
    """

    network: torch.nn.Module
    schedule: Schedule
    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    weights: tuple[float, ...]
    has_null: bool
    digest: str
    vae: Any = None

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)

    @abstractmethod
    def output(self, state: torch.Tensor, times: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """What the network says of states in its own frame and dtype, at timesteps (batch,), for rows (batch,)."""

    @property
    def log_snr_range(self) -> tuple[float, float]:
        """The log-snr of the last and of the first timestep; a last one without any signal is left out."""
        return self.schedule.log_snr_range

    @property
    def dtype(self) -> torch.dtype:
        """float64 for a float64 network, else float32, also when the network computes in half precision."""
        return torch.float64 if self.network_dtype == torch.float64 else torch.float32

    @property
    def network_dtype(self) -> torch.dtype:
        """The dtype of the network's weights."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next(self.network.parameters()).device

    def timestep(self, log_snr: ArrayLike) -> Array:
        """The timestep that the network is told at a log-snr; see `Schedule.timestep`."""
        return self.schedule.timestep(log_snr)

    def log_snr_used(self, log_snr: ArrayLike) -> Array:
        """The log-snr whose timestep the network is really told; see `Schedule.log_snr_used`."""
        return self.schedule.log_snr_used(log_snr)

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        """The posterior mean D, (batch, *shape), in the dtype of `x`.

        Raises InputError for a class outside 0 to K-1, for None without a null class, for noise outside the range and
        for a network in train mode. On a GPU, where looking at numbers would make the program wait for the device,
        classes and noise outside their range give NaN instead.
        """
        place = torch.device("cpu") if looks(x.device) else x.device
        log_snr = -2.0 * sigma.detach().to(place, torch.float64).log()
        rows, known = self._rows(condition, len(x), x.device)
        if place.type == "cpu":
            self.schedule.check(log_snr)
            return self.schedule.posterior_mean(self._call(rows), x, log_snr)
        mean = self.schedule.posterior_mean(self._call(rows), x, log_snr)
        inside = (known & self.schedule.inside(log_snr)).reshape(-1, *(1,) * (x.dim() - 1))
        return torch.where(inside, mean, torch.nan)

    @property
    def from_noise(self) -> Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None:
        """D at snr 0 as a function of (noise, condition), or None where the network was not trained without signal.

        There the state is the unit noise itself, (batch, *shape), and D is the mean of the class.
        """
        return self._from_noise if self.schedule.starts_from_noise else None

    @torch.no_grad()
    def _from_noise(self, noise: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        rows, known = self._rows(condition, len(noise), noise.device)
        mean = self.schedule.mean_from_noise(self._call(rows), noise)
        return torch.where(known.reshape(-1, *(1,) * (noise.dim() - 1)), mean, torch.nan)

    @property
    def decode(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Images, values about -1 to 1, as a function of latents D, or None where D is the image; for drawing only."""
        return None if self.vae is None else lambda latents: _decoded(self.vae, latents)

    def _rows(
        self, condition: torch.Tensor | None, count: int, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows that a condition names, and which of them are there: on a GPU, on a CPU all of them are."""
        if condition is None:
            if not self.has_null:
                raise InputError("condition", None, f"a class: {self.name} has no null class")
            rows = torch.full((count,), len(self.classes), device=device)
            return rows, torch.ones_like(rows, dtype=torch.bool)
        known = (condition >= 0) & (condition < len(self.classes))
        if looks(device) and not bool(known.all()):
            raise InputError("condition", condition.tolist(), f"classes from 0 to {len(self.classes) - 1}")
        return torch.where(known, condition, 0), known

    def _call(self, rows: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        if self.network.training:
            raise InputError("the network", "in train mode", "eval mode: call network.eval()")
        return lambda state, times: self.output(state.to(self.network_dtype), times, rows)


def _decoded(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents are the autoencoder's, shifted and scaled to about unit variance; this takes both back and decodes."""
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
