"""The forward process: signal, noise, log-snr, drift and diffusion as functions of time, and grids of noise levels.

Every process here has the Gaussian kernel p(x_t | x_0) = N(alpha x_0, sigma^2 I) of the stochastic differential
equation dX = f X dt + g dW (ES 1, 6). What is above this module is written in the log-snr

    lambda = log snr = log(alpha^2 / sigma^2)

and in the variance-exploding frame x / alpha = x_0 + (sigma / alpha) eps, where a process is a clock on lambda and
nothing more. Times and levels are float64 numpy arrays of any shape.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_trapezoid

from companion.arguments import Array, Condition, number, numbers, whole_number
from companion.errors import InputError

__all__ = ["Process", "cosine", "linear", "ornstein_uhlenbeck", "rectified_flow", "scaled_linear", "variance_exploding"]
__all__ += ["central_interval", "edm_levels", "log_snr_levels", "noise_of", "production_levels", "time_levels"]

OfTime = Callable[[Array], Array]


@dataclass(frozen=True)
class Process:
    """A linear forward process dX = f X dt + g dW whose kernel is N(alpha x_0, sigma^2 I).

    Kernel and equation determine each other (ES 1, 6):

        f = d log alpha / dt,    g^2 = d sigma^2 / dt - 2 f sigma^2 = -sigma^2 d lambda / dt.

    Each field is a function of float64 times: `alpha`, `sigma`, `log_snr`, `drift` (f, the factor of X) and
    `diffusion` (g^2). `time` is the inverse of `log_snr`. `span` is the interval of times; its first end is the data.
    Functions return infinities where the limit is infinite (the log-snr of clean data) and check nothing.

    >>> process = variance_exploding()
    >>> float(process.time(process.log_snr(np.array(4.0))).round(12))
    4.0
    """

    name: str
    alpha: OfTime
    sigma: OfTime
    log_snr: OfTime
    time: Callable[[Array], Array]
    drift: OfTime
    diffusion: OfTime
    span: tuple[float, float]

    def check_time(self, t: ArrayLike) -> Array:
        """Times as a float64 array; InputError if one is NaN or outside `span`."""
        first, last = self.span
        return numbers("t", t, f"times between {first} and {last}", lambda times: (times >= first) & (times <= last))


def ornstein_uhlenbeck() -> Process:
    """The variance-preserving process of the theory, f = -1 and g^2 = 2 (ES, section 4.3).

        alpha = e^-t,    sigma^2 = 1 - e^-2t,    lambda = -log(e^2t - 1),    t in [0, infinity).

    >>> float(ornstein_uhlenbeck().alpha(np.log(2.0)))
    0.5
    """
    return _variance_preserving("ou", lambda t: 2.0 * t, lambda b: 0.5 * b, lambda t: np.full_like(t, 2.0), np.inf)


def linear(beta_min: float = 0.1, beta_max: float = 20.0) -> Process:
    """The variance-preserving process whose rate b grows linearly on [0, 1] (DDPM's schedule in continuous time).

        b = beta_min + (beta_max - beta_min) t,    B = int_0^t b,    alpha = e^(-B/2),    sigma^2 = 1 - e^-B.

    Source: ES 1-6. Raises InputError unless 0 < beta_min < beta_max.

    >>> float(linear().drift(np.array(1.0)))
    -10.0
    """
    beta_min, beta_max = _positive("beta_min, beta_max", beta_min, beta_max)
    slope = beta_max - beta_min
    return _variance_preserving(
        "linear",
        lambda t: t * (beta_min + 0.5 * slope * t),
        lambda b: 2.0 * b / (beta_min + np.sqrt(beta_min**2 + 2.0 * slope * b)),
        lambda t: beta_min + slope * t,
    )


def scaled_linear(beta_min: float = 0.85, beta_max: float = 12.0) -> Process:
    """The variance-preserving process whose square-rooted rate grows linearly (latent diffusion's schedule).

        b = (r_0 + (r_1 - r_0) t)^2,    r_0^2 = beta_min,    r_1^2 = beta_max,    t in [0, 1].

    The defaults are a thousand times 0.00085 and 0.012. Raises InputError unless 0 < beta_min < beta_max.

    >>> float(scaled_linear().diffusion(np.array(0.0)).round(12))
    0.85
    """
    beta_min, beta_max = _positive("beta_min, beta_max", beta_min, beta_max)
    root, slope = np.sqrt(beta_min), np.sqrt(beta_max) - np.sqrt(beta_min)

    def inverse(b: Array) -> Array:
        # (cube - root) / slope, with the difference of cubes divided out so that b -> 0 keeps its digits.
        cube = np.cbrt(root**3 + 3.0 * slope * b)
        time: Array = 3.0 * b / (cube * cube + cube * root + root * root)
        return time

    return _variance_preserving(
        "scaled_linear",
        lambda t: t * (root**2 + root * slope * t + (slope * t) ** 2 / 3.0),
        inverse,
        lambda t: (root + slope * t) ** 2,
    )


def cosine(offset: float = 0.008) -> Process:
    """The variance-preserving process whose signal is a quarter of a cosine.

        alpha = cos(c (t + offset)) / cos(c offset),    c = pi / (2 (1 + offset)),    t in [0, 1].

    At t = 1 the signal is zero and the log-snr minus infinity. Raises InputError unless offset >= 0.

    >>> float(cosine(0.0).alpha(np.array(0.5)).round(12))
    0.707106781187
    """
    offset = number("offset", offset, "a finite number of at least 0", lambda o: (o >= 0.0) & (o < np.inf))
    rate = 0.5 * np.pi / (1.0 + offset)

    def integrated(t: Array) -> Array:
        # Near the data 1 - alpha is small, near the noise alpha is: each half is written in what is small there.
        lost = 2.0 * np.sin(0.5 * rate * t) ** 2 + np.sin(rate * t) * np.tan(rate * offset)
        kept = np.sin(rate * (1.0 - t)) / np.cos(rate * offset)
        with np.errstate(divide="ignore"):
            total: Array = -2.0 * np.where(t < 0.5, np.log1p(-np.minimum(lost, 0.9)), np.log(kept))
        return total

    def inverse(b: Array) -> Array:
        # 1 - alpha = 1 - cos u + a sin u at u = c t, a = tan(c offset): a quadratic in tan(u/2), whose root keeps its
        # digits near the data, where an arc cosine would not.
        lost, a = -np.expm1(-0.5 * b), np.tan(rate * offset)
        result: Array = 2.0 * np.arctan(lost / np.maximum(a + np.sqrt(a * a + lost * (2.0 - lost)), 1e-300)) / rate
        return result

    return _variance_preserving("cosine", integrated, inverse, lambda t: 2.0 * rate / np.tan(rate * (1.0 - t)))


def variance_exploding() -> Process:
    """The variance-exploding process in EDM's clock: alpha = 1, sigma = t, f = 0, g^2 = 2t, t in [0, inf) (ES 4.3).

    >>> float(variance_exploding().diffusion(np.array(3.0)))
    6.0
    """
    return Process(
        name="ve",
        alpha=np.ones_like,
        sigma=lambda t: t,
        log_snr=lambda t: -2.0 * _log(t),
        time=lambda log_snr: np.exp(-0.5 * log_snr),
        drift=np.zeros_like,
        diffusion=lambda t: 2.0 * t,
        span=(0.0, np.inf),
    )


def rectified_flow() -> Process:
    """The straight-line process: alpha = 1 - t, sigma = t, f = -1/(1-t), g^2 = 2t/(1-t), t in [0, 1].

    Drift and diffusion are infinite at t = 1, where nothing of the signal is left.

    >>> float(rectified_flow().diffusion(np.array(0.5)))
    2.0
    """

    def over_alpha(numerator: Array, t: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.divide(numerator, 1.0 - t)

    return Process(
        name="flow",
        alpha=lambda t: 1.0 - t,
        sigma=lambda t: t,
        log_snr=lambda t: 2.0 * (_log(1.0 - t) - _log(t)),
        time=lambda log_snr: 1.0 / (1.0 + np.exp(0.5 * log_snr)),
        drift=lambda t: over_alpha(-np.ones_like(t), t),
        diffusion=lambda t: over_alpha(2.0 * t, t),
        span=(0.0, 1.0),
    )


def noise_of(log_snr: ArrayLike) -> Array:
    """The noise level sigma = exp(-lambda / 2) of the variance-exploding frame, for log-snr of any shape.

    >>> noise_of([0.0])
    array([1.])
    """
    sigma: Array = np.exp(-0.5 * np.asarray(log_snr, dtype=np.float64))
    return sigma


def log_snr_levels(count: int, first: float, last: float) -> Array:
    """`count` log-snr from `first` (most noise) to `last` (least), equally spaced.

    Raises InputError for fewer than two levels or for ends that are not finite and increasing.

    >>> log_snr_levels(3, -2.0, 2.0)
    array([-2.,  0.,  2.])
    """
    ends = _pair("first, last", (first, last), "finite log-snr with first < last", np.isfinite)
    return np.linspace(*ends, whole_number("count", count, 2))


def edm_levels(count: int, sigma_max: float = 80.0, sigma_min: float = 0.002, rho: float = 7.0) -> Array:
    """`count` log-snr whose noise levels are equally spaced in sigma^(1/rho), from sigma_max down to sigma_min.

    The schedule of Karras et al. (2022), equation 5, without its final zero. Raises InputError for fewer than two
    levels, or unless 0 < sigma_min < sigma_max and rho is between 0.01 and a million, where nothing overflows.

    >>> noise_of(edm_levels(3, 4.0, 1.0, rho=1.0))
    array([4. , 2.5, 1. ])
    """
    count = whole_number("count", count, 2)
    least, most = _positive("sigma_min, sigma_max", sigma_min, sigma_max)
    rho = number("rho", rho, "a number between 0.01 and 1e6", lambda r: (r >= 0.01) & (r <= 1e6))
    with np.errstate(over="ignore", under="ignore"):
        levels = -2.0 * rho * np.log(np.linspace(most ** (1.0 / rho), least ** (1.0 / rho), count))
    if not np.isfinite(levels).all():
        raise InputError("rho", rho, "a larger number, for these levels of noise")
    return levels


def time_levels(process: Process, count: int, first: float, last: float) -> Array:
    """`count` log-snr at times equally spaced from `first` (most noise) to `last` (least) on a process's clock.

    Raises InputError for fewer than two levels, for times outside the process, or unless first > last.

    >>> time_levels(variance_exploding(), 2, 1.0, 0.1).round(6)
    array([-0.     ,  4.60517])
    """
    least, most = process.span
    expected = f"times with {least} <= last < first <= {most}"
    end, start = _pair("first, last", (last, first), expected, lambda time: (time >= least) & (time <= most))
    levels = process.log_snr(np.linspace(start, end, whole_number("count", count, 2)))
    if not np.all(np.isfinite(levels)):
        raise InputError("first, last", (first, last), "times of finite log-snr")
    return levels


def central_interval(log_snr: ArrayLike, production: ArrayLike, share: float = 0.8) -> tuple[float, float]:
    """The two log-snr between which the central `share` of a production lies: a half of the rest before, a half after.

        int_(-infinity)^first production = int_last^infinity production = (1 - share) / 2 int production

    `production` (levels,) is the class-entropy production -dH / dlambda at increasing `log_snr` (levels,), linear
    between them and zero outside. Raises InputError for levels that do not increase, for production that is negative,
    not finite or zero everywhere, and for a share outside (0, 1).

    >>> central_interval([-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], 0.75)
    (-0.5, 0.5)
    """
    share = number("share", share, "a share between 0 and 1", lambda each: (each > 0.0) & (each < 1.0))
    levels, known = _cumulated(log_snr, production)
    first, last = np.interp([0.5 - 0.5 * share, 0.5 + 0.5 * share], known, levels).tolist()
    return first, last


def production_levels(
    count: int,
    log_snr: ArrayLike,
    production: ArrayLike,
    share: float = 0.5,
    ends: tuple[float, float] | None = None,
) -> Array:
    """`count` log-snr, a `share` of them placed by a production and the others uniform in log-snr.

    The levels are equally spaced in the cumulated density

        share production / int production + (1 - share) / (last - first),    between the ends first and last,

    which are those of `log_snr` unless `ends` are given, and belong to the levels. The production is as for
    `central_interval`, whose errors are raised; InputError also for fewer than two levels, for a share outside [0, 1],
    for ends that do not increase, and for production that is zero between them.

    >>> production_levels(3, [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0], 0.0)
    array([-1.,  0.,  1.])
    >>> production_levels(5, [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], 1.0).round(2)
    array([-1.  , -0.29,  0.  ,  0.29,  1.  ])
    """
    count = whole_number("count", count, 2)
    share = number("share", share, "a share between 0 and 1", lambda each: (each >= 0.0) & (each <= 1.0))
    levels, known = _cumulated(log_snr, production, ends)
    even = (levels - levels[0]) / (levels[-1] - levels[0])
    placed: Array = np.interp(np.linspace(0.0, 1.0, count), share * known + (1.0 - share) * even, levels)
    placed[[0, -1]] = levels[[0, -1]]  # where nothing is produced there, the cumulated density is flat
    return placed


def _cumulated(log_snr: ArrayLike, production: ArrayLike, ends: ArrayLike | None = None) -> tuple[Array, Array]:
    """Many levels from end to end, and the share of the production that lies before each."""
    levels = numbers("log_snr", log_snr, "finite log-snr that increase", np.isfinite)
    if levels.ndim != 1 or len(levels) < 2 or not np.all(np.diff(levels) > 0.0):
        raise InputError("log_snr", log_snr, "at least two finite log-snr that increase")
    expected = f"{len(levels)} finite numbers of at least 0, not all zero between the ends"
    rate = numbers("production", production, expected, lambda each: (each >= 0.0) & (each < np.inf))
    if rate.shape != levels.shape:
        raise InputError("production", production, expected)
    sides = tuple(np.ravel(levels[[0, -1]] if ends is None else ends))
    first, last = _pair("ends", sides, "finite log-snr, the first below the last", np.isfinite)
    # With the curve's own levels among them, the trapezoids are exact.
    fine = np.union1d(np.linspace(first, last, 2**14 + 1), levels[(levels > first) & (levels < last)])
    known = cumulative_trapezoid(np.interp(fine, levels, rate, 0.0, 0.0), fine, initial=0.0)
    if not known[-1] > 0.0:
        raise InputError("production", production, expected)
    return fine, known / known[-1]


def _variance_preserving(name: str, integrated: OfTime, inverse: OfTime, rate: OfTime, end: float = 1.0) -> Process:
    """f = -b/2 and g^2 = b, so alpha = e^(-B/2), sigma^2 = 1 - e^-B and lambda = -log(e^B - 1), with B = int b."""
    return Process(
        name=name,
        alpha=lambda t: np.exp(-0.5 * integrated(t)),
        sigma=lambda t: np.sqrt(-np.expm1(-integrated(t))),
        # -log(e^B - 1), written so that neither a small B loses digits nor a large one overflows.
        log_snr=lambda t: -integrated(t) - _log(-np.expm1(-integrated(t))),
        time=lambda log_snr: inverse(np.logaddexp(0.0, -log_snr)),
        drift=lambda t: -0.5 * rate(t),
        diffusion=rate,
        span=(0.0, end),
    )


def _log(x: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(x)


def _positive(argument: str, *value: float) -> tuple[float, float]:
    return _pair(argument, value, f"finite, 0 < {argument.replace(',', ' <')}", lambda x: (x > 0.0) & (x < np.inf))


def _pair(argument: str, value: tuple[float, ...], expected: str, holds: Condition) -> tuple[float, float]:
    """Two increasing numbers for both of which `holds` is true; InputError otherwise."""
    both = numbers(argument, value, expected, holds)
    if both.shape != (2,) or not both[0] < both[1]:
        raise InputError(argument, value, expected)
    return float(both[0]), float(both[1])
