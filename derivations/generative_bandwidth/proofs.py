"""Generative bandwidth: the dimension at a noise level, for Gaussians, for spheres, and for any curved manifold.

H is here the entropy of the sample itself, H(X_0 | X_t), and D = (alpha^2/sigma^2) E tr Cov(X_0 | X_t).
"""

from sympy import Derivative, Rational, log

from derivations.generative_bandwidth.worlds import (
    CURVED,
    GAUSSIAN,
    LINE,
    MIXTURE,
    SHEET,
    SPHERE,
    SPHERES_LIMIT,
    SUBSPACE,
    TUBE,
    ambient,
    bend,
    codimension,
    dimension,
    excess,
    in_direction,
    kappa,
    log_density_slope,
    log_posterior,
    log_snr,
    manifold,
    noise,
    observed,
    offset,
    place,
    radius,
    ratio,
    rho,
    spread,
    trace,
    variance,
    width,
)
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import Dot, E, Norm2, Total, alpha, class_entropy, diffusion, j, mixture_score, sigma, t

_speed = diffusion**2 / (2 * sigma**2)  # -(1/2) dlambda/dt


def gaussian_rate() -> Proof:
    """ID 35, 36 and 61, for any covariance: every direction is a channel of its own.

    >>> print(gaussian_rate().last)
    g(t)**2*Total(alpha(t)**2*rho[j]/(alpha(t)**2*rho[j] + sigma(t)**2), j)/(2*sigma(t)**2)
    """
    wide = alpha**2 * variance[j] + sigma**2
    proof = Proof(Derivative(class_entropy(t), t), GAUSSIAN)
    proof.then(
        "given its state a direction is normal, of variance ρσ²/(α²ρ + σ²)",
        Total(Derivative(log(variance[j] * sigma**2 / wide), t) / 2, j),
    )
    proof.then(
        "take the derivative with α' = fα and (σ²)' = 2fσ² + g²: the drift cancels",
        Total(diffusion**2 / 2 * (1 / sigma**2 - 1 / wide), j),
    )
    proof.then("on one denominator", _speed * Total(alpha**2 * variance[j] / wide, j))
    return proof


def subspace_rate() -> Proof:
    """ID 36 and 38 before the limit: a Gaussian of width h in m directions.

    >>> print(subspace_rate().last)
    m*g(t)**2/(2*(1 + sigma(t)**2/(h**2*alpha(t)**2))*sigma(t)**2)
    """
    wide = alpha**2 * width**2 + sigma**2
    proof = Proof(Derivative(class_entropy(t), t), SUBSPACE)
    proof.then("the same for m directions of variance h²", _speed * manifold * alpha**2 * width**2 / wide)
    proof.then("divide above and below by α²h²", _speed * manifold / (1 + sigma**2 / (alpha**2 * width**2)))
    return proof


def spectrum_of_the_sphere() -> Proof:
    """The dimension of a sphere, split into m directions along it and one across.

    >>> print(spectrum_of_the_sphere().last)
    R**2*E(Derivative(A(kappa), kappa))/sigma**2 + m*E(R*A(kappa)/r)
    """
    scale = radius**2 / noise**2
    proof = Proof(dimension, SPHERE)
    proof.then("every clean point has the length R, and the denoiser the length RA", scale * (1 - E(ratio**2)))
    proof.then(
        "the equation of the ratio, 1 − A² = A' + mA/κ", scale * E(Derivative(ratio, kappa) + manifold * ratio / kappa)
    )
    proof.then("κ = rR/σ²", scale * E(Derivative(ratio, kappa)) + manifold * E(radius * ratio / observed))
    return proof


def entropy_of_the_tube() -> Proof:
    """What curvature adds to the entropy of the states: its coefficient of sigma^2, from the density to second order.

    >>> print(entropy_of_the_tube().last)
    -3*Norm2(\\mathrm{II})/4 + Norm2(\\operatorname{tr}\\mathrm{II})/2
    """
    pull = Dot(offset, trace)
    constant = Norm2(bend) / 4 - Norm2(trace) / 8
    tilt = pull**2 / 8 - Norm2(in_direction) / 4 + constant
    proof = Proof(E(Norm2(offset) * tilt) / 2 + E(pull**2) / 4 - E(Norm2(in_direction)) / 4 - constant, TUBE)
    proof.then(
        "for a quadratic form Q of a normal vector in c dimensions E|ν|²Q = (c + 2) EQ",
        (codimension + 2) / 2 * E(pull**2 / 8 - Norm2(in_direction) / 4)
        + codimension / 2 * constant
        + E(pull**2) / 4
        - E(Norm2(in_direction)) / 4
        - constant,
    )
    proof.then(
        "the covariance of the noise is the unit matrix",
        (codimension + 2) / 2 * (Norm2(trace) / 8 - Norm2(bend) / 4)
        + codimension / 2 * constant
        + Norm2(trace) / 4
        - Norm2(bend) / 4
        - constant,
    )
    proof.then("what grows with c cancels; collect", Norm2(trace) / 2 - Rational(3, 4) * Norm2(bend))
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity(
            "eq-bandwidth-dimension",
            (dimension, alpha**2 / sigma**2 * E(spread), ambient - sigma**2 * E(Norm2(mixture_score))),
            "ID 19, 33",
            MIXTURE,
        ),
        Identity("eq-bandwidth-rate", (Derivative(class_entropy(t), t), _speed * dimension), "ID 19, 33, 62", MIXTURE),
        Identity(
            "eq-bandwidth-log-snr", (-Derivative(class_entropy(log_snr), log_snr), dimension / 2), "none", MIXTURE
        ),
        gaussian_rate().identity("eq-bandwidth-gaussian", "ID 35, 36, 61"),
        subspace_rate().identity("eq-bandwidth-subspace", "ID 36, 38"),
        Identity(
            "eq-bandwidth-score-norm",
            (E(Norm2(mixture_score)), manifold / (alpha**2 * width**2 + sigma**2) + (ambient - manifold) / sigma**2),
            "ID 37",
            SHEET,
        ),
        Identity(
            "eq-bandwidth-fisher",
            (
                -Derivative(log_posterior, (place, 2)),
                1 / noise**2 - 1 / (rho + noise**2),
                rho / (noise**2 * (rho + noise**2)),
            ),
            "ID 61",
            LINE,
        ),
        Identity(
            "eq-bandwidth-riccati", (Derivative(ratio, kappa), 1 - ratio**2 - manifold / kappa * ratio), "none", SPHERE
        ),
        Identity(
            "eq-bandwidth-sphere",
            (
                dimension,
                radius**2 / noise**2 * (1 - E(ratio**2)),
                manifold * E(radius * ratio / observed) + radius**2 / noise**2 * E(Derivative(ratio, kappa)),
            ),
            "none",
            SPHERE,
        ),
        Identity(
            "eq-bandwidth-sphere-limit",
            (excess, manifold * (3 - 2 * manifold) / (2 * radius**2)),
            "none",
            SPHERES_LIMIT,
        ),
        Identity(
            "eq-bandwidth-curvature",
            (excess, Rational(3, 2) * E(Norm2(bend)) - E(Norm2(trace)) - E(Norm2(log_density_slope))),
            "none",
            CURVED,
        ),
    )
