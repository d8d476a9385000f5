"""Reverse trajectories of a model, and what each class's denoiser says of them.

In the natural variable y = x / sigma^2 (x in the variance-exploding frame) the reverse process of class g is a
Brownian motion with a drift, its clock the snr, and every branch z is scored on every path, against the drift u that
made it, u = D_g: with G_z = D_z - u the log-likelihood ratio of z to u grows by the second of

    dy = u dsnr + dB,    -(1/2) |G_z|^2 dsnr + G_z . dB.

One step with the drift held is the Gaussian reverse kernel of stochastic DDIM (ES Algorithm 1, 107-110). Real data
noised by the exact chain obey the same equation with the drift u = x_0, and guided paths with u = D_0 + w (D_g - D_0).

Three sums of it are kept. `held` holds D over the step: the exact likelihood ratio of the discretised paths, and the
published estimator. `averaged` takes |G_z|^2 as the mean of both ends of the step, and the noise at its left end (an
Ito integral). The drift is then second order; the noise is not. `coarse` is `averaged` with the noise of every second
step multiplied by the G of the step before: twice the error of the noise, from the same evaluations.

Predicted states make the law of the paths of weak order two in the longest step, where D is smooth, with one evaluation
a step ("The law of predicted paths" in the book): D_k is asked where the step before left y, and the next step corrects
the drift of that one. Over a step of length s_k the drift is then

    E_k = D_k + s_{k-1} / (2 s_k) (D_k - D_{k-1}),

for u as for every D, but where guidance sets in or ends: there u jumps, E is D, and `averaged` takes the left end.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.linalg import vector_norm

from companion.arguments import Array, numbers
from companion.denoiser import Denoiser
from companion.entropy import NULL
from companion.errors import InputError
from companion.estimate.noise import check_seed, path_noise
from companion.estimate.plan import BLOCK, Plan
from companion.forward import noise_of
from companion.guidance import Guidance
from companion.models.checks import JUDGED, examine, refuse

__all__ = ["Levels", "Paths", "by_levels", "check_levels", "check_model", "path_likelihoods", "predict", "trajectories"]

Progress = Callable[[int], None] | None  # called with the evaluations done, level by level


@dataclass(frozen=True, eq=False)
class Paths:
    """Which paths from noise to data, through which levels, scored under which branches.

    `owner` (paths,) is for each path the index into `branches` of the one that draws it, `log_snr` (levels,) increases.
    With `from_nothing` a step from snr = 0, where y = 0 and D is the class mean, comes first; otherwise paths start as
    pure noise at the top level with all ratios zero, as published. `predicted` states carry the drift E, and otherwise
    E is D. `numbers` own the paths' noise, with `seed` and `stream` (`path_noise`), by default 0, 1, 2, ... With `data`
    (paths, *shape) the paths are those of the exact chain that noises the data, and start from nothing. With `guidance`
    the drift of each path is led away from the null branch's.
    """

    branches: Sequence[int]
    owner: ArrayLike
    log_snr: ArrayLike
    seed: int = 0
    from_nothing: bool = True
    predicted: bool = False
    numbers: Sequence[int] | None = None
    data: Tensor | None = None
    stream: int = 0
    guidance: Guidance | None = None

    @staticmethod
    def of_block(plan: Plan, number: int) -> "Paths":
        """The paths of block `number` of a plan."""
        numbers, data, how = plan.paths(number), plan.data_of(number), (plan.from_nothing, plan.method.extrapolated)
        which = plan.branches, plan.owner[numbers], plan.log_snr, plan.seed
        return Paths(*which, *how, numbers, data, plan.stream, plan.guidance)

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

    Levels are the first axis; tensors are float64 on the model's device. `log_snr` is minus infinity for the start from
    nothing, `dsnr` the length of the step. `held`, `averaged` and `coarse` (levels, paths, branches) are the ratios of
    each branch to the path's own drift u, `states` (levels, paths, dimension) the x, `predictions` (levels, branches,
    paths, *shape) the D, `gaps` (levels, paths, branches, dimension) the D_z - u, `finite` whether their squares are
    numbers, `step_gaps` the E_z - u and `noise` (levels, paths, branches) the (E_z - u) . dB. After the last level
    `dsnr` and `noise` are zero.
    """

    log_snr: Array
    snr: Tensor
    dsnr: Tensor
    held: Tensor
    averaged: Tensor
    coarse: Tensor
    states: Tensor
    predictions: Tensor
    gaps: Tensor
    finite: Tensor
    step_gaps: Tensor
    noise: Tensor


