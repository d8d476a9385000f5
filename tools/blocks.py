"""MyST text as a list of blocks: plain text, code, displayed equations, targets and directives.

Only what the numbering and the Colab edition need to tell apart; everything else is plain text and stays as it is.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

import yaml
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

__all__ = ["Block", "Code", "Directive", "Equation", "Target", "Text", "inside", "parse"]


@dataclass(frozen=True)
class Text:
    """Lines of Markdown without a block of another kind."""

    text: str


@dataclass(frozen=True)
class Code:
    """A fenced listing, fences included."""

    text: str


@dataclass(frozen=True)
class Equation:
    """A displayed equation; it is numbered exactly when it has a label."""

    tex: str
    label: str = ""


@dataclass(frozen=True)
class Target:
    """`(label)=` above a heading, a paragraph or a figure."""

    label: str


@dataclass(frozen=True)
class Directive:
    """A fenced or colon-fenced directive: name, argument, options, and its body as text."""

    name: str
    argument: str = ""
    options: dict[str, str] = field(default_factory=dict)
    body: str = ""


Block = Text | Code | Equation | Target | Directive

_DIRECTIVE = re.compile(r"^\{(?P<name>[\w:.-]+)\}\s*(?P<argument>.*)$")
_OPTION = re.compile(r"^:(?P<key>[\w-]+):\s*(?P<value>.*)$")


@cache
def _reader() -> MarkdownIt:
    """The book's own Markdown, as MyST reads it, down to blocks."""
    settings = MdParserConfig(enable_extensions={"colon_fence", "deflist", "dollarmath", "tasklist"})
    return create_md_parser(settings, RendererHTML).disable("inline")


def parse(text: str) -> list[Block]:
    """The blocks of a text, in order; ValueError for a fence or a displayed equation that is never closed.

    >>> parse("Hello\\n\\n$$ a = b $$ (eq)\\n")
    [Text(text='Hello'), Equation(tex='a = b', label='eq')]
    """
    blocks: list[Block] = []
    lines, at = text.split("\n"), 0
    for token in _reader().parse(text):
        if token.map is None or token.type not in _KINDS:
            continue
        start, end = token.map
        blocks += [*_text(lines[at:start]), *_KINDS[token.type](token, lines[start:end])]
        at = end
    return blocks + _text(lines[at:])


def inside(blocks: list[Block]) -> Iterator[Block]:
    """Every block in reading order, those inside directives included."""
    for block in blocks:
        yield block
        if isinstance(block, Directive) and _has_prose(block):
            yield from inside(parse(block.body))


def _has_prose(directive: Directive) -> bool:
    return directive.name not in ("code-block", "code", "sourcecode", "literalinclude", "bibliography", "math")


def _text(lines: list[str]) -> list[Block]:
    if any(line.lstrip().startswith("$$") for line in lines):
        raise ValueError(f"a displayed equation is never closed, or within a paragraph: {' '.join(lines).strip()[:60]}")
    return [Text("\n".join(lines).strip("\n"))] if "".join(lines).strip() else []


def _fenced(token: Token, lines: list[str]) -> list[Block]:
    if lines[-1].strip().strip(token.markup[0]) or len(lines) == 1:
        raise ValueError(f"a fence is never closed: {lines[0].strip()}")
    directive = _DIRECTIVE.match(token.info.strip())
    if directive is None:
        return [Code("\n".join(lines))]
    options, body = _options(token.content.rstrip("\n").split("\n"))
    if directive["name"] == "math":
        tex = "\n".join(part for part in (directive["argument"], body) if part)
        return [Equation(tex.strip(), options.get("label", ""))]
    return [Directive(directive["name"], directive["argument"].strip(), options, body)]


def _options(lines: list[str]) -> tuple[dict[str, str], str]:
    """The options of a directive, as `:key: value` lines or a YAML block between dashes, and what follows them."""
    if lines and lines[0].strip() == "---":
        end = next((n for n in range(1, len(lines)) if lines[n].strip() == "---"), len(lines))
        loaded = yaml.safe_load("\n".join(lines[1:end])) or {}
        return {key: str(value) for key, value in loaded.items()}, "\n".join(lines[end + 1 :]).strip("\n")
    options = {}
    while lines and (match := _OPTION.match(lines[0])):
        options[match["key"]] = match["value"].strip()
        lines = lines[1:]
    return options, "\n".join(lines).strip("\n")


_KINDS: dict[str, Callable[[Token, list[str]], list[Block]]] = {
    "fence": _fenced,
    "colon_fence": _fenced,
    "math_block": lambda token, _: [Equation(token.content.strip())],
    "math_block_label": lambda token, _: [Equation(token.content.strip(), token.info)],
    "myst_target": lambda token, _: [Target(token.content)],
    "myst_line_comment": lambda token, _: [],
}
