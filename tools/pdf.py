"""The book as one PDF: each page printed by Chromium from its article, then joined, with bookmarks and links inside.

A link inside the book is printed as an address that nobody has, and joining makes a link of it that needs no network.
After the last sheet of a page Chromium prints links to all of its anchors, for it notes where an anchor stands only if
something leads there; they are left out of the book.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bs4 import BeautifulSoup
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    BooleanObject,
    DictionaryObject,
    Fit,
    FloatObject,
    IndirectObject,
    NameObject,
    NullObject,
    TextStringObject,
)

from tools import book
from tools.articles import Entry

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["Sheets", "join", "numbers", "printed"]

_INSIDE = "https://inside.invalid/#"
_ANCHORS = "anchors"
_READY = """
([inside, anchors]) => {
  for (const link of document.querySelectorAll("a[href^='#']")) link.href = inside + link.getAttribute("href").slice(1);
  const places = [...document.querySelectorAll("main [id]")].map((e) => e.id), list = document.createElement("div");
  list.id = anchors;
  list.innerHTML = [...places, anchors].map((id) => `<a href="#${id}">${id}</a>`).join(" ");
  document.body.append(list);
}
"""
_STYLE = f"""
#{_ANCHORS} {{ break-before: page; font-size: 4pt; }}
main article section > h1, main article > h1 {{ display: block !important; }}
#contents {{ break-before: page; }}
#contents {{ font-size: 0.8rem; line-height: 1.35; }}
#contents ol {{ list-style: none; margin: 0; padding-left: 1.2em; }}
#contents .sheet {{ float: right; }}
p.part {{ font-style: italic; }}
@page {{ @bottom-center {{ content: counter(page); font: 8pt sans-serif; }} }}
"""


@dataclass(frozen=True)
class Sheets:
    """What one page became: its sheets, and for each anchor the sheet, from zero, and how far above its foot."""

    pages: list[PageObject]
    places: dict[str, tuple[int, float]]


def printed(page: "Page", before: int) -> Sheets:
    """What Chromium prints of an opened page, numbered after so many sheets, without the sheets of its anchors."""
    page.evaluate(_READY, [_INSIDE, _ANCHORS])
    page.add_style_tag(content=f"html {{ counter-reset: page {before}; }}\n{_STYLE}")
    reader = PdfReader(io.BytesIO(page.pdf(format="A4", prefer_css_page_size=True)))
    places = {
        name.removeprefix("/"): (reader.get_destination_page_number(place) or 0, float(place.top or 0))
        for name, place in reader.named_destinations.items()
    }
    end, _ = places.pop(_ANCHORS)
    return Sheets(list(reader.pages[:end]), places)


def numbers(all_sheets: list[Sheets]) -> dict[str, int]:
    """For each anchor the number of its sheet in the book, from one."""
    return {name: sheet + 1 for name, (sheet, _) in _placed(all_sheets).items()}


def join(all_sheets: list[Sheets], lines: list[Entry], file: Path) -> None:
    """Writes the book; ValueError for a link to an anchor that no sheet has."""
    writer, places = PdfWriter(), _placed(all_sheets)
    for sheet in (sheet for sheets in all_sheets for sheet in sheets.pages):
        writer.add_page(sheet)
    for sheet in writer.pages:
        for note in (note.get_object() for note in sheet.get("/Annots", [])):
            address = str(note.get("/A", {}).get("/URI", ""))
            if address.startswith(_INSIDE):
                place = unquote(address.removeprefix(_INSIDE))
                if place not in places:
                    raise ValueError(f"a link leads to {place}, which is nowhere in the book")
                number, top = places[place]
                del note["/A"]
                target = [writer.pages[number].indirect_reference, NameObject("/XYZ"), NullObject(), FloatObject(top)]
                note[NameObject("/Dest")] = ArrayObject([*target, NullObject()])
    above: list[IndirectObject] = []
    for line in lines:
        number, top = places[line.place]
        parent = above[line.depth - 1] if line.depth else None
        item = writer.add_outline_item(
            title=_plain(line.title), page_number=number, parent=parent, fit=Fit.xyz(top=top)
        )
        above[line.depth :] = [item]
    writer.add_metadata({"/Title": book.title(), "/Author": "the companion's contributors"})
    writer.root_object[NameObject("/Lang")] = TextStringObject("en")
    writer.page_mode = "/UseOutlines"
    shown = DictionaryObject({NameObject("/DisplayDocTitle"): BooleanObject(True)})
    writer.root_object[NameObject("/ViewerPreferences")] = shown
    writer.compress_identical_objects(remove_duplicates=True, remove_unreferenced=True)
    writer.write(file)


def _placed(all_sheets: list[Sheets]) -> dict[str, tuple[int, float]]:
    found: dict[str, tuple[int, float]] = {}
    before = 0
    for sheets in all_sheets:
        found |= {name: (before + sheet, top) for name, (sheet, top) in sheets.places.items()}
        before += len(sheets.pages)
    return found


def _plain(title: str) -> str:
    r"""A title without its mark-up; a formula is its TeX.

    >>> _plain(r'<span class="section-number">2. </span>What <em>is</em> <span class="math">\(\kappa\)</span>?')
    '2. What is \\kappa?'
    """
    return re.sub(r"\\[()]", "", BeautifulSoup(title, "html.parser").text)
