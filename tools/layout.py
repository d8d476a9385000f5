"""The layout of twelve pages against what is kept: a broken one is seen, a sentence more is none.

Compared is what the style decides and the text does not: for each kind of element its left edge, its width where it
fills a column, the font, size, weight and height of its lines, the room above a paragraph that follows, and how wide a
line of a hundred letters comes out, which only the book's own fonts give. Of all elements of a kind the commonest
value counts. `python -m tools.layout` writes `tests/book/layout.json` from the built pages.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from tools import book
from tools.chromium import Visit, browser, visit

__all__ = ["FRAME", "KEPT", "PAGES", "differences", "kept", "measure", "write"]

KEPT = book.ROOT / "tests" / "book" / "layout.json"
COMMAND = "python -m tools.layout"
PAGES = (
    *(f"book/{name}" for name in ("introduction", "reading_paths", "errata", "api", "notation", "models")),
    *(f"notebooks/{name}" for name in ("when_does_a_model_decide", "the_entropy_production_identity", "vp_against_ve")),
    *(f"notebooks/{name}" for name in ("ten_digits", "bring_your_own_model", "guidance")),
)

# What fills its column, so that its width is the style's; of the others the left edge alone is.
_FILLS = {
    "sidebar": ".bd-sidebar-primary",
    "header": ".bd-header-article",
    "column": ".bd-article-container",
    "contents": ".bd-sidebar-secondary",
    "title": "article > section > h1",
    "section": "article > section > section > h2",
    "subsection": "article > section > section > section > h3",
    "paragraph": "article > section > section > p",
    "formula": "article > section > section > div.math",
    "figure": "article figure:not(.widget figure)",
    "caption": "article figcaption",
    "code": "article > section > section > div.cell > div.cell_input",
    "output": "article > section > section > div.cell > .cell_output pre",
    "table": "article > section > section > .pst-scrollable-table-container",
    "statement": "article > section > section > div.proof",
    "exercise": "article > section > section > div.exercise",
    "solution": "article > section > section > div.solution",
    "opening": "article > section > div.opening",
    "widget": "article div.widget",
}
_STARTS = {
    "entry of the sidebar": ".bd-sidebar-primary li > a",
    "entry of the contents": ".bd-sidebar-secondary li > a",
    "item": "article > section > section > ul > li > p",
    "title of a statement": "article > section > section > div.proof > .admonition-title",
    "cell": "article table.table td:first-child",
    "line of code": "article > section > section > div.cell > div.cell_input pre",
    "name in code": "article > section > section > p code.literal:not(.xref)",
}

_MEASURE = """
([fills, starts, letters]) => {
  const pen = document.createElement('canvas').getContext('2d');
  const commonest = values => {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1] || (a[0] > b[0] ? 1 : -1))[0]?.[0];
  };
  const found = {};
  for (const [kind, [selector, fills_column]] of Object.entries({ ...fills, ...starts })) {
    const seen = [...document.querySelectorAll(selector)].filter(e => e.getBoundingClientRect().width > 0);
    if (!seen.length) continue;
    const boxes = seen.map(e => e.getBoundingClientRect()), styles = seen.map(e => getComputedStyle(e));
    const names = styles.map(s => `${s.fontFamily.split(',')[0].replaceAll('"', '')} ${s.fontWeight}`);
    const told = { lines: commonest(names) };
    told.size = Number(commonest(styles.map(s => parseFloat(s.fontSize).toFixed(2))));
    told.height = Number(commonest(styles.map(s => (parseFloat(s.lineHeight) || 0).toFixed(2))));
    const { fontStyle, fontWeight, fontFamily } = styles[names.indexOf(told.lines)];
    pen.font = `${fontStyle} ${fontWeight} 100px ${fontFamily}`;
    told.letters = Math.round(pen.measureText(letters).width);
    if (!selector.includes("code.literal")) told.left = commonest(boxes.map(b => Math.round(b.left + scrollX)));
    if (fills_column) told.width = commonest(boxes.map(b => Math.round(b.width)));
    const rooms = seen.filter(e => e.nextElementSibling?.matches('p')).map(e =>
      Math.round(e.nextElementSibling.getBoundingClientRect().top - e.getBoundingClientRect().bottom));
    if (rooms.length) told.room = commonest(rooms);
    found[kind] = told;
  }
  return found;
}
"""
_LETTERS = "Half of the class entropy is left at log-snr 0.04, where kappa is 4.18; the tenth part at 1.32 (012345678)."

FRAME = ("sidebar", "header", "column", "title", "section", "paragraph")  # every page of the twelve has them

# Edges and rooms are differences of two places, each rounded to a whole pixel; sizes are computed, not measured, and
# shown with two decimals. A line of a hundred letters at 100 px is about 5000 px; hinting, which differs between
# machines, moves each letter by less than half a pixel; another family's letters differ by some hundred.
TOLERANCES = {"left": 2, "width": 2, "room": 2, "size": 0.02, "height": 0.02, "letters": 50}


def measure(opened: Visit) -> dict[str, Any]:
    """Every kind of element on an opened page, with what the style decides of it."""
    opened.page.evaluate("document.fonts.ready.then(() => 1)")
    fills = {kind: [selector, True] for kind, selector in _FILLS.items()}
    starts = {kind: [selector, False] for kind, selector in _STARTS.items()}
    found: dict[str, Any] = opened.page.evaluate(_MEASURE, [fills, starts, _LETTERS])
    return found


def kept() -> dict[str, Any]:
    """What is kept of every page."""
    pages: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))["pages"]
    return pages


def differences(found: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """What a page's layout differs in from what is kept of it, a line each; a kind that one of them lacks is content,
    unless it is of the frame that every page has.

    >>> before = {"paragraph": {"left": 282, "lines": "Companion Serif 400"}}
    >>> differences({"paragraph": {"left": 283, "lines": "Companion Serif 400"}, "table": {"left": 5}}, before)
    []
    >>> differences({"paragraph": {"left": 290, "lines": "Companion Serif 400"}}, before)
    ['paragraph: left is 290, kept is 282']
    >>> differences({}, before)
    ['paragraph: it is gone']
    """
    lines = [f"{kind}: it is gone" for kind in FRAME if kind in before and kind not in found]
    for kind in before.keys() & found.keys():
        for key in before[kind].keys() & found[kind].keys():
            old, new = before[kind][key], found[kind][key]
            if (new != old) if isinstance(old, str) else abs(new - old) > TOLERANCES[key]:
                lines.append(f"{kind}: {key} is {new}, kept is {old}")
    return sorted(lines)


def write() -> None:
    """Measures the built pages anew."""
    pages = {}
    with browser() as running:
        for path in PAGES:
            with visit(running, book.ROOT / "_build" / "html" / f"{path}.html") as opened:
                pages[path] = measure(opened)
                width = opened.page.viewport_size["width"]
    lines = [
        f"  {json.dumps(path)}: {{\n"
        + ",\n".join(f"   {json.dumps(kind)}: {json.dumps(told)}" for kind, told in kinds.items())
        + "\n  }"
        for path, kinds in pages.items()
    ]
    head = f' "command": {json.dumps(COMMAND)},\n "width": {width},\n "pages": {{\n'
    KEPT.write_text("{\n" + head + ",\n".join(lines) + "\n }\n}\n", encoding="utf-8")
    print(f"{len(pages)} pages in {KEPT.relative_to(book.ROOT)}")


if __name__ == "__main__":
    try:
        write()
    except FileNotFoundError as error:
        sys.exit(str(error))
