"""Where the noise levels go: a pilot run finds where the entropy falls, and the levels follow it.

A step errs by what it changes and by how long it is in snr. Levels far from the fall change nothing; levels that are
dense only where the production is largest leave long steps in its tails, which cost more than they save.
"""

from collections.abc import Sequence

import numpy as np
from scipy.integrate import cumulative_trapezoid

from companion.arguments import Array, whole_number
from companion.denoiser import Denoiser
from companion.errors import InputError
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import Measurement
from companion.estimate.plan import Plan
from companion.forward import log_snr_levels

__all__ = ["PILOT_LEVELS", "default_levels", "pilot_samples", "place", "through"]

PILOT_LEVELS = 16
_OUTSIDE = 0.0005  # nats


def default_levels(model: Denoiser, count: int = 64) -> Array:
    """`count` log-snr, equally spaced over what the model's range shares with -10 to 10.

    Raises InputError for fewer than two or more than 100 000, and where the two ranges share nothing.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> default_levels(isotropic_mixture([[-1.0], [1.0]], 0.0), 3)
    array([-10.,   0.,  10.])
    """
    first, last = np.clip(model.log_snr_range, -10.0, 10.0).tolist()
    if not first < last:
        raise InputError("log_snr_range of the model", model.log_snr_range, "an interval that meets -10 to 10")
    return log_snr_levels(whole_number("levels", count, 2, 100_000), first, last)


def pilot_samples(plan: Plan) -> int:
    """The paths of a plan's pilot: one for every eight of the run, and at least two a stratum.

    >>> from companion.entropy import Partition
    >>> pilot_samples(Plan((Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5),), np.array([0.0, 1.0]), samples=320))
    40
    """
    return max(plan.samples // 8, 4 if plan.by_side else int(np.ceil(2.0 / min(plan.shares))))


def place(pilot: Sequence[Measurement], count: int) -> Array:
    """`count` levels from the pilot's first to its last, most of them where the entropy of its partitions falls.

    The window leaves 0.0005 nats of the production before it and 0.0005 after it. In the window half of the levels are
    spread in a density that doubles towards the data, where a step of log-snr is a longer step of snr, and half like
    the square root of the production. A tenth of the levels is spread before the window, where nothing is known, and a
    tenth after it, in steps that grow, where nothing is left to know.
    """
    levels = pilot[0].log_snr
    fine = np.linspace(levels[0], levels[-1], 2000)
    wanted, first, last = np.zeros(len(fine)), levels[-1], levels[0]
    for measured in pilot:
        production = weighted_mean(measured.rough_production_of_path, measured)[0]
        # The largest of a level and its neighbours: a peak between two levels of the pilot is not missed.
        wide = np.maximum(np.maximum(production, np.append(production[1:], 0.0)), np.append(0.0, production[:-1]))
        rate = np.interp(fine, levels, wide)
        known = cumulative_trapezoid(rate, fine, initial=0.0)
        first = min(first, fine[np.searchsorted(known, _OUTSIDE)] if known[-1] > _OUTSIDE else fine[0])
        last = max(last, fine[np.searchsorted(known[:-1], known[-1] - _OUTSIDE)])
        wanted += rate / max(float(rate.max()), 1e-300)
    if last <= first:  # nothing falls
        return np.linspace(levels[0], levels[-1], count)
    before = np.linspace(levels[0], first, count // 10 if first > levels[0] else 0, endpoint=False)
    after = last + (levels[-1] - last) * np.linspace(0.0, 1.0, 1 + (count // 10 if last < levels[-1] else 0))[1:] ** 2
    window, even = np.linspace(first, last, 1000), np.linspace(1.0, 2.0, 1000)
    steep = np.sqrt(np.interp(window, fine, wanted))
    filled = cumulative_trapezoid(even / even.mean() + steep / steep.mean(), window, initial=0.0)
    inside = np.interp(np.linspace(0.0, filled[-1], count - len(before) - len(after)), filled, window)
    placed = np.concatenate([before, inside, after])
    placed[[0, -1]] = levels[[0, -1]]  # so few levels that none is left for the ends
    return np.asarray(placed)


def through(levels: Array, edges: Sequence[float]) -> Array:
    """The levels, of which the nearest to each of increasing `edges` between the ends is moved onto it.

    >>> through(np.array([0.0, 1.0, 2.0, 3.0]), (0.8, 1.1)), through(np.array([0.0, 1.0]), (0.8,))
    (array([0. , 0.8, 1.1, 3. ]), array([0., 1.]))
    """
    moved, first = levels.copy(), 1
    for edge in edges:
        if levels[0] < edge < levels[-1] and first < len(levels) - 1:
            at = first + int(np.argmin(np.abs(moved[first:-1] - edge)))
            moved[at], first = edge, at + 1
    return moved
