"""Measures what guidance does to samples of digits networks: the results that the chapter "Guidance on digits" reads.

    python benchmarks/guided_digits_results.py               all of them: a quarter of an hour on one thread
    python benchmarks/guided_digits_results.py shipped       one of them: shipped, stopped, mislabelled, paths

They go to derivations/guided_digits/results/ as JSON, with their origin. Networks and samples are kept in a folder
`guided_digits` for temporary files, and a run that was stopped goes on from there.

"stopped" is the network of `companion train digits --steps 300`. "mislabelled" is trained with twice as many steps on
labels of which two fifths were drawn anew, so that the defect is known: each class leaks into all the others.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from benchmarks.harness import Parts, rounded, run_parts
from companion.arguments import Array
from companion.entropy import partition
from companion.estimate.best_weight import best_weight
from companion.estimate.placement import default_levels
from companion.estimate.plan import Data
from companion.estimate.run import profiles
from companion.forward import central_interval, log_snr_levels, production_levels
from companion.guidance import Guided, guided
from companion.models.digits import LabelledImages, held_out_digits, training_digits
from companion.models.load import load
from companion.models.trained import TrainedDenoiser
from companion.models.training import Settings, train
from derivations.kit.fidelity import classifier, measures
from derivations.kit.measured import FOLDER
from derivations.kit.sampling import deterministic, start

SEEDS = (0, 1, 2)
STEPS = 16
PILOT = 100  # paths, for the window and for where the steps go
BEST_LEVELS = np.linspace(-6.0, 4.0, 21)
MISLABELLED = 0.4
WEIGHT, PATHS, PATH_LEVELS = 2.0, 220, 41  # of the profiles on guided paths
KEPT = Path(tempfile.gettempdir()) / "guided_digits"

Ends = tuple[float, float]
Rules = Sequence[tuple[float, str]]
COARSE: Rules = list(itertools.product((1.5,), ("everywhere", "window")))
MIDDLE: Rules = list(itertools.product((1.5, 2.0, 3.0), ("everywhere", "window")))
FINE: Rules = [(1.1, "everywhere"), (1.1, "window"), *MIDDLE[:4], (2.0, "before"), (2.0, "after")]


def shipped() -> TrainedDenoiser:
    return load("digits")


def stopped() -> TrainedDenoiser:
    return trained("stopped", training_digits(), 300)


def mislabelled() -> TrainedDenoiser:
    digits, generator = training_digits(), torch.Generator().manual_seed(0)
    anew = torch.rand(len(digits.labels), generator=generator) < MISLABELLED
    others = torch.randint(10, digits.labels.shape, generator=generator)
    return trained("mislabelled", LabelledImages(digits.images, torch.where(anew, others, digits.labels)), 600)


def trained(name: str, digits: LabelledImages, steps: int) -> TrainedDenoiser:
    folder = KEPT / name
    if not (folder / "companion.json").exists():
        train(digits, folder, Settings(steps=steps))
    return load(str(folder))


def measured(network: Callable[[], TrainedDenoiser], asked: Rules) -> tuple[dict, int]:
    """What `measures` says of samples by every rule, for each seed, and of real digits in their place.

    A seed splits the training digits into halves. As many samples as the second half has, with its labels, are measured
    against the first half, and so is the second half itself.
    """
    model, held_out = network(), held_out_digits()
    (window, known, production, evaluations), ends = measured_window(model), model.log_snr_range
    levels = production_levels(STEPS, known, production, 0.5, ends)
    best = best_weight(model, Data(held_out.images, held_out.labels.numpy()), BEST_LEVELS)
    evaluations += 2 * len(held_out.labels) * len(BEST_LEVELS)
    intervals = {"everywhere": ends, "window": window, "before": (ends[0], window[0]), "after": (window[1], ends[1])}
    rules = {"none": model, "measured weight": guided(model, np.stack([best.log_snr, best.weight]))}
    rules |= {f"{weight:g} {where}": guided(model, weight, intervals[where]) for weight, where in asked}
    rows: dict[str, list] = {name: [] for name in ("second half", *rules)}
    seconds = 0.0
    for seed in SEEDS:
        first, second = halves(seed)
        rows["second half"].append(measures(second, first))
        for name, rule in rules.items():
            path = KEPT / f"{model.digest}-{name.replace(' ', '-')}-{seed}.npz"
            if not path.exists():
                noise, started = start(len(second.labels), model.shape, seed), time.perf_counter()
                images = deterministic(rule, noise, second.labels, levels).numpy()
                np.savez(path, images=images, seconds=time.perf_counter() - started)
            with np.load(path) as stored:
                rows[name].append(measures(LabelledImages(torch.from_numpy(stored["images"]), second.labels), first))
                seconds += float(stored["seconds"])
            asks = 1 + (rule.guidance.weight(levels) != 1.0) if isinstance(rule, Guided) else np.ones(STEPS)
            evaluations += len(second.labels) * int(asks.sum())
    guessed = classifier().logits(held_out.images).argmax(axis=1)
    return {
        "seconds": round(seconds),  # of all samples, those of runs that were stopped too
        "model": model.name,
        "model_digest": model.digest,
        "seeds": SEEDS,
        "samples": len(second.labels),
        "classifier_accuracy": float((guessed == held_out.labels.numpy()).mean()),
        "log_snr": levels,
        "window": window,
        "best": {name: getattr(best, name) for name in ("log_snr", "weight", "weight_se", "spread", "gain")},
        "rows": {name: {key: [row[key] for row in each] for key in each[0]} for name, each in rows.items()},
    }, evaluations


def measured_paths() -> tuple[dict, int]:
    """Each digit against the others on the shipped network's guided paths: the profiles of one run for each rule."""
    model = shipped()
    window = measured_window(model)[0]
    rules = {"none": model, "window": guided(model, WEIGHT, window), "everywhere": guided(model, WEIGHT)}
    questions = [partition(model, [k], "others") for k in range(10)]
    levels, rows, evaluations = log_snr_levels(PATH_LEVELS, -8.0, 8.0), {}, 0
    for name, rule in rules.items():
        found = profiles(rule, questions, log_snr=levels, samples=PATHS)
        evaluations += found[0].evaluations
        columns = ("entropy", "entropy_se", "production", "production_se", "half_entropy")
        rows[name] = {column: [getattr(each, column) for each in found] for column in columns}
        print(f"{name}: measured", flush=True)
    return {
        "model": model.name,
        "model_digest": model.digest,
        "weight": WEIGHT,
        "window": window,
        "samples": PATHS,
        "log_snr": levels,
        "partitions": [each.partition for each in found],
        "rules": rows,
    }, evaluations


