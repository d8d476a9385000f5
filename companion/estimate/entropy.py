"""The class entropy along reverse trajectories: one run of a model, any number of partitions, with standard errors.

On the paths of a partition's branches the log-odds of its sides is

    L = log p(x | A) / p(x | B) + log pi / (1 - pi),    p(x | A) = sum_{z in A} a_z p(x | z),

and H(Z | X) = E h_b(L), the expectation over both sides in the partition's weights (ES 26, 99). The production is
measured directly, not by differentiating (ES 37 in the snr, with both sides' expectations as one):

    -dH/dlambda = (snr / 2) E[ gamma (1 - gamma) |D_A - D_B|^2 ],    gamma = logistic(L).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logsumexp, roots_hermitenorm, softmax

from companion.denoiser import Denoiser
from companion.errors import InputError
from companion.estimate.partition import Partition, classes_first
from companion.estimate.trajectories import Level, check_levels, trajectories
from companion.theory.binary import binary_entropy

__all__ = ["DEFAULT", "PUBLISHED", "Measurement", "Method", "allot", "log_odds", "measure"]

Array = NDArray[np.float64]

_FEWEST_TO_CONTROL = 50


@dataclass(frozen=True)
class Method:
    """How the entropy is estimated: the published rule, ours, or one step of the way between them.

    `from_nothing`: the first step starts at snr 0, so that the top level's information is counted. `averaged`: the
    drift of the log-odds is averaged over both ends of a step. `control`: the estimate is corrected by two control
    variates whose mean is known to be zero.
    """

    name: str
    from_nothing: bool
    averaged: bool
    control: bool


PUBLISHED = Method("published", from_nothing=False, averaged=False, control=False)
DEFAULT = Method("default", from_nothing=True, averaged=True, control=True)


@dataclass(frozen=True, eq=False)
class Measurement:
    """What one partition's paths say at every level; `Profile` is what is made of it.

    `entropy_of_path` and `production_of_path` are (paths, levels): values whose weighted mean over the paths is the
    estimate. The entropy's are corrected by the control variates. `stratum` (paths,) numbers the branch of each path
    and `weights` are the branches' weights in the expectation. `log_odds` is L of every path and level.
    """

    partition: Partition
    log_snr: Array
    entropy_of_path: Array
    production_of_path: Array
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
    batch: int = 512,
    progress: Callable[[], None] | None = None,
) -> tuple[list[Measurement], int]:
    """Measure every partition on one set of reverse trajectories; also returns the number of network evaluations.

    `samples` is the number of paths: split evenly over the two sides of a single partition (and inside a side by its
    weights), evenly over all branches when there are several. `progress` is called after each level. `batch` bounds
    the size of one call of the model and changes nothing else. Raises InputError for no partition, for fewer than two
    samples a branch, and as `trajectories` does.

    >>> from companion.estimate.partition import partition
    >>> from companion.theory.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> levels = np.linspace(-8.0, 4.0, 20)
    >>> (result,), evaluations = measure(pair, [partition(pair, [0], [1])], levels, samples=100)
    >>> result.entropy_of_path.shape, evaluations          # 20 levels and the start, 2 branches, 100 paths
    ((100, 20), 4200)
    """
    if not partitions:
        raise InputError("partitions", partitions, "at least one partition")
    grid = check_levels(model, log_snr)
    branches = sorted({branch for each in partitions for branch in each.branches}, key=classes_first)
    shares = partitions[0].shares if len(partitions) == 1 else [1.0 / len(branches)] * len(branches)
    owner = np.repeat(np.arange(len(branches)), allot(samples, shares))

    tallies = [_Tally(each, branches, owner, method) for each in partitions]
    evaluations = 0
    for level in trajectories(model, branches, owner, grid, seed, method.from_nothing, batch):
        evaluations += level.held.size
        for tally in tallies:
            tally.add(level)
        if progress is not None:
            progress()
    return [tally.result(grid) for tally in tallies], evaluations


def allot(samples: int, shares: ArrayLike) -> NDArray[np.int64]:
    """Whole numbers of paths in proportion to `shares`, by largest remainders; InputError if one gets fewer than two.

    >>> allot(10, [0.5, 0.25, 0.25]).tolist()
    [5, 3, 2]
    """
    share = np.asarray(shares, dtype=np.float64)
    exact = samples * share
    counts = np.floor(exact + 1e-9).astype(np.int64)
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[: samples - counts.sum()]] += 1
    if samples < 1 or counts.min() < 2:
        raise InputError("samples", samples, f"at least {int(np.ceil(2.0 / share.min()))}, two paths a branch")
    return counts


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
    """What one partition has gathered of a run: the values of its paths at each level, and two control variates.

    Both controls are martingales with mean zero at every level, for any step size, on the run's own paths. With
    h(S_k) the entropy after one step whose direction D_A - D_B is held (for two branches, S is the `held` log-odds),

        C_1 = sum_k h(S_k) - E[ h(S_k) | path, branch ],
        C_2 = sum_k E[ h(S_k) | path, branch ] - sum_z p(z | path) E[ h(S_k) | path, z ],

    the expectations over one normal variable, by quadrature. h minus both is what the path's own history did not
    foresee; the coefficients are the regression's. Fewer than 50 paths are left uncorrected: their coefficients would
    be fitted to chance, and the standard error too small.
    """

    def __init__(self, partition: Partition, branches: Sequence[int], owner: NDArray[np.int64], method: Method):
        self.partition, self.method = partition, method
        self.columns = np.array([branches.index(branch) for branch in partition.branches])
        self.rows = np.flatnonzero(np.isin(owner, self.columns))
        self.stratum = np.searchsorted(self.columns, owner[self.rows])
        first, second = _log_weights(partition, partition.branches)
        self.weights = partition.prior * np.exp(first) + (1.0 - partition.prior) * np.exp(second)
        self.control = method.control and len(self.rows) >= _FEWEST_TO_CONTROL
        self.controls = np.zeros((len(self.rows), 2))
        self.entropy: list[Array] = []
        self.production: list[Array] = []
        self.log_odds: list[Array] = []

    def add(self, level: Level) -> None:
        inside = np.ix_(self.rows, self.columns)
        held, gram = level.held[inside], level.gram[np.ix_(self.rows, self.columns, self.columns)]
        if np.isfinite(level.log_snr):
            likelihood = level.averaged[inside] if self.method.averaged else held
            odds = log_odds(self.partition, self.partition.branches, likelihood)
            entropy = binary_entropy(odds)
            self.log_odds.append(odds)
            self.entropy.append(self._controlled(entropy) if self.control else entropy)
            direction = np.subtract(*self._shares(likelihood))
            gap = np.einsum("ni,nij,nj->n", direction, gram, direction)
            undecided = expit(odds) * expit(-odds)
            self.production.append(0.5 * np.exp(level.log_snr) * undecided * gap)
        if self.control and level.dsnr > 0.0:
            self._advance(held, gram, level.noise[inside], level.dsnr)

    def result(self, log_snr: Array) -> Measurement:
        entropy, production, odds = (np.stack(v, axis=1) for v in (self.entropy, self.production, self.log_odds))
        return Measurement(self.partition, log_snr, entropy, production, odds, self.stratum, self.weights)

    def _shares(self, likelihood: Array) -> tuple[Array, Array]:
        """The posterior of each branch inside either side."""
        first, second = _log_weights(self.partition, self.partition.branches)
        return softmax(likelihood + first, axis=1), softmax(likelihood + second, axis=1)

    def _advance(self, held: Array, gram: Array, noise: Array, dsnr: float) -> None:
        first, second = self._shares(held)
        direction = first - second
        along = np.einsum("ni,nij->nj", direction, gram)  # (D_A - D_B) . (D_z - D_g)
        odds = log_odds(self.partition, self.partition.branches, held)
        middle = 0.5 * np.sum(along * (first + second), axis=1)
        means = odds[:, None] + dsnr * (along - middle[:, None])
        deviation = np.sqrt(dsnr * np.maximum(np.sum(along * direction, axis=1), 0.0))
        foreseen = binary_entropy(means[:, :, None] + deviation[:, None, None] * _NODES) @ _NODE_WEIGHTS
        paths = np.arange(len(held))
        own = foreseen[paths, self.stratum]
        reached = means[paths, self.stratum] + np.sum(direction * noise, axis=1)
        posterior = softmax(held + np.log(self.weights), axis=1)
        self.controls[:, 0] += binary_entropy(reached) - own
        self.controls[:, 1] += own - np.sum(posterior * foreseen, axis=1)

    def _controlled(self, entropy: Array) -> Array:
        """h minus the controls, times the coefficients that leave the estimate the least variance."""
        moments = np.zeros((3, 3))
        for stratum, weight in enumerate(self.weights):
            members = self.stratum == stratum
            values = np.column_stack([self.controls[members], entropy[members]])
            moments += weight**2 / members.sum() * np.cov(values, rowvar=False)
        # The pseudo-inverse leaves out a control that does not vary, as at the start.
        coefficients = np.linalg.pinv(moments[:2, :2], rcond=1e-12, hermitian=True) @ moments[:2, 2]
        corrected: Array = entropy - self.controls @ coefficients
        return corrected


def _log_weights(partition: Partition, branches: Sequence[int]) -> tuple[Array, Array]:
    with np.errstate(divide="ignore"):
        first = np.log([partition.first.get(branch, 0.0) for branch in branches])
        second = np.log([partition.second.get(branch, 0.0) for branch in branches])
    return first, second


_NODES, _NODE_WEIGHTS = roots_hermitenorm(32)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
