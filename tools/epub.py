"""The book as an EPUB 3, cut from its pages: a file for each, formulas as the MathML that MathJax makes of them.

No script, no form and nothing remote is in it; a widget is its still picture. What epubcheck says of it is a test.
"""

import re
import uuid
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tools import book
from tools.articles import CONTENTS, TITLE, anchor

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["Cut", "cut", "write"]

_STYLE = Path(__file__).with_name("epub.css")

# Articles as XML: each formula its MathML with its TeX, each link into the file of its page, pictures by their names.
_CUT = """
() => {
  const set = new Map([...MathJax.startup.document.math].map((item) => [item.typesetRoot, item.math]));
  const xml = (e) => new XMLSerializer().serializeToString(e);
  const cut = (article) => {
    const copy = article.cloneNode(true), boxes = article.querySelectorAll("mjx-container");
    copy.querySelectorAll("mjx-container").forEach((box, k) => {
      const formula = box.querySelector("mjx-assistive-mml > math");
      for (const e of [formula, ...formula.querySelectorAll("*")])
        for (const name of e.getAttributeNames()) if (/^(data-|class$|style$)/.test(name)) e.removeAttribute(name);
      formula.setAttribute("alttext", set.get(boxes[k]).trim());
      box.replaceWith(formula);
    });
    for (const link of copy.querySelectorAll("a[href^='#']")) {
      const place = link.getAttribute("href").slice(1);
      link.setAttribute("href", `${place.split("--")[0]}.xhtml#${place}`);
    }
    for (const e of copy.querySelectorAll(".sheet")) e.remove();
    const pictures = [...copy.querySelectorAll("img")].map((e) => e.src);
    for (const e of copy.querySelectorAll("img")) e.setAttribute("src", `images/${e.src.split("/").pop()}`);
    return [article.id, { body: [...copy.childNodes].map(xml).join(""), pictures }];
  };
  return [...document.querySelectorAll("main article")].map(cut);
}
"""


@dataclass(frozen=True)
class Cut:
    """One article for a reader's device: what is inside it, as XML, and the files of its pictures."""

    body: str
    pictures: list[Path]


def cut(page: "Page") -> dict[str, Cut]:
    """Every article of an opened page, by its anchor."""
    found = page.evaluate(_CUT)
    return {name: Cut(each["body"], [_file(url) for url in each["pictures"]]) for name, each in found}


def write(file: Path, cuts: dict[str, Cut], html: Path) -> None:
    """Writes the EPUB: the title, the contents, then every page in reading order."""
    titles = {TITLE: book.title(), CONTENTS: "Contents", **{anchor(page): page.title for page in book.pages()}}
    pictures = {picture.name: picture for each in cuts.values() for picture in each.pictures}
    built = datetime.fromtimestamp((html / "index.html").stat().st_mtime, UTC)
    style = (html / "_static" / "pygments.css").read_text(encoding="utf-8") + _STYLE.read_text(encoding="utf-8")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", _CONTAINER)
        archive.writestr("book/book.opf", _package({name: cuts[name] for name in titles}, list(pictures), built))
        archive.writestr("book/style.css", style)
        for name, title in titles.items():
            archive.writestr(f"book/{name}.xhtml", _page(name, title, cuts[name].body))
        for name, picture in pictures.items():
            archive.write(picture, f"book/images/{name}", zipfile.ZIP_STORED)


def _file(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _page(name: str, title: str, body: str) -> str:
    inside = f'<nav epub:type="toc">{body}</nav>' if name == CONTENTS else body
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en" '
        f'data-theme="light">\n<head><title>{escape(re.sub(r"[$`*]", "", title))}</title>'
        f'<link rel="stylesheet" href="style.css"/></head>\n<body id="{name}">\n{inside}\n</body>\n</html>\n'
    )


def _package(cuts: dict[str, Cut], pictures: list[str], built: datetime) -> str:
    """The list of all files, in reading order, with what is said of the book."""
    items = ['<item id="style" href="style.css" media-type="text/css"/>']
    for name, each in cuts.items():
        properties = " ".join(["nav"] * (name == CONTENTS) + ["mathml"] * ("<math" in each.body))
        told = f' properties="{properties}"' if properties else ""
        items.append(f'<item id="page-{name}" href="{name}.xhtml" media-type="application/xhtml+xml"{told}/>')
    items += [f'<item id="image-{name}" href="images/{name}" media-type="image/png"/>' for name in pictures]
    spine = "".join(f'<itemref idref="page-{name}"/>' for name in cuts)
    identifier = uuid.uuid5(uuid.NAMESPACE_URL, f"{book.title()} {built.isoformat()}")
    said = "\n".join(f'<meta property="schema:{key}">{value}</meta>' for key, value in _ACCESS)
    listed = "\n".join(items)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
        'unique-identifier="book" xml:lang="en">\n<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        f'<dc:identifier id="book">urn:uuid:{identifier}</dc:identifier>\n<dc:title>{escape(book.title())}</dc:title>\n'
        "<dc:language>en</dc:language>\n<dc:creator>the companion's contributors</dc:creator>\n"
        f'<meta property="dcterms:modified">{built:%Y-%m-%dT%H:%M:%SZ}</meta>\n{said}\n</metadata>\n'
        f"<manifest>\n{listed}\n</manifest>\n<spine>{spine}</spine>\n</package>\n"
    )


_ACCESS = (
    ("accessMode", "textual"),
    ("accessMode", "visual"),
    ("accessModeSufficient", "textual"),
    ("accessibilityFeature", "alternativeText"),
    ("accessibilityFeature", "MathML"),
    ("accessibilityFeature", "tableOfContents"),
    ("accessibilityHazard", "none"),
)
_CONTAINER = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="book/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>\n'
)
