"""Gaussian classes of one isotropic width: the log-odds law, the control parameter as a clock, and the binary curve."""

from sympy import Derivative, Expr, Subs, cosh, exp, log, sqrt, tanh

from derivations.kit.gaussian_worlds import (
    LAW,
    LINE,
    MIDPOINT,
    PLANE,
    certainty,
    control,
    distance,
    evidence,
    guess,
    kappa_in,
    law,
    log_snr,
    mean_guess,
    moving,
    noise,
    place,
    posterior_entropy,
    total_variance,
    variance_of_entropy,
)
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Total,
    alpha,
    class_entropy,
    density,
    diffusion,
    i,
    j,
    k,
    kappa,
    log_odds,
    mean,
    mixture_score,
    posterior,
    prior,
    score,
    sigma,
    state,
    t,
    width,
)


def linear_log_odds() -> Proof:
    """ES 13, 48: between classes of one width the log-odds is linear in the state.

    >>> print(linear_log_odds().last)
    log(pi[i]/pi[j]) - (Norm2(mu[i]) - Norm2(mu[j]))*alpha(t)**2/(2*v) + alpha(t)*Dot(mu[i] - mu[j], x)/v
    """
    prior_odds, v = log(prior[i] / prior[j]), total_variance
    proof = Proof(log_odds[i, j], PLANE)
    proof.then(
        "Bayes' rule, in which the density of the mixture cancels",
        log(prior[i] * density[i]) - log(prior[j] * density[j]),
    )
    proof.then(
        "the densities are normal with one variance, so their normalisations cancel",
        prior_odds + Norm2(state - alpha * mean[j]) / (2 * v) - Norm2(state - alpha * mean[i]) / (2 * v),
    )
    difference = alpha**2 / (2 * v) * (Norm2(mean[i]) - Norm2(mean[j]))
    proof.then("the square of the state cancels", prior_odds + alpha / v * Dot(mean[i] - mean[j], state) - difference)
    return proof


def covariance_of_log_odds() -> Proof:
    """ES 16, 17, 50, for two rivals jointly: the covariance of their log-odds on the states of class i.

    >>> print(covariance_of_log_odds().last)
    kappa[i, j]/2 + kappa[i, k]/2 - kappa[j, k]/2
    """
    first, second = log_odds[i, j], log_odds[i, k]
    size = alpha**2 / total_variance
    proof = Proof(E(i, first * second) - E(i, first) * E(i, second), PLANE)
    proof.then(
        "on class i the state is its centre plus noise, and of the log-odds only the noise varies",
        E(i, size * Dot(mean[i] - mean[j], noise) * Dot(mean[i] - mean[k], noise)),
    )
    proof.then("the covariance of the noise is the unit matrix", size * Dot(mean[i] - mean[j], mean[i] - mean[k]))
    gaps = Norm2(mean[i] - mean[j]) + Norm2(mean[i] - mean[k]) - Norm2(mean[j] - mean[k])
    proof.then("the law of cosines", size / 2 * gaps)
    proof.then("the definition of kappa", (kappa[i, j] + kappa[i, k] - kappa[j, k]) / 2)
    return proof


def production_in_kappa() -> Proof:
    """ES 52: the production of any number of Gaussian classes, in the control parameters of their pairs.

    >>> print(production_in_kappa().last)
    g(t)**2*Total(Total(E(posterior[i]*posterior[j])*kappa[i, j], j), i)/(4*v)
    """
    proof = Proof(Derivative(class_entropy(t), t), PLANE)
    proof.then("the production identity", diffusion**2 / 2 * Total(prior[i] * E(i, Norm2(score[i] - mixture_score)), i))
    proof.then(
        "a state of the mixture is of class i with the posterior's probability",
        diffusion**2 / 2 * E(Total(posterior[i] * Norm2(score[i] - mixture_score), i)),
    )
    proof.then(
        "a variance is half of the mean squared difference of two draws",
        diffusion**2 / 4 * E(Total(Total(posterior[i] * posterior[j] * Norm2(score[i] - score[j]), j), i)),
    )
    proof.then(
        "the score gap, which is the same at every state",
        diffusion**2 / (4 * total_variance) * Total(Total(kappa[i, j] * E(posterior[i] * posterior[j]), j), i),
    )
    return proof


