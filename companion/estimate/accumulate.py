"""What a partition makes of the branches' log-likelihoods, level by level, and what it could have foreseen.

On the paths of a partition's branches the log-odds of its sides is

    L = log p(x | A) / p(x | B) + log pi / (1 - pi),    p(x | A) = sum_{z in A} a_z p(x | z).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import roots_hermitenorm

from companion.entropy import Partition, binary_entropy
from companion.estimate.paths import Levels
from companion.estimate.plan import Plan

__all__ = ["Question", "Record"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Record:
    """What a block gave for one partition: the numbers and strata of the paths that it uses, (paths,), and their values
    (paths, levels).

    `entropy` and `production` have means that are the estimates, before controls; `rough_production`, `two_steps` and
    `log_odds` are those of `Measurement`. `foreseen` and `drawn` are what the step that leads to a level adds to the
    two controls; without controls they have no levels, (paths, 0).
    """

    path: NDArray[np.int64]
    stratum: NDArray[np.int64]
    entropy: Array
    production: Array
    rough_production: Array
    two_steps: Array
    log_odds: Array
    foreseen: Array
    drawn: Array

    @staticmethod
    def concatenate(records: Sequence["Record"]) -> "Record":
        """The paths of all records, one after the other."""
        return Record(
            **{part.name: np.concatenate([getattr(each, part.name) for each in records]) for part in fields(Record)}
        )

    def of_paths(self, first: int, last: int) -> "Record":
        """The paths whose numbers are `first` to `last` - 1."""
        kept = (self.path >= first) & (self.path < last)
        return Record(**{name: values[kept] for name, values in vars(self).items()})


class _Values(NamedTuple):
    """The values of a `Record`, levels first, on the model's device."""

    entropy: torch.Tensor
    production: torch.Tensor
    rough_production: torch.Tensor
    two_steps: torch.Tensor
    log_odds: torch.Tensor
    foreseen: torch.Tensor
    drawn: torch.Tensor


