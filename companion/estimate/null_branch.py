"""The null branch beside the classes: is it the mixture that it should be?

Where a model has a null branch, one evaluation of it can stand for all other classes (ES 105). A network learns that
branch by itself; nothing makes it the mixture of its classes. On paths that the null branch draws an exact one cannot
be told from that mixture, so what is told there is its inconsistency.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from companion.arguments import whole_number
from companion.denoiser import Denoiser
from companion.entropy import NULL, Partition, cross_entropy, log_odds, partition
from companion.estimate.bracket import draw_classes
from companion.estimate.confidence import stratified
from companion.estimate.paths import Paths, check_levels, path_likelihoods

__all__ = ["NullCheck", "null_inconsistency"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NullCheck:
    """How well the null branch's own paths are told from paths of the mixture of `classes`, (levels,).

    `posterior` is the mean probability of the null branch, 1/2 where it is the mixture; `shortfall` in nats is 0 there
    and at most log 2. The standard errors count paths only.
    """

    classes: tuple[int, ...]
    log_snr: Array
    posterior: Array
    posterior_se: Array
    shortfall: Array
    shortfall_se: Array
    samples: int
    evaluations: int
    seed: int


def null_inconsistency(
    model: Denoiser, log_snr: ArrayLike, samples: int, seed: int = 0, classes: int | Sequence[int] | None = None
) -> NullCheck:
    """Compare the null branch with the mixture of classes that it should be, on paths that it draws.

        posterior = E_null[gamma],    shortfall = E_null[log 2 gamma],    gamma = p_null / (p_null + p_classes)

    Both are f-divergences, convex in the mixture: a random subset (`classes` as in `bracket`) can only raise their
    mean. None asks all classes, in the model's weights. Evaluations: samples x branches x (levels + 1). Raises as
    `bracket` does, and for a model without a null branch. Source: ES 105.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> found = null_inconsistency(isotropic_mixture([[-1.0], [1.0]], 0.0), np.linspace(-8.0, 2.0, 40), samples=200)
    >>> bool(np.all(np.abs(found.posterior - 0.5) < 0.03))
    True
    """
    whole = partition(model, [NULL], range(len(model.classes)))
    chosen = tuple(whole.second) if classes is None else draw_classes(whole, classes, seed, least=1)
    branches, owner = (*chosen, NULL), np.full(whole_number("samples", samples, 2), len(chosen))
    likelihood = path_likelihoods(model, Paths(branches, owner, log_snr, seed))
    total = sum(whole.second[k] for k in chosen)
    asked = Partition("null", {NULL: 1.0}, {k: whole.second[k] / total for k in chosen}, 0.5)
    odds = log_odds(asked, branches, likelihood)
    values = np.stack([expit(odds), np.log(2.0) - cross_entropy(odds, 1.0)], axis=1)
    (posterior, shortfall), variance = stratified(values, np.zeros(samples, dtype=np.int64), [1.0])
    posterior_se, shortfall_se = np.sqrt(variance)
    return NullCheck(
        classes=chosen,
        log_snr=check_levels(model, log_snr),
        posterior=posterior,
        posterior_se=posterior_se,
        shortfall=shortfall,
        shortfall_se=shortfall_se,
        samples=samples,
        evaluations=likelihood.size + likelihood[:, 0].size,
        seed=seed,
    )
