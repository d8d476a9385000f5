"""Measures the information of image and digit by every route: what the chapter on the bound of information reads.

    python benchmarks/information_within_its_bound_results.py               both: twenty minutes on one thread
    python benchmarks/information_within_its_bound_results.py digits        one of them: digits, stopped

They go to derivations/information_within_its_bound/results/ as JSON, with their origin. "digits" is the shipped
network on its own paths, on training and on held-out images. "stopped" are networks whose training was stopped early,
and in the last row the shipped one. Networks and finished paths are kept in a folder `information_within_its_bound` for
temporary files, and a run that was stopped goes on from there.
"""

import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from benchmarks.harness import Parts, rounded, run_parts
from companion.arguments import Array
from companion.denoiser import Denoiser
from companion.entropy import NULL, neural_entropy_rate
from companion.estimate.noise import path_noise
from companion.estimate.paths import Paths, by_levels, predict
from companion.estimate.placement import default_levels
from companion.forward import noise_of
from companion.models.digits import LabelledImages, held_out_digits, training_digits
from companion.models.load import load
from companion.models.training import Settings, train
from derivations.information_within_its_bound.routes import Routes, routes
from derivations.kit.fidelity import classifier
from derivations.kit.measured import FOLDER

LEVELS, KEPT_EVERY = 97, 3
OWN_PATHS, TRAINING = 400, 180
STOPPED, STOPPED_LEVELS = (50, 150, 500), np.linspace(-7.0, 4.0, 33)
STOPPED_PATHS, STOPPED_IMAGES, DRAWN = 100, 180, 500
NAME = "information_within_its_bound"
KEPT = Path(tempfile.gettempdir()) / NAME


