"""What the estimator costs beside its network: `python benchmarks/estimator_speed.py`.

Two ratios, each of minima over five interleaved runs of the shipped digits model, in processor seconds of its one
thread, which other work on the machine disturbs less than the clock's:

- 3|8, 300 samples, 128 levels, as a run that says nothing else, over its bare network evaluations: the same calls of
  the same model, the same batches, and nothing else. At most 1.05.
- separate runs for each of the 45 pairs and ten class-against-others profiles, over one run of all ten classes that
  gives all 55, with the same number of paths for each class on either side. At least 3. Cost is linear in paths and
  levels, so this is measured at few levels, and the separate runs of one pair and one class-against-others stand for
  their 45 and ten.

Prints both, writes benchmarks/results/estimator_speed.json, and ends with status 1 where a bound is not met.
"""

import itertools
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from companion import __version__
from companion.denoiser import Denoiser
from companion.entropy import partition
from companion.estimate.placement import default_levels
from companion.estimate.plan import BLOCK
from companion.estimate.run import LEVELS, profile, profiles
from companion.files import write_text
from companion.forward import noise_of
from companion.models.load import load

RESULTS = Path(__file__).parent / "results" / "estimator_speed.json"
RUNS = 5
SAMPLES = 300
MOST_OVERHEAD, LEAST_GAIN = 1.05, 3.0

# A pair's profile uses the paths of its two classes, a class-against-others those of all ten: one run with 30 paths a
# class gives 60 and 300 paths. Separate runs use as many.
PATHS_A_CLASS, FEW_LEVELS = 30, 6


def main() -> int:
    torch.set_num_threads(1)
    model = load("digits")
    levels, few = default_levels(model, LEVELS), default_levels(model, FEW_LEVELS)
    classes = range(len(model.classes))
    pair, against = partition(model, [3], [8]), partition(model, [3], "others")
    pairs = [partition(model, [i], [j]) for i, j in itertools.combinations(classes, 2)]
    everything = pairs + [partition(model, [k], "others") for k in classes]
    paths = PATHS_A_CLASS * len(model.classes)

    overhead = fastest(
        estimator=lambda: profile(model, pair, log_snr=levels, samples=SAMPLES),
        network=lambda: bare_evaluations(model, pair.branches, levels, SAMPLES),
    )
    gain = fastest(
        together=lambda: profiles(model, everything, log_snr=few, samples=paths),
        one_pair=lambda: profile(model, pair, log_snr=few, samples=2 * PATHS_A_CLASS),
        one_against_others=lambda: profile(model, against, log_snr=few, samples=paths),
    )
    separate = len(pairs) * gain["one_pair"] + len(classes) * gain["one_against_others"]
    result = {
        "estimator_over_network": overhead["estimator"] / overhead["network"],
        "separate_over_together": separate / gain["together"],
        "seconds": {**overhead, **gain},
        "model": model.digest,
        "processor": platform.machine(),
        "torch": torch.__version__,
        "companion": __version__,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    write_text(RESULTS, json.dumps(result, indent=1) + "\n")
    estimator, network = overhead["estimator"], overhead["network"]
    print(f"3|8, {SAMPLES} samples, {LEVELS} levels: {estimator:.2f} s, network alone {network:.2f} s")
    print(f"  ratio {result['estimator_over_network']:.3f}, at most {MOST_OVERHEAD}")
    print(f"55 profiles, {FEW_LEVELS} levels: together {gain['together']:.2f} s, separately {separate:.2f} s")
    print(f"  ratio {result['separate_over_together']:.2f}, at least {LEAST_GAIN}")
    met = result["estimator_over_network"] <= MOST_OVERHEAD and result["separate_over_together"] >= LEAST_GAIN
    return int(not met)


def fastest(**tasks: Callable[[], object]) -> dict[str, float]:
    """The shortest of RUNS times of each task, in processor seconds; tasks take turns, after one turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(RUNS + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            if turn > 0:
                times[name].append(time.process_time() - start)
    return {name: min(each) for name, each in times.items()}


def bare_evaluations(model: Denoiser, branches: tuple[int, ...], log_snr: torch.Tensor, samples: int) -> None:
    """The network calls of one profile: every branch on all samples, at the start and at each level."""
    clean = torch.zeros(samples, *model.shape)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for level in [log_snr[0], *log_snr]:
            sigma = float(noise_of(level))
            for start in range(0, samples, BLOCK):
                x = clean[start : start + BLOCK] + sigma * noise[start : start + BLOCK]
                for branch in branches:
                    model(x, torch.full((len(x),), sigma), torch.full((len(x),), branch))


if __name__ == "__main__":
    sys.exit(main())
