"""Trains digits networks by other seeds, shorter, and on few images, and measures what their profiles have in common.

    python benchmarks/does_it_depend_on_the_network_results.py [levels] [sizes] [judged]

writes derivations/does_it_depend_on_the_network/results/PART.json: half an hour of one thread for the networks, and
as much again for the measurements. Networks and measurements are kept in the folder that the environment variable
DIGITS_NETWORKS names, by default `does_it_depend_on_the_network` for temporary files, and a run that was stopped goes
on from there.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Parts, rounded, run_parts
from benchmarks.model_card import loss, nearness
from companion.denoiser import Denoiser
from companion.entropy import Classes, partition
from companion.estimate.certificate import Certificate
from companion.estimate.held_out import against_data, calibration, log_likelihoods
from companion.estimate.plan import Data
from companion.estimate.result import Profile
from companion.estimate.run import profiles
from companion.exact.empirical import EmpiricalDistribution, empirical_distribution
from companion.files import make_folder, write_text
from companion.forward import log_snr_levels
from companion.models.checks import JUDGED, examine
from companion.models.digits import LabelledImages, held_out_digits
from companion.models.trained import TrainedDenoiser
from derivations.does_it_depend_on_the_network.networks import RECIPES, SEEDS, SHIPPED, SIZES, network
from derivations.kit.measured import FOLDER
from derivations.kit.sampling import deterministic, start

LEVELS = np.linspace(-5.2, 3.2, 25)
PATHS = 550  # fifty for each digit and the null branch: a hundred a pair
RUNS = (0, 1)  # the seeds of the paths, the same for every network
DIGITS = 200  # of a profile on data: twenty of each class
DRAWN, DRAWING = 360, log_snr_levels(60, -9.0, 8.0)
PAIRS = list(combinations(range(10), 2))
SHOWN = "3|8"  # the pair whose curves are kept
# Whose certificate is asked of which data.
ASKED_OF = {
    "held_out": (SHIPPED, "steps_300", "memory_100"),
    "seen": ("memory_100",),
    "own": (SHIPPED, "steps_300", "memory_100"),
}
KEPT = Path(os.environ.get("DIGITS_NETWORKS", Path(tempfile.gettempdir()) / "does_it_depend_on_the_network"))

Row = dict[str, Any]


def trained(name: str) -> TrainedDenoiser:
    return network(name, KEPT, progress=False)


def exact(name: str) -> EmpiricalDistribution:
    """The exact denoiser of the images that a network was trained on."""
    return empirical_distribution(RECIPES[name].images.images, RECIPES[name].images.labels, name=f"exact_{name}")


def run(model: Denoiser, name: str, seed: int = 0) -> list[Profile]:
    """Every pair, every digit against all, and last, of a network, which of the ten, which asks its null branch too.

    An undertrained network may fail what is asked of a model before a run; `judged` notes it, and the run goes on.
    """
    asked = [partition(model, [i], [j]) for i, j in PAIRS] + [partition(model, [k], "all") for k in range(10)]
    asked += [Classes.of(model.weights)] if model.has_null else []
    folder = KEPT / "runs" / f"{name}-{seed}"
    found = profiles(model, asked, folder, log_snr=LEVELS, samples=PATHS, seed=seed, trust=JUDGED)
    print(f"{name}, seed {seed}: {found[0].seconds:.0f} s", flush=True)
    return found


def levels_of(found: Sequence[Profile]) -> Row:
    """The half-entropy level of each pair and of each digit against all, and its standard error, to four digits."""
    halves = [each.half_entropy for each in found[: len(PAIRS) + 10]]
    known = [(h.value, (h.upper - h.lower) / (2.0 * 1.96)) for h in halves]
    return {"half_entropy": [round(value, 4) for value, _ in known], "se": [round(error, 4) for _, error in known]}


def checks(certificate: Certificate) -> Row:
    """The lines that were measured: value, error, verdict."""
    measured = [each for each in certificate.checks if each.value is not None]
    return {each.name: [round(each.value, 5), round(each.error, 5), each.verdict] for each in measured}


def judged(name: str) -> Row:
    """What a network is: losses, calibration on held-out digits, its certificates, and how near its samples are.

    Kept in a file; `seconds` are those of the processor.
    """
    path = KEPT / "judged" / f"{name}.json"
    if not path.exists():
        make_folder(path.parent, "networks")
        started = time.process_time()
        row = judge(name)
        write_text(path, json.dumps(row | {"seconds": time.process_time() - started}))
        print(f"{name}: judged", flush=True)
    found: Row = json.loads(path.read_text("utf-8"))
    return found


def judge(name: str) -> Row:
    model, images, held_out = trained(name), RECIPES[name].images, held_out_digits()
    drawn = samples_of(model)
    own, sets = run(model, name)[-1], {"held_out": held_out, "seen": repeated(images), "own": drawn}
    asked, how = [Classes.of(model.weights)], {"log_snr": LEVELS, "samples": DIGITS, "seed": 1, "trust": JUDGED}
    real = {
        which: profiles(model, asked, data=as_data(sets[which]), **how)[0]
        for which, networks in ASKED_OF.items()
        if name in networks
    }
    likelihood = log_likelihoods(model, held_out.images, LEVELS)
    found = calibration(likelihood, held_out.labels.numpy(), LEVELS, model.weights)
    examined = examine(model, [*range(10), None], [LEVELS[0], LEVELS[12], LEVELS[-1]])
    return {
        "digest": model.digest,
        "loss": {"seen": loss(model, images), "held_out": loss(model, held_out)},
        "calibration": {key: getattr(found, key).tolist() for key in ("cross_entropy", "posterior_entropy", "gap_se")},
        "accuracy": float(found.accuracy[-1]),
        "refused": [each.name for each in examined if each.passed is False],
        "certificate": checks(own.certificate),
        "on_data": {which: checks(against_data(own, each).certificate) for which, each in real.items()},
        "nearest": nearness(drawn, held_out, images),
        "evaluations": own.evaluations + sum(each.evaluations for each in real.values()) + likelihood.size,
    }


def as_data(digits: LabelledImages) -> Data:
    return Data(digits.images, digits.labels.numpy())


def repeated(images: LabelledImages) -> LabelledImages:
    """The images, as many times over as a profile on data needs of each class, to meet other noise."""
    times = -(-DIGITS // (10 * int(images.labels.bincount().min())))
    return LabelledImages(images.images.repeat(times, 1, 1, 1), images.labels.repeat(times))


def samples_of(model: TrainedDenoiser) -> LabelledImages:
    """As many digits of each class, drawn without noise after the first."""
    labels = torch.arange(DRAWN) % 10
    return LabelledImages(deterministic(model, start(DRAWN, model.shape, 0), labels, DRAWING), labels)


def measured_levels() -> tuple[Row, int]:
    """Half-entropy levels of networks of five seeds, in two runs each, and of the exact denoiser."""
    runs = {name: [run(trained(name), name, seed) for seed in RUNS] for name in SEEDS}
    truth = run(exact(SHIPPED), f"exact_{SHIPPED}")
    every = [each for of_network in runs.values() for each in of_network] + [truth]
    return {
        "seconds": round(sum(each[0].seconds for each in every)),
        "paths": PATHS,
        "run_seeds": RUNS,
        "partitions": [each.partition for each in truth][: len(PAIRS) + 10],
        "digests": {name: of_network[0][0].model_digest for name, of_network in runs.items()},
        "networks": {name: [levels_of(each) for each in of_network] for name, of_network in runs.items()},
        "exact": levels_of(truth),
        "end_against_all": {
            name: [round(float(each.entropy[-1]), 4) for each in of_network[0][len(PAIRS) : len(PAIRS) + 10]]
            for name, of_network in runs.items()
        },
    }, sum(each[0].evaluations for each in every)


def measured_sizes() -> tuple[Row, int]:
    """Levels and curves of undertrained and memorising networks, beside the shipped one and the exact denoisers."""
    models: dict[str, Denoiser] = {name: trained(name) for name in (*SIZES, SHIPPED, "memory_100")}
    models |= {f"exact_{name}": exact(name) for name in (SHIPPED, "memory_100")}
    found = {name: run(model, name) for name, model in models.items()}
    shown = [each.partition for each in found[SHIPPED]].index(SHOWN)
    return {
        "seconds": round(sum(each[0].seconds for each in found.values())),
        "paths": PATHS,
        "log_snr": LEVELS,
        "partitions": [each.partition for each in found[SHIPPED]][: len(PAIRS) + 10],
        "digests": {name: model.digest for name, model in models.items()},
        "networks": {name: levels_of(each) for name, each in found.items()},
        "shown": SHOWN,
        "entropy": {name: np.round(each[shown].entropy, 4) for name, each in found.items()},
        "entropy_se": {name: np.round(each[shown].entropy_se, 4) for name, each in found.items()},
    }, sum(each[0].evaluations for each in found.values())


def measured_judged() -> tuple[Row, int]:
    """What is known of each network without its profile, and what its certificate says of it."""
    found = {name: judged(name) for name in RECIPES}
    seconds, evaluations = (sum(each.pop(key) for each in found.values()) for key in ("seconds", "evaluations"))
    for each in found.values():
        curves = {key: np.array(curve) for key, curve in each.pop("calibration").items()}
        each["gap"] = np.round(curves["cross_entropy"] - curves["posterior_entropy"], 4)
        each["gap_se"] = np.round(curves["gap_se"], 4)
        # What other lines say of data is what they say of the network's own paths.
        each["on_data"] = {
            which: {name: lines[name] for name in ("calibration", "own and real")}
            for which, lines in each["on_data"].items()
        }
    return {"seconds": round(seconds), "log_snr": LEVELS, "networks": found}, evaluations


PARTS: Parts = {"levels": measured_levels, "sizes": measured_sizes, "judged": measured_judged}


if __name__ == "__main__":
    packages = ("torch", "diffusers", "numpy", "scipy", "scikit-learn")
    folder = FOLDER / "does_it_depend_on_the_network" / "results"
    sys.exit(run_parts("does_it_depend_on_the_network_results", __doc__, PARTS, folder, packages, rounded))
