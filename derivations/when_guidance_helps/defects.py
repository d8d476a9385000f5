"""Models with a known defect, on mixtures whose truth is known: what guidance could mend, and what it cannot.

D_c and D_0 are the true posterior means of a class and of the whole, p_c and p their laws, pi_c the classes' weights.
A defect makes other branches of them, behind the contract of every model. Where those are the branches of some law, its
posterior is the model's; where they are of none, the posterior is the true one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from companion.denoiser import Denoiser, FunctionDenoiser
from companion.exact.mixtures import GaussianMixture, full_mixture, isotropic_mixture

Branch = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# Four components on a line, two of them one class; three classes in a plane.
LINE = isotropic_mixture([[-2.5], [-1.0], [0.3], [2.0]], [0.35, 0.35, 0.5, 0.4], [0.15, 0.15, 0.4, 0.3], [0, 0, 1, 2])
PLANE = full_mixture(
    [[-1.5, 0.0], [-0.5, 1.5], [0.5, -0.5], [1.5, 0.5]],
    [[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.2]], [[0.4, -0.2], [-0.2, 0.3]], [[0.2, 0.0], [0.0, 0.4]]],
    [0.15, 0.15, 0.4, 0.3],
    [0, 0, 1, 2],
)


@dataclass(frozen=True, eq=False)
class Defect:
    """A model of `truth` with a defect; `law` is the law that its branches belong to, where they belong to one."""

    name: str
    truth: GaussianMixture
    model: Denoiser
    law: GaussianMixture | None = None

    def posterior(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(c | x) (batch, K) of the model, of the truth where the model has none."""
        return (self.law or self.truth).posterior(x, sigma)


def additive_leak(truth: GaussianMixture, share: float) -> GaussianMixture:
    """Every class mixed with the whole: p_c becomes (1 - e) p_c + e p, e the `share`, and p stays.

    >>> additive_leak(isotropic_mixture([[-1.0], [1.0]], 0.1), 0.2).component_weights.tolist()
    [0.4, 0.05, 0.05, 0.4, 0.05, 0.05]
    """
    members, weights, classes = [], [], []
    everything, weight = torch.arange(len(truth.means)), truth.component_weights
    for c, of_class in enumerate(truth.weights):
        own = everything[truth.component_classes == c]
        members += [own, everything]
        weights += [(1.0 - share) * weight[own], share * of_class * weight]
        classes += [torch.full((len(own) + len(everything),), c)]
    chosen = torch.cat(members)
    axes = None if truth.axes is None else truth.axes[chosen]
    return GaussianMixture(truth.means[chosen], truth.deviations[chosen], axes, torch.cat(weights), torch.cat(classes))


def weak_conditioning(truth: GaussianMixture, share: float, at: float | None = None) -> Denoiser:
    """D_c becomes D_0 + (1 - e) (D_c - D_0); with `at` only around that log-snr, e times `around`."""

    def branch(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        null = truth(x, sigma, None)
        if condition is None:
            return null
        lost = share if at is None else share * around(sigma, at)
        return torch.lerp(truth(x, sigma, condition), null, torch.as_tensor(lost, dtype=x.dtype))

    return _behind(truth, branch)


def offset(truth: GaussianMixture, size: float, at: float) -> Denoiser:
    """Both branches moved by one vector, of length `size` along every axis around the log-snr `at`."""
    return _behind(truth, lambda x, sigma, condition: truth(x, sigma, condition) + size * around(sigma, at))


def blurred(truth: GaussianMixture, class_width: float, null_width: float) -> Denoiser:
    """Classes and the whole convolved with normal laws of two widths: D_c belongs to p_c * N(0, b^2), D_0 likewise."""
    widths = truth.deviations.new_tensor([class_width, null_width])
    of_class, of_null = (replace(truth, deviations=truth.deviations.hypot(width)) for width in widths)

    def branch(x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        return of_null(x, sigma, None) if condition is None else of_class(x, sigma, condition)

    return _behind(truth, branch)


def pulled(truth: GaussianMixture, share: float) -> Denoiser:
    """Class means moved towards the mean of the whole by a `share` of the way; the null branch stays right."""
    middle = truth.component_weights @ truth.means
    moved = replace(truth, means=torch.lerp(truth.means, middle, share))
    return _behind(truth, lambda x, sigma, c: truth(x, sigma, None) if c is None else moved(x, sigma, c))


def other_weights(truth: GaussianMixture, component: int, factor: float) -> GaussianMixture:
    """One component `factor` times as probable inside its class, in both branches; the classes' weights stay."""
    weight = truth.component_weights.clone()
    weight[component] *= factor
    own = truth.component_classes == truth.component_classes[component]
    weight[own] *= truth.component_weights[own].sum() / weight[own].sum()
    return replace(truth, component_weights=weight)


def around(sigma: Tensor, at: float) -> Tensor:
    """A bump in log-snr (batch, 1), 1 at the level `at` and 0.6 a unit away."""
    return torch.exp(-0.5 * (-2.0 * sigma.log() - at) ** 2)[:, None]


def defects(truth: GaussianMixture) -> tuple[Defect, ...]:
    """The defects of the chapter's table."""
    small, large, odd = additive_leak(truth, 0.05), additive_leak(truth, 0.2), other_weights(truth, 0, 0.4)
    return (
        Defect("leak of 5%", truth, small, small),
        Defect("leak of 20%", truth, large, large),
        Defect("weak conditioning", truth, weak_conditioning(truth, 0.3)),
        Defect("weak at some noise", truth, weak_conditioning(truth, 0.6, 0.0)),
        Defect("pulled to the middle", truth, pulled(truth, 0.15)),
        Defect("blurred, null more", truth, blurred(truth, 0.2, 0.4)),
        Defect("blurred alike", truth, blurred(truth, 0.2, 0.2)),
        Defect("offset at some noise", truth, offset(truth, 0.15, 0.0)),
        Defect("one mode too rare", truth, odd, odd),
        Defect("too sure", truth, weak_conditioning(truth, -0.3)),
    )


def _behind(truth: GaussianMixture, branch: Branch) -> Denoiser:
    return FunctionDenoiser(branch, truth.shape, truth.classes, truth.weights, has_null=True, dtype=truth.dtype)
