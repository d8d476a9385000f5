"""The rate at which the sample itself is forgotten, dH(X_0 | X_t)/dt: five forms, derived from one another.

Every function returns a Proof, a chain whose steps are checked as they are written; every constant is one displayed
identity. All are checked on noised points, where entropies, scores and posteriors are computed separately.
"""

from sympy import Derivative

from derivations.kit.coordinates import Divergence, Gradient, Laplacian
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
    drift,
    i,
    j,
    mixture_denoiser,
    mixture_density,
    mixture_score,
    prior,
    sigma,
    snr,
    state,
    t,
)
from derivations.the_entropy_rate_five_ways.worlds import (
    CHANNELS,
    Along,
    Directions,
    Given,
    clean,
    dimension,
    exponent,
    first,
    hidden_given_class,
    hidden_in_snr,
    hidden_sample,
    log_posterior,
    noise,
    second,
    states,
    states_given_sample,
)

half_g2 = diffusion**2 / 2
rate = Derivative(hidden_sample, t)
error = E(Norm2(clean - mixture_denoiser))
size = E(Norm2(mixture_score))
bend = E(Divergence(mixture_score))
by_norm = half_g2 * (dimension / sigma**2 - size)
by_divergence = half_g2 * (dimension / sigma**2 + bend)
by_fisher = -half_g2 * E(Laplacian(log_posterior))
by_exponents = half_g2 * Directions(1 / sigma**2 + E(exponent[j]), j)
smallest = E(Norm2(noise + sigma * mixture_score))
by_error = half_g2 * alpha**2 / sigma**4 * error


def first_tweedie() -> Proof:
    """The score as a mean over the clean samples that a state leaves possible (ID 11)."""
    proof = Proof(mixture_score, CHANNELS)
    proof.then("The gradient of a logarithm", Gradient(mixture_density) / mixture_density)
    proof.then("$p$ is a mean of normal densities; differentiate each of them", Given(alpha * clean - state) / sigma**2)
    proof.then("The posterior mean of $x_0$ is $D$", (alpha * mixture_denoiser - state) / sigma**2)
    return proof


def second_tweedie() -> Proof:
    """The slope of the denoiser is the posterior covariance, here its trace."""
    proof = Proof(Divergence(mixture_denoiser), CHANNELS)
    proof.then(
        "Differentiate the posterior under the mean; its gradient is itself times that of its logarithm",
        Given(Dot(clean, Gradient(log_posterior))),
    )
    slope = alpha * (clean - mixture_denoiser) / sigma**2
    proof.then("Bayes' rule and Tweedie: the kernel's score less $s$", Given(Dot(clean, slope)))
    proof.then("$x_0 - D$ has the posterior mean zero", alpha / sigma**2 * Given(Norm2(clean - mixture_denoiser)))
    return proof


def by_parts() -> Proof:
    """The mean square of a score is minus the mean of its divergence."""
    proof = Proof(size, CHANNELS)
    proof.then("$p\\, s = \\nabla p$", E(Dot(mixture_score, Gradient(mixture_density)) / mixture_density))
    proof.then("By parts; nothing flows out at infinity", -bend)
    return proof


def five_ways() -> Proof:
    """From the entropy to the score norm, the divergence, the Fisher information, the exponents and the error."""
    proof = Proof(rate, CHANNELS)
    proof.then(
        "$H(X_0 \\mid X_t) = H(X_0) + H(X_t \\mid X_0) - H(X_t)$, whose first term stands still",
        Derivative(states_given_sample, t) - Derivative(states, t),
    )
    kernel = dimension * (drift + diffusion**2 / (2 * sigma**2))
    proof.then("The kernel has the entropy $d \\log \\sigma$, up to a constant", kernel - Derivative(states, t))
    proof.then("De Bruijn: how the entropy of the states grows", kernel - dimension * drift - half_g2 * size)
    proof.then("The drift cancels: **score norm**", by_norm)
    proof.then("By parts: **divergence**", by_divergence)
    proof.then(
        "$-d/\\sigma^2$ is the divergence of the kernel's score, and $\\log p(x_0 \\mid x)$ the kernel's logarithm "
        "less $\\log p$, up to a constant: **Fisher information**",
        by_fisher,
    )
    proof.then("The divergence is the sum of the Jacobian's eigenvalues: **exponents**", by_exponents)
    proof.then(
        "Second derivatives of a log-density are, in the mean, minus the products of first ones",
        half_g2 * E(Norm2(Gradient(log_posterior))),
    )
    proof.then("$\\nabla \\log p(x_0 \\mid x) = \\alpha (x_0 - D)/\\sigma^2$: **denoising error**", by_error)
    return proof


