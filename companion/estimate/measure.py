"""The class entropy along paths: one run of a model, any number of partitions, every path a value.

On the paths of a partition's branches the log-odds of its sides is

    L = log p(x | A) / p(x | B) + log pi / (1 - pi),    p(x | A) = sum_{z in A} a_z p(x | z),

and H(Z | X) = E h_b(L), the expectation over both sides in the partition's weights (ES 26, 99). The production is
measured directly, not by differentiating (ES 37 in the snr, with both sides' expectations as one):

    -dH/dlambda = (snr / 2) E[ gamma (1 - gamma) |D_A - D_B|^2 ],    gamma = logistic(L).

A run is cut into blocks of paths. A block is always evaluated as one batch and its noise belongs to its paths, so that
blocks may be measured in any order, anywhere, and gathered afterwards.

On a model's own paths both estimates are corrected by two control variates, sums over the steps that lead to a level of
what `Question` finds each step to add. A path is expected to keep of its h what the mean H keeps,

    E[ h(L_m) | path up to k ] is about (H_m / H_k) h(L_k),

so that a step to level k is weighed by 1 / H_k in the sum; H_m is left to the regression.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import simpson

from companion.denoiser import Denoiser
from companion.entropy import NULL, Partition
from companion.estimate.accumulate import Question, Record
from companion.estimate.paths import Paths, by_levels, check_levels, check_model, computing_device
from companion.estimate.plan import BLOCK, DEFAULT, Data, Method, Plan

__all__ = ["Measurement", "gather", "measure", "measure_block"]

Array = NDArray[np.float64]

_FEWEST_TO_CONTROL = 50
_FOLDS = 10
_LEAST = 1e-3  # nats


@dataclass(frozen=True, eq=False)
class Measurement:
    """What one partition's paths say at every level; `Profile` is what is made of it.

    `entropy_of_path` and `production_of_path` are (paths, levels): values whose weighted mean over the paths is the
    estimate, both corrected by the control variates. `rough_production_of_path` is the production from one step size
    and without controls, which no long step makes negative: levels are placed by it. `two_steps_of_path` is what h(L)
    changes by when the noise is summed over steps twice as long: the first-order error of the steps, to be taken off.
    `imbalance_of_path` (paths, 1) is the fall of h(L) from the first level to the last less the integral of the
    production by Simpson's rule, corrected by the controls too. `stratum` (paths,) numbers the branch of each path,
    or its side (`Plan`), and `weights` are theirs in the expectation. `log_odds` is L of every path and level.
    """

    partition: Partition
    log_snr: Array
    entropy_of_path: Array
    production_of_path: Array
    rough_production_of_path: Array
    two_steps_of_path: Array
    imbalance_of_path: Array
    log_odds: Array
    stratum: NDArray[np.int64]
    weights: Array


def measure(
    model: Denoiser,
    partitions: Sequence[Partition],
    log_snr: ArrayLike,
    samples: int,
    seed: int = 0,
    method: Method = DEFAULT,
    block: int = BLOCK,
    progress: Callable[[int], None] | None = None,
    data: Data | None = None,
) -> tuple[list[Measurement], int]:
    """Measure every partition on one set of paths; also returns the number of network evaluations.

    `samples` is the number of paths: in a single partition half of them on either side (and inside a side by its
    weights), with several partitions evenly over all branches. They are evaluated `block` at a time, which moves a
    result by no more than the network's own batches do. `progress` is called for each level of a block with its
    evaluations. With `data` the paths are real samples, noised by the exact chain, and there are no controls.
    Raises InputError for no partition, for fewer than two samples a side (of several partitions, a branch), for too few
    data, and as `by_levels` does.

    >>> from companion.entropy import partition
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> levels = np.linspace(-8.0, 4.0, 20)
    >>> (result,), evaluations = measure(pair, [partition(pair, [0], [1])], levels, samples=100)
    >>> result.entropy_of_path.shape, evaluations          # 20 levels and the start, 2 branches, 100 paths
    ((100, 20), 4200)
    """
    grid = check_levels(model, log_snr)
    plan = Plan(tuple(partitions), grid, samples, seed, method, block, data=data)
    check_model(model, plan.branches, grid)
    records = [measure_block(model, plan, number, progress) for number in range(plan.blocks)]
    return gather(plan, records), plan.evaluations


def measure_block(
    model: Denoiser, plan: Plan, number: int, progress: Callable[[int], None] | None = None
) -> list[Record]:
    """One block of a plan: what it gave for each partition.

    Nothing in the loop over levels waits for the model's device.
    """
    questions = [Question(each, plan, number, computing_device(model)) for each in plan.partitions]
    for levels in by_levels(model, Paths.of_block(plan, number)):
        for question in questions:
            question.see(levels)
        if progress is not None:
            for each in levels.held:
                progress(each.numel())
    return [question.record() for question in questions]


def gather(plan: Plan, records: Sequence[Sequence[Record]]) -> list[Measurement]:
    """The measurements of all blocks together, in the order of the blocks; here the controls are fitted and applied."""
    found = []
    for index, partition in enumerate(plan.partitions):
        found.append(_measured(plan, partition, Record.concatenate([record[index] for record in records])))
    return found


def _measured(plan: Plan, partition: Partition, record: Record) -> Measurement:
    stratum, weights = record.stratum, plan.weights(partition).sum(axis=0)
    entropy, production = record.entropy, record.production
    imbalance = (entropy[:, 0] - entropy[:, -1] - simpson(production, x=plan.log_snr, axis=1))[:, None]
    if plan.controlled and len(entropy) >= _FEWEST_TO_CONTROL:
        steps = np.stack([record.foreseen, record.drawn])
        floor = 0.0 if NULL in partition.branches else partition.floor  # a network's null branch may lead below it

        def weighed(paths: NDArray[np.bool_]) -> Array:
            """The sums that lead to each level, a step weighed by what the mean entropy has left after it."""
            means = np.stack([entropy[paths & (stratum == index)].mean(axis=0) for index in range(len(weights))])
            kept = np.maximum(np.minimum.accumulate(weights @ means - floor), _LEAST)
            result: Array = np.cumsum(steps / kept if plan.method.weighed else steps, axis=2)
            return result

        summed = steps[:, :, 1:].sum(axis=2, keepdims=True)
        (imbalance,) = _controlled(imbalance[None], lambda paths: summed, stratum, weights)
        entropy, production = _controlled(np.stack([entropy, production]), weighed, stratum, weights)
    return Measurement(
        partition,
        plan.log_snr,
        entropy,
        production,
        record.rough_production,
        record.two_steps,
        imbalance,
        record.log_odds,
        stratum,
        weights,
    )


def _controlled(
    values: Array,
    controls: Callable[[NDArray[np.bool_]], Array],
    stratum: NDArray[np.int64],
    weights: Array,
) -> Array:
    """Values (several, paths, levels) minus `controls` (2, paths, levels), with the coefficients of least variance.

    Coefficients, and what `controls` takes from the paths it is given, come for each path from the nine tenths of the
    paths that it is not among: they do not know its noise, so that the mean keeps no bias from them and the standard
    error is none too small. Fewer than 50 paths are left uncorrected by the caller: their coefficients would be
    fitted to chance.
    """
    place = np.empty(len(stratum), dtype=np.int64)  # every tenth path of each stratum, or of several small ones
    place[np.argsort(stratum, kind="stable")] = np.arange(len(stratum))
    corrected = np.empty_like(values)
    for fold in range(_FOLDS):
        left_out = place % _FOLDS == fold
        control = controls(~left_out)
        every = np.concatenate([control, values])
        moments = np.zeros((values.shape[2], 2, len(every)))
        for index, weight in enumerate(weights):
            members = every[:, (stratum == index) & ~left_out]
            count = members.shape[1]
            if count > 1:  # a branch of two paths may have one left
                centred = members - members.mean(axis=1, keepdims=True)
                moments += weight**2 / count / (count - 1) * np.einsum("apl,bpl->lab", centred[:2], centred)
        # The pseudo-inverse leaves out a control that does not vary, as at the start.
        inverse = np.linalg.pinv(moments[:, :, :2], rcond=1e-12, hermitian=True)
        coefficients = inverse @ moments[:, :, 2:]
        corrected[:, left_out] = values[:, left_out] - np.einsum("apl,lav->vpl", control[:, left_out], coefficients)
    return corrected
