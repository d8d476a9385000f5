"""Forward processes as clocks: the kernel of an equation, the natural variable, and what a network may predict.

A process is given by its equation dX = f X dt + g dW alone. In the world `_moving` f and g are arbitrary functions, and
alpha and sigma follow the equations of mean and variance. The processes of practice are solved in `schedules`.
"""

from dataclasses import replace

import numpy as np
from sympy import Derivative, Expr, Function, Poly, cosh, exp, log, pi, simplify, sqrt, symbols, tanh

from companion.exact.mixtures import isotropic_mixture
from companion.forward import ornstein_uhlenbeck, rectified_flow
from derivations.forward_processes_are_clocks.schedules import tau
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    Dot,
    Norm2,
    alpha,
    diffusion,
    drift,
    mixture_denoiser,
    mixture_score,
    sigma,
    snr,
    state,
    t,
)
from derivations.kit.worlds import World, Worlds, along_the_process, jets, on_mixture, random_fields

clean, noise, natural = symbols("x_0 varepsilon y")  # vectors: a clean point, its noise, alpha x / sigma^2

# The kernel of an equation

_mean, _variance = (Function(name, positive=True)(t) for name in "mv")
_pdf = Function("p", positive=True)(state, t)


def _gaussian(x: Expr, mean: Expr, variance: Expr) -> Expr:
    return exp(-((x - mean) ** 2) / (2 * variance)) / sqrt(2 * pi * variance)


_mean_off, _variance_off, _z = symbols("e_m e_v z")  # m' - f m, v' - 2 f v - g^2, and (x - m) / sqrt(v)


def kernel() -> Proof:
    """What a Gaussian of moving mean and variance leaves of the Fokker-Planck equation: a term for each moment."""
    bell = _gaussian(state, _mean, _variance)
    named = {
        _mean_off: Derivative(_mean, t) - drift * _mean,
        _variance_off: Derivative(_variance, t) - 2 * drift * _variance - diffusion**2,
        _z: (state - _mean) / sqrt(_variance),
    }
    solved = {
        Derivative(_mean, t): _mean_off + drift * _mean,
        Derivative(_variance, t): _variance_off + 2 * drift * _variance + diffusion**2,
    }
    worlds = (replace(jets(0), prepare=lambda side: side.subs(named).subs(_pdf, bell).doit()),)
    flow = Derivative(drift * state * _pdf, state) - diffusion**2 / 2 * Derivative(_pdf, (state, 2))
    proof = Proof(Derivative(_pdf, t) + flow, worlds)
    share = (proof.first.subs(_pdf, bell).doit() / bell).subs(solved).subs(state, _mean + sqrt(_variance) * _z)
    powers = [simplify(factor) * _z**power for (power,), factor in Poly(simplify(share), _z).terms()]
    proof.then(r"put in the Gaussian, collect the powers of $z$", sum(powers) * _pdf)
    both = _mean_off / sqrt(_variance) * _z + _variance_off / (2 * _variance) * (_z**2 - 1)
    proof.then("one term for the mean, one for the variance", both * _pdf)
    return proof


_moving = (jets(0, along_the_process),)


def _moved(expression: Expr) -> Expr:
    """All derivatives taken, alpha' and sigma' by their equations of motion."""
    return simplify(along_the_process(expression.doit()))


# The class sees the snr alone

_made = symbols("a b")  # a network predicts u = a x_0 + b eps


def _clean_and_noisy() -> World:
    """Random fields with random clean points beside them; the natural variable by its definition."""
    world, draw = random_fields(seed=0), np.random.default_rng(1)
    x, signal, level = (world.values[word] for word in (state, alpha, sigma))
    known = {clean: draw.standard_normal(x.shape), natural: signal * x / level**2, snr: signal**2 / level**2}
    predicted = {noise: draw.standard_normal(x.shape), _made[0]: 0.6, _made[1]: 1.3}
    return replace(world, values={**world.values, **known, **predicted})


_points = Worlds(_clean_and_noisy, ())


