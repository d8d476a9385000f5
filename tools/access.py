"""Sphinx extension: what the pages of others lack for a reader on a telephone or with a screen reader.

A sign after a formula stays in its line: a browser may break a line on either side of what is no text.
A long name in code may break after a dot, a stroke or an underscore, and nowhere else while there is room for a piece.
The parameters of a signature are lines, where Sphinx makes a list of definitions without terms; a type in one that
Sphinx cannot read whole, it leaves with a tilde before all of its name, and here it is the short one.
A cell of a table's head that is empty is no head: a screen reader would read a column's name that is none.
Style sheets stand in the order of their names: Jupyter Book lists them in the order of the disk.
`_static/looks.js` does at reading time what depends on the width: it lets a keyboard reach what scrolls.
"""

import re
from typing import Any

from sphinx.application import Sphinx

import companion

__all__ = ["bound", "breakable", "lines_of_signatures", "setup", "short_types", "without_empty_heads"]

_NAME = re.compile(r'(?<=<code class="docutils literal notranslate"><span class="pre">)[^<]{20,}(?=</span></code>)')
_FORMULA = re.compile(r'\(?<span class="math notranslate nohighlight">\\\([^<]*\\\)</span>[,.;:!?)’”]+')
_TYPE = re.compile(r'(?<=<span class="pre">)[^<]*~[^<]*')
_CORNER = re.compile(r'<th class="(head[^"]*)"><p></p></th>')
_SIGNATURE = re.compile(r"<dl>\s*((?:<dd>(?:(?!</?d[ld]>).)*</dd>\s*)+)</dl>", re.DOTALL)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("config-inited", _in_order)
    app.connect("html-page-context", _mend)
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


def bound(html: str) -> str:
    r"""Formulas in a line, each held to the bracket before it and the sign after it.

    >>> bound('<span class="math notranslate nohighlight">\\(x\\)</span>, and')
    '<span class="with-its-sign"><span class="math notranslate nohighlight">\\(x\\)</span>,</span> and'
    """
    return _FORMULA.sub(r'<span class="with-its-sign">\g<0></span>', html)


def breakable(html: str) -> str:
    """Long names in code with places to break.

    >>> code = '<code class="docutils literal notranslate"><span class="pre">{}</span></code>'
    >>> breakable(code.format("companion.forward.noise_of")) == code.format("companion.<wbr>forward.<wbr>noise_<wbr>of")
    True
    """
    return _NAME.sub(lambda name: re.sub(r"(?<=\w)([./_]+)(?=\w)", r"\1<wbr>", name[0]), html)


def lines_of_signatures(html: str) -> str:
    """The parameters of a signature, each a line.

    >>> lines_of_signatures("<dl>\\n<dd><em>count</em>,</dd>\\n</dl>")
    '<span class="sig-lines">\\n<span><em>count</em>,</span>\\n</span>'
    """

    def lines(found: re.Match[str]) -> str:
        inside = found[1].replace("<dd>", "<span>").replace("</dd>", "</span>")
        return f'<span class="sig-lines">\n{inside}</span>'

    return _SIGNATURE.sub(lines, html)


def short_types(html: str) -> str:
    """Types by their own names.

    >>> short_types('<span class="pre">~collections.abc.Callable[[~companion.estimate.cost.Cost],</span>')
    '<span class="pre">Callable[[Cost],</span>'
    """
    return _TYPE.sub(lambda name: re.sub(r"~(?:\w+\.)+(?=\w)", "", name[0]), html)


def without_empty_heads(html: str) -> str:
    """The corner above a column of names, which heads nothing, is a cell like any other.

    >>> without_empty_heads('<th class="head text-right"><p></p></th>')
    '<td class="head text-right"><p></p></td>'
    """
    return _CORNER.sub(r'<td class="\1"><p></p></td>', html)


def _in_order(_app: Sphinx, config: Any) -> None:
    config.html_css_files.sort(key=str)


def _mend(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    if "body" in context:
        body = short_types(lines_of_signatures(breakable(bound(without_empty_heads(context["body"])))))
        context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')  # in a list no other role
