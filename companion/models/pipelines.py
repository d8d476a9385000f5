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

from companion.errors import InputError, foreign
from companion.models.folders import (
    check_files,
    check_size,
    composed,
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

__all__ = [
    "check_prompts",
    "encoded_prompts",
    "encoders_digest",
    "load_pipeline",
    "prompts_stored",
    "schedule_of_pipeline",
]


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


def load_pipeline(
    kind: str, folder: Path, device: str | torch.device, dtype: torch.dtype, allow_pickle: bool, **without: None
) -> Any:
    """The pipeline of class `kind` in a folder of `save_pretrained`, its network in `dtype`.

    The autoencoder, which only draws, is read in float32, because some overflow in less; where the folder has none the
    pipeline has none. `without` are components to leave out. Raises InputError for weights that are missing, truncated,
    pickled (unless `allow_pickle`) or not those of the configuration, and when a package is missing that the pipeline
    needs.
    """
    index = read_json(folder / "model_index.json")
    part = "unet" if "unet" in index else "transformer"
    network_class = {"unet": diffusers.UNet2DConditionModel, "transformer": diffusers.SD3Transformer2DModel}[part]
    config = read_json(folder / part / "config.json")
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    for each in (config, index):
        refuse_distilled(name_of(folder), str(scheduler.get("_class_name")), each, kind)
    sides(config)
    read: dict[str, Any] = {part: load_network(network_class, folder / part, dtype, allow_pickle), **without}
    read["vae"] = None
    if (folder / "vae").exists():
        read["vae"] = load_network(diffusers.AutoencoderKL, folder / "vae", torch.float32, allow_pickle)
    for name in _ENCODERS:
        part_class = index.get(name)
        if isinstance(part_class, list) and part_class[0] is not None and name not in read:
            read[name] = load_network(_encoder_class(part_class), folder / name, dtype, allow_pickle)
    for name in _TOKENIZERS:
        check_files(folder / name)
    with (
        foreign("model", folder, "a pipeline that can be read"),
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # torch_dtype is called dtype in later versions
        pipeline = getattr(diffusers, kind).from_pretrained(folder, local_files_only=True, torch_dtype=dtype, **read)
    return pipeline if torch.device(device).type == "cpu" else pipeline.to(device)


def _encoder_class(named: Sequence[object]) -> Any:
    known = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
    if list(named)[-1] not in known:
        raise InputError("text encoder", named, f"one of {', '.join(known)}")
    with foreign("model", named, "the package transformers to be installed"):
        import transformers

        return getattr(transformers, str(named[-1]))


def prompts_stored(folder: Path) -> dict[str, Any]:
    """What a `companion.json` says of a pipeline whose classes are prompts: its name, and whether it has a null."""
    stored = stored_description(folder)
    for key in ("classes", "weights"):
        if key in stored:
            raise InputError("companion.json's key", key, "none here: the classes are the prompts")
    return stored


def encoded_prompts(pipeline: Any, prompts: Sequence[str], **options: Any) -> tuple[torch.Tensor, ...]:
    """What the pipeline's own `encode_prompt` makes of the prompts, after the sizes of its parts are compared.

    A vocabulary, a text encoder or a length that was lost has a library's default in its place, which shows where it
    does not fit the others. Raises InputError for that, for a part that is missing, for a prompt that is longer than
    what the encoders read, and for two that are the same to them.
    """
    pairs = [pair for pair in zip(_TOKENIZERS, _ENCODERS, strict=True) if hasattr(pipeline, pair[1])]
    for tokenizer, encoder in pairs:
        missing = [name for name in (tokenizer, encoder) if getattr(pipeline, name) is None]
        if missing and (len(missing) == 1 or encoder != "text_encoder_3"):
            raise InputError(missing[0], None, "a pipeline that has it, to read the prompts")
    known = [
        _tokens(pipeline, tokenizer, encoder, [*prompts, ""])
        for tokenizer, encoder in pairs
        if getattr(pipeline, encoder) is not None
    ]
    texts: dict[str, str] = {}
    for text, tokens in zip([*prompts, ""], zip(*known, strict=True), strict=True):
        same = texts.setdefault(json.dumps(tokens), text)
        if same != text:
            raise InputError("prompts", (same, text), "texts that differ to the text encoders, from the empty one too")
    with foreign("prompts", list(prompts), "texts that the pipeline can encode"), torch.no_grad():
        encoded: tuple[torch.Tensor, ...] = pipeline.encode_prompt(**options)
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


def schedule_of_pipeline(pipeline: Any, network: Any, name: str) -> Schedule:
    """The schedule of a pipeline; InputError when its scheduler, its network or its name is of a distilled model."""
    for part, held in (("scheduler", pipeline.scheduler), ("network", network)):
        if held is None:
            raise InputError(part, None, "a pipeline that has it")
    scheduler = type(pipeline.scheduler).__name__
    for each in (name, name_of(str(pipeline.name_or_path or ""))):
        refuse_distilled(each, scheduler, network.config, type(pipeline).__name__)
    if pipeline.vae is not None:
        channels = pipeline.vae.config.latent_channels
        check_size("latent_channels of the autoencoder", channels, network.config.in_channels, "as the network")
    return schedule_of({**pipeline.scheduler.config, "_class_name": scheduler})


def encoders_digest(pipeline: Any, prompts: Sequence[str]) -> str:
    """A hash of what the embeddings of prompts follow from: the encoders' weights and the tokens.

    Not of the embeddings, which differ in their last digits from one device to the next.
    """
    tokens = [
        getattr(pipeline, name)(text).input_ids
        for name in _TOKENIZERS
        if getattr(pipeline, name, None) is not None
        for text in prompts
    ]
    encoders = [getattr(pipeline, name, None) for name in _ENCODERS]
    return json.dumps([digest_of_network(each, told=tokens) for each in encoders if each is not None])


_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
_TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
_LONGEST_OF_T5 = 256  # tokens of a prompt, what Stable Diffusion 3's own pipeline reads unless it is told otherwise
