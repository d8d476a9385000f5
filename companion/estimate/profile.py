"""The result of a measurement: a profile that can be saved, loaded, plotted, summarised and cited."""

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from companion import __version__
from companion.denoiser import Denoiser
from companion.errors import InputError
from companion.estimate.entropy import DEFAULT, Measurement, Method, allot, measure
from companion.estimate.partition import Partition
from companion.estimate.trajectories import check_levels, check_model, predict
from companion.files import write_text
from companion.forward import log_snr_levels, noise_of

__all__ = ["Estimate", "Profile", "default_levels", "expected_cost", "profile", "profiles", "weighted_mean"]

Array = NDArray[np.float64]

_FORMAT = "companion profile 1"
_REPLICATES = 400


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

    `log_snr` (levels,) increases from noise to data. `entropy` is H(Z | X) in nats, `production` is -dH / d log-snr,
    each with a standard error (pointwise; Monte Carlo only). `prior_entropy` and `floor` are the ends the curve can
    reach. `truncation` is what the top level leaves uncounted, in nats. `half_entropy` is the log-snr at which half
    of what can be known is known; `window` are the levels of a tenth and of nine tenths; `peak` is the log-snr of the
    largest production. Their intervals are bootstraps over paths:
    they count chance, not the bias of finite steps.
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
    production: Array
    production_se: Array
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
        target = Path(path)
        try:
            write_text(target, json.dumps({"format": _FORMAT, **self.as_dict()}, indent=1, allow_nan=False) + "\n")
        except OSError as error:
            raise InputError("path", target, f"a file that can be written ({error.strerror})") from error

    def as_dict(self) -> dict[str, Any]:
        """Every field by its name, arrays as lists, estimates as [value, lower, upper]: what JSON can hold."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}

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
        except ValueError as error:
            raise InputError("path", path, "a whole file written by save") from error
        names = {field.name for field in fields(Profile)}
        if not isinstance(values, dict) or values.pop("format", None) != _FORMAT or set(values) != names:
            raise InputError("path", path, f"a whole file of the format {_FORMAT!r}")
        try:
            for name in ("log_snr", "entropy", "entropy_se", "production", "production_se"):
                values[name] = np.array(values[name], dtype=np.float64)
            values["half_entropy"], values["peak"] = Estimate(*values["half_entropy"]), Estimate(*values["peak"])
            values["window"] = (Estimate(*values["window"][0]), Estimate(*values["window"][1]))
        except (TypeError, ValueError, IndexError) as error:
            raise InputError("path", path, f"a whole file of the format {_FORMAT!r}") from error
        return Profile(**values)

    def summary(self) -> str:
        """A few lines that a person reads."""
        first, last = self.window
        return "\n".join(
            [
                f"{self.partition} in {self.model} ({self.method} estimator)",
                f"  half decided at log-snr   {self.half_entropy}",
                f"  a tenth known at          {first}",
                f"  nine tenths known at      {last}",
                f"  production peaks at       {self.peak}",
                f"  entropy                   {self.entropy[0]:.4f} to {self.entropy[-1]:.4f} nats; "
                f"prior {self.prior_entropy:.4f}, floor {self.floor:.4f}",
                f"  truncation at the top     {self.truncation:.4f} nats",
                f"  cost                      {self.evaluations} evaluations, {self.samples} samples, "
                f"{len(self.log_snr)} levels, {self.seconds:.1f} s, seed {self.seed}",
            ]
        )


def profile(
    model: Denoiser,
    partition: Partition,
    log_snr: ArrayLike | None = None,
    samples: int = 300,
    seed: int = 0,
    method: Method = DEFAULT,
    batch: int = 512,
    progress: Callable[[], None] | None = None,
) -> Profile:
    """The profile of one partition: when a model decides between its two sides.

    `log_snr` are the levels, increasing, by default `default_levels(model)`; `samples` is the number of paths over
    both sides. The other arguments, and what is raised, are those of `measure`.

    >>> from companion.estimate.partition import partition
    >>> from companion.theory.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)     # half entropy at kappa = 4 / sigma^2 = 4.176
    >>> result = profile(pair, partition(pair, [0], [1]), np.linspace(-6.0, 4.0, 80), samples=400)
    >>> bool(abs(result.half_entropy.value - np.log(4.176 / 4.0)) < 0.1)
    True
    """
    (result,) = profiles(model, [partition], log_snr, samples, seed, method, batch, progress)
    return result


def profiles(
    model: Denoiser,
    partitions: Sequence[Partition],
    log_snr: ArrayLike | None = None,
    samples: int = 300,
    seed: int = 0,
    method: Method = DEFAULT,
    batch: int = 512,
    progress: Callable[[], None] | None = None,
) -> list[Profile]:
    """The profiles of several partitions from one run, every path scored under every branch that any of them needs.

    `samples` is the total number of paths, split evenly over the branches; each profile counts the paths it used, and
    the evaluations of the whole run.
    """
    levels = default_levels(model) if log_snr is None else np.asarray(log_snr, dtype=np.float64)
    start = time.perf_counter()
    measurements, evaluations = measure(model, partitions, levels, samples, seed, method, batch, progress)
    seconds = time.perf_counter() - start
    return [_profile(model, each, seed, method, evaluations, seconds) for each in measurements]


def default_levels(model: Denoiser, count: int = 64) -> Array:
    """`count` log-snr, equally spaced over what the model's range shares with -10 to 10.

    >>> from companion.theory.mixtures import isotropic_mixture
    >>> default_levels(isotropic_mixture([[-1.0], [1.0]], 0.0), 3)
    array([-10.,   0.,  10.])
    """
    lowest, highest = model.log_snr_range
    return log_snr_levels(count, max(lowest, -10.0), min(highest, 10.0))


def expected_cost(
    model: Denoiser, partition: Partition, log_snr: ArrayLike, samples: int, method: Method = DEFAULT
) -> tuple[int, float]:
    """The evaluations that `profile` will make, and the seconds expected from timing one small call of the model.

    Raises InputError where `profile` would for its levels, its samples or its model.

    >>> from companion.estimate.partition import partition
    >>> from companion.theory.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> expected_cost(pair, partition(pair, [0], [1]), np.linspace(-8.0, 4.0, 20), samples=100)[0]
    4200
    """
    levels = check_levels(model, log_snr)
    allot(samples, partition.shares)
    check_model(model, partition.branches, levels)
    evaluations = samples * len(partition.branches) * (len(levels) + method.from_nothing)
    tried = min(samples, 128)
    x, sigma = torch.zeros(tried, int(np.prod(model.shape))), float(noise_of(levels[0]))
    predict(model, partition.branches[:1], x, sigma, tried)  # the first call also warms up
    start = time.perf_counter()
    predict(model, partition.branches[:1], x, sigma, tried)
    return evaluations, evaluations / tried * (time.perf_counter() - start)


def _profile(
    model: Denoiser, measured: Measurement, seed: int, method: Method, evaluations: int, seconds: float
) -> Profile:
    partition, levels = measured.partition, measured.log_snr
    entropy, entropy_se = weighted_mean(measured.entropy_of_path, measured)
    production, production_se = weighted_mean(measured.production_of_path, measured)
    # Without signal production is constant in snr, so the top level knows its production times one unit of log-snr.
    # A run that starts from nothing has counted that; what is left is the difference.
    counted = partition.entropy - float(entropy[0]) if method.from_nothing else 0.0

    curves = _replicates(measured.entropy_of_path, measured)
    rates = _replicates(measured.production_of_path, measured)

    def level_of(known: float) -> Estimate:
        target = partition.entropy - known * (partition.entropy - partition.floor)
        return _interval(_crossing(levels, entropy, target), [_crossing(levels, curve, target) for curve in curves])

    return Profile(
        partition=partition.label,
        model=model.name,
        model_digest=model.digest,
        method=method.name,
        prior=partition.prior,
        prior_entropy=partition.entropy,
        floor=partition.floor,
        log_snr=levels,
        entropy=entropy,
        entropy_se=entropy_se,
        production=production,
        production_se=production_se,
        truncation=abs(float(production[0]) - counted),
        half_entropy=level_of(0.5),
        window=(level_of(0.1), level_of(0.9)),
        peak=_interval(_maximum(levels, production), [_maximum(levels, rate) for rate in rates]),
        samples=len(measured.stratum),
        evaluations=evaluations,
        seconds=seconds,
        seed=int(seed),
        versions={
            "companion": __version__,
            "python": platform.python_version(),
            "torch": version("torch"),
            "numpy": np.__version__,
        },
    )


def weighted_mean(values: Array, measured: Measurement) -> tuple[Array, Array]:
    """The stratified mean of values (paths, levels), sum_z W_z mean_z, and its standard error (ES 26)."""
    mean, variance = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for stratum, weight in enumerate(measured.weights):
        members = values[measured.stratum == stratum]
        mean += weight * members.mean(axis=0)
        variance += weight**2 * members.var(axis=0, ddof=1) / len(members)
    return mean, np.sqrt(variance)


def _replicates(values: Array, measured: Measurement) -> Array:
    """Curves (replicates, levels) from paths drawn again with replacement, branch by branch; always the same draws."""
    generator = np.random.default_rng(0)
    total = np.zeros((_REPLICATES, values.shape[1]))
    for stratum, weight in enumerate(measured.weights):
        members = values[measured.stratum == stratum]
        count = len(members)
        drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=_REPLICATES)
        total += weight / count * (drawn @ members)
    return total


def _crossing(levels: Array, curve: Array, target: float) -> float | None:
    """The first level, from noise, at which a falling curve has come down to the target, by linear interpolation."""
    below = np.flatnonzero(curve <= target)
    if len(below) == 0 or below[0] == 0:
        return None
    after = below[0]
    part = (curve[after - 1] - target) / (curve[after - 1] - curve[after])
    return float(levels[after - 1] + part * (levels[after] - levels[after - 1]))


def _maximum(levels: Array, curve: Array) -> float | None:
    """The vertex of the parabola through the highest point and its neighbours; None where the highest is an end."""
    top = int(np.argmax(curve))
    if top in (0, len(curve) - 1):
        return None
    curvature, slope, _ = np.polyfit(levels[top - 1 : top + 2] - levels[top], curve[top - 1 : top + 2], 2)
    return float(levels[top] - slope / (2.0 * curvature)) if curvature < 0.0 else float(levels[top])


def _interval(value: float | None, replicates: Sequence[float | None]) -> Estimate:
    found = [each for each in replicates if each is not None]
    if value is None or len(found) < 0.975 * len(replicates):
        return Estimate(value, None, None)
    lower, upper = np.quantile(found, [0.025, 0.975])
    return Estimate(value, float(lower), float(upper))
