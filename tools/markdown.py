"""Sphinx extension: beside every built page the same page as plain Markdown, and `llms.txt`, which lists them.

A chapter has its code and what that put out, from the one execution that the page is built from. A figure is its
picture, described, with links to its numbers and to its place on the page. Statements are whole, with number and label;
displayed equations are standard TeX. The button for downloads of a page leads to this and not to its source.
"""

import hashlib
import inspect
import posixpath
import re
from base64 import b64decode
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from jupyter_cache import get_cache
from sphinx.application import Sphinx

import companion
from tools import book, citations, figure_data
from tools.blocks import Directive
from tools.prose import Prose

__all__ = ["INDEX", "described", "index", "page_as_markdown", "setup", "write"]

INDEX = "llms.txt"
_CACHE = book.ROOT / "_build" / ".jupyter_cache"
_SUMMARY = (
    "A book that runs, and the Python package `companion`: at which noise level a diffusion model decides what it "
    "draws, measured by the class entropy that its own denoiser gives, derived, and compared with models whose answer "
    "is exact."
)
_WHAT = (
    "Every page of the book is listed here as plain Markdown. Statements are whole, with number, label and the name of "
    "their test; equations are TeX; code stands with what it printed; each figure is described and its numbers are "
    f"linked as JSON, with digests in [{figure_data.SUMS}](data/{figure_data.SUMS}). The text is licensed CC BY 4.0, "
    "the code MIT."
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("html-page-context", _lead_to_it, priority=900)  # after the theme has put its buttons there
    app.connect("build-finished", _write)
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


def write(site: Path) -> None:
    """Every page as Markdown beside the built ones, and the index; chapters as the cache of Jupyter Book has them."""
    cache = get_cache(_CACHE)
    for page in book.pages():
        executed = None
        if page in book.chapters():
            executed = cache.get_cache_bundle(cache.match_cache_notebook(book.read_cells(page)).pk).nb
        (site / f"{page.path}.md").write_text(page_as_markdown(page, executed), encoding="utf-8")
    (site / INDEX).write_text(index(), encoding="utf-8")


def page_as_markdown(page: book.Page, executed: Any = None) -> str:
    """A page as plain Markdown; `executed` is the notebook of a chapter with what its cells put out."""
    prose = _Plain(page)
    ran = iter([cell for cell in executed.cells if cell.cell_type == "code"] if executed else [])
    parts: list[str] = []
    for cell in book.read_cells(page).cells:
        parts += [prose.markdown(cell.source)] if cell.cell_type == "markdown" else _cell(prose, cell, next(ran))
    title, _, rest = "\n\n".join(part for part in (*parts, prose.references()) if part).partition("\n")
    return f"{title}\n\n{_origin(page)}\n{rest}\n"


def index() -> str:
    """`llms.txt`: what the book is, and each of its pages with a line that says what is on it."""
    said = described()

    def line(page: book.Page) -> str:
        return f"- [{page.title}]({book.home()}{page.path}.md): {said[page.path]}"

    sections = [f"# {book.title()}", f"> {_SUMMARY}", _WHAT, f"## The front page\n\n{line(book.pages()[0])}"]
    sections += ["\n".join([f"## {part}", "", *map(line, pages)]) for part, pages in book.parts().items()]
    return "\n\n".join(sections) + "\n"


def described() -> dict[str, str]:
    """What is on each page: of a chapter what the front page says, of any other how its text begins."""
    front = book.pages()[0].source.read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\d+\. \{doc\}`/(notebooks/\w+)`\. (.+(?:\n +.+)*)", front, re.MULTILINE))
    return {
        page.path: _line_of(page, listed[page.path] if page in book.chapters() else _opening(page))
        for page in book.pages()
    }


class _Plain(Prose):
    """Prose with links to the other pages of its kind."""

    def _to(self, page: book.Page, text: str) -> str:
        return text if page == self.page else f"[{text}]({self._from_here(page.path)}.md)"

    def _image(self, alt: str, path: str) -> str:
        place = path if re.match(r"[a-z]+:", path) else self._from_here(f"_images/{posixpath.basename(path)}")
        return f"![{' '.join(alt.split())}]({place})"

    def _moves(self, widget: str) -> str:
        link = f"{posixpath.basename(self.page.path)}.html#{book.widget_anchor(widget)}"
        return f"*On [its page]({link}) this picture has sliders that move it.*"

    def _from_here(self, path: str) -> str:
        return posixpath.relpath(path, posixpath.dirname(self.page.path))

    def _role(self, role: str, content: str) -> str:
        if role.startswith("py:"):
            return f"[`{content}`]({self._from_here('book/api.md')})"
        return super()._role(role, content)

    def _directive(self, block: Directive) -> str:
        if block.name in ("div", "grid", "grid-item"):
            return self.markdown(block.body)
        if block.name == "grid-item-card":
            link = f"{{{block.options['link-type']}}}`{block.argument} <{block.options['link']}>`"
            return f"**{self.inline(link)}.** {self.markdown(block.body)}"
        if block.name == "index":
            return ""
        if block.name == "literalinclude":
            return f"```{block.options.get('language', '')}\n{self._included(block)}\n```"
        if block.name == "eval-rst" and block.body.startswith(".. automodule:: companion\n"):
            return "\n\n".join(_names())
        if block.name == "bibliography":
            texts = (page.source.read_text(encoding="utf-8") for page in book.pages())
            cited = {key for text in texts for key in citations.keys_in(text)}
            return "\n".join(f"- {entry}" for entry in sorted(map(citations.entry, cited)))
        return super()._directive(block)

    def _included(self, block: Directive) -> str:
        lines = (self.page.source.parent / block.argument).read_text(encoding="utf-8").rstrip("\n").split("\n")
        first, last = block.options.get("start-at", "").strip('"'), block.options.get("end-before", "").strip('"')
        begin = next(n for n, line in enumerate(lines) if first in line)
        end = next((n for n, line in enumerate(lines) if last and n > begin and last in line), len(lines))
        return "\n".join(lines[begin:end]).strip("\n")


def _origin(page: book.Page) -> str:
    html, pages = f"{posixpath.basename(page.path)}.html", posixpath.relpath(INDEX, posixpath.dirname(page.path))
    part = f"{'Chapter' if page.chapter else 'Page'} of {book.title()} Version {companion.__version__}"
    return f"*{part}. [This page as HTML]({html}), [all pages]({pages}).*"


def _cell(prose: _Plain, cell: Any, ran: Any) -> Iterator[str]:
    """A code cell, unless it only sets up, and what it put out when it ran."""
    tags = set(cell.metadata.get("tags", []))
    if not tags & {"setup", "remove-cell", "remove-input"}:
        yield _fenced("python", cell.source)
    shown = cell.metadata.get("mystnb", {})
    alt = " ".join(shown.get("image", {}).get("alt", "").split())
    if not tags & {"remove-cell", "remove-output"}:
        yield from chain.from_iterable(_output(prose, output, alt) for output in ran.outputs)
    if "caption" in shown.get("figure", {}):
        name, caption = shown["figure"]["name"], shown["figure"]["caption"]
        place = f"{posixpath.basename(prose.page.path)}.html#{name}"
        numbers = posixpath.relpath(f"data/{name}.json", posixpath.dirname(prose.page.path))
        yield prose.caption("figure", caption, book.labels()[name].number)
        yield f"*Label `{name}`: [on the page]({place}), [its numbers]({numbers}).*"


def _output(prose: _Plain, output: Any, alt: str) -> Iterator[str]:
    if output.output_type == "stream":
        yield _fenced("text", output.text.rstrip("\n"))
        return
    data = output.get("data", {})
    if "image/png" in data:
        picture = hashlib.sha256(b64decode(data["image/png"])).hexdigest()  # as myst-nb names it
        yield prose._image(alt, f"{picture}.png")
    elif kind := next((kind for kind in ("text/markdown", "text/latex") if kind in data), None):
        yield data[kind].strip()
    elif "text/plain" in data:
        yield _fenced("text", data["text/plain"])


def _fenced(language: str, text: str) -> str:
    ticks = max([3, *(len(run) + 1 for run in re.findall(r"^ *(`{3,})", text, re.MULTILINE))])
    return f"{'`' * ticks}{language}\n{text}\n{'`' * ticks}"


def _names() -> Iterator[str]:
    """Every public name of the package with its signature and its docstring, and so the methods of a class."""
    for name in sorted(dir(companion)):
        thing = getattr(companion, name)
        yield from _name(f"companion.{name}", thing)
        if inspect.isclass(thing):
            for part, method in vars(thing).items():
                if not part.startswith("_") and (callable(method) or isinstance(method, property | classmethod)):
                    yield from _name(f"companion.{name}.{part}", method)


def _name(name: str, thing: Any) -> Iterator[str]:
    if text := inspect.getdoc(thing):
        signature = str(inspect.signature(thing)) if callable(thing) else ""
        yield f"### `{name}{signature}`"
        yield from (_fenced("python", block) if block.startswith(">>>") else block for block in text.split("\n\n"))


def _opening(page: book.Page) -> str:
    """The first two sentences of a page."""
    paragraphs = page.source.read_text(encoding="utf-8").split("\n\n")
    first = next(part for part in paragraphs if re.match(r"[\w{*]", part))
    return " ".join(re.split(r"(?<=[.?:])\s+(?=[A-Z{`*])", first)[:2])


def _line_of(page: book.Page, text: str) -> str:
    """Text on one line, its links as their words."""
    return " ".join(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", _Plain(page).inline(text)).split())


def _lead_to_it(_app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: Any) -> None:
    if doctree is None:
        return
    own, pages = f"{posixpath.basename(page)}.md", posixpath.relpath(INDEX, posixpath.dirname(page))
    context["metatags"] += f'\n<link rel="alternate" type="text/markdown" title="This page as Markdown" href="{own}">'
    every = {"type": "link", "text": INDEX, "icon": "fas fa-list", "label": "download-index-button"}
    for group in context.get("header_buttons", []):
        for at, button in enumerate(group.get("buttons", [])):
            if button["label"] == "download-source-button":
                button |= {"url": own, "tooltip": "This page as Markdown"}
                group["buttons"].insert(at + 1, every | {"url": pages, "tooltip": "All pages as Markdown"})
                break


def _write(app: Sphinx, failure: Exception | None) -> None:
    if not failure and app.builder.name == "html":
        write(Path(app.outdir))
