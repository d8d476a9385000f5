"""Stable Diffusion XL behind the denoiser contract: a U-Net told a prompt, its summary, and sizes.

The U-Net is trained on latents noised to alpha x_0 + beta eps on the scaled-linear schedule and says eps (Podell et al.
2023), so D = x - sigma output; checkpoints on EDM's schedule say v or -v of latents with standard deviation s, and

    D = alpha^2 x -+ s beta output,        alpha^2 = s^2 / (s^2 + sigma^2) = 1 - beta^2.

Class k is prompt k, as two encoders read it, with the pooled output of the second. Beside them the network is told six
numbers: the original size, the crop's corner and the target size, here the full size, uncropped, for every class.
The null class is not the empty prompt where the pipeline says `force_zeros_for_empty_prompt`: its embeddings are
zeros, as in training, and its sizes are its own, not zeros. D lives in latent space; `decode` is for drawing only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch

from companion.errors import InputError
from companion.models.folders import check_size, described, digest_of_network, name_of
from companion.models.pipelines import (
    check_prompts,
    encoded_prompts,
    encoders_digest,
    load_pipeline,
    prompts_stored,
    schedule_of_pipeline,
)
from companion.models.stable_diffusion import latent_shape, text_width
from companion.models.trained import TrainedDenoiser

__all__ = ["StableDiffusionXLDenoiser", "from_pipeline", "load"]


@dataclass(frozen=True, eq=False)
class StableDiffusionXLDenoiser(TrainedDenoiser):
    """A `StableDiffusionXLPipeline` as D(x, sigma | prompt), in latent space; `load` or `from_pipeline` makes one.

    Rows 0 to K-1 belong to the prompts, row K to the null class: `prompts` (K+1, tokens, width) are embeddings,
    `pooled` (K+1, width) their summaries, `time_ids` (K+1, 6) the sizes.
    """

    _: KW_ONLY
    prompts: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor

    def output(self, state: torch.Tensor, times: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        said: torch.Tensor = self.network(
            state,
            times,
            encoder_hidden_states=self.prompts[rows].to(state.dtype),
            added_cond_kwargs={"text_embeds": self.pooled[rows].to(state.dtype), "time_ids": self.time_ids[rows]},
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
) -> StableDiffusionXLDenoiser:
    """The model in the folder of a `StableDiffusionXLPipeline`, for at least two prompts.

    Nothing is downloaded. Pickled weights are read, by torch's restricted reader, only with `allow_pickle`. Raises
    InputError for a folder or prompts that do not serve.
    """
    check_prompts(prompts)
    pipeline = load_pipeline("StableDiffusionXLPipeline", Path(folder), device, dtype, allow_pickle)
    return from_pipeline(pipeline, prompts, weights, name_of(folder), prompts_stored(Path(folder)))


def from_pipeline(
    pipeline: Any,
    prompts: Sequence[str],
    weights: Sequence[float] = (),
    name: str = "",
    stored: Mapping[str, Any] | None = None,
) -> StableDiffusionXLDenoiser:
    """The model of a loaded `StableDiffusionXLPipeline`, on its device, in its dtype. `stored` is
    the content of a `companion.json`. Raises InputError as `load` does.
    """
    texts, network = check_prompts(prompts), pipeline.unet
    shape = latent_shape(network)
    came = name or name_of(str(pipeline.name_or_path or type(pipeline).__name__))
    said = described(stored or {}, came, texts, weights)
    schedule = schedule_of_pipeline(pipeline, network, came)
    encoded, null, pooled, null_pooled = encoded_prompts(
        pipeline, texts, prompt=texts, do_classifier_free_guidance=True
    )
    check_size("width of the encoded prompts", encoded.shape[-1], text_width(network), "what the network attends to")
    if pipeline.vae is None:
        raise InputError(
            "vae", None, "a pipeline that has it: the sizes that the network is told are those of pictures"
        )
    expected = 6 * (network.config.addition_time_embed_dim or 0) + pooled.shape[1]
    if network.config.addition_embed_type != "text_time" or network.add_embedding.linear_1.in_features != expected:
        raise InputError("model", "a U-Net with other conditions", "one that is told a prompt and six numbers of size")
    height, width = (side * pipeline.vae_scale_factor for side in shape[1:])
    sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=network.device)
    zeros = bool(pipeline.config.force_zeros_for_empty_prompt)
    told = [schedule.described, encoders_digest(pipeline, [*texts, ""]), shape, sizes.tolist(), zeros]
    return StableDiffusionXLDenoiser(
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
        time_ids=sizes.repeat(len(texts) + 1, 1),
    )
