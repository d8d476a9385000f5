"""Stable Diffusion 1 and 2 behind the denoiser contract: a U-Net of diffusers whose conditions are prompts.

The U-Net is trained on latents noised to alpha x_0 + beta eps on the scaled-linear schedule; version 1 and 2-base say
eps, version 2 says v = alpha eps - beta x_0 (Rombach et al. 2022; Salimans and Ho 2022). With sigma = beta / alpha, at
the state alpha x,

    eps:  D = x - sigma output        v:  D = alpha^2 x - beta output.

Class k is prompt k; the null class is the empty prompt, which is what captions were replaced by in a tenth of the
training. No guidance: a guided mean is no posterior mean. D lives in latent space; `decode` is for drawing only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch

from companion.errors import InputError
from companion.models.folders import check_size, described, digest_of_network, name_of, sides
from companion.models.pipelines import (
    check_prompts,
    encoded_prompts,
    encoders_digest,
    load_pipeline,
    prompts_stored,
    schedule_of_pipeline,
)
from companion.models.trained import TrainedDenoiser

__all__ = ["StableDiffusionDenoiser", "from_pipeline", "latent_shape", "load", "text_width"]


@dataclass(frozen=True, eq=False)
class StableDiffusionDenoiser(TrainedDenoiser):
    """A `StableDiffusionPipeline` as D(x, sigma | prompt), in latent space; `load` or `from_pipeline` makes one.

    `prompts` (K+1, tokens, width) are the embeddings of the prompts and, last, of the empty one.
    """

    _: KW_ONLY
    prompts: torch.Tensor

    def output(self, state: torch.Tensor, times: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.network(
            state, times, encoder_hidden_states=self.prompts[rows].to(state.dtype), return_dict=False
        )[0]
        return said


def load(
    folder: str | Path,
    prompts: Sequence[str],
    weights: Sequence[float] = (),
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    allow_pickle: bool = False,
) -> StableDiffusionDenoiser:
    """The model in the folder of a `StableDiffusionPipeline`, for at least two prompts.

    Nothing is downloaded, and safety checkers are left out. Pickled weights are read, by torch's restricted reader,
    only with `allow_pickle`. Raises InputError for a folder or prompts that do not serve.
    """
    check_prompts(prompts)
    left_out = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
    pipeline = load_pipeline("StableDiffusionPipeline", Path(folder), device, dtype, allow_pickle, **left_out)
    return from_pipeline(pipeline, prompts, weights, name_of(folder), prompts_stored(Path(folder)))


def from_pipeline(
    pipeline: Any,
    prompts: Sequence[str],
    weights: Sequence[float] = (),
    name: str = "",
    stored: Mapping[str, Any] | None = None,
) -> StableDiffusionDenoiser:
    """The model of a loaded `StableDiffusionPipeline`, on its device, in its dtype. `stored` is
    the content of a `companion.json`. Raises InputError as `load` does.
    """
    texts, network = check_prompts(prompts), pipeline.unet
    shape = latent_shape(network)
    if network.config.addition_embed_type is not None:
        raise InputError("model", "a U-Net with further conditions", "one that is told a prompt and nothing else")
    came = name or name_of(str(pipeline.name_or_path or type(pipeline).__name__))
    said = described(stored or {}, came, texts, weights)
    schedule = schedule_of_pipeline(pipeline, network, came)
    asked = {"device": pipeline.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    encoded, null = encoded_prompts(pipeline, texts, prompt=texts, **asked)[:2]
    check_size("width of the encoded prompts", encoded.shape[-1], text_width(network), "what the network attends to")
    told = [schedule.described, encoders_digest(pipeline, [*texts, ""]), shape]
    return StableDiffusionDenoiser(
        network=network,
        schedule=schedule,
        name=said.name,
        shape=shape,
        classes=said.classes,
        weights=said.weights,
        has_null=said.has_null,
        digest=digest_of_network(network, told=told),
        vae=pipeline.vae,
        prompts=torch.cat([encoded, null[:1]]).to(network.device),
    )


def latent_shape(network: Any) -> tuple[int, ...]:
    """The shape of one latent; InputError for a network that is shown more than its state, as one for inpainting is, is
    told no timestep, or is told more than a prompt."""
    if network is None:
        raise InputError("network", None, "a pipeline that has it")
    config = network.config
    for key in ("class_embed_type", "num_class_embeds"):
        if getattr(config, key, None) is not None:
            raise InputError(key, getattr(config, key), "null: a network that is told a prompt and nothing else")
    if getattr(config, "encoder_hid_dim_type", None) not in (None, "text_proj"):
        raise InputError(
            "encoder_hid_dim_type", config.encoder_hid_dim_type, "null: a network that is told prompts only"
        )
    if getattr(config, "time_embedding_type", "positional") != "positional":
        raise InputError("time_embedding_type", config.time_embedding_type, "positional")
    if config.in_channels != config.out_channels:
        raise InputError("in_channels", config.in_channels, f"{config.out_channels}, a network shown its state only")
    return (config.in_channels, *sides(config))


def text_width(network: Any) -> Any:
    """The width of the embeddings of prompts that a U-Net takes, the same in all its blocks."""
    width = network.config.encoder_hid_dim or network.config.cross_attention_dim
    return width if isinstance(width, int) or len(set(width)) > 1 else width[0]
