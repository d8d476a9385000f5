"""The production of class entropy, derived: in a point, over all states, by pairs, by log-odds, by sides, by snr.

Every function returns a Proof, a chain whose steps are checked as they are written; every constant is one displayed
identity. The local ones hold for an abstract drift, diffusion and densities; those about means over the states are
checked on noised mixtures, where dH/dt is a difference of entropies.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sympy import Derivative, Function, Integer, Symbol, exp, log, sqrt, symbols

from companion.forward import Process, ornstein_uhlenbeck, variance_exploding
from companion.theory.mixtures import GaussianMixture, isotropic_mixture
from companion.theory.symbolic.coordinates import (
    Divergence,
    Gradient,
    Laplacian,
    Motion,
    any_density,
    entropy_current,
    entropy_density,
    in_coordinates,
    its_entropy,
    velocity,
)
from companion.theory.symbolic.identity import Identity, Proof
from companion.theory.symbolic.language import (
    Dot,
    E,
    Norm2,
    Others,
    Total,
    alpha,
    class_entropy,
    denoiser,
    density,
    diffusion,
    i,
    j,
    k,
    log_odds,
    mixture_denoiser,
    mixture_density,
    mixture_score,
    posterior,
    prior,
    score,
    sigma,
    snr,
    state,
    t,
)
from companion.theory.symbolic.world import World, on_mixture, random_fields

__all__ = [
    "IDENTITIES",
    "approximate_gap",
    "binary_production",
    "density_entropy",
    "entropy_gradient",
    "global_production",
    "local_production",
    "log_odds_production",
    "pair_sum",
    "pairwise_production",
    "score_gap",
    "snr_production",
]

Array = NDArray[np.float64]

half_g2 = diffusion**2 / 2
rate = Derivative(class_entropy(t), t)
rate_in_snr = Derivative(class_entropy(snr), snr)
entropy_of_states, entropy_in_class = Function("H_X")(t), Function("H_{X|Z}")(t)  # differential entropies
prior_entropy = -Total(prior[i] * log(prior[i]), i)
A, B = symbols("A B", integer=True, positive=True)  # the two sides of a partition
mixture_slip = Symbol("e")  # what an approximate score of the mixture is wrong by, a vector field

joint = prior[i] * density[i]
gap = Total(prior[i] * E(i, Norm2(score[i] - mixture_score)), i)
pairwise_gap = Others(posterior[j] * (score[i] - score[j]), j, i)
softmax = exp(-log_odds[i, j]) / (1 + Others(exp(-log_odds[i, k]), k, i))
fisher = Total(prior[i] * E(i, Norm2(score[i])), i) - E(Norm2(mixture_score))


def _noised(mixture: GaussianMixture, process: Process, time: float) -> World:
    """A noised mixture on a grid, with the differential entropies of its states and the divergence of its drift."""
    world = on_mixture(mixture, process, time)
    x, weights = torch.from_numpy(world.values[state]), torch.from_numpy(world.weights)
    clean = torch.zeros(len(x), dtype=torch.float64)

    def entropies(at: float) -> Array:
        seen = mixture.diffused(process, at)
        logs = [seen.log_density(x, clean, c) for c in (None, *range(len(mixture.classes)))]
        all_states, *by_class = [-float(weights @ (each.exp() * each)) for each in logs]
        return np.array([all_states, np.dot(mixture.weights, by_class)])

    step = 0.01 * time
    ends = [entropies(time + m * step) - entropies(time - m * step) for m in (1, 2, 3)]
    rates = (45.0 * ends[0] - 9.0 * ends[1] + ends[2]) / (60.0 * step)  # central differences of sixth order, as dH/dt
    values = {
        entropy_of_states: entropies(time)[0],
        entropy_in_class: entropies(time)[1],
        Derivative(entropy_of_states, t): rates[0],
        Derivative(entropy_in_class, t): rates[1],
        Divergence(velocity): np.full((len(x), 1), mixture.shape[0] * float(process.drift(np.asarray(time)))),
    }
    return replace(world, values={**world.values, **values})


def _naming(world: World, **classes: int) -> World:
    """The same world with classes for the indices that no sum binds."""
    names = {symbol: Integer(classes[str(symbol)]) for symbol in (i, j, k, A, B) if str(symbol) in classes}
    return replace(world, prepare=lambda expression: expression.xreplace(names))


LOCAL = (in_coordinates(1, classes=2), in_coordinates(1, classes=3), in_coordinates(2, classes=2))
FIELDS = (random_fields(0), random_fields(1, classes=4, dimension=3))
_SLIPS = tuple(
    replace(
        world,
        values={
            **world.values,
            mixture_slip: np.random.default_rng(2).standard_normal(world.values[mixture_score].shape),
        },
    )
    for world in FIELDS
)
_LINE = isotropic_mixture([[-1.0], [0.2], [1.3]], [0.3, 0.5, 0.4], [0.2, 0.5, 0.3])
_PLANE = isotropic_mixture([[-1.0, 0.0], [0.4, 0.9], [0.6, -0.8]], [0.5, 0.7, 0.6], [0.3, 0.3, 0.4])
MIXTURES = (_noised(_LINE, ornstein_uhlenbeck(), 0.4), _noised(_PLANE, variance_exploding(), 0.6))
SIDES = tuple(
    _naming(on_mixture(mixture.regroup([[0, 2], [1]]), process, 0.4), A=1, B=2)
    for mixture, process in ((_LINE, ornstein_uhlenbeck()), (_PLANE, variance_exploding()))
)


def density_entropy() -> Proof:
    """d eta/dt for eta = -u log u and any density u of the process."""
    proof = Proof(Derivative(its_entropy, t), LOCAL)
    slope = 1 + log(any_density)
    proof.then("The chain rule, as $\\eta = - u \\log u$", -slope * Derivative(any_density, t))
    forward = half_g2 * Laplacian(any_density) - Divergence(velocity * any_density)
    proof.then("The Fokker-Planck equation of $u$", proof.last.xreplace({Derivative(any_density, t): forward}))
    carried = any_density * Divergence(velocity) - Divergence(velocity * its_entropy)
    proof.then(
        "The product rule for the drift: $\\nabla \\cdot (f \\eta)$ misses $u \\, \\nabla \\cdot f$",
        carried - half_g2 * slope * Laplacian(any_density),
    )
    spread = half_g2 * Laplacian(its_entropy) + half_g2 * Norm2(Gradient(any_density)) / any_density
    proof.then("The chain rule for the diffusion: the second derivative of $- u \\log u$ stays", carried + spread)
    return proof


def local_production(worlds: tuple[World, ...] = LOCAL) -> Proof:
    """dh/dt for the density h = p H(Z | X = x) of class entropy."""
    proof = Proof(Derivative(entropy_density, t), worlds)
    moved = half_g2 * Laplacian(entropy_density) - Divergence(velocity * entropy_density)
    proof.then(
        "The Fokker-Planck operator $\\mathcal{L} = \\partial/\\partial t + \\nabla \\cdot f - (g^2/2)\\, \\Delta$",
        moved + Motion(entropy_density),
    )
    parts = Total(Motion(-joint * log(joint)), i) - Motion(-mixture_density * log(mixture_density))
    proof.then(
        "$h$ is the sum of the $\\eta$ of $\\pi_i p_i$, less that of $p$; $\\mathcal{L}$ is linear", moved + parts
    )
    of_classes = Total(joint * Divergence(velocity) + half_g2 * joint * Norm2(score[i]), i)
    of_all = mixture_density * Divergence(velocity) + half_g2 * mixture_density * Norm2(mixture_score)
    proof.then("The lemma, for each of them", moved + of_classes - of_all)
    squares = half_g2 * Total(joint * Norm2(score[i]), i) - half_g2 * mixture_density * Norm2(mixture_score)
    proof.then("The divergence of the drift cancels, as the $\\pi_i p_i$ add up to $p$", moved + squares)
    source = half_g2 * Total(joint * Norm2(score[i] - mixture_score), i)
    proof.then("Pythagoras: $s$ is the mean of the $s_i$ with weights $\\pi_i p_i/p$", moved + source)
    return proof


def entropy_gradient() -> Proof:
    """grad h, which is the part of the current that diffusion makes."""
    proof = Proof(Gradient(entropy_density), LOCAL)
    logs = log(posterior[i])
    proof.then("The definition of $h$", Gradient(-Total(joint * logs, i)))
    proof.then(
        "The product rule, with $\\nabla p_i = p_i s_i$",
        -Total(joint * logs * score[i], i) - Total(joint * Gradient(logs), i),
    )
    proof.then(
        "$\\nabla \\log p(i \\mid x) = s_i - s$",
        proof.last.xreplace({Gradient(logs): score[i] - mixture_score}),
    )
    proof.then("The $s_i - s$ have the mean zero", -Total(joint * logs * score[i], i))
    return proof


def global_production() -> Proof:
    """dH/dt by the route of ES 27 to 33."""
    proof = Proof(rate, MIXTURES)
    proof.then(
        "ES 27, whose first term stands still", Derivative(entropy_in_class, t) - Derivative(entropy_of_states, t)
    )
    growth = {
        Derivative(entropy_in_class, t): Total(
            prior[i] * (E(i, Divergence(velocity)) + half_g2 * E(i, Norm2(score[i]))), i
        ),
        Derivative(entropy_of_states, t): E(Divergence(velocity)) + half_g2 * E(Norm2(mixture_score)),
    }
    proof.then("The growth of either entropy, ES 31 and 32", proof.last.xreplace(growth))
    proof.then("The divergence of the drift cancels", half_g2 * fisher)
    proof.then("Pythagoras, in every state", half_g2 * gap)
    return proof


def score_gap() -> Proof:
    """s_i - s by the classes other than i."""
    proof = Proof(score[i] - mixture_score, LOCAL)
    proof.then("ES 34", score[i] - Total(posterior[j] * score[j], j))
    proof.then("The posteriors add up to one", Total(posterior[j] * (score[i] - score[j]), j))
    proof.then("The term $j = i$ is zero", pairwise_gap)
    return proof


def pairwise_production() -> Proof:
    """dH/dt by score differences of pairs inside the square, ES 35."""
    proof = Proof(rate, MIXTURES)
    proof.then("The global identity", half_g2 * gap)
    proof.then("The gap by pairs", proof.last.xreplace({score[i] - mixture_score: pairwise_gap}))
    return proof


def pair_sum() -> Proof:
    """The mean square of s_i - s in one state, as a sum over pairs of classes."""
    proof = Proof(Total(posterior[i] * Norm2(score[i] - mixture_score), i), FIELDS)
    proof.then("Pythagoras", Total(posterior[i] * Norm2(score[i]), i) - Norm2(mixture_score))
    products = Total(Total(posterior[i] * posterior[j] * Dot(score[i], score[j]), j), i)
    proof.then("The square of a mean is a double sum", Total(posterior[i] * Norm2(score[i]), i) - products)
    squares = Total(Total(posterior[i] * posterior[j] * (Norm2(score[i]) + Norm2(score[j])), j), i) / 2
    proof.then("So is the first term, since posteriors add up to one", squares - products)
    distances = Total(Others(posterior[i] * posterior[j] * Norm2(score[i] - score[j]), j, i), i) / 2
    proof.then("$|a|^2 + |b|^2 - 2 a \\cdot b = |a - b|^2$, and pairs $i = j$ have none", distances)
    return proof


def log_odds_production() -> Proof:
    """dH/dt by log-odds, ES 42."""
    proof = Proof(rate, MIXTURES)
    proof.then("The pairwise form", half_g2 * Total(prior[i] * E(i, Norm2(pairwise_gap)), i))
    proof.then("The posterior by log-odds, ES 41", proof.last.xreplace({posterior[j]: softmax}))
    return proof


def binary_production() -> Proof:
    """dH/dt of two sides A and B, ES 37 and 38."""
    proof = Proof(rate, SIDES)
    sides = [prior[side] * E(side, Norm2(score[side] - mixture_score)) for side in (A, B)]
    proof.then("The global identity for two classes", half_g2 * (sides[0] + sides[1]))
    for side, other in ((A, B), (B, A)):
        proof.then(
            f"$s_{side} - s = p({other} \\mid x)\\, (s_{side} - s_{other})$",
            proof.last.xreplace({score[side] - mixture_score: posterior[other] * (score[side] - score[other])}),
        )
    weighted = [posterior[side] * posterior[other] ** 2 for side, other in ((A, B), (B, A))]
    between = Norm2(score[A] - score[B])
    proof.then(
        "Means over the mixture, as $\\pi_A p_A = p\\, p(A \\mid x)$",
        half_g2 * E((weighted[0] + weighted[1]) * between),
    )
    proof.then("The two posteriors add up to one", half_g2 * E(posterior[A] * posterior[B] * between))
    return proof


def approximate_gap() -> Proof:
    """The mean squared gap between the scores of the classes and a mixture's score that is wrong by e."""
    apart = score[i] - mixture_score
    proof = Proof(Total(prior[i] * E(i, Norm2(apart - mixture_slip)), i), _SLIPS)
    proof.then("Multiply out", gap + E(Norm2(mixture_slip)) - 2 * Total(prior[i] * E(i, Dot(apart, mixture_slip)), i))
    proof.then("In every state the $s_i - s$ have the mean zero, and $e$ is one vector", gap + E(Norm2(mixture_slip)))
    return proof


