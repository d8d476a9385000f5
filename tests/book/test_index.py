"""The index of symbols and names has every symbol, author, public name and subject, and each row leads somewhere."""

import json
import os
import re

import pytest
from bs4 import BeautifulSoup

import companion
from tools import book, citations, index
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
ROWS = {each.__name__: each for each in (index.subjects, index.symbols, index.people, index.code)}
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


@pytest.mark.parametrize("kind", ROWS)
def test_every_row_leads_to_a_page_or_a_label_that_exists(kind):
    there = {page.path for page in book.pages()} | set(book.labels())
    for each in ROWS[kind]():
        assert each.places and set(each.places) <= there, each
        assert each.places[0] != "book/index_of_symbols_and_names"


def test_it_has_every_symbol_of_the_notation():
    text = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
    symbols = re.findall(r"^\| (?!Symbol|Line|-)(.+?) \| .+ \| .+ \| .+ \| .+ \|$", text, re.MULTILINE)
    assert len(symbols) > 100
    assert [each.name.split(": ")[0] for each in index.symbols()] == symbols


def test_it_has_every_author_and_every_public_name():
    page = index.PAGE.read_text(encoding="utf-8")
    for name in (name for key in citations.works() for name in citations.authors(key)):
        assert f"| {name}: " in page, name
    for name in companion.__all__:
        assert f"| {{py:obj}}`companion.{name}` |" in page, name


def test_no_two_subjects_share_a_word_for_them():
    said = [name.lower() for each in index.subjects() for name in each.also]
    assert len(said) == len(set(said))
    assert all(len(each.places) <= 3 for each in index.subjects()), "the search shows three first"


def test_a_chapter_that_no_subject_leads_to_is_noticed():
    places = {place for each in index.subjects() for place in each.places}
    led_to = {book.labels()[place].page if place in book.labels() else place for place in places}
    assert {page.path for page in book.chapters()} <= led_to


@built
def test_every_link_of_the_page_leads_to_a_place_that_is_there():
    html = BeautifulSoup((HTML / "book" / "index_of_symbols_and_names.html").read_text("utf-8"), "html.parser")
    links = {a["href"] for a in html.select("article table a[href]")}
    assert len(links) > 200
    ids = {}
    for path, anchor in (link.partition("#")[::2] for link in links):
        file = (HTML / "book" / path).resolve() if path else HTML / "book" / "index_of_symbols_and_names.html"
        if file not in ids:
            ids[file] = set(re.findall(r'\bid="([^"]+)"', file.read_text(encoding="utf-8")))
        assert not anchor or anchor in ids[file], f"{path}#{anchor}"
    assert all(row.find("a") for row in html.select("article table tbody tr"))


@built
def test_the_search_knows_every_entry():
    text = (HTML / "searchindex.js").read_text(encoding="utf-8")
    known = json.loads(text.removeprefix("Search.setIndex(").rstrip().removesuffix(")"))["indexentries"]
    for page, names in index.entries().items():
        assert {name.lower() for name, _ in names} <= set(known), page
