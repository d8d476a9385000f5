"""How many evaluations of the network does an error of 0.01 nats cost? The published estimator and ours, in one run.

    python benchmarks/evaluations_needed.py               all of it: about forty minutes on one thread
    python benchmarks/evaluations_needed.py mixtures      one part: mixtures, many, digits, network, tricks

Each method at each number of levels is run with many seeds. The error is that of the level where it is worst; its root
mean square over seeds falls with the number of paths to what the steps leave, and the paths that bring it to 0.01 are
found from the measured bias and deviations. The cost is paths x branches x levels, for ours with the start from
nothing and the pilot. The best number of levels is each method's own.

Truth: quadrature for mixtures, the exact posterior on fresh noised images for the exact denoiser of the digits, a long
run of another seed for the network. Writes companion/results/evaluations/PART.json; the chapter "Listening to the
posterior" reads them.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from companion.denoiser import Denoiser
from companion.estimate.bands import weighted_mean
from companion.estimate.entropy import gather, measure, measure_block
from companion.estimate.partition import Partition, partition
from companion.estimate.placement import PILOT_LEVELS, default_levels, pilot_samples, place
from companion.estimate.plan import DEFAULT, PUBLISHED, Method, Plan
from companion.estimate.tally import log_odds
from companion.forward import edm_levels
from companion.models.digits import training_digits
from companion.models.unet import load
from companion.results import FOLDER
from companion.results.writing import Parts, run_parts
from companion.theory.binary import binary_entropy
from companion.theory.finite import finite_data
from companion.theory.mixtures import isotropic_mixture
from companion.theory.quadrature import exact_entropy

TARGET = 0.01
FEWEST, CONTROLLED = 4, 50  # paths: two a side, and so many that there are controls
COUNTS = {"published": (32, 64, 128, 256, 512, 1024), "default": (12, 16, 24, 32, 48, 64)}
Array = np.ndarray
Truth = Callable[[Array], Array]


@dataclass(frozen=True)
class Setting:
    """A model, a question, its true entropy at any levels, and how many seeds and paths of each are tried."""

    name: str
    model: Denoiser
    asked: Partition
    truth: Truth
    seeds: int = 8
    paths: int = 256
    longest: int = 1024


def compared(settings: Sequence[Setting]) -> tuple[dict[str, Any], int]:
    """The cheapest way of each method to the target, setting by setting, and how many times cheaper ours is."""
    rows = []
    for setting in settings:
        best = {method.name: cheapest(setting, method) for method in (PUBLISHED, DEFAULT)}
        factor = times(best["published"], best["default"])
        tried = sum(each.pop("tried") for each in best.values())
        rows.append({"setting": setting.name, "factor": factor, "evaluations_tried": tried, **best})
        print(f"{setting.name:34s} {factor or float('nan'):7.1f}x  {best['published']}  {best['default']}", flush=True)
    return {"target": TARGET, "rows": rows}, sum(row["evaluations_tried"] for row in rows)


def cheapest(setting: Setting, method: Method, counts: Sequence[int] = ()) -> dict[str, Any]:
    """Levels and paths of the least evaluations that reach the target; None where none of `counts` does."""
    best: dict[str, Any] = {"evaluations": None, "levels": None, "paths": None}
    tried = 0
    for count in counts or COUNTS["default" if method.placed else "published"]:
        if count > setting.longest:
            continue
        log_snr = levels_of(setting, method, count)
        errors, spent = errors_at(setting, method, log_snr)
        tried += spent
        paths = paths_needed(errors, setting.paths, CONTROLLED if method.control else FEWEST)
        if paths is None:
            continue
        plan = Plan((setting.asked,), log_snr, paths, method=method)
        cost = plan.evaluations
        if method.placed:
            cost += replace(
                plan, log_snr=default_levels(setting.model, PILOT_LEVELS), samples=pilot_samples(plan)
            ).evaluations
        if best["levels"] is None or cost < best["evaluations"]:
            best = {"evaluations": cost, "levels": count, "paths": paths}
    return best | {"tried": tried}


def times(one: dict[str, Any], other: dict[str, Any]) -> float | None:
    """How many times more evaluations `one` needs than `other`; None where it does not reach the target."""
    return None if one["levels"] is None else one["evaluations"] / other["evaluations"]


def levels_of(setting: Setting, method: Method, count: int) -> Array:
    """The levels a method would use: the pilot's, EDM's where the published rule was run with them, or equal steps."""
    if not method.placed:
        if method is not PUBLISHED:
            return default_levels(setting.model, count)
        lowest, highest = setting.model.log_snr_range
        grid = edm_levels(count)
        return grid[(grid >= lowest) & (grid <= highest)]  # a network knows fewer levels than a mixture
    plan = Plan((setting.asked,), default_levels(setting.model, PILOT_LEVELS), setting.paths, 10_000, method, stream=1)
    plan = replace(plan, samples=pilot_samples(plan))
    return place(gather(plan, [measure_block(setting.model, plan, number) for number in range(plan.blocks)]), count)


def errors_at(setting: Setting, method: Method, log_snr: Array) -> tuple[Array, int]:
    """The error of the entropy (seeds, levels), and the evaluations spent."""
    truth, errors, spent = setting.truth(log_snr), [], 0
    for seed in range(setting.seeds):
        (found,), evaluations = measure(
            setting.model, [setting.asked], log_snr, setting.paths, seed, method, block=setting.paths
        )
        errors.append(weighted_mean(found.entropy_of_path, found)[0] - truth)
        spent += evaluations
    return np.array(errors), spent


def paths_needed(errors: Array, paths: int, least: int) -> int | None:
    """The paths at which the root mean square of the worst level's error is TARGET; None where the bias alone is more.

    The bias stays, the deviations from it shrink with the square root of the number of paths.
    """
    bias = errors.mean(axis=0)
    deviations = (errors - bias) * np.sqrt(len(errors) / (len(errors) - 1.0))

    def worst(count: int) -> float:
        curves = bias + np.sqrt(paths / count) * deviations
        return float(np.sqrt(np.mean(np.max(np.abs(curves), axis=1) ** 2)))

    low, high = least, 2**22
    if worst(high) > TARGET:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if worst(middle) <= TARGET else (middle + 1, high)
    return low


def mixtures() -> tuple[dict[str, Any], int]:
    """Lines of two and ten classes, and pairs whose covariances are far from equal."""
    lines = [on_a_line(classes, distance, name) for classes in (2, 10) for distance in (4.0, 16.0) for name in WIDTHS]
    return compared([*lines, *(on_mixture(name, mixture, [[0], [1]]) for name, mixture in UNEQUAL.items())])


def many() -> tuple[dict[str, Any], int]:
    """Lines of two hundred classes, of unequal covariances: 200 branches on every path, so few seeds and levels."""
    return compared([on_a_line(200, distance, "unequal", seeds=6, paths=200, longest=128) for distance in (4.0, 16.0)])


WIDTHS = {"equal": 1.0, "unequal": 0.6}


def on_a_line(classes: int, distance: float, widths: str, **how: int) -> Setting:
    """Neighbours so many deviations apart, every second class on one side and of the other width."""
    width = [1.0 if k % 2 == 0 else WIDTHS[widths] for k in range(classes)]
    places = distance * (np.arange(classes) - 0.5 * (classes - 1))
    # Drawn to a deviation of one, as images are; a line of 200 classes would leave the range of levels.
    scale = 1.0 / max(float(places.std()), 1.0)
    mixture = isotropic_mixture((scale * places)[:, None], [scale * w for w in width])
    sides = [list(range(0, classes, 2)), list(range(1, classes, 2))]
    name = f"K = {classes}, {distance:g} apart, {widths}"
    return on_mixture(name, mixture, sides, **({"longest": 512 if classes == 2 else 256} | how))


def on_mixture(name: str, mixture: Any, sides: list[list[int]], **how: int) -> Setting:
    """The truth is a spline through 400 exact values: its error is far below a thousandth of the target."""
    fine = np.linspace(-13.0, 13.0, 400)
    truth = CubicSpline(fine, exact_entropy(mixture.regroup(sides, True), fine))
    return Setting(name, mixture, partition(mixture, *sides), truth, **how)


def apart(distance: float, dimension: int) -> torch.Tensor:
    means = torch.zeros(2, dimension, dtype=torch.float64)
    means[:, 0] = torch.tensor([-0.5 * distance, 0.5 * distance])
    return means


UNEQUAL = {
    "0.5 and 0.7, d = 16, 1 apart": isotropic_mixture(apart(1.0, 16), [0.5, 0.7]),
    "0.5 and 0.7, d = 16, same mean": isotropic_mixture(apart(0.0, 16), [0.5, 0.7]),
    "0.5 and 1, d = 1, 1 apart": isotropic_mixture(apart(1.0, 1), [0.5, 1.0]),
}


def digits() -> tuple[dict[str, Any], int]:
    """The exact denoiser of the training digits: 3 against 8, and the loops (0, 6, 8, 9) against the other digits."""
    found = training_digits()
    data = finite_data(found.images, found.labels)
    settings = []
    fine = np.linspace(-12.5, 12.5, 80)
    for sides in ([[3], [8]], [[0, 6, 8, 9], [1, 2, 3, 4, 5, 7]]):
        asked = partition(data, *sides)
        truth = CubicSpline(fine, of_images(data, asked, fine))
        settings.append(Setting(asked.label, data, asked, truth, 6, 256, 256))
    return compared(settings)


def of_images(data: Any, asked: Partition, log_snr: Array, draws: int = 8000) -> Array:
    """The entropy of the exact posterior on freshly noised images: no trajectory, a standard error below 0.003."""
    generator = torch.Generator().manual_seed(77)
    result = []
    for level in log_snr:
        sigma = float(np.exp(-0.5 * level))
        total = 0.0
        for side, prior in ((asked.first, asked.prior), (asked.second, 1.0 - asked.prior)):
            for branch, share in side.items():
                count = max(2, round(0.5 * draws * share))
                clean, _ = data.sample(count, generator, branch)
                noise = torch.randn(clean.shape, dtype=torch.float64, generator=generator)
                posterior = data.posterior(clean + sigma * noise, torch.full((count,), sigma)).double().numpy()
                # Less the weights it is the log-density of each class, up to what all share.
                odds = log_odds(asked, range(len(data.classes)), posterior - np.log(data.weights))
                total += prior * share * float(np.mean(binary_entropy(odds)))
        result.append(total)
    return np.array(result)


def network() -> tuple[dict[str, Any], int]:
    """The trained digits network: 3 against 8, against a run of 128 placed levels and 1500 paths of another seed."""
    model = load("digits")
    asked = partition(model, [3], [8])
    plan = Plan((asked,), default_levels(model, PILOT_LEVELS), 200, 500, DEFAULT, 200, stream=1)
    log_snr = place(gather(plan, [measure_block(model, plan, 0)]), 128)
    (long,), _ = measure(model, [asked], log_snr, 1500, 501, DEFAULT, block=250)
    curve, error = weighted_mean(long.entropy_of_path, long)
    setting = Setting("3|8", model, asked, lambda levels: np.interp(levels, log_snr, curve), 4, 200, 128)
    measured, tried = compared([setting])
    return measured | {"reference_se": float(error.max())}, tried


def tricks() -> tuple[dict[str, Any], int]:
    """What each trick buys: how many times more evaluations the default needs without it, on five mixtures."""
    settings = [
        on_mixture("4 apart, equal", isotropic_mixture(apart(4.0, 1), 1.0), [[0], [1]]),
        on_mixture("16 apart, equal", isotropic_mixture(apart(4.0, 1), 0.25), [[0], [1]]),
        *(on_mixture(name, mixture, [[0], [1]]) for name, mixture in list(UNEQUAL.items())[:1]),
        on_mixture("0.5 and 1, d = 1, 1 apart", UNEQUAL["0.5 and 1, d = 1, 1 apart"], [[0], [1]]),
        on_a_line(10, 16.0, "equal"),
    ]
    rows = []
    for setting in settings:
        whole = cheapest(setting, DEFAULT)
        tried, without = whole.pop("tried"), {}
        for trick in ("from_nothing", "extrapolated", "control", "weighed", "placed"):
            found = cheapest(setting, replace(DEFAULT, **{trick: False}), (*COUNTS["default"], 96, 128))
            tried += found.pop("tried")
            without[trick] = found | {"factor": times(found, whole)}
        rows.append({"setting": setting.name, "default": whole, "without": without, "evaluations_tried": tried})
        print(setting.name, whole, {name: each["factor"] for name, each in without.items()}, flush=True)
    return {"target": TARGET, "rows": rows}, sum(row["evaluations_tried"] for row in rows)


PARTS: Parts = {
    "mixtures": mixtures,
    "many": many,
    "digits": digits,
    "network": network,
    "tricks": tricks,
}


if __name__ == "__main__":
    sys.exit(run_parts("evaluations_needed", __doc__ or "", PARTS, FOLDER / "evaluations", ("torch", "numpy", "scipy")))
