"""What a network stores: its rate on any clock, its total, its parts, and the control whose price it is.

S is the entropy that a network which matches entropy stores (SI 3, 11); D the mean of the clean data, in the
variance-exploding frame; M = E|x_0|^2.
"""

from sympy import Derivative, log

from derivations.kit.coordinates import Divergence, Gradient, Laplacian, Motion, any_density, push, reference, velocity
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Total,
    alpha,
    denoiser,
    density,
    diffusion,
    drift,
    i,
    mixture_denoiser,
    mixture_density,
    mixture_score,
    posterior,
    prior,
    score,
    sigma,
    state,
    t,
)
from derivations.what_a_network_stores.worlds import (
    CHANNEL,
    CLOCK,
    FIELDS,
    LOCAL,
    MATRICES,
    MOVING,
    NUMBERS,
    PLANE,
    PRESERVED,
    ambient,
    control,
    decoder,
    determinant,
    divergence,
    error,
    gain,
    guess,
    here,
    information,
    kernel_score,
    matching,
    moving,
    network,
    other,
    pull,
    remembered,
    sample_rate,
    second_moment,
    signal,
    single,
    slip,
    spread,
    there,
    total_correlation,
    variance,
    vector,
    width,
)

_half = diffusion**2 / 2
_snr = alpha**2 / sigma**2


def rate_of_the_sample() -> Proof:
    """The rate per unit of log-snr in a variance-preserving process, by what the state tells of the sample."""
    proof = Proof(_snr / 2 * E(Norm2(mixture_denoiser - alpha * state)), PRESERVED)
    proof.then(
        r"Tweedie, $\alpha D = x + \sigma^2 s$, and $1 - \alpha^2 = \sigma^2$",
        sigma**2 / 2 * E(Norm2(state + mixture_score)),
    )
    proof.then(
        "multiply out",
        sigma**2 / 2 * (E(Norm2(state)) + E(Norm2(mixture_score)) + 2 * E(Dot(state, mixture_score))),
    )
    proof.then(
        r"integrate by parts, $\mathbb{E}\, x \cdot s = -d$",
        sigma**2 / 2 * (E(Norm2(state)) + E(Norm2(mixture_score)) - 2 * ambient),
    )
    proof.then(
        r"$\mathbb{E}|x|^2 = \alpha^2 M + \sigma^2 d$, and $R = \frac12 (d - \sigma^2\, \mathbb{E}|s|^2)$",
        sigma**2 / 2 * (alpha**2 * second_moment + sigma**2 * ambient - 2 * ambient) + ambient / 2 - sample_rate,
    )
    proof.then(
        r"$\alpha^2 + \sigma^2 = 1$ once more",
        alpha**2 * ambient / 2 + alpha**2 * sigma**2 / 2 * (second_moment - ambient) - sample_rate,
    )
    return proof


def completed_square() -> Proof:
    """SI 27 to 30: the integrand of the bound, for the control of a network that matches entropy."""
    proof = Proof(Norm2(push - control) / (2 * diffusion**2) + Dot(control, kernel_score), CLOCK)
    proof.then(
        "complete the square",
        Norm2(push - diffusion**2 * kernel_score - control) / (2 * diffusion**2)
        + Dot(push, kernel_score)
        - _half * Norm2(kernel_score),
    )
    proof.then(
        r"the control of SI 4, $u = -b - g^2 e$",
        _half * Norm2(2 * push / diffusion**2 - kernel_score + network)
        + Dot(push, kernel_score)
        - _half * Norm2(kernel_score),
    )
    return proof


def surprise_of_a_controlled_process() -> Proof:
    """What -log u gains along noising paths of the drift b, u being the density of a process with the drift f."""
    gained = (
        Derivative(log(any_density), t) - Dot(push, Gradient(log(any_density))) - _half * Laplacian(log(any_density))
    )
    slope, apart = Gradient(log(any_density)), push + velocity
    proof = Proof(gained, LOCAL)
    proof.then(
        "the Fokker-Planck equation of u",
        _half * Norm2(slope) - Dot(apart, slope) - Divergence(velocity),
    )
    proof.then(
        "complete the square",
        _half * Norm2(slope - apart / diffusion**2) - Norm2(apart) / (2 * diffusion**2) - Divergence(velocity),
    )
    return proof


