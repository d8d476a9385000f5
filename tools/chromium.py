"""A headless Chromium of this machine with no network, driven by Playwright: what a page asks for, says and shows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["PATIENCE", "Visit", "browser", "find", "visit"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_NO_NETWORK = ["--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=direct://"]
PATIENCE = 300_000  # milliseconds: a busy machine is no failure
_FORMULAS_SET = "window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => 1) : 1"


def find() -> str | None:
    """The path of a Chromium on this machine, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Visit:
    """One page, opened: what it requested, and what went wrong on its console."""

    page: "Page"
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def colour(self, scheme: str) -> None:
        """The page in the reader's `light` or `dark` scheme."""
        self.page.evaluate(
            f"document.documentElement.dataset.mode = document.documentElement.dataset.theme = '{scheme}'"
        )

    def screenshot(self, file: Path, scheme: str) -> None:
        """The whole page as a PNG, in a scheme."""
        self.colour(scheme)
        self.page.screenshot(path=file, full_page=True, animations="disabled")


@contextmanager
def browser() -> Iterator["Browser"]:
    """A running Chromium; FileNotFoundError if there is none."""
    from playwright.sync_api import sync_playwright  # here: a command that opens no page does not wait for it

    path = find()
    if path is None:
        raise FileNotFoundError("no Chromium was found")
    with sync_playwright() as driver, driver.chromium.launch(executable_path=path, args=_NO_NETWORK) as running:
        yield running


@contextmanager
def visit(running: "Browser", file: Path, query: str = "") -> Iterator[Visit]:
    """Opens a file of the disk, with a query such as `?q=word`, and waits until it is loaded and its formulas set."""
    if not file.exists():
        raise FileNotFoundError(f"{file} was not built")
    with running.new_page(viewport={"width": 1280, "height": 1600}) as page:
        page.set_default_timeout(PATIENCE)
        opened = Visit(page)
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("requestfailed", lambda request: opened.errors.append(f"a request failed: {request.failure}"))
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.on("console", lambda said: opened.errors.append(said.text) if said.type == "error" else None)
        page.goto(file.as_uri() + query)
        page.evaluate(_FORMULAS_SET)
        yield opened
