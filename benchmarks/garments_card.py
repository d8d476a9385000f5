"""Measures a trained garments model and writes its model card: `python benchmarks/garments_card.py [FOLDER]`.

Without a folder, the shipped model's. `card.json` holds what was measured and `README.md` says it; no number of the
card is typed. Reads the whole data set where Debian's package dataset-fashion-mnist puts it, and, for the shipped
model, what `python benchmarks/garments_results.py held_out` measured before. Ten minutes on one idle thread.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from benchmarks.model_card import SEED, drawn, listed, loss, named, nearness, training_table, versions, write_card
from companion.forward import log_snr_levels
from companion.models.digits import LabelledImages
from companion.models.load import load
from companion.models.trained import TrainedDenoiser
from derivations.kit.garments import CLASSES, held_out_garments, test_garments, training_garments
from derivations.kit.measured import read
from derivations.ten_garments import WEIGHTS

GENERATED = 500
GENERATION_LEVELS = log_snr_levels(80, -9.0, 7.0)
LOSS_OF = 250  # images of each kind, whose loss is taken
EPOCHS = 5  # of the judge


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=WEIGHTS, help="a model that the chapter's train.py left"
    )
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    write_card(folder, measure(load(folder, name="garments")), card)
    return 0


def measure(model: TrainedDenoiser) -> dict[str, Any]:
    """Every number of the card, as JSON takes it."""
    started = time.perf_counter()
    training, held_out = training_garments(), held_out_garments()
    reader, generated = judge(training), drawn(model, GENERATED, GENERATION_LEVELS, grey_levels=256)
    right = answers(reader, generated.images) == generated.labels
    return {
        "digest": model.digest,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "loss": {
            "training": loss(model, LabelledImages(training.images[:LOSS_OF], training.labels[:LOSS_OF])),
            "held_out": loss(model, LabelledImages(held_out.images[::8], held_out.labels[::8])),
        },
        "judge_accuracy": {"test": accuracy(reader, test_garments()), "generated": float(right.float().mean())},
        "by_class": {name: float(right[generated.labels == k].float().mean()) for k, name in enumerate(CLASSES)},
        "nearest_training_image": nearness(generated, held_out, training),
        "seconds": round(time.perf_counter() - started),
        "versions": versions(),
    }


def judge(training: LabelledImages) -> nn.Module:
    """A small convolutional classifier that no diffusion model has seen, trained on the 60000 training images."""
    torch.manual_seed(SEED)
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    reader = nn.Sequential(*layers, nn.Linear(32 * 49, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))
    batches, optimizer = len(training.labels) // 100, torch.optim.Adam(reader.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        for rows in tqdm(torch.randperm(len(training.labels))[: 100 * batches].split(100), "judge", mininterval=10.0):
            optimizer.zero_grad()
            nn.functional.cross_entropy(reader(training.images[rows]), training.labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return reader.eval()


@torch.no_grad()
def answers(reader: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([reader(some).argmax(dim=1) for some in images.split(500)])


def accuracy(reader: nn.Module, images: LabelledImages) -> float:
    return float((answers(reader, images.images) == images.labels).float().mean())


def card(measured: dict[str, Any], model: dict[str, Any]) -> str:
    """The model card as a page."""
    settings, near, right = model["training"], measured["nearest_training_image"], measured["judge_accuracy"]
    classes = ", ".join(f"{name} {100 * share:.0f}%" for name, share in measured["by_class"].items())
    return f"""# Model card: garments

A class-conditional diffusion model of 28x28 pictures of garments, small enough to ship:
{measured["parameters"]} parameters. It serves to study when a diffusion model decides which garment
it draws. It is no recogniser of garments.

This page is written by `python benchmarks/garments_card.py` from `card.json` and `companion.json` beside it.

## Data
Fashion-MNIST: 70000 images, 256 grey levels, scaled to [-1, 1]. The 60000 training images were trained on. Of the
10000 test images the first 200 of each class ship, held out.

## Training
    python -m derivations.ten_garments.train --seed {settings["seed"]} --steps {settings["steps"]}

{training_table(model, measured["digest"])}

## What it was measured to do
**Loss** (squared error of the velocity, per pixel, labels shown), of {LOSS_OF} images each:
{measured["loss"]["held_out"]:.4f} on held-out garments, {measured["loss"]["training"]:.4f} on training garments.

**Generated garments.** {GENERATED}, as many of each class, in {len(GENERATION_LEVELS)} ancestral steps; judged by a
small convolutional network trained on the 60000 images. Of the class asked for: {100 * right["generated"]:.1f}%.
The same judge is right on {100 * right["test"]:.1f}% of the 10000 test images. By class: {classes}.

**Distance to the nearest training image**, quartiles. Generated: {listed(near["generated"])}.
Held-out: {listed(near["held_out"])}. Mann-Whitney test against "generated garments are nearer":
p = {near["p_generated_nearer"]:.3g}. A picture with less texture than a real one is nearer to everything: a small p is
no sign by itself that training images were kept.

{held_out_said(measured["digest"])}

Measured in {measured["seconds"]} seconds with {named(measured["versions"])}.

## License
Weights: MIT, the companion's contributors. The images are Zalando's Fashion-MNIST (H. Xiao, K. Rasul and R. Vollgraf
2017), MIT license.
"""


def held_out_said(digest: str) -> str:
    """What the shipped model's posterior says of held-out garments; of another model nothing was measured."""
    found = read("ten_garments/held_out")
    if found["model_digest"] != digest:
        return "**Held-out garments**: the posterior was measured on the shipped model alone."
    lines = [
        f"{name}, largest difference {found[key]['worst_in_se']:+.2f} standard errors, at log-snr "
        f"{found[key]['worst_at']:.2f}, among {found[key]['levels_judged']} of {len(found['log_snr'])} levels; chance "
        f"alone passes {found[key]['worst_by_chance']:.2f} once in twenty times"
        for key, name in (("ten", "ten classes"), ("pairs", "all 45 pairs together"))
    ]
    count, levels, right = int(found["garments"]), len(found["log_snr"]), 100 * found["ten"]["accuracy"][-1]
    return f"""**Held-out garments**, {count} of them, each noised by the exact forward chain at {levels} levels equally
spaced in log-snr, the posterior of the class accumulated along it
(`{found["command"]}`). Right at the end: {right:.1f}%.
Cross entropy against mean posterior entropy, where either exceeds 0.02 nats:
{lines[0]};
{lines[1]}."""


if __name__ == "__main__":
    sys.exit(main())
