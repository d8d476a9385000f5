"""Every chapter: its two editions agree, it ran, and nothing in it would reach a reader as raw markup."""

import ast
import json
import os
import re
from xml.etree import ElementTree

import nbformat
import pytest

from tools import book, editions
from tools.book import ROOT
from tools.prose import expand

CHAPTERS = [pytest.param(page, id=page.source.stem) for page in book.chapters()]
REPORT = ROOT / ".nbrun" / "report.xml"
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="chapters are run by `make test` only")


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_colab_edition_is_the_one_written_from_the_text(page):
    assert page.source.with_suffix(".ipynb").read_text(encoding="utf-8") == editions.edition(page), (
        "run `make editions`"
    )


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_set_up_cell_is_the_common_one_and_first(page):
    first = next(cell for cell in book.read_cells(page).cells if cell.cell_type == "code")
    assert first.source == editions.setup_cell(), "run `make editions`"
    assert first.metadata["tags"] == ["hide-cell", "setup"]


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_colab_edition_shows_no_raw_markup(page):
    notebook = nbformat.reads(page.source.with_suffix(".ipynb").read_text(encoding="utf-8"), as_version=4)
    macros = "|".join(book.macros())
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or not cell.outputs
        if cell.cell_type == "markdown":
            prose = re.sub(r"^```.*?^```|`[^`]*`", "", cell.source, flags=re.DOTALL | re.MULTILINE)
            assert not re.search(r":::|```\{|\{[\w:-]+\}`|^\([\w-]+\)=|^%", prose, re.MULTILINE), cell.source
            assert not re.search(rf"\\({macros})(?![A-Za-z])", prose), cell.source


@pytest.mark.parametrize("page", CHAPTERS)
def test_no_line_within_a_formula_begins_like_an_item_of_a_list(page):
    """Markdown would begin a list there, and leave the halves of the formula as raw text."""
    for cell in book.read_cells(page).cells:
        if cell.cell_type == "markdown":
            for paragraph in re.split(r"\n\s*\n|^\s*\$\$.*$", cell.source, flags=re.MULTILINE):
                for item in re.finditer(r"^\s*[-+*] ", paragraph, re.MULTILINE):
                    assert paragraph[: item.start()].count("$") % 2 == 0, paragraph


@pytest.mark.parametrize("page", CHAPTERS)
def test_no_code_cell_installs_by_a_bare_name_or_reads_a_file_beside_it(page):
    for cell in book.read_cells(page).cells:
        assert "pip install companion" not in cell.source


def imported(code: str) -> set[str]:
    """Every module or name that code imports, dotted in full."""
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {
        f"{node.module}.{name.name}" if isinstance(node, ast.ImportFrom) else name.name
        for node in found
        for name in node.names
    }


def not_its_own(page: book.Page, names: set[str]) -> set[str]:
    """What a chapter imports of the repository beyond the package, the kit and its own folder."""
    own = ("companion.", "derivations.kit.", f"derivations.{page.source.stem}.")
    ours = {path.name for path in ROOT.iterdir() if any(path.glob("*.py"))}
    return {name for name in names if name.split(".")[0] in ours and not f"{name}.".startswith(own)}


@pytest.mark.parametrize("page", CHAPTERS)
def test_the_chapter_imports_the_package_the_kit_and_its_own_folder_only(page):
    notebook = nbformat.reads(page.source.with_suffix(".ipynb").read_text(encoding="utf-8"), as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert not not_its_own(page, imported(code))


def test_an_import_from_another_chapter_is_noticed():
    first, other = (page.source.stem for page in book.chapters()[:2])
    code = f"from derivations import {other}, {first}, kit\nimport numpy, tools.book\nfrom companion import forward"
    assert not_its_own(book.chapters()[0], imported(code)) == {f"derivations.{other}", "tools.book"}


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_the_chapter_ran(page):
    name = re.compile(rf"\b{page.source.stem}\b")  # one chapter's name may hold another's
    cases = [case for case in ElementTree.parse(REPORT).iter("testcase") if name.search(str(case.attrib))]
    assert len(cases) == 1, "it ran exactly once"
    assert not [child.get("message") for child in cases[0] if child.tag in ("failure", "error", "skipped")]


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_every_cell_that_draws_says_what_it_shows(page):
    executed = nbformat.read(ROOT / ".nbrun" / f"{page.source.stem}.ipynb", as_version=4)
    for cell in executed.cells:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 6, f"mystnb: image: alt: is missing above\n{cell.source}"
            values = [output for output in cell.outputs if output.output_type == "execute_result"]
            assert not values, f"the last line also shows its value, and the caption would stand twice:\n{cell.source}"
    assert "application/vnd.jupyter.widget" not in json.dumps(executed), "widgets pull scripts from a network"


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_a_formula_that_a_cell_puts_out_is_standard_tex_as_colab_needs_it(page):
    executed = nbformat.read(ROOT / ".nbrun" / f"{page.source.stem}.ipynb", as_version=4)
    outputs = [output.get("data", {}) for cell in executed.cells for output in cell.get("outputs", [])]
    for text in (data[kind] for data in outputs for kind in ("text/latex", "text/markdown") if kind in data):
        assert expand(text) == text
