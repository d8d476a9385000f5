"""Forward processes as clocks: kernels from equations, the natural variable, and what a network may predict.

A process is given by its equation dX = f X dt + g dW alone. Two kinds of worlds know no more than that:

    moving      abstract f and g; alpha and sigma follow the equations of mean and variance
    solved      one process with numbers in it; alpha and sigma come out of a numerical solution of these equations

so a formula for alpha that holds in a solved world was not put into it. Proofs start from the equation too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from sympy import (
    Abs,
    Derivative,
    Expr,
    Float,
    Function,
    Integral,
    Poly,
    S,
    Symbol,
    acos,
    cbrt,
    cos,
    cosh,
    exp,
    lambdify,
    log,
    pi,
    simplify,
    sqrt,
    symbols,
    tan,
    tanh,
)

from companion.forward import ornstein_uhlenbeck, rectified_flow
from companion.theory.mixtures import isotropic_mixture
from companion.theory.symbolic.identity import Identity, Proof
from companion.theory.symbolic.language import (
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
from companion.theory.symbolic.world import World, following, jets, on_mixture, random_fields

__all__ = [
    "CLOCKS",
    "IDENTITIES",
    "Clock",
    "benes_equation",
    "benes_kernel",
    "kernel",
    "likelihood",
    "natural_covariance",
    "natural_drift",
    "natural_noise",
    "noise_of_clock",
    "preserved",
    "reverse_drift",
    "signal_of_clock",
    "time_of_clock",
    "tweedie",
    "velocity",
]

Array = NDArray[np.float64]

tau, lam, B = (Symbol(name, positive=True) for name in ("tau", "lambda", "B"))
clean, noise, natural, guess = symbols(
    "x_0 varepsilon y u"
)  # vectors: a clean point, its noise, alpha x / sigma^2, ...
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
        return bool(simplify(self.diffusion + 2 * self.drift) == 0)


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

    def values(time: float) -> dict[Expr, Array]:
        mean, variance = solution.sol(time)
        numbers = {alpha: mean, sigma: variance**0.5, drift: f(time), diffusion: squared(time) ** 0.5, t: time}
        numbers[Derivative(alpha, t)] = f(time) * mean
        return {word: np.asarray(number) for word, number in {**numbers, **clock.numbers}.items()}

    def integrated(integral: Integral) -> Float:
        integrand, (variable, low, high) = integral.args
        low, high = (float(World(values(at)).value(end)) for end in (low, high))
        times = low + 0.5 * (high - low) * (nodes + 1.0)
        heights = [float(World(values(time)).value(integrand.subs(variable, t))) for time in times]
        return Float(0.5 * (high - low) * float(shares @ heights))

    known = values(at)
    strength = float(known[alpha] / known[sigma]) ** 2
    known |= {snr: np.asarray(strength), lam: np.asarray(np.log(strength)), B: -2.0 * np.log(known[alpha])}
    return World(
        known,
        prepare=lambda side: side.xreplace({one: integrated(one) for one in side.atoms(Integral)}),
        tolerance=1e-9,
    )


_times = {"VP, constant rate": (0.3, 1.1), "VE, EDM": (0.6, 1.7)}  # elsewhere the process ends at 1
_worlds = {name: tuple(_solved(clock, at) for at in _times.get(name, (0.3, 0.7))) for name, clock in CLOCKS.items()}
_every = tuple(world for worlds in _worlds.values() for world in worlds)
_vp = tuple(world for name, clock in CLOCKS.items() if clock.preserving for world in _worlds[name])


def _past(integrand: Expr) -> Integral:
    return Integral(integrand.subs(t, tau), (tau, 0, t))


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


_motion = following({alpha: drift * alpha, sigma: (diffusion**2 + 2 * drift * sigma**2) / (2 * sigma)})
_moving = (jets(0, _motion),)


def _moved(expression: Expr) -> Expr:
    """All derivatives taken, alpha' and sigma' by their equations of motion."""
    return simplify(_motion(expression.doit()))


# Six processes, solved


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
    proof = Proof(sigma**2, _vp)
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


# The class sees the snr alone

_vectors = random_fields(seed=0)
_draw = np.random.default_rng(1)
_x, _alpha, _sigma = (_vectors.values[word] for word in (state, alpha, sigma))
_points = replace(
    _vectors,
    values={
        **_vectors.values,
        clean: _draw.standard_normal(_x.shape),
        natural: _alpha * _x / _sigma**2,
        snr: _alpha**2 / _sigma**2,
    },
)


def likelihood() -> Proof:
    """What a state says about a clean point, log N(x; alpha x_0, sigma^2) / N(x; 0, sigma^2)."""
    proof = Proof(Norm2(state) / (2 * sigma**2) - Norm2(state - alpha * clean) / (2 * sigma**2), (_points,))
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
_carried = alpha / alpha.subs(t, tau) * sigma.subs(t, tau) ** 2
_two_times = (replace(_moving[0], prepare=lambda side: _motion(side.subs(_covariance, _carried).doit())),)


def natural_covariance() -> Proof:
    """The covariance of y at two times tau < t given x_0 is the snr at the later one."""
    proof = Proof(_factor.subs(t, tau) * _factor * _covariance, _two_times)
    proof.then(r"solve $C' = f C$ from $C = \sigma_\tau^2$, and cancel", proof.first.subs(_covariance, _carried))
    return proof


_tweedie = (alpha * mixture_denoiser - state) / sigma**2
_with_tweedie = (replace(_moving[0], prepare=lambda side: _motion(side.subs(mixture_score, _tweedie).doit())),)


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
_made = symbols("a b")  # a network predicts u = a x_0 + b eps
_mixed = replace(
    _points,
    values={
        **_points.values,
        noise: _draw.standard_normal(_x.shape),
        _made[0]: np.asarray(0.6),
        _made[1]: np.asarray(1.3),
    },
)
_pair = isotropic_mixture([[-1.0], [0.7]], [0.3, 0.6], [0.4, 0.6])


def _of(name: str, label: str, left: Expr, right: Expr, source: str = "none") -> Identity:
    return Identity(f"eq-clocks-{label}", (left, right), source, _worlds[name])


IDENTITIES = (
    kernel().identity("eq-clocks-kernel", "ES 2, 6"),
    Identity("eq-clocks-drift", (drift, Derivative(alpha, t) / alpha), "ES 1, 6", _moving),
    Identity(
        "eq-clocks-diffusion",
        (diffusion**2, Derivative(sigma**2, t) - 2 * drift * sigma**2, -(sigma**2) * Derivative(_log_snr, t)),
        "ES 1, 6",
        _moving,
    ),
    Identity("eq-clocks-signal", (alpha, exp(_past(drift))), "ES 6", _every),
    Identity("eq-clocks-noise", (sigma**2, alpha**2 * _past(diffusion**2 / alpha**2)), "ES 6", _every),
    preserved().identity("eq-clocks-preserved", "ES 19"),
    Identity("eq-clocks-vp-log-snr", (lam, -log(exp(B) - 1)), "none", _vp),
    Identity("eq-clocks-vp-inverse", (B, log(1 + exp(-lam))), "none", _vp),
    _of("VP, constant rate", "ou", alpha, exp(-t), "ES 19"),
    _of("VP, constant rate", "ou-time", t, log(1 + exp(-lam)) / 2),
    _of("VP, linear rate", "linear", B, _linear),
    _of("VP, linear rate", "linear-time", t, (sqrt(first**2 + 2 * B * (last - first)) - first) / (last - first)),
    _of("VP, scaled linear rate", "scaled", B, _scaled),
    _of(
        "VP, scaled linear rate",
        "scaled-time",
        t,
        (cbrt(root_first**3 + 3 * B * _slope) - root_first) / _slope,
    ),
    _of("VP, cosine", "cosine", alpha, CLOCKS["VP, cosine"].signal),
    _of("VP, cosine", "cosine-time", t, (acos(cos(angle) * exp(-B / 2)) - angle) / rate),
    _of("VE, EDM", "ve", sigma**2, t**2, "ES 21"),
    _of("VE, EDM", "ve-log-snr", lam, -2 * log(t)),
    _of("VE, EDM", "ve-time", t, exp(-lam / 2)),
    _of("rectified flow", "flow", alpha, 1 - t),
    _of("rectified flow", "flow-noise", sigma**2, t**2),
    _of("rectified flow", "flow-log-snr", lam, 2 * log(1 - t) - 2 * log(t)),
    _of("rectified flow", "flow-time", t, exp(-lam / 2) / (1 + exp(-lam / 2))),
    Identity(
        "eq-clocks-frame",
        (Norm2(state - alpha * clean) / sigma**2, Norm2(state / alpha - clean) / (sigma / alpha) ** 2),
        "none",
        (_points,),
    ),
    likelihood().identity("eq-clocks-likelihood", "none"),
    natural_drift().identity("eq-clocks-natural-drift", "none"),
    natural_noise().identity("eq-clocks-natural-noise", "none"),
    natural_covariance().identity("eq-clocks-natural-covariance", "none"),
    Identity(
        "eq-clocks-tweedie",
        (mixture_score, _tweedie),
        "ID 11",
        tuple(on_mixture(_pair, process, 0.4) for process in (ornstein_uhlenbeck(), rectified_flow())),
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
        (_mixed,),
    ),
    velocity().identity("eq-clocks-velocity", "none"),
    benes_kernel().identity("eq-clocks-benes", "none"),
)
