"""The front page: its command draws the picture, which says what was measured and lies above the fold; doors open."""

import os
import re
from io import BytesIO

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from tools import book, chromium, front_picture, reading
from tools.book import ROOT

FRONT = reading.FRONT.read_text(encoding="utf-8")
HTML = ROOT / "_build" / "html"
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


def test_the_picture_is_the_one_that_its_command_draws():
    """Another machine may smooth an edge otherwise: a hundredth of the picture; a curve or a digit moved is more."""
    drawn = BytesIO()
    front_picture.draw().savefig(drawn)
    new, old = (np.asarray(Image.open(file).convert("L"), dtype=float) for file in (drawn, front_picture.FILE))
    assert new.shape == old.shape
    assert np.mean(np.abs(new - old) > 64.0) < 0.001, "run `python -m tools.front_picture`"
    assert "`python -m tools.front_picture`" in FRONT


@pytest.mark.parametrize("page", ["README.md", "book/introduction.md"])
def test_its_description_has_the_numbers_that_were_measured(page):
    (first, last), begins_and_ends = zip(*front_picture.extremes().items(), strict=True)
    text = (ROOT / page).read_text(encoding="utf-8")
    for pair, (_, half, _) in zip((first, last), begins_and_ends, strict=True):
        assert f"{pair.replace('|', ' or ')} is half decided at log-snr {half:.1f}" in text or (
            f"{pair.replace('|', ' or ')} at {half:.1f}" in text
        )
    assert f"from {begins_and_ends[0][0]:.1f} to {begins_and_ends[1][2]:.1f}" in text
    assert "network of digits, from noise to a 3" in text
    assert max(range(10), key=front_picture.path()[-1][1]["posterior"].__getitem__) == 3


def test_the_front_page_has_three_doors_and_each_leads_to_a_page():
    doors = re.findall(r"^:::\{grid-item-card\} (.+)\n:link: /(\S+)\n:link-type: doc$", FRONT, re.MULTILINE)
    assert len(doors) == 3
    assert {path for _, path in doors} <= {page.path for page in book.pages()}
    assert doors[0] == (f"Read the idea in {reading.minutes(book.chapters()[0])} minutes", book.chapters()[0].path)


def test_the_front_page_names_every_chapter_in_order():
    listed = re.findall(r"^\d+\. \{doc\}`/(notebooks/\w+)`", FRONT, re.MULTILINE)
    assert listed == [page.path for page in book.chapters()]


@built
def test_the_picture_lies_above_the_fold_of_a_laptop_and_of_a_telephone(browser):
    with chromium.visit(browser, HTML / "book" / "introduction.html") as visit:
        for width, height in ((1280, 800), (390, 844)):
            visit.page.set_viewport_size({"width": width, "height": height})
            box = visit.page.locator("img.front-picture").bounding_box()
            assert box["y"] + 0.8 * box["height"] <= height
            assert box["width"] >= 330 and box["x"] + box["width"] <= width


@built
def test_a_door_of_the_page_leads_to_a_file():
    html = BeautifulSoup((HTML / "book" / "introduction.html").read_text(encoding="utf-8"), "html.parser")
    doors = [link["href"] for link in html.select("a.sd-stretched-link")]
    assert len(doors) == 3
    assert all((HTML / "book" / door).resolve().is_file() for door in doors)
