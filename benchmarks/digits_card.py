"""Measures a trained digits model and writes its model card: `python benchmarks/digits_card.py [FOLDER]`.

Without a folder, the shipped model's. `card.json` holds what was measured and `README.md` says it; no number of the
card is typed. Takes about ten minutes on one idle thread.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.svm import SVC
from tqdm import tqdm

from benchmarks.model_card import (
    SEED,
    denoised,
    drawn,
    listed,
    loss,
    named,
    nearness,
    training_table,
    versions,
    write_card,
)
from companion.forward import log_snr_levels
from companion.models.digits import CLASSES, LabelledImages, held_out_digits, training_digits
from companion.models.load import load
from companion.models.trained import TrainedDenoiser

GENERATED = 1000
# At 100 levels the steps are coarse enough to draw digits that are too typical, and so too near to the training images.
GENERATION_LEVELS = log_snr_levels(400, -9.0, 8.0)
CHAIN_LEVELS = log_snr_levels(256, -8.0, 8.0)
# Each held-out image is noised this many times, so that the noise drawn matters less than which images were held out.
CHAINS = 3
# An entropy below this many nats is not compared: there one image of 360 decides.
SMALL = 0.02


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shipped = Path(sys.modules[TrainedDenoiser.__module__].__file__ or "").parent / "weights" / "digits"
    parser.add_argument("folder", nargs="?", type=Path, default=shipped, help="a finished `companion train digits`")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    write_card(folder, measure(load(folder)), card)
    return 0


def measure(model: TrainedDenoiser) -> dict[str, object]:
    """Every number of the card, as JSON takes it."""
    started = time.perf_counter()
    training, held_out = training_digits(), held_out_digits()
    classifier = SVC(gamma=0.064).fit(training.images.flatten(1), training.labels)
    generated = drawn(model, GENERATED, GENERATION_LEVELS, grey_levels=17)
    return {
        "digest": model.digest,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "loss": {"training": loss(model, training), "held_out": loss(model, held_out)},
        "classifier_accuracy": {
            "held_out": float(classifier.score(held_out.images.flatten(1), held_out.labels)),
            "generated": float(classifier.score(generated.images.flatten(1), generated.labels)),
        },
        "nearest_training_image": nearness(generated, held_out, training),
        "chain": calibration(
            np.stack([chain_log_likelihoods(model, held_out, SEED + chain) for chain in range(CHAINS)]), held_out.labels
        ),
        "seconds": round(time.perf_counter() - started),
        "versions": versions(),
    }


def chain_log_likelihoods(model: TrainedDenoiser, digits: LabelledImages, seed: int) -> np.ndarray:
    """Log-likelihoods (level, image, class) accumulated along real digits noised by the exact forward chain.

    The path is the data's, dy = x_0 dsnr + sqrt(dsnr) xi, and the model only scores it: dL_z = D_z . dy - |D_z|^2
    dsnr / 2, with D_z read before the step (Ito; ES 107-110 on a path that is not the model's own).
    """
    generator = torch.Generator().manual_seed(seed)
    snr = np.exp(CHAIN_LEVELS)
    images = digits.images

    def noise(variance: float) -> torch.Tensor:
        return variance**0.5 * torch.randn(images.shape, generator=generator)

    y = float(snr[0]) * images + noise(float(snr[0]))
    totals = [np.zeros((len(images), len(CLASSES)))]
    for level in tqdm(range(len(snr) - 1), desc="held-out digits followed"):
        step = float(snr[level + 1] - snr[level])
        dy = step * images + noise(step)
        means = [
            denoised(model, y, CHAIN_LEVELS[level], torch.full((len(images),), label)) for label in range(len(CLASSES))
        ]
        increments = [((mean * dy).sum((1, 2, 3)) - 0.5 * step * mean.square().sum((1, 2, 3))) for mean in means]
        totals.append(totals[-1] + torch.stack(increments, dim=1).double().numpy())
        y += dy
    return np.stack(totals)


def calibration(log_likelihoods: np.ndarray, labels: torch.Tensor) -> dict[str, object]:
    """Cross entropy against mean posterior entropy at every level, for the ten classes and for the 45 pairs.

    `log_likelihoods` is (chain, level, image, class). Chains of one image are averaged first: standard errors are over
    images.
    """
    images = np.arange(len(labels))
    log_posterior = log_likelihoods - np.logaddexp.reduce(log_likelihoods, axis=-1, keepdims=True)
    ten_cross = -log_posterior[..., images, labels]
    ten_entropy = -(np.exp(log_posterior) * log_posterior).sum(axis=-1)

    # Each image stands in nine pairs, its own class against another; their mean is one value per image, so that the
    # standard error counts images and not pairs.
    gap = log_likelihoods - log_likelihoods[..., images, labels][..., None]
    against = np.arange(len(CLASSES)) != labels.numpy()[:, None]
    pair_cross = np.logaddexp(0.0, gap)
    pair_entropy = pair_cross - gap / (1.0 + np.exp(-gap))
    pairs = ((values * against).sum(axis=-1) / (len(CLASSES) - 1) for values in (pair_cross, pair_entropy))

    three_or_eight = (labels == 3) | (labels == 8)
    final = log_likelihoods[:, -1]
    eight = final[:, three_or_eight, 8] > final[:, three_or_eight, 3]
    return {
        "chains": len(log_likelihoods),
        "ten_classes": compared(ten_cross.mean(axis=0), ten_entropy.mean(axis=0)),
        "all_pairs": compared(*(values.mean(axis=0) for values in pairs)),
        "accuracy": float((final.argmax(axis=-1) == labels.numpy()).mean()),
        "accuracy_3_8": float((eight == (labels[three_or_eight] == 8).numpy()).mean()),
    }


def compared(cross: np.ndarray, entropy: np.ndarray) -> dict[str, object]:
    """Cross entropy and entropy, (level, image) each, and their difference in standard errors where it is judged."""
    difference = cross - entropy
    error = difference.std(axis=1, ddof=1) / np.sqrt(difference.shape[1])
    # At the first level the posterior is the prior and both are its entropy.
    judged = np.maximum(cross.mean(axis=1), entropy.mean(axis=1)) > SMALL
    judged[0] = False
    score = difference.mean(axis=1)[judged] / error[judged]
    shown = [int(np.argmin(np.abs(CHAIN_LEVELS - log_snr))) for log_snr in range(-6, 9, 2)]
    return {
        "largest_difference_in_standard_errors": float(score[np.argmax(np.abs(score))]),
        "at_log_snr": float(CHAIN_LEVELS[judged][np.argmax(np.abs(score))]),
        "levels_judged": int(judged.sum()),
        "table": [
            [float(CHAIN_LEVELS[k]), float(cross[k].mean()), float(entropy[k].mean()), float(error[k])] for k in shown
        ],
    }


def card(measured: dict, model: dict) -> str:
    """The model card as a page."""
    settings, chain, near = model["training"], measured["chain"], measured["nearest_training_image"]
    accuracy, loss = measured["classifier_accuracy"], measured["loss"]

    def verdict(compared: dict) -> str:
        return (
            f"largest difference {compared['largest_difference_in_standard_errors']:+.2f} standard errors, at log-snr "
            f"{compared['at_log_snr']:.2f}, among {compared['levels_judged']} of {len(CHAIN_LEVELS)} levels"
        )

    rows = "\n".join(
        f"| {ten[0]:.2f} | {ten[1]:.4f} | {ten[2]:.4f} | {ten[3]:.4f} | {pair[1]:.4f} | {pair[2]:.4f} | {pair[3]:.4f} |"
        for ten, pair in zip(chain["ten_classes"]["table"], chain["all_pairs"]["table"], strict=True)
    )
    return f"""# Model card: digits

A class-conditional diffusion model of 8x8 handwritten digits, small enough to ship:
{measured["parameters"]} parameters. It serves to study when a diffusion model decides which digit
it draws. It is no digit recogniser.

This page is written by `python benchmarks/digits_card.py` from `card.json` and `companion.json` beside it.

## Data
scikit-learn's `load_digits`: 1797 images, 17 grey levels, scaled to [-1, 1]. Split once, stratified by class, seed 0:
1437 to train on, 360 held out. The settings below were chosen on a part of the 1437.

## Training
    companion train digits --seed {settings["seed"]} --steps {settings["steps"]} --threads {settings["threads"]}

{training_table(model, measured["digest"])}

## What it was measured to do
**Loss** (squared error of the velocity, per pixel, labels shown): {loss["held_out"]:.4f} on held-out digits,
{loss["training"]:.4f} on the training digits.

**Generated digits.** {GENERATED}, as many of each class, in {len(GENERATION_LEVELS)} ancestral steps; judged by
a support vector machine trained on the 1437 images. Of the class asked for: {100 * accuracy["generated"]:.1f}%.
The same machine is right on {100 * accuracy["held_out"]:.1f}% of the held-out digits.

**Distance to the nearest training image**, quartiles. Generated: {listed(near["generated"])}.
Held-out: {listed(near["held_out"])}. Mann-Whitney test against "generated digits are nearer":
p = {near["p_generated_nearer"]:.3g}.

**Held-out digits**, each noised {chain["chains"]} times by the exact forward chain at {len(CHAIN_LEVELS)} levels
equally spaced in log-snr, the posterior of the class accumulated along it. Right at the end:
{100 * chain["accuracy"]:.1f}%; 3 against 8: {100 * chain["accuracy_3_8"]:.1f}%.
Cross entropy against mean posterior entropy, where either exceeds {SMALL} nats:
ten classes, {verdict(chain["ten_classes"])};
all 45 pairs together, {verdict(chain["all_pairs"])}.
The chapter "Ten digits" has the same check by another chain, so with other figures: there the noise is other
noise, what the first level knows is counted, and the drift of a step is averaged over both its ends, where here it is
taken at the noisier one.

In nats, with the standard error of the difference:

| log-snr | ten: cross entropy | entropy | error | pairs: cross entropy | entropy | error |
|---|---|---|---|---|---|---|
{rows}

Measured in {measured["seconds"]} seconds with {named(measured["versions"])}.

## License
Weights: CC BY 4.0, the companion's contributors. The images come from the UCI machine learning repository's "Optical
Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak), CC BY 4.0.
"""


if __name__ == "__main__":
    sys.exit(main())
