"""Two pages, made on the spot, become a PDF, an EPUB and a zip; what could go wrong on the way is on them."""

import re
import shutil
import zipfile
from importlib import metadata

import pytest
from pypdf import PdfReader

from tools import articles, book, downloads

FRONT, CHAPTER = book.Page("book/front", None, "Front"), book.Page("notebooks/chapter", 1, "A chapter")
MATHJAX = metadata.distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax")
HEAD = """<!doctype html><html lang="en"><head><title>t</title>
<link rel="stylesheet" href="../_static/pygments.css?v=1"><script src="../_static/theme.js"></script>
<link rel="stylesheet" href="../_static/print.css"><script src="../_static/print.js"></script>
<script>window.MathJax = {"tex": {"macros": {"E": "\\\\mathbb{E}"}}}</script>
<script defer src="../_static/mathjax/tex-chtml.js"></script></head><body>"""
PAGES = {
    FRONT: """<article><section id="front"><h1>Front</h1><p>See <a href="../notebooks/chapter.html#there">there</a>, the
        <a href="../genindex.html">index</a> and <a href="https://example.org/">a site</a>.</p>
        <script>document.title = 'moved'</script></section></article>""",
    CHAPTER: r"""<article><section id="chapter"><h1>A chapter</h1>
        <section id="there"><h2>Why <span class="math">\(\E x\)</span></h2>
        <div id="proof"><p>one</p></div><div id="proof"><p>two</p></div>
        <details class="hide"><summary><p class="collapsed">Show</p><p class="expanded">Hide</p></summary>
        <p>what is folded: <a href="#chapter">up</a></p></details>
        <div class="math">\[ \E x^2 < \infty \]</div><button>copy</button></section></section></article>""",
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The two pages, built; they are the book."""
    for page, body in PAGES.items():
        file = tmp_path / "html" / f"{page.path}.html"
        file.parent.mkdir(parents=True)
        file.write_text(f"{HEAD}{body}</body></html>", encoding="utf-8")
    (tmp_path / "html" / "_static").mkdir()
    (tmp_path / "html" / "_static" / "pygments.css").write_text("pre { color: black }")
    (tmp_path / "html" / "_static" / "mathjax").symlink_to(MATHJAX)
    for name in ("print.css", "print.js"):
        shutil.copy(book.ROOT / "_static" / name, tmp_path / "html" / "_static")
    (tmp_path / "html" / "index.html").write_text("<p>index</p>")
    (tmp_path / "html" / "downloads").mkdir()
    (tmp_path / "html" / "downloads" / "old.pdf").write_text("old")
    monkeypatch.setattr(book, "pages", lambda: (FRONT, CHAPTER))
    monkeypatch.setattr(book, "parts", lambda: {"One part": [CHAPTER]})
    monkeypatch.setattr(book, "home", lambda: "")
    return tmp_path / "html"


def test_a_page_leaves_the_site_with_anchors_of_its_own(site):
    found = articles.articles(site)
    assert [link["href"] for link in found[FRONT].find_all("a")] == ["#chapter--there", "https://example.org/"]
    assert "the\n        index and" in found[FRONT].text
    ids = [each["id"] for each in found[CHAPTER].find_all(id=True)]
    assert ids == ["chapter--part-1", "chapter--chapter", "chapter--there", "chapter--proof"]
    assert not found[CHAPTER].find_all(["script", "button"])
    assert [(each.depth, each.place) for each in articles.entries(found)] == [
        (0, "front"),
        (0, "chapter--part-1"),
        (1, "chapter"),
        (2, "chapter--there"),
    ]


def test_two_pages_become_a_pdf_an_epub_and_a_zip(site, tmp_path, browser):
    downloads.write(browser, site, tmp_path / "downloads")
    files = {kind: tmp_path / "downloads" / name for kind, name in downloads.names().items()}
    pdf = PdfReader(files["pdf"])
    assert len(pdf.pages) == 4  # title, contents, two pages; the sheets of anchors are left out
    front, part, (chapter, (section,)) = pdf.outline
    assert [each.title for each in (front, part, chapter)] == ["Front", "One part", "A chapter"]
    assert section.title == r"Why \E x"
    link = pdf.pages[2]["/Annots"][0].get_object()["/Dest"]
    assert link[0].idnum == pdf.pages[3].indirect_reference.idnum
    assert "A chapter" in pdf.pages[3].extract_text()  # the theme leaves titles off a printed page
    assert "what is folded" in pdf.pages[3].extract_text().replace("\n", " ")
    contents = pdf.pages[1].extract_text().split()
    assert contents.count("3") == 1
    assert contents.count("4") == 3
    with zipfile.ZipFile(files["epub"]) as archive:
        page = archive.read("book/chapter.xhtml").decode()
        inside = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".xhtml")}
    for place, link in (
        (name, link) for name, text in inside.items() for link in re.findall(r'href="(?!h|st)([^"]+)"', text)
    ):
        file, _, anchor = link.partition("#")
        assert f'id="{anchor}"' in inside[f"book/{file}"], f"{place} links to {link}"
    assert page.count("<math ") == 2
    assert r'alttext="\E x^2 &lt; \infty"' in page
    assert '<a href="chapter.xhtml#chapter--chapter">' in page
    with zipfile.ZipFile(files["zip"]) as archive:
        assert f"{files['zip'].stem}/index.html" in archive.namelist()
        assert not [name for name in archive.namelist() if "old.pdf" in name]


def test_a_link_to_nowhere_is_named_and_leaves_what_was_there(site, tmp_path, browser):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "kept").write_text("kept")
    front = site / f"{FRONT.path}.html"
    front.write_text(front.read_text().replace("#there", "#nowhere"))
    with pytest.raises(ValueError, match="a link leads to chapter--nowhere, which is nowhere in the book"):
        downloads.write(browser, site, tmp_path / "downloads")
    assert [file.name for file in (tmp_path / "downloads").iterdir()] == ["kept"]
