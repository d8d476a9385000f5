"""The words in which the book's identities are written, as SymPy objects, and how they are printed.

An identity speaks of K classes, of fields over the states x, and of averages. SymPy has indices and calculus; what it
lacks are five operators, and these are here:

    E(i, f)            E_i f, the mean of a field over the states of class i;   E(f)  over the mixture
    Norm2(v)           |v|^2                        Dot(u, v)                   u . v
    Total(f, j)        sum over all classes j       Others(f, j, i)             sum over the classes j other than i

A field that is a vector (a score, a denoiser, a mean) is an ordinary symbol; only inside Norm2 and Dot is it multiplied
by another one. Nothing here evaluates itself: what a word means is said by a `World`.
"""

from typing import Any

from sympy import (
    Add,
    Derivative,
    Expr,
    Function,
    Indexed,
    IndexedBase,
    Integral,
    Mul,
    Number,
    Pow,
    Symbol,
    log,
    symbols,
)
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter


class E(Function):  # type: ignore[misc]
    """E(i, f): the mean of a field over the states of class i; E(f): over the states of the mixture."""

    nargs = (1, 2)


class Norm2(Function):  # type: ignore[misc]
    """The squared length of a vector; v and -v are one argument, the one whose first indexed term is positive."""

    nargs = 1

    @classmethod
    def eval(cls, vector: Expr) -> "Expr | None":
        terms = sorted(Add.make_args(vector), key=lambda term: (not term.has(Indexed), str(_unsigned(term))))
        return cls(-vector) if negative(terms[0]) else None


class Dot(Function):  # type: ignore[misc]
    """The scalar product of two vectors."""

    nargs = 2


class Total(Function):  # type: ignore[misc]
    """Total(f, j): the sum of f over all classes j."""

    nargs = 2


class Others(Function):  # type: ignore[misc]
    """Others(f, j, i): the sum of f over the classes j other than i."""

    nargs = 3


i, j, k = symbols("i j k", integer=True, positive=True)

prior = IndexedBase("pi")  # pi_i, a probability
density = IndexedBase("p")  # p_i(x), the density of the noisy states of class i
score = IndexedBase("s")  # s_i(x) = grad log p_i
denoiser = IndexedBase("D")  # D_i(x), the mean of x_0 given x and class i
posterior = IndexedBase("posterior")  # p(i | x)
log_odds = IndexedBase("L")  # L_ij = log p(i | x) / p(j | x)
mean = IndexedBase("mu")  # mu_i, the mean of class i in clean data
kappa = IndexedBase("kappa")  # kappa_ij, the control parameter of two classes

state = Symbol("x")
mixture_density, mixture_score, mixture_denoiser = symbols("p s D")

t = Symbol("t", positive=True)
snr = Symbol("snr", positive=True)
alpha, sigma = Function("alpha", positive=True)(t), Function("sigma", positive=True)(t)
drift, diffusion = Function("f")(t), Function("g")(t)  # dX = f X dt + g dW
width = Symbol("s", positive=True)  # the standard deviation of a class in clean data
class_entropy = Function("H")  # H(t) = H(Z | X_t), or H(snr)


def tex(expression: Expr) -> str:
    r"""An expression as TeX without macros, so that the book, Colab and a reader's own paper show the same.

    >>> tex(Total(prior[i] * E(i, Norm2(score[i] - mixture_score)), i))
    '\\sum_{i} \\pi_{i} \\, \\mathbb{E}_{i} \\left| s_{i} - s \\right|^{2}'
    """
    text: str = _Printer({"order": "none", "inv_trig_style": "full"}).doprint(expression)
    return text


def ordered_terms(expression: Add) -> list[Expr]:
    """The terms of a sum as they are printed: those without a minus first, among each kind sums last."""
    terms = LatexPrinter()._as_ordered_terms(expression, order="lex")
    return sorted(terms, key=lambda term: (negative(term), term.has(*_LARGE)))


