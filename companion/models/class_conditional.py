"""Class-conditional networks of diffusers behind the denoiser contract: `UNet2DModel` and `DiTTransformer2DModel`.

A network lives in its own frame alpha x_0 + beta eps and is told a timestep and a row of its class embedding;
`companion.models.schedules` makes D of what it says. The last row of a U-Net's embedding is the null class. A
transformer's is what it saw when a label was dropped in training (Peebles and Xie 2023); it still drops labels at
random in train mode, so eval mode is enforced, and its D lives in latent space.

A folder is a pipeline's (`unet/` or `transformer/`, `scheduler/`, for latents `vae/`) or a network's alone, with
`scheduler_config.json` in it or in `scheduler/` beside it. Classes are called as `id2label` in model_index.json says
first, else by their numbers. A `companion.json` in the folder may say otherwise:
`{"name": ..., "classes": [...], "weights": [...], "has_null": true}`, each key optional, and no other key allowed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from companion.errors import InputError
from companion.models import pretrained
from companion.models.pretrained import diffusers
from companion.models.schedules import schedule_of
from companion.models.trained import TrainedDenoiser, decoder

__all__ = ["ClassDenoiser", "from_folder", "from_network"]

Facts = Mapping[str, Any]


class ClassDenoiser(TrainedDenoiser):
    """A class-conditional network as D(x, sigma | condition); `from_folder` or `from_network` makes one.

    >>> from companion.models.load import load
    >>> load("digits")(torch.zeros(2, 1, 8, 8), torch.ones(2), torch.tensor([3, 8])).shape
    torch.Size([2, 1, 8, 8])
    """

    def output(self, state: torch.Tensor, times: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        rows = self.rows(condition, state)
        said: torch.Tensor = self.network(state, timestep=times, class_labels=rows, return_dict=False)[0]
        return said


def from_folder(folder: Path, weights: Sequence[float], read: Callable[..., Any]) -> ClassDenoiser:
    """The model in a folder that `save_pretrained` wrote, by `read`, which is `load_network` for a device and a dtype;
    the autoencoder is read in float32. Raises InputError as `companion.models.load` does."""
    inner = next((folder / part for part in ("unet", "transformer") if (folder / part).is_dir()), folder)
    config, scheduler = pretrained.read_json(inner / "config.json"), _scheduler_config(inner)
    name, index = pretrained.name_of(folder), pretrained.home(folder) / "model_index.json"
    pretrained.refuse_distilled(name, str(scheduler.get("_class_name")), config)
    kind = _kind(config)
    names = (pretrained.read_json(index).get("id2label") or {}) if index.exists() else {}
    if not isinstance(names, dict) or not all(isinstance(each, str) for each in names.values()):
        raise InputError("id2label", names, "a name for each class's number")
    network, vae = read(kind, inner), None
    if kind is diffusers.DiTTransformer2DModel and (folder / "vae").is_dir():
        vae = read(diffusers.AutoencoderKL, folder / "vae", dtype=torch.float32)
    stored = {"name": name, **pretrained.stored_description(folder)}
    return from_network(network, scheduler, weights, vae, names, stored, config)


def from_network(
    network: Any, scheduler: Any, weights: Sequence[float], vae: Any, names: Facts, stored: Facts, written: Facts
) -> ClassDenoiser:
    """The model of a loaded network and of the scheduler that it was trained with, on its device and in its dtype.

    `vae` is the autoencoder of its latents, `names` calls classes by their numbers; `stored` is the content of a
    `companion.json` and `written` the network's configuration as its folder has it. Raises InputError as `load` does.
    """
    config = network.config
    # As written, because another version of diffusers may know further options.
    written = written or {**config, "_class_name": type(network).__name__}
    _kind(written)
    shape, null = (config.in_channels, *pretrained.sides(config)), bool(stored.get("has_null", True))
    schedule = schedule_of(scheduler, fractional=config.get("time_embedding_type", "positional") == "positional")
    if isinstance(network, diffusers.UNet2DModel):
        key, rows, least = "num_class_embeds", config.num_class_embeds, "3, two classes and the null class"
        count, least = rows - null, least if null else "2"
        halved = 2 ** (len(config.block_out_channels) - 1)  # by every block of the network but the last
        if any(side % halved for side in shape[1:]):
            raise InputError("sample_size", config.sample_size, f"a height and a width that are multiples of {halved}")
    else:
        table = network.transformer_blocks[0].norm1.emb.class_embedder.embedding_table
        key, rows, count, least = "num_embeds_ada_norm", len(table.weight), config.num_embeds_ada_norm, "2"
    if not schedule.fractional:
        last = int(schedule.timesteps[-1] if schedule.terminal is None else schedule.terminal)
        whose, learned = "num_train_timesteps of the network", network.time_proj.num_embeddings
        pretrained.check_size(whose, learned, last + 1, "one row of its time embedding for each timestep")
    if count < 2 or any(number not in map(str, range(count)) for number in names):
        raise InputError(key, config[key], f"at least {least}, and the classes of id2label in model_index.json")
    if (config.out_channels or config.in_channels) not in (config.in_channels, 2 * config.in_channels):
        raise InputError("out_channels", config.out_channels, f"{config.in_channels}, or twice that")
    name = pretrained.name_of(str(config.get("_name_or_path") or type(network).__name__))
    known: list[str] = []
    for k in range(count):  # ImageNet has two kinds of crane: the second is told by its number
        called = names.get(str(k), str(k)).split(",")[0].strip()
        known.append(f"{called} ({k})" if called in known else called)
    said = pretrained.described(stored, name, known, weights)
    if stored.get("has_null") and rows == count:
        raise InputError("has_null in companion.json", True, "false: the network has no row for dropped labels")
    said["has_null"] &= rows > count  # a network that dropped no labels in training has no row for it
    told = {key: value for key, value in sorted(written.items()) if not key.startswith("_")}
    digest = pretrained.digest_of_network(network, told=[schedule.described, told])
    return ClassDenoiser(network, schedule, shape=shape, digest=digest, decode=decoder(vae, shape[0]), **said)


def _kind(config: Mapping[str, Any]) -> Any:
    """The class of a network, by its configuration; InputError where it has no place behind the contract."""
    kind, embeddings = config.get("_class_name"), config.get("num_class_embeds")
    # Transformer2DModel is what the class was called when the published weights were written.
    if kind == "DiTTransformer2DModel" or (kind == "Transformer2DModel" and config.get("norm_type") == "ada_norm_zero"):
        return diffusers.DiTTransformer2DModel
    if kind != "UNet2DModel":
        raise InputError("model", kind, "a UNet2DModel or a DiTTransformer2DModel")
    if config.get("class_embed_type") is not None:
        raise InputError("class_embed_type", config["class_embed_type"], "null: one embedding for each class")
    if type(embeddings) is not int:
        raise InputError("num_class_embeds", embeddings, "a network with one embedding for each class")
    if config.get("time_embedding_type", "positional") not in ("positional", "learned"):
        raise InputError("time_embedding_type", config["time_embedding_type"], "positional or learned")
    return diffusers.UNet2DModel


def _scheduler_config(folder: Path) -> dict[str, Any]:
    """A scheduler's configuration, from a network's folder, from `scheduler/` in it or beside it."""
    for place in (folder, folder / "scheduler", folder.resolve().parent / "scheduler"):
        if (place / "scheduler_config.json").exists():
            return pretrained.read_json(place / "scheduler_config.json")
    such = '{"_class_name": "DDPMScheduler", "beta_schedule": "linear", "prediction_type": "epsilon"}'
    expected = "scheduler_config.json in the folder, or in scheduler/ beside it, with what it was trained on, such as"
    raise InputError("scheduler", f"missing for {folder}", f"{expected} {such}")
