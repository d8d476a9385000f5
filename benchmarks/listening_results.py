"""Measures the estimator's error on exact mixtures: the results that the chapter "Listening to the posterior" reads.

    python benchmarks/listening_results.py               all of them: about six minutes on one thread
    python benchmarks/listening_results.py samples       one of them: improvements, levels, samples

They go to companion/results/listening/ as JSON, with their origin. The chapter measures a part of each again, with
fewer paths, when it runs.

A bias is measured with the control variates also where the rule does without them: their mean is zero, so they take
away noise and leave the bias. The deviation is always that of the rule as it is.
"""

import sys
from dataclasses import replace

import numpy as np
import torch

from companion.estimate.bands import weighted_mean
from companion.estimate.entropy import measure
from companion.estimate.partition import partition
from companion.estimate.plan import DEFAULT, PUBLISHED, Method
from companion.forward import edm_levels
from companion.results import FOLDER
from companion.results.writing import Parts, run_parts
from companion.theory.mixtures import GaussianMixture, isotropic_mixture
from companion.theory.quadrature import exact_entropy

SEED = 0
PATHS = 20000  # for a bias: its standard error is about 0.0005 nats
LEVELS = (16, 32, 64, 128, 256)
SAMPLES = (50, 100, 300, 1000, 3000)
SEEDS = 40
NOTHING = replace(PUBLISHED, name="start from nothing", from_nothing=True)
AVERAGED = replace(NOTHING, name="averaged drift", averaged=True)
TWO_SIZES = replace(AVERAGED, name="two step sizes", extrapolated=True)
STEPS: tuple[Method, ...] = (PUBLISHED, NOTHING, AVERAGED, TWO_SIZES, DEFAULT)


def cases() -> dict[str, GaussianMixture]:
    """The mixtures of the chapter: two of equal covariance, two of unequal covariances."""
    apart = torch.zeros(2, 16, dtype=torch.float64)
    apart[0, 0], apart[1, 0] = -0.5, 0.5
    return {
        "near": isotropic_mixture([[-2.0], [2.0]], 1.0),
        "far": isotropic_mixture([[-8.0], [8.0]], 1.0),
        "unequal 16": isotropic_mixture(apart, [0.5, 0.7]),
        "unequal 1": isotropic_mixture([[-0.5], [0.5]], [0.5, 1.0]),
    }


def improvements() -> tuple[dict, int]:
    """Bias at the worst level, and largest deviation at 300 samples, of each step from the published rule to ours."""
    rows, total = {}, 0
    for name, mixture in cases().items():
        log_snr = edm_levels(64)
        truth = exact_entropy(mixture, log_snr)
        rows[name] = {key: [] for key in ("bias", "bias_se", "bias_log_snr", "deviation_of_300")}
        for method in STEPS:
            controlled, evaluations = estimate(mixture, log_snr, PATHS, replace(method, control=True))
            row = worst(*controlled, truth, log_snr) | {"deviation_of_300": float(controlled[1].max())}
            total += evaluations
            if not method.control:
                (_, error), evaluations = estimate(mixture, log_snr, PATHS, method)
                row["deviation_of_300"] = float(error.max())
                total += evaluations
            row["deviation_of_300"] *= (PATHS / 300) ** 0.5
            for key, value in row.items():
                rows[name][key].append(value)
    return {"levels": 64, "paths": PATHS, "methods": [method.name for method in STEPS], "cases": rows}, total


def levels() -> tuple[dict, int]:
    """Bias at the worst level against the number of levels, where the covariances are unequal."""
    rows, total = {}, 0
    for name in ("unequal 16", "unequal 1"):
        rows[name] = {}
        for method in (PUBLISHED, AVERAGED, DEFAULT):
            found = []
            for count in LEVELS:
                log_snr = edm_levels(count)
                truth = exact_entropy(cases()[name], log_snr)
                controlled, evaluations = estimate(cases()[name], log_snr, PATHS, replace(method, control=True))
                found.append(worst(*controlled, truth, log_snr))
                total += evaluations
            rows[name][method.name] = {key: [each[key] for each in found] for key in found[0]}
    return {"levels": list(LEVELS), "paths": PATHS, "cases": rows}, total


def samples() -> tuple[dict, int]:
    """Error at the worst level against the number of paths, 64 levels, near classes: mean and its error over seeds."""
    mixture, log_snr = cases()["near"], edm_levels(64)
    truth = exact_entropy(mixture, log_snr)
    rows, total = {}, 0
    for method in (PUBLISHED, DEFAULT):
        errors = np.zeros((len(SAMPLES), SEEDS))
        for row, count in enumerate(SAMPLES):
            for seed in range(SEEDS):
                (entropy, _), evaluations = estimate(mixture, log_snr, count, method, SEED + seed)
                errors[row, seed] = np.abs(entropy - truth).max()
                total += evaluations
        rows[method.name] = {
            "error": errors.mean(axis=1).tolist(),
            "error_se": (errors.std(axis=1, ddof=1) / SEEDS**0.5).tolist(),
        }
    return {"levels": 64, "samples": list(SAMPLES), "seeds": SEEDS, "methods": rows}, total


def estimate(
    mixture: GaussianMixture, log_snr: np.ndarray, paths: int, method: Method, seed: int = SEED
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Entropy and standard error at every level, and the evaluations."""
    asked = partition(mixture, [0], [1])
    (measured,), evaluations = measure(mixture, [asked], log_snr, paths, seed, method, block=min(paths, 2000))
    return weighted_mean(measured.entropy_of_path, measured), evaluations


def worst(entropy: np.ndarray, error: np.ndarray, truth: np.ndarray, log_snr: np.ndarray) -> dict[str, float]:
    level = int(np.abs(entropy - truth).argmax())
    return {
        "bias": float(entropy[level] - truth[level]),
        "bias_se": float(error[level]),
        "bias_log_snr": float(log_snr[level]),
    }


PARTS: Parts = {"improvements": improvements, "levels": levels, "samples": samples}

if __name__ == "__main__":
    sys.exit(run_parts("listening_results", __doc__ or "", PARTS, FOLDER / "listening", ("torch", "numpy", "scipy")))
