"""A joint Gaussian law of data and condition, and the law that guidance makes of it.

X is normal in d dimensions, the condition Y = A X + eps in d_Y. All is said in the variance-exploding frame, where X is
seen in noise of the variance q and the guided score is, w = 1 being no guidance,

    s_w = w s_cond - (w - 1) s_uncond,    s_cond = -(C + q)^-1 (x - M y),    s_uncond = -(S + q)^-1 x,

S = Cov X, C = Cov(X | Y), M y = E[X | Y = y]. It is linear in x and y, so the guided law is again a joint Gaussian.
Its conditional covariance becomes singular exponentially fast in w. What is propagated is a square root of it, and the
logarithm of its determinant step by step.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from companion.arguments import Array, number, numbers, whole_number
from companion.errors import InputError

# The noise at the start over the data's own variance. X and Y share about its inverse there, in nats: what the law that
# a path starts from may be wrong by.
_START = 1e11
# A step shrinks all directions together by at most e^-2, and one against another by at most e^-4: its determinant and
# the noise that came in keep their digits.
_TOGETHER, _APART = 4.0, 8.0
_TOLERANCE = 1e-12


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


def guided(joint: Joint, weight: float, churn: float = 0.0) -> Joint:
    """The law of the samples that guidance of constant weight makes, from pure noise to clean data.

        -dx = ((1 + churn)/2) s_w dq + sqrt(churn) dB,    the variance q of the noise going from infinity to 0

    `churn` 0 is the probability-flow ODE, 1 the reverse SDE; `weight` 1 gives the law back. To about 1e-9 of a
    log-determinant. Raises InputError for a weight below 1, or a churn outside 0 to 1. Source: SI 15 and 59, whose w is
    `weight` less one.

    >>> joint = observed([[1.0]], [[1.0]], 1.0)
    >>> [float(guided(joint, 3.0, churn).within[0, 0].round(6)) for churn in (0.0, 1.0)]  # 1/2^3, (1 - 1/2^5)/5
    [0.125, 0.19375]
    """
    w = number("weight", weight, "a finite number of at least 1", lambda w: (w >= 1.0) & (w < np.inf))
    kept = number("churn", churn, "a number between 0 and 1", lambda c: (c >= 0.0) & (c <= 1.0))
    score = GuidedScore(joint, w)
    root, gain = np.sqrt(score.start) * np.eye(len(joint.root)), w * joint.gain  # a guided state deep in the noise
    log_determinant = len(root) * np.log(score.start)
    for begin, end in pairwise(score.edges().tolist()):
        step, shift, noise = _segment(score, begin, end, kept)
        root, gain = step @ root, step @ gain + shift
        log_determinant += 2.0 * float(np.linalg.slogdet(step)[1])
        if kept > 0.0:
            root = np.asarray(np.linalg.qr(np.hstack([root, np.linalg.cholesky(noise)]).T, mode="r")).T
            log_determinant = 2.0 * float(np.log(np.abs(np.diag(root))).sum())
    return Joint(root, gain, joint.condition, log_determinant)


class GuidedScore:
    """The guided score of a joint law on the clock log(q + c), c the least variance given Y: bounded there.

    >>> pull, push = GuidedScore(observed([[1.0]], [[1.0]], 1.0), 1.0).at(0.0)
    >>> pull.item(), push.item()
    (1.0, 0.5)
    """

    def __init__(self, joint: Joint, weight: float) -> None:
        self.weight, self.gain = weight, joint.gain
        self.inner_values, self.inner = np.linalg.eigh(joint.within)
        self.outer_values, self.outer = np.linalg.eigh(joint.marginal)
        self.least = float(self.inner_values[0])
        self.start = _START * float(self.outer_values[-1])  # the variance q at which paths begin

    def clock(self, variance: float) -> float:
        return float(np.log(self.least + variance))

    def edges(self) -> Array:
        """Places on the clock between which directions stay comparable, from the start to clean data."""
        clock = np.linspace(self.clock(self.start), self.clock(0.0), 4000)
        noise = np.exp(clock) - self.least
        apart = (self.weight - 1.0) * (np.log(self.outer_values[-1] + noise) - clock)
        work = (clock[0] - clock) / _TOGETHER + apart / _APART
        return np.interp(np.linspace(work[0], work[-1], 2 + int(work[-1])), work, clock)

    def at(self, clock: float) -> tuple[Array, Array]:
        """The matrices of -(q + c) s_w = pull x - push y."""
        whole = np.exp(clock)
        q = max(whole - self.least, 0.0)
        inner = self.weight * (self.inner * (whole / (self.inner_values + q))) @ self.inner.T
        outer = (self.weight - 1.0) * (self.outer * (whole / (self.outer_values + q))) @ self.outer.T
        return inner - outer, inner @ self.gain


def _segment(score: GuidedScore, first: float, last: float, churn: float) -> tuple[Array, Array, Array]:
    """What the guided motion between two values of the clock does: x becomes step x + shift y + normal noise."""
    (d, d_y), half, scale = score.gain.shape, 0.5 * (1.0 + churn), float(np.exp(first))

    def motion(clock: float, flat: Array) -> Array:
        pull, push = score.at(clock)
        state = flat.reshape(d, -1)
        moved = half * pull @ state
        moved[:, d : d + d_y] -= half * push
        # The covariance of the noise that has come in, in units of its size.
        moved[:, d + d_y :] += half * state[:, d + d_y :] @ pull - churn * np.exp(clock) / scale * np.eye(d)
        return moved.ravel()

    start = np.hstack([np.eye(d), np.zeros((d, d_y)), np.zeros((d, d))])
    solved = solve_ivp(
        motion, (first, last), start.ravel(), method="DOP853", rtol=_TOLERANCE, atol=_TOLERANCE, t_eval=[last]
    )
    step, shift, noise = np.split(solved.y[:, -1].reshape(d, -1), [d, d + d_y], axis=1)
    return step, shift, 0.5 * scale * (noise + noise.T)


def _log_determinant(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1])
