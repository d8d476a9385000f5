"""Do the 95% bands hold the truth 95 times in 100? `python -m benchmarks.band_coverage [--runs 2000] [--only NAME]`.

With `--few` the runs have 80 paths, fewer than bands are made for, and few.json is written.

In each setting the profile of a mixture whose entropy is known is estimated 2000 times, with 300 paths and 128 levels
that a pilot has placed: every run has paths of its own, every hundred share a seed and its pilot. Counted are, at each
level, the runs whose pointwise band holds the truth, and the runs whose simultaneous band holds it at all levels at
once. Where 0.02 < H < 0.65 the share of the pointwise band must lie between 93 and 97%, four deviations of 2000
tosses; elsewhere at least 93% of the runs must hold the truth or miss it by less than 0.001 nats, and so must the
simultaneous band. (For a prior other than 1/2 the 0.65 is scaled by its entropy.) Prints a table, writes
coverage.json to derivations/when_not_to_trust_a_profile/results, which the chapter of that name reads, and ends with
status 1 where a band does not hold.
"""

import argparse
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import torch
from scipy import stats

from benchmarks.harness import rounded
from benchmarks.mixture_coverage import SETTINGS, Setting
from companion.entropy import Partition, partition
from companion.estimate.confidence import (
    limits,
    pointwise_factor,
    simultaneous_factor,
    skewness,
    weighted_mean,
)
from companion.estimate.measure import Measurement, gather, measure_block
from companion.estimate.placement import PILOT_LEVELS, default_levels, pilot_samples, place
from companion.estimate.plan import Data, Plan
from companion.exact.mixtures import isotropic_mixture
from companion.files import write_text
from derivations.kit.measured import FOLDER

HERE = FOLDER / "when_not_to_trust_a_profile" / "results"
RESULTS, FEW_RESULTS = HERE / "coverage.json", HERE / "few.json"
RUNS, LEVELS, SAMPLES, FEW = 2000, 128, 300, 80
OF_ONE_SEED = 100
AT_ONCE = 20
LOW, HIGH, NEAR = 0.02, 0.65, 0.001

_NAMES = (
    "|dmu|/s = 4",
    "|dmu|/s = 16",
    "0.5 and 0.7, d = 16, 1 apart",
    "0.5 and 1, d = 1, 1 apart",
    "0.5 and 1, d = 1, same mean",
)
THREE_UNEQUAL = isotropic_mixture([[-2.0], [0.0], [3.0]], [0.5, 1.0, 0.7], [0.3, 0.3, 0.4])
BAND_SETTINGS = (
    *(setting for setting in SETTINGS if setting.name in _NAMES),
    Setting("three unequal, middle|others", THREE_UNEQUAL, first=(1,), prior="true", unequal=True),
)
ON_DATA = (Setting("on data, three unequal", THREE_UNEQUAL, first=(1,), prior="true", unequal=True),)
CLASSES = 60  # on a line, of two widths and of weights 1 to 60; two paths a class would be 7320
SIXTY = isotropic_mixture(
    6.0 * (np.arange(CLASSES)[:, None] - 0.5 * (CLASSES - 1)) / CLASSES,
    [0.01 if k % 2 else 0.015 for k in range(CLASSES)],
    (1.0 + np.arange(CLASSES)) / (0.5 * CLASSES * (CLASSES + 1)),
)
FEW_SETTINGS = (
    *(setting for setting in BAND_SETTINGS if setting.name in _NAMES[:2]),
    Setting("sixty unequal, side by side", SIXTY, first=tuple(range(0, CLASSES, 2)), unequal=True),
)


