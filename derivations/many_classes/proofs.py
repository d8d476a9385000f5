"""Partitions and equidistant classes: priors, posteriors, a divergence, and entropies as one integral.

The sides of a partition are written as two classes A and B with densities p_A and p_B. For K equidistant classes,
p(x | j) is proportional to W_j = exp(a y_j) with a^2 = kappa / 2 and independent standard normal y_j, to which the true
class, number 1, adds a. Its worlds hold the W_j on a grid, an integral over u by the trapezoidal rule in log u, and

    phi(u) = E exp(-u e^(a xi)),    which the text calls the Laplace transform of a log-normal variable.
"""

import itertools
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.differentiate import derivative
from sympy import (
    Basic,
    Derivative,
    Expr,
    Float,
    Function,
    IndexedBase,
    Integer,
    Integral,
    Symbol,
    exp,
    log,
    oo,
    symbols,
)

from companion.arguments import Array
from companion.entropy import partition
from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.forward import variance_exploding
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    E,
    Others,
    Total,
    class_entropy,
    density,
    i,
    j,
    log_odds,
    mixture_density,
    posterior,
    prior,
)
from derivations.kit.worlds import World, Worlds, on_mixture, random_fields

A, B, c = symbols("A B c", integer=True, positive=True)  # the sides of a partition, a class
of_partition = Symbol("H_{A|B}")
rest = Symbol(r"p_{\bar{c}}")  # the density of all classes but c
of_all = Symbol("H")
against_rest = IndexedBase("H")  # H_i, the entropy of class i against all others in the true weights

u, z, odds = symbols("u z rho", positive=True)
count, first, second = symbols("K m n", integer=True, positive=True)
control = Symbol("kappa", positive=True)
weight = IndexedBase("W")
laplace = Function("varphi")


# Two sides


def _sides(balanced: bool, at: float) -> World:
    """Five classes on a line, two on one side, two on the other, one left out."""
    line = isotropic_mixture([[-1.5], [-0.2], [0.4], [1.9], [3.0]], 0.4, [0.1, 0.3, 0.15, 0.25, 0.2])
    mixture = line.sides(partition(line, [0, 2], [1, 3], "balanced" if balanced else "true"))
    world = on_mixture(mixture, variance_exploding(), at)
    values = {**world.values, of_partition: mixture.entropy(-2.0 * np.log(at))}
    numbers = {A: Integer(1), B: Integer(2)}
    return replace(world, values=values, prepare=lambda expression: expression.xreplace(numbers))


_TRUE = Worlds(_sides, (False, 0.5), (False, 1.3))
_BALANCED = Worlds(_sides, (True, 0.5), (True, 1.3))


def jensen_shannon() -> Proof:
    """ES 104: with balanced priors the entropy of a partition is log 2 less a divergence of its sides."""
    proof = Proof(of_partition, _BALANCED)
    surprise = [log(1 + exp(sign * log_odds[A, B])) for sign in (-1, 1)]
    proof.then("the entropy of a partition, both priors 1/2", E(A, surprise[0]) / 2 + E(B, surprise[1]) / 2)
    both = density[A] + density[B]
    proof.then(
        "the log-odds is the logarithm of the ratio of the densities",
        E(A, log(both / density[A])) / 2 + E(B, log(both / density[B])) / 2,
    )
    proof.then(
        "take log 2 out of both: half of the sum is the density of the mixture",
        log(2) - E(A, log(2 * density[A] / both)) / 2 - E(B, log(2 * density[B] / both)) / 2,
    )
    return proof


# One class and the rest


def _class_and_rest(seed: int, of: int) -> World:
    """Random fields of four classes, one of them against the mixture of the others."""
    world = random_fields(seed, classes=4)
    joint = world.values[prior][:, None, None] * world.values[density]
    others = (joint.sum(axis=0) - joint[of - 1]) / (1.0 - world.values[prior][of - 1])
    return replace(
        world, values={**world.values, rest: others}, prepare=lambda expression: expression.xreplace({c: Integer(of)})
    )


_ANY_CLASS = Worlds(_class_and_rest, (0, 1), (1, 3))


def _all_rests(at: float) -> World:
    """A mixture of three classes on a grid, each against the rest; entropies by quadrature."""
    mixture = isotropic_mixture([[-1.5], [-0.2], [0.4]], 0.4, [0.5, 0.3, 0.2])
    world, level = on_mixture(mixture, variance_exploding(), at), -2.0 * np.log(at)
    entropies = [_against_rest(mixture, k).entropy(level) for k in range(3)]
    return replace(world, values={**world.values, of_all: mixture.entropy(level), against_rest: np.array(entropies)})


