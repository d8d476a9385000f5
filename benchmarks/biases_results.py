"""Measures the three terms of the estimator's error: the results that the chapter "What biases the estimate" reads.

    python benchmarks/biases_results.py               all of them: about fifteen minutes on one thread
    python benchmarks/biases_results.py samples       one of them: dimensions, steps, samples, digits

They go to derivations/what_biases_the_estimate/results/ as JSON, with their origin. The chapter
measures a part of each again, with fewer paths, when it runs.

The first three ask one class of 200 against the exact unconditional denoiser, as the paper does (ES 111): equidistant
Gaussian classes of width 1, sqrt(d) apart, 100 levels. A bias is measured with the control variates also where the
rule does without them: their mean is zero, so they take away noise and leave the bias.
"""

import sys
from dataclasses import replace

import numpy as np
import torch

from benchmarks.harness import Parts, rounded, run_parts
from companion.denoiser import FunctionDenoiser
from companion.entropy import NULL, Partition, binary_entropy, partition
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import Measurement, measure
from companion.estimate.placement import default_levels
from companion.estimate.plan import DEFAULT, PUBLISHED, Method
from companion.exact import equidistant, two_gaussians
from companion.exact.empirical import EmpiricalDistribution, empirical_distribution
from companion.forward import edm_levels, linear, noise_of, time_levels
from companion.models.digits import training_digits
from companion.models.load import load
from derivations.kit.measured import FOLDER

SEED = 0
CLASSES = 200
LEVELS = 100
DIMENSIONS = (256, 1024, 4096, 16384)
COUNTS = (25, 50, 100, 200)
PATHS = 4000  # for a bias: its standard error is about 0.001 nats, at the last level less than half of that
FEWER_PATHS = 2000  # for each of 24 runs
MANY = 50_000  # the paper's
GROUPS = (100, 300, 1000, 3000, 10_000)
GRIDS = {
    "VP": lambda count: time_levels(linear(), count, 1.0, 1e-3),
    "VE": lambda count: edm_levels(count),
}
# For sqrt(d) times the noise at which classes a unit apart are decided: the range of VE that grows with the distance.
SCALED = {"VE scaled": lambda count, d: edm_levels(count, sigma_max=5.0 * d**0.5)}

DIGIT = 3
SETS = {2: (3, 8), 5: (1, 3, 5, 8, 9), 10: tuple(range(10))}  # each holds the digits hardest to tell from the digit
DRAWS = 4000  # of either side, for the exact entropies
EXACT_PATHS = 3000  # against the null branch, 1500 a side
CLASS_PATHS = 1100  # against the classes, 110 to 550 a branch
NETWORK_PATHS = 750  # 150 a branch, five digits
NULL_PATHS = 600  # against the network's null branch, 300 a side


def one_of_many(distance: float) -> FunctionDenoiser:
    """One of the equidistant classes against the mixture of the others; its null branch is the mixture of all.

    The means are distance / sqrt(2) along one axis each, so a posterior is a softmax over coordinates. Further
    dimensions of the data hold the same noise for every class and leave every log-odds as it is.
    """
    length = distance / np.sqrt(2.0)
    sides = {0: slice(0, 1), 1: slice(1, CLASSES), NULL: slice(0, CLASSES)}

    def denoised(x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None) -> torch.Tensor:
        side = sides[NULL if condition is None else int(condition[0])]
        total = (sigma**2 + 1.0)[:, None]
        result = x / total
        share = torch.softmax(x[:, side] * (length / total), dim=1)
        result[:, side] += (1.0 - 1.0 / total) * length * share
        return result

    weights = (1.0 / CLASSES, 1.0 - 1.0 / CLASSES)
    return FunctionDenoiser(denoised, (CLASSES,), ("one", "others"), weights, has_null=True, dtype=torch.float64)


def exact(d: float, log_snr: np.ndarray) -> np.ndarray:
    """The balanced entropy of one class against all; its last digits are reached well below kappa = 2000."""
    kappa = np.minimum(two_gaussians.control_parameter(1.0, noise_of(log_snr), d**0.5, 1.0), 2000.0)
    return equidistant.partition_entropy(kappa, 1, CLASSES, 0.5, shared=1)


