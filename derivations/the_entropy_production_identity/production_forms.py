"""The production of class entropy in other words: by posteriors, pairs, log-odds, sides, snr, and by wrong scores.

Every function returns a Proof that starts where `production` ends; every constant is one displayed identity.
"""

from sympy import Derivative, exp, log, sqrt

from derivations.kit.coordinates import Gradient
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Others,
    Total,
    alpha,
    class_entropy,
    denoiser,
    diffusion,
    i,
    j,
    k,
    log_odds,
    mixture_denoiser,
    mixture_score,
    posterior,
    prior,
    score,
    sigma,
    snr,
    t,
)
from derivations.the_entropy_production_identity.production import gap, half_g2, rate
from derivations.the_entropy_production_identity.worlds import (
    FIELDS,
    LOCAL,
    MIXTURES,
    SIDES,
    SLIPS,
    A,
    B,
    mixture_slip,
    naming,
)

rate_in_snr = Derivative(class_entropy(snr), snr)
pairwise_gap = Others(posterior[j] * (score[i] - score[j]), j, i)
softmax = exp(-log_odds[i, j]) / (1 + Others(exp(-log_odds[i, k]), k, i))


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
    proof = Proof(Total(prior[i] * E(i, Norm2(apart - mixture_slip)), i), SLIPS)
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


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity("eq-production-score", (mixture_score, Total(posterior[j] * score[j], j)), "ES 34", LOCAL),
        Identity(
            "eq-production-gap", (Gradient(log(posterior[i])), score[i] - mixture_score, pairwise_gap), "ES 36", LOCAL
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
            "eq-production-softmax", (posterior[j], softmax), "ES 40, 41", [naming(world, i=1, j=2) for world in FIELDS]
        ),
        Identity("eq-production-odds-slope", (Gradient(log_odds[i, j]), score[i] - score[j]), "none", LOCAL),
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
            (Total(prior[i] * E(i, Norm2(score[i] - mixture_score - mixture_slip)), i), gap + E(Norm2(mixture_slip))),
            "none",
            SLIPS,
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
