"""A text-to-image model of scenes, small enough to ship.

    python -m derivations.when_words_take_hold.train --out FOLDER

What comes out is a `StableDiffusionPipeline` like any other, in two trainings of `companion.models.training`.
1. The autoencoder. A latent is 8x8x8: the eight principal components of each 4x4 patch, divided by the square root of
   their deviation. The encoder is fitted to them, with a deviation of e^-3, and the decoder to the pictures.
2. The denoiser and the text encoder together, on the latents of all scenes, encoded once. The schedule is the cosine
   one, whose signal-to-noise ratio begins near e^-20, where no word can be read from a latent (Nichol and Dhariwal
   2021); the network says v (Salimans and Ho 2022). Captions leave words out as `scenes.CAPTIONS` says.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn.functional import mse_loss, unfold
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from companion.models.digits import LabelledImages
from companion.models.training import Settings, finish, holds_no_model, optimise
from derivations.kit.command import exit_status
from derivations.kit.garments import FOLDER, training_garments
from derivations.when_words_take_hold.scenes import ATTRIBUTES, CAPTIONS, SIZE, caption, drawn

__all__ = ["SceneSettings", "components", "main", "tokenizer", "train"]

_PATCH, _CHANNELS, _WIDTH, _TOKENS = 4, 8, 64, 24
_LOG_VARIANCE = -6.0  # of the encoder's latents
_PART = 1000  # scenes composed and encoded at once


@dataclass(frozen=True)
class SceneSettings(Settings):
    """As `Settings`; `scenes` are drawn once, and `autoencoder_steps` of `autoencoder_batch` scenes come before the
    others. `label_dropout` is the share of empty captions."""

    steps: int = 7500
    batch: int = 64
    learning_rate: float = 1.5e-3
    dropout: float = 0.0
    label_dropout: float = CAPTIONS[-1][0]
    scenes: int = 40000
    autoencoder_steps: int = 6000
    autoencoder_batch: int = 16


def train(garments: LabelledImages, folder: Path, settings: SceneSettings, progress: bool = True) -> None:
    """Trains on scenes of `garments` and leaves in `folder` what the pipeline's `save_pretrained` writes, with the
    tokenizer's words for transformers 4 too, and `companion.json`.

    Minimises E | v(z_t, t, caption) - (alpha_t eps - sigma_t z_0) |^2 over t uniform on the 1000 steps, in the weights
    of denoiser and text encoder. Interrupted, resumed and refused as `companion.models.training.train`.
    """
    holds_no_model(folder)
    first = folder / "autoencoder"
    about = {"steps": settings.autoencoder_steps, "batch": settings.autoencoder_batch}
    of_autoencoder = SceneSettings(**asdict(settings) | about)
    autoencoder, course = optimise(lambda: _autoencoder(garments, of_autoencoder), first, of_autoencoder, progress)
    latents, attributes = _encoded(autoencoder, garments, settings)
    scale = 1.0 / float(latents.std())
    autoencoder.register_to_config(scaling_factor=scale)
    reader, scheduler = tokenizer(), _scheduler()

    def made() -> tuple[torch.nn.ModuleDict, Callable[[], torch.Tensor]]:
        networks = torch.nn.ModuleDict({"unet": _unet(settings), "text_encoder": _text_encoder(reader)})

        def loss() -> torch.Tensor:
            chosen = torch.randint(len(latents), (settings.batch,))
            tokens = _tokens(reader, _captions(attributes[chosen]))
            clean = latents[chosen] * scale
            noise = torch.randn_like(clean)
            timesteps = torch.randint(scheduler.config.num_train_timesteps, (settings.batch,))
            noisy, target = (make(clean, noise, timesteps) for make in (scheduler.add_noise, scheduler.get_velocity))
            told = networks["text_encoder"](tokens)[0]
            return mse_loss(networks["unet"](noisy, timesteps, encoder_hidden_states=told).sample, target)

        return networks, loss

    networks, described = optimise(made, folder, settings, progress)
    pipeline = StableDiffusionPipeline(
        autoencoder,
        networks["text_encoder"],
        reader,
        networks["unet"],
        scheduler,
        None,
        None,
        requires_safety_checker=False,
    )

    def save(unfinished: Path) -> None:
        pipeline.save_pretrained(unfinished)
        _write_words(unfinished / "tokenizer")
        _rename_weights(unfinished / "text_encoder" / "model.safetensors")

    described |= {"name": "scenes", "training": asdict(settings) | {"autoencoder": course}}
    finish(folder, save, described, ("torch", "diffusers", "transformers", "tokenizers"))
    shutil.rmtree(first)


def components(images: torch.Tensor) -> torch.Tensor:
    """The linear map from a 4x4 patch to its latent, (8, 48): its principal components without their mean, each divided
    by the square root of its deviation; from images (n, 3, 32, 32)."""
    patches = _patches(images).transpose(1, 2).flatten(0, 1).double()
    variances, vectors = torch.linalg.eigh(torch.cov(patches.T))
    kept: torch.Tensor = vectors[:, -_CHANNELS:] / variances[-_CHANNELS:] ** 0.25
    # An eigenvector's sign is free: the largest entry is positive.
    return (kept * kept.gather(0, kept.abs().argmax(0, keepdim=True)).sign()).T.float()


def tokenizer() -> CLIPTokenizer:
    """A tokenizer of CLIP that reads any text by its bytes, and each word of the captions as one token."""
    with tempfile.TemporaryDirectory() as folder:
        _write_words(Path(folder))
        reader: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=_TOKENS)
    return reader


def _write_words(folder: Path) -> None:
    """CLIP's two files, which transformers 4 reads; 5 writes tokenizer.json alone."""
    letters, merges = sorted(ByteLevel.alphabet()), _merges()
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *map(" ".join, merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rename_weights(path: Path) -> None:
    """Gives a text encoder's weights the names of published ones, which transformers 4 asks for; 5 reads both."""
    weights = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def _merges() -> list[tuple[str, str]]:
    """Byte-pair merges (Sennrich, Haddow and Birch 2016) that make every word of the captions one token: the pair that
    occurs most often in the list of words, again and again."""
    phrases = [phrase for values in ATTRIBUTES.values() for phrase in values]
    words = sorted({word for phrase in [*phrases, "garment"] for word in phrase.split()})
    spelled, merges = [[*word[:-1], f"{word[-1]}</w>"] for word in words], []
    while pairs := Counter(pair for pieces in spelled for pair in pairwise(pieces)):
        merge = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(merge)
        for pieces in spelled:
            for place in range(len(pieces) - 2, -1, -1):
                if (*pieces[place : place + 2],) == merge:
                    pieces[place : place + 2] = ["".join(merge)]
    return merges


def _tokens(reader: CLIPTokenizer, captions: Sequence[str]) -> torch.Tensor:
    read: torch.Tensor = reader(captions, padding="max_length", max_length=_TOKENS, return_tensors="pt").input_ids
    return read


def _captions(attributes: torch.Tensor) -> list[str]:
    shares, left_out = torch.tensor(CAPTIONS).T
    rates = left_out[torch.multinomial(shares, len(attributes), replacement=True)]
    said = torch.rand(attributes.shape) >= rates[:, None]
    return [
        caption(values, [name for name, kept in zip(ATTRIBUTES, row, strict=True) if kept])
        for values, row in zip(attributes.tolist(), said.tolist(), strict=True)
    ]


def _autoencoder(garments: LabelledImages, settings: SceneSettings) -> tuple[Any, Callable[[], torch.Tensor]]:
    network = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 32),
        layers_per_block=1,
        latent_channels=_CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
    )
    maps = components(drawn(garments, 4 * _PART, settings.seed).images)

    def loss() -> torch.Tensor:
        seed = int(torch.randint(2**62, ()))
        images = drawn(garments, settings.batch, seed).images
        means = (maps @ _patches(images)).reshape(len(images), -1, SIZE // _PATCH, SIZE // _PATCH)
        law = network.encode(images).latent_dist
        fitted = mse_loss(law.mean, means) + 0.01 * mse_loss(law.logvar, torch.full_like(law.logvar, _LOG_VARIANCE))
        return fitted + mse_loss(network.decode(law.sample()).sample, images)

    return network, loss


def _encoded(autoencoder: Any, garments: LabelledImages, settings: SceneSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """The means of the scenes' latents, (n, 8, 8, 8), and their attributes, (n, 7)."""
    latents, attributes = [], []
    for first in range(0, settings.scenes, _PART):
        part = drawn(garments, min(_PART, settings.scenes - first), settings.seed + first + 1)
        with torch.no_grad():
            latents.append(autoencoder.encode(part.images).latent_dist.mean)
        attributes.append(part.attributes)
    return torch.cat(latents), torch.cat(attributes)


def _unet(settings: SceneSettings) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIZE // _PATCH,
        in_channels=_CHANNELS,
        out_channels=_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type=None,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
        dropout=settings.dropout,
    )


def _text_encoder(reader: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(reader),
            hidden_size=_WIDTH,
            intermediate_size=4 * _WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=_TOKENS,
            bos_token_id=reader.bos_token_id,
            eos_token_id=reader.eos_token_id,
            pad_token_id=reader.pad_token_id,
        )
    )


def _scheduler() -> DDIMScheduler:
    cosine = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "clip_sample": False}
    # "trailing" begins at the noisiest step; the offset, which it does not use, is what the pipeline asks for.
    return DDIMScheduler(**cosine, timestep_spacing="trailing", steps_offset=1)


def _patches(images: torch.Tensor) -> torch.Tensor:
    """(n, 48, 64): the 4x4 patches of images (n, 3, 32, 32), by column."""
    return unfold(images, _PATCH, stride=_PATCH)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; its exit status is 0, 2 for bad input, told in one line, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m derivations.when_words_take_hold.train", description=__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder with the gzipped IDX files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--steps", type=int, default=SceneSettings.steps, help="optimizer steps of the denoiser")
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    arguments = parser.parse_args(argv)

    def carried_out() -> None:
        settings = SceneSettings(seed=arguments.seed, steps=arguments.steps, threads=arguments.threads)
        holds_no_model(arguments.out)
        train(training_garments(arguments.data), arguments.out, settings)
        print(f"the model is in {arguments.out}; StableDiffusionPipeline.from_pretrained opens it")

    return exit_status(parser.prog, carried_out)


if __name__ == "__main__":
    sys.exit(main())
