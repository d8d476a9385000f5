"""Numbers in a table that a chapter's last line shows, in the book and on Colab."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Table", "table"]

# A number as a table has it: a sign, digits, a power of ten, a per cent sign or an error behind it, or a dash for none.
_NUMBER = re.compile(r"[-−+]?(inf|nan|[\d,]*\.?\d+(e[-+]?\d+)?) ?%?( *(±|\+-) *[\d.]+(e[-+]?\d+)?)?|[-–—]")


@dataclass(frozen=True, repr=False)
class Table:
    """Cells of text in rows of one length, shown as a Markdown table; columns of numbers are set right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def _repr_markdown_(self) -> str:
        columns = zip(*self.rows, strict=True) if self.rows else ([] for _ in self.head)
        rule = ["---:" if all(map(_NUMBER.fullmatch, filter(None, each))) else "---" for each in columns]
        lines = [self.head, *self.rows]
        head, *rows = (" | ".join(cell.replace("|", r"\|") for cell in line) for line in lines)
        return "\n".join(f"| {line} |" for line in (head, " | ".join(rule), *rows))

    def __repr__(self) -> str:
        return self._repr_markdown_()


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Table:
    r"""A table of a head and rows of cells, each as `str` has it; ValueError for a row of another length.

    Markdown in a cell is set, mathematics between dollars too; a bar in a cell is escaped, so TeX has `\mid` and
    `\lVert` for its own.

    >>> table(["pair", 64], [["3|8", -0.91], ["4|9", f"{-1.7:.2f}"]])
    | pair | 64 |
    | --- | ---: |
    | 3\|8 | -0.91 |
    | 4\|9 | -1.70 |
    """
    cells = tuple(tuple(map(str, row)) for row in rows)
    for row in cells:
        if len(row) != len(head):
            raise ValueError(f"a row has {len(row)} cells, expected {len(head)}, as the head: {row}")
    return Table(tuple(map(str, head)), cells)
