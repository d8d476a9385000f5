"""Classes of any kind: what the log-odds is made of, what large noise leaves of it, and the affinity.

The worlds are two Gaussian classes on a line, of different means and variances, noised by the variance-preserving
process; for the limits of large noise the same two as formulas in epsilon = e^(-2t); for what holds of all densities,
functions that obey a Fokker-Planck equation.
"""

from dataclasses import replace

import mpmath
import numpy as np
import sympy
from sympy import Derivative, Expr, Function, IndexedBase, Integer, Limit, Rational, Symbol, cosh, exp, log, sqrt, tanh

from companion.exact.mixtures import isotropic_mixture
from companion.forward import ornstein_uhlenbeck
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import E, Norm2, alpha, density, i, j, log_odds, mean, prior, score, t
from derivations.kit.worlds import World, Worlds, following, jets, on_mixture

variance = IndexedBase("v")  # v_i, the variance of class i after the noise
clean = IndexedBase("a")  # a_i, the variance of class i in clean data
epsilon = Symbol("epsilon", positive=True)  # e^(-2t), the squared signal of the variance-preserving process
dimension = Symbol("d", positive=True)
gap, fluctuation = Function("phi")(t), Function("Xi")(t)
exponent = Symbol("q", positive=True)  # of the affinity
evidence = Symbol("L", real=True)
place = Symbol("x", real=True)
first, second = Function("p_A")(place, t), Function("p_B")(place, t)
drift, speed = Function("f")(place, t), Function("g")(t)

_CLEAN, _MEANS = (1.7, 0.4), (-0.6, 0.9)
_RATIO = log(density[i] / density[j])
_APART = Norm2(mean[i] - mean[j])


def _assigned(expression: Expr) -> Expr:
    """The free classes i and j stand for the first and the second."""
    return expression.xreplace({i: Integer(1), j: Integer(2)})


def _world(means: list[list[float]], time: float) -> World:
    """Two Gaussian classes of two widths at a time of the variance-preserving process, on a grid."""
    process = ornstein_uhlenbeck()
    mixture = isotropic_mixture(means, np.sqrt(_CLEAN).tolist(), [0.3, 0.7])
    world = on_mixture(mixture, process, time, reach=12.0)  # E_j of a power of p_i / p_j reaches far
    signal, noise = process.alpha(np.asarray(time)) ** 2, process.sigma(np.asarray(time)) ** 2
    values = {**world.values, variance: signal * np.asarray(_CLEAN) + noise, exponent: 0.3, dimension: len(means[0])}
    world = replace(world, values=values, prepare=_assigned)
    ratio, average = world.value(_RATIO), world.value(E(i, _RATIO))
    return replace(
        world, values={**values, gap: average / len(means[0]), fluctuation: (ratio - average) / np.sqrt(len(means[0]))}
    )


def _limits_taken(expression: Expr) -> Expr:
    """Each limit as a number: the expression at a distance of 1e-30 from its point, computed with 120 digits."""
    known = {clean[n]: Rational(str(_CLEAN[n - 1])) for n in (1, 2)}
    known |= {mean[n]: Rational(str(_MEANS[n - 1])) for n in (1, 2)}

    def taken(limit: Expr) -> Expr:
        body, variable, point, _ = limit.args
        body = body.xreplace({variance[n]: _noised(n) for n in (1, 2)}).xreplace(known).replace(Norm2, lambda v: v**2)
        with mpmath.workdps(120):
            near = mpmath.mpf(int(point)) + mpmath.mpf(10) ** -30
            return sympy.Float(sympy.lambdify(variable, body, "mpmath")(near), 15)

    return _assigned(expression).replace(lambda part: isinstance(part, Limit), taken)


def _noised(number: Expr | int) -> Expr:
    return 1 + epsilon * (clean[number] - 1)


_LINE = Worlds(_world, ([[centre] for centre in _MEANS], 0.3), ([[centre] for centre in _MEANS], 1.1))
_PLANE = Worlds(_world, ([[-0.6, 0.2], [0.9, 0.0]], 0.5))


def _far() -> World:
    """The clean variances and means of two classes, and limits of much noise taken by SymPy."""
    return World({clean: _CLEAN, mean: _MEANS}, prepare=_limits_taken)


_FAR = Worlds(_far, ())


def _carried(field: Expr) -> Expr:
    """What the Fokker-Planck equation does to a field: it is carried by the drift and spread by the noise."""
    return -Derivative(drift * field, place) + speed**2 / 2 * Derivative(field, place, 2)


