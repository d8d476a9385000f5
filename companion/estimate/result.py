"""The result of a measurement: a profile that can be saved, loaded, summarised, compared and cited."""

import json
import platform
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch

from companion import __version__
from companion.arguments import Array
from companion.denoiser import Denoiser
from companion.errors import InputError
from companion.estimate import confidence
from companion.estimate.certificate import Certificate, Check, certify
from companion.estimate.measure import Measurement
from companion.estimate.plan import Plan
from companion.files import write_text
from companion.forward import central_interval, production_levels
from companion.models.steps import Interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Estimate", "Profile", "as_json", "assemble", "certificate_of", "read_result", "resampled", "summary_of"]
__all__ += ["time_grid", "versions_here", "write_result"]

_Result = TypeVar("_Result")

_REPLICATES = 400
_FORMAT, _FORMER = "companion profile 3", "companion profile 2"  # without guidance
_CITED = """@misc{entropic_signature,
  author        = {Handke, Florian and Stančević, Dejan and Koulischer, Felix and Demeester, Thomas
                   and Ambrogioni, Luca},
  title         = {The Entropic Signature of Class Speciation in Diffusion Models},
  year          = {2026},
  eprint        = {2602.09651},
  archiveprefix = {arXiv}
}

@misc{companion,
  author = {{The companion's contributors}},
  title  = {When does a diffusion model decide?},
  year   = {2026},
  note   = {Python package, version %s; %s estimator, seed %s, model %s}
}
"""
_CURVES = ("log_snr", "entropy", "entropy_se", "entropy_skew", "production", "production_se")
_OF_POSTERIOR = ("posterior_entropy", "posterior_entropy_se")


class Estimate(NamedTuple):
    """A number with a 95% interval; None where the curve does not determine it."""

    value: float | None
    lower: float | None
    upper: float | None

    def __str__(self) -> str:
        if self.value is None or self.lower is None or self.upper is None:
            return "not determined"
        return f"{self.value:.3f} [{self.lower:.3f}, {self.upper:.3f}]"


