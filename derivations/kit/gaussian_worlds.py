"""The symbols of the derivations for Gaussian classes, and the worlds in which those are checked.

PLANE        three noisy Gaussian classes on a grid in the plane; log-odds, scores and entropy from densities alone
LINE         two classes seen through their log-odds: L is the state, its laws N(eta +- kappa/2, kappa), on a line
LAW          the density q(L, kappa) of the log-odds, to be differentiated
MIDPOINT     the denoiser D(x) of two classes of equal weight, on the line through their means, to be differentiated
moving       kappa as a function of a clock, to be differentiated
"""

from dataclasses import replace

import numpy as np
from sympy import Derivative, Expr, Function, Integer, Subs, Symbol, exp, pi, sqrt, tanh

from companion.arguments import Array
from companion.entropy import binary_entropy
from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.forward import Process, ornstein_uhlenbeck, variance_exploding
from derivations.kit.differences import bend, slope
from derivations.kit.language import Total, alpha, class_entropy, i, j, k, kappa, prior, sigma, state, width
from derivations.kit.worlds import World, Worlds, along_the_process, jets, on_mixture

total_variance = Symbol("v", positive=True)  # alpha^2 s^2 + sigma^2
noise = Symbol("xi")  # the state of class i is alpha mu_i + sqrt(v) xi
distance = Symbol("Delta", positive=True)  # between two means
control = Symbol("kappa", positive=True)  # of two classes
log_snr = Symbol("lambda", real=True)
kappa_in = Function("kappa")  # kappa(t), kappa(lambda)
evidence = Symbol("L", real=True)  # the log-odds of two classes
certainty = Symbol("gamma", positive=True)  # the posterior of the first
posterior_entropy = Function("h_b")(evidence)
variance_of_entropy = Function("V_Z")(control)
law = Function("q")(evidence, control)  # the density of the log-odds, over both classes
place = Symbol("x", real=True)  # a state on the line through both means, seen from the midpoint
guess = Function("D")(place)  # the denoiser there, in the variance-exploding frame


def _gaussian_world(process: Process, time: float, classes: tuple[int, int, int]) -> World:
    """Three classes of one width in the plane, on a grid; i, j, k stand for three of the classes' numbers."""
    s = 0.6
    mixture = isotropic_mixture([[-1.3, 0.2], [0.9, -0.8], [0.4, 1.5]], s, [0.5, 0.3, 0.2])
    world = on_mixture(mixture, process, time)
    signal, sigma_now = float(process.alpha(np.asarray(time))), float(process.sigma(np.asarray(time)))
    v = (signal * s) ** 2 + sigma_now**2
    means = mixture.means.numpy()
    gaps = np.linalg.norm(means[:, None] - means[None, :], axis=-1)
    values = {
        **world.values,
        width: s,
        total_variance: v,
        kappa: two_gaussians.control_parameter(signal, sigma_now, gaps, s),
        noise: (world.values[state] - signal * means[classes[0] - 1]) / np.sqrt(v),
    }
    numbers = dict(zip((i, j, k), map(Integer, classes), strict=True))

    def assigned(expression: Expr) -> Expr:
        summed = {word.args[1] for word in expression.atoms(Total)}
        return expression.xreplace({index: number for index, number in numbers.items() if index not in summed})

    return replace(world, values=values, prepare=assigned)


PLANE = Worlds(_gaussian_world, (ornstein_uhlenbeck(), 0.4, (1, 2, 3)), (variance_exploding(), 0.9, (3, 1, 2)))


def _line_world(at: float, prior_log_odds: float) -> World:
    """One log-odds, normal given the class; entropies and derivatives in kappa by integrals and differences."""
    share = float(1.0 / (1.0 + np.exp(-prior_log_odds)))

    def laws(value: float, nodes: Array) -> Array:
        centres = prior_log_odds + 0.5 * value * np.array([1.0, -1.0])
        return np.asarray(np.exp(-0.5 * (nodes - centres[:, None]) ** 2 / value) / np.sqrt(2.0 * np.pi * value))

    reach = abs(prior_log_odds) + 0.5 * at + 10.0 * np.sqrt(at)
    nodes = np.linspace(-reach, reach, 1201)
    step, entropies = nodes[1] - nodes[0], binary_entropy(nodes)

    def moments(value: float) -> Array:
        """H and V_Z."""
        together = step * np.array([share, 1.0 - share]) @ laws(value, nodes)
        first = float(together @ entropies)
        return np.array([first, float(together @ entropies**2) - first**2])

    # Differences whose truncation and rounding are both below the tolerance.
    slopes, bends = (derivative(moments, at, 0.02 * at) for derivative in (slope, bend))
    entropy = class_entropy(control)
    return World(
        values={
            control: at,
            prior: np.array([share, 1.0 - share]),
            evidence: nodes[:, None],
            certainty: 1.0 / (1.0 + np.exp(-nodes[:, None])),
            posterior_entropy: entropies[:, None],
            entropy: two_gaussians.entropy(at, share),
            variance_of_entropy: moments(at)[1],
            Derivative(entropy, control): slopes[0],
            Derivative(variance_of_entropy, control): slopes[1],
            Derivative(entropy, (control, 2)): bends[0],
        },
        classes=2,
        weights=np.full(len(nodes), step),
        densities=laws(at, nodes)[:, :, None],
        tolerance=1e-8,
    )


LINE = Worlds(_line_world, (3.0, 0.0), (1.7, 0.8))


def _with_the_law(expression: Expr) -> Expr:
    offset = Symbol("eta", real=True)  # the prior log-odds
    share = 1 / (1 + exp(-offset))

    def bell(centre: Expr) -> Expr:
        return exp(-((evidence - centre) ** 2) / (2 * control)) / sqrt(2 * pi * control)

    density = share * bell(offset + control / 2) + (1 - share) * bell(offset - control / 2)
    return expression.subs(law, density).doit()


LAW = (jets(0, _with_the_law), jets(1, _with_the_law))

_share = sigma**2 / total_variance
mean_guess = distance / 2 * tanh(distance * place / (2 * total_variance))  # of mu, over the posterior
_denoiser = (1 - _share) * place + _share * mean_guess


def _at_the_midpoint(expression: Expr) -> Expr:
    v = width**2 + sigma**2
    taken = expression.replace(
        lambda part: isinstance(part, Subs),
        lambda part: part.args[0].xreplace({guess: _denoiser}).doit().subs(place, part.args[2][0]),
    )
    return taken.xreplace({total_variance: v, control: distance**2 / v})


MIDPOINT = (jets(0, _at_the_midpoint), jets(1, _at_the_midpoint))


def moving(relation: Expr, clock: Symbol) -> tuple[World, World]:
    """Worlds in which kappa is `relation` of a clock, alpha and sigma obey dX = f X dt + g dW, and all else is free.

    >>> from derivations.kit.language import t
    >>> world, _ = moving(distance**2 / (width**2 + t**2), t)
    >>> world.agree([kappa_in(t), control])
    True
    """
    known = {kappa_in(clock): relation, control: relation, total_variance: alpha**2 * width**2 + sigma**2}

    def motion(expression: Expr) -> Expr:
        return along_the_process(expression.subs(known).doit())

    return jets(0, motion), jets(1, motion)
