"""Guidance of a joint Gaussian: what happens to one direction, to determinants, and to the information.

Along one direction c = Var(X | Y), u = Var X = c + M^2 v, M is the slope of E[X | Y] and v = Var Y, all of clean data.
X is seen in noise of the variance q, and rho = (c + q)/(u + q). The worlds:

LINE        c, M, v, the weight and the churn are free; functions of q or of time are the closed forms that are checked
OBSERVED    the law of X and a X + sigma_eps eps
FLOW        the guided covariance of clean data is what Liouville's theorem says
MATRICES    a joint law in four dimensions, its guided law propagated as matrices
NUMBERS     the guided law of one number by one number, propagated likewise
"""

from dataclasses import replace
from functools import cache

import numpy as np
from scipy.integrate import quad
from sympy import Derivative, Expr, Float, Function, Integral, Rational, Symbol, exp, lambdify, log

from derivations.guided_information.joint_gaussian import guided
from derivations.kit.identity import Identity, Proof
from derivations.kit.joint_gaussian import observed, random_joint
from derivations.kit.language import alpha, diffusion, sigma, t
from derivations.kit.worlds import World, Worlds, along_the_process, jets

inner, outer = Symbol("c", positive=True), Symbol("u", positive=True)
gain, above = Symbol("M", positive=True), Symbol("v", positive=True)
channel, error = Symbol("a", positive=True), Symbol("sigma_epsilon", positive=True)
variance = Symbol("q", positive=True)
weight, churn = Symbol("w", positive=True), Symbol("eta", positive=True)
half = Symbol("b", positive=True)  # (1 + eta)/2
ratio, place = Symbol("rho", positive=True), Symbol("s", positive=True)
shared, guided_shared = Symbol("I_0", positive=True), Symbol("I_w", positive=True)
spread, slope = Symbol("V_w", positive=True), Symbol("M_w", positive=True)
det_inner, det_outer = Symbol(r"|\Sigma_{X|Y}|", positive=True), Symbol(r"|\Sigma_{X}|", positive=True)
det_guided_inner = Symbol(r"|\operatorname{Cov}_w(X|Y)|", positive=True)
det_guided_outer = Symbol(r"|\operatorname{Cov}_w(X)|", positive=True)
in_noise, in_time = Function("I")(variance), Function("I")(t)
spread_in_noise = Function("V_w")(variance)
by_flow, by_noise = Function("f")(ratio, place), Function("g")(ratio, place)

_by_flow = (ratio + (1 - ratio) * place ** (1 / half)) ** (half * (weight - 1))
_by_noise = (ratio + (1 - ratio) * place ** (1 / churn)) ** (2 * half * (weight - 1))


@cache  # a broken identity has one broken side: the others are differentiated once
def _on_the_line(expression: Expr) -> Expr:
    within, whole = alpha**2 * inner + sigma**2, alpha**2 * outer + sigma**2
    functions = {
        in_noise: log((outer + variance) / (inner + variance)) / 2,
        in_time: log(whole / within) / 2,
        spread_in_noise: (inner + variance) ** weight * (outer + variance) ** (1 - weight),
        by_flow: _by_flow,
        by_noise: _by_noise,
    }
    taken = along_the_process(expression.subs(functions).doit())
    numbers = {outer: inner + gain**2 * above, half: (1 + churn) / 2}
    return taken.xreplace(numbers)


LINE = (jets(0, _on_the_line), jets(1, _on_the_line))


def _as_observed(expression: Expr) -> Expr:
    whole = channel**2 * outer + error**2
    known = {gain: channel * outer / whole, ratio: error**2 / whole}
    return expression.xreplace(known)


OBSERVED = (jets(0, _as_observed), jets(1, _as_observed))


def _with_liouville(expression: Expr) -> Expr:
    information = log(det_outer / det_inner) / 2
    known = {
        guided_shared: log(det_guided_outer / det_guided_inner) / 2,
        det_guided_inner: det_inner * exp(-2 * (weight - 1) * information),
        shared: information,
    }
    for symbol, value in known.items():
        expression = expression.xreplace({symbol: value})
    return expression


FLOW = (jets(0, _with_liouville), jets(1, _with_liouville))


def _matrices(at: float, noise: float) -> World:
    """A joint Gaussian of four numbers and two under guidance; determinants of the propagated covariance."""
    joint = random_joint(4, 2, noise, seed=1)
    after = guided(joint, at)
    determinants = {
        det_inner: np.exp(joint.log_determinant),
        det_outer: np.linalg.det(joint.marginal),
        det_guided_inner: np.exp(after.log_determinant),
        det_guided_outer: np.linalg.det(after.marginal),
    }
    nats = {shared: joint.information(), guided_shared: after.information()}
    return World({**determinants, **nats, weight: at}, tolerance=1e-7)


MATRICES = Worlds(_matrices, (2.5, 1.0), (4.0, 0.7))


