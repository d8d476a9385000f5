"""Every link of the built pages: those that stay within them, on each build; those that leave, by `make links`.

A link within the site has to lead to a file, and to an anchor on it if it names one. A link that leaves is asked for
once, and is good if it is answered, by whatever other address. Some sites answer a person and no program (401, 403,
429): they are named and not counted.
"""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

__all__ = ["broken", "check", "leaving"]

_PATIENCE = 30  # seconds for one answer
_NO_PROGRAMS = (401, 403, 429)
_BROWSER = {"User-Agent": "Mozilla/5.0 (compatible; links of a book)", "Accept": "*/*"}


def broken(site: Path, skipped: tuple[str, ...] = ()) -> list[str]:
    """The links within a site that lead nowhere: page and link; those into a `skipped` folder are not looked at."""
    site, found = site.resolve(), []
    for page, link in _links(site):
        path, anchor = urldefrag(link)
        if urlsplit(link).scheme or link.startswith("//"):
            continue
        target = (page.parent / unquote(urlsplit(path).path)).resolve() if path else page
        if target.is_dir():
            target /= "index.html"
        if any(target.is_relative_to(site / folder) for folder in skipped):
            continue
        if not target.is_file() or not target.is_relative_to(site):
            found.append(f"{page.relative_to(site)}: {link}: no such file")
        elif anchor and target.suffix == ".html" and unquote(anchor) not in _read(target).anchors:
            found.append(f"{page.relative_to(site)}: {link}: no such anchor")
    return sorted(set(found))


def leaving(site: Path) -> list[str]:
    """Every address outside the site that a page links to."""
    return sorted({urldefrag(link)[0] for _, link in _links(site) if link.startswith(("http:", "https:"))})


def check(addresses: Iterable[str]) -> int:
    """Asks for each address and prints a line for it; how many have no answer."""
    with ThreadPoolExecutor(8) as workers:
        answers = []
        for address, answer in workers.map(_ask, addresses):
            print(f"{answer:30}  {address}", flush=True)
            answers.append(answer)
    failed = sum(answer.startswith("FAILED") for answer in answers)
    print(f"{len(answers)} addresses, {failed} failed")
    return failed


def _ask(address: str) -> tuple[str, str]:
    request = urllib.request.Request(address, headers=_BROWSER)  # a GET: some sites refuse a HEAD
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            moved = "" if answer.url.rstrip("/") == address.rstrip("/") else f", now {answer.url}"
            return address, f"ok {answer.status}{moved}"
    except urllib.error.HTTPError as error:
        return address, f"look {error.code}" if error.code in _NO_PROGRAMS else f"FAILED {error.code} {error.reason}"
    except urllib.error.URLError as error:
        return address, f"FAILED {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return address, f"FAILED {type(error).__name__} {error}"


def _links(site: Path) -> Iterator[tuple[Path, str]]:
    for page in sorted(site.resolve().rglob("*.html")):
        if "_static" not in page.parts:
            yield from ((page, link) for link in _read(page).links)


class _Reader(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.links += [said[name].strip() for name in ("href", "src") if name in said]
        self.anchors |= {said[name] for name in ("id", "name") if name in said}


@cache
def _read(page: Path) -> _Reader:
    reader = _Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader
