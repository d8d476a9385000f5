"""A run: when does a model decide between the two sides of a partition?

`Run` is what is asked, and from it follow the plan of the run and of its pilot, which places the noise levels where the
entropy falls. Blocks of paths are measured until there are enough of them, in memory or in a folder, and `assemble`
makes them the profile of each partition, with its certificate.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from companion.arguments import number
from companion.denoiser import Denoiser
from companion.entropy import NULL, Classes, Partition, partition
from companion.errors import InputError
from companion.estimate.blocks import Folder, Memory, result_paths
from companion.estimate.confidence import simultaneous_factor, widest
from companion.estimate.cost import Cost, expected_cost
from companion.estimate.measure import Measurement, Record, gather
from companion.estimate.paths import Progress, check_levels, check_model
from companion.estimate.placement import PILOT_LEVELS, default_levels, pilot_samples, place, through
from companion.estimate.plan import BLOCK, DEFAULT, Data, Method, Plan
from companion.estimate.processes import ALONE, Processes
from companion.estimate.result import Profile, assemble
from companion.guidance import Guided
from companion.models.checks import JUDGED

__all__ = ["LEVELS", "Run", "carried_out", "profile", "profiles", "run"]

LEVELS = 128

Asked = Partition | str | Sequence[Partition | str]
_Options = ParamSpec("_Options")
_Result = TypeVar("_Result")
_Takes = Callable[Concatenate[Denoiser, Asked, _Options], _Result]


@dataclass(frozen=True, eq=False)
class Run:
    """All that a run is asked: every option stands here, and `run`, `profile` and `profiles` take it by its name.

    - `partitions`: one or several, from `partition` or as text, "3|8"; `prior` is that of the text ones
    - `out`: a folder that keeps finished blocks and the result; the same run goes on there, or answers from it
    - `log_snr`: the levels, increasing; without them a pilot places so many `levels`, or, for a method that has no
      pilot, they are equally spaced
    - `samples`: the number of paths over both sides; of several partitions, in all, split evenly over the branches
    - `tolerance`: nats; paths are added, in whole blocks, until the simultaneous band is no wider than that on either
      side, or there are `most` of them, or as many as the data are enough for
    - `seed`: of everything random
    - `method`: DEFAULT, PUBLISHED, or a Method between them
    - `block`: so many paths are evaluated at once, which bounds the memory
    - `data`: real samples, noised by the exact chain, in place of the model's own paths
    - `trust`: checks of the model (`examine`) that may fail: "null", "clipping", "first level", "last level"
    - `processes`: those that share a folder's run
    - `progress`, `announce`: called with the evaluations done, level by level; with the expected cost, before them

    A model that `guided` made draws the paths, and the model that it guides scores them: what is measured then is a
    cross entropy. Where its weight is 1 at all levels that are given, nothing is guided. Of levels that a pilot places,
    the nearest are moved onto the ends of its interval; between given ones it sets in with the next of them.

    `plan` and `pilot`, or None, follow from it: nothing is evaluated, and the pilot's outcome moves the plan's levels.
    Raises InputError as `Plan`, `check_levels` and `partition` do, for a tolerance that is not positive and
    finite, for fewer than two levels, for `most` smaller than a block, and for data and guidance together.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> Run(pair, "0|1", samples=100).evaluations  # 100 paths at 129 levels and a pilot of 12 at 17, two branches each
    26208
    """

    model: Denoiser
    partitions: Asked
    out: str | Path | None = None
    _: KW_ONLY
    log_snr: ArrayLike | None = None
    samples: int = 300
    levels: int = LEVELS
    tolerance: float | None = None
    most: int = 20_000
    seed: int = 0
    method: Method = DEFAULT
    block: int = BLOCK
    data: Data | None = None
    prior: str | float = "balanced"
    trust: Sequence[str] = ()
    processes: Processes = ALONE
    progress: Progress = None
    announce: Callable[[Cost], None] | None = None
    plan: Plan = field(init=False)
    pilot: Plan | None = field(init=False, default=None)
    count: int = field(init=False)

    def __post_init__(self) -> None:
        model, rule = self.model, None
        if isinstance(model, Guided):
            rule = model.guidance
            model = model.posterior
            if self.data is not None:
                raise InputError("data", "given", "none for a guided model, which draws its own paths")
        given = [self.partitions] if isinstance(self.partitions, Partition | str) else self.partitions
        if not isinstance(given, Sequence) or not all(isinstance(each, Partition | str) for each in given):
            raise InputError("partitions", given, 'what partition() gave, or text such as "3|8"; one or several')
        asked = [partition(model, each, prior=self.prior) if isinstance(each, str) else each for each in given]
        if not set(self.trust) <= set(JUDGED):
            raise InputError("trust", self.trust, f"names among {', '.join(JUDGED)}")
        count, pilot = len(asked), None
        # Null branch or mixture of all classes: asked beside several that need all of these branches anyway.
        needed = {branch for each in asked for branch in each.branches}
        every = model.has_null and any(isinstance(each, Classes) for each in asked)
        needed |= {NULL} if every else set()
        if (every or len(asked) > 1) and needed == {NULL, *range(len(model.classes))}:
            asked.append(partition(model, [NULL], "all"))
        grid = check_levels(model, default_levels(model, self.levels) if self.log_snr is None else self.log_snr)
        how = self.samples, self.seed, self.method, self.block
        plan = Plan(tuple(asked), grid, *how, data=self.data, guidance=rule)
        placed = self.log_snr is None and self.method.placed
        if rule is not None and not placed and np.all(rule.weight(grid) == 1.0):
            plan = replace(plan, guidance=None)
        if placed:
            few = min(pilot_samples(plan), plan.samples)
            pilot = replace(plan, log_snr=default_levels(model, PILOT_LEVELS), samples=few, stream=1)  # other noise
        if self.tolerance is not None:
            number("tolerance", self.tolerance, "a positive number of nats", lambda nats: (nats > 0) & (nats < np.inf))
            number("most", self.most, f"at least one block, {plan.block} paths", lambda most: most >= self.block)
            plan = self._filled_up(plan, plan.samples)
        vars(self).update(model=model, plan=plan, pilot=pilot, count=count)

    @property
    def evaluations(self) -> int:
        """The evaluations of the network, the pilot's included; a tolerance may ask for more."""
        return self.plan.evaluations + (self.pilot.evaluations if self.pilot else 0)

    def more(self, plan: Plan, measured: Sequence[Measurement]) -> tuple[Plan, str]:
        """The plan with the paths that the square-root law asks for, four times as many at most; or itself, and why."""
        tolerance = self.tolerance
        if tolerance is None:
            return plan, "the paths asked for"
        width = max(widest(each, simultaneous_factor(each.entropy_of_path, each)) for each in measured)
        if width <= tolerance:
            return plan, f"the band is within {tolerance:g}"
        wanted = self._filled_up(plan, int(np.ceil(plan.samples * min((width / tolerance) ** 2, 4.0))))
        if wanted.samples > plan.samples:
            return wanted, ""
        return plan, f"stopped at {plan.samples} paths, the most allowed: the band is {width:.4f}, not {tolerance:g}"

    def _filled_up(self, plan: Plan, samples: int) -> Plan:
        """A plan of so many paths, in whole blocks, which adding paths leaves as they are; at most `most`, or data."""
        most = self.most if self.data is None else replace(plan, samples=self.most, data=None).enough(self.data)
        return replace(plan, samples=max(min(-(-samples // plan.block), most // plan.block), 1) * plan.block)


def _with_options_of(asked: _Takes[_Options, Any]) -> Callable[[Callable[..., _Result]], _Takes[_Options, _Result]]:
    """A function has the options of `asked`, for whoever reads its signature, a person or a type checker."""

    def same(function: Callable[..., _Result]) -> _Takes[_Options, _Result]:
        own, others = inspect.signature(function), list(inspect.signature(asked).parameters.values())
        parameters = [*list(own.parameters.values())[:2], *others[2:]]
        function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return same


@_with_options_of(Run)
def run(model: Denoiser, partitions: Asked, *options: Any, **named: Any) -> list[Profile]:
    """The profiles of partitions from one run: when a model decides between the two sides of each.

    The options are those of `Run`. Every path is scored under every branch that any partition needs; each profile
    counts the paths it used, and the evaluations of the whole run, its pilot included. Where the run has the null
    branch and all classes, the question which of the two a path is from is measured too, for the certificates.

    The model is examined first. Raises InputError as `Run` and `measure` do, for a check of the model that fails and is
    not in `trust`, and as `Folder` does where `out` is given: a finished run answers from there.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> three = isotropic_mixture([[-1.0], [0.0], [1.0]], 0.1)
    >>> [each.samples for each in run(three, ["0|2", "0|others"], samples=60, levels=20)]
    [40, 60]
    """
    asked = Run(model, partitions, *options, **named)
    return carried_out(asked, [] if asked.out is None else result_paths(Path(asked.out), asked.count))[0]


def carried_out(asked: Run, results: Sequence[Path] = ()) -> tuple[list[Profile], list[Measurement]]:
    """The profiles of a run, kept in the files `results` if any, and what they are made of; raises as `run` does.

    Where the files are what this run gave when it was last asked so, only they are read, and there are no measurements.
    """
    model, plan, pilot, processes = asked.model, asked.plan, asked.pilot, asked.processes
    if asked.out is None:
        check_model(model, plan.asked, plan.log_snr, asked.trust)
        if asked.announce is not None:
            asked.announce(expected_cost(model, plan, pilot))
        return _measured(asked, Memory(model, asked.progress))
    folder = Folder(Path(asked.out), model, plan, pilot, results, processes, asked.progress)
    how = {name: getattr(asked, name) for name in ("samples", "tolerance", "most", "block")}
    if results and folder.finished(how):
        return [Profile.load(result) for result in results], []
    left = folder.missing
    if left > 0:
        check_model(model, plan.asked, plan.log_snr, asked.trust)
    with folder.alone():
        if left > 0 and asked.announce is not None:
            asked.announce(processes.together(lambda: expected_cost(model, plan, pilot, left, processes.count)))
        found, measured = _measured(asked, folder)
        folder.finish(found[: len(results)], how)
    return found, measured


profiles = run  # by which name several are asked for


@_with_options_of(Run)
def profile(model: Denoiser, partition: Partition | str, *options: Any, **named: Any) -> Profile:
    """The profile of one partition: when a model decides between its two sides. The options are those of `Run`.

    Raises InputError as `run` does.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)     # half entropy at kappa = 4 / sigma^2 = 4.176
    >>> bool(abs(profile(pair, "0|1", samples=400).half_entropy.value - np.log(4.176 / 4.0)) < 0.1)
    True
    """
    if not isinstance(partition, Partition | str):
        raise InputError("partition", partition, 'one, as partition() gives it, or as text such as "3|8"')
    return run(model, partition, *options, **named)[0]


def _measured(asked: Run, blocks: Memory | Folder) -> tuple[list[Profile], list[Measurement]]:
    """The pilot, blocks of paths until there are enough, and what they say, as profiles and measurements."""
    plan, pilot, records, sampling = asked.plan, asked.pilot, list[list[Record]](), ""
    if pilot is not None:
        found = gather(pilot, blocks.records(pilot, range(pilot.blocks)))
        edges = (plan.guidance and plan.guidance.interval) or ()
        plan = replace(plan, log_snr=through(place(found[: asked.count], len(plan.log_snr)), edges))
    while not sampling:
        records += blocks.records(plan, range(len(records), plan.blocks))
        measured = gather(plan, records)
        plan, sampling = asked.more(plan, measured[: asked.count])
    evaluations = plan.evaluations + (pilot.evaluations if pilot else 0)
    said = "; ".join(filter(None, (sampling, blocks.mixture)))
    wanted = measured[: asked.count]
    how = evaluations, blocks.seconds, said, measured
    return [assemble(asked.model, plan, each, *how) for each in wanted], wanted
