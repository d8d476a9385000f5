"""Stable Diffusion 1, 2, XL and 3 behind the denoiser contract: networks of latents whose classes are prompts.

One way through for all of them. What differs stands in `PIPELINES`, and on these lines:

    version   network       text encoders   it is told beside the prompts         null class
    1, 2      U-Net         one             nothing                               the empty prompt
    XL        U-Net         two             their summary, and six sizes          zeros, or the empty prompt
    3         transformer   two or three    their summary                         the empty prompt

Version 1 and 2-base say eps, 2 says v (Rombach et al. 2022; Salimans and Ho 2022), XL says eps and on EDM's schedule v
or -v (Podell et al. 2023), 3 says eps - x_0 on a rectified flow (Esser et al. 2024); the pipeline's scheduler says
which, and `companion.models.schedules` makes D of it. The pipeline itself encodes the prompts, once, and joins what its
encoders say; they are not needed after that, and are let go unless the reader holds on to them. No guidance: a guided
mean is no posterior mean. D lives in latent space; `decode` is for drawing only.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from companion.arguments import composed
from companion.errors import InputError, foreign
from companion.models import pretrained
from companion.models.pretrained import check_size, described, diffusers, digest_of_network, name_of, read_json
from companion.models.schedules import schedule_of
from companion.models.trained import TrainedDenoiser, decoder

__all__ = ["PIPELINES", "PromptDenoiser", "from_folder", "from_pipeline"]

Told = Callable[[torch.Tensor, torch.Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Version:
    """What tells a version's pipeline from the others: `part` is its network, of class `network`; `told` makes of the
    prompts' summaries and of the sizes what it is called with beside prompts, which its configuration calls `addition`.
    """

    part: str
    network: Any
    encoders: int
    told: Told
    addition: str | None = None

    @property
    def readers(self) -> list[tuple[str, str]]:
        return [(f"tokenizer{number}", f"text_encoder{number}") for number in ("", "_2", "_3")[: self.encoders]]


def _summary_and_sizes(pooled: torch.Tensor, sizes: torch.Tensor) -> dict[str, Any]:
    return {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}


_UNET, _SD3 = diffusers.UNet2DConditionModel, diffusers.SD3Transformer2DModel
PIPELINES = {
    "StableDiffusionPipeline": Version("unet", _UNET, 1, lambda pooled, sizes: {}),
    "StableDiffusionXLPipeline": Version("unet", _UNET, 2, _summary_and_sizes, "text_time"),
    "StableDiffusion3Pipeline": Version("transformer", _SD3, 3, lambda pooled, _: {"pooled_projections": pooled}),
}
_ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
_LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
_SPARE = ("tokenizer_3", "text_encoder_3")  # a pipeline without them has zeros in their place
_LONGEST_OF_T5 = 256  # tokens of a prompt, what Stable Diffusion 3's own pipeline reads unless it is told otherwise


@dataclass(frozen=True, eq=False)
class PromptDenoiser(TrainedDenoiser):
    """A Stable Diffusion pipeline as D(x, sigma | prompt), in latent space; `from_folder` or `from_pipeline` makes one.

    By rows, `prompts` (K+1, tokens, width) are embeddings, `pooled` (K+1, width) their summaries, of width 0 where
    there are none, and `time_ids` (K+1, 6) the sizes of XL: original size, corner of the crop and target size, here
    full and uncropped. XL's null is zeros, as in its training, where the pipeline says `force_zeros_for_empty_prompt`.
    """

    _: KW_ONLY
    prompts: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor
    told: Told

    def output(self, state: torch.Tensor, times: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        rows = self.rows(condition, state)
        beside = self.told(self.pooled[rows].to(state.dtype), self.time_ids[rows])
        beside |= {"encoder_hidden_states": self.prompts[rows].to(state.dtype)}
        said: torch.Tensor = self.network(state, timestep=times, return_dict=False, **beside)[0]
        return said


def from_folder(
    kind: str, folder: Path, prompts: Sequence[str], weights: Sequence[float], read: Callable[..., Any]
) -> PromptDenoiser:
    """The model in the folder of a pipeline of class `kind`; `read` is `load_network` for a device and a dtype.

    The autoencoder, which only draws, is read in float32, because some overflow in less; it and the third encoder of
    version 3 may be left out. Raises InputError as `companion.models.load` does, and for a package that is missing.
    """
    _different(prompts)
    version, index = PIPELINES[kind], read_json(folder / "model_index.json")
    config = read_json(folder / version.part / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    for each in (config, index):
        pretrained.refuse_distilled(name_of(folder), str(scheduler.get("_class_name")), each, kind)
    pretrained.sides(config)
    lost = _SPARE if version.encoders == 3 and not (folder / "text_encoder_3").is_dir() else ()
    parts: dict[str, Any] = dict.fromkeys((*(name for name in _LEFT_OUT if name in index), *lost, "vae"))
    parts[version.part] = read(version.network, folder / version.part)
    if (folder / "vae").exists():
        parts["vae"] = read(diffusers.AutoencoderKL, folder / "vae", dtype=torch.float32)
    for tokenizer, encoder in version.readers:
        pretrained.check_files(folder / tokenizer)
        named = index.get(encoder)
        if isinstance(named, list) and named[0] is not None and encoder not in parts:
            if named[-1] not in _ENCODERS:
                raise InputError("text encoder", named, f"one of {', '.join(_ENCODERS)}")
            with foreign("model", named, "the package transformers to be installed"):
                parts[encoder] = read(getattr(import_module("transformers"), named[-1]), folder / encoder)
    with foreign("model", folder, "a pipeline that can be read"), torch.random.fork_rng(devices=[]):
        pipeline = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True, **parts)
    stored = pretrained.stored_description(folder)
    for key in ("classes", "weights"):
        if key in stored:
            raise InputError("companion.json's key", key, "none here: the classes are the prompts")
    return from_pipeline(pipeline, prompts, weights, stored)


def from_pipeline(
    pipeline: Any, prompts: Sequence[str], weights: Sequence[float], stored: Mapping[str, Any] | None = None
) -> PromptDenoiser:
    """The model of a loaded pipeline, on its device and in its dtype; `stored` is the content of a `companion.json`.
    Raises InputError as `companion.models.load` does."""
    version, texts = PIPELINES[type(pipeline).__name__], _different(prompts)
    network = getattr(pipeline, version.part)
    shape = _latent_shape(network, version)
    came = name_of(str(pipeline.name_or_path or type(pipeline).__name__))
    said = described(stored or {}, came, texts, weights)
    pretrained.refuse_distilled(came, type(pipeline.scheduler).__name__, network.config)
    schedule, read = schedule_of(pipeline.scheduler), _read(pipeline, version, [*texts, ""])
    asked: dict[str, Any] = {"prompt": texts, **{f"prompt_{number}": None for number in range(2, version.encoders + 1)}}
    asked |= {"device": pipeline.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    with foreign("prompts", texts, "texts that the pipeline can encode"), torch.no_grad():
        encoded, null, *summaries = pipeline.encode_prompt(**asked)
    pooled, none = summaries or (encoded.new_zeros(len(texts), 0), null.new_zeros(1, 0))
    _check_widths(network, encoded.shape[-1], pooled.shape[-1])
    height, width = (side * pipeline.vae_scale_factor for side in shape[1:])
    sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=network.device)
    # Not the embeddings, whose last digits differ from one device to the next, but what they follow from.
    tokens = [each for _, of_texts in read for each in of_texts]
    readers = [digest_of_network(encoder, told=tokens) for encoder, _ in read]
    told: list[object] = [schedule.described, json.dumps(readers), shape]
    if version.addition:
        if pipeline.vae is None:
            expected = "a pipeline that has it: the sizes that the network is told are those of pictures"
            raise InputError("vae", None, expected)
        told += [sizes.tolist(), bool(pipeline.config.force_zeros_for_empty_prompt)]
    elif summaries:
        told.append(list(encoded.shape))  # which is shorter without the third encoder
    said |= {"shape": shape, "digest": digest_of_network(network, told=told), "decode": decoder(pipeline.vae, shape[0])}
    said |= {"told": version.told, "time_ids": sizes.repeat(len(texts) + 1, 1)}
    embedded, pooled = (torch.cat(both).to(network.device) for both in ([encoded, null[:1]], [pooled, none[:1]]))
    return PromptDenoiser(network, schedule, **said, prompts=embedded, pooled=pooled)


def _different(prompts: Sequence[str]) -> list[str]:
    """The prompts as a list; InputError unless they are at least two different texts, none empty, as the null's is."""
    texts = [] if isinstance(prompts, str) else list(prompts)
    known = [composed(text) for text in texts if isinstance(text, str) and any(map(str.isalnum, text))]
    if len(set(known)) < max(2, len(texts)):
        raise InputError("prompts", prompts, "at least two different texts of words, one for each class")
    return known