class Question:
    """A partition asked of a block's paths: their values at each level, and what each step adds to two controls.

    On the run's own paths both additions have mean zero at every step, of any size, given the path so far. Of a step
    they know one number, the noise along E_A - E_B. With S_k the log-odds after that number has been seen (for two
    branches the `held` log-odds), they are `foreseen` and `drawn`,

        h(S_k) - E[ h(S_k) | path, branch ],
        e_k(branch) - sum_z p(z | path) e_k(z),    e_k(z) about E[ h(S_k) | path, z ],

    the expectations over one normal variable, by quadrature. The mean of the second is zero for any function e_k of
    path and branch, so few nodes do. `gather` sums them up.
    """

    def __init__(self, partition: Partition, plan: Plan, number: int, device: torch.device):
        owner = plan.owner[plan.paths(number).start : plan.paths(number).stop]
        columns = [plan.branches.index(branch) for branch in partition.branches]
        rows = np.flatnonzero(np.isin(owner, columns))
        self.path, self.stratum = plan.paths(number).start + rows, plan.strata(partition, number)

        def there(values: ArrayLike) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values)).to(device)

        # Where every path and branch of the run belongs to the partition nothing is picked, and nothing copied.
        self.whole = len(rows) == len(owner) and columns == list(range(len(plan.branches)))
        self.rows, self.columns = there(rows)[:, None], there(columns)
        self.own = there(np.searchsorted(columns, owner[rows]))[:, None]
        self.log_sides = there(partition.log_weights(partition.branches))
        self.prior_odds = partition.log_odds
        self.method, self.control, self.from_nothing = plan.method, plan.controlled, plan.from_nothing
        # With one branch on either side the direction between the sides does not turn.
        self.straight = len(columns) == len(partition.first) + len(partition.second) == 2
        self.first = int(partition.branches[0] not in partition.first)
        self.nodes, self.node_weights = there(_NODES), there(_NODE_WEIGHTS)
        self.few_nodes, self.few_weights = there(_FEW_NODES), there(_FEW_WEIGHTS)
        self.values: list[_Values] = []

    def see(self, levels: Levels) -> None:
        """Keeps the values of the next levels, and what their steps add to the controls."""
        held, averaged, coarse = (self._picked(each) for each in (levels.held, levels.averaged, levels.coarse))
        likelihood = averaged if self.method.averaged else held
        odds, shares = self._sides(torch.stack((likelihood, likelihood + coarse - averaged, held)))
        apart = self._apart(shares[0], self._picked(levels.gaps))
        undecided, for_twice = torch.sigmoid(odds[:2]) * torch.sigmoid(-odds[:2])
        rate = 0.5 * levels.snr[:, None] * torch.linalg.vector_norm(apart, dim=2).square_()
        entropy, doubled = binary_entropy(odds[:2])
        two_steps = entropy - doubled
        foreseen, drawn = self._steps(held, odds[2], shares[2], levels) if self.control else 2 * [entropy[:0]]
        self.values.append(
            _Values(
                entropy=entropy + two_steps if self.method.extrapolated else entropy,
                production=rate * (2.0 * undecided - for_twice if self.method.extrapolated else undecided),
                rough_production=rate * undecided,
                two_steps=two_steps,
                log_odds=odds[0],
                foreseen=foreseen,
                drawn=drawn,
            )
        )

    def record(self) -> Record:
        """All values, paths first."""
        values = _Values(*map(torch.cat, zip(*self.values, strict=True)))
        if self.control:  # at a level, what the step that leads there adds
            foreseen, drawn = (torch.nn.functional.pad(each, (0, 0, 1, 0))[:-1] for each in values[-2:])
            values = values._replace(foreseen=foreseen, drawn=drawn)
        start = int(self.from_nothing)  # where nothing is known there is no level
        arrays = {name: each[start:].T.contiguous().cpu().numpy() for name, each in values._asdict().items()}
        return Record(path=self.path, stratum=self.stratum, **arrays)

    def _picked(self, values: torch.Tensor) -> torch.Tensor:
        """The partition's paths and branches of (levels, paths, branches, ...)."""
        return values if self.whole else values[:, self.rows, self.columns]

    def _sides(self, likelihood: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-odds (..., paths), and the posterior of each branch inside its side (..., sides, paths, branches)."""
        weighted = likelihood[..., None, :, :] + self.log_sides[:, None, :]
        of_side = torch.logsumexp(weighted, dim=-1)
        return of_side[..., 0, :] - of_side[..., 1, :] + self.prior_odds, (weighted - of_side[..., None]).exp_()

    def _apart(self, shares: torch.Tensor, gaps: torch.Tensor) -> torch.Tensor:
        """How far the sides' drifts are apart, D_A - D_B (levels, paths, dimension): what all share cancels."""
        if self.straight:
            return gaps[:, :, self.first] - gaps[:, :, 1 - self.first]
        return ((shares[:, 0] - shares[:, 1])[:, :, None, :] @ gaps)[:, :, 0, :]

    def _steps(
        self, held: torch.Tensor, odds: torch.Tensor, shares: torch.Tensor, levels: Levels
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What each step adds to the two controls."""
        dsnr, gaps = levels.dsnr[:, None], self._picked(levels.step_gaps)
        apart = self._apart(shares, gaps)
        size = torch.linalg.vector_norm(apart, dim=2)
        # In deviations of the noise: where the branches' drifts lead along that direction, and where the path went.
        places = (dsnr.sqrt() / size.clamp_min(_TINY))[..., None] * (gaps @ apart[..., None])[..., 0]
        along = ((shares[:, 0] - shares[:, 1]) * self._picked(levels.noise)).sum(dim=2)
        steepness = dsnr.sqrt() * size  # of the log-odds in those deviations, as long as the direction is held
        went = along / steepness.clamp_min(_TINY)
        middle = 0.5 * (places * (shares[:, 0] + shares[:, 1])).sum(dim=2)

        def straight(at: torch.Tensor) -> torch.Tensor:
            return torch.addcmul(odds[..., None], steepness[..., None], at - middle[..., None])

        def turning(at: torch.Tensor) -> torch.Tensor:
            states = held[:, :, None] + places[:, :, None] * (at[..., None] - 0.5 * places[:, :, None])
            sides = (states - states.amax(dim=-1, keepdim=True)).exp_() @ self.log_sides.exp().T
            return torch.sub(sides[..., 0].log(), sides[..., 1].log()).add(self.prior_odds)

        # The log-odds once the step was seen to end at so many places (levels, paths, places). Beyond some branches it
        # would be too much that each of them looks at all.
        seen = straight if self.straight else turning
        of_branch = seen if len(self.columns) <= _SOME else straight
        entropy = binary_entropy(seen(torch.cat([went[..., None], self.nodes.expand(*went.shape, -1)], dim=2)))
        ends = binary_entropy(of_branch((places[..., None] + self.few_nodes).flatten(start_dim=2)))
        by_branch = ends.reshape(*places.shape, -1) @ self.few_weights
        of_own = by_branch.gather(2, self.own.expand(len(by_branch), -1, 1))[..., 0]
        posterior = torch.lerp(shares[:, 1], shares[:, 0], torch.sigmoid(odds)[..., None])
        return entropy[..., 0] - entropy[..., 1:] @ self.node_weights, of_own - (posterior * by_branch).sum(dim=2)


_TINY = 1e-150  # where nothing moves, zero over this is zero
_SOME = 16  # branches
_NODES, _NODE_WEIGHTS = roots_hermitenorm(32)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()
_FEW_NODES, _FEW_WEIGHTS = roots_hermitenorm(5)
_FEW_WEIGHTS = _FEW_WEIGHTS / _FEW_WEIGHTS.sum()
