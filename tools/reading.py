"""How long chapters take to read and to run; `make editions` writes it where each opens, and after links on pages that
lead through them.

A path is a section of `book/reading_paths.md` with a label `path-...`; its lines name chapters, each with its minutes,
and the section says how many they are. The front page repeats the sums, and says what its first door takes. Seconds are
those of book/figures.json.
"""

import json
import re
from collections.abc import Iterator
from functools import cache

from tools import book
from tools.blocks import Equation, Text, inside, parse

__all__ = ["FRONT", "PAGE", "minutes", "paths", "with_minutes", "with_sums", "with_times"]

PAGE = book.ROOT / "book" / "reading_paths.md"
FRONT = book.ROOT / "book" / "introduction.md"

_WORDS_A_MINUTE = 200
_DISPLAYS_A_MINUTE = 4  # a displayed formula or a figure takes a quarter of a minute


def minutes(page: book.Page) -> int:
    """Minutes to read a chapter: 200 words each, an inline formula as one word, and four displays or figures each."""
    words = displays = 0
    for cell in book.read_cells(page).cells:
        if cell.cell_type == "code":
            displays += "figure" in cell.metadata.get("mystnb", {})
            continue
        for block in inside(parse(cell.source)):
            displays += isinstance(block, Equation)
            words += len(re.sub(r"\$[^$]+\$", "x", block.text).split()) if isinstance(block, Text) else 0
    return round(words / _WORDS_A_MINUTE + displays / _DISPLAYS_A_MINUTE)


def with_times(text: str, page: book.Page) -> str:
    """The text of a chapter with the times of its opening: minutes to read, and seconds to run when last measured."""
    seconds = json.loads((book.ROOT / "book" / "figures.json").read_text(encoding="utf-8"))["seconds"]
    run = seconds.get(page.source.stem) or 60  # a chapter that was never measured has to stay below this
    told = f"{minutes(page)} minutes to read, {run:.0f} seconds to run"
    return re.sub(r"\d+ minutes to read, \d+ seconds to run", told, text, count=1)


def paths(text: str) -> dict[str, list[str]]:
    """The chapters of each path of a page, by the label of its section."""
    return {label: re.findall(r"^- \{doc\}`/(notebooks/\w+)`", body, re.MULTILINE) for label, body in _sections(text)}


def with_minutes(text: str) -> str:
    """The page of paths with the minutes of each chapter, and the sum of each path below its heading.

    >>> with_minutes("- {doc}`/notebooks/nowhere`, 9 minutes: why")
    Traceback (most recent call last):
        ...
    ValueError: notebooks/nowhere is no chapter of _toc.yml
    """
    text = re.sub(
        r"(\{doc\}`/(notebooks/\w+)`), \d+ minutes", lambda found: f"{found[1]}, {_of(found[2])} minutes", text
    )
    for label, body in _sections(text):
        told = re.sub(r"\d+ chapters, \d+ minutes", _sum(paths(text)[label]), body, count=1)
        text = text.replace(body, told)
    return text


def with_sums(text: str) -> str:
    """The front page with the sum of each path after its link, and the minutes of the first chapter on its door."""
    ways = paths(PAGE.read_text(encoding="utf-8"))
    text = re.sub(r"(Read the idea in) \d+ minutes", rf"\1 {minutes(book.chapters()[0])} minutes", text)
    return re.sub(
        r"(\{ref\}`(path-\w+)`), \d+ chapters, \d+ minutes", lambda found: f"{found[1]}, {_sum(ways[found[2]])}", text
    )


def _sections(text: str) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"^\((path-\w+)\)=\n(.*?)(?=^\(|\Z)", text, re.DOTALL | re.MULTILINE)


def _sum(chapters: list[str]) -> str:
    return f"{len(chapters)} chapters, {sum(map(_of, chapters))} minutes"


@cache
def _of(path: str) -> int:
    for page in book.chapters():
        if page.path == path:
            return minutes(page)
    raise ValueError(f"{path} is no chapter of _toc.yml")
