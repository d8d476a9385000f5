"""A trained diffusers `UNet2DModel` behind the denoiser contract, from a folder that `save_pretrained` wrote.

The network lives in its own frame alpha x_0 + beta eps and is told a timestep. Dividing by alpha gives the contract's
x = x_0 + sigma eps, so the network is asked at c_in x and its output becomes

    D = c_skip x + c_out output,

with the coefficients that `companion.models.schedules` derives for epsilon, sample, v_prediction, flow and EDM.

A folder is a pipeline's (`unet/` and `scheduler/`) or a model's, with `scheduler_config.json` in it or in `scheduler/`
beside it. The last row of the class embedding is the null class. A `companion.json` in the folder may say otherwise:
`{"name": ..., "classes": [...], "weights": [...], "has_null": true}`, each key optional, and no other key allowed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from companion.errors import InputError
from companion.models.folders import (
    check_size,
    described,
    diffusers,
    digest_of_network,
    load_network,
    name_of,
    read_json,
    refuse_distilled,
    sides,
    stored_description,
)
from companion.models.schedules import Array, schedule_of
from companion.models.trained import TrainedDenoiser

__all__ = ["SHIPPED", "UNetDenoiser", "load", "scheduler_config"]

SHIPPED = ("digits",)


@dataclass(frozen=True, eq=False)
class UNetDenoiser(TrainedDenoiser):
    """A class-conditional `UNet2DModel` as D(x, sigma | condition); `load` makes one.

    `condition=None` calls the last row of the class embedding. What the network has learned of variances, in further
    channels, is left aside.

    >>> model = load("digits")
    >>> model(torch.zeros(2, 1, 8, 8), torch.ones(2), torch.tensor([3, 8])).shape
    torch.Size([2, 1, 8, 8])
    >>> float(model.timestep(0.0).round(1)), float(model.log_snr_used(0.3))
    (258.1, 0.3)
    """

    @property
    def timesteps(self) -> Array:
        """The timesteps of the schedule's table, float64."""
        return self.schedule.timesteps

    @property
    def clock(self) -> Array:
        """The log-snr, decreasing, of the timesteps."""
        return self.schedule.clock

    @property
    def prediction(self) -> str:
        """What the network predicts: epsilon, sample, v_prediction, edm or flow."""
        return self.schedule.prediction

    @property
    def fractional(self) -> bool:
        """Whether the network takes fractions of a timestep."""
        return self.schedule.fractional

    def output(self, state: torch.Tensor, times: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.network(state, times, class_labels=rows, return_dict=False)[0]
        return said


def load(
    model: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    allow_pickle: bool = False,
) -> UNetDenoiser:
    """A shipped model by its name ("digits"), or any `UNet2DModel` from the folder that `save_pretrained` wrote.

    Only the bare word is the shipped model, also where a folder of that name is: "./digits" and Path("digits") are it.

    Nothing is downloaded and nothing is unpickled, unless `allow_pickle` says that the folder's pickles may be (by
    torch's restricted reader, which takes tensors only). Raises InputError when `model` is neither, when the weights
    are pickled, missing, truncated or of another shape than the configuration, and when network or scheduler are of a
    kind that has no place behind the contract.

    >>> load("digits").classes
    ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    folder = Path(__file__).parent / "weights" / model if isinstance(model, str) and model in SHIPPED else Path(model)
    if not folder.is_dir():
        raise InputError("model", model, f"a shipped model ({', '.join(SHIPPED)}) or a folder save_pretrained wrote")
    inner = folder / "unet" if (folder / "unet").is_dir() else folder
    written = read_json(inner / "config.json")
    _check_kind(written)
    scheduler = scheduler_config(inner)
    name = name_of(folder)
    refuse_distilled(name, str(scheduler.get("_class_name")), written)
    shape = sides(written)
    network = load_network(diffusers.UNet2DModel, inner, dtype, allow_pickle).to(device)
    schedule = schedule_of(scheduler, fractional=network.config.time_embedding_type == "positional")
    if not schedule.fractional:
        last = int(schedule.timesteps[-1] if schedule.terminal is None else schedule.terminal)
        rows = network.time_proj.num_embeddings
        check_size(
            "num_train_timesteps of the network", rows, last + 1, "one row of its time embedding for each timestep"
        )
    stored = stored_description(folder)

    config: Any = network.config
    _check_channels(config, shape)
    has_null = stored.get("has_null", True)
    count = config.num_class_embeds - bool(has_null)
    if count < 2:
        least = "3, two classes and the null class" if has_null else "2"
        raise InputError("num_class_embeds", config.num_class_embeds, f"at least {least}")
    said = described(stored, name, range(count))
    # As stored, because another version of diffusers may know further options.
    told = {key: value for key, value in sorted(written.items()) if not key.startswith("_")}
    return UNetDenoiser(
        network=network,
        schedule=schedule,
        name=said.name,
        shape=(config.in_channels, *shape),
        classes=said.classes,
        weights=said.weights,
        has_null=said.has_null,
        digest=digest_of_network(network, told=[schedule.described, told]),
    )


def scheduler_config(folder: Path) -> dict[str, Any]:
    """The scheduler's configuration from a model's folder, from `scheduler/` in it, or from `scheduler/` beside it."""
    for place in (folder, folder / "scheduler", folder.resolve().parent / "scheduler"):
        if (place / "scheduler_config.json").exists():
            return read_json(place / "scheduler_config.json")
    expected = (
        "scheduler_config.json in the folder, or in scheduler/ beside it, with what it was trained on, such as "
        '{"_class_name": "DDPMScheduler", "beta_schedule": "linear", "prediction_type": "epsilon"}'
    )
    raise InputError("scheduler", f"missing for {folder}", expected)


def _check_kind(config: dict[str, Any]) -> None:
    kind, embeddings = config.get("_class_name"), config.get("num_class_embeds")
    if kind != "UNet2DModel":
        raise InputError("model", kind, "a UNet2DModel")
    if config.get("class_embed_type") is not None:
        raise InputError("class_embed_type", config["class_embed_type"], "null: one embedding for each class")
    if type(embeddings) is not int:
        raise InputError("num_class_embeds", embeddings, "a network with one embedding for each class")
    if config.get("time_embedding_type", "positional") not in ("positional", "learned"):
        raise InputError("time_embedding_type", config["time_embedding_type"], "positional or learned")


def _check_channels(config: Any, shape: tuple[int, int]) -> None:
    halved = 2 ** (len(config.block_out_channels) - 1)  # by every block of the network but the last
    if any(side % halved for side in shape):
        raise InputError("sample_size", config.sample_size, f"a height and a width that are multiples of {halved}")
    if config.out_channels not in (config.in_channels, 2 * config.in_channels):
        raise InputError("out_channels", config.out_channels, f"{config.in_channels}, or twice that")
