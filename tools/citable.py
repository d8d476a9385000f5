"""Sphinx extension: under every numbered statement a closed box with its link, its test and a BibTeX entry to copy.

The line of the test leads to the page on what a test shows.

The search finds a statement by its title, before the pages that have the words of the title somewhere.

Nothing is typed in a chapter for it. The label, kind and number are those of the page's own tree, the tests are those
that `tools.statements` finds, and the pages are written again when any of them changes.
"""

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms import SphinxTransform

import companion
from tools import book, statements
from tools.prose import expand

__all__ = ["bibtex", "setup"]

_MEANING = "book/what_checked_means"
_OPEN = '<details class="citable"><summary>Cite · link · test</summary>'


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("citable", {}, "html", [dict])
    app.connect("config-inited", _settle)
    app.connect("doctree-resolved", _add_boxes)
    app.add_transform(_Indexed)
    return {"version": companion.__version__, "parallel_read_safe": True, "parallel_write_safe": True}


def bibtex(label: str, name: str, link: str) -> str:
    r"""The entry of a statement; `name` is what it is called, its title and number, in Markdown.

    >>> print(bibtex("thm-a", "A title (theorem 1.1)", "notebooks/a_b.html#thm-a"))  # doctest: +ELLIPSIS
    @misc{companion:thm-a,
      author       = {{The companion's contributors}},
      title        = {A title (theorem 1.1)},
      howpublished = {When does a diffusion model decide?},
      year         = {...},
      note         = {Page notebooks/a\_b.html\#thm-a, version ...}
    }
    """
    fields = {
        "author": "{The companion's contributors}",
        "title": _in_tex(name),
        "howpublished": _in_tex(book.title()),
        "year": book.year(),
        "note": f"Page {_in_tex(link.removeprefix(book.home()))}, version {companion.__version__}",
    }
    if book.home() or book.address():
        fields["url"] = link if book.home() else book.address()
    lines = ",\n".join(f"  {key:12} = {{{value}}}" for key, value in fields.items())
    return f"@misc{{companion:{label},\n{lines}\n}}"


def _settle(_app: Sphinx, config: Config) -> None:
    """What the boxes say beyond the page's own tree, as a setting: Sphinx writes the pages again when it changes."""
    config.citable = {
        "entry": bibtex("", "", ""),
        "tests": {label: list(statements.tests_of(label)) for label in statements.statements()},
    }


class _Indexed(SphinxTransform):
    """Every titled statement as a main entry of the index: the search puts those first."""

    default_priority = 500  # before Sphinx collects the entries of a page

    def apply(self, **_: Any) -> None:
        for node in self.document.findall(nodes.Admonition):
            if node.get("label") in self.config.citable["tests"] and (title := _title(node)):
                entry = ("single", re.sub(r"[*`$;]", "", title), node["ids"][0], "main", None)
                node.insert(0, addnodes.index(entries=[entry]))


def _add_boxes(app: Sphinx, doctree: Any, docname: str) -> None:
    if app.builder.format != "html":
        return
    for node in list(doctree.findall(nodes.Admonition)):
        if node.get("label") in app.config.citable["tests"]:
            number = app.env.toc_fignumbers[docname][node["countertype"]][node["ids"][0]]
            meaning = app.builder.get_relative_uri(docname, _MEANING)
            node += [_html(_OPEN), *_inside(node, docname, ".".join(map(str, number)), meaning), _html("</details>")]


def _inside(node: Any, docname: str, number: str, meaning: str) -> list[Any]:
    label, kind, anchor = node["label"], node["realtype"], f"#{node['ids'][0]}"
    link = f"{book.home()}{docname}.html{anchor}"
    title = _title(node)
    name = f"{title} ({kind} {number})" if title else f"{kind.capitalize()} {number}"
    address = nodes.reference("", link, refuri=link if book.home() else anchor, internal=not book.home())
    tests = statements.tests_of(label)
    parts = [_line("Link", address)]
    if tests:
        shows = nodes.reference("", "what checked means", refuri=meaning, internal=True)
        parts.append(_line("Test", *(nodes.literal(test, test) for test in tests), nodes.Text("·"), shows))
        parts.append(_listing("bash", f"python -m pytest {' '.join(tests)}"))
    elif kind == "definition":
        parts.append(_line("Test", nodes.Text("a definition, there is nothing to test")))
    return [*parts, _listing("bibtex", bibtex(label, name, link))]


def _title(node: Any) -> str:
    return str(node["title"].strip().removeprefix("(").removesuffix(")"))


def _html(text: str) -> Any:
    return nodes.raw("", text, format="html")


def _line(name: str, *said: Any) -> Any:
    spaced = [part for one in said for part in (nodes.Text(" "), one)]
    return nodes.paragraph("", "", nodes.strong(name, name), *spaced)


def _listing(language: str, text: str) -> Any:
    return nodes.literal_block(text, text, language=language)


def _in_tex(text: str) -> str:
    """Markdown of a line as TeX: formulas written out, everything else taken literally."""
    pieces = re.split(r"\$([^$]+)\$", text)
    plain = [re.sub(r"([_&%#])", r"\\\1", re.sub(r"[*`]", "", piece)) for piece in pieces[::2]]
    formulas = [f"${expand(piece)}$" for piece in pieces[1::2]]
    return "".join(part for pair in zip(plain, [*formulas, ""], strict=True) for part in pair)