def trajectories(model: Denoiser, paths: Paths) -> Levels:
    """Paths from noise to data at all their levels, scored under every branch; as `by_levels`, which raises the same.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> two_points = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> trajectories(two_points, Paths((0, 1), [0, 0, 1], [-2.0, 0.0, 2.0])).log_snr.tolist()   # the start first
    [-inf, -2.0, 0.0, 2.0]
    """
    (run,) = by_levels(model, paths, together=2**31)
    return run


def by_levels(model: Denoiser, paths: Paths, together: int = 0, progress: Progress = None) -> Iterator[Levels]:
    """Paths from noise to data, a few levels at a time; all paths are evaluated as one batch.

    So many levels `together` are scored at once, when the last of them has been evaluated: by default one where the
    model is large, and more where calls would cost more than numbers. Everything stays on the model's device, in
    float64, and is not waited for until all levels are done. Raises InputError as `check_levels`, `check_seed` and
    `predict` do, for data of another shape or not finite, and in the end for a model's output that is not finite.
    """
    grid = check_levels(model, paths.log_snr)
    snr, sigma = np.exp(grid), noise_of(grid)
    nothing, rule = int(paths.from_nothing or paths.data is not None), paths.guidance
    weights, jumps = (np.ones(len(grid)), []) if rule is None else (rule.weight(grid), rule.jumps(grid))
    if nothing:
        # Nothing is known yet: D is asked at pure noise that the path itself does not use again, at snr 0 where the
        # model was trained there and otherwise at the top level.
        asked = np.inf if getattr(model, "from_noise", None) else sigma[0]
        grid, snr, sigma = np.append(-np.inf, grid), np.append(0.0, snr), np.append(asked, sigma)
        weights = np.append(weights[0], weights)
    steps = np.append(np.diff(snr), 0.0)
    shares = np.zeros_like(steps)  # of the way that D has moved, for the drift E
    if paths.predicted and paths.data is None:
        # The start is asked at noise that is not the path's: what moved D since then is no error of its drift.
        shares[1 + nothing : -1] = 0.5 * steps[nothing:-2] / steps[1 + nothing : -1]
    smooth = np.ones_like(steps)  # zero where u jumps: the step that leads there knows its left end only
    smooth[[nothing + each for each in jumps]] = 0.0
    table = np.stack([snr, sigma, steps, shares * smooth, weights, smooth])
    device = torch.device("cpu") if model.device.type == "mps" else model.device  # mps has no float64
    # All at once, before the paths begin: a number sent later would make the device wait.
    snr_there, _, step_there, share_there, _, smooth_there = torch.from_numpy(table).to(device)
    step_before, finite = torch.nn.functional.pad(step_there, (1, 0)), list[Tensor]()
    for now, states, predictions, drift, increment in _walk(model, paths, table, device, together, progress):
        # Paths before branches also in memory, because most of what follows is summed path by path.
        gaps = torch.empty_like(predictions.transpose(1, 2), memory_format=torch.contiguous_format)
        torch.sub(predictions.transpose(1, 2), drift[:, :, None], out=gaps)
        if not finite:  # before the first level nothing has moved, and all ratios are zero
            last_gaps, zero = gaps[0], torch.zeros_like(gaps[0, :, :, 0])
            last_spread = last_moved = last_added = held_next = last_averaged = behind = behind_before = zero
        lengths = step_before, step_there, share_there, smooth_there
        before, step, share, smooth_now = (each[now, None, None] for each in lengths)
        # vector_norm makes no copy of the gaps, as square().sum() does
        gaps_before, spread = _after(last_gaps, gaps), vector_norm(gaps, dim=-1).square_()
        added = (gaps @ increment[..., None])[..., 0]
        moved = added - (gaps_before @ increment[..., None])[..., 0]
        left = _after(last_spread, spread)
        both_ends = 0.25 * before * (left + torch.lerp(left, spread, smooth_now))
        averaged = torch.cat([last_averaged[None], _after(last_added, added) - both_ends]).cumsum(dim=0)[1:]
        lags = []
        for crossed in _after(last_moved, moved):  # every second step by itself
            behind, behind_before = behind_before + crossed, behind
            lags.append(behind)
        step_gaps = torch.lerp(gaps_before, gaps, 1.0 + share[..., None])
        noise = added + share * moved
        held = torch.cat([held_next[None], noise - 0.5 * step * vector_norm(step_gaps, dim=-1).square_()]).cumsum(dim=0)
        last_gaps, last_spread, last_moved, last_added = gaps[-1], spread[-1], moved[-1], added[-1]
        last_averaged, held_next = averaged[-1], held[-1]
        finite.append(torch.isfinite(spread).flatten(1).all(dim=1))
        ratios = held[:-1], averaged, averaged - torch.stack(lags)
        answers = states, predictions.reshape(*predictions.shape[:3], *model.shape), gaps, finite[-1], step_gaps, noise
        yield Levels(grid[now], snr_there[now], step_there[now], *ratios, *answers)
    wrong = grid[~torch.cat(finite).cpu().numpy()]
    if len(wrong) > 0:
        raise InputError("the model's output", f"not finite at log-snr {wrong[0]:.2f}", "finite numbers")