def class_part() -> Proof:
    """The production of class entropy as the difference of two such rates."""
    inside = Total(prior[i] * E(i, Norm2(clean - denoiser[i])), i)
    proof = Proof(Derivative(class_entropy(t), t), CHANNELS)
    proof.then(
        "$H(Z, X_0 \\mid X_t)$ in two ways; $H(Z \\mid X_0)$ stands still", rate - Derivative(hidden_given_class, t)
    )
    proof.then("The denoising error, of the whole and of every class", half_g2 * alpha**2 / sigma**4 * (error - inside))
    proof.then(
        "Pythagoras, in every state",
        half_g2 * alpha**2 / sigma**4 * Total(prior[i] * E(i, Norm2(denoiser[i] - mixture_denoiser)), i),
    )
    return proof


_trace = -Given(Laplacian(log_posterior))


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity(
            "eq-rate-five",
            (rate, by_norm, by_error, by_divergence, by_fisher, by_exponents),
            "ID 19, 33, 56, 62, 64",
            CHANNELS,
        ),
        Identity(
            "eq-rate-tweedie",
            (mixture_score, -Given(noise) / sigma, (alpha * mixture_denoiser - state) / sigma**2),
            "ID 11, 22",
            CHANNELS,
        ),
        Identity(
            "eq-rate-slope",
            (
                Along(second, Dot(first, mixture_denoiser)),
                alpha
                / sigma**2
                * (
                    Given(Dot(first, clean) * Dot(second, clean))
                    - Dot(first, mixture_denoiser) * Dot(second, mixture_denoiser)
                ),
            ),
            "ID 60",
            CHANNELS,
        ),
        by_parts().identity("eq-rate-parts", "ID 56"),
        Identity(
            "eq-rate-states",
            (Derivative(states, t), half_g2 * size + dimension * drift, -half_g2 * bend + dimension * drift),
            "ID 57",
            CHANNELS,
        ),
        Identity(
            "eq-rate-kernel",
            (Derivative(states_given_sample, t), half_g2 * dimension / sigma**2 + dimension * drift),
            "ID 53, 54",
            CHANNELS,
        ),
        Identity(
            "eq-rate-fisher",
            (
                _trace,
                Given(Norm2(Gradient(log_posterior))),
                dimension / sigma**2 + Divergence(mixture_score),
                alpha**2 / sigma**4 * Given(Norm2(clean - mixture_denoiser)),
            ),
            "ID 59, 60",
            CHANNELS,
        ),
        Identity(
            "eq-rate-spectrum",
            (rate, diffusion**2 / (2 * sigma**2) * (dimension + sigma**2 * Directions(E(exponent[j]), j))),
            "ID 63",
            CHANNELS,
        ),
        Identity(
            "eq-rate-per-level",
            (-snr * Derivative(hidden_in_snr, snr), smallest / 2, Directions(1 + sigma**2 * E(exponent[j]), j) / 2),
            "ID 15, 64",
            CHANNELS,
        ),
        Identity("eq-rate-snr", (-Derivative(hidden_in_snr, snr), error / 2), "ID 33 in snr", CHANNELS),
        Identity(
            "eq-rate-class",
            (Derivative(class_entropy(t), t), rate - Derivative(hidden_given_class, t), class_part().last),
            "ES 33",
            CHANNELS,
        ),
    )
