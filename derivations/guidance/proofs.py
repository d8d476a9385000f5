"""What guidance does to log-odds, surprise and the law of paths: the identities behind the chapter's theorems.

The reverse path in its natural state y = alpha x / sigma^2 is dy = D_w dsnr + dB, in one coordinate; the others add up.
The worlds:

LIKELIHOODS   class and whole have free likelihood ratios a, b of (y, snr), which obey the heat equation of Gaussian
              noise, backward; log p(c | x) is log(a/b) and a constant, D_c and D_0 are the slopes of log a and log b
CHANNEL       two Gaussian classes of one width, means +-Delta/2, seen from (y, snr)
EXPLODING     the same in the variance-exploding frame, x and sigma
ALONG_FLOW    L(kappa) obeys the guided flow
ODDS          surprise and entropy as functions of L, the posterior its logistic function; AMONG_MANY, of K classes
EQUIDISTANT   random posteriors over denoisers that are all one distance apart
"""

from collections.abc import Mapping

import numpy as np
from sympy import Derivative, Expr, Function, Integer, Rational, Symbol, exp, log, sqrt

from derivations.kit.gaussian_worlds import (
    LINE,
    certainty,
    control,
    distance,
    evidence,
    kappa_in,
    posterior_entropy,
)
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Others,
    class_entropy,
    denoiser,
    i,
    j,
    k,
    mixture_denoiser,
    posterior,
    prior,
    snr,
    width,
)
from derivations.kit.worlds import World, Worlds, jets

weight = Symbol("w", real=True)
guided = Symbol("D_w")
of_class, of_whole, of_other = Symbol("D_c"), Symbol("D_0"), Symbol(r"D_{\bar{c}}")
place, noisy = Symbol("y", real=True), Symbol("x", real=True)
noise = Symbol("sigma", positive=True)
offset = Symbol("eta", real=True)  # the prior log-odds
increment = Symbol("b", real=True)  # of the path's own noise, dB over dsnr
log_posterior = Function("ell")(place, snr)
odds_in_channel, odds_in_frame = Function("L")(place, snr), Function("L")(noisy, noise)
odds_on_flow = Function("L")(control)
surprise = Function("S")(evidence)
count = Symbol("K", positive=True)

_MIXED = of_whole + weight * (of_class - of_whole)


def _taken(known: Mapping[Expr, Expr]) -> tuple[World, World]:
    """Worlds in which some symbols and functions are given, and all else is free."""

    def motion(expression: Expr) -> Expr:
        return expression.subs(guided, _MIXED).subs(known).doit()

    return jets(0, motion), jets(1, motion)


_a, _b = (Function(name, positive=True)(place, snr) for name in ("a", "b"))


def _by_likelihoods(expression: Expr) -> Expr:
    known = {log_posterior: log(_a / _b), of_class: Derivative(log(_a), place), of_whole: Derivative(log(_b), place)}
    taken = expression.subs({guided: _MIXED}).subs(known).doit()
    return taken.xreplace({Derivative(one, snr): -Derivative(one, (place, 2)) / 2 for one in (_a, _b)})


LIKELIHOODS = (jets(0, _by_likelihoods), jets(1, _by_likelihoods))


def _two_classes(odds: Expr, pull: Expr, kept: Expr) -> dict[Expr, Expr]:
    """Denoisers kept +- pull/2 of two classes, and of the whole, by the log-odds."""
    share = 1 / (1 + exp(-odds))
    return {
        of_class: kept + pull / 2,
        of_other: kept - pull / 2,
        of_whole: kept + (2 * share - 1) * pull / 2,
        certainty: share,
    }


