"""Measures the neural entropy of the shipped digits network and of the exact denoiser of its training images.

    python benchmarks/neural_entropy_results.py           all parts: ten minutes of one thread
    python benchmarks/neural_entropy_results.py images    one of them: images, paths, pixels

They go to derivations/neural_entropy/results/ for the chapter on the neural entropy of a trained model. `images` noises
training images, held-out images and images of the network's own and asks both denoisers; `paths` asks the package what
the network's own reverse paths store and know of the class; `pixels` asks the histograms of single pixels. Rates are in
nats per unit of log-snr.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.harness import rounded, run_parts
from companion.estimate.information import mutual_information
from companion.exact.empirical import empirical_distribution
from companion.exact.laws import monte_carlo_entropy
from companion.forward import log_snr_levels
from companion.models.digits import held_out_digits, training_digits
from companion.models.load import load
from derivations.kit.measured import FOLDER
from derivations.neural_entropy.pixels import pixel_denoiser
from derivations.neural_entropy.readings import (
    Mean,
    Pair,
    Readings,
    between,
    mean_of,
    own_images,
    read_images,
)

LEVELS = log_snr_levels(49, -10.0, 9.2)
MARKS = (-10.0, -2.0, 0.0, 2.0, 4.0, 6.0)  # the totals above these levels
OWN, OWN_PATHS, STATES = 1440, 440, 4000  # own images, own paths, states of the exact class entropy


def columns(name: str, mean: Mean) -> dict[str, Any]:
    return {name: mean.value, f"{name}_se": mean.error}


def of_branch(read: Readings, names: Sequence[str] = ("rate", "loss")) -> dict[str, Any]:
    found = columns("length", read.best_length()) if "excess" in names else {}
    for name in names:
        found |= columns(name, mean_of(getattr(read, name)))
    for name in ("rate", "loss"):
        above = [between(LEVELS, getattr(read, name), first, LEVELS[-1]) for first in MARKS]
        found |= columns(f"{name}_above", mean_of(np.stack(above, axis=1)))
    return found


def of_pair(pair: Pair, names: Sequence[str] = ("rate", "loss")) -> dict[str, Any]:
    apart = {"apart": mean_of(pair.apart).value}
    whole = columns("apart_total", mean_of(between(LEVELS, pair.apart, *LEVELS[[0, -1]])))
    more = pair.conditional.rate - pair.null.rate
    whole |= columns("more_total", mean_of(between(LEVELS, more, *LEVELS[[0, -1]])))
    return {"conditional": of_branch(pair.conditional), "null": of_branch(pair.null, names)} | apart | whole


def images() -> tuple[dict[str, Any], int]:
    """Readings of the network on three sets of images, and of the exact denoiser on two."""
    model, training, held_out = load("digits"), training_digits(), held_out_digits()
    exact = empirical_distribution(training.images.double(), training.labels)
    labels = torch.arange(OWN) % 10
    evaluations = 0
    with tqdm(unit="evaluation", mininterval=20.0) as bar:

        def counted(count: int) -> None:
            nonlocal evaluations
            evaluations += count
            bar.update(count)

        own = own_images(model, labels, log_snr_levels(64, *model.log_snr_range), progress=counted)
        sets = {
            "training": (training.images, training.labels),
            "held_out": (held_out.images, held_out.labels),
            "own": (own, labels),
        }
        network = {
            name: of_pair(read_images(model, *each, LEVELS, progress=counted), ("rate", "loss", "divergence", "excess"))
            for name, each in sets.items()
        }
    points = {name: of_pair(read_images(exact, *sets[name], LEVELS)) for name in ("training", "held_out")}
    generator = torch.Generator().manual_seed(0)
    entropy, error = monte_carlo_entropy(exact, LEVELS, STATES, generator)
    moments = {name: float(each[0].double().flatten(1).square().sum(dim=1).mean()) for name, each in sets.items()}
    return {
        "model_digest": model.digest,
        "log_snr": LEVELS,
        "marks": MARKS,
        "images": {name: len(each[0]) for name, each in sets.items()},
        "second_moment": moments,
        "network": network,
        "exact": points,
        "exact_entropy": entropy,
        "exact_entropy_se": error,
    }, evaluations


def paths() -> tuple[dict[str, Any], int]:
    """The label and the neural entropy on the network's own reverse paths, by every route of the package."""
    model = load("digits")
    read = mutual_information(model, samples=OWN_PATHS, log_snr=LEVELS, seed=0)
    found: dict[str, Any] = {"model_digest": model.digest, "samples": read.samples, "log_snr": read.log_snr}
    for name in ("of_model", "mixture", "null", "stored", "stored_null"):
        course = getattr(read, name)
        found[name] = {"nats": course.nats, "nats_se": course.nats_se, "rate": course.rate, "rate_se": course.rate_se}
    return found, read.evaluations


def pixels() -> tuple[dict[str, Any], int]:
    """What the histograms of single pixels, of the training images, miss of held-out images."""
    training, held_out = training_digits(), held_out_digits()
    by_themselves = pixel_denoiser(training.images, training.labels, torch.arange(17) / 8.0 - 1.0)
    read = read_images(by_themselves, held_out.images, held_out.labels, LEVELS).null
    return {"log_snr": LEVELS, "images": len(held_out.images)} | columns("loss", mean_of(read.loss)), 0


def main() -> int:
    folder = FOLDER / "neural_entropy/results"
    packages = ("torch", "diffusers", "numpy", "scikit-learn")
    parts = {"images": images, "paths": paths, "pixels": pixels}
    return run_parts("neural_entropy_results", __doc__ or "", parts, folder, packages, rounded)


if __name__ == "__main__":
    sys.exit(main())
