"""A look at a model before hours are spent on it: what would make every number wrong without any error.

Nothing here knows the truth; each check asks for something that any posterior mean has, on four states at three noise
levels, and says what to do where it is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch

from companion.denoiser import Denoiser
from companion.errors import InputError

__all__ = ["Finding", "examine", "refuse"]

_STATES = 4


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

    - eval mode: no part of the network is in train mode
    - shape, finite: D has the shape of x, and finite values
    - repeatable: the same question twice, at the first level, has one answer; dropout, also of labels, gives two
    - labels: each two conditions give different D at some level
    - samples: a sample's D is the same alone as among others, another sample at each level; value, the largest
      difference over the size of D
    - null: at the first level, where the class is unknown, the distance of the null's D from the mean of the classes'
      D over the spread of the classes' D. It is far below 1/2 for a null that was trained on these classes, about 1 for
      a null that is one of them. Prompts are not all there is in a null's world: only the number is given. NaN
      without a null or without all classes
    - clipping: the share of D's values that equal its largest or smallest, which is far below 0.01 unless something
      clips D; a clipped D is no posterior mean. Exact data may have such values: only a network fails here

    A check that depends on a failed one is left out.

    >>> from companion.models.unet import load
    >>> found = examine(load("digits"), [*range(10), None], [-9.0, 0.0, 8.0])
    >>> [finding.name for finding in found if finding.passed is not True]
    []
    """
    findings = [_eval_mode(model)]
    answers: list[torch.Tensor] = []
    again: list[torch.Tensor] = []
    alone: list[torch.Tensor] = []
    among: list[torch.Tensor] = []
    generator = torch.Generator().manual_seed(seed)
    clean = torch.zeros(_STATES, *model.shape)
    for level in log_snr:
        sigma = float(torch.tensor(-0.5 * level, dtype=torch.float64).exp())
        x = clean + sigma * torch.randn(_STATES, *model.shape, generator=generator)
        found = [_asked(model, x, sigma, condition) for condition in conditions]
        wrong = [each for each in found if each.shape != x.shape or not bool(torch.isfinite(each).all())]
        if wrong:
            return [*findings, _misshapen(wrong[0], x, level)]
        answers.append(torch.stack(found))
        if not again:
            again.append(_asked(model, x, sigma, conditions[0]))
        row = len(alone) % _STATES
        alone.append(_asked(model, x[row : row + 1], sigma, conditions[0]))
        among.append(found[0][row : row + 1])
        clean = found[0]
    predictions = torch.stack(answers)  # (levels, conditions, states, *shape)
    findings.append(Finding("shape, finite", True, 0.0, "as they should be"))
    findings.append(_same("repeatable", torch.stack(again), predictions[:1, 0], 1e-3, _RANDOM))
    findings.append(_labels(model, predictions, conditions))
    # Half precision differs by a few percent between batch sizes, a mixed-up batch by the size of D itself.
    findings.append(_same("samples", torch.stack(alone), torch.stack(among), 0.1, _TOGETHER))
    findings.append(_null(model, predictions[0], conditions))
    findings.append(_clipping(model, predictions))
    return findings


def refuse(findings: Sequence[Finding]) -> None:
    """InputError for the first check that failed, saying what to do.

    >>> refuse([Finding("eval mode", False, 1.0, "eval mode: call network.eval()")])
    Traceback (most recent call last):
        ...
    companion.errors.InputError: eval mode is 1, expected eval mode: call network.eval()
    """
    for finding in findings:
        if finding.passed is False:
            raise InputError(finding.name, f"{finding.value:.3g}", finding.advice)


_RANDOM = (
    "one answer to one question: put the network in eval mode, and leave no dropout, of labels neither, switched on"
)
_TOGETHER = "no sample to depend on the others: look at how labels are handed on, and at batch normalisation"


