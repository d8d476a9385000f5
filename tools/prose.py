"""MyST prose as plain Markdown and standard TeX, for the Colab edition of a chapter.

Theorems, admonitions and captions become bold text with their number; references become numbers or titles, with a link
where the book is published; citations become author and year; the book's TeX macros are written out. What cannot be
shown this way raises ValueError, so that a chapter never reaches a reader with raw markup.
"""

import posixpath
import re
from dataclasses import dataclass, field

from tools import book, citations, statements
from tools.blocks import Code, Directive, Equation, Target, Text, parse

__all__ = ["Prose", "expand"]

_ADMONITIONS = ("note", "tip", "hint", "important", "warning", "caution", "attention", "danger", "error", "seealso")
_TITLED = ("admonition", "dropdown", "card", "topic")
_UNTITLED = ("margin", "sidebar", "epigraph", "div", "container")

_INLINE = re.compile(
    r"\{(?P<role>[\w:.-]+)\}(?P<ticks>`+)(?P<content>.+?)(?P=ticks)(?!`)"
    r"|(?P<code>(?<!`)(`+)(?!`).+?(?<!`)\5(?!`))"
    r"|(?<![\\$])\$(?P<math>[^$\n]*(?:\n(?!\s*\n)[^$\n]*)*?[^\\$])\$(?!\$)"
    r"|(?P<image>!)?\[(?P<text>[^\[\]]*)\]\((?P<link>[^()\s]+)\)",
    re.DOTALL,
)