def measured_window(model: TrainedDenoiser) -> tuple[Ends, Array, Array, int]:
    """The central interval of the mean production of ten questions, that production with its levels, and its cost."""
    questions = [partition(model, [k], "others") for k in range(10)]
    pilot = profiles(model, questions, log_snr=default_levels(model, 33), samples=PILOT)
    production = np.maximum(np.mean([each.production for each in pilot], axis=0), 0.0)
    levels = pilot[0].log_snr
    return central_interval(levels, production), levels, production, pilot[0].evaluations


def halves(seed: int) -> tuple[LabelledImages, LabelledImages]:
    """The training digits in two halves of 718, each class divided evenly; one digit is left over."""
    digits = training_digits()
    size = len(digits.labels) // 2
    drawn = train_test_split(range(2 * size), train_size=size, stratify=digits.labels[:-1], random_state=seed)
    first, second = (LabelledImages(digits.images[rows], digits.labels[rows]) for rows in drawn)
    return first, second


PARTS: Parts = {
    "shipped": partial(measured, shipped, FINE),
    "stopped": partial(measured, stopped, COARSE),
    "mislabelled": partial(measured, mislabelled, MIDDLE),
    "paths": measured_paths,
}


if __name__ == "__main__":
    packages = ("torch", "diffusers", "numpy", "scipy", "scikit-learn")
    folder = FOLDER / "guided_digits" / "results"
    sys.exit(run_parts("guided_digits_results", __doc__, PARTS, folder, packages, rounded))
