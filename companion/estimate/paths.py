"""Reverse trajectories of a model, and what each class's denoiser says of them.

In the natural variable y = x / sigma^2 (x in the variance-exploding frame) the reverse process of class g is a
Brownian motion with a drift, its clock the snr:

    dy = D_g(y) dsnr + dB.

One step with the drift held is the Gaussian reverse kernel of stochastic DDIM (ES Algorithm 1, 107-110). Real data
noised by the exact chain obey the same equation with the drift u = x_0 in the place of D_g. Every branch z is scored
on every path, against the drift u that made it: with G_z = D_z - u the log-likelihood ratio of z to u grows by

    -(1/2) |G_z|^2 dsnr + G_z . dB.

Three sums of it are kept. `held` holds D over the step: the exact likelihood ratio of the discretised paths, and the
published estimator. `averaged` takes |G_z|^2 as the mean of both ends of the step, and the noise at its left end (an
Ito integral). The drift is then second order; the noise is not. `coarse` is `averaged` with the noise of every second
step multiplied by the G of the step before: twice the error of the noise, from the same evaluations.

Predicted states make the law of the paths of weak order two in the longest step, where D is smooth, with one evaluation
a step ("The law of predicted paths" in the book): D_k is asked where the step before left y, and the next step corrects
the drift of that one. Over a step of length s_k the drift is then

    E_k = D_k + s_{k-1} / (2 s_k) (D_k - D_{k-1}).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from companion.arguments import numbers
from companion.denoiser import Denoiser
from companion.entropy import NULL
from companion.errors import InputError
from companion.estimate.noise import check_seed, path_noise
from companion.estimate.plan import BLOCK, Plan
from companion.forward import noise_of
from companion.models.checks import JUDGED, examine, refuse

__all__ = [
    "Levels",
    "Paths",
    "by_levels",
    "check_levels",
    "check_model",
    "computing_device",
    "path_likelihoods",
    "predict",
    "trajectories",
]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Paths:
    """Which paths from noise to data, through which levels, scored under which branches.

    `owner` (paths,) is for each path the index into `branches` of the one that draws it, `log_snr` (levels,) increases.
    With `from_nothing` a step from snr = 0, where y = 0 and D is the class mean, comes first, so that what the top
    level already knows of the class is counted; otherwise paths start as pure noise at the top level with all ratios
    zero, as published. `predicted` states carry the drift E, and otherwise E is D. `numbers` own the paths' noise
    (`path_noise`), by default 0, 1, 2, ...; `stream` tells uses of one `seed` apart. With `data` (paths, *shape) the
    paths are those of the exact chain that noises the data, and start from nothing.
    """

    branches: Sequence[int]
    owner: ArrayLike
    log_snr: ArrayLike
    seed: int = 0
    from_nothing: bool = True
    predicted: bool = False
    numbers: Sequence[int] | None = None
    data: torch.Tensor | None = None
    stream: int = 0

    @staticmethod
    def of_block(plan: Plan, number: int) -> "Paths":
        """The paths of block `number` of a plan."""
        numbers, method = plan.paths(number), plan.method
        owner = plan.owner[numbers.start : numbers.stop]
        start = plan.from_nothing
        data = plan.data_of(number)
        return Paths(
            plan.branches, owner, plan.log_snr, plan.seed, start, method.extrapolated, numbers, data, plan.stream
        )

    def blocks(self, size: int) -> Iterator["Paths"]:
        """The same paths, so many at a time."""
        owner = np.asarray(self.owner)
        numbers = range(len(owner)) if self.numbers is None else self.numbers
        for first in range(0, len(owner), size):
            rows = slice(first, first + size)
            data = None if self.data is None else self.data[rows]
            yield replace(self, owner=owner[rows], numbers=numbers[rows], data=data)


@dataclass(frozen=True, eq=False)
class Levels:
    """All paths at noise levels that follow each other, and the step from each to the next.

    Levels are the first axis; tensors are float64 on the model's device. `log_snr` (levels,) is minus infinity for the
    start from nothing, `snr` and the length `dsnr` of the step are tensors. `held`, `averaged` and `coarse` (levels,
    paths, branches) are the log-likelihood ratios of each branch to the path's own drift u, `predictions` (levels,
    branches, paths, *shape) the D, `gaps` (levels, paths, branches, dimension) the D_z - u, and `finite` says whether
    their squares are numbers. With the drifts E in the place of D, `step_gaps` are the E_z - u and `noise` (levels,
    paths, branches) their products with the noise, (E_z - u) . dB. After the last level `dsnr` and `noise` are zero.
    """

    log_snr: Array
    snr: torch.Tensor
    dsnr: torch.Tensor
    held: torch.Tensor
    averaged: torch.Tensor
    coarse: torch.Tensor
    predictions: torch.Tensor
    gaps: torch.Tensor
    finite: torch.Tensor
    step_gaps: torch.Tensor
    noise: torch.Tensor


def trajectories(model: Denoiser, paths: Paths) -> Levels:
    """Paths from noise to data at all their levels, scored under every branch; as `by_levels`, which raises the same.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> two_points = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> run = trajectories(two_points, Paths((0, 1), [0, 0, 1], [-2.0, 0.0, 2.0]))
    >>> run.log_snr.tolist(), run.averaged.shape                           # the start, three levels; paths, branches
    ([-inf, -2.0, 0.0, 2.0], torch.Size([4, 3, 2]))
    """
    (run,) = by_levels(model, paths, together=2**31)
    return run


def by_levels(model: Denoiser, paths: Paths, together: int | None = None) -> Iterator[Levels]:
    """Paths from noise to data, a few levels at a time; all paths are evaluated as one batch.

    So many levels `together` are scored at once, when the last of them has been evaluated: by default one where the
    model is large, and more where calls would cost more than numbers.

    Everything stays on the model's device, in float64, and nothing there waits for it until all levels are done. Then
    InputError for a model's output that is not finite. Raises InputError before where `check_levels` or `check_seed`
    does, when the model returns no tensor or one of another shape, and for data of another shape or not finite.
    """
    grid, branches = check_levels(model, paths.log_snr), paths.branches
    device, dimension = computing_device(model), int(np.prod(model.shape))
    owner = torch.as_tensor(np.asarray(paths.owner, dtype=np.int64)).to(device)
    rows = torch.arange(len(owner), device=device)
    numbers = range(len(owner)) if paths.numbers is None else paths.numbers
    source = path_noise(check_seed(paths.seed), numbers, dimension, paths.stream)
    clean = None if paths.data is None else _checked(model, paths.data, len(owner)).to(device)

    def draw() -> torch.Tensor:
        drawn = torch.from_numpy(next(source))
        return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn.to(device)

    snr = np.exp(grid)
    first = draw()
    if paths.from_nothing or clean is not None:
        # Nothing is known yet: D is asked at pure noise that the path itself does not use again, at snr 0 where the
        # model was trained there and otherwise at the top level.
        asked_at = np.inf if getattr(model, "from_noise", None) else float(noise_of(grid[0]))
        grid, snr = np.concatenate([[-np.inf], grid]), np.concatenate([[0.0], snr])
        y, x = torch.zeros_like(first), first * (1.0 if np.isinf(asked_at) else asked_at)
    else:
        y, x = first * float(np.sqrt(snr[0])), first * float(noise_of(grid[0]))

    # The start is asked at noise that is not the path's: what moved D since then is no error of its drift.
    first_seen = 2 if np.isneginf(grid[0]) else 1
    steps = np.append(np.diff(snr), 0.0)
    shares = np.zeros_like(steps)  # of the way that D has moved, for the drift E
    if paths.predicted and clean is None:
        shares[first_seen:-1] = 0.5 * steps[first_seen - 1 : -2] / steps[first_seen:-1]
    sums, drift_before, finite = _Sums(grid, snr, steps, shares, device), y, []
    together = together or _levels_together(len(owner), len(branches), dimension)
    for start in range(0, len(grid), together):
        now = range(start, min(start + together, len(grid)))
        predictions = y.new_empty(len(now), len(branches), *y.shape)
        drifts, increments = y.new_empty(len(now), *y.shape), y.new_zeros(len(now), *y.shape)
        for k, prediction, drift, increment in zip(now, predictions, drifts, increments, strict=True):
            predict(model, branches, x, asked_at if np.isneginf(grid[k]) else float(noise_of(grid[k])), prediction)
            drift.copy_(prediction[owner, rows] if clean is None else clean)
            if k + 1 < len(grid):
                step, share = float(steps[k]), float(shares[k])
                torch.mul(draw(), math.sqrt(step), out=increment)
                led = drift if share == 0.0 else torch.lerp(drift_before, drift, 1.0 + share)
                y = y.add(led, alpha=step) + increment
                x, drift_before = y / float(snr[k + 1]), drift
        levels = sums.levels(slice(now.start, now.stop), predictions, drifts, increments, model.shape)
        finite.append(levels.finite)
        yield levels
    flags = torch.cat(finite).cpu()
    if not bool(flags.all()):
        level = grid[int(flags.int().argmin())]
        raise InputError("the model's output", f"not finite at log-snr {level:.2f}", "finite numbers")


_NUMBERS = 2**18  # 2 MB of them


def _levels_together(paths: int, branches: int, dimension: int) -> int:
    """One level where the model is large; the controls of `accumulate` look at up to 112 places for every branch.

    >>> _levels_together(150, 2, 64), _levels_together(150, 2, 4 * 64 * 64)
    (13, 1)
    """
    return max(1, _NUMBERS // (paths * branches * max(dimension, 32 + 5 * min(branches, 16))))


class _Sums:
    """The log-likelihood ratios along the paths, carried from the levels scored so far to the next; the sums above.

    `steps` are the lengths of all steps, the last one zero, and `shares` what E takes of the way D has moved.
    """

    def __init__(self, log_snr: Array, snr: Array, steps: Array, shares: Array, device: torch.device):
        # All at once, before the paths begin: a number sent later would make the device wait.
        self.snr, self.step, self.share = torch.from_numpy(np.stack([snr, steps, shares])).to(device)
        self.step_before = torch.nn.functional.pad(self.step, (1, 0))
        self.log_snr = log_snr

    def levels(
        self,
        now: slice,
        predictions: torch.Tensor,
        drift: torch.Tensor,
        increment: torch.Tensor,
        shape: tuple[int, ...],
    ) -> Levels:
        """The levels `now`, of (levels, branches, paths, dimension), and twice (levels, paths, dimension)."""
        # Paths before branches also in memory, because most of what follows is summed path by path.
        gaps = torch.empty_like(predictions.transpose(1, 2), memory_format=torch.contiguous_format)
        torch.sub(predictions.transpose(1, 2), drift[:, :, None], out=gaps)
        if now.start == 0:  # before the first level nothing has moved, and all ratios are zero
            zero = torch.zeros_like(gaps[0, :, :, 0])
            self.gaps, self.spread, self.moved, self.added = gaps[0], zero, zero, zero
            self.held, self.averaged, self.behind, self.behind_before = zero, zero, zero, zero
        step, step_before, share = (each[now, None, None] for each in (self.step, self.step_before, self.share))

        spread, added, gaps_before = _squared(gaps), _along(gaps, increment), _after(self.gaps, gaps)
        moved = added - _along(gaps_before, increment)
        drawn = _after(self.added, added)
        both_ends = 0.25 * step_before * (_after(self.spread, spread) + spread)
        averaged = torch.cat([self.averaged[None], drawn - both_ends]).cumsum(dim=0)[1:]
        behind = []
        for crossed in _after(self.moved, moved):  # every second step by itself
            self.behind, self.behind_before = self.behind_before + crossed, self.behind
            behind.append(self.behind)
        step_gaps = torch.lerp(gaps_before, gaps, 1.0 + share[..., None])
        noise = added + share * moved
        held = torch.cat([self.held[None], noise - 0.5 * step * _squared(step_gaps)]).cumsum(dim=0)

        self.gaps, self.spread, self.moved, self.added = gaps[-1], spread[-1], moved[-1], added[-1]
        self.held, self.averaged = held[-1], averaged[-1]
        return Levels(
            log_snr=self.log_snr[now],
            snr=self.snr[now],
            dsnr=self.step[now],
            held=held[:-1],
            averaged=averaged,
            coarse=averaged - torch.stack(behind),
            predictions=predictions.reshape(*predictions.shape[:3], *shape),
            gaps=gaps,
            finite=torch.isfinite(spread).flatten(1).all(dim=1),
            step_gaps=step_gaps,
            noise=noise,
        )


def _after(first: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`first` and then all but the last of `values`: at each level, what the level before had."""
    return torch.cat([first[None], values[:-1]]) if len(values) > 1 else first[None]


