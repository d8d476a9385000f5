"""Anyone's model: one call that sees what it is given, or what a folder holds, and returns it behind the contract.

The classes of a UNet2DModel, in a pipeline or alone, and of a DiTPipeline or DiTTransformer2DModel are rows of its
embedding; those of the pipelines of Stable Diffusion (1.x, 2.x, XL, 3) are prompts. Networks of EDM and EDM2, which are
files and not folders, have `companion.models.edm`; your own function needs only `companion.denoiser.FunctionDenoiser`.
Distilled and guidance-trained models (FLUX.1, turbo, LCM and their like) are refused: they are no posterior means.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from companion.arguments import composed
from companion.errors import InputError, foreign
from companion.models import class_conditional, pretrained, stable_diffusion
from companion.models.pretrained import diffusers, load_network, refuse_distilled
from companion.models.stable_diffusion import PIPELINES
from companion.models.trained import TrainedDenoiser

__all__ = ["SHIPPED", "load"]

SHIPPED = ("digits",)
_KNOWN = f"a UNet2DModel, a DiTPipeline, {', '.join(PIPELINES)}, or a shipped model ({', '.join(SHIPPED)})"


def load(
    model: Any,
    prompts: Sequence[str] = (),
    weights: Sequence[float] = (),
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    allow_pickle: bool = False,
    scheduler: Any = None,
    name: str = "",
) -> TrainedDenoiser:
    """A model as a `Denoiser`, D = E[x_0 | x_0 + sigma eps = x, condition], whatever its network predicts.

    `model` is a shipped model's name, a folder that diffusers' `save_pretrained` wrote ("./digits", not the bare word),
    or what is loaded already: a pipeline (changed by hand, with a LoRA, say) or a network and the `scheduler` that it
    was trained with. What is loaded stays on its device and in its dtype; its network is put in eval mode and its
    weights are frozen. It is called `name`, else by its folder or its hub's repository.

    `prompts` are the classes of a text-to-image pipeline, at least two different texts; `weights` (K,) their prior,
    equal unless given (a `companion.json` in the folder may hold them for a class-conditional network). A folder's
    network computes on `device` ("cpu") in `dtype` (float32). Nothing is downloaded. With `allow_pickle` weights that
    are not safetensors are read too, by torch's restricted reader, which takes tensors only. Raises InputError for any
    other model, for prompts missing or not asked for, for weights not finite or not fitting, and for a distilled model.

    >>> load("digits").classes[:3]
    ('0', '1', '2')
    """
    refuse_distilled(name, "", {})
    if scheduler is not None and not isinstance(model, torch.nn.Module):
        raise InputError("scheduler", scheduler, "none here: only a network alone lacks its own")
    if not isinstance(model, str | Path):
        for key, value in (("device", device), ("dtype", dtype)):
            if value is not None:
                raise InputError(key, value, "none here: a loaded model stays as it is")
        found = _of_object(model, prompts, weights, scheduler)
    else:
        place = "cpu" if device is None else device
        with foreign("device", place, "a device of this torch, such as cpu or cuda"):
            torch.zeros(1, device=place).cpu()
        read = partial(load_network, dtype=dtype or torch.float32, device=place, allow_pickle=allow_pickle)
        found = _of_folder(model, prompts, weights, read)
    return replace(found, name=composed(name)) if name else found


def _of_folder(
    model: str | Path, prompts: Sequence[str], weights: Sequence[float], read: Callable[..., Any]
) -> TrainedDenoiser:
    folder = Path(__file__).parent / "weights" / model if model in SHIPPED else Path(model)
    if folder.suffix == ".pkl":
        raise InputError("model", model, "a folder; companion.models.edm.load reads the checkpoints of EDM and EDM2")
    if not folder.is_dir():
        raise InputError("model", model, f"a shipped model ({', '.join(SHIPPED)}) or a folder save_pretrained wrote")
    kind, parts = _kind(folder)
    if kind in PIPELINES:
        return stable_diffusion.from_folder(kind, folder, prompts, weights, read)
    _no_prompts(kind, prompts)
    if {"UNet2DModel", "DiTTransformer2DModel", "Transformer2DModel"} & parts or kind == "DiTPipeline":
        return class_conditional.from_folder(folder, weights, read)
    refuse_distilled(pretrained.name_of(folder), "", {}, kind)
    raise InputError("model", f"a {kind}", _KNOWN)


def _of_object(model: Any, prompts: Sequence[str], weights: Sequence[float], scheduler: Any) -> TrainedDenoiser:
    kind, config = type(model).__name__, model.config if isinstance(model, diffusers.ConfigMixin) else {}
    held = model.components if isinstance(model, diffusers.DiffusionPipeline) else {"the network": model}
    refuse_distilled(kind, type(held.get("scheduler", scheduler)).__name__, config, kind)
    for part, network in held.items():
        if isinstance(network, torch.nn.Module):
            pretrained.check_finite(network, part)
    if kind in PIPELINES:
        return stable_diffusion.from_pipeline(model, prompts, weights)
    _no_prompts(kind, prompts)
    for network in held.values():
        if isinstance(network, diffusers.UNet2DModel | diffusers.DiTTransformer2DModel):
            names = {str(label): text for text, label in getattr(model, "labels", {}).items()}
            noise, vae = held.get("scheduler", scheduler), held.get("vae") if kind == "DiTPipeline" else None
            return class_conditional.from_network(network, noise, weights, vae, names, {}, {})
    raise InputError("model", f"a {kind}", _KNOWN)


def _kind(folder: Path) -> tuple[str, set[str]]:
    """The class of a pipeline or of a model alone, and the classes of its parts."""
    if (folder / "model_index.json").is_file():
        index = pretrained.read_json(folder / "model_index.json")
        for key, part in index.items():
            if isinstance(part, list) and (len(part) != 2 or not all(isinstance(x, str | None) for x in part)):
                raise InputError(f"{key} in model_index.json", part, "a library and the name of a class of it")
        return str(index.get("_class_name")), {str(part[1]) for part in index.values() if isinstance(part, list)}
    inner = folder / "unet" if (folder / "unet").is_dir() else folder
    kind = str(pretrained.read_json(inner / "config.json").get("_class_name"))
    return kind, {kind}


def _no_prompts(kind: object, prompts: Sequence[str]) -> None:
    if prompts:
        raise InputError("prompts", prompts, f"none: {kind} knows its classes")
