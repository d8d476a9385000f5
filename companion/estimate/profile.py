"""Profiles of a model: when does it decide between the two sides of a partition?

A run is a pilot, which places the noise levels where the entropy falls, and then blocks of paths, until there are
enough of them. How blocks are measured is the caller's: here, in memory, one after the other.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from companion.arguments import number, whole_number
from companion.denoiser import Denoiser
from companion.entropy import NULL, Partition, partition
from companion.errors import InputError
from companion.estimate.accumulate import Record
from companion.estimate.confidence import simultaneous_factor, widest
from companion.estimate.measure import gather, measure_block
from companion.estimate.paths import check_levels, check_model
from companion.estimate.placement import PILOT_LEVELS, default_levels, pilot_samples, place
from companion.estimate.plan import BLOCK, DEFAULT, Data, Method, Plan
from companion.estimate.result import Profile, assemble

__all__ = ["LEVELS", "MOST", "Blocks", "Progress", "in_memory", "planned", "profile", "profiles"]

LEVELS = 128
MOST = 20_000
_PILOT = 1  # the stream of the pilot's noise; the run's own is 0

Progress = Callable[[int], None]
Blocks = Callable[[Denoiser, Plan, Sequence[int], Progress | None], list[list[Record]]]


def in_memory(model: Denoiser, plan: Plan, numbers: Sequence[int], progress: Progress | None) -> list[list[Record]]:
    """The records of a plan's blocks `numbers`, measured one after the other and kept in memory."""
    return [measure_block(model, plan, number, progress) for number in numbers]


def profile(
    model: Denoiser,
    partition: Partition,
    log_snr: ArrayLike | None = None,
    samples: int = 300,
    seed: int = 0,
    method: Method = DEFAULT,
    *,
    levels: int = LEVELS,
    tolerance: float | None = None,
    most: int = MOST,
    data: Data | None = None,
    block: int = BLOCK,
    progress: Progress | None = None,
    blocks: Blocks = in_memory,
) -> Profile:
    """The profile of one partition: when a model decides between its two sides.

    `log_snr` are the levels, increasing; without them a pilot run places so many `levels`, or, for a method that has
    no pilot, they are equally spaced. `samples` is the number of paths over both sides. With a `tolerance` in nats,
    paths are added until the simultaneous band is no wider than that on either side, or there are `most` of them, or
    as many as the data are enough for; they come in whole blocks then. With `data` the paths are real samples, noised
    by the exact chain. `block` paths are evaluated at once, which bounds the memory. `progress` is called with the
    evaluations done, level by level. `blocks` measures blocks of paths, another way than one after the other in
    memory. Raises InputError as `measure` does, and for a tolerance that is not
    positive and finite, fewer than two levels, or `most` smaller than a block.

    >>> from companion.entropy import partition
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)     # half entropy at kappa = 4 / sigma^2 = 4.176
    >>> result = profile(pair, partition(pair, [0], [1]), samples=400)
    >>> bool(abs(result.half_entropy.value - np.log(4.176 / 4.0)) < 0.1)
    True
    """
    (result,) = profiles(
        model, [partition], log_snr, samples, seed, method,
        levels=levels, tolerance=tolerance, most=most, data=data, block=block, progress=progress, blocks=blocks,
    )  # fmt: skip
    return result


