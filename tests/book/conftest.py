"""One headless Chromium for all tests of pages."""

import os

import pytest

from tools import chromium


@pytest.fixture(scope="session")
def browser():
    if chromium.find() is None:
        if os.environ.get("BROWSER_REQUIRED"):
            pytest.fail("there is no Chromium")
        pytest.skip("no Chromium: what needs a page to be opened was not checked")
    with chromium.browser() as running:
        yield running
