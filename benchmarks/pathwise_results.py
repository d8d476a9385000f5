"""Measures how the class entropy of the digits model's own trajectories varies, for the chapter on pathwise entropy.

    python benchmarks/pathwise_results.py

writes derivations/pathwise_entropy/results/digits.json, with its origin: six minutes on one thread. What
the chapter claims of it is tested in tests/derivations/pathwise_entropy/test_pathwise_results.py.
"""

import platform
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from scipy.special import expit
from tqdm import tqdm

from benchmarks.harness import rounded
from companion.entropy import binary_entropy, partition
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import Measurement, measure
from companion.estimate.placement import default_levels
from companion.files import write_text
from companion.models.load import load
from derivations.kit.measured import FOLDER

SEED = 0
LEVELS = 64
SAMPLES = 600
# Near and far ones, each digit at least once: those of the chapter on digits.
TEN_PAIRS = [(0, 1), (0, 6), (1, 7), (1, 8), (2, 7), (3, 5), (3, 8), (4, 9), (5, 6), (8, 9)]
SHOWN = 12  # trajectories of each pair that are kept
SURE = 0.9  # from here on a trajectory counts as sure of its class


def main() -> int:
    torch.set_num_threads(1)
    model, started = load("digits"), time.perf_counter()
    levels = default_levels(model, LEVELS)
    rows: dict[str, list] = {}
    evaluations = 0
    for i, j in tqdm(TEN_PAIRS, desc="pairs"):
        (found,), spent = measure(model, [partition(model, [i], [j])], levels, SAMPLES, SEED)
        evaluations += spent
        for name, value in told(found).items():
            rows.setdefault(name, []).append(value)
    origin = {
        "command": "python benchmarks/pathwise_results.py",
        "device": "one thread of a shared CPU",
        "seed": SEED,
        "seconds": round(time.perf_counter() - started),
        "evaluations": evaluations,
        "model": model.name,
        "model_digest": model.digest,
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("torch", "diffusers", "numpy", "scikit-learn")},
    }
    names = {"partitions": [f"{i}|{j}" for i, j in TEN_PAIRS], "samples": SAMPLES, "sure_from": SURE}
    result = {**origin, **names, "log_snr": levels, **rows}
    write_text(FOLDER / "pathwise_entropy/results/digits.json", rounded(result))
    print(f"pathwise.json: {evaluations} evaluations, {origin['seconds']} s")
    return 0


def told(found: Measurement) -> dict[str, object]:
    """Mean and variance over trajectories of h_b(L), their errors, some trajectories, and who comes back.

    Of the trajectories that ever give one class the probability `SURE`: how many there are, the share whose log-odds
    changes sign later, and the share of them that should, the mean of twice the other class's probability then.
    """
    entropies = binary_entropy(found.log_odds)
    mean, error = weighted_mean(entropies, found)
    squares = (entropies - mean) ** 2
    variance, variance_error = weighted_mean(squares, found)
    posterior = expit(np.abs(found.log_odds))
    sure = posterior >= SURE
    ever = np.flatnonzero(sure.any(axis=1))
    first = sure[ever].argmax(axis=1)
    sides = np.sign(found.log_odds[ever])
    start = sides[np.arange(len(ever)), first]
    later = np.arange(sides.shape[1]) > first[:, None]
    back = np.any(later & (sides == -start[:, None]), axis=1)
    should = 2.0 * (1.0 - posterior[ever, first])
    kept = np.linspace(0, len(entropies) - 1, SHOWN).round().astype(int)  # from both classes
    return {
        "entropy": mean,
        "entropy_se": error,
        "variance": variance,
        "variance_se": variance_error,
        "paths": entropies[kept],
        "path_ends_first": found.log_odds[kept, -1] > 0.0,
        "sure": len(ever),
        "came_back": float(back.mean()),
        "should_come_back": float(should.mean()),
    }


if __name__ == "__main__":
    sys.exit(main())