@dataclass
class Prose:
    """Turns the prose of one page into plain Markdown; remembers which works it cited."""

    page: book.Page
    cited: list[str] = field(default_factory=list)

    def markdown(self, text: str) -> str:
        """The whole text as plain Markdown."""
        return "\n\n".join(part for part in (self._block(block) for block in parse(text)) if part)

    def inline(self, text: str) -> str:
        """Roles, links and macros of a paragraph, code left alone."""
        for sign in ("{{", "[^"):
            if sign in re.sub(r"`[^`]*`|\$[^$]*\$", "", text):
                raise ValueError(f"{self.page.path}: the Colab edition cannot show {sign!r} in: {text[:60]}")
        return _INLINE.sub(self._piece, text)

    def caption(self, kind: str, text: str, number: str) -> str:
        """A numbered caption; Sphinx writes 'Fig. 2.1' and 'Table 2.1'."""
        return f"**{ {'figure': 'Fig.', 'table': 'Table'}[kind] } {number}.** {self.inline(' '.join(text.split()))}"

    def references(self) -> str:
        """The works cited on the page, as a list; empty when there are none."""
        if not self.cited:
            return ""
        entries = sorted({citations.entry(key) for key in self.cited})
        return "\n".join(["## References", "", *(f"- {entry}" for entry in entries)])

    def _block(self, block: Text | Code | Equation | Target | Directive) -> str:
        if isinstance(block, Code):
            return block.text
        if isinstance(block, Target):
            return ""
        if isinstance(block, Equation):
            number = book.labels()[block.label].number if block.label else ""
            return displayed(block.tex, number)
        if isinstance(block, Directive):
            return self._directive(block)
        if re.search(r"^\\begin\{", block.text, re.MULTILINE):
            raise ValueError(f"{self.page.path}: an equation outside $$: {block.text[:60]}")
        if block.text.startswith("# ") and self.page.chapter:
            return f"# {self.page.chapter}. {self.inline(block.text[2:])}"
        return self.inline(block.text)

    def _directive(self, block: Directive) -> str:
        name, kind = block.name, block.name.split(":")[-1]
        label = block.options.get("label") or block.options.get("name") or ""
        if name == "prf:proof":
            proof = f"*Proof.* {self.markdown(block.body)}"
            return f"{proof}\n\n$\\square$" if proof.endswith("$$") else f"{proof} $\\square$"
        if name.startswith("prf:"):
            heading = f"{kind.capitalize()} {self._number(block, label)}".strip()
            if block.argument:
                heading += f" ({self.inline(block.argument)})"
            cited = f"\n\n{statements.described(label)}" if kind in statements.KINDS and label else ""
            return f"**{heading}.** {self.markdown(block.body)}{cited}"
        if name == "exercise":
            heading = f"Exercise {self._number(block, label)} ({self.inline(block.argument)})"
            return f"**{heading}.** {self.markdown(block.body)}"
        if name == "solution-start":
            return f"**Solution of exercise {self._label(block.argument).number}.**"
        if name == "solution-end":
            return ""
        if name in _ADMONITIONS:
            heading = "See also" if name == "seealso" else name.capitalize()
            return _quoted(heading, self.markdown("\n".join(part for part in (block.argument, block.body) if part)))
        if name in _TITLED:
            return _quoted(self.inline(block.argument) or "Note", self.markdown(block.body))
        if name in _UNTITLED:
            return _quoted("", self.markdown("\n\n".join(part for part in (block.argument, block.body) if part)))
        if name in ("figure", "image"):
            picture = self._image(block.options.get("alt", ""), block.argument)
            return "\n\n".join(
                [picture, self.caption("figure", block.body, self._number(block, label))] if block.body else [picture]
            )
        if name == "widget":
            picture = self._image(block.options.get("alt", ""), f"/book/widgets/{block.argument}.png")
            return "\n\n".join([picture, self._moves(block.argument), self.markdown(block.body)])
        if name in ("table", "list-table"):
            body = _list_table(block.body) if name == "list-table" else block.body
            caption = [self.caption("table", block.argument, self._number(block, label))] if block.argument else []
            return "\n\n".join([*caption, self.inline(body)])
        if name in ("code-block", "code", "sourcecode"):
            return f"```{block.argument}\n{block.body}\n```"
        if name == "bibliography":
            return ""  # the list of references closes the edition by itself
        raise ValueError(f"{self.page.path}: the Colab edition cannot show the directive {{{name}}}")

    def _moves(self, widget: str) -> str:
        """Where a picture can be moved: on the book's page, and not here."""
        link = f"{book.home()}{self.page.path}.html#{book.widget_anchor(widget)}"
        place = f"[On its page of the book]({link})" if book.home() else "On its page of the book"
        return f"*{place} this picture has sliders that move it.*"

    def _number(self, block: Directive, label: str) -> str:
        if "nonumber" in block.options:
            return ""
        if not label:
            raise ValueError(f"{self.page.path}: {block.name} {block.argument!r} has no label")
        return book.labels()[label].number

    def _piece(self, match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        if match["math"] is not None:
            return f"${expand(match['math'])}$"
        if match["role"]:
            return self._role(match["role"], match["content"])
        if match["image"]:
            return self._image(match["text"], match["link"])
        return self._link(match["text"], match["link"])

    def _role(self, role: str, content: str) -> str:
        content = " ".join(content.split())
        named = re.fullmatch(r"(?P<text>.*?)\s*<(?P<target>[^<>]+)>", content)
        text, target = (named["text"], named["target"]) if named else ("", content)
        if role == "math":
            return f"${expand(content)}$"
        if role in ("cite", "cite:p", "cite:t"):
            keys = [key.strip() for key in content.split(",")]
            self.cited.extend(keys)
            return citations.textual(keys) if role == "cite:t" else citations.parenthetical(keys)
        if role == "doc":
            return self._to(self._page_at(target), text or self._page_at(target).title)
        if role in ("eq", "math:numref", "numref", "ref", "prf:ref"):
            label = self._label(target)
            if role == "numref" and re.search(r"%s|\{number\}", text):
                text = text.replace("%s", label.number).replace("{number}", label.number)
            return self._to(self._page_of(label), text or self._named(label))
        if role in ("term", "abbr", "kbd", "code", "sub", "sup"):
            return {"code": f"`{content}`", "sub": f"<sub>{content}</sub>", "sup": f"<sup>{content}</sup>"}.get(
                role, text or content
            )
        raise ValueError(f"{self.page.path}: the Colab edition cannot show the role {{{role}}}")

    def _link(self, text: str, link: str) -> str:
        if re.match(r"[a-z]+:", link):
            return f"[{self.inline(text) if text else link}]({link})"
        path, _, name = link.partition("#")
        if name and (name in book.labels() or not path):
            label = self._label(name)
            return self._to(self._page_of(label), self.inline(text) or self._named(label))
        page = self._page_at(path.removesuffix(".md"))
        return self._to(page, self.inline(text) or page.title)

    def _label(self, name: str) -> book.Label:
        if name not in book.labels():
            raise ValueError(f"{self.page.path}: there is no label {name}")
        return book.labels()[name]

    def _named(self, label: book.Label) -> str:
        if label.kind == "equation":
            return f"({label.number})"
        if label.kind == "section" or not label.number:
            return self.inline(label.title)
        return f"{ {'figure': 'Fig.', 'table': 'Table'}.get(label.kind, label.kind.capitalize()) } {label.number}"

    def _page_of(self, label: book.Label) -> book.Page:
        return next(page for page in book.pages() if page.path == label.page)

    def _page_at(self, target: str) -> book.Page:
        path = posixpath.normpath(posixpath.join("/", posixpath.dirname(self.page.path), target)).lstrip("/")
        for page in book.pages():
            if page.path == path:
                return page
        raise ValueError(f"{self.page.path}: there is no page {target}")

    def _to(self, page: book.Page, text: str) -> str:
        """Text that leads to another page of the published repository, in the form that a reader can open there."""
        if page == self.page or not book.address():
            return text
        suffix = ".ipynb" if page in book.chapters() else ".md"
        return f"[{text}]({book.address()}/blob/{book.branch()}/{page.path}{suffix})"

    def _image(self, alt: str, path: str) -> str:
        alt = " ".join(alt.split())
        if re.match(r"[a-z]+:", path):
            return f"![{alt}]({path})"
        file = posixpath.normpath(posixpath.join("/", posixpath.dirname(self.page.path), path)).lstrip("/")
        if not book.address():
            return f"*Figure in the book: {alt}*"
        return f"![{alt}]({book.address()}/raw/{book.branch()}/{file})"


def displayed(tex: str, number: str) -> str:
    """A displayed equation in standard TeX, with its number as a tag.

    >>> displayed("a = b", "2.3")
    '$$\\na = b \\\\tag{2.3}\\n$$'
    """
    tex = expand(tex)
    if "\\\\" in tex and not tex.lstrip().startswith("\\begin{"):  # Sphinx splits such lines by itself
        tex = f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}"
    tag = f" \\tag{{{number}}}" if number else ""
    return f"$$\n{tex}{tag}\n$$"


