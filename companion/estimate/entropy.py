"""The class entropy along paths: one run of a model, any number of partitions, every path a value.

On the paths of a partition's branches the log-odds of its sides is

    L = log p(x | A) / p(x | B) + log pi / (1 - pi),    p(x | A) = sum_{z in A} a_z p(x | z),

and H(Z | X) = E h_b(L), the expectation over both sides in the partition's weights (ES 26, 99). The production is
measured directly, not by differentiating (ES 37 in the snr, with both sides' expectations as one):

    -dH/dlambda = (snr / 2) E[ gamma (1 - gamma) |D_A - D_B|^2 ],    gamma = logistic(L).

A run is cut into blocks of paths. A block is always evaluated as one batch and its noise belongs to its paths, so that
blocks may be measured in any order, anywhere, and gathered afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import simpson
from scipy.special import logsumexp, roots_hermitenorm

from companion.arguments import number, numbers, whole_number
from companion.denoiser import Denoiser
from companion.errors import InputError
from companion.estimate.noise import check_seed
from companion.estimate.partition import NULL, Partition, classes_first
from companion.estimate.trajectories import (
    Level,
    check_finite,
    check_levels,
    check_model,
    computing_device,
    trajectories,
)

__all__ = [
    "BLOCK",
    "DEFAULT",
    "PUBLISHED",
    "Data",
    "Measurement",
    "Method",
    "Plan",
    "Record",
    "gather",
    "log_odds",
    "measure",
    "measure_block",
    "owners",
]

Array = NDArray[np.float64]
Record = dict[str, Array]

BLOCK = 128
_FEWEST_TO_CONTROL = 50
_FOLDS = 10


@dataclass(frozen=True)
class Method:
    """How the entropy is estimated: the published rule, ours, or one step of the way between them.

    `from_nothing`: the first step starts at snr 0, so that the top level's information is counted. `averaged`: the
    drift of the log-odds is averaged over both ends of a step. `extrapolated`: states are predicted, and the
    entropy of a path is 2 h(L) - h(L of `coarse`), from which the first order of the steps cancels. `control`: the
    estimate is corrected by two control variates whose mean is known to be zero. `placed`: where no levels are
    given, a pilot run places them.
    """

    name: str
    from_nothing: bool
    averaged: bool
    extrapolated: bool
    control: bool
    placed: bool


PUBLISHED = Method("published", from_nothing=False, averaged=False, extrapolated=False, control=False, placed=False)
DEFAULT = Method("default", from_nothing=True, averaged=True, extrapolated=True, control=True, placed=True)


@dataclass(frozen=True, eq=False)
class Data:
    """Real samples (count, *shape) and their classes (count,), to be noised by the exact chain.

    The label NULL says that a model drew the sample with its null branch. Raises InputError for samples that are no
    tensor or not finite, and unless there is one whole number for each.
    """

    samples: torch.Tensor
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not isinstance(self.samples, torch.Tensor) or not bool(torch.isfinite(self.samples).all()):
            raise InputError("samples of data", self.samples, "a tensor of finite numbers")
        labels = numbers("labels of data", self.labels, "whole numbers from -1", _are_labels)
        if self.samples.dim() < 2 or labels.shape != self.samples.shape[:1]:
            shapes = f"of shape {labels.shape} for samples of shape {tuple(self.samples.shape)}"
            raise InputError("labels of data", shapes, "one label for each sample, (count,) for (count, *shape)")
        object.__setattr__(self, "samples", self.samples.detach())
        object.__setattr__(self, "labels", labels.astype(np.int64))

    def of(self, branch: int) -> NDArray[np.int64]:
        """The numbers of the samples that stand for a branch: those of its label.

        Where none has the label NULL, all samples stand for the null branch, in an order of chance, always the same:
        the first of them are of all classes, even where the data are sorted by class.
        """
        found = np.flatnonzero(self.labels == branch)
        everything = branch == NULL and len(found) == 0
        return np.random.default_rng(0).permutation(len(self.labels)) if everything else found


def _are_labels(values: Array) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = (values >= NULL) & (values < 2**53) & (values == np.round(values))
    return result


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured, on which paths: enough, with the model, to repeat every number.

    `log_snr` (levels,) increases from noise to data. Path n = 0, 1, ... of `samples` belongs to block n // `block` and
    has the noise of (`seed`, n, `stream`). With `data` the paths are real samples under the exact noising chain.
    """

    partitions: tuple[Partition, ...]
    log_snr: Array
    samples: int
    seed: int = 0
    method: Method = DEFAULT
    block: int = BLOCK
    stream: int = 0
    data: Data | None = None
    branches: tuple[int, ...] = field(init=False)
    shares: tuple[float, ...] = field(init=False)
    owner: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        if not self.partitions:
            raise InputError("partitions", self.partitions, "at least one partition")
        if not isinstance(self.method, Method):
            raise InputError("method", self.method, "DEFAULT, PUBLISHED, or a Method between them")
        # Plain numbers, which JSON can hold: a run is not lost for a numpy integer when it is saved.
        object.__setattr__(self, "seed", check_seed(self.seed))
        object.__setattr__(self, "block", whole_number("block", self.block, 1))
        branches = sorted({branch for each in self.partitions for branch in each.branches}, key=classes_first)
        alone = self.partitions[0].shares if len(self.partitions) == 1 else [1.0 / len(branches)] * len(branches)
        owner = owners(self.samples, alone)
        object.__setattr__(self, "branches", tuple(branches))
        object.__setattr__(self, "shares", tuple(alone))
        object.__setattr__(self, "owner", owner)
        object.__setattr__(self, "samples", len(owner))
        if self.data is not None:
            for index, branch in enumerate(branches):
                found, needed = len(self.data.of(branch)), int(np.sum(owner == index))
                if found < needed:
                    which = "in all" if branch == NULL else f"of class number {branch}"
                    raise InputError("data", f"{found} samples {which}", f"at least {needed}, or fewer paths")

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
    def evaluations(self) -> int:
        """The evaluations of the network: one for each branch, path and level, the start from nothing included."""
        return self.samples * len(self.branches) * (len(self.log_snr) + self.from_nothing)

    def paths(self, number: int) -> range:
        """The numbers of the paths in block `number`."""
        return range(number * self.block, min((number + 1) * self.block, self.samples))

    def data_of(self, number: int) -> torch.Tensor | None:
        """The real samples of block `number`: the k-th path of a branch noises the k-th sample of its class."""
        if self.data is None:
            return None
        chosen = np.empty(self.samples, dtype=np.int64)
        for index, branch in enumerate(self.branches):
            rows = np.flatnonzero(self.owner == index)
            chosen[rows] = self.data.of(branch)[: len(rows)]
        block: torch.Tensor = self.data.samples[chosen[self.paths(number).start : self.paths(number).stop]]
        return block