def run(d: float, log_snr: np.ndarray, paths: int, method: Method) -> tuple[Measurement, int]:
    model = one_of_many(d**0.5)
    (measured,), evaluations = measure(model, [partition(model, [0], "null")], log_snr, paths, SEED, method)
    return measured, evaluations


def bias(d: float, log_snr: np.ndarray, paths: int, method: Method) -> tuple[dict, int]:
    """Estimate minus truth at every level, and its standard error."""
    measured, evaluations = run(d, log_snr, paths, replace(method, control=True))
    entropy, error = weighted_mean(measured.entropy_of_path, measured)
    return {"log_snr": log_snr, "bias": entropy - exact(d, log_snr), "se": error}, evaluations


def dimensions() -> tuple[dict, int]:
    """The third term at 100 levels for growing dimension, in VP, in VE, and in VE from a noise that grows as well."""
    rows, total = {}, 0
    for d in DIMENSIONS:
        grids = {name: make(LEVELS) for name, make in GRIDS.items()}
        grids |= {name: make(LEVELS, d) for name, make in SCALED.items()}
        for name, log_snr in grids.items():
            for method in (PUBLISHED, DEFAULT):
                found, evaluations = bias(d, log_snr, FEWER_PATHS, method)
                rows.setdefault(name, {}).setdefault(method.name, []).append(found)
                total += evaluations
    return {"levels": LEVELS, "paths": FEWER_PATHS, "dimensions": list(DIMENSIONS), "processes": rows}, total


def steps() -> tuple[dict, int]:
    """The third term against the number of levels, d = 256."""
    rows, total = {}, 0
    for name, make in GRIDS.items():
        for count in COUNTS:
            for method in (PUBLISHED, DEFAULT):
                found, evaluations = bias(DIMENSIONS[0], make(count), PATHS, method)
                rows.setdefault(name, {}).setdefault(method.name, []).append(found)
                total += evaluations
    return {"levels": list(COUNTS), "paths": PATHS, "dimension": DIMENSIONS[0], "processes": rows}, total


def samples() -> tuple[dict, int]:
    """The paper's setting, 100 levels and 50 000 paths, d = 256; and its paths in groups: what fewer would have given.

    `error` is the mean over the groups of the error at the worst level. The published rule only: its paths are
    independent, so that a part of a run is a run.
    """
    rows, total = {}, 0
    for name, make in GRIDS.items():
        log_snr = make(LEVELS)
        truth = exact(DIMENSIONS[0], log_snr)
        measured, evaluations = run(DIMENSIONS[0], log_snr, MANY, PUBLISHED)
        total += evaluations
        entropy, error = weighted_mean(measured.entropy_of_path, measured)
        sides = [measured.entropy_of_path[measured.stratum == side] for side in (0, 1)]
        found: dict[str, list] = {"error": [], "error_se": []}
        for size in (*GROUPS, MANY):
            half, groups = size // 2, min(MANY // size, 100)
            parts = [side[: half * groups].reshape(groups, half, -1).mean(axis=1) for side in sides]
            worst = np.abs(0.5 * (parts[0] + parts[1]) - truth).max(axis=1)
            found["error"].append(worst.mean())
            found["error_se"].append(worst.std(ddof=1) / groups**0.5 if groups > 1 else None)
        rows[name] = {"log_snr": log_snr, "entropy": entropy, "entropy_se": error, "exact": truth} | found
    return {
        "levels": LEVELS,
        "paths": MANY,
        "dimension": DIMENSIONS[0],
        "samples": [*GROUPS, MANY],
        "processes": rows,
    }, total


