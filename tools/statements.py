"""Which test checks which numbered statement: the one named by its label, `test_` and the label with `_` for `-`.

A longer name belongs to the longest label that it begins with, so that a statement may have several tests.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby

from tools import book
from tools.blocks import Block, Directive, Equation, inside, parse

__all__ = ["KINDS", "described", "equations", "named_tests", "parts", "statements", "tests_of"]

KINDS = ("theorem", "proposition", "lemma", "corollary", "definition")


def statements() -> dict[str, book.Label]:
    """Every numbered statement of the book, by its label."""
    return {name: label for name, label in book.labels().items() if label.kind in KINDS}


def parts(page: book.Page) -> Iterator[tuple[str, str, Block]]:
    """Each block of a page's text, its kind if it is a directive, and the label of the last statement so far, or ''."""
    statement = ""
    for cell in book.read_cells(page).cells:
        for block in parse(cell.source) if cell.cell_type == "markdown" else []:
            kind = block.name.removeprefix("prf:") if isinstance(block, Directive) else ""
            if isinstance(block, Directive) and kind in KINDS:
                statement = block.options["label"]
            yield kind, statement, block


def equations(page: book.Page) -> Iterator[tuple[str, str]]:
    """Each labelled equation of a page with the statement that it is part of, or whose proof it is part of, or ''."""
    for kind, statement, block in parts(page):
        part_of = statement if kind in (*KINDS, "proof") else ""
        yield from ((one.label, part_of) for one in inside([block]) if isinstance(one, Equation) and one.label)


def tests_of(label: str) -> tuple[str, ...]:
    """The tests of a statement or an equation, as pytest names them: `tests/.../test_x.py::test_label`."""
    return named_tests().get(label, ())


def described(label: str) -> str:
    """One sentence for a page without a box: the label, and the tests by file."""
    by_file = groupby((test.split("::") for test in tests_of(label)), key=lambda test: test[0])
    tested = [f"{', '.join(f'`{name}`' for _, name in tests)} in `{file}`" for file, tests in by_file]
    return f"*Label `{label}`, tested by {', '.join(tested)}.*" if tested else f"*Label `{label}`.*"


@cache
def named_tests() -> dict[str, tuple[str, ...]]:
    """The tests of every label that has some."""
    begins = {f"test_{label.replace('-', '_')}_": label for label in sorted(book.labels(), key=len, reverse=True)}
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted((book.ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE):
            label = next((label for begin, label in begins.items() if f"{name}_".startswith(begin)), None)
            if label:
                found[label] = (*found.get(label, ()), f"{file.relative_to(book.ROOT).as_posix()}::{name}")
    return found