def expand(tex: str) -> str:
    """TeX with every macro of the book written out.

    >>> expand(r"\\dd x")
    '\\\\mathrm{d} x'
    """
    names = "|".join(sorted(book.macros(), key=len, reverse=True))
    pattern = re.compile(rf"(?P<script>[\^_]\s*)?\\(?P<name>{names})(?![A-Za-z])")
    while match := pattern.search(tex):
        body, count = book.macros()[match["name"]]
        end = match.end()
        for n in range(1, count + 1):
            argument, end = _argument(tex, end)
            body = body.replace(f"#{n}", argument)
        script = match["script"] or ""
        if script:
            body = f"{{{body}}}"
        elif re.search(r"\\[A-Za-z]+$", body) and tex[end : end + 1].isalpha():
            body += " "
        tex = tex[: match.start()] + script + body + tex[end:]
    return tex


def _argument(tex: str, at: int) -> tuple[str, int]:
    while tex[at : at + 1].isspace():
        at += 1
    if tex[at : at + 1] != "{":
        command = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL).match(tex, at)
        if command is None:
            raise ValueError(f"a macro lacks an argument: {tex}")
        return command[0], command.end()
    depth = 0
    for end in range(at, len(tex)):
        depth += {"{": 1, "}": -1}.get(tex[end], 0)
        if depth == 0:
            return tex[at + 1 : end], end + 1
    raise ValueError(f"a brace is never closed: {tex}")


def _quoted(heading: str, text: str) -> str:
    # Notebooks find equations before they find quotes: an equation inside a quote has to stay on one line.
    text = re.sub(r"^\$\$\n(.*?)\n\$\$", lambda m: "$$ " + " ".join(m[1].split()) + " $$", text, flags=re.M | re.S)
    lines = ([f"**{heading}**", ""] if heading else []) + text.split("\n")
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _list_table(body: str) -> str:
    rows: list[list[str]] = []
    for line in body.split("\n"):
        if match := re.match(r"^\* - ?(.*)$", line):
            rows.append([match[1]])
        elif match := re.match(r"^  - ?(.*)$", line):
            rows[-1].append(match[1])
        elif line.strip():
            rows[-1][-1] += " " + line.strip()
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([table[0], "|" + "---|" * len(rows[0]), *table[1:]])