class _Printer(LatexPrinter):  # type: ignore[misc]
    def _print_E(self, expression: E, exp: str | None = None) -> str:
        *index, field = expression.args
        sign = r"\mathbb{E}" + "".join(f"_{{{self._print(one)}}}" for one in index)
        body = self._print(field)
        if not isinstance(field, (Norm2, Symbol)):
            body = rf"\left[ {body} \right]"
        return _powered(f"{sign} {body}", exp)

    def _print_Norm2(self, expression: Norm2, exp: str | None = None) -> str:
        text = rf"\left| {self._print(expression.args[0])} \right|^{{2}}"
        return text if exp is None else _powered(text, exp)

    def _print_Dot(self, expression: Dot, exp: str | None = None) -> str:
        text = r" \cdot ".join(
            rf"\left( {self._print(one)} \right)" if isinstance(one, (Add, Mul)) else self._print(one)
            for one in expression.args
        )
        return _powered(text, exp)

    def _print_Total(self, expression: Total, exp: str | None = None) -> str:
        field, index = expression.args
        return _powered(rf"\sum_{{{self._print(index)}}} {self._summand(field)}", exp)

    def _print_Others(self, expression: Others, exp: str | None = None) -> str:
        field, index, left_out = expression.args
        return _powered(rf"\sum_{{{self._print(index)} \ne {self._print(left_out)}}} {self._summand(field)}", exp)

    def _summand(self, field: Expr) -> str:
        body = self._print(field)
        return rf"\left( {body} \right)" if isinstance(field, Add) else body

    def _print_Indexed(self, expression: Any, exp: str | None = None) -> str:
        indices = "".join(self._print(index) for index in expression.indices)
        if expression.base == posterior:
            return _powered(rf"p({indices} \mid x)", exp)
        text = f"{self._print(expression.base.label)}_{{{indices}}}"
        return text if exp is None else f"{text}^{{{exp}}}"

    def _print_Symbol(self, expression: Symbol, style: str = "plain") -> str:
        return r"\operatorname{snr}" if expression == snr else str(super()._print_Symbol(expression, style))

    def _print_Function(self, expression: Any, exp: str | None = None) -> str:
        """A function of time, or of place and time, is printed without its arguments, as in the text of a paper."""
        if (
            isinstance(expression, AppliedUndef)
            and expression.args[-1] == t
            and all(a.is_Symbol for a in expression.args)
        ):
            name = self._print(Symbol(expression.func.__name__))
            return name if exp is None else f"{name}^{{{exp}}}"
        return str(super()._print_Function(expression, exp))

    def _print_log(self, expression: log, exp: str | None = None) -> str:
        (operand,) = expression.args
        if not isinstance(operand, (Symbol, Indexed, Number)):
            return str(super()._print_log(expression, exp))
        return _powered(rf"\log {self._print(operand)}", exp)

    def _print_Derivative(self, expression: Derivative) -> str:
        operand = expression.expr
        sign = r"\partial" if any(len(f.args) > 1 for f in operand.atoms(AppliedUndef)) else r"\mathrm{d}"
        order = sum(count for _, count in expression.variable_count)
        power = "" if order == 1 else f"^{{{order}}}"
        below = r" \, ".join(
            f"{sign} {self._print(variable)}" + ("" if count == 1 else f"^{{{count}}}")
            for variable, count in expression.variable_count
        )
        if isinstance(operand, AppliedUndef):
            name = self._print(Symbol(operand.func.__name__))
            return rf"\frac{{{sign}{power} {name}}}{{{below}}}"
        return rf"\frac{{{sign}{power}}}{{{below}}} {self._bracketed(operand)}"

    def _bracketed(self, operand: Expr) -> str:
        body = self._print(operand)
        return rf"\left( {body} \right)" if isinstance(operand, (Add, Mul, Pow)) else body

    def _print_Add(self, expression: Add, order: str | None = None) -> str:
        """Terms without a minus first, sums last: "s_i - s", not "-s + s_i"."""
        terms = ordered_terms(expression)
        text = self._print(terms[0])
        for term in terms[1:]:
            text += f" - {self._print(-term)}" if negative(term) else f" + {self._print(term)}"
        return str(text)

    def _print_Mul(self, expression: Mul) -> str:
        """Numbers and symbols first, as one fraction; sums, means and integrals behind it."""
        if not isinstance(expression, Mul):
            return str(super()._print_Mul(expression))  # SymPy prints 1/(a + b) as a product too
        small = [factor for factor in expression.args if not factor.has(*_LARGE)]
        large = [factor for factor in expression.args if factor.has(*_LARGE)]
        brackets = [factor for factor in small if isinstance(factor, Add)]
        if any(isinstance(factor, Pow) for factor in large) or not (large or brackets) or expression.is_Rational:
            return str(super()._print_Mul(expression))
        if not any(isinstance(factor, Pow) and isinstance(factor.base, Add) for factor in small):
            small = [factor for factor in small if factor not in brackets]
            large = brackets + large
        if not large:
            return str(super()._print_Mul(expression))
        large.sort(key=lambda factor: (isinstance(factor, _LARGE[:4]), not isinstance(factor, Derivative)))
        tail = r" \, ".join(
            rf"\left( {self._print(factor)} \right)"
            if isinstance(factor, Add)
            or (isinstance(factor, _LARGE[:4]) and factor is not large[-1])
            or (isinstance(factor, Dot) and len(large) > 1)
            else self._print(factor)
            for factor in large
        )
        if not small:
            return tail
        coefficient = Mul(*small)
        if coefficient == 1:
            return tail
        if coefficient == -1:
            return f"- {tail}"
        return rf"{self._print(coefficient)} \, {tail}"


_LARGE = (Total, Others, Integral, E, Norm2, Dot, Derivative)


def _powered(text: str, exp: str | None) -> str:
    return text if exp is None else rf"\left( {text} \right)^{{{exp}}}"


def negative(term: Expr) -> bool:
    """Whether a term of a sum is printed with a minus."""
    coefficient = term.as_coeff_Mul()[0]
    return bool(isinstance(coefficient, Number) and coefficient < 0)


def _unsigned(term: Expr) -> Expr:
    return -term if negative(term) else term
