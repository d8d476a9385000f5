"""The built pages, opened from the disk in a headless Chromium with no network."""

import json
import os
from urllib.parse import quote, unquote

import pytest
from bs4 import BeautifulSoup
from docutils.nodes import make_id

import companion
from tools import book, chromium, layout, moved, pages
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
PAGES = [pytest.param(page, id=page.path) for page in book.pages()]
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


@built
@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_whole_without_a_network(page, browser):
    with chromium.visit(browser, HTML / f"{page.path}.html") as visit:
        if page.path in layout.PAGES:
            assert layout.differences(layout.measure(visit), layout.kept()[page.path]) == []
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
@pytest.mark.parametrize("page", PAGES)
def test_every_address_that_a_page_ever_had_answers(page):
    html = BeautifulSoup((HTML / f"{page.path}.html").read_text(encoding="utf-8"), "html.parser")
    assert not [each for each in moved.addresses()[page.path] if len(html.find_all(id=each)) != 1]


@built
def test_what_has_moved_leads_on():
    for path, anchors in moved.moved().items():
        html = BeautifulSoup((HTML / f"{path}.html").read_text(encoding="utf-8"), "html.parser")
        for anchor in anchors:
            page, _, target = html.find(id=anchor).find_next("a")["href"].partition("#")
            there = BeautifulSoup((HTML / path).with_name(page).read_text(encoding="utf-8"), "html.parser")
            assert there.find(id=target) is not None, f"{path}.html#{anchor}"


def test_every_page_and_every_label_is_on_record_and_a_page_that_is_gone_leads_on():
    assert moved.RECORD.read_text(encoding="utf-8") == moved.record(), "run `make editions`"
    gone = set(moved.addresses()) - {page.path for page in book.pages()}
    assert gone <= set(moved.redirects()), f"no line in {moved.REDIRECTS}"


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


@built
def test_the_page_of_public_names_has_each_of_them_with_its_example():
    html = BeautifulSoup((HTML / "book" / "api.html").read_text(encoding="utf-8"), "html.parser")
    for name in companion.__all__:
        assert ">>>" in html.find(id=f"companion.{name}").find_parent("dl").text, name


# A search, and what it has to lead to first: a page, or a place on it.
SEARCHED = {
    "DiT": "book/models",
    "EDM2": "book/models",
    "BibTeX": "book/how_to_cite",
    "half-entropy level": "notebooks/ten_digits#def-half-entropy",
    "Mezard": "book/bibliography",  # who has no accent at hand
}
# What thirty readers asked who had not seen the index, what each hoped for, and the pages that have it.
ASKED = json.loads((ROOT / "tests" / "book" / "searches.json").read_text(encoding="utf-8"))
FOUND = """words => { history.replaceState(null, "", "?q=" + encodeURIComponent(words));
  return Search._performSearch(...Search._parseQuery(words)).reverse().map(found => found[0] + found[2]); }"""


@pytest.fixture(scope="module")
def search(browser):
    """The places that the book's own search finds, best first; one visit of its page answers all."""
    with chromium.visit(browser, HTML / "search.html", "?q=entropy") as visit:
        visit.page.wait_for_function("Search.hasIndex()")
        yield lambda words: visit.page.evaluate(FOUND, words)


@built
@pytest.mark.parametrize(("words", "place"), SEARCHED.items())
def test_a_search_leads_first_to_the_place_that_says_it(words, place, search):
    assert search(words)[0].startswith(place)


@built
def test_of_thirty_searches_27_have_the_right_page_among_the_first_three(search):
    first = {each["query"]: [place.partition("#")[0] for place in search(each["query"])[:3]] for each in ASKED}
    missed = {each["query"]: first[each["query"]] for each in ASKED if not {*each["pages"]} & {*first[each["query"]]}}
    assert len(ASKED) == 30
    assert len(missed) <= 3, missed


@built
def test_a_search_ranks_by_all_words_and_not_by_one(search):
    """Words of titles and of the index, together in no title: each of the pages has one of the three words besides."""
    places = search("KL weight autoencoder")
    assert places[0] == "notebooks/semantic_and_perceptual" and len(places) > 5


@built
def test_the_page_of_a_search_shows_what_it_finds_in_that_order(browser, search):
    with chromium.visit(browser, HTML / "search.html", f"?q={quote('guidance interval')}") as visit:
        visit.page.get_by_text("Search finished").wait_for()
        shown = [link.get_attribute("href") for link in visit.page.locator("#search-results li a").all()[:3]]
    for place, link in zip(search("guidance interval"), shown, strict=False):
        page, _, anchor = place.partition("#")
        assert link.startswith(f"{page}.html") and link.endswith(f"#{anchor}" if anchor else "")


def test_what_is_kept_of_the_layout_is_of_twelve_pages_and_every_kind_of_element():
    kept = layout.kept()
    assert tuple(kept) == layout.PAGES and len(kept) == 12
    assert all(kinds.keys() >= set(layout.FRAME) for kinds in kept.values())
    assert len({kind for kinds in kept.values() for kind in kinds}) > 20
    assert json.loads(layout.KEPT.read_text(encoding="utf-8"))["command"] == "python -m tools.layout"


def test_another_font_and_a_narrower_column_are_seen(browser, tmp_path):
    page = tmp_path / "page.html"
    text = "<article><section><section><p>A line.</p><p>More.</p></section></section></article>"
    style = "<style>p { font: 400 16px/24px monospace; width: 600px; margin: 8px 0 }</style>"
    broken = style.replace("600", "590").replace("monospace", "sans-serif").replace("8px 0", "12px 0")
    found = []
    for head in (style, broken):
        page.write_text(head + text)
        with chromium.visit(browser, page) as visit:
            found.append(layout.measure(visit))
    assert layout.differences(found[0], found[0]) == []
    said = " ".join(layout.differences(found[1], found[0]))
    for sign in (
        "paragraph: width is 590",
        "paragraph: room is 12",
        "paragraph: lines is sans-serif",
        "paragraph: letters is",
    ):
        assert sign in said


def test_a_bad_page_is_seen(tmp_path, browser):
    (tmp_path / "page.html").write_text(
        "<main><article><p>\\(x\\) and $y$</p><mjx-merror data-mjx-error='Undefined control sequence'></mjx-merror>"
        "<img src='missing.png' alt='image'><script>console.error('our own')</script>"
        "<script src='https://example.org/script.js'></script><div class='wide' style='width: 500px'>x</div>"
        f"<pre class='far' style='overflow: auto'>{'a line ' * 99}</pre></article></main>"
    )
    with chromium.visit(browser, tmp_path / "page.html") as visit:
        found = "\n".join(pages.faults(visit))
    signs = ("Undefined control sequence", "x\\\\)", "$y$", "our own", "https://example.org/script.js", "description")
    signs += ("a telephone of 390: ['div.wide: x'", "no keyboard reaches it: pre.far")
    for sign in signs:
        assert sign in found
