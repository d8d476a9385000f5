"""What a chapter's table looks like to a reader: cells where they belong, as MyST reads them."""

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from derivations.kit.tables import table


def shown(markdown: str) -> list[list[str]]:
    reader = create_md_parser(MdParserConfig(enable_extensions={"dollarmath"}), RendererHTML)
    html = BeautifulSoup(reader.render(markdown), "html.parser")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in html.find_all("tr")]


@given(st.lists(st.tuples(st.from_regex(r"[a-z0-9]+(\|[a-z0-9]+)?", fullmatch=True), st.integers()), min_size=1))
def test_every_cell_is_shown_where_it_belongs(rows):
    assert shown(repr(table(["a", "b"], rows))) == [["a", "b"], *([name, str(value)] for name, value in rows)]


@pytest.mark.parametrize(
    ("cells", "rule"),
    [
        (["-1.70", "12%", "3e-5", "0.1 ± 0.02", "", "–", "1,234"], "---:"),
        (["1.7", "not measured"], "---"),
        (["3|8"], "---"),
    ],
)
def test_a_column_of_numbers_is_set_right(cells, rule):
    assert repr(table(["x"], [[cell] for cell in cells])).splitlines()[1] == f"| {rule} |"


def test_a_row_of_another_length_is_refused_with_its_cells():
    with pytest.raises(ValueError, match=r"a row has 1 cells, expected 2, as the head: \('a',\)"):
        table(["x", "y"], [["a"]])
