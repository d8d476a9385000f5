"""Sphinx extension and page "Index of symbols and names": what a reader may look for, and where it is.

The page is made from the sources: subjects from `book/terms.json`, with the other words that people have for them;
symbols from the tables of `book/notation.md`; people from the works that pages cite; names from `companion`.
Everything on it is an entry of the book's index, which the search puts first, and a keyword of the pages it leads to.
The search takes é for e, and ranks pages by all words of a query (`tools/search_scorer.js`).
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any

from docutils import nodes
from docutils.nodes import make_id
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.search import languages
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform

import companion
from tools import book, citations
from tools.prose import expand
from tools.tables import between, row

__all__ = ["PAGE", "Row", "code", "entries", "keywords", "page_with_index"]
__all__ += ["people", "plain", "setup", "subjects", "symbols"]

PAGE = book.ROOT / "book" / "index_of_symbols_and_names.md"
_SELF, _NOTATION, _API = "book/index_of_symbols_and_names", "book/notation", "book/api"
_MOST = 4  # places that a row leads to


@dataclass(frozen=True)
class Row:
    """What is looked for, as Markdown; the pages and labels to which it leads; what a search may call it."""

    name: str
    places: tuple[str, ...]
    also: tuple[str, ...]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("indexed", {}, "env", [dict])
    app.connect("config-inited", _settle)
    app.add_transform(_Indexed)
    languages["en"] = _Folding
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


@cache
def subjects() -> tuple[Row, ...]:
    """Every subject of `book/terms.json`."""
    listed = json.loads((book.ROOT / "book" / "terms.json").read_text(encoding="utf-8"))
    return tuple(Row(each["term"], tuple(each["at"]), (each["term"], *each["also"])) for each in listed)


@cache
def symbols() -> tuple[Row, ...]:
    """Every symbol of the notation: its table there, the chapter that the table or the code names, and who uses it."""
    found, section, chapter = [], "", ""
    for line in (book.ROOT / f"{_NOTATION}.md").read_text(encoding="utf-8").splitlines():
        if label := re.fullmatch(r"\((notation-[\w-]+)\)=", line):
            section = label[1]
        if line[:1] not in ("", "|", ":"):  # a line of prose stands over each table
            of = re.match(r"Of .*\(\{doc\}`/(notebooks/\w+)`\)", line)
            chapter = of[1] if of else ""
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 5 and cells[0] not in ("Symbol", "Line") and set(cells[0]) != {"-"}:
            own = [f"notebooks/{name}" for name in re.findall(r"derivations\.(\w+)", cells[3])]
            own = [chapter, *(path for path in own if path in _paths())]
            places = _first([f for f in own if f], _using(cells[0], cells[1]))
            found.append(Row(f"{cells[0]}: {cells[1]}", (section, *places), _typed(cells[0])))
    return tuple(found)


@cache
def people() -> tuple[Row, ...]:
    """Every author of a work that is cited: the works, and the pages that cite them."""
    by_author: dict[str, list[str]] = {}
    for key in citations.works():
        for name in citations.authors(key):
            by_author.setdefault(name, []).append(key)
    found = []
    for name in sorted(by_author, key=lambda each: _fold(each).lower()):
        keys = sorted(by_author[name])
        cited = [page for page, of_page in _cited().items() if set(of_page) & set(keys)]
        told = ", ".join(f"{{cite:t}}`{key}`" for key in keys)
        family = name.split(",")[0]
        found.append(Row(f"{name}: {told}", _first([], cited), tuple(dict.fromkeys((name, family, _fold(family))))))
    return tuple(found)


@cache
def code() -> tuple[Row, ...]:
    """Every public name of the package: its docstring's page, and the chapters that import or call it."""
    found = []
    for name in sorted(_public(), key=str.lower):
        used = [path for path, text in _code_of_chapters().items() if _calls(name, text)]
        found.append(Row(f"{{py:obj}}`companion.{name}`", (_API, *_first([], used)), (f"companion.{name}",)))
    return tuple(found)


def page_with_index(text: str) -> str:
    """The page with its four tables made new."""
    for table, rows, head in (
        ("subjects", subjects(), "Subject"),
        ("symbols", symbols(), "Symbol"),
        ("people", people(), "Person"),
        ("code", code(), "Name"),
    ):
        lines = [row(_shown(each), ", ".join(map(_link, each.places))) for each in rows]
        text = between(text, table, "index", [f"| {head} | Where |", "|---|---|", *lines])
    return text


@cache
def entries() -> dict[str, list[tuple[str, str]]]:
    """For each page what its places are called, with the anchor of the place, or '' for the page itself."""
    found: dict[str, list[tuple[str, str]]] = {page.path: [] for page in book.pages()}
    for each in subjects():
        for place in each.places:
            found[_page(place)] += [(name, _anchor(place)) for name in each.also]
    for each in symbols():
        found[_NOTATION] += [(name, _anchor(each.places[0])) for name in each.also]
    for each in people():
        found["book/bibliography"] += [(name, "") for name in each.also]
        found[_SELF] += [(name, "index-people") for name in each.also]
    # A semicolon parts an entry of the index from one below it.
    return {page: list(dict.fromkeys((n.replace(";", ","), at) for n, at in names)) for page, names in found.items()}


