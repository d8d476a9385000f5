"""The law that a sampler without noise draws, as a density: a divergence from the truth without one sample.

Such a sampler is a map from pure noise to samples, step by step through noise levels sigma_0 > sigma_1 > ..., in the
variance-exploding frame. Where it carries the noise x_0 to the sample x, its density is

    log q(x) = log N(x_0; 0, sigma_0^2 I) - sum_k log |det J_k|,    J_k the Jacobian of step k along the way.

A step is a function (denoise, x, sigma, next sigma) to the next x, and `denoise(x, sigma)` the drift's D: x is (n, d),
sigma (n,). The exact flow of D, dx / d log sigma = x - D, is followed backward; finite steps are undone one by one.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture
from companion.exact.quadrature import normal_rule

Denoise = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Denoise, Tensor, float, float], Tensor]

_MOST_ROUNDS = 100  # halvings of a bracket: more than the digits of float64


def euler(denoise: Denoise, x: Tensor, sigma: float, following: float) -> Tensor:
    """One step of the probability-flow ODE with D held: DDIM without noise (first order; `following` may be 0)."""
    return torch.lerp(denoise(x, x.new_full((len(x),), sigma)), x, following / sigma)


def heun(denoise: Denoise, x: Tensor, sigma: float, following: float) -> Tensor:
    """The second-order step of EDM: the slope in sigma averaged over both ends, an Euler step where it ends at 0."""
    first = euler(denoise, x, sigma, following)
    if following == 0.0:
        return first
    slope = (first - denoise(first, x.new_full((len(x),), following))) / following
    return 0.5 * (x + first + (following - sigma) * slope)


def runge_kutta(denoise: Denoise, x: Tensor, sigma: float, following: float) -> Tensor:
    """The classical step of fourth order in log sigma, in which dx / d log sigma = x - D."""
    length = math.log(following / sigma)

    def slope(state: Tensor, share: float) -> Tensor:
        return state - denoise(state, x.new_full((len(x),), sigma * math.exp(share * length)))

    first = slope(x, 0.0)
    second = slope(x + 0.5 * length * first, 0.5)
    third = slope(x + 0.5 * length * second, 0.5)
    fourth = slope(x + length * third, 1.0)
    return x + length / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)


def back_along_the_flow(denoise: Denoise, x: Tensor, sigma: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Where the exact flow had the states x (n, d) at its first level: those states, and log |det| of that map (n,).

    `sigma` are the levels from noise to data, x lies at the last; the steps between them are of fourth order. Where the
    drift jumps at some level, go back to it and on from there.

    >>> points = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    >>> start, log_det = back_along_the_flow(lambda x, sigma: 0.0 * x, points, [2.0, 1.5, 1.0])   # data at 0: x / sigma
    >>> start.flatten().round(decimals=3).tolist(), log_det.round(decimals=3).tolist()
    ([1.0, 4.0], [0.693, 0.693])
    """
    log_det = x.new_zeros(len(x))
    for level, before in zip(reversed(sigma[1:]), reversed(sigma[:-1]), strict=True):
        x, jacobian = _differentiated(partial(_taken, runge_kutta, denoise, level, before), x)
        log_det += torch.linalg.slogdet(jacobian).logabsdet
    return x, log_det


def back_by_steps(denoise: Denoise, x: Tensor, sigma: Sequence[float], step: Step = euler) -> tuple[Tensor, Tensor]:
    """As `back_along_the_flow`, of a sampler with finite steps in one dimension: x (n, 1), sigma may end at 0.

    Each step is solved for the state before it, by Newton's method kept inside a bracket, to the last digits. Raises
    InputError for another dimension, and where a step is not increasing in x: it folds the line.

    >>> pair = lambda x, sigma: torch.tanh(x / sigma[:, None] ** 2)             # two points at -1 and 1
    >>> start, _ = back_by_steps(pair, torch.tensor([[0.5]], dtype=torch.float64), [2.0, 1.0])
    >>> euler(pair, start, 2.0, 1.0).item()
    0.5
    """
    if x.shape[1:] != (1,):
        raise InputError("x", f"of shape {tuple(x.shape)}", "states (n, 1) on a line")
    log_det = x.new_zeros(len(x))
    for level, before in zip(reversed(sigma[1:]), reversed(sigma[:-1]), strict=True):
        x, slope = _undone(partial(_taken, step, denoise, before, level), x, before)
        log_det -= slope.log()
    return x, log_det


