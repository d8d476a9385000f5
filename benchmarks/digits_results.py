"""Measures when the shipped digits model decides, and writes the results the chapter "Ten digits" reads.

    python benchmarks/digits_results.py               all of them: half an hour on one thread
    python benchmarks/digits_results.py held_out      one of them: profiles, null_branch, held_out, exact

They go to derivations/kit/results/digits/ as JSON, with their origin. What the chapter claims of them is
tested in tests/derivations/ten_digits/test_digits_results.py.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import combinations

import numpy as np
import torch
from scipy.special import expit, logsumexp
from tqdm import tqdm

from benchmarks.harness import rounded
from companion.entropy import NULL, Partition, log_odds, partition
from companion.estimate.held_out import calibration, log_likelihoods
from companion.estimate.paths import Paths, by_levels
from companion.estimate.placement import default_levels
from companion.estimate.run import profile, profiles
from companion.exact.empirical import empirical_distribution
from companion.files import write_text
from companion.forward import log_snr_levels
from companion.models.digits import held_out_digits, training_digits
from companion.models.load import load
from companion.models.trained import TrainedDenoiser
from derivations.kit.measured import FOLDER

SEED = 0
LEVELS = 64
SAMPLES = 1650  # of the one run of all: 150 a branch, ten classes and the null branch; 300 a pair
PAIRS = list(combinations(range(10), 2))
# Near and far ones, each digit at least once; chosen before the two models were compared.
TEN_PAIRS = [(0, 1), (0, 6), (1, 7), (1, 8), (2, 7), (3, 5), (3, 8), (4, 9), (5, 6), (8, 9)]
# With coarse steps a posterior can look too sure of itself: the exact denoiser of the training digits, on these digits,
# has a cross entropy above its entropy by 0.026 +- 0.009 nats at log-snr 0 with 64 levels, 0.016 +- 0.010 with 128, and
# -0.008 +- 0.009 with 256.
CHAIN_LEVELS = log_snr_levels(256, -8.0, 8.0)
DRAWS = 3  # of the noise of each held-out digit, on that chain
SHORT_CHAIN_LEVELS = log_snr_levels(64, -8.0, 8.0)
RELIABILITY_LEVELS = (-3.0, -2.0, -1.0, 0.0)
SMALL = 0.02  # nats; below it one image of 360 decides, and nothing is compared


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all when none is named")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    torch.set_num_threads(1)
    model = load("digits")
    for part in parts:
        started = time.perf_counter()
        measured, evaluations = PARTS[part](model)
        origin = {
            "command": f"python benchmarks/digits_results.py {part}",
            "device": "one thread of a shared CPU",
            "seed": SEED,
            "seconds": round(time.perf_counter() - started),
            "evaluations": evaluations,
            "model": model.name,
            "model_digest": model.digest,
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in ("torch", "diffusers", "numpy", "scikit-learn")},
        }
        name = "kit/results/digits_profiles" if part == "profiles" else f"ten_digits/results/{part}"
        target = FOLDER / f"{name}.json"
        write_text(target, rounded(origin | measured))
        print(f"{target.name}: {evaluations} evaluations, {origin['seconds']} s")
    return 0


def measured_profiles(model: TrainedDenoiser) -> tuple[dict, int]:
    """Every pair, and every class against all, against the others and against the null branch, from one run."""
    asked = [partition(model, [i], [j]) for i, j in PAIRS]
    asked += [partition(model, [k], whole) for whole in ("all", "others", "null") for k in range(10)]
    levels = default_levels(model, LEVELS)
    with tqdm(unit="evaluation", desc="all classes", mininterval=30.0) as bar:
        found = profiles(
            model, asked, log_snr=levels, samples=SAMPLES, seed=SEED, block=SAMPLES // 3, progress=bar.update
        )
    columns = ("entropy", "entropy_se", "production", "production_se", "half_entropy", "window", "peak", "floor")
    result = {name: [getattr(each, name) for each in found] for name in (*columns, "truncation", "samples")}
    return {"samples_in_all": SAMPLES, "log_snr": levels, "partitions": [each.partition for each in found]} | result, (
        found[0].evaluations
    )


def measured_null_branch(model: TrainedDenoiser) -> tuple[dict, int]:
    """How far the null branch is from the mixture of the classes: a posterior that should be 1/2, and an information.

    `posterior` is p(null branch | path) against the equal mixture of all classes, on paths of the null branch, the
    prior odds even. `information_null` is (1/2) int E |D_z - D_null|^2 dsnr on paths of the classes z, the mutual
    information as SI 12 has it; `information_mixture` has the posterior-weighted mixture in place of the null branch.
    `information_posterior` is log 10 minus the entropy of the accumulated posterior of ten classes, at most log 10.
    """
    levels = default_levels(model, LEVELS)
    branches = (*range(10), NULL)
    null_paths, class_paths = 200, 200
    owner = np.concatenate([np.arange(class_paths) % 10, np.full(null_paths, 10)])
    of_class, of_null = np.arange(class_paths), np.arange(class_paths, class_paths + null_paths)
    question = Partition("null|all", {NULL: 1.0}, dict.fromkeys(range(10), 0.1), 0.5, model.weights)
    rows: dict[str, list] = {name: [] for name in ("posterior", "null", "mixture", "entropy")}
    snr, evaluations = [], 0
    run = by_levels(model, Paths(branches, owner, levels, SEED), together=1)
    for level in tqdm(run, total=len(levels) + 1, desc="null branch"):
        averaged = level.averaged[0].numpy()
        evaluations += averaged.size
        snr.append(np.exp(level.log_snr.item()))
        rows["posterior"].append(expit(log_odds(question, branches, averaged[of_null])))
        likelihood = averaged[of_class, :10]
        log_posterior = likelihood - logsumexp(likelihood, axis=1, keepdims=True)
        weights, gaps = np.exp(log_posterior), level.gaps[0].numpy()[of_class]
        rows["null"].append(np.square(gaps[:, 10]).sum(axis=1))
        rows["mixture"].append(np.square(np.einsum("ni,nid->nd", weights, gaps[:, :10])).sum(axis=1))
        rows["entropy"].append(-np.sum(weights * log_posterior, axis=1))
    accuracy = float(np.mean(likelihood.argmax(axis=1) == owner[of_class]))
    snr, values = np.array(snr), {name: np.stack(each) for name, each in rows.items()}
    steps = np.diff(snr)[:, None]

    def information(name: str) -> dict:
        gap = values[name]
        total = np.cumsum(0.25 * steps * (gap[1:] + gap[:-1]), axis=0)
        return {"value": total.mean(axis=1), "se": total.std(axis=1, ddof=1) / np.sqrt(class_paths)}

    posterior, entropy = values["posterior"][1:], values["entropy"][1:]
    return {
        "paths": {"null": null_paths, "classes": class_paths},
        "log_snr": levels,
        "posterior": {"value": posterior.mean(axis=1), "se": posterior.std(axis=1, ddof=1) / np.sqrt(null_paths)},
        "information_null": information("null"),
        "information_mixture": information("mixture"),
        "information_posterior": {
            "value": np.log(10.0) - entropy.mean(axis=1),
            "se": entropy.std(axis=1, ddof=1) / np.sqrt(class_paths),
        },
        "own_path_accuracy": accuracy,
    }, evaluations


def measured_held_out(model: TrainedDenoiser) -> tuple[dict, int]:
    """The posterior of all held-out digits along the exact chain, on three grids."""
    grids = {
        "log_snr": (CHAIN_LEVELS, DRAWS),
        "log_snr_64": (SHORT_CHAIN_LEVELS, 1),
        "uniform_64": (uniform_timesteps(model, 64), 1),
    }
    digits = held_out_digits()
    labels = digits.labels.numpy()
    result: dict[str, object] = {}
    evaluations = 0
    for name, (levels, draws) in grids.items():
        images = digits.images.repeat(draws, 1, 1, 1)
        with tqdm(unit="evaluation", desc=name, mininterval=30.0) as bar:
            found = log_likelihoods(model, images, levels, SEED, progress=bar.update)
        evaluations += found.size + found[:, 0].size  # the start from nothing too
        found = found.reshape(draws, len(labels), len(levels), 10)
        result[name] = {
            "log_snr": levels,
            "draws": draws,
            "digits": len(labels),
            "ten": compared(found, labels, levels, lambda label: [tuple(range(10))]),
            "pairs": compared(found, labels, levels, lambda label: [(label, z) for z in range(10) if z != label]),
            "three_eight": compared(found, labels, levels, lambda label: [(3, 8)] if label in (3, 8) else []),
            "reliability": [reliability(found, labels, levels, level) for level in RELIABILITY_LEVELS],
        }
    return result, evaluations


def uniform_timesteps(model: TrainedDenoiser, count: int) -> np.ndarray:
    """The log-snr of `count` timesteps equally spaced from the model's last to its first."""
    times = np.linspace(model.schedule.timesteps[-1], model.schedule.timesteps[0], count)
    return np.interp(times, model.schedule.timesteps, model.schedule.clock)


