"""Stable Diffusion 3 behind the denoiser contract: a transformer on a rectified flow, whose conditions are prompts.

The network is trained on latents (1 - t) x_0 + t eps, is told 1000 t, and says v = eps - x_0 (Esser et al. 2024). In
the contract's frame sigma = t / (1 - t), so t = sigma / (1 + sigma), and at the state (1 - t) x

    D = (1 - t) x - t output.

The scheduler's shift says at which t a sampler stops, not what a t means; it moves the ends of the log-snr range only.
At t = 1 the state is the unit noise z and D = z - output: `from_noise`. Class k is prompt k, read by two or three
encoders (a pipeline without the third has zeros in its place); the null class is the empty prompt, as the pipeline's
own guidance has it. D lives in latent space; `decode` is for drawing only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch

from companion.models.folders import check_size, described, digest_of_network, name_of
from companion.models.pipelines import (
    check_prompts,
    encoded_prompts,
    encoders_digest,
    load_pipeline,
    prompts_stored,
    schedule_of_pipeline,
)
from companion.models.stable_diffusion import latent_shape
from companion.models.trained import TrainedDenoiser

__all__ = ["StableDiffusion3Denoiser", "from_pipeline", "load"]


@dataclass(frozen=True, eq=False)
class StableDiffusion3Denoiser(TrainedDenoiser):
    """A `StableDiffusion3Pipeline` as D(x, sigma | prompt), in latent space; `load` or `from_pipeline` makes one.

    `prompts` (K+1, tokens, width) and `pooled` (K+1, width) are the embeddings of the prompts and, last, of the empty
    one.
    """

    _: KW_ONLY
    prompts: torch.Tensor
    pooled: torch.Tensor

    def output(self, state: torch.Tensor, times: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.network(
            state,
            encoder_hidden_states=self.prompts[rows].to(state.dtype),
            pooled_projections=self.pooled[rows].to(state.dtype),
            timestep=times,
            return_dict=False,
        )[0]
        return said


def load(
    folder: str | Path,
    prompts: Sequence[str],
    weights: Sequence[float] = (),
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    allow_pickle: bool = False,
) -> StableDiffusion3Denoiser:
    """The model in the folder of a `StableDiffusion3Pipeline`, for at least two prompts.

    Nothing is downloaded, and a third encoder that the folder does not hold is done without. Pickled weights are read,
    by torch's restricted reader, only with `allow_pickle`. Raises InputError for a folder or prompts that do not serve.
    """
    check_prompts(prompts)
    folder = Path(folder)
    missing = {} if (folder / "text_encoder_3").is_dir() else {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = load_pipeline("StableDiffusion3Pipeline", folder, device, dtype, allow_pickle, **missing)
    return from_pipeline(pipeline, prompts, weights, name_of(folder), prompts_stored(folder))


def from_pipeline(
    pipeline: Any,
    prompts: Sequence[str],
    weights: Sequence[float] = (),
    name: str = "",
    stored: Mapping[str, Any] | None = None,
) -> StableDiffusion3Denoiser:
    """The model of a loaded `StableDiffusion3Pipeline`, on its device, in its dtype. `stored` is
    the content of a `companion.json`. Raises InputError as `load` does.
    """
    texts, network = check_prompts(prompts), pipeline.transformer
    shape = latent_shape(network)
    came = name or name_of(str(pipeline.name_or_path or type(pipeline).__name__))
    said = described(stored or {}, came, texts, weights)
    schedule = schedule_of_pipeline(pipeline, network, came)
    encoded, null, pooled, null_pooled = encoded_prompts(pipeline, texts, prompt=texts, prompt_2=None, prompt_3=None)
    config = network.config
    check_size("width of the encoded prompts", encoded.shape[-1], config.joint_attention_dim, "what the network takes")
    check_size("width of the pooled prompts", pooled.shape[-1], config.pooled_projection_dim, "what the network takes")
    told = [schedule.described, encoders_digest(pipeline, [*texts, ""]), shape, list(encoded.shape)]
    return StableDiffusion3Denoiser(
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
        pooled=torch.cat([pooled, null_pooled[:1]]).to(network.device),
    )
