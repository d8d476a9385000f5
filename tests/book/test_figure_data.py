"""The numbers of every figure: what is drawn is what is written, and each page leads to it."""

import json
import os
from hashlib import sha256

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup

from companion import figures
from tools import book, drawn, figure_data, widgets
from tools.book import ROOT

HTML = ROOT / "_build" / "html"
DRAWN = [pytest.param(page, id=page.source.stem) for page in book.chapters() if figure_data.drawn(page)]
built = pytest.mark.skipif(not os.environ.get("BOOK_BUILT"), reason="pages are built by `make test` only")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def series_of(draw):
    """What is said of a drawing of one axes, without its colours."""
    drawing, axes = figures.figure()
    draw(axes)
    told = drawn.numbers(drawing)
    json.dumps(told, allow_nan=False)
    return [{key: value for key, value in each.items() if key != "colour"} for each in told["axes"][0]["series"]]


@pytest.mark.parametrize(
    ("draw", "series"),
    [
        (
            lambda axes: axes.plot([1, 2, 3], [1 / 3, np.nan, 2e-9], label="a"),
            {"kind": "line", "label": "a", "x": [1, 2, 3], "y": [0.333333, None, 2e-9]},
        ),
        (
            lambda axes: axes.step([1, 2], [3, 4], where="mid"),
            {"kind": "line", "label": "", "steps": "mid", "x": [1, 2], "y": [3, 4]},
        ),
        (lambda axes: axes.axhline(0.5), {"kind": "level", "label": "", "y": 0.5}),
        (lambda axes: axes.axvline(0.5), {"kind": "level", "label": "", "x": 0.5}),
        (
            lambda axes: axes.axline((0, 1), (2, 5)),
            {"kind": "straight line", "label": "", "through": [0, 1], "slope": 2},
        ),
        (
            lambda axes: axes.scatter([1, 2], [3, 4], c=[5, 6], label="b"),
            {"kind": "points", "label": "b", "x": [1, 2], "y": [3, 4], "values": [5, 6]},
        ),
        (
            lambda axes: axes.fill_between([1, 2, 3], [0, 1, 2], [5, 6, 7]),
            {"kind": "band", "label": "", "parts": [{"x": [1, 2, 3], "from": [0, 1, 2], "to": [5, 6, 7]}]},
        ),
        (
            lambda axes: axes.fill_betweenx([1, 2], [0, 1], 5),
            {"kind": "band", "label": "", "parts": [{"y": [1, 2], "from": [0, 1], "to": [5, 5]}]},
        ),
        (
            lambda axes: axes.fill([0, 1, 1], [0, 0, 2]),
            {"kind": "shape", "label": "", "x": [0, 1, 1, 0], "y": [0, 0, 2, 0]},
        ),
        (
            lambda axes: axes.errorbar([1, 2], [3, 4], yerr=[[0.5, 0.25], [1, 2]], label="c", capsize=2),
            {"kind": "error bars", "label": "c", "x": [1, 2], "y": [3, 4], "y from": [2.5, 3.75], "y to": [4, 6]},
        ),
        (
            lambda axes: axes.bar([1, 2], [3, 4], width=0.5, bottom=1),
            {"kind": "bars", "label": "", "x": [1, 2], "width": [0.5, 0.5], "from": [1, 1], "to": [4, 5]},
        ),
        (
            lambda axes: axes.barh([1, 2], [3, 4]),
            {"kind": "bars", "label": "", "y": [1, 2], "width": [0.8, 0.8], "from": [0, 0], "to": [3, 4]},
        ),
        (lambda axes: axes.axvspan(1, 2), {"kind": "span", "label": "", "x": [1, 2]}),
        (
            lambda axes: axes.vlines([1, 2], 0, [3, 4]),
            {"kind": "lines", "label": "", "lines": [{"x": [1, 1], "y": [0, 3]}, {"x": [2, 2], "y": [0, 4]}]},
        ),
        (
            lambda axes: axes.pcolormesh([0, 1, 3], [0, 2], [[5, 6]]),
            {"kind": "mesh", "label": "", "x edges": [0, 1, 3], "y edges": [0, 2], "values": [[5, 6]]},
        ),
        (
            lambda axes: axes.quiver([0, 1], [2, 3], [4, 5], [6, 7]),
            {"kind": "arrows", "label": "", "x": [0, 1], "y": [2, 3], "u": [4, 5], "v": [6, 7]},
        ),
        (
            lambda axes: axes.contour([[0, 0], [2, 2]], levels=[1]),
            {"kind": "contours", "label": "", "levels": [1], "lines": [[{"x": [0, 1], "y": [0.5, 0.5]}]]},
        ),
        (lambda axes: axes.text(1, 2, "here"), {"kind": "text", "text": "here", "x": 1, "y": 2}),
        (lambda axes: axes.annotate("there", (1, 2), (3, 4)), {"kind": "text", "text": "there", "x": 1, "y": 2}),
        (lambda axes: axes.text(0, 0, "aside", transform=axes.transAxes), {"kind": "text", "text": "aside"}),
    ],
)
def test_what_is_drawn_is_what_is_written(draw, series):
    assert series_of(draw) == [series]


