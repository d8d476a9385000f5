"""What a run holds in memory at once, and one line with the block size to use when that is too much."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from companion.errors import InputError
from companion.estimate.plan import Plan

__all__ = ["memory_said", "states_in_memory"]

# What torch, oneDNN and numpy say when there is no memory: none of them has an error of its own for it on a CPU.
_SAID = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "could not create a memory",
    "unable to allocate",
)
_DRAWN_AHEAD = 4096  # numbers a path, at least; see `path_noise`


def states_in_memory(plan: Plan, dimension: int) -> int:
    """The bytes that a block's states and the results of all paths take, what the network itself needs not counted.

    Of each path of a block, in float64: eight numbers for each of its own, noise drawn ahead twice over, and ten for
    every branch: D at this level and the one before, the drifts, and their distances from the path's. Of each path of
    the run: eight numbers for every level and partition, and as many again while they are joined. So more samples cost
    no more than their results.

    >>> import numpy as np
    >>> from companion.entropy import Partition
    >>> pair = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5)
    >>> plans = [Plan((pair,), np.linspace(-8.0, 8.0, 64), samples) for samples in (150, 1500)]
    >>> [states_in_memory(plan, 4096) // 2**20 for plan in plans]
    [141, 152]
    """
    paths, branches = min(plan.block, plan.samples), len(plan.branches)
    numbers = paths * ((8 + 10 * branches) * dimension + 2 * max(dimension, _DRAWN_AHEAD))
    results = 2 * 8 * plan.samples * len(plan.log_snr) * len(plan.partitions)
    return 8 * (numbers + results)


@contextmanager
def memory_said(paths: int) -> Iterator[None]:
    """Turns an error for want of memory, while `paths` are evaluated at once, into an InputError with half as many.

    >>> with memory_said(128):
    ...     torch.empty(2**60)
    Traceback (most recent call last):
        ...
    companion.errors.InputError: block is 128, expected 64 or fewer: out of memory; finished blocks are kept
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error).lower()
        known = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or any(words in said for words in _SAID)
        if not known:
            raise
        fewer = f"{paths // 2} or fewer" if paths > 1 else "more memory than one path needs"
        raise InputError("block", paths, f"{fewer}: out of memory; finished blocks are kept") from None
