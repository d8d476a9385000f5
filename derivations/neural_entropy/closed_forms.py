"""What is known of the rate of neural entropy without a network: its sum with the bandwidth, and Gaussians.

Everything is per unit of log-snr of a variance-preserving process whose equilibrium is N(0, I), alpha^2 = snr/(1 + snr)
and sigma^2 = 1 - alpha^2, in nats. An entropy-matching network whose output is zero denoises to alpha^2 x, x in the
variance-exploding frame; its denoising loss is what every network may save:

    (snr/2) E|x_0 - alpha^2 x|^2 = (snr/2) E|D - alpha^2 x|^2 + (snr/2) E|x_0 - D|^2,    D exact
       loss of no network        =  rate of neural entropy    +  generative bandwidth
"""

import numpy as np
from numpy.typing import ArrayLike

from companion.arguments import Array, finite_levels, number, numbers, whole_number
from companion.forward import Process

__all__ = ["gaussian_rate", "idle_loss", "speed_of_clock"]


def idle_loss(dimension: int, second_moment: float, log_snr: ArrayLike) -> Array:
    """The denoising loss of an entropy-matching network that says nothing, in nats per log-snr; shape of `log_snr`.

        (snr/2) E|x_0 - alpha^2 x|^2 = ( alpha^4 d + alpha^2 sigma^2 E|x_0|^2 ) / 2

    Raises InputError for a dimension below one, a second moment that is negative or not finite, and levels that are not
    finite. Source: SI 5, 17 with e = 0.

    >>> idle_loss(2, 2.0, [-40.0, 0.0, 40.0]).round(6)      # N(0, I): all of it is left, alpha^2 d / 2
    array([0. , 0.5, 1. ])
    """
    count = whole_number("dimension", dimension, least=1)
    expected = "a finite number of at least 0"
    moment = number("second_moment", second_moment, expected, lambda m: (m >= 0.0) & np.isfinite(m))
    signal = _signal(log_snr)
    return np.asarray(0.5 * signal * (signal * count + (1.0 - signal) * moment))


def gaussian_rate(variances: ArrayLike, mean: ArrayLike, log_snr: ArrayLike) -> Array:
    """The rate of neural entropy of Gaussian data, the least of all laws of its mean and covariance, per log-snr.

        ( alpha^2 sigma^2 |m|^2 + sum_j alpha^4 (rho_j - 1)^2 / (1 + snr rho_j) ) / 2

    `variances` (d,) are the eigenvalues rho_j of the covariance, `mean` (d,) is m; shape of `log_snr`. Raises
    InputError for variances that are negative, and for anything that is not finite.

    >>> gaussian_rate([1.0, 1.0], [0.0, 0.0], 0.0).item(), gaussian_rate([0.0], [0.0], 40.0).round(6).item()
    (0.0, 0.5)
    """
    rho = numbers("variances", variances, "finite numbers of at least 0", lambda v: (v >= 0.0) & np.isfinite(v)).ravel()
    square = float(np.square(numbers("mean", mean, "finite numbers", np.isfinite)).sum())
    signal, snr = _signal(log_snr), np.exp(finite_levels(log_snr))
    along = ((rho - 1.0) ** 2 / (1.0 + snr[..., None] * rho)).sum(axis=-1)
    return np.asarray(0.5 * (signal * (1.0 - signal) * square + signal**2 * along))


def speed_of_clock(process: Process, t: ArrayLike) -> Array:
    """How much log-snr passes per unit of a process's time, g^2 / sigma^2 = -dlambda/dt; shape of `t`.

    Raises InputError for times that the process does not have.

    >>> from companion.forward import linear
    >>> (speed_of_clock(linear(), [0.001, 0.1]) * [0.001, 0.1]).round(2)               # like 1/t next to the data
    array([1.09, 2.02])
    """
    times = process.check_time(t)
    return np.asarray(process.diffusion(times) / process.sigma(times) ** 2)


def _signal(log_snr: ArrayLike) -> Array:
    """alpha^2."""
    return np.asarray(1.0 / (1.0 + np.exp(-finite_levels(log_snr))))
