"""The book as its sources tell it: settings, pages in reading order, and the number of every label.

Numbers are those that Sphinx gives (`numfig_secnum_depth: 1`): equations, theorems, exercises, figures and tables are
each counted within their chapter, in reading order. Nothing is executed for them, and the page checks compare them with
the pages.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import yaml

from tools.blocks import Block, Code, Directive, Equation, Target, Text, inside, parse

__all__ = [
    *("ROOT", "Label", "Page", "address", "branch", "chapters", "home", "labels", "macros", "pages", "parts"),
    *("read_cells", "title", "widget_anchor", "year"),
]

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Page:
    """A page: its path without suffix, its chapter number if it has one, and its title."""

    path: str
    chapter: int | None
    title: str

    @property
    def source(self) -> Path:
        return ROOT / f"{self.path}.md"


@dataclass(frozen=True)
class Label:
    """What a label stands for: page, kind (equation, theorem, exercise, figure, table, section ...), number, title."""

    page: str
    kind: str
    number: str
    title: str = ""


@cache
def _config() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return loaded


def title() -> str:
    """The title of the book."""
    return str(_config()["title"])


def year() -> str:
    """The year of the book's copyright."""
    return str(_config()["copyright"])


def home() -> str:
    """The address under which the built pages are read, with a slash at its end; empty while there is none."""
    url = str(_config()["html"]["baseurl"])
    return f"{url.rstrip('/')}/" if url else ""


def address() -> str:
    """The address of the published repository; empty while it is not published."""
    return str(_config()["repository"]["url"])


def branch() -> str:
    """The branch that readers are led to."""
    return str(_config()["repository"]["branch"])


def widget_anchor(name: str) -> str:
    """The anchor of a widget on its page.

    >>> widget_anchor("two_classes")
    'widget-two-classes'
    """
    return f"widget-{name.replace('_', '-')}"


def macros() -> dict[str, tuple[str, int]]:
    """Every TeX macro of the book: name, replacement and number of arguments."""
    listed = _config()["sphinx"]["config"]["mathjax3_config"]["tex"]["macros"]
    return {name: (body, 0) if isinstance(body, str) else (body[0], body[1]) for name, body in listed.items()}


@cache
def pages() -> tuple[Page, ...]:
    """Every page of `_toc.yml` in reading order; chapters of numbered parts are counted through."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    found = [_page(toc["root"], None)]
    chapter = 0
    for part in toc["parts"]:
        for entry in part["chapters"]:
            chapter += bool(part.get("numbered"))
            found.append(_page(entry["file"], chapter if part.get("numbered") else None))
    return tuple(found)


def parts() -> dict[str, list[Page]]:
    """The pages of each part, by its caption; the front page stands before all parts."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    by_path = {page.path: page for page in pages()}
    return {part["caption"]: [by_path[entry["file"]] for entry in part["chapters"]] for part in toc["parts"]}


def chapters() -> tuple[Page, ...]:
    """The pages that run."""
    return tuple(page for page in pages() if page.path.startswith("notebooks/"))


def read_cells(page: Page) -> Any:
    """A page as a notebook: Markdown cells and code cells with their metadata."""
    return _cells_of(page.source.read_text(encoding="utf-8"))


@cache
def _cells_of(text: str) -> Any:
    return jupytext.reads(text, fmt="md:myst")


@cache
def labels() -> dict[str, Label]:
    """Every label of the book; raises ValueError for a label used twice."""
    found: dict[str, Label] = {}
    counts: dict[tuple[str, int | None], int] = {}

    def count(page: Page, kind: str) -> str:
        counts[kind, page.chapter] = counts.get((kind, page.chapter), 0) + 1
        number = str(counts[kind, page.chapter])
        return number if page.chapter is None else f"{page.chapter}.{number}"

    for page in pages():
        for name, label in _labels_of(page, count):
            if name in found:
                raise ValueError(f"{page.path}: the label {name} is used twice")
            found[name] = label
    return found


def _page(path: str, chapter: int | None) -> Page:
    text = (ROOT / f"{path}.md").read_text(encoding="utf-8")
    heading = re.search(r"^# +(.+?)\s*$", text, re.MULTILINE)
    if heading is None:
        raise ValueError(f"{path} has no title")
    return Page(path, chapter, heading[1])


def _labels_of(page: Page, count: Any) -> list[tuple[str, Label]]:
    found = []
    pending: list[str] = []  # targets that stand above what they name
    for block in _blocks_of(page):
        kind, name, block_title = _numbered(block)
        number = count(page, kind) if kind else ""
        if name:
            found.append((name, Label(page.path, kind, number, block_title)))
        if isinstance(block, Target):
            pending.append(block.label)
            continue
        heading = re.match(r"#+ +(.+?)\s*(\n|$)", block.text) if isinstance(block, Text) else None
        for target in pending:
            if heading:
                found.append((target, Label(page.path, "section", "", heading[1])))
            else:
                found.append((target, Label(page.path, kind or "place", number, block_title)))
        pending.clear()
    return found


def _blocks_of(page: Page) -> list[Block]:
    """All blocks of a page in reading order; a code cell that makes a captioned figure is a figure directive."""
    found: list[Block] = []
    for cell in read_cells(page).cells:
        if cell.cell_type == "markdown":
            found.extend(inside(parse(cell.source)))
        else:
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            options = {key: str(figure[key]) for key in ("name",) if key in figure}
            found.append(
                Directive("figure", "", options, figure["caption"]) if "caption" in figure else Code(cell.source)
            )
    return found


def _numbered(block: Block) -> tuple[str, str, str]:
    """Kind, label and title of a block that has a number; empty strings for any other."""
    if isinstance(block, Equation) and block.label:
        return "equation", block.label, ""
    if not isinstance(block, Directive):
        return "", "", ""
    label = block.options.get("label") or block.options.get("name") or ""
    if block.name.startswith("prf:") and block.name != "prf:proof" and "nonumber" not in block.options:
        return block.name.removeprefix("prf:"), label, block.argument
    if block.name == "exercise":
        return "exercise", label, block.argument
    if block.name == "figure" and block.body.strip():
        return "figure", label, block.body.strip()
    if block.name in ("table", "list-table") and block.argument:
        return "table", label, block.argument
    return "", label, block.argument
