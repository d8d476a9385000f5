"""One direction of a Gaussian in noise: its window of log-snr, its total, and what a last log-snr leaves out.

A direction has the eigenvalue u of Cov X and, where a condition is known, c of Cov(X | Y). The worlds:

CLOCK       u and c are free; functions of the log-snr are their closed forms, snr = e^lambda and alpha^2 + sigma^2 = 1
TIME        the same in the time of a variance-preserving process, whose drift factor is -g^2/2
STATE       a state alpha x_0 + sigma eps of such a process
MATRICES    flattened covariances in five dimensions, their determinants taken as matrices
"""

import numpy as np
from sympy import Derivative, Expr, Function, Symbol, exp, log, oo, sqrt, tanh

from companion.arguments import Array
from derivations.flattening_and_determinism.spectra import flattened
from derivations.kit.gaussian_worlds import log_snr, total_variance
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import alpha, diffusion, drift, sigma, snr, t
from derivations.kit.worlds import World, Worlds, along_the_process, jets

outer, inner = Symbol("u", positive=True), Symbol("c", positive=True)
strength, error = Symbol("m", positive=True), Symbol("sigma_epsilon", positive=True)
state, clean, noise = Symbol("x", real=True), Symbol("x_0", real=True), Symbol("epsilon", real=True)
denoised, control = Symbol("D", real=True), Symbol("e", real=True)
thin = Symbol("lambda_delta", positive=True)
dimension, kept = Symbol("d", positive=True), Symbol("k", positive=True)
total, total_kept = Symbol(r"S_{\mathrm{tot}}", positive=True), Symbol("S_k", positive=True)
shared, height = Symbol("I", positive=True), Symbol("h", positive=True)

stored_on_clock, stored_in_time, stored_at_last = (Function("S")(each) for each in (log_snr, t, oo))
shared_on_clock = Function("I")(log_snr)


def _divergence(variance: Expr) -> Expr:
    """Of a normal number from a standard normal one."""
    return (variance - 1 - log(variance)) / 2


def _on_the_clock(expression: Expr) -> Expr:
    rising = exp(log_snr)
    variance = (1 + outer * rising) / (1 + rising)
    functions = {
        stored_at_last: _divergence(outer),
        stored_on_clock: _divergence(variance),
        shared_on_clock: log((1 + outer * rising) / (1 + inner * rising)) / 2,
    }
    taken = expression.subs(functions).doit()
    return taken.xreplace({total_variance: variance, sigma: 1 / sqrt(1 + rising), snr: rising})


CLOCK = (jets(0, _on_the_clock), jets(1, _on_the_clock))


def _preserved(expression: Expr) -> Expr:
    """alpha is anything below one, and sigma what preserves the variance."""
    return expression.xreplace({alpha: alpha / 2, sigma: sqrt(1 - alpha**2 / 4)})


def _in_time(expression: Expr) -> Expr:
    variance = alpha**2 * outer + sigma**2
    taken = along_the_process(expression.subs({stored_in_time: _divergence(variance)}).doit())
    return _preserved(taken.xreplace({total_variance: variance, drift: -(diffusion**2) / 2}))


TIME = (jets(0, _in_time), jets(1, _in_time))


def _of_a_state(expression: Expr) -> Expr:
    known = expression.xreplace({control: (alpha * denoised - state) / sigma**2 + state})
    return _preserved(known.xreplace({state: alpha * clean + sigma * noise}))


STATE = (jets(0, _of_a_state), jets(1, _of_a_state))


def _at_its_peak(expression: Expr) -> Expr:
    return expression.xreplace({height: (sqrt(outer) - sqrt(inner)) / (2 * (sqrt(outer) + sqrt(inner)))}).xreplace(
        {snr: 1 / sqrt(outer * inner)}
    )


PEAK = (jets(0, _at_its_peak), jets(1, _at_its_peak))


def _determined(expression: Expr) -> Expr:
    return expression.xreplace({shared: log(1 + strength / error**2) / 2})


DETERMINED = (jets(0, _determined), jets(1, _determined))


def _matrices(least: float, seed: int) -> World:
    """A joint Gaussian in five dimensions, three of them thin; totals from its determinants."""
    joint = flattened(5, 2, 3, least, 1.0, seed)

    def divergence(covariance: Array) -> float:
        return 0.5 * float(np.trace(covariance) - np.linalg.slogdet(covariance)[1] - len(covariance))

    wide = np.linalg.eigh(joint.marginal)[1][:, 3:]
    values = {
        total: divergence(joint.marginal),
        total_kept: divergence(wide.T @ joint.marginal @ wide),
        thin: least,
        dimension: 5.0,
        kept: 2.0,
    }
    return World(values, tolerance=1e-9)


MATRICES = Worlds(_matrices, (0.05, 0), (0.002, 1))


def rate_of_one_direction() -> Proof:
    """The entropy rate of one direction, from the divergence of its law from equilibrium to a pair of steps."""
    proof = Proof(Derivative(stored_on_clock, log_snr), CLOCK)
    variance, step = total_variance, (1 + snr)
    proof.then(
        r"$S = (v - 1 - \log v)/2$, and $v = (1 + u\,\mathrm{snr})/(1 + \mathrm{snr})$ moves by $-\sigma^2 (1 - v)$",
        sigma**2 / 2 * (variance - 2 + 1 / variance),
    )
    proof.then(
        r"$v$ written out",
        (1 - outer) ** 2 * snr**2 / (2 * step**2 * (1 + outer * snr)),
    )
    proof.then(
        "partial fractions in the snr",
        (1 / (1 + outer * snr) - 1 / step) / 2 + (outer - 1) * snr / (2 * step**2),
    )
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    inside, outside = 1 + inner * snr, 1 + outer * snr
    return (
        rate_of_one_direction().identity("eq-flattening-entropy-rate", "SI 3, 50, 56"),
        Identity(
            "eq-flattening-entropy-time",
            (-Derivative(stored_in_time, t), diffusion**2 / 2 * (total_variance - 2 + 1 / total_variance)),
            "SI 3, 56",
            TIME,
        ),
        Identity(
            "eq-flattening-left-out",
            (
                stored_at_last - stored_on_clock,
                (log(1 + 1 / (outer * snr)) - log(1 + 1 / snr) + (outer - 1) / (1 + snr)) / 2,
            ),
            "none",
            CLOCK,
        ),
        Identity(
            "eq-flattening-information-rate",
            (Derivative(shared_on_clock, log_snr), (1 / inside - 1 / outside) / 2),
            "SI 12, 55, 56",
            CLOCK,
        ),
        Identity(
            "eq-flattening-height",
            (height, tanh(log(outer / inner) / 4) / 2, (1 / inside - 1 / outside) / 2),
            "none",
            PEAK,
        ),
        Identity(
            "eq-flattening-total",
            (total, total_kept + (dimension - kept) / 2 * (-log(thin) - 1 + thin)),
            "SI 50, 52",
            MATRICES,
        ),
        Identity(
            "eq-flattening-determined",
            (shared, -log(error) + log(strength) / 2 + log(1 + error**2 / strength) / 2),
            "SI 22, 49",
            DETERMINED,
        ),
        Identity(
            "eq-flattening-velocity",
            (sigma * control, -alpha * (alpha * state - denoised) / sigma),
            "SI 4, 8",
            STATE,
        ),
        Identity(
            "eq-flattening-target",
            (-noise / sigma + state, -alpha * (alpha * noise - sigma * clean) / sigma),
            "SI 30, 40",
            STATE,
        ),
    )
