"""Samples of benchmark-mi's tasks and the estimates of public estimators, under the environment that holds them.

`benchmarks/information_benchmark.py` makes that environment and starts this script in it: it answers one job a line on
the standard input by one line of JSON on the standard output. Nothing of `companion` is imported here, and nothing here
is imported by it: the peers ask for an older numpy, jax and lightning than the book's lock holds.
"""

import json
import os
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any, TextIO

import bmi
import lightning  # noqa: F401  # both before the stand-in below: they ask whether torchvision is there
import numpy as np
import pytorch_lightning  # noqa: F401
import torch
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.preprocessing import StandardScaler

# diffusion-mi imports torchvision for estimators of images, which are not asked here; it would bring CUDA's libraries.
for missing in ("torchvision", "torchvision.transforms"):
    sys.modules[missing] = types.ModuleType(missing)
sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # type: ignore[attr-defined]
from dmi import estimators  # noqa: E402

Pair = tuple[np.ndarray, np.ndarray]

RATE, BATCH = 1e-4, 256  # of diffusion-mi's own examples, all but InfoNCE and MMG
CONTRASTED = 2000  # pairs of the estimate by InfoNCE, which compares each with each


def sample(task: str, pairs: int, seed: int) -> tuple[float, Pair]:
    """The truth of a task in nats, and pairs of it; independent-T takes x and y of T from two separate draws."""
    name = task.removeprefix("independent-")
    law = bmi.benchmark.BENCHMARK_TASKS[name]
    x, y = (np.asarray(part, dtype=np.float64) for part in law.sample(pairs, seed))
    if task != name:
        return 0.0, (x, np.asarray(law.sample(pairs, seed + 1000)[1], dtype=np.float64))
    return float(law.mutual_information), (x, y)


def stopped(kind: type, seconds: float) -> type:
    """The Lightning estimator of this kind, stopped after so many seconds of processor time."""

    class Stopped(kind):  # type: ignore[misc, valid-type]
        def on_train_start(self) -> None:
            self.trainer.progress_bar_callback.disable()  # its bar would cost some of the time
            self.until = time.process_time() + seconds

        def on_train_batch_end(self, *_: Any) -> None:
            if time.process_time() > self.until:
                self.trainer.should_stop = True

    return Stopped


def counted(kind: type, fit: Pair, seconds: float, **settings: Any) -> Any:
    """The estimator of this kind with as many steps as fit into the processor time, by the pace of a shorter fit."""
    few = 40
    kind(max_n_steps=5, **settings).fit(*fit)
    started = time.process_time()
    kind(max_n_steps=few, **settings).fit(*fit)
    pace = (time.process_time() - started) / few
    return kind(max_n_steps=max(few, round(seconds / pace)), **settings)


def estimate(name: str, pair: Pair, seed: int, seconds: float) -> dict[str, float]:
    """The peer's estimate in nats, and the processor time of the fit and of all."""
    name, _, setting = name.partition(" ")
    if setting == "ranks":
        pair = tuple(ndtri((rankdata(part, axis=0) - 0.5) / len(part)) for part in pair)
    if name == "KSG":
        started = time.process_time()
        value = bmi.estimators.KSGEnsembleFirstEstimator(neighborhoods=(5, 10)).estimate(*pair)
        spent = time.process_time() - started
        return {"estimate": float(value), "fit_seconds": spent, "seconds": spent}
    rate = setting.removesuffix("ranks").removesuffix("plain")
    average = {"use_ema": not setting.endswith("plain")}
    # benchmark-mi's own default for neural estimators: one half fits, the other is estimated on; columns standardised.
    half = len(pair[0]) // 2
    scalers = [StandardScaler().fit(part[:half]) for part in pair]
    fit, rest = (
        tuple(scaler.transform(part[rows]).astype(np.float32) for scaler, part in zip(scalers, pair, strict=True))
        for rows in (slice(None, half), slice(half, None))
    )
    learning = {"learning_rate": float(rate or RATE), "batch_size": BATCH}
    if name == "MINDE":
        model = stopped(estimators.MINDEEstimator, seconds)(**learning, **average, max_epochs=-1, seed=seed)
    elif name == "MMG":
        # Its examples' batch; validation, which it asks for, decides nothing in the fit: few pairs cost little.
        model = stopped(estimators.MMGEstimator, seconds)(**learning | {"batch_size": 512}, **average, seed=seed)
    elif name == "MINE":
        # Its early stopping, on the training loss, would leave most of the time unused.
        model = stopped(estimators.MINEEstimator, seconds)(**learning, max_n_steps=-1, seed=seed, early_stopping=False)
    elif name == "InfoNCE":
        settings = {"learning_rate": float(rate or 1e-3), "batch_size": 128}
        model = counted(estimators.CPCEstimator, fit, seconds, **settings)
        rest = tuple(part[:CONTRASTED] for part in rest)
    elif name == "DoE":
        model = counted(estimators.DoEEstimator, fit, seconds, **learning, seed=seed)
    else:
        model = counted(estimators.SMILEEstimator, fit, seconds, **learning)
    torch.manual_seed(seed)
    started = time.process_time()
    model.fit(*fit, *([part[:500] for part in rest] if name == "MMG" else []))
    fitted = time.process_time()
    value = model.estimate(*rest)
    return {
        "estimate": float(value),
        "fit_seconds": fitted - started,
        "seconds": time.process_time() - started,
    }


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """What a job asks for: a file of samples and the truth, or one estimate from such a file."""
    path = Path(job["samples"])
    if job["do"] == "sample":
        truth, (x, y) = sample(job["task"], job["pairs"], job["seed"])
        np.savez(path, x=x, y=y)
        return {"truth": truth}
    with np.load(path) as file:
        pair = file["x"], file["y"]
    try:
        return estimate(job["estimator"], pair, job["seed"], job["budget"])
    except (RuntimeError, ValueError, ArithmeticError) as stop:  # a peer that does not take these data has no estimate
        return {"estimate": None, "refused": str(stop).splitlines()[0][:120]}


def main(out: TextIO) -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peers print goes beside the replies
    main(replies)
