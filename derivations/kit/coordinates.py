"""Vector calculus on class densities that obey one Fokker-Planck equation, written out in coordinates.

    Gradient(u), Divergence(v), Laplacian(u)      grad u, div v, div grad u
    Motion(u)                                     L u = du/dt + div(f u) - (g^2/2) Lap u

The density p_i of every class is an abstract positive function of d coordinates and time with L p_i = 0; the drift has
d abstract components, and g depends on time alone. Nothing else is known of them, so what holds here holds for every
drift, every diffusion and all densities.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import sympy
from sympy import Derivative, Expr, Function, Indexed, Symbol

from derivations.kit import language as words
from derivations.kit.language import Dot, density, diffusion, mixture_density, mixture_score, prior, score, t
from derivations.kit.worlds import World, jets


class Gradient(Dot):
    """The gradient of a field: nabla times it."""

    nargs = 1

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        return rf"\nabla {_operand(printer, self.args[0])}"


class Divergence(Dot):
    """The divergence of a vector field: the scalar product of nabla with it."""

    nargs = 1

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        return rf"\nabla \cdot {_operand(printer, self.args[0])}"


class Laplacian(Dot):
    """The divergence of the gradient of a field."""

    nargs = 1

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        return rf"\Delta {_operand(printer, self.args[0])}"


class Motion(Dot):
    """L u = du/dt + div(f u) - (g^2/2) Lap u, which is zero for every density of the process."""

    nargs = 1

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        return rf"\mathcal{{L}} {_operand(printer, self.args[0])}"


def _operand(printer: Any, expression: Expr) -> str:
    body = printer._print(expression)
    return str(body) if isinstance(expression, (Symbol, Indexed, Function)) else rf"\left( {body} \right)"


def _field(name: str) -> Expr:
    """An abstract positive function of state and time."""
    return Function(name, positive=True)(words.state, t)


velocity = Symbol("f")  # the drift, a vector field that depends on state and time
any_density = _field("u")  # one density of the process
its_entropy = _field(r"\eta")  # -u log u
reference = _field("q")  # another density, which need not obey the equation
push = Symbol("b")  # another vector field
entropy_current = Symbol("J")  # J = f h - (g^2/2) grad h, a vector field
entropy_density = _field("h")  # h = p H(Z | X = x) = -sum_i pi_i p_i log p(i | x)


def in_coordinates(dimension: int, classes: int = 2, seed: int = 0) -> World:
    """Free symbols, but for densities, which obey the Fokker-Planck equation; a free index i, j, k is class 1, 2, 3.

    A vector is checked along one random direction.

    >>> in_coordinates(2).agree([Motion(density[1]), sympy.S.Zero])
    True
    >>> in_coordinates(2).agree([Motion(-density[1] * sympy.log(density[1])), sympy.S.Zero])
    False
    """
    writer = _Writer(dimension, classes)
    directions = [Symbol(f"n_{axis}") for axis in range(dimension)]

    @cache
    def prepare(expression: Expr) -> Expr:
        return sympy.Add(*(n * writer.write(expression, {}, axis) for axis, n in enumerate(directions)))

    return replace(jets(seed), prepare=prepare)


@dataclass(frozen=True)
class Current:
    """The current of class entropy along every coordinate, for abstract densities; a notebook shows it.

        J_c = f_c h + (g^2/2) sum_i pi_i (dp_i/dc) log(pi_i p_i / p)

    >>> Current(3).components[2][0]
    J_z
    """

    dimension: int
    classes: int = 2

    @property
    def components(self) -> list[tuple[Symbol, Expr]]:
        """Each component's name and what it is, with h and p left as they are."""
        writer = _Writer(self.dimension, self.classes)
        spread = words.Total(
            prior[words.i] * density[words.i] * score[words.i] * sympy.log(words.posterior[words.i]), words.i
        )
        return [
            (
                Symbol(f"J_{place}"),
                writer.drift[axis] * entropy_density
                + diffusion**2 / 2 * writer.write(spread, {}, axis).xreplace({writer.total: mixture_density}),
            )
            for axis, place in enumerate(writer.place)
        ]

    def _repr_latex_(self) -> str:
        lines = r" \\ ".join(f"{name} &= {words.tex(value)}" for name, value in self.components)
        return rf"$\displaystyle \begin{{aligned}} {lines} \end{{aligned}}$"


def components(vector: Expr, dimension: int, classes: int = 2) -> list[Expr]:
    """The components of a vector field along x, y, z, in abstract functions of these and t.

    >>> components(Gradient(mixture_density), dimension=1)
    [pi_1*Derivative(p_1(x, t), x) + pi_2*Derivative(p_2(x, t), x)]
    """
    writer = _Writer(dimension, classes)
    return [writer.write(vector, {}, axis) for axis in range(dimension)]


def residual(left: Expr, right: Expr, dimension: int, classes: int = 2) -> list[Expr]:
    """What SymPy makes of left - right along each coordinate; zeros are a proof for this dimension and these classes.

    Functions, derivatives and logarithms are replaced by symbols, and the numerator over the common denominator is
    multiplied out: a polynomial that is zero in them.

    >>> residual(mixture_score * mixture_density, Gradient(mixture_density), dimension=2)
    [0, 0]
    """
    writer = _Writer(dimension, classes)
    written = [writer.write(left - right, {}, axis) for axis in range(dimension)]
    reduced = {plain: _numerator(plain) for plain in set(written)}  # a scalar is the same along every axis
    return [reduced[plain] for plain in written]


