"""Mutual information of continuous pairs from samples: our estimator and public ones on known truths, in one run.

    python benchmarks/information_benchmark.py

writes derivations/information_within_its_bound/results/peers.json, in about half an hour of one thread. It first makes
an environment of its own for the peers under --folder, from the package index: diffusion-mi (MINDE, MMG, MINE, InfoNCE,
DoE, SMILE) and benchmark-mi (the tasks and KSG). Every estimator gets the same pairs and, in fitting, the same seconds
of processor time on one thread; KSG fits nothing and takes what it takes. Each row, an estimate of one estimator on one
task and seed, is a file, written whole or not at all: a run that was stopped goes on at the first row that is missing.
Rows come seed by seed, and the result is written after each row, so that a table of fewer seeds is complete early.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.harness import rounded
from companion.files import write_text
from derivations.information_within_its_bound import pairs
from derivations.kit.measured import FOLDER

ROOT = Path(__file__).parent.parent
PEERS = ("benchmark-mi==0.1.3", "diffusion-mi==0.1.0")
# What the peers import, with the torch of the book. The newest jax misses what benchmark-mi asks of it; diffusion-mi's
# own list asks for more than it imports.
TORCH = f"torch=={torch.__version__.partition('+')[0]}"
NEEDED = (TORCH, "jax==0.4.30", "jaxlib==0.4.30", "lightning", "pytorch-lightning", "matplotlib", "scikit-learn")

RESULT = Path("information_within_its_bound/results/peers.json")

SAMPLES, BUDGET = 10_000, 5.0  # pairs of a row, and seconds of processor time of its fit
TASKS = (
    "1v1-additive-0.1",
    "1v1-additive-0.75",
    "swissroll_x-normal_cdf-1v1-normal-0.75",
    "multinormal-dense-5-5-0.5",
    "multinormal-dense-25-25-0.5",
    "multinormal-sparse-5-5-2-2.0",
    "half_cube-multinormal-sparse-25-25-2-2.0",
    "normal_cdf-multinormal-sparse-5-5-2-2.0",
    "spiral-multinormal-sparse-5-5-2-2.0",
    "asinh-student-identity-5-5-2",
    "independent-multinormal-dense-5-5-0.5",
)
OURS = "denoisers"
# A number after a name is its rate of learning: ten times the published one, 1e-4, is better in so short a time, and is
# the published one of InfoNCE. "ranks" is the same pairs with every margin made Gaussian by its ranks, as ours does;
# "plain" is without the average of the weights over a thousand steps, longer than so short a fit.
SEEDS = {
    OURS: 5,
    "KSG": 3,
    "InfoNCE": 3,
    "MINDE 1e-3": 3,
    "MMG 1e-3": 3,
    "DoE 1e-3": 3,
    "MINE 1e-3": 3,
    "SMILE 1e-3": 3,
    "KSG ranks": 3,
    "MINDE 1e-3 plain": 3,
    "MMG 1e-3 plain": 3,
    "MINE": 1,
    "SMILE": 1,
    "DoE": 1,
    "MINDE": 1,
    "MMG": 1,
}

Row = tuple[str, str, int]  # task, estimator, seed


class Peers:
    """The process of benchmarks/information_peers.py in the peers' own environment, made where it is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "environment" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.process: subprocess.Popen[str] | None = None

    def make(self) -> None:
        done = self.folder / "environment" / "made"
        if done.exists():
            return
        print("Installing the peers (1.5 GB) into an environment of their own ...", flush=True)
        venv.create(self.folder / "environment", with_pip=True, clear=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *NEEDED, PEERS[0]], check=True)
        subprocess.run([*pip, "--no-deps", PEERS[1]], check=True)
        done.touch()

    def ask(self, **job: Any) -> dict[str, Any]:
        if self.process is None:
            self.make()
            script = ROOT / "benchmarks" / "information_peers.py"
            self.process = subprocess.Popen(
                [str(self.python), "-W", "ignore", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=(self.folder / "peers.log").open("w"),
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},  # bars would cost some of the time
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(job), file=self.process.stdin, flush=True)
        reply: dict[str, Any] = json.loads(self.process.stdout.readline())
        return reply


