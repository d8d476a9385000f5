"""How peak and window of two classes move with the dimension: power laws fitted to exact values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from companion.arguments import number, numbers
from companion.errors import InputError
from companion.exact.speciation import decision_time, peak
from companion.forward import Process

__all__ = ["Power", "Scaling", "power_law", "scaling"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Power:
    """A power law y = factor x^exponent: its least-squares fit, and how far the exponent varies along the range.

    `standard_error` is the regression's. `interval` spans the exponents of the range's successive parts: for exact
    values there is no noise, and what misses a line is curvature, which only a comparison of ranges shows.
    """

    exponent: float
    factor: float
    standard_error: float
    interval: tuple[float, float]


def power_law(x: ArrayLike, y: ArrayLike) -> Power:
    """The power law through positive values y at increasing x, four or more, by least squares on logarithms.

        log y = log(factor) + exponent log x

    The parts of `interval` are the slopes between neighbours. Raises InputError for fewer than four values, or values
    that are not positive and finite, x increasing.

    >>> law = power_law([1.0, 10.0, 100.0, 1000.0], [2.0, 20.0, 200.0, 2000.0])
    >>> round(law.exponent, 12), round(law.factor, 12)
    (1.0, 2.0)
    """
    xs = _checked_range("x", x)
    expected = f"as many positive finite numbers as x, {len(xs)}"
    ys = numbers("y", y, expected, lambda values: (values > 0.0) & np.isfinite(values))
    if ys.shape != xs.shape:
        raise InputError("y", y, expected)
    return _line(np.log(xs), np.log(ys))


@dataclass(frozen=True)
class Scaling:
    """How peak and window move on one clock as the dimension grows; build it with `scaling`.

    `peaks` (n,) are times, `windows` (n, 2) the times at which the first share and the rest are decided, noise last:
    windows[:, 0] < windows[:, 1]. `scale` is the power law of the peak's time or, where `logarithmic`, of e to that
    time, whichever is more nearly one; `width` is that of the window's length.
    """

    dimensions: Array
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
    d = _checked_range("dimensions", dimensions)
    delta = number("delta", delta, "a positive number of at most 1e50", lambda x: (x > 0.0) & (x <= 1e50))
    share = number("share", share, "a share between 1e-09 and 1/2, excluded", lambda x: (x >= 1e-9) & (x < 0.5))
    apart = np.sqrt(d) * delta
    peaks = np.array([peak(process, one, s).time for one in apart.ravel().tolist()])
    windows = np.stack([decision_time(process, end, apart, s) for end in (1.0 - share, share)], axis=-1)
    if not np.all(np.isfinite(windows)) or np.any((peaks == process.span[0]) | (peaks == process.span[1])):
        raise InputError("dimensions", dimensions, f"windows and peaks inside the process {process.name!r}")
    plain, exponential = power_law(d, peaks), _line(np.log(d), peaks)
    logarithmic = exponential.standard_error < plain.standard_error
    width = power_law(d, windows[:, 1] - windows[:, 0])
    return Scaling(d, peaks, windows, exponential if logarithmic else plain, logarithmic, width)


def _line(across: Array, up: Array) -> Power:
    centred = across - across.mean()
    exponent = float(centred @ up / (centred @ centred))
    left_over = up - up.mean() - exponent * centred
    error = float(np.sqrt(left_over @ left_over / ((len(across) - 2) * (centred @ centred))))
    steps = np.diff(up) / np.diff(across)
    with np.errstate(over="ignore"):
        factor = float(np.exp(up.mean() - exponent * across.mean()))
    return Power(exponent, factor, error, (float(steps.min()), float(steps.max())))


def _checked_range(argument: str, value: ArrayLike) -> Array:
    expected = "four or more positive finite numbers, increasing"
    values = numbers(argument, value, expected, lambda x: (x > 0.0) & np.isfinite(x))
    if values.ndim != 1 or len(values) < 4 or not np.all(np.diff(values) > 0.0):
        raise InputError(argument, value, expected)
    return values