def compared(
    log_likelihood: np.ndarray,
    labels: np.ndarray,
    levels: np.ndarray,
    questions: Callable[[int], list[tuple[int, ...]]],
) -> dict:
    """Cross entropy against posterior entropy over digits, (draws, digits, levels, 10), and where they differ most.

    `questions` gives the groups of classes, equally probable, that a digit with a label is asked to be told among. A
    digit's answers, to several questions and with several draws of the noise, are averaged first: so the standard error
    counts digits, which are independent, and not pairs or draws, which are not.
    """
    names = ("cross_entropy", "posterior_entropy", "gap", "accuracy")
    of_digits: dict[str, list] = {name: [] for name in names}
    for digit, label in enumerate(labels.tolist()):
        answers = [
            calibration(
                log_likelihood[:, digit][:, :, list(group)],
                [group.index(label)] * len(log_likelihood),
                levels,
                np.full(len(group), 1.0 / len(group)),
            )
            for group in questions(label)
        ]
        for name in names if answers else ():
            of_digits[name].append(np.mean([getattr(answer, name) for answer in answers], axis=0))
    result = {name: np.mean(values, axis=0) for name, values in of_digits.items()}
    gaps = np.array(of_digits["gap"])
    result["gap_se"] = gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps))
    judged = np.maximum(result["cross_entropy"], result["posterior_entropy"]) > SMALL
    score = result["gap"][judged] / result["gap_se"][judged]
    worst = int(np.argmax(np.abs(score)))
    # Levels are many and neighbours alike: how far the worst one of a calibrated posterior may be is found by giving
    # each digit's whole curve of gaps, centred, a random sign. One in twenty such worst levels is beyond this.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(4000, len(gaps)))
    chance = signs @ (gaps - gaps.mean(axis=0))[:, judged] / len(gaps) / result["gap_se"][judged]
    return result | {
        "worst_by_chance": float(np.quantile(np.abs(chance).max(axis=1), 0.95)),
        "digits": len(gaps),
        "worst_in_se": float(score[worst]),
        "worst_at": float(levels[judged][worst]),
        "levels_judged": int(judged.sum()),
        "levels_beyond_two_se": int(np.sum(np.abs(score) > 2.0)),
    }