def _numbers(at: float, noise: float, kept: float) -> World:
    """One number by one number under guidance; integrals by quadrature, everything guided is propagated."""
    joint = observed([[1.3]], [[0.8]], noise)
    after = guided(joint, at, kept)
    within, whole = float(joint.within[0, 0]), float(joint.marginal[0, 0])
    values = {
        inner: within,
        outer: whole,
        gain: float(joint.gain[0, 0]),
        above: float(joint.condition[0, 0]),
        ratio: within / whole,
        weight: at,
        churn: kept,
        half: 0.5 * (1.0 + kept),
        shared: joint.information(),
        guided_shared: after.information(),
        spread: float(after.within[0, 0]),
        slope: float(after.gain[0, 0]),
    }

    def integrated(expression: Expr) -> Expr:
        known = {symbol: Float(value) for symbol, value in values.items()}
        taken = {}
        for one in expression.atoms(Integral):
            function = lambdify(place, one.function.xreplace(known), "numpy")
            taken[one] = Float(quad(function, *map(float, one.limits[0][1:]), epsabs=1e-12, epsrel=1e-12)[0])
        return expression.xreplace(taken)

    return replace(World(values, tolerance=1e-7), prepare=integrated)


FLOW_NUMBERS = Worlds(_numbers, (2.5, 1.0, 0.0), (4.0, 0.7, 0.0))
REVERSE_NUMBERS = Worlds(_numbers, (2.5, 1.0, 1.0), (4.0, 0.7, 1.0))
NUMBERS = Worlds(_numbers, (2.5, 1.0, 0.4), (4.0, 0.7, 1.0))


def information_under_the_flow() -> Proof:
    """What Liouville's theorem makes of the information: w times it, and what the marginal gains in entropy."""
    proof = Proof(guided_shared, FLOW)
    proof.then("the information of a joint Gaussian", log(det_guided_outer / det_guided_inner) / 2)
    proof.then(
        r"Liouville: $\log|\operatorname{Cov}_w(X|Y)|$ has fallen by $2 (w - 1) I_0$",
        log(det_guided_outer / det_inner) / 2 + (weight - 1) * shared,
    )
    proof.then(
        r"and $\log|\Sigma_{X|Y}|$ is $\log|\Sigma_X|$ less $2 I_0$",
        log(det_guided_outer / det_outer) / 2 + weight * shared,
    )
    return proof


def reverse_information() -> Proof:
    """The information that the reverse SDE makes of one number, in closed form."""
    proof = Proof(guided_shared, REVERSE_NUMBERS)
    proof.then("the information of two normal numbers", log(1 + slope**2 * above / spread) / 2)
    kept = inner * (1 - ratio ** (2 * weight - 1)) / ((2 * weight - 1) * (1 - ratio))
    stretched = gain * (1 - ratio**weight) / (1 - ratio)
    proof.then("the closed forms of slope and spread", log(1 + stretched**2 * above / kept) / 2)
    proof.then(
        r"$M^2 v = u - c$ and $c = \rho u$",
        log(1 + (2 * weight - 1) * (1 - ratio**weight) ** 2 / (ratio * (1 - ratio ** (2 * weight - 1)))) / 2,
    )
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    within, whole = inner + variance, outer + variance
    return (
        Identity(
            "eq-joint-rate",
            (
                -Derivative(in_noise, variance),
                (1 / within - 1 / whole) / 2,
                Rational(1, 2) * (within * (1 / within - 1 / whole) ** 2 + gain**2 * above / whole**2),
            ),
            "SI 12, 44",
            LINE,
        ),
        Identity(
            "eq-joint-rate-in-time",
            (
                -Derivative(in_time, t),
                diffusion**2 / 2 * (1 / (alpha**2 * inner + sigma**2) - 1 / (alpha**2 * outer + sigma**2)),
            ),
            "SI 12, 55, 56",
            LINE,
        ),
        Identity(
            "eq-joint-spread",
            (Derivative(spread_in_noise, variance), (weight / within - (weight - 1) / whole) * spread_in_noise),
            "SI 15, 59",
            LINE,
        ),
        Identity(
            "eq-joint-determinant",
            (log(det_guided_inner) / 2, log(det_inner) / 2 - (weight - 1) * shared),
            "none",
            MATRICES,
        ),
        information_under_the_flow().identity("eq-joint-information", "none"),
        Identity(
            "eq-joint-slope",
            (slope, weight * gain * Integral(_by_flow, (place, 0, 1))),
            "none",
            NUMBERS,
        ),
        Identity(
            "eq-joint-noise",
            (spread, inner * Integral(_by_noise, (place, 0, 1))),
            "none",
            NUMBERS,
        ),
        Identity(
            "eq-joint-slope-integrand",
            (
                ratio * (1 - ratio) * Derivative(by_flow, ratio) - half * (weight - (weight - 1) * ratio) * by_flow,
                -half * Derivative(place * by_flow, place),
            ),
            "none",
            LINE,
        ),
        Identity(
            "eq-joint-noise-integrand",
            (
                ratio * (1 - ratio) * Derivative(by_noise, ratio)
                - (2 * half * (weight - (weight - 1) * ratio) - 1) * by_noise,
                -churn * Derivative(place * by_noise, place),
            ),
            "none",
            LINE,
        ),
        Identity(
            "eq-joint-flow-line",
            (
                guided_shared,
                log(1 + slope**2 / gain**2 * (1 - ratio) / ratio**weight) / 2,
            ),
            "none",
            FLOW_NUMBERS,
        ),
        reverse_information().identity("eq-joint-reverse-line", "none"),
        Identity("eq-joint-likelihood", (gain / (1 - ratio), 1 / channel), "SI 19", OBSERVED),
    )