_ALL_DENSITIES = (jets(0, following({first: _carried(first), second: _carried(second)})),)


def gaussian_mean() -> Proof:
    """The mean of the log-likelihood ratio of two Gaussian classes on an axis, on states of class i."""
    proof = Proof(E(i, _RATIO), _LINE)
    x = Symbol("x")
    quadratic = (x - alpha * mean[j]) ** 2 / (2 * variance[j]) - (x - alpha * mean[i]) ** 2 / (2 * variance[i])
    proof.then("both densities are normal", E(i, log(variance[j] / variance[i]) / 2 + quadratic))
    proof.then(
        r"on class $i$ the state has the mean $\alpha \mu_i$ and the variance $v_i$",
        log(variance[j] / variance[i]) / 2 + (variance[i] + alpha**2 * _APART) / (2 * variance[j]) - Rational(1, 2),
    )
    proof.then("collect", _mean_of(variance[i], variance[j], alpha**2))
    return proof


def _mean_of(own: Expr, other: Expr, signal: Expr) -> Expr:
    return (own / other - 1 - log(own / other) + signal * _APART / other) / 2


def gaussian_variance() -> Proof:
    """The variance of the log-likelihood ratio of two Gaussian classes on an axis, on states of class i."""
    proof = Proof(E(i, (_RATIO - E(i, _RATIO)) ** 2), _LINE)
    xi = (Symbol("x") - alpha * mean[i]) / sqrt(variance[i])
    shift = alpha * (mean[i] - mean[j])
    linear = shift * sqrt(variance[i]) / variance[j] * xi
    square = (variance[i] / variance[j] - 1) / 2 * (xi**2 - 1)
    proof.then("the ratio less its mean, in the state's own standard units", E(i, (linear + square) ** 2))
    proof.then(
        "linear and quadratic part are uncorrelated; their variances are 1 and 2 in these units",
        _variance_of(variance[i], variance[j], alpha**2),
    )
    return proof


def _variance_of(own: Expr, other: Expr, signal: Expr) -> Expr:
    return (own / other - 1) ** 2 / 2 + signal * own * _APART / other**2


def gaussian_score_gap() -> Proof:
    """The mean squared difference of the scores of two Gaussian classes on an axis, on states of class i."""
    proof = Proof(E(i, Norm2(score[i] - score[j])), _LINE)
    x = Symbol("x")
    linear = (x - alpha * mean[j]) / variance[j] - (x - alpha * mean[i]) / variance[i]
    proof.then("the scores are linear", E(i, linear**2))
    proof.then(
        r"on class $i$ the state has the mean $\alpha \mu_i$ and the variance $v_i$",
        _score_gap_of(variance[i], variance[j], alpha**2),
    )
    return proof


def _score_gap_of(own: Expr, other: Expr, signal: Expr) -> Expr:
    return (own - other) ** 2 / (own * other**2) + signal * _APART / other**2


def expansion(quantity: str) -> Proof:
    """What large noise leaves of a quantity beyond (Delta mu)^2 epsilon: the coefficient of epsilon^2 in its series.

    `quantity` is "mean" or "variance" of the log-odds or "score gap". For means that differ the first power leads, for
    equal means the second.
    """
    formula, share = {
        "mean": (_mean_of, Rational(1, 2)),
        "variance": (_variance_of, Integer(1)),
        "score gap": (_score_gap_of, Integer(1)),
    }[quantity]
    rest = formula(variance[i], variance[j], epsilon) - share * epsilon * _APART
    proof = Proof(Limit(rest / epsilon**2, epsilon, 0), _FAR)
    series = sympy.series(rest.xreplace({variance[n]: _noised(n) for n in (i, j)}), epsilon, 0, 3).removeO()
    proof.then(
        r"$v = 1 + \epsilon\, (a - 1)$ for both classes, and the series in $\epsilon$ to its second power",
        Limit(sympy.factor(series) / epsilon**2, epsilon, 0),
    )
    widths = (clean[i] - clean[j]) ** 2
    collected = {
        "mean": widths / 4 - _APART * (clean[j] - 1) / 2,
        "variance": widths / 2 + _APART * (clean[i] + 1 - 2 * clean[j]),
        "score gap": widths - 2 * _APART * (clean[j] - 1),
    }
    proof.then("the first power has cancelled; collect", collected[quantity])
    return proof


