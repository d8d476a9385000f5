"""The entropy of one trajectory: what of it is certain, what is noise, what makes its variance, what a sample adds.

The reverse path is read in its natural state y = alpha x / sigma^2, along which dy = D dsnr + dB with D the denoiser's
output and B a Brownian motion in the snr. The worlds:

LIKELIHOODS   two classes whose likelihood ratios Lambda_i(y, snr) are free but for the heat equation that Gaussian
              noise obeys, d Lambda / d snr = - (1/2) d^2 Lambda / d y^2; in one coordinate, the others add up
MIXTURE       a noisy Gaussian mixture on a grid, the variance of its posterior's entropy differentiated by differences
WIDTH         alpha, sigma, the width s and the distance Delta are free numbers
SPECIATION    the time is u (1/2) log d on the Ornstein-Uhlenbeck clock
"""

from dataclasses import replace
from functools import cache

import numpy as np
from sympy import Add, Derivative, Expr, Function, Rational, Symbol, exp, log

from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.forward import Process, ornstein_uhlenbeck, variance_exploding
from derivations.kit.differences import slope
from derivations.kit.gaussian_worlds import control, distance, total_variance
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    E,
    Norm2,
    Total,
    alpha,
    denoiser,
    i,
    mixture_denoiser,
    mixture_density,
    posterior,
    sigma,
    snr,
    width,
)
from derivations.kit.worlds import World, Worlds, jets, on_mixture

place = Symbol("y", real=True)
share = Function("p_i")(place, snr)  # the posterior of class i as a function of the state
entropy = Function("h")(place, snr)  # of the posterior
at_the_state = Symbol("h")  # the same, as a field over the states
variance = Function("V")(snr)
clean_control = Symbol("kappa_0", positive=True)  # of clean data
gap, spread = Symbol("b", positive=True), Symbol("C", positive=True)  # of the posteriors of x_0 of two classes
dimension, ratio, speciation = Symbol("d", positive=True), Symbol("u", positive=True), Symbol("t_S", positive=True)
effective = Function("eta")(ratio * speciation)

_FALL = Total(posterior[i] * Norm2(denoiser[i] - mixture_denoiser), i)
_NOISE = Total(posterior[i] * log(posterior[i]) * (denoiser[i] - mixture_denoiser), i)


_CLASSES = range(1, 3)
_LIKELIHOODS = {n: Function(f"Lambda_{n}", positive=True)(place, snr) for n in _CLASSES}


@cache  # a broken identity has one broken side: the others are differentiated once
def _by_likelihoods(expression: Expr) -> Expr:
    joint = {n: Symbol(f"pi_{n}", positive=True) * _LIKELIHOODS[n] for n in _CLASSES}
    total = Add(*joint.values())
    shares = {n: joint[n] / total for n in _CLASSES}
    fields = {posterior[n]: shares[n] for n in _CLASSES}
    fields |= {denoiser[n]: Derivative(log(_LIKELIHOODS[n]), place) for n in _CLASSES}
    fields |= {mixture_denoiser: Derivative(log(total), place), share: shares[1]}
    fields[entropy] = -Add(*(one * log(one) for one in shares.values()))
    summed = expression.replace(
        lambda part: isinstance(part, Total), lambda part: Add(*(part.args[0].subs(part.args[1], n) for n in _CLASSES))
    )
    taken = summed.subs(i, 1).xreplace(fields).doit()
    heat = {Derivative(one, snr): -Derivative(one, (place, 2)) / 2 for one in _LIKELIHOODS.values()}
    return taken.xreplace(heat)


LIKELIHOODS = (jets(0, _by_likelihoods), jets(1, _by_likelihoods))


def _mixture_world(mixture: GaussianMixture, process: Process, t: float) -> World:
    """A mixture on a grid, with the variance of its posterior's entropy and how that moves with the snr."""

    def entropies(world: World) -> np.ndarray:
        return -world.value(Total(posterior[i] * log(posterior[i]), i))

    def variance_at(time: float) -> float:
        world = on_mixture(mixture, process, time, step=0.4)
        values, weights = entropies(world), world.weights[:, None] * world.values[mixture_density]
        mean = float((weights * values).sum())
        return float((weights * (values - mean) ** 2).sum())

    def snr_at(time: float) -> float:
        return float(np.exp(process.log_snr(np.asarray(time))))

    # A derivative by the snr is one by time over another.
    rise, clock = (slope(function, t, 0.01 * t) for function in (variance_at, snr_at))
    world = on_mixture(mixture, process, t, step=0.4)
    known = {at_the_state: entropies(world), Derivative(variance, snr): rise / clock}
    return replace(world, values={**world.values, **known})


