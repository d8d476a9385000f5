"""The class entropy along paths: one run of a model, any number of partitions, every path a value.

On the paths of a partition's branches the log-odds of its sides is

    L = log p(x | A) / p(x | B) + log pi / (1 - pi),    p(x | A) = sum_{z in A} a_z p(x | z),

and H(Z | X) = E h_b(L), the expectation over both sides in the partition's weights (ES 26, 99). The production is
measured directly, not by differentiating (ES 37 in the snr, with both sides' expectations as one):

    -dH/dlambda = (snr / 2) E[ gamma (1 - gamma) |D_A - D_B|^2 ],    gamma = logistic(L).

On guided paths, which the unguided D score, the posterior is no longer the paths' own. What is measured there is a
cross entropy, E[-log p(true side | x)] (ES appendix B). With q the share of the first side in what the path stands for

    f(L) = -q log gamma - (1 - q) log(1 - gamma) = log(1 + e^L) - q L,    f' = gamma - q,    f'' = gamma (1 - gamma),

and with the gaps G = D - u Ito's formula gives

    -df/dlambda = (snr / 2) { (gamma - q) (|G_A|^2 - |G_B|^2) - gamma (1 - gamma) |D_A - D_B|^2 },

on own paths of A, u = D_A and q = 1, (snr / 2) (1 - gamma)^2 |D_A - D_B|^2. It may be negative.

On a model's own paths both estimates are corrected by two control variates, sums over the steps that lead to a level of
what `Question` finds each step to add. A path is expected to keep of its h what the mean H keeps,

    E[ h(L_m) | path up to k ] is about (H_m / H_k) h(L_k),

so that a step to level k is weighed by 1 / H_k in the sum; H_m is left to the regression.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import simpson
from scipy.special import roots_hermitenorm
from torch import Tensor

from companion.arguments import Array
from companion.denoiser import Denoiser
from companion.entropy import NULL, Classes, Partition, binary_entropy, cross_entropy, neural_entropy_rate
from companion.estimate.paths import Levels, Paths, Progress, by_levels, check_levels, check_model
from companion.estimate.plan import BLOCK, DEFAULT, Data, Indices, Method, Plan

__all__ = ["Measurement", "Question", "Record", "gather", "integral", "measure", "measure_block", "rates_of"]

Mask = NDArray[np.bool_]
_FEWEST_TO_CONTROL, _FOLDS = 50, 10
_TINY = 1e-150  # where nothing moves, zero over this is zero
_NODES = [np.stack([at, share / share.sum()]) for at, share in map(roots_hermitenorm, (32, 5))]  # many, and few


@dataclass(frozen=True, eq=False)
class Record:
    """What a block gave for one partition: numbers and strata of the paths it uses, (paths,), values (paths, levels).

    The values are those of `Measurement`, before controls; `posterior` has no levels, (paths, 0), but on guided paths.
    `foreseen` and `drawn` are what the step that leads to a level adds to the two controls; without controls they have
    no levels, (paths, 0). `rates` (paths, levels, 4 or 7) are those of `Tree`, and of a partition none, (paths, 0).
    """

    path: Indices
    stratum: Indices
    entropy: Array
    production: Array
    rough_production: Array
    two_steps: Array
    log_odds: Array
    posterior: Array
    foreseen: Array
    drawn: Array
    rates: Array

    @staticmethod
    def concatenate(records: Sequence["Record"]) -> "Record":
        """The paths of all records, one after the other."""
        return Record(**{name: np.concatenate([vars(each)[name] for each in records]) for name in vars(records[0])})

    def of_paths(self, first: int, last: int) -> "Record":
        """The paths whose numbers are `first` to `last` - 1."""
        kept = (self.path >= first) & (self.path < last)
        return Record(**{name: values[kept] for name, values in vars(self).items()})


# The values of a record, in its order, but levels first and on the model's device.
_Values = namedtuple("_Values", "entropy production rough_production two_steps log_odds posterior foreseen drawn")


class Question:
    """A partition asked of a block's paths: their values at each level, and what each step adds to two controls.

    Of several partitions that share no branch each path is asked the one that its branch is in.

    Of a step they know one number, the noise along E_A - E_B. With S_k the log-odds after that number has been seen
    (for two branches the `held` log-odds), they are `foreseen` and `drawn`,

        h(S_k) - E[ h(S_k) | path, branch ],
        e_k(branch) - sum_z p(z | path) e_k(z),    e_k(z) about E[ h(S_k) | path, z ],

    the expectations over one normal variable, by quadrature. On the run's own paths both have mean zero at every step,
    of any size, given the path so far: the second for any function e_k of path and branch, so few nodes do. On guided
    paths the branches have other drifts than the path's, and only the first is left, with the cross entropy for h.
    """

    def __init__(self, asked: Partition | Sequence[Partition], plan: Plan, number: int, device: torch.device):
        several = [asked] if isinstance(asked, Partition) else asked
        count, owner = max(len(each.branches) for each in several), plan.owner[plan.paths(number)]
        # Of each branch, which partition it is in, and its place there. The row of a smaller partition is filled up
        # with its first branch once more, of no weight.
        which, place = np.full((2, len(plan.branches)), -1)
        columns, of_first = np.zeros((len(several), count), dtype=np.int64), np.zeros((len(several), count))
        log_sides = np.full((2, len(several), count), -np.inf)
        for index, each in enumerate(several):
            its = [plan.branches.index(branch) for branch in each.branches]
            which[its], place[its], columns[index] = index, range(len(its)), its + its[:1] * (count - len(its))
            log_sides[:, index, : len(its)], weights = each.log_weights(each.branches), plan.weights(each)
            of_first[index, : weights.shape[1]] = weights[0] / weights.sum(axis=0)
        rows = np.flatnonzero(which[owner] >= 0)
        own, of_path = place[owner[rows]], which[owner[rows]] if len(several) > 1 else np.zeros(1, dtype=np.int64)
        self.path, self.plan, self.values = plan.paths(number).start + rows, plan, list[_Values]()
        self.stratum = self.path % 2 if plan.by_side else own
        prior_odds = np.array([each.log_odds for each in several])[of_path]
        of_path_and_side = of_first[of_path, self.stratum], prior_odds, log_sides[:, of_path]
        arrays = rows[:, None], columns[of_path], own[:, None], *of_path_and_side, *_NODES
        there = [torch.as_tensor(np.asarray(each)).to(device) for each in arrays]
        self.rows, self.columns, self.own, self.of_first, self.prior_odds, self.log_sides, *nodes = there
        self.many_nodes, self.few_nodes = nodes
        # Where every path and branch of the run belongs to the partition nothing is picked, and nothing copied.
        self.whole = len(rows) == len(owner) and columns.tolist() == [list(range(len(plan.branches)))]
        # With one branch on either side the direction between the sides does not turn.
        self.straight = all(len(each.branches) == len(each.first) + len(each.second) == 2 for each in several)
        self.first = int(several[0].branches[0] not in several[0].first)

    def see(self, levels: Levels) -> None:
        """Keeps the values of the next levels, and what their steps add to the controls."""
        held, averaged, coarse = (self._picked(each) for each in (levels.held, levels.averaged, levels.coarse))
        likelihood = averaged if self.plan.method.averaged else held
        odds, shares = self._sides(torch.stack((likelihood, likelihood + coarse - averaged, held)))
        gaps = self._picked(levels.gaps)
        apart, first = self._apart(shares[0], gaps), torch.sigmoid(odds[:2])
        half, posterior = 0.5 * levels.snr[:, None], binary_entropy(odds[:2])
        production = half * torch.linalg.vector_norm(apart, dim=2).square_() * (first * torch.sigmoid(-odds[:2]))
        entropy, (rough, _) = posterior, production
        if self.plan.guidance is not None:
            both = ((shares[0, :, 0] + shares[0, :, 1])[:, :, None, :] @ gaps)[:, :, 0, :]
            entropy = self._open(odds[:2], self.of_first)
            production = half * (apart * both).sum(dim=2) * (first - self.of_first) - production
        two_steps = entropy[0] - entropy[1]
        ahead = 1.0 if self.plan.method.extrapolated else 0.0
        three = entropy, posterior, production
        entropy, posterior, production = (each[0] + ahead * (each[0] - each[1]) for each in three)
        posterior = posterior[: 0 if self.plan.guidance is None else None]
        steps = self._steps(held, odds[2], shares[2], levels) if self.plan.controlled else 2 * [entropy[:0]]
        self.values.append(_Values(entropy, production, rough, two_steps, odds[0], posterior, *steps))

    def record(self) -> Record:
        """All values, paths first."""
        values = _Values(*map(torch.cat, zip(*self.values, strict=True)))
        if self.plan.controlled:  # at a level, what the step that leads there adds
            values = _Values(*values[:-2], *(torch.nn.functional.pad(each, (0, 0, 1, 0))[:-1] for each in values[-2:]))
        start = int(self.plan.from_nothing)  # where nothing is known there is no level
        arrays = (each[start:].T.contiguous().cpu().numpy() for each in values)
        named = dict(zip(_Values._fields, arrays, strict=True))
        return Record(path=self.path, stratum=self.stratum, **named, rates=np.empty((len(self.path), 0)))

    def _picked(self, values: Tensor) -> Tensor:
        """The partition's paths and branches of (levels, paths, branches, ...)."""
        return values if self.whole else values[:, self.rows, self.columns]

    def _sides(self, likelihood: Tensor) -> tuple[Tensor, Tensor]:
        """The log-odds (..., paths), and the posterior of each branch inside its side (..., sides, paths, branches)."""
        weighted = likelihood[..., None, :, :] + self.log_sides
        of_side = torch.logsumexp(weighted, dim=-1)
        return of_side[..., 0, :] - of_side[..., 1, :] + self.prior_odds, (weighted - of_side[..., None]).exp_()

    def _open(self, odds: Tensor, of_first: Tensor) -> Tensor:
        """What is measured, f(L): the entropy, or on guided paths the cross entropy with the first side's share."""
        if self.plan.guidance is None:
            return binary_entropy(odds)
        return torch.logaddexp(odds, torch.zeros_like(odds)) - of_first * odds

    def _apart(self, shares: Tensor, gaps: Tensor) -> Tensor:
        """How far the sides' drifts are apart, D_A - D_B (levels, paths, dimension): what all share cancels."""
        if self.straight:
            return gaps[:, :, self.first] - gaps[:, :, 1 - self.first]
        return ((shares[:, 0] - shares[:, 1])[:, :, None, :] @ gaps)[:, :, 0, :]

    def _steps(self, held: Tensor, odds: Tensor, shares: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
        """What each step adds to the two controls."""
        root, gaps = levels.dsnr[:, None].sqrt(), self._picked(levels.step_gaps)
        apart = self._apart(shares, gaps)
        size = torch.linalg.vector_norm(apart, dim=2)
        # In deviations of the noise: where the branches' drifts lead along that direction, and where the path went.
        places = (root / size.clamp_min(_TINY))[..., None] * (gaps @ apart[..., None])[..., 0]
        steepness = root * size  # of the log-odds in those deviations, as long as the direction is held
        went = ((shares[:, 0] - shares[:, 1]) * self._picked(levels.noise)).sum(dim=2) / steepness.clamp_min(_TINY)
        middle = 0.5 * (places * (shares[:, 0] + shares[:, 1])).sum(dim=2)

        weights_in_sides = self.log_sides.exp().permute(1, 2, 0)
        weights_in_sides = weights_in_sides[0] if len(weights_in_sides) == 1 else weights_in_sides

        def straight(at: Tensor) -> Tensor:
            return torch.addcmul(odds[..., None], steepness[..., None], at - middle[..., None])

        def turning(at: Tensor) -> Tensor:
            states = held[:, :, None] + places[:, :, None] * (at[..., None] - 0.5 * places[:, :, None])
            sides = (states - states.amax(dim=-1, keepdim=True)).exp_() @ weights_in_sides
            sides.clamp_min_(1e-300)  # of infinite log-odds no share of a cross entropy is a number
            return torch.sub(sides[..., 0].log(), sides[..., 1].log()).add(self.prior_odds[:, None])

        # The log-odds once the step was seen to end at so many places (levels, paths, places). Beyond 16 branches it
        # would be too much that each of them looks at all.
        seen = straight if self.straight else turning
        of_branch = seen if self.columns.shape[1] <= 16 else straight
        (many, weights), (few, few_weights) = self.many_nodes, self.few_nodes
        ends = seen(torch.cat([went[..., None], many.expand(*went.shape, -1)], dim=2))
        entropy = self._open(ends, self.of_first[:, None])
        foreseen = entropy[..., 0] - entropy[..., 1:] @ weights
        if self.plan.guidance is not None:
            return foreseen, torch.zeros_like(foreseen)
        ends = binary_entropy(of_branch((places[..., None] + few).flatten(start_dim=2)))
        by_branch = ends.reshape(*places.shape, len(few)) @ few_weights
        of_own = by_branch.gather(2, self.own.expand(len(by_branch), -1, 1))[..., 0]
        posterior = torch.lerp(shares[:, 1], shares[:, 0], torch.sigmoid(odds)[..., None])
        return foreseen, of_own - (posterior * by_branch).sum(dim=2)


def rates_of(levels: Levels, rows: Tensor, own: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Rates per unit of log-snr of the paths `rows`, (levels, paths, rates): e(D_y), and for each D of the `others`

        e(D),    (snr / 2) |D_y - D|^2,    (snr / 2) (|D - u|^2 - |D_y - u|^2),    e the `neural_entropy_rate`.

    D_y is that of branch number `own` of each path, and the `others` are given as their gaps D - u. On data, u = x_0,
    the last is the difference of two losses; on paths that D_y draws it is the second.
    """
    of_own, ahead = levels.predictions[:, own, rows].flatten(2), levels.gaps[:, rows, own]
    half, found = 0.5 * levels.snr[:, None], list[Tensor]()
    for gap in (ahead, *others):
        at_level = zip(of_own + (gap - ahead), levels.states[:, rows], levels.log_snr.tolist(), strict=True)
        found.append(torch.stack([neural_entropy_rate(*each) for each in at_level]))
        found += [half * (gap - ahead).square().sum(dim=2)]
        found += [half * (gap.square().sum(dim=2) - ahead.square().sum(dim=2))]
    return torch.stack([found[0], *found[3:]], dim=2)


class Tree:
    """The question which of all classes, asked of a block's paths as the partitions of its tree (`Classes`).

    The values of a path are the sums over the partitions that its class is in, and `log_odds` are those of its class
    against all others, so that their cross entropy is -log p(class | path). The rates (`rates_of`) are those of D_y of
    the path's class, of the mixture D = sum_z p(z | path) D_z, and of the null branch's D_0 where there is one.
    """

    def __init__(self, partition: Classes, plan: Plan, number: int, device: torch.device):
        self.parts = [Question(each, plan, number, device) for each in partition.questions]  # a depth of the tree each
        self.log_prior = torch.log(torch.tensor(partition.whole, dtype=torch.float64, device=device))
        self.rates = list[Tensor]()

    def see(self, levels: Levels) -> None:
        """Keeps the values of the next levels."""
        for part in self.parts:
            part.see(levels)
        rows, own, count = self.parts[0].rows[:, 0], self.parts[0].own[:, 0], len(self.log_prior)
        gaps, averaged = levels.gaps[:, rows], levels.averaged[:, rows, :count]
        posterior = (averaged + self.log_prior).softmax(dim=-1)[:, :, None, :]
        others = [(posterior @ gaps[:, :, :count])[:, :, 0, :], *gaps[:, :, count:].unbind(dim=2)]
        self.rates.append(rates_of(levels, rows, own, others))

    def record(self) -> Record:
        """All values, paths first."""
        rates = torch.cat(self.rates)[int(self.parts[0].plan.from_nothing) :].transpose(0, 1).cpu().numpy()
        total, surprise = self.parts[0].record(), np.zeros(rates.shape[:2])
        for part in self.parts:
            record, rows = part.record(), np.searchsorted(total.path, part.path)
            surprise[rows] += cross_entropy(record.log_odds, part.of_first.cpu().numpy()[:, None])
            if part is not self.parts[0]:
                for name in ("entropy", "production", "rough_production", "two_steps", "foreseen", "drawn"):
                    vars(total)[name][rows] += vars(record)[name]
        surprise = np.maximum(surprise, 1e-300)
        return replace(total, rates=rates, log_odds=-surprise - np.log(-np.expm1(-surprise)))


@dataclass(frozen=True, eq=False)
class Measurement:
    """What one partition's paths say at every level; `Profile` is what is made of it.

    The weighted means of `entropy_of_path` and `production_of_path` (paths, levels) are the estimates, with controls:
    of the class entropy or, on guided paths, of the cross entropy, and then `posterior_of_path` is h(L).
    `rough_production_of_path` is the entropy's production from one step size and without controls, which no long step
    makes negative: levels are placed by it. `two_steps_of_path` is what h(L) changes by when the noise is summed over
    steps twice as long: the first-order error of the steps, to be taken off. `imbalance_of_path` (paths, 1) is the fall
    of h(L) from the first level to the last less the `integral` of the production. `log_odds` is L. `stratum` (paths,)
    numbers the branch of each path, or its side, and `weights` are theirs in the expectation.
    """

    partition: Partition
    log_snr: Array
    entropy_of_path: Array
    production_of_path: Array
    rough_production_of_path: Array
    two_steps_of_path: Array
    imbalance_of_path: Array
    log_odds: Array
    stratum: Indices
    weights: Array
    posterior_of_path: Array | None = None
    rates_of_path: Array | None = None


def measure(
    model: Denoiser,
    partitions: Sequence[Partition],
    log_snr: ArrayLike,
    samples: int,
    seed: int = 0,
    method: Method = DEFAULT,
    block: int = BLOCK,
    progress: Progress = None,
    data: Data | None = None,
) -> tuple[list[Measurement], int]:
    """Measure every partition on one set of paths; also returns the number of network evaluations.

    `samples` is the number of paths: in a single partition half of them on either side (and inside a side by its
    weights), with several partitions evenly over all branches. They are evaluated `block` at a time, which moves a
    result by no more than the network's own batches do. With `data` the paths are real samples, noised by the exact
    chain, and there are no controls. Raises InputError as `Plan` and `by_levels` do.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair, asked = isotropic_mixture([[-1.0], [1.0]], 0.0), Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5)
    >>> measure(pair, [asked], [-2.0, 0.0, 2.0], samples=100)[1]                 # the start, 3 levels, 2 branches
    800
    """
    plan = Plan(tuple(partitions), check_levels(model, log_snr), samples, seed, method, block, data=data)
    check_model(model, plan.branches, plan.log_snr)
    return gather(plan, [measure_block(model, plan, k, progress) for k in range(plan.blocks)]), plan.evaluations


def measure_block(model: Denoiser, plan: Plan, number: int, progress: Progress = None) -> list[Record]:
    """One block of a plan: what it gave for each partition. No loop over levels waits for the model's device."""
    questions: list[Question | Tree] = []
    for levels in by_levels(model, Paths.of_block(plan, number), progress=progress):
        asked = plan, number, levels.snr.device
        questions = questions or [
            (Tree(each, *asked) if isinstance(each, Classes) else Question(each, *asked)) for each in plan.partitions
        ]
        for question in questions:
            question.see(levels)
    return [question.record() for question in questions]


def gather(plan: Plan, records: Sequence[Sequence[Record]]) -> list[Measurement]:
    """The measurements of all blocks together, in the order of the blocks; here the controls are fitted and applied."""
    columns = zip(plan.partitions, zip(*records, strict=True), strict=True)
    return [_measured(plan, partition, Record.concatenate(of_blocks)) for partition, of_blocks in columns]


def _measured(plan: Plan, partition: Partition, record: Record) -> Measurement:
    stratum, weights = record.stratum, plan.weights(partition).sum(axis=0)
    entropy, production = record.entropy, record.production
    posterior = None if plan.guidance is None else record.posterior
    imbalance = (entropy[:, 0] - entropy[:, -1] - integral(production, plan))[:, None]
    if plan.controlled and len(entropy) >= _FEWEST_TO_CONTROL:
        steps = np.stack([record.foreseen, record.drawn])
        floor = 0.0 if NULL in partition.branches else partition.floor  # a network's null branch may lead below it

        def weighed(paths: Mask) -> Array:
            """The sums that lead to each level, a step weighed by what the mean entropy has left after it."""
            means = np.stack([entropy[paths & (stratum == index)].mean(axis=0) for index in range(len(weights))])
            kept: Array = np.maximum(np.minimum.accumulate(weights @ means - floor), 1e-3)  # nats, at least
            return np.cumsum(steps / kept if plan.method.weighed else steps, axis=2)

        summed = steps[:, :, 1:].sum(axis=2, keepdims=True)
        (imbalance,) = _controlled(imbalance[None], lambda paths: summed, stratum, weights)
        three = [entropy, production] if posterior is None else [entropy, production, posterior]
        entropy, production, *rest = _controlled(np.stack(three), weighed, stratum, weights)
        posterior = rest[0] if rest else None
    of_path = entropy, production, record.rough_production, record.two_steps, imbalance, record.log_odds
    return Measurement(partition, plan.log_snr, *of_path, stratum, weights, posterior, record.rates)


def integral(values: Array, plan: Plan, rule: Callable[..., Array] = simpson) -> Array:
    """Values (paths, levels) integrated by a rule between the levels where guidance sets in or ends and the production
    jumps, (paths,); the step that leads to such a level knows the value at its left end only."""
    levels, jumps = plan.log_snr, plan.jumps
    pieces = [slice(*each) for each in pairwise([0, *jumps, len(levels)])]
    total = sum(rule(values[:, each], x=levels[each], axis=1) for each in pieces)
    return np.asarray(total + sum(values[:, k - 1] * (levels[k] - levels[k - 1]) for k in jumps))


def _controlled(values: Array, controls: Callable[[Mask], Array], stratum: Indices, weights: Array) -> Array:
    """Values (several, paths, levels) minus `controls` (2, paths, levels), with the coefficients of least variance.

    Coefficients, and what `controls` takes from the paths it is given, come for each path from the nine tenths of the
    paths that it is not among: they do not know its noise, so that the mean keeps no bias from them and the standard
    error is none too small. Of fewer than 50 paths, which are left as they are, they would be fitted to chance.
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