def likelihood() -> Proof:
    """What a state says about a clean point, log N(x; alpha x_0, sigma^2) / N(x; 0, sigma^2)."""
    proof = Proof(Norm2(state) / (2 * sigma**2) - Norm2(state - alpha * clean) / (2 * sigma**2), _points)
    square = Norm2(state) - 2 * alpha * Dot(state, clean) + alpha**2 * Norm2(clean)
    proof.then("expand the square", (Norm2(state) - square) / (2 * sigma**2))
    pulled = proof.then(
        "give the factors to the state", Dot(alpha / sigma**2 * state, clean) - alpha**2 / (2 * sigma**2) * Norm2(clean)
    )
    proof.then("name them", pulled.subs({alpha / sigma**2 * state: natural, alpha**2: snr * sigma**2}))
    return proof


# The natural variable y = alpha x / sigma^2

_factor = alpha / sigma**2


def natural_drift() -> Proof:
    """The drift of y, over x: by Ito's formula d(c X) = (c' + c f) X dt + c g dW."""
    proof = Proof(Derivative(_factor, t) + drift * _factor, _moving)
    proof.then("take the derivative", proof.first.doit())
    proof.then(r"$\alpha' = f \alpha$ and $(\sigma^2)' = 2 f \sigma^2 + g^2$", _moved(proof.first))
    return proof


def natural_noise() -> Proof:
    """The rate at which the snr falls is the square of what multiplies dW in dy."""
    proof = Proof(-Derivative(alpha**2 / sigma**2, t), _moving)
    proof.then("take the derivative", proof.first.doit())
    proof.then(r"$\alpha' = f \alpha$ and $(\sigma^2)' = 2 f \sigma^2 + g^2$", _moved(proof.first))
    proof.then("a square", (_factor * diffusion) ** 2)
    return proof


_covariance = Function("C")(t)  # of X_tau and X_t given x_0: C' = f C from C = sigma^2 at tau
_carried = alpha / alpha.subs(t, tau) * sigma.subs(t, tau) ** 2  # `carried_covariance` solves that
_two_times = (replace(_moving[0], prepare=lambda side: along_the_process(side.subs(_covariance, _carried).doit())),)


def carried_covariance() -> Proof:
    """What the covariance of X at two times is carried by: C' = f C for C = sigma_tau^2 alpha / alpha_tau."""
    proof = Proof(Derivative(_carried, t), _moving)
    proof.then(r"$\alpha' = f \alpha$", drift * _carried)
    return proof


def natural_covariance() -> Proof:
    """The covariance of y at two times tau < t given x_0 is the snr at the later one."""
    proof = Proof(_factor.subs(t, tau) * _factor * _covariance, _two_times)
    proof.then(r"solve $C' = f C$ from $C = \sigma_\tau^2$, and cancel", proof.first.subs(_covariance, _carried))
    return proof


_tweedie = (alpha * mixture_denoiser - state) / sigma**2
_with_tweedie = (
    replace(_moving[0], prepare=lambda side: along_the_process(side.subs(mixture_score, _tweedie).doit())),
)


def tweedie() -> Proof:
    """The score of the kernel, before the average over x_0 given x."""
    worlds = (jets(0),)
    proof = Proof(Derivative(log(_gaussian(state, alpha * clean, sigma**2)), state), worlds)
    proof.then("take the derivative", simplify(proof.first.doit()))
    proof.then("a difference", (alpha * clean - state) / sigma**2)
    return proof


def reverse_drift() -> Proof:
    """The drift of y in reverse time, from that of X, -f X + g^2 s (Anderson 1982)."""
    proof = Proof(
        -Derivative(_factor, t) * state + _factor * (-drift * state + diffusion**2 * mixture_score), _with_tweedie
    )
    proof.then("the forward drift of $y$", -natural_drift().last * state + _factor * diffusion**2 * mixture_score)
    proof.then("Tweedie's formula", simplify(proof.last.subs(mixture_score, _tweedie)))
    proof.then("the rate of the snr", -Derivative(alpha**2 / sigma**2, t) * mixture_denoiser)
    return proof


