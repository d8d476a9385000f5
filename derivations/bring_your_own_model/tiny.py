"""Tiny networks of the real classes, with random weights, in the folders that `save_pretrained` writes.

They know nothing: they are for trying an adapter, a command or a notebook in a second, without a download. Every weight
is moved off its start, because heads that start at zero would answer zero, and labels would move nothing.
"""

import json
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from companion.errors import InputError
from companion.models.pretrained import diffusers

_LATENT = {"in_channels": 4, "out_channels": 4, "sample_size": 8}
_BLOCKS = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TOKENS = 8  # the longest prompt, with its start and its end


def save_tiny(
    kind: str, folder: str | Path, scheduler: Any = None, seed: int = 0, options: Mapping[str, Any] | None = None
) -> Path:
    """Writes a tiny model of a kind in `KINDS` to `folder`, and returns the folder.

    `scheduler` is a scheduler of diffusers, else the one that published models of that kind have; `options` are
    further arguments of the network. The caller's random numbers are left alone. Raises InputError for an unknown kind.

    >>> import tempfile
    >>> from companion.models.load import load
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = load(save_tiny("dit", folder))
    >>> model.shape, len(model.classes), model.has_null
    ((4, 8, 8), 3, True)
    """
    if kind not in KINDS:
        raise InputError("kind", kind, f"one of {', '.join(KINDS)}")
    pipeline_of, published = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = pipeline_of(scheduler or published(), dict(options or {}))
    pipeline.save_pretrained(folder)
    return Path(folder)


def _unet(scheduler: Any, options: dict[str, Any]) -> Any:
    blocks = {**_BLOCKS, "down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    asked = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "add_attention": False, "num_class_embeds": 4}
    network = diffusers.UNet2DModel(**{**blocks, **asked, **options})
    return diffusers.DDPMPipeline(unet=_moved(network), scheduler=scheduler)


def _dit(scheduler: Any, options: dict[str, Any]) -> Any:
    heads = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "num_embeds_ada_norm": 3}
    network = diffusers.DiTTransformer2DModel(**{**_LATENT, "out_channels": 8, **heads, **options})
    return diffusers.DiTPipeline(transformer=_moved(network), vae=_autoencoder(), scheduler=scheduler)


def _stable_diffusion(scheduler: Any, options: dict[str, Any]) -> Any:
    return diffusers.StableDiffusionPipeline(
        vae=_autoencoder(),
        text_encoder=_text_encoder("CLIPTextModel"),
        tokenizer=_tokenizer(),
        unet=_conditional_unet(options),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _stable_diffusion_xl(scheduler: Any, options: dict[str, Any]) -> Any:
    sizes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4, "cross_attention_dim": 16}
    sizes["projection_class_embeddings_input_dim"] = 6 * 4 + 8
    return diffusers.StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=_text_encoder("CLIPTextModel"),
        text_encoder_2=_text_encoder("CLIPTextModelWithProjection"),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=_conditional_unet({**sizes, **options}),
        scheduler=scheduler,
    )


def _stable_diffusion_3(scheduler: Any, options: dict[str, Any]) -> Any:
    heads = {"patch_size": 2, "num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2}
    widths = dict.fromkeys(("joint_attention_dim", "caption_projection_dim", "pooled_projection_dim"), 16)
    network = diffusers.SD3Transformer2DModel(**{**_LATENT, **heads, **widths, "pos_embed_max_size": 8, **options})
    return diffusers.StableDiffusion3Pipeline(
        transformer=_moved(network),
        scheduler=scheduler,
        vae=_autoencoder(shift_factor=0.06),
        text_encoder=_text_encoder("CLIPTextModelWithProjection"),
        tokenizer=_tokenizer(),
        text_encoder_2=_text_encoder("CLIPTextModelWithProjection"),
        tokenizer_2=_tokenizer(),
        text_encoder_3=_third_text_encoder(),
        tokenizer_3=_third_tokenizer(),
    )


_EULER = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
_DDIM = partial(diffusers.DDIMScheduler, clip_sample=False)
_LATENT_DDIM = partial(_DDIM, set_alpha_to_one=False, **_EULER)
_LEADING = partial(diffusers.EulerDiscreteScheduler, timestep_spacing="leading", **_EULER)
KINDS = {  # the pipeline, and the scheduler that published ones have
    "unet": (_unet, partial(diffusers.DDPMScheduler, prediction_type="v_prediction", clip_sample=False)),
    "dit": (_dit, _DDIM),
    "stable diffusion": (_stable_diffusion, _LATENT_DDIM),
    "stable diffusion 2": (_stable_diffusion, partial(_LATENT_DDIM, prediction_type="v_prediction")),
    "stable diffusion xl": (_stable_diffusion_xl, _LEADING),
    "stable diffusion 3": (_stable_diffusion_3, partial(diffusers.FlowMatchEulerDiscreteScheduler, shift=3.0)),
}


def _conditional_unet(options: dict[str, Any]) -> Any:
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    attending = {"cross_attention_dim": 8, "attention_head_dim": 4, "down_block_types": down, "up_block_types": up}
    return _moved(diffusers.UNet2DConditionModel(**{**_LATENT, **_BLOCKS, **attending, **options}))


def _autoencoder(**options: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=16,
        **options,
    )


def _text_encoder(kind: str) -> Any:
    transformers = _transformers()
    known = _vocabulary()
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": known["<|startoftext|>"], "eos_token_id": known["<|endoftext|>"]}
    read = {"vocab_size": len(known), "max_position_embeddings": _TOKENS, "projection_dim": 8}
    return _moved(getattr(transformers, kind)(transformers.CLIPTextConfig(**sizes, **ends, **read)), 0.3)


def _tokenizer() -> Any:
    # Through the files of a published tokenizer, which every version of transformers reads.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(_vocabulary()), encoding="utf-8")
        Path(folder, "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        return _transformers().CLIPTokenizer.from_pretrained(folder, model_max_length=_TOKENS)


def _vocabulary() -> dict[str, int]:
    """A token for each letter, and for each letter that ends a word."""
    tokens = [*_LETTERS, *(letter + "</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}


def _third_text_encoder() -> Any:
    transformers = _transformers()
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    return _moved(transformers.T5EncoderModel(transformers.T5Config(vocab_size=len(_pieces()), **sizes)), 0.3)


def _third_tokenizer() -> Any:
    transformers = _transformers()
    import tokenizers

    pieces = tokenizers.Tokenizer(tokenizers.models.Unigram(_pieces(), unk_id=2))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    pieces.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    with tempfile.TemporaryDirectory() as folder:
        pieces.save(str(Path(folder, "tokenizer.json")))
        return transformers.T5TokenizerFast.from_pretrained(folder, extra_ids=0)


def _pieces() -> list[tuple[str, float]]:
    """The letters, and what stands for the space before a word, with their log-probabilities."""
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), ("\u2581", -2.0), *((letter, -3.0) for letter in _LETTERS)]


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise InputError("kind", "a text-to-image pipeline", "the package transformers to be installed") from None
    return transformers


def _moved(network: Any, by: float = 0.1) -> Any:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return network.eval()
