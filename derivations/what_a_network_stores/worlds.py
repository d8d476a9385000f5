"""The symbols of the derivations on what a network stores, and the worlds in which those are checked.

CLOCK      alpha, sigma, f and g of any process with a Gaussian kernel; D, x and other vectors are random
LOCAL      a density that obeys the Fokker-Planck equation, a second density and a second vector field that obey nothing
PRESERVED  noised mixtures and points in a variance-preserving process, with the divergence from N(0, I) by quadrature
MOVING     the same in that process and in rectified flow, whose frozen equilibrium N(0, v) moves
FIELDS     random densities, scores and denoisers, a reference density q, a vector a, a decoder: algebra
PLANE      two numbers of a mixture of points in noise, their joint and their single laws by quadrature
MATRICES   a random covariance; the divergence from its diagonal by the generalised eigenvalues
NUMBERS    every symbol is a number
"""

from dataclasses import replace
from itertools import product

import numpy as np
from scipy.linalg import eigh
from sympy import Derivative, Expr, Function, IndexedBase, Symbol, symbols

from companion.arguments import Array
from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.forward import Process, ornstein_uhlenbeck, rectified_flow
from derivations.kit.coordinates import in_coordinates, push
from derivations.kit.differences import slope
from derivations.kit.language import (
    class_entropy,
    density,
    diffusion,
    mixture_denoiser,
    mixture_score,
    prior,
    state,
    t,
)
from derivations.kit.worlds import World, Worlds, along_the_process, jets, on_mixture, random_fields

ambient, second_moment = symbols("d M", positive=True)  # the dimension, and E|x_0|^2
divergence = Function(r"\operatorname{KL}")(t)  # of p_t from the equilibrium
pull = Symbol(r"{\nabla \log q}")  # the score of the equilibrium, a vector field
moving = Symbol(r"{\partial_t \log q}")  # a field
sample_rate = Symbol("R")  # dI(X_0; X_t)/d log-snr
information = Symbol("I")  # I(X_0; X_t)
matching, slip = symbols("e_* r")  # the vector that an ideal network predicts, and what another one's is wrong by
guess, vector = symbols("G a")  # a denoiser that is not the mean, any vector field
control, kernel_score = symbols(r"u \ell")  # SI 26; the score of the kernel
network = Symbol("e")
other = Symbol("q")  # a positive field
decoder = IndexedBase("r")  # r_i(x), probabilities
total_correlation = Symbol(r"\operatorname{TC}")
single = IndexedBase("K")  # the divergence of one coordinate
remembered = IndexedBase("I")  # what the state of one coordinate tells of it
variance = IndexedBase("v")  # of one coordinate
determinant = Symbol(r"|\Sigma|", positive=True)
signal, spread = symbols("y rho", positive=True)  # snr as a free variable, the variance of one direction of clean data
gain, width, error = symbols("a sigma_X sigma_epsilon", positive=True)  # SI 19
here, there = symbols("x y", real=True)


def _clock_world(seed: int) -> World:
    """A process in time with random vectors; the control is that of a network which matches entropy, -b - g^2 e."""
    draw, world = np.random.default_rng(seed), jets(seed, along_the_process)
    vectors = {name: draw.standard_normal(3) for name in (mixture_denoiser, state, kernel_score, push, network)}
    vectors[control] = -vectors[push] - world.value(diffusion) ** 2 * vectors[network]
    return replace(world, values=vectors)


CLOCK = Worlds(_clock_world, (0,), (1,))
LOCAL = Worlds(in_coordinates, (1, 1))
NUMBERS = (jets(0), jets(1))


def _noised(mixture: GaussianMixture, process: Process, time: float) -> World:
    """A noised mixture with its divergence from N(0, v), v = -g^2 / 2f, and what it remembers of its points."""
    world = on_mixture(mixture, process, time)
    x, weights, dimension = world.values[state], world.weights, mixture.shape[0]
    squares = (x**2).sum(axis=1, keepdims=True)

    def width_at(at: float) -> float:
        return float(-process.diffusion(np.asarray(at)) / (2.0 * process.drift(np.asarray(at))))

    def diverged(at: float) -> float:
        p = _density(mixture, process, at, x)
        v = width_at(at)
        log_q = -0.5 * squares / v - 0.5 * dimension * np.log(2.0 * np.pi * v)
        return float((weights[:, None] * p * (np.log(np.maximum(p, 1e-300)) - log_q)).sum())

    v, change = width_at(time), slope(width_at, time, 0.01 * time)
    entropy = world.value(class_entropy(t)) if mixture.deviations.max() == 0.0 else None
    shares = np.asarray(mixture.weights)
    level = float(process.log_snr(np.asarray(time)))
    clean = float(shares @ ((mixture.means.numpy() ** 2).sum(axis=1) + dimension * mixture.deviations.numpy() ** 2))
    known = {
        ambient: dimension,
        second_moment: clean,
        divergence: diverged(time),
        Derivative(divergence, t): slope(diverged, time, 0.01 * time),
        pull: -x / v,
        moving: change * (0.5 * squares / v**2 - 0.5 * dimension / v),
    }
    if entropy is not None:  # every point is a class
        known[information] = -float(shares @ np.log(shares)) - float(entropy)
        known[sample_rate] = float(mixture.production(level))
    return replace(world, values={**world.values, **known})


