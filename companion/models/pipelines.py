"""What the text-to-image pipelines of diffusers have in common: how one is read, and what its prompts are.

The K conditions of such a model are K prompts. They are encoded once, by the pipeline itself; the text encoders are
not needed after that, and are let go unless the reader holds on to them.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from companion.errors import InputError
from companion.models.folders import (
    check_weights,
    diffusers,
    digest_of_network,
    first_line,
    load_network,
    read_json,
    refuse_distilled,
    variant_of,
)
from companion.models.schedules import Schedule, schedule_of

__all__ = ["check_prompts", "encoders_digest", "load_pipeline", "name_of", "schedule_of_pipeline"]


def check_prompts(prompts: Sequence[str]) -> list[str]:
    """The prompts as a list; InputError unless they are at least two texts, all different and none empty.

    >>> check_prompts("a cat")
    Traceback (most recent call last):
        ...
    companion.errors.InputError: prompts is a cat, expected at least two different texts, one for each class
    """
    texts = [] if isinstance(prompts, str) else list(prompts)
    # The empty prompt is the null class.
    if len(texts) < 2 or len(set(texts)) < len(texts) or not all(isinstance(text, str) and text for text in texts):
        raise InputError("prompts", prompts, "at least two different texts, one for each class")
    return texts


def load_pipeline(
    kind: str, folder: Path, device: str | torch.device, dtype: torch.dtype, allow_pickle: bool, **without: None
) -> Any:
    """The pipeline of class `kind` in a folder of `save_pretrained`, its network in `dtype`.

    The autoencoder, which only draws, is read in float32: some overflow in less. `without` are components to leave out.
    Raises InputError for weights that are missing, truncated, pickled (unless `allow_pickle`) or not those of the
    configuration, and when a package is missing that the pipeline needs.
    """
    index = read_json(folder / "model_index.json")
    part = "unet" if "unet" in index else "transformer"
    network_class = {"unet": diffusers.UNet2DConditionModel, "transformer": diffusers.SD3Transformer2DModel}[part]
    config = read_json(folder / part / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    refuse_distilled(folder.resolve().name, str(scheduler.get("_class_name")), config, kind)
    network = load_network(network_class, folder / part, dtype, allow_pickle)
    vae = load_network(diffusers.AutoencoderKL, folder / "vae", torch.float32, allow_pickle)
    encoders = [name for name in _ENCODERS if (folder / name).is_dir() and index.get(name, [None])[0] is not None]
    safe = [check_weights(folder / name, allow_pickle) for name in encoders]
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch_dtype is called dtype in later versions
            pipeline = getattr(diffusers, kind).from_pretrained(
                folder,
                use_safetensors=all(safe),
                variant=next((variant_of(folder / name) for name in encoders), None),
                local_files_only=True,
                torch_dtype=dtype,
                vae=vae,
                **{part: network},
                **without,
            )
    except (OSError, ValueError, RuntimeError, TypeError, ImportError, SafetensorError) as error:
        raise InputError("model", folder, f"a pipeline that can be read ({first_line(error)})") from None
    return pipeline if torch.device(device).type == "cpu" else pipeline.to(device)


def schedule_of_pipeline(pipeline: Any, network: Any, name: str) -> Schedule:
    """The schedule of a pipeline; InputError when its scheduler, its network or its name is of a distilled model."""
    scheduler = type(pipeline.scheduler).__name__
    refuse_distilled(name, scheduler, network.config, type(pipeline).__name__)
    return schedule_of({**pipeline.scheduler.config, "_class_name": scheduler})


def name_of(pipeline: Any) -> str:
    """The last part of where a pipeline came from, else its class."""
    return Path(str(pipeline.name_or_path or type(pipeline).__name__)).name


def encoders_digest(pipeline: Any, prompts: Sequence[str]) -> str:
    """A hash of what the embeddings of prompts follow from: the encoders' weights and the tokens.

    Not of the embeddings, which differ in their last digits from one device to the next.
    """
    tokens = [
        getattr(pipeline, name)(text).input_ids
        for name in ("tokenizer", "tokenizer_2", "tokenizer_3")
        if getattr(pipeline, name, None) is not None
        for text in prompts
    ]
    encoders = [getattr(pipeline, name, None) for name in _ENCODERS]
    return json.dumps([digest_of_network(each, told=tokens) for each in encoders if each is not None])


_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
