"""A look at a model before hours are spent on it: what would make every number wrong without any error.

Nothing here knows the truth; each check asks for something that any posterior mean has, on four states at three noise
levels, and says what to do where it is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from companion.denoiser import Denoiser
from companion.errors import InputError, foreign
from companion.forward import noise_of
from companion.guidance import unguided

__all__ = ["JUDGED", "Finding", "examine", "refuse"]

JUDGED = ("null", "clipping", "first level", "last level")  # what only a network can have wrong, and a person may trust

_STATES = 4
_ONE = "one answer to one question: put the network in eval mode, and leave no dropout, of labels neither, switched on"
_ALONE = "no sample to depend on the others: look at how labels are handed on, and at batch normalisation"
_MEANT = "prediction_type, the schedule and the size of a sample must be those of the training"


@dataclass(frozen=True)
class Finding:
    """One check: `passed` is None where the number is for a person to judge; `advice` says what it means or needs."""

    name: str
    passed: bool | None
    value: float
    advice: str


def examine(
    model: Denoiser, conditions: Sequence[int | None], log_snr: Sequence[float], seed: int = 0
) -> list[Finding]:
    """What can be said of a model by asking it for `conditions` (classes, or None for its null) at levels `log_snr`.

    The levels go from noise to data; three are enough: the first, one in the middle and the last that a run will use.

    - eval mode: no part of the network is in train mode; shape, finite: D has the shape of x, and finite values
    - repeatable: the same question twice, at the first level, has one answer; dropout, also of labels, gives two
    - labels: each two conditions give different D at some level
    - samples: a sample's D is the same alone as among others, another sample at each level; value, the largest
      difference over the size of D
    - null: at the first level, where the class is unknown, the distance of the null's D from the mean of all K classes'
      D over the spread of those D. It is far below 1/2 for a null that was trained on these classes, about 1 for one
      that is one of them. Prompts are not all there is in a null's world: only the number is given, unless the null is
      one of them. NaN without a null
    - clipping: the share of D's values that equal its largest or smallest, which is far below 0.01 unless something
      clips D; a clipped D is no posterior mean. Exact data may have such values: only a network fails here
    - first level: of states that are noise, sigma n, D is about the mean of the data. So it is no larger than four
      times the data, and its part along n, which is Var(x_0) / sigma, no larger than half the data, which leaves room
      for what a network errs. Value, the worse of the two over what is allowed; None above log-snr -3
    - last level: (x - D) / sigma = E[eps | x], the noise that is left in states that the model has drawn to there, has
      a root mean square of at most 1 in expectation. Of values of eps itself, which spread more, four in all would
      exceed 3 once in 100 000 models, and more of them never; value, the root mean square

    The last two fail for another prediction or noise than is said, and for random weights; they see no error that is
    small at both ends. A check that depends on a failed one is left out.

    >>> from companion.models.load import load
    >>> found = examine(load("digits"), [*range(10), None], [-9.0, 0.0, 8.0])
    >>> [finding.name for finding in found if finding.passed is not True]
    []
    """
    networks = getattr(unguided(model), "networks", (getattr(model, "network", None),))
    held = (network for network in networks if isinstance(network, torch.nn.Module))
    training = sum(part.training for network in held for part in network.modules())
    told = Finding("eval mode", training == 0, float(training), "0 parts in train mode: call network.eval()")
    answers, alone = list[torch.Tensor](), list[torch.Tensor]()
    half = torch.randn(_STATES // 2, *model.shape, generator=torch.Generator().manual_seed(seed))
    x = first = float(noise_of(log_snr[0])) * torch.cat([half, -half])
    for number, level in enumerate(log_snr):
        if number > 0:
            x = _drawn(model, x, answers[-1][0], log_snr[number - 1], level, conditions[0])
        row, found = number % _STATES, [_asked(model, x, level, condition) for condition in conditions]
        wrong = [each for each in found if each.shape != x.shape or not bool(torch.isfinite(each).all())]
        if wrong:
            return [told, _misshapen(wrong[0], x, level)]
        alone.append(_asked(model, x[row : row + 1], level, conditions[0]))
        answers.append(torch.stack(found))
    predictions = torch.stack(answers)  # (levels, conditions, states, *shape)
    own, levels = predictions[:, 0], torch.arange(len(log_snr))
    at_first = dict(zip(conditions, predictions[0], strict=True))
    for k in range(len(model.classes)) if None in conditions else ():
        at_first[k] = at_first[k] if k in at_first else _asked(model, first, log_snr[0], k)
    again = _asked(model, first, log_snr[0], conditions[0])
    value = float((x - own[-1]).square().mean().sqrt()) / float(noise_of(level))
    return [
        told,
        Finding("shape, finite", True, 0.0, "as they should be"),
        _same("repeatable", again, own[0], 1e-3, _ONE),
        _labels(model, predictions, conditions),
        # Half precision differs by a few percent between batch sizes, a mixed-up batch by the size of D itself.
        _same("samples", torch.cat(alone), own[levels, levels % _STATES], 0.1, _ALONE),
        _null(model, at_first),
        _clipping(model, predictions),
        _first_level(first, own[0], own[-1], log_snr[0]),
        Finding("last level", value <= 3.0, value, f"at most 3: {_MEANT}"),
    ]


def refuse(findings: Sequence[Finding], trusted: Sequence[str] = ()) -> None:
    """InputError for the first check that failed, saying what to do; the checks named in `trusted` are left out.

    >>> refuse([Finding("labels", False, 0.0, "labels that move D")], trusted=["labels"])
    """
    for finding in findings:
        if finding.passed is False and finding.name not in trusted:
            raise InputError(finding.name, f"{finding.value:.3g}", finding.advice)


def _drawn(
    model: Denoiser, x: torch.Tensor, mean: torch.Tensor, before: float, level: float, condition: int | None
) -> torch.Tensor:
    """States from one level at the next, by steps of at most one in log-snr that keep the noise that D finds."""
    for start, end in pairwise(np.linspace(before, level, int(np.ceil(level - before)) + 1)):
        if start > before:
            mean = _asked(model, x, start, condition)
        x = mean + np.exp(0.5 * (start - end)) * (x - mean)
    return x


def _first_level(x: torch.Tensor, mean: torch.Tensor, last: torch.Tensor, level: float) -> Finding:
    sigma = float(noise_of(level))
    # What the model draws is of the size of the data where it is right; where not, count on less than the noise.
    size = max(min(float(last.square().mean().sqrt()), sigma / 8.0), 1e-12)
    # States come with their opposites: what is the same for both is no part along the noise.
    along = float((x * (mean - mean.roll(_STATES // 2, dims=0))).mean()) / (2.0 * sigma)
    most = 0.5 * size + 4.0 * size**2 / sigma
    worst = max(float(mean.square().mean().sqrt()) / (4.0 * size), abs(along) / most)
    said = f"at most 1: D of pure noise is the mean of the data, and {_MEANT}"
    return Finding("first level", None if level > -3.0 else worst <= 1.0, worst, said)


def _asked(model: Denoiser, x: torch.Tensor, log_snr: float, condition: int | None) -> torch.Tensor:
    state = x.to(model.device, model.dtype, copy=True)
    sigma = torch.full((len(x),), float(noise_of(log_snr)), device=model.device, dtype=model.dtype)
    label = None if condition is None else torch.full((len(x),), condition, device=model.device)
    with torch.no_grad(), foreign("model", model.name, "a network whose code and configuration fit"):
        answer = model(state, sigma, label)
    if not isinstance(answer, torch.Tensor):
        raise InputError("the model's output", f"of type {type(answer).__name__}", "a tensor")
    if answer.is_complex():
        raise InputError("the model's output", f"of {answer.dtype}", "real numbers, as x has")
    return answer.detach().cpu().float()


def _misshapen(wrong: torch.Tensor, x: torch.Tensor, level: float) -> Finding:
    if wrong.shape != x.shape:
        said = f"D of shape {tuple(x.shape)}, that of x; it has {tuple(wrong.shape)}"
        return Finding("shape, finite", False, float(wrong.dim()), said)
    said = f"finite values at log-snr {level:.2f}: narrow the levels, or let the network compute in float32 or bfloat16"
    return Finding("shape, finite", False, float((~torch.isfinite(wrong)).float().mean()), said)


def _same(name: str, one: torch.Tensor, other: torch.Tensor, tolerance: float, advice: str) -> Finding:
    size = other.flatten(1).square().mean(dim=1).sqrt()
    value = float(((one - other).abs().flatten(1).amax(dim=1) / size.clamp_min(1e-12)).max())
    return Finding(name, value < tolerance, value, advice)


def _labels(model: Denoiser, predictions: torch.Tensor, conditions: Sequence[int | None]) -> Finding:
    names = ["null" if condition is None else model.classes[condition] for condition in conditions]
    rows = predictions.transpose(0, 1).flatten(1)  # one for each condition
    seen: dict[bytes, str] = {}
    for name, row in zip(names, rows, strict=True):
        other = seen.setdefault(blake2b(row.numpy().tobytes()).digest(), name)
        if other != name:
            said = f"labels that move D: {other} and {name} do not, so they were not trained or not passed on"
            return Finding("labels", False, 0.0, said)
    if len(rows) < 2:
        return Finding("labels", True, 0.0, "one label, which is compared with no other")
    apart = torch.cdist(rows, rows).fill_diagonal_(torch.inf)  # one number a pair, and so the memory of few labels more
    one, other_one = divmod(int(apart.argmin()), len(rows))
    said = f"the two closest labels, {names[one]} and {names[other_one]}, differ by this"
    return Finding("labels", True, float((rows[one] - rows[other_one]).abs().max()), said)


def _null(model: Any, first: Mapping[int | None, torch.Tensor]) -> Finding:
    if None not in first:
        return Finding("null", None, float("nan"), "asked only with the null")
    classes = range(len(model.classes))
    of_class = torch.stack([first[k] for k in classes])
    same = [model.classes[k] for k in classes if torch.equal(of_class[k], first[None])]
    if same:
        return Finding("null", False, 1.0, f"a null of its own: it answers as {same[0]} does, so has_null is false")
    shares = torch.tensor(model.weights).reshape(-1, *(1,) * (of_class.dim() - 1))
    mean = (shares * of_class).sum(dim=0)
    spread = float((shares * (of_class - mean).square()).sum(dim=0).mean().sqrt())
    value = float((first[None] - mean).square().mean().sqrt()) / max(spread, 1e-12)
    if hasattr(model, "prompts"):
        return Finding("null", None, value, "the null prompt against the mean of these prompts, to know")
    said = "below 0.5 at the highest noise: another null class, or has_null false if the model was trained without one"
    return Finding("null", value < 0.5, value, said)


def _clipping(model: Any, predictions: torch.Tensor) -> Finding:
    share = float(((predictions == predictions.max()) | (predictions == predictions.min())).float().mean())
    said = "below 0.01 of D's values at its largest or smallest: switch clipping and thresholding of x_0 off"
    passed = share < 0.01 + 2.0 / predictions.numel()
    return Finding("clipping", passed if passed or hasattr(model, "network") else None, share, said)
