"""When two classes are decided on a process's clock: half entropy, fastest production, gap against fluctuation.

Each function takes curves over the log-snr, as the methods of a pair of classes are, and a process, and returns a time;
NaN where there is no such time between the log-snr -30 and 8. InputError is raised for a curve that has not one finite
number for each log-snr. Levels are float64 arrays, entropies are in nats; crossings are found to 1e-12 in log-snr.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from companion.arguments import Array
from companion.errors import InputError
from companion.forward import Process

Curve = Callable[[Array], Array]

# No decision of these families is narrower than a unit of log-snr: the grid brackets each, a search finds it.
_LEVELS = np.linspace(-30.0, 8.0, 381)


def half_time(entropy: Curve, process: Process) -> float:
    """The time at which half of the class entropy of two equally probable classes is left, H = (1/2) log 2.

    >>> from companion.forward import ornstein_uhlenbeck
    >>> from companion.exact import two_gaussians
    >>> two_points = lambda level: two_gaussians.entropy(4.0 * np.exp(level))
    >>> time = half_time(two_points, ornstein_uhlenbeck())
    >>> round(4.0 / math.expm1(2.0 * time), 5)                                         # kappa at half entropy
    4.17605
    """
    return _crossing("entropy", lambda level: entropy(level) - 0.5 * np.log(2.0), process)


def crossing_time(moments: Callable[[Array], tuple[Array, Array]], process: Process) -> float:
    """The time at which mean and standard deviation of the log-odds are equal; `moments` gives both at each log-snr.

    d times the free-entropy gap and sqrt(d) times its fluctuation cross here: the criterion of ES 83, 97.

    >>> from companion.forward import ornstein_uhlenbeck
    >>> two_points = lambda level: (2.0 * np.exp(level), 2.0 * np.exp(0.5 * level))     # kappa/2, sqrt(kappa)
    >>> time = crossing_time(two_points, ornstein_uhlenbeck())
    >>> round(4.0 / math.expm1(2.0 * time), 5)                                         # kappa
    4.0
    """

    def lead(level: Array) -> Array:
        mean, deviation = moments(level)
        return deviation - mean

    return _crossing("moments", lead, process)


def peak_time(production: Curve, process: Process) -> float:
    """The time at which class entropy is produced fastest per unit of the process's time, -(dH/dlambda) g^2 / sigma^2.

    To about 1e-7 in log-snr: a maximum is found to the root of the rounding error of its height.

    >>> from companion.forward import ornstein_uhlenbeck
    >>> from companion.exact import two_gaussians
    >>> unit_width = lambda level: 4.0 * np.exp(level) / (1.0 + np.exp(level))
    >>> def production(level):                                                   # means 2 apart, deviation 1
    ...     kappa = unit_width(level)
    ...     return kappa / (1.0 + np.exp(level)) * two_gaussians.production(kappa)
    >>> bool(np.isnan(peak_time(production, ornstein_uhlenbeck())))              # in one dimension it is at time 0
    True
    """

    def per_time(level: Array) -> Array:
        times = process.time(level)
        return production(level) * process.diffusion(times) / process.sigma(times) ** 2

    top = int(np.argmax(_on_levels("production", per_time)))
    if top in (0, len(_LEVELS) - 1):
        return math.nan
    ends = _LEVELS[top - 1], _LEVELS[top + 1]
    found = minimize_scalar(
        lambda level: -float(per_time(np.asarray(level))), bounds=ends, method="bounded", options={"xatol": 1e-9}
    )
    return float(process.time(np.asarray(found.x)))


def _crossing(argument: str, curve: Curve, process: Process) -> float:
    """The time of the first noise level, from the noise down, at which a curve passes from positive to negative."""
    values = _on_levels(argument, curve)
    passed = np.flatnonzero((values[:-1] > 0.0) & (values[1:] <= 0.0))
    if len(passed) == 0:
        return math.nan
    bracket = _LEVELS[passed[0]], _LEVELS[passed[0] + 1]
    level = brentq(lambda level: float(curve(np.asarray(level))), *bracket, xtol=1e-12)
    return float(process.time(np.asarray(level)))


def _on_levels(argument: str, curve: Curve) -> Array:
    values = np.asarray(curve(_LEVELS), dtype=np.float64)
    if values.shape != _LEVELS.shape or not np.all(np.isfinite(values)):
        raise InputError(argument, "without a finite number for each log-snr", "a curve over log-snr from -30 to 8")
    return values
