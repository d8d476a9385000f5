"""A joint Gaussian law of data and condition, exact: X is normal in d dimensions, Y = A X + sigma_eps eps in d_Y.

The joint law is said in the variance-exploding frame, where X is seen in noise of the variance q. What a network stores
of a normal law is its divergence from the equilibrium N(0, I) of a variance-preserving process.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from companion.arguments import Array, number, numbers, whole_number
from companion.errors import InputError


@dataclass(frozen=True, eq=False)
class Joint:
    """A joint Gaussian law of X and Y with mean zero, by what Y says of X and what it leaves open.

        E[X | Y = y] = gain y,    Cov(X | Y) = root root^T,    log |Cov(X | Y)| = log_determinant,    Cov Y = condition

    float64 arrays (d, d_Y), (d, d) and (d_Y, d_Y). The determinant is carried beside a root that may be singular to
    rounding.

    >>> joint = observed(np.eye(2), [[1.0, 0.0]], 1.0)
    >>> joint.gain[:, 0], round(joint.information(), 6)
    (array([0.5, 0. ]), 0.346574)
    """

    root: Array
    gain: Array
    condition: Array
    log_determinant: float

    @property
    def within(self) -> Array:
        """Cov(X | Y) = root root^T, (d, d)."""
        inner: Array = self.root @ self.root.T
        return inner

    @property
    def marginal(self) -> Array:
        """Cov X = within + gain condition gain^T, (d, d)."""
        outer: Array = self.within + self.gain @ self.condition @ self.gain.T
        return outer

    def information(self, floor: float = 0.0) -> float:
        """The mutual information of Y and X in nats, or of Y and X seen in noise of the standard deviation `floor`.

            I(X + floor eps; Y) = (1/2) log |Cov X + floor^2| - (1/2) log |Cov(X | Y) + floor^2|

        Raises InputError for a floor that is negative or not finite. Source: SI 49.
        """
        deviation = number("floor", floor, "a finite number of at least 0", lambda f: (f >= 0.0) & (f < np.inf))
        noise = deviation**2 * np.eye(len(self.root))
        inner = _log_determinant(self.within + noise) if deviation > 0.0 else self.log_determinant
        return 0.5 * (_log_determinant(self.marginal + noise) - inner)

    def information_rate(self, variance: ArrayLike) -> Array:
        """What the information loses with the variance q of the noise that X is seen in, in nats for a unit of q.

            -dI/dq = (1/2) E |s_cond - s_uncond|^2 = (1/2) tr( (Cov(X | Y) + q)^-1 - (Cov X + q)^-1 )

        Of the shape of `variance`. Raises InputError for one that is not positive and finite. Source: SI 12.

        >>> observed([[1.0]], [[1.0]], 1.0).information_rate([0.5, 1.5])
        array([0.16666667, 0.05      ])
        """
        q = numbers("variance", variance, "positive finite numbers", lambda v: (v > 0.0) & (v < np.inf))
        inner, outer = (np.linalg.eigvalsh(matrix) for matrix in (self.within, self.marginal))
        rate: Array = 0.5 * np.sum(1.0 / (inner + q[..., None]) - 1.0 / (outer + q[..., None]), axis=-1)
        return rate

    def samples(self, count: int, generator: np.random.Generator) -> tuple[Array, Array]:
        """`count` pairs (x, y) of the law, (count, d) and (count, d_Y).

        >>> [part.shape for part in observed(np.eye(2), [[1.0, 0.0]], 1.0).samples(3, np.random.default_rng(0))]
        [(3, 2), (3, 1)]
        """
        y = generator.standard_normal((count, len(self.condition))) @ np.linalg.cholesky(self.condition).T
        return y @ self.gain.T + generator.standard_normal((count, len(self.root))) @ self.root.T, y


def observed(covariance: ArrayLike, channel: ArrayLike, noise: float) -> Joint:
    """The joint law of X with a covariance S (d, d) and Y = A X + noise eps, the channel A of shape (d_Y, d).

        Cov Y = A S A^T + noise^2,    gain = S A^T (Cov Y)^-1,    Cov(X | Y) = (S^-1 + A^T A / noise^2)^-1

    Raises InputError for a covariance that is not symmetric and positive definite, a channel that does not fit it, or a
    noise that is not a positive number. Source: SI 47 to 49, 53.

    >>> observed([[2.0]], [[1.0]], 1.0).within.round(6)
    array([[0.666667]])
    """
    expected = "a symmetric positive definite matrix"
    outer = numbers("covariance", covariance, expected, np.isfinite)
    if outer.ndim != 2 or outer.shape != outer.T.shape or not np.allclose(outer, outer.T, rtol=1e-12, atol=0.0):
        raise InputError("covariance", outer.tolist(), expected)
    if np.linalg.eigvalsh(outer)[0] <= 0.0:
        raise InputError("covariance", outer.tolist(), expected)
    seen = numbers("channel", channel, f"a matrix of {len(outer)} columns", np.isfinite)
    if seen.ndim != 2 or seen.shape[1] != len(outer):
        raise InputError("channel", f"of shape {seen.shape}", f"a matrix of {len(outer)} columns")
    variance = number("noise", noise, "a positive finite number", lambda n: (n > 0.0) & (n < np.inf)) ** 2
    condition = seen @ outer @ seen.T + variance * np.eye(len(seen))
    # An inverse of a sum of positive matrices keeps the digits that a difference of covariances would lose.
    precision = np.linalg.inv(outer) + seen.T @ seen / variance
    root = np.linalg.inv(np.linalg.cholesky(0.5 * (precision + precision.T))).T
    gain = np.asarray(np.linalg.solve(condition, seen @ outer).T, dtype=np.float64)
    return Joint(root, gain, condition, _log_determinant(root @ root.T))


def random_joint(dimension: int, conditions: int, noise: float, seed: int) -> Joint:
    """The paper's random example: a channel of independent standard normal numbers, a covariance H H^T + 1/1000.

        A ~ N(0, 1), of shape (conditions, dimension),    H ~ N(0, 1/dimension)

    Raises InputError for dimensions below one, or a noise that is not positive. Source: SI 51.

    >>> round(random_joint(25, 5, 1.0, seed=0).information(), 2)
    7.19
    """
    d, d_y = whole_number("dimension", dimension, least=1), whole_number("conditions", conditions, least=1)
    draw = np.random.default_rng(seed)
    channel, root = draw.standard_normal((d_y, d)), draw.standard_normal((d, d)) / np.sqrt(d)
    return observed(root @ root.T + 1e-3 * np.eye(d), channel, noise)


def stored(eigenvalues: ArrayLike, log_snr: ArrayLike) -> Array:
    """The total entropy from pure noise up to a log-snr, in nats: the divergence of the noised law from N(0, I).

        S(lambda) = sum_i (v_i - 1 - log v_i) / 2,    at infinity (tr S - log |S| - d) / 2

    Of the shape of `log_snr`; infinite at infinity for an eigenvalue of 0. Raises InputError for eigenvalues that are
    negative or not finite, or a log-snr that is NaN. Source: SI 3, 50.

    >>> stored([1.0, 0.01], [-np.inf, 0.0, np.inf]).round(4).tolist()
    [0.0, 0.0941, 1.8076]
    """
    expected = "finite numbers of at least 0, one for each direction"
    values = numbers("eigenvalues", eigenvalues, expected, lambda v: (v >= 0.0) & (v < np.inf))
    if values.ndim != 1:
        raise InputError("eigenvalues", values.tolist(), expected)
    levels = numbers("log_snr", log_snr, "numbers", lambda level: ~np.isnan(level))[..., None]
    above = expit(levels) * (values - 1.0)  # v - 1
    # log v to rounding, near equilibrium and for a thin direction alike.
    near = np.abs(above) < 0.5
    logs = np.log1p(np.where(near, above, 0.0))
    with np.errstate(divide="ignore"):
        logs = np.where(near, logs, np.log(np.where(near, 1.0, expit(-levels) + expit(levels) * values)))
    total: Array = 0.5 * np.sum(above - logs, axis=-1)
    return total


def total_correlation(covariance: ArrayLike) -> float:
    """The total correlation of the coordinates of a normal law, in nats: TC = -(1/2) log |R|, R the correlations.

    Raises InputError for a matrix that is not symmetric and positive definite. Source: SI 7.

    >>> round(total_correlation([[4.0, 1.2], [1.2, 1.0]]), 6)                      # -(1/2) log(1 - 0.36)
    0.223144
    """
    expected = "a positive definite matrix"
    matrix = numbers("covariance", covariance, expected, np.isfinite)
    if matrix.ndim != 2 or matrix.shape != matrix.T.shape or not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0.0):
        raise InputError("covariance", matrix.tolist(), expected)
    if np.any(np.diag(matrix) <= 0.0):
        raise InputError("covariance", matrix.tolist(), expected)
    widths = np.sqrt(np.diag(matrix))
    try:
        root = np.linalg.cholesky(matrix / np.outer(widths, widths))
    except np.linalg.LinAlgError:
        raise InputError("covariance", matrix.tolist(), expected) from None
    return -float(np.log(np.diag(root)).sum())


def _log_determinant(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1])
