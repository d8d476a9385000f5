"""MyST text as a list of blocks: plain text, code, displayed equations, targets and directives.

Only what the numbering and the Colab edition need to tell apart; everything else is plain text and stays as it is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

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

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|:{3,}|~{3,})\s*(?P<rest>.*)$")
_DIRECTIVE = re.compile(r"^\{(?P<name>[\w:.-]+)\}\s*(?P<argument>.*)$")
_TARGET = re.compile(r"^\((?P<label>[^()]+)\)=\s*$")
_CLOSING = re.compile(r"^(?P<tex>.*)\$\$\s*(?:\((?P<label>[^()]+)\))?\s*$", re.DOTALL)
_OPTION = re.compile(r"^:(?P<key>[\w-]+):\s*(?P<value>.*)$")


def parse(text: str) -> list[Block]:
    """The blocks of a text, in order.

    >>> parse("Hello\\n$$ a = b $$ (eq)\\n")
    [Text(text='Hello'), Equation(tex='a = b', label='eq')]
    """
    blocks: list[Block] = []
    plain: list[str] = []

    def add(block: Block) -> None:
        if "".join(plain).strip():
            blocks.append(Text("\n".join(plain).strip("\n")))
        plain.clear()
        blocks.append(block)

    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        fence, target = _FENCE.match(line), _TARGET.match(line)
        if fence and not (fence["fence"][0] == ":" and not fence["rest"]):
            end = _end_of_fence(lines, at, fence["fence"])
            add(_fenced(lines[at : end + 1], fence))
            at = end + 1
        elif line.lstrip().startswith("$$"):
            end, equation = _equation(lines, at)
            add(equation)
            at = end + 1
        elif target:
            add(Target(target["label"]))
            at += 1
        else:
            if not line.startswith("% ") and line != "%":  # a comment of the source
                plain.append(line)
            at += 1
    if "".join(plain).strip():
        blocks.append(Text("\n".join(plain).strip("\n")))
    return blocks


def inside(blocks: list[Block]) -> Iterator[Block]:
    """Every block in reading order, those inside directives included."""
    for block in blocks:
        yield block
        if isinstance(block, Directive) and _has_prose(block):
            yield from inside(parse(block.body))


def _has_prose(directive: Directive) -> bool:
    return directive.name not in ("code-block", "code", "sourcecode", "literalinclude", "bibliography", "math")


def _end_of_fence(lines: list[str], start: int, fence: str) -> int:
    for end in range(start + 1, len(lines)):
        closing = lines[end].strip()
        if len(closing) >= len(fence) and set(closing) == {fence[0]}:
            return end
    raise ValueError(f"a fence is never closed: {lines[start].strip()}")


def _fenced(lines: list[str], fence: re.Match[str]) -> Block:
    directive = _DIRECTIVE.match(fence["rest"])
    if directive is None:
        return Code("\n".join(lines))
    options, body = _options([line.removeprefix(fence["indent"]) for line in lines[1:-1]])
    if directive["name"] == "math":
        tex = "\n".join(part for part in (directive["argument"], body) if part)
        return Equation(tex.strip(), options.get("label", ""))
    return Directive(directive["name"], directive["argument"].strip(), options, body)


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


def _equation(lines: list[str], start: int) -> tuple[int, Equation]:
    text = lines[start].lstrip()[2:]
    for end in range(start, len(lines)):
        if end > start:
            text += "\n" + lines[end]
        if closing := _CLOSING.match(text):
            return end, Equation(closing["tex"].strip(), closing["label"] or "")
    raise ValueError(f"a displayed equation is never closed: {lines[start].strip()}")