def digits() -> tuple[dict, int]:
    """All routes on three kinds of paths of the shipped network; neural entropies and a classifier."""
    model, held_out, training = load("digits"), held_out_digits(), training_digits()
    levels, rows, evaluations, seconds = default_levels(model, LEVELS), {}, 0, 0.0
    owner = np.arange(OWN_PATHS) % 10
    asked: dict[str, tuple[Array, torch.Tensor | None]] = {
        "own": (owner, None),
        "held_out": (held_out.labels.numpy(), held_out.images),
        "training": (training.labels.numpy()[:TRAINING], training.images[:TRAINING]),
    }
    for name, (labels, images) in asked.items():
        found, took = kept_routes(model, name, labels, levels, images)
        seconds += took
        rows[name] = summary(found, labels)
        if name == "held_out":
            ranked = np.sort(found.surprise[:, -1])[::-1]
        evaluations += 11 * (LEVELS + 1) * len(labels)
    started = time.perf_counter()
    difference, error = neural_difference(model, held_out, levels)
    surprise = cross_entropies(classifier().logits(held_out.images), held_out.labels.numpy())
    return (
        {
            "seconds": round(
                seconds + time.perf_counter() - started
            ),  # of all paths, those of runs that were stopped too
            "model": model.name,
            "model_digest": model.digest,
            "log_snr": levels[::KEPT_EVERY],
            "levels": LEVELS,
            "paths": rows,
            "worst_hundredth": ranked[: len(ranked) // 100].sum() / ranked.sum(),
            "neural": {"value": difference, "se": error},
            "classifier": {"cross_entropy": surprise.mean(), "se": standard_error(surprise)},
        },
        evaluations + 2 * LEVELS * len(held_out.labels),
    )


def stopped() -> tuple[dict, int]:
    """Information of the chain, of its end points and of held-out images, over the steps of training."""
    columns = ("chain", "null", "data", "null_data", "end")
    found: dict[str, list] = {"steps": [], **{name: [] for name in columns}, "digests": []}
    held_out, evaluations, seconds = held_out_digits(), 0, 0.0
    images, labels = held_out.images[:STOPPED_IMAGES], held_out.labels.numpy()[:STOPPED_IMAGES]
    owner = np.arange(STOPPED_PATHS) % 10
    for steps in (*STOPPED, None):
        model = load("digits") if steps is None else trained(steps)
        own, own_took = kept_routes(model, "own-stopped", owner, STOPPED_LEVELS, None)
        real, real_took = kept_routes(model, "held_out-stopped", labels, STOPPED_LEVELS, images)
        started = time.perf_counter()
        row = {
            "chain": np.log(10.0) - own.entropy[:, -1],
            "null": own.integral(own.null)[:, -1],
            "data": np.log(10.0) - real.surprise[:, -1],
            "null_data": real.integral(real.null)[:, -1],
            "end": np.log(10.0) - end_points(model, STOPPED_LEVELS),
        }
        seconds += own_took + real_took + time.perf_counter() - started
        for name, values in row.items():
            found[name].append([values.mean(), standard_error(values)])
        found["steps"].append(Settings().steps if steps is None else steps)
        found["digests"].append(model.digest)
        evaluations += (len(STOPPED_LEVELS) + 1) * (11 * (len(owner) + len(labels)) + DRAWN)
        print(found["steps"][-1], {name: round(float(found[name][-1][0]), 3) for name in columns}, flush=True)
    return {
        "seconds": round(seconds),
        "log_snr": [STOPPED_LEVELS[0], STOPPED_LEVELS[-1]],
        "paths": STOPPED_PATHS,
        "images": STOPPED_IMAGES,
        "drawn": DRAWN,
        **found,
    }, evaluations


def kept_routes(
    model: Denoiser, name: str, labels: Array, levels: Array, images: torch.Tensor | None
) -> tuple[Routes, float]:
    """`routes` and the seconds that they took, from the folder of finished paths where they lie there."""
    path = KEPT / f"{model.digest}-{name}.npz"
    if not path.exists():
        started = time.perf_counter()
        found = routes(model, labels, levels, images, block=100)
        KEPT.mkdir(exist_ok=True)
        took = {"seconds": time.perf_counter() - started}
        np.savez(path, **{each.name: getattr(found, each.name) for each in fields(found)}, **took)
        print(f"{name}: {took['seconds']:.0f} s", flush=True)
    with np.load(path) as stored:
        found = dict(stored)
    return Routes(**{name: values for name, values in found.items() if name != "seconds"}), float(found["seconds"])


def summary(found: Routes, labels: Array) -> dict[str, object]:
    """Means and standard errors over paths: rates per unit of log-snr, their integrals, entropy and surprise."""
    every = slice(1, None, KEPT_EVERY)
    result: dict[str, object] = {"count": len(labels)}
    for name in ("null", "mixture", "spread", "between"):
        mean, error = found.per_log_snr(getattr(found, name))
        result[f"{name}_rate"] = {"value": mean[::KEPT_EVERY], "se": error[::KEPT_EVERY]}
    sums = {name: found.integral(getattr(found, name)) for name in ("null", "mixture", "spread", "between")}
    sums["null_loss"] = found.integral(found.loss_null - found.loss_own)
    sums["mixture_loss"] = found.integral(found.loss_mixture - found.loss_own)
    sums |= {"entropy": found.entropy, "surprise": found.surprise}
    for name, values in sums.items():
        result[name] = {"value": values.mean(axis=0)[every], "se": standard_error(values)[every]}
    return result


def neural_difference(model: Denoiser, images: LabelledImages, levels: Array) -> tuple[float, float]:
    """Neural entropy with the label less that of the null branch, on noised images; and its standard error (SI 46)."""
    clean, rates = images.images.flatten(1).double(), np.empty((len(images.labels), len(levels)))
    for k in range(10):
        rows = torch.nonzero(images.labels == k).flatten()
        noise = path_noise(1, rows.tolist(), clean.shape[1])
        for number, level in enumerate(levels.tolist()):
            sigma = float(noise_of(level))
            x = clean[rows] + sigma * torch.from_numpy(next(noise))
            told, null = (neural_entropy_rate(each, x, level) for each in predict(model, (k, NULL), x, sigma))
            rates[rows.numpy(), number] = (told - null).numpy()
    totals = np.trapezoid(rates, levels, axis=1)
    return float(totals.mean()), float(standard_error(totals))


def end_points(model: Denoiser, levels: Array) -> Array:
    """The surprise of a classifier at the labels of the chain's end points, fitted on other fifths of them."""
    parts, labels = [], np.repeat(np.arange(10), DRAWN // 10)
    for k in range(10):
        for some in by_levels(model, Paths((k,), np.zeros(DRAWN // 10), levels, k + 1, predicted=True), together=1):
            last = some.predictions[-1, 0]
        parts.append(last.flatten(1).numpy())
    ends = np.concatenate(parts)
    fitted = LogisticRegression(C=0.1, max_iter=2000)
    shares = cross_val_predict(fitted, ends, labels, cv=5, method="predict_proba")
    return -np.log(shares[np.arange(len(labels)), labels])


def trained(steps: int) -> Denoiser:
    folder = KEPT / f"stopped-{steps}"
    if not (folder / "companion.json").exists():
        # The moving average forgets its start within the training.
        train(training_digits(), folder, Settings(steps=steps, average=1.0 - 10.0 / steps), progress=False)
    return load(str(folder))


def cross_entropies(logits: Array, labels: Array) -> Array:
    """-log p of the label, (count,), from logits (count, classes)."""
    largest = logits.max(axis=1)
    total = np.log(np.exp(logits - largest[:, None]).sum(axis=1)) + largest
    surprise: Array = total - logits[np.arange(len(labels)), labels]
    return surprise


def standard_error(values: Array) -> Array:
    error: Array = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return error


PARTS: Parts = {"digits": digits, "stopped": stopped}


if __name__ == "__main__":
    packages = ("torch", "diffusers", "numpy", "scipy", "scikit-learn")
    sys.exit(run_parts(f"{NAME}_results", __doc__ or "", PARTS, FOLDER / NAME / "results", packages, rounded))