_v = 1 + width**2 * snr
_in_channel = offset + distance * place / _v
CHANNEL = _taken(
    {
        odds_in_channel: _in_channel,
        kappa_in(snr): snr * distance**2 / _v,
        **_two_classes(_in_channel, distance / _v, width**2 * place / _v),
    }
)
_total = width**2 + noise**2
_in_frame = offset + distance * noisy / _total
EXPLODING = _taken(
    {
        odds_in_frame: _in_frame,
        kappa_in(noise): distance**2 / _total,
        **_two_classes(_in_frame, noise**2 * distance / _total, width**2 * noisy / _total),
    }
)


def _along_flow(expression: Expr) -> Expr:
    doubt = 1 / (1 + exp(odds_on_flow))
    rate = Rational(1, 4) + (odds_on_flow - offset) / (2 * control) + (weight - 1) * doubt / 2
    return expression.subs(certainty, 1 - doubt).doit().xreplace({Derivative(odds_on_flow, control): rate})


ALONG_FLOW = (jets(0, _along_flow), jets(1, _along_flow))

_logistic = 1 / (1 + exp(-evidence))
ODDS = _taken(
    {
        surprise: log(1 + exp(-evidence)),
        posterior_entropy: log(1 + exp(-evidence)) + evidence * (1 - _logistic),
        certainty: _logistic,
    }
)
AMONG_MANY = _taken({certainty: 1 / (1 + (count - 1) * exp(-evidence))})  # all others alike


def _equidistant(seed: int, classes: int, length: float) -> World:
    """Orthogonal points of one length, moved together; the guiding class is i, another one k."""
    draw = np.random.default_rng(seed)
    axes = np.linalg.qr(draw.standard_normal((classes + 1, classes + 1)))[0][:classes]
    each = length / np.sqrt(2.0) * axes + draw.standard_normal(classes + 1)
    shares = draw.dirichlet(np.ones(classes), 5).T[:, :, None]
    values = {
        distance: length,
        weight: 2.7,
        denoiser: each[:, None, :] + np.zeros((1, 5, 1)),
        posterior: shares,
        mixture_denoiser: np.einsum("ksu,kd->sd", shares, each),
    }
    numbers = {i: Integer(1), k: Integer(2)}
    return World(values, classes, prepare=lambda expression: expression.xreplace(numbers))


EQUIDISTANT = Worlds(_equidistant, (0, 3, 0.8), (1, 5, 1.7))


def guided_drift() -> Proof:
    """How the log-odds of two Gaussian classes of one width drift on a guided path, in the snr and so in kappa.

    >>> print(guided_drift().last)
    ((1 - gamma)*(w - 1) + 1/2)*Derivative(kappa(snr), snr)
    """
    along = Derivative(odds_in_channel, place)
    proof = Proof(Derivative(odds_in_channel, snr) + guided * along, CHANNEL)
    proof.then("what is guided", Derivative(odds_in_channel, snr) + (of_whole + weight * (of_class - of_whole)) * along)
    proof.then(
        "the whole's denoiser is the posterior's mean of both",
        Derivative(odds_in_channel, snr)
        + of_class * along
        + (weight - 1) * (1 - certainty) * (of_class - of_other) * along,
    )
    rate = Derivative(kappa_in(snr), snr)
    proof.then(
        r"unguided the log-odds gain $\kappa/2$ whatever the width, which adds to $D_c$ what it takes from "
        r"$\partial L/\partial \operatorname{snr}$",
        rate / 2 + (weight - 1) * (1 - certainty) * (of_class - of_other) * along,
    )
    proof.then(
        r"both denoisers differ by as much as the log-odds change with $y$",
        (Rational(1, 2) + (weight - 1) * (1 - certainty)) * rate,
    )
    return proof


