"""The result of a measurement: a profile that can be saved, loaded, summarised, compared and cited."""

import json
import platform
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from companion import __version__
from companion.denoiser import Denoiser
from companion.errors import InputError
from companion.estimate.certificate import Certificate, certify
from companion.estimate.confidence import (
    limits,
    pointwise_factor,
    resampled,
    simultaneous_factor,
    skewness,
    weighted_mean,
    widest,
)
from companion.estimate.measure import Measurement
from companion.estimate.plan import Plan
from companion.files import write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Estimate", "Profile", "assemble"]

Array = NDArray[np.float64]

_FORMAT = "companion profile 2"
_PAPER = """@misc{entropic_signature,
  author        = {Handke, Florian and Stančević, Dejan and Koulischer, Felix and Demeester, Thomas
                   and Ambrogioni, Luca},
  title         = {The Entropic Signature of Class Speciation in Diffusion Models},
  year          = {2026},
  eprint        = {2602.09651},
  archiveprefix = {arXiv}
}"""
_CURVES = ("log_snr", "entropy", "entropy_se", "entropy_skew", "production", "production_se")


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

    `log_snr` (levels,) increases from noise to data. `entropy` is H(Z | X) in nats, `production` is -dH / d
    log-snr, each with a standard error over paths; `entropy_skew` is the skewness of the entropy's estimate.
    `pointwise` and `simultaneous` are the numbers of standard errors on either side of the entropy that hold the
    truth in 95 of 100 runs, at a single level or at all at once (`band`). `paths` is "model" for the model's own
    trajectories and "data" for real samples under the exact noising chain; `sampling` says why no more paths were
    drawn. `certificate` is what the run measured of its own errors. `prior_entropy` is the entropy where nothing is
    known, `floor` what stays open even where clean data show every class (`Partition.floor`). `truncation` is what the
    top level leaves uncounted, in nats. `half_entropy` is the first log-snr, from noise, at which the entropy has come
    half-way from `prior_entropy` down to `floor`, whatever the last level leaves; `window` are the levels at which a
    tenth and nine tenths of that way are gone; `peak` is the log-snr of the largest production. Each is None where the
    curve does not come down so far, begins below it, or is highest at an end. Their intervals are bootstraps over
    paths, and count chance, not the bias of finite steps.

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

    def save(self, path: str | Path) -> None:
        """Write the profile as one JSON file, whole or not at all; InputError where no file can be written."""
        text = json.dumps({"format": _FORMAT, **self.as_dict()}, indent=1, allow_nan=False) + "\n"
        try:
            write_text(Path(path), text)
        except (OSError, ValueError) as error:  # no name at all is a ValueError
            said = getattr(error, "strerror", None) or error
            raise InputError("path", path, f"a file that can be written ({said})") from error

    def as_dict(self) -> dict[str, Any]:
        """Every field by its name, arrays as lists, estimates as [value, lower, upper]: what JSON can hold."""
        found = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}
        return {**found, "certificate": self.certificate.as_list()}

    def band(self, simultaneous: bool = False) -> tuple[Array, Array]:
        """The lower and upper end of the 95% band of the entropy, at each level by itself or at all levels at once.

        `limits` says how; both are kept between 0 and the largest entropy of a yes-or-no question, log 2.
        """
        factor = self.simultaneous if simultaneous else self.pointwise
        return limits(self.entropy, self.entropy_se, self.entropy_skew, factor, self.floor)

    @staticmethod
    def load(path: str | Path) -> "Profile":
        """Read what `save` wrote; InputError for a file that is missing, cut short, or something else.

        >>> Profile.load("README.txt")
        Traceback (most recent call last):
            ...
        companion.errors.InputError: path is README.txt, expected a file written by save (No such file or directory)
        """
        try:
            values: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError("path", path, f"a file written by save ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise InputError("path", path, "a whole file written by save") from error
        names = {field.name for field in fields(Profile)}
        if not isinstance(values, dict) or values.pop("format", None) != _FORMAT or set(values) != names:
            raise InputError("path", path, f"a whole file of the format {_FORMAT!r}")
        try:
            for name in _CURVES:
                values[name] = np.array(values[name], dtype=np.float64)
            values["half_entropy"], values["peak"] = Estimate(*values["half_entropy"]), Estimate(*values["peak"])
            values["certificate"] = Certificate.from_list(values["certificate"])
            values["window"] = (Estimate(*values["window"][0]), Estimate(*values["window"][1]))
            _check_kinds(values)
        except (TypeError, ValueError, IndexError) as error:
            raise InputError("path", path, f"a whole file of the format {_FORMAT!r}") from error
        return Profile(**values)

    def to_frame(self) -> "pd.DataFrame":
        """A pandas table with a row a level, by `log_snr`: curves, standard errors and both bands of the entropy.

        What is no curve is in its `attrs`, as `as_dict` has it. Raises InputError where pandas is missing.
        """
        try:
            import pandas as pd
        except ImportError:
            raise InputError("pandas", "missing", "the package pandas: pip install pandas") from None
        bands = {"pointwise": self.band(), "simultaneous": self.band(simultaneous=True)}
        ends = {
            f"{kind}_{end}": band[row] for kind, band in bands.items() for row, end in enumerate(("lower", "upper"))
        }
        frame = pd.DataFrame({name: getattr(self, name) for name in _CURVES} | ends).set_index("log_snr")
        frame.attrs = {name: value for name, value in self.as_dict().items() if name not in _CURVES}
        return frame

    def bibtex(self) -> str:
        """What to cite for this profile, as BibTeX: the paper of the method, and the package that carried it out."""
        year, version = "2026", self.versions["companion"]
        note = (
            f"Python package, version {version}; {self.method} estimator, seed {self.seed}, model {self.model_digest}"
        )
        ours = {
            "author": "{The companion's contributors}",
            "title": "When does a diffusion model decide?",
            "year": year,
        }
        lines = "".join(f",\n  {name:6s} = {{{value}}}" for name, value in (ours | {"note": note}).items())
        return f"{_PAPER}\n\n@misc{{companion{lines}\n}}\n"

    def summary(self) -> str:
        """A few lines that a person reads, none longer than 80 characters but for a long name."""
        first, last = self.window
        one, every = (0.5 * float(np.max(upper - lower)) for lower, upper in (self.band(), self.band(True)))
        ends = f"{self.entropy[0]:.4f} to {self.entropy[-1]:.4f} nats"
        rows = {
            "half decided at log-snr": str(self.half_entropy),
            "a tenth decided at": str(first),
            "nine tenths decided at": str(last),
            "production peaks at": str(self.peak),
            "entropy": f"{ends}; prior {self.prior_entropy:.4f}, floor {self.floor:.4f}",
            "95% band": f"±{one:.4f} nats at most, ±{every:.4f} for all levels at once; {self.sampling}",
            "certificate": str(self.certificate),
            "cost": f"{self.evaluations} evaluations, {self.samples} samples, {len(self.log_snr)} levels, "
            f"{self.seconds:.1f} s, seed {self.seed}",
        }
        lines = [
            textwrap.fill(said, 80, initial_indent=f"  {name:26s}", subsequent_indent=" " * 28, break_on_hyphens=False)
            for name, said in rows.items()
        ]
        return "\n".join([f"{self.partition} in {self.model} ({self.method} estimator)", *lines])


def _check_kinds(values: dict[str, Any]) -> None:
    """TypeError unless curves are finite and of one length, numbers are numbers and names are text."""
    numbers = [values[name] for name in ("prior", "prior_entropy", "floor", "pointwise", "simultaneous", "truncation")]
    numbers += [values[name] for name in ("samples", "evaluations", "seconds", "seed")]
    numbers += [each for name in ("half_entropy", "peak") for each in values[name] if each is not None]
    numbers += [each for edge in values["window"] for each in edge if each is not None]
    numbers += [
        each for check in values["certificate"].checks for each in (check.value, check.error) if each is not None
    ]
    texts = [values[name] for name in ("partition", "model", "model_digest", "method", "paths", "sampling")]
    curves = [values[name] for name in _CURVES]
    whole = all(curve.shape == (len(curves[0]),) and len(curve) and np.isfinite(curve).all() for curve in curves)
    if not whole or not all(isinstance(text, str) for text in texts):
        raise TypeError
    if not all(isinstance(number, int | float) and abs(number) < np.inf for number in numbers):
        raise TypeError


def assemble(
    model: Denoiser,
    plan: Plan,
    measured: Measurement,
    evaluations: int,
    seconds: float,
    sampling: str,
    beside: Sequence[Measurement] = (),
) -> Profile:
    """The profile of one of a plan's measurements; `sampling` says why no more paths were drawn.

    `beside` are all measurements of the plan, for what the certificate reads off another one.
    """
    partition, levels = measured.partition, measured.log_snr
    entropy, entropy_se = weighted_mean(measured.entropy_of_path, measured)
    production, production_se = weighted_mean(measured.production_of_path, measured)
    # Without signal production is constant in snr, so the top level knows its production times one unit of log-snr.
    # A run that starts from nothing has counted that; what is left is the difference.
    counted = partition.entropy - float(entropy[0]) if plan.from_nothing else 0.0
    truncation = abs(float(production[0]) - counted)

    both = np.concatenate([measured.entropy_of_path, measured.production_of_path], axis=1)
    curves, rates = np.split(resampled(both, measured), 2, axis=1)
    simultaneous = simultaneous_factor(measured.entropy_of_path, measured)

    def level_of(known: float) -> Estimate:
        target = partition.entropy - known * (partition.entropy - partition.floor)
        return _estimate(_crossings(levels, np.vstack([entropy, curves]), target))

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
        entropy=np.clip(entropy, 0.0, partition.entropy),
        entropy_se=entropy_se,
        entropy_skew=skewness(measured.entropy_of_path, measured),
        production=np.maximum(production, 0.0),
        production_se=production_se,
        pointwise=pointwise_factor(measured),
        simultaneous=simultaneous,
        paths="model" if plan.data is None else "data",
        sampling=sampling,
        certificate=certify(plan, measured, truncation, widest(measured, simultaneous), beside),
        truncation=truncation,
        half_entropy=level_of(0.5),
        window=(level_of(0.1), level_of(0.9)),
        peak=_estimate(_maxima(levels, np.vstack([production, rates]))),
        samples=len(measured.stratum),
        evaluations=evaluations,
        seconds=seconds,
        seed=plan.seed,
        versions={
            "companion": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
    )


def _crossings(levels: Array, curves: Array, target: float) -> Array:
    """The first level, from noise, at which each falling curve has come down to the target, by linear interpolation.

    NaN where a curve never does, or begins below it.
    """
    below = curves <= target
    after = np.argmax(below, axis=1)
    rows, before = np.arange(len(curves)), np.maximum(after - 1, 0)
    above, under = curves[rows, before], curves[rows, after]
    found = below.any(axis=1) & (after > 0)
    part = np.divide(above - target, above - under, out=np.full(len(curves), np.nan), where=found)
    result: Array = levels[before] + part * (levels[after] - levels[before])
    return result


def _maxima(levels: Array, curves: Array) -> Array:
    """The vertex of the parabola through each curve's highest point and its neighbours; NaN where that is an end."""
    top = np.argmax(curves, axis=1)
    inside = (top > 0) & (top < len(levels) - 1)
    rows, at = np.arange(len(curves)), np.clip(top, 1, max(len(levels) - 2, 1))
    if len(levels) < 3:
        return np.full(len(curves), np.nan)
    before, after = levels[at] - levels[at - 1], levels[at + 1] - levels[at]
    # The parabola's slopes in the middle of the two steps.
    rising = (curves[rows, at] - curves[rows, at - 1]) / before
    falling = (curves[rows, at + 1] - curves[rows, at]) / after
    bend = rising - falling
    shift = np.divide((before + after) * rising, bend, out=before.copy(), where=bend > 0.0)
    return np.where(inside, levels[at] + 0.5 * (shift - before), np.nan)


def _estimate(found: Array) -> Estimate:
    """The first of the numbers, with the interval of the others."""
    value, others = float(found[0]), found[1:][np.isfinite(found[1:])]
    if not np.isfinite(value):
        return Estimate(None, None, None)
    if len(others) < 0.975 * (len(found) - 1):
        return Estimate(value, None, None)
    lower, upper = np.quantile(others, [0.025, 0.975])
    return Estimate(value, float(lower), float(upper))