def profiles(
    model: Denoiser,
    partitions: Sequence[Partition],
    log_snr: ArrayLike | None = None,
    samples: int = 300,
    seed: int = 0,
    method: Method = DEFAULT,
    *,
    levels: int = LEVELS,
    tolerance: float | None = None,
    most: int = MOST,
    data: Data | None = None,
    block: int = BLOCK,
    progress: Progress | None = None,
    blocks: Blocks = in_memory,
) -> list[Profile]:
    """The profiles of several partitions from one run, every path scored under every branch that any of them needs.

    `samples` is the total number of paths, split evenly over the branches; each profile counts the paths it used, and
    the evaluations of the whole run, its pilot included. Where the run has the null branch and all classes, the
    question which of the two a path is from is measured too, for the certificates. The other arguments are those of
    `profile`.
    """
    start = time.perf_counter()
    plan, pilot = planned(
        model, partitions, log_snr, samples, seed, method,
        levels=levels, tolerance=tolerance, most=most, data=data, block=block,
    )  # fmt: skip
    check_model(model, plan.branches, plan.log_snr)
    if pilot is not None:
        found = gather(pilot, blocks(model, pilot, range(pilot.blocks), progress))
        plan = replace(plan, log_snr=place(found[: len(partitions)], len(plan.log_snr)))
    records: list[list[Record]] = []
    sampling = "the paths asked for"
    while True:
        records += blocks(model, plan, range(len(records), plan.blocks), progress)
        measured = gather(plan, records)
        if tolerance is None:
            break
        asked = measured[: len(partitions)]
        width = max(widest(each, simultaneous_factor(each.entropy_of_path, each)) for each in asked)
        if width <= tolerance:
            sampling = f"the band is within {tolerance:g}"
            break
        # So many as the square-root law asks for, four times as many at most; then another look.
        wanted = _whole_blocks(plan, int(np.ceil(plan.samples * min((width / tolerance) ** 2, 4.0))), most)
        if wanted <= plan.samples:
            sampling = f"stopped at {plan.samples} paths, the most allowed: the band is {width:.4f}, not {tolerance:g}"
            break
        plan = replace(plan, samples=wanted)
    seconds = time.perf_counter() - start
    evaluations = plan.evaluations + (0 if pilot is None else pilot.evaluations)
    return [
        assemble(model, plan, each, evaluations, seconds, sampling, beside=measured)
        for each in measured[: len(partitions)]
    ]


def planned(
    model: Denoiser,
    partitions: Sequence[Partition],
    log_snr: ArrayLike | None = None,
    samples: int = 300,
    seed: int = 0,
    method: Method = DEFAULT,
    *,
    levels: int = LEVELS,
    tolerance: float | None = None,
    most: int = MOST,
    data: Data | None = None,
    block: int = BLOCK,
) -> tuple[Plan, Plan | None]:
    """The plan of a run, and that of its pilot, or None where there is none; the pilot's outcome moves the levels.

    The arguments are those of `profiles`. Nothing is evaluated. Raises InputError as `Plan` and `check_levels` do.
    """
    if isinstance(partitions, Partition) or not all(isinstance(each, Partition) for each in partitions):
        raise InputError("partitions", partitions, "what partition() or parse_partition() gave, one or more in a list")
    if tolerance is not None:
        number("tolerance", tolerance, "a positive number of nats", lambda nats: (nats > 0.0) & (nats < np.inf))
        block = whole_number("block", block, 1)
        number("most", most, f"at least one block, {block} paths", lambda paths: paths >= block)
    grid = check_levels(model, default_levels(model, levels) if log_snr is None else log_snr)
    plan = Plan((*partitions, *_of_null_branch(model, partitions)), grid, samples, seed, method, block, data=data)
    pilot = None
    if log_snr is None and method.placed:
        few = min(pilot_samples(plan), plan.samples)
        pilot = replace(plan, log_snr=default_levels(model, PILOT_LEVELS), samples=few, stream=_PILOT)
    if tolerance is not None:
        plan = replace(plan, samples=_whole_blocks(plan, plan.samples, most))
    return plan, pilot


def _of_null_branch(model: Denoiser, partitions: Sequence[Partition]) -> list[Partition]:
    """Null branch or mixture of all classes: asked beside several partitions that need all of these branches anyway."""
    branches = {branch for each in partitions for branch in each.branches}
    if len(partitions) < 2 or branches != {NULL, *range(len(model.classes))}:
        return []
    return [partition(model, [NULL], "all")]


def _whole_blocks(plan: Plan, samples: int, most: int) -> int:
    """So many paths, filled up to whole blocks, so that adding paths leaves every block as it was; at most `most`.

    With data at most as many as they are enough for.
    """
    if plan.data is not None:
        most = replace(plan, samples=most, data=None).enough(plan.data)
    return max(min(-(-samples // plan.block), most // plan.block), 1) * plan.block
