"""Where information may get lost between the exact guided law and a curve of it: arithmetic, steps, samples.

What an estimator cannot see below a noise floor is `Joint.information(floor)`.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from companion.arguments import Array, number, numbers
from companion.errors import InputError
from companion.forward import Process
from derivations.guided_information.joint_gaussian import GuidedScore
from derivations.kit.joint_gaussian import Joint


def sampled(joint: Joint, weight: float, process: Process, times: ArrayLike) -> Joint:
    """The law of the samples that Euler's rule makes of the guided probability-flow ODE at decreasing `times`.

        x_s = x_t - (t - s) (f x_t - (g^2/2) s_w(x_t))

    It starts with N(0, sigma^2) at the first time; the last state is divided by its alpha. Exact: every step is affine.
    Raises InputError for times outside the process, fewer than two, or not decreasing. Source: SI 59, whose w is
    `weight` less one.

    >>> from companion.forward import linear
    >>> from derivations.kit.joint_gaussian import observed
    >>> law = sampled(observed([[1.0]], [[1.0]], 1.0), 1.0, linear(), np.linspace(1.0, 0.0, 1001))
    >>> round(law.information(), 3)                                                                 # log(2)/2 = 0.347
    0.344
    """
    grid = numbers("times", process.check_time(times), "two or more decreasing times", lambda t: -np.diff(t) > 0.0)
    if grid.size < 2:
        raise InputError("times", grid.tolist(), "two or more decreasing times")
    identity = np.eye(len(joint.root))
    root, gain = float(process.sigma(grid[0])) * identity, np.zeros_like(joint.gain)
    log_determinant = 2.0 * float(np.linalg.slogdet(root)[1])
    for t, s in pairwise(grid):
        alpha, sigma, drift, diffusion = (
            float(field(t)) for field in (process.alpha, process.sigma, process.drift, process.diffusion)
        )
        inner, outer = (
            np.linalg.inv(alpha**2 * covariance + sigma**2 * identity) for covariance in (joint.within, joint.marginal)
        )
        pull = weight * inner - (weight - 1.0) * outer
        step = identity - (t - s) * (drift * identity + 0.5 * diffusion * pull)
        root, gain = step @ root, step @ gain + 0.5 * (t - s) * diffusion * weight * alpha * inner @ joint.gain
        log_determinant += 2.0 * float(np.linalg.slogdet(step)[1])
    last = float(process.alpha(grid[-1]))
    return Joint(root / last, gain / last, joint.condition, log_determinant - 2.0 * len(root) * float(np.log(last)))


def from_samples(x: Array, y: Array) -> float:
    """The information of samples (n, d) and (n, d_Y) of a joint Gaussian, by the determinants of their covariances.

        (1/2) ( log |S_x| + log |S_y| - log |S_xy| ),    on average too large, by about d d_Y / 2n

    >>> draw = np.random.default_rng(0).standard_normal((1000, 2))
    >>> from_samples(draw[:, :1], draw[:, :1] + draw[:, 1:]) > 0.3                            # log(2)/2 = 0.3466
    True
    """
    # By triangles of the samples themselves: a covariance would square the condition of an almost singular law.
    sizes = [np.log(np.abs(np.diag(np.linalg.qr(part, mode="r")))).sum() for part in (x, y, np.hstack([x, y]))]
    return float(sizes[0] + sizes[1] - sizes[2])


def integrated_covariance(joint: Joint, weight: float, tolerance: float) -> float:
    """log |Cov_w(X | Y)| of the guided flow by integrating the covariance, not a root of it; NaN where indefinite.

        dK/dq = (1/2) (G K + K G),    G the guided score's matrix

    An adaptive rule keeps small eigenvalues only to `tolerance` of the large ones. Raises InputError for a tolerance
    that is not between 1e-13 and 1.

    >>> from derivations.kit.joint_gaussian import observed
    >>> round(integrated_covariance(observed([[1.0]], [[1.0]], 1.0), 3.0, 1e-10), 6)                   # -3 log 2
    -2.079442
    """
    rtol = number("tolerance", tolerance, "between 1e-13 and 1", lambda r: (r >= 1e-13) & (r <= 1.0))
    score, shape = GuidedScore(joint, weight), joint.root.shape

    def motion(clock: float, flat: Array) -> Array:
        covariance = flat.reshape(shape)
        moved = score.at(clock)[0] @ covariance
        return np.asarray(0.5 * (moved + moved.T) - covariance).ravel()

    begin = np.eye(len(joint.root)).ravel()  # in units of q + c
    clocks = (score.clock(score.start), score.clock(0.0))
    solved = solve_ivp(motion, clocks, begin, method="DOP853", rtol=rtol, atol=rtol, t_eval=clocks[1:])
    sign, log_determinant = np.linalg.slogdet(score.least * solved.y[:, -1].reshape(shape))
    return float(log_determinant) if sign > 0.0 else float("nan")
