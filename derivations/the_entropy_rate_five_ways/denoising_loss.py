"""The loss of a network that predicts the noise, and the entropy rate in it: what is kept, what is added.

The network says s_theta instead of the score, any smooth vector field. Also ID 16 and 34 as printed, and mended.
"""

from sympy import Expr

from derivations.kit.coordinates import Divergence
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import Dot, E, Norm2, alpha, diffusion, mixture_denoiser, mixture_score, sigma
from derivations.the_entropy_rate_five_ways.proofs import error, rate, smallest
from derivations.the_entropy_rate_five_ways.worlds import CHANNELS, Given, clean, dimension, network, noise


def smallest_loss() -> Proof:
    """ID 15 and 16: the loss that a perfect network keeps, and what it has to do with the rate."""
    proof = Proof(smallest, CHANNELS)
    proof.then(
        "Tweedie, and $x = \\alpha x_0 + \\sigma \\varepsilon$", E(Norm2(alpha / sigma * (clean - mixture_denoiser)))
    )
    proof.then("Take the factor out of the square", alpha**2 / sigma**2 * error)
    proof.then("The rate by the denoising error", 2 * sigma**2 / diffusion**2 * rate)
    return proof


def loss_of_a_network() -> Proof:
    """ID 13, 14 and 34: a network's loss is the smallest one and its squared distance from the score."""
    distance = sigma**2 * E(Norm2(network - mixture_score))
    proof = Proof(E(Norm2(noise + sigma * network)), CHANNELS)
    apart = noise + sigma * mixture_score
    off = sigma * (network - mixture_score)
    proof.then("Add and subtract $\\sigma s$, expand the square", E(Norm2(apart)) + 2 * E(Dot(apart, off)) + distance)
    proof.then(
        "The mean over the noise first: $-\\sigma s$ is the mean of $\\varepsilon$ in every state",
        E(Norm2(apart)) + distance,
    )
    proof.then("The smallest loss is the rate", 2 * sigma**2 / diffusion**2 * rate + distance)
    return proof


def implicit_loss() -> Proof:
    """A network's loss from its own divergence and norm, without the noise."""
    proof = Proof(E(Norm2(noise + sigma * network)), CHANNELS)
    proof.then(
        "Expand the square; $|\\varepsilon|^2$ has the mean $d$",
        dimension + 2 * sigma * E(Dot(noise, network)) + sigma**2 * E(Norm2(network)),
    )
    proof.then(
        "By parts in the noise: $\\mathbb{E}[\\varepsilon \\cdot a(x)] = \\sigma\\, \\mathbb{E}[\\nabla \\cdot a]$",
        dimension + 2 * sigma**2 * E(Divergence(network)) + sigma**2 * E(Norm2(network)),
    )
    divergence = dimension + sigma**2 * E(Divergence(network))
    norm = dimension - sigma**2 * E(Norm2(network))
    proof.then("Collect", 2 * divergence - norm)
    return proof


def as_printed() -> dict[str, Identity]:
    """ID 16 and 34 as they stand in the paper, and mended; n is what the network of ID 12 says, an estimate of sigma s.

    >>> [name for name, identity in as_printed().items() if not identity.holds()]
    ['ID 16', 'ID 34']
    """
    said, best = sigma * network, Given(noise)
    exploding = CHANNELS[1:2]  # the paper's frame, alpha = 1, at a noise level other than 1

    def third(sign: int, power: int) -> tuple[Expr, Expr]:
        kept = 2 * sigma**power / diffusion**2 * rate
        return E(Norm2(best + sign * said)) + kept, E(Norm2(noise + sign * said))

    return {
        "ID 16": Identity("ID 16", (smallest, error), "ID 16", exploding),
        "ID 16 over sigma^2": Identity("ID 16", (smallest, error / sigma**2), "ID 16", exploding),
        "ID 34": Identity("ID 34", third(-1, 4), "ID 34", exploding),
        "ID 34 with sigma^2": Identity("ID 34", third(-1, 2), "ID 34", exploding),
        "ID 34 with sigma^2 and the signs of ID 13": Identity("ID 34", third(1, 2), "ID 34", exploding),
    }


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity(
            "eq-rate-constant",
            (smallest, alpha**2 / sigma**2 * error, 2 * sigma**2 / diffusion**2 * rate),
            "ID 15, 16",
            CHANNELS,
        ),
        loss_of_a_network().identity("eq-rate-loss", "ID 13, 14, 34"),
        implicit_loss().identity("eq-rate-implicit", "none"),
    )
