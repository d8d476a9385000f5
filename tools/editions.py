"""The two editions of a chapter: `notebooks/NAME.md`, which people edit, and `notebooks/NAME.ipynb`, written from it.

The second is what Colab opens and what the tests run: the same code cells without outputs, the prose as plain Markdown
and standard TeX. Writing it again gives the same bytes. The set-up cell of every chapter is written from one text.
"""

import hashlib
import json
import re
from typing import Any

import nbformat

from tools import book
from tools.prose import Prose

__all__ = ["edition", "setup_cell", "with_setup_cell", "write"]

_SETUP = re.compile(r"(```\{code-cell\}[^\n]*\n(?::tags: \[[^\]\n]*\bsetup\b[^\]\n]*\]\n))(.*?)(\n?```)", re.DOTALL)


def write() -> list[str]:
    """Brings every chapter up to date and returns the paths of the files that changed."""
    changed = []
    for page in book.chapters():
        for file, text in ((page.source, with_setup_cell(page)), (page.source.with_suffix(".ipynb"), None)):
            new = edition(page) if text is None else text
            if not file.exists() or file.read_text(encoding="utf-8") != new:
                file.write_text(new, encoding="utf-8")
                changed.append(str(file.relative_to(book.ROOT)))
    return changed


def setup_cell() -> str:
    """The first code cell of every chapter."""
    source = f"git+{book.address()}" if book.address() else ""
    return (book.ROOT / "tools" / "setup_cell.py.txt").read_text(encoding="utf-8").rstrip().replace("{address}", source)


def with_setup_cell(page: book.Page) -> str:
    """The text of a chapter with the set-up cell as it should be; ValueError if the chapter has none."""
    text, count = _SETUP.subn(lambda match: f"{match[1]}\n{setup_cell()}\n```", page.source.read_text("utf-8"), count=1)
    if not count:
        raise ValueError(f"{page.path} has no code cell with `:tags: [hide-cell, setup]`")
    return text


def edition(page: book.Page) -> str:
    """The Colab edition of a chapter, as the text of an .ipynb file."""
    prose = Prose(page)
    cells: list[Any] = []
    for cell in book.read_cells(page).cells:
        if cell.cell_type == "markdown":
            cells.append(("markdown", prose.markdown(cell.source), {}))
            continue
        cells.append(("code", cell.source, dict(cell.metadata)))
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if "caption" in figure:
            cells.append(
                ("markdown", prose.caption("figure", figure["caption"], book.labels()[figure["name"]].number), {})
            )
    cells.append(("markdown", prose.references(), {}))
    notebook = {
        "cells": [_cell(position, *cell) for position, cell in enumerate(cell for cell in cells if cell[1])],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    nbformat.validate(notebook)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _cell(position: int, kind: str, source: str, metadata: dict[str, Any]) -> dict[str, Any]:
    identity = hashlib.sha256(f"{position}\0{kind}\0{source}".encode()).hexdigest()[:12]
    cell = {"cell_type": kind, "id": identity, "metadata": metadata, "source": source.splitlines(keepends=True)}
    return cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []}
