"""What is measured, how, and on which paths: enough, with the model, to repeat every number of a run.

A run is cut into blocks of paths. A block is always evaluated as one batch and its noise belongs to its paths, so that
blocks may be measured in any order, anywhere, and gathered afterwards.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from companion.arguments import Array, number, numbers, whole_number
from companion.denoiser import Denoiser
from companion.entropy import NULL, Classes, Partition, classes_first
from companion.errors import InputError
from companion.estimate.noise import check_seed
from companion.guidance import Guidance

__all__ = ["BLOCK", "DEFAULT", "PUBLISHED", "Array", "Data", "Indices", "Method", "Plan", "owners", "owners_by_side"]

Indices = NDArray[np.int64]

BLOCK = 150  # the 300 paths of a run that says nothing else are two whole blocks
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)


@dataclass(frozen=True)
class Method:
    """How the entropy is estimated: the published rule, ours, or one step of the way between them.

    `from_nothing`: the first step starts at snr 0, so that the top level's information is counted. `averaged`: the
    drift of the log-odds is averaged over both ends of a step. `extrapolated`: states are predicted, and the entropy of
    a path is 2 h(L) - h(L of `coarse`), from which the first order of the steps cancels; so is gamma (1 - gamma) in its
    production. `control`: two control variates of mean zero correct the estimates. `weighed`: a step counts in them by
    what the entropy keeps after it. `placed`: where no levels are given, a pilot run places them.
    """

    name: str
    from_nothing: bool
    averaged: bool
    extrapolated: bool
    control: bool
    weighed: bool
    placed: bool


PUBLISHED = Method("published", *[False] * 6)
DEFAULT = Method("default", *[True] * 6)


@dataclass(frozen=True, eq=False)
class Data:
    """Real samples (count, *shape) and their classes (count,), to be noised by the exact chain.

    The label NULL says that a model drew the sample with its null branch. Raises InputError for samples that are no
    tensor or not finite, and unless there is one whole number for each.
    """

    samples: torch.Tensor
    labels: Indices

    def __post_init__(self) -> None:
        if not isinstance(self.samples, torch.Tensor) or not bool(torch.isfinite(self.samples).all()):
            raise InputError("samples of data", self.samples, "a tensor of finite numbers")
        whole = "whole numbers from -1"
        labels = numbers("labels of data", self.labels, whole, lambda k: (k >= NULL) & (k < 2**53) & (k == k.round()))
        if self.samples.dim() < 2 or labels.shape != self.samples.shape[:1]:
            shapes = f"of shape {labels.shape} for samples of shape {tuple(self.samples.shape)}"
            raise InputError("labels of data", shapes, "one label for each sample, (count,) for (count, *shape)")
        vars(self).update(samples=self.samples.detach(), labels=labels.astype(np.int64))

    def of(self, branch: int) -> Indices:
        """The numbers of the samples that stand for a branch: those of its label.

        Where none has the label NULL, all stand for the null branch, in an order of chance, always the same.
        """
        found = np.flatnonzero(self.labels == branch)
        if branch == NULL and len(found) == 0:  # the first are of all classes, even where the data are sorted by class
            return np.random.default_rng(0).permutation(len(self.labels))
        return found

    def checked(self, model: Denoiser, least: int = 0) -> "Data":
        """Itself; InputError for samples or labels that are not the model's, and fewer than `least` of a class."""
        shape, classes = tuple(self.samples.shape), len(model.classes)
        if shape[1:] != model.shape or len(self.samples) < 2:
            raise InputError("samples of data", f"of shape {shape}", f"at least two samples of shape {model.shape}")
        if not np.all((self.labels >= 0) & (self.labels < classes)):
            raise InputError("labels of data", self.labels, f"classes from 0 to {classes - 1}")
        counts = np.bincount(self.labels, minlength=classes)
        if counts.min() < least:
            said = f"{counts.min()} of class number {counts.argmin()}"
            raise InputError("labels of data", said, f"at least {least} samples of every class")
        return self


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured, on which paths.

    `log_snr` (levels,) increases from noise to data. Path n = 0, 1, ... of `samples` belongs to block n // `block` and
    has the noise of (`seed`, n, `stream`). With `data` the paths are real samples under the exact noising chain. A
    branch is a stratum, with its share of the paths; `owner` (samples,) is the index of each path's branch. Where a
    single partition has fewer paths than two a branch the strata are its two sides (`by_side`), and chance takes for
    each path a branch of its side. With `guidance` each path is guided towards its own class. A plan that gets more
    paths keeps its kind of strata, so that `replace` leaves the paths it had as they were. Raises InputError for no
    partition, fewer than two paths a stratum, and too few data.
    """

    partitions: tuple[Partition, ...]
    log_snr: Array
    samples: int
    seed: int = 0
    method: Method = DEFAULT
    block: int = BLOCK
    stream: int = 0
    data: Data | None = None
    by_side: bool | None = None
    guidance: Guidance | None = None
    branches: tuple[int, ...] = field(init=False)
    shares: tuple[float, ...] = field(init=False)
    owner: Indices = field(init=False)

    def __post_init__(self) -> None:
        if not self.partitions:
            raise InputError("partitions", self.partitions, "at least one partition")
        if not isinstance(self.method, Method):
            raise InputError("method", self.method, "DEFAULT, PUBLISHED, or a Method between them")
        # Plain numbers, which JSON can hold: a run is not lost for a numpy integer when it is saved.
        vars(self).update(seed=check_seed(self.seed), block=whole_number("block", self.block, 1))
        branches = sorted({branch for each in self.partitions for branch in each.branches}, key=classes_first)
        alone = len(self.partitions) == 1 and not isinstance(self.partitions[0], Classes)
        shares = self.partitions[0].shares if alone else [1.0 / len(branches)] * len(branches)
        two_each = int(np.ceil(np.round(2.0 / min(shares), 9)))
        fewest, stratum = (4, "side") if alone and self.by_side is not False else (two_each, "branch")
        expected = f"a whole number of at least {fewest}, two paths a {stratum}"
        count = int(number("samples", self.samples, expected, lambda n: (n >= fewest) & (n < 2**53) & (n == n.round())))
        by_side = count < two_each if self.by_side is None else self.by_side
        owner = owners_by_side(count, self.partitions[0], self.seed) if by_side else owners(count, shares)
        vars(self).update(samples=count, by_side=by_side, branches=tuple(branches), shares=tuple(shares), owner=owner)
        if self.data is not None and self.enough(self.data) < count:
            index = int(owner[self._noised(self.data) < 0].min())
            which = "in all" if branches[index] == NULL else f"of class number {branches[index]}"
            needed = f"at least {np.sum(owner == index)}, or fewer paths"
            raise InputError("data", f"{len(self.data.of(branches[index]))} samples {which}", needed)

    @property
    def blocks(self) -> int:
        """How many blocks the paths make, the last one perhaps smaller."""
        return -(-self.samples // self.block)

    @property
    def controlled(self) -> bool:
        """Whether the control variates are used: their mean is known on the model's own paths only."""
        return self.method.control and self.data is None

    @property
    def from_nothing(self) -> bool:
        """Whether the paths start at snr 0; real data always do."""
        return self.method.from_nothing or self.data is not None

    @property
    def asked(self) -> tuple[int, ...]:
        """The branches that the model is asked for: those that are scored, and the null branch where it guides."""
        return self.branches if self.guidance is None or NULL in self.branches else (*self.branches, NULL)

    @property
    def jumps(self) -> list[int]:
        """The places of those levels before which guidance sets in or ends."""
        return [] if self.guidance is None else self.guidance.jumps(self.log_snr)

    @property
    def evaluations(self) -> int:
        """The evaluations of the network: one for each branch, path and level, the start from nothing included, and one
        more where only guidance asks for the null branch."""
        each = len(self.branches) * (len(self.log_snr) + self.from_nothing)
        if self.guidance is not None and self.asked != self.branches:
            led = self.guidance.weight(self.log_snr) != 1.0
            each += int(led.sum()) + int(self.from_nothing and led[0])
        return self.samples * each

    def paths(self, number: int) -> range:
        """The numbers of the paths in block `number`."""
        return range(self.samples)[number * self.block : (number + 1) * self.block]

    def weights(self, partition: Partition) -> Array:
        """What each stratum of a partition weighs in the expectation, as part of either side, (2, strata)."""
        within = [[side.get(k, 0.0) for k in partition.branches] for side in (partition.first, partition.second)]
        prior: Array = np.array([[partition.prior], [1.0 - partition.prior]])
        return prior * np.array(np.eye(2) if self.by_side else within, dtype=np.float64)

    def data_of(self, number: int) -> torch.Tensor | None:
        """The real samples of block `number`: the k-th path of a branch noises the k-th sample of its class."""
        return None if self.data is None else self.data.samples[self._noised(self.data)[self.paths(number)]]

    def enough(self, data: Data) -> int:
        """How many of the paths, from the first on, the data are enough for."""
        return int(np.argmin(np.append(self._noised(data), -1)))

    def _noised(self, data: Data) -> Indices:
        """The sample that each path noises, -1 where its class has no more."""
        chosen = np.full(self.samples, -1)
        for index, branch in enumerate(self.branches):
            rows, found = np.flatnonzero(self.owner == index), data.of(branch)
            chosen[rows[: len(found)]] = found[: len(rows)]
        return chosen


