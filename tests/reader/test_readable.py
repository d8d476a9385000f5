"""Axe finds nothing on any page, light or dark: whoever reads with a screen reader or with weak eyes can."""

import os

import pytest

from tools import axe, book, chromium
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
GENERATED = ("genindex", "prf-prf", "py-modindex", "search")
reader = pytest.mark.skipif(not os.environ.get("READER"), reason="`make reader` runs it")


@reader
@pytest.mark.parametrize("path", [*(page.path for page in book.pages()), *GENERATED])
def test_everybody_can_read_the_page(path, browser):
    with chromium.visit(browser, HTML / f"{path}.html") as visit:
        assert axe.violations(visit) == []
