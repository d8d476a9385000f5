"""Run every chapter cell by cell, and write into book/figures.json what each figure took.

    python -m tools.measure

Seconds and evaluations are those of the cell that draws the figure. An evaluation is one call of the denoiser on one
sample that an estimator made; the few that check a model first are not counted. Afterwards `python -m
tools.reproducibility` writes the page. What a figure shows, its seed and the results it reads are written by hand.
"""

import contextlib
import io
import json
import sys
import time
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

from companion.estimate import measure, paths, run
from tools import book
from tools.reproducibility import RECORD

__all__ = ["main"]

_evaluations = 0


def main() -> int:
    """Measure all chapters; 1 when a figure is new and still needs its line by hand."""
    matplotlib.use("Agg")
    _count_evaluations()
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    by_hand = {(figure["chapter"], figure["label"]): figure for figure in record["figures"]}
    record["figures"] = [
        {"chapter": page.source.stem, "label": label, "shows": "", "seed": None, "results": []}
        | by_hand.get((page.source.stem, label), {})
        | {"evaluations": evaluations or None, "seconds": round(seconds, 1)}
        for page in book.chapters()
        for label, evaluations, seconds in _figures_of(page)
    ]
    RECORD.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    new = [figure["label"] for figure in record["figures"] if not figure["shows"]]
    if new:
        print(f"say in {RECORD.name} what these show, their seeds and the results they read: {', '.join(new)}")
    return 1 if new else 0


def _figures_of(page: book.Page) -> list[tuple[str, int, float]]:
    """The figures of a chapter with the evaluations and seconds of their cells."""
    names: dict[str, Any] = {"__name__": "__main__"}
    found = []
    for cell in book.read_cells(page).cells:
        if cell.cell_type != "code":
            continue
        before, start = _evaluations, time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(cell.source, str(page.source), "exec"), names)
            for number in plt.get_fignums():
                plt.figure(number).canvas.draw()
        plt.close("all")
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            found.append((figure["name"], _evaluations - before, time.perf_counter() - start))
            print(*found[-1], file=sys.stderr)
    return found


def _count_evaluations() -> None:
    original = paths.predict

    def counted(model: Any, branches: Any, x: Any, sigma: float, out: Any = None) -> Any:
        global _evaluations
        _evaluations += len(branches) * len(x)
        return original(model, branches, x, sigma, out)

    paths.predict = counted
    for module in (measure, paths, run):
        module.check_model = lambda *_: None  # type: ignore[attr-defined]


if __name__ == "__main__":
    raise SystemExit(main())
