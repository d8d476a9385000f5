"""N points under Gaussian noise: the squared norm of the score, the posterior's covariance, and its concentration.

The points are classes of no width, their places y_i. Two kinds of worlds check the identities: ANY has random
posteriors at random states, for identities that are algebra in one state; FIELDS has the states of noisy points on a
grid, densities by their formula, scores and the slope of the entropy by differences. SIMPLEX, ORTHOGONAL, TREE and
EQUIDISTANT restrict the points.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, xlogy
from sympy import Basic, Derivative, IndexedBase, Symbol

from companion.arguments import Array
from derivations.kit.differences import slope
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import (
    Dot,
    E,
    Norm2,
    Total,
    class_entropy,
    i,
    j,
    mixture_denoiser,
    mixture_score,
    posterior,
    prior,
    snr,
    state,
)
from derivations.kit.worlds import World, Worlds

place = IndexedBase("y")  # y_i, a point
noise = Symbol("sigma", positive=True)
dimension = Symbol("d", positive=True)
distance = Symbol("Delta", positive=True)  # of any two points
radius = Symbol("R", positive=True)
outer, inner = Symbol("A", positive=True), Symbol("B", positive=True)  # lengths on the two levels of a tree
group = IndexedBase("P")  # P_j, the posterior of group j

concentration = Total(posterior[i] ** 2, i)
spread = Total(posterior[i] * Norm2(place[i] - mixture_denoiser), i)
size = Total(prior[i] * Norm2(place[i]), i)


# Algebra in one state


def _any(seed: int, points: ArrayLike, values: dict[Basic, float], groups: list[int] | None = None) -> World:
    """Random posteriors at seven states; their weighted mean is all that is known of the denoiser."""
    draw = np.random.default_rng(seed)
    places = np.asarray(points, dtype=np.float64)
    count = len(places)
    shares = draw.dirichlet(np.ones(count), 7).T[:, :, None]
    of_groups = np.zeros_like(shares)  # as many as points; those beyond the last have nothing
    for number, share in zip(groups or range(count), shares, strict=True):
        of_groups[number] += share
    known = {
        **values,
        place: places,
        posterior: shares,
        group: of_groups,
        mixture_denoiser: np.einsum("nsu,nd->sd", shares, places),
    }
    return World(known, count)


def _turned(seed: int, dimension: int) -> Array:
    """A random rotation, so that no point lies on an axis."""
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension, dimension)))[0])


def _scattered(seed: int, count: int, d: int) -> World:
    """Points drawn at random, with random posteriors; their weighted mean is all that is known of the denoiser."""
    return _any(seed, np.random.default_rng(7 + seed).standard_normal((count, d)), {})


def _at_one_distance(seed: int, d: int, count: int, length: float, centre: float | list[float]) -> World:
    """Points of one distance, which need not lie on a sphere about the origin, with random posteriors."""
    return _any(seed, length * _turned(seed, d)[:count] + centre, {distance: length * np.sqrt(2.0)})


def _orthogonal(seed: int, d: int, count: int, length: float) -> World:
    """Orthogonal points of one length, turned at random, with random posteriors."""
    return _any(seed, length * _turned(seed, d)[:count], {radius: length})


ANY = Worlds(_scattered, (0, 4, 3), (1, 5, 2))
SIMPLEX = Worlds(_at_one_distance, (2, 4, 4, 0.9, [0.3, -1.0, 0.2, 0.4]), (3, 5, 3, 1.7, -0.4))
ORTHOGONAL = Worlds(_orthogonal, (4, 3, 3, 1.3), (5, 6, 4, 0.6))


def _tree(seed: int, groups: list[int], outer_length: float, inner_length: float) -> World:
    """Points in groups on orthogonal axes, turned at random, with random posteriors."""
    count = len(groups)
    axes = _turned(seed, count + max(groups) + 1)
    points = outer_length * axes[groups] + inner_length * axes[max(groups) + 1 :]
    return _any(seed, points, {outer: outer_length, inner: inner_length}, groups)


TREE = Worlds(_tree, (6, [0, 0, 1, 1, 1], 1.4, 0.6), (7, [0, 1, 1, 2], 0.7, 1.1))


def spread_of_equidistant_points() -> Proof:
    """ID 24 and 29 for points at one distance: the posterior's covariance is what its squares do not hold.

    >>> print(spread_of_equidistant_points().last)
    Delta**2*(1 - Total(posterior[i]**2, i))/2
    """
    proof = Proof(spread, SIMPLEX)
    proof.then(
        "A variance is half of the mean squared distance of two draws",
        Total(Total(posterior[i] * posterior[j] * Norm2(place[i] - place[j]), j), i) / 2,
    )
    proof.then(
        "Two different points are $\\Delta$ apart; two draws are one point with probability $\\sum_i p(i \\mid x)^2$",
        distance**2 / 2 * (1 - concentration),
    )
    return proof


# Noisy points on a grid


def _noisy(points: ArrayLike, sigma: float, known: dict[Basic, float], shares: ArrayLike | None = None) -> World:
    """Equally probable points, if no shares are given, seen through noise; the frame is the variance-exploding one."""
    places = np.asarray(points, dtype=np.float64)
    count, d = places.shape
    weights = np.full(count, 1.0 / count) if shares is None else np.asarray(shares, dtype=np.float64)
    # A posterior has its poles pi sigma^2 / Delta off the real line, so that trapezoidal sums in steps of 0.3 sigma
    # miss exp(-2 pi^2 sigma / (0.3 Delta)) < 1e-11 for Delta < 2.5 sigma, and their ends miss 1e-13.
    spacing = 0.3 * sigma
    ends = zip(places.min(axis=0) - 7.5 * sigma, places.max(axis=0) + 7.5 * sigma, strict=True)
    axes = [np.arange(first, last, spacing) for first, last in ends]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)

    def log_densities(at: Array, level: float) -> Array:
        squares = ((at[None, :, :] - places[:, None, :]) ** 2).sum(axis=-1)
        return np.asarray(-0.5 * squares / level**2 - 0.5 * d * np.log(2.0 * np.pi * level**2))

    def log_density(at: Array) -> Array:
        return np.asarray(logsumexp(log_densities(at, sigma) + np.log(weights)[:, None], axis=0))

    def entropy(of_snr: float) -> Array:
        joint = weights[:, None] * np.exp(log_densities(x, of_snr**-0.5))
        return np.asarray((xlogy(joint, joint.sum(axis=0)) - xlogy(joint, joint)).sum() * spacing**d)

    densities = np.exp(log_densities(x, sigma))
    joint = weights[:, None] * densities
    shares_of = (joint / joint.sum(axis=0))[:, :, None]
    along = (lambda h, unit=unit: log_density(x + h * unit) for unit in np.eye(d))
    score = np.stack([slope(shifted, 0.0, 0.02 * sigma) for shifted in along], axis=-1)
    values = {
        **known,
        place: places,
        prior: weights,
        posterior: shares_of,
        mixture_denoiser: np.einsum("nsu,nd->sd", shares_of, places),
        mixture_score: score,
        state: x,
        noise: sigma,
        dimension: d,
        Derivative(class_entropy(snr), snr): slope(entropy, sigma**-2, 0.01 * sigma**-2),
    }
    return World(values, count, np.full(len(x), spacing**d), densities[:, :, None], tolerance=1e-8)


_TRIANGLE = [[1.2, -0.5], [-0.3, np.sqrt(0.75) - 0.5], [-0.3, -np.sqrt(0.75) - 0.5]]
FIELDS = Worlds(
    _noisy,
    ([[-1.0, 0.3], [0.4, 0.9], [1.2, -0.7]], 0.8, {}, [0.5, 0.3, 0.2]),
    ([[-1.4], [0.1], [0.7], [2.0]], 0.6, {}, [0.1, 0.2, 0.3, 0.4]),
)
EQUIDISTANT = Worlds(_noisy, (_TRIANGLE, 0.9, {distance: np.sqrt(3.0)}), ([[0.3], [1.7]], 0.7, {distance: 1.4}))


def norm_of_the_score() -> Proof:
    """ID 25, 27, 28: the squared norm of the score is the kernel's less what the posterior leaves open; any points.

    >>> print(norm_of_the_score().last)
    d/sigma**2 - E(Total(Norm2(-D + y[i])*posterior[i], i))/sigma**4
    """
    proof = Proof(E(Norm2(mixture_score)), FIELDS)
    proof.then("The score is a posterior mean", E(Norm2(mixture_denoiser - state)) / noise**4)
    proof.then(
        "Expand the square",
        (E(Norm2(mixture_denoiser)) - 2 * E(Dot(state, mixture_denoiser)) + E(Norm2(state))) / noise**4,
    )
    proof.then(
        "$D$ is the posterior mean of $y$, and $x$ is $y$ and independent noise",
        (E(Norm2(mixture_denoiser)) - 2 * size + size + dimension * noise**2) / noise**4,
    )
    proof.then(
        "What is missing of the mean square is the posterior's variance", dimension / noise**2 - E(spread) / noise**4
    )
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity(
            "eq-concentration-score",
            (
                mixture_score,
                Total(posterior[i] * (place[i] - state), i) / noise**2,
                (mixture_denoiser - state) / noise**2,
            ),
            "ID 22",
            FIELDS,
        ),
        Identity("eq-concentration-mean", (Norm2(mixture_denoiser), radius**2 * concentration), "ID 24", ORTHOGONAL),
        Identity(
            "eq-concentration-expanded",
            (
                E(Norm2(mixture_score)),
                (E(Norm2(mixture_denoiser)) - 2 * E(Dot(state, mixture_denoiser)) + E(Norm2(state))) / noise**4,
            ),
            "ID 25",
            FIELDS,
        ),
        Identity("eq-concentration-cross", (E(Dot(state, mixture_denoiser)), size), "ID 27", FIELDS),
        Identity("eq-concentration-state", (E(Norm2(state)), size + dimension * noise**2), "ID 28", FIELDS),
        norm_of_the_score().identity("eq-concentration-norm", "ID 25, 27, 28"),
        Identity(
            "eq-concentration-pairs",
            (spread, Total(Total(posterior[i] * posterior[j] * Norm2(place[i] - place[j]), j), i) / 2),
            "none",
            ANY,
        ),
        spread_of_equidistant_points().identity("eq-concentration-spread", "ID 24, 26"),
        Identity(
            "eq-concentration-equidistant",
            (E(Norm2(mixture_score)), dimension / noise**2 - distance**2 / (2 * noise**4) * (1 - E(concentration))),
            "ID 29",
            EQUIDISTANT,
        ),
        Identity(
            "eq-concentration-overlap", (E(concentration), Total(prior[i] * E(i, posterior[i]), i)), "ID 31", FIELDS
        ),
        Identity(
            "eq-concentration-production",
            (-Derivative(class_entropy(snr), snr), distance**2 / 4 * (1 - E(concentration))),
            "ID 19, 29",
            EQUIDISTANT,
        ),
        Identity(
            "eq-concentration-levels",
            (spread, outer**2 * (1 - Total(group[j] ** 2, j)) + inner**2 * (1 - concentration)),
            "none",
            TREE,
        ),
    )
