"""The plain Markdown of every page, beside the built one: all that its source says, in order, and nothing raw."""

import os
import re

import nbformat
import pytest

import companion
from tools import book, citations, figure_data, markdown, statements
from tools.blocks import Directive, Equation, Text, inside, parse
from tools.book import ROOT
from tools.prose import expand

HTML = ROOT / "_build" / "html"
PAGES = [pytest.param(page, id=page.path) for page in book.pages()]
CHAPTERS = [pytest.param(page, id=page.source.stem) for page in book.chapters()]
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")

# What becomes something else: a role, code, a formula, a link, and the marks of a paragraph, a list or a heading.
_INLINE = r"\{[\w:.-]+\}`+[^`]*`+|`+[^`]+`+|\$[^$]*\$|!?\[[^\]]*\]\([^)]*\)"
_MARKUP = re.compile(rf"{_INLINE}|\n\s*\n|^ *(?:#+|[-*:]|\d+\.) ", re.MULTILINE)


def flat(text):
    """Text on one line, quotes as what they quote."""
    return " ".join(re.sub(r"^(> ?)+", "", text, flags=re.MULTILINE).split())


def said(page):
    """Everything that the source of a page says, in order, as patterns of its plain Markdown."""
    for cell in book.read_cells(page).cells:
        if cell.cell_type == "markdown":
            for block in inside(parse(cell.source)):
                yield from of_block(block)
        elif "setup" not in cell.metadata.get("tags", []):
            shown = cell.metadata.get("mystnb", {})
            yield re.escape(flat(cell.source))
            yield re.escape(flat(f"![{shown['image']['alt']}](")) if "image" in shown else ""
            yield from of_block(Text(shown["figure"]["caption"])) if "figure" in shown else ()


def of_block(block):
    if isinstance(block, Equation):
        number = rf"(?: \\end\{{aligned\}})? \\tag\{{{book.labels()[block.label].number}\}}" if block.label else ""
        yield re.escape(flat(expand(block.tex))) + number
    elif isinstance(block, Directive) and block.name.removeprefix("prf:") in (*statements.KINDS, "exercise"):
        label = book.labels()[block.options["label"]]
        yield rf"\*\*{label.kind.capitalize()} {label.number}"
        yield from of_block(Text(block.argument))
    elif isinstance(block, Directive) and "alt" in block.options:
        yield re.escape(f"![{flat(block.options['alt'])}](")
    elif isinstance(block, Text) and not block.text.startswith(".. automodule"):
        yield from (re.escape(flat(part)) for part in _MARKUP.split(block.text) if len(part.strip()) > 3)


def first_missing(page, text):
    """What a page says and a text does not, or not in this order; None if all of it is there."""
    text, at = flat(text), 0
    for pattern in said(page):
        found = re.compile(pattern).search(text, at)
        if found is None:
            return pattern
        at = found.end()
    return None


@built
@pytest.mark.parametrize("page", PAGES)
def test_all_that_a_page_says_is_in_its_markdown(page):
    text = (HTML / f"{page.path}.md").read_text(encoding="utf-8")
    assert first_missing(page, text) is None
    prose = re.sub(r"^ *(`{3,}).*?^ *\1|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r":::|```\{|\{[\w:-]+\}`|^\([\w-]+\)=|^%", prose, re.MULTILINE)
    assert not re.search(rf"\\({'|'.join(book.macros())})(?![A-Za-z])", prose)


def test_what_is_lost_or_elsewhere_is_noticed(monkeypatch):
    numbers = {"thm-a": book.Label("", "theorem", "1.2"), "eq-a": book.Label("", "equation", "1.3")}
    cell = nbformat.v4.new_markdown_cell(
        ":::{prf:theorem} Whole\n:label: thm-a\n\nLet $x$ be positive. Then\n\n$$ x > 0 $$ (eq-a)\n\nand no more.\n:::"
    )
    monkeypatch.setattr(book, "read_cells", lambda _: nbformat.v4.new_notebook(cells=[cell]))
    monkeypatch.setattr(book, "labels", lambda: numbers)
    text = "**Theorem 1.2 (Whole).** Let $x$ be positive. Then\n\n$$\nx > 0 \\tag{1.3}\n$$\n\nand no more."
    assert first_missing(None, text) is None
    for lost in ("Theorem 1.2", "Whole", " be positive", "x > 0", "\\tag{1.3}", "and no more."):
        assert first_missing(None, text.replace(lost, "")) is not None
        assert first_missing(None, f"{lost} {text.replace(lost, '')} {lost}") is not None or lost == "and no more."


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_what_a_chapter_puts_out_is_in_its_markdown(page):
    text = (HTML / f"{page.path}.md").read_text(encoding="utf-8")
    executed = nbformat.read(ROOT / ".nbrun" / f"{page.source.stem}.ipynb", as_version=4)
    for output in (output for cell in executed.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        shown = output.get("text") or data.get("text/markdown") or data.get("text/latex") or ""
        assert shown.strip() in text
    for label in figure_data.drawn(page):
        assert f"[its numbers](../data/{label}.json)" in text


@built
def test_every_picture_and_every_link_of_the_markdown_is_a_file():
    for file in [HTML / f"{page.path}.md" for page in book.pages()] + [HTML / markdown.INDEX]:
        prose = re.sub(r"^(`{3,}).*?^\1|`[^`\n]*`", "", file.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
        links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"\$[^$]*\$", "", prose))
        inner = [link.removeprefix(book.home()).partition("#")[0] for link in links]
        assert not [link for link in inner if ":" not in link and not (file.parent / link).is_file()]


@built
def test_a_page_leads_to_its_markdown():
    for page in book.pages():
        html = (HTML / f"{page.path}.html").read_text(encoding="utf-8")
        name = f'href="{page.source.stem}.md"'
        assert re.search(rf'<link rel="alternate" type="text/markdown"[^>]* {name}', html)
        assert re.search(rf"<a {name}[^>]*btn-download-source-button", html)
        assert re.search(r'<a href="\.\./llms\.txt"[^>]*btn-download-index-button', html)


def test_the_index_lists_every_page_once_with_a_line():
    first, summary, *rest = markdown.index().split("\n\n")
    assert first == f"# {book.title()}" and summary.startswith("> ")
    lines = [line for part in rest for line in part.split("\n") if line.startswith("- ")]
    listed = [re.fullmatch(r"- \[(.+?)\]\((.+?)\.md\): (\S+ \S+ \S+ .+)", line) for line in lines]
    assert [(each[1], each[2].removeprefix(book.home())) for each in listed] == [
        (page.title, page.path) for page in book.pages()
    ]
    assert not [each[3] for each in listed if re.search(r"[{}]`|\]\(", each[3])]


@built
def test_the_index_is_at_the_root():
    assert (HTML / markdown.INDEX).read_text(encoding="utf-8") == markdown.index()


@built
def test_the_page_of_public_names_has_their_docstrings_and_the_bibliography_its_works():
    names = (HTML / "book" / "api.md").read_text(encoding="utf-8")
    for name in companion.__all__:
        assert f"### `companion.{name}" in names
        assert getattr(companion, name).__doc__.strip().split("\n")[0] in names
    works = (HTML / "book" / "bibliography.md").read_text(encoding="utf-8")
    html = (HTML / "book" / "bibliography.html").read_text(encoding="utf-8")
    assert works.count("\n- ") == len(re.findall(r'<div class="citation"', html)) > 0
    assert citations.entry("ho2020") in works