def runs_of(setting: Setting, seed: int, count: int, levels: int, samples: int, on_data: bool) -> Iterator[Measurement]:
    """`count` independent runs that share a seed and its pilot, `AT_ONCE` evaluated together."""
    asked = partition(setting.mixture, setting.first, "others", setting.prior)
    data = None
    if on_data:
        # Twice what is needed, so that no class runs short of samples.
        drawn, labels = setting.mixture.sample(4 * count * samples, torch.Generator().manual_seed(seed))
        data = Data(drawn, labels.numpy())
    pilot = replace(pilot_of(setting, asked, samples, seed), data=data)
    placed = place(gather(pilot, [measure_block(setting.mixture, pilot, 0)]), levels)
    block, by_side = samples * min(count, AT_ONCE), pilot.by_side
    plan = Plan((asked,), placed, samples * count, seed, block=block, data=data, by_side=by_side)
    for number in range(plan.blocks):
        (record,) = measure_block(setting.mixture, plan, number)
        for first in plan.paths(number)[::samples]:
            yield gather(plan, [[record.of_paths(first, first + samples)]])[0]


def pilot_of(setting: Setting, asked: Partition, samples: int, seed: int) -> Plan:
    """The pilot of a run of so many paths."""
    one = Plan((asked,), default_levels(setting.mixture, PILOT_LEVELS), samples, seed, stream=1)
    return replace(one, samples=pilot_samples(one))


