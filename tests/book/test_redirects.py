"""Short addresses and those of pages that are gone: each leads to a page, and what stands behind `#` goes along."""

import os
import re

import pytest
from bs4 import BeautifulSoup
from sphinxext.rediraffe import create_graph

from tools import book, chromium, moved
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
PAGES = {page.path for page in book.pages()}
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


def test_each_leads_to_a_page_and_is_none():
    assert moved.redirects() == create_graph(moved.REDIRECTS)
    assert set(moved.redirects().values()) <= PAGES
    assert not set(moved.redirects()) & (PAGES | {"index", "search", "genindex", "py-modindex"})


def test_the_page_on_citing_lists_the_short_ones():
    text = (ROOT / "book" / "how_to_cite.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\w+)` \| (?:\{doc\}`/([\w/]+)`|this page) \|$", text, re.MULTILINE))
    short = {old: new for old, new in moved.redirects().items() if old not in moved.addresses()}
    assert {old: new or "book/how_to_cite" for old, new in listed.items()} == short


@built
def test_the_page_at_each_address_leads_on_with_and_without_scripts():
    for old, new in moved.redirects().items():
        html = BeautifulSoup((HTML / f"{old}.html").read_text(encoding="utf-8"), "html.parser")
        (target,) = {html.find("a")["href"], html.find("link", rel="canonical")["href"]}
        assert html.find("noscript").find("meta")["content"] == f"0; url={target}"
        assert ((HTML / old).parent / target).resolve() == HTML / f"{new}.html"
        assert not re.search(r"https?://", str(html))


@built
def test_every_address_of_a_page_that_is_gone_answers_where_it_leads():
    for path in set(moved.addresses()) - PAGES:
        html = BeautifulSoup((HTML / f"{moved.redirects()[path]}.html").read_text(encoding="utf-8"), "html.parser")
        assert not [each for each in moved.addresses()[path] if html.find(id=each) is None], path


@built
def test_what_stands_behind_the_address_goes_along(browser):
    with chromium.visit(browser, HTML / "errata.html", "?a=b#errata-package") as visit:
        visit.page.wait_for_url("**/book/errata.html?a=b#errata-package")
        assert not [url for url in visit.requests if not url.startswith("file:")]
