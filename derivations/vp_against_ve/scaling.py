"""How the peak and the window of two classes move with the dimension, on the clock of any process."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from companion.arguments import Array, number, numbers
from companion.errors import InputError
from companion.forward import Process
from derivations.kit.power_laws import Power, power_law
from derivations.kit.speciation import decision_time, peak


def speciation_time(process: Process, dimension: ArrayLike) -> Array:
    """The time at which snr = 1/d, where classes sqrt(d) apart begin to be told apart; NaN past the process's end.

        VP as an OU process:  t_S = (1/2) log(1 + d) ~ (1/2) log d        VE:  t_S = sqrt(d)

    Raises InputError for a dimension below 1. Source: ES 20 and 56 (to leading order), 21 and 72.

    >>> from companion.forward import variance_exploding
    >>> speciation_time(variance_exploding(), [4.0, 1e6])
    array([   2., 1000.])
    """
    expected = "finite numbers of at least 1"
    level = -np.log(numbers("dimension", dimension, expected, lambda d: (d >= 1.0) & np.isfinite(d)))
    return np.where(level >= process.log_snr(np.array(process.span[1])), process.time(level), np.nan)


@dataclass(frozen=True)
class Scaling:
    """How peaks (n,) and windows (n, 2), in times with the noise last, move on one clock as the dimension grows.

    `scale` is the power law of the peak's time or, where `logarithmic`, of e to that time, whichever is more nearly
    one; `width` is that of the window's length.
    """

    peaks: Array
    windows: Array
    scale: Power
    logarithmic: bool
    width: Power

    @property
    def widths(self) -> Array:
        return self.windows[:, 1] - self.windows[:, 0]


def scaling(process: Process, dimensions: ArrayLike, delta: float, s: float, share: float = 0.1) -> Scaling:
    """Peaks and windows of classes sqrt(d) delta apart, for four or more increasing dimensions d, and their laws.

    The window lasts from `share` of the decision to all but as much. Raises InputError unless delta is positive and at
    most 1e50 and the share between 1e-9 and 1/2, where a peak or an end of a window is not inside the process, and as
    `peak` does. Source: ES 20, 21, 44.

    >>> from companion.forward import ornstein_uhlenbeck
    >>> laws = scaling(ornstein_uhlenbeck(), [10.0, 100.0, 1e3, 1e4], 2.0, 1.0)
    >>> round(laws.scale.exponent, 9), laws.logarithmic, abs(laws.width.exponent) < 1e-12
    (0.5, True, True)
    """
    expected = "four or more positive finite numbers, increasing"
    d = numbers("dimensions", dimensions, expected, lambda x: (x > 0.0) & np.isfinite(x))
    if d.ndim != 1 or len(d) < 4 or not np.all(np.diff(d) > 0.0):
        raise InputError("dimensions", dimensions, expected)
    delta = number("delta", delta, "a positive number of at most 1e50", lambda x: (x > 0.0) & (x <= 1e50))
    share = number("share", share, "a share between 1e-09 and 1/2, excluded", lambda x: (x >= 1e-9) & (x < 0.5))
    apart = np.sqrt(d) * delta
    peaks = np.array([peak(process, one, s).time for one in apart.tolist()])
    windows = np.stack([decision_time(process, end, apart, s) for end in (1.0 - share, share)], axis=-1)
    if not np.all(np.isfinite(windows)) or np.any(np.isin(peaks, process.span)):
        raise InputError("dimensions", dimensions, f"windows and peaks inside the process {process.name!r}")
    scale, width = power_law(d, peaks), power_law(d, windows[:, 1] - windows[:, 0])
    # e to a time beyond 700 is no float, nor is a dimension of which it would be a power.
    exponential = power_law(d, np.exp(peaks)) if peaks.max() < 700.0 else scale
    logarithmic = exponential.standard_error < scale.standard_error
    return Scaling(peaks, windows, exponential if logarithmic else scale, logarithmic, width)
