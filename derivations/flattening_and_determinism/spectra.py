"""What a network stores of a Gaussian, and what of that is about a condition: all of it from eigenvalues.

X has the covariance S with eigenvalues u_i, and given Y the covariance C with eigenvalues c_i <= u_i, both in order. In
noise of the log-snr lambda, with snr = e^lambda, a variance-preserving process holds a direction of eigenvalue u in

    v = alpha^2 u + sigma^2 = (1 + snr u) / (1 + snr),    equilibrium being v = 1.

Totals are up to a last log-snr, which every function asks for; infinity means clean data.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from companion.arguments import Array, number, numbers, whole_number
from companion.errors import InputError
from derivations.kit.joint_gaussian import Joint, observed

_POSITIVE = "positive finite numbers, one for each direction"


def entropy_rate(eigenvalues: ArrayLike, log_snr: ArrayLike) -> Array:
    """What `stored` gains for a unit of log-snr, in nats:

        dS/dlambda = (sigma^2 / 2) sum_i (v_i - 2 + 1/v_i) = sum_i (1 - u_i)^2 snr^2 / (2 (1 + snr)^2 (1 + u_i snr))

    In time it is (g^2 / 2) sum_i (v_i - 2 + 1/v_i). Shape and errors as for `stored`. Source: SI 3, 56.

    >>> entropy_rate([0.01], [0.0, 2.0, 8.0]).round(4).tolist()
    [0.1213, 0.354, 0.0159]
    """
    values, levels = _spectrum("eigenvalues", eigenvalues), _levels(log_snr)[..., None]
    rate: Array = 0.5 * np.sum((1.0 - values) ** 2 * expit(levels) ** 2 * expit(-levels - np.log(values)), axis=-1)
    return rate


def information(inner: ArrayLike, outer: ArrayLike, log_snr: ArrayLike) -> Array:
    """The mutual information of Y and X in noise of a log-snr, in nats, from the eigenvalues c of C and u of S:

        I(lambda) = (1/2) sum_i log( (1 + u_i snr) / (1 + c_i snr) )

    Of the shape of `log_snr`. Raises InputError for eigenvalues that are not positive, two spectra of different
    lengths, or a log-snr that is NaN. Source: SI 49, 55, 56.

    >>> information([0.5], [1.0], [-np.inf, 0.0, np.inf]).round(4).tolist()
    [0.0, 0.1438, 0.3466]
    """
    within, whole = _pair(inner, outer)
    levels = _levels(log_snr)[..., None]
    # Not log(1 + e^a) - log(1 + e^b), which at infinity is a difference of infinities.
    ratio = (expit(-levels) + expit(levels) * whole) / (expit(-levels) + expit(levels) * within)
    total: Array = 0.5 * np.sum(np.log(ratio), axis=-1)
    return total


def information_rate(inner: ArrayLike, outer: ArrayLike, log_snr: ArrayLike) -> Array:
    """What `information` gains for a unit of log-snr, in nats: a step up at -log u_i and a step down at -log c_i.

        dI/dlambda = (sigma^2 / 2) (tr C_t^-1 - tr S_t^-1) = (1/2) sum_i ( 1/(1 + c_i snr) - 1/(1 + u_i snr) )

    Shape and errors as for `information`. Source: SI 12, 55, 56.

    >>> information_rate([0.01], [1.0], [-4.0, 2.3, 8.0]).round(3).tolist()
    [0.009, 0.409, 0.016]
    """
    within, whole = _pair(inner, outer)
    levels = _levels(log_snr)[..., None]
    rate: Array = 0.5 * np.sum(expit(-levels - np.log(within)) - expit(-levels - np.log(whole)), axis=-1)
    return rate


def effective_radius(eigenvalues: ArrayLike) -> float:
    """The width of the round Gaussian of the same entropy: the geometric mean of all widths, |S|^(1/2d).

    Raises InputError for eigenvalues that are not positive. Source: none; SI's Figure 9 has an "effective size".

    >>> round(effective_radius([1.0, 1e-4]), 12)
    0.1
    """
    return float(np.exp(0.5 * np.log(_spectrum("eigenvalues", eigenvalues)).mean()))


def flattened(dimension: int, kept: int, conditions: int, least: float, noise: float, seed: int) -> Joint:
    """The paper's flattened example: `kept` random eigenvalues, all others `least`, in random directions.

        S = U diag(u_1, .., u_kept, least, .., least) U^T,    u_i = 0.1 + |N(0, 1/kept)|,    A ~ N(0, 1)

    The same seed gives the same U, u_i and A for every `least` and `noise`. The paper adds a small multiple of the
    identity, which is part of `least` here. Raises InputError for dimensions below one, more kept directions than
    there are, or a `least` or `noise` that is not positive. Source: SI 47, 52.

    >>> np.linalg.eigvalsh(flattened(4, 2, 3, 1e-4, 1.0, seed=0).marginal)[:2].round(9).tolist()
    [0.0001, 0.0001]
    """
    channel, turned, wide = _drawn(dimension, kept, conditions, seed)
    thin = number("least", least, "a positive finite number", lambda value: (value > 0.0) & (value < np.inf))
    covariance = (turned * np.concatenate([wide, np.full(len(turned) - len(wide), thin)])) @ turned.T
    return observed(0.5 * (covariance + covariance.T), channel, noise)


def information_when_flat(
    dimension: int, kept: int, conditions: int, least: float, noise: float, seed: int
) -> tuple[float, float]:
    """The information of `flattened` in the limit of a vanishing `least`, and what it has above the limit, in nats.

        I(0) = (1/2) log |W / noise^2|,    I(least) - I(0) = (1/2) log |1 + least A_0^T W^-1 A_0|

    W is the covariance that Y would have in the limit, A_0 the channel's part on the flattened directions.
    Arguments as for `flattened`. Source: none.

    >>> limit, more = information_when_flat(6, 2, 3, 0.01, 1.0, seed=0)
    >>> round(limit + more - flattened(6, 2, 3, 0.01, 1.0, seed=0).information(), 9) + 0.0
    0.0
    """
    channel, turned, wide = _drawn(dimension, kept, conditions, seed)
    along, across = channel @ turned[:, : len(wide)], channel @ turned[:, len(wide) :]
    seen = (along * wide) @ along.T + noise**2 * np.eye(len(channel))
    more = np.eye(across.shape[1]) + least * across.T @ np.linalg.solve(seen, across)
    limit, gap = (float(np.linalg.slogdet(part)[1]) for part in (seen / noise**2, more))
    return 0.5 * limit, 0.5 * gap


def _drawn(dimension: int, kept: int, conditions: int, seed: int) -> tuple[Array, Array, Array]:
    """The channel, the directions as columns, and the kept eigenvalues, which belong to the first of them."""
    d, d_y = whole_number("dimension", dimension, least=1), whole_number("conditions", conditions, least=1)
    k = whole_number("kept", kept, least=1, most=d)
    draw = np.random.default_rng(seed)
    channel = draw.standard_normal((d_y, d))
    turned = np.linalg.qr(draw.standard_normal((d, d)))[0]
    return channel, turned, 0.1 + np.abs(draw.standard_normal(k)) / np.sqrt(k)


def spectra(joint: Joint) -> tuple[Array, Array]:
    """The eigenvalues of Cov(X | Y) and of Cov X, each in rising order, (d,) both.

    >>> [part.round(9).tolist() for part in spectra(observed([[1.0]], [[1.0]], 1.0))]
    [[0.5], [1.0]]
    """
    inner = np.asarray(np.linalg.eigvalsh(joint.within), dtype=np.float64)
    outer = np.asarray(np.linalg.eigvalsh(joint.marginal), dtype=np.float64)
    return inner, outer


def fitted_spectra(x: Array, y: Array) -> tuple[Array, Array]:
    """`spectra` of the normal law of mean zero that fits pairs best: x (n, d) and y (n, d_Y), n above d + d_Y.

    Its total entropy is on average too large by about d (d + 1)/4n, its information by about d d_Y/2n.

    >>> x, y = observed([[1.0]], [[1.0]], 1.0).samples(100_000, np.random.default_rng(0))
    >>> [part.round(1).tolist() for part in fitted_spectra(x, y)]
    [[0.5], [1.0]]
    """
    outer = x.T @ x / len(x)
    left = x - y @ np.linalg.lstsq(y, x, rcond=None)[0]
    inner = left.T @ left / len(x)
    found = np.linalg.eigvalsh(inner), np.linalg.eigvalsh(outer)
    return np.asarray(found[0], dtype=np.float64), np.asarray(found[1], dtype=np.float64)


def _spectrum(argument: str, eigenvalues: ArrayLike) -> Array:
    values = numbers(argument, eigenvalues, _POSITIVE, lambda v: (v > 0.0) & (v < np.inf))
    if values.ndim != 1:
        raise InputError(argument, values.tolist(), _POSITIVE)
    return values


def _pair(inner: ArrayLike, outer: ArrayLike) -> tuple[Array, Array]:
    within, whole = _spectrum("inner", inner), _spectrum("outer", outer)
    if within.shape != whole.shape:
        raise InputError("inner", within.tolist(), f"{whole.size} eigenvalues, as many as outer has")
    return within, whole


def _levels(log_snr: ArrayLike) -> Array:
    return numbers("log_snr", log_snr, "numbers", lambda level: ~np.isnan(level))
