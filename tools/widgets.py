"""Sphinx extension and command: pictures of the book that a reader moves, with no kernel and no network.

A widget is one file of plain JavaScript in `book/widgets`, beside what all share, a still picture, and its numbers
where no closed form gives them. The directive `widget` puts it into a page, whole, below the still picture: that is
what paper, the Colab edition and a browser without scripts show. `python -m tools.widgets` writes both again.
"""

import hashlib
import html
import json
import re
import sys
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.special import softmax
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import companion
from companion.estimate.paths import Paths, trajectories
from companion.figures import COLOURS
from companion.forward import noise_of
from companion.models.load import load
from derivations.kit.measured import read
from tools import book, chromium
from tools.blocks import Directive, inside, parse

__all__ = ["FOLDER", "NUMBERS", "digest_of_still", "names", "placed", "script", "setup", "stand_alone", "write"]

FOLDER = book.ROOT / "book" / "widgets"
_STYLE = book.ROOT / "_static" / "widgets.css"
_SHARED = FOLDER / "shared.js"
_WIDTH = 760  # of a still picture: the column of a page on a wide screen


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("widget", _Widget)
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


def names() -> list[str]:
    """Every widget that there is, by the name of its file."""
    return sorted(file.stem for file in FOLDER.glob("*.js") if file != _SHARED)


def script(name: str) -> str:
    """All that a page needs to run a widget, as the text of one script."""
    data = FOLDER / f"{name}.json"
    numbers = data.read_text(encoding="utf-8").strip() if data.exists() else "null"
    given = f"const COLOURS = {json.dumps(COLOURS)}, DATA = {numbers};"
    code = "\n".join(_bare(file.read_text(encoding="utf-8")) for file in (_SHARED, FOLDER / f"{name}.js"))
    return f'(() => {{\n"use strict";\n{given}\n{code}\nmount("{name}");\n}})();'


def _bare(code: str) -> str:
    """JavaScript without its comments, which begin a line or follow a space, its blank lines and its indents."""
    lines = (re.sub(r"(^|\s)//(\s.*)?$", "", line).strip() for line in code.splitlines())
    return "\n".join(line for line in lines if line)


def placed() -> dict[str, tuple[book.Page, Directive]]:
    """For each widget the page that has it and the directive that puts it there; ValueError for one put twice."""
    found: dict[str, tuple[book.Page, Directive]] = {}
    for page in book.pages():
        text = page.source.read_text(encoding="utf-8")
        if "{widget}" not in text:
            continue
        cells = book.read_cells(page).cells if page in book.chapters() else []
        texts = [cell.source for cell in cells if cell.cell_type == "markdown"] or [text]
        for block in (block for each in texts for block in inside(parse(each))):
            if isinstance(block, Directive) and block.name == "widget":
                if block.argument in found:
                    raise ValueError(f"{page.path}: the widget {block.argument} is used twice")
                found[block.argument] = page, block
    return found


class _Widget(SphinxDirective):
    """`{widget} NAME` with a description `:alt:` of the still picture; the text says what to see."""

    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged_required}  # noqa: RUF012, docutils' own

    def run(self) -> list[Any]:
        name, alt = self.arguments[0], " ".join(self.options.get("alt", "").split())
        if name not in names() or not alt:
            raise self.error(f"widget is {name}, expected one of {', '.join(names())}, and :alt: what it shows")
        for file in (_SHARED, FOLDER / f"{name}.js", FOLDER / f"{name}.json"):
            self.env.note_dependency(str(file))
        box = nodes.container(classes=["widget"], ids=[book.widget_anchor(name)])
        box += nodes.image(uri=f"/book/widgets/{name}.png", alt=alt)
        box += nodes.raw("", _running(name), format="html")
        self.state.nested_parse(self.content, self.content_offset, box)
        return [box]


def _running(name: str) -> str:
    return f'<div class="widget-live"></div>\n<script>\n{script(name)}\n</script>'


def stand_alone(name: str) -> str:
    """A page that has one widget and nothing else, with the book's style, for a look at it and for its tests."""
    _, directive = placed()[name]
    still = f'<img src="{(FOLDER / f"{name}.png").as_uri()}" alt="{html.escape(_alt(directive), quote=True)}">'
    see = f"<p>{html.escape(directive.body)}</p>"
    return (
        '<!doctype html>\n<html lang="en" data-theme="light">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{name}</title>\n'
        f'<link rel="stylesheet" href="{_STYLE.with_name("fonts.css").as_uri()}">\n'
        "<style>\nbody { margin: 12px; font-family: var(--book-sans); background: #ffffff; }\n"
        'html[data-theme="dark"] body { background: #14181e; }\n'
        f"{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n<main>\n"
        f'<div class="widget" id="{book.widget_anchor(name)}">\n{still}\n{_running(name)}\n{see}\n</div>\n'
        "</main>\n</body>\n</html>\n"
    )