@dataclass(frozen=True, eq=False)
class Measurement:
    """What one partition's paths say at every level; `Profile` is what is made of it.

    `entropy_of_path` and `production_of_path` are (paths, levels): values whose weighted mean over the paths is the
    estimate. The entropy's are corrected by the control variates. `two_steps_of_path` is what h(L) changes by when
    the noise is summed over steps twice as long: the first-order error of the steps, doubled minus once.
    `imbalance_of_path` (paths, 1) is the fall of h(L) from the first level to the last less the integral of the
    production by Simpson's rule, corrected by the controls too. `stratum` (paths,) numbers the branch of each path
    and `weights` are the branches' weights in the expectation. `log_odds` is L of every path and level.
    """

    partition: Partition
    log_snr: Array
    entropy_of_path: Array
    production_of_path: Array
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
    result by no more than the network's own batches do. `progress` is called after each level of a block with its
    evaluations. With `data` the paths are real samples, noised by the exact chain, and there are no controls. Raises
    InputError for no partition, for fewer than two samples a branch, for too few data, and as `trajectories` does.

    >>> from companion.estimate.partition import partition
    >>> from companion.theory.mixtures import isotropic_mixture
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
    """One block of a plan: for each partition the arrays that `gather` joins, paths first, then levels.

    Nothing in the loop over levels waits for the model's device; that its values are finite is checked at the end.
    """
    numbers = plan.paths(number)
    owner = plan.owner[numbers.start : numbers.stop]
    device = computing_device(model)
    tallies = [_Tally(each, plan, owner, device) for each in plan.partitions]
    flags = []
    run = trajectories(
        model,
        plan.branches,
        owner,
        plan.log_snr,
        plan.seed,
        plan.method.from_nothing,
        plan.method.extrapolated,
        numbers,
        plan.data_of(number),
        plan.stream,
    )
    for level in run:
        flags.append((level.log_snr, level.finite))
        for tally in tallies:
            tally.add(level)
        if progress is not None:
            progress(len(numbers) * len(plan.branches))
    check_finite(flags)
    return [tally.record() for tally in tallies]


