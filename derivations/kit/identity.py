"""A displayed equation as an object that can be printed, checked, derived step by step, and broken on purpose."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sympy import Add, Expr, Function, Indexed, Integer, Mul, Number, Pow, Rational, Symbol
from sympy.core.function import AppliedUndef

from derivations.kit import language as words
from derivations.kit.layout import one_below_the_other, side_by_side
from derivations.kit.worlds import World


@dataclass(frozen=True, eq=False)
class Identity:
    """One displayed equation: sides that are equal, the label it is cited by, and the worlds in which it is checked.

    `sides` are two or more expressions; `source` names the equation of a paper, or says "none". A notebook that ends a
    cell with an identity shows it.

    >>> from derivations.kit.language import sigma, t
    >>> from derivations.kit.worlds import jets
    >>> from sympy import Derivative
    >>> square = Identity("eq-square", (Derivative(sigma**2, t), 2 * sigma * Derivative(sigma, t)), "none", (jets(0),))
    >>> square.holds()
    True
    """

    label: str
    sides: tuple[Expr, ...]
    source: str
    worlds: Sequence[World]

    @property
    def tex(self) -> str:
        """The equation as TeX without macros, in lines that fit into a column."""
        return side_by_side(self.sides)

    def holds(self) -> bool:
        """Whether all sides have one value in every world."""
        return all(world.agree(self.sides) for world in self.worlds)

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle \begin{{aligned}} {self.tex} \end{{aligned}}$"


class Proof:
    """A chain of equal expressions, each written down by the line of code that derives it.

    `then` appends an expression with the reason for it, and raises ValueError where it does not equal the one before
    in every world: the steps that a notebook shows are the lines that ran.

    >>> from derivations.kit.language import sigma, t
    >>> from derivations.kit.worlds import jets
    >>> from sympy import Derivative
    >>> proof = Proof(Derivative(sigma**2, t), worlds=(jets(0),))
    >>> proof.then("take the derivative", proof.last.doit())
    2*sigma(t)*Derivative(sigma(t), t)
    >>> proof.then("lose all", 0 * proof.last)
    Traceback (most recent call last):
        ...
    ValueError: "lose all" does not follow: 0 is not 2*sigma(t)*Derivative(sigma(t), t)
    """

    def __init__(self, start: Expr, worlds: Sequence[World]) -> None:
        self.worlds = worlds
        self.steps: list[tuple[str, Expr]] = [("", start)]

    @property
    def first(self) -> Expr:
        return self.steps[0][1]

    @property
    def last(self) -> Expr:
        return self.steps[-1][1]

    def then(self, reason: str, expression: Expr) -> Expr:
        """Append a step; returns it, for the next line to work on."""
        if not all(world.agree((self.last, expression)) for world in self.worlds):
            raise ValueError(f'"{reason}" does not follow: {expression} is not {self.last}')
        self.steps.append((reason, expression))
        return expression

    def identity(self, label: str, source: str) -> Identity:
        """What has been proved: the first expression equals the last."""
        return Identity(label, (self.first, self.last), source, self.worlds)

    def _repr_markdown_(self) -> str:
        shown = [f"$$\n{one_below_the_other('', self.first)}\n$$"]
        for number, (reason, step) in enumerate(self.steps[1:], start=1):
            shown.append(f"{number}. {reason}:\n\n   $$\n   {one_below_the_other('=', step)}\n   $$")
        return "\n\n".join(shown)


@dataclass(frozen=True, eq=False)
class Mutant:
    """An identity with one slip in it: `slip` says what was changed and where."""

    slip: str
    identity: Identity


def mutants(identity: Identity) -> Iterator[Mutant]:
    """Every identity that differs from this one by a single slip, in any place of any side.

    Signs: each number, each term of a sum, each argument of a function and each side is negated. Coefficients: each of
    these is doubled, and each number, exponents included, is raised by one. Indices: each index is replaced by every
    other index that the identity uses. A change that SymPy undoes at once (the length of v and of -v) is no mutant.

    >>> from derivations.kit.language import sigma, t
    >>> from derivations.kit.worlds import jets
    >>> from sympy import Derivative
    >>> square = Identity("eq-square", (Derivative(sigma**2, t), 2 * sigma * Derivative(sigma, t)), "none", (jets(0),))
    >>> [mutant.slip.split(" in ")[0] for mutant in mutants(square)][:4]
    ['2 -> -2', '2 -> 3', '2 -> 4', '1 -> 2']
    """
    indices = sorted({index for side in identity.sides for index in _indices(side)}, key=str)
    for number, side in enumerate(identity.sides):
        slips = [
            *_slips(side, indices),
            (f"side {number + 1} negated", -side),
            (f"side {number + 1} doubled", 2 * side),
        ]
        known = {side}
        for slip, wrong in slips:
            if wrong not in known:
                known.add(wrong)
                sides = (*identity.sides[:number], wrong, *identity.sides[number + 1 :])
                yield Mutant(slip, replace(identity, sides=sides))


def survivors(identity: Identity) -> list[Mutant]:
    """The mutants that hold in every world of the identity: another way to write it, or a hole in its check."""
    return [mutant for mutant in mutants(identity) if _holds(mutant.identity)]


def _holds(identity: Identity) -> bool:
    try:
        return identity.holds()
    except (KeyError, ValueError, TypeError, ZeroDivisionError, IndexError):
        return False  # it means nothing: no value, an index that belongs to no sum


def _indices(expression: Expr) -> set[Expr]:
    """The symbols that number classes: in brackets, below a sum, or at an expectation."""
    found = {index for indexed in expression.atoms(Indexed) for index in indexed.indices if isinstance(index, Symbol)}
    for word in expression.atoms(words.E, words.Total, words.Others):
        found |= {one for one in word.args if isinstance(one, Symbol) and one.is_integer}
    return found


def _slips(expression: Expr, indices: Sequence[Expr]) -> Iterator[tuple[str, Expr]]:
    """All single changes below this node, each as (what was done, the whole expression with it)."""
    if isinstance(expression, Number):
        for wrong in (-expression, expression + 1, 2 * expression):
            yield f"{expression} -> {wrong}", wrong
        return
    if expression in indices:
        for other in indices:
            if other != expression:
                yield f"{expression} -> {other}", other
        return
    if isinstance(expression, AppliedUndef):
        return  # alpha(t) is a name
    for position, part in enumerate(_parts(expression)):
        for slip, wrong in _slips(part, indices):
            try:
                yield _located(slip, expression), _rebuilt(expression, position, wrong)
            except (ValueError, TypeError, IndexError):
                continue  # SymPy refuses to write this down: a derivative by a number, say
        if isinstance(expression, (Add, Function)) and part not in indices:
            for slip, wrong in _of_the_whole(str(part), part):
                yield slip, _rebuilt(expression, position, wrong)


def _of_the_whole(name: str, part: Expr) -> list[tuple[str, Expr]]:
    return [(f"{name} negated", -part), (f"{name} doubled", 2 * part)]


def _located(slip: str, expression: Expr) -> str:
    return slip if " in " in slip or " negated" in slip or " doubled" in slip else f"{slip} in {expression}"


def _parts(expression: Expr) -> tuple[Expr, ...]:
    """The parts of a node, a rational coefficient as numerator and denominator."""
    parts = expression.args
    if isinstance(expression, Mul) and isinstance(parts[0], Rational) and not isinstance(parts[0], Integer):
        return (Integer(parts[0].p), Pow(Integer(parts[0].q), -1, evaluate=False), *parts[1:])
    return tuple(parts)


def _rebuilt(expression: Expr, position: int, part: Expr) -> Expr:
    parts = list(_parts(expression))
    parts[position] = part
    return expression.func(*parts)
