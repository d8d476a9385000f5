"""Six processes solved: signal, noise, log-snr and time of each, from its drift and diffusion alone.

A world of this module is one process with numbers in it. It knows f and g^2; alpha and sigma come out of a numerical
solution of m' = f m and v' = 2 f v + g^2. So a formula for alpha that holds there was not put into it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from sympy import (
    Abs,
    Derivative,
    Expr,
    Float,
    Integral,
    S,
    Symbol,
    acos,
    cbrt,
    cos,
    exp,
    lambdify,
    log,
    pi,
    simplify,
    sqrt,
    symbols,
    tan,
)

from companion.arguments import Array
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import alpha, diffusion, drift, sigma, t
from derivations.kit.worlds import World, Worlds

tau, lam, B = (Symbol(name, positive=True) for name in ("tau", "lambda", "B"))  # an earlier time; the log-snr; int g^2
first, last, root_first, root_last, rate, angle = symbols("beta_0 beta_1 r_0 r_1 c theta", positive=True)


@dataclass(frozen=True)
class Clock:
    """A process as an equation: f and g^2 as functions of t, and the numbers for which the worlds try it.

    `signal`, `noise` and `time` are what follows from f and g^2: alpha, sigma^2, and t as a function of the log-snr.
    """

    drift: Expr
    diffusion: Expr
    signal: Expr
    noise: Expr
    time: Expr
    numbers: Mapping[Symbol, float]

    @property
    def preserving(self) -> bool:
        return bool(self.diffusion == -2 * self.drift)


def _preserving(drift: Expr, signal: Expr, time: Expr, numbers: Mapping[Symbol, float]) -> Clock:
    return Clock(drift, -2 * drift, signal, 1 - signal**2, time, numbers)


_spent = log(1 + exp(-lam))  # B of a variance-preserving process as a function of its log-snr
_linear = first * t + (last - first) * t**2 / 2
_slope = root_last - root_first
_scaled = root_first**2 * t + root_first * _slope * t**2 + _slope**2 * t**3 / 3
_turn = rate * t + angle

CLOCKS: dict[str, Clock] = {
    "VP, constant rate": _preserving(-S.One, exp(-t), _spent / 2, {}),
    "VP, linear rate": _preserving(
        -(first + (last - first) * t) / 2,
        exp(-_linear / 2),
        (sqrt(first**2 + 2 * (last - first) * _spent) - first) / (last - first),
        {first: 0.1, last: 20.0},
    ),
    "VP, scaled linear rate": _preserving(
        -((root_first + _slope * t) ** 2) / 2,
        exp(-_scaled / 2),
        (cbrt(root_first**3 + 3 * _slope * _spent) - root_first) / _slope,
        {root_first: 0.85**0.5, root_last: 12.0**0.5},
    ),
    "VP, cosine": _preserving(
        -rate * tan(_turn),
        cos(_turn) / cos(angle),
        (acos(cos(angle) / sqrt(1 + exp(-lam))) - angle) / rate,
        {rate: float(pi) / 2 / 1.008, angle: float(pi) / 2 * 0.008 / 1.008},
    ),
    "VE, EDM": Clock(S.Zero, 2 * t, S.One, t**2, exp(-lam / 2), {}),
    "rectified flow": Clock(-1 / (1 - t), 2 * t / (1 - t), 1 - t, t**2, 1 / (1 + exp(lam / 2)), {}),
}


def _solved(clock: Clock, at: float) -> World:
    """One process at one time; alpha and sigma by a numerical solution of m' = f m and v' = 2 f v + g^2.

    An integral over the past is a Gauss-Legendre sum in which alpha and sigma are again that solution.
    """
    f, squared = (lambdify(t, one.subs(clock.numbers)) for one in (clock.drift, clock.diffusion))

    def slope(time: float, moments: Array) -> Array:
        return np.array([f(time) * moments[0], 2.0 * f(time) * moments[1] + squared(time)])

    solution = solve_ivp(slope, (0.0, at), [1.0, 0.0], method="DOP853", rtol=1e-13, atol=1e-15, dense_output=True)
    nodes, shares = np.polynomial.legendre.leggauss(16)

    def values(time: float) -> dict[Expr, float]:
        mean, variance = solution.sol(time)
        known = {alpha: mean, sigma: variance**0.5, drift: f(time), diffusion: squared(time) ** 0.5, t: time}
        return {**known, Derivative(alpha, t): f(time) * mean, **clock.numbers}

    def integrated(integral: Integral) -> Float:
        integrand, (variable, low, high) = integral.args
        low, high = (float(World(values(at)).value(end)) for end in (low, high))
        times = low + 0.5 * (high - low) * (nodes + 1.0)
        heights = [float(World(values(time)).value(integrand.subs(variable, t))) for time in times]
        return Float(0.5 * (high - low) * float(shares @ heights))

    known = values(at)
    known |= {lam: 2.0 * np.log(known[alpha] / known[sigma]), B: -2.0 * np.log(known[alpha])}
    return World(
        known,
        prepare=lambda side: side.xreplace({one: integrated(one) for one in side.atoms(Integral)}),
        tolerance=1e-9,
    )


_times = {"VP, constant rate": (0.3, 1.1), "VE, EDM": (0.6, 1.7)}  # elsewhere the process ends at 1
_worlds = {
    name: Worlds(_solved, *((clock, at) for at in _times.get(name, (0.3, 0.7)))) for name, clock in CLOCKS.items()
}


def _worlds_of(preserving: bool) -> list[World]:
    """Those of every process, or of all that preserve the variance."""
    return [world for name, clock in CLOCKS.items() if clock.preserving >= preserving for world in _worlds[name]]


def _past(integrand: Expr) -> Integral:
    return Integral(integrand.subs(t, tau), (tau, 0, t))


def signal_of_clock(name: str) -> Proof:
    """alpha of one process from its drift."""
    clock = CLOCKS[name]
    proof = Proof(alpha, _worlds[name])
    solution = proof.then(r"solve $\alpha' = f \alpha$ from $\alpha(0) = 1$", exp(_past(clock.drift)))
    # SymPy writes log|cos|; the cosine stays positive while the process runs.
    taken = proof.then("take the integral", solution.doit().replace(Abs, lambda inside: inside))
    if taken != clock.signal:
        proof.then("write it shorter", clock.signal)
    return proof


def preserved() -> Proof:
    """sigma^2 of every process with g^2 = -2 f."""
    proof = Proof(sigma**2, _worlds_of(preserving=True))
    proof.then(r"solve $(\sigma^2)' = 2 f \sigma^2 + g^2$ from $0$", alpha**2 * _past(diffusion**2 / alpha**2))
    proof.then(r"$g^2 = -2 f = -2 \alpha'/\alpha$", alpha**2 * _past(-2 * Derivative(alpha, t) / alpha**3))
    whole = proof.then("a whole derivative", alpha**2 * _past(Derivative(alpha**-2, t)))
    proof.then(r"take the integral, $\alpha(0) = 1$", whole.doit().subs(alpha.subs(t, 0), 1).expand())
    return proof


def noise_of_clock(name: str) -> Proof:
    """sigma^2 of one process from its drift and diffusion; where g^2 = -2 f, by `preserved`."""
    clock = CLOCKS[name]
    proof = Proof(sigma**2, _worlds[name])
    if clock.preserving:
        proof.then("variance is preserved", 1 - alpha**2)
        proof.then(r"put in $\alpha$", clock.noise)
        return proof
    past = _past(clock.diffusion / clock.signal**2)
    solution = proof.then(r"solve $(\sigma^2)' = 2 f \sigma^2 + g^2$ from $0$", clock.signal**2 * past)
    proof.then("take the integral", simplify(solution.doit()))
    return proof


def time_of_clock(name: str) -> Proof:
    """t of one process from its log-snr: the inverse, with alpha^2 / sigma^2 put in."""
    clock = CLOCKS[name]
    proof = Proof(clock.time, _worlds[name])
    ratio = sqrt(clock.noise) / clock.signal
    put_in = {exp(-lam): ratio**2, exp(-lam / 2): ratio, exp(lam / 2): 1 / ratio}
    proof.then(r"put in $\alpha^2 / \sigma^2$ for the snr", clock.time.xreplace(put_in))
    proof.then("undo it", t)
    return proof


def _of(name: str, label: str, left: Expr, right: Expr, source: str = "none") -> Identity:
    return Identity(f"eq-clocks-{label}", (left, right), source, _worlds[name])


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    every, vp = _worlds_of(preserving=False), _worlds_of(preserving=True)
    return (
        Identity("eq-clocks-signal", (alpha, exp(_past(drift))), "ES 6", every),
        Identity("eq-clocks-noise", (sigma**2, alpha**2 * _past(diffusion**2 / alpha**2)), "ES 6", every),
        preserved().identity("eq-clocks-preserved", "ES 4.3"),
        Identity("eq-clocks-vp-log-snr", (lam, -log(exp(B) - 1)), "none", vp),
        Identity("eq-clocks-vp-inverse", (B, log(1 + exp(-lam))), "none", vp),
        _of("VP, constant rate", "ou", alpha, exp(-t), "ES 4.3"),
        _of("VP, constant rate", "ou-time", t, log(1 + exp(-lam)) / 2),
        _of("VP, linear rate", "linear", B, _linear),
        _of("VP, linear rate", "linear-time", t, (sqrt(first**2 + 2 * B * (last - first)) - first) / (last - first)),
        _of("VP, scaled linear rate", "scaled", B, _scaled),
        _of("VP, scaled linear rate", "scaled-time", t, (cbrt(root_first**3 + 3 * B * _slope) - root_first) / _slope),
        _of("VP, cosine", "cosine", alpha, CLOCKS["VP, cosine"].signal),
        _of("VP, cosine", "cosine-time", t, (acos(cos(angle) * exp(-B / 2)) - angle) / rate),
        _of("VE, EDM", "ve", sigma**2, t**2, "ES 4.3"),
        _of("VE, EDM", "ve-log-snr", lam, -2 * log(t)),
        _of("VE, EDM", "ve-time", t, exp(-lam / 2)),
        _of("rectified flow", "flow", alpha, 1 - t),
        _of("rectified flow", "flow-noise", sigma**2, t**2),
        _of("rectified flow", "flow-log-snr", lam, 2 * log(1 - t) - 2 * log(t)),
        _of("rectified flow", "flow-time", t, exp(-lam / 2) / (1 + exp(-lam / 2))),
    )
