"""The law that guidance makes of a joint Gaussian law of data and condition.

X is normal in d dimensions, the condition Y = A X + eps in d_Y. All is said in the variance-exploding frame, where X is
seen in noise of the variance q and the guided score is, w = 1 being no guidance,

    s_w = w s_cond - (w - 1) s_uncond,    s_cond = -(C + q)^-1 (x - M y),    s_uncond = -(S + q)^-1 x,

S = Cov X, C = Cov(X | Y), M y = E[X | Y = y]. It is linear in x and y, so the guided law is again a joint Gaussian.
Its conditional covariance becomes singular exponentially fast in w. What is propagated is a square root of it, and the
logarithm of its determinant step by step.
"""

from itertools import pairwise

import numpy as np
from scipy.integrate import solve_ivp

from companion.arguments import Array, number
from derivations.kit.joint_gaussian import Joint

# The noise at the start over the data's own variance. X and Y share about its inverse there, in nats: what the law that
# a path starts from may be wrong by.
_START = 1e11
# A step shrinks all directions together by at most e^-2, and one against another by at most e^-4: its determinant and
# the noise that came in keep their digits.
_TOGETHER, _APART = 4.0, 8.0
_TOLERANCE = 1e-12


def guided(joint: Joint, weight: float, churn: float = 0.0) -> Joint:
    """The law of the samples that guidance of constant weight makes, from pure noise to clean data.

        -dx = ((1 + churn)/2) s_w dq + sqrt(churn) dB,    the variance q of the noise going from infinity to 0

    `churn` 0 is the probability-flow ODE, 1 the reverse SDE; `weight` 1 gives the law back. To about 1e-9 of a
    log-determinant. Raises InputError for a weight below 1, or a churn outside 0 to 1. Source: SI 15 and 59, whose w is
    `weight` less one.

    >>> from derivations.kit.joint_gaussian import observed
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

    >>> from derivations.kit.joint_gaussian import observed
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
