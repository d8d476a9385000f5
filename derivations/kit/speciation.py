"""Two isotropic Gaussian classes under any process: entropy, production, its peak, and when the class is decided.

Two equally probable classes of deviation s, `distance` apart, are one number at every time, the control parameter

    kappa = alpha^2 distance^2 / v,    v = alpha^2 s^2 + sigma^2,    d log kappa / dt = -g^2 / v,

so the cost does not depend on their dimension. In the scaling of the paper (ES 44) the distance is sqrt(d) delta, with
d as large as a float64 allows. Times are on the process's own clock, from data to noise; entropies are in nats.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from companion.arguments import Array, number, numbers
from companion.errors import InputError
from companion.exact import two_gaussians
from companion.forward import Process

__all__ = ["Peak", "decision_time", "entropy", "half_maximum", "kappa_decided", "peak", "production"]


# Where a peak is looked for: below the first kappa hardly anything is known, beyond the last nothing is left to learn.
# A tenth of a unit of log-snr is far less than the width of a hump.
_LEAST_KAPPA, _MOST_KAPPA, _GRID_STEP = 1e-8, 1e3, 0.1
# At least this far from its top the production is analytic in the log-snr (its nearest poles are at +- i pi): an
# interpolant of this degree leaves nothing but rounding.
_REACH, _DEGREE = 1.0, 32
_FARTHEST = 1e150  # the square of which is a float64


def entropy(process: Process, t: ArrayLike, distance: ArrayLike, s: ArrayLike) -> Array:
    """The class entropy H(Z | X_t) at times t, in nats; all but the process broadcast.

    Raises InputError for a time outside the process, a distance not above 0 or an s below 0, either beyond 1e150, and
    at the clean end for points (s = 0). Source: ES 7, 15.

    >>> from companion.forward import variance_exploding
    >>> float(entropy(variance_exploding(), 1.0, 2.0, 0.0).round(8))        # kappa = 4
    0.35631636
    """
    return two_gaussians.entropy(_kappa(process, process.check_time(t), *_checked(distance, s)))


def production(process: Process, t: ArrayLike, distance: ArrayLike, s: ArrayLike) -> Array:
    """The class entropy produced per unit of the process's own time, dH/dt = (g^2 / v) kappa (-dH/dkappa), in nats.

    Arguments and errors are those of `entropy`. Zero where the signal is zero. Source: ES 52 for two classes.

    >>> from companion.forward import variance_exploding
    >>> float(production(variance_exploding(), 1.0, 2.0, 0.0).round(10))    # twice the production per log-snr
    0.4495995092
    """
    times, (apart, width) = process.check_time(t), _checked(distance, s)
    kappa = _kappa(process, times, apart, width)
    with np.errstate(all="ignore"):  # g^2 and v may be infinite where nothing of the signal is left
        rate = process.diffusion(times) / ((process.alpha(times) * width) ** 2 + process.sigma(times) ** 2)
        return np.where(kappa > 0.0, rate * (kappa * two_gaussians.production(kappa)), 0.0)


def kappa_decided(share: float, weight: float = 0.5) -> float:
    """The control parameter at which a share of the class is decided: H(kappa) = (1 - share) H(0).

    Relatively to about 1e-13, or 1e-15 / share where that is more. `weight` is the first class's prior probability.
    Raises InputError for a share not between 1e-9 and 1, or a weight not between 1e-15 and 1. Source: ES 15, 16.

    >>> round(kappa_decided(0.5), 9)
    4.176053262
    """
    expected = "a share between 1e-09 and 1, excluded"
    left = np.log1p(-number("share", share, expected, lambda x: (x >= 1e-9) & (x < 1.0)))
    aim = float(two_gaussians.log_entropy(0.0, weight)) + left

    def surplus(log_kappa: float) -> float:
        return float(two_gaussians.log_entropy(np.exp(log_kappa), weight) - aim)

    return float(np.exp(brentq(surplus, np.log(1e-16), np.log(1e5), xtol=1e-14, rtol=1e-14)))


def decision_time(process: Process, share: float, distance: ArrayLike, s: ArrayLike) -> Array:
    """The time at which a share of the class is decided, H = (1 - share) log 2; share 1/2 is half entropy.

        sigma^2 / alpha^2 = distance^2 / kappa - s^2,    kappa = kappa_decided(share)

    NaN where the process never gets there: its classes overlap too much in clean data, or it ends with more than the
    share decided. `distance` and `s` broadcast. Raises as `entropy` and `kappa_decided` do.

    >>> from companion.forward import variance_exploding
    >>> decision_time(variance_exploding(), 0.5, [2.0, 2000.0], 0.0).round(6).tolist()
    [0.978694, 978.694125]
    """
    apart, width = _checked(distance, s)
    # (a - b)(a + b): the square of the distance may overflow where the ratio does not, and digits are kept near a = b.
    scaled = apart / np.sqrt(kappa_decided(share))
    noise_to_signal = (scaled - width) * (scaled + width)
    told_apart = noise_to_signal > 0.0
    level = -np.log(np.where(told_apart, noise_to_signal, 1.0))
    return np.where(told_apart & (level >= process.log_snr(np.array(process.span[1]))), process.time(level), np.nan)


@dataclass(frozen=True)
class Peak:
    """Where class entropy is produced fastest on a process's clock: `time`, and `height` in nats per unit of time."""

    time: float
    height: float


