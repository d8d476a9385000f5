"""Axe on three pages; `make reader` looks at all of them."""

import os

import pytest

from tools import axe, chromium
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")

# Beside the front page one with a widget, statements and exercises, and one that Sphinx makes.
SOME = ("book/introduction", "notebooks/when_does_a_model_decide", "genindex")


@built
@pytest.mark.parametrize("path", SOME)
def test_everybody_can_read_the_page(path, browser):
    with chromium.visit(browser, HTML / f"{path}.html") as visit:
        assert axe.violations(visit) == []


def test_what_nobody_can_read_is_seen(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><html lang='en' data-theme='light'><head><title>A page</title><style>"
        "html { background: white; color: #222 } html[data-theme=dark] { background: #222; color: #555 }"
        "</style></head><body><main><h1>A page</h1><p>Words that fade in the dark.</p><img src='data:image/gif,'>"
        "<details><summary>more</summary><p style='color: #aaa; background: white'>pale</p></details></main></body>"
        "</html>"
    )
    with chromium.visit(browser, page) as visit:
        found = axe.violations(visit)
    for sign in ("light: image-alt: <img", "light: color-contrast: <p style", "dark: color-contrast: <p>Words"):
        assert any(line.startswith(sign) for line in found), found
    assert not any(line.startswith("light: color-contrast: <p>Words") for line in found)
