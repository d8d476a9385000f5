"""Next to every numbered statement stand its link, its test and an entry to cite, on the page and on Colab."""

import os

import pytest
from bs4 import BeautifulSoup
from pybtex.database import parse_string

import companion
from tools import book, citable, statements
from tools.book import ROOT
from tools.prose import Prose

STATEMENTS = statements.statements()
CHAPTERS = [pytest.param(page, id=page.source.stem) for page in book.chapters()]
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


@pytest.mark.parametrize("label", [label for label, found in STATEMENTS.items() if found.kind != "definition"])
def test_every_statement_that_is_not_a_definition_has_the_test_that_its_label_names(label):
    assert statements.tests_of(label), f"no test_{label.replace('-', '_')} in tests/"


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_every_statement_on_the_page_has_its_box_and_nothing_else_has_one(page):
    html = BeautifulSoup((ROOT / "_build" / "html" / f"{page.path}.html").read_text(encoding="utf-8"), "html.parser")
    expected = {label: found for label, found in STATEMENTS.items() if found.page == page.path}
    assert [box.parent["id"] for box in html.select("details.citable")] == list(expected)
    for label, found in expected.items():
        (box,) = html.find(id=label).find_all("details", recursive=False)
        assert not box.has_attr("open")
        address, tests = f"{book.home()}{page.path}.html#{label}", statements.tests_of(label)
        link, *meaning = box.find_all("a")
        assert (link.text, link["href"]) == (address, address if book.home() else f"#{label}")
        assert [each["href"] for each in meaning] == ["../book/what_checked_means.html"] * bool(tests)
        assert [code.text for code in box.find_all("code")] == list(tests)
        *command, entry = [listing.text.strip() for listing in box.find_all("pre")]
        assert command == ([f"python -m pytest {' '.join(tests)}"] if tests else [])
        assert ("nothing to test" in box.text) == (not tests)
        ((key, cited),) = parse_string(entry, "bibtex").entries.items()
        assert (key, cited.type) == (f"companion:{label}", "misc")
        assert cited.fields["title"].endswith(f"({found.kind} {found.number})")
        assert cited.fields["howpublished"] == book.title()
        assert cited.fields["year"] == book.year()
        assert cited.fields["note"].replace("\\", "").startswith(f"Page {page.path}.html#{label}, ")
        assert cited.fields["note"].endswith(f"version {companion.__version__}")
        assert [str(author) for author in cited.persons["author"]] == ["{The companion's contributors}"]


def test_an_entry_keeps_formulas_and_takes_everything_else_literally(monkeypatch):
    monkeypatch.setattr(book, "home", lambda: "https://example.org/book/")
    link = "https://example.org/book/notebooks/a.html#prop-a"
    text = citable.bibtex("prop-a", "50% of $\\E x_1$ & *more* (proposition 1.1)", link)
    cited = parse_string(text, "bibtex").entries["companion:prop-a"].fields
    assert cited["title"] == "50\\% of $\\mathbb{E} x_1$ \\& more (proposition 1.1)"
    assert cited["url"] == link
    assert cited["note"].startswith("Page notebooks/a.html\\#prop-a, version")


def test_the_page_on_citing_shows_the_entry_that_a_reader_finds(monkeypatch):
    monkeypatch.setattr(book, "address", lambda: "")
    monkeypatch.setattr(book, "home", lambda: "")
    monkeypatch.setattr(companion, "__version__", "VERSION")
    label = "thm-class-entropy-production"
    link = f"{STATEMENTS[label].page}.html#{label}"
    shown = citable.bibtex(label, f"{STATEMENTS[label].title} (theorem N)", link)
    assert f"```bibtex\n{shown}\n```" in (ROOT / "book" / "how_to_cite.md").read_text(encoding="utf-8")


def test_the_colab_edition_says_label_and_test_in_one_line():
    page = book.chapters()[0]
    text = "```{prf:theorem} Name\n:label: thm-class-entropy-production\n$x$\n```"
    said = Prose(page).markdown(text).split("\n\n")[-1]
    assert said == (
        "*Label `thm-class-entropy-production`, tested by `test_thm_class_entropy_production` in "
        "`tests/exact/test_quadrature.py`.*"
    )
    assert statements.described("def-class-entropy") == "*Label `def-class-entropy`.*"


def test_a_test_belongs_to_the_longest_label_that_begins_its_name(monkeypatch, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(
        "def test_prop_a():\n    pass\n\n\ndef test_prop_a_again(number):\n    pass\n\n\n"
        "def test_prop_a_b():\n    pass\n\n\ndef test_prop_about():\n    pass\n"
    )
    monkeypatch.setattr(book, "ROOT", tmp_path)
    monkeypatch.setattr(book, "labels", lambda: {"prop-a": None, "prop-a-b": None})
    assert statements.named_tests.__wrapped__() == {
        "prop-a": ("tests/test_x.py::test_prop_a", "tests/test_x.py::test_prop_a_again"),
        "prop-a-b": ("tests/test_x.py::test_prop_a_b",),
    }
