"""Tables that a tool writes into a page, between two comments that name the table and the tool.

% figures: written by tools/reproducibility.py
...
% end of figures
"""

from collections.abc import Sequence

__all__ = ["between", "row"]


def between(page: str, name: str, tool: str, lines: Sequence[str]) -> str:
    """The page with other lines between its comments; ValueError if it has them not, or twice.

    >>> between("% a: written by tools/b.py\\n% end of a\\n", "a", "b", ["one"])
    '% a: written by tools/b.py\\n\\none\\n\\n% end of a\\n'
    """
    first, last = f"% {name}: written by tools/{tool}.py", f"% end of {name}"
    if page.count(first) != 1 or page.count(last) != 1:
        raise ValueError(f"the page lacks its marker lines '{first}' and '{last}'")
    before, rest = page.split(first)
    after = rest.split(last)[1]
    return before + "\n".join([first, "", *lines, "", last]) + after


def row(*cells: object) -> str:
    r"""A row of a table, with the bars inside its cells escaped.

    >>> row("a|b", 3)
    '| a\\|b | 3 |'
    """
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"
