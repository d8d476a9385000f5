"""What a run costs, said before it starts: evaluations are counted, seconds and memory measured on a trial call."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from companion.denoiser import Denoiser
from companion.errors import InputError
from companion.estimate.paths import predict
from companion.estimate.plan import Plan
from companion.forward import noise_of

__all__ = ["Cost", "expected_cost", "memory_said", "states_in_memory"]

_FEW = 4
_LONGEST_TRIAL = 10.0  # seconds on a processor; a larger block is then not tried whole
# What torch, oneDNN and others say when there is no memory: none of them has an error of its own for it on a CPU.
_SAID = "not enough memory|can't allocate memory|out of memory|could not create a memory|unable to allocate"
_DRAWN_AHEAD = 4096  # numbers a path, at least; see `path_noise`


@dataclass(frozen=True)
class Cost:
    """Evaluations of a run, its pilot included, how many of them are `left`, and what they will take.

    `per_second` is the rate of a trial call with `tried` paths of a block of `block`. `memory` in bytes is the peak of
    that trial and the states and results beside it: of the device on a GPU, which has `available`, otherwise of the
    process, with all that it has loaded.
    """

    evaluations: int
    left: int
    per_second: float
    memory: int
    available: int | None
    tried: int
    block: int

    @property
    def seconds(self) -> float:
        """The seconds left, at the trial's rate."""
        return self.left / self.per_second

    def said_of(self, name: str) -> str:
        """One line for a person, about the model called `name`."""
        said = f"{self.evaluations} evaluations of {name}"
        if self.left < self.evaluations:
            said += f" ({self.evaluations - self.left} of them done)"
        said += f", about {_duration(self.seconds)} at {self.per_second:.3g} a second"
        said += f"; memory about {self.memory / 1e9:.2f} GB"
        if self.available is not None:
            said += f" of the device's {self.available / 1e9:.1f} GB"
        if self.tried < self.block:  # what a network needs for a whole block is known only where one was tried
            said += f", and what {self.block} paths need and the {self.tried} tried do not"
        return said


def expected_cost(model: Denoiser, plan: Plan, pilot: Plan | None, left: int | None = None, processes: int = 1) -> Cost:
    """The cost of a run and its pilot, from calls of the model on one block; `left` evaluations are still to be made.

    On a processor a block that would take longer than ten seconds is not tried whole: the rate is then that of four
    paths, and its memory is not known. Raises InputError, naming the size of block to use, where memory is short.

    >>> from companion.estimate.run import Run
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> asked = Run(isotropic_mixture([[-1.0], [1.0]], 0.0), "0|1", samples=100)
    >>> expected_cost(asked.model, asked.plan, asked.pilot).evaluations == asked.evaluations
    True
    """
    evaluations = plan.evaluations + (pilot.evaluations if pilot else 0)
    block = min(plan.block, plan.samples)
    few, cuda = min(_FEW, block), model.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(model.device)
    with memory_said(block):
        _trial(model, plan, few)  # the first call warms up
        seconds, tried = _trial(model, plan, few), few
        if cuda or seconds / few * block < _LONGEST_TRIAL:
            _trial(model, plan, block)
            seconds, tried = _trial(model, plan, block), block
    memory = torch.cuda.max_memory_allocated(model.device) if cuda else _peak_of_process()
    memory += states_in_memory(plan, int(np.prod(model.shape)))
    available = torch.cuda.get_device_properties(model.device).total_memory if cuda else None
    left = evaluations if left is None else left
    return Cost(evaluations, left, processes * tried / seconds, memory, available, tried, block)


def _trial(model: Denoiser, plan: Plan, paths: int) -> float:
    """Seconds of one branch's call at the first level."""
    sigma, shape = float(noise_of(plan.log_snr[0])), (paths, int(np.prod(model.shape)))
    x = torch.full(shape, sigma, dtype=torch.float64)
    start = time.perf_counter()
    predict(model, plan.branches[:1], x, sigma).sum().item()  # a number, so that a GPU is waited for
    return time.perf_counter() - start


def _peak_of_process() -> int:
    """The most bytes this process has held so far; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, where the other number would count the process that started this one
        (kilobytes,) = re.findall(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.M)
        return 1024 * int(kilobytes)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _duration(seconds: float) -> str:
    """A duration as a person says it, such as 0.4 s, 3.3 minutes, 3.9 hours."""
    if seconds < 90.0:
        return f"{seconds:.2g} s"
    return f"{seconds / 60.0:.2g} minutes" if seconds < 5400.0 else f"{seconds / 3600.0:.2g} hours"


def states_in_memory(plan: Plan, dimension: int) -> int:
    """The bytes that a block's states and the results of all paths take, what the network itself needs not counted.

    In float64, of each path of a block: nine numbers for each of its own, noise drawn ahead twice over, and ten for
    every branch asked: D at this level and the one before, the drifts, and their distances from the path's. Of each
    path of the run: eight numbers for every level and partition, and as many again while they are joined.

    >>> from companion.entropy import Partition
    >>> pair = (Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5),)
    >>> [states_in_memory(Plan(pair, np.linspace(-8.0, 8.0, 64), n), 4096) // 2**20 for n in (150, 1500)]
    [146, 157]
    """
    paths, branches = min(plan.block, plan.samples), len(plan.asked)
    numbers = paths * ((9 + 10 * branches) * dimension + 2 * max(dimension, _DRAWN_AHEAD))
    results = 2 * 8 * plan.samples * len(plan.log_snr) * len(plan.partitions)
    return 8 * (numbers + results)


@contextmanager
def memory_said(paths: int) -> Iterator[None]:
    """Turns an error for want of memory, while `paths` are evaluated at once, into an InputError with half as many.

    >>> with memory_said(128):
    ...     torch.empty(2**60)
    Traceback (most recent call last):
    companion.errors.InputError: block is 128, expected 64 or fewer: out of memory; finished blocks are kept
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, MemoryError) or re.search(_SAID, str(error), re.I)):
            raise
        fewer = f"{paths // 2} or fewer" if paths > 1 else "more memory than one path needs"
        raise InputError("block", paths, f"{fewer}: out of memory; finished blocks are kept") from None
