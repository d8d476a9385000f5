"""Long formulas in lines that fit into a column: broken between the terms of a sum, never inside a product.

lines(expression)       the expression as TeX, one entry a line
side_by_side(sides)     an equation: in one line if it fits, else each side on a line of its own, or on several
"""

import re
from collections.abc import Sequence

from sympy import Add, Derivative, Expr, Limit, Mul

from derivations.kit.language import negative, ordered_terms, tex

# What a statement's box holds, in breadths of a letter.
_COLUMN = 37.5

# Signs that stand for more or less than one letter.
_BREADTHS = {
    **dict.fromkeys(("left", "right", "Bigl", "Bigr", "mathrm", "mathbb", "mathcal", "operatorname", "limits"), 0.0),
    **dict.fromkeys((",", "quad", " ", "mid", "cdot"), 0.5),
    **dict.fromkeys(("log", "sin", "cos", "tan", "lim", "min", "max", "arccos", "arcsin"), 2.0),
    **dict.fromkeys(("cosh", "sinh", "tanh", "sum", "int"), 2.5),
}


def breadth(text: str) -> float:
    r"""About how broad TeX is when it is set, in letters: a fraction as its broader part, exponents smaller.

    >>> breadth(r"\frac{a + b}{c}"), breadth("x^{2}")
    (3.7, 1.65)
    """
    return _breadth(re.findall(r"\\[A-Za-z]+|\\.|[{}^_]|\S", text))


def _breadth(tokens: list[str]) -> float:
    total = 0.0
    while tokens:
        token = tokens.pop(0)
        if token in ("\\frac", "\\substack"):
            total += 0.3 + max(_breadth(_group(tokens)) for _ in range(2 if token == "\\frac" else 1))
        elif token in ("^", "_"):
            total += 0.65 * _breadth(_group(tokens))
        elif token == "{":
            tokens.insert(0, token)
            total += _breadth(_group(tokens))
        elif token in ("+", "-", "="):
            total += 1.4
        elif token.startswith("\\"):
            total += _BREADTHS.get(token[1:], 1.0)
        else:
            total += 0.7 if token in "()[]|.," else 1.0
    return round(total, 6)


def _group(tokens: list[str]) -> list[str]:
    """Takes one group in braces, or one sign, from the front."""
    first = tokens.pop(0)
    if first != "{":
        return [first]
    taken, depth = [], 1
    while depth:
        taken.append(tokens.pop(0))
        depth += {"{": 1, "}": -1}.get(taken[-1], 0)
    return taken[:-1]


def lines(expression: Expr, room: float = _COLUMN) -> list[str]:
    """An expression as TeX in lines of at most `room` letters, as far as it has terms between which to break.

    >>> from sympy import symbols
    >>> a, b, c = symbols("alpha beta gamma")
    >>> lines(a + b - c, room=5.0)
    ['\\\\alpha + \\\\beta', '- \\\\gamma']
    """
    text = tex(expression)
    if breadth(text) <= room:
        return [text]
    if isinstance(expression, Add):
        return _packed(expression, room)
    if isinstance(expression, Limit):
        inner, variable, point, side = expression.args
        sign = rf"\lim_{{{tex(variable)} \to {tex(point)}{'^+' if str(side) == '+' else ''}}}"
        return _bracketed(sign, inner, room)
    if isinstance(expression, Derivative) and isinstance(expression.expr, (Add, Mul)):
        return _bracketed(tex(expression).split(r"\left(")[0].strip(), expression.expr, room)
    sums = [factor for factor in expression.args if isinstance(factor, Add)] if isinstance(expression, Mul) else []
    if len(sums) == 1:
        return _bracketed(rf"{tex(expression / sums[0])} \,", sums[0], room)
    return [text]


def _packed(expression: Add, room: float) -> list[str]:
    """The terms of a sum, as many on each line as fit."""
    found: list[str] = []
    for term in ordered_terms(expression):
        sign = "- " if negative(term) else "+ " if found else ""
        first, *rest = lines(-term if negative(term) else term, room - 2.0)
        if found and not rest and breadth(found[-1]) + breadth(first) + 2.0 <= room:
            found[-1] += f" {sign}{first}"
        else:
            found += [f"{sign}{first}", *rest]
    return found


def _bracketed(before: str, inner: Expr, room: float) -> list[str]:
    first, *rest = lines(inner, room - min(breadth(before) + 2.0, 0.5 * room))
    found = [rf"{before} \Bigl( {first}", *(rf"\quad {line}" for line in rest)]
    return [*found[:-1], rf"{found[-1]} \Bigr)"]


def one_below_the_other(before: str, expression: Expr) -> str:
    r"""An expression after a sign, as TeX for a display, on as many lines as it needs.

    >>> from sympy import symbols
    >>> a, b = symbols("a b")
    >>> one_below_the_other("=", a + b)
    '= a + b'
    """
    first, *rest = lines(expression, _COLUMN - 2.0)
    if not rest:
        return f"{before} {first}".strip()
    rows = [rf"& {before} {first}", *(rf"& \quad {line}" for line in rest)]
    return r"\begin{aligned} " + r" \\[4pt] ".join(rows) + r" \end{aligned}"


def side_by_side(sides: Sequence[Expr]) -> str:
    r"""Sides that are equal, as TeX for an aligned display.

    >>> from sympy import symbols
    >>> a, b = symbols("a b")
    >>> side_by_side([a, b]), side_by_side([a, b, a])
    ('a = b', 'a &= b \\\\[4pt]\n&= a')
    """
    first, *others = ([*lines(side, _COLUMN - 2.0)] for side in sides)
    broadest = max(breadth(line) for other in others for line in other)
    single = len(first) == 1 and breadth(first[0]) + broadest + 2.0 <= _COLUMN
    if single and len(others) == 1 and len(others[0]) == 1:
        return f"{first[0]} = {others[0][0]}"
    rows = (
        [f"{first[0]} &= {others[0][0]}"] if single else [f"& {first[0]}", *(rf"& \quad {line}" for line in first[1:])]
    )
    for number, (start, *rest) in enumerate(others):
        rows += [] if single and number == 0 else [f"&= {start}"]
        rows += [rf"& \quad {line}" for line in rest]
    return " \\\\[4pt]\n".join(rows)