def samples(peers: Peers, task: str, seed: int) -> tuple[Path, float]:
    """The file of a task's pairs and its truth in nats, drawn once for all estimators."""
    path = peers.folder / "samples" / f"{task}--{seed}.npz"
    truth = path.with_suffix(".json")
    if not truth.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(truth, json.dumps(peers.ask(do="sample", task=task, pairs=SAMPLES, seed=seed, samples=str(path))))
    return path, json.loads(truth.read_text("utf-8"))["truth"]


def kept(folder: Path, row: Row) -> Path:
    """The file of one row, under the folder of its budget."""
    task, estimator, seed = row
    return folder / f"{task}--{estimator.replace(' ', '-')}--{seed}.json"


def made(peers: Peers, row: Row, budget: float) -> dict[str, Any]:
    """One estimate with its truth and its seconds."""
    task, estimator, seed = row
    file, truth = samples(peers, task, seed)
    if estimator != OURS:
        reply = peers.ask(do="estimate", estimator=estimator, samples=str(file), seed=seed, budget=budget)
        return {"truth": truth, **reply}
    with np.load(file) as drawn:
        found = pairs.mutual_information(drawn["x"], drawn["y"], seed=seed, seconds=budget)
    return {
        "truth": truth,
        "estimate": found.information,
        "standard_error": found.standard_error,
        "evaluations": found.evaluations,
        "fit_seconds": found.fit_seconds,
        "seconds": found.seconds,
    }


def result(rows: dict[Row, dict[str, Any]], budget: float) -> dict[str, Any]:
    """What ships: lists over tasks of lists over seeds; null for a row that is not made yet, or of refused data."""
    seeds = range(1 + max(seed for _, _, seed in rows))

    def field(name: str, estimator: str) -> list[list[float | None]]:
        return [[rows.get((task, estimator, seed), {}).get(name) for seed in seeds] for task in TASKS]

    def mean(values: list[list[float | None]]) -> float | None:
        known = [each for line in values for each in line if each is not None]
        return float(np.mean(known)) if known else None

    truths = {task: found["truth"] for (task, _, _), found in rows.items()}
    return {
        "command": "python benchmarks/information_benchmark.py",
        "device": "one thread of a shared CPU",
        "seed": 0,
        "seconds": round(sum(found.get("seconds", 0.0) for found in rows.values())),
        "evaluations": sum(found.get("evaluations", 0) for found in rows.values()),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("torch", "numpy", "scipy")}
        | dict(each.split("==") for each in PEERS),
        "pairs": SAMPLES,
        "budget": budget,
        "tasks": TASKS,
        "truths": [truths.get(task) for task in TASKS],
        "estimates": {each: field("estimate", each) for each in SEEDS},
        "standard_errors": field("standard_error", OURS),
        "fit_seconds": {each: mean(field("fit_seconds", each)) for each in SEEDS},
        "row_seconds": {each: mean(field("seconds", each)) for each in SEEDS},
        "refused": sorted({f"{name} on {task}" for (task, name, _), found in rows.items() if "refused" in found}),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("estimators", nargs="*", metavar="estimator", help=f"only rows of these: {', '.join(SEEDS)}")
    parser.add_argument("--folder", type=Path, default=ROOT / "_build" / "information_benchmark", help="rows, peers")
    parser.add_argument("--seconds", type=float, default=BUDGET, help=f"of a fit ({BUDGET:g})")
    chosen = parser.parse_args()
    if unknown := set(chosen.estimators) - set(SEEDS):
        parser.error(f"no estimator {', '.join(sorted(unknown))}; there are {', '.join(SEEDS)}")
    torch.set_num_threads(1)
    folder = chosen.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    peers = Peers(folder)
    keep = folder / f"rows_of_{chosen.seconds:g}_seconds"
    keep.mkdir(exist_ok=True)
    order = [(task, each, seed) for seed in range(max(SEEDS.values())) for each in SEEDS for task in TASKS]
    order = [row for row in order if row[2] < SEEDS[row[1]]]
    rows = {row: json.loads(kept(keep, row).read_text("utf-8")) for row in order if kept(keep, row).exists()}
    for row in tqdm([row for row in order if row not in rows and row[1] in (chosen.estimators or SEEDS)], desc="rows"):
        rows[row] = made(peers, row, chosen.seconds)
        write_text(kept(keep, row), json.dumps(rows[row]))
        write_text(FOLDER / RESULT, rounded(result(rows, chosen.seconds)))
    write_text(FOLDER / RESULT, rounded(result(rows, chosen.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
