"""The rate of neural entropy of an exact denoiser: what it saves, what it adds up to, and what another one misses.

All of it is for a variance-preserving process, alpha^2 + sigma^2 = 1, whose states are x. The worlds:

MIXTURE     a Gaussian mixture in the plane on a grid; class entropy by differences in time
GUESSED     the same, and another denoiser, which is a field like any other
NORMAL      Gaussian data in three dimensions; the noise is what is left of the signal
"""

from dataclasses import replace

import numpy as np
from sympy import Derivative, Expr, IndexedBase, Rational, Symbol, symbols

from companion.arguments import Array
from companion.exact.mixtures import isotropic_mixture
from companion.forward import Process, linear, ornstein_uhlenbeck
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Total,
    alpha,
    class_entropy,
    denoiser,
    diffusion,
    i,
    j,
    mixture_denoiser,
    mixture_score,
    prior,
    sigma,
    snr,
    state,
)
from derivations.kit.worlds import World, Worlds, jets, on_mixture, posterior_spread

ambient, moment = symbols("d M", positive=True)  # dimension of the space; E|X_0|^2
dimension, within = symbols(r"\mathcal{D} \mathcal{D}_{Z}", positive=True)  # at a noise level; the same given the class
spread = Symbol(r"\operatorname{tr} \operatorname{Cov}(X_{0} \mid x)")  # a field over the states
guess = Symbol(r"\hat{D}")  # any other denoiser
centre = Symbol("m")
variance = IndexedBase("rho")  # the eigenvalues of a Gaussian's covariance


def _mixture_world(process: Process, time: float) -> World:
    """A mixture of three classes in the plane on a grid, with the spread of its posterior."""
    s, means, shares = 0.5, np.array([[-1.3, 0.2], [0.9, -0.8], [0.4, 1.5]]), np.array([0.5, 0.3, 0.2])
    world = on_mixture(isotropic_mixture(means.tolist(), s, shares.tolist()), process, time)
    signal, level = float(world.value(alpha)), float(world.value(sigma))
    of_class = 2.0 * s**2 * level**2 / ((signal * s) ** 2 + level**2)
    covariance = posterior_spread(world, of_class)
    density = np.tensordot(shares, world.densities, axes=1)
    known = {
        ambient: 2.0,
        moment: 2.0 * s**2 + float(shares @ (means**2).sum(axis=1)),
        spread: covariance,
        dimension: (signal / level) ** 2 * (world.weights[:, None] * density * covariance).sum(),
        within: (signal / level) ** 2 * of_class,
    }
    return replace(world, values={**world.values, **known})


def _guessed_world(process: Process, time: float, seed: int) -> World:
    """A mixture of three classes on a grid, and a denoiser beside the true one that is wrong."""
    world = _mixture_world(process, time)
    tilt, shift = np.random.default_rng(seed).standard_normal((2, 2, 2))
    wrong: Array = world.values[mixture_denoiser] + 0.3 * np.sin(world.values[state] @ tilt + shift[0])
    return replace(world, values={**world.values, guess: wrong})


MIXTURE = Worlds(_mixture_world, (ornstein_uhlenbeck(), 0.4), (linear(), 0.3))
GUESSED = Worlds(_guessed_world, (ornstein_uhlenbeck(), 0.5, 0), (linear(), 0.2, 1))


def _preserving(expression: Expr) -> Expr:
    return expression.subs(sigma, (1 - alpha**2) ** Rational(1, 2)).subs(alpha, Rational(7, 10))


def _normal_world(seed: int) -> World:
    """Random variances and centres of a normal law, in a process that preserves variance."""
    draw = np.random.default_rng(seed)
    known = {variance: draw.uniform(0.2, 2.5, 3), centre: draw.standard_normal((1, 3))}
    return replace(jets(seed, _preserving), values=known, classes=3)


NORMAL = Worlds(_normal_world, (0,), (1,))

rate = snr / 2 * E(Norm2(mixture_denoiser - alpha * state))
whole = (alpha**4 * ambient + alpha**2 * sigma**2 * moment) / 2


def what_is_saved() -> Proof:
    """Pythagoras: the exact denoiser's own part is orthogonal to what it misses.

    >>> print(what_is_saved().first)
    snr*E(Norm2(D - x*alpha(t)))/2
    """
    proof = Proof(rate, MIXTURE)
    proof.then(
        "take the square apart",
        snr
        / 2
        * (E(Norm2(mixture_denoiser)) - 2 * alpha * E(Dot(mixture_denoiser, state)) + alpha**2 * E(Norm2(state))),
    )
    proof.then(
        r"$D$ is the mean of $X_0$ given $x$: $\mathbb{E}\, D \cdot x = \mathbb{E}\, X_0 \cdot x = \alpha M$ and "
        r"$\mathbb{E}|x|^2 = \alpha^2 M + \sigma^2 d$",
        snr
        / 2
        * (E(Norm2(mixture_denoiser)) - 2 * alpha**2 * moment + alpha**2 * (alpha**2 * moment + sigma**2 * ambient)),
    )
    proof.then(
        r"and $\mathbb{E}|D|^2 = M - \mathbb{E} \operatorname{tr} \operatorname{Cov}(X_0 \mid x)$",
        snr / 2 * ((1 - alpha**2) ** 2 * moment + alpha**2 * sigma**2 * ambient - E(spread)),
    )
    proof.then(
        r"$\operatorname{snr} = \alpha^2/\sigma^2$ and $1 - \alpha^2 = \sigma^2$",
        (alpha**4 * ambient + alpha**2 * sigma**2 * moment - dimension) / 2,
    )
    return proof


def of_a_gaussian() -> Proof:
    """What is saved where every direction is normal.

    >>> len(of_a_gaussian().steps)
    2
    """
    wide = alpha**2 * variance[j] + sigma**2
    proof = Proof(
        (alpha**2 * sigma**2 * Norm2(centre) + Total(alpha**4 + alpha**2 * sigma**2 * variance[j], j)) / 2
        - Total(alpha**2 * variance[j] / wide, j) / 2,
        NORMAL,
    )
    proof.then(
        "on one denominator, with α² + σ² = 1",
        (alpha**2 * sigma**2 * Norm2(centre) + Total(alpha**4 * sigma**2 * (variance[j] - 1) ** 2 / wide, j)) / 2,
    )
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        what_is_saved().identity("eq-neural-saved", "none"),
        Identity(
            "eq-neural-excess",
            (
                snr / 2 * (E(Norm2(guess - alpha * state)) + E(Norm2(guess - mixture_denoiser)) + E(spread)) - whole,
                snr * E(Dot(guess - alpha * state, guess - mixture_denoiser)),
            ),
            "none",
            GUESSED,
        ),
        of_a_gaussian().identity("eq-neural-gaussian", "none"),
        Identity(
            "eq-neural-label",
            (
                -snr * Derivative(class_entropy(snr), snr),
                snr / 2 * Total(prior[i] * E(i, Norm2(denoiser[i] - alpha * state)), i) - rate,
                (dimension - within) / 2,
            ),
            "SI 10, 46",
            MIXTURE,
        ),
        Identity(
            "eq-neural-clock",
            (
                diffusion**2 / 2 * E(Norm2(mixture_score + state)),
                diffusion**2 / sigma**2 * rate,
            ),
            "SI 4, 11",
            MIXTURE,
        ),
    )
