"""How many evaluations of the network does an error of 0.01 nats cost? The published estimator and ours, in one run.

    python benchmarks/evaluations_needed.py               all of it: about an hour and a half on one thread
    python benchmarks/evaluations_needed.py mixtures      one part: mixtures, many, digits, network, tricks

The error of a run is that of the level where it is worst. A setting (rule, grid, levels, paths) reaches the target when
the root mean square of it over runs is at most 0.01, and both rules are measured directly at the setting claimed:

- Search, 6 runs a trial (12 for the exact digits), always of the same seeds. The published rule is tried with 12 to
  1024 levels, EDM's and in equal steps of log-snr; ours with 12 to 128 levels, placed by a pilot of each run's own.
  What a trial finds only proposes the paths of the next one; they are bracketed within a factor 1.2. A trial ends early
  where its sum of squares is more already than all its runs may have, which changes no outcome. A number of levels is
  put off when it fails with all the paths that 1.2 times the evaluations of the cheapest setting so far allow.
- Claim. The cheapest setting gets 40 runs of fresh seeds. Where their root mean square is above the target it gets 1.2
  times the paths, and the setting that is then the cheapest gets fresh runs, until one holds; what was put off has its
  turn at the cost that it would have if all its error were chance.
- A run has two million evaluations at the most. Where no setting reaches the target, the one with the least error at
  that cost gets the fresh runs, and the row says `reached` false: more than these evaluations are needed.
- With 200 classes a search has 3 runs a trial and a claim 12; in the part tricks 4 and 20; on the network, which is
  slow, 3 and 8. There a run has 200 thousand evaluations at the most, and the published rule 12 or 64 levels: on the
  exact denoiser of the same digits these needed least.

The evaluations of a run are paths x branches x levels, for ours with the start from nothing and the pilot.

Truth: quadrature for mixtures, the exact posterior on freshly noised images for the exact denoiser of the digits, and
for the network a long run of another seed; `truth_se` is the largest standard error of the last two. Writes
derivations/what_each_improvement_buys/results/PART.json, which the book reads: `rows`, in each `published` and
`default` (in tricks `default` and `without`) with `reached`, `evaluations` (of one run), `levels`, `grid`, `paths`,
`rms` and its standard error `rms_se` over so many fresh `runs`; `factor` is the ratio of the evaluations, a bound where
one is not `reached`.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from benchmarks.harness import Parts, run_parts
from companion.denoiser import Denoiser
from companion.entropy import Partition, binary_entropy, log_odds, partition
from companion.estimate.blocks import Memory
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import gather, measure, measure_block
from companion.estimate.placement import PILOT_LEVELS, default_levels, place
from companion.estimate.plan import DEFAULT, PUBLISHED, Method, Plan
from companion.estimate.run import Run
from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import isotropic_mixture
from companion.forward import edm_levels
from companion.models.digits import training_digits
from companion.models.load import load
from derivations.kit.measured import FOLDER

TARGET = 0.01
STEP = 1.2  # the paths that are found are within this factor of the fewest
FIRST = 20_000  # evaluations of the first trial
LEAP = 1.4  # what paths change by, at least, until they are bracketed
FRESH = 1000  # seeds of the claims, from here on
FEWEST, CONTROLLED = 4, 50  # paths: two a side, and so many that there are controls
PLACED = (48, 32, 64, 24, 96, 16, 128, 12)  # levels, the likely ones first: the others are then given up sooner
GIVEN = (128, 256, 64, 512, 32, 1024, 16, 12)
GRIDS = ("EDM", "equal")
Array = np.ndarray
Truth = Callable[[Array], Array]


@dataclass(frozen=True)
class Setting:
    """A model, a question, its true entropy at any levels; the most evaluations of a run, and the runs of a trial."""

    name: str
    model: Denoiser
    asked: Partition
    truth: Truth
    most: int = 2_000_000
    searching: int = 6
    fresh: int = 40
    block: int = 4096
    given: tuple[int, ...] = GIVEN


@dataclass(frozen=True)
class Rule:
    """A method on so many levels: EDM's, equal steps of log-snr, or placed by a pilot."""

    method: Method
    grid: str
    levels: int

    @property
    def least(self) -> int:
        """The fewest paths that are tried."""
        return CONTROLLED if self.method.control else FEWEST

    def paths(self, setting: Setting, evaluations: float) -> int:
        """The paths of a run of so many evaluations; an eighth of them is the pilot's."""
        pilot = (PILOT_LEVELS + self.method.from_nothing) / 8 if self.method.placed else 0.0
        return int(evaluations / len(setting.asked.branches) / (self.levels + self.method.from_nothing + pilot))