def gather(plan: Plan, records: Sequence[Sequence[Record]]) -> list[Measurement]:
    """The measurements of all blocks together, in the order of the blocks; here the controls are fitted and applied."""
    found = []
    for index, partition in enumerate(plan.partitions):
        joined = {name: np.concatenate([record[index][name] for record in records]) for name in records[0][index]}
        weights = _weights(partition)
        stratum = joined["stratum"].astype(np.int64)
        entropy, production = joined["entropy"], joined["production"]
        imbalance = (entropy[:, 0] - entropy[:, -1] - simpson(production, x=plan.log_snr, axis=1))[:, None]
        if plan.controlled and len(entropy) >= _FEWEST_TO_CONTROL:
            foreseen, drawn = joined["foreseen"], joined["drawn"]
            entropy = _controlled(entropy, foreseen, drawn, stratum, weights)
            foreseen, drawn = foreseen[:, -1:] - foreseen[:, :1], drawn[:, -1:] - drawn[:, :1]
            imbalance = _controlled(imbalance, foreseen, drawn, stratum, weights)
        found.append(
            Measurement(
                partition,
                plan.log_snr,
                entropy,
                production,
                joined["two_steps"],
                imbalance,
                joined["log_odds"],
                stratum,
                weights,
            )
        )
    return found


def owners(samples: int, shares: ArrayLike) -> NDArray[np.int64]:
    """The branch of each path, so that every beginning of the sequence follows the `shares` to within one path.

    Raises InputError if a branch gets fewer than two paths.

    >>> owners(8, [0.5, 0.25, 0.25]).tolist()
    [0, 1, 2, 0, 0, 1, 2, 0]
    """
    share = np.asarray(shares, dtype=np.float64)
    fewest = int(np.ceil(np.round(2.0 / share.min(), 9)))
    expected = f"a whole number of at least {fewest}, two paths a branch"
    count = int(number("samples", samples, expected, lambda n: (n >= 1) & (n < 2**53) & (n == np.round(n))))
    counts = np.zeros(len(share))
    sequence = np.empty(count, dtype=np.int64)
    slack = 1.0 / max(2 * len(share) - 2, 1)
    for path in range(count):
        # Of the branches that lag, the one with the earliest deadline (Tijdeman 1980); rounded, so that a tie is a tie.
        due = np.round((counts + 1.0 - slack) / share, 9)
        lagging = share * (path + 1) - counts >= slack - 1e-9
        sequence[path] = int(np.argmin(np.where(lagging, due, np.inf)))
        counts[sequence[path]] += 1.0
    if counts.min() < 2:
        raise InputError("samples", samples, expected)
    return sequence


def log_odds(partition: Partition, branches: Sequence[int], log_likelihood: Array) -> Array:
    """L of a partition from one log-likelihood a branch, (..., branches) to (...,), by log-sum-exp (ES 25, 108).

    A constant common to all branches changes nothing.

    >>> two = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5)
    >>> float(log_odds(two, [0, 1], np.log([0.2, 0.8])).round(6))
    -1.386294
    """
    first, second = _log_weights(partition, branches)
    first_side = logsumexp(log_likelihood + first, axis=-1)
    result: Array = first_side - logsumexp(log_likelihood + second, axis=-1) + partition.log_odds
    return result