def divergence_flow() -> Proof:
    """The density of the mean log-odds under a Fokker-Planck equation: carried, spread, and lost as the score gap."""
    ratio = log(first / second)
    proof = Proof(Derivative(first * ratio, t), _ALL_DENSITIES)
    proof.then(
        "differentiate, with the Fokker-Planck equation of both densities",
        (1 + ratio) * _carried(first) - first / second * _carried(second),
    )
    proof.then(
        "collect what has the form of the Fokker-Planck equation; a square is left",
        _carried(first * ratio) - speed**2 / 2 * first * _SCORE_GAP**2,
    )
    return proof


_SCORE_GAP = Derivative(first, place) / first - Derivative(second, place) / second


def affinity_flow() -> Proof:
    """The density of the affinity under a Fokker-Planck equation: carried, spread, and gained from the score gap."""
    q = exponent
    affinity = first**q * second ** (1 - q)
    proof = Proof(Derivative(affinity, t), _ALL_DENSITIES)
    proof.then(
        "differentiate, with the Fokker-Planck equation of both densities",
        affinity * (q * _carried(first) / first + (1 - q) * _carried(second) / second),
    )
    proof.then(
        "collect what has the form of the Fokker-Planck equation; a square is left",
        _carried(affinity) + speed**2 / 2 * q * (1 - q) * affinity * _SCORE_GAP**2,
    )
    return proof


def kernel_equation() -> Proof:
    """cosh(L/2) h_b(L), what class entropy averages over sqrt(p_A p_B), as the solution of a linear equation."""
    entropy = log(2 * cosh(evidence / 2)) - evidence / 2 * tanh(evidence / 2)
    kernel = cosh(evidence / 2) * entropy
    proof = Proof(Derivative(kernel, evidence, 2) - kernel / 4, (jets(0), jets(1)))
    proof.then("differentiate twice", sympy.diff(kernel, evidence, 2) - kernel / 4)
    proof.then("simplify", -1 / (4 * cosh(evidence / 2)))
    return proof


def gaussian_affinity() -> Proof:
    """The affinity of two Gaussian classes on an axis."""
    q, x = exponent, Symbol("x")
    quadratic = (x - alpha * mean[j]) ** 2 / (2 * variance[j]) - (x - alpha * mean[i]) ** 2 / (2 * variance[i])
    proof = Proof(E(j, (density[i] / density[j]) ** q), _LINE)
    proof.then("both densities are normal", E(j, (variance[j] / variance[i]) ** (q / 2) * exp(q * quadratic)))
    pooled = (1 - q) * variance[i] + q * variance[j]
    shift = q * (1 - q) * alpha**2 * _APART / (2 * pooled)
    proof.then(
        "a Gaussian integral", variance[i] ** ((1 - q) / 2) * variance[j] ** (q / 2) / sqrt(pooled) * exp(-shift)
    )
    return proof


def isotropic_log_odds() -> Proof:
    """The log-odds of two isotropic Gaussian classes of equal means, by how far the state is from where they cross."""
    own, other = Symbol("A", positive=True), Symbol("B", positive=True)
    radius, crossing, ratio = Symbol("y", real=True), Symbol("v", positive=True), Symbol("ell", real=True)
    known = {crossing: ratio / (1 / other - 1 / own)}
    world = jets(0)
    proof = Proof(
        dimension / 2 * log(other / own) + (1 / other - 1 / own) / 2 * dimension * crossing * exp(radius),
        (replace(world, prepare=lambda e: e.xreplace(known).xreplace({ratio: log(own / other)})),),
    )
    proof.then(r"$v = \ell / (1/B - 1/A)$ with $\ell = \log(A/B)$", dimension / 2 * ratio * (exp(radius) - 1))
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity(
            "eq-general-log-odds",
            (log_odds[i, j], log(prior[i] / prior[j]) + dimension * gap + sqrt(dimension) * fluctuation),
            "ES 24, 81-83",
            _PLANE,
        ),
        gaussian_mean().identity("eq-general-mean", "none"),
        gaussian_variance().identity("eq-general-variance", "none"),
        gaussian_score_gap().identity("eq-general-score-gap", "none"),
        expansion("mean").identity("eq-general-mean-expansion", "ES 86"),
        expansion("variance").identity("eq-general-variance-expansion", "ES 87"),
        expansion("score gap").identity("eq-general-score-expansion", "ES 89, 90"),
        divergence_flow().identity("eq-general-divergence-flow", "none"),
        affinity_flow().identity("eq-general-affinity-flow", "none"),
        kernel_equation().identity("eq-general-kernel", "none"),
        gaussian_affinity().identity("eq-general-gaussian-affinity", "none"),
        isotropic_log_odds().identity("eq-general-isotropic", "none"),
    )
