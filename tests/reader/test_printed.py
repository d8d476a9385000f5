"""A page on paper: nothing leaves the sheet, nothing scrolls, nothing stays folded, and a page that loses is seen."""

import os

import pytest

from tools import book, chromium, printed
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
PAGES = [pytest.param(page.path, id=page.path) for page in book.pages()]
reader = pytest.mark.skipif(not os.environ.get("READER"), reason="`make reader` runs it")

# Everything that a sheet could lose, each with what is said of it.
WIDE, DOT = "wider than the sheet", "data:image/gif;base64,R0lGODlhAQABAAAAACw="
LOST = {
    f"<pre class='code'>{'x = 1; ' * 60}</pre>": f"{WIDE}: pre.code",
    f"<div class='cell_output'>{'<p>a line</p>' * 9}</div>": "cut or scrolled: div.cell_output",
    "<div class='pst-scrollable-table-container'><table class='table'><tr>"
    + "<td style='white-space: nowrap'>a cell that does not break</td>" * 6
    + "</tr></table></div>": f"{WIDE}: table.table",
    "<div class='math'><span class='eqno'>(1.1)</span><mjx-container style='display: block; font-size: 119.6%'>"
    "<mjx-math style='display: inline-block; width: 60em; height: 1em'></mjx-math>"
    "</mjx-container></div>": f"{WIDE}: mjx-container",
    f"<img alt='' width='900' height='20' src='{DOT}'>": f"{WIDE}: img",
    f"<img alt='' width='20' height='1900' src='{DOT}'>": "longer than the sheet: img",
    "<details class='hide'><summary>code</summary><p>a solution</p></details>": "folded: details.hide",
    "<div class='admonition toggle toggle-hidden'><p class='admonition-title'>T</p><p>a solution</p></div>": (
        "folded: div.admonition.toggle"
    ),
    "<button class='copybtn'>copy</button>": "of no use on paper: button",
    f"<div class='widget widget-runs'><img alt='' src='{DOT}'><div class='widget-live'>moves</div></div>": (
        "no still picture"
    ),
    "<p>a word</p>": "light ink: p",
    "<div class='highlight'>x</div>": "a dark ground: div.highlight",
}
THEME = """<style>
.cell_output { max-height: 4em; overflow: auto }
.pst-scrollable-table-container { overflow: auto }
.toggle-hidden p { visibility: hidden }
.widget-runs img { display: none }
[data-theme='dark'] .highlight { background: #14181e }
[data-theme='dark'] p { color: #eeeeee }
</style>"""


def losing(folder, static=()):
    """A page that loses all of it, with some of the book's own files."""
    scripts = [f"<script src='{file.as_uri()}'></script>" for file in static if file.suffix == ".js"]
    styles = [f"<link rel='stylesheet' href='{file.as_uri()}'>" for file in static if file.suffix == ".css"]
    head, body = "".join([THEME, *styles, *scripts]), "".join(LOST)
    page = f"<!doctype html><html data-theme='dark'><head>{head}</head><body><article><section>{body}"
    (folder / "page.html").write_text(page)
    return folder / "page.html"


def test_what_paper_would_lose_is_seen(tmp_path, browser):
    with chromium.visit(browser, losing(tmp_path)) as visit:
        found = "\n".join(printed.faults(visit))
    assert [sign for sign in LOST.values() if sign not in found] == []


def test_with_the_book_s_style_nothing_is_lost_and_the_screen_is_as_before(tmp_path, browser):
    with chromium.visit(browser, losing(tmp_path, sorted((ROOT / "_static").iterdir()))) as visit:
        assert printed.faults(visit) == []
        open_now = "[document.querySelectorAll('details[open]').length, document.documentElement.dataset.theme]"
        assert visit.page.evaluate(open_now) == [0, "dark"]


@reader
@pytest.mark.parametrize("path", PAGES)
def test_a_page_on_paper_loses_nothing(path, browser):
    with chromium.visit(browser, HTML / f"{path}.html") as visit:
        visit.page.evaluate("document.documentElement.dataset.theme = 'dark'")
        assert printed.faults(visit) == []