@cache
def keywords() -> dict[str, list[str]]:
    """For each page the words that lead to it beside its text: what its subjects are called, and whom it cites."""
    said: dict[str, list[str]] = {page.path: [] for page in book.pages()}
    for each in subjects():
        for place in each.places:
            said[_page(place)] += each.also
    for page, keys in _cited().items():
        said[page] += [name.split(",")[0] for key in keys for name in citations.authors(key)]
    return {page: sorted(set(re.findall(r"\w{3,}", " ".join(names))), key=str.lower) for page, names in said.items()}


def plain(tex: str) -> str:
    r"""A symbol as somebody would type it.

    >>> plain(r"H(Z \mid X_t)"), plain(r"-\mathrm{d}H/\mathrm{d}\lambda"), plain(r"\lambda_{1/2}")
    ('H(Z|X_t)', '-dH/dlambda', 'lambda_1/2')
    """
    tex = re.sub(r"\\(?:mathrm|mathbb|mathcal|operatorname|overline|bar|hat|lvert|rvert)\b", "", tex)
    tex = re.sub(r"\\(mid|vert)\b", "|", tex)
    return re.sub(r"[\\{}\s]", "", tex)


class _Folding(SearchEnglish):
    """English whose words are looked for without accents."""

    js_stemmer_code = (
        SearchEnglish.js_stemmer_code
        + """
const english = new Stemmer(), accents = /[\\u0300-\\u036f]/g;
Stemmer = function() { this.stemWord = word => english.stemWord(word.normalize("NFD").replace(accents, "")); };
"""
    )

    def stem(self, word: str) -> str:
        return str(super().stem(_fold(word)))


def _settle(_app: Sphinx, config: Config) -> None:
    """The entries and keywords of every page, as a setting: Sphinx reads the pages again when it changes."""
    config.html_search_scorer = str(book.ROOT / "tools" / "search_scorer.js")
    config.indexed = {page: [names, keywords()[page]] for page, names in entries().items()}


class _Indexed(SphinxTransform):
    """What a page is looked for, as main entries of the index and as its keywords."""

    default_priority = 500  # before Sphinx collects the entries of a page

    def apply(self, **_: Any) -> None:
        names, words = self.config.indexed.get(self.env.docname, ([], []))
        section = next(self.document.findall(nodes.section), None)
        if section is None:
            return
        if names:
            told = [("single", name, anchor, "main", None) for name, anchor in names]
            section.insert(1, addnodes.index(entries=told))
        if words:
            section.insert(1, nodes.meta(name="keywords", content=", ".join(words)))


def _shown(each: Row) -> str:
    others = ", ".join(each.also[1:]) if each in subjects() else ""
    return f"{each.name} ({others})" if others else each.name


def _link(place: str) -> str:
    if place in _paths():
        return f"{{doc}}`/{place}`"
    if place.startswith("notation-"):
        return f"{{ref}}`Notation <{place}>`"
    label = book.labels()[place]
    role = {"section": "ref", "equation": "eq", "figure": "numref"}.get(label.kind, "prf:ref")
    return f"{{{role}}}`{place}`"


def _page(place: str) -> str:
    return place if place in _paths() else book.labels()[place].page


def _anchor(place: str) -> str:
    return "" if place in _paths() else make_id(place)


@cache
def _paths() -> frozenset[str]:
    return frozenset(page.path for page in book.pages())


def _first(own: list[str], others: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*own, *others]))[: _MOST - 1]


@cache
def _cited() -> dict[str, list[str]]:
    """For each page the works that it cites."""
    others = (page for page in book.pages() if page.path != _SELF)
    return {page.path: citations.keys_in(page.source.read_text(encoding="utf-8")) for page in others}


@cache
def _texts() -> dict[str, str]:
    """The text of every chapter, its macros written out."""
    return {page.path: expand(page.source.read_text(encoding="utf-8")) for page in book.chapters()}


def _using(cell: str, meaning: str) -> list[str]:
    """The chapters where a symbol is a formula, or else part of one; a letter, in one line with what it means."""
    alone, within = [], []
    word = next(iter(re.findall(r"[a-z-]{4,}", re.sub(r"\$[^$]+\$", "", meaning))), "")
    for tex in re.findall(r"\$([^$]+)\$", cell):
        letter = re.fullmatch(r"\\?[A-Za-z]+", tex)
        for path, text in _texts().items():
            lines = [line for line in text.splitlines() if f"${tex}$" in line]
            if any(word and word in line for line in lines) if letter else lines:
                alone.append(path)
            elif not letter and tex in text:
                within.append(path)
    return list(dict.fromkeys(alone or within))


def _typed(cell: str) -> tuple[str, ...]:
    """What somebody would type for the symbols of a row; neither a letter nor a whole formula."""
    typed = [plain(tex) for tex in re.findall(r"\$([^$]+)\$", cell) if "frac" not in tex]
    return tuple(each for each in dict.fromkeys(typed) if 2 <= len(each) <= 14)


def _public() -> list[str]:
    return list(vars(companion)["__all__"])


@cache
def _code_of_chapters() -> dict[str, str]:
    cells = {page.path: book.read_cells(page).cells for page in book.chapters()}
    return {path: "\n".join(c.source for c in some if c.cell_type == "code") for path, some in cells.items()}


def _calls(name: str, text: str) -> bool:
    imported = re.findall(r"^from companion[\w.]* import (\([^)]*\)|[^(\n]*)$", text, re.MULTILINE)
    called = re.search(rf"\bcompanion\.{name}\b", text)
    return bool(called) or any(re.search(rf"\b{name}\b", each) for each in imported)


def _fold(word: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))
