"""The article of every built page, ready to leave the site: what the PDF is printed from and the EPUB is cut from.

Every anchor has the name of its page before it, so that no two of the book are alike, and a link between pages is that
anchor alone. A link to what the book's pages do not hold leads to the published site, or is plain text without one.
"""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any
from urllib.parse import unquote

from bs4 import BeautifulSoup

import companion
from tools import book

__all__ = ["CONTENTS", "TITLE", "Entry", "anchor", "articles", "document", "entries", "front"]

CONTENTS = "contents"
TITLE = "title"

# What moves or folds by a script, or is there for a mouse alone.
_IDLE = "script, noscript, button, a.headerlink, svg, .widget-live, .toctree-wrapper, details.hide > summary .expanded"


@dataclass(frozen=True)
class Entry:
    """A line of the contents: how deep it stands, the anchor it leads to, and its title as HTML."""

    depth: int
    place: str
    title: str


def anchor(page: book.Page, place: str = "") -> str:
    """The anchor of a page, or of a place on it.

    >>> anchor(book.pages()[0], "the-papers")
    'introduction--the-papers'
    """
    name = PurePosixPath(page.path).name
    return f"{name}--{place}" if place else name


def articles(html: Path) -> dict[book.Page, Any]:
    """The article of each page of a folder of built pages; the first of a part has its caption above it."""
    found = {page: _article(html, page) for page in book.pages()}
    for number, (caption, pages) in enumerate(book.parts().items(), 1):
        heading = f'<p class="part" id="{_part(pages, number)}">{escape(caption)}</p>'
        found[pages[0]].insert(0, BeautifulSoup(heading, "html.parser"))
    return found


def entries(found: dict[book.Page, Any]) -> list[Entry]:
    """Parts, pages and sections, in reading order."""
    front, *_ = book.pages()
    lines = _entries_of(front, found[front], 0)
    for number, (caption, pages) in enumerate(book.parts().items(), 1):
        lines.append(Entry(0, _part(pages, number), escape(caption)))
        lines += [line for page in pages for line in _entries_of(page, found[page], 1)]
    return lines


def front(lines: list[Entry], sheets: dict[str, int]) -> str:
    """The title and the contents as nested lists of links, each with the number of its sheet."""
    made = f"Version {companion.__version__}, {book.year()}, by the companion's contributors."
    title = f'<article class="bd-article" id="{TITLE}"><h1>{escape(book.title())}</h1><p>{escape(made)}</p></article>'
    listed, depth = [f'<article class="bd-article" id="{CONTENTS}"><h1>Contents</h1>'], -1
    for line in lines:
        listed.append("<ol>" if line.depth > depth else "</li>" + "</ol></li>" * (depth - line.depth))
        number = f'<span class="sheet">{sheets[line.place]}</span>'
        listed.append(f'<li><a href="#{line.place}">{line.title}</a> {number}')
        depth = line.depth
    return "\n".join([title, *listed, "</li></ol>" * (depth + 1), "</article>"])


def document(html: Path, body: str) -> str:
    """A page of its own around some articles, with the book's styles and its settings of formulas."""
    return (
        f'<!doctype html>\n<html lang="en" data-theme="light">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(book.title())}</title>\n{_head(html)}\n</head>\n<body>\n"
        f'<main class="bd-main"><div class="bd-content"><div class="bd-article-container">\n{body}\n'
        "</div></div></main>\n</body>\n</html>\n"
    )


def _head(html: Path) -> str:
    """The styles of the pages, the settings of their formulas with what sets them, and what prepares them for print."""
    file = html / f"{book.pages()[0].path}.html"
    lines = []
    for tag in _soup(file).select("head link[rel=stylesheet], head script"):
        key = "href" if tag.name == "link" else "src"
        if tag.name == "link" or re.search(r"/(mathjax/|print\.js)", tag.get("src", "")):
            tag[key] = (file.parent / unquote(tag[key].partition("?")[0])).resolve().as_uri()
        elif "window.MathJax" not in tag.text:
            continue
        lines.append(str(tag))
    return "\n".join(lines)


def _soup(file: Path) -> Any:
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


def _part(pages: list[book.Page], number: int) -> str:
    return anchor(pages[0], f"part-{number}")


def _article(html: Path, page: book.Page) -> Any:
    article = _soup(html / f"{page.path}.html").find("article")
    for idle in article.select(_IDLE):
        idle.decompose()
    for line in article.select("summary p"):  # of what XHTML allows in it, a line is a span
        line.name = "span"
    used: set[str] = set()
    for tag in article.find_all(id=True):
        tag["id"] = anchor(page, tag["id"])
        if tag["id"] in used:
            del tag["id"]
        else:
            used.add(tag["id"])
    for link in article.find_all("a", href=True):
        target = _target(page, link["href"])
        if target:
            link["href"] = target
        else:
            link.unwrap()
    for picture in article.find_all("img", src=True):
        if not picture["src"].startswith("data:"):
            picture["src"] = (html / _path(page, unquote(picture["src"]))).resolve().as_uri()
    article["id"] = anchor(page)
    return article


def _target(page: book.Page, link: str) -> str:
    """Where a link of a page leads; empty for a place that only the published site has, while there is none.

    >>> first, *_ = book.chapters()
    >>> _target(first, "twenty_questions.html#exercises"), _target(first, "https://arxiv.org/abs/2504.1")
    ('#twenty_questions--exercises', 'https://arxiv.org/abs/2504.1')
    """
    if re.match(r"[a-z]+:", link):
        return link
    path, _, place = link.partition("#")
    there = _path(page, path) if path else f"{page.path}.html"
    for each in book.pages():
        if there == f"{each.path}.html":
            return f"#{anchor(each, place)}"
    return f"{book.home()}{there}{'#' if place else ''}{place}" if book.home() else ""


def _path(page: book.Page, relative: str) -> str:
    return normpath((PurePosixPath(page.path).parent / relative).as_posix())


def _entries_of(page: book.Page, article: Any, depth: int) -> list[Entry]:
    headings = article.select("section > section[id] > h2")
    sections = [Entry(depth + 1, each.parent["id"], each.decode_contents().strip()) for each in headings]
    return [Entry(depth, anchor(page), article.h1.decode_contents().strip()), *sections]