def reliability(log_likelihood: np.ndarray, labels: np.ndarray, levels: np.ndarray, log_snr: float) -> dict:
    """Of the classes given about a probability p, at one level, how many are the true one; ten bins of p."""
    at = int(np.argmin(np.abs(levels - log_snr)))
    scores = log_likelihood[:, :, at]
    said = np.exp(scores - logsumexp(scores, axis=2, keepdims=True))
    true = np.broadcast_to(np.arange(10) == labels[:, None], said.shape)
    bins = np.minimum((said * 10).astype(int), 9)
    kept = [b for b in range(10) if (bins == b).sum() >= 20]
    return {
        "log_snr": float(levels[at]),
        "count": [int((bins == b).sum()) for b in kept],
        "said": [float(said[bins == b].mean()) for b in kept],
        "true": [float(true[bins == b].mean()) for b in kept],
    }


def measured_exact(model: TrainedDenoiser) -> tuple[dict, int]:
    """The half-entropy level of ten pairs, of the network and of the exact denoiser of its training digits."""
    training = training_digits()
    exact = empirical_distribution(training.images, training.labels)
    levels = default_levels(model, LEVELS)
    names = ("half_entropy", "entropy", "entropy_se")
    rows: dict[str, dict[str, list]] = {name: {each: [] for each in names} for name in ("network", "empirical")}
    evaluations = 0
    for i, j in tqdm(TEN_PAIRS, desc="ten pairs"):
        for name, denoiser in (("network", model), ("empirical", exact)):
            found = profile(denoiser, partition(denoiser, [i], [j]), log_snr=levels, samples=300, seed=SEED)
            evaluations += found.evaluations
            for each in names:
                rows[name][each].append(getattr(found, each))
    return {"samples": 300, "log_snr": levels, "partitions": [f"{i}|{j}" for i, j in TEN_PAIRS]} | rows, evaluations


PARTS: dict[str, Callable[[TrainedDenoiser], tuple[dict, int]]] = {
    "profiles": measured_profiles,
    "null_branch": measured_null_branch,
    "held_out": measured_held_out,
    "exact": measured_exact,
}


if __name__ == "__main__":
    sys.exit(main())
