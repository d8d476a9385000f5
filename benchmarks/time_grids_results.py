"""Measures how far samplers with few steps end from the truth, on five grids: what the chapter "Time grids" reads.

    python benchmarks/time_grids_results.py               all of them: half an hour on one thread
    python benchmarks/time_grids_results.py mixtures      one of them: mixtures, digits

They go to derivations/time_grids/results/ as JSON, with their origin. Samples are kept in a folder `time_grids` for
temporary files, and a run that was stopped goes on from there.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from benchmarks.harness import Parts, rounded, run_parts
from companion.arguments import Array
from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.forward import log_snr_levels
from companion.models.digits import training_digits
from companion.models.load import load
from companion.models.trained import TrainedDenoiser
from derivations.kit.fidelity import classifier, frechet_distance
from derivations.kit.measured import FOLDER, read
from derivations.kit.pushed_forward import heun
from derivations.kit.sampling import deterministic, start
from derivations.time_grids.grids import GRIDS, grid, sample_rate, sampling_divergence

STEPS = (8, 12, 24)
FEW = (8, 12)  # between the ends that suit EDM best, where more steps reach the floor
EDM_ENDS = (-2.0 * np.log(80.0), -2.0 * np.log(0.002))  # the noise levels of Karras et al. 2022
SAMPLES = 1000
SEEDS = (0, 1, 2, 3, 4)
REFERENCE, OTHERS = 5, {"labelled": (0, 1), "null": (0,)}  # of many steps: to measure from, and for the floor
MANY = 512
TRIED = tuple(itertools.product((-8.0, -6.0, -5.0), (3.5, 5.0, 7.0)))
TRIAL = 9  # the seed with which EDM's ends are chosen

Ends = tuple[float, float]


def measured_mixtures() -> tuple[dict, int]:
    """KL of five mixtures on a line from what a sampler draws, between EDM's ends and those that suit EDM best."""
    width = {"two classes": 0.3, "two narrow classes": 0.1, "two groups of two": 0.05, "ten classes": 0.04}
    means = {
        "two classes": [-1.0, 1.0],
        "two narrow classes": [-1.0, 1.0],
        "two groups of two": [-1.2, -0.8, 0.8, 1.2],
        "ten classes": [-1.5, -1.2, -0.9, -0.2, 0.1, 0.3, 0.6, 1.0, 1.3, 1.6],
    }
    laws = {name: isotropic_mixture(np.array(at)[:, None], width[name]) for name, at in means.items()}
    laws["three unlike classes"] = isotropic_mixture([[-1.5], [0.0], [0.8]], [0.1, 0.05, 0.2], [0.3, 0.2, 0.5])
    found = {name: of_mixture(law) for name, law in laws.items()}
    return {"grids": GRIDS, "counts": STEPS, "mixtures": found}, 0