def log_density(start: Tensor, log_det: Tensor, sigma: float) -> Tensor:
    """log q (n,) of samples that came from the states `start` (n, d) of pure noise of level `sigma`."""
    dimension = start.shape[1]
    return log_det - 0.5 * (start / sigma).square().sum(dim=1) - dimension * math.log(sigma * math.sqrt(2.0 * math.pi))


def states_of(
    law: GaussianMixture, condition: int | None, sigma: float = 0.0, nodes: int = 150
) -> tuple[Tensor, Tensor]:
    """States (n, d) of a class of a mixture, or of the whole, noised to `sigma`, and weights (n,) that make E_p a sum.

    Around each component lies a trapezoidal rule with `nodes` steps along each axis, in one dimension or two.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> x, weights = states_of(isotropic_mixture([[-1.0], [1.0]], 0.3), None, 0.4)
    >>> round(float(weights @ x[:, 0] ** 2), 9)                                          # 1 + 0.3^2 + 0.4^2
    1.25
    """
    units, shares = map(torch.from_numpy, normal_rule(nodes, law.shape[0]))
    everything = torch.arange(len(law.means))
    components = everything if condition is None else everything[law.component_classes == condition]
    states = []
    for c in components.tolist():
        offset = units * law.deviations[c].hypot(units.new_tensor(sigma))
        states.append(law.means[c] + (offset if law.axes is None else offset @ law.axes[c].T))
    weights = law.component_weights[components]
    return torch.cat(states), torch.outer(weights / weights.sum(), shares).ravel()


def divergence(
    law: GaussianMixture, condition: int | None, log_q: Callable[[Tensor], Tensor], sigma: float = 0.0, nodes: int = 150
) -> float:
    """KL(p || q) = E_p [log p - log q] in nats, p a class of a mixture, or the whole, noised to level `sigma`.

    `log_q` takes states (n, d) to (n,); the mean is the sum over `states_of`.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 1.0)
    >>> moved = lambda x: pair.log_density(x, torch.zeros(len(x)), 1)           # normals two deviations apart
    >>> round(divergence(pair, 0, moved), 9)
    2.0
    """
    x, weights = states_of(law, condition, sigma, nodes)
    return float(weights @ (law.log_density(x, x.new_full((len(x),), sigma), condition) - log_q(x)))


def _taken(step: Step, denoise: Denoise, sigma: float, following: float, x: Tensor) -> Tensor:
    return step(denoise, x, sigma, following)


def _differentiated(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The values (n, d) of a function of each row alone, and its Jacobians (n, d, d)."""
    at = x.detach().requires_grad_()
    values = function(at)
    last = values.shape[1] - 1
    rows = [torch.autograd.grad(values[:, k].sum(), at, retain_graph=k < last)[0] for k in range(last + 1)]
    return values.detach(), torch.stack(rows, dim=1)


def _undone(step: Callable[[Tensor], Tensor], target: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """The x (n, 1) with step(x) = target, and the slope (n,) there; `reach` is how far to look first."""
    low, high = target - reach, target + reach
    for _ in range(_MOST_ROUNDS):
        too_high, too_low = step(low) > target, step(high) < target
        if not bool((too_high | too_low).any()):
            break
        low, high = (
            torch.where(too_high, low - 2.0 * (high - low), low),
            torch.where(too_low, high + (high - low), high),
        )
    x = 0.5 * (low + high)
    for _ in range(_MOST_ROUNDS):
        value, jacobian = _differentiated(step, x)
        slope, missed = jacobian[:, 0], value - target
        low, high = torch.where(missed < 0.0, x, low), torch.where(missed > 0.0, x, high)
        newton = x - missed / slope
        settled = (newton - x).abs() <= 1e-13 * (reach + x.abs())
        inside = (newton > low) & (newton < high)
        if bool(settled.all()):
            break
        x = torch.where(inside | settled, newton, 0.5 * (low + high))
    if not bool((slope > 0.0).all()):
        raise InputError("step", "decreasing in x somewhere", "one that keeps the order of states: shorter steps")
    return x, slope[:, 0]
