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
_ALT = "[...document.querySelectorAll('article img')].map(e => [e.getAttribute('src'), e.getAttribute('alt') || ''])"

# The theme's own: one of its scripts is loaded twice, and the first visit finds no colour scheme chosen.
_HARMLESS = ("THEBE_JS_URL", "Got invalid theme mode")
_RAW = ("\\(", "\\)", "\\[", "$", ":::", "{eq}", "{ref}", "{cite", "{numref}", "{doc}", "{prf:")


def faults(opened: Visit) -> list[str]:
    """Everything that is wrong with an opened page, one line each; empty for a good page."""
    found = list(opened.page.evaluate(_FORMULAS))
    if unset := opened.page.evaluate(_UNSET):
        found.append(f"{unset} formulas were not set")
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
