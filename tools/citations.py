"""Author and year of a cited work, and its line in a list of references, from `book/references.bib`."""

import re
from functools import cache

from pybtex.database import Entry, Person, parse_file
from pybtex.richtext import Text

from tools.book import ROOT

__all__ = ["authors", "entry", "keys_in", "parenthetical", "textual", "works"]


def parenthetical(keys: list[str]) -> str:
    """(Author and Author, 2026; Author et al., 2025)."""
    return f"({'; '.join(f'{_authors(key)}, {_year(key)}' for key in keys)})"


def textual(keys: list[str]) -> str:
    """Author and Author (2026), Author et al. (2025)."""
    return ", ".join(f"{_authors(key)} ({_year(key)})" for key in keys)


def keys_in(text: str) -> list[str]:
    """The keys that a text in MyST cites, in order, each once.

    >>> keys_in("{cite}`b,a` and {cite:t}`a`")
    ['b', 'a']
    """
    groups = re.findall(r"\{cite(?::[pt])?\}`([^`]+)`", text)
    return list(dict.fromkeys(key.strip() for group in groups for key in group.split(",")))


def works() -> list[str]:
    """Every work of the bibliography."""
    return list(_works())


def authors(key: str) -> list[str]:
    """The authors of a work, each as `Family, Given`."""
    return [_full(person) for person in _work(key).persons["author"]]


def entry(key: str) -> str:
    """One line of a list of references, with a link where the work has an address that lasts."""
    work = _work(key)
    names = "; ".join(_full(person) for person in work.persons["author"])
    line = f"{names} ({_year(key)}). *{_plain(work.fields['title'])}*."
    where = work.fields.get("journal") or work.fields.get("booktitle") or work.fields.get("howpublished")
    if where:
        volume = f" {work.fields['volume']}" if "volume" in work.fields else ""
        line += f" {_plain(where)}{volume}."
    if "doi" in work.fields:
        return f"{line} <https://doi.org/{work.fields['doi']}>"
    if "eprint" in work.fields:
        return f"{line} <https://arxiv.org/abs/{work.fields['eprint']}>"
    return line


@cache
def _works() -> dict[str, Entry]:
    return dict(parse_file(str(ROOT / "book" / "references.bib")).entries)


def _work(key: str) -> Entry:
    if key not in _works():
        raise ValueError(f"book/references.bib has no entry {key}")
    return _works()[key]


def _year(key: str) -> str:
    return str(_work(key).fields["year"])


def _authors(key: str) -> str:
    families = [_family(person) for person in _work(key).persons["author"]]
    if len(families) > 2:
        return f"{families[0]} et al."
    return " and ".join(families)


def _family(person: Person) -> str:
    return " ".join(_plain(name) for name in person.prelast_names + person.last_names)


def _full(person: Person) -> str:
    given = " ".join(_plain(name) for name in person.first_names + person.middle_names)
    return f"{_family(person)}, {given}" if given else _family(person)


def _plain(tex: str) -> str:
    return str(Text.from_latex(tex))