def entropy_in_kappa() -> Proof:
    """ES 52 for two classes: how fast the class entropy falls with kappa, from the equation that the log-odds obeys.

    >>> print(entropy_in_kappa().last)
    -E(gamma*(1 - gamma))/2
    """
    half = evidence / 2
    entropy = log(2 * cosh(half)) - half * tanh(half)  # h_b
    slope, bend = Derivative(entropy, evidence), Derivative(entropy, (evidence, 2))
    proof = Proof(Derivative(class_entropy(control), control), LINE)
    proof.then("how a mean over the log-odds moves, applied to its entropy", E(bend / 2 + tanh(half) * slope / 2))
    proof.then("take the derivatives; all terms with a factor L cancel", -E(1 / (8 * cosh(half) ** 2)))
    proof.then("the posterior is the logistic function of L", -E(certainty * (1 - certainty)) / 2)
    return proof


def slope_at_the_midpoint() -> Proof:
    """ID 44, 45: the slope of the denoiser half way between two classes of equal weight, along the line of their means.

    >>> print(slope_at_the_midpoint().last)
    1 - (1 - kappa/4)*sigma(t)**2/v
    """
    share = sigma**2 / total_variance
    proof = Proof(Subs(Derivative(guess, place), place, 0), MIDPOINT)
    proof.then(
        "each class pulls towards its mean, half a distance away, and the posterior weighs the two",
        Subs(Derivative((1 - share) * place + share * mean_guess, place), place, 0),
    )
    proof.then("take the derivative", 1 - share + share * distance**2 / (4 * total_variance))
    proof.then("the definition of kappa", 1 - share * (1 - control / 4))
    return proof


def _saturating(power: Expr) -> Expr:
    return control**power * (1 - width**2 / distance**2 * control)


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        linear_log_odds().identity("eq-linear-log-odds", "ES 13, 48"),
        Identity(
            "eq-evidence",
            (
                log_odds[i, j],
                log(prior[i] / prior[j])
                + kappa[i, j] / 2
                + alpha / sqrt(total_variance) * Dot(mean[i] - mean[j], noise),
            ),
            "ES 14, 49",
            PLANE,
        ),
        covariance_of_log_odds().identity("eq-log-odds-covariance", "ES 16, 17, 50"),
        Identity(
            "eq-score-gap",
            (
                Norm2(score[i] - score[j]),
                alpha**2 / total_variance**2 * Norm2(mean[i] - mean[j]),
                kappa[i, j] / total_variance,
            ),
            "ES 18, 47",
            PLANE,
        ),
        production_in_kappa().identity("eq-kappa-production", "ES 52"),
        Identity("eq-competing-mass", (prior[i] * E(i, posterior[j]), E(posterior[i] * posterior[j])), "none", PLANE),
        Identity(
            "eq-kappa-clock",
            (Derivative(kappa_in(t), t), -(diffusion**2) / total_variance * control),
            "none",
            moving(alpha**2 * distance**2 / (alpha**2 * width**2 + sigma**2), t),
        ),
        Identity(
            "eq-log-odds-diffusion",
            (
                Derivative(law, control),
                Derivative(law, (evidence, 2)) / 2 - Derivative(tanh(evidence / 2) * law, evidence) / 2,
            ),
            "none",
            LAW,
        ),
        Identity("eq-binary-entropy", (class_entropy(control), E(posterior_entropy)), "ES 7, 14", LINE),
        entropy_in_kappa().identity("eq-binary-production", "ES 52"),
        Identity(
            "eq-binary-curvature",
            (Derivative(class_entropy(control), (control, 2)), E(certainty**2 * (1 - certainty) ** 2) / 2),
            "none",
            LINE,
        ),
        Identity(
            "eq-variance-slope",
            (
                Derivative(variance_of_entropy, control),
                E(evidence**2 * certainty**2 * (1 - certainty) ** 2)
                - E(certainty * (1 - certainty) * (posterior_entropy - E(posterior_entropy))),
            ),
            "none",
            LINE,
        ),
        slope_at_the_midpoint().identity("eq-midpoint-slope", "ID 44, 45"),
        Identity(
            "eq-vp-rate",
            (Derivative(kappa_in(t), t), -2 * control * (1 + (1 - width**2) / distance**2 * control)),
            "ES 19",
            moving(distance**2 / (exp(2 * t) - 1 + width**2), t),
        ),
        Identity(
            "eq-ve-rate",
            (Derivative(kappa_in(t), t), -2 / distance * sqrt(_saturating(3))),
            "ES 71",
            moving(distance**2 / (width**2 + t**2), t),
        ),
        Identity(
            "eq-log-snr-rate",
            (Derivative(kappa_in(log_snr), log_snr), _saturating(1)),
            "ES 15",
            moving(distance**2 / (width**2 + exp(-log_snr)), log_snr),
        ),
    )