def of_mixture(law: GaussianMixture) -> dict:
    fine = np.linspace(-14.0, 16.0, 601)
    curves = fine, np.maximum(law.production(fine), 0.0), sample_rate(law, fine)

    def divergences(count: int, ends: Ends, **step) -> list[float | None]:
        return [divergence_or_none(law, grid(name, count, ends, *curves), **step) for name in GRIDS]

    best = []
    for count in STEPS:
        # EDM's own distance is made as small as its ends can make it; all grids then get these ends.
        search = minimize(
            lambda ends, n=count: sampling_divergence(law, grid("EDM", n, tuple(ends), *curves)),
            (-6.0, 6.5),
            method="Nelder-Mead",
            bounds=((-13.0, -2.0), (2.0, 15.0)),
            options={"xatol": 0.1, "fatol": 1e-4, "maxfev": 40},
        )
        best.append(tuple(search.x.tolist()))
    return {
        "means": law.means[:, 0].numpy(),
        "deviations": law.deviations.numpy(),
        "edm_ends": [divergences(count, EDM_ENDS) for count in STEPS],
        "best_ends": best,
        "at_best_ends": [divergences(count, ends) for count, ends in zip(STEPS, best, strict=True)],
        # The same number of evaluations, 2 n - 1 of n levels.
        "heun": [divergences((count + 1) // 2, EDM_ENDS, step=heun) for count in STEPS],
    }


def divergence_or_none(law: GaussianMixture, levels: Array, **step) -> float | None:
    """The divergence, or None where a step folds the line: a density is no single branch's there."""
    try:
        return sampling_divergence(law, levels, **step)
    except InputError:
        return None


def measured_digits() -> tuple[dict, int]:
    """Fréchet distances of the network's samples of few steps from its own of 512, told the digit and not told it."""
    model = load("digits")
    run = Digits(model)
    result: dict = {"model": model.name, "model_digest": model.digest, "samples": SAMPLES, "seeds": SEEDS}
    result |= {"grids": GRIDS, "counts": STEPS, "many": MANY, "range": model.log_snr_range}
    result |= {"log_snr": run.log_snr, "production": run.production, "rate": run.rate}
    for branch in OTHERS:
        many = {seed: run.many(branch, seed) for seed in (REFERENCE, *OTHERS[branch])}
        floor = [run.distance(many[one], many[two]) for one, two in itertools.combinations(many, 2)]
        tried = [run.distance(run.few(branch, TRIAL, "EDM", 8, ends), many[REFERENCE]) for ends in TRIED]
        best = TRIED[int(np.argmin(tried))]
        said = {"floor": floor, "tried_ends": TRIED, "edm_at_tried_ends": tried, "best_ends": best}
        said["of_range"] = run.rows(branch, many, GRIDS, STEPS, model.log_snr_range)
        said["at_best_ends"] = run.rows(branch, many, GRIDS[::4] + GRIDS[1:2], FEW, best)
        result[branch] = said
    return result | {"seconds": round(run.seconds)}, run.evaluations  # those of runs that were stopped too


class Digits:
    """The samplers of one network, and what has been drawn."""

    def __init__(self, model: TrainedDenoiser):
        self.model, self.evaluations, self.seconds = model, 0, 0.0
        self.folder = Path(tempfile.gettempdir()) / "time_grids" / model.digest
        self.folder.mkdir(parents=True, exist_ok=True)
        profiles = read("kit/digits_profiles")
        rows = [profiles["partitions"].index(f"{k}|others") for k in range(10)]
        self.log_snr = profiles["log_snr"]
        self.production = np.maximum(profiles["production"][rows].mean(axis=0), 0.0)
        self.rate = self._rate()

    def _rate(self) -> Array:
        """(snr / 2) E|x_0 - D|^2 of 300 training digits, told their class, noised to each level."""
        generator, digits, rate = torch.Generator().manual_seed(TRIAL), training_digits(), []
        chosen = torch.randperm(len(digits.labels), generator=generator)[:300]
        images, labels = digits.images[chosen], digits.labels[chosen]
        for level in self.log_snr:
            sigma = float(np.exp(-0.5 * level))
            noised = images + sigma * torch.randn(images.shape, generator=generator)
            missed = images - self.model(noised, torch.full((len(labels),), sigma), labels)
            rate.append(0.5 * np.exp(level) * float(missed.square().sum(dim=(1, 2, 3)).mean()))
        self.evaluations += 300 * len(rate)
        return np.array(rate)

    def many(self, branch: str, seed: int) -> torch.Tensor:
        return self._drawn(branch, seed, log_snr_levels(MANY, *self.model.log_snr_range), f"{branch}-{seed}-many")

    def few(self, branch: str, seed: int, name: str, count: int, ends: Ends) -> torch.Tensor:
        levels = grid(name, count, ends, self.log_snr, self.production, self.rate)
        return self._drawn(branch, seed, levels, f"{branch}-{seed}-{name}-{count}-{ends[0]:.3f}-{ends[1]:.3f}")

    def rows(
        self, branch: str, many: dict[int, torch.Tensor], names: Sequence[str], counts: Sequence[int], ends: Ends
    ) -> dict[str, dict[str, list[float]]]:
        """Of every grid and number of steps: each seed's distance, and how far samples lie from those of many steps."""
        rows = {}
        for name, count in itertools.product(names, counts):
            seeds = SEEDS[:2] if "entropy" in name else SEEDS
            sets = {seed: self.few(branch, seed, name, count, ends) for seed in seeds}
            gaps = [(sets[seed] - many[seed]).square().sum(dim=(1, 2, 3)).mean() for seed in OTHERS[branch]]
            distances = [self.distance(each, many[REFERENCE]) for each in sets.values()]
            rows[f"{name}, {count}"] = {"distance": distances, "from_own": [float(gap.sqrt()) for gap in gaps]}
        return rows

    def distance(self, one: torch.Tensor, other: torch.Tensor) -> float:
        return frechet_distance(classifier().features(one), classifier().features(other))

    def _drawn(self, branch: str, seed: int, levels: Array, kept: str) -> torch.Tensor:
        self.evaluations += SAMPLES * len(levels)
        path = self.folder / f"{kept.replace(' ', '_')}.npz"
        if not path.exists():
            labels, started = torch.arange(SAMPLES) % 10 if branch == "labelled" else None, time.perf_counter()
            images = deterministic(self.model, start(SAMPLES, self.model.shape, seed), labels, levels)
            np.savez(path, images=images.numpy(), seconds=time.perf_counter() - started)
        with np.load(path) as stored:
            self.seconds += float(stored["seconds"])
            return torch.from_numpy(stored["images"])


PARTS: Parts = {"mixtures": measured_mixtures, "digits": measured_digits}


if __name__ == "__main__":
    packages = ("torch", "diffusers", "numpy", "scipy", "scikit-learn")
    folder = FOLDER / "time_grids" / "results"
    sys.exit(run_parts("time_grids_results", __doc__, PARTS, folder, packages, rounded))
