"""Sphinx extension: an address that a page once had still answers there, with a link to where its content is now.

`book/moved.json` holds them: page, then the anchor it had, then the label that stands for the content wherever it is.
The links stand at the end of the old page, in plain HTML: they need neither a script nor a network.
`book/addresses.json` is the record of every anchor that a page ever had; `make editions` adds to it and takes none out.
A page that is gone, and each short address, is a line of `book/redirects.txt`, which sphinxext-rediraffe reads.
"""

import json
import posixpath
from html import escape
from itertools import groupby
from typing import Any

from docutils.nodes import make_id
from sphinx.application import Sphinx

import companion
from tools import book

__all__ = ["RECORD", "REDIRECTS", "addresses", "moved", "record", "redirects", "setup"]

RECORD = book.ROOT / "book" / "addresses.json"
REDIRECTS = book.ROOT / "book" / "redirects.txt"


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("html-page-context", _add_links)
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


def moved() -> dict[str, dict[str, str]]:
    """For each page the anchors that it has lost, each with the label of its content."""
    record: dict[str, dict[str, str]] = json.loads((book.ROOT / "book" / "moved.json").read_text(encoding="utf-8"))
    return record


def redirects() -> dict[str, str]:
    """For each address that is no page the page that it leads to."""
    lines = (line.split() for line in REDIRECTS.read_text(encoding="utf-8").splitlines())
    return {line[0]: line[1] for line in lines if line and not line[0].startswith("#")}


def addresses() -> dict[str, list[str]]:
    """For each page every anchor that it has, or once had, as a label or as a section."""
    known: dict[str, list[str]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return known


def record() -> str:
    """What stands in the record, and after it what is new."""
    known = {page.path: dict[str, None]() for page in book.pages()}
    known |= {path: dict.fromkeys(anchors) for path, anchors in addresses().items()}
    for name, label in book.labels().items():
        known[label.page][_anchor(name)] = None
    lines = [f" {json.dumps(page)}: {json.dumps(list(anchors))}" for page, anchors in known.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def links(page: str, anchors: dict[str, str]) -> str:
    """The end of a page: for each label its old anchors there, and a link to the place that has it now."""
    lines = []
    for label, old in groupby(anchors, key=anchors.__getitem__):
        now = book.labels()[label]
        target = f"{posixpath.relpath(now.page, posixpath.dirname(page))}.html#{_anchor(label)}"
        name = f"{now.kind.capitalize()} {now.number}".strip()
        told = f"{name}: {now.title}" if now.kind not in ("equation", "figure") else name
        spans = "".join(f'<span id="{escape(each)}"></span>' for each in old)
        lines.append(f'<li>{spans}<a href="{escape(target)}">{escape(told)}</a></li>')
    return f'<section class="moved" id="moved"><h2>Moved</h2><ul>{"".join(lines)}</ul></section>'


def _anchor(label: str) -> str:
    return f"equation-{make_id(label)}" if book.labels()[label].kind == "equation" else make_id(label)


def _add_links(_app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    if anchors := moved().get(page):
        context["body"] += links(page, anchors)
