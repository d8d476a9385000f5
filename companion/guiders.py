"""Guidance that knows when: diffusers pipelines that are guided between two levels of noise, or by a table of weights.

At every call a network is told its level of noise as a timestep, and that decides here, so that number, spacing and
order of a solver's steps change nothing. Between a class's prediction c and the unconditional one u

    guided = u + w (c - u),    w(timestep) = 1 + (guidance_scale - 1) strength(timestep),

w = 1 is no guidance, and guidance_scale is what diffusers calls so, in its guiders and in its pipelines (ES appendix B;
Kynkaanniemi et al. 2024 for the interval). `strength` is linear between the timesteps of a table and zero outside. Two
timesteps with strength 1 are an interval; at a guidance_scale of 2 strengths are any weights less one.

Timesteps are plain numbers: `Profile.interval(...).timesteps(scheduler)` hands out those of an interval, and
`companion.models.schedules.schedule_of(scheduler).timestep(log_snr)` those of a table.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from tqdm import TqdmWarning

from companion.arguments import number, numbers
from companion.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)  # as in companion.models.pretrained
    import diffusers

__all__ = ["GuidanceByNoise", "guide_by_noise"]

_STOCK: Any = getattr(diffusers, "ClassifierFreeGuidance", None)
# The network of a pipeline, and whether the conditional half of its batch comes first.
_NETWORKS = {
    "StableDiffusionPipeline": ("unet", False),
    "StableDiffusionXLPipeline": ("unet", False),
    "StableDiffusion3Pipeline": ("transformer", False),
    "DiTPipeline": ("transformer", True),
}
_NULL_OF_DIT = 1000  # the label that DiTPipeline writes, whatever its network


class GuidanceByNoise(_STOCK or object):  # type: ignore[misc]
    """A guider for diffusers' modular pipelines: `ClassifierFreeGuidance` whose weight depends on the level of noise.

        w(timestep) = 1 + (guidance_scale - 1) strength(timestep),    zero strength outside of the table

    The table are different `timesteps` and their `strengths`, ones unless given. Where w is 1 the network is asked
    once. The timestep decides at every call, which is right for solvers that ask twice a step, as Heun's, too. Saved
    and loaded as any guider. Raises InputError for a table that is none, for a guidance_scale that is not finite, and
    for diffusers before 0.35, which has no guiders (`guide_by_noise` needs none).

    >>> guider = GuidanceByNoise(3.0, timesteps=[300.0, 700.0])
    >>> [guider.weight(timestep) for timestep in (200.0, 300.0, 500.0, 701.0)]
    [1.0, 3.0, 3.0, 1.0]
    """

    def __init__(
        self,
        guidance_scale: float = 7.5,
        timesteps: Sequence[float] = (0.0, 1000.0),
        strengths: Sequence[float] | None = None,
        guidance_rescale: float = 0.0,
    ):
        if _STOCK is None:
            raise InputError("diffusers", diffusers.__version__, "0.35 or later, where guiders begin")
        scale = number("guidance_scale", guidance_scale, "a finite number", np.isfinite)
        times, strong = _table(timesteps, strengths)
        # Undecorated, or the stock's own arguments, start and stop among them, would be in the configuration too.
        super().__init__.__wrapped__(self, scale, guidance_rescale)
        table = {"guidance_scale": scale, "timesteps": times, "strengths": strong}
        self.register_to_config(**table, guidance_rescale=guidance_rescale)

    def weight(self, timestep: Any) -> float:
        """The weight w at a timestep, a number or a tensor."""
        excess: float = self.config.guidance_scale - 1.0
        return 1.0 + excess * _strength(timestep, self.config.timesteps, self.config.strengths)

    def set_state(self, step: int, num_inference_steps: int, timestep: torch.Tensor) -> None:
        """What a pipeline says before each call: the weight of its timestep is that of the next prediction."""
        super().set_state(0, 1, timestep)  # every step is inside of what the stock guider counts
        self.guidance_scale = self.weight(timestep)

    def forward(self, pred_cond: torch.Tensor, pred_uncond: torch.Tensor | None = None) -> Any:
        """The guided prediction. Between calls the guider asks for both: the next prompt may be encoded then."""
        guided = super().forward(pred_cond, pred_uncond)
        self.guidance_scale = self.config.guidance_scale
        return guided


@contextmanager
def guide_by_noise(
    pipeline: Any, timesteps: Sequence[float], strengths: Sequence[float] | None = None
) -> Iterator[None]:
    """A stock pipeline that is guided by the level of noise inside the block: Stable Diffusion 1, 2, XL, 3 and DiT.

        with guide_by_noise(pipeline, profile.interval().timesteps(pipeline.scheduler)):
            pipeline("a cat", guidance_scale=7.5)

    The table is that of `GuidanceByNoise`, and `guidance_scale` s, above 1, what the pipeline is called with: it asks
    its network for both predictions in one batch. Where the strength is zero, hooks on the network have it predict c
    alone, at half the price, and hand out c for both, of which any guidance makes c; elsewhere they hand out

        u' = c - strength (c - u),    so that    u' + s (c - u') = u + w (c - u).

    Other calls of the network are left alone. Raises InputError for another pipeline, and for a table that is none.

    >>> with guide_by_noise("SDXL", [300.0, 700.0]):  # doctest: +ELLIPSIS
    ...     pass
    Traceback (most recent call last):
        ...
    companion.errors.InputError: pipeline is a str, expected one of StableDiffusionPipeline, ...
    """
    kind = type(pipeline).__name__
    if kind not in _NETWORKS:
        raise InputError("pipeline", f"a {kind}", f"one of {', '.join(_NETWORKS)}")
    part, first = _NETWORKS[kind]
    table = _table(timesteps, strengths)
    strength = 1.0  # of the call in progress

    def before(network: Any, args: tuple[Any, ...], told: dict[str, Any]) -> Any:
        nonlocal strength
        state, timestep = [*args, *(told[key] for key in ("hidden_states", "timestep") if key in told)][:2]
        strength = _strength(timestep, *table) if _doubled(pipeline, state, told.get("class_labels")) else 1.0
        return (args, told) if strength else _half((args, told), len(state), first)

    def after(network: Any, args: Any, told: Any, output: Any) -> Any:
        if strength == 1.0:
            return output
        said = output[0]
        c, u = (said, said) if strength == 0.0 else said.chunk(2)[:: 1 if first else -1]
        joined = torch.cat([c, c - strength * (c - u)][:: 1 if first else -1])
        return (joined, *output[1:]) if isinstance(output, tuple) else type(output)(sample=joined)

    network = getattr(pipeline, part)
    # Each hook is a context that removes it.
    with (
        network.register_forward_pre_hook(before, with_kwargs=True),
        network.register_forward_hook(after, with_kwargs=True),
    ):
        yield


def _table(timesteps: Sequence[float], strengths: Sequence[float] | None) -> tuple[list[float], list[float]]:
    """Timesteps, increasing, and their strengths; InputError for what is no table."""
    times = numbers("timesteps", timesteps, "at least two different finite numbers", np.isfinite)
    if times.ndim != 1 or len(np.unique(times)) < max(2, len(times)):
        raise InputError("timesteps", timesteps, "at least two different finite numbers")
    expected, given = f"{len(times)} finite numbers", np.ones(len(times)) if strengths is None else strengths
    strong = numbers("strengths", given, expected, np.isfinite)
    if strong.shape != times.shape:
        raise InputError("strengths", strengths, expected)
    order = np.argsort(times)
    return times[order].tolist(), strong[order].tolist()


def _strength(timestep: Any, timesteps: Sequence[float], strengths: Sequence[float]) -> float:
    told = float(torch.as_tensor(timestep).reshape(-1)[0])  # the same for all of a batch
    return float(np.interp(told, timesteps, strengths, 0.0, 0.0))


def _doubled(pipeline: Any, state: torch.Tensor, labels: torch.Tensor | None) -> bool:
    """Whether a batch is one of states, each twice, once with its condition and once without."""
    half = len(state) // 2
    if len(state) % 2 or not torch.equal(state[:half], state[half:]):
        return False
    return bool(pipeline.do_classifier_free_guidance if labels is None else (labels[half:] == _NULL_OF_DIT).all())


def _half(told: Any, batch: int, first: bool) -> Any:
    """The conditional half of all tensors with a row for each of the batch, however they are nested."""
    if isinstance(told, torch.Tensor):
        return told.chunk(2)[0 if first else 1] if told.dim() and len(told) == batch else told
    if isinstance(told, dict):
        return {key: _half(value, batch, first) for key, value in told.items()}
    return type(told)(_half(each, batch, first) for each in told) if isinstance(told, tuple | list) else told