def _against_rest(mixture: GaussianMixture, k: int) -> GaussianMixture:
    return mixture.sides(partition(mixture, [k], "others", "true"))


_RESTS = Worlds(_all_rests, (0.5,), (1.3,))


def one_against_the_rest() -> Proof:
    """What the entropies of every class against its rest, in the true weights, add up to."""
    proof = Proof(Total(against_rest[i], i), _RESTS)
    present, absent = (share * log(share) for share in (posterior[i], 1 - posterior[i]))
    proof.then("a choice with the posterior's two probabilities", Total(E(-present - absent), i))
    proof.then("the first terms are the entropy of all classes", of_all - Total(E(absent), i))
    return proof


# Equidistant classes

_LOG_U = np.arange(-45.0, 14.0, 0.25)  # e^-45 is negligible; in the strip |Im log u| < pi/2 steps of 1/4 leave 1e-17
_XI = np.arange(-9.0, 9.01, 0.3)


def _equidistant(at_kappa: float, first_side: int, share: float = 0.3) -> World:
    """Three classes: their weights W_j on a grid of three standard normal variables; the entropies by quadrature.

    The first one or two are side A, which has the prior `share`.
    """
    a = np.sqrt(0.5 * at_kappa)
    line = np.arange(-6.6, 6.61, 0.6)
    xi = np.array(list(itertools.product(line, repeat=3)))
    weights = np.exp(a * (xi + a * np.array([1.0, 0.0, 0.0]))).T[:, :, None]
    m, n = first_side, 3 - first_side
    odds_of_class = (1.0 - share) / n / (share / m)
    of_sides = np.log(weights[:m].sum(axis=0)) - np.log(odds_of_class * weights[m:].sum(axis=0))
    values = {
        control: at_kappa,
        count: 3.0,
        first: m,
        second: n,
        odds: odds_of_class,
        prior: np.array([1.0]),
        weight: weights,
        posterior: weights / weights.sum(axis=0),
        log_odds: np.array([[0.0 * of_sides, of_sides], [-of_sides, 0.0 * of_sides]]),
        class_entropy(control): _entropy_of_triangle(at_kappa),
        Derivative(class_entropy(control), control): derivative(
            _entropy_of_triangle, at_kappa, initial_step=0.2 * at_kappa, order=8
        ).df,
    }
    bell = np.exp(-0.5 * (xi**2).sum(axis=1)) / np.sqrt(2.0 * np.pi) ** 3
    # One law for every state, that of class 1: a mean over its side, or over the mixture, is the same where f names no
    # class of it.
    world = World(values, classes=3, weights=np.full(len(xi), 0.6**3), densities=bell[None, :, None])
    numbers = {A: Integer(1), B: Integer(2)}

    def prepare(expression: Expr) -> Expr:
        done = {one: _integrated(one, world, a) for one in expression.atoms(Integral)}
        return expression.xreplace(done).xreplace(numbers)

    return replace(world, prepare=prepare, tolerance=1e-8)  # of the derivative and of the grid


def _entropy_of_triangle(kappa: ArrayLike) -> Array:
    # Unit vectors are sqrt(2) apart, so kappa = 2 snr.
    return isotropic_mixture(torch.eye(3), 0.0).entropy(np.log(0.5 * np.asarray(kappa)))


def _integrated(integral: Integral, world: World, a: float) -> Float:
    """An integral over u as a sum over log u; u is a row, the states of the world are a column."""
    body, (variable, low, high) = integral.args
    nodes = np.exp(_LOG_U)
    held = (nodes > float(low)) & (nodes < float(high))

    def transform(expression: Basic) -> Array:
        if not isinstance(expression, laplace):
            raise KeyError(str(expression))
        (argument,) = expression.args
        at = np.ravel(inner.value(argument))
        return np.asarray((np.exp(-at[:, None] * np.exp(a * _XI)) @ np.exp(-0.5 * _XI**2)) * 0.3 / np.sqrt(2.0 * np.pi))

    inner = replace(world, values={**world.values, variable: nodes[None, :]}, unknown=transform)
    heights = np.broadcast_to(np.ravel(inner.value(body)), nodes.shape)
    return Float(0.25 * float((heights * nodes)[held].sum()))


_TRIANGLES = Worlds(_equidistant, (1.1, 1), (0.6, 2))
_SHIFTED, _PLAIN = laplace(u * exp(control / 2)), laplace(u)


