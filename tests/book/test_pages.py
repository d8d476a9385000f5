"""The built pages, opened from the disk in a headless Chromium with no network."""

import os
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from docutils.nodes import make_id

from tools import book, chromium, moved, pages
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
    with chromium.browser() as running:
        yield running


@built
@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_whole_without_a_network(page, browser):
    with chromium.visit(browser, HTML / f"{page.path}.html") as visit:
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


# What the chapter on listening had when it was one page: sections, statements, equations, figures.
LISTENING = """
the-question listening-question the-answer-beside-the-truth listening-result fig-listening-profile
where-the-estimator-comes-from listening-derivation one-channel def-natural-variable equation-eq-natural-process
prop-two-forms equation-eq-kernel one-step-one-opinion thm-log-odds equation-eq-log-odds from-log-odds-to-entropy
equation-eq-estimator prop-partition-production equation-eq-partition-production first-change-start-from-nothing
listening-truncation prop-truncation equation-eq-truncation fig-listening-truncation second-change-average-the-drift
listening-average prop-bias equation-eq-biases prop-both-ends equation-eq-ito third-change-steps-of-two-sizes
listening-two-sizes equation-eq-predicted-drift equation-eq-two-sizes prop-two-sizes equation-eq-extrapolated
fig-listening-errors fourth-change-control-variates listening-control prop-controls equation-eq-controls
equation-eq-kept fig-listening-deviation fifth-change-levels-where-the-entropy-falls listening-placement
what-each-change-buys listening-gains what-a-hundredth-of-a-nat-costs listening-evaluations what-breaks-it
listening-breaks fig-listening-wrong equation-eq-shared-floor exercises listening-exercises
"""


@built
def test_every_address_that_a_page_once_had_answers_there_and_leads_on():
    once = {"notebooks/listening_to_the_posterior": LISTENING.split()}
    for path, anchors in moved.moved().items():
        html = BeautifulSoup((HTML / f"{path}.html").read_text(encoding="utf-8"), "html.parser")
        assert not [each for each in [*anchors, *once.get(path, ())] if len(html.find_all(id=each)) != 1]
        for anchor in anchors:
            page, _, target = html.find(id=anchor).find_next("a")["href"].partition("#")
            there = BeautifulSoup((HTML / path).with_name(page).read_text(encoding="utf-8"), "html.parser")
            assert there.find(id=target) is not None, f"{path}.html#{anchor}"


def test_what_has_moved_is_elsewhere_now():
    for path, anchors in moved.moved().items():
        assert path in {page.path for page in book.pages()}
        for anchor, label in anchors.items():
            assert book.labels()[label].page != path
            assert f'id="{anchor}"' in moved.links(path, anchors)


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
    with chromium.visit(browser, tmp_path / "page.html") as visit:
        found = "\n".join(pages.faults(visit))
    signs = ("Undefined control sequence", "x\\\\)", "$y$", "our own", "https://example.org/script.js", "description")
    for sign in signs:
        assert sign in found
