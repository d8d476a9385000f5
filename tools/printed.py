"""A page on paper: what a reader who prints it would lose, seen in the sheet's own width and the style for print."""

from collections.abc import Iterator
from contextlib import contextmanager

from tools.chromium import Visit

__all__ = ["faults", "on_paper"]

_SHEET = {"width": 680, "height": 1000}  # pixels between the margins of A4, the narrower of the two papers

# A formula is asked for as a whole: what MathJax draws a long brace from hangs over and is cut, and the MathML that it
# keeps for screen readers takes no room.
_FAULTS = """
(() => {
  const found = new Set(), width = document.documentElement.clientWidth;
  const all = { visibilityProperty: true, opacityProperty: true, contentVisibilityAuto: true };
  const seen = (e) => e.checkVisibility(all);
  const say = (what, e) => found.add(`${what}: ${[e.localName, ...e.classList].join(".")}${e.id && "#" + e.id}`);
  const light = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return 1 - a + (a * (0.3 * r + 0.6 * g + 0.1 * b)) / 255; // on a white sheet
  };
  for (const e of document.querySelectorAll("mjx-assistive-mml")) e.remove();
  for (const e of document.querySelectorAll("article *")) {
    if (e.closest("svg, script, .widget-live") || e.closest("mjx-container > *")) continue;
    const inside = e.matches("details > :not(summary), .toggle > :not(.admonition-title)");
    if (inside && !seen(e)) say("folded", e.parentElement);
    const formula = e.matches("mjx-container");
    const box = (formula ? e.firstElementChild : e).getBoundingClientRect();
    if (!seen(e) || !box.width || !box.height) continue;
    const style = getComputedStyle(e), text = formula || style.display === "inline" ? 0 : box.left + e.scrollWidth;
    if (Math.max(box.right - width, text - width, -box.left) > 1) say("wider than the sheet", e);
    if (e.matches("figure, img, tr") && box.height > innerHeight) say("longer than the sheet", e);
    const right = style.overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1;
    const below = style.overflowY !== "visible" && e.scrollHeight > e.clientHeight + 2;
    if (style.display !== "inline" && (right || below)) say("cut or scrolled", e);
    if (e.matches("p, li, td, pre") && light(style.color) > 0.6) say("light ink", e);
  }
  for (const e of document.querySelectorAll("body, body *"))
    if (seen(e) && light(getComputedStyle(e).backgroundColor) < 0.5) say("a dark ground", e);
  const idle = "button, input, select, body > header, body > footer, dialog, .bd-sidebar, a.headerlink, .widget-live";
  for (const e of document.querySelectorAll(idle)) if (seen(e)) say("of no use on paper", e);
  for (const e of document.querySelectorAll(".widget")) {
    const still = e.querySelector(":scope > img");
    if (!still || !seen(still)) say("no still picture", e);
  }
  return [...found];
})()
"""


@contextmanager
def on_paper(opened: Visit) -> Iterator[None]:
    """Lays an opened page out as its printer would: the sheet's width, the style for print, and the event before it."""
    opened.page.set_viewport_size(_SHEET)
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    yield
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")


def faults(opened: Visit) -> list[str]:
    """Everything that paper would lose of an opened page, or show for nothing, one line each; empty for a good page."""
    with on_paper(opened):
        found: list[str] = opened.page.evaluate(_FAULTS)
    return found
