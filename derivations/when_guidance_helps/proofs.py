"""Guidance of a model with true and with wrong branches: what it does to the loss, and which weight mends it.

D_i and D are the true posterior means of x_0 given a state, in class i and over all classes; a hat marks what a model
says instead, any functions of the state. The worlds:

SAMPLES       a joint law of finitely many clean samples and states in each class, drawn at random: D_i and D are its
              posterior means, the model's branches random functions of the state, and w* the lowest point of the
              parabola through the losses of three weights
LEAKS         densities and denoisers of classes, random; those of the leaking classes are mixed from them
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sympy import Expr, IndexedBase, Integer, Symbol

from companion.arguments import Array
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Total,
    denoiser,
    density,
    i,
    mixture_denoiser,
    mixture_density,
    posterior,
    prior,
)
from derivations.kit.worlds import World, Worlds, random_fields

clean = Symbol("x_{0}")
weight, best = Symbol("w"), Symbol("w^{*}")
branch, null = IndexedBase(r"\hat{D}"), Symbol(r"\hat{D}_{0}")  # of the model
leaking = IndexedBase(r"\hat{p}")  # the density of a class that leaks
leak = Symbol("epsilon", positive=True)

apart = branch[i] - null
guided = null + weight * apart
mended = null + best * apart


def mean(of_class: Expr) -> Expr:
    """The mean over all classes and their noised samples."""
    return Total(prior[i] * E(i, of_class), i)


def _samples(seed: int, at: float) -> World:
    """Finitely many pairs of a clean sample and a noisy state; what a model says knows the second alone."""
    classes, samples, states, dimension = 3, 4, 5, 2
    draw = np.random.default_rng(seed)
    joint = draw.uniform(0.2, 1.0, (classes, samples, states))
    joint /= joint.sum(axis=(1, 2), keepdims=True)
    shares = draw.dirichlet(np.full(classes, 3.0))
    points = draw.standard_normal((samples, dimension))
    whole = np.tensordot(shares, joint, axes=1)

    def posterior_mean(law: Array) -> Array:
        return np.asarray(np.einsum("...ns,nd->...sd", law, points) / law.sum(axis=-2)[..., None])

    def of_pairs(field: Array) -> Array:
        """A function of the state as one of the pair."""
        spread = np.broadcast_to(field[..., None, :, :], (*field.shape[:-2], samples, states, dimension))
        return np.asarray(spread.reshape(*field.shape[:-2], samples * states, dimension))

    said, said_null = draw.standard_normal((classes, states, dimension)), draw.standard_normal((states, dimension))

    def loss(w: float) -> float:
        missed = points[:, None] - (said_null + w * (said - said_null))[:, None]
        return float(np.einsum("k,kns,knsd->", shares, joint, missed**2))

    before, here, after = map(loss, (-1.0, 0.0, 1.0))
    values = {
        prior: shares,
        denoiser: of_pairs(posterior_mean(joint)),
        mixture_denoiser: of_pairs(posterior_mean(whole)),
        branch: of_pairs(said),
        null: of_pairs(said_null),
        clean: np.repeat(points, states, axis=0),
        weight: at,
        best: 0.5 * (before - after) / (before - 2.0 * here + after),
    }
    return World(values, classes, np.ones(samples * states), joint.reshape(classes, -1, 1))


SAMPLES = Worlds(_samples, (0, 1.7), (1, -0.4))


def _leaks(seed: int, of: int, share: float) -> World:
    """Random fields of which a class leaks into the whole; the free index i stands for one of the classes."""
    world = random_fields(seed)
    own, whole = world.values[density], world.values[mixture_density]
    leaked = (1.0 - share) * own + share * whole
    moment = (1.0 - share) * own * world.values[denoiser] + share * whole * world.values[mixture_denoiser]
    values = {**world.values, leak: share, leaking: leaked, branch: moment / leaked, weight: 0.3 + share}
    return replace(world, values=values, prepare=_numbered(of))


def _numbered(of: int) -> Callable[[Expr], Expr]:
    return lambda expression: expression.xreplace({i: Integer(of)})


LEAKS = Worlds(_leaks, (0, 1, 0.2), (1, 3, 0.6))


def feedback() -> Proof:
    """The weight of a state undoes an additive leak."""
    shown = leaking[i] / (leaking[i] - leak * mixture_density)
    proof = Proof(mixture_denoiser + shown * (branch[i] - mixture_denoiser), LEAKS)
    kept = (1 - leak) * density[i]
    mixed = (kept * denoiser[i] + leak * mixture_density * mixture_denoiser) / leaking[i]
    proof.then(
        "the posterior mean of a mixture is the mean of its parts', in the shares of their densities",
        mixture_denoiser + shown * (mixed - mixture_denoiser),
    )
    proof.then(
        r"$\hat p_i$ is $\epsilon p$ and what it kept of $p_i$",
        mixture_denoiser + shown * kept / leaking[i] * (denoiser[i] - mixture_denoiser),
    )
    proof.then(
        "the denominator is what it kept; all factors cancel",
        mixture_denoiser + (denoiser[i] - mixture_denoiser),
    )
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    true = mixture_denoiser + weight * (denoiser[i] - mixture_denoiser)
    spread = mean(Norm2(apart))
    return (
        Identity(
            "eq-guided-truth",
            (mean(Norm2(denoiser[i] - true)), (weight - 1) ** 2 * mean(Norm2(denoiser[i] - mixture_denoiser))),
            "none",
            SAMPLES,
        ),
        Identity(
            "eq-ratio-under-guidance",
            (
                Dot(true - denoiser[i], mixture_density / density[i] * (mixture_denoiser - denoiser[i])),
                (1 - weight) * mixture_density / density[i] * Norm2(denoiser[i] - mixture_denoiser),
            ),
            "none",
            LEAKS,
        ),
        Identity(
            "eq-loss-splits",
            (mean(Norm2(clean - guided)), mean(Norm2(clean - denoiser[i])) + mean(Norm2(denoiser[i] - guided))),
            "none",
            SAMPLES,
        ),
        Identity(
            "eq-loss-of-a-weight",
            (mean(Norm2(clean - guided)), mean(Norm2(clean - mended)) + (weight - best) ** 2 * spread),
            "none",
            SAMPLES,
        ),
        Identity(
            "eq-best-weight",
            (best, mean(Dot(clean - null, apart)) / spread, mean(Dot(denoiser[i] - null, apart)) / spread),
            "none",
            SAMPLES,
        ),
        Identity(
            "eq-leaking-posterior",
            (prior[i] * leaking[i] / mixture_density, leak * prior[i] + (1 - leak) * posterior[i]),
            "none",
            LEAKS,
        ),
        Identity("eq-feedback-weight", (denoiser[i], feedback().first), "none", LEAKS),
    )
