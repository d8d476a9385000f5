"""The symbols of the derivations on generative bandwidth, and the worlds in which those are checked.

MIXTURE      a Gaussian mixture on a grid in the plane; the sample's entropy by differences of the states' entropy
GAUSSIAN     the sample's entropy of a Gaussian as a function of time, to be differentiated;
SUBSPACE     the same with m equal widths
SHEET        a Gaussian on a plane in space: its noisy score by quadrature over clean points
LINE         the logarithm of a Gaussian's posterior, to be differentiated
SPHERE       spheres, by integrals over angles; their dimension by differences of the states' entropy in the noise
SPHERES_LIMIT, CURVED    limits of small noise on spheres and on an ellipse, by extrapolation
TUBE         normal offsets nu from a point with a random second fundamental form, noise 1
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import roots_jacobi
from sympy import Derivative, Expr, Function, IndexedBase, Limit, Symbol, log, symbols

from companion.arguments import Array
from companion.exact.mixtures import isotropic_mixture
from companion.forward import Process, ornstein_uhlenbeck, variance_exploding
from derivations.generative_bandwidth import bandwidth
from derivations.kit.differences import slope
from derivations.kit.independent_productions import hermite_rule
from derivations.kit.language import alpha, class_entropy, mixture_score, prior, sigma, state, t
from derivations.kit.worlds import World, Worlds, along_the_process, jets, on_mixture, posterior_spread

dimension = Symbol(r"\mathcal{D}", positive=True)  # the dimension at a noise level
ambient, manifold, codimension = symbols("d m c", positive=True)  # of the space, of the manifold, their difference
width, radius, rho = symbols("h R rho", positive=True)
noise = Symbol("sigma", positive=True)  # of the variance-exploding frame
log_snr = Symbol("lambda", real=True)
variance = IndexedBase("rho")  # the eigenvalues of a Gaussian's covariance
spread = Symbol(r"\operatorname{tr} \operatorname{Cov}(X_{0} \mid x)")  # a field over the states
observed = Symbol("r", positive=True)  # |x|
clean, place = symbols("y x", real=True)
log_posterior = Function(r"\ell")(clean, place)  # log p(y | x)
kappa = Symbol("kappa", positive=True)  # |x| R / sigma^2
ratio = Function("A")(kappa)
bend = Symbol(r"\mathrm{II}")  # the second fundamental form, a normal vector for every pair of tangent vectors
trace = Symbol(r"\operatorname{tr}\mathrm{II}")  # a normal vector, m times the mean curvature
log_density_slope = Symbol(r"\nabla \log q")  # along the manifold
offset = Symbol("nu")  # from the nearest point, normal to the manifold
in_direction = Symbol(r"\mathrm{II}_{\nu}")  # the second fundamental form in the direction of the offset
excess = Limit((dimension - manifold) / noise**2, noise, 0)


def _mixture_world(process: Process, time: float) -> World:
    """A mixture of three classes in the plane on a grid; rates of entropy by differences in time."""
    s, means, shares = 0.5, np.array([[-1.3, 0.2], [0.9, -0.8], [0.4, 1.5]]), np.array([0.5, 0.3, 0.2])
    world = on_mixture(isotropic_mixture(means.tolist(), s, shares.tolist()), process, time)
    points, weights = world.values[state], world.weights

    def entropy(at: float) -> float:
        signal, level = float(process.alpha(np.asarray(at))), float(process.sigma(np.asarray(at)))
        v = (signal * s) ** 2 + level**2
        squares = ((points[:, None] - signal * means) ** 2).sum(axis=-1)
        density = np.exp(-0.5 * squares / v) @ shares / (2.0 * np.pi * v)
        of_states = -float(weights @ (density * np.log(np.maximum(density, 1e-300))))
        # Up to a constant: the entropy of the noise less that of the states.
        return float(2.0 * np.log(level)) - of_states

    rate = slope(entropy, time, 0.01 * time)
    clock = slope(lambda at: process.log_snr(np.asarray(at)), time, 0.01 * time)
    signal, level = float(world.value(alpha)), float(world.value(sigma))
    within = 2.0 * s**2 * level**2 / ((signal * s) ** 2 + level**2)
    covariance = posterior_spread(world, within)
    density = np.tensordot(shares, world.densities, axes=1)
    known = {
        ambient: 2.0,
        spread: covariance,
        dimension: (signal / level) ** 2 * (weights[:, None] * density * covariance).sum(),
        Derivative(class_entropy(t), t): rate,
        Derivative(class_entropy(log_snr), log_snr): rate / clock,
    }
    return replace(world, values={**world.values, **known})


MIXTURE = Worlds(_mixture_world, (ornstein_uhlenbeck(), 0.4), (variance_exploding(), 0.9))


def _in_time(entropy: Expr) -> tuple[World, World]:
    """H(t) is an expression in alpha and sigma, which obey dX = f X dt + g dW; all else is free."""

    def motion(expression: Expr) -> Expr:
        return along_the_process(expression.subs(class_entropy(t), entropy).doit())

    first, second = (replace(jets(seed, motion), classes=3) for seed in (0, 1))
    return (
        replace(first, values={variance: np.array([0.4, 1.1, 2.3])}),
        replace(second, values={variance: np.array([1.7, 0.2, 0.9])}),
    )


def _remembered(rate: Expr) -> Expr:
    """The entropy of a normal number of this variance given its noisy state, up to a constant."""
    return log(rate * sigma**2 / (alpha**2 * rate + sigma**2)) / 2


GAUSSIAN = _in_time(_remembered(variance[1]) + _remembered(variance[2]) + _remembered(variance[3]))
SUBSPACE = _in_time(manifold * _remembered(width**2))


def _sheet_world(wide: float, signal: float, level: float) -> World:
    """Two coordinates are normal of width h and one is zero; the score is a mean over clean points."""
    clean_points, share = hermite_rule(60, 1)
    y = clean_points[:, 0]
    total = np.sqrt((signal * wide) ** 2 + level**2)
    x = np.linspace(-8.0, 8.0, 33)

    def on_line(states: Array, places: Array) -> tuple[Array, Array]:
        bells = share * np.exp(-0.5 * ((states[:, None] - signal * places) / level) ** 2)
        density = bells.sum(axis=1) / np.sqrt(2.0 * np.pi) / level
        return density, ((signal * places - states[:, None]) * bells).sum(axis=1) / bells.sum(axis=1) / level**2

    along, across = on_line(total * x, wide * y), on_line(level * x, 0.0 * y)
    axes = (along, along, across)
    scores = np.stack([one.ravel() for one in np.meshgrid(*(score for _, score in axes), indexing="ij")], axis=-1)
    densities = np.prod([one.ravel() for one in np.meshgrid(*(p for p, _ in axes), indexing="ij")], axis=0)
    cell = (x[1] - x[0]) ** 3 * total**2 * level
    known = {ambient: 3.0, manifold: 2.0, width: wide, alpha: signal, sigma: level}
    known |= {mixture_score: scores, prior: np.ones(1)}
    return World(known, 1, np.full(len(scores), cell), densities[None, :, None], tolerance=1e-8)


SHEET = Worlds(_sheet_world, (0.8, 0.7, 0.9), (1.3, 1.0, 1.1))


def _normal(expression: Expr) -> Expr:
    posterior_of = -((clean - place) ** 2) / (2 * noise**2) - clean**2 / (2 * rho) + place**2 / (2 * (rho + noise**2))
    return expression.subs(log_posterior, posterior_of).doit()


LINE = (jets(0, _normal), jets(1, _normal))


def _sphere_world(m: int, size: float, level: float) -> World:
    """Points all over a sphere in noise, by quadrature over the angle; entropies by differences."""
    u, share = roots_jacobi(160, 0.5 * m - 1.0, 0.5 * m - 1.0)  # the cosine of the angle to the state
    share = share / share.sum()
    r = np.linspace(1e-3, size + 10.0 * level, 1200)
    step = r[1] - r[0]

    def log_density(at: float) -> Array:
        exponent = size * r[:, None] / at**2 * (u - 1.0)
        return np.asarray(-0.5 * ((r - size) / at) ** 2 + np.log(np.exp(exponent) @ share) - (m + 1.0) * np.log(at))

    def entropy(at: float) -> float:
        density = r**m * np.exp(log_density(at))
        return -float(density @ log_density(at) / density.sum())

    def mean_cosine(k: Array) -> Array:
        weight = share * np.exp(k[:, None] * (u - 1.0))
        return np.asarray(weight @ u / weight.sum(axis=1))[:, None]

    at = size * r / level**2
    rise = slope(lambda share: mean_cosine(at * share), 1.0, 1e-3) / at[:, None]
    density = r**m * np.exp(log_density(level))
    shrunk = level * slope(entropy, level, 0.01 * level)
    known = {manifold: m, radius: size, noise: level, dimension: m + 1.0 - shrunk, prior: np.ones(1)}
    known |= {observed: r[:, None], kappa: at[:, None], ratio: mean_cosine(at), Derivative(ratio, kappa): rise}
    densities = (density / density.sum() / step)[None, :, None]
    return World(known, 1, np.full(len(r), step), densities, tolerance=1e-7)


SPHERE = Worlds(_sphere_world, (2, 1.3, 0.5), (5, 0.8, 0.3))


def _limit(dimension_at: Callable[[float], float], m: int, level: float) -> float:
    """(D - m)/sigma^2 for sigma to 0, by extrapolation in sigma^2 from three levels."""
    first, second, third = ((dimension_at(level / 2**n) - m) / (level / 2**n) ** 2 for n in range(3))
    return float((64.0 * third - 20.0 * second + first) / 45.0)


def _curved_sphere(m: int, size: float) -> World:
    value = _limit(lambda level: float(bandwidth.sphere(m, size, level)), m, 0.1 * size / np.sqrt(m))
    return _curved(m, value, np.eye(m).reshape(1, -1) / size, np.full((1, 1), m / size), np.zeros((1, 1)), np.ones(1))


def _ellipse() -> World:
    """One dimension, curvature that varies, and a density that does."""
    half, other, tilt, count = 1.3, 1.0, 0.5, 120
    angle = 2.0 * np.pi * np.arange(count) / count
    points = np.stack([half * np.cos(angle), other * np.sin(angle)], axis=-1)
    shares = np.exp(tilt * np.cos(angle))
    shares /= shares.sum()
    speed = np.hypot(half * np.sin(angle), other * np.cos(angle))
    curvature = (half * other / speed**3)[:, None]
    stretch = (half**2 - other**2) * np.sin(angle) * np.cos(angle) / speed**2  # the slope of log speed
    tilted = ((-tilt * np.sin(angle) - stretch) / speed)[:, None]
    value = _limit(lambda level: bandwidth.curve(points, shares, level), 1, 0.32)
    return _curved(1, value, curvature, curvature, tilted, shares)


def _curved(m: int, value: float, second: Array, traced: Array, uphill: Array, shares: Array) -> World:
    known = {manifold: m, excess: value, prior: np.ones(1)}
    known |= {bend: second, trace: traced, log_density_slope: uphill}
    return World(known, 1, shares, np.ones((1, len(shares), 1)), tolerance=1e-3)


def _closed_manifold(make: Callable[..., World], *about: float) -> World:
    """The limit of small noise on spheres and on an ellipse of uneven density, by extrapolation."""
    return make(*about)


CURVED = Worlds(_closed_manifold, (_curved_sphere, 1, 0.7), (_curved_sphere, 3, 1.2), (_ellipse,))


def _with_radius(m: int, size: float) -> World:
    """The limit of small noise on a sphere, by extrapolation from the closed form."""
    world = _curved_sphere(m, size)
    return replace(world, values={**world.values, radius: size}, tolerance=1e-5)


SPHERES_LIMIT = Worlds(_with_radius, (1, 0.7), (2, 1.2), (4, 0.9))


def _tube(seed: int, m: int, codim: int) -> World:
    """Random second fundamental forms, and offsets that are standard normal, by quadrature."""
    draw = np.random.default_rng(seed)
    form = draw.standard_normal((codim, m, m))
    form = form + form.transpose(0, 2, 1)
    grid, weights = hermite_rule(6, codim)
    known = {codimension: codim, prior: np.ones(1), offset: grid}
    known |= {trace: np.einsum("cii->c", form)[None], bend: form.reshape(1, -1)}
    known |= {in_direction: np.einsum("nc,cij->nij", grid, form).reshape(len(grid), -1)}
    return World(known, 1, weights, np.ones((1, len(grid), 1)))


TUBE = Worlds(_tube, (0, 3, 2), (1, 2, 3))
