"""Sphinx extension: docstrings as they are written here, for the page that lists the package's public names.

A docstring is plain prose: code stands between single backticks, a formula in an indented block, examples after `>>>`.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

import companion

__all__ = ["as_rst", "setup"]

_SHORT = {stringify_annotation(ArrayLike, "smart"): "ArrayLike"}
_SHORT |= {stringify_annotation(NDArray[np.float64], "smart"): "NDArray[float64]"}


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", _rewrite)
    app.connect("autodoc-process-signature", _shorten)
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


def as_rst(docstring: str) -> str:
    r"""A docstring in the markup that Sphinx reads: formulas as they are typed, signs in prose stand for themselves.

    >>> print(as_rst("The mean `D` of 2 * x, H(Z | X).\n\n    D = x_0"))
    The mean ``D`` of 2 \* x, H(Z \| X).
    <BLANKLINE>
    ::
    <BLANKLINE>
        D = x_0
    """
    return "\n\n".join(_block(block) for block in re.split(r"\n\s*\n", docstring))


def _block(block: str) -> str:
    if block.startswith(">>>"):
        return block
    if block.startswith("    "):
        return f"::\n\n{block}"
    parts = re.split(r"`([^`]+)`", block)
    parts[::2] = [re.sub(r"[*|\\]|_(?!\w)", r"\\\g<0>", plain) for plain in parts[::2]]
    parts[1::2] = [f"``{code}``" for code in parts[1::2]]
    return "".join(parts)


def _shorten(*given: Any) -> tuple[str | None, str | None]:
    """The arguments and the result of a signature, with arrays under the names that the code gives them."""
    *_, arguments, result = given
    for long, short in _SHORT.items():
        arguments, result = (said and said.replace(long, short) for said in (arguments, result))
    return arguments, result


def _rewrite(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = as_rst("\n".join(lines).strip("\n")).split("\n")
