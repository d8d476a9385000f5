"""The production of class entropy, derived: what one density does, the local theorem and its current, the global one.

Every function returns a Proof, a chain whose steps are checked as they are written; every constant is one displayed
identity. The local ones hold for an abstract drift, diffusion and densities; those about means over the states are
checked on noised mixtures, where dH/dt is a difference of entropies. Other forms are in `production_forms`.
"""

from collections.abc import Sequence

from sympy import Derivative, log

from derivations.kit.coordinates import (
    Divergence,
    Gradient,
    Laplacian,
    Motion,
    any_density,
    entropy_current,
    entropy_density,
    its_entropy,
    velocity,
)
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    E,
    Norm2,
    Total,
    class_entropy,
    density,
    diffusion,
    i,
    mixture_density,
    mixture_score,
    posterior,
    prior,
    score,
    t,
)
from derivations.kit.worlds import World
from derivations.the_entropy_production_identity.worlds import LOCAL, MIXTURES, entropy_in_class, entropy_of_states

half_g2 = diffusion**2 / 2
rate = Derivative(class_entropy(t), t)
prior_entropy = -Total(prior[i] * log(prior[i]), i)
joint = prior[i] * density[i]
gap = Total(prior[i] * E(i, Norm2(score[i] - mixture_score)), i)
fisher = Total(prior[i] * E(i, Norm2(score[i])), i) - E(Norm2(mixture_score))


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


def local_production(worlds: Sequence[World] = LOCAL) -> Proof:
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
        "$\\nabla \\log p(i \\mid x) = s_i - s$", proof.last.xreplace({Gradient(logs): score[i] - mixture_score})
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


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
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
            (Derivative(entropy_of_states, t), E(Divergence(velocity)) + half_g2 * E(Norm2(mixture_score))),
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
    )
