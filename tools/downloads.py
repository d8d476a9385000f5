"""What readers take with them: one PDF of the book, an EPUB and the site as a zip, each with its SHA-256.

All are made of the built pages and none of them by a network. They appear together, once all are whole.
"""

import hashlib
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from tools import articles, book, chromium, epub, pdf

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["SUMS", "names", "write"]

SUMS = "SHA256SUMS"
_NOT_TAKEN = ("downloads/", ".buildinfo")


def names() -> dict[str, str]:
    """The name of each file by what it is: pdf, epub, zip.

    >>> names()["pdf"]
    'when-does-a-diffusion-model-decide.pdf'
    """
    slug = re.sub(r"[^a-z0-9]+", "-", book.title().lower()).strip("-")
    return {kind: f"{slug}.{kind}" for kind in ("pdf", "epub", "zip")}


def write(running: "Browser", html: Path, folder: Path) -> None:
    """Makes every file from a folder of built pages into another folder, which it replaces; prints what there is."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "downloads"
        made.mkdir()
        _print_and_cut(running, html, made, Path(scratch) / "page.html")
        _zip(html, made / names()["zip"])
        lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(made.iterdir())]
        (made / SUMS).write_text("".join(lines), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    for file in sorted(folder.iterdir()):
        print(f"{file.name:45} {file.stat().st_size / 1e6:7.1f} MB")


def _print_and_cut(running: "Browser", html: Path, made: Path, file: Path) -> None:
    """The PDF and the EPUB, from one visit of each page; the contents are printed again once they have numbers."""
    pages = articles.articles(html)
    lines = articles.entries(pages)
    zeros = dict.fromkeys((line.place for line in lines), 0)
    cuts: dict[str, epub.Cut] = {}
    sheets: list[pdf.Sheets] = []

    def add(body: str) -> pdf.Sheets:
        file.write_text(articles.document(html, body), encoding="utf-8")
        with chromium.visit(running, file) as opened:
            cuts.update(epub.cut(opened.page))
            return pdf.printed(opened.page, sum(len(each.pages) for each in sheets))

    sheets.append(add(articles.front(lines, zeros)))
    for page in pages.values():
        sheets.append(add(str(page)))
    numbers, (_, *rest) = pdf.numbers(sheets), sheets
    sheets = []
    pdf.join([add(articles.front(lines, numbers)), *rest], lines, made / names()["pdf"])
    epub.write(made / names()["epub"], cuts, html)


def _zip(html: Path, file: Path) -> None:
    """The site as it is built, in a folder of its own name, to be opened from a disk."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(html.rglob("*")):
            path = each.relative_to(html).as_posix()
            if each.is_file() and not path.startswith(_NOT_TAKEN):
                archive.write(each, f"{file.stem}/{path}")
