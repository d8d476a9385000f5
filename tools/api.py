"""Sphinx extension: docstrings as they are written here, for the page that lists the package's public names.

A docstring is plain prose: code stands between single backticks, a formula in an indented block, examples after `>>>`.
"""

import re
from typing import Any

from sphinx.application import Sphinx

import companion

__all__ = ["as_rst", "setup"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", _rewrite)
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


def _rewrite(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = as_rst("\n".join(lines).strip("\n")).split("\n")