@dataclass(frozen=True)
class Trial:
    """A rule with so many paths: the evaluations of one run, and the worst level's error of each, in nats."""

    rule: Rule
    paths: int
    evaluations: int
    errors: tuple[float, ...]

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(np.square(self.errors))))

    @property
    def claim(self) -> dict[str, Any]:
        squares = np.square(self.errors)
        return {
            "reached": self.rms <= TARGET,
            "evaluations": self.evaluations,
            "levels": self.rule.levels,
            "grid": self.rule.grid,
            "paths": self.paths,
            "rms": self.rms,
            "rms_se": float(squares.std(ddof=1) / np.sqrt(len(squares)) / (2.0 * self.rms)),
            "runs": len(squares),
        }


def compared(settings: Sequence[Setting]) -> tuple[dict[str, Any], int]:
    """The cheapest setting of each method that reaches the target, and how many times cheaper ours is."""
    rows, spent = [], 0
    for setting in settings:
        theirs, one = cheapest(setting, [Rule(PUBLISHED, grid, count) for grid in GRIDS for count in setting.given])
        ours, other = cheapest(setting, placed_rules(DEFAULT))
        rows.append({"setting": setting.name, "factor": times(theirs, ours), "published": theirs, "default": ours})
        print(rows[-1], flush=True)
        spent += one + other
    return {"target": TARGET, "rows": rows}, spent


def placed_rules(method: Method) -> list[Rule]:
    """The default, or the default without one trick, at every number of levels."""
    return [Rule(method, "placed" if method.placed else "equal", count) for count in PLACED]


def times(one: dict[str, Any], other: dict[str, Any]) -> float:
    """How many times more evaluations `one` has than `other`."""
    return float(one["evaluations"] / other["evaluations"])


def cheapest(setting: Setting, rules: Sequence[Rule]) -> tuple[dict[str, Any], int]:
    """The claim of the cheapest rule that holds on fresh seeds, and all the evaluations that were spent on it."""
    tried: list[Trial] = []
    found: list[tuple[float, int, Rule]] = []
    bound: float = setting.most
    for rule in rules:
        trial = fewest_paths(setting, rule, bound, tried)
        if trial is not None:
            found.append((trial.evaluations, trial.paths, rule))
            bound = min(bound, STEP * trial.evaluations)
        elif bound < setting.most and tried[-1].rule == rule:
            # Put off: its turn comes where cheaper ones do not hold, with the paths that chance alone would ask for.
            more = (tried[-1].rms / TARGET) ** 2
            if more * bound <= setting.most:
                found.append((more * tried[-1].evaluations, math.ceil(more * tried[-1].paths), rule))
    seed = FRESH
    while found:
        best = min(found, key=lambda each: each[0])
        found.remove(best)
        evaluations, paths, rule = best
        tried.append(tried_with(setting, rule, paths, range(seed, seed + setting.fresh)))
        if tried[-1].rms <= TARGET:
            return tried[-1].claim, spent_on(tried)
        seed += setting.fresh
        more = min(math.ceil(STEP * paths), rule.paths(setting, setting.most))
        if more > paths:
            found.append((evaluations * more / paths, more, rule))
    at_most = [each for each in tried if each.paths == each.rule.paths(setting, setting.most)]
    best = min(at_most, key=lambda each: each.rms)
    tried.append(tried_with(setting, best.rule, best.paths, range(seed, seed + setting.fresh), whole=True))
    return tried[-1].claim, spent_on(tried)


def spent_on(tried: Sequence[Trial]) -> int:
    return sum(each.evaluations * len(each.errors) for each in tried)


def fewest_paths(setting: Setting, rule: Rule, bound: float, tried: list[Trial]) -> Trial | None:
    """The trial of the fewest paths that reaches the target, within STEP; None where `bound` evaluations do not."""
    top = rule.paths(setting, bound)
    low, passed = 0, None
    paths = min(top, max(rule.least, rule.paths(setting, FIRST))) if bound == setting.most else top
    while paths >= rule.least:
        trial = tried_with(setting, rule, paths, range(setting.searching))
        tried.append(trial)
        wanted = paths * (trial.rms / TARGET) ** 2  # were all of it chance
        if trial.rms <= TARGET:
            passed = trial
        elif paths == top:
            return None
        else:
            low = paths
        if passed is None:
            paths = min(top, math.ceil(max(wanted, LEAP * low)))
            continue
        if passed.paths <= max(rule.least, STEP * low):
            return passed
        margin = min(LEAP, math.sqrt(passed.paths / max(low, 1)))
        paths = max(rule.least, round(min(max(wanted, margin * low), passed.paths / margin)))
    return passed


