"""The model of scenes as the chapter asks it: captions for classes, and the latents in which it denoises."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from companion.models.load import load
from companion.models.pretrained import diffusers
from companion.models.trained import TrainedDenoiser
from derivations.when_words_take_hold.questions import Said, text_of
from derivations.when_words_take_hold.truth import Encode

__all__ = ["CARD", "WEIGHTS", "digest", "encoder", "opened"]

WEIGHTS = Path(__file__).parent / "weights"
CARD = ("red boot", "red boot, blue wall")  # the captions that the model card's digest is of
_PART = 1000  # pictures encoded at once


def opened(prompts: Sequence[Said | str]) -> TrainedDenoiser:
    """The model with these captions for its classes; a text is taken as it is, whatever scenes have."""
    return load(WEIGHTS, prompts=[each if isinstance(each, str) else text_of(each) for each in prompts])


@cache
def encoder() -> Encode:
    """The means of the autoencoder's latents, scaled as the network sees them: (n, 3, 32, 32) to (n, 8, 8, 8)."""
    vae = diffusers.AutoencoderKL.from_pretrained(WEIGHTS / "vae").eval()

    @torch.no_grad()
    def encode(pictures: torch.Tensor) -> torch.Tensor:
        parts = torch.split(pictures, _PART)
        means = [vae.encode(part).latent_dist.mean for part in parts]
        return torch.cat(means) * float(vae.config.scaling_factor)

    return encode


@cache
def digest() -> str:
    """The hash on the model card, of weights, schedule and the tokens of two captions, whatever was asked since."""
    return opened(CARD).digest
