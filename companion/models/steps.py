"""An interval and a grid of noise levels, in the units of a diffusers scheduler.

A network is told its noise as a timestep, and `companion.models.schedules` knows the timestep of a log-snr. So an
interval of log-snr is an interval of timesteps, whatever the solver, its order and its number of steps. That module is
imported where it is needed: a profile does not wait for diffusers.
"""

from contextlib import suppress
from dataclasses import dataclass
from inspect import signature
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import ArrayLike, NDArray

from companion.arguments import Array, numbers, whole_number
from companion.errors import InputError
from companion.forward import noise_of

__all__ = ["Interval", "on_common_schedulers", "scheduler_grid"]

_LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
_COMMON: dict[str, tuple[str, dict[str, Any]]] = {
    "Stable Diffusion, DDIM": ("DDIMScheduler", _LATENT),
    "Stable Diffusion XL, Euler": ("EulerDiscreteScheduler", {**_LATENT, "timestep_spacing": "leading"}),
    "Stable Diffusion, DPM-Solver++": ("DPMSolverMultistepScheduler", {**_LATENT, "use_karras_sigmas": True}),
    "Stable Diffusion, Heun": ("HeunDiscreteScheduler", _LATENT),
    "DiT, DDIM": ("DDIMScheduler", {}),
    "Stable Diffusion 3, Euler": ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
}
_SIGMAS = ("EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler")
# With these a scheduler makes its own grid of the one that it is given.
_OWN = ("karras_sigmas", "exponential_sigmas", "beta_sigmas", "lu_lambdas", "flow_sigmas", "dynamic_shifting")


@dataclass(frozen=True)
class Interval:
    """The log-snr from `first`, the most noise, to `last`, the least; both belong to it.

    Raises InputError unless both are finite and `first` is below `last`. What takes a diffusers scheduler raises it for
    one that `companion.models.schedules` does not know, and for a network that was trained on nothing of the interval;
    an end that it was not trained on is moved to the last noise that it was.

    >>> import diffusers
    >>> scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    >>> scheduler.set_timesteps(20)
    >>> interval = Interval(-2.0, 1.0)
    >>> [round(sigma, 3) for sigma in interval.sigma], [round(t) for t in interval.timesteps(scheduler)]
    ([2.718, 0.607], [378, 731])
    >>> interval.steps(scheduler).nonzero()[0], interval.fractions(scheduler)
    (array([10, 11, 12, 13, 14, 15]), (0.525, 0.825))
    """

    first: float
    last: float

    def __post_init__(self) -> None:
        expected = "two finite log-snr, the first below the last"
        ends = numbers("interval", (self.first, self.last), expected, np.isfinite)
        if not ends[0] < ends[1]:
            raise InputError("interval", (self.first, self.last), expected)

    @property
    def sigma(self) -> tuple[float, float]:
        """The noise levels sigma = exp(-log_snr / 2) of `first` and `last`, the larger one first."""
        most, least = noise_of([self.first, self.last]).tolist()
        return most, least

    def timesteps(self, scheduler: Any) -> list[float]:
        """The least and the largest timestep inside, for a network that was trained with this scheduler."""
        from companion.models.schedules import schedule_of

        schedule = schedule_of(scheduler)
        lowest, highest = schedule.log_snr_range
        if self.last < lowest or self.first > highest:
            expected = f"one that meets {lowest:.4g} to {highest:.4g}, what the network was trained on"
            raise InputError("interval", f"{self.first:.4g} to {self.last:.4g}", expected)
        most, least = schedule.timestep(np.clip([self.first, self.last], lowest, highest)).tolist()
        # Schedulers keep timesteps in float32: one that lies at an end may be told up to 6e-8 of itself beside it.
        return [least - 1e-6 * abs(least), most + 1e-6 * abs(most)]

    def steps(self, scheduler: Any) -> NDArray[np.bool_]:
        """Which of the timesteps that are set, one for each call of the network, lie inside; (calls,)."""
        least, most = self.timesteps(scheduler)
        told = np.asarray(scheduler.timesteps, dtype=np.float64)
        return (told >= least) & (told <= most)

    def fractions(self, scheduler: Any) -> tuple[float, float]:
        """`start` and `stop` of diffusers' own guiders, which act from step int(start n) to before step int(stop n).

        They lie half a step off, because int(k / n * n) is k - 1 for some k and n; (0, 0) where no step lies inside. A
        solver that asks its network twice a step counts calls where its guider counts steps, and no fraction is right
        for both: `companion.GuidanceByNoise` is.
        """
        inside, count = np.flatnonzero(self.steps(scheduler)), len(scheduler.timesteps)
        if len(inside) == 0:
            return 0.0, 0.0
        return float(inside[0] + 0.5) / count, min(float(inside[-1] + 1.5) / count, 1.0)


