"""What guidance does to the samples of its class: two Gaussian classes of one width s, along the line of their means.

A sample is L s / sqrt(kappa_0) from the midpoint, kappa_0 = |mu_1 - mu_2|^2 / s^2 the control parameter of clean data,
so that its deviation from the class's own mean, in widths, is

    z = (L - kappa_0/2) / sqrt(kappa_0),    standard normal without guidance.

Across the line guidance changes nothing. Entropies are in nats.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import make_interp_spline

from companion.arguments import Array
from derivations.guidance.flow import NOISE, SHARES, guided_flow
from derivations.guidance.fokker_planck import guided_law
from derivations.guidance.half_levels import Sampler, check_sampler, cross_entropy
from derivations.guidance.schedule import EVERYWHERE

__all__ = ["Distortion", "distortion", "price_of_paths"]


class Distortion(NamedTuple):
    """The mean and the deviation of z, and the divergence KL(guided | class) of the samples' laws, each (levels,)."""

    mean: Array
    deviation: Array
    divergence: Array


def distortion(
    kappa: ArrayLike, weight: float, sampler: Sampler = "sde", interval: tuple[float, float] = EVERYWHERE
) -> Distortion:
    """How samples that are guided by `weight` inside `interval` differ from their class, for each kappa_0 of a list.

    To about 1e-6, equal priors. Raises InputError for another sampler, and as `stretches` does. Source: none.

    >>> distortion([16.0], 1.0, "ode").mean.round(6).item(), distortion([16.0], 3.0, "ode").mean.round(3).item()
    (0.0, 1.05)
    """
    check_sampler(sampler)
    levels = np.asarray(kappa, dtype=np.float64)
    if sampler == "ode":
        log_odds = guided_flow(kappa, weight, interval=interval)
        z = (log_odds - 0.5 * levels[:, None]) / np.sqrt(levels)[:, None]
        # The density of z is that of xi over dz/dxi.
        stretched = np.array([make_interp_spline(NOISE, row, k=5).derivative()(NOISE) for row in z])
        log_ratio, shares = 0.5 * (z**2 - NOISE**2) - np.log(stretched), np.broadcast_to(SHARES, z.shape)
    else:
        law = guided_law(kappa, weight, interval=interval)
        z = (law.log_odds - 0.5 * levels[:, None]) / np.sqrt(levels)[:, None]
        shares = (law.log_odds[1] - law.log_odds[0]) * law.density
        # What is below 1e-8 is near the rounding of the far tails, and takes no part.
        kept = np.where(law.density > 1e-8, law.density, 1.0)
        log_ratio = np.where(kept < 1.0, np.log(kept * np.sqrt(2.0 * np.pi * levels)[:, None]) + 0.5 * z**2, 0.0)
    mean = (shares * z).sum(axis=1)
    deviation = np.sqrt((shares * (z - mean[:, None]) ** 2).sum(axis=1))
    return Distortion(mean, deviation, (shares * log_ratio).sum(axis=1))


def price_of_paths(kappa: ArrayLike, weight: float) -> Array:
    """KL(guided | class) of whole stochastic paths up to each kappa, which no divergence of their ends exceeds.

        (w - 1)^2 / (2 w - 1) ( log 2 - cross entropy )

    Raises InputError as `stretches` does. Source: none.

    >>> price_of_paths([1.0, 4.0], 4.0).round(4)
    array([0.5694, 0.8301])
    """
    return np.asarray((weight - 1.0) ** 2 / (2.0 * weight - 1.0) * (np.log(2.0) - cross_entropy(kappa, weight)))