def _squared(gaps: torch.Tensor) -> torch.Tensor:
    size: torch.Tensor = torch.linalg.vector_norm(gaps, dim=-1)  # makes no copy of the gaps, as square().sum() does
    return size.square_()


def _along(gaps: torch.Tensor, increment: torch.Tensor) -> torch.Tensor:
    return (gaps @ increment[..., None])[..., 0]


def computing_device(model: Denoiser) -> torch.device:
    """Where the paths of a model are computed: its own device, or the processor where that one has no float64."""
    return torch.device("cpu") if model.device.type == "mps" else model.device


def _checked(model: Denoiser, data: torch.Tensor, paths: int) -> torch.Tensor:
    if tuple(data.shape) != (paths, *model.shape) or not bool(torch.isfinite(data).all()):
        raise InputError("data", f"of shape {tuple(data.shape)}", f"{paths} finite samples of shape {model.shape}")
    return data.flatten(1).double()


def path_likelihoods(
    model: Denoiser, paths: Paths, block: int = BLOCK, progress: Callable[[int], None] | None = None
) -> Array:
    """The averaged log-likelihood ratios of each branch on each path, (paths, levels, branches), float64, in nats.

    `block` paths are evaluated at once; `progress` is called for each of their levels with its evaluations. Raises as
    `check_model` and `by_levels` do.
    """
    grid = check_levels(model, paths.log_snr)
    check_model(model, paths.branches, grid)
    found = []
    for some in paths.blocks(block):
        averaged = []
        for levels in by_levels(model, some):
            averaged.append(levels.averaged)
            if progress is not None:
                for each in levels.averaged:
                    progress(each.numel())
        found.append(torch.cat(averaged)[-len(grid) :].transpose(0, 1).cpu().numpy())
    return np.concatenate(found)