def _walk(
    model: Denoiser, paths: Paths, table: Array, device: torch.device, together: int, progress: Progress
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """Levels, x and D (levels, branches, paths, dimension) there, u and dB of the steps (levels, paths, dimension)."""
    (snr, sigma, steps, shares, weights, _), branches, clean = table.tolist(), paths.branches, paths.data
    owner = torch.as_tensor(np.asarray(paths.owner, dtype=np.int64)).to(device)
    count, rows, dimension = len(owner), torch.arange(len(owner), device=device), int(np.prod(model.shape))
    if clean is not None:
        if tuple(clean.shape) != (count, *model.shape) or not bool(torch.isfinite(clean).all()):
            raise InputError("data", f"of shape {tuple(clean.shape)}", f"{count} finite samples of shape {model.shape}")
        clean = clean.flatten(1).double().to(device)
    numbers = range(count) if paths.numbers is None else paths.numbers
    drawn = map(torch.from_numpy, path_noise(check_seed(paths.seed), numbers, dimension, paths.stream))
    drawn = map(Tensor.pin_memory, drawn) if device.type == "cuda" else drawn
    # By default 2 MB of numbers: states, or the places that the controls look at for every branch, up to 112.
    together = together or max(1, 2**18 // (count * len(branches) * max(dimension, 32 + 5 * min(len(branches), 16))))
    noise = next(drawn).to(device, non_blocking=True)
    y = drift_before = noise * math.sqrt(snr[0])
    x = noise * (1.0 if math.isinf(sigma[0]) else sigma[0])
    for start in range(0, len(snr), together):
        now = range(len(snr))[start : start + together]
        predictions = y.new_empty(len(now), len(branches), *y.shape)
        states, drifts, increments = y.new_zeros(3, len(now), *y.shape)
        for k, state, prediction, drift, increment in zip(now, states, predictions, drifts, increments, strict=True):
            state.copy_(x)
            predict(model, branches, x, sigma[k], prediction)
            drift.copy_(prediction[owner, rows] if clean is None else clean)
            more = weights[k] != 1.0 and NULL not in branches
            if weights[k] != 1.0:
                (null,) = predict(model, [NULL], x, sigma[k]) if more else prediction[branches.index(NULL)][None]
                torch.lerp(null, drift, weights[k], out=drift)
            if progress is not None:
                progress(count * (len(branches) + more))
            if k + 1 < len(snr):
                torch.mul(next(drawn).to(device, non_blocking=True), math.sqrt(steps[k]), out=increment)
                led = drift if shares[k] == 0.0 else torch.lerp(drift_before, drift, 1.0 + shares[k])
                y = y.add(led, alpha=steps[k]) + increment
                x, drift_before = y / snr[k + 1], drift
        yield slice(now.start, now.stop), states, predictions, drifts, increments


def _after(first: Tensor, values: Tensor) -> Tensor:
    """`first` and then all but the last of `values`: at each level, what the level before had."""
    return torch.cat([first[None], values[:-1]]) if len(values) > 1 else first[None]


def path_likelihoods(model: Denoiser, paths: Paths, block: int = BLOCK, progress: Progress = None) -> Array:
    """The averaged log-likelihood ratios of each branch on each path, (paths, levels, branches), float64, in nats.

    `block` paths are evaluated at once. Raises as `check_model` and `by_levels` do.
    """
    grid = check_levels(model, paths.log_snr)
    check_model(model, paths.branches, grid)
    found = []
    for some in paths.blocks(block):
        averaged = torch.cat([levels.averaged for levels in by_levels(model, some, progress=progress)])
        found.append(averaged[-len(grid) :].transpose(0, 1).cpu().numpy())
    return np.concatenate(found)


def predict(model: Denoiser, branches: Sequence[int], x: Tensor, sigma: float, out: Tensor | None = None) -> Tensor:
    """D of every branch at flat states x (paths, dimension) of one noise level: (branches, paths, dimension), float64.

    Written to `out` where there is one. At an infinite `sigma` x is unit noise, and the model's `from_noise` is asked.
    The model gets states of its own, which it may overwrite. InputError when it returns no tensor, or another shape.
    """
    results = x.new_empty(len(branches), *x.shape, dtype=torch.float64) if out is None else out
    state = x.to(model.device, model.dtype).reshape(-1, *model.shape)
    with torch.no_grad():
        for branch, result in zip(branches, results, strict=True):
            condition = None if branch == NULL else torch.full((len(x),), branch, device=state.device)
            if math.isinf(sigma):
                prediction = model.from_noise(state.clone(), condition)  # type: ignore[attr-defined]
            else:
                prediction = model(state.clone(), state.new_full((len(x),), sigma), condition)
            if not isinstance(prediction, Tensor):
                raise InputError("the model's output", f"of type {type(prediction).__name__}", "a tensor")
            if prediction.shape != state.shape:
                expected = f"{tuple(state.shape)}, the shape of its input"
                raise InputError("the model's output", f"of shape {tuple(prediction.shape)}", expected)
            result.copy_(prediction.reshape(x.shape))
    return results


def check_levels(model: Denoiser, log_snr: ArrayLike) -> Array:
    """The levels (levels,), float64; InputError unless two or more increase, all finite and in the model's range.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> check_levels(isotropic_mixture([[-1.0], [1.0]], 0.0), [0.0, 1.0])
    array([0., 1.])
    """
    levels = numbers("log_snr", log_snr, "finite levels", np.isfinite)
    if levels.ndim != 1 or len(levels) < 2:
        raise InputError("log_snr", log_snr, "at least two noise levels")
    if not np.all(np.diff(levels) > 0.0):
        raise InputError("log_snr", log_snr, "increasing levels, from noise to data")
    lowest, highest = model.log_snr_range
    if levels[0] < lowest - 1e-6 or levels[-1] > highest + 1e-6:  # what float32 models lose between sigma and log-snr
        raise InputError("log_snr", f"{levels[0]:.3f} to {levels[-1]:.3f}", f"levels in {lowest:.3f} to {highest:.3f}")
    return levels


def check_model(model: Denoiser, branches: Sequence[int], log_snr: Array, trust: Sequence[str] = JUDGED) -> None:
    """InputError unless every branch can be asked, and what `examine` asks holds at three levels, or is in `trust`."""
    if NULL in branches and not model.has_null:
        raise InputError("the null branch", "asked for", "a model with a null class")
    conditions = [None if branch == NULL else branch for branch in branches]
    found = examine(model, conditions, [log_snr[0], log_snr[len(log_snr) // 2], log_snr[-1]])
    advised = (replace(each, advice=f'{each.advice}; trust "{each.name}" to go on without') for each in found)
    refuse([new if old.name in JUDGED else old for old, new in zip(found, advised, strict=True)], trust)
