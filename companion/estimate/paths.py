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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from companion.arguments import numbers
from companion.denoiser import Denoiser
from companion.entropy import NULL
from companion.errors import InputError
from companion.estimate.noise import check_seed, path_noise
from companion.forward import noise_of
from companion.models.checks import JUDGED, examine, refuse

__all__ = ["Level", "check_finite", "check_levels", "check_model", "computing_device", "predict", "trajectories"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Level:
    """All paths at one noise level, and the step that leads to the next; tensors are float64 on the model's device.

    `log_snr` is minus infinity for the start from nothing. `held`, `averaged` and `coarse` (paths, branches) are the
    log-likelihood ratios of each branch to the path's own drift u, `predictions` (branches, paths, *shape) the D,
    `gaps` (paths, branches, dimension) the D_z - u, and `finite` says whether their squares are numbers. The step has
    length `dsnr`; with the drifts E in the place of D, `step_gaps` are the E_z - u and `noise` (paths, branches) their
    products with the noise, (E_z - u) . dB. After the last level `dsnr` and `noise` are zero.
    """

    log_snr: float
    held: torch.Tensor
    averaged: torch.Tensor
    coarse: torch.Tensor
    predictions: torch.Tensor
    gaps: torch.Tensor
    finite: torch.Tensor
    dsnr: float
    step_gaps: torch.Tensor
    noise: torch.Tensor


def trajectories(
    model: Denoiser,
    branches: Sequence[int],
    drawn_from: ArrayLike,
    log_snr: ArrayLike,
    seed: int,
    from_nothing: bool = True,
    predicted: bool = False,
    paths: Sequence[int] | None = None,
    data: torch.Tensor | None = None,
    stream: int = 0,
    together: int = 1,
) -> Iterator[Level]:
    """Paths from noise to data, level by level, scored under every branch; all are evaluated as one batch.

    `drawn_from` (paths,) holds for each path the index into `branches` of the branch that draws it. `log_snr` are
    the levels, increasing. With `from_nothing` a step from snr = 0, where y = 0 and D is the class mean, comes
    first, so that what the top level already knows of the class is counted; otherwise paths start as pure noise at
    the top level with all ratios zero, as published. `predicted` states carry the drift E, and otherwise E is D.
    `paths` are the paths' numbers, which own the noise (`path_noise`), by default 0, 1, 2, ...; `stream` tells uses
    of one seed apart. With `data` (paths, *shape) the paths are those of the exact chain that noises the data, and
    start from nothing. So many levels `together` are scored at once, when the last of them has been evaluated: for a
    small model calls cost more than numbers.

    Everything stays on the model's device, in float64, and nothing there waits for it: the caller looks at `finite`
    when it is done. Raises InputError where `check_levels` or `check_model` does, when the model returns no tensor or
    one of another shape, where `check_seed` does, and for data of another shape or not finite.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> two_points = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> levels = list(trajectories(two_points, (0, 1), [0, 0, 1], [-2.0, 0.0, 2.0], seed=0))
    >>> [level.log_snr for level in levels], levels[-1].averaged.shape
    ([-inf, -2.0, 0.0, 2.0], torch.Size([3, 2]))
    """
    grid = check_levels(model, log_snr)
    numbers = range(len(np.asarray(drawn_from))) if paths is None else paths
    device, dimension = computing_device(model), int(np.prod(model.shape))
    owner = torch.as_tensor(np.asarray(drawn_from, dtype=np.int64)).to(device)
    rows = torch.arange(len(owner), device=device)
    source = path_noise(check_seed(seed), numbers, dimension, stream)
    clean = None if data is None else _checked(model, data, len(owner)).to(device)

    def draw() -> torch.Tensor:
        drawn = torch.from_numpy(next(source))
        return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn.to(device)

    snr = np.exp(grid)
    first = draw()
    if from_nothing or clean is not None:
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
    if predicted and clean is None:
        shares[first_seen:-1] = 0.5 * steps[first_seen - 1 : -2] / steps[first_seen:-1]
    scores = _Scores(steps, shares, device)
    drift_before, waiting = y, []
    for k, (level, dsnr, share) in enumerate(zip(grid.tolist(), steps.tolist(), shares.tolist(), strict=True)):
        predictions = predict(model, branches, x, asked_at if np.isneginf(level) else float(noise_of(level)))
        drift = predictions[owner, rows] if clean is None else clean
        last = k + 1 == len(grid)
        increment = torch.zeros_like(y) if last else draw() * math.sqrt(dsnr)
        waiting.append((level, dsnr, predictions, drift, increment))
        if last or len(waiting) == together:
            yield from scores.levels(waiting, model.shape)
            waiting = []
        if not last:
            y = y.add(drift if share == 0.0 else torch.lerp(drift_before, drift, 1.0 + share), alpha=dsnr) + increment
            x = y / float(snr[k + 1])
            drift_before = drift


_Step = tuple[float, float, torch.Tensor, torch.Tensor, torch.Tensor]


class _Scores:
    """The log-likelihood ratios along the paths, carried from the levels scored so far to the next; the sums above.

    `steps` are the lengths of all steps, the last one zero, and `shares` what E takes of the way D has moved.
    """

    def __init__(self, steps: Array, shares: Array, device: torch.device):
        # All at once, before the paths begin: a number sent later would make the device wait.
        self.step, self.share = torch.from_numpy(np.stack([steps, shares])).to(device)[:, :, None, None]
        self.step_before = torch.nn.functional.pad(self.step, (0, 0, 0, 0, 1, 0))
        self.done = 0

    def levels(self, steps: Sequence[_Step], shape: tuple[int, ...]) -> Iterator[Level]:
        names, lengths, *tensors = zip(*steps, strict=True)
        # (levels, branches, paths, dimension), then twice (levels, paths, dimension)
        predictions, drift, increment = (torch.stack(each) if len(each) > 1 else each[0][None] for each in tensors)
        # Paths before branches also in memory, because most of what follows is summed path by path.
        gaps = torch.empty_like(predictions.transpose(1, 2), memory_format=torch.contiguous_format)
        torch.sub(predictions.transpose(1, 2), drift[:, :, None], out=gaps)
        if self.done == 0:  # before the first level nothing has moved, and all ratios are zero
            zero = torch.zeros_like(gaps[0, :, :, 0])
            self.gaps, self.spread, self.moved, self.added = gaps[0], zero, zero, zero
            self.held, self.averaged, self.behind, self.behind_before = zero, zero, zero, zero
        now = slice(self.done, self.done + len(steps))
        self.done += len(steps)

        spread, added, gaps_before = _squared(gaps), _along(gaps, increment), _after(self.gaps, gaps)
        moved = added - _along(gaps_before, increment)
        drawn = _after(self.added, added)
        both_ends = 0.25 * self.step_before[now] * (_after(self.spread, spread) + spread)
        averaged = torch.cat([self.averaged[None], drawn - both_ends]).cumsum(dim=0)[1:]
        behind = []
        for crossed in _after(self.moved, moved):  # every second step by itself
            self.behind, self.behind_before = self.behind_before + crossed, self.behind
            behind.append(self.behind)
        step_gaps = torch.lerp(gaps_before, gaps, 1.0 + self.share[now][..., None])
        noise = added + self.share[now] * moved
        held = torch.cat([self.held[None], noise - 0.5 * self.step[now] * _squared(step_gaps)]).cumsum(dim=0)

        self.gaps, self.spread, self.moved, self.added = gaps[-1], spread[-1], moved[-1], added[-1]
        self.held, self.averaged = held[-1], averaged[-1]
        coarse, finite = averaged - torch.stack(behind), torch.isfinite(spread).flatten(1).all(dim=1)
        shown = predictions.reshape(*predictions.shape[:3], *shape)
        yield from map(Level, names, held, averaged, coarse, shown, gaps, finite, lengths, step_gaps, noise)


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


def predict(model: Denoiser, branches: Sequence[int], x: torch.Tensor, sigma: float) -> torch.Tensor:
    """D of every branch at flat states x (paths, dimension) of one noise level: (branches, paths, dimension), float64.

    At an infinite `sigma` x is unit noise, and the model's `from_noise` is asked. The model gets states of its own each
    time, which it may overwrite. InputError when it returns no tensor, or another shape.
    """
    results = torch.empty(len(branches), *x.shape, dtype=torch.float64, device=x.device)
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


def check_finite(levels: Sequence[tuple[float, torch.Tensor]]) -> None:
    """InputError naming the first log-snr whose `finite` flag is down; the one look a run takes, when it is done.

    >>> check_finite([(-2.0, torch.tensor(True)), (0.0, torch.tensor(False))])
    Traceback (most recent call last):
        ...
    companion.errors.InputError: the model's output is not finite at log-snr 0.00, expected finite numbers
    """
    flags = torch.stack([finite for _, finite in levels]).cpu()
    if not bool(flags.all()):
        level = levels[int(flags.int().argmin())][0]
        raise InputError("the model's output", f"not finite at log-snr {level:.2f}", "finite numbers")


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


def check_model(model: Denoiser, branches: Sequence[int], log_snr: Array) -> None:
    """InputError unless every branch can be asked, and what `examine` asks of any function holds at three levels.

    What only a network can have wrong is for `examine` and a person to judge: a null of other classes, clipping, and
    something else predicted than is said.
    """
    if NULL in branches and not model.has_null:
        raise InputError("the null branch", "asked for", "a model with a null class")
    conditions = [None if branch == NULL else branch for branch in branches]
    found = examine(model, conditions, [log_snr[0], log_snr[len(log_snr) // 2], log_snr[-1]])
    refuse(found, JUDGED)