def tried_with(setting: Setting, rule: Rule, paths: int, seeds: range, whole: bool = False) -> Trial:
    """A trial of so many paths, ended where it cannot reach the target any more, unless the `whole` of it is asked."""
    errors: list[float] = []
    evaluations = 0
    for seed in seeds:
        error, evaluations = worst_error(setting, rule, paths, seed)
        errors.append(error)
        if not whole and sum(each**2 for each in errors) > len(seeds) * TARGET**2:
            break
    trial = Trial(rule, paths, evaluations, tuple(errors))
    print(f"  {setting.name}: {rule.method.name} {rule.grid} {rule.levels} levels, {paths} paths,"
          f" {evaluations} evaluations, {trial.rms:.4f} in {len(errors)} runs", flush=True)  # fmt: skip
    return trial


def worst_error(setting: Setting, rule: Rule, paths: int, seed: int) -> tuple[float, int]:
    """The largest error over the levels of one run, in nats, and the evaluations of it and its pilot."""
    model, block = setting.model, min(paths, setting.block)
    given = None if rule.method.placed else levels_of(model, rule)
    how = {"samples": paths, "seed": seed, "method": rule.method, "levels": rule.levels, "block": block}
    asked, blocks = Run(model, [setting.asked], log_snr=given, **how), Memory(model)
    plan, pilot = asked.plan, asked.pilot
    if pilot is not None:
        plan = replace(plan, log_snr=place(gather(pilot, blocks.records(pilot, range(pilot.blocks))), rule.levels))
    (measured,) = gather(plan, blocks.records(plan, range(plan.blocks)))
    curve = weighted_mean(measured.entropy_of_path, measured)[0]
    error = np.max(np.abs(curve - setting.truth(plan.log_snr)))
    return float(error), asked.evaluations


def levels_of(model: Denoiser, rule: Rule) -> Array:
    """EDM's levels, their ends inside the model's range as in EDM's own sampler, or equal steps of log-snr."""
    if rule.grid == "equal":
        return default_levels(model, rule.levels)
    lowest, highest = model.log_snr_range
    ends = min(80.0, math.exp(-0.5 * lowest)), max(0.002, math.exp(-0.5 * highest))
    return np.clip(edm_levels(rule.levels, *ends), lowest, highest)  # the roundings


def mixtures() -> tuple[dict[str, Any], int]:
    """Lines of two and ten classes, and pairs whose covariances are far from equal."""
    lines = [on_a_line(classes, distance, name) for classes in (2, 10) for distance in (4.0, 16.0) for name in WIDTHS]
    return compared([*lines, *(on_mixture(name, mixture, [[0], [1]]) for name, mixture in UNEQUAL.items())])


def many() -> tuple[dict[str, Any], int]:
    """Lines of two hundred classes, of unequal covariances: 200 branches on every path."""
    return compared([on_a_line(200, distance, "unequal", searching=3, fresh=12) for distance in (4.0, 16.0)])


WIDTHS = {"equal": 1.0, "unequal": 0.6}


def on_a_line(classes: int, distance: float, widths: str, **runs: int) -> Setting:
    """Neighbours so many deviations apart, every second class on one side and of the other width."""
    width = [1.0 if k % 2 == 0 else WIDTHS[widths] for k in range(classes)]
    places = distance * (np.arange(classes) - 0.5 * (classes - 1))
    # Drawn to a deviation of one, as images are; a line of 200 classes would leave the range of levels.
    scale = 1.0 / max(float(places.std()), 1.0)
    mixture = isotropic_mixture((scale * places)[:, None], [scale * w for w in width])
    sides = [list(range(0, classes, 2)), list(range(1, classes, 2))]
    return on_mixture(f"K = {classes}, {distance:g} apart, {widths}", mixture, sides, **runs)


def on_mixture(name: str, mixture: Any, sides: list[list[int]], **runs: int) -> Setting:
    """The truth is a spline through 400 exact values: its error is far below a thousandth of the target."""
    fine = np.linspace(-13.0, 13.0, 400)
    truth = CubicSpline(fine, mixture.sides(partition(mixture, *sides)).entropy(fine))
    return Setting(name, mixture, partition(mixture, *sides), truth, **runs)


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
    data = empirical_distribution(found.images, found.labels)
    fine = np.linspace(-10.0, 12.5, 46)
    settings, errors = [], []
    for sides in ([[3], [8]], [[0, 6, 8, 9], [1, 2, 3, 4, 5, 7]]):
        asked = partition(data, *sides)
        entropy, error = of_images(data, asked, fine)
        settings.append(Setting(asked.label, data, asked, CubicSpline(fine, entropy), searching=12))
        errors.append(error)
    measured, spent = compared(settings)
    for row, error in zip(measured["rows"], errors, strict=True):
        row["truth_se"] = error
    return measured, spent


