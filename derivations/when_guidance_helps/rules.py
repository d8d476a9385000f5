"""Rules of guidance, and two divergences of what they draw from the truth: no samples, no chance.

    D_w = D_0 + w (D_c - D_0),    w = 1 for none

A rule is a function (x, sigma, class) to D_w. `sampled` follows the probability-flow ODE of D_w and compares the law of
its samples with the true class; `along_paths` compares the noised truth with the paths of the reverse SDE,

    KL = sum_c pi_c (1/2) int E_c |D_c^true - D_w|^2 dsnr,

which is a quadrature. `denoising` has the weight that minimises the second, level by level.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from torch import Tensor

from companion.arguments import Array
from companion.denoiser import Denoiser
from companion.exact.mixtures import GaussianMixture
from companion.forward import central_interval, noise_of
from derivations.kit.pushed_forward import back_along_the_flow, log_density, states_of
from derivations.when_guidance_helps.defects import Branch, Defect

Weight = Callable[[Tensor], Tensor]  # of the levels sigma (n,), to (n,)

FIRST, LAST = -18.0, 6.0  # log-snr of the pure noise, and of the samples
LEVELS = np.linspace(-8.0, LAST, 57)  # of weights that are a function of the level
MOST = 100.0  # the largest weight that a state may ask for

_STEP = 0.3  # of the ODE in log-snr, at most: the fourth order then leaves less than 1e-7 nats
_JUMP = 1e-5  # a weight that jumps does so within one step of twice this length, which errs by its length

# The search for an interval: every pair of these ends with every weight, then finer grids around the best.
_ENDS = np.array([FIRST, -3.5, -2.0, -0.5, 1.0, 2.5, LAST])
_WEIGHTS = np.array([0.7, 1.25, 1.6, 2.2, 3.5])


@dataclass(frozen=True)
class Interval:
    """The weight `weight` between two log-snr, 1 elsewhere."""

    weight: float
    first: float = FIRST
    last: float = LAST


def sampled(rule: Branch, truth: GaussianMixture, jumps: Sequence[float] = (), nodes: int = 60) -> float:
    """sum_c pi_c KL(p_c || q_c) in nats, q_c what the guided ODE draws for class c, both at log-snr `LAST`.

    `jumps` are the log-snr at which the rule's weight jumps.
    """
    return float(_all_sampled(rule, truth, jumps, nodes)[0])


def _all_sampled(rule: Branch, truth: GaussianMixture, jumps: Sequence[float], nodes: int, rules: int = 1) -> Array:
    """The divergences of so many rules at once; `rule` gets the states of the first, then those of the second, ..."""
    sigma = noise_of(_levels(jumps)).tolist()
    x, condition, weights = _states(truth, sigma[-1], nodes)
    here = x.new_full((len(x),), sigma[-1])
    log_p = torch.cat(
        [truth.log_density(x[condition == c], here[condition == c], c) for c in range(len(truth.classes))]
    )
    every = condition.repeat(rules)
    start, log_det = back_along_the_flow(lambda at, noise: rule(at, noise, every), x.repeat(rules, 1), sigma)
    return np.asarray((log_p - log_density(start, log_det, sigma[0]).reshape(rules, -1)) @ weights)


def along_paths(rule: Branch, truth: GaussianMixture, jumps: Sequence[float] = (), nodes: int = 60) -> float:
    """The divergence of the noised truth from the paths of the rule's reverse SDE, in nats: half an integral in snr."""
    levels = _levels(jumps)
    return float(np.trapezoid(0.5 * np.exp(levels) * mean_square(rule, truth, levels, nodes), levels))


def mean_square(rule: Branch, truth: GaussianMixture, log_snr: ArrayLike, nodes: int = 60) -> Array:
    """sum_c pi_c E_c |D_c^true - D_w|^2 at each log-snr: what a rule's prediction misses beside the least loss."""
    x, sigma, condition, weights = _noised(truth, log_snr, nodes)
    return _summed((truth(x, sigma, condition) - rule(x, sigma, condition)).square(), weights)