def predict(
    model: Denoiser, branches: Sequence[int], x: torch.Tensor, sigma: float, out: torch.Tensor | None = None
) -> torch.Tensor:
    """D of every branch at flat states x (paths, dimension) of one noise level: (branches, paths, dimension), float64.

    Written to `out` where there is one. At an infinite `sigma` x is unit noise, and the model's `from_noise` is asked.
    The model gets states of its own each time, which it may overwrite. InputError when it returns no tensor, or another
    shape.
    """
    results = x.new_empty(len(branches), *x.shape, dtype=torch.float64) if out is None else out
    device, dtype = model.device, model.dtype
    state = x.to(device, dtype).reshape(-1, *model.shape)
    with torch.no_grad():
        for branch, result in zip(branches, results, strict=True):
            condition = None if branch == NULL else torch.full((len(x),), branch, device=device)
            if math.isinf(sigma):
                prediction = model.from_noise(state.clone(), condition)  # type: ignore[attr-defined]
            else:
                noise = torch.full((len(x),), sigma, device=device, dtype=dtype)
                prediction = model(state.clone(), noise, condition)
            if not isinstance(prediction, torch.Tensor):
                raise InputError("the model's output", f"of type {type(prediction).__name__}", "a tensor")
            if prediction.shape != state.shape:
                expected = f"{tuple(state.shape)}, the shape of its input"
                raise InputError("the model's output", f"of shape {tuple(prediction.shape)}", expected)
            result.copy_(prediction.reshape(x.shape))
    return results


