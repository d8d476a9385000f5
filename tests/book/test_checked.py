"""The pages on trust: what they count is what the code has, what they name exists, and no chapter is left out."""

import os
import re

import pytest
from bs4 import BeautifulSoup

from derivations import identities
from tools import book, checked, editions, reading
from tools.book import ROOT

CHAPTERS = [pytest.param(page, id=page.source.stem) for page in book.chapters()]
ERRATA = (ROOT / "book" / "errata.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^\*\*(.+?)\*\*.*?(?=^\*\*|^\(|\Z)", ERRATA, re.DOTALL | re.MULTILINE)
KNOWN = "## What is known and what is new"
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


@pytest.mark.parametrize(("page", "counted"), editions.COUNTED, ids=lambda each: getattr(each, "stem", ""))
def test_what_a_page_counts_is_what_the_chapters_have(page, counted):
    now = page.read_text(encoding="utf-8")
    assert counted(now) == now, "run `make editions`"


def test_every_line_of_the_pages_of_equations_is_counted_once_and_with_a_known_word():
    for name, last in (("paper", 111), ("information_dynamics", 100), ("separability", 70)):
        path = ROOT / "book" / f"equations_of_{'the_' * (name == 'paper')}{name}.md"
        lines = list(checked._rows(path))
        assert {how for _, how in lines} <= set(checked.HOW)
        assert sum(numbers for numbers, _ in lines) == last


def test_the_worlds_of_every_identity_say_what_they_are():
    silent = [label for label, each in identities().items() if not checked.about(each.worlds)]
    assert not silent, "the function that makes their worlds has no docstring"


def test_every_module_with_identities_has_a_test_that_tries_their_slips():
    for module in sorted((ROOT / "derivations").glob("*/*.py")):
        if "\ndef identities(" in module.read_text(encoding="utf-8"):
            tests = sorted((ROOT / "tests" / "derivations" / module.parent.name).glob("test_*.py"))
            said = [test for test in tests if "survivors(" in (text := test.read_text("utf-8")) and module.stem in text]
            assert said, f"no test in tests/derivations/{module.parent.name} tries the slips of {module.name}"


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_correction_names_a_test_that_exists(entry):
    body = ERRATA.split(f"**{entry}**", 1)[1].split("\n**", 1)[0]
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", body)
    assert named, "*Test:* `tests/...py::test_...` is missing"
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_chapter_says_what_is_known_and_what_is_new(page):
    text = page.source.read_text(encoding="utf-8")
    assert text.count(f"\n{KNOWN}\n") == 1, f"one section `{KNOWN}` is missing"
    said = re.split(r"^#", text.split(f"\n{KNOWN}\n")[1], flags=re.MULTILINE)[0]
    assert "{cite" in said, f"the section `{KNOWN}` cites nobody"


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_chapter_is_on_a_path(page):
    ways = reading.paths(reading.PAGE.read_text(encoding="utf-8"))
    on = [label for label, chapters in ways.items() if page.path in chapters]
    assert on, f"add a line to book/reading_paths.md: - {{doc}}`/{page.path}`, 0 minutes: why"


def test_the_front_page_leads_to_every_path():
    ways = reading.paths(reading.PAGE.read_text(encoding="utf-8"))
    front = reading.FRONT.read_text(encoding="utf-8")
    assert re.findall(r"\{ref\}`(path-\w+)`, \d+ chapters", front) == list(ways)
    assert all(len(set(chapters)) == len(chapters) >= 4 for chapters in ways.values())


def test_minutes_are_words_and_displays(monkeypatch):
    page = book.chapters()[0]
    cells = book._cells_of(
        "\n".join(["word " * 398 + "$a + b$ end.", "", "$$\nx\n$$", "", "$$\ny\n$$", "", "$$ z $$ (eq-z)"])
    )
    monkeypatch.setattr(book, "read_cells", lambda _: cells)
    assert reading.minutes(page) == round(400 / 200 + 3 / 4)


@built
def test_the_page_shows_its_tables_and_a_box_leads_to_it():
    html = BeautifulSoup(
        (ROOT / "_build" / "html" / "book" / "what_checked_means.html").read_text("utf-8"), "html.parser"
    )
    assert len(html.find_all("table")) == 5
    assert len({link["href"] for link in html.select("table a.reference") if "#equation-" in link["href"]}) > 300
