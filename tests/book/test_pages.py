"""The built pages, opened from the disk in a headless Chromium with no network."""

import os
from urllib.parse import unquote

import pytest
from docutils.nodes import make_id

from tools import book, chromium, pages
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
PAGES = [pytest.param(page, id=page.path) for page in book.pages()]
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


@pytest.fixture(scope="module")
def browser():
    if chromium.find() is None:
        if os.environ.get("BROWSER_REQUIRED"):
            pytest.fail("there is no Chromium")
        pytest.skip("no Chromium: formulas, console, requests and descriptions of this page were not checked")
    with chromium.Browser() as running:
        yield running


@built
@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_whole_without_a_network(page, browser):
    with browser.visit(HTML / f"{page.path}.html") as visit:
        assert pages.faults(visit) == []
        requested = [unquote(url).removeprefix("file://") for url in visit.requests if url.startswith("file:")]
        assert all(path.startswith(str(HTML)) for path in requested)


@built
@pytest.mark.parametrize("page", PAGES)
def test_the_numbers_on_the_page_are_those_of_the_sources(page):
    html = (HTML / f"{page.path}.html").read_text(encoding="utf-8")
    told = {
        make_id(name): label.number for name, label in book.labels().items() if label.page == page.path and label.number
    }
    shown = {make_id(name): number for name, number in pages.numbers(html).items()}
    assert {name: shown.get(name) for name in told} == told


@built
def test_no_page_has_a_button_that_leads_nowhere():
    for page in book.pages():
        html = (HTML / f"{page.path}.html").read_text(encoding="utf-8")
        assert ("colab.research.google.com" in html) == (bool(book.address()) and page in book.chapters())
        assert ("repository" in html.split("article-header-buttons")[-1][:3000]) == bool(book.address())


def test_a_bad_page_is_seen(tmp_path, browser):
    (tmp_path / "page.html").write_text(
        "<main><article><p>\\(x\\) and $y$</p><mjx-merror data-mjx-error='Undefined control sequence'></mjx-merror>"
        "<img src='missing.png' alt='image'><script>console.error('our own')</script>"
        "<script src='https://example.org/script.js'></script></article></main>"
    )
    with browser.visit(tmp_path / "page.html") as visit:
        found = "\n".join(pages.faults(visit))
    signs = ("Undefined control sequence", "x\\\\)", "$y$", "our own", "https://example.org/script.js", "description")
    for sign in signs:
        assert sign in found
