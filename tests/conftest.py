"""What holds for every test: inputs of hypothesis are the same on each run, a busy machine is not a failure, and all
tests of pages share one headless Chromium."""

import os

import pytest
from hypothesis import settings

from tools import chromium

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def browser():
    if chromium.find() is None:
        if os.environ.get("BROWSER_REQUIRED"):
            pytest.fail("there is no Chromium")
        pytest.skip("no Chromium: what needs a page to be opened was not checked")
    with chromium.browser() as running:
        yield running
