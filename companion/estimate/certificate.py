"""What a profile can vouch for: each way in which it may be wrong, measured on the run itself, with its limit.

    truncation       what the top level already knows and the run did not count
    discretisation   the entropy from two step sizes on one set of paths
    agreement        the entropy's fall against the production, integrated
    sampling         how wide the band is
    null branch      the information in the question "null branch or class mixture?", which should be none
    floor            the entropy's end against the least it can be, whatever is known
    calibration      the posterior of real data against their labels, where data were given

On guided paths what is measured is a cross entropy, and three lines hold no longer: of the null branch and calibration,
which are about the paths' own posterior, and of the floor where a side is the null branch. Those are not measured.

Where a line is read at the worst of many levels its error holds at all of them at once. Two more lines come from the
comparison with a profile of real data, `companion.estimate.held_out.against_data`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid

from companion.arguments import Array
from companion.entropy import NULL, Classes, binary_entropy, cross_entropy
from companion.estimate.confidence import simultaneous_factor, weighted_mean
from companion.estimate.measure import Measurement, integral
from companion.estimate.plan import Plan

__all__ = ["Certificate", "Check", "certify", "judge", "worst"]

LIMIT = 0.01
LIMIT_OF_CHANCE = 0.03  # a few hundred paths, or real samples, tell no less


@dataclass(frozen=True)
class Check:
    """One line: a number of nats that should be zero, its error, the most it may be, and what to do about it.

    `error` is half the half-width of its 95% interval: two of them either way hold the truth. `passed` is None where
    the run cannot tell: it had nothing to measure the line with (then `value` and `error` are None too), or the error
    alone is above the limit and the value is not clearly so.
    """

    name: str
    value: float | None
    error: float | None
    limit: float
    passed: bool | None
    meaning: str

    @property
    def verdict(self) -> str:
        """In words: holds, fails, cannot tell, or not measured."""
        if self.value is None:
            return "not measured"
        return "cannot tell" if self.passed is None else "holds" if self.passed else "fails"


@dataclass(frozen=True)
class Certificate:
    """The checks of one profile, in the order of the module's list."""

    checks: tuple[Check, ...]

    def __str__(self) -> str:
        verdicts = [check.verdict for check in self.checks]
        parts = [f"{verdicts.count('holds')} of {len(verdicts) - verdicts.count('not measured')} checks hold"]
        for verdict, word in (("fails", "not"), ("cannot tell", "too few paths for")):
            found = [f"{check.name} {check.value:.4f}" for check in self.checks if check.verdict == verdict]
            parts += [f"{word} {', '.join(found)}"] if found else []
        return "; ".join(parts)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)


def certify(
    plan: Plan, measured: Measurement, truncation: float, half_width: float, beside: Sequence[Measurement] = ()
) -> Certificate:
    """The certificate of a measurement; `truncation` is what its profile leaves uncounted, `half_width` that of its
    band where it is widest. `beside` are the measurements of the same run: the line "null branch" is read from the one
    of the null branch against the mixture of all classes.
    """
    (end,), (error,) = weighted_mean(measured.entropy_of_path[:, -1:], measured)
    below = max(measured.partition.floor - end, 0.0)
    checks: tuple[Check, ...] = (
        judge("truncation", truncation, 0.0, "start at more noise"),
        # What two step sizes differ by is the first-order error; an extrapolated estimate has taken it off.
        _anywhere("discretisation", measured.two_steps_of_path, measured, "more levels"),
        _agreement(plan, measured),
        judge("sampling", half_width, 0.0, "more samples", LIMIT_OF_CHANCE),
        _null_branch(measured, beside),
        judge("floor", below, error, 'the branches contradict each other: use "all", no null branch'),
        _calibration(plan, measured),
    )
    if plan.guidance is not None:
        lost = {"null branch", "calibration", "floor" if NULL in measured.partition.branches else ""}
        said = "holds on unguided paths only"
        checks = tuple(Check(c.name, None, None, c.limit, None, said) if c.name in lost else c for c in checks)
    return Certificate(checks)


