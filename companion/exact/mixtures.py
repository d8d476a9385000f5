"""Gaussian mixtures whose denoiser, score and class posterior are known exactly, at every noise level.

A mixture p_0 = sum_c w_c N(mu_c, Sigma_c) stays one when noise is added: in the variance-exploding frame
x = x_0 + sigma eps component c is N(mu_c, Sigma_c + sigma^2 I). Components are grouped into classes, usually one
each. A component of standard deviation zero is a point. Tensors are float64; entropies are in nats.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from companion.arguments import Array, Condition, numbers, probabilities, whole_number
from companion.denoiser import digest_of
from companion.entropy import NULL, Partition
from companion.errors import InputError
from companion.exact.laws import NoisedLaw, class_entropy_of
from companion.exact.quadrature import mean_over_states
from companion.forward import Process

__all__ = ["GaussianMixture", "full_mixture", "isotropic_mixture"]

Numbers = ArrayLike | Tensor


@dataclass(frozen=True, eq=False)
class GaussianMixture(NoisedLaw):
    """An exact Gaussian mixture behind the denoiser contract; build it with `isotropic_mixture` or `full_mixture`.

    With lambda_c the standard deviations along the axes U_c of component c,

        D_c(x, sigma) = mu_c + U_c [ lambda_c^2 / (lambda_c^2 + sigma^2) ] U_c^T (x - mu_c),

    and D of a class, or of the whole mixture (condition None), is the average of its components' D_c under their
    posterior given x. Source: Tweedie's formula, ID 11; ES 11.

    `means` is (C, d), `deviations` (C,) for isotropic components or (C, d) along the columns of `axes` (C, d, d),
    `component_weights` (C,), `component_classes` (C,) int64. Defined for sigma >= 0, and > 0 where a deviation is zero.

    >>> mixture = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> x, sigma = torch.tensor([[0.5]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    >>> mixture(x, sigma, torch.tensor([0])).item(), round(mixture(x, sigma, None).item(), 9)
    (-1.0, 0.462117157)
    """

    means: Tensor
    deviations: Tensor
    axes: Tensor | None
    component_weights: Tensor
    component_classes: Tensor
    name: str = "gaussian mixture"
    dtype = torch.float64
    device = torch.device("cpu")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.means.shape[1],)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(str(k) for k in range(int(self.component_classes.max()) + 1))

    @property
    def weights(self) -> tuple[float, ...]:
        totals = torch.bincount(self.component_classes, self.component_weights)
        return tuple((totals / self.component_weights.sum()).tolist())

    @property
    def alike(self) -> bool:
        """Whether the components are isotropic and of one deviation."""
        return self.axes is None and bool((self.deviations == self.deviations[0]).all())

    @property
    def digest(self) -> str:
        axes = [] if self.axes is None else [self.axes]
        return digest_of(self.means, self.deviations, *axes, self.component_weights, self.component_classes)

    def entropy(self, log_snr: ArrayLike) -> Array:
        """The class entropy H(Z | X_t) = - sum_i pi_i E_i log p(i | x) at each log-snr, in nats, to about 1e-10.

        By quadrature, for the mixtures and with the errors of `quadrature.mean_over_states`. Source: ES 7.

        >>> float(isotropic_mixture([[-1.0], [1.0]], 0.0).entropy(0.0).round(10))            # kappa = 4 at sigma = 1
        0.3563163602
        """
        return mean_over_states(self, log_snr, lambda m, x, sigma: class_entropy_of(m.posterior(x, sigma)))

    def production(self, log_snr: ArrayLike) -> Array:
        """The class entropy lost per unit of log-snr, -dH/dlambda = (snr / 2) sum_i pi_i E_i | D_i - D |^2, in nats.

        Accuracy and errors are those of `entropy`. Source: ES 33, with the snr as the time.

        >>> float(isotropic_mixture([[-1.0], [1.0]], 0.0).production(0.0).round(10))         # kappa * -dH/dkappa
        0.2247997546
        """
        return mean_over_states(self, log_snr, _half_spread_of_classes)

    def log_density(self, x: Tensor, sigma: Tensor, condition: int | None = None) -> Tensor:
        """log p(x | z) = log sum_{c in z} (w_c / w_z) N(x; mu_c, Sigma_c + sigma^2 I), x (batch, d) to (batch,).

        Of the noised class `condition`, or of the whole mixture. Raises InputError for an unknown class. Source: ES 12.

        >>> zero = torch.zeros(1, dtype=torch.float64)
        >>> round(isotropic_mixture([[0.0], [0.0]], 1.0).log_density(zero[:, None], zero).item(), 9)  # 1/sqrt(2 pi)
        -0.918938533
        """
        components = self._components_of(condition)
        joint = self._log_joint(x, sigma, components)
        return torch.logsumexp(joint, dim=1) - self.component_weights[components].sum().log()

    def posterior(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(z | x) of every class in the mixture's own weights: x (batch, d) to (batch, K), by log-sum-exp (ES 46).

        >>> x, sigma = torch.full((1, 1), 0.5, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        >>> isotropic_mixture([[-1.0], [1.0]], 0.0).posterior(x, sigma).exp().round(decimals=6).tolist()
        [[0.268941, 0.731059]]
        """
        joint = self._log_joint(x, sigma, self._components_of(None))
        if len(self.classes) < len(self.means):
            groups = map(self._components_of, range(len(self.classes)))
            joint = torch.stack([torch.logsumexp(joint[:, group], dim=1) for group in groups], dim=1)
        return torch.log_softmax(joint, dim=1)

    def score(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """grad log p(x | z) = (D - x) / sigma^2, (batch, d) (ID 11); sigma may be 0 where no component is a point.

        >>> x, sigma = torch.full((1, 1), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        >>> isotropic_mixture([[0.0], [0.0]], 1.0).score(x, sigma).item()
        -0.5
        """
        # A width that all components share adds to the noise. Counted as noise, it keeps what is divided by from zero.
        shared = self.deviations.min()
        narrowed = replace(self, deviations=(self.deviations**2 - shared**2).sqrt())
        total = torch.sqrt(sigma**2 + shared**2)
        return (narrowed(x, total, condition) - x) / total[:, None] ** 2

    def diffused(self, process: Process, t: ArrayLike) -> "GaussianMixture":
        """The mixture p_t = sum_c w_c N(alpha mu_c, alpha^2 Sigma_c + sigma^2 I) of a process, in its own frame.

        Its density, class posterior and score at time t are its own at sigma = 0. Raises InputError for more than one
        time, a time outside the process, or one at which alpha or sigma is infinite. Source: ES 6, 12.

        >>> from companion.forward import rectified_flow
        >>> isotropic_mixture([[-1.0], [1.0]], 0.0).diffused(rectified_flow(), 0.25).means.tolist()
        [[-0.75], [0.75]]
        """
        time = process.check_time(t)
        if time.ndim != 0:
            raise InputError("t", t, "one time")
        alpha, sigma = float(process.alpha(time)), float(process.sigma(time))
        if not (math.isfinite(alpha) and math.isfinite(sigma)):
            raise InputError("t", t, "a time of finite alpha and sigma")
        spread = torch.hypot(alpha * self.deviations, torch.tensor(sigma, dtype=self.dtype))
        return replace(self, means=alpha * self.means, deviations=spread)

    def sample(self, count: int, generator: torch.Generator, condition: int | None = None) -> tuple[Tensor, Tensor]:
        """`count` clean samples (count, d) of a class, or of the whole mixture, and their classes (count,) int64.

        Raises InputError for fewer than one sample or an unknown class.

        >>> x, z = isotropic_mixture([[-1.0], [1.0]], 0.0).sample(100, torch.Generator().manual_seed(0))
        >>> bool((x[:, 0] == 2.0 * z - 1.0).all())
        True
        """
        count, components = whole_number("count", count, least=1), self._components_of(condition)
        drawn = torch.multinomial(self.component_weights[components], count, replacement=True, generator=generator)
        component, noise = components[drawn], torch.randn(count, *self.shape, dtype=self.dtype, generator=generator)
        noise = noise * self.deviations[component].reshape(count, -1)
        if self.axes is not None:
            for c in set(component.tolist()):
                noise[component == c] = noise[component == c] @ self.axes[c].T
        return self.means[component] + noise, self.component_classes[component]

    def sides(self, partition: Partition) -> "GaussianMixture":
        """The mixture whose two classes are the sides of a partition, in its prior: a question, answered exactly.

        Its entropy is what `profile` estimates for the same partition (ES 25, 99). A class of both sides has components
        in both. Raises InputError for a class that the mixture does not have.

        >>> from companion.entropy import partition
        >>> three = isotropic_mixture([[-5.0], [3.0], [5.0]], 0.1, [0.25, 0.25, 0.5])
        >>> [three.sides(partition(three, [0], [1, 2], prior)).weights for prior in ("balanced", "true")]
        [(0.5, 0.5), (0.25, 0.75)]
        """
        parts = []
        for side, prior in ((partition.first, partition.prior), (partition.second, 1.0 - partition.prior)):
            for branch, share in side.items():
                members = self._components_of(None if branch == NULL else branch)
                own = self.component_weights[members]
                weights = prior * share * own / own.sum()
                parts.append((members, weights, torch.full_like(members, side is partition.second)))
        chosen, weights, classes = map(torch.cat, zip(*parts, strict=True))
        axes = None if self.axes is None else self.axes[chosen]
        return GaussianMixture(self.means[chosen], self.deviations[chosen], axes, weights, classes, self.name)

    def _components_of(self, k: int | None) -> Tensor:
        if k is None:
            return torch.arange(len(self.means))
        components = torch.nonzero(self.component_classes == k)[:, 0]
        if len(components) == 0:
            raise InputError("condition", k, f"a class between 0 and {len(self.classes) - 1}")
        return components

    def _log_joint(self, x: Tensor, sigma: Tensor, components: Tensor) -> Tensor:
        """log w_c + log N(x; mu_c, Sigma_c + sigma^2 I), (batch, len(components))."""
        dimension = self.means.shape[1]
        if self.axes is None:
            total = self.deviations[components] ** 2 + sigma[:, None] ** 2
            # Differences, not the expanded square, which loses all digits at small sigma.
            distance = torch.cdist(x, self.means[components], compute_mode="donot_use_mm_for_euclid_dist")
            exponent = distance**2 / total + dimension * total.log()
        else:
            total = self.deviations[components] ** 2 + sigma[:, None, None] ** 2
            exponent = (self._along_axes(x, components) ** 2 / total + total.log()).sum(dim=2)
        return self.component_weights[components].log() - 0.5 * (exponent + dimension * math.log(2.0 * math.pi))

    def _along_axes(self, x: Tensor, components: Tensor) -> Tensor:
        """U_c^T (x - mu_c), (batch, len(components), d)."""
        assert self.axes is not None
        return torch.einsum("bcd,cde->bce", x[:, None] - self.means[components], self.axes[components])

    def _denoised(self, x: Tensor, sigma: Tensor, condition: int | None) -> Tensor:
        components = self._components_of(condition)
        if len(components) == 1 and self.axes is None:  # the estimator's innermost call: no posterior, no gather
            c = int(components)
            return torch.lerp(self.means[c], x, _shrinkage(self.deviations[c], sigma[:, None]))
        return self._averaged(torch.softmax(self._log_joint(x, sigma, components), dim=1), x, sigma, components)

    def _averaged(self, share: Tensor, x: Tensor, sigma: Tensor, components: Tensor) -> Tensor:
        """sum_c share_c D_c(x, sigma), (batch, d), of shares (batch, len(components))."""
        means, deviations = self.means[components], self.deviations[components]
        if self.axes is None:
            kept = share * _shrinkage(deviations, sigma[:, None])
            return (share - kept) @ means + kept.sum(dim=1, keepdim=True) * x
        along = self._along_axes(x, components) * _shrinkage(deviations, sigma[:, None, None])
        return share @ means + torch.einsum("bc,bce,cde->bd", share, along, self.axes[components])


def isotropic_mixture(
    means: Numbers, deviation: Numbers, weights: Numbers | None = None, component_classes: Numbers | None = None
) -> GaussianMixture:
    """A mixture of N(mu_c, s_c^2 I), the cheap case in any dimension. Source: ES 11.

    `means` is (C, d); `deviation` one s >= 0 for all components or one each; `weights` are the components'
    probabilities, equal by default; `component_classes` says which class each belongs to, by default its own. Raises
    InputError for shapes that disagree, numbers that are not finite, weights that are no probabilities, or classes that
    are not numbered from 0 without gaps.

    >>> isotropic_mixture([[-4.0], [-2.0], [2.0], [4.0]], 0.1, component_classes=[0, 0, 1, 1]).weights
    (0.5, 0.5)
    """
    centres, weight, classes = _checked(means, weights, component_classes)
    expected = f"finite standard deviations of at least 0, one or one for each of {len(centres)} components"
    deviations = _as_tensor("deviation", deviation, expected, lambda s: (s >= 0.0) & np.isfinite(s))
    if deviations.shape not in ((), (len(centres),)):
        raise InputError("deviation", deviation, expected)
    return GaussianMixture(centres, deviations.expand(len(centres)).contiguous(), None, weight, classes)


def full_mixture(
    means: Numbers, covariances: Numbers, weights: Numbers | None = None, component_classes: Numbers | None = None
) -> GaussianMixture:
    """A mixture of N(mu_c, Sigma_c) with `covariances` (C, d, d); InputError unless symmetric and positive definite.

    The other arguments are those of `isotropic_mixture`, and so is what else is raised.

    >>> full_mixture([[0.0, 0.0], [1.0, 0.0]], torch.eye(2).expand(2, 2, 2)).deviations.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    centres, weight, classes = _checked(means, weights, component_classes)
    shape = (*centres.shape, centres.shape[1])
    expected = f"finite, symmetric and positive definite matrices of shape {shape}"
    covariance = _as_tensor("covariances", covariances, expected)
    if covariance.shape != shape or not torch.allclose(covariance, covariance.mT):
        raise InputError("covariances", covariances, expected)
    variances, axes = torch.linalg.eigh(covariance)
    if not bool((variances > 0.0).all()):
        raise InputError("covariances", f"of eigenvalues {variances.min():.3g} and up", expected)
    return GaussianMixture(centres, variances.sqrt(), axes, weight, classes)


def _shrinkage(deviations: Tensor, sigma: Tensor) -> Tensor:
    return deviations**2 / (deviations**2 + sigma**2)


def _half_spread_of_classes(mixture: GaussianMixture, x: Tensor, sigma: Tensor) -> Tensor:
    """(snr / 2) sum_z p(z | x) |D_z - D|^2, in nats, so that one tolerance serves every level."""
    everything = mixture._components_of(None)
    share = torch.softmax(mixture._log_joint(x, sigma, everything), dim=1)
    if mixture.alike and len(mixture.classes) == len(mixture.means):  # then D_c - D = (1 - kept) (mu_c - E[mu | x])
        apart = torch.cdist(share @ mixture.means, mixture.means, compute_mode="donot_use_mm_for_euclid_dist")
        return 0.5 * (share * apart.square_()).sum(dim=1) * (sigma / (mixture.deviations[0] ** 2 + sigma**2)) ** 2
    mean, total = mixture._averaged(share, x, sigma, everything), torch.zeros_like(sigma)
    for k in range(len(mixture.classes)):
        members = mixture._components_of(k)
        weight = share[:, members].sum(dim=1, keepdim=True)
        # weight (D_z - D); a class of probability zero contributes nothing.
        moved = mixture._averaged(share[:, members], x, sigma, members) - weight * mean
        total += (moved.square() / weight.clamp(min=1e-300)).sum(dim=1)
    return 0.5 * total / sigma**2


def _checked(means: Any, weights: Any, component_classes: Any) -> tuple[Tensor, Tensor, Tensor]:
    expected = "finite numbers of shape (components, dimension)"
    centres = _as_tensor("means", means, expected)
    if centres.ndim != 2 or centres.shape[1] == 0:
        raise InputError("means", means, expected)
    count = len(centres)
    weight = probabilities("weights", np.full(count, 1.0 / count) if weights is None else weights, count=count)
    expected = f"{count} classes, at least two, numbered 0, 1, ... without gaps"
    given = range(count) if component_classes is None else component_classes
    classes = _as_tensor("component_classes", given, expected)
    present = set(classes.tolist()) if classes.shape == (count,) else set()
    if len(present) < 2 or present != set(range(len(present))):
        raise InputError("component_classes", component_classes, expected)
    return centres, torch.from_numpy(np.array(weight)), classes.to(torch.int64)


def _as_tensor(argument: str, value: Any, expected: str, holds: Condition = np.isfinite) -> Tensor:
    return torch.from_numpy(np.array(numbers(argument, value, expected, holds)))
