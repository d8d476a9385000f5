"""Stable Diffusion 1 and 2 behind the denoiser contract: a U-Net of diffusers whose conditions are prompts.

The U-Net is trained on latents noised to alpha x_0 + beta eps on the scaled-linear schedule; version 1 and 2-base say
eps, version 2 says v = alpha eps - beta x_0 (Rombach et al. 2022; Salimans and Ho 2022). With sigma = beta / alpha, at
the state alpha x,

    eps:  D = x - sigma output        v:  D = alpha^2 x - beta output.

Class k is prompt k; the null class is the empty prompt, which is what captions were replaced by in a tenth of the
training. No guidance: a guided mean is no posterior mean. D lives in latent space; `decode` is for drawing only.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch

from companion.errors import InputError
from companion.models.folders import described, digest_of_network
from companion.models.pipelines import check_prompts, encoders_digest, load_pipeline, name_of, schedule_of_pipeline
from companion.models.trained import TrainedDenoiser

__all__ = ["StableDiffusionDenoiser", "from_pipeline", "latent_shape", "load"]


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
    return from_pipeline(pipeline, prompts, weights, Path(folder).resolve().name)


def from_pipeline(
    pipeline: Any, prompts: Sequence[str], weights: Sequence[float] = (), name: str = ""
) -> StableDiffusionDenoiser:
    """The model of a loaded `StableDiffusionPipeline`, on its device, in its dtype. Raises InputError as `load`."""
    texts, network = check_prompts(prompts), pipeline.unet
    if network.config.addition_embed_type is not None or network.config.num_class_embeds is not None:
        raise InputError("model", "a U-Net with further conditions", "one that is told a prompt and nothing else")
    shape = latent_shape(network)
    said = described({}, name or name_of(pipeline), texts, weights)
    schedule = schedule_of_pipeline(pipeline, network, said.name)
    with torch.no_grad():
        encoded, null = pipeline.encode_prompt(texts, pipeline.device, 1, True)[:2]
    told = [schedule.described, encoders_digest(pipeline, [*texts, ""]), shape]
    return StableDiffusionDenoiser(
        network=network,
        schedule=schedule,
        name=said.name,
        shape=shape,
        classes=said.classes,
        weights=said.weights,
        has_null=True,
        digest=digest_of_network(network, told=told),
        vae=pipeline.vae,
        prompts=torch.cat([encoded, null[:1]]).to(network.device),
    )


def latent_shape(network: Any) -> tuple[int, ...]:
    """The shape of one latent; InputError for a network that is shown more than its state, as one for inpainting is, or
    is told no timestep."""
    config = network.config
    if getattr(config, "time_embedding_type", "positional") != "positional":
        raise InputError("time_embedding_type", config.time_embedding_type, "positional")
    if config.in_channels != config.out_channels:
        raise InputError("in_channels", config.in_channels, f"{config.out_channels}, a network shown its state only")
    size = config.sample_size if isinstance(config.sample_size, (tuple, list)) else (config.sample_size,) * 2
    return (config.in_channels, *size)
