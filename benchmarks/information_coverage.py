"""Do the error bars of the mutual information hold the truth? `python benchmarks/information_coverage.py [K ...]`.

Mixtures of K Gaussian classes of width 1 whose information is known: the corners of a simplex, one integral, or for
K = 200 those of a product of simplexes of 2, 10 and 10 corners, a sum of three. At every level where
0.1 < I < 0.95 log K the 95% interval of each run is held against that truth, and the share of seeds whose interval
holds it is counted. Writes benchmarks/results/information_coverage.json as it goes, goes on from there, and ends with
status 1 where the share, averaged over the levels, is not between 93 and 97 in 100. About two hours and a half on one
idle thread, nearly all of it K = 200.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from companion import FunctionDenoiser, __version__, mutual_information
from companion.exact import equidistant
from companion.exact.mixtures import isotropic_mixture
from companion.files import write_text

RESULTS = Path(__file__).parent / "results" / "information_coverage.json"
EVERY = 20
# K: corners and squared distances of the simplexes, paths, levels, seeds
SETTINGS: dict[int, tuple[list[tuple[int, float]], int, int, int]] = {
    2: ([(2, 16.0)], 100, 128, 2000),
    10: ([(10, 20.0)], 60, 64, 2000),
    200: ([(2, 16.0), (10, 20.0), (10, 20.0)], 400, 128, 300),
}


def law(factors: list[tuple[int, float]]) -> FunctionDenoiser:
    """The mixture, without its null branch, which the bounded route does not need."""
    corners = [np.sqrt(0.5 * kappa) * np.eye(count) for count, kappa in factors]
    choices = np.stack(np.meshgrid(*(range(count) for count, _ in factors), indexing="ij"), axis=-1)
    means = np.concatenate(
        [each[k] for each, k in zip(corners, choices.reshape(-1, len(factors)).T, strict=True)], axis=1
    )
    mixture = isotropic_mixture(means, 1.0)
    return FunctionDenoiser(mixture, mixture.shape, mixture.classes, dtype=torch.float64, log_snr_range=(-10.0, 10.0))


def truth(factors: list[tuple[int, float]], log_snr: np.ndarray) -> np.ndarray:
    """I at each level, in nats."""
    snr = np.exp(log_snr)
    return sum(np.log(k) - equidistant.entropy(kappa * snr / (1.0 + snr), k) for k, kappa in factors)


def main() -> int:
    torch.set_num_threads(1)
    table: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for count in map(int, sys.argv[1:] or SETTINGS):
        factors, samples, levels, seeds = SETTINGS[count]
        model = law(factors)
        row = table.setdefault(str(count), {"seeds": 0, "samples": samples})
        log_snr = row.setdefault("log_snr", mutual_information(model, samples=samples, levels=levels).log_snr.tolist())
        known = truth(factors, np.array(log_snr))
        chosen = np.flatnonzero((known > 0.1) & (known < 0.95 * np.log(count)))
        sums = {name: np.array(row.get(name, 0.0)) for name in ("inside", "error", "square", "variance")}
        for seed in range(row["seeds"], seeds):
            course = mutual_information(model, log_snr=log_snr, samples=samples, seed=seed + 1, block=samples).of_model
            error = (course.nats - known)[chosen]
            inside = (course.lower <= known) & (known <= course.upper)
            for name, each in zip(sums, (inside[chosen], error, error**2, course.nats_se[chosen] ** 2), strict=True):
                sums[name] = sums[name] + each
            if (seed + 1) % EVERY == 0:
                done = seed + 1
                shares = sums["inside"] / done
                row |= {name: each.tolist() for name, each in sums.items()}
                row |= {"seeds": done, "truth": known[chosen].tolist(), "mean_share": float(shares.mean())}
                row |= {"least_share": float(shares.min()), "largest_share": float(shares.max())}
                row["bias"] = (sums["error"] / done).tolist()
                row["deviation_over_se"] = np.sqrt(sums["square"] / sums["variance"]).tolist()
                origin = {"companion": __version__, "torch": torch.__version__}
                write_text(RESULTS, json.dumps(origin | table, indent=1) + "\n")
        print(f"K = {count}: {row['seeds']} seeds, share inside {row['mean_share']:.3f}", flush=True)
    return int(any(not 0.93 < row["mean_share"] < 0.97 for row in table.values() if isinstance(row, dict)))


if __name__ == "__main__":
    sys.exit(main())
