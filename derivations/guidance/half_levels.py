"""What is measured on guided paths with the unguided posterior of the guiding class, and where half of it is gone.

    cross entropy        E[ -log logistic(L) ]    the mean surprise at the guiding class (ES appendix B)
    posterior entropy    E h_b(L)                 the mean entropy of the posterior

for two Gaussian classes of one width. Without guidance, weight 1, both are the class entropy H(kappa).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import logit

from companion.arguments import Array, number
from companion.entropy import binary_entropy
from companion.errors import InputError
from derivations.guidance import flow, resolvent
from derivations.guidance.fokker_planck import guided_law
from derivations.guidance.schedule import EVERYWHERE

__all__ = ["Quantity", "Sampler", "check_sampler", "cross_entropy", "half_level", "posterior_entropy", "surprise"]

Sampler = Literal["sde", "ode"]
Quantity = Literal["cross entropy", "posterior entropy"]


def surprise(log_odds: Array) -> Array:
    """-log logistic(L), in nats.

    >>> float(surprise(np.array(0.0)).round(6))
    0.693147
    """
    return np.asarray(np.logaddexp(0.0, -np.asarray(log_odds)))


def cross_entropy(
    kappa: ArrayLike,
    weight: float,
    sampler: Sampler = "sde",
    prior: float = 0.5,
    interval: tuple[float, float] = EVERYWHERE,
) -> Array:
    """E[-log p(c | x)] on paths guided to class c by `weight`, at each kappa of a rising list, in nats.

    `sampler` "sde" is the reverse diffusion, "ode" its probability flow; `prior` is the probability of c in the
    unguided posterior; outside `interval` of kappa the weight is 1. To 1e-8. Raises InputError for another sampler, a
    prior that is not between 1e-4 and 1 - 1e-4, and as `stretches` does. Source: ES appendix B, "Using guidance".

    >>> cross_entropy([1.0, 4.0], 2.0).round(8), cross_entropy([1.0, 4.0], 2.0, "ode").round(8)
    (array([0.42138117, 0.1284843 ]), array([0.4103453, 0.0913495]))
    """
    return _mean(surprise, kappa, weight, sampler, prior, interval)


def posterior_entropy(
    kappa: ArrayLike,
    weight: float,
    sampler: Sampler = "sde",
    prior: float = 0.5,
    interval: tuple[float, float] = EVERYWHERE,
) -> Array:
    """E h_b(L), the mean entropy of the unguided posterior on guided paths, in nats; all else as `cross_entropy`.

    >>> posterior_entropy([1.0, 4.0], 2.0).round(8)
    array([0.55417784, 0.26030701])
    """
    return _mean(binary_entropy, kappa, weight, sampler, prior, interval)


def half_level(
    weight: float, sampler: Sampler = "sde", quantity: Quantity = "cross entropy", prior: float = 0.5
) -> float:
    """The kappa at which a quantity on guided paths is half of what it is at kappa = 0.

    To 1e-9, by the Laplace transform for the "sde" and forward for the "ode". Raises InputError for a weight that is
    not above 1/2 and at most 10, another sampler, another quantity, or a prior that is not between 0.05 and 0.95.
    Source: none.

    >>> round(half_level(4.0), 6), round(half_level(4.0, "ode"), 6)
    (0.63256, 0.578728)
    """
    w = number("weight", weight, "a number above 1/2 and at most 10", lambda each: (each > 0.5) & (each <= 10.0))
    expected = "a probability between 0.05 and 0.95"
    start = float(logit(number("prior", prior, expected, lambda each: (each >= 0.05) & (each <= 0.95))))
    if quantity not in ("cross entropy", "posterior entropy"):
        raise InputError("quantity", quantity, '"cross entropy" or "posterior entropy"')
    check_sampler(sampler)
    function = surprise if quantity == "cross entropy" else binary_entropy
    half = 0.5 * float(function(np.array(start)))

    def above_half(kappa: float) -> float:
        if sampler == "sde":
            return float(resolvent.expectation(function, kappa, w, start)) - half
        return float(flow.expectation(function, [kappa], w, start)[0]) - half

    return float(brentq(above_half, 0.1, 100.0, xtol=1e-11))


def _mean(
    function: Callable[[Array], Array],
    kappa: ArrayLike,
    weight: float,
    sampler: Sampler,
    prior: float,
    interval: tuple[float, float],
) -> Array:
    check_sampler(sampler)
    expected = "a probability between 0.0001 and 0.9999"
    start = float(logit(number("prior", prior, expected, lambda each: (each >= 1e-4) & (each <= 1.0 - 1e-4))))
    if sampler == "ode":
        return flow.expectation(function, kappa, weight, start, interval)
    law = guided_law(kappa, weight, start, interval)
    means, early = law.expectation(function), (law.kappa > 0.0) & (law.kappa < 0.4 * min(law.kappa[-1], 0.25))
    if early.any():  # on the grid of a later kappa their law is still narrow
        means[early] = _mean(function, law.kappa[early], weight, sampler, prior, interval)
    return means


def check_sampler(sampler: str) -> None:
    if sampler not in ("sde", "ode"):
        raise InputError("sampler", sampler, '"sde" or "ode"')