def judge(name: str, value: float, error: float, meaning: str, limit: float = LIMIT) -> Check:
    """The line of a value that was measured: it fails when it is above its limit by more than two errors, and holds
    when it is below the limit and its error too; between the two the run cannot tell.

    >>> [judge("floor", value, error, "").verdict for value, error in ((0.002, 0.001), (0.05, 0.001), (0.0, 0.1))]
    ['holds', 'fails', 'cannot tell']
    """
    passed = False if value > limit + 2.0 * error else True if value <= limit and error <= limit else None
    return Check(name, float(value), float(error), limit, passed, meaning)


def worst(gap: Array, half_width: Array, limit: float = LIMIT) -> tuple[float, float]:
    """The gap (levels,) and the error of a line at the level that fails clearest, or else where least is known.

    `half_width` is that of a band which holds at all levels at once. A level fails when even the lower end of its band
    is above the limit; where none does, the level with the highest upper end is the one to judge by.

    >>> [float(each) for each in worst(np.array([0.05, -0.04]), np.array([0.06, 0.01]))]
    [0.04, 0.005]
    """
    size = np.abs(gap)
    surely = size - half_width
    at = np.argmax(surely if np.any(surely > limit) else size + half_width)
    return float(size[at]), 0.5 * float(half_width[at])


def _anywhere(name: str, values: Array, measured: Measurement, meaning: str, limit: float = LIMIT) -> Check:
    """The line of a mean (levels,) that should be zero at every level."""
    gap, error = weighted_mean(values, measured)
    return judge(name, *worst(gap, simultaneous_factor(values, measured) * error, limit), meaning, limit)


def _agreement(plan: Plan, measured: Measurement) -> Check:
    """The rule of integration counts: what Simpson's and the trapezoid's differ by is added to the error."""
    production = measured.production_of_path
    rules = integral(production, plan, trapezoid) - integral(production, plan)
    (difference,), (error,) = weighted_mean(measured.imbalance_of_path, measured)
    (of_rule,), _ = weighted_mean(rules[:, None], measured)
    meaning = "more levels; on real data: the model's posterior is not the data's"
    return judge("agreement", abs(difference), float(np.hypot(error, 0.5 * of_rule)), meaning)


def _null_branch(measured: Measurement, beside: Sequence[Measurement]) -> Check:
    """The Jensen-Shannon divergence of the paths' two laws: log 2 - H of the question which of the two it is."""
    every = isinstance(measured.partition, Classes)
    if NULL not in measured.partition.branches and not (every and len(beside) > 1):
        return Check("null branch", None, None, LIMIT, None, "not asked: this partition does without it")
    meaning = 'the null branch is not the mixture of the classes: use "all"'
    for each in (measured, *beside):
        asked = each.partition
        mixture = [asked.second.get(k, 0.0) for k in range(len(asked.whole))]
        if set(asked.first) == {NULL} and np.allclose(mixture, asked.whole):
            return _anywhere("null branch", asked.entropy - each.entropy_of_path, each, meaning)
    return Check("null branch", None, None, LIMIT, None, 'measure "null|all" in the same run')


def _calibration(plan: Plan, measured: Measurement) -> Check:
    name, partition, odds = "calibration", measured.partition, measured.log_odds
    if plan.data is None:
        return Check(name, None, None, LIMIT_OF_CHANCE, None, "give labelled data that the model has not seen")
    share = (plan.weights(partition)[0] / measured.weights)[measured.stratum][:, None]  # p(first side | stratum)
    surprise, entropy = cross_entropy(odds, share), binary_entropy(odds)
    if isinstance(partition, Classes):
        surprise, entropy = cross_entropy(odds, 1.0), measured.entropy_of_path
    meaning = "the posterior of these data is wrong: train better, or believe the model of its own samples only"
    return _anywhere(name, surprise - entropy, measured, meaning, LIMIT_OF_CHANCE)
