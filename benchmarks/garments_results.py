"""Measures when the garments model decides, and writes the results that the chapter "Ten garments" reads.

    python benchmarks/garments_results.py               all of them: about forty minutes on one idle thread
    python benchmarks/garments_results.py held_out      one of them: profiles, samples, held_out, exact, guided

They go to derivations/ten_garments/results/ as JSON, with their origin. `exact` reads the training images where
Debian's package dataset-fashion-mnist puts them; the others need nothing but what ships. What the chapter claims of
the results is tested in tests/derivations/ten_garments/test_garments_results.py.
"""

import sys
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.digits_results import compared, reliability
from benchmarks.harness import Parts, rounded, run_parts
from companion.entropy import NULL, Classes, Partition, partition
from companion.estimate.held_out import log_likelihoods
from companion.estimate.result import Profile
from companion.estimate.run import profile, profiles
from companion.exact.empirical import empirical_distribution
from companion.forward import central_interval, log_snr_levels
from companion.guidance import guided
from companion.models.digits import LabelledImages
from companion.models.trained import TrainedDenoiser
from derivations.kit.garments import CLASSES, held_out_garments, training_garments
from derivations.kit.measured import FOLDER, read
from derivations.ten_garments import model as garments_model

LEVELS = log_snr_levels(48, -9.0, 7.0)
SAMPLES = 330  # of the one run of all: 30 a branch, ten classes and the null branch; 60 a pair
PAIRS = list(combinations(range(10), 2))
FEW = (30, 90)  # paths over all ten classes, as ES Figure 8 varies them
CHAIN_LEVELS = log_snr_levels(48, -7.5, 1.0)
HELD_OUT_EACH = 25  # of the 200 of each class that ship
RELIABILITY_LEVELS = (-4.0, -3.0, -2.0)
# Like and unlike ones, each class at least once; chosen before the two models were compared.
TEN_PAIRS = ("sneaker|boot", "trouser|sneaker", "t-shirt|shirt", "pullover|coat", "sandal|sneaker")
TEN_PAIRS += ("trouser|dress", "bag|boot", "shirt|bag", "dress|coat", "t-shirt|dress")
PATHS, WEIGHT, PATH_LEVELS = 50, 2.0, log_snr_levels(27, -8.0, 2.0)  # of the profiles on guided paths


def described(model: TrainedDenoiser) -> dict[str, Any]:
    return {"model": model.name, "model_digest": model.digest}


def columns(found: Sequence[Profile], *names: str) -> dict[str, Any]:
    return {name: [getattr(each, name) for each in found] for name in names}


def against(model: TrainedDenoiser, prior: str) -> list[Partition]:
    return [partition(model, [k], "others", prior=prior) for k in range(10)]


