"""The mutual information of samples and what they are conditioned on, each number with a name of whose it is.

On a model's own paths I(X; Y) = H(Y) - H(Y | X), where the posterior is accumulated along the path: that of the chain
that is drawn, up to its steps, whatever the network: full even for a poor one, between 0 and H(Y). Of real data noised
by the exact chain H(Y) - E[-log q(y | path)] is a lower bound for any network's posterior q (Gibbs), negative for a bad
one.

Beside them stand integrals over denoisers that no entropy bounds. They trust the network (SI 11, 13):

    int (1/2) E|D_y - D|^2 dsnr,    S = int (snr / 2) E|D - alpha^2 x|^2 d log-snr.

With errors e_y and e of the two denoisers the first changes by E<D_y - D, e_y - e> dsnr already in first order. The
difference of their losses on data does not, because the residual of a posterior mean is orthogonal to all that x and y
tell; it costs variance, and is the one to trust where the two differ:

    int (1/2) ( E|x_0 - D|^2 - E|x_0 - D_y|^2 ) dsnr = I + int (1/2) ( E|e|^2 - E|e_y|^2 ) dsnr.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson

from companion.arguments import Array, whole_number
from companion.denoiser import Denoiser, FunctionDenoiser
from companion.entropy import NULL, Classes, cross_entropy
from companion.errors import InputError
from companion.estimate import confidence, result
from companion.estimate.certificate import Certificate
from companion.estimate.confidence import Strata
from companion.estimate.measure import Measurement, rates_of
from companion.estimate.noise import check_seed
from companion.estimate.paths import Paths, Progress, by_levels, check_levels
from companion.estimate.placement import default_levels
from companion.estimate.plan import BLOCK, Data, Indices
from companion.estimate.processes import ALONE
from companion.estimate.run import LEVELS, Run, carried_out
from companion.files import make_folder
from companion.guidance import Guided

__all__ = ["Course", "Information", "mutual_information"]

Pairs = tuple[torch.Tensor, ArrayLike]
_FORMAT = "companion information 1"

_INTEGRALS = ("stored", "stored_mixture", "mixture", "mixture_losses", "stored_null", "null", "null_losses")


@dataclass(frozen=True, eq=False)
class Course:
    """Nats from noise to each level: all arrays are (levels,).

    `whose` says of what they are true. `nats` has the standard error `nats_se` and a 95% interval from `lower` to
    `upper` at each single level; `rate` with `rate_se` is per unit of log-snr, None where only the sum is known.
    """

    whose: str
    nats: Array
    nats_se: Array
    lower: Array
    upper: Array
    rate: Array | None = None
    rate_se: Array | None = None

    @property
    def total(self) -> result.Estimate:
        """The nats at the last level, with their 95% interval."""
        return result.Estimate(float(self.nats[-1]), float(self.lower[-1]), float(self.upper[-1]))


@dataclass(frozen=True, eq=False, kw_only=True)
class Information:
    """I(X; Y) by every route, over `log_snr` (levels,), in nats; a route that cannot be asked is None.

    `most` is H(Y), None for a continuous Y. Bounded: `of_model` is the information of the model's own chain, between 0
    and `most`, and `of_data` a lower bound of that of the data, on average over held-out data. Bounded by nothing, on
    the data's noised paths where there are data and otherwise on the model's: `mixture` and `null` integrate
    (snr / 2) |D_y - D|^2, for D the posterior-weighted mixture of the classes' D, or the null branch;
    `mixture_losses` and `null_losses` the difference of losses; `stored`, `stored_mixture` and `stored_null` are the
    neural entropies of the three. Every integral begins at snr 0 and ends at the last level: that of the marginal of
    continuous data goes on beyond it, by about the last rate where rates fall like 1 / snr.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> found = mutual_information(isotropic_mixture([[-1.0], [1.0]], 0.0), samples=60, levels=20)
    >>> found.of_model.whose, bool(found.of_model.total.upper <= found.most)
    ("the model's chain", True)
    """

    model: str
    model_digest: str
    log_snr: Array
    samples: int
    evaluations: int
    seconds: float
    seed: int
    versions: dict[str, str]
    most: float | None = None
    of_model: Course | None = None
    of_data: Course | None = None
    mixture: Course | None = None
    mixture_losses: Course | None = None
    null: Course | None = None
    null_losses: Course | None = None
    stored: Course
    stored_mixture: Course | None = None
    stored_null: Course | None = None
    certificate: Certificate | None = None

    def as_dict(self) -> dict[str, Any]:
        """Every field by its name, arrays as lists, courses by their own fields: what JSON can hold."""
        return {name: result.as_json(value) for name, value in vars(self).items()}

    def save(self, path: str | Path) -> None:
        """Writes one JSON file, whole or not at all; InputError where no file can be written."""
        result.write_result(path, _FORMAT, self.as_dict())

    @staticmethod
    def load(path: str | Path) -> "Information":
        """Reads what `save` wrote; InputError for a file that is missing, cut short, or something else."""

        def built(values: dict[str, Any]) -> Information:
            for name in ("of_model", "of_data", *_INTEGRALS):
                if (told := values[name]) is not None:
                    curves = {key: np.array(each, dtype=float) for key, each in told.items() if isinstance(each, list)}
                    values[name] = Course(**told | curves)
            checks = values["certificate"]
            values["certificate"] = None if checks is None else result.certificate_of(checks)
            return Information(**values | {"log_snr": np.array(values["log_snr"], dtype=float)})

        return result.read_result(path, (_FORMAT,), built)

    def summary(self) -> str:
        """A few lines that a person reads; every one says whose its number is, and the last log-snr of integrals."""
        last = f"to log-snr {self.log_snr[-1]:g}"
        named = {"of_model": "at most H(Y)", "of_data": "a lower bound on average"}
        named |= {"mixture": f"mixture, unbounded, {last}", "null": f"null branch, unbounded, {last}"}
        named |= {"null_losses": f"losses, unbounded, {last}", "stored": f"neural entropy {last}"}
        rows = {} if self.most is None else {"H(Y)": f"{self.most:.4f} nats"}
        for name, said in named.items():
            if (course := getattr(self, name)) is not None:
                rows[name.replace("_", " ")] = f"{course.total} of {course.whose}; {said}"
        rows |= {} if self.certificate is None else {"certificate": str(self.certificate)}
        rows["cost"] = f"{self.evaluations} evaluations, {self.samples} samples, {len(self.log_snr)} levels, "
        rows["cost"] += f"{self.seconds:.1f} s, seed {self.seed}"
        return result.summary_of(f"mutual information in {self.model}, nats", rows)


def mutual_information(
    model: Denoiser, data: Data | Pairs | None = None, out: str | Path | None = None, **options: Any
) -> Information:
    """I(X; Y) of a model's samples and their classes, and with `data` a lower bound of that of the data, in nats.

        I(X_k; Y) = H(Y) - H(Y | X_k),    H(Y) - E[-log q(y | path)] <= I of the data

    `data` are samples (count, *shape) with their classes (count,), weighed by the model's weights; for a bound the
    model has not seen them. `options` are those of `Run` without method, data and guidance; `samples` counts the paths
    of every class and of the null branch, on the model's own paths and on the data's. With `out` blocks are kept in
    OUT/model and OUT/data, as of a profile, and the result in OUT/information.json. Beside it every other route.

    A model with a `condition_shape` needs pairs (x, y), y a float tensor (count, *condition_shape), and gives the
    unbounded integrals over them: I = `null` where both denoisers are exact, `null_losses` where they nearly are. Its
    options are log_snr, samples (by default all), levels, seed, block and progress; its blocks are not kept.

    Raises InputError as `Run` does, for a guided model, data of other shapes or classes than the model's, fewer than
    two samples of a class (a constant Y), numbers that are not finite, classes that are no whole numbers, and for a
    condition of another shape or that never changes.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> found = mutual_information(isotropic_mixture([[-1.0], [1.0]], 0.0), samples=60, levels=20)
    >>> round(float(found.of_model.total.value / np.log(2.0)), 2)
    1.0
    """
    folder = None if out is None else Path(out)
    if not (data is None or isinstance(data, Data) or (isinstance(data, tuple | list) and len(data) == 2)):
        raise InputError("data", type(data).__name__, "two: samples, and the class or the condition of each")
    if folder is not None and os.path.exists(folder / "information.json"):
        Information.load(folder / "information.json")  # somebody else's file is refused before anything is done
    if isinstance(model, FunctionDenoiser) and model.condition_shape is not None:
        found = _of_pairs(model, data, **options)
    else:
        found = _of_classes(model, data, folder, options)
    if folder is not None:
        make_folder(folder, "out")
        options.get("processes", ALONE).by_first(lambda: found.save(folder / "information.json"))
    return found


def _of_classes(model: Denoiser, data: Data | Pairs | None, out: Path | None, options: dict[str, Any]) -> Information:
    if isinstance(model, Guided):
        raise InputError("model", model.name, "a model without guidance, whose posterior is its paths' own")
    if data is not None:
        labelled = data if isinstance(data, Data) else Data(data[0], data[1])  # type: ignore[arg-type]  # looked at there
        labelled.checked(model, 2)
    asked, whose, of_data = Classes.of(model.weights), "the model's chain", None
    own = Run(model, asked, out and out / "model", **options)
    if data is not None:  # what cannot be done is refused before anything is
        replace(own.plan, samples=own.samples, data=labelled)
    (profile,), (measured,) = carried_out(own)
    of_model, most, log_snr = _of_model(profile, measured, whose), asked.entropy, profile.log_snr
    evaluations, seconds = profile.evaluations, profile.seconds
    if data is not None:
        whose, changed = "the data", {"log_snr": log_snr, "seed": own.seed + 1, "data": labelled, "tolerance": None}
        (scored,), (measured,) = carried_out(Run(model, asked, out and out / "data", **options | changed))
        of_data = _mean(most - cross_entropy(measured.log_odds, 1.0), measured, "the data, at least")
        of_data = replace(of_data, upper=np.minimum(of_data.upper, most))  # what no bound can exceed
        evaluations, seconds = evaluations + scored.evaluations, seconds + scored.seconds
    found = _integrated(measured.rates_of_path, measured, log_snr, whose, _INTEGRALS)
    about: dict[str, Any] = {"model": model.name, "model_digest": model.digest, "log_snr": log_snr, "most": most}
    about |= {"samples": profile.samples, "evaluations": evaluations, "seconds": seconds, "seed": own.seed}
    about |= {"versions": profile.versions, "certificate": profile.certificate}
    return Information(of_model=of_model, of_data=of_data, **about, **found)


def _of_pairs(
    model: FunctionDenoiser,
    data: Any,
    log_snr: ArrayLike | None = None,
    samples: int | None = None,
    levels: int = LEVELS,
    seed: int = 0,
    block: int = BLOCK,
    progress: Progress = None,
) -> Information:
    if not isinstance(data, tuple) or not all(isinstance(each, torch.Tensor) for each in data):
        raise InputError("data", type(data).__name__, "pairs (x, y) of tensors, for a continuous condition")
    count = len(data[0]) if samples is None else whole_number("samples", samples, 4, len(data[0]))
    x, y = data[0][:count], data[1][:count]
    for name, each, shape in (("x of data", x, model.shape), ("y of data", y, model.condition_shape or ())):
        if each.shape != (len(x), *shape) or len(each) < 4 or not each.is_floating_point() or not each.isfinite().all():
            expected = f"at least four finite float samples of shape {shape}, as many x as y"
            raise InputError(name, f"{each.dtype} of shape {tuple(each.shape)}", expected)
    if bool((y == y[0]).all()):
        raise InputError("y of data", "the same everywhere", "a condition that changes")
    grid = check_levels(model, default_levels(model, levels) if log_snr is None else log_snr)
    start, found, block = time.perf_counter(), [], whole_number("block", block, 1)
    blocks = Paths((0, NULL), np.zeros(len(x)), grid, check_seed(seed), data=x).blocks(block)
    for paths, given in zip(blocks, y.to(model.device, model.dtype).split(block), strict=True):
        with_y = replace(model, function=partial(_with, model, given))  # branch 0 is each path's own y
        own, parts = torch.zeros(len(given), dtype=torch.int64, device=model.device), list[torch.Tensor]()
        for some in by_levels(with_y, paths, progress=progress):
            parts.append(rates_of(some, torch.arange(len(own)), own, [some.gaps[:, :, 1]]))
        found.append(torch.cat(parts)[1:].transpose(0, 1).cpu().numpy())
    group = _Group(np.zeros(len(x), dtype=np.int64), np.ones(1))
    whose, names = "the data, if the network is exact", [name for name in _INTEGRALS if "mixture" not in name]
    about: dict[str, Any] = {"model": model.name, "model_digest": model.digest, "log_snr": grid, "samples": len(x)}
    about |= {"evaluations": 2 * len(x) * (len(grid) + 1), "seconds": time.perf_counter() - start}
    about |= {"seed": seed, "versions": result.versions_here()}
    return Information(**about, **_integrated(np.concatenate(found), group, grid, whose, names))


def _with(
    model: FunctionDenoiser, y: torch.Tensor, x: torch.Tensor, sigma: torch.Tensor, condition: torch.Tensor | None
) -> torch.Tensor:
    return model(x, sigma, None if condition is None else y)


def _of_model(profile: result.Profile, measured: Measurement, whose: str) -> Course:
    """H(Y) - H(Y | X), with the errors of chance and of finite steps.

    The first order in the steps has been taken off; the next is smaller by about one step of log-snr (0.9 to 1.3 times
    that, measured on Gaussian classes of one width), and counts as an error.
    """
    most, entropy, log_snr = profile.prior_entropy, profile.entropy, profile.log_snr
    taken_off, _ = confidence.weighted_mean(measured.two_steps_of_path, measured)
    of_steps = np.abs(taken_off) * (log_snr[-1] - log_snr[0]) / len(log_snr)
    lower, upper = (np.hypot(end - entropy, profile.pointwise * of_steps) for end in profile.band())
    # That I is between 0 and H(Y) is known: what takes an estimate there never takes it away from the truth.
    nats, low, high = (np.clip(most - each, 0.0, most) for each in (entropy, entropy + upper, entropy - lower))
    error = np.hypot(profile.entropy_se, of_steps)
    return Course(whose, nats, error, low, high, profile.production, profile.production_se)


class _Group(NamedTuple):
    """Paths of strata with weights, as of a measurement."""

    stratum: Indices
    weights: Array


def _mean(of_path: Array, group: Strata, whose: str, *rate: Array) -> Course:
    """The course of values (paths, levels), whose mean nothing bounds."""
    nats, error = confidence.weighted_mean(of_path, group)
    half = confidence.pointwise_factor(group) * error
    return Course(whose, nats, error, nats - half, nats + half, *rate)


def _integrated(rates: Array | None, group: Strata, log_snr: Array, whose: str, names: Sequence[str]) -> dict[str, Any]:
    """The courses of rates (paths, levels, rates) by their names, integrated from snr 0: without signal a rate is
    constant in snr, so that what lies before the first level is the rate there times one unit of log-snr."""
    found = {}
    for name, rate in zip(names, np.moveaxis(np.asarray(rates), 2, 0), strict=False):  # the null branch's are the last
        summed = rate[:, :1] + cumulative_simpson(rate, x=log_snr, axis=1, initial=0.0)
        found[name] = _mean(summed, group, whose, *confidence.weighted_mean(rate, group))
    return found
