"""Measures what rules of guidance draw from models with a known defect, for the chapter "When guidance helps".

    python benchmarks/guidance_bed.py             both worlds
    python benchmarks/guidance_bed.py line        classes on a line, ten defects: minutes on one thread
    python benchmarks/guidance_bed.py plane       classes in a plane, three of them

Each part writes derivations/when_guidance_helps/results/PART.json, with its origin. Nothing is drawn by chance but the
samples on which one of the rules measures its weight. What the chapter claims of it is tested in
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
from companion.exact.mixtures import GaussianMixture
from derivations.kit.measured import FOLDER
from derivations.when_guidance_helps import rules
from derivations.when_guidance_helps.defects import LINE, PLANE, Branch, Defect, defects

RULES = ("none", "constant", "window", "interval", "w*", "w* measured", "feedback")
SAMPLES, SEED = 2000, 0
IN_A_PLANE = ("leak of 20%", "weak at some noise", "pulled to the middle")


def bed(truth: GaussianMixture, chosen: list[Defect], nodes: int, searched: int) -> tuple[dict[str, Any], int]:
    """The divergences of every rule for every defect; `nodes` are those of the divergence, and of the search."""
    window = rules.window(truth)
    samples, labels = truth.sample(SAMPLES, torch.Generator().manual_seed(SEED))
    data = Data(samples, labels.numpy())
    columns: dict[str, list[Any]] = {}
    asked = partial(rules.sampled, truth=truth, nodes=nodes)
    for defect in chosen:
        model = defect.model
        constant, windowed = (rules.search_weight(defect, *ends, nodes=nodes) for ends in ((), window))
        # All levels and the window are intervals too: where the grid misses what their searches found, those are taken.
        intervals = rules.search_interval(defect, searched, nodes), constant, windowed
        missed = [asked(rules.by_interval(model, each), jumps=rules.jumps_of(each)) for each in intervals]
        interval = intervals[missed.index(min(missed))]
        exact, spread = rules.denoising(model, truth, rules.LEVELS, nodes)
        measured = best_weight(model, data, rules.LEVELS, SEED)
        leak = rules.best_leak(defect, nodes)
        drawn: dict[str, tuple[Branch, tuple[float, ...]]] = {"none": (model, ())}
        for name, found in (("constant", constant), ("window", windowed), ("interval", interval)):
            drawn[name] = rules.by_interval(model, found), rules.jumps_of(found)
        drawn["w*"] = rules.by_level(model, rules.LEVELS, exact), ()
        drawn["w* measured"] = rules.by_level(model, rules.LEVELS, measured.weight), ()
        drawn["feedback"] = rules.by_feedback(defect, leak), ()
        row = {
            "defects": defect.name,
            "sampled": [asked(rule, jumps=jumps) for rule, jumps in drawn.values()],
            "along_paths": [rules.along_paths(rule, truth, jumps, nodes) for rule, jumps in drawn.values()],
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
        print(
            defect.name, *(f"{name} {value:.5f}" for name, value in zip(RULES, row["sampled"], strict=True)), flush=True
        )
    told = {"rules": list(RULES), "log_snr": rules.LEVELS, "window": window, "samples": SAMPLES}
    return told | columns, 0


def line() -> tuple[dict[str, Any], int]:
    return bed(LINE, list(defects(LINE)), nodes=60, searched=20)


def plane() -> tuple[dict[str, Any], int]:
    return bed(PLANE, [each for each in defects(PLANE) if each.name in IN_A_PLANE], nodes=12, searched=7)


PARTS: dict[str, Callable[[], tuple[dict[str, Any], int]]] = {"line": line, "plane": plane}
RESULTS = FOLDER / "when_guidance_helps" / "results"


def main(folder: Path = RESULTS) -> int:
    return run_parts("guidance_bed", __doc__ or "", PARTS, folder, ("torch", "numpy", "scipy"), rounded)


if __name__ == "__main__":
    sys.exit(main())
