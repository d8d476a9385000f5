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

        # Where every path and branch of the run belongs to the partition nothing is picked, and nothing copied.
        self.whole = len(rows) == len(owner) and columns == list(range(len(plan.branches)))
        self.rows, self.columns, self.own = there(rows)[:, None], there(columns), there(self.stratum)[:, None]
        self.log_sides = there(_log_weights(partition, partition.branches))
        self.prior_odds = partition.log_odds
        self.method, self.control = plan.method, plan.controlled
        self.nodes, self.node_weights = there(_NODES), there(_NODE_WEIGHTS)
        levels, steps = len(plan.log_snr), len(plan.log_snr) - 1 + plan.from_nothing
        self.snr, self.first_step = there(np.exp(plan.log_snr)), int(plan.from_nothing)
        self.levels, self.steps = 0, 0

        # Room for all levels at once: small tensors kept one by one would scatter the memory that the model works in.
        def room(*size: int) -> torch.Tensor:
            return torch.empty(size, dtype=torch.float64, device=device)

        self.odds, self.doubled, self.apart = room(3, levels, len(rows))
        if self.control:
            self.reached, self.deviation = room(2, steps, len(rows))
            self.means, self.posterior = room(2, steps, len(rows), len(columns))

    def add(self, level: Level) -> None:
        """What needs the model's D is taken now; the rest waits for `record`."""
        held, averaged, coarse = (self._picked(each) for each in (level.held, level.averaged, level.coarse))
        likelihood = averaged if self.method.averaged else held
        odds, shares = self._sides(torch.stack((likelihood, likelihood + coarse - averaged, held)))
        if np.isfinite(level.log_snr):
            self.odds[self.levels], self.doubled[self.levels] = odds[0], odds[1]
            self.apart[self.levels] = _apart(shares[0], self._picked(level.gaps)).square().sum(dim=1)
            self.levels += 1
        if self.control and level.dsnr > 0.0:
            self._step(odds[2], shares[2], level)
            self.steps += 1

    def record(self) -> Record:
        """Values (paths, levels) by name, and the branch of each path."""
        entropy = _binary_entropy(self.odds)
        two_steps = entropy - _binary_entropy(self.doubled)
        undecided = torch.sigmoid(self.odds) * torch.sigmoid(-self.odds)
        found = {
            "entropy": entropy + two_steps if self.method.extrapolated else entropy,
            "production": 0.5 * self.snr[:, None] * undecided * self.apart,
            "two_steps": two_steps,
            "log_odds": self.odds,
        }
        if self.control:
            found["foreseen"], found["drawn"] = self._controls()
        joined = {name: values.T.contiguous().cpu().numpy() for name, values in found.items()}
        return {**joined, "stratum": self.stratum.astype(np.float64)}

    def _picked(self, values: torch.Tensor) -> torch.Tensor:
        """The partition's paths and branches of (paths, branches, ...)."""
        return values if self.whole else values[self.rows, self.columns]

    def _sides(self, likelihood: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-odds (..., paths), and the posterior of each branch inside either side (..., sides, paths, branches)."""
        weighted = likelihood[..., None, :, :] + self.log_sides[:, None, :]
        of_side = torch.logsumexp(weighted, dim=-1)
        return of_side[..., 0, :] - of_side[..., 1, :] + self.prior_odds, (weighted - of_side[..., None]).exp_()

    def _step(self, odds: torch.Tensor, shares: torch.Tensor, level: Level) -> None:
        """The law of S after this step: normal, with a mean for each branch that may have drawn it."""
        gaps = self._picked(level.step_gaps)
        apart = _apart(shares, gaps)
        along = (gaps @ apart[:, :, None])[:, :, 0]  # (E_A - E_B) . (E_z - E_g)
        middle = 0.5 * (along * (shares[0] + shares[1])).sum(dim=1, keepdim=True)
        means = odds[:, None].add(along - middle, alpha=level.dsnr)
        first = torch.sigmoid(odds)[:, None]
        drawn = ((shares[0] - shares[1]) * self._picked(level.noise)).sum(dim=1)
        self.means[self.steps], self.posterior[self.steps] = means, torch.lerp(shares[1], shares[0], first)
        self.deviation[self.steps] = float(np.sqrt(level.dsnr)) * torch.linalg.vector_norm(apart, dim=1)
        self.reached[self.steps] = means.gather(1, self.own)[:, 0] + drawn

    def _controls(self) -> tuple[torch.Tensor, torch.Tensor]:
        """C_1 and C_2 (levels, paths), zero where the paths start; so many steps at once as memory allows."""
        entropies = torch.empty_like(self.means)
        together = max(1, _AT_ONCE // (entropies[0].numel() * len(self.nodes)))
        for some in torch.arange(len(entropies)).split(together):
            states = self.means[some][..., None] + self.deviation[some][:, :, None, None] * self.nodes
            entropies[some] = _binary_entropy(states) @ self.node_weights
        own = entropies.gather(2, self.own.expand(len(entropies), -1, 1))[:, :, 0]
        steps = torch.stack((_binary_entropy(self.reached) - own, own - (self.posterior * entropies).sum(dim=2)))
        sums = torch.nn.functional.pad(torch.cumsum(steps, dim=1), (0, 0, 1, 0))
        # A run that starts from nothing has made a step before its first level.
        foreseen, drawn = sums[:, self.first_step :]
        return foreseen, drawn


def _apart(shares: torch.Tensor, gaps: torch.Tensor) -> torch.Tensor:
    """The drifts of the two sides apart, D_A - D_B (paths, dimension): what is common to all branches cancels."""
    return ((shares[0] - shares[1])[:, None, :] @ gaps)[:, 0, :]


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


_AT_ONCE = 2**20
_NODES, _NODE_WEIGHTS = roots_hermitenorm(32)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