def denoising(model: Denoiser, truth: GaussianMixture, log_snr: ArrayLike, nodes: int = 60) -> tuple[Array, Array]:
    """The weight w* that minimises E|x_0 - D_w|^2 at each log-snr, and E|D_c - D_0|^2, both (levels,), by quadrature.

    `companion.estimate.best_weight` measures the same on samples.
    """
    x, sigma, condition, weights = _noised(truth, log_snr, nodes)
    null = model(x, sigma, None)
    apart = model(x, sigma, condition) - null
    spread = _summed(apart.square(), weights)
    return _summed((truth(x, sigma, condition) - null) * apart, weights) / spread, spread


def _noised(truth: GaussianMixture, log_snr: ArrayLike, nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States of all classes at all levels, their sigma and class, and their weights (levels, states of one)."""
    sigmas = noise_of(np.atleast_1d(log_snr)).tolist()
    x, condition, weights = map(torch.stack, zip(*(_states(truth, sigma, nodes) for sigma in sigmas), strict=True))
    sigma = x.new_tensor(sigmas).repeat_interleave(x.shape[1])
    return x.flatten(0, 1), sigma, condition.flatten(), weights


def _summed(values: Tensor, weights: Tensor) -> Array:
    return np.asarray((weights * values.sum(dim=1).reshape(weights.shape)).sum(dim=1))


def by_interval(model: Denoiser, rule: Interval) -> Branch:
    """D_w of a weight between two levels."""

    def weight(sigma: Tensor) -> Tensor:
        level = -2.0 * sigma.log()
        inside = (level > rule.first - 0.5 * _JUMP) & (level < rule.last + 0.5 * _JUMP)  # the ends of all levels too
        return torch.where(inside, level.new_tensor(rule.weight), 1.0)

    return _led(model, weight)


def by_level(model: Denoiser, log_snr: Array, weights: Array) -> Branch:
    """D_w of a weight that is a function of the level, linear between `log_snr` and constant beyond."""

    def weight(sigma: Tensor) -> Tensor:
        return torch.from_numpy(np.interp(-2.0 * np.log(sigma.numpy()), log_snr, weights))

    return _led(model, weight)


def by_feedback(defect: Defect, leak: float) -> Branch:
    """D_w of the weight that mends an additive leak e, w(x) = p / (p - e pi_c) with p = p(c | x) of the model.

    At most `MOST`, also where p does not exceed e pi_c, which a leak of that size does not allow.
    """
    shares = torch.tensor(defect.truth.weights, dtype=torch.float64)

    def rule(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        assert condition is not None
        present = defect.posterior(x, sigma).exp().gather(1, condition[:, None])
        rest = present - leak * shares[condition][:, None]
        weight = (present / rest.clamp(min=1e-300)).where(rest * MOST > present, rest.new_tensor(MOST))
        null = defect.model(x, sigma, None)
        return null + weight * (defect.model(x, sigma, condition) - null)

    return rule


def _led(model: Denoiser, weight_at: Weight) -> Branch:
    def rule(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        null = model(x, sigma, None)
        return null + weight_at(sigma)[:, None] * (model(x, sigma, condition) - null)

    return rule


def window(truth: GaussianMixture, share: float = 0.8) -> tuple[float, float]:
    """The two log-snr between which the central `share` of the class entropy is produced."""
    levels = np.linspace(-10.0, 10.0, 161)
    return central_interval(levels, np.maximum(truth.production(levels), 0.0), share)


def best_leak(defect: Defect, nodes: int = 60) -> float:
    """The leak e whose feedback weight denoises best: the least divergence of the paths."""

    def missed(leak: float) -> float:
        return along_paths(by_feedback(defect, leak), defect.truth, nodes=nodes)

    found = minimize_scalar(missed, bounds=(0.0, 0.5), method="bounded", options={"xatol": 1e-7})
    return float(found.x) if found.fun < missed(0.0) else 0.0


def search_weight(defect: Defect, first: float = FIRST, last: float = LAST, nodes: int = 60) -> Interval:
    """The weight between two levels whose samples are nearest to the truth: a grid, and finer ones around its best."""
    weights = np.geomspace(0.4, 5.0, 13)
    for factor in (1.2, 1.04, 1.008):
        best = _nearest(defect, [Interval(float(weight), first, last) for weight in weights], nodes)
        weights = best.weight * factor ** np.linspace(-1.0, 1.0, 7)
    return _nearest(defect, [Interval(float(weight), first, last) for weight in weights], nodes)


def search_interval(defect: Defect, searched: int = 20, nodes: int = 60) -> Interval:
    """The weight and the interval whose samples are nearest to the truth: a grid, and finer ones around its best.

    The search takes `searched` nodes, and at the end `search_weight` takes `nodes`.
    """
    weights, firsts, lasts = _WEIGHTS, _ENDS[:-1], _ENDS[1:]
    for width, factor in ((0.75, 1.25), (0.3, 1.1), (0.12, 1.04), (0.0, 1.0)):
        ends = [(float(a), float(b)) for a in firsts for b in lasts if a < b - 2.0 * _JUMP]
        rules = [Interval(float(weight), *between) for weight in weights for between in ends]
        best = _nearest(defect, rules, searched)
        weights = best.weight * factor ** np.array([-1.0, 0.0, 1.0])
        firsts, lasts = (_around(end, width) for end in (best.first, best.last))
    return search_weight(defect, best.first, best.last, nodes)


def _around(end: float, width: float) -> Array:
    """Where the end of an interval may lie better: at both sides, but the ends of all levels stay."""
    return np.array([end]) if end in (FIRST, LAST) else np.clip(end + width * np.array([-1.0, 0.0, 1.0]), FIRST, LAST)


def _nearest(defect: Defect, rules: Sequence[Interval], nodes: int) -> Interval:
    return rules[int(np.argmin(all_sampled(defect, rules, nodes)))]


def all_sampled(defect: Defect, rules: Sequence[Interval], nodes: int = 60) -> Array:
    """`sampled` of many weights and intervals at once, (rules,)."""
    table = torch.tensor([(each.weight, each.first, each.last) for each in rules], dtype=torch.float64)

    def of_rules(sigma: Tensor) -> Tensor:
        level = -2.0 * sigma.log()
        weight, first, last = table.repeat_interleave(len(sigma) // len(table), dim=0).T
        return torch.where((level > first - 0.5 * _JUMP) & (level < last + 0.5 * _JUMP), weight, 1.0)

    jumps = sorted({end for each in rules for end in jumps_of(each)})
    return _all_sampled(_led(defect.model, of_rules), defect.truth, jumps, nodes, len(rules))


def jumps_of(rule: Interval) -> tuple[float, ...]:
    """The log-snr at which its weight jumps."""
    return tuple(end for end in (rule.first, rule.last) if FIRST < end < LAST)


def _states(truth: GaussianMixture, sigma: float, nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """States (n, d) of all classes, their class, and their weights pi_c p_c dx, class by class."""
    parts = []
    for c, share in enumerate(truth.weights):
        x, weights = states_of(truth, c, sigma, nodes)
        parts.append((x, torch.full((len(x),), c), share * weights))
    x, condition, weights = map(torch.cat, zip(*parts, strict=True))
    return x, condition, weights


def _levels(jumps: Sequence[float]) -> Array:
    """Log-snr from noise to data, with a level on both sides of each jump."""
    ends = [FIRST, *sorted(jumps), LAST]
    parts = []
    for low, high in pairwise(ends):
        start, end = low + _JUMP * (low > FIRST), high - _JUMP * (high < LAST)
        parts.append(np.linspace(start, end, int(np.ceil((high - low) / _STEP)) + 1))
    return np.concatenate(parts)
