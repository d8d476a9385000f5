"""A diffusion transformer of diffusers, `DiTTransformer2DModel`, behind the denoiser contract.

The network is trained on latents of an autoencoder, noised to alpha x_0 + beta eps on DDPM's linear schedule, and says
eps (Peebles and Xie 2023). At the state c_in x = alpha x,

    D = x - sigma output[:C],        sigma = beta / alpha,

with the first C channels of its 2C: the others are learned variances, which the estimator does not use. Other
prediction types convert as `companion.models.schedules` derives. Labels are rows 0 to K-1 of K+1, and row K is what
the network saw when a label was dropped in training: its null class. It still drops labels at random in train mode,
so eval mode is enforced. D lives in latent space; `decode` is for drawing only.
"""

from collections.abc import Mapping, Sequence
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
    home,
    load_network,
    name_of,
    read_json,
    refuse_distilled,
    sides,
    stored_description,
)
from companion.models.schedules import schedule_of
from companion.models.trained import TrainedDenoiser
from companion.models.unet import scheduler_config

__all__ = ["DiTDenoiser", "from_pipeline", "load"]


@dataclass(frozen=True, eq=False)
class DiTDenoiser(TrainedDenoiser):
    """A class-conditional `DiTTransformer2DModel` as D(x, sigma | condition), in latent space; `load` makes one.

    `condition=None` calls the row of dropped labels.
    """

    def output(self, state: torch.Tensor, times: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.network(state, timestep=times, class_labels=rows, return_dict=False)[0]
        return said


def load(
    folder: str | Path,
    weights: Sequence[float] = (),
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    allow_pickle: bool = False,
) -> DiTDenoiser:
    """The model in the folder of a `DiTPipeline` (`transformer/`, `vae/`, `scheduler/`), or of its transformer alone.

    Classes are named by the first name that `id2label` in model_index.json has for each, else by their number; a
    `companion.json` may say otherwise, as for `companion.models.unet`. Nothing is downloaded; pickled weights are
    read, by torch's restricted reader, only with `allow_pickle`. Raises InputError for a folder that holds something
    else, or weights that do not fit.
    """
    folder = Path(folder)
    inner = folder / "transformer" if (folder / "transformer").is_dir() else folder
    config = read_json(inner / "config.json")
    # Transformer2DModel is what the class was called when the published weights were written.
    legacy = config.get("_class_name") == "Transformer2DModel" and config.get("norm_type") == "ada_norm_zero"
    if config.get("_class_name") != "DiTTransformer2DModel" and not legacy:
        raise InputError("model", config.get("_class_name"), "a DiTTransformer2DModel")
    scheduler = scheduler_config(inner)
    name, index = name_of(folder), home(folder) / "model_index.json"
    refuse_distilled(name, str(scheduler.get("_class_name")), config)
    names = (read_json(index).get("id2label") or {}) if index.exists() else {}
    if not isinstance(names, dict) or not all(isinstance(each, str) for each in names.values()):
        raise InputError("id2label", names, "a name for each class's number")
    sides(config)
    network = load_network(diffusers.DiTTransformer2DModel, inner, dtype, allow_pickle).to(device)
    vae = None
    if (folder / "vae").is_dir():
        vae = load_network(diffusers.AutoencoderKL, folder / "vae", torch.float32, allow_pickle).to(device)
    return _denoiser(network, scheduler, vae, name, names, weights, stored_description(folder))


def from_pipeline(pipeline: Any, weights: Sequence[float] = (), name: str = "") -> DiTDenoiser:
    """The model of a loaded `DiTPipeline`, on its device and in its dtype. Raises InputError as `load` does."""
    scheduler = {**pipeline.scheduler.config, "_class_name": type(pipeline.scheduler).__name__}
    came = name_of(str(pipeline.name_or_path or "DiT"))
    refuse_distilled(came, scheduler["_class_name"], pipeline.transformer.config)
    names = {str(label): text for text, label in pipeline.labels.items()}
    return _denoiser(pipeline.transformer, scheduler, pipeline.vae, name or came, names, weights, {})


def _denoiser(
    network: Any,
    scheduler: Mapping[str, Any],
    vae: Any,
    name: str,
    names: Mapping[str, str],
    weights: Sequence[float],
    stored: Mapping[str, Any],
) -> DiTDenoiser:
    config = network.config
    rows = len(network.transformer_blocks[0].norm1.emb.class_embedder.embedding_table.weight)
    count = config.num_embeds_ada_norm
    if count < 2 or any(number not in map(str, range(count)) for number in names):
        raise InputError("num_embeds_ada_norm", count, "at least two classes, those of id2label in model_index.json")
    if vae is not None:
        check_size(
            "latent_channels of the autoencoder", vae.config.latent_channels, config.in_channels, "as in_channels"
        )
    if network.out_channels not in (config.in_channels, 2 * config.in_channels):
        raise InputError("out_channels", network.out_channels, f"{config.in_channels}, or twice that")
    schedule = schedule_of(scheduler)
    said = described(stored, name, _different(names.get(str(k), str(k)).split(",")[0] for k in range(count)), weights)
    if stored.get("has_null") and rows == count:
        raise InputError("has_null in companion.json", True, "false: the network has no row for dropped labels")
    told = {key: value for key, value in sorted(dict(config).items()) if not key.startswith("_")}
    return DiTDenoiser(
        network=network,
        schedule=schedule,
        name=said.name,
        shape=(config.in_channels, *sides(config)),
        classes=said.classes,
        weights=said.weights,
        has_null=said.has_null and rows > count,  # a network that dropped no labels in training has no row for it
        digest=digest_of_network(network, told=[schedule.described, told]),
        vae=vae,
    )


def _different(names: Any) -> list[str]:
    """Names as they are, with their number added where one comes again: ImageNet has two kinds of crane."""
    found: list[str] = []
    for number, name in enumerate(names):
        found.append(f"{name.strip()} ({number})" if name.strip() in found else name.strip())
    return found
