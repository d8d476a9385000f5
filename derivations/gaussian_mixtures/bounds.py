"""What bounds the class entropy's production before and after speciation, for Gaussian classes of one isotropic width.

The log-odds of the true class against a rival is N(kappa/2, kappa) (ES 16, 17). Where kappa is large it is hardly ever
small, so rivals have no mass; where kappa is small the classes' scores are alike. Either way little is produced. The
constants here are derived in the chapter on Gaussian mixtures. Arrays are float64; entropies are in nats.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr

from companion.arguments import Array, number, numbers, probabilities, whole_number
from companion.errors import InputError
from companion.exact import two_gaussians

# Here c/2 = (1 - c)^2/8: both terms of `mass_bound` fall alike, as exp(-0.0858 kappa).
BEST_FRACTION = 3.0 - 2.0 * np.sqrt(2.0)


def tail(kappa: ArrayLike, fraction: float, classes: int = 2) -> Array:
    """The probability that the log-odds against some rival falls below a fraction of its mean, for equidistant classes.

        P_i( min_j L_ij < c kappa/2 ) = 1 - E Phi( (1 - c) sqrt(kappa/2) + z )^(K-1)

    with z standard normal, because the noise of a rival's log-odds is half its own, half common to all rivals; for two
    classes it is Phi(-(1 - c) sqrt(kappa)/2). `fraction` is c. To about 1e-10, relatively. Raises InputError for a
    kappa that is negative or not finite, a fraction outside 0 to 1, fewer than two classes. Source: ES 61, 62.

    >>> tail([0.0, 16.0], 0.5).round(6)
    array([0.5     , 0.158655])
    """
    checked, fraction, classes = _checked(kappa, fraction, classes)
    gap = (1.0 - fraction) * np.sqrt(0.5 * checked)
    # The integrand is largest between -gap/2 and 0; a Gaussian is negligible at 9 deviations.
    z = np.linspace(-9.0 - gap, 9.0, 2001, axis=-1)
    step = z[..., 1] - z[..., 0]
    failing = -np.expm1((classes - 1) * log_ndtr(gap[..., None] + z))
    result: Array = step / np.sqrt(2.0 * np.pi) * (np.exp(-0.5 * z**2) * failing).sum(axis=-1)
    return result


def tail_bound(kappa: ArrayLike, fraction: float, classes: int = 2) -> Array:
    """A bound on `tail`, one term for each rival, whatever the geometry when `kappa` is that of the nearest.

        P_i( min_j L_ij < c kappa/2 ) <= ((K - 1)/2) exp( -(1 - c)^2 kappa/8 )

    Arguments and errors are those of `tail`. Source: ES 61-63.

    >>> tail_bound([0.0, 16.0], 0.5).round(6)
    array([0.5     , 0.303265])
    """
    checked, fraction, classes = _checked(kappa, fraction, classes)
    result: Array = 0.5 * (classes - 1) * np.exp(-((1.0 - fraction) ** 2) * checked / 8.0)
    return result


def mass_bound(kappa: ArrayLike, fraction: float) -> Array:
    """A bound on a rival's mean posterior mass on states of the true class, in two steps, for equal weights.

        E_i p(j|x) <= exp( -c kappa/2 ) + (1/2) exp( -(1 - c)^2 kappa/8 )

    The first term is the mass where the log-odds exceeds c kappa/2, the second the probability that it does not.
    Arguments and errors are those of `tail`. Source: the route of ES 61-63.

    >>> mass_bound([0.0, 16.0], 0.5).round(6)
    array([1.5     , 0.321581])
    """
    checked, fraction, _ = _checked(kappa, fraction, 2)
    result: Array = np.exp(-0.5 * fraction * checked) + tail_bound(checked, fraction)
    return result


def log_production_bounds(kappa: ArrayLike) -> tuple[Array, Array]:
    """The logarithms of a lower and an upper bound on `two_gaussians.production`, for two classes of equal weight.

        (1/8) e^(-kappa/8) / sqrt(1 + kappa/4)  <=  -dH/dkappa  <=  (1/8) e^(-kappa/8) min(1, sqrt(2 pi/kappa))

    They are equal at kappa = 0, and sqrt(pi/2) apart at infinity. Raises InputError for a kappa that is negative or not
    finite.

    >>> low, high = log_production_bounds(4.0)
    >>> bool(low < two_gaussians.log_production(4.0) < high)
    True
    """
    checked, *_ = _checked(kappa, 0.0, 2)
    common = -checked / 8.0 - np.log(8.0)
    return common - 0.5 * np.log1p(0.25 * checked), common - 0.5 * np.log(np.maximum(1.0, checked / (2.0 * np.pi)))


def pair_bound(kappa: ArrayLike, weights: ArrayLike) -> float:
    """The sum of what every pair of classes alone would produce per unit of log kappa: the classes together make less.

        -dH/dlog kappa <= sum_{i<j} (pi_i + pi_j) P_ij,    P_ij the pair's own production in its own weights

    `kappa` is (K, K), symmetric and zero on its diagonal, `weights` (K,). Raises InputError unless the weights are
    positive and sum to one, and kappa is such a matrix of finite numbers of at least 0. Source: ES 65, 66, with the
    pairs' exact values.

    >>> three = 4.0 * (1.0 - np.eye(3))
    >>> round(pair_bound(three, np.ones(3) / 3.0), 6)
    0.4496
    """
    pairs = _pairs(kappa, weights)
    return float(sum((p + q) * at * two_gaussians.production(at, p / (p + q)) for at, p, q in pairs))


def production_bounds(kappa: ArrayLike, weights: ArrayLike) -> tuple[float, float]:
    """Two bounds on the production of K classes per unit of log kappa: before speciation, and after it.

        -dH/dlog kappa <= (1/4) sum_{i<j} sqrt(pi_i pi_j) kappa_ij e^(-kappa_ij/8)     rivals have no mass
        -dH/dlog kappa <= (1/2) sum_{i<j} pi_i pi_j kappa_ij                           scores do not differ

    Both hold at every kappa. Arguments and errors are those of `pair_bound`. Source: ES 61-70, other constants.

    >>> three = 4.0 * (1.0 - np.eye(3))
    >>> [round(bound, 6) for bound in production_bounds(three, np.ones(3) / 3.0)]
    [0.606531, 0.666667]
    """
    pairs = _pairs(kappa, weights)
    before = sum(0.25 * np.sqrt(p * q) * at * np.exp(-at / 8.0) for at, p, q in pairs)
    after = sum(0.5 * p * q * at for at, p, q in pairs)
    return float(before), float(after)


def _pairs(kappa: ArrayLike, weights: ArrayLike) -> list[tuple[float, float, float]]:
    shares = probabilities("weights", weights)
    expected = f"a symmetric {(len(shares),) * 2} matrix, zero on its diagonal, of finite numbers of at least 0"
    matrix = numbers("kappa", kappa, expected, lambda x: (x >= 0.0) & np.isfinite(x))
    near = 1e-9 * matrix.max(initial=0.0)  # distances computed from a matrix product are not exact
    symmetric = matrix.shape == (len(shares),) * 2 and bool(np.all(np.abs(matrix - matrix.T) <= near))
    if not symmetric or not np.all(np.diag(matrix) <= near):
        raise InputError("kappa", kappa, expected)
    rows, columns = np.triu_indices(len(shares), 1)
    return list(zip(matrix[rows, columns].tolist(), shares[rows].tolist(), shares[columns].tolist(), strict=True))


def _checked(kappa: ArrayLike, fraction: float, classes: int) -> tuple[Array, float, int]:
    values = numbers("kappa", kappa, "finite numbers of at least 0", lambda x: (x >= 0.0) & np.isfinite(x))
    share = number("fraction", fraction, "a number between 0 and 1", lambda c: (c >= 0.0) & (c <= 1.0))
    return values, share, whole_number("classes", classes, least=2)
