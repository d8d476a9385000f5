"""What a noise schedule makes of a network: its clock, and the one conversion of its output into the posterior mean.

A network is trained on states a x_0 + b eps, is told a timestep, and predicts something. The contract speaks of
x = x_0 + sigma eps, which is the state divided by a, so sigma = b / a, log-snr = -2 log sigma. Whatever is predicted,

    D = c_skip x + c_out output(c_in x, timestep),

with, for data of standard deviation s in the network's units (1 but for EDM), snr = 1 / sigma^2, and

    alpha^2 = s^2 / (s^2 + sigma^2),    beta^2 = sigma^2 / (s^2 + sigma^2)        variance preserving, of x / s
    alpha = 1 / (1 + sigma),            beta = sigma / (1 + sigma)                rectified flow

the coefficients below. They follow from what the output estimates, with state = alpha x / s = c_in x (flow: alpha x):

    prediction      the output estimates       c_in        c_skip     c_out
    epsilon         eps                        alpha       1          -sigma
    sample          x_0                        alpha       0          1
    v_prediction    alpha eps - beta x_0 / s   alpha / s   alpha^2    -s beta
    edm             beta x_0 / s - alpha eps   alpha / s   alpha^2    s beta
    flow            eps - x_0                  alpha       alpha      -beta
    denoised        D itself, told sigma       1           0          1

Third line: x_0 / s = alpha state - beta v, because state = alpha x_0 / s + beta eps and alpha^2 + beta^2 = 1. The
fourth is its sign reversed, which is EDM's preconditioning (Karras et al. 2022, table 1). Fifth: state = (1 - beta) x_0
+ beta eps, so x_0 = state - beta v. All are one object (Tweedie; ID 11, SI 37).

The schedule enters only as the clock, the table of log-snr over timesteps, inverted by linear interpolation (exact for
EDM, whose timestep is (log sigma) / 4; for a flow the timestep is beta times their number): the sinusoidal embedding of
a timestep takes fractions. Where the last timestep has no signal, the state is the unit noise z itself,

    sample:  D = output        v_prediction:  D = -output        flow:  D = z - output

and eps says nothing of x_0. The contract's sigma would be infinite there; `from_noise` is the call for it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import isclass, signature
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from companion.arguments import Array, number, numbers, whole_number
from companion.errors import InputError
from companion.models.pretrained import diffusers

__all__ = ["Schedule", "schedule_of"]

Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# At snr 0, D = skip z + out output; c_skip x and c_out of the table above, at beta = 1.
_WITHOUT_SIGNAL = {"sample": (0.0, 1.0), "v_prediction": (0.0, -1.0), "flow": (1.0, -1.0)}


@dataclass(frozen=True, eq=False)
class Schedule:
    """The clock of a network and what it predicts.

    `clock` holds the log-snr, decreasing, of the `timesteps`, both float64; `prediction` is a word of the table above.
    `terminal` is the timestep without any signal, or None; it is not in the table. `fractional` says whether the
    network takes fractions of a timestep, `sigma_data` is s. `described` is the configuration it was made from, as
    text, for a model's digest: the table's last digits are the processor's.

    >>> schedule_of({"_class_name": "FlowMatchEulerDiscreteScheduler"}).timestep(0.0)
    array(500.)
    """

    timesteps: Array
    clock: Array
    prediction: str
    terminal: float | None = None
    fractional: bool = True
    sigma_data: float = 1.0
    described: str = ""
    _tables: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, init=False, repr=False)

    @property
    def log_snr_range(self) -> tuple[float, float]:
        """The log-snr of the last timestep that has any signal, and of the first."""
        return float(self.clock[-1]), float(self.clock[0])

    @property
    def starts_from_noise(self) -> bool:
        """Whether `mean_from_noise` can be asked."""
        return self.terminal is not None and self.prediction in _WITHOUT_SIGNAL

    def timestep(self, log_snr: ArrayLike) -> Array:
        """The timestep that the network is told at log-snr of any shape; InputError outside `log_snr_range`.

        A network with a learned table of time embeddings knows whole timesteps only, and is told the nearest.
        """
        asked = torch.as_tensor(np.asarray(log_snr, dtype=np.float64))
        self.check(asked)
        return self.told(asked).numpy()

    def inside(self, log_snr: torch.Tensor) -> torch.Tensor:
        """Where the network was trained. sigma comes in float32, which moves log-snr by units in the seventh digit."""
        lowest, highest = self.log_snr_range
        return (log_snr >= lowest - 1e-4) & (log_snr <= highest + 1e-4)

    def check(self, log_snr: torch.Tensor) -> None:
        """InputError unless every log-snr is one that the network was trained on."""
        outside, (lowest, highest) = log_snr[~self.inside(log_snr)], self.log_snr_range
        if len(outside):
            expected = f"{lowest:.6g} to {highest:.6g}, what the network was trained on"
            raise InputError("log-snr", f"{float(outside[0]):.6g}", expected)

    def told(self, log_snr: torch.Tensor) -> torch.Tensor:
        """`timestep` for float64 tensors, on their device and without a check."""
        if self.prediction == "flow":
            times = float(self.terminal or 0.0) * torch.sigmoid(-0.5 * log_snr)
        elif self.prediction == "denoised":
            times = torch.exp(-0.5 * log_snr)
        else:
            levels, steps = self._table(log_snr.device)
            left = torch.searchsorted(levels, log_snr.contiguous(), right=True).clamp(1, len(levels) - 1) - 1
            slope = (steps[left + 1] - steps[left]) / (levels[left + 1] - levels[left])
            times = (steps[left] + slope * (log_snr - levels[left])).clamp(steps[-1], steps[0])
        return times if self.fractional else times.round()

    def scalings(self, log_snr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """c_in, c_skip and c_out of the table above, for float64 log-snr (batch,)."""
        s, zero, one = self.sigma_data, torch.zeros_like(log_snr), torch.ones_like(log_snr)
        if self.prediction == "flow":
            alpha, beta = torch.sigmoid(0.5 * log_snr), torch.sigmoid(-0.5 * log_snr)
        else:
            ratio = log_snr + 2.0 * float(np.log(s))
            alpha, beta = torch.sigmoid(ratio).sqrt(), torch.sigmoid(-ratio).sqrt()
        return {
            "epsilon": (alpha, one, -torch.exp(-0.5 * log_snr)),
            "sample": (alpha, zero, one),
            "v_prediction": (alpha / s, alpha.square(), -s * beta),
            "edm": (alpha / s, alpha.square(), s * beta),
            "flow": (alpha, alpha, -beta),
            "denoised": (one, zero, one),
        }[self.prediction]

    def posterior_mean(self, network: Call, x: torch.Tensor, log_snr: torch.Tensor) -> torch.Tensor:
        """D at x (batch, *shape) and log-snr (batch,), float64, in the dtype of x, which only the network may leave."""
        each = (-1, *(1,) * (x.dim() - 1))
        c_in, c_skip, c_out = (values.to(x.dtype).to(x.device).reshape(each) for values in self.scalings(log_snr))
        times = self.told(log_snr).to(self._times).to(x.device)
        return c_skip * x + c_out * network(c_in * x, times).to(x.dtype)

    def mean_from_noise(self, network: Call, noise: torch.Tensor) -> torch.Tensor:
        """D at snr 0, where the network's state is the unit noise (batch, *shape); where `starts_from_noise`."""
        skip, out = _WITHOUT_SIGNAL[self.prediction]
        times = torch.full((len(noise),), self.terminal or 0.0, dtype=self._times, device=noise.device)
        return skip * noise + out * network(noise, times).to(noise.dtype)

    @property
    def _times(self) -> torch.dtype:
        return torch.float32 if self.fractional else torch.int64

    def _table(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """The clock and the timesteps, by increasing log-snr; kept on each device, so that no call has to copy them."""
        if device not in self._tables:
            clock, steps = (torch.from_numpy(values[::-1].copy()).to(device) for values in (self.clock, self.timesteps))
            self._tables[device] = clock, steps
        return self._tables[device]


def schedule_of(scheduler: Any, fractional: bool = True) -> Schedule:
    """The schedule of a diffusers scheduler, or of its configuration as it is written, `_class_name` included.

    What a network was trained on is no property of a solver. The keys of the noise, and of what is predicted, mean the
    same with every class that has a table of cumulative alphas, whether it reads them or not; where they are left out,
    the class's defaults hold. Flow matching is known with its shift, which moves the table's ends and not the timestep
    of a noise level, and EDM. How a solver steps is left aside: spacing and offset of its timesteps, its sigmas,
    clipping. Raises InputError for another scheduler, for a key that cannot hold beside the others, for numbers that
    are none, and for noise that does not grow along the table or stays below the signal.

    >>> schedule_of({"_class_name": "PNDMScheduler", "rescale_betas_zero_snr": True}).terminal
    999.0
    """
    if scheduler is None:
        raise InputError("scheduler", None, "the scheduler that the network was trained with")
    kind = {"_class_name": type(scheduler).__name__}
    config = scheduler if isinstance(scheduler, Mapping) else {**scheduler.config, **kind}
    facts = {key: value for key, value in sorted(config.items()) if key == "_class_name" or not key.startswith("_")}
    return replace(_schedule_of(config, fractional), described=json.dumps(facts, default=str))


def _schedule_of(config: Mapping[str, Any], fractional: bool) -> Schedule:
    kind = str(config.get("_class_name"))
    prediction = config.get("prediction_type", "epsilon")
    if kind in _FLOWS or (config.get("use_flow_sigmas") and prediction == "flow_prediction"):
        return _flow(config)
    if config.get("use_flow_sigmas"):
        raise InputError("use_flow_sigmas", config["use_flow_sigmas"], "prediction_type flow_prediction beside it")
    if kind in _EDM or (config.get("timestep_type") == "continuous" and prediction == "v_prediction"):
        return _edm(config)
    if config.get("timestep_type", "discrete") != "discrete":
        raise InputError("timestep_type", config["timestep_type"], "discrete, or v_prediction beside it")
    alphas_cumprod = _alphas_cumprod(config)
    if prediction not in ("epsilon", "sample", "v_prediction"):
        raise InputError("prediction_type", prediction, "epsilon, sample or v_prediction")
    _none_of(config, ("sigma_data", "shift", "invert_sigmas"), "a scheduler with a table of alphas")
    with np.errstate(divide="ignore", invalid="ignore"):
        clock = np.log(alphas_cumprod) - np.log1p(-alphas_cumprod)
    ends = bool(np.isneginf(clock[-1]))
    clock = clock[:-1] if ends else clock
    if len(clock) < 2 or not np.all(np.isfinite(clock)) or not np.all(np.diff(clock) < 0):
        raise InputError("scheduler", kind, "noise that grows from each timestep to the next")
    if clock[-1] > 0.0:
        last = f"at log-snr {clock[-1]:.3g} at the last of {len(clock)} timesteps"
        raise InputError("the noise", last, "more noise than signal there, log-snr below 0")
    return Schedule(np.arange(float(len(clock))), clock, prediction, float(len(clock)) if ends else None, fractional)


_FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
_EDM = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
_BETAS = ("trained_betas", "beta_schedule", "beta_start", "beta_end")
_MOST = 100_000  # timesteps


def _alphas_cumprod(config: Mapping[str, Any]) -> Array:
    """The table of cumulative alphas, of the betas; stretched to end without signal where that is asked."""
    kind, defaults = config.get("_class_name"), _defaults(str(config.get("_class_name")))
    if "beta_schedule" not in defaults:
        raise InputError("scheduler", kind, "a scheduler of diffusers with alphas_cumprod, or a flow's, or EDM's")
    # The class of DDPM makes the table, because it knows the beta schedules of all the others.
    given = {**_defaults("DDPMScheduler"), **defaults, **config}
    _none_of(given, ("snr_shift_scale",), "a network of images")  # the class of a video model shifts its snr
    betas, zero = {key: given[key] for key in _BETAS}, bool(given.get("rescale_betas_zero_snr"))
    count = whole_number("num_train_timesteps", given["num_train_timesteps"], 2, _MOST)
    if given["trained_betas"] is not None:
        table = numbers("trained_betas", given["trained_betas"], "from 0 to 1", lambda beta: (beta >= 0) & (beta <= 1))
        if table.ndim != 1 or len(table) < 2 or len(table) != config.get("num_train_timesteps", len(table)):
            raise InputError("trained_betas", f"of shape {table.shape}", f"one for each of {count} timesteps")
        betas["trained_betas"] = table
    elif given["beta_schedule"] not in ("squaredcos_cap_v2", "laplace"):
        for key in ("beta_start", "beta_end"):
            betas[key] = number(key, given[key], "a number between 0 and 1", lambda beta: (beta > 0) & (beta < 1))
    try:
        scheduler = diffusers.DDPMScheduler(num_train_timesteps=count, rescale_betas_zero_snr=zero, **betas)
    except NotImplementedError:
        raise InputError("beta_schedule", given["beta_schedule"], "one that diffusers knows, such as linear") from None
    alphas_cumprod: Array = scheduler.alphas_cumprod.double().numpy()
    if zero:
        alphas_cumprod[-1] = 0.0  # which float32 may miss
    return alphas_cumprod


def _flow(config: Mapping[str, Any]) -> Schedule:
    prediction = config.get("prediction_type", "flow_prediction")
    if prediction != "flow_prediction":
        raise InputError("prediction_type", prediction, "flow_prediction, or nothing, beside a flow")
    _none_of(config, ("trained_betas", "rescale_betas_zero_snr", "snr_shift_scale", "sigma_data"), "a flow")
    _none_of(config, ("invert_sigmas",), "a flow whose timestep grows with the noise")
    count = whole_number("num_train_timesteps", config.get("num_train_timesteps", 1000), 3, _MOST)
    shift = _positive("shift", config.get("shift") or config.get("flow_shift") or 1.0)
    steps = np.arange(1.0, count)
    # sigma / (1 - sigma) is what a shift multiplies; with dynamic shifting the table is the one before it.
    odds = steps / (count - steps) * (1.0 if config.get("use_dynamic_shifting") else shift)
    return Schedule(count * odds / (1.0 + odds), -2.0 * np.log(odds), "flow", float(count))


def _edm(config: Mapping[str, Any]) -> Schedule:
    own = config.get("_class_name") in _EDM
    _none_of(config, ("shift", "invert_sigmas"), "EDM's noise")
    if own:
        _none_of(config, (*_BETAS, "rescale_betas_zero_snr", "snr_shift_scale"), "EDM's noise")
        ends = [0.002, 80.0]
    else:
        with np.errstate(divide="ignore"):
            ends = [float(sigma) for sigma in np.sqrt(1.0 / _alphas_cumprod(config)[[0, -1]] - 1.0)]
    said = zip(("sigma_min", "sigma_max"), ends, strict=True)
    least, most = (_positive(key, end if config.get(key) is None else config[key]) for key, end in said)
    if not least < most:
        raise InputError("sigma_min, sigma_max", (least, most), "0 < sigma_min < sigma_max")
    known, prediction = {"epsilon": "edm", "v_prediction": "v_prediction"}, config.get("prediction_type", "epsilon")
    if prediction not in tuple(known):  # which may be a list, that no table can be asked for
        raise InputError("prediction_type", prediction, "epsilon or v_prediction")
    sigma_data = _positive("sigma_data", config.get("sigma_data", 0.5 if own else 1.0))
    log_sigma = np.log([least, most])
    return Schedule(0.25 * log_sigma, -2.0 * log_sigma, known[prediction], sigma_data=sigma_data)


def _defaults(kind: str) -> dict[str, Any]:
    """What a class of diffusers takes where a configuration is silent; nothing for what is no class."""
    found = getattr(diffusers, kind, None)
    return {each.name: each.default for each in signature(found).parameters.values()} if isclass(found) else {}


def _none_of(config: Mapping[str, Any], keys: Sequence[str], known: str) -> None:
    """InputError for a key that says something, which a network trained on the noise `known` cannot mean."""
    for key in keys:
        value = config.get(key)
        if value is not None and value is not False and not (key in ("shift", "snr_shift_scale") and value == 1.0):
            raise InputError(key, value, f"no such key beside {known}")


def _positive(key: str, value: Any) -> float:
    return number(key, value, "a positive number", lambda each: (each > 0.0) & (each < np.inf))