def _numerator(expression: Expr) -> Expr:
    atoms = sorted(expression.atoms(Derivative), key=sympy.count_ops) + sorted(expression.atoms(sympy.log), key=str)
    plain = expression.xreplace({atom: sympy.Dummy() for atom in atoms})
    plain = plain.xreplace({atom: sympy.Dummy() for atom in plain.atoms(sympy.core.function.AppliedUndef)})
    numerator, _ = sympy.fraction(sympy.together(plain))
    return sympy.expand(numerator)


class _Writer:
    def __init__(self, dimension: int, classes: int) -> None:
        self.place = sympy.symbols("x y z", real=True)[:dimension]
        self.members = range(1, classes + 1)
        self.functions = {n: Function(f"p_{n}", positive=True)(*self.place, t) for n in self.members}
        self.joint = {n: Symbol(f"pi_{n}", positive=True) * self.functions[n] for n in self.members}
        self.total = sympy.Add(*self.joint.values())
        self.one = Function("u", positive=True)(*self.place, t)
        self.drift, self.push = (
            [Function(f"{name}_{axis}")(*self.place, t) for axis in self.place] for name in ("f", "b")
        )
        self.done: dict[tuple[Expr, tuple[tuple[Symbol, int], ...], int], Expr] = {}  # proofs repeat most of a step
        self.scalars: dict[Expr, Expr] = {
            mixture_density: self.total,
            any_density: self.one,
            reference: Function("q", positive=True)(*self.place, t),
            its_entropy: -self.one * sympy.log(self.one),
            entropy_density: -sympy.Add(*(joint * sympy.log(joint / self.total) for joint in self.joint.values())),
        }

    def write(self, expression: Expr, where: Mapping[Symbol, int], axis: int) -> Expr:
        """A scalar, or the component of a vector along an axis, in abstract functions and their spatial derivatives."""
        key = (expression, tuple(where.items()), axis)
        if key not in self.done:
            self.done[key] = self._written(expression, where, axis)
        return self.done[key]

    def _written(self, expression: Expr, where: Mapping[Symbol, int], axis: int) -> Expr:
        def inner(part: Expr, along: int) -> Expr:
            return self.write(part, where, along)

        if expression in self.scalars:
            return self.scalars[expression]
        if expression == velocity:
            return self.drift[axis]
        if expression == push:
            return self.push[axis]
        if expression == entropy_current:
            return inner(velocity * entropy_density - diffusion**2 / 2 * Gradient(entropy_density), axis)
        if expression == mixture_score:
            return self.total.diff(self.place[axis]) / self.total
        if isinstance(expression, Indexed):
            return self._indexed(expression, where, axis)
        if isinstance(expression, (words.Total, words.Others)):
            body, index, *left_out = expression.args
            spared = [self._class(one, where) for one in left_out]
            members = [n for n in self.members if n not in spared]
            return sympy.Add(*(self.write(body, {**where, index: n}, axis) for n in members))
        if isinstance(expression, Gradient):
            return inner(expression.args[0], axis).diff(self.place[axis])
        if isinstance(expression, Divergence):
            return sympy.Add(*(inner(expression.args[0], c).diff(x) for c, x in enumerate(self.place)))
        if isinstance(expression, Laplacian):
            return sympy.Add(*(inner(expression.args[0], axis).diff(x, 2) for x in self.place))
        if isinstance(expression, Motion):
            return self._motion(inner(expression.args[0], axis))
        if isinstance(expression, (words.Norm2, Dot)):
            u, v = expression.args[0], expression.args[-1]
            return sympy.Add(*(inner(u, c) * inner(v, c) for c in range(len(self.place))))
        if isinstance(expression, Derivative) and expression.variables == (t,):
            return self._in_time(inner(expression.expr, axis))
        return expression.func(*(inner(part, axis) for part in expression.args)) if expression.args else expression

    def _class(self, index: Expr, where: Mapping[Symbol, int]) -> int:
        return int(where.get(index, {words.i: 1, words.j: 2, words.k: 3}.get(index, index)))

    def _indexed(self, expression: Indexed, where: Mapping[Symbol, int], axis: int) -> Expr:
        numbers = [self._class(one, where) for one in expression.indices]
        first = numbers[0]
        return {
            density: lambda: self.functions[first],
            prior: lambda: Symbol(f"pi_{first}", positive=True),
            score: lambda: self.functions[first].diff(self.place[axis]) / self.functions[first],
            words.posterior: lambda: self.joint[first] / self.total,
            words.log_odds: lambda: sympy.log(self.joint[first]) - sympy.log(self.joint[numbers[-1]]),
        }[expression.base]()

    def _in_time(self, plain: Expr) -> Expr:
        """The derivative in time, that of every density by its Fokker-Planck equation."""
        moved = {
            Derivative(one, t): self._spread(one) - self._carried(one) for one in (*self.functions.values(), self.one)
        }
        return plain.diff(t).xreplace(moved)

    def _motion(self, plain: Expr) -> Expr:
        return self._in_time(plain) + self._carried(plain) - self._spread(plain)

    def _carried(self, plain: Expr) -> Expr:
        return sympy.Add(*((f * plain).diff(x) for f, x in zip(self.drift, self.place, strict=True)))

    def _spread(self, plain: Expr) -> Expr:
        return diffusion**2 / 2 * sympy.Add(*(plain.diff(x, 2) for x in self.place))
