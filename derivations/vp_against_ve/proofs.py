"""Two classes whose distance grows like sqrt(d): the control parameter, the production and the window on three clocks.

The clocks are the time of VP as an Ornstein-Uhlenbeck process, the time of VE, and the log-snr lambda. Each is also
counted from the scale at which the classes separate:

    tau = t - (1/2) log d  (VP)        u = 2 t / log d  (VP),  t / sqrt(d)  (VE)        ell = lambda + log d

An identity is tried where nothing of it was put in: kappa is twice the log-odds of a mixture in d coordinates at the
mean of its first class, dH/dt a difference of its exact entropies, and a window a difference of roots of that kappa.
"""

from collections.abc import Callable

import numpy as np
import sympy
import torch
from numpy.typing import NDArray
from scipy.differentiate import derivative
from scipy.optimize import brentq
from sympy import Derivative, Expr, Matrix, cosh, exp, log, oo, sqrt, tanh

from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.forward import Process, noise_of, ornstein_uhlenbeck, variance_exploding
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import E, alpha, class_entropy, diffusion, prior, sigma, t, width
from derivations.kit.worlds import World, Worlds, along_the_process, jets

dimension, delta, kappa, u = sympy.symbols("d delta kappa u", positive=True)
noisy, clear = sympy.symbols("kappa_a kappa_b", positive=True)  # kappa at a window's end in the noise, and in the data
tau, ell, lam, xi = sympy.symbols("tau ell lambda xi", real=True)
vp_window, ve_window, log_snr_window = sympy.symbols("W_VP W_VE W_lambda", positive=True)

# The two processes: signal, noise, and the root of g^2 (ES, section 4.3).
VP_PROCESS = {alpha: exp(-t), sigma: sqrt(1 - exp(-2 * t)), diffusion: sqrt(2)}
VE_PROCESS = {alpha: sympy.S.One, sigma: t, diffusion: sqrt(2 * t)}

_squared = dimension * delta**2  # the squared distance of the means
_variance = alpha**2 * width**2 + sigma**2
_control = alpha**2 * _squared / _variance

VP = _squared / (exp(2 * t) - 1 + width**2)
VP_CENTRED = delta**2 / (exp(2 * tau) + (width**2 - 1) / dimension)
VP_RESCALED = _squared / (dimension**u - 1 + width**2)
VE = _squared / (width**2 + t**2)
VE_RESCALED = delta**2 / (u**2 + width**2 / dimension)
LOG_SNR = delta**2 / (exp(-ell) + width**2 / dimension)


def _between_ends(place: Expr) -> Expr:
    return place.subs(kappa, noisy) - place.subs(kappa, clear)


VP_WINDOW = _between_ends(log(_squared / kappa + 1 - width**2) / 2)
VE_WINDOW = _between_ends(sqrt(_squared / kappa - width**2))
LOG_SNR_WINDOW = _between_ends(log(delta**2 / kappa - width**2 / dimension))


def in_the_limit(expression: Expr) -> Expr:
    """The limit of an expression for d to infinity, by SymPy.

    >>> in_the_limit(VP_CENTRED), in_the_limit(VE_RESCALED)
    (delta**2*exp(-2*tau), delta**2/u**2)
    """
    return sympy.limit(expression, dimension, oo)


def exponent(expression: Expr) -> Expr:
    """The exponent of d with which an expression grows: the limit of d log(expression) / d log d, by SymPy.

    >>> exponent(VP_WINDOW), exponent(VE_WINDOW), exponent(LOG_SNR_WINDOW)
    (0, 1/2, 0)
    """
    return sympy.limit(sympy.simplify(dimension * sympy.diff(expression, dimension) / expression), dimension, oo)


