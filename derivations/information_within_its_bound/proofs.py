"""The identities behind the routes to the information of label and data. The worlds:

PROCESS    a density that obeys the Fokker-Planck equation of a drift b(x, t) and a noise g(t), in one coordinate
MIXTURES   a noised Gaussian mixture with the divergences of its scores
ON_A_PATH  any denoisers D_i, weights q_i that sum to one and their mean, another field, a drift u;
           OF_ONE_CLASS, the same with one class for i
ON_DATA    classes with the errors that a model makes of their denoisers, e_i, and of their mixture's, e_0
"""

from dataclasses import replace

import numpy as np
from sympy import Derivative, Expr, Function, IndexedBase, Integer, Symbol, log

from companion.exact.mixtures import isotropic_mixture
from companion.forward import Process, ornstein_uhlenbeck, variance_exploding
from derivations.kit import language as words
from derivations.kit.identity import Identity
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Total,
    denoiser,
    diffusion,
    i,
    mixture_denoiser,
    mixture_score,
    prior,
    score,
    t,
)
from derivations.kit.worlds import World, Worlds, following, jets, on_mixture, random_fields

place = Symbol("x", real=True)
law = Function("p", positive=True)(place, t)
surprise = Function("ell")(place, t)  # -log p
push = Function("b")(place, t)
bend, bend_of_all = IndexedBase(r"{\nabla \cdot s}"), Symbol(r"{\nabla \cdot s}")
accumulated, mean_of_all = IndexedBase("q"), Symbol(r"{\bar{D}}")
other, drift = Symbol("a"), Symbol("u")
error, error_of_null = IndexedBase("e"), Symbol("e_0")

_fokker_planck = following({law: -Derivative(push * law, place) + diffusion**2 / 2 * Derivative(law, (place, 2))})


def _along(expression: Expr) -> Expr:
    return _fokker_planck(expression.subs(surprise, -log(law)).doit())


PROCESS = (jets(0, _along), jets(1, _along))


def _with_divergences(means: list[list[float]], width: float, process: Process, at: float) -> World:
    """A mixture in noise on a grid, with the divergences of its scores."""
    mixture = isotropic_mixture(means, width)
    world = on_mixture(mixture, process, at)
    known = dict(world.values)
    signal, noise = (float(each(np.asarray(at))) for each in (process.alpha, process.sigma))
    variances = (signal * mixture.deviations.numpy()) ** 2 + noise**2
    inside = -mixture.means.shape[1] / variances[:, None, None]
    squares = np.square(known[words.score]).sum(axis=2, keepdims=True)
    # The Laplacian of the mixture's density, over the density, less the square of its score.
    whole = (known[words.posterior] * (inside + squares)).sum(axis=0)
    whole -= np.square(known[words.mixture_score]).sum(axis=1, keepdims=True)
    values = {bend: inside + 0.0 * squares, bend_of_all: whole}
    return replace(world, values={**known, **values})


MIXTURES = Worlds(
    _with_divergences,
    ([[-1.0], [0.4], [2.0]], 0.5, ornstein_uhlenbeck(), 0.4),
    ([[-1.0, 0.3], [1.0, 0.0]], 0.8, variance_exploding(), 0.7),
)


def _on_a_path(seed: int, classes: int) -> World:
    """Random weights, denoisers and drifts at five states; the mixture is their weighted mean."""
    draw = np.random.default_rng(seed)
    weights = draw.dirichlet(np.ones(classes), 5).T[:, :, None]
    each = draw.standard_normal((classes, 5, 3))
    values = {
        accumulated: weights,
        denoiser: each,
        mean_of_all: (weights * each).sum(axis=0),
        other: draw.standard_normal((5, 3)),
        drift: draw.standard_normal((5, 3)),
    }
    return World(values, classes)


def _of_one_class(seed: int, number: int) -> World:
    """Random weights, denoisers and drifts at five states; the free index is one of three classes."""
    return replace(_on_a_path(seed, 3), prepare=lambda expression: expression.xreplace({i: Integer(number)}))


ON_A_PATH = Worlds(_on_a_path, (0, 3), (1, 5))
OF_ONE_CLASS = Worlds(_of_one_class, (0, 1), (1, 3))


def _on_data(seed: int, classes: int) -> World:
    """Random fields, and random errors of every denoiser beside them."""
    world, draw = random_fields(seed, classes), np.random.default_rng(seed + 10)
    states = len(world.weights)
    wrong = {error: draw.standard_normal((classes, states, 2)), error_of_null: draw.standard_normal((states, 2))}
    return replace(world, values={**world.values, **wrong})


ON_DATA = Worlds(_on_data, (0, 3), (1, 4))


def generator(function: Expr, ratios: list[Symbol], predictions: list[Symbol], along: Expr) -> Expr:
    """What a function of accumulated log-likelihood ratios gains per unit of snr, in the mean, on paths of drift u.

    In one coordinate: dl_z = D_z dy - (1/2) D_z^2 dsnr, dy = u dsnr + dB. Ito's formula.

    >>> from sympy import exp
    >>> ratio, own = Symbol("l"), Symbol("D")
    >>> generator(exp(ratio), [ratio], [own], Symbol("u")).factor()
    D*u*exp(l)
    """
    gained: Expr = sum(
        (one * along - one**2 / 2) * function.diff(at) for at, one in zip(ratios, predictions, strict=True)
    )
    for at, one in zip(ratios, predictions, strict=True):
        for also, two in zip(ratios, predictions, strict=True):
            gained += one * two * function.diff(at, also) / 2
    return gained


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    slope, bending = Derivative(surprise, place), Derivative(surprise, (place, 2))

    def over_classes(field: Expr) -> Expr:
        return Total(prior[i] * E(i, field), i)

    squares = Norm2(mixture_score) - Norm2(score[i])
    return (
        Identity(
            "eq-bound-surprise",
            (
                Derivative(surprise, t) + push * slope + diffusion**2 / 2 * bending,
                Derivative(push, place) + diffusion**2 * bending - diffusion**2 / 2 * slope**2,
            ),
            "SI 41",
            PROCESS,
        ),
        Identity(
            "eq-bound-parts",
            (
                over_classes(squares + 2 * (bend_of_all - bend[i])),
                over_classes(squares - 2 * Dot(mixture_score - score[i], score[i])),
                over_classes(Norm2(score[i] - mixture_score)),
            ),
            "SI 43, 44",
            MIXTURES,
        ),
        Identity(
            "eq-bound-pythagoras",
            (
                Total(accumulated[i] * Norm2(denoiser[i] - other), i),
                Total(accumulated[i] * Norm2(denoiser[i] - mean_of_all), i) + Norm2(mean_of_all - other),
            ),
            "none",
            ON_A_PATH,
        ),
        Identity(
            "eq-bound-gain",
            (
                Dot(denoiser[i] - mean_of_all, drift) - (Norm2(denoiser[i]) - Norm2(mean_of_all)) / 2,
                (Norm2(drift - mean_of_all) - Norm2(drift - denoiser[i])) / 2,
            ),
            "none",
            OF_ONE_CLASS,
        ),
        Identity(
            "eq-bound-errors",
            (
                over_classes(Norm2(denoiser[i] + error[i] - mixture_denoiser - error_of_null)),
                over_classes(Norm2(denoiser[i] - mixture_denoiser))
                + over_classes(Norm2(error[i] - error_of_null))
                + 2 * over_classes(Dot(denoiser[i] - mixture_denoiser, error[i])),
            ),
            "SI 13",
            ON_DATA,
        ),
    )