def _latent_shape(network: Any, version: Version) -> tuple[int, ...]:
    """The shape of one latent; InputError for a network that is shown or told more or less than its version is."""
    if network is None:
        raise InputError("network", None, "a pipeline that has it")
    config, asked = network.config, dict[str, tuple[str | None, ...]]()
    asked |= {"class_embed_type": (None,), "num_class_embeds": (None,), "time_embedding_type": ("positional",)}
    asked |= {"addition_embed_type": (version.addition,), "encoder_hid_dim_type": (None, "text_proj")}
    for key, known in asked.items():
        if config.get(key, known[0]) not in known:
            expected = " or ".join(each or "null" for each in known)
            beside = "six numbers of size" if version.addition else "nothing else"
            raise InputError(key, config[key], f"{expected}: a network that is told a prompt and {beside}")
    if config.in_channels != config.out_channels:
        raise InputError("in_channels", config.in_channels, f"{config.out_channels}, a network shown its state only")
    return (config.in_channels, *pretrained.sides(config))


def _read(pipeline: Any, version: Version, texts: Sequence[str]) -> list[tuple[Any, list[list[int]]]]:
    """Each text encoder and what its tokenizer makes of the texts, all different, after the parts' sizes are compared:
    what was lost has a library's default in its place, which shows where it does not fit the others."""
    found = []
    for pair in version.readers:
        missing = [name for name in pair if getattr(pipeline, name) is None]
        if missing and (len(missing) == 1 or pair != _SPARE):
            raise InputError(missing[0], None, "a pipeline that has it, to read the prompts")
        if not missing:
            found.append((getattr(pipeline, pair[1]), _tokens(pipeline, *pair, texts)))
    seen: dict[str, str] = {}
    for text, *tokens in zip(texts, *(of_texts for _, of_texts in found), strict=True):
        same = seen.setdefault(json.dumps(tokens), text)
        if same != text:
            raise InputError("prompts", (same, text), "texts that differ to the text encoders, from the empty one too")
    return found