def covered(
    setting: Setting,
    runs: int,
    levels: int = LEVELS,
    samples: int = SAMPLES,
    on_data: bool = False,
    first_seed: int = 0,
) -> dict[str, float]:
    """Shares of `runs` whose bands hold the truth, and the bias in standard errors, at the worst level of each kind."""
    start = time.perf_counter()
    errors, deviations, truths = [], [], []
    missed: dict[str, list[np.ndarray]] = {"pointwise": [], "simultaneous": []}
    widest: dict[str, list[float]] = {"pointwise": [], "simultaneous": []}
    asked = partition(setting.mixture, setting.first, "others", setting.prior)
    evaluations = 0
    for seed in range(first_seed, first_seed - (-runs // OF_ONE_SEED)):
        truth = None
        evaluations += pilot_of(setting, asked, samples, seed).evaluations
        for measured in runs_of(setting, seed, min(OF_ONE_SEED, runs), levels, samples, on_data):
            truth = setting.truth(measured.log_snr) if truth is None else truth
            evaluations += samples * len(asked.branches) * (levels + 1)  # the start from nothing too
            entropy, error = weighted_mean(measured.entropy_of_path, measured)
            skew = skewness(measured.entropy_of_path, measured)
            errors.append(entropy - truth)
            deviations.append(error)
            truths.append(truth)
            factors = pointwise_factor(measured), simultaneous_factor(measured.entropy_of_path, measured)
            for kind, factor in zip(missed, factors, strict=True):
                lower, upper = limits(entropy, error, skew, factor, asked.floor)
                missed[kind].append(np.maximum(np.maximum(lower - truth, truth - upper), 0.0))
                widest[kind].append(float(np.max(upper - lower)) / 2.0)
    # Every seed has levels of its own: level k stands for the k-th of them, whose entropies are nearly the same.
    entropy, error, typical = np.mean(truths, axis=0), np.array(errors), np.sqrt(np.mean(np.square(deviations), axis=0))
    middle = (entropy > LOW) & (entropy < HIGH * asked.entropy / np.log(2.0))
    share = (np.array(missed["pointwise"]) < 1e-12).mean(axis=0)
    nearly = (np.array(missed["pointwise"]) < NEAR).mean(axis=0)
    of_all = np.array(missed["simultaneous"])
    bias, spread = error.mean(axis=0), error.std(axis=0, ddof=1)
    worst = int(np.argmax(np.where(middle, np.abs(bias) / np.maximum(typical, 1e-12), 0.0)))
    return {
        "runs": len(errors),
        "evaluations": evaluations,
        "levels_in_the_middle": int(middle.sum()),
        "pointwise_least": float(share[middle].min()),
        "pointwise_most": float(share[middle].max()),
        "pointwise_mean": float(share[middle].mean()),
        "elsewhere_least": float(nearly[~middle].min(initial=1.0)),
        "simultaneous_in_the_middle": float((of_all[:, middle] < 1e-12).all(axis=1).mean()),
        "simultaneous": float((of_all < np.where(middle, 1e-12, NEAR)).all(axis=1).mean()),
        "bias_in_errors": float(bias[worst] / typical[worst]),
        "bias": float(bias[worst]),
        "at_entropy": float(entropy[worst]),
        "spread_over_error_least": float((spread[middle] / typical[middle]).min()),
        "spread_over_error_most": float((spread[middle] / typical[middle]).max()),
        "widest_pointwise": float(np.mean(widest["pointwise"])),
        "widest_simultaneous": float(np.mean(widest["simultaneous"])),
        "seconds": time.perf_counter() - start,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="runs a setting; fewer is a trial, not written")
    parser.add_argument("--few", action="store_true", help=f"runs of {FEW} paths")
    parser.add_argument("--only", default="", help="the settings whose name contains this; a trial, not written")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table, failures, started = {}, [], time.perf_counter()
    print("pointwise least, most | elsewhere | simultaneous | worst bias / error | spread / error | widest bands")
    samples = FEW if asked.few else SAMPLES
    for setting in FEW_SETTINGS if asked.few else (*BAND_SETTINGS, *ON_DATA):
        if asked.only in setting.name:
            runs = min(asked.runs, 400) if setting.mixture is SIXTY else asked.runs  # sixty branches a path
            row = table[setting.name] = covered(setting, runs, samples=samples, on_data=setting in ON_DATA)
            print(line(setting.name, row), flush=True)
            failures += [f"{setting.name}: {failure}" for failure in failures_of(row)]
    print("\n".join(failures) or "the bands hold everywhere")
    if asked.runs == RUNS and not asked.only:
        results = FEW_RESULTS if asked.few else RESULTS
        results.parent.mkdir(exist_ok=True)
        origin = {
            "command": "python -m benchmarks.band_coverage" + (" --few" if asked.few else ""),
            "device": "one thread of a shared CPU",
            "seed": 0,
            "seconds": round(time.perf_counter() - started),
            "evaluations": int(sum(row["evaluations"] for row in table.values())),
            "versions": {"python": platform.python_version(), "torch": version("torch"), "numpy": version("numpy")},
        }
        write_text(results, rounded({**origin, "levels": LEVELS, "samples": samples, "settings": table}))
    return int(bool(failures) and not asked.few)


def failures_of(row: dict[str, float]) -> list[str]:
    """What the table's promise breaks; a trial of few runs is allowed what chance does to one level in a thousand."""
    slack = 0.0 if row["runs"] >= RUNS else stats.norm.ppf(0.9995) * np.sqrt(0.05 * 0.95 / row["runs"])
    found = []
    if row["pointwise_least"] < 0.93 - slack or row["pointwise_most"] > 0.97 + slack:
        found.append(f"pointwise between {row['pointwise_least']:.3f} and {row['pointwise_most']:.3f}")
    if row["elsewhere_least"] < 0.93 - slack:
        found.append(f"elsewhere {row['elsewhere_least']:.3f}")
    if row["simultaneous"] < 0.93 - slack:
        found.append(f"simultaneous {row['simultaneous']:.3f}")
    return found


def line(name: str, row: dict[str, float]) -> str:
    return (
        f"{name:32s} {row['pointwise_least']:.3f} {row['pointwise_most']:.3f} | {row['elsewhere_least']:.3f} | "
        f"{row['simultaneous_in_the_middle']:.3f} {row['simultaneous']:.3f} | {row['bias_in_errors']:+.2f} "
        f"({row['bias']:+.4f} at H {row['at_entropy']:.2f}) | {row['spread_over_error_least']:.2f} "
        f"{row['spread_over_error_most']:.2f} | {row['widest_pointwise']:.4f} {row['widest_simultaneous']:.4f} "
        f"({row['seconds']:.0f} s)"
    )


if __name__ == "__main__":
    sys.exit(main())