def digits() -> tuple[dict, int]:
    """A digit inside sets of 2, 5 and 10 digits: exact terms and estimates of the training digits, and the network's.

    `exact` are entropies of the finite data set by direct sampling; `estimated` those of the same model along
    trajectories, against its null branch, the others and all. `network` has no denoiser of a set but the posterior's
    mixture of its classes; its null branch means all ten digits whatever the set.
    """
    training, model = training_digits(), load("digits")
    log_snr = default_levels(model, 64)
    rows: dict[str, dict] = {"exact": {}, "estimated": {}, "network": {}}
    total = 0
    for count, chosen in SETS.items():
        part = torch.isin(training.labels, torch.tensor(chosen))
        labels = torch.searchsorted(torch.tensor(chosen), training.labels[part])
        data = empirical_distribution(training.images[part], labels, [str(k) for k in chosen])
        rows["exact"][count] = exact_of(data, chosen.index(DIGIT), log_snr)
        rows["estimated"][count] = {}
        for method in (PUBLISHED, DEFAULT):
            asked = [partition(data, [chosen.index(DIGIT)], whole) for whole in ("null", "others", "all")]
            null, of_null = measure(data, asked[:1], log_snr, EXACT_PATHS, SEED, method)
            found, of_classes = measure(data, asked[1:], log_snr, CLASS_PATHS, SEED, method)
            rows["estimated"][count][method.name] = curves(null + found)
            total += of_null + of_classes
    asked = [partition(model, [DIGIT], "null")]
    for count, chosen in list(SETS.items())[:2]:
        equal = dict.fromkeys(chosen, 1.0 / count)
        asked.append(partition(model, [DIGIT], [k for k in chosen if k != DIGIT]))
        asked.append(Partition(f"{DIGIT}|these {count}", {DIGIT: 1.0}, equal, 0.5))
    null, of_null = measure(model, asked[:1], log_snr, NULL_PATHS, SEED, DEFAULT)
    found, of_classes = measure(model, asked[1:], log_snr, NETWORK_PATHS, SEED, DEFAULT)
    rows["network"] = {"partitions": [each.label for each in asked]} | curves(null + found)
    rows["network"]["floor"] = [each.floor for each in asked]
    return {
        "digit": DIGIT,
        "sets": [list(chosen) for chosen in SETS.values()],
        "log_snr": log_snr,
        "draws": DRAWS,
        "paths": {"null": EXACT_PATHS, "classes": CLASS_PATHS, "network": NETWORK_PATHS, "network null": NULL_PATHS},
        "model_digest": model.digest,
    } | rows, total + of_null + of_classes


def exact_of(data: EmpiricalDistribution, c: int, log_snr: np.ndarray) -> dict:
    """The entropy of class c in the true odds, balanced, and balanced against all, with the errors of their steps."""
    generator = torch.Generator().manual_seed(SEED)
    share = data.weights[c]
    rest = [k for k in range(len(data.classes)) if k != c]
    shares = np.array(data.weights)[rest]
    counts = np.random.default_rng(SEED).multinomial(DRAWS, shares / shares.sum())
    result: dict[str, list] = {name: [] for name in ("true", "balanced", "all", "balance_se", "whole_se")}
    for level in log_snr:
        sigma = float(noise_of(level))
        of_class = [data.sample_noised(DRAWS, sigma, generator, c)[0]]
        of_rest = [data.sample_noised(int(n), sigma, generator, k)[0] for k, n in zip(rest, counts, strict=True) if n]
        values = []
        for states in (of_class, of_rest):
            x = torch.cat(states)
            posterior = data.posterior(x, torch.full((len(x),), sigma)).numpy()
            true = posterior[:, c] - np.logaddexp.reduce(posterior[:, rest], axis=1)
            balanced = true - np.log(share) + np.log1p(-share)
            whole = posterior[:, c] - np.log(share)
            values.append(np.stack([binary_entropy(odds) for odds in (true, balanced, whole)]))
        weights = np.array([[share, 1.0 - share], [0.5, 0.5], [0.5 * (1.0 + share), 0.5 * (1.0 - share)]])
        first, second = (value * weights[:, side, None] for side, value in enumerate(values))
        for name, row in zip(("true", "balanced", "all"), first.mean(axis=1) + second.mean(axis=1), strict=True):
            result[name].append(row)
        for name, (left, right) in {"balance_se": (1, 0), "whole_se": (2, 1)}.items():
            variance = sum((side[left] - side[right]).var(ddof=1) / DRAWS for side in (first, second))
            result[name].append(variance**0.5)
    return result


def curves(found: list[Measurement]) -> dict:
    entropies = [weighted_mean(each.entropy_of_path, each) for each in found]
    return {"entropy": [value for value, _ in entropies], "entropy_se": [error for _, error in entropies]}


PARTS: Parts = {
    "dimensions": dimensions,
    "steps": steps,
    "samples": samples,
    "digits": digits,
}

if __name__ == "__main__":
    sys.exit(
        run_parts(
            "biases_results",
            __doc__ or "",
            PARTS,
            FOLDER / "what_biases_the_estimate" / "results",
            ("torch", "diffusers", "numpy", "scipy", "scikit-learn"),
            rounded,
        )
    )