class _Tally:
    """What one partition gathers of a block: the values of its paths at each level, and two control variates.

    Both controls are martingales with mean zero at every level, for any step size, on the run's own paths. With
    h(S_k) the entropy after one step whose direction E_A - E_B is held (for two branches, S is the `held` log-odds),

        C_1 = sum_k h(S_k) - E[ h(S_k) | path, branch ],
        C_2 = sum_k E[ h(S_k) | path, branch ] - sum_z p(z | path) E[ h(S_k) | path, z ],

    the expectations over one normal variable, by quadrature. h minus both is what the path's own history did not
    foresee; the coefficients are the regression's.
    """

    def __init__(self, partition: Partition, plan: Plan, owner: NDArray[np.int64], device: torch.device):
        columns = [plan.branches.index(branch) for branch in partition.branches]
        rows = np.flatnonzero(np.isin(owner, columns))
        self.stratum = np.searchsorted(columns, owner[rows])

        def there(values: ArrayLike) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values)).to(device)

        first, second = _log_weights(partition, partition.branches)
        self.rows, self.columns, self.own = there(rows), there(columns), there(self.stratum)
        self.first, self.second, self.weights = there(first), there(second), there(_weights(partition))
        self.prior_odds = partition.log_odds
        self.method, self.control = plan.method, plan.controlled
        self.nodes, self.node_weights = there(_NODES), there(_NODE_WEIGHTS)
        self.foreseen = torch.zeros(len(rows), dtype=torch.float64, device=device)
        self.drawn = self.foreseen.clone()
        self.values: dict[str, list[torch.Tensor]] = {
            name: [] for name in ("entropy", "production", "two_steps", "log_odds")
        }
        if self.control:
            self.values |= {"foreseen": [], "drawn": []}

    def add(self, level: Level) -> None:
        held = level.held[self.rows][:, self.columns]
        if np.isfinite(level.log_snr):
            averaged, coarse = (each[self.rows][:, self.columns] for each in (level.averaged, level.coarse))
            likelihood = averaged if self.method.averaged else held
            odds = self._odds(likelihood)
            direction = torch.sub(*self._shares(likelihood))
            gram = level.gram[self.rows][:, self.columns][:, :, self.columns]
            gap = torch.einsum("ni,nij,nj->n", direction, gram, direction)
            undecided = torch.sigmoid(odds) * torch.sigmoid(-odds)
            entropy = _binary_entropy(odds)
            two_steps = entropy - _binary_entropy(self._odds(likelihood + coarse - averaged))
            self.values["entropy"].append(entropy + two_steps if self.method.extrapolated else entropy)
            self.values["two_steps"].append(two_steps)
            self.values["production"].append(0.5 * float(np.exp(level.log_snr)) * undecided * gap)
            self.values["log_odds"].append(odds)
            if self.control:
                self.values["foreseen"].append(self.foreseen)
                self.values["drawn"].append(self.drawn)
        if self.control and level.dsnr > 0.0:
            gram = level.step_gram[self.rows][:, self.columns][:, :, self.columns]
            self._advance(held, gram, level.noise[self.rows][:, self.columns], level.dsnr)

    def record(self) -> Record:
        joined = {name: torch.stack(values, dim=1).cpu().numpy() for name, values in self.values.items()}
        return {**joined, "stratum": self.stratum.astype(np.float64)}

    def _odds(self, likelihood: torch.Tensor) -> torch.Tensor:
        first = torch.logsumexp(likelihood + self.first, dim=1)
        return first - torch.logsumexp(likelihood + self.second, dim=1) + self.prior_odds

    def _shares(self, likelihood: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The posterior of each branch inside either side."""
        return torch.softmax(likelihood + self.first, dim=1), torch.softmax(likelihood + self.second, dim=1)

    def _advance(self, held: torch.Tensor, gram: torch.Tensor, noise: torch.Tensor, dsnr: float) -> None:
        first, second = self._shares(held)
        direction = first - second
        along = torch.einsum("ni,nij->nj", direction, gram)  # (E_A - E_B) . (E_z - E_g)
        middle = 0.5 * (along * (first + second)).sum(dim=1)
        means = self._odds(held)[:, None] + dsnr * (along - middle[:, None])
        deviation = (dsnr * (along * direction).sum(dim=1).clamp_min(0.0)).sqrt()
        foreseen = _binary_entropy(means[:, :, None] + deviation[:, None, None] * self.nodes) @ self.node_weights
        own = foreseen.gather(1, self.own[:, None])[:, 0]
        reached = means.gather(1, self.own[:, None])[:, 0] + (direction * noise).sum(dim=1)
        posterior = torch.softmax(held + self.weights.log(), dim=1)
        self.foreseen = self.foreseen + _binary_entropy(reached) - own
        self.drawn = self.drawn + own - (posterior * foreseen).sum(dim=1)


def _binary_entropy(log_odds: torch.Tensor) -> torch.Tensor:
    """`companion.theory.binary.binary_entropy` on the model's device."""
    size = log_odds.abs().clamp_max_(800.0)  # e^-800 is zero, and 0 * inf is avoided
    odds_against = torch.exp(-size)
    # In place, because the controls' quadrature is most of what the estimator itself costs.
    return torch.log1p(odds_against).addcdiv_(size.mul_(odds_against), odds_against.add_(1.0))


def _controlled(entropy: Array, foreseen: Array, drawn: Array, stratum: NDArray[np.int64], weights: Array) -> Array:
    """h minus the controls, times the coefficients that leave the estimate the least variance, level by level.

    A path's coefficients are fitted to the nine tenths of the paths that it is not among: they do not know its
    noise, so that the mean keeps no bias from them and the standard error is none too small. Fewer than 50 paths are
    left uncorrected by the caller: their coefficients would be fitted to chance.
    """
    values = np.stack([foreseen, drawn, entropy])  # (3, paths, levels)
    place = np.zeros(len(stratum), dtype=np.int64)  # a path's number among those of its branch
    for index in range(len(weights)):
        place[stratum == index] = np.arange(int(np.sum(stratum == index)))
    corrected = np.empty_like(entropy)
    for fold in range(_FOLDS):
        left_out = place % _FOLDS == fold
        moments = np.zeros((entropy.shape[1], 3, 3))
        for index, weight in enumerate(weights):
            members = values[:, (stratum == index) & ~left_out]
            count = members.shape[1]
            if count > 1:  # a branch of two paths may have one left
                centred = members - members.mean(axis=1, keepdims=True)
                moments += weight**2 / count / (count - 1) * np.einsum("apl,bpl->lab", centred, centred)
        # The pseudo-inverse leaves out a control that does not vary, as at the start.
        inverse = np.linalg.pinv(moments[:, :2, :2], rcond=1e-12, hermitian=True)
        coefficients = np.einsum("lab,lb->al", inverse, moments[:, :2, 2])
        corrected[left_out] = entropy[left_out] - np.einsum("apl,al->pl", values[:2, left_out], coefficients)
    return corrected


def _weights(partition: Partition) -> Array:
    """The weight of each branch in the expectation over both sides."""
    first, second = _log_weights(partition, partition.branches)
    result: Array = partition.prior * np.exp(first) + (1.0 - partition.prior) * np.exp(second)
    return result


def _log_weights(partition: Partition, branches: Sequence[int]) -> tuple[Array, Array]:
    with np.errstate(divide="ignore"):
        first = np.log([partition.first.get(branch, 0.0) for branch in branches])
        second = np.log([partition.second.get(branch, 0.0) for branch in branches])
    return first, second


_NODES, _NODE_WEIGHTS = roots_hermitenorm(32)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
