"""Write the two tables of the reproducibility page from book/figures.json.

    python tools/reproducibility.py                    the tables of the page, again, from the record
    python tools/reproducibility.py --seconds FILE     first take each chapter's seconds from FILE (JSON: name -> s)

The record holds what cannot be read off a page: for each chapter its measured seconds, and for each figure

    chapter      the file in notebooks/, without its ending
    label        the label of the figure in that chapter
    shows        what one sees, in a few words
    seed         the seed of its random numbers, or null where there are none
    evaluations  calls of the denoiser on one sample, or null where there is no denoiser
    seconds      what computing it took, on `device`
    device       where, or null for the two cores of the book's build
    command      what writes the shipped result, or null where the chapter itself computes everything
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["main", "page_with_tables"]

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "book" / "figures.json"
PAGE = ROOT / "book" / "reproducibility.md"
FIELDS = {"chapter", "label", "shows", "seed", "evaluations", "seconds", "device", "command"}


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the page, and the record if seconds are given; 1 with one line when the input does not fit."""
    parser = argparse.ArgumentParser(description="Write the tables of book/reproducibility.md from book/figures.json.")
    parser.add_argument("--seconds", type=Path, help="JSON file: chapter name -> measured seconds")
    options = parser.parse_args(arguments)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    try:
        if options.seconds:
            record["seconds"] = _with_seconds(record, json.loads(options.seconds.read_text(encoding="utf-8")))
            RECORD.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        page = page_with_tables(PAGE.read_text(encoding="utf-8"), record)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


def page_with_tables(page: str, record: dict[str, Any]) -> str:
    """The page with both tables made new; ValueError if a figure lacks a field or the page lacks a marker."""
    page = _between(page, "chapters", _chapter_table(record))
    return _between(page, "figures", _figure_table(record))


def _with_seconds(record: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    unknown = set(measured) - set(record["seconds"])
    if unknown:
        raise ValueError(f"seconds for {sorted(unknown)}, expected chapters of the record: {sorted(record['seconds'])}")
    seconds: dict[str, Any] = record["seconds"]
    return seconds | {name: round(float(value), 1) for name, value in measured.items()}


def _chapter_table(record: dict[str, Any]) -> list[str]:
    rows = [
        f"| {{doc}}`/notebooks/{name}` | {'not measured' if seconds is None else format(seconds, '.0f')} |"
        for name, seconds in record["seconds"].items()
    ]
    return [f"Measured on {record['measured']}: {record['device']}.", "", "| Chapter | Seconds |", "|---|---:|", *rows]


def _figure_table(record: dict[str, Any]) -> list[str]:
    if not record["figures"]:
        return ["No figure is recorded yet."]
    head = ["| Figure | Shows | Seed | Evaluations | Seconds | Computed |", "|---|---|---:|---:|---:|---|"]
    return head + [_figure_row(figure, record) for figure in record["figures"]]


def _figure_row(figure: dict[str, Any], record: dict[str, Any]) -> str:
    if set(figure) != FIELDS:
        raise ValueError(f"figure {figure.get('label')}: fields {sorted(figure)}, expected {sorted(FIELDS)}")
    if figure["chapter"] not in record["seconds"]:
        raise ValueError(f"figure {figure['label']}: chapter {figure['chapter']}, expected {sorted(record['seconds'])}")
    cells = [
        f"{{numref}}`{figure['label']}`",
        figure["shows"],
        "none" if figure["seed"] is None else str(figure["seed"]),
        "none" if figure["evaluations"] is None else format(figure["evaluations"], ","),
        format(figure["seconds"], ".1f"),
        (f"`{figure['command']}`" if figure["command"] else "in the chapter")
        + (f", on {figure['device']}" if figure["device"] else ""),
    ]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _between(page: str, name: str, lines: list[str]) -> str:
    first, last = f"% {name}: written by tools/reproducibility.py", f"% end of {name}"
    if page.count(first) != 1 or page.count(last) != 1:
        raise ValueError(f"{PAGE.name} lacks its marker lines '{first}' and '{last}'")
    before, rest = page.split(first)
    after = rest.split(last)[1]
    return before + "\n".join([first, "", *lines, "", last]) + after


if __name__ == "__main__":
    raise SystemExit(main())
