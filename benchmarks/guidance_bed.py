"""Measures what rules of guidance draw from models with a known defect, for the chapter "When guidance helps".

    python benchmarks/guidance_bed.py line        classes on a line, ten defects

writes derivations/when_guidance_helps/results/line.json, with its origin: four minutes of one thread. Nothing is drawn
by chance but the samples on which one of the rules measures its weight. What the chapter claims of it is tested in
tests/derivations/when_guidance_helps/test_bed_results.py.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import rounded, run_parts
from companion.estimate.best_weight import best_weight
from companion.estimate.plan import Data
from derivations.kit.measured import FOLDER
from derivations.when_guidance_helps import rules
from derivations.when_guidance_helps.defects import LINE, Branch, defects

RULES = ("none", "constant", "window", "interval", "w*", "w* measured", "feedback")
SAMPLES, SEED = 2000, 0


def line() -> tuple[dict[str, Any], int]:
    """The divergences of every rule for every defect of the classes on a line."""
    window = rules.window(LINE)
    samples, labels = LINE.sample(SAMPLES, torch.Generator().manual_seed(SEED))
    data = Data(samples, labels.numpy())
    columns: dict[str, list[Any]] = {}
    asked = partial(rules.sampled, truth=LINE)
    for defect in defects(LINE):
        model = defect.model
        constant, windowed = (rules.search_weight(defect, *ends) for ends in ((), window))
        # All levels and the window are intervals too: where the grid misses what their searches found, those are taken.
        intervals = rules.search_interval(defect), constant, windowed
        missed = [asked(rules.by_interval(model, each), jumps=rules.jumps_of(each)) for each in intervals]
        interval = intervals[missed.index(min(missed))]
        exact, spread = rules.denoising(model, LINE, rules.LEVELS)
        measured = best_weight(model, data, rules.LEVELS, SEED)
        leak = rules.best_leak(defect)
        drawn: dict[str, tuple[Branch, tuple[float, ...]]] = {"none": (model, ())}
        for name, found in (("constant", constant), ("window", windowed), ("interval", interval)):
            drawn[name] = rules.by_interval(model, found), rules.jumps_of(found)
        drawn["w*"] = rules.by_level(model, rules.LEVELS, exact), ()
        drawn["w* measured"] = rules.by_level(model, rules.LEVELS, measured.weight), ()
        drawn["feedback"] = rules.by_feedback(defect, leak), ()
        row = {
            "defects": defect.name,
            "sampled": [asked(rule, jumps=jumps) for rule, jumps in drawn.values()],
            "along_paths": [rules.along_paths(rule, LINE, jumps) for rule, jumps in drawn.values()],
            "constant": constant.weight,
            "window_weight": windowed.weight,
            "interval": [interval.weight, interval.first, interval.last],
            "best_weight": exact,
            "spread": spread,
            "measured_weight": measured.weight,
            "measured_se": measured.weight_se,
            "leak": leak,
        }
        assert tuple(drawn) == RULES
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
        print(defect.name, *(f"{value:.5f}" for value in row["sampled"]), flush=True)
    told = {"rules": list(RULES), "log_snr": rules.LEVELS, "window": window, "samples": SAMPLES}
    return told | columns, 0


PARTS: dict[str, Callable[[], tuple[dict[str, Any], int]]] = {"line": line}
RESULTS = FOLDER / "when_guidance_helps" / "results"


def main(folder: Path = RESULTS) -> int:
    return run_parts("guidance_bed", __doc__ or "", PARTS, folder, ("torch", "numpy", "scipy"), rounded)


if __name__ == "__main__":
    sys.exit(main())