def velocity() -> Proof:
    """The velocity of the probability flow, f x - g^2 s / 2, is the mean of d/dt (alpha x_0 + sigma eps) given x."""
    proof = Proof(drift * state - diffusion**2 / 2 * mixture_score, _with_tweedie)
    proof.then("Tweedie's formula", proof.first.subs(mixture_score, _tweedie))
    predicted = (state - alpha * mixture_denoiser) / sigma
    proof.then(
        r"$f$ and $g^2$ by $\alpha$ and $\sigma$",
        Derivative(alpha, t) * mixture_denoiser + Derivative(sigma, t) * predicted,
    )
    return proof


# A process that is no clock

_bell = Function(r"\mathcal{N}")  # of a state, a mean and a variance


def _written_out(side: Expr) -> Expr:
    return side.replace(_bell, _gaussian).doit()


_written = tuple(replace(jets(seed), prepare=_written_out) for seed in (0, 1))
_benes = cosh(state) / cosh(clean) * exp(-t / 2) * _bell(state, clean, t)


def benes_kernel() -> Proof:
    """The transition density of dX = tanh X dt + dW from x_0, as a mixture of two Gaussians."""
    proof = Proof(_benes, _written)
    by_exponentials = (exp(state) + exp(-state)) / (2 * cosh(clean))
    proof.then("cosh by exponentials", by_exponentials * exp(-t / 2) * _bell(state, clean, t))
    ends = [exp(sign * clean) / (2 * cosh(clean)) * _bell(state, clean + sign * t, t) for sign in (1, -1)]
    proof.then("complete both squares", sum(ends))
    return proof


def benes_equation() -> Proof:
    """It solves the Fokker-Planck equation of that drift."""
    proof = Proof(Derivative(_benes, t), _written)
    drifted, spread = Derivative(tanh(state) * _benes, state), Derivative(_benes, (state, 2))
    proof.then("the Fokker-Planck equation", spread / 2 - drifted)
    return proof


# What is displayed

_log_snr = log(alpha**2 / sigma**2)


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    pair = isotropic_mixture([[-1.0], [0.7]], [0.3, 0.6], [0.4, 0.6])
    return (
        kernel().identity("eq-clocks-kernel", "ES 2, 6"),
        Identity("eq-clocks-drift", (drift, Derivative(alpha, t) / alpha), "ES 1, 6", _moving),
        Identity(
            "eq-clocks-diffusion",
            (diffusion**2, Derivative(sigma**2, t) - 2 * drift * sigma**2, -(sigma**2) * Derivative(_log_snr, t)),
            "ES 1, 6",
            _moving,
        ),
        Identity(
            "eq-clocks-frame",
            (Norm2(state - alpha * clean) / sigma**2, Norm2(state / alpha - clean) / (sigma / alpha) ** 2),
            "none",
            _points,
        ),
        likelihood().identity("eq-clocks-likelihood", "none"),
        natural_drift().identity("eq-clocks-natural-drift", "none"),
        natural_noise().identity("eq-clocks-natural-noise", "none"),
        carried_covariance().identity("eq-clocks-carried", "none"),
        natural_covariance().identity("eq-clocks-natural-covariance", "none"),
        Identity(
            "eq-clocks-tweedie",
            (mixture_score, _tweedie),
            "ID 11",
            [on_mixture(pair, process, 0.4) for process in (ornstein_uhlenbeck(), rectified_flow())],
        ),
        reverse_drift().identity("eq-clocks-reverse", "ES 3, ID 10"),
        Identity(
            "eq-clocks-predictions",
            (
                clean,
                (_made[1] * (alpha * clean + sigma * noise) - sigma * (_made[0] * clean + _made[1] * noise))
                / (_made[1] * alpha - _made[0] * sigma),
            ),
            "ID 11",
            _points,
        ),
        velocity().identity("eq-clocks-velocity", "none"),
        benes_kernel().identity("eq-clocks-benes", "none"),
    )
