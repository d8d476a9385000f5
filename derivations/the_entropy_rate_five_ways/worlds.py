"""The words of the entropy of the sample itself, and worlds of noised points in which its identities are checked.

    Given(f)            E[f | x], the mean of f over the clean samples that the state x leaves possible
    Directions(f, j)    the sum over the d directions j of the space

CHANNELS    weighted points on a line and in a plane, noised. Posteriors and denoisers come from Bayes' rule; the
            score, by a complex step, and its derivatives, by differences, from the density alone; entropies from their
            definitions, and their rates by differences in time.

A law of points is a law like any other: nothing in an identity knows how many there are.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sympy import Derivative, Expr, Function, IndexedBase, Symbol

from companion.arguments import Array
from companion.forward import Process, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.kit import language as words
from derivations.kit.coordinates import Divergence, Gradient, Laplacian
from derivations.kit.differences import bend, slope
from derivations.kit.language import Dot, Total, snr, t
from derivations.kit.worlds import World, Worlds


class Given(Dot):
    """Given(f): the mean of f over the clean samples that the state leaves possible."""

    nargs = 1

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        return rf"\mathbb{{E}} \left[ {printer._print(self.args[0])} \mid x \right]"


class Directions(Total):
    """Directions(f, j): the sum of f over the d directions j of the space."""

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        return str(printer._print_Total(self, exp))


class Along(Dot):
    """Along(v, f): the derivative of a field in the direction v."""

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        direction, body = map(printer._print, self.args)
        return rf"{direction} \cdot \nabla \left( {body} \right)"


dimension = Symbol("d", positive=True)
clean, noise = Symbol("x_{0}"), Symbol(r"\varepsilon")  # x = alpha x_0 + sigma epsilon
log_posterior = Symbol(r"\log p(x_{0} \mid x)")
network = Symbol(r"s_{\theta}")  # what a network says instead of the score, a vector field
first, second = Symbol("u"), Symbol("v")  # two fixed directions
exponent = IndexedBase(r"\lambda")  # the eigenvalues of the Jacobian of the score, one a direction

hidden_sample = Function("H_{X_0|X}")(t)  # H(X_0 | X_t)
hidden_in_snr = Function("H_{X_0|X}")(snr)
hidden_given_class = Function("H_{X_0|X,Z}")(t)
states, states_given_sample = Function("H_X")(t), Function("H_{X|X_0}")(t)  # differential entropies


@dataclass(frozen=True, eq=False)
class _Channel(World):
    """A world whose values may depend on the clean sample as well: fields (points, states, 1 or d).

    `shares` (points, states, 1) is the posterior of the points at each state, `within` (K, points, states, 1) that in
    each class, `size` the number of coordinates.
    """

    shares: Array = field(default_factory=lambda: np.ones((1, 1, 1)))
    within: Array = field(default_factory=lambda: np.ones((0, 1, 1, 1)))
    size: int = 1

    def _value(self, expression: Expr, where: Mapping[Symbol, int]) -> Array:
        if expression not in self.values and isinstance(expression, Given):
            return np.asarray((self.shares * self._value(expression.args[0], where)).sum(axis=0))
        if isinstance(expression, Directions):
            body, index = expression.args
            parts = [self._value(body, {**where, index: number}) for number in range(1, self.size + 1)]
            return np.asarray(sum(parts), dtype=float)
        return super()._value(expression, where)

    def _mean(self, expression: words.E, where: Mapping[Symbol, int]) -> Array:
        """A mean over states and clean samples together."""
        *index, body = expression.args
        values = self._value(body, where)
        if values.ndim == 3:
            shares = self.within[self._class(index[0], where) - 1] if index else self.shares
            values = (shares * values).sum(axis=0)
        if index:
            density = self.densities[self._class(index[0], where) - 1]
        else:
            density = np.tensordot(self.values[words.prior], self.densities, axes=1)
        return np.asarray((self.weights[:, None] * density * values).sum(axis=0))


def channel(points: Array, masses: Array, groups: Array, process: Process, time: float, step: float = 0.4) -> World:
    """Points (N, d) with probabilities (N,) and classes (N,) from 0, noised to a time of a process.

    The grid of states reaches 8 deviations of the noise beyond the points in steps of `step` of them; sums over it miss
    about exp(-2 pi^2 / step^2) and exp(-32). Differences in space and time are of order eight; the tolerance, 1e-8, is
    theirs.

    >>> from derivations.kit.language import E, Norm2
    >>> CHANNELS[0].agree([E(Norm2(noise)), dimension])
    True
    """
    law = _Law(points, masses, groups, process)
    alpha, sigma = law.kernel(time)
    axes = [np.arange(min(a) - 8.0 * sigma, max(a) + 8.0 * sigma, step * sigma) for a in alpha * points.T]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    weights = np.full(len(x), (step * sigma) ** len(axes))
    size = len(axes)

    joint = law.joint(x, time)  # (points, states, 1)
    density, members = joint.sum(axis=0), np.eye(groups.max() + 1)[groups].T[:, :, None, None]
    by_class = (members * joint).sum(axis=1)
    prior, within = members[:, :, 0, 0] @ masses, members * joint / by_class[:, None]
    shares, samples = joint / density, points[:, None, :]
    denoised = (shares * samples).sum(axis=0)

    def score(at: Array) -> Array:
        return _complex_step(lambda z: np.log(law.density(z, time)), at)

    def field_of_network(at: Any) -> Any:
        """Any smooth field that is no gradient."""
        return np.sin(at @ _mixing(size) + 0.3) / sigma - 0.5 * at @ _mixing(size).T

    h, eye = 0.04 * sigma, np.eye(size)
    slopes = np.stack([slope(_shifted(score, x, e), 0.0, h) for e in eye], axis=-1)  # (states, d, d)
    spectrum = np.asarray(np.linalg.eigvalsh(0.5 * (slopes + slopes.transpose(0, 2, 1))))
    u, v = eye[0] + 0.3, np.linspace(0.5, -1.0, size)
    turned = slope(_shifted(lambda at: law.denoised(at, time) @ u, x, v), 0.0, h)
    spread = np.stack(
        [slope(_shifted(lambda at: law.denoised(at, time), x, e), 0.0, h)[:, a] for a, e in enumerate(eye)]
    )
    crossing = _sum_of(_complex_step(_component(field_of_network, a), x)[:, a] for a in range(size))

    def log_shares(at: Array) -> Array:
        together = law.joint(at, time)
        return np.asarray(np.log(together) - np.log(together.sum(axis=0)))

    uphill = np.concatenate([slope(_shifted(log_shares, x, e), 0.0, h) for e in eye], axis=-1)
    curvature = _sum_of(bend(_shifted(log_shares, x, e), 0.0, h) for e in eye)

    rates = slope(lambda at: law.entropies(x, weights, at), time, 0.01 * time)
    snr_rate = slope(lambda at: np.exp(process.log_snr(np.asarray(at))), time, 0.01 * time)
    names = (hidden_sample, states, states_given_sample, words.class_entropy(t), hidden_given_class)
    values = {
        dimension: size,
        words.alpha: alpha,
        words.sigma: sigma,
        words.drift: process.drift(np.asarray(time)),
        words.diffusion: np.sqrt(process.diffusion(np.asarray(time))),
        snr: (alpha / sigma) ** 2,
        words.prior: prior,
        words.density: by_class / prior[:, None, None],
        words.denoiser: (within * samples).sum(axis=1),
        words.mixture_density: density,
        words.mixture_denoiser: denoised,
        words.mixture_score: score(x),
        words.state: x,
        clean: samples,
        noise: (x - alpha * samples) / sigma,
        network: field_of_network(x),
        first: u,
        second: v,
        exponent: spectrum.T[:, :, None],
        Gradient(words.mixture_density): _complex_step(lambda z: law.density(z, time), x),
        Gradient(log_posterior): uphill,
        Laplacian(log_posterior): curvature,
        Along(second, Dot(first, words.mixture_denoiser)): turned[:, None],
        Divergence(words.mixture_score): np.trace(slopes, axis1=1, axis2=2)[:, None],
        Divergence(words.mixture_denoiser): spread.sum(axis=0)[:, None],
        Divergence(network): crossing[:, None],
        Derivative(hidden_in_snr, snr): rates[0] / snr_rate,
        **{Derivative(name, t): rate for name, rate in zip(names, rates, strict=True)},
        **dict(zip(names, law.entropies(x, weights, time), strict=True)),
    }
    return _Channel(
        values=values,
        classes=len(prior),
        weights=weights,
        densities=by_class / prior[:, None, None],
        tolerance=1e-8,
        shares=shares,
        within=within,
        size=size,
    )


@dataclass(frozen=True)
class _Law:
    points: Array
    masses: Array
    groups: Array
    process: Process

    def kernel(self, time: float) -> tuple[float, float]:
        return float(self.process.alpha(np.asarray(time))), float(self.process.sigma(np.asarray(time)))

    def joint(self, x: Any, time: float) -> Any:
        """The mass of a point times the density of a state given it; x may be complex."""
        alpha, sigma = self.kernel(time)
        square = ((x - alpha * self.points[:, None, :]) ** 2).sum(axis=-1, keepdims=True)
        height = (2.0 * np.pi * sigma**2) ** (-0.5 * self.points.shape[1])
        return self.masses[:, None, None] * height * np.exp(-0.5 * square / sigma**2)

    def density(self, x: Any, time: float) -> Any:
        return self.joint(x, time).sum(axis=0)[:, 0]

    def denoised(self, x: Array, time: float) -> Array:
        joint = self.joint(x, time)
        return np.asarray((joint * self.points[:, None, :]).sum(axis=0) / joint.sum(axis=0))

    def entropies(self, x: Array, weights: Array, time: float) -> Array:
        """H(X_0|X), H(X), H(X|X_0), H(Z|X), H(X_0|X,Z)."""
        joint = self.joint(x, time)[:, :, 0]
        classes = np.stack([joint[self.groups == k].sum(axis=0) for k in range(self.groups.max() + 1)])
        of_points, of_classes, of_all = (-float(((each * np.log(each)) @ weights).sum()) for each in
                                         (joint, classes, joint.sum(axis=0, keepdims=True)))  # fmt: skip
        known = -float(self.masses @ np.log(self.masses))
        return np.array([of_points - of_all, of_all, of_points - known, of_classes - of_all, of_points - of_classes])


def _complex_step(function: Callable[[Any], Any], x: Array) -> Array:
    """The gradient of an analytic function, to rounding."""
    tiny = 1e-30
    return np.stack([function(x + 1j * tiny * e).imag / tiny for e in np.eye(x.shape[1])], axis=1)


def _shifted(function: Callable[[Array], Array], x: Array, direction: Array) -> Callable[[float], Array]:
    return lambda h: function(x + h * direction)


def _component(function: Callable[[Any], Any], a: int) -> Callable[[Any], Any]:
    return lambda at: function(at)[:, a]


def _sum_of(parts: Iterable[Array]) -> Array:
    return np.asarray(np.sum(list(parts), axis=0))


def _mixing(size: int) -> Array:
    return np.random.default_rng(size).standard_normal((size, size))


_LINE = (np.array([[-1.2], [-0.4], [0.3], [1.1]]), np.array([0.2, 0.3, 0.1, 0.4]), np.array([0, 0, 1, 1]))
_PLANE = (
    np.array([[-1.0, 0.2], [0.4, 0.9], [0.7, -0.8], [0.1, 0.0]]),
    np.array([0.3, 0.2, 0.4, 0.1]),
    np.array([0, 1, 1, 2]),
)
CHANNELS = Worlds(
    channel, (*_LINE, ornstein_uhlenbeck(), 0.4), (*_PLANE, variance_exploding(), 0.8), (*_PLANE, rectified_flow(), 0.4)
)
