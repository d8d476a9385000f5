"""Where the noise levels go: a pilot run finds where the entropy falls, and the levels follow it.

One step of log-snr at density rho(lambda) of levels errs like c(lambda) / rho^2, all of them like the integral of
c / rho; with a given number of levels that is least for rho in proportion to sqrt(c). The production P stands for c.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from companion.denoiser import Denoiser
from companion.estimate.bands import weighted_mean
from companion.estimate.entropy import Measurement, Plan
from companion.forward import log_snr_levels

__all__ = ["PILOT_LEVELS", "default_levels", "pilot_samples", "place"]

Array = NDArray[np.float64]

PILOT_LEVELS = 16
_EVERYWHERE = 0.15
_PILOT_SHARE = 8


def default_levels(model: Denoiser, count: int = 64) -> Array:
    """`count` log-snr, equally spaced over what the model's range shares with -10 to 10.

    >>> from companion.theory.mixtures import isotropic_mixture
    >>> default_levels(isotropic_mixture([[-1.0], [1.0]], 0.0), 3)
    array([-10.,   0.,  10.])
    """
    lowest, highest = model.log_snr_range
    return log_snr_levels(count, max(lowest, -10.0), min(highest, 10.0))


def pilot_samples(plan: Plan) -> int:
    """The paths of a plan's pilot: one for every eight of the run, and at least two a branch.

    >>> from companion.estimate.partition import Partition
    >>> pair = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5)
    >>> [pilot_samples(Plan((pair,), np.array([0.0, 1.0]), samples)) for samples in (320, 24)]
    [40, 4]
    """
    return max(plan.samples // _PILOT_SHARE, int(np.ceil(2.0 / min(plan.shares))))


def place(pilot: Sequence[Measurement], count: int) -> Array:
    """`count` levels between the pilot's first and last, dense where the production of its partitions is large.

        rho(lambda) ~ 0.15 mean(q) + 0.85 q(lambda),    q = sqrt(sum over partitions of P / max P)

    P is the largest of a level and its neighbours, so that a peak between two levels of the pilot is not missed.
    """
    levels = pilot[0].log_snr
    total = np.zeros(len(levels))
    for measured in pilot:
        production, _ = weighted_mean(measured.production_of_path, measured)
        wide = np.maximum(np.maximum(production, np.append(production[1:], 0.0)), np.append(0.0, production[:-1]))
        total += wide / max(float(wide.max()), 1e-300)
    fine = np.linspace(levels[0], levels[-1], 2000)
    wanted = np.sqrt(np.interp(fine, levels, total))
    density = _EVERYWHERE * wanted.mean() + (1.0 - _EVERYWHERE) * wanted
    filled = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    placed: Array = np.interp(np.linspace(0.0, filled[-1], count), filled, fine)
    placed[0], placed[-1] = levels[0], levels[-1]
    return placed
