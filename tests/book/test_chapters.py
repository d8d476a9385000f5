"""Every chapter: its two editions agree, it ran, and nothing in it would reach a reader as raw markup."""

import ast
import json
import os
import re
from xml.etree import ElementTree

import nbformat
import pytest

from tools import book, editions
from tools.blocks import Directive, Text, parse
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
def test_the_chapter_opens_with_what_a_reader_can_do_after_it(page):
    first = parse(book.read_cells(page).cells[0].source)
    assert first[0] == Text(f"# {page.title}")
    opening = first[1]
    assert isinstance(opening, Directive)
    assert (opening.argument, opening.options) == ("After this chapter you can", {"class": "opening"})
    items = re.findall(r"^- (.+)$", opening.body, re.MULTILINE)
    assert 2 <= len(items) <= 4
    assert not re.search(r"[.;,]\n(- |\n)", opening.body), "no item ends with a stop"
    times = r"\d+ minutes to read, \d+ seconds to run on two\s+cores without an accelerator\. It needs "
    assert re.search(times, " ".join(opening.body.split()))


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_cell_that_imports_is_folded(page):
    in_solution = False
    for cell in book.read_cells(page).cells:
        if cell.cell_type == "code" and not in_solution and re.search(r"^(import|from) ", cell.source, re.MULTILINE):
            assert {"hide-input", "hide-cell"} & set(cell.metadata.get("tags", [])), cell.source
        elif cell.cell_type == "markdown":  # a solution is folded as a whole
            for edge in re.findall(r"^:::\{solution-(start|end)\}", cell.source, re.MULTILINE):
                in_solution = edge == "start"


def solutions(page: book.Page) -> dict[str, int]:
    """For each exercise of a chapter the number of code cells in the solution that follows it; -1 without one."""
    found: dict[str, int] = {}
    asked = solved = ""
    for cell in book.read_cells(page).cells:
        if cell.cell_type == "code":
            found[solved] = found.get(solved, 0) + 1
            continue
        for block in (block for block in parse(cell.source) if isinstance(block, Directive)):
            if block.name == "exercise":
                assert block.argument, "an exercise has a title"
                asked = block.options["label"]
                found[asked] = -1
            elif block.name == "solution-start":
                assert block.argument == asked, "a solution follows its exercise"
                assert block.options == {"class": "dropdown"}
                solved, found[asked] = asked, 0
            elif block.name == "solution-end":
                solved = ""
    return {label: cells for label, cells in found.items() if label}


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_exercise_is_followed_by_a_solution_that_runs(page):
    found = solutions(page)
    assert found, "a chapter has an exercise"
    assert not [label for label, cells in found.items() if cells < 1]
    assert all(label.startswith("ex-") for label in found)


def padded(code: str) -> list[str]:
    """The formats of printed values that are padded to a width, as the columns of a table are."""
    calls = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    printed = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    values = [part for call in printed for part in ast.walk(call) if isinstance(part, ast.FormattedValue)]
    formats = [ast.unparse(value.format_spec) for value in values if value.format_spec]
    return [spec for spec in formats if re.match(r"""f['"](.?[<>=^])?[-+ ]?\d""", spec)]


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_table_is_a_table_and_not_printed_text(page):
    code = [cell.source for cell in book.read_cells(page).cells if cell.cell_type == "code"]
    assert not [spec for source in code for spec in padded(source)], "use derivations.kit.tables"


def test_a_padded_print_is_noticed_and_a_plain_one_is_not():
    assert len(padded("print(f'{a:12s} {b:8.3f}')\nprint(f'{c:>5}')")) == 3
    assert not padded("print(f'{a:.3f}, {b:+.2e}, {c}, {d:,}')\nlabel = f'{e:8.3f}'")


@built
@pytest.mark.parametrize("page", CHAPTERS)
def test_no_printed_text_has_columns(page):
    executed = nbformat.read(ROOT / ".nbrun" / f"{page.source.stem}.ipynb", as_version=4)
    for output in (output for cell in executed.cells for output in cell.get("outputs", [])):
        if output.output_type == "stream":
            spaced = [len(re.findall(r"\S {2,}\S", line)) >= 2 for line in output.text.splitlines()]
            assert not any(all(spaced[n : n + 3]) for n in range(len(spaced) - 2)), output.text


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
