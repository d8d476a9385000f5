"""The mutual information of a sample and its class, each number with a name of whose it is.

On a model's own paths I(X; Y) = H(Y) - H(Y | X), where the posterior is accumulated along the path: that of the chain
that is drawn, exact whatever the network, full even for a poor one, and between 0 and H(Y). Of real data noised by the
exact chain H(Y) - E[-log q(y | path)] is a lower bound for any network's posterior q (Gibbs), negative for a bad one.

Beside them stand the unbounded integrals over denoisers, which trust the network (SI 11, 13):

    int (1/2) E|D_y - D|^2 dsnr,    S = int (snr / 2) E|D - alpha^2 x|^2 d log-snr.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson

from companion.arguments import Array
from companion.denoiser import Denoiser
from companion.entropy import Classes, cross_entropy
from companion.errors import InputError
from companion.estimate import confidence
from companion.estimate.certificate import Certificate
from companion.estimate.measure import Measurement
from companion.estimate.plan import Data
from companion.estimate.result import Estimate
from companion.estimate.run import Run, carried_out
from companion.guidance import Guided

__all__ = ["Course", "Information", "mutual_information"]

Pairs = tuple[torch.Tensor, ArrayLike]


@dataclass(frozen=True, eq=False)
class Course:
    """Nats from noise to each level: `nats` (levels,) with `nats_se`, and at the last level the `total`.

    `rate` (levels,) with `rate_se` is per unit of log-snr; None where it was not measured. `whose` says of what law.
    """

    whose: str
    nats: Array
    nats_se: Array
    total: Estimate
    rate: Array | None = None
    rate_se: Array | None = None


@dataclass(frozen=True, eq=False)
class Information:
    """I(X; Y) by every route, over `log_snr` (levels,), in nats; a route that was not asked for is None.

    `most` is H(Y), None for a continuous Y. Bounded: `of_model` is the information of the model's own chain, between 0
    and `most`, and `of_data` a lower bound of that of the data. Unbounded, on the data's noised paths where there are
    data and otherwise on the model's: `mixture` and `null` integrate (snr / 2) |D_y - D|^2 with the posterior-weighted
    mixture of the classes' D, or the null branch, for D; `stored`, `stored_mixture` and `stored_null` are the neural
    entropies of the three. Every integral ends at the last level, and names no number beyond it.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> found = mutual_information(isotropic_mixture([[-1.0], [1.0]], 0.0), samples=60, levels=20)
    >>> found.of_model.whose, bool(found.of_model.total.upper <= found.most)
    ("the model's chain", True)
    """

    model: str
    model_digest: str
    most: float | None
    log_snr: Array
    of_model: Course | None
    of_data: Course | None
    mixture: Course | None
    null: Course | None
    stored: Course
    stored_mixture: Course | None
    stored_null: Course | None
    certificate: Certificate | None
    samples: int
    evaluations: int
    seconds: float
    seed: int
    versions: dict[str, str]


def mutual_information(
    model: Denoiser, data: Data | Pairs | None = None, out: str | Path | None = None, **options: Any
) -> Information:
    """I(X; Y) of a model's samples and their classes, and with `data` a lower bound of that of the data, in nats.

        I(X_k; Y) = H(Y) - H(Y | X_k),    H(Y) - E[-log q(y | path)] <= I of the data

    `data` are samples (count, *shape) with their classes (count,), which for a bound the model has not seen; `options`
    are those of `Run`, without data and guidance. Beside it every other route, see `Information`.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> found = mutual_information(isotropic_mixture([[-1.0], [1.0]], 0.0), samples=60, levels=20)
    >>> round(float(found.of_model.total.value / np.log(2.0)), 2)
    1.0
    """
    if isinstance(model, Guided):
        raise InputError("model", model.name, "a model without guidance, whose posterior is its paths' own")
    asked = Classes.of(model.weights)
    own = Run(model, asked, None if out is None else Path(out) / "model", **options)
    (profile,), (measured,) = carried_out(own)
    most, log_snr = asked.entropy, profile.log_snr
    left, (lower, upper) = np.minimum(profile.entropy, most), profile.band()
    total = Estimate(float(most - left[-1]), float(max(most - upper[-1], 0.0)), float(most - lower[-1]))
    rate = profile.production, profile.production_se
    of_model, of_data = Course("the model's chain", most - left, profile.entropy_se, total, *rate), None
    evaluations, seconds = profile.evaluations, profile.seconds
    whose = "the model's chain"
    if data is not None:
        real_data = data if isinstance(data, Data) else Data(data[0], np.asarray(data[1]))
        options |= {"log_snr": log_snr, "seed": own.seed + 1, "data": real_data, "tolerance": None}
        real = Run(model, asked, None if out is None else Path(out) / "data", **options)
        (scored,), (measured,) = carried_out(real)
        surprise, error = confidence.weighted_mean(cross_entropy(measured.log_odds, 1.0), measured)
        whose = "the data"
        of_data = Course("the data, at least", most - surprise, error, _about(most - surprise[-1], error[-1], measured))
        evaluations, seconds = evaluations + scored.evaluations, seconds + scored.seconds
    stored, stored_mixture, mixture, *of_null = _integrated(measured, whose)
    stored_null, null = of_null or (None, None)
    return Information(
        model=model.name,
        model_digest=model.digest,
        most=most,
        log_snr=log_snr,
        of_model=of_model,
        of_data=of_data,
        mixture=mixture,
        null=null,
        stored=stored,
        stored_mixture=stored_mixture,
        stored_null=stored_null,
        certificate=profile.certificate,
        samples=profile.samples,
        evaluations=evaluations,
        seconds=seconds,
        seed=own.seed,
        versions=profile.versions,
    )


def _about(value: float, error: float, measured: Measurement) -> Estimate:
    half = confidence.pointwise_factor(measured) * float(error)
    return Estimate(float(value), float(value) - half, float(value) + half)


def _integrated(measured: Measurement, whose: str) -> list[Course]:
    """The rates of a measurement and their integrals from snr 0: without signal each is constant in snr, so that what
    lies before the first level is its rate there times one unit of log-snr."""
    found = []
    for of_path in np.moveaxis(np.asarray(measured.rates_of_path), 2, 0):
        summed = of_path[:, :1] + cumulative_simpson(of_path, x=measured.log_snr, axis=1, initial=0.0)
        nats, error = confidence.weighted_mean(summed, measured)
        rate = confidence.weighted_mean(of_path, measured)
        found.append(Course(whose, nats, error, _about(nats[-1], error[-1], measured), *rate))
    return found