def of_images(data: Any, asked: Partition, log_snr: Array, draws: int = 60_000) -> tuple[Array, float]:
    """The entropy of the exact posterior on noised images, no trajectory in it, and its largest standard error.

    Every image is noised equally often, so that chance is left with the noise alone; each level has the same draws, so
    that the curve is smooth.
    """
    images, weights = [], []
    for side, prior in ((asked.first, asked.prior), (asked.second, 1.0 - asked.prior)):
        for branch, share in side.items():
            points = data.points[data.bounds[branch] : data.bounds[branch + 1]]
            times_each = math.ceil(0.5 * draws * share / len(points)) + 1
            images.append(points.repeat_interleave(times_each, dim=0))
            weights.append(np.full((len(points), times_each), prior * share / (len(points) * times_each)))
    clean = torch.cat(images)
    noise = torch.randn(clean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(77))
    result, errors = [], []
    for level in log_snr:
        sigma = float(np.exp(-0.5 * level))
        posterior = data.posterior(clean + sigma * noise, torch.full((len(clean),), sigma)).double().numpy()
        # Less the weights it is the log-density of each class, up to what all share.
        entropies = binary_entropy(log_odds(asked, range(len(data.classes)), posterior - np.log(data.weights)))
        mean, variance, start = 0.0, 0.0, 0
        for weight in weights:
            of_points = entropies[start : start + weight.size].reshape(weight.shape)
            mean += float((weight * of_points).sum())
            variance += float((weight[:, 0] ** 2 * weight.shape[1] * of_points.var(axis=1, ddof=1)).sum())
            start += weight.size
        result.append(mean)
        errors.append(math.sqrt(variance))
    return np.array(result), max(errors)


def network() -> tuple[dict[str, Any], int]:
    """The trained digits network: 3 against 8, against a run of 160 placed levels and 2500 paths of another seed."""
    model = load("digits")
    asked = partition(model, [3], [8])
    plan = Plan((asked,), default_levels(model, PILOT_LEVELS), 200, 500, DEFAULT, 200, stream=1)
    log_snr = place(gather(plan, [measure_block(model, plan, 0)]), 160)
    (long,), _ = measure(model, [asked], log_snr, 2500, 501, DEFAULT, block=250)
    curve, error = weighted_mean(long.entropy_of_path, long)

    def truth(levels: Array) -> Array:
        return np.interp(levels, log_snr, curve)

    measured, spent = compared([Setting("3|8", model, asked, truth, 200_000, 3, 8, 250, (12, 64))])
    measured["rows"][0]["truth_se"] = float(error.max())
    return measured, spent


def tricks() -> tuple[dict[str, Any], int]:
    """What each trick buys: how many times more evaluations the default needs without it, on five mixtures."""
    pairs = {
        "4 apart, equal": isotropic_mixture(apart(4.0, 1), 1.0),
        "16 apart, equal": isotropic_mixture(apart(4.0, 1), 0.25),
    } | {name: UNEQUAL[name] for name in ("0.5 and 0.7, d = 16, 1 apart", "0.5 and 1, d = 1, 1 apart")}
    runs = {"searching": 4, "fresh": 20}
    settings = [on_mixture(name, mixture, [[0], [1]], **runs) for name, mixture in pairs.items()]
    settings.append(on_a_line(10, 16.0, "equal", **runs))
    rows, spent = [], 0
    for setting in settings:
        whole, evaluations = cheapest(setting, placed_rules(DEFAULT))
        spent += evaluations
        without = {}
        for trick in ("from_nothing", "extrapolated", "control", "weighed", "placed"):
            found, evaluations = cheapest(setting, placed_rules(replace(DEFAULT, **{trick: False})))
            spent += evaluations
            without[trick] = found | {"factor": times(found, whole)}
        rows.append({"setting": setting.name, "default": whole, "without": without})
        print(rows[-1], flush=True)
    return {"target": TARGET, "rows": rows}, spent


PARTS: Parts = {
    "mixtures": mixtures,
    "many": many,
    "digits": digits,
    "network": network,
    "tricks": tricks,
}


if __name__ == "__main__":
    sys.exit(
        run_parts(
            "evaluations_needed",
            __doc__ or "",
            PARTS,
            FOLDER / "what_each_improvement_buys" / "results",
            ("torch", "numpy", "scipy"),
        )
    )