def measured_profiles() -> tuple[dict, int]:
    """One run: each class against the others, balanced and with its true share, against all and against the null
    branch; the null branch against all; which of the ten; and the 45 pairs, of which only the landmarks are kept."""
    model = garments_model()
    asked = against(model, "balanced") + against(model, "true")
    asked += [partition(model, [k], whole) for whole in ("all", "null") for k in range(10)]
    asked += [partition(model, [NULL], "all"), Classes.of(model.weights)]
    asked += [partition(model, [i], [j]) for i, j in PAIRS]
    with tqdm(unit="evaluation", desc="all classes", mininterval=30.0) as bar:
        found = profiles(model, asked, log_snr=LEVELS, samples=SAMPLES, block=SAMPLES // 3, progress=bar.update)
    rows = {"others": slice(0, 10), "true": slice(10, 20), "all": slice(20, 30), "null": slice(30, 40)}
    rows |= {"null_against_all": slice(40, 41), "ten": slice(41, 42), "pairs": slice(42, None)}
    produced, left = ("window", "production", "production_se"), ("floor", "entropy")
    more = {"others": produced, "true": produced, "all": left, "null": left, "pairs": ("peak",)}
    more |= {"null_against_all": ("entropy", "entropy_se")}
    result = {
        name: columns(found[some], "partition", "half_entropy", *more.get(name, ())) for name, some in rows.items()
    }
    for name in ("others", "pairs"):
        result[name]["last"] = [each.entropy[-1] for each in found[rows[name]]]
    return described(model) | {"samples_in_all": SAMPLES, "log_snr": LEVELS} | result, found[0].evaluations


def measured_samples() -> tuple[dict, int]:
    """Each class against the others with few paths, balanced and with the true share; ES Figure 8."""
    model, rows, evaluations = garments_model(), {}, 0
    for count in FEW:
        # Other noise than that of the run of all, or the few paths would be among its.
        asked = against(model, "balanced") + against(model, "true")
        found = profiles(model, asked, log_snr=LEVELS, samples=count, seed=count)
        evaluations += found[0].evaluations
        names = ("production", "half_entropy")
        rows[str(count)] = {"balanced": columns(found[:10], *names), "true": columns(found[10:], *names)}
    return described(model) | {"log_snr": LEVELS, "counts": FEW, "rows": rows}, evaluations


def measured_held_out() -> tuple[dict, int]:
    """The posterior of held-out garments along the exact chain: the digits' own test."""
    model, held_out = garments_model(), held_out_garments()
    some = torch.cat([torch.nonzero(held_out.labels == k)[:HELD_OUT_EACH, 0] for k in range(10)])
    garments = LabelledImages(held_out.images[some], held_out.labels[some])
    with tqdm(unit="evaluation", desc="held out", mininterval=30.0) as bar:
        found = log_likelihoods(model, garments.images, CHAIN_LEVELS, progress=bar.update)
    labels = garments.labels.numpy()
    questions = {
        "ten": lambda label: [tuple(range(10))],
        "pairs": lambda label: [(label, z) for z in range(10) if z != label],
    }
    result: dict[str, Any] = {"log_snr": CHAIN_LEVELS, "garments": len(labels)}
    result |= {name: compared(found[None], labels, CHAIN_LEVELS, asked) for name, asked in questions.items()}
    result["reliability"] = [reliability(found[None], labels, CHAIN_LEVELS, level) for level in RELIABILITY_LEVELS]
    return described(model) | result, found.size + found[:, 0].size  # the start from nothing too


def measured_exact() -> tuple[dict, int]:
    """The half-entropy level of ten pairs in the exact denoiser of all training images of the two classes."""
    model, training = garments_model(), training_garments()
    found = []
    for pair in tqdm(TEN_PAIRS, desc="ten pairs"):
        two = [CLASSES.index(name) for name in pair.split("|")]
        chosen = torch.isin(training.labels, torch.tensor(two))
        exact = empirical_distribution(
            training.images[chosen], (training.labels[chosen] == two[1]).long(), classes=pair.split("|")
        )
        found.append(profile(exact, pair, log_snr=LEVELS, samples=200))
    names = ("partition", "half_entropy", "entropy", "entropy_se")
    kept = {"log_snr": LEVELS, "samples": 200, "images": int(chosen.sum())} | columns(found, *names)
    return described(model) | kept, sum(each.evaluations for each in found)


def measured_guided() -> tuple[dict, int]:
    """Each class against the others on paths without guidance, with weight 2 in the window, and with it everywhere."""
    model, whole = garments_model(), read("ten_garments/profiles")
    production = np.maximum(whole["others"]["production"].mean(axis=0), 0.0)
    window = central_interval(whole["log_snr"], production)
    rules = {"none": model, "window": guided(model, WEIGHT, window), "everywhere": guided(model, WEIGHT)}
    rows, evaluations = {}, 0
    for name, rule in rules.items():
        found = profiles(rule, against(model, "balanced"), log_snr=PATH_LEVELS, samples=PATHS)
        evaluations += found[0].evaluations
        rows[name] = columns(found, "production", "production_se", "half_entropy")
        print(f"{name}: measured", flush=True)
    kept = {"weight": WEIGHT, "window": window, "samples": PATHS, "log_snr": PATH_LEVELS, "rules": rows}
    return described(model) | kept, evaluations


PARTS: Parts = {
    "profiles": measured_profiles,
    "samples": measured_samples,
    "held_out": measured_held_out,
    "exact": measured_exact,
    "guided": measured_guided,
}


if __name__ == "__main__":
    packages = ("torch", "diffusers", "numpy", "scipy")
    sys.exit(run_parts("garments_results", __doc__, PARTS, FOLDER / "ten_garments" / "results", packages, rounded))