def equidistant_entropy() -> Proof:
    """The entropy of K equidistant classes as one integral."""
    proof = Proof(class_entropy(control), _TRIANGLES)
    together = Total(weight[j], j)
    proof.then("the surprise at the true class", E(1, log(together / weight[1])))
    proof.then(
        "Frullani's integral for either logarithm; what they share cancels",
        Integral((E(1, exp(-u * weight[1])) - E(1, exp(-u * together))) / u, (u, 0, oo)),
    )
    proof.then(
        r"the $W_j$ are independent, and $W_1$, of the true class, carries the factor $e^{\kappa/2}$",
        Integral((_SHIFTED - _SHIFTED * _PLAIN ** (count - 1)) / u, (u, 0, oo)),
    )
    proof.then("one factor", Integral(_SHIFTED * (1 - _PLAIN ** (count - 1)) / u, (u, 0, oo)))
    return proof


def equidistant_production() -> Proof:
    """The production of K equidistant classes: the mean doubt about the true class, as one integral."""
    proof = Proof(Derivative(class_entropy(control), control), _TRIANGLES)
    pairs = Total(Others(posterior[i] * posterior[j], j, i), i)
    proof.then(r"the production in control parameters, all of them $\kappa$", -E(pairs) / 4)
    proof.then("the probabilities sum to one", -E(1 - Total(posterior[i] ** 2, i)) / 4)
    proof.then(
        "a class drawn from the posterior is the true one as often as the posterior says", -E(1, 1 - posterior[1]) / 4
    )
    together, rivals = Total(weight[j], j), Others(weight[j], j, 1)
    proof.then("the posterior is a share of the $W_j$", -E(1, rivals / together) / 4)
    proof.then(r"$1/S$ is the integral of $e^{-uS}$", -Integral(E(1, rivals * exp(-u * together)), (u, 0, oo)) / 4)
    proof.then(
        "$K - 1$ terms alike; a factor $W_j$ completes a square and shifts class $j$ as if it were the true one",
        -(count - 1) * exp(control / 4) * Integral(_SHIFTED**2 * _PLAIN ** (count - 2), (u, 0, oo)) / 4,
    )
    return proof


def _number(value: float) -> World:
    """One positive number z, and integrals over u."""
    world = World({z: value})
    return replace(
        world,
        prepare=lambda expression: expression.xreplace(
            {one: _integrated(one, world, 0.0) for one in expression.atoms(Integral)}
        ),
    )


_one_side = _SHIFTED * _PLAIN ** (first - 1) * (1 - laplace(odds * u) ** second) / u


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity(
            "eq-side-log-odds",
            (log_odds[A, B], log(prior[A] / prior[B]) + log(density[A] / density[B])),
            "ES 102",
            _TRUE,
        ),
        Identity(
            "eq-partition-entropy",
            (
                of_partition,
                prior[A] * E(A, log(1 + exp(-log_odds[A, B]))) + prior[B] * E(B, log(1 + exp(log_odds[A, B]))),
            ),
            "ES 26, 99",
            _TRUE,
        ),
        jensen_shannon().identity("eq-jensen-shannon", "ES 104"),
        Identity(
            "eq-against-others",
            (
                density[c] / (density[c] + rest),
                (1 - prior[c]) * posterior[c] / ((1 - prior[c]) * posterior[c] + prior[c] * (1 - posterior[c])),
            ),
            "ES 103",
            _ANY_CLASS,
        ),
        Identity(
            "eq-against-all",
            (density[c] / (density[c] + mixture_density), posterior[c] / (posterior[c] + prior[c])),
            "ES 105",
            _ANY_CLASS,
        ),
        Identity(
            "eq-saturation",
            (mixture_density / density[c], prior[c] + (1 - prior[c]) * rest / density[c]),
            "none",
            _ANY_CLASS,
        ),
        one_against_the_rest().identity("eq-one-against-the-rest", "none"),
        Identity(
            "eq-frullani",
            (log(z), Integral((exp(-u) - exp(-u * z)) / u, (u, 0, oo))),
            "none",
            Worlds(_number, (0.4,), (2.7,)),
        ),
        equidistant_entropy().identity("eq-equidistant-entropy", "none"),
        Identity(
            "eq-equidistant-production",
            (
                -Derivative(class_entropy(control), control),
                E(1, 1 - posterior[1]) / 4,
                (count - 1) * exp(control / 4) * Integral(_SHIFTED**2 * _PLAIN ** (count - 2), (u, 0, oo)) / 4,
            ),
            "none",
            _TRIANGLES,
        ),
        Identity(
            "eq-equidistant-partition",
            (E(A, log(1 + exp(-log_odds[A, B]))), Integral(_one_side, (u, 0, oo))),
            "none",
            _TRIANGLES,
        ),
    )