def _eval_mode(model: Denoiser) -> Finding:
    networks = [getattr(model, name, None) for name in ("network", "unconditional")]
    training = sum(
        m.training for network in networks if isinstance(network, torch.nn.Module) for m in network.modules()
    )
    return Finding("eval mode", training == 0, float(training), "0 parts in train mode: call network.eval()")


def _asked(model: Denoiser, x: torch.Tensor, sigma: float, condition: int | None) -> torch.Tensor:
    state = x.to(model.device, model.dtype, copy=True)
    level = torch.full((len(x),), sigma, device=model.device, dtype=model.dtype)
    label = None if condition is None else torch.full((len(x),), condition, device=model.device)
    with torch.no_grad():
        answer = model(state, level, label)
    if not isinstance(answer, torch.Tensor):
        raise InputError("the model's output", f"of type {type(answer).__name__}", "a tensor")
    if answer.is_complex():
        raise InputError("the model's output", f"of {answer.dtype}", "real numbers, as x has")
    return answer.detach().cpu().float()


def _misshapen(wrong: torch.Tensor, x: torch.Tensor, level: float) -> Finding:
    if wrong.shape != x.shape:
        said = f"D of shape {tuple(x.shape)}, that of x; it has {tuple(wrong.shape)}"
        return Finding("shape, finite", False, float(wrong.dim()), said)
    share = float((~torch.isfinite(wrong)).float().mean())
    said = f"finite values at log-snr {level:.2f}: narrow the levels, or let the network compute in float32 or bfloat16"
    return Finding("shape, finite", False, share, said)


def _same(name: str, one: torch.Tensor, other: torch.Tensor, tolerance: float, advice: str) -> Finding:
    size = other.flatten(1).square().mean(dim=1).sqrt()
    value = float(((one - other).abs().flatten(1).amax(dim=1) / size.clamp_min(1e-12)).max())
    return Finding(name, value < tolerance, value, advice)


def _labels(model: Denoiser, predictions: torch.Tensor, conditions: Sequence[int | None]) -> Finding:
    names = ["null" if condition is None else model.classes[condition] for condition in conditions]
    for one, other in combinations(range(len(names)), 2):
        if torch.equal(predictions[:, one], predictions[:, other]):
            said = (
                f"labels that move D: {names[one]} and {names[other]} do not, so they were not trained or not passed on"
            )
            return Finding("labels", False, 0.0, said)
    gaps = [predictions[:, i] - predictions[:, j] for i, j in combinations(range(len(names)), 2)]
    least = min((float(gap.abs().max()) for gap in gaps), default=0.0)
    return Finding("labels", True, least, "every two labels move D by at least this somewhere")


def _null(model: Any, first: torch.Tensor, conditions: Sequence[int | None]) -> Finding:
    classes = list(range(len(model.classes)))
    if None not in conditions or not set(classes) <= set(conditions):
        return Finding("null", None, float("nan"), "asked only with all classes and the null")
    of_class = first[[conditions.index(k) for k in classes]]
    shares = torch.tensor(model.weights).reshape(-1, *(1,) * (of_class.dim() - 1))
    mean = (shares * of_class).sum(dim=0)
    spread = float((shares * (of_class - mean).square()).sum(dim=0).mean().sqrt())
    value = float((first[conditions.index(None)] - mean).square().mean().sqrt()) / max(spread, 1e-12)
    if hasattr(model, "prompts"):
        return Finding("null", None, value, "the null prompt against the mean of these prompts, to know")
    said = "below 0.5 at the highest noise: another null class, or has_null false if the model was trained without one"
    return Finding("null", value < 0.5, value, said)


def _clipping(model: Any, predictions: torch.Tensor) -> Finding:
    extreme = (predictions == predictions.max()) | (predictions == predictions.min())
    share = float(extreme.float().mean())
    said = "below 0.01 of D's values at its largest or smallest: switch clipping and thresholding of x_0 off"
    passed = share < 0.01 + 2.0 / predictions.numel()
    return Finding("clipping", passed if passed or hasattr(model, "network") else None, share, said)