@dataclass(frozen=True, eq=False)
class Profile:
    """The class entropy of one partition along a model's trajectories, and what is needed to trust and repeat it.

    `log_snr` (levels,) increases from noise to data. `entropy` is H(Z | X) in nats, `production` -dH / d log-snr, each
    with a standard error over paths; `entropy_skew` is the skewness of the entropy's estimate. `pointwise` and
    `simultaneous` are the numbers of standard errors on either side of the entropy that hold the truth in 95 of 100
    runs, at a single level or at all at once (`band`). `paths` is "model" for the model's own trajectories, "data" for
    real samples under the exact noising chain, and "guided" for trajectories that the rule in `guidance` draws. There
    the `quantity` is no "class entropy" but a "cross entropy": `entropy` is E[-log p(true side | X)] with the unguided
    posterior, whose own entropy E h(L) is `posterior_entropy`; its production may be negative. `sampling` says why no
    more paths were drawn. `prior_entropy` is the entropy where nothing is known, `floor` what stays open even where
    clean data show every class (`Partition.floor`), `truncation` what the top level leaves uncounted, in nats.
    `half_entropy` is the first log-snr, from noise, at which the entropy has come half-way from `prior_entropy` down to
    `floor`, whatever the last level leaves; `window` are the levels at which a tenth and nine tenths of that way are
    gone; `peak` is the log-snr of the largest production. Each is None where the curve does not come down so far,
    begins below it, or is highest at an end. Their intervals are bootstraps over paths, and count chance, not the bias
    of finite steps.

    >>> from companion.estimate.run import profile
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> result = profile(isotropic_mixture([[-1.0], [1.0]], 0.0), "0|1", samples=200)
    >>> round(float(result.entropy[0]), 2), bool((result.band()[0] <= result.entropy).all())
    (0.69, True)
    """

    partition: str
    model: str
    model_digest: str
    method: str
    prior: float
    prior_entropy: float
    floor: float
    log_snr: Array
    entropy: Array
    entropy_se: Array
    entropy_skew: Array
    production: Array
    production_se: Array
    pointwise: float
    simultaneous: float
    paths: str
    sampling: str
    certificate: Certificate
    truncation: float
    half_entropy: Estimate
    window: tuple[Estimate, Estimate]
    peak: Estimate
    samples: int
    evaluations: int
    seconds: float
    seed: int
    versions: dict[str, str]
    quantity: str = "class entropy"
    guidance: dict[str, Any] | None = None
    posterior_entropy: Array | None = None
    posterior_entropy_se: Array | None = None

    @property
    def asked(self) -> str:
        """The partition, with the weight and the interval of guidance, if any: how a figure calls the profile."""
        if self.guidance is None:
            return self.partition
        weight, interval = self.guidance["weight"], self.guidance["interval"]
        said = f"{weight:g}" if isinstance(weight, float | int) else "a table of weights"
        return f"{self.partition}, guided by {said}" + (f" at {interval[0]:g} to {interval[1]:g}" if interval else "")

    def save(self, path: str | Path) -> None:
        """Write the profile as one JSON file, whole or not at all; InputError where no file can be written."""
        write_result(path, _FORMAT, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Every field by its name, arrays as lists, estimates as [value, lower, upper]: what JSON can hold."""
        return {name: as_json(value) for name, value in vars(self).items()}

    def band(self, simultaneous: bool = False) -> tuple[Array, Array]:
        """The lower and upper end of the 95% band of the entropy (`limits`), at each level or at all levels at once."""
        factor = self.simultaneous if simultaneous else self.pointwise
        most = max(np.log(2.0), self.prior_entropy) if self.guidance is None else np.inf
        return confidence.limits(self.entropy, self.entropy_se, self.entropy_skew, factor, self.floor, most)

    def interval(self, share: float = 0.8) -> Interval:
        """The log-snr between which the central `share` of the production lies (`companion.forward.central_interval`).

        It tells itself in sigma, and in timesteps, steps and fractions of a diffusers scheduler. Raises InputError for
        a share outside (0, 1), and where nothing was produced.
        """
        return Interval(*central_interval(self.log_snr, self.production, share))

    @staticmethod
    def load(path: str | Path) -> "Profile":
        """Read what `save` wrote; InputError for a file that is missing, cut short, or something else.

        >>> Profile.load("README.txt")
        Traceback (most recent call last):
            ...
        companion.errors.InputError: path is README.txt, expected a file written by save (No such file or directory)
        """

        def built(values: dict[str, Any]) -> Profile:
            curves = [*_CURVES, *(name for name in _OF_POSTERIOR if values.get(name) is not None)]
            values |= {name: np.array(values[name], dtype=np.float64) for name in curves}
            values |= {name: Estimate(*values[name]) for name in ("half_entropy", "peak")}
            early, late = values["window"]
            values["window"] = Estimate(*early), Estimate(*late)
            values["certificate"] = certificate_of(values["certificate"])
            return _checked(Profile(**values))

        return read_result(path, (_FORMAT, _FORMER), built)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas table with a row a level, by `log_snr`: curves, standard errors and both bands of the entropy.

        What is no curve is in its `attrs`, as `as_dict` has it. Raises InputError where pandas is missing.
        """
        try:
            import pandas as pd
        except ImportError:
            raise InputError("pandas", "missing", "the package pandas: pip install pandas") from None
        names = ("pointwise_lower", "pointwise_upper", "simultaneous_lower", "simultaneous_upper")
        bands = dict(zip(names, (*self.band(), *self.band(simultaneous=True)), strict=True))
        frame = pd.DataFrame({name: getattr(self, name) for name in _CURVES} | bands).set_index("log_snr")
        frame.attrs = {name: value for name, value in self.as_dict().items() if name not in _CURVES}
        return frame

    def bibtex(self) -> str:
        """What to cite for this profile, as BibTeX: the paper of the method, and the package that carried it out."""
        return _CITED % (self.versions["companion"], self.method, self.seed, self.model_digest)

    def summary(self) -> str:
        """A few lines that a person reads, none longer than 80 characters but for a long name."""
        one, every = (0.5 * float(np.max(upper - lower)) for lower, upper in (self.band(), self.band(True)))
        ends = f"{self.entropy[0]:.4f} to {self.entropy[-1]:.4f} nats"
        rows = {
            "half decided at log-snr": str(self.half_entropy),
            "a tenth decided at": str(self.window[0]),
            "nine tenths decided at": str(self.window[1]),
            "production peaks at": str(self.peak),
            self.quantity.removeprefix("class "): f"{ends}; prior {self.prior_entropy:.4f}, floor {self.floor:.4f}",
            "95% band": f"±{one:.4f} nats at most, ±{every:.4f} for all levels at once; {self.sampling}",
            "certificate": str(self.certificate),
            "cost": f"{self.evaluations} evaluations, {self.samples} samples, {len(self.log_snr)} levels, "
            f"{self.seconds:.1f} s, seed {self.seed}",
        }
        return summary_of(f"{self.asked} in {self.model} ({self.method} estimator)", rows)


def summary_of(title: str, rows: Mapping[str, str]) -> str:
    """A title, and a few named lines that a person reads."""
    lines = [
        textwrap.fill(said, 80, initial_indent=f"  {name:26s}", subsequent_indent=" " * 28, break_on_hyphens=False)
        for name, said in rows.items()
    ]
    return "\n".join([title, *lines])


def as_json(value: Any) -> Any:
    """What JSON can hold of a result's field: arrays as lists, a certificate as its checks, others by their names."""
    if isinstance(value, Certificate):
        return [asdict(check) for check in value.checks]
    if is_dataclass(value):
        return {name: as_json(each) for name, each in vars(value).items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def certificate_of(checks: list[dict[str, Any]]) -> Certificate:
    """The certificate that `as_json` gave as `checks`."""
    return Certificate(tuple(Check(**check) for check in checks))


def write_result(path: str | Path, form: str, values: dict[str, Any]) -> None:
    """Writes values as one JSON file, whole or not at all; InputError where no file can be written."""
    text = json.dumps({"format": form, **values}, indent=1, allow_nan=False) + "\n"
    try:
        write_text(Path(path), text)
    except (OSError, ValueError) as error:  # no name at all is a ValueError
        expected = f"a file that can be written ({getattr(error, 'strerror', None) or error})"
        raise InputError("path", path, expected) from error


def read_result(path: str | Path, forms: Sequence[str], built: Callable[[dict[str, Any]], _Result]) -> _Result:
    """What is `built` of the values in a file of one of these formats; InputError for any other file."""
    try:
        values: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        if values.pop("format") not in forms:
            raise ValueError
        return built(values)
    except OSError as error:
        raise InputError("path", path, f"a file written by save ({error.strerror})") from error
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError("path", path, f"a whole file of the format {forms[0]!r}") from error


def versions_here() -> dict[str, str]:
    """The versions that a result's numbers depend on."""
    versions = {"companion": __version__, "python": platform.python_version()}
    return versions | {each.__name__: str(each.__version__) for each in (torch, np)}


def time_grid(profile: Profile, steps: int, share: float = 0.5) -> Array:
    """The log-snr (steps,) of sampling steps over a profile's levels: a `share` placed by its production, the others
    uniform (`companion.forward.production_levels`, whose errors are raised).

    `scheduler_grid` says it to a diffusers scheduler.

    >>> from companion.estimate.run import profile
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> result = profile(isotropic_mixture([[-1.0], [1.0]], 0.0), "0|1", samples=200)
    >>> first, *_, last = time_grid(result, 8)
    >>> bool(first == result.log_snr[0]), bool(last == result.log_snr[-1])
    (True, True)
    """
    return production_levels(steps, profile.log_snr, profile.production, share)


def _checked(found: Profile) -> Profile:
    """The profile; TypeError unless curves are finite and of one length, numbers are numbers and names are text."""
    of = {
        kind: [getattr(found, each.name) for each in fields(Profile) if each.type is kind]
        for kind in (Array, Estimate, str, int, float)
    }
    pairs = [(check.value, check.error) for check in found.certificate.checks]
    known = [each for several in (*of[Estimate], *found.window, *pairs) for each in several if each is not None]
    numbers = all(isinstance(each, int | float) and abs(each) < np.inf for each in (*of[int], *of[float], *known))
    of[Array] += [each for each in map(vars(found).get, _OF_POSTERIOR) if each is not None]
    shape, texts = (len(found.log_snr) or None,), all(isinstance(each, str) for each in of[str])
    if not (numbers and texts and all(curve.shape == shape and np.isfinite(curve).all() for curve in of[Array])):
        raise TypeError
    rule, unguided = found.guidance, found.quantity == "class entropy"
    if (rule is None) != unguided or set(rule or ()) != set(() if unguided else ("weight", "interval")):
        raise TypeError
    return found


def assemble(
    model: Denoiser,
    plan: Plan,
    measured: Measurement,
    evaluations: int,
    seconds: float,
    sampling: str,
    beside: Sequence[Measurement] = (),
) -> Profile:
    """The profile of one of a plan's measurements, `beside` all of them; `sampling` says why no more were drawn."""
    partition, levels, of_path = measured.partition, measured.log_snr, measured.entropy_of_path
    entropy, entropy_se = confidence.weighted_mean(of_path, measured)
    production, production_se = confidence.weighted_mean(measured.production_of_path, measured)
    # Without signal production is constant in snr, so the top level knows its production times one unit of log-snr.
    # A run that starts from nothing has counted that; what is left is the difference.
    counted = partition.entropy - float(entropy[0]) if plan.from_nothing else 0.0
    truncation = abs(float(production[0]) - counted)
    simultaneous = confidence.simultaneous_factor(of_path, measured)
    again = resampled(np.concatenate([of_path, measured.production_of_path], axis=1), measured)
    curves, rates = np.split(np.vstack([np.concatenate([entropy, production]), again]), 2, axis=1)

    guided = plan.guidance is not None
    open_of_path = measured.posterior_of_path
    of_posterior = (None, None) if open_of_path is None else confidence.weighted_mean(open_of_path, measured)

    def level_of(known: float) -> Estimate:
        target = partition.entropy - known * (partition.entropy - partition.floor)
        return _estimate([_crossing(levels, curve, target) for curve in curves])

    return Profile(
        partition=partition.label,
        model=model.name,
        model_digest=model.digest,
        method=plan.method.name,
        prior=partition.prior,
        prior_entropy=partition.entropy,
        floor=partition.floor,
        log_snr=levels,
        # A mean of corrected values may pass the ends that no entropy and no production passes, by chance.
        entropy=np.clip(entropy, 0.0, np.inf if guided else partition.entropy),
        entropy_se=entropy_se,
        entropy_skew=confidence.skewness(of_path, measured),
        production=production if guided else np.maximum(production, 0.0),
        production_se=production_se,
        pointwise=confidence.pointwise_factor(measured),
        simultaneous=simultaneous,
        paths="guided" if guided else "model" if plan.data is None else "data",
        sampling=sampling,
        certificate=certify(plan, measured, truncation, confidence.widest(measured, simultaneous), beside),
        truncation=truncation,
        half_entropy=level_of(0.5),
        window=(level_of(0.1), level_of(0.9)),
        peak=_estimate([_vertex(levels, curve) for curve in rates]),
        samples=len(measured.stratum),
        evaluations=evaluations,
        seconds=seconds,
        seed=plan.seed,
        versions=versions_here(),
        quantity="cross entropy" if guided else "class entropy",
        guidance=None if plan.guidance is None else plan.guidance.as_dict(),
        posterior_entropy=of_posterior[0],
        posterior_entropy_se=of_posterior[1],
    )


def resampled(values: Array, measured: Measurement) -> Array:
    """Curves (replicates, levels) from paths drawn again with replacement, branch by branch; always the same draws."""
    generator, total = np.random.default_rng(0), np.zeros((_REPLICATES, values.shape[1]))
    for index, weight in enumerate(measured.weights):
        members = values[measured.stratum == index]
        count = len(members)
        total += weight / count * (generator.multinomial(count, np.full(count, 1.0 / count), _REPLICATES) @ members)
    return total


def _crossing(levels: Array, curve: Array, target: float) -> float:
    """The first level at which a falling curve is down to the target, linearly; NaN where none is, or the first."""
    at = int(np.argmax(curve <= target))
    return float(np.interp(target, curve[[at, at - 1]], levels[[at, at - 1]])) if at > 0 else np.nan


def _vertex(levels: Array, curve: Array) -> float:
    """That of the parabola through a curve's highest point and its neighbours; NaN where that is an end."""
    at = int(np.argmax(curve))
    if not 0 < at < len(levels) - 1:
        return np.nan
    before, after = np.diff(levels[at - 1 : at + 2])
    # The parabola's slopes in the middle of the two steps; the highest point is the first of equal ones.
    rising, falling = np.diff(curve[at - 1 : at + 2]) / (before, after)
    return float(levels[at] + 0.5 * ((before + after) * rising / (rising - falling) - before))


def _estimate(found: list[float]) -> Estimate:
    """The first of the numbers, with the interval of the others."""
    value, others = found[0], np.array(found[1:])
    if np.isnan(value):
        return Estimate(None, None, None)
    known = others[np.isfinite(others)]
    if len(known) < 0.975 * len(others):
        return Estimate(value, None, None)
    return Estimate(value, *np.quantile(known, [0.025, 0.975]).tolist())
