"""What a profile can vouch for: each way in which it may be wrong, measured on the run itself, with its limit.

truncation       what the top level already knows and the run did not count
discretisation   the entropy from two step sizes on one set of paths
agreement        the entropy's fall against the production, integrated
floor            the entropy's end against the least it can be for classes that can be told apart
calibration      the posterior of real data against their labels, where data were given
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from companion.estimate.bands import weighted_mean
from companion.estimate.entropy import Measurement, Plan

__all__ = ["Certificate", "Check", "certify"]

Array = NDArray[np.float64]

LIMIT = 0.01


@dataclass(frozen=True)
class Check:
    """One line: a number in nats, its standard error, the most it may be, and what it means when it is more.

    `passed` is None where the run had nothing to measure it with; then `value` and `error` are None too.
    """

    name: str
    value: float | None
    error: float | None
    limit: float
    passed: bool | None
    meaning: str


@dataclass(frozen=True)
class Certificate:
    """The checks of one profile, in the order of the module's list."""

    checks: tuple[Check, ...]

    def __str__(self) -> str:
        asked = [check for check in self.checks if check.passed is not None]
        failed = [f"{check.name} {check.value:.4f}" for check in asked if not check.passed]
        return f"{len(asked) - len(failed)} of {len(asked)} checks hold" + (
            "; not " + ", ".join(failed) if failed else ""
        )

    def as_list(self) -> list[dict[str, Any]]:
        """What JSON can hold."""
        return [asdict(check) for check in self.checks]

    @staticmethod
    def from_list(values: Sequence[dict[str, Any]]) -> "Certificate":
        """What `as_list` gave; TypeError for anything else."""
        return Certificate(tuple(Check(**value) for value in values))


def certify(plan: Plan, measured: Measurement, truncation: float) -> Certificate:
    """The certificate of a measurement; `truncation` is what its profile leaves uncounted."""
    partition, levels = measured.partition, measured.log_snr
    entropy, _ = weighted_mean(measured.entropy_of_path, measured)
    drops = measured.entropy_of_path[:, :1] - measured.entropy_of_path[:, -1:]
    steps = np.diff(levels)
    integrated = np.sum(
        0.5 * steps * (measured.production_of_path[:, 1:] + measured.production_of_path[:, :-1]), axis=1, keepdims=True
    )
    (difference,), (error,) = weighted_mean(drops - integrated, measured)
    below, below_error = partition.floor - entropy[-1], weighted_mean(measured.entropy_of_path[:, -1:], measured)[1][0]
    return Certificate(
        (
            _check("truncation", truncation, 0.0, "start at more noise"),
            _check(
                "agreement", abs(difference), error, "more levels, or a model whose classes are one consistent family"
            ),
            _check("floor", max(below, 0.0), below_error, "the branches contradict each other: no null branch"),
        )
    )


def _check(name: str, value: float, error: float, meaning: str) -> Check:
    return Check(name, float(value), float(error), LIMIT, bool(value <= LIMIT + 2.0 * error), meaning)