def _density(mixture: GaussianMixture, process: Process, at: float, x: Array) -> Array:
    world_alpha, world_sigma = process.alpha(np.asarray(at)), process.sigma(np.asarray(at))
    v = (world_alpha * mixture.deviations.numpy()) ** 2 + world_sigma**2
    squares = ((x[:, None] - world_alpha * mixture.means.numpy()) ** 2).sum(axis=-1)
    bells = np.exp(-0.5 * squares / v) / (2.0 * np.pi * v) ** (0.5 * x.shape[1])
    return np.asarray(bells @ np.asarray(mixture.weights))[:, None]


_POINTS = isotropic_mixture([[-1.3], [0.2], [0.9]], 0.0, [0.2, 0.5, 0.3])
_FLAT = isotropic_mixture([[-1.0, 0.3], [0.4, 0.9], [0.6, -0.8]], 0.0, [0.3, 0.3, 0.4])
_WIDE = isotropic_mixture([[-1.0], [1.2]], [0.4, 0.7], [0.4, 0.6])
PRESERVED = Worlds(_noised, (_POINTS, ornstein_uhlenbeck(), 0.4), (_FLAT, ornstein_uhlenbeck(), 0.6))
MOVING = Worlds(_noised, (_WIDE, ornstein_uhlenbeck(), 0.4), (_WIDE, rectified_flow(), 0.45))


def _fields_world(seed: int, classes: int, dimension: int) -> World:
    """Random fields, with random guesses, errors and decoders beside them."""
    world = random_fields(seed, classes, dimension)
    draw, (states, _) = np.random.default_rng([seed, 1]), world.values[mixture_score].shape
    vectors = {name: draw.standard_normal((states, dimension)) for name in (vector, guess, matching, slip)}
    probabilities = draw.dirichlet(np.full(classes, 3.0), states).T[:, :, None]
    known = {other: draw.uniform(0.2, 2.0, (states, 1)), decoder: probabilities}
    return replace(world, values={**world.values, **vectors, **known})


FIELDS = Worlds(_fields_world, (0, 3, 2), (1, 4, 3))


def _plane_world(points: list[list[float]], time: float) -> World:
    """Points in the plane, noised, on a grid; each coordinate alone beside them."""
    mixture, process = isotropic_mixture(points, 0.0), ornstein_uhlenbeck()
    world = _noised(mixture, process, time)
    singles, told, entropy = [], [], 0.0
    for axis in range(2):
        places, counts = np.unique(mixture.means.numpy()[:, axis], return_counts=True)
        alone = _noised(
            isotropic_mixture(places[:, None].tolist(), 0.0, (counts / len(points)).tolist()), process, time
        )
        singles.append(alone.values[divergence])
        told.append(alone.values[information])
        p, weights = _density_of(alone), alone.weights
        entropy -= float((weights[:, None] * p * np.log(np.maximum(p, 1e-300))).sum())
    p = _density_of(world)
    joint = float((world.weights[:, None] * p * np.log(np.maximum(p, 1e-300))).sum())
    known = {single: np.array(singles), remembered: np.array(told), total_correlation: entropy + joint}
    return replace(world, values={**world.values, **known}, classes=2)


def _density_of(world: World) -> Array:
    return np.asarray(np.tensordot(world.values[prior], world.values[density], axes=1))


PLANE = Worlds(
    _plane_world,
    ([[-1.0, 0.3], [0.4, 0.9], [0.4, -0.8]], 0.5),
    ([[-1.2, -1.0], [0.1, 0.3], [1.1, 0.8], [0.1, -0.4]], 0.3),
)


def random_covariance(dimension: int, seed: int) -> Array:
    """A positive definite matrix whose coordinates are correlated.

    >>> random_covariance(3, seed=0).shape
    (3, 3)
    """
    root = np.random.default_rng(seed).standard_normal((dimension, dimension + 2))
    return np.asarray(root @ root.T / dimension)


def _matrix_world(dimension: int, seed: int) -> World:
    """Random covariances; divergences by their eigenvalues."""
    covariance = random_covariance(dimension, seed)
    diagonal = np.diag(covariance).copy()
    ratios = eigh(covariance, np.diag(diagonal), eigvals_only=True)
    known = {
        ambient: dimension,
        variance: diagonal,
        determinant: np.linalg.det(covariance),
        total_correlation: 0.5 * float((ratios - 1.0 - np.log(ratios)).sum()),
        divergence: 0.5 * float((np.linalg.eigvalsh(covariance) - 1.0 - np.log(np.linalg.eigvalsh(covariance))).sum()),
    }
    return World(known, classes=dimension, tolerance=1e-10)


MATRICES = Worlds(_matrix_world, *product((3, 5), (0, 1)))


def _channel(expression: Expr) -> Expr:
    return expression.subs(spread, width**2 * error**2 / (gain**2 * width**2 + error**2)).doit()


CHANNEL = (jets(0, _channel), jets(1, _channel))