MIXTURE = Worlds(
    _mixture_world,
    (isotropic_mixture([[-1.3], [0.4], [1.9]], [0.4, 0.7, 0.5], [0.5, 0.3, 0.2]), ornstein_uhlenbeck(), 0.5),
    (isotropic_mixture([[-1.0, 0.3], [0.9, -0.6]], [0.6, 0.8], [0.6, 0.4]), variance_exploding(), 0.9),
)


def _with_width(expression: Expr) -> Expr:
    v = alpha**2 * width**2 + sigma**2
    posterior_gap = distance - distance * alpha**2 * width**2 / v  # each mean is drawn to the state by alpha^2 s^2 / v
    known = {
        gap: posterior_gap,
        spread: width**2 - alpha**2 * width**4 / v,
        control: alpha**2 * distance**2 / v,
        clean_control: distance**2 / width**2,
        total_variance: v,
    }
    return expression.xreplace(known)


WIDTH = (jets(0, _with_width), jets(1, _with_width))


def _at_speciation(expression: Expr) -> Expr:
    time = ratio * log(dimension) / 2
    return expression.xreplace({effective: dimension * exp(-2 * time) / (1 - exp(-2 * time))})


SPECIATION = (jets(0, _at_speciation), jets(1, _at_speciation))


def entropy_drift() -> Proof:
    """What the entropy of a path loses on average: its drift in the snr, for any classes.

    >>> print(entropy_drift().last)
    -Total((-D + D[i])**2*posterior[i], i)/2
    """
    proof = Proof(
        Derivative(entropy, snr) + mixture_denoiser * Derivative(entropy, place) + Derivative(entropy, (place, 2)) / 2,
        LIKELIHOODS,
    )
    squares = Total(posterior[i] * denoiser[i] ** 2, i)
    proof.then(
        "no posterior drifts, so only the curvature of -p log p is left, -1/p, times the square of the slope of p",
        -(squares - 2 * mixture_denoiser * Total(posterior[i] * denoiser[i], i) + mixture_denoiser**2) / 2,
    )
    proof.then("the denoiser is the mean of the class denoisers", -(squares - mixture_denoiser**2) / 2)
    proof.then("that is a variance", -Total(posterior[i] * (denoiser[i] - mixture_denoiser) ** 2, i) / 2)
    return proof


def variance_production() -> Proof:
    """How the variance of the entropy over states moves with the snr: what noise adds, and what the drift evens out.

    >>> str(variance_production().last).startswith("-E((h - E(h))*Total(Norm2(")
    True
    """
    proof = Proof(Derivative(variance, snr), MIXTURE)
    fall = -_FALL / 2
    proof.then(
        "a mean over states moves as along paths: that of h by its drift, that of its square by Ito's rule",
        2 * E(at_the_state * fall) + E(Norm2(_NOISE)) - 2 * E(at_the_state) * E(fall),
    )
    proof.then("collect the covariance", E(Norm2(_NOISE)) - E((at_the_state - E(at_the_state)) * _FALL))
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity(
            "eq-posterior-martingale",
            (
                Derivative(share, snr),
                -mixture_denoiser * Derivative(share, place) - Rational(1, 2) * Derivative(share, (place, 2)),
            ),
            "none",
            LIKELIHOODS,
        ),
        Identity(
            "eq-posterior-slope",
            (Derivative(share, place), posterior[i] * (denoiser[i] - mixture_denoiser)),
            "none",
            LIKELIHOODS,
        ),
        entropy_drift().identity("eq-entropy-drift", "ID 65"),
        Identity(
            "eq-entropy-slope",
            (
                Derivative(entropy, place),
                -Total(posterior[i] * log(posterior[i]) * (denoiser[i] - mixture_denoiser), i),
            ),
            "ID 65",
            LIKELIHOODS,
        ),
        variance_production().identity("eq-variance-production", "ID 66, 78"),
        Identity(
            "eq-remaining-evidence",
            (gap**2 / spread, distance**2 * sigma**2 / (width**2 * total_variance), clean_control - control),
            "ID 69, 90",
            WIDTH,
        ),
        Identity("eq-effective-snr", (effective, dimension / (dimension**ratio - 1)), "ID 73, 85", SPECIATION),
    )