def guided_surprise() -> Proof:
    """What the log posterior of the guiding class gains per unit of snr on a guided path, for any data.

    >>> print(guided_surprise().last)
    (-D_0 + D_c)**2*(w - 1/2)
    """
    slope, bend = Derivative(log_posterior, place), Derivative(log_posterior, (place, 2))
    proof = Proof(Derivative(log_posterior, snr) + guided * slope + bend / 2, LIKELIHOODS)
    gap = of_class - of_whole
    proof.then("its slope is the difference of the denoisers", Derivative(log_posterior, snr) + guided * gap + bend / 2)
    proof.then("the heat equation, for class and whole", guided * gap - (of_class**2 - of_whole**2) / 2)
    proof.then("what is guided", (of_whole + weight * gap) * gap - (of_class + of_whole) * gap / 2)
    proof.then("collect", (weight - Rational(1, 2)) * gap**2)
    return proof


_drift = Rational(1, 2) + (weight - 1) * (1 - certainty)
_gap = of_class - of_whole


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    slope_of = {
        one: (Derivative(one, evidence), Derivative(one, (evidence, 2))) for one in (surprise, posterior_entropy)
    }
    return (
        guided_drift().identity("eq-guided-drift", "none"),
        Identity(
            "eq-guided-noise",
            (Derivative(odds_in_channel, place) ** 2, Derivative(kappa_in(snr), snr)),
            "none",
            CHANNEL,
        ),
        Identity(
            "eq-guided-flow",
            (
                Derivative(odds_in_frame, noise) + (noisy - guided) / noise * Derivative(odds_in_frame, noisy),
                (Rational(1, 4) + (odds_in_frame - offset) / (2 * kappa_in(noise)) + (weight - 1) * (1 - certainty) / 2)
                * Derivative(kappa_in(noise), noise),
            ),
            "none",
            EXPLODING,
        ),
        Identity(
            "eq-guided-deviations",
            (2 * sqrt(control) * Derivative((odds_on_flow - offset) / sqrt(control), control), _drift),
            "none",
            ALONG_FLOW,
        ),
        guided_surprise().identity("eq-guided-surprise", "none"),
        Identity("eq-guided-slope", (Derivative(log_posterior, place), _gap), "none", LIKELIHOODS),
        Identity(
            "eq-guided-girsanov",
            (
                (weight - 1) * _gap * increment - (weight - 1) ** 2 * _gap**2 / 2,
                (weight - 1) * (_gap * increment + _gap**2 / 2) - weight * (weight - 1) * _gap**2 / 2,
            ),
            "none",
            (jets(0), jets(1)),
        ),
        Identity(
            "eq-guided-cross-entropy",
            (
                _drift * slope_of[surprise][0] + slope_of[surprise][1] / 2,
                -(weight - Rational(1, 2)) * (1 - certainty) ** 2,
            ),
            "none",
            ODDS,
        ),
        Identity(
            "eq-guided-entropy",
            (
                _drift * slope_of[posterior_entropy][0] + slope_of[posterior_entropy][1] / 2,
                -certainty * (1 - certainty) / 2 - weight * evidence * certainty * (1 - certainty) ** 2,
            ),
            "none",
            ODDS,
        ),
        Identity(
            "eq-guided-among-many",
            (
                Dot(mixture_denoiser + weight * (denoiser[i] - mixture_denoiser), denoiser[i] - denoiser[k])
                - (Norm2(denoiser[i]) - Norm2(denoiser[k])) / 2,
                distance**2 / 2 * (1 + (weight - 1) * (1 - posterior[i] + posterior[k])),
            ),
            "none",
            EQUIDISTANT,
        ),
        Identity(
            "eq-guided-gap",
            (
                Norm2(denoiser[i] - mixture_denoiser),
                distance**2 / 2 * ((1 - posterior[i]) ** 2 + Others(posterior[j] ** 2, j, i)),
            ),
            "none",
            EQUIDISTANT,
        ),
        Identity(
            "eq-guided-response",
            (E(1, 1 - certainty), -2 / prior[1] * Derivative(class_entropy(control), control)),
            "ES 33",
            LINE,
        ),
        Identity(
            "eq-guided-strong",
            ((exp(evidence) + count - 1) * (1 - certainty) * count / (count - 1), count),
            "none",
            AMONG_MANY,
        ),
    )
