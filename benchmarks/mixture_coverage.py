"""Does the estimator hold on mixtures whose entropy is known? `python benchmarks/mixture_coverage.py [--seeds 40]`.

In each setting the estimate, at 256 levels and 1000 samples, must lie at every level within

    3 standard errors + 0.002 nats + the truncation it reports

of quadrature, for 95% of the seeds. The published rule is measured on the same seeds beside it. Prints a table, writes
benchmarks/results/mixture_coverage.json, and ends with status 1 where the default estimator does not hold. Takes about
twenty minutes on one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from companion import __version__
from companion.entropy import partition
from companion.estimate.plan import DEFAULT, PUBLISHED, Method
from companion.estimate.run import profile
from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.files import write_text
from companion.forward import edm_levels, linear, time_levels

RESULTS = Path(__file__).parent / "results" / "mixture_coverage.json"
LEVELS, SAMPLES, SEEDS = 256, 1000, 40
MARGIN = 0.002


@dataclass(frozen=True)
class Setting:
    """A mixture, the first side of a partition (against all other classes), its prior, and the noise levels."""

    name: str
    mixture: GaussianMixture
    first: tuple[int, ...] = (0,)
    prior: str = "balanced"
    levels: Callable[[int], np.ndarray] = edm_levels
    unequal: bool = False

    def truth(self, log_snr: np.ndarray) -> np.ndarray:
        return self.mixture.sides(partition(self.mixture, self.first, "others", self.prior)).entropy(log_snr)


def apart(distance: float, dimension: int) -> torch.Tensor:
    """Two means at a distance from each other."""
    means = torch.zeros(2, dimension, dtype=torch.float64)
    means[0, 0], means[1, 0] = -0.5 * distance, 0.5 * distance
    return means


def uniform_in_time(count: int) -> np.ndarray:
    return time_levels(linear(), count, 1.0, 1e-3)


THREE = isotropic_mixture([[-2.0], [0.0], [3.0]], 1.0)
SETTINGS = (
    Setting("|dmu|/s = 4", isotropic_mixture(apart(4.0, 1), 1.0)),
    Setting("|dmu|/s = 16", isotropic_mixture(apart(4.0, 1), 0.25)),
    Setting("s = 1, |dmu| = 16, from sigma 80", isotropic_mixture(apart(16.0, 1), 1.0)),
    Setting("0.5 and 0.7, d = 16, 1 apart", isotropic_mixture(apart(1.0, 16), [0.5, 0.7]), unequal=True),
    Setting("0.5 and 0.7, d = 16, same mean", isotropic_mixture(apart(0.0, 16), [0.5, 0.7]), unequal=True),
    Setting("0.5 and 1, d = 1, 1 apart", isotropic_mixture(apart(1.0, 1), [0.5, 1.0]), unequal=True),
    Setting("0.5 and 1, d = 1, same mean", isotropic_mixture(apart(0.0, 1), [0.5, 1.0]), unequal=True),
    Setting("three classes, outer|others", THREE, prior="true"),
    Setting("three classes, middle|others", THREE, first=(1,), prior="true"),
    Setting("weights 0.8 and 0.2", isotropic_mixture(apart(4.0, 1), 1.0, [0.8, 0.2]), prior="true"),
    Setting("variance preserving, |dmu|/s = 4", isotropic_mixture(apart(4.0, 1), 1.0), levels=uniform_in_time),
)


def covered(
    setting: Setting, method: Method, levels: int, samples: int, seeds: int, first_seed: int = 0
) -> dict[str, float]:
    """How far the estimate is from the truth over `seeds` seeds: all errors in nats, at the worst level."""
    log_snr = setting.levels(levels)
    truth = setting.truth(log_snr)
    chosen = partition(setting.mixture, setting.first, "others", setting.prior)
    errors, inside, start = [], [], time.perf_counter()
    for seed in range(first_seed, first_seed + seeds):
        found = profile(
            setting.mixture, chosen, log_snr=log_snr, samples=samples, seed=seed, method=method, block=samples
        )
        errors.append(found.entropy - truth)
        inside.append(np.all(np.abs(errors[-1]) <= 3.0 * found.entropy_se + MARGIN + found.truncation))
    bias, spread = np.mean(errors, axis=0), np.std(errors, axis=0)
    worst = int(np.argmax(np.abs(bias)))
    return {
        "inside": int(np.sum(inside)),
        "seeds": seeds,
        "bias": float(bias[worst]),
        "bias_se": float(spread[worst] / np.sqrt(seeds)),
        "bias_at_log_snr": float(log_snr[worst]),
        "mean_worst_error": float(np.mean(np.max(np.abs(errors), axis=1))),
        "largest_deviation": float(spread.max()),
        "seconds": time.perf_counter() - start,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds a setting; fewer is a trial, not written")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)

    failures = []
    table: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{LEVELS} levels, {SAMPLES} samples: seeds inside, bias at its worst level, mean worst error (nats)")
    for setting in SETTINGS:
        row = {method.name: covered(setting, method, LEVELS, SAMPLES, seeds) for method in (PUBLISHED, DEFAULT)}
        table[setting.name] = row
        print(line(setting.name, row), flush=True)
        if row["default"]["inside"] < 0.95 * seeds:
            failures.append(f"{setting.name}: fewer than 95% of the seeds inside")
        if setting.unequal and abs(row["default"]["bias"]) > abs(row["published"]["bias"]):
            failures.append(f"{setting.name}: worse than the published rule")

    print("64 levels, 300 samples")
    few = {m.name: covered(SETTINGS[1], m, 64, 300, min(seeds, 20)) for m in (PUBLISHED, DEFAULT)}
    print(line(SETTINGS[1].name, few), flush=True)
    if few["default"]["mean_worst_error"] > 0.010:
        failures.append("64 levels, 300 samples: the worst error averages more than 0.010")

    print("\n".join(failures) or "the default estimator holds everywhere")
    if seeds == SEEDS:
        RESULTS.parent.mkdir(exist_ok=True)
        result = {"companion": __version__, "torch": torch.__version__, "levels": LEVELS, "samples": SAMPLES}
        write_text(
            RESULTS, json.dumps({**result, "settings": table, "few": few, "failures": failures}, indent=1) + "\n"
        )
    return int(bool(failures))


def line(name: str, row: dict[str, dict[str, float]]) -> str:
    parts = [
        f"{method} {found['inside']:2.0f}/{found['seeds']:.0f} {found['bias']:+.4f}±{found['bias_se']:.4f} "
        f"{found['mean_worst_error']:.4f} ({found['seconds']:.0f} s)"
        for method, found in row.items()
    ]
    return f"{name:34s}" + "   ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