def owners(samples: int, shares: ArrayLike) -> Indices:
    """The branch of each path, so that every beginning of the sequence follows the `shares` to within one path.

    >>> owners(8, [0.5, 0.25, 0.25]).tolist()
    [0, 1, 2, 0, 0, 1, 2, 0]
    """
    share = np.asarray(shares, dtype=np.float64)
    counts, sequence = np.zeros(len(share)), np.empty(samples, dtype=np.int64)
    slack = 1.0 / max(2 * len(share) - 2, 1)
    for path in range(samples):
        # Of the branches that lag, the one with the earliest deadline (Tijdeman 1980); rounded, so that a tie is a tie.
        due = np.round((counts + 1.0 - slack) / share, 9)
        lagging = share * (path + 1) - counts >= slack - 1e-9
        sequence[path] = np.argmin(np.where(lagging, due, np.inf))
        counts[sequence[path]] += 1.0
    return sequence


def owners_by_side(samples: int, partition: Partition, seed: int) -> Indices:
    """The branch of each path, its index: sides take turns, and each branch of a side has its weight as probability.

    The paths of a side walk through its branches, in an order of chance, in steps of the golden ratio from a place of
    chance, so that every beginning of the walk is spread over all of them.

    >>> owners_by_side(8, Partition("0,1|2,3", {0: 0.5, 1: 0.5}, {2: 0.5, 3: 0.5}, 0.5), 0).tolist()
    [0, 2, 1, 3, 1, 2, 0, 3]
    """
    generator = np.random.default_rng(seed)
    sequence = np.empty(samples, dtype=np.int64)
    for first, side in enumerate((partition.first, partition.second)):
        order = generator.permutation(list(side))
        ends = np.cumsum([side[int(branch)] for branch in order])
        walk = (generator.random() + _GOLDEN * np.arange(len(sequence[first::2]))) % 1.0
        indices = np.array([partition.branches.index(branch) for branch in order])
        sequence[first::2] = indices[np.searchsorted(ends[:-1], walk, side="right")]
    return sequence
