"""Grids of noise levels for samplers with few steps, and how far such a sampler ends from a known mixture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from companion.arguments import Array
from companion.exact.mixtures import GaussianMixture
from companion.forward import edm_levels, log_snr_levels, noise_of, production_levels
from derivations.kit.pushed_forward import Step, back_by_steps, divergence, euler, log_density

__all__ = ["GRIDS", "grid", "sample_rate", "sampling_divergence"]

GRIDS = ("EDM", "uniform", "class entropy", "sample entropy", "half and half")


def grid(name: str, count: int, ends: tuple[float, float], log_snr: Array, production: Array, rate: Array) -> Array:
    """`count` levels between two `ends`, both among them, by one of the five rules of `GRIDS`.

    "EDM" has equal steps in sigma^(1/7), "uniform" in log-snr; "class entropy" in the entropy of the class, whose
    `production` at `log_snr` is given, "sample entropy" in that of the sample, whose fall is `rate`; "half and half"
    places half of the levels as "class entropy" and half as "uniform".

    >>> grid("half and half", 3, (-2.0, 2.0), np.array([-1.0, 1.0]), np.ones(2), np.ones(2))
    array([-2.,  0.,  2.])
    """
    if name == "EDM":
        levels = edm_levels(count, *noise_of(ends).tolist())
        return np.concatenate([ends[:1], levels[1:-1], ends[1:]])  # to the last digit those of the others
    if name == "uniform":
        return log_snr_levels(count, *ends)
    curve, share = (rate, 1.0) if name == "sample entropy" else (production, 0.5 if name == "half and half" else 1.0)
    return production_levels(count, log_snr, curve, share, ends)


def sample_rate(mixture: GaussianMixture, log_snr: ArrayLike) -> Array:
    """The fall of the sample's own entropy, -dH(X_0 | X_t) / dlambda, of classes N(mu_z, s_z^2 I), in nats:

        (snr / 2) E|x_0 - D|^2 = production + (d / 2) sum_z pi_z s_z^2 / (s_z^2 + sigma^2),

    the entropy of the class and that of the sample in its class. Source: I-MMSE (Guo et al. 2005).

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> sample_rate(isotropic_mixture([[0.0], [0.0]], 1.0), [0.0]).round(6)
    array([0.25])
    """
    variances, weights = mixture.deviations[:, None].numpy() ** 2, mixture.component_weights.numpy()
    within = weights @ (variances / (variances + noise_of(np.atleast_1d(log_snr)) ** 2))
    rate: Array = mixture.production(log_snr) + 0.5 * mixture.shape[0] * within
    return rate


def sampling_divergence(mixture: GaussianMixture, log_snr: Sequence[float] | Array, step: Step = euler) -> float:
    """KL(p || q) in nats of a mixture on a line and the law q that the sampler with these levels draws, D exact.

    Raises InputError where a step folds the line.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.5)
    >>> many, few = (sampling_divergence(pair, np.linspace(-8.0, 8.0, count)) for count in (64, 32))
    >>> 3.0 < few / many < 5.0                                     # first order in the step, second in the divergence
    True
    """
    sigma = [*noise_of(log_snr).tolist(), 0.0]
    return divergence(
        mixture,
        None,
        lambda x: log_density(*back_by_steps(lambda at, s: mixture(at, s, None), x, sigma, step), sigma[0]),
    )