def bottleneck() -> Proof:
    """SI 24 to 25: what a decoder r is charged for the label of z, i the label."""
    proof = Proof(-Total(prior[i] * E(i, log(decoder[i])), i), FIELDS)
    proof.then(
        "insert the posterior",
        Total(prior[i] * E(i, log(posterior[i] / decoder[i])), i) - Total(prior[i] * E(i, log(posterior[i])), i),
    )
    proof.then(
        "the first sum is a divergence at each $z$",
        E(Total(posterior[i] * log(posterior[i] / decoder[i]), i)) - Total(prior[i] * E(i, log(posterior[i])), i),
    )
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    seen = (1 + spread * signal) / (1 + signal)
    kept = spread * signal / (1 + spread * signal) - signal / (1 + signal)
    heard = gain**2 * width**2 + error**2
    return (
        Identity(
            "eq-store-clock",
            (
                _half * Norm2(alpha * (mixture_denoiser - state) / sigma**2 - 2 * drift * alpha * state / diffusion**2),
                diffusion**2
                / sigma**2
                * _snr
                / 2
                * Norm2(mixture_denoiser - Derivative(sigma**2, t) / diffusion**2 * state),
            ),
            "SI 3, 4, 11",
            CLOCK,
        ),
        Identity(
            "eq-store-local",
            (
                Motion(mixture_density * log(mixture_density / reference)),
                -_half * mixture_density * Norm2(mixture_score - Gradient(log(reference)))
                - mixture_density / reference * Motion(reference),
            ),
            "SI 3",
            LOCAL,
        ),
        Identity(
            "eq-store-balance",
            (Derivative(divergence, t), -_half * E(Norm2(mixture_score - pull)) - E(moving)),
            "SI 3",
            MOVING,
        ),
        rate_of_the_sample().identity("eq-store-rate", "SI 3, 11"),
        Identity(
            "eq-store-total",
            (
                divergence,
                ambient / 2 * log(1 + _snr) + alpha**2 / 2 * (second_moment - ambient) - information,
            ),
            "SI 3, 6",
            PRESERVED,
        ),
        Identity(
            "eq-store-line",
            (
                signal * Derivative(seen, signal) * (1 - 1 / seen) / 2,
                signal / 2 * kept**2 * (spread + 1 / signal),
                (
                    signal / (1 + signal)
                    + signal / (1 + signal) ** 2 * (spread - 1)
                    - spread * signal / (1 + spread * signal)
                )
                / 2,
            ),
            "SI 50",
            NUMBERS,
        ),
        Identity(
            "eq-store-wrong",
            (E(Norm2(matching + slip)), E(Norm2(matching)) + E(Norm2(slip)) + 2 * E(Dot(matching, slip))),
            "SI 11",
            FIELDS,
        ),
        Identity(
            "eq-store-regression",
            (
                Total(prior[i] * E(i, Norm2(guess - denoiser[i])), i),
                E(Norm2(guess - mixture_denoiser)) + Total(prior[i] * E(i, Norm2(denoiser[i] - mixture_denoiser)), i),
            ),
            "SI 5, 30, 33 to 35",
            FIELDS,
        ),
        Identity(
            "eq-store-condition",
            (
                Total(prior[i] * E(i, log(density[i] / other)), i),
                E(log(mixture_density / other)) + Total(prior[i] * E(i, log(density[i] / mixture_density)), i),
            ),
            "SI 9, 10",
            FIELDS,
        ),
        Identity(
            "eq-store-condition-rate",
            (
                Total(prior[i] * E(i, Norm2(score[i] - vector)), i),
                E(Norm2(mixture_score - vector)) + Total(prior[i] * E(i, Norm2(score[i] - mixture_score)), i),
            ),
            "SI 8 to 10, 12",
            FIELDS,
        ),
        Identity(
            "eq-store-correlation",
            (divergence, single[1] + single[2] + total_correlation),
            "SI 7",
            PLANE,
        ),
        Identity(
            "eq-store-correlation-information",
            (total_correlation, Total(remembered[i], i) - information),
            "none",
            PLANE,
        ),
        Identity(
            "eq-store-correlation-gaussian",
            (total_correlation, Total(log(variance[i]), i) / 2 - log(determinant) / 2),
            "SI 7",
            MATRICES,
        ),
        Identity(
            "eq-store-gaussian",
            (divergence, (Total(variance[i], i) - log(determinant) - ambient) / 2),
            "SI 50",
            MATRICES,
        ),
        completed_square().identity("eq-store-square", "SI 27, 28, 30"),
        surprise_of_a_controlled_process().identity("eq-store-surprise", "SI 26, 27"),
        Identity(
            "eq-store-kernel",
            (ambient / sigma * Derivative(sigma, t), drift * ambient + _half * ambient / sigma**2),
            "SI 28, 29",
            CLOCK,
        ),
        bottleneck().identity("eq-store-decoder", "SI 24, 25"),
        Identity(
            "eq-store-channel",
            (log(heard / error**2) / 2, log(width**2 / spread) / 2),
            "SI 20, 22",
            CHANNEL,
        ),
        Identity(
            "eq-store-bayes",
            (
                (there - gain * here) ** 2 / error**2 + here**2 / width**2 - there**2 / heard,
                (here - gain * width**2 / heard * there) ** 2 / spread,
            ),
            "SI 20",
            CHANNEL,
        ),
    )
