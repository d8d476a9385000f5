"""What a figure of matplotlib shows, as numbers; and the IPython extension that sends them beside the figure's picture.

`tools.build` loads the extension into the kernels of the book's run and nowhere else, so that no chapter has a line for
it. Numbers have six significant digits, no series is thinned, and what is not finite is null.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.category import StrCategoryFormatter
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import AxLine
from matplotlib.patches import Rectangle
from matplotlib.quiver import Quiver
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

__all__ = ["MIME", "load_ipython_extension", "numbers"]

MIME = "application/json"
_GREYS = 256  # values of a picture that keep their digits; in a larger one they are 256 steps of its colours
_MOST = 100_000  # values of a picture; a larger one is its size alone

Series = dict[str, Any]


def load_ipython_extension(shell: Any) -> None:
    """Called by IPython: a figure that is shown is sent as its numbers too.

    For the base class, because what matplotlib sets up for pictures forgets every formatter of `Figure` itself.
    """
    shell.display_formatter.formatters[MIME].for_type(FigureBase, numbers)


def numbers(figure: Figure) -> dict[str, Any]:
    """The axes of a figure: title, labels, scales, limits, legend, and every series with its values.

    Scales of the colours and second scales of an axis are left out, and the values of a picture if there are too many.

    >>> from companion.figures import figure
    >>> drawing, axes = figure()
    >>> _ = axes.plot([1, 2], [0.5, 1 / 3], label="a")
    >>> line = numbers(drawing)["axes"][0]["series"][0]
    >>> line["kind"], line["label"], line["x"], line["y"]
    ('line', 'a', [1, 2], [0.5, 0.333333])
    """
    shown = (axes for axes in _all_axes(figure) if axes.get_visible() and axes.get_label() != "<colorbar>")
    return {"title": figure.get_suptitle(), "axes": [_of_axes(axes) for axes in shown]}


def _all_axes(figure: Figure) -> Iterator[Axes]:
    for axes in figure.axes:
        yield axes
        yield from (inset for inset in axes.child_axes if type(inset) is Axes)


def _of_axes(axes: Axes) -> dict[str, Any]:
    titles = [axes.get_title(place) for place in ("left", "center", "right")]
    legend = axes.get_legend()
    return {
        "title": " ".join(title for title in titles if title),
        "x": _scale(axes.xaxis, axes.get_xlim()),
        "y": _scale(axes.yaxis, axes.get_ylim()),
        "legend": [text.get_text() for text in legend.get_texts()] if legend else [],
        "series": list(_series(axes)),
    }


def _scale(axis: Any, limits: tuple[float, float]) -> dict[str, Any]:
    told = {"label": axis.get_label_text(), "scale": axis.get_scale(), "limits": _rounded(limits)}
    formatter = axis.get_major_formatter()
    if isinstance(formatter, FuncFormatter | StrCategoryFormatter):
        places = axis.get_majorticklocs()
        named = zip(_rounded(places), formatter.format_ticks(places), strict=True)
        told["ticks"] = [{"at": place, "name": name} for place, name in named if name]
    return told


def _series(axes: Axes) -> Iterator[Series]:
    parts: set[Any] = set()  # of bars and error bars: lines and patches that are no series of their own
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer):
            line, caps, bars = container.lines
            parts.update((line, *caps, *bars))
            yield _error_bars(container, line, bars)
        elif isinstance(container, BarContainer):
            parts.update(container.patches)
            yield _bars(container)
    for drawn, told in (
        (axes.lines, _line),
        (axes.collections, _collection),
        (axes.patches, _patch),
        (axes.images, _picture),
        (axes.texts, _text),
    ):
        yield from (told(each, axes) for each in drawn if each not in parts and each.get_visible())


def _error_bars(container: Any, line: Any, bars: Any) -> Series:
    told: Series = {"kind": "error bars", "label": _label(container.get_label())}
    if line is not None:
        told |= {"colour": to_hex(line.get_color()), "x": _rounded(line.get_xdata()), "y": _rounded(line.get_ydata())}
    drawn = [name for name, has in (("x", container.has_xerr), ("y", container.has_yerr)) if has]
    for name, collection in zip(drawn, bars, strict=True):
        ends = np.array([segment[[0, -1]] for segment in collection.get_segments()]).reshape(-1, 2, 2)
        along = 0 if name == "x" else 1
        told |= {f"{name} from": _rounded(ends[:, 0, along]), f"{name} to": _rounded(ends[:, 1, along])}
        other = "y" if name == "x" else "x"
        told.setdefault(other, _rounded(ends[:, 0, 1 - along]))
    return told


def _bars(container: Any) -> Series:
    upright = container.orientation != "horizontal"
    boxes = [(bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) for bar in container.patches]
    x, y, width, height = np.array(boxes, dtype=float).reshape(-1, 4).T
    at, thick, start, length = (x, width, y, height) if upright else (y, height, x, width)
    return {
        "kind": "bars",
        "label": _label(container.get_label()),
        "x" if upright else "y": _rounded(at + thick / 2),
        "width": _rounded(thick),
        "from": _rounded(start),
        "to": _rounded(start + length),
    }


def _line(line: Any, axes: Axes) -> Series:
    told: Series = {"kind": "line", "label": _label(line.get_label()), "colour": to_hex(line.get_color())}
    if issubclass(type(line), AxLine):
        through, other = line.get_xy1(), line.get_xy2()
        slope = line.get_slope() if other is None else (other[1] - through[1]) / (other[0] - through[0])
        return told | {"kind": "straight line", "through": _rounded(through), "slope": _rounded([slope])[0]}
    x, y = _rounded(line.get_xdata(orig=False)), _rounded(line.get_ydata(orig=False))
    across, up = line.get_transform().contains_branch_seperately(axes.transData)
    if not (across and up):  # a line from side to side, or from bottom to top
        return told | {"kind": "level", **({"x": x[0]} if across else {}), **({"y": y[0]} if up else {})}
    if line.get_drawstyle() != "default":
        told["steps"] = line.get_drawstyle().removeprefix("steps-")
    return told | {"x": x, "y": y}


def _collection(collection: Any, _axes: Axes) -> Series:
    for kind, numbers_of in _COLLECTIONS.items():
        if issubclass(type(collection), kind):
            return {"kind": "", "label": _label(collection.get_label()), **numbers_of(collection)}
    raise TypeError(f"{type(collection).__name__} is drawn, and tools/drawn.py cannot say its numbers")


def _scatter(drawn: Any) -> Series:
    x, y = np.ma.filled(np.ma.asarray(drawn.get_offsets(), dtype=float), np.nan).T
    values = {} if drawn.get_array() is None else {"values": _rounded(drawn.get_array())}
    return {"kind": "points", **_colour(drawn), "x": _rounded(x), "y": _rounded(y), **values}


def _mesh(drawn: Any) -> Series:
    corners = drawn.get_coordinates()
    values = np.ma.asarray(drawn.get_array()).reshape(corners.shape[0] - 1, corners.shape[1] - 1)
    straight = np.allclose(corners[..., 0], corners[:1, :, 0]) and np.allclose(corners[..., 1], corners[:, :1, 1])
    x, y = (corners[0, :, 0], corners[:, 0, 1]) if straight else (corners[..., 0], corners[..., 1])
    return {"kind": "mesh", "x edges": _nested(x), "y edges": _nested(y), "values": _nested(values)}


def _contours(drawn: Any) -> Series:
    lines = [[_points(each) for each in path.to_polygons(closed_only=False)] for path in drawn.get_paths()]
    return {"kind": "contours", "levels": _rounded(drawn.levels), "lines": lines}


def _arrows(drawn: Any) -> Series:
    ends = {"x": drawn.X, "y": drawn.Y, "u": drawn.U, "v": drawn.V}
    return {"kind": "arrows", **{name: _rounded(np.ravel(values)) for name, values in ends.items()}}


def _segments(drawn: Any) -> Series:
    return {"kind": "lines", **_colour(drawn), "lines": [_points(each) for each in drawn.get_segments()]}


def _bands(drawn: Any) -> Series:
    return {"kind": "band", **_colour(drawn), "parts": [_band(path.vertices) for path in drawn.get_paths()]}


# The first that a collection is an instance of; arrows are polygons too.
_COLLECTIONS: dict[type, Callable[[Any], Series]] = {
    PathCollection: _scatter,
    QuadMesh: _mesh,
    ContourSet: _contours,
    Quiver: _arrows,
    LineCollection: _segments,
    PolyCollection: _bands,
}


def _band(corners: Any) -> Series:
    """One piece of what lies between two curves; its corners, where it is not between two curves at common places."""
    half = (len(corners) - 3) // 2
    lower, upper = corners[1 : half + 1], corners[half + 2 : 2 * half + 2][::-1]
    for along, name in ((0, "x"), (1, "y")):
        if half > 0 and len(corners) == 2 * half + 3 and np.array_equal(lower[:, along], upper[:, along]):
            sides = {"from": _rounded(lower[:, 1 - along]), "to": _rounded(upper[:, 1 - along])}
            return {name: _rounded(lower[:, along]), **sides}
    return _points(corners)


def _patch(patch: Any, axes: Axes) -> Series:
    told: Series = {"label": _label(patch.get_label()), "colour": to_hex(patch.get_facecolor())}
    if isinstance(patch, Rectangle):
        across, up = patch.get_data_transform().contains_branch_seperately(axes.transData)
        x, y = patch.get_x(), patch.get_y()
        sides = {"x": (across, x, x + patch.get_width()), "y": (up, y, y + patch.get_height())}
        return {"kind": "span", **told, **{name: _rounded(ends) for name, (has, *ends) in sides.items() if has}}
    return {"kind": "shape", **told, **_points(patch.get_patch_transform().transform_path(patch.get_path()).vertices)}


def _picture(picture: Any, _axes: Axes) -> Series:
    array: Any = np.ma.asarray(picture.get_array())
    low, high = picture.get_clim()
    told: Series = {"kind": "picture", "label": _label(picture.get_label()), "shape": list(array.shape)}
    told |= {"extent": _rounded(picture.get_extent()), "first row": "top" if picture.origin == "upper" else "bottom"}
    if array.size > _MOST:
        return told | {"left out": f"{array.size:,} values"}
    if array.dtype == np.uint8 or array.ndim == 3:  # colours as they are
        scaled = array if array.dtype == np.uint8 else np.clip(np.rint(255.0 * array), 0, 255)
        return told | {"values": scaled.astype(int).tolist()}
    told["colours from, to"] = _rounded((low, high))
    if array.size <= _GREYS:
        return told | {"values": _nested(array)}
    steps = np.clip(np.rint(255.0 * (np.ma.filled(array.astype(float), low) - low) / (high - low)), 0, 255)
    return told | {"steps": "0 to 255, between the two colours", "values": steps.astype(int).tolist()}


def _text(text: Any, axes: Axes) -> Series:
    told: Series = {"kind": "text", "text": text.get_text()}
    if isinstance(text, Annotation):
        return told | ({"x": _rounded(text.xy)[0], "y": _rounded(text.xy)[1]} if text.xycoords == "data" else {})
    across, up = text.get_transform().contains_branch_seperately(axes.transData)
    x, y = _rounded(text.get_position())
    return told | ({"x": x} if across else {}) | ({"y": y} if up else {})


def _points(corners: ArrayLike) -> Series:
    x, y = np.asarray(corners, dtype=float).reshape(-1, 2).T
    return {"x": _rounded(x), "y": _rounded(y)}


def _colour(drawn: Any) -> dict[str, str]:
    """The one colour of a collection; nothing if there are several."""
    colours = drawn.get_facecolor() if len(drawn.get_facecolor()) else drawn.get_edgecolor()
    return {"colour": to_hex(colours[0])} if len(colours) == 1 else {}


def _label(label: Any) -> str:
    """A label that somebody gave; matplotlib's own begin with an underscore, or are the word None."""
    return "" if str(label) == "None" or str(label).startswith("_") else str(label)


def _nested(values: ArrayLike) -> list[Any]:
    array: Any = np.ma.asarray(values)
    return _rounded(array) if array.ndim < 2 else [_nested(row) for row in array]


def _rounded(values: ArrayLike) -> list[float | int | None]:
    given: Any = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
    return [_short(float(f"{value:.6g}")) if np.isfinite(value) else None for value in given.tolist()]


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 1e6 else value