def curvature_of_bell() -> tuple[Matrix, Matrix]:
    """Why the integrand of eq-scaling-bell is log-concave: its second derivatives, and a sum of squares against them.

    With kappa = e^(2m) and xi = e^w the integrand is, up to a constant, the exponential of

        w - e^(2w) / 2 - log cosh(y / 2),    y = e^(m + w).

    Returned are the second derivatives of this by (m, w), and the matrix c (1, 1)^T (1, 1) + 2 e^(2w) (0, 1)^T (0, 1)
    with c = (y/2) tanh(y/2) + (y/2)^2 / cosh(y/2)^2 > 0. They add up to zero.

    >>> second, squares = curvature_of_bell()
    >>> (second + squares).applyfunc(lambda entry: sympy.simplify(entry.rewrite(exp)))
    Matrix([
    [0, 0],
    [0, 0]])
    """
    m, w = sympy.symbols("m w", real=True)
    second = sympy.hessian(w - exp(2 * w) / 2 - log(cosh(exp(m + w) / 2)), (m, w))
    half = exp(m + w) / 2
    c = half * tanh(half) + half**2 / cosh(half) ** 2
    return second, Matrix([[c, c], [c, c + 2 * exp(2 * w)]])


def vp_control() -> Proof:
    """kappa of VP as an Ornstein-Uhlenbeck process, from its signal and noise, to time counted from (1/2) log d."""
    proof = Proof(kappa, _VP_WORLDS)
    proof.then("the control parameter of two classes (ES 15), their means a distance √d δ apart", _control)
    proof.then("α = exp(−t), σ² = 1 − exp(−2t)", _control.subs(VP_PROCESS))
    proof.then("divide above and below by α²", VP)
    centred = VP.subs(t, tau + log(dimension) / 2)
    proof.then("count time from ½ log d: t = ½ log d + τ", sympy.expand(centred, power_exp=True))
    proof.then("divide above and below by d", VP_CENTRED)
    return proof


def ve_control() -> Proof:
    """kappa of VE, from its signal and noise, to time counted in units of sqrt(d)."""
    proof = Proof(kappa, _VE_WORLDS)
    proof.then("the control parameter of two classes (ES 15), their means a distance √d δ apart", _control)
    proof.then("α = 1, σ = t", _control.subs(VE_PROCESS))
    proof.then("count time in units of √d: t = √d u", VE.subs(t, sqrt(dimension) * u))
    proof.then("divide above and below by d", VE_RESCALED)
    return proof


def vp_production() -> Proof:
    """dH/dt of VP, counted from (1/2) log d."""
    proof, slope = _produced(_VP_WORLDS)
    proof.then("α = exp(−t), σ² = 1 − exp(−2t), g² = 2", proof.last.subs(VP_PROCESS))
    proof.then("divide above and below by α², and by d", 2 * exp(2 * tau) / (delta**2 / VP_CENTRED) * slope)
    return proof


def ve_production() -> Proof:
    """dH/dt of VE, counted in units of sqrt(d)."""
    proof, slope = _produced(_VE_WORLDS)
    proof.then("α = 1, σ² = t², g² = 2t", proof.last.subs(VE_PROCESS))
    proof.then("t = √d u; divide above and below by d", 2 * u / (delta**2 / VE_RESCALED) / sqrt(dimension) * slope)
    return proof


def _produced(worlds: Worlds) -> tuple[Proof, Expr]:
    slope = -kappa * Derivative(class_entropy(kappa), kappa)
    proof = Proof(Derivative(class_entropy(t), t), worlds)
    proof.then("H depends on t through κ alone, and d log κ/dt = −g²/v", diffusion**2 / _variance * slope)
    return proof, slope


def log_snr_production() -> Proof:
    """-dH/dlambda, the same for VP and VE."""
    slope = -kappa * Derivative(class_entropy(kappa), kappa)
    proof = Proof(-Derivative(class_entropy(lam), lam), (*_VP_WORLDS, *_VE_WORLDS))
    proof.then("H depends on λ through κ alone, and dλ = dℓ", Derivative(log(LOG_SNR), ell).doit() * slope)
    proof.then("cancel", exp(-ell) / (delta**2 / LOG_SNR) * slope)
    return proof


