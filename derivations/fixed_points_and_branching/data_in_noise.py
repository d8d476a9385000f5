"""A set of points in noise: what is known exactly of the clean point when a noisy state is seen.

For points y_j of weights w_j in the variance-exploding frame

    D(x) = sum_j p_j(x) y_j,     p_j(x) ~ w_j exp( -|x - y_j|^2 / (2 sigma^2) ),     dD/dx = Cov(Y | x) / sigma^2

Classes of one width s are the same with s^2 + sigma^2 for sigma^2, as far as zeros of the score go. The law is an
`EmpiricalDistribution`, for batches of states; a path of fixed points asks for one state after another, thousands of
times, which numpy answers ten times as fast. Arrays are float64 numpy.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist

from companion.arguments import Array, number, numbers, probabilities
from companion.errors import InputError
from companion.exact.empirical import EmpiricalDistribution, empirical_distribution


@dataclass(frozen=True, eq=False)
class PointSet:
    """Points (K, d) and their probabilities (K,); build it with `point_set`.

    `spread` is the unit of length, the root mean square distance from the mean. `diameter` is the largest distance of
    two points, `nearest` the smallest. What takes a state (d,) and a noise level raises InputError for a state that is
    not finite or of another shape, and for a level that is not positive and finite.
    """

    points: Array
    weights: Array

    @cached_property
    def law(self) -> EmpiricalDistribution:
        return empirical_distribution(torch.from_numpy(self.points), weights=self.weights)

    @property
    def spread(self) -> float:
        centred = self.points - self.weights @ self.points
        return float(np.sqrt(self.weights @ (centred**2).sum(axis=1)))

    @property
    def diameter(self) -> float:
        return float(pdist(self.points).max())

    @property
    def nearest(self) -> float:
        return float(pdist(self.points).min())

    def in_its_span(self) -> "PointSet":
        """The same set in coordinates (K, r) of the r <= K - 1 dimensions that it spans, with its mean at zero.

        Fixed points are means of the points and lie there too; distances, levels and rates stay.

        >>> point_set([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]]).in_its_span().points.shape
        (2, 1)
        """
        centred = self.points - self.weights @ self.points
        _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
        return PointSet(centred @ directions[sizes > 1e-12 * sizes[0]].T, self.weights)

    def state(self, x: ArrayLike) -> Array:
        """x as a float64 state (d,); InputError if it is none.

        >>> point_set([[-1.0], [1.0]]).state([0])
        array([0.])
        """
        state, dimension = numbers("x", x, "finite coordinates", np.isfinite), self.points.shape[1]
        if state.shape != (dimension,):
            raise InputError("x", x, f"a state of {dimension} coordinates")
        return state

    def posterior(self, x: ArrayLike, sigma: float) -> Array:
        """The probability of each point given a state x (d,): (K,).

        Source: ID 43.

        >>> point_set([[-1.0], [1.0]]).posterior([0.0], 0.5)
        array([0.5, 0.5])
        """
        exponent = self._log_joint(x, sigma)
        share: Array = np.exp(exponent - exponent.max())
        share /= share.sum()
        return share

    def log_density(self, x: ArrayLike, sigma: float) -> float:
        """log p(x) at a noise level, but for the normalisation of a Gaussian.

        >>> round(point_set([[-1.0], [1.0]]).log_density([1.0], 0.1), 6)
        -0.693147
        """
        exponent = self._log_joint(x, sigma)
        return float(exponent.max() + np.log(np.exp(exponent - exponent.max()).sum()))

    def _log_joint(self, x: ArrayLike, sigma: float) -> Array:
        squares = ((self.state(x) - self.points) ** 2).sum(axis=1)
        return np.asarray(np.log(self.weights) - 0.5 * squares / positive_level("sigma", sigma) ** 2)

    def denoised(self, x: ArrayLike, sigma: float) -> Array:
        """D(x, sigma) (d,), the mean of the points given x. Source: ID 42."""
        return np.asarray(self.posterior(x, sigma) @ self.points)

    def covariance(self, x: ArrayLike, sigma: float) -> Array:
        """Cov(Y | x) (d, d), which is sigma^2 dD/dx.

        >>> point_set([[-1.0], [1.0]]).covariance([0.0], 0.5)
        array([[1.]])
        """
        posterior = self.posterior(x, sigma)
        centred = self.points - posterior @ self.points
        return np.asarray((posterior[:, None] * centred).T @ centred)

    def stretching(self, x: ArrayLike, sigma: float) -> Array:
        """How fast neighbouring states of the reverse probability flow part, one rate a principal direction, ascending.

            d log |delta| / d(-log sigma) = eigenvalues of Cov(Y | x) / sigma^2 - I

        Units: one e-fold of the distance for one e-fold of the noise. sigma^2 times the Jacobian of the score has the
        same eigenvalues; a fixed point is stable if all are negative. Source: ID 40, 47 to 50.

        >>> point_set([[-1.0], [1.0]]).stretching([0.0], 0.5)
        array([3.])
        """
        return np.asarray(np.linalg.eigvalsh(self.covariance(x, sigma)) / sigma**2 - 1.0)


def point_set(points: ArrayLike | EmpiricalDistribution, weights: ArrayLike | None = None) -> PointSet:
    """At least two distinct points (K, d), equally probable by default, or those of an empirical distribution.

    Raises InputError for numbers that are not finite, shapes that disagree, points that coincide, or weights that are
    no probabilities. Source: ID 41.

    >>> point_set([[0.0, 0.0], [3.0, 4.0]]).diameter
    5.0
    """
    given = points.points.flatten(1).numpy() if isinstance(points, EmpiricalDistribution) else points
    places = numbers("points", given, "finite coordinates", np.isfinite)
    if places.ndim != 2 or len(places) < 2 or places.shape[1] == 0 or not pdist(places).min() > 0.0:
        raise InputError("points", given, "at least two distinct points of shape (points, dimension)")
    shares = probabilities("weights", np.full(len(places), 1.0 / len(places)) if weights is None else weights)
    if len(shares) != len(places):
        raise InputError("weights", weights, f"one for each of {len(places)} points")
    return PointSet(places, shares)


def positive_level(argument: str, sigma: float) -> float:
    """A noise level as a float; InputError if it is not positive, or its square would not be a number.

    >>> positive_level("sigma", 2)
    2.0
    """
    expected = "a positive level between 1e-100 and 1e100"
    return number(argument, sigma, expected, lambda level: (level >= 1e-100) & (level <= 1e100))
