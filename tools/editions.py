"""The two editions of a chapter: `notebooks/NAME.md`, which people edit, and `notebooks/NAME.ipynb`, written from it.

The second is what Colab opens and what the tests run: the same code cells without outputs, the prose as plain Markdown
and standard TeX. Writing it again gives the same bytes. Three things are written into the text itself: the set-up cell
of every chapter, from one file, how long the chapter takes, and every displayed equation that `derivations` has an
identity for. Pages that say what is counted in the chapters are written with them.
"""

import hashlib
import json
import re
import textwrap
from functools import cache, partial
from typing import Any

import nbformat

from derivations import identities
from tools import book, checked, codemeta, index, paper, reading
from tools.prose import Prose

__all__ = ["COUNTED", "edition", "setup_cell", "source", "with_equations", "write"]

_SETUP = re.compile(r"(```\{code-cell\}[^\n]*\n(?::tags: \[[^\]\n]*\bsetup\b[^\]\n]*\]\n))(.*?)(\n?```)", re.DOTALL)
_EQUATION = re.compile(r"^( *)\$\$((?:(?!\$\$).)+)\$\$ \(([\w-]+)\)$", re.DOTALL | re.MULTILINE)
# Pages that say what is counted in the chapters, each with what writes it.
COUNTED = (
    (checked.PAGE, checked.page_with_counts),
    (reading.PAGE, reading.with_minutes),
    (reading.FRONT, reading.with_sums),
    (codemeta.FILE, lambda _now: codemeta.written()),
    (paper.PAGE, paper.with_values),
    (index.PAGE, index.page_with_index),
)
_WRAP = partial(textwrap.wrap, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False)


def write() -> list[str]:
    """Brings every chapter up to date and returns the paths of the files that changed."""
    changed = []
    for page in book.chapters():
        for file, written in ((page.source, source), (page.source.with_suffix(".ipynb"), edition)):
            new = written(page)  # the second reads what the first has left
            if not file.exists() or file.read_text(encoding="utf-8") != new:
                file.write_text(new, encoding="utf-8")
                changed.append(str(file.relative_to(book.ROOT)))
    for file, counted in COUNTED:
        now = file.read_text(encoding="utf-8")
        if counted(now) != now:
            file.write_text(counted(now), encoding="utf-8")
            changed.append(str(file.relative_to(book.ROOT)))
    return changed


def setup_cell() -> str:
    """The first code cell of every chapter."""
    source = f"git+{book.address()}" if book.address() else ""
    return (book.ROOT / "tools" / "setup_cell.py.txt").read_text(encoding="utf-8").rstrip().replace("{address}", source)


def source(page: book.Page) -> str:
    """The text of a chapter as it should be; ValueError if it has no set-up cell."""
    now = page.source.read_text(encoding="utf-8")
    filled, count = _SETUP.subn(lambda match: f"{match[1]}\n{setup_cell()}\n```", now, count=1)
    if not count:
        raise ValueError(f"{page.path} has no code cell with `:tags: [hide-cell, setup]`")
    return with_equations(reading.with_times(filled, page), _tex_of_identities())


@cache
def _tex_of_identities() -> dict[str, str]:
    return {label: identity.tex for label, identity in identities().items()}


def with_equations(text: str, tex: dict[str, str]) -> str:
    r"""A text in which each displayed equation with one of these labels is the TeX given for it.

    >>> with_equations("$$ ? $$ (eq-a)\n\n$$ b = c $$ (eq-b)", {"eq-a": "a = b"})
    '$$\na = b\n$$ (eq-a)\n\n$$ b = c $$ (eq-b)'
    """

    def written(match: re.Match[str]) -> str:
        indent, _, label = match.groups()
        if label not in tex:
            return match[0]
        lines = ["$$", *_lines(tex[label], 116 - len(indent)), f"$$ ({label})"]
        return "\n".join(f"{indent}{line}" for line in lines)

    return _EQUATION.sub(written, text)


def _lines(tex: str, width: int) -> list[str]:
    """TeX in lines that end with an aligned row or at a space; a space after a backslash is a sign of its own."""
    rows = tex.replace("\\\\[4pt] &", "\\\\[4pt]\n&").replace("\\ ", "\\\0").splitlines()
    lines = [line for row in rows for line in _WRAP(row, width)]
    return [line.replace("\0", " ") for line in lines]


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