def _alt(directive: Directive) -> str:
    return " ".join(directive.options["alt"].split())


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(script(name).encode()).hexdigest()


def digest_of_still(name: str) -> tuple[str, str]:
    """SHA-256 of the script that a widget's still picture was drawn by, and of the script as it is now."""
    with Image.open(FOLDER / f"{name}.png") as picture:
        return str(picture.info.get("script", "")), _digest(name)


def digits() -> dict[str, Any]:
    """Paths of the digits network, each drawn by one digit and scored under all ten; what `digits.js` reads.

    Greys have sixteen steps: of the state, in the variance-preserving frame, from -2.5 to 2.5; of the prediction, the
    mean of the ten denoisers by the posterior, from -1 to 1. The posterior is in ten-thousandths.
    """
    model, levels, paths = load("digits"), np.linspace(-7.0, 5.0, 49), []
    for seed, digit in enumerate((3, 9, 0)):
        run = trajectories(model, Paths(range(10), [digit], levels, seed=seed))
        here = np.isfinite(run.log_snr)  # all but the start from nothing
        posterior = softmax(run.averaged[here, 0].numpy(), axis=-1)
        prediction = np.einsum("lz,lzp->lp", posterior, run.predictions[here, :, 0].flatten(2).numpy())
        state = run.states[here, 0].numpy() / np.hypot(1.0, noise_of(levels))[:, None]
        told = [
            {"state": _greys(x, 2.5), "prediction": _greys(D, 1.0), "posterior": np.rint(1e4 * p).astype(int).tolist()}
            for x, D, p in zip(state, prediction, posterior, strict=True)
        ]
        paths.append({"seed": seed, "digit": digit, "levels": told})
    return {"log_snr": levels.tolist(), "paths": paths}


def _greys(pixels: Any, reach: float) -> str:
    steps = np.clip(np.rint(7.5 + 7.5 * pixels / reach), 0, 15).astype(int)
    return "".join(f"{step:x}" for step in steps)


def estimators() -> dict[str, Any]:
    """The shipped errors of the published estimator and of the default one; what `estimators.js` reads."""
    parts = ("orders", "improvements", "samples")
    orders, changes, samples = (read(f"what_each_improvement_buys/{part}") for part in parts)
    titles = {
        "near": "means 4 widths apart, s = 1",
        "unequal 1": "d = 1, s = 0.5 and 1, distance 1",
        "unequal 16": "d = 16, s = 0.5 and 0.7, distance 1",
    }
    rules = {"published": 0, "default": len(changes["methods"]) - 1}

    def of(case: str, rule: str) -> dict[str, Any]:
        bias, deviation = orders["grids"]["EDM"][case][rule], changes["cases"][case]["deviation_of_300"][rules[rule]]
        return {"bias": _rounded(bias), "deviation": _rounded([deviation])[0]}

    cases = {case: {"title": title, **{rule: of(case, rule) for rule in rules}} for case, title in titles.items()}
    runs = {rule: _rounded(samples["methods"][rule]["error"]) for rule in rules}
    measured = {"case": "near", "levels": 65, "paths": samples["samples"].astype(int).tolist(), **runs}
    return {"target": 0.01, "levels": orders["levels"].astype(int).tolist(), "cases": cases, "measured": measured}


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


NUMBERS = {"digits": digits, "estimators": estimators}  # of the widgets that no closed form is enough for


def write(some: list[str]) -> None:
    """The numbers and the still pictures of some widgets, or of all; ValueError for a name that is none."""
    chosen = some or names()
    if unknown := set(chosen) - set(names()):
        raise ValueError(f"widget is {', '.join(sorted(unknown))}, expected some of {', '.join(names())}")
    for name in (name for name in chosen if name in NUMBERS):
        text = json.dumps(NUMBERS[name](), separators=(",", ":"))
        (FOLDER / f"{name}.json").write_text(text.replace('},{"s', '},\n{"s') + "\n", encoding="utf-8")
    with chromium.browser() as running, tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            file = Path(folder) / f"{name}.html"
            file.write_text(stand_alone(name), encoding="utf-8")
            with running.new_page(viewport={"width": _WIDTH + 52, "height": 900}, device_scale_factor=2) as page:
                page.set_default_timeout(chromium.PATIENCE)
                page.goto(file.as_uri())
                shot = page.locator(".widget svg").screenshot(animations="disabled")
            said = PngInfo()
            said.add_text("script", _digest(name))
            with Image.open(BytesIO(shot)) as picture:
                drawn = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            drawn.save(FOLDER / f"{name}.png", optimize=True, pnginfo=said)
            print(f"{name}: script {len(script(name).encode()):,} bytes, still {drawn.width} x {drawn.height}")


if __name__ == "__main__":
    try:
        write(sys.argv[1:])
    except (ValueError, FileNotFoundError) as error:
        sys.exit(str(error))
