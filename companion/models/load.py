"""Anyone's model: one call that sees what a folder holds and returns it behind the denoiser contract.

First the simplest, which needs none of this: your own function of (x, sigma, condition), ten lines with
`companion.denoiser.FunctionDenoiser`. Networks of EDM and EDM2, which are files and not folders, have
`companion.models.edm`. What is recognised here:

    UNet2DModel, in a pipeline's folder or alone     classes are rows of its embedding
    DiTPipeline, DiTTransformer2DModel               classes are rows of its embedding
    StableDiffusionPipeline (1.x, 2.x)               classes are prompts
    StableDiffusionXLPipeline                        classes are prompts
    StableDiffusion3Pipeline                         classes are prompts

Distilled and guidance-trained models (FLUX.1, turbo, LCM and their like) are refused: they are no posterior means.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from companion.errors import InputError, foreign
from companion.models import dit, stable_diffusion, stable_diffusion_3, stable_diffusion_xl, unet
from companion.models.folders import check_finite, name_of, read_json, refuse_distilled
from companion.models.trained import TrainedDenoiser

__all__ = ["adapt", "load"]

_PROMPTED: dict[str, Any] = {
    "StableDiffusionPipeline": stable_diffusion,
    "StableDiffusionXLPipeline": stable_diffusion_xl,
    "StableDiffusion3Pipeline": stable_diffusion_3,
}
_KNOWN = f"a UNet2DModel, a DiTPipeline, {', '.join(_PROMPTED)}, or a shipped model ({', '.join(unet.SHIPPED)})"


def load(
    model: str | Path,
    prompts: Sequence[str] = (),
    weights: Sequence[float] = (),
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    allow_pickle: bool = False,
) -> TrainedDenoiser:
    """A shipped model by its name, or the model in a folder that diffusers' `save_pretrained` wrote.

    Only the bare word is the shipped model, also where a folder of that name is: "./digits" and Path("digits") are the
    folder. A model is called by its folder's name, however the path is spelled; in a hub's cache by its repository's.

    `prompts` are the classes of a text-to-image pipeline, at least two different texts; `weights` their prior, equal
    unless given (a `companion.json` in the folder holds them for a class-conditional network). `dtype` is what the
    network computes in; states stay in float32. Nothing is downloaded. With `allow_pickle` weights that are not
    safetensors are read too, by torch's restricted reader, which takes tensors only. Raises InputError for a folder
    that holds something else, for prompts that are missing or not asked for, and for a distilled model.

    >>> load("digits").classes[:3]
    ('0', '1', '2')
    """
    _check_device(device)
    folder = Path(model)
    if folder.suffix == ".pkl":
        raise InputError("model", model, "a folder; companion.models.edm.load reads the checkpoints of EDM and EDM2")
    if model in unet.SHIPPED or not folder.is_dir():
        _no_prompts(model, prompts)
        return unet.load(model, device, dtype)
    kind, parts = _kind(folder)
    if kind in _PROMPTED:
        read: TrainedDenoiser = _PROMPTED[kind].load(folder, prompts, weights, device, dtype, allow_pickle)
        return read
    _no_prompts(kind, prompts)
    if kind == "DiTPipeline" or {"DiTTransformer2DModel", "Transformer2DModel"} & parts:
        return dit.load(folder, weights, device, dtype, allow_pickle)
    if "UNet2DModel" in parts and not weights:
        return unet.load(folder, device, dtype, allow_pickle)
    if "UNet2DModel" in parts:
        raise InputError("weights", weights, "none here: write them into companion.json in the model's folder")
    refuse_distilled(name_of(folder), "", {}, kind)
    raise InputError("model", f"a {kind}", _KNOWN)


def adapt(pipeline: Any, prompts: Sequence[str] = (), weights: Sequence[float] = (), name: str = "") -> TrainedDenoiser:
    """A pipeline that is loaded already, as it is: on its device, in its dtype, with its scheduler's schedule.

    For a pipeline changed by hand: without its largest text encoder, in another precision, with a LoRA. Its network
    is put in eval mode and its weights are frozen. Raises InputError as `load` does.
    """
    kind = type(pipeline).__name__
    for part, held in getattr(pipeline, "components", {}).items():
        if isinstance(held, torch.nn.Module):
            check_finite(held, part)
    if kind in _PROMPTED:
        adapted: TrainedDenoiser = _PROMPTED[kind].from_pipeline(pipeline, prompts, weights, name)
        return adapted
    if kind == "DiTPipeline":
        _no_prompts(kind, prompts)
        return dit.from_pipeline(pipeline, weights, name)
    refuse_distilled(name, "", {}, kind)
    raise InputError("pipeline", f"a {kind}", f"a DiTPipeline or {', '.join(_PROMPTED)}")


def _check_device(device: str | torch.device) -> None:
    """InputError for a device that this torch cannot compute on."""
    with foreign("device", device, "a device of this torch, such as cpu or cuda"):
        torch.zeros(1, device=device).cpu()


def _kind(folder: Path) -> tuple[str, set[str]]:
    """The class of a pipeline or of a model alone, and the classes of its parts."""
    if (folder / "model_index.json").is_file():
        index = read_json(folder / "model_index.json")
        for key, part in index.items():
            if isinstance(part, list) and (len(part) != 2 or not all(isinstance(x, str | None) for x in part)):
                raise InputError(f"{key} in model_index.json", part, "a library and the name of a class of it")
        parts = {str(part[1]) for part in index.values() if isinstance(part, list)}
        return str(index.get("_class_name")), parts
    inner = folder / "unet" if (folder / "unet").is_dir() else folder
    kind = str(read_json(inner / "config.json").get("_class_name"))
    return kind, {kind}


def _no_prompts(kind: object, prompts: Sequence[str]) -> None:
    if prompts:
        raise InputError("prompts", prompts, f"none: {kind} knows its classes")