def snr_production() -> Proof:
    """-dH/dsnr by denoisers."""
    proof = Proof(-rate_in_snr, MIXTURES)
    proof.then("The chain rule", -rate / Derivative(snr, t))
    proof.then("The global identity", proof.last.xreplace({rate: half_g2 * gap}))
    proof.then(
        "$g^2 = - \\sigma^2\\, \\mathrm{d}\\log\\operatorname{snr}/\\mathrm{d}t$",
        proof.last.xreplace({diffusion: sqrt(-(sigma**2) * Derivative(snr, t) / snr)}),
    )
    tweedie = {Norm2(score[i] - mixture_score): alpha**2 / sigma**4 * Norm2(denoiser[i] - mixture_denoiser)}
    proof.then("Tweedie's formula, $s_i - s = \\alpha\\, (D_i - D)/\\sigma^2$", proof.last.xreplace(tweedie))
    proof.then(
        "$\\operatorname{snr} = \\alpha^2/\\sigma^2$",
        Total(prior[i] * E(i, Norm2(denoiser[i] - mixture_denoiser)), i) / 2,
    )
    return proof


IDENTITIES = (
    Identity(
        "eq-production-lemma",
        (
            Derivative(its_entropy, t),
            half_g2 * Laplacian(its_entropy)
            - Divergence(velocity * its_entropy)
            + any_density * Divergence(velocity)
            + half_g2 * Norm2(Gradient(any_density)) / any_density,
        ),
        "none",
        LOCAL,
    ),
    Identity(
        "eq-production-local",
        (
            Derivative(entropy_density, t),
            half_g2 * Laplacian(entropy_density)
            - Divergence(velocity * entropy_density)
            + half_g2 * Total(joint * Norm2(score[i] - mixture_score), i),
        ),
        "none",
        LOCAL,
    ),
    Identity(
        "eq-production-current",
        (
            entropy_current,
            velocity * entropy_density - half_g2 * Gradient(entropy_density),
            velocity * entropy_density + half_g2 * Total(joint * log(posterior[i]) * score[i], i),
        ),
        "none",
        LOCAL,
    ),
    Identity(
        "eq-production-chain",
        (class_entropy(t), prior_entropy + entropy_in_class - entropy_of_states),
        "ES 27",
        MIXTURES,
    ),
    Identity(
        "eq-production-states",
        (
            Derivative(entropy_of_states, t),
            E(Divergence(velocity)) + half_g2 * E(Norm2(mixture_score)),
        ),
        "ES 32",
        MIXTURES,
    ),
    Identity(
        "eq-production-states-in-class",
        (
            Derivative(entropy_in_class, t),
            Total(prior[i] * (E(i, Divergence(velocity)) + half_g2 * E(i, Norm2(score[i]))), i),
        ),
        "ES 29-31",
        MIXTURES,
    ),
    Identity("eq-production-global", (rate, half_g2 * fisher, half_g2 * gap), "ES 33", MIXTURES),
    Identity("eq-production-score", (mixture_score, Total(posterior[j] * score[j], j)), "ES 34", LOCAL),
    Identity(
        "eq-production-gap",
        (Gradient(log(posterior[i])), score[i] - mixture_score, pairwise_gap),
        "ES 36",
        LOCAL,
    ),
    Identity(
        "eq-production-pairwise",
        (rate, half_g2 * Total(prior[i] * E(i, Norm2(pairwise_gap)), i)),
        "ES 8, 9, 35",
        MIXTURES,
    ),
    Identity(
        "eq-production-pairs",
        (
            Total(posterior[i] * Norm2(score[i] - mixture_score), i),
            Total(Others(posterior[i] * posterior[j] * Norm2(score[i] - score[j]), j, i), i) / 2,
        ),
        "none",
        FIELDS,
    ),
    Identity(
        "eq-production-pair-sum",
        (
            rate,
            diffusion**2 / 4 * Total(Others(E(posterior[i] * posterior[j] * Norm2(score[i] - score[j])), j, i), i),
        ),
        "none",
        MIXTURES,
    ),
    Identity(
        "eq-production-softmax", (posterior[j], softmax), "ES 40, 41", tuple(_naming(w, i=1, j=2) for w in FIELDS)
    ),
    Identity("eq-production-odds-slope", (Gradient(log_odds[i, j]), score[i] - score[j]), "ES 40", LOCAL),
    Identity(
        "eq-production-log-odds",
        (rate, half_g2 * Total(prior[i] * E(i, Norm2(Others(softmax * (score[i] - score[j]), j, i))), i)),
        "ES 39, 42",
        MIXTURES,
    ),
    Identity(
        "eq-production-binary",
        (
            rate,
            half_g2
            * (prior[A] * E(A, Norm2(score[A] - mixture_score)) + prior[B] * E(B, Norm2(score[B] - mixture_score))),
            half_g2 * E(posterior[A] * posterior[B] * Norm2(score[A] - score[B])),
        ),
        "ES 37, 38",
        SIDES,
    ),
    Identity(
        "eq-production-error",
        (
            Total(prior[i] * E(i, Norm2(score[i] - mixture_score - mixture_slip)), i),
            gap + E(Norm2(mixture_slip)),
        ),
        "none",
        _SLIPS,
    ),
    Identity(
        "eq-production-snr",
        (
            -rate_in_snr,
            Total(prior[i] * E(i, Norm2(denoiser[i])), i) / 2 - E(Norm2(mixture_denoiser)) / 2,
            Total(prior[i] * E(i, Norm2(denoiser[i] - mixture_denoiser)), i) / 2,
        ),
        "ES 33 in snr",
        MIXTURES,
    ),
)
