"""Measures when K equidistant classes are half decided under guidance, for the chapter on what guidance does.

    python benchmarks/guidance_results.py many_classes

writes derivations/guidance/results/many_classes.json, with its origin: three minutes on one thread. Three classes by an
equation, ten by paths. What the chapter claims of it is tested in tests/derivations/guidance/test_many_classes.py.
"""

import sys
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from benchmarks.harness import run_parts
from companion.arguments import Array
from companion.exact import equidistant
from derivations.guidance.half_levels import half_level
from derivations.guidance.many_classes import cross_entropy_of_paths, three_classes
from derivations.kit.measured import FOLDER

WEIGHTS, PATHS, STEPS = (2.0, 4.0, 7.0), 400_000, 60


def main() -> int:
    parts = {"many_classes": many_classes}
    run_parts("guidance_results", str(__doc__), parts, FOLDER / "guidance/results", ("torch", "numpy", "scipy"))
    return 0


def many_classes() -> tuple[dict[str, Any], int]:
    """Half levels in kappa for two, three and ten classes, with the standard error where paths were drawn."""
    draw = np.random.default_rng(0)
    two = [half_level(w) for w in WEIGHTS]
    three, ten, errors, ends = [], [], [], []
    for w in WEIGHTS:
        near = np.linspace(0.7, 1.3, 13) * _guess(3, w)
        three.append(crossing(near, three_classes(near, w), 0.5 * np.log(3.0)))
        levels = np.linspace(0.0, 1.2 * _guess(10, w), STEPS + 1)[1:]
        drawn = cross_entropy_of_paths(levels, w, 10, PATHS, draw)
        at = crossing(levels[STEPS // 2 :], drawn.cross_entropy[STEPS // 2 :], 0.5 * np.log(10.0))
        slope = float(np.interp(at, levels, np.gradient(drawn.cross_entropy, levels)))
        ten.append(at)
        errors.append(float(np.interp(at, levels, drawn.standard_error)) / -slope)
        # The same with half of the steps: what steps cost is a third of the difference.
        coarse = cross_entropy_of_paths(levels[1::2], w, 10, PATHS // 8, draw)
        fine = np.interp(levels[1::2], levels, drawn.cross_entropy)
        ends.append(float(np.max(np.abs(coarse.cross_entropy - fine))))
        print(f"w = {w:g}: {three[-1]:.6f} and {at:.5f} +- {errors[-1]:.5f}")
    result = {
        "paths": PATHS,
        "steps": STEPS,
        "weights": list(WEIGHTS),
        "two": two,
        "three": three,
        "ten": ten,
        "ten_se": errors,
        "halved_steps": ends,
        "unguided": [equidistant.half_kappa(lambda k, K=K: equidistant.entropy(k, K)) for K in (2, 3, 10)],
    }
    return result, len(WEIGHTS) * (PATHS * 2 * STEPS + PATHS // 8 * STEPS)


def crossing(kappa: Array, values: Array, height: float) -> float:
    """Where a falling curve crosses a height, by its cubic spline.

    >>> round(crossing(np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 3.0, 2.0, 1.0]), 2.5), 9)
    2.5
    """
    return float(CubicSpline(values[::-1], kappa[::-1])(height))


def _guess(classes: int, weight: float) -> float:
    return equidistant.half_kappa(lambda k: equidistant.entropy(k, classes)) / (2.0 * weight - 1.0)


if __name__ == "__main__":
    sys.exit(main())