def check_levels(model: Denoiser, log_snr: ArrayLike) -> Array:
    """The levels as a float64 array; InputError for fewer than two, for a value that is not finite or is outside the
    model's range, or for levels that do not increase.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> check_levels(isotropic_mixture([[-1.0], [1.0]], 0.0), [1.0, 0.0])
    Traceback (most recent call last):
        ...
    companion.errors.InputError: log_snr is [1.0, 0.0], expected increasing levels, from noise to data
    """
    levels = numbers("log_snr", log_snr, "finite levels", np.isfinite)
    if levels.ndim != 1 or len(levels) < 2:
        raise InputError("log_snr", log_snr, "at least two noise levels")
    if not np.all(np.diff(levels) > 0.0):
        raise InputError("log_snr", log_snr, "increasing levels, from noise to data")
    lowest, highest = model.log_snr_range
    slack = 1e-6  # what float32 models lose between sigma and log-snr
    if levels[0] < lowest - slack or levels[-1] > highest + slack:
        raise InputError("log_snr", f"{levels[0]:.3f} to {levels[-1]:.3f}", f"levels in {lowest:.3f} to {highest:.3f}")
    return levels


def check_model(model: Denoiser, branches: Sequence[int], log_snr: Array, trust: Sequence[str] = JUDGED) -> None:
    """InputError unless every branch can be asked, and what `examine` asks holds at three levels, or is in `trust`.

    What only a network can have wrong may be trusted: a null of other classes, clipping, and something else predicted
    than is said.
    """
    if NULL in branches and not model.has_null:
        raise InputError("the null branch", "asked for", "a model with a null class")
    conditions = [None if branch == NULL else branch for branch in branches]
    found = examine(model, conditions, [log_snr[0], log_snr[len(log_snr) // 2], log_snr[-1]])
    advised = (replace(each, advice=f'{each.advice}; trust "{each.name}" to go on without') for each in found)
    refuse([new if old.name in JUDGED else old for old, new in zip(found, advised, strict=True)], trust)