def scheduler_grid(scheduler: Any, log_snr: ArrayLike) -> dict[str, Array]:
    """A grid of log-snr (steps,), increasing, as the argument of a pipeline, or of `set_timesteps`, that asks for it.

    `sigmas` for EulerDiscreteScheduler, in its frame x_0 + sigma eps and with the last zero, which it asks for, and for
    FlowMatchEulerDiscreteScheduler, which adds the zero and moves a given sigma to shift sigma / (1 + (shift - 1)
    sigma), so that the inverse is given; whole `timesteps` for others. Raises InputError for a scheduler that takes no
    grid, as DDIM and PNDM, or that makes its own of one (Karras' noise levels, dynamic shifting), for log-snr that do
    not increase or that the network was not trained on, and where two of them are one timestep.

    >>> import diffusers
    >>> scheduler_grid(diffusers.EulerDiscreteScheduler(), [-2.0, 0.0])
    {'sigmas': array([2.71828183, 1.        , 0.        ])}
    >>> scheduler_grid(diffusers.DDIMScheduler(), [-2.0, 0.0])
    Traceback (most recent call last):
        ...
    companion.errors.InputError: scheduler is DDIMScheduler, expected one that takes noise levels, as Euler's does
    """
    from companion.models.schedules import schedule_of

    kind, config = type(scheduler).__name__, scheduler.config
    levels = numbers("log_snr", log_snr, "log-snr that increase", np.isfinite)
    if levels.ndim != 1 or not np.all(np.diff(levels) > 0.0):
        raise InputError("log_snr", log_snr, "log-snr that increase")
    if kind not in _SIGMAS and "timesteps" not in signature(scheduler.set_timesteps).parameters:
        raise InputError("scheduler", kind, "one that takes noise levels, as Euler's does")
    for key in (*(f"use_{each}" for each in _OWN), "shift_terminal"):
        if config.get(key):
            raise InputError(key, config[key], f"nothing: {kind} would make its own grid of the one it is given")
    told = schedule_of(scheduler).timestep(levels)
    if kind == _SIGMAS[0]:
        return {"sigmas": np.append(noise_of(levels), 0.0)}
    if kind == _SIGMAS[1]:
        moved, shift = told / config.num_train_timesteps, config.shift
        return {"sigmas": moved / (shift - (shift - 1.0) * moved)}
    whole = told.round()
    if not np.all(np.diff(whole) < 0.0):
        raise InputError("log_snr", f"a grid of {len(levels)} steps", "fewer: two of them are one timestep")
    return {"timesteps": whole}


def on_common_schedulers(interval: Interval, steps: int) -> dict[str, dict[str, Any]]:
    """What an interval is under the schedulers of common pipelines that meet it, for a number of steps: plain numbers.

    By name, `timesteps`, the number of `calls` of the network, the first and the last of them `inside`, from 1, or
    None, and `fractions`, None for a solver of second order. Raises InputError for steps not from 1 to 1000.

    >>> on_common_schedulers(Interval(-2.0, 1.0), 20)["Stable Diffusion 3, Euler"]["inside"]
    [11, 16]
    """
    import diffusers

    steps, found = whole_number("steps", steps, 1, 1000), dict[str, dict[str, Any]]()
    for name, (kind, options) in _COMMON.items():
        with catch_warnings():
            simplefilter("ignore", DeprecationWarning)  # of how some schedulers make an array of a tensor
            scheduler = getattr(diffusers, kind)(**options)
            scheduler.set_timesteps(steps)
        with suppress(InputError):  # the interval does not meet this schedule
            inside = np.flatnonzero(interval.steps(scheduler)) + 1
            told = {"timesteps": interval.timesteps(scheduler), "calls": len(scheduler.timesteps)}
            told |= {"inside": inside[[0, -1]].tolist() if len(inside) else None}
            found[name] = {**told, "fractions": interval.fractions(scheduler) if scheduler.order == 1 else None}
    return found
