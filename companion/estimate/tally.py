"""What a partition makes of the branches' log-likelihoods, level by level, and what it could have foreseen.

On the paths of a partition's branches the log-odds of its sides is

    L = log p(x | A) / p(x | B) + log pi / (1 - pi),    p(x | A) = sum_{z in A} a_z p(x | z).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, roots_hermitenorm

from companion.estimate.partition import Partition
from companion.estimate.plan import Plan
from companion.estimate.trajectories import Level

__all__ = ["Record", "Tally", "branch_weights", "log_odds"]

Array = NDArray[np.float64]
Record = dict[str, Array]


class Tally:
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
        self.first, self.second, self.weights = there(first), there(second), there(branch_weights(partition))
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


def branch_weights(partition: Partition) -> Array:
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
