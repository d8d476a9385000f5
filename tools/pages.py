"""What a built page must be: formulas set, nothing on the console, nothing from a network, every figure described."""

import re
import shutil
from pathlib import Path

from tools import book
from tools.chromium import Visit, browser, visit

__all__ = ["drop_unused", "faults", "numbers", "screenshots"]

_FORMULAS = """
[...document.querySelectorAll('[data-mjx-error]')].map(e => 'a formula failed: ' + e.getAttribute('data-mjx-error'))
"""
_TEXT = """
(() => { const copy = document.querySelector('main').cloneNode(true);
  copy.querySelectorAll('pre, code, script, mjx-assistive-mml').forEach(e => e.remove());
  return copy.textContent; })()
"""
_UNSET = "[...document.querySelectorAll('main .math')].filter(e => !e.querySelector('mjx-container')).length"
_TWICE = "[...document.querySelectorAll('[id]')].filter(e => document.getElementById(e.id) !== e).map(e => e.id)"
_ALT = "[...document.querySelectorAll('article img')].map(e => [e.getAttribute('src'), e.getAttribute('alt') || ''])"

_TELEPHONE = 390  # pixels, of the narrowest screen that a page has to be read on
# What reaches past the right edge of the screen and is in no box that scrolls.
_PAST_THE_EDGE = """
(() => { const edge = document.documentElement.clientWidth, ends = [document.body, document.documentElement, null];
  const free = e => ends.includes(e) || (getComputedStyle(e).overflowX === 'visible' && free(e.parentElement));
  return [...document.querySelectorAll('main *')]
    .filter(e => e.getBoundingClientRect().right > edge + 1 && free(e.parentElement)).slice(0, 3)
    .map(e => `${e.tagName.toLowerCase()}.${e.className}: ${e.textContent.trim().slice(0, 40)}`); })()
"""
# What scrolls sideways and no keyboard reaches once the page is at rest: it is no stop, and nothing in it is one.
_OUT_OF_REACH = """
(async () => {
  const boxes = () => [...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1
    && e.clientWidth > 0 && /auto|scroll/.test(getComputedStyle(e).overflowX) && e.tabIndex < 0
    && !e.querySelector('[tabindex="0"], a, button, input'));
  for (let k = 0; k < 40 && boxes().length; k++) await new Promise(passed => setTimeout(passed, 250));
  return boxes().map(e => `${e.tagName.toLowerCase()}.${e.className}`); })()
"""

# The theme's own: one of its scripts is loaded twice, and the first visit finds no colour scheme chosen.
_HARMLESS = ("THEBE_JS_URL", "Got invalid theme mode")
_RAW = ("\\(", "\\)", "\\[", "$", ":::", "{eq}", "{ref}", "{cite", "{numref}", "{doc}", "{prf:")


def faults(opened: Visit) -> list[str]:
    """Everything that is wrong with an opened page, one line each; empty for a good page."""
    found = list(opened.page.evaluate(_FORMULAS))
    if unset := opened.page.evaluate(_UNSET):
        found.append(f"{unset} formulas were not set")
    found += [f"an anchor is given twice: {anchor}" for anchor in opened.page.evaluate(_TWICE)]
    text = opened.page.evaluate(_TEXT)
    found += [
        f"raw markup is left: {text[max(0, at - 30) : at + 30]!r}" for sign in _RAW if (at := text.find(sign)) >= 0
    ]
    found += [
        f"a request outside the page: {url}"
        for url in opened.requests
        if not url.startswith(("file:", "data:", "blob:"))
    ]
    found += [f"the console says: {error}" for error in opened.errors if not any(sign in error for sign in _HARMLESS)]
    found += [
        f"no description of {source[-60:]}: {alt!r}"
        for source, alt in opened.page.evaluate(_ALT)
        if len(alt.split()) < 6
    ]
    return found + _faults_on_a_telephone(opened)


def _faults_on_a_telephone(opened: Visit) -> list[str]:
    """What scrolls the page sideways, and what scrolls in a box of its own and cannot be reached by the keyboard."""
    opened.page.set_viewport_size({"width": _TELEPHONE, "height": 800})
    found = [f"scrolls and no keyboard reaches it: {box}" for box in opened.page.evaluate(_OUT_OF_REACH)]
    if (width := opened.page.evaluate("document.documentElement.scrollWidth")) > _TELEPHONE:
        found.append(f"{width} px wide on a telephone of {_TELEPHONE}: {opened.page.evaluate(_PAST_THE_EDGE)}")
    return found


def numbers(html: str) -> dict[str, str]:
    """The number of every labelled equation, theorem, exercise and figure of a built page, read from its HTML."""
    equations = re.findall(r'id="equation-([^"]+)">\s*<span class="eqno">\(([\d.]+)\)', html)
    number = r'<span class="caption-number">(?:Fig\.|[A-Z][a-z]+) ([\d.]+)'
    theorems = re.findall(
        rf'<div class="(?:proof|exercise) [^"]*" id="([^"]+)">\s*<p class="admonition-title">{number}', html
    )
    caption = r'<(?:figure|table)[^>]* id="([^"]+)"(?:(?!</figcaption|</caption).)*?'
    captioned = re.findall(caption + number, html, re.DOTALL)
    return dict([*equations, *theorems, *captioned])


def screenshots(html: Path) -> None:
    """Every page in light and dark, into `_build/screenshots`."""
    if not (html / "index.html").exists():
        raise ValueError("There are no pages yet: run `make book` first.")
    folder = html.parent / "screenshots"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with browser() as running:
        for page in book.pages():
            for scheme in ("light", "dark"):
                with visit(running, html / f"{page.path}.html") as opened:
                    opened.screenshot(folder / f"{Path(page.path).name}-{scheme}.png", scheme)
    print(f"{len(book.pages())} pages, light and dark, in {folder}")


def drop_unused(html: Path) -> None:
    """Removes what no page loads: maps of scripts to their sources; of MathJax all but one bundle with its fonts."""
    for file in [*html.rglob("*.js.map"), *html.rglob("*.css.map")]:
        file.unlink()
    mathjax = html / "_static" / "mathjax"
    kept = {"tex-chtml.js", "input/tex", "output/chtml", "ui", "a11y/assistive-mml.js"}
    for file in sorted(mathjax.rglob("*"), reverse=True):
        path = file.relative_to(mathjax).as_posix()
        if file.is_file() and not any(path == keep or path.startswith(f"{keep}/") for keep in kept):
            file.unlink()
        elif file.is_dir() and not any(file.iterdir()):
            file.rmdir()
