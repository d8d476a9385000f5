"""Sphinx extension: an anchor is one place of a page.

The directives of proofs, exercises and solutions give each of theirs the same ones; all but the first lose them.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

import companion

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("doctree-resolved", _drop_repeated)
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


def _drop_repeated(_app: Sphinx, doctree: Any, _page: str) -> None:
    used: set[str] = set()
    for node in doctree.findall(nodes.Element):
        if "ids" in node:
            node["ids"] = [each for each in node["ids"] if each not in used]
            used.update(node["ids"])
