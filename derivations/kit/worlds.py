"""Worlds: numbers for every symbol, in which an expression has a value and an identity holds or fails.

Three kinds are enough for the book. They differ in what is taken for granted.

    random_fields   densities, scores and denoisers at some states are random numbers that obey nothing but their
                    definitions (the posterior is Bayes' rule, the mixture's score the posterior's mean of scores): an
                    identity that holds here is algebra
    jets            every function and every derivative of one is a number of its own, except where an equation of
                    motion says what it is: an identity that holds here is calculus
    on_mixture      a real Gaussian mixture, noised, on a grid of states: the identity of the integrals

Values are float64. An identity between analytic expressions that holds at random numbers holds everywhere, up to a
chance of the order of the tolerance; and one that differs in a sign, a coefficient or an index does not hold.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import starmap
from typing import Any

import numpy as np
import sympy
import torch
from scipy import special
from sympy import Basic, Derivative, Expr, Indexed, Integral, Symbol
from sympy.core.function import AppliedUndef

from companion.arguments import Array
from companion.exact.mixtures import GaussianMixture
from companion.forward import Process
from derivations.kit import language as words
from derivations.kit.differences import slope

# What an identity may miss for rounding: a few hundred operations on numbers of order one, with a margin of a hundred.
_ROUNDING = 1e-11


@dataclass(frozen=True, eq=False)
class World:
    """What every symbol is worth, at some number of states at once.

    `values` gives numbers or arrays to symbols, to whole expressions (a derivative that is known), and to indexed bases
    (one leading axis for each index). A field over the states has the shape (states, 1), a vector field (states,
    dimension), a number (). `weights` (states,) integrate over the states, `densities` (K, states, 1) are the classes',
    so that E(i, f) is the sum of weights * densities[i] * f. Where `values` has nothing, `unknown` is asked; `prepare`
    rewrites the whole expression first. Two sides agree when they differ by at most `tolerance`, for numbers of order
    one. `about` says in a sentence what is taken for granted.

    >>> world = random_fields(seed=0)
    >>> from derivations.kit.language import E, posterior, prior
    >>> bool(np.isclose(world.value(E(posterior[1])), world.value(prior[1])))
    True
    """

    values: Mapping[Basic, Any]
    classes: int = 0
    weights: Array = field(default_factory=lambda: np.ones(1))
    densities: Array = field(default_factory=lambda: np.ones((0, 1, 1)))
    unknown: Callable[[Basic], Array] | None = None
    prepare: Callable[[Expr], Expr] = lambda expression: expression
    tolerance: float = _ROUNDING
    about: str = ""

    def value(self, expression: Expr) -> Array:
        """The value of an expression; KeyError, with its name, for a symbol that has none in this world."""
        return self._value(self.prepare(expression), {})

    def agree(self, sides: Sequence[Expr]) -> bool:
        """Whether all expressions have one value here; what has none (log of a negative number) agrees with nothing.

        >>> from derivations.kit.language import t
        >>> jets(seed=0).agree([sympy.sin(2 * t), 2 * sympy.sin(t) * sympy.cos(t)])
        True
        """
        with np.errstate(all="ignore"):
            first, *others = (self.value(side) for side in sides)
            return all(np.allclose(first, other, rtol=self.tolerance, atol=self.tolerance) for other in others)

    def _value(self, expression: Expr, where: Mapping[Symbol, int]) -> Array:
        if expression in self.values:
            return np.asarray(self.values[expression], dtype=np.float64)
        if isinstance(expression, Indexed):
            return self._indexed(expression, where)
        if isinstance(expression, (words.Total, words.Others)):
            body, index, *left_out = expression.args
            spared = [self._class(one, where) for one in left_out]
            members = [number for number in range(1, self.classes + 1) if number not in spared]
            return np.asarray(sum(self._value(body, {**where, index: number}) for number in members), dtype=float)
        if isinstance(expression, words.E):
            return self._mean(expression, where)
        parts = [self._value(part, where) for part in expression.args] if _is_elementary(expression) else []
        if isinstance(expression, (words.Norm2, words.Dot)):
            return np.asarray(np.sum(parts[0] * parts[-1], axis=-1, keepdims=True))
        if expression.is_Add:
            return np.asarray(sum(parts))
        if expression.is_Mul:
            return np.asarray(math.prod(parts))
        if expression.is_Pow:
            return np.asarray(np.power(*parts))
        if type(expression) in _FUNCTIONS:
            return np.asarray(_FUNCTIONS[type(expression)](*parts))
        if expression.is_number:
            return np.asarray(float(expression))
        if isinstance(expression, (Derivative, Integral, sympy.Sum)):
            done = expression.doit()
            if done != expression:
                return self._value(done, where)
        if self.unknown is None:
            raise KeyError(str(expression))
        return self.unknown(expression)

    def _class(self, index: Expr, where: Mapping[Symbol, int]) -> int:
        number = int(where[index]) if index in where else int(index)
        if number < 1:
            raise IndexError(f"class {number}: classes are numbered from 1")
        return number

    def _indexed(self, expression: Indexed, where: Mapping[Symbol, int]) -> Array:
        numbers = tuple(self._class(index, where) - 1 for index in expression.indices)
        values: Array = np.asarray(self.values[expression.base], dtype=np.float64)
        return np.asarray(values[numbers])

    def _mean(self, expression: words.E, where: Mapping[Symbol, int]) -> Array:
        *index, body = expression.args
        values = self._value(body, where)
        if index:
            density = self.densities[self._class(index[0], where) - 1]
        else:
            density = np.tensordot(self.values[words.prior], self.densities, axes=1)
        return np.asarray((self.weights[:, None] * density * values).sum(axis=0))


class Worlds(Sequence[World]):
    """Worlds that are made when the first of them is asked for: by one function, of each of some tuples of arguments.

    What they are about is the first sentence of the function's docstring.

    >>> fields = Worlds(random_fields, (0,), (1, 4))
    >>> [world.classes for world in fields]
    [3, 4]
    >>> fields.about == fields[0].about
    True
    """

    def __init__(self, make: Callable[..., World], *arguments: Iterable[Any]) -> None:
        self._make, self._arguments = make, arguments

    @property
    def about(self) -> str:
        return first_sentence(self._make)

    @cached_property
    def _made(self) -> tuple[World, ...]:
        return tuple(replace(world, about=self.about) for world in starmap(self._make, self._arguments))

    def __getitem__(self, index: Any) -> Any:
        return self._made[index]

    def __len__(self) -> int:
        return len(self._arguments)


def first_sentence(function: Callable[..., Any]) -> str:
    """The first sentence of a docstring, in one line and without its full stop.

    >>> first_sentence(first_sentence)
    'The first sentence of a docstring, in one line and without its full stop'
    """
    paragraph = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    return re.split(r"\.(?:\s|$)", paragraph)[0]


_FUNCTIONS: dict[type, Callable[..., Array]] = {
    sympy.exp: np.exp,
    sympy.log: np.log,
    sympy.sin: np.sin,
    sympy.cos: np.cos,
    sympy.tan: np.tan,
    sympy.asin: np.arcsin,
    sympy.acos: np.arccos,
    sympy.sinh: np.sinh,
    sympy.cosh: np.cosh,
    sympy.tanh: np.tanh,
    sympy.Abs: np.abs,
    sympy.erf: special.erf,
}


def _is_elementary(expression: Expr) -> bool:
    known = (words.Norm2, words.Dot, *_FUNCTIONS)
    return bool(expression.is_Add or expression.is_Mul or expression.is_Pow or isinstance(expression, known))


def random_fields(seed: int, classes: int = 3, dimension: int = 2, states: int = 7) -> World:
    """K classes whose densities, scores and denoisers are unrelated random numbers at a few states.

    Derived from them are only the posterior, the log-odds, and the density, score and denoiser of the mixture:

        p = sum_i pi_i p_i,    p(i|x) = pi_i p_i / p,    L_ij = log p(i|x) / p(j|x),    s = sum_j p(j|x) s_j

    so an identity that holds here needs nothing else. t, alpha, sigma, f, g, snr and x have random values too.

    >>> from derivations.kit.language import Total, i, mixture_score, posterior, score
    >>> random_fields(seed=1).agree([mixture_score, Total(posterior[i] * score[i], i)])
    True
    """
    draw = np.random.default_rng(seed)
    prior = draw.dirichlet(np.full(classes, 3.0))
    weights = draw.uniform(0.5, 1.5, states)
    density = draw.uniform(0.2, 2.0, (classes, states, 1))
    density /= np.einsum("n,knu->k", weights, density)[:, None, None]
    score, denoiser = draw.standard_normal((2, classes, states, dimension))
    means = draw.standard_normal((classes, dimension))
    numbers = {
        symbol: draw.uniform(0.5, 1.5)
        for symbol in (words.t, words.alpha, words.sigma, words.drift, words.diffusion, words.snr, words.width)
    }
    return World(
        values={
            **numbers,
            **_fields(prior, density, score, denoiser),
            words.mean: means,
            words.state: draw.standard_normal((states, dimension)),
        },
        classes=classes,
        weights=weights,
        densities=density,
        about=first_sentence(random_fields),
    )


def _fields(prior: Array, density: Array, score: Array, denoiser: Array) -> dict[Basic, Array]:
    joint = prior[:, None, None] * density
    total = joint.sum(axis=0)
    posterior = joint / total
    with np.errstate(divide="ignore", invalid="ignore"):
        log_odds = np.log(posterior[:, None]) - np.log(posterior[None, :])
    return {
        words.prior: prior,
        words.density: density,
        words.score: score,
        words.denoiser: denoiser,
        words.posterior: posterior,
        words.log_odds: log_odds,
        words.mixture_density: total,
        words.mixture_score: (posterior * score).sum(axis=0),
        words.mixture_denoiser: (posterior * denoiser).sum(axis=0),
    }


def jets(seed: int, motion: Callable[[Expr], Expr] = lambda expression: expression) -> World:
    """Free symbols: every function, and every derivative that SymPy cannot take, is a number of its own.

    `motion` rewrites an expression by an equation of motion, after all derivatives have been taken: `following`. The
    numbers lie between 1/2 and 3/2, so that logarithms and roots have a value.

    >>> f = sympy.Function("f")(words.t)
    >>> jets(seed=0).agree([Derivative(f**2, words.t), 2 * f * Derivative(f, words.t)])
    True
    """
    drawn: dict[Basic, Array] = {}

    def unknown(expression: Basic) -> Array:
        if not isinstance(expression, (Symbol, AppliedUndef, Derivative)):
            raise KeyError(str(expression))
        # The number belongs to the name, not to the order in which the sides ask for it.
        name = [seed, *sympy.srepr(expression).encode()]
        return drawn.setdefault(expression, np.asarray(np.random.default_rng(name).uniform(0.5, 1.5)))

    return World(
        values={}, unknown=unknown, prepare=lambda expression: motion(expression.doit()), about=first_sentence(jets)
    )


def following(equations: Mapping[Expr, Expr]) -> Callable[[Expr], Expr]:
    """The equation of motion {function of x and t: its derivative in t}, as a rewriting of expressions.

    >>> from sympy import symbols
    >>> x = symbols("x")
    >>> u = sympy.Function("u")(x, words.t)
    >>> heat = following({u: Derivative(u, x, 2)})
    >>> heat(Derivative(u**2, words.t).doit())
    2*u(x, t)*Derivative(u(x, t), (x, 2))
    """

    def rewritten(expression: Expr) -> Expr:
        moved = {
            derivative: equations[derivative.expr].diff(*_spatial(derivative)).doit()
            for derivative in expression.atoms(Derivative)
            if derivative.expr in equations and words.t in derivative.variables
        }
        return expression.xreplace(moved)

    return rewritten


along_the_process = following(
    {
        words.alpha: words.drift * words.alpha,
        words.sigma: (words.diffusion**2 + 2 * words.drift * words.sigma**2) / (2 * words.sigma),
    }
)


def _spatial(derivative: Derivative) -> list[Symbol]:
    if list(derivative.variables).count(words.t) > 1:
        raise ValueError(f"{derivative}: a second derivative in time")
    return [variable for variable in derivative.variables if variable != words.t] or [(words.t, 0)]


def on_mixture(mixture: GaussianMixture, process: Process, t: float, reach: float = 8.0, step: float = 0.2) -> World:
    """A Gaussian mixture in one or two dimensions, noised to time t of a process, on a grid of states.

    Known are the fields of `random_fields`, now those of the mixture in the process's own frame; alpha, sigma, f, g;
    snr and its derivative; the class entropy H(t) and H(snr), and their derivatives, by differences of the entropy in
    time. The grid reaches `reach` deviations beyond every mean, in steps of `step` deviations of the narrowest class.
    What its trapezoidal sums miss is of the order exp(-2 pi^2 / step^2) and exp(-reach^2 / 2), so that the tolerance,
    1e-8, is that of the differences.

    >>> from companion.forward import variance_exploding
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> world = on_mixture(isotropic_mixture([[-1.0], [1.0]], 0.5), variance_exploding(), 1.0)
    >>> world.agree([words.E(words.posterior[1]), words.prior[1]])
    True
    """
    points, weights = _grid(mixture, process, t, reach, step)
    fields = _fields_of(mixture, process, t, points)

    def entropy(time: float) -> Array:
        at = _fields_of(mixture, process, time, points)
        posterior = at[words.posterior]
        surprise = -np.log(np.maximum(posterior, 1e-300))
        return np.asarray((weights[:, None] * at[words.mixture_density] * (posterior * surprise).sum(axis=0)).sum())

    rate = slope(entropy, t, 0.01 * t)  # this step leaves about 1e-10, of truncation and rounding alike
    snr_rate = slope(lambda time: np.exp(process.log_snr(np.asarray(time))), t, 0.01 * t)
    alpha, sigma = process.alpha(np.asarray(t)), process.sigma(np.asarray(t))
    in_time, in_snr = words.class_entropy(words.t), words.class_entropy(words.snr)
    values = {
        **fields,
        words.mean: mixture.means.numpy(),
        words.state: points,
        words.t: t,
        words.alpha: alpha,
        words.sigma: sigma,
        words.drift: process.drift(np.asarray(t)),
        words.diffusion: np.sqrt(process.diffusion(np.asarray(t))),
        words.snr: (alpha / sigma) ** 2,
        in_time: entropy(t),
        in_snr: entropy(t),
        Derivative(in_time, words.t): rate,
        Derivative(in_snr, words.snr): rate / snr_rate,
        Derivative(words.snr, words.t): snr_rate,
    }
    about = first_sentence(on_mixture)
    return World(values, len(mixture.classes), weights, fields[words.density], tolerance=1e-8, about=about)


def posterior_spread(world: World, of_class: float) -> Array:
    """tr Cov(X_0 | x) at the states of a mixture's world: `of_class` within each class, and the spread of their means.

    tr Cov(X_0 | x) = of_class + sum_z p(z|x) |D_z|^2 - |D|^2
    """
    each, mean = (
        (world.values[of] ** 2).sum(axis=-1, keepdims=True) for of in (words.denoiser, words.mixture_denoiser)
    )
    return np.asarray(of_class + (world.values[words.posterior] * each).sum(axis=0) - mean)


def _grid(mixture: GaussianMixture, process: Process, t: float, reach: float, step: float) -> tuple[Array, Array]:
    alpha, sigma = float(process.alpha(np.asarray(t))), float(process.sigma(np.asarray(t)))
    widths = np.sqrt((alpha * mixture.deviations.numpy()) ** 2 + sigma**2)
    means, spacing = alpha * mixture.means.numpy(), step * widths.min()
    axes = [
        np.arange(low - reach * widths.max(), high + reach * widths.max(), spacing)
        for low, high in zip(means.min(axis=0), means.max(axis=0), strict=True)
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return points, np.full(len(points), spacing ** len(axes))


def _fields_of(mixture: GaussianMixture, process: Process, t: float, points: Array) -> dict[Basic, Array]:
    alpha, sigma = float(process.alpha(np.asarray(t))), float(process.sigma(np.asarray(t)))
    x = torch.from_numpy(points / alpha)
    noise = torch.full((len(x),), sigma / alpha, dtype=torch.float64)
    classes = range(len(mixture.classes))
    # The density in the process's own frame is the variance-exploding one over alpha^d, the score its score over alpha.
    density = [mixture.log_density(x, noise, c).exp() / alpha ** points.shape[1] for c in classes]
    score = [mixture.score(x, noise, torch.full((len(x),), c)) / alpha for c in classes]
    denoised = [mixture(x, noise, torch.full((len(x),), c)) for c in classes]
    prior = np.asarray(mixture.weights)
    return _fields(prior, *(torch.stack(each).numpy() for each in ([d[:, None] for d in density], score, denoised)))
