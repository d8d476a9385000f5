"""What the model cards of this repository have in common: the measurements, and the parts of their pages."""

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from tqdm import tqdm

from companion.arguments import Array
from companion.files import write_text
from companion.forward import noise_of
from companion.models.digits import LabelledImages
from companion.models.trained import TrainedDenoiser
from companion.models.training import velocity_loss

__all__ = ["denoised", "drawn", "listed", "loss", "named", "nearness", "training_table", "versions", "write_card"]

SEED = 0


def loss(model: TrainedDenoiser, real: LabelledImages, timesteps_each: int = 20) -> float:
    """The training loss with the labels shown, timesteps spread evenly over the schedule."""
    generator = torch.Generator().manual_seed(SEED)
    width = 1000 // timesteps_each
    losses = []
    for first in range(0, 1000, width):
        timesteps = torch.randint(first, first + width, real.labels.shape, generator=generator)
        noise = torch.randn(real.images.shape, generator=generator)
        with torch.no_grad():
            losses.append(velocity_loss(model.network, real.images, real.labels, timesteps, noise).item())
    return float(np.mean(losses))


def drawn(model: TrainedDenoiser, count: int, log_snr: Array, grey_levels: int) -> LabelledImages:
    """As many images of each class, by ancestral steps, rounded to the grey levels from -1 to 1 that the data have."""
    generator = torch.Generator().manual_seed(SEED)
    labels = torch.arange(count) % len(model.classes)
    snr = np.exp(log_snr)
    # In y = x / sigma^2 the ancestral step is dy = D dsnr + sqrt(dsnr) xi.
    y = float(np.sqrt(snr[0])) * torch.randn(count, *model.shape, generator=generator)
    for level in tqdm(range(len(snr) - 1), desc=f"{model.name} drawn", mininterval=10.0):
        step = float(snr[level + 1] - snr[level])
        y += step * denoised(model, y, log_snr[level], labels)
        y += step**0.5 * torch.randn(y.shape, generator=generator)
    half = 0.5 * (grey_levels - 1)
    images = denoised(model, y, log_snr[-1], labels)
    return LabelledImages(((images + 1.0) * half).round().clamp(0.0, 2.0 * half) / half - 1.0, labels)


def denoised(model: TrainedDenoiser, y: torch.Tensor, log_snr: float, labels: torch.Tensor) -> torch.Tensor:
    sigma = torch.full((len(y),), float(noise_of(log_snr)))
    return model(y * sigma[0] ** 2, sigma, labels)


def nearness(generated: LabelledImages, held_out: LabelledImages, training: LabelledImages) -> dict[str, Any]:
    """Quartiles of the distance to the nearest training image, and the test of whether generated ones lie nearer."""
    distances = [
        torch.cdist(each.images.flatten(1), training.images.flatten(1)).min(dim=1).values.numpy()
        for each in (generated, held_out)
    ]
    return {
        "generated": _quartiles(distances[0]),
        "held_out": _quartiles(distances[1]),
        # One-sided: small when generated images lie nearer to the training images than held-out ones do.
        "p_generated_nearer": float(mannwhitneyu(*distances, alternative="less").pvalue),
    }


def _quartiles(values: Array) -> list[float]:
    return [float(value) for value in np.quantile(values, (0.25, 0.5, 0.75))]


def versions() -> dict[str, str]:
    packages = ("torch", "diffusers", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


def write_card(folder: Path, measured: dict[str, Any], card: Callable[[dict[str, Any], dict[str, Any]], str]) -> None:
    """Leaves `measured` as card.json in a model's folder, and the page that `card` makes of it and companion.json."""
    write_text(folder / "card.json", json.dumps(measured, indent=2) + "\n")
    page = card(measured, json.loads((folder / "companion.json").read_text(encoding="utf-8")))
    write_text(folder / "README.md", page)
    print(page)


def training_table(model: dict[str, Any], digest: str) -> str:
    """The rows of a card on how a network was trained, from its `companion.json`."""
    settings = model["training"]
    return f"""| | |
|---|---|
| network | diffusers `UNet2DModel`, last row of the class embedding is the null class |
| prediction, schedule | velocity, DDPM's 1000 linear steps |
| batch, optimizer | {settings["batch"]}, AdamW |
| learning rate | {settings["learning_rate"]:g}, warmed up, then falling to zero along a cosine |
| weight decay, dropout | {settings["weight_decay"]:g}, {settings["dropout"]:g} |
| labels hidden | with probability {settings["label_dropout"]:g} |
| average of the weights | exponential, decay {settings["average"]:g} |
| seconds, threads | {model["seconds"]}, {settings["threads"]} |
| versions | {named(model["versions"])} |
| hash of weights and configuration | `{digest}` |

Same seed, steps, threads, machine and versions give the same bits."""


def named(numbers: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def listed(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
