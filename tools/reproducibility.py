"""Write the tables of the pages "Reproducibility" and "Which models" from book/figures.json and the shipped results.

    python -m tools.reproducibility                    the tables of the page, again
    python -m tools.reproducibility --seconds FILE     first take each chapter's seconds from FILE (JSON: name -> s)

The record holds what cannot be read off a page: for each chapter its measured seconds, and for each figure

    chapter      the file in notebooks/, without its ending
    label        the label of the figure in that chapter
    shows        what one sees, in a few words
    seed         the seed of its random numbers, in words where there are several, or null where there are none
    evaluations  calls of the denoiser on one sample while the chapter runs, or null where there are none
    seconds      what the cell that draws it takes
    results      the shipped results it reads, by their names, as `derivations.kit.measured.read` takes them
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from derivations.kit.measured import files
from tools.book import ROOT, chapters
from tools.tables import between, row

__all__ = ["MODELS", "PAGE", "RECORD", "main", "page_with_models", "page_with_tables", "shipped"]

RECORD = ROOT / "book" / "figures.json"
PAGE = ROOT / "book" / "reproducibility.md"
MODELS = ROOT / "book" / "models.md"
FIELDS = {"chapter", "label", "shows", "seed", "evaluations", "seconds", "results"}


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the page, and the record if seconds are given; 1 with one line when the input does not fit."""
    parser = argparse.ArgumentParser(description="Write the tables of book/reproducibility.md.")
    parser.add_argument("--seconds", type=Path, help="JSON file: chapter name -> measured seconds")
    options = parser.parse_args(arguments)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    try:
        if options.seconds:
            record["seconds"] = _with_seconds(record, json.loads(options.seconds.read_text(encoding="utf-8")))
            RECORD.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        page = page_with_tables(PAGE.read_text(encoding="utf-8"), record, shipped())
        models = page_with_models(MODELS.read_text(encoding="utf-8"), shipped()["bring_your_own_model/adapters"])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    MODELS.write_text(models, encoding="utf-8")
    return 0


def shipped() -> dict[str, dict[str, Any]]:
    """Every shipped result by its name."""
    return {name: json.loads(path.read_text("utf-8")) for name, path in files().items()}


def page_with_tables(page: str, record: dict[str, Any], results: dict[str, dict[str, Any]]) -> str:
    """The page with its tables made new; ValueError if a figure does not fit or the page lacks a marker."""
    page = between(page, "chapters", "reproducibility", _chapter_table(record))
    page = between(page, "figures", "reproducibility", _figure_table(record, set(results)))
    return between(page, "results", "reproducibility", _result_table(results))


def page_with_models(page: str, tried: dict[str, Any]) -> str:
    """The page of models with the table of what was tried made new; ValueError if the page lacks a marker."""
    rows = [
        [
            each["model"],
            each["prediction"].replace("_", " "),
            each["schedule"],
            f"{each['difference']:.0e}",
            f"{each['label_moves']:.2g}",
            "not tried" if each["bfloat16"] is None else f"{each['bfloat16']:.1%}",
            "yes" if each["starts_from_noise"] else "no",
        ]
        for each in tried["rows"]
    ]
    head = [
        "| Model | Predicts | Schedule | Largest difference | Labels | bfloat16 | Asked at snr 0 |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    return between(page, "adapters", "reproducibility", head + [row(*cells) for cells in rows])


def _with_seconds(record: dict[str, Any], measured: dict[str, float]) -> dict[str, float | None]:
    names = [page.source.stem for page in chapters()]
    if unknown := set(measured) - set(names):
        raise ValueError(f"seconds for {sorted(unknown)}, expected chapters of the book: {names}")
    seconds = record["seconds"] | {name: round(float(value), 1) for name, value in measured.items()}
    return {name: seconds.get(name) for name in names}


def _chapter_table(record: dict[str, Any]) -> list[str]:
    rows = [
        [f"{{doc}}`/notebooks/{name}`", "not measured" if seconds is None else format(seconds, ".0f")]
        for name, seconds in record["seconds"].items()
    ]
    first = f"Measured on {record['measured']}: {record['device']}."
    return [first, "", "| Chapter | Seconds |", "|---|---:|", *(row(*cells) for cells in rows)]


def _figure_table(record: dict[str, Any], results: set[str]) -> list[str]:
    head = ["| Figure | Shows | Seed | Evaluations | Seconds | Reads |", "|---|---|---:|---:|---:|---|"]
    return head + [_figure_row(figure, set(record["seconds"]), results) for figure in record["figures"]]


def _figure_row(figure: dict[str, Any], chapters: set[str], results: set[str]) -> str:
    if set(figure) != FIELDS:
        raise ValueError(f"figure {figure.get('label')}: fields {sorted(figure)}, expected {sorted(FIELDS)}")
    if figure["chapter"] not in chapters:
        raise ValueError(f"figure {figure['label']}: chapter {figure['chapter']}, expected {sorted(chapters)}")
    if not set(figure["results"]) <= results:
        raise ValueError(f"figure {figure['label']}: results {figure['results']}, expected some of {sorted(results)}")
    return row(
        f"{{numref}}`{figure['label']}`",
        figure["shows"],
        "none" if figure["seed"] is None else str(figure["seed"]),
        _count(figure["evaluations"]),
        format(figure["seconds"], ".1f"),
        ", ".join(f"`{name}`" for name in figure["results"]) or "nothing",
    )


def _result_table(results: dict[str, dict[str, Any]]) -> list[str]:
    rows = [
        [
            f"`{name}`",
            f"`{result['command']}`",
            _count(result["seed"]),
            _count(result["evaluations"]),
            format(result["seconds"], ".0f"),
            result["device"],
        ]
        for name, result in results.items()
    ]
    head = ["| Result | Written by | Seed | Evaluations | Seconds | Device |", "|---|---|---:|---:|---:|---|"]
    return head + [row(*cells) for cells in rows]


def _count(value: int | None) -> str:
    return "none" if value is None else format(value, ",")


if __name__ == "__main__":
    raise SystemExit(main())
