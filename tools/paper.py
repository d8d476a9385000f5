"""The numbers of the paper about the book, paper/paper.md: each is followed by a comment that names it.

`make editions` writes them again from the shipped results and from what is counted in the book. Pandoc and GitHub show
none of the comments.
"""

import re
from collections.abc import Callable

from derivations import identities
from derivations.does_it_depend_on_the_network.spread import spread_over_networks
from derivations.kit.measured import read
from tools import book, statements

__all__ = ["PAGE", "VALUES", "with_values"]

PAGE = book.ROOT / "paper" / "paper.md"
_VALUE = re.compile(r"[^\s(]+<!-- (?P<name>[^>]+) -->")


def with_values(text: str) -> str:
    """The text with every named number made new; ValueError for a name that means nothing.

    >>> with_values("It has 0<!-- chapters --> chapters.").startswith("It has 0")
    False
    >>> with_values("It has 0<!-- pages and pages --> pages.")
    Traceback (most recent call last):
        ...
    ValueError: the paper asks for 'pages and pages', expected one of ...
    """

    def written(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in VALUES:
            raise ValueError(f"the paper asks for {name!r}, expected one of {', '.join(VALUES)}")
        return f"{VALUES[name]()}<!-- {name} -->"

    return _VALUE.sub(written, text)


def _half_entropy(pair: str) -> str:
    measured = read("kit/digits_profiles")
    return f"{measured['half_entropy'][list(measured['partitions']).index(pair)][0]:.2f}"


def _labels(*kinds: str) -> str:
    return str(sum(label.kind in kinds for label in book.labels().values()))


def _between_networks() -> str:
    pairs = list(read("does_it_depend_on_the_network/levels")["partitions"]).index("0|all")
    networks = read("does_it_depend_on_the_network/levels")["networks"].values()
    values = [[run["half_entropy"][:pairs] for run in runs] for runs in networks]
    return f"{spread_over_networks(values).deviation:.3f}"


VALUES: dict[str, Callable[[], str]] = {
    "chapters": lambda: str(len(book.chapters())),
    "statements": lambda: str(len(statements.statements())),
    "identities": lambda: str(len(identities())),
    "exercises": lambda: _labels("exercise"),
    "widgets": lambda: str(len(list((book.ROOT / "book" / "widgets").glob("*.png")))),
    "figures": lambda: _labels("figure"),
    "half-entropy of 0 or 1": lambda: _half_entropy("0|1"),
    "half-entropy of 4 or 9": lambda: _half_entropy("4|9"),
    "half-entropy of 3 or 8": lambda: _half_entropy("3|8"),
    "deviation between networks": _between_networks,
}