def _two_classes(process: Process, d: int, separation: float, s: float, time: float) -> World:
    """Two classes in d coordinates at one time of a process; kappa is read off the mixture's posterior."""
    direction = torch.nn.functional.normalize(torch.arange(1.0, d + 1.0, dtype=torch.float64), dim=0)
    mixture = isotropic_mixture(torch.stack([direction, -direction]) * 0.5 * d**0.5 * separation, s)

    def control(level: float) -> float:
        noise = torch.from_numpy(np.atleast_1d(noise_of(level)))
        log_posterior = mixture.posterior(mixture.means[:1], noise)[0]
        return 2.0 * float(log_posterior[0] - log_posterior[1])

    at = np.asarray(time)
    level = float(process.log_snr(at))
    low, high = 0.7 * control(level), 1.2 * control(level)

    def level_of(end: float) -> float:
        return float(brentq(lambda one: control(one) - end, level - 9.0, level + 9.0, xtol=1e-13))

    first, last = (float(process.time(np.asarray(level_of(end)))) for end in (low, high))
    vp = process.name == "ou"
    numbers = {
        dimension: d,
        delta: separation,
        width: s,
        t: time,
        u: 2.0 * time / np.log(d) if vp else time / np.sqrt(d),
        tau: time - 0.5 * np.log(d),
        lam: level,
        ell: level + np.log(d),
        alpha: process.alpha(at),
        sigma: process.sigma(at),
        diffusion: np.sqrt(process.diffusion(at)),
        kappa: control(level),
        noisy: low,
        clear: high,
        vp_window if vp else ve_window: first - last,
        log_snr_window: level_of(high) - level_of(low),
        Derivative(class_entropy(t), t): _slope(lambda x: mixture.entropy(process.log_snr(np.asarray(x))), time),
        Derivative(class_entropy(lam), lam): _slope(lambda x: mixture.entropy(x), level),
        Derivative(class_entropy(kappa), kappa): _slope(two_gaussians.entropy, control(level)),
    }
    return World(numbers, tolerance=1e-8)


def _slope(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], x: float) -> float:
    """To about 1e-11: the singularities of an entropy are of order one away."""
    return float(derivative(function, x, initial_step=0.2, order=8).df)


def _on_a_line(at: float) -> World:
    """One kappa, dH/dkappa by differences, and E the mean over a standard normal xi."""
    nodes = np.linspace(-12.0, 12.0, 401)[:, None]
    values = {
        kappa: at,
        Derivative(class_entropy(kappa), kappa): _slope(two_gaussians.entropy, at),
        xi: nodes,
        prior: np.ones(1),
    }
    bell = np.exp(-0.5 * nodes**2) / np.sqrt(2.0 * np.pi)
    return World(values, 1, np.full(len(nodes), nodes[1, 0] - nodes[0, 0]), bell[None], tolerance=1e-8)


_OU, _VE = ornstein_uhlenbeck(), variance_exploding()
_VP_WORLDS = Worlds(_two_classes, (_OU, 5, 1.7, 0.6, 0.9), (_OU, 12, 2.3, 1.4, 1.3))
_VE_WORLDS = Worlds(_two_classes, (_VE, 5, 1.7, 0.6, 1.9), (_VE, 12, 2.3, 1.4, 3.1))
_MOVING = jets(0, along_the_process)


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity("eq-scaling-vp", (kappa, VP, VP_CENTRED), "ES 53", _VP_WORLDS),
        Identity("eq-scaling-vp-rescaled", (kappa, VP_RESCALED), "ES 57", _VP_WORLDS),
        Identity("eq-scaling-ve", (kappa, VE, VE_RESCALED), "ES 71, 73", _VE_WORLDS),
        Identity("eq-scaling-log-snr", (kappa, LOG_SNR), "ES 74", (*_VP_WORLDS, *_VE_WORLDS)),
        Identity(
            "eq-scaling-rate", (Derivative(_control, t), -(diffusion**2) / _variance * _control), "none", (_MOVING,)
        ),
        vp_production().identity("eq-scaling-vp-production", "ES 52, 53"),
        ve_production().identity("eq-scaling-ve-production", "ES 52, 71"),
        log_snr_production().identity("eq-scaling-log-snr-production", "none"),
        Identity(
            "eq-scaling-bell",
            (-Derivative(class_entropy(kappa), kappa), exp(-kappa / 8) / 8 * E(1 / cosh(sqrt(kappa) * xi / 2))),
            "none",
            Worlds(_on_a_line, (1.3,), (4.1,)),
        ),
        Identity("eq-scaling-vp-window", (vp_window, VP_WINDOW), "none", _VP_WORLDS),
        Identity("eq-scaling-ve-window", (ve_window, VE_WINDOW), "none", _VE_WORLDS),
        Identity("eq-scaling-log-snr-window", (log_snr_window, LOG_SNR_WINDOW), "none", (*_VP_WORLDS, *_VE_WORLDS)),
    )
