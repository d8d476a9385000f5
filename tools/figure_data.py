"""Sphinx extension: under every figure that a chapter draws, a link to its numbers, as JSON with its SHA-256.

No chapter has a line for it. `tools.build` runs the chapters with `tools.drawn` in their kernels, `write` lays what
that sent into `_build/data`, a file a figure, and the pages are built with them. A picture that a reader moves has its
line if it reads numbers from a file; the others compute theirs on the page.
"""

import hashlib
import json
import posixpath
import shutil
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

import companion
from tools import book
from tools.drawn import MIME

__all__ = ["FOLDER", "SUMS", "drawn", "hook", "link", "listed", "setup", "write"]

FOLDER = book.ROOT / "_build" / "data"
_WIDGETS = book.ROOT / "book" / "widgets"
SUMS = "SHA256SUMS"  # as `sha256sum -c` reads it
_PLACE = "data"  # beside the pages

_HOOK = """
import sys

sys.path.append({root!r})
get_config().InteractiveShellApp.extensions = ["tools.drawn"]
"""


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("figure_data", {}, "html", [dict])
    app.connect("config-inited", _settle)
    app.connect("doctree-resolved", _add_links)
    app.connect("build-finished", _copy)
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


def hook(folder: Path) -> str:
    """A value of IPYTHONDIR under which kernels say the numbers of their figures; their profile goes into `folder`."""
    profile = folder / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_kernel_config.py").write_text(_HOOK.format(root=str(book.ROOT)), encoding="utf-8")
    return str(folder)


def write(page: book.Page, notebook: Any) -> None:
    """The numbers of every captioned figure of an executed chapter, a file each; they are taken out of the notebook.

    ValueError if a cell with a caption shows not one figure.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    for cell in notebook.cells:
        sent = [output.data.pop(MIME) for output in cell.get("outputs", []) if MIME in output.get("data", {})]
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if "caption" not in figure:
            continue
        if len(sent) != 1:
            raise ValueError(f"{page.path}: {figure['name']} has {len(sent)} figures, expected one with its numbers")
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        told = {
            "figure": figure["name"],
            "caption": " ".join(figure["caption"].split()),
            "shows": " ".join(alt.split()),
            "from": f"{book.title()} Version {companion.__version__}, {page.path}.html#{figure['name']}",
            **sent[0],
        }
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":")).replace('{"kind":', '\n{"kind":')
        (FOLDER / f"{figure['name']}.json").write_text(f"{text}\n", encoding="utf-8")


def drawn(page: book.Page) -> list[str]:
    """The label of every captioned figure that a page draws.

    >>> drawn(book.chapters()[0])[0]
    'fig-two-points'
    """
    figures = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in book.read_cells(page).cells]
    return [figure["name"] for figure in figures if "caption" in figure]


def listed() -> dict[str, tuple[int, str]]:
    """Each file of numbers by the anchor of its picture: its bytes and its SHA-256."""
    contents = {anchor: file.read_bytes() for anchor, file in _files().items()}
    return {anchor: (len(content), hashlib.sha256(content).hexdigest()) for anchor, content in contents.items()}


def _files() -> dict[str, Path]:
    figures = {file.stem: file for file in sorted(FOLDER.glob("*.json"))}
    return figures | {book.widget_anchor(file.stem): file for file in sorted(_WIDGETS.glob("*.json"))}


def link(page: str, label: str, size: int, digest: str) -> str:
    """The line under a figure: its file, how large it is, and how its digest begins; all of them are in one list.

    >>> link("a/b", "fig-c", 12345, "0123456789abcdef")  # doctest: +ELLIPSIS
    '<p class="figure-data">Data: <a href="../data/fig-c.json" ...>fig-c.json</a>, 12 kB, ...0123456789ab</code></p>'
    """
    folder = posixpath.relpath(_PLACE, posixpath.dirname(page) or ".")
    name = f"{escape(label)}.json"
    return (
        f'<p class="figure-data">Data: <a href="{folder}/{name}" type="application/json">{name}</a>, '
        f'{max(1, round(size / 1000))} kB, <a href="{folder}/{SUMS}">SHA-256</a> '
        f'<code title="{digest}">{digest[:12]}</code></p>'
    )


def _settle(_app: Sphinx, config: Config) -> None:
    """Sizes and digests as a setting: Sphinx writes the pages again when one changes."""
    config.figure_data = listed()


def _add_links(app: Sphinx, doctree: Any, docname: str) -> None:
    if app.builder.name != "html":
        return
    for picture in [*doctree.findall(nodes.figure), *doctree.findall(nodes.container)]:
        for anchor in [each for each in picture["ids"] if each in app.config.figure_data]:
            line = nodes.raw("", link(docname, anchor, *app.config.figure_data[anchor]), format="html")
            picture += nodes.legend("", line) if isinstance(picture, nodes.figure) else line


def _copy(app: Sphinx, failure: Exception | None) -> None:
    if failure or app.builder.name != "html" or not app.config.figure_data:
        return
    place = Path(app.outdir) / _PLACE
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for anchor, file in _files().items():
        shutil.copy(file, place / f"{anchor}.json")
    sums = [f"{digest}  {label}.json" for label, (_, digest) in app.config.figure_data.items()]
    (place / SUMS).write_text("\n".join(sums) + "\n", encoding="utf-8")