def test_a_picture_keeps_its_values_and_a_large_one_has_them_as_steps_of_its_colours():
    (small,) = series_of(lambda axes: axes.imshow([[0.25, 1.0], [0.5, 2.0]], origin="lower", extent=(0, 4, 0, 2)))
    assert small["values"] == [[0.25, 1.0], [0.5, 2.0]]
    assert small["extent"] == [0, 4, 0, 2] and small["first row"] == "bottom"
    (bytes_,) = series_of(lambda axes: axes.imshow(np.array([[[0, 128, 255]]], dtype=np.uint8)))
    assert bytes_["values"] == [[[0, 128, 255]]]
    ramp = np.linspace(-1.0, 1.0, 10_000).reshape(100, 100)
    (large,) = series_of(lambda axes: axes.imshow(ramp, vmin=-0.5, vmax=0.5))
    # A step of 256 is 1/255 of the range of the colours; rounding is off by half a step at most.
    seen = -0.5 + np.array(large["values"]) / 255
    assert np.abs(seen - np.clip(ramp, -0.5, 0.5)).max() <= 0.5 / 255 + 1e-12
    assert large["colours from, to"] == [-0.5, 0.5]


def test_a_picture_that_is_too_large_says_its_size():
    (picture,) = series_of(lambda axes: axes.imshow(np.full((400, 400), 1.0), vmin=0.0, vmax=1.0))
    assert picture["left out"] == "160,000 values" and "values" not in picture


def test_the_axes_say_titles_labels_scales_names_of_places_and_legends():
    drawing, (axes, named) = figures.figure(1, 2)
    axes.loglog([1, 10], [2, 20], label="a")
    axes.set(title="what it shows", xlabel="width (data)", ylabel="levels", xlim=(1, 10))
    axes.set_xticks([1, 10], ["one", "ten"])
    axes.legend()
    drawing.colorbar(axes.scatter([1, 10], [2, 20], c=[0, 1]))
    axes.inset_axes([0.5, 0.5, 0.4, 0.4]).plot([1, 2], [3, 4])
    named.bar(["cat", "dog"], [1, 2])
    first, inset, second = drawn.numbers(drawing)["axes"]  # the scale of colours is none
    assert first["title"] == "what it shows" and first["legend"] == ["a"]
    assert first["x"]["label"] == "width (data)" and first["x"]["scale"] == first["y"]["scale"] == "log"
    assert first["x"]["ticks"] == [{"at": 1, "name": "one"}, {"at": 10, "name": "ten"}]
    assert inset["series"][0]["y"] == [3, 4]
    assert second["x"]["ticks"] == [{"at": 0, "name": "cat"}, {"at": 1, "name": "dog"}]


def test_what_has_no_numbers_here_is_refused_by_name():
    with pytest.raises(TypeError, match="TriMesh"):
        series_of(lambda axes: axes.tripcolor([0, 1, 0], [0, 0, 1], [1, 2, 3], shading="gouraud"))


def test_a_cell_with_a_caption_and_without_one_figure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(figure_data, "FOLDER", tmp_path)
    cell = nbformat.v4.new_code_cell("")
    cell.metadata["mystnb"] = {"figure": {"name": "fig-a", "caption": "A."}}
    notebook = nbformat.v4.new_notebook(cells=[cell])
    with pytest.raises(ValueError, match="fig-a has 0 figures"):
        figure_data.write(book.chapters()[0], notebook)
    shown = {drawn.MIME: {"title": "", "axes": []}, "image/png": "", "text/plain": ""}
    cell.outputs = [nbformat.v4.new_output("display_data", shown)]
    figure_data.write(book.chapters()[0], notebook)
    assert json.loads((tmp_path / "fig-a.json").read_text(encoding="utf-8"))["caption"] == "A."
    assert drawn.MIME not in cell.outputs[0].data and "image/png" in cell.outputs[0].data
    assert figure_data.listed()["fig-a"][1] == sha256((tmp_path / "fig-a.json").read_bytes()).hexdigest()


@built
@pytest.mark.parametrize("page", DRAWN)
def test_every_figure_leads_to_its_numbers(page):
    html = BeautifulSoup((HTML / f"{page.path}.html").read_text(encoding="utf-8"), "html.parser")
    sums = dict(reversed(line.split("  ")) for line in (HTML / "data" / figure_data.SUMS).read_text().splitlines())
    for label in figure_data.drawn(page):
        said = html.find("figure", id=label).find("figcaption").find(class_="figure-data")
        file = (HTML / page.path).parent / said.find("a")["href"]
        content = file.resolve().read_bytes()
        told = json.loads(content)
        assert sums[file.name] == said.find("code")["title"] == sha256(content).hexdigest()
        assert said.find("code").text == sums[file.name][:12]
        assert told["figure"] == label == file.stem and told["shows"]
        assert any(series for axes in told["axes"] for series in axes["series"])


@built
def test_a_widget_that_reads_numbers_leads_to_them():
    for name, (page, _) in widgets.placed().items():
        html = BeautifulSoup((HTML / f"{page.path}.html").read_text(encoding="utf-8"), "html.parser")
        said = html.find(id=book.widget_anchor(name)).find(class_="figure-data")
        assert (said is not None) == (name in widgets.NUMBERS)
        if said:
            content = (HTML / page.path).parent.joinpath(said.find("a")["href"]).resolve().read_bytes()
            assert content == (widgets.FOLDER / f"{name}.json").read_bytes()
            assert said.find("code")["title"] == sha256(content).hexdigest()


@built
def test_no_file_of_numbers_belongs_to_no_figure():
    labels = {label for page in book.chapters() for label in figure_data.drawn(page)}
    assert labels == {file.stem for file in (HTML / "data").glob("fig-*.json")}