def peak(process: Process, distance: float, s: float) -> Peak:
    """The maximum of the production over the whole process, time and height to about 1e-10, relatively.

    Two exceptions: close to the data of classes that overlap the production hardly varies, and the time is known to
    about 1e-8; close to a last time without signal both are known to 1e-16 over what is left of the time. The peak may
    sit at an end of the process, as of classes that overlap in clean data. Raises as `entropy` does, and InputError
    where classes are told apart at the end of the process already, or where production is no float64 above zero.

    >>> from companion.forward import ornstein_uhlenbeck
    >>> top = peak(ornstein_uhlenbeck(), 2.0 * 1000.0, 1.0)                 # d = 1e6, delta = 2
    >>> round(float(top.time - 0.5 * np.log(1e6)), 9), round(top.height, 9)
    (-0.205501748, 0.479515971)
    """
    times = _search_times(process, distance, s)
    heights = production(process, times, distance, s)
    k = int(heights.argmax())
    if not heights[k] > 0.0:
        expected = "classes with a production above 0 at times that a float64 tells"
        raise InputError("distance, s", (distance, s), expected)
    on_grid = Peak(float(times[k]), float(heights[k]))
    if k in (0, len(times) - 1):
        return on_grid

    def log_production(log_snr: Array) -> Array:
        return np.log(production(process, _times(process, log_snr), distance, s))

    # The peak lies between the neighbours of the best point of the grid.
    after, middle, before = process.log_snr(times[k - 1 : k + 2]).tolist()
    lowest, highest = max(middle - _REACH, float(process.log_snr(times[-1]))), middle + _REACH
    interpolant = Chebyshev.interpolate(log_production, _DEGREE, domain=[lowest, highest])
    slope = interpolant.deriv()
    after = min(after, highest)
    if not slope(before) > 0.0 > slope(after):  # so close to an end that the production is flat to rounding
        return on_grid
    top = brentq(slope, before, after, xtol=1e-14)
    return Peak(float(process.time(np.array(top))), float(np.exp(interpolant(top))))


def half_maximum(process: Process, distance: float, s: float) -> tuple[float, float]:
    """The two times, before and after the peak, between which the production is at least half of the peak's.

    An end of the process stands for a time that it does not reach. Raises as `peak` does.

    >>> from companion.forward import ornstein_uhlenbeck
    >>> first, last = half_maximum(ornstein_uhlenbeck(), 2.0 * 1000.0, 1.0)
    >>> round(last - first, 6)
    1.310877
    """
    top = peak(process, distance, s)
    times = _search_times(process, distance, s)

    def surplus(t: ArrayLike) -> Array:
        return production(process, t, distance, s) - 0.5 * top.height

    def crossing(outwards: Array) -> float:
        below = np.flatnonzero(surplus(outwards) < 0.0)
        if len(below) == 0:
            return float(outwards[-1])
        inside, outside = outwards[below[0] - 1 : below[0] + 1].tolist()
        return float(brentq(surplus, inside, outside, xtol=1e-13 * max(inside, outside), rtol=1e-14))

    earlier, later = times[times < top.time][::-1], times[times > top.time]
    return crossing(np.append(top.time, earlier)), crossing(np.append(top.time, later))


def _kappa(process: Process, times: Array, distance: Array, s: Array) -> Array:
    return two_gaussians.control_parameter(process.alpha(times), process.sigma(times), distance, s)


def _checked(distance: ArrayLike, s: ArrayLike) -> tuple[Array, Array]:
    expected = f"positive numbers of at most {_FARTHEST:g}"
    apart = numbers("distance", distance, expected, lambda x: (x > 0.0) & (x <= _FARTHEST))
    return apart, numbers("s", s, f"numbers between 0 and {_FARTHEST:g}", lambda x: (x >= 0.0) & (x <= _FARTHEST))


def _search_times(process: Process, distance: float, s: float) -> Array:
    """Increasing times over which all of the decision happens, ends of the process included where they matter."""
    apart, width = _checked(distance, s)
    if apart.ndim > 0 or width.ndim > 0:
        raise InputError("distance, s", (distance, s), "one number each")
    lowest = np.log(_LEAST_KAPPA) - 2.0 * np.log(max(apart, width))
    beyond = apart * apart / _MOST_KAPPA - width * width
    highest = -np.log(beyond) if beyond > 0.0 else np.inf
    if width > 0.0:  # kappa is distance^2 / s^2 from here on
        highest = min(highest, -2.0 * np.log(width) - np.log(_LEAST_KAPPA))
    first, last = process.span
    end = float(process.log_snr(np.array(last)))
    if not end < highest:
        raise InputError("distance", distance, "classes that are not told apart at the end of the process already")
    start = max(lowest, end)
    times = _times(process, np.linspace(highest, start, 2 + int((highest - start) / _GRID_STEP)))
    if lowest < end:
        times[-1] = last
    return times if beyond > 0.0 else np.append(first, times)


def _times(process: Process, log_snr: Array) -> Array:
    return np.clip(process.time(log_snr), *process.span)  # the inverse may overshoot an end by rounding
