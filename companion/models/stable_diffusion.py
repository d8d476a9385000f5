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
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import torch

from companion.errors import InputError, foreign
from companion.models.pretrained import (
    check_files,
    check_size,
    composed,
    described,
    diffusers,
    digest_of_network,
    load_network,
    name_of,
    read_json,
    refuse_distilled,
    sides,
    stored_description,
)
from companion.models.schedules import Schedule, schedule_of
from companion.models.trained import TrainedDenoiser, decoder

__all__ = ["PIPELINES", "PromptDenoiser", "from_folder", "from_pipeline"]

Told = Callable[[torch.Tensor, torch.Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Version:
    """What tells a version's pipeline from the others.

    `part` is its network, of class `network`; `told` makes of the prompts' summaries and of the sizes what the network
    is called with beside prompts, `conditions` says it in words and `addition` in the network's configuration. `asked`
    are further arguments of the pipeline's `encode_prompt`, `without` parts that are left out.
    """

    part: str
    network: Any
    encoders: int
    conditions: str
    told: Told
    addition: str | None = None
    asked: Mapping[str, None] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    @property
    def readers(self) -> list[tuple[str, str]]:
        """The names of the tokenizers and their encoders."""
        return [(f"tokenizer{number}", f"text_encoder{number}") for number in ("", "_2", "_3")[: self.encoders]]


PIPELINES = {
    "StableDiffusionPipeline": Version(
        part="unet",
        network=diffusers.UNet2DConditionModel,
        encoders=1,
        conditions="a prompt and nothing else",
        told=lambda pooled, sizes: {},
        without=("safety_checker", "feature_extractor", "image_encoder"),
    ),
    "StableDiffusionXLPipeline": Version(
        part="unet",
        network=diffusers.UNet2DConditionModel,
        encoders=2,
        conditions="a prompt and six numbers of size",
        told=lambda pooled, sizes: {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}},
        addition="text_time",
    ),
    "StableDiffusion3Pipeline": Version(
        part="transformer",
        network=diffusers.SD3Transformer2DModel,
        encoders=3,
        conditions="a prompt and nothing else",
        told=lambda pooled, sizes: {"pooled_projections": pooled},
        asked={"prompt_2": None, "prompt_3": None},
    ),
}
_SPARE = ("tokenizer_3", "text_encoder_3")  # a pipeline without them has zeros in their place
_LONGEST_OF_T5 = 256  # tokens of a prompt, what Stable Diffusion 3's own pipeline reads unless it is told otherwise


@dataclass(frozen=True, eq=False)
class PromptDenoiser(TrainedDenoiser):
    """A Stable Diffusion pipeline as D(x, sigma | prompt), in latent space; `from_folder` or `from_pipeline` makes one.

    Rows 0 to K-1 belong to the prompts, row K to the null class: `prompts` (K+1, tokens, width) are embeddings,
    `pooled` (K+1, width) their summaries, of width 0 where there are none, and `time_ids` (K+1, 6) the sizes of XL:
    original size, corner of the crop and target size, here full and uncropped for every class, the null too. XL's null
    is zeros, as in its training, where the pipeline says `force_zeros_for_empty_prompt`; else it is the empty prompt.
    """

    _: KW_ONLY
    prompts: torch.Tensor
    pooled: torch.Tensor
    time_ids: torch.Tensor
    told: Told

    def output(self, state: torch.Tensor, times: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        rows = self.rows(condition, state)
        beside = self.told(self.pooled[rows].to(state.dtype), self.time_ids[rows])
        prompts = self.prompts[rows].to(state.dtype)
        said: torch.Tensor = self.network(
            state, timestep=times, encoder_hidden_states=prompts, return_dict=False, **beside
        )[0]
        return said


def from_folder(
    kind: str,
    folder: Path,
    prompts: Sequence[str],
    weights: Sequence[float],
    device: str | torch.device,
    dtype: torch.dtype,
    allow_pickle: bool,
) -> PromptDenoiser:
    """The model in the folder of a pipeline of class `kind`, for at least two prompts; its network in `dtype`.

    The autoencoder, which only draws, is read in float32, because some overflow in less; where the folder has none the
    pipeline has none, and the third encoder of version 3 may be left out too. Raises InputError for prompts that do not
    serve, for weights that are missing, truncated, pickled (unless `allow_pickle`) or not those of the configuration,
    and when a package is missing that the pipeline needs.
    """
    check_prompts(prompts)
    version = PIPELINES[kind]
    index, config = read_json(folder / "model_index.json"), read_json(folder / version.part / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    for each in (config, index):
        refuse_distilled(name_of(folder), str(scheduler.get("_class_name")), each, kind)
    sides(config)
    lost = _SPARE if version.encoders == 3 and not (folder / "text_encoder_3").is_dir() else ()
    read: dict[str, Any] = dict.fromkeys((*version.without, *lost, "vae"))
    read[version.part] = load_network(version.network, folder / version.part, dtype, allow_pickle)
    if (folder / "vae").exists():
        read["vae"] = load_network(diffusers.AutoencoderKL, folder / "vae", torch.float32, allow_pickle)
    for tokenizer, encoder in version.readers:
        check_files(folder / tokenizer)
        part_class = index.get(encoder)
        if isinstance(part_class, list) and part_class[0] is not None and encoder not in read:
            read[encoder] = load_network(_encoder_class(part_class), folder / encoder, dtype, allow_pickle)
    with (
        foreign("model", folder, "a pipeline that can be read"),
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # torch_dtype is called dtype in later versions
        pipeline = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True, torch_dtype=dtype, **read)
    pipeline = pipeline if torch.device(device).type == "cpu" else pipeline.to(device)
    stored = stored_description(folder)
    for key in ("classes", "weights"):
        if key in stored:
            raise InputError("companion.json's key", key, "none here: the classes are the prompts")
    return from_pipeline(pipeline, prompts, weights, stored)


def from_pipeline(
    pipeline: Any,
    prompts: Sequence[str],
    weights: Sequence[float] = (),
    stored: Mapping[str, Any] | None = None,
) -> PromptDenoiser:
    """The model of a loaded pipeline of a class in `PIPELINES`, on its device and in its dtype, for two prompts and up.

    `stored` is the content of a `companion.json`. Raises InputError for prompts that do not serve, for a part that is
    missing or does not fit the others, and for a distilled model.
    """
    version, texts = PIPELINES[type(pipeline).__name__], check_prompts(prompts)
    network = getattr(pipeline, version.part)
    shape = _latent_shape(network, version)
    came = name_of(str(pipeline.name_or_path or type(pipeline).__name__))
    said = described(stored or {}, came, texts, weights)
    schedule = _schedule(pipeline, network, came)
    encoded, null, *summaries = _encoded(pipeline, version, texts)
    pooled, none = summaries or (encoded.new_zeros(len(texts), 0), null.new_zeros(1, 0))
    _check_widths(network, encoded.shape[-1], pooled.shape[-1])
    height, width = (side * pipeline.vae_scale_factor for side in shape[1:])
    sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=network.device)
    # Not the embeddings, whose last digits differ from one device to the next, but what they follow from.
    told: list[object] = [schedule.described, json.dumps(_encoders_digests(pipeline, version, [*texts, ""])), shape]
    if version.addition:
        if pipeline.vae is None:
            expected = "a pipeline that has it: the sizes that the network is told are those of pictures"
            raise InputError("vae", None, expected)
        told += [sizes.tolist(), bool(pipeline.config.force_zeros_for_empty_prompt)]
    elif summaries:
        told.append(list(encoded.shape))  # which is shorter without the third encoder
    return PromptDenoiser(
        network=network,
        schedule=schedule,
        shape=shape,
        digest=digest_of_network(network, told=told),
        decode=decoder(pipeline.vae),
        prompts=torch.cat([encoded, null[:1]]).to(network.device),
        pooled=torch.cat([pooled, none[:1]]).to(network.device),
        time_ids=sizes.repeat(len(texts) + 1, 1),
        told=version.told,
        **vars(said),
    )


def check_prompts(prompts: Sequence[str]) -> list[str]:
    """The prompts as a list; InputError unless they are at least two texts, all different and none empty.

    >>> check_prompts("a cat")
    Traceback (most recent call last):
        ...
    companion.errors.InputError: prompts is a cat, expected at least two different texts, one for each class
    """
    texts = [] if isinstance(prompts, str) else list(prompts)
    # The empty prompt is the null class.
    if not all(isinstance(text, str) and text for text in texts) or len(set(map(composed, texts))) < max(2, len(texts)):
        raise InputError("prompts", prompts, "at least two different texts, one for each class")
    return [composed(text) for text in texts]


def _encoder_class(named: Sequence[object]) -> Any:
    known = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
    if list(named)[-1] not in known:
        raise InputError("text encoder", named, f"one of {', '.join(known)}")
    with foreign("model", named, "the package transformers to be installed"):
        import transformers

        return getattr(transformers, str(named[-1]))


def _latent_shape(network: Any, version: Version) -> tuple[int, ...]:
    """The shape of one latent; InputError for a network that is shown more than its state, as one for inpainting is, is
    told no timestep, or is told more or less than its version is."""
    if network is None:
        raise InputError("network", None, "a pipeline that has it")
    config = network.config
    for key, known in {
        "class_embed_type": (None,),
        "num_class_embeds": (None,),
        "addition_embed_type": (version.addition,),
        "encoder_hid_dim_type": (None, "text_proj"),
        "time_embedding_type": ("positional",),
    }.items():
        if config.get(key, known[0]) not in known:
            expected = " or ".join(each or "null" for each in known)
            raise InputError(key, config[key], f"{expected}: a network that is told {version.conditions}")
    if config.in_channels != config.out_channels:
        raise InputError("in_channels", config.in_channels, f"{config.out_channels}, a network shown its state only")
    return (config.in_channels, *sides(config))


def _schedule(pipeline: Any, network: Any, name: str) -> Schedule:
    """The schedule of a pipeline; InputError when its scheduler, its network or its name is of a distilled model."""
    if pipeline.scheduler is None:
        raise InputError("scheduler", None, "a pipeline that has it")
    scheduler = type(pipeline.scheduler).__name__
    refuse_distilled(name, scheduler, network.config)
    if pipeline.vae is not None:
        channels = pipeline.vae.config.latent_channels
        check_size("latent_channels of the autoencoder", channels, network.config.in_channels, "as the network")
    return schedule_of({**pipeline.scheduler.config, "_class_name": scheduler})


def _encoded(pipeline: Any, version: Version, prompts: list[str]) -> tuple[torch.Tensor, ...]:
    """What the pipeline's own `encode_prompt` makes of the prompts, after the sizes of its parts are compared.

    A vocabulary, a text encoder or a length that was lost has a library's default in its place, which shows where it
    does not fit the others. Raises InputError for that, for a part that is missing, for a prompt that is longer than
    what the encoders read, and for two that are the same to them.
    """
    for pair in version.readers:
        missing = [name for name in pair if getattr(pipeline, name) is None]
        if missing and (len(missing) == 1 or pair != _SPARE):
            raise InputError(missing[0], None, "a pipeline that has it, to read the prompts")
    texts = [*prompts, ""]
    known = [_tokens(pipeline, *pair, texts) for pair in version.readers if getattr(pipeline, pair[1]) is not None]
    seen: dict[str, str] = {}
    for text, tokens in zip(texts, zip(*known, strict=True), strict=True):
        same = seen.setdefault(json.dumps(tokens), text)
        if same != text:
            raise InputError("prompts", (same, text), "texts that differ to the text encoders, from the empty one too")
    asked = {"num_images_per_prompt": 1, "do_classifier_free_guidance": True, **version.asked}
    with foreign("prompts", prompts, "texts that the pipeline can encode"), torch.no_grad():
        encoded: tuple[torch.Tensor, ...] = pipeline.encode_prompt(prompt=prompts, device=pipeline.device, **asked)
    return encoded


def _tokens(pipeline: Any, tokenizer: str, encoder: str, texts: Sequence[str]) -> list[list[int]]:
    config, reader = getattr(pipeline, encoder).config, getattr(pipeline, tokenizer)
    longest = getattr(config, "max_position_embeddings", None)
    if longest is None:
        longest = _LONGEST_OF_T5
    else:
        check_size(f"model_max_length of {tokenizer}", reader.model_max_length, longest, f"{encoder} reads so many")
    # The rows of an embedding are rounded up: 32128 for the 32100 pieces of T5.
    if not 0.99 * config.vocab_size <= len(reader) <= config.vocab_size:
        expected = f"about {config.vocab_size}, vocab_size of {encoder}"
        raise InputError(f"vocabulary of {tokenizer}", f"of {len(reader)} tokens", expected)
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


def _encoders_digests(pipeline: Any, version: Version, texts: Sequence[str]) -> list[str]:
    """A hash for each text encoder, of its weights and of all tokens: the embeddings follow from them."""
    held = [(getattr(pipeline, one), getattr(pipeline, other)) for one, other in version.readers]
    tokens = [reader(text).input_ids for reader, _ in held if reader is not None for text in texts]
    return [digest_of_network(encoder, told=tokens) for _, encoder in held if encoder is not None]