def _tokens(pipeline: Any, tokenizer: str, encoder: str, texts: Sequence[str]) -> list[list[int]]:
    config, reader = getattr(pipeline, encoder).config, getattr(pipeline, tokenizer)
    longest = getattr(config, "max_position_embeddings", None) or _LONGEST_OF_T5
    if hasattr(config, "max_position_embeddings"):
        check_size(f"model_max_length of {tokenizer}", reader.model_max_length, longest, f"{encoder} reads so many")
    # The rows of an embedding are rounded up: 32128 for the 32100 pieces of T5.
    if not 0.99 * config.vocab_size <= len(reader) <= config.vocab_size:
        about = f"about {config.vocab_size}, vocab_size of {encoder}"
        raise InputError(f"vocabulary of {tokenizer}", f"of {len(reader)} tokens", about)
    # CLIP's published configurations say 2, which stands for the largest number in the prompt.
    if config.eos_token_id not in (2, reader.eos_token_id):
        raise InputError(f"eos_token_id of {encoder}", config.eos_token_id, f"{reader.eos_token_id}, of {tokenizer}")
    found = []
    for text in texts:
        with foreign("prompts", text, f"a text that {tokenizer} can read"):
            tokens = list(reader(text, verbose=False).input_ids)
        if len(tokens) > longest:
            expected = f"at most the {longest} that {tokenizer} reads; the rest would be cut"
            raise InputError("prompt", f"{text[:60]!r}... of {len(tokens)} tokens", expected)
        found.append(tokens)
    return found


def _check_widths(network: Any, encoded: int, pooled: int) -> None:
    """InputError unless prompts and summaries are as wide as the network's configuration says."""
    config = network.config
    width = config.get("joint_attention_dim") or config.get("encoder_hid_dim") or config.get("cross_attention_dim")
    width = width[0] if isinstance(width, (list, tuple)) and len(set(width)) == 1 else width  # one for each block
    check_size("width of the encoded prompts", encoded, width, "what the network attends to")
    if "pooled_projection_dim" in config:
        check_size("width of the pooled prompts", pooled, config.pooled_projection_dim, "what the network takes")
    if config.get("addition_embed_type") is not None:
        key, expected = "projection_class_embeddings_input_dim", 6 * (config.addition_time_embed_dim or 0) + pooled
        check_size(key, config.get(key), expected, "a network that is told a prompt and six numbers of size")
