"""What is proved, compared and tried, counted for the page "What checked means", into which `make editions` writes it.

Every number is read off the code: statements and their proofs from the pages, tests by their names, identities with the
worlds in which they are evaluated from `derivations`, the rest from the three pages of equations and the shipped run of
slips in the package.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from derivations import identities
from derivations.kit.coordinates import in_coordinates
from derivations.kit.worlds import World, Worlds, first_sentence, jets, random_fields
from tools import book, statements
from tools.tables import between, row

__all__ = ["HOW", "PAGE", "about", "page_with_counts"]

PAGE = book.ROOT / "book" / "what_checked_means.md"
HOW = ("proved", "special case", "numbers", "prose")
_PAPERS = {"ES": "equations_of_the_paper", "ID": "equations_of_information_dynamics", "SI": "equations_of_separability"}
_SLIPS = book.ROOT / "benchmarks" / "results" / "mutation.json"


def page_with_counts(page: str) -> str:
    """The page with every table made new; ValueError if it lacks a marker."""
    tables = {
        "statements": _statements(),
        "equations": _equations(),
        "papers": _papers(),
        "worlds": _worlds(),
        "displays": _displays(),
        "slips": _slips(),
    }
    for name, lines in tables.items():
        page = between(page, name, "checked", lines)
    return page


def _statements() -> list[str]:
    found = statements.statements()
    parts = [part for page in book.chapters() for part in statements.parts(page)]
    proved = {label for kind, label, _ in parts if kind == "proof"}
    lines = ["| Kind | Statements | With a proof below | With a test of their name |", "|---|---:|---:|---:|"]
    for kind in statements.KINDS:
        labels = [label for label, each in found.items() if each.kind == kind]
        tested = [label for label in labels if statements.tests_of(label)]
        lines.append(row(kind, len(labels), len(proved.intersection(labels)), len(tested)))
    return lines


def _equations() -> list[str]:
    found = Counter(_how(*each) for page in book.chapters() for each in statements.equations(page))
    lines = ["| Labelled equations | Number |", "|---|---:|"]
    lines += [row(how, found[how]) for how in (_IDENTITY, _OWN, _PART, _DEFINITION, _OTHERWISE)]
    return [*lines, row("all", found.total())]


_IDENTITY = "identities: SymPy objects, printed into the page, with every slip tried"
_OWN = "with a test named by their label"
_PART = "part of a statement that has a test, or of its proof"
_DEFINITION = "part of a definition, which says what a symbol means"
_OTHERWISE = "with a test of another name"


def _how(label: str, statement: str) -> str:
    if label in identities():
        return _IDENTITY
    if statements.tests_of(label):
        return _OWN
    if statement:
        return _DEFINITION if book.labels()[statement].kind == "definition" else _PART
    return _OTHERWISE


def _papers() -> list[str]:
    lines = [row("Paper", *HOW, "numbered equations"), "|---|" + "---:|" * (len(HOW) + 1)]
    for paper, name in _PAPERS.items():
        found = Counter[str]()
        for numbers, how in _rows(book.ROOT / "book" / f"{name}.md"):
            found[how] += numbers
        lines.append(row(f"{{doc}}`{paper} </book/{name}>`", *(found[how] for how in HOW), found.total()))
    return lines


def _rows(path: Any) -> Iterator[tuple[int, str]]:
    """Of each line of a page of equations: how many numbers it stands for, and how it is checked."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| (\d+[\d, to]*) \|.*\| ([a-z ]+) \|$", line):
            spans = [[int(end) for end in part.split(" to ")] for part in found[1].split(", ")]
            yield sum(span[-1] - span[0] + 1 for span in spans), found[2]


def about(worlds: Sequence[World]) -> str:
    """What is taken for granted in worlds, which have one sentence in common; no world is made for it."""
    return worlds.about if isinstance(worlds, Worlds) else worlds[0].about


def _worlds() -> list[str]:
    free = {first_sentence(make) for make in (jets, in_coordinates, random_fields)}
    seen = Counter[tuple[str, str, int]]()
    for label in book.labels().keys() & identities().keys():
        worlds = identities()[label].worlds
        seen[book.labels()[label].page, about(worlds), len(worlds)] += 1
    in_free = sum(count for (_, made, _), count in seen.items() if made in free)
    lines = [
        f"Of {seen.total()} identities {in_free} hold where every symbol is free, but for definitions and equations",
        "of motion. The others hold in worlds that were computed otherwise.",
        "",
        ":::{div} full-width",
        "| Chapter | What the worlds are | Worlds | Identities |",
        "|---|---|---:|---:|",
    ]
    pages = [page.path for page in book.pages()]
    for (page, made, number), count in sorted(seen.items(), key=lambda each: (pages.index(each[0][0]), each[0])):
        lines.append(row(f"{{doc}}`/{page}`", re.sub(r"[*_$\\]", r"\\\g<0>", made), number, count))
    return [*lines, ":::"]


def _displays() -> list[str]:
    lines = [":::{div} full-width", "| Chapter | Every slip tried | Other labelled equations |", "|---|---|---|"]
    for page in book.chapters():
        labels = [label for label, _ in statements.equations(page)]
        kinds = [[label for label in labels if (label in identities()) == tried] for tried in (True, False)]
        cells = [", ".join(f"{{eq}}`{label}`" for label in kind) or "none" for kind in kinds]
        lines.append(row(f"{{doc}}`/{page.path}`", *cells))
    return [*lines, ":::"]


def _slips() -> list[str]:
    run = json.loads(_SLIPS.read_text(encoding="utf-8"))
    found = sum((Counter(verdicts) for verdicts in run["modules"].values()), Counter[str]())
    return [
        f"The last run made {run['slips']} slips in {len(run['modules'])} modules. The tests refused "
        f"{run['slips'] - found['survived']};",
        f"{found['survived']} passed them, and each of these is proved to change nothing.",
    ]
