"""Gaussian mixtures whose denoiser, score and class posterior are known exactly, at every noise level.

A mixture p_0 = sum_c w_c N(mu_c, Sigma_c) stays one when noise is added: in the variance-exploding frame
x = x_0 + sigma eps component c is N(mu_c, Sigma_c + sigma^2 I). Components are grouped into classes, usually one
each. A component of standard deviation zero is a point. Tensors are float64; entropies elsewhere are in nats.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from companion.arguments import number, numbers, whole_number
from companion.denoiser import digest_of
from companion.entropy import NULL, Partition
from companion.errors import InputError
from companion.exact.laws import class_entropy_of
from companion.exact.quadrature import mean_over_states
from companion.forward import Process

__all__ = ["GaussianMixture", "density", "full_mixture", "isotropic_mixture"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """An exact Gaussian mixture behind the denoiser contract; build it with `isotropic_mixture` or `full_mixture`.

    With lambda_c the standard deviations along the axes U_c of component c and y = U_c^T (x - mu_c),

        D_c(x, sigma) = mu_c + U_c [ lambda_c^2 / (lambda_c^2 + sigma^2) ] y,

    and D of a class, or of the whole mixture (condition None), is the average of its components' D_c under their
    posterior given x. Source: Tweedie's formula, ID 11; ES 11.

    `means` is (C, d), `deviations` (C,) for isotropic components or (C, d) along the columns of `axes` (C, d, d),
    `component_weights` (C,), `component_classes` (C,) int64. The mixture is defined for every sigma >= 0, and for
    sigma > 0 where a deviation is zero.

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
    has_null: bool = field(default=True, init=False)
    log_snr_range: tuple[float, float] = field(default=(-math.inf, math.inf), init=False)
    dtype: torch.dtype = field(default=torch.float64, init=False)
    device: torch.device = field(default=torch.device("cpu"), init=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.means.shape[1],)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(str(k) for k in range(int(self.component_classes.max()) + 1))

    @property
    def weights(self) -> tuple[float, ...]:
        totals = [self.component_weights[self.component_classes == k].sum() for k in range(len(self.classes))]
        return tuple((torch.stack(totals) / self.component_weights.sum()).tolist())

    @property
    def digest(self) -> str:
        axes = [] if self.axes is None else [self.axes]
        return digest_of(self.means, self.deviations, *axes, self.component_weights, self.component_classes)

    def __call__(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            return self._denoised(x, sigma, torch.arange(len(self.means)))
        present = sorted(set(condition.tolist()))
        result = torch.empty_like(x)
        for k in present:
            rows = slice(None) if len(present) == 1 else condition == k
            result[rows] = self._denoised(x[rows], sigma[rows], self._components_of(k))
        return result

    def entropy(self, log_snr: ArrayLike) -> Array:
        """The class entropy H(Z | X_t) at each log-snr, in nats, to about 1e-10.

            H = - sum_i pi_i E_i log p(i | x)

        By quadrature, for the mixtures and with the errors of `quadrature.mean_over_states`. Source: ES 7.

        >>> float(isotropic_mixture([[-1.0], [1.0]], 0.0).entropy(0.0).round(10))            # kappa = 4 at sigma = 1
        0.3563163602
        """
        return mean_over_states(self, log_snr, lambda m, x, sigma: class_entropy_of(m.posterior(x, sigma)))

    def production(self, log_snr: ArrayLike) -> Array:
        """The class entropy lost per unit of log-snr, -dH/dlambda >= 0, at each log-snr, in nats.

            -dH/dlambda = (snr / 2) sum_i pi_i E_i | D_i - D |^2

        Accuracy and errors are those of `entropy`. Source: ES 33, with the snr as the time.

        >>> float(isotropic_mixture([[-1.0], [1.0]], 0.0).production(0.0).round(10))         # kappa * -dH/dkappa
        0.2247997546
        """
        return mean_over_states(self, log_snr, _half_spread_of_predictions)

    def log_density(self, x: Tensor, sigma: Tensor, condition: int | None = None) -> Tensor:
        """log p(x | z) of the noised class `condition`, or of the whole mixture: x (batch, d) to (batch,).

            p(x | z) = sum_{c in z} (w_c / w_z) N(x; mu_c, Sigma_c + sigma^2 I)

        Source: ES 12. Raises InputError for an unknown class.

        >>> standard = isotropic_mixture([[0.0], [0.0]], 1.0)
        >>> zero = torch.zeros(1, dtype=torch.float64)
        >>> round(standard.log_density(zero[:, None], zero).item(), 9)     # log of 1/sqrt(2 pi)
        -0.918938533
        """
        components = torch.arange(len(self.means)) if condition is None else self._components_of(condition)
        joint = self._log_joint(x, sigma, components)
        return torch.logsumexp(joint, dim=1) - self.component_weights[components].sum().log()

    def posterior(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(z | x) of every class in the mixture's own weights: x (batch, d) to (batch, K), by log-sum-exp (ES 46).

        >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
        >>> at = torch.full((1, 1), 0.5, dtype=torch.float64)
        >>> pair.posterior(at, torch.ones(1, dtype=torch.float64)).exp().round(decimals=6).tolist()
        [[0.268941, 0.731059]]
        """
        joint = self._log_joint(x, sigma, torch.arange(len(self.means)))
        if len(self.classes) < len(self.means):
            groups = [self.component_classes == k for k in range(len(self.classes))]
            joint = torch.stack([torch.logsumexp(joint[:, group], dim=1) for group in groups], dim=1)
        return torch.log_softmax(joint, dim=1)

    def score(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """The score of the noised class or mixture, (batch, d); sigma may be 0 where no component is a point.

            grad log p(x | z) = (D - x) / sigma^2

        Source: ID 11.

        >>> standard = isotropic_mixture([[0.0], [0.0]], 1.0)
        >>> standard.score(torch.full((1, 1), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)).item()
        -0.5
        """
        # A width that all components share adds to the noise. Counted as noise, it keeps what is divided by from zero.
        shared = self.deviations.min()
        narrowed = replace(self, deviations=(self.deviations**2 - shared**2).sqrt())
        total = torch.sqrt(sigma**2 + shared**2)
        return (narrowed(x, total, condition) - x) / total[:, None] ** 2

    def diffused(self, process: Process, t: ArrayLike) -> "GaussianMixture":
        """The mixture p_t of a process at one time t, in the process's own frame: the law of alpha x_0 + sigma eps.

            p_t = sum_c w_c N(alpha mu_c, alpha^2 Sigma_c + sigma^2 I)

        Its density, class posterior and score at time t are its own at sigma = 0. Raises InputError for more than one
        time, a time outside the process, or one at which alpha or sigma is infinite. Source: ES 6, 12.

        >>> from companion.forward import rectified_flow
        >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0).diffused(rectified_flow(), 0.25)
        >>> pair.means.flatten().tolist(), pair.deviations.tolist()
        ([-0.75, 0.75], [0.25, 0.25])
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

        >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
        >>> x, z = pair.sample(100, torch.Generator().manual_seed(0))
        >>> bool((x[:, 0] == 2.0 * z - 1.0).all())
        True
        """
        count = whole_number("count", count, least=1)
        components = torch.arange(len(self.means)) if condition is None else self._components_of(condition)
        drawn = torch.multinomial(self.component_weights[components], count, replacement=True, generator=generator)
        component = components[drawn]
        noise = torch.randn(count, *self.shape, dtype=self.dtype, generator=generator)
        noise = noise * self.deviations[component].reshape(count, -1)
        if self.axes is not None:
            for c in set(component.tolist()):
                noise[component == c] = noise[component == c] @ self.axes[c].T
        return self.means[component] + noise, self.component_classes[component]

    def sample_noised(
        self, count: int, sigma: float, generator: torch.Generator, condition: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """`sample` followed by noise of level `sigma`: x_0 + sigma eps (count, d), and the classes (count,).

        Raises InputError as `sample` does, and for a sigma that is negative or not finite.
        """
        sigma = number("sigma", sigma, "a finite noise level of at least 0", lambda x: (x >= 0.0) & np.isfinite(x))
        clean, classes = self.sample(count, generator, condition)
        return clean + sigma * torch.randn(clean.shape, dtype=self.dtype, generator=generator), classes

    def sides(self, partition: Partition) -> "GaussianMixture":
        """The mixture whose two classes are the sides of a partition, in its prior: a question, answered exactly.

        Its entropy is what `profile` estimates for the same partition (ES 25, 99). A class of both sides has components
        in both. Raises InputError for a class that the mixture does not have.

        >>> from companion.entropy import partition
        >>> four = isotropic_mixture([[-5.0], [-3.0], [3.0], [5.0]], 0.1, [0.4, 0.4, 0.1, 0.1])
        >>> four.sides(partition(four, [0, 1], [2, 3])).weights
        (0.5, 0.5)
        >>> [round(weight, 6) for weight in four.sides(partition(four, [0, 1], [2, 3], "true")).weights]
        [0.8, 0.2]
        """
        components, weights, classes = [], [], []
        for side, prior in ((partition.first, partition.prior), (partition.second, 1.0 - partition.prior)):
            for branch, share in side.items():
                members = torch.arange(len(self.means)) if branch == NULL else self._components_of(branch)
                own = self.component_weights[members]
                components.append(members)
                weights.append(prior * share * own / own.sum())
                classes.append(torch.full_like(members, side is partition.second))
        chosen = torch.cat(components)
        return GaussianMixture(
            means=self.means[chosen],
            deviations=self.deviations[chosen],
            axes=None if self.axes is None else self.axes[chosen],
            component_weights=torch.cat(weights),
            component_classes=torch.cat(classes),
            name=self.name,
        )

    def _components_of(self, k: int) -> Tensor:
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
            exponent = torch.stack([self._exponent_along_axes(x, sigma, self.axes[c], c) for c in components], dim=1)
        log_weights = self.component_weights[components].log()
        return log_weights - 0.5 * (exponent + dimension * math.log(2.0 * math.pi))

    def _exponent_along_axes(self, x: Tensor, sigma: Tensor, axes: Tensor, c: Tensor) -> Tensor:
        total = self.deviations[c] ** 2 + sigma[:, None] ** 2
        along = (x - self.means[c]) @ axes
        return (along**2 / total + total.log()).sum(dim=1)

    def _denoised(self, x: Tensor, sigma: Tensor, components: Tensor) -> Tensor:
        """The posterior mean over some components."""
        if len(components) == 1 and self.axes is None:  # the estimator's innermost call: no posterior, no gather
            c = int(components)
            return torch.lerp(self.means[c], x, self._shrinkage(sigma, c))
        if len(components) == 1:
            return self._denoised_by(x, sigma, int(components))
        responsibility = torch.softmax(self._log_joint(x, sigma, components), dim=1)
        if self.axes is None:
            kept = responsibility * self._shrinkage(sigma, components)
            return (responsibility - kept) @ self.means[components] + kept.sum(dim=1, keepdim=True) * x
        result = torch.zeros_like(x)
        for share, c in zip(responsibility.unbind(dim=1), components.tolist(), strict=True):
            result += share[:, None] * self._denoised_by(x, sigma, c)
        return result

    def _denoised_by(self, x: Tensor, sigma: Tensor, c: int) -> Tensor:
        assert self.axes is not None
        along = (x - self.means[c]) @ self.axes[c]
        return self.means[c] + (along * self._shrinkage(sigma, c)) @ self.axes[c].T

    def _shrinkage(self, sigma: Tensor, c: int | Tensor) -> Tensor:
        """lambda^2 / (lambda^2 + sigma^2), (batch, 1) or one column for each component or axis."""
        signal = self.deviations[c] ** 2
        return signal / (signal + sigma[:, None] ** 2)


def isotropic_mixture(
    means: Sequence[Sequence[float]] | Tensor,
    deviation: float | Sequence[float] | Tensor,
    weights: Sequence[float] | Tensor | None = None,
    component_classes: Sequence[int] | Tensor | None = None,
) -> GaussianMixture:
    """A mixture of N(mu_c, s_c^2 I), the cheap case in any dimension.

    `means` is (C, d); `deviation` one standard deviation s >= 0 for all components or one each; `weights` are the
    components' probabilities, equal by default; `component_classes` says which class each belongs to, by default its
    own. Raises InputError where shapes disagree, numbers are not finite, weights are not probabilities that sum to
    one, or classes are not numbered from 0 without gaps. Source: ES 11.

    >>> isotropic_mixture([[-4.0], [-2.0], [2.0], [4.0]], 0.1, component_classes=[0, 0, 1, 1]).weights
    (0.5, 0.5)
    """
    centres, weight, classes = _checked(means, weights, component_classes)
    deviations = _as_tensor("deviation", deviation, "finite standard deviations of at least 0")
    if deviations.ndim > 1 or (deviations.ndim == 1 and len(deviations) != len(centres)):
        raise InputError("deviation", deviation, f"one number or one for each of {len(centres)} components")
    if not bool((torch.isfinite(deviations) & (deviations >= 0.0)).all()):
        raise InputError("deviation", deviation, "finite standard deviations of at least 0")
    return GaussianMixture(centres, deviations.expand(len(centres)).contiguous(), None, weight, classes)


def full_mixture(
    means: Sequence[Sequence[float]] | Tensor,
    covariances: Tensor,
    weights: Sequence[float] | Tensor | None = None,
    component_classes: Sequence[int] | Tensor | None = None,
) -> GaussianMixture:
    """A mixture of N(mu_c, Sigma_c) with `covariances` (C, d, d), symmetric and positive definite.

    The other arguments are those of `isotropic_mixture`, and so is what is raised; InputError also for a covariance
    that is not symmetric or not positive definite.

    >>> mixture = full_mixture([[0.0, 0.0], [1.0, 0.0]], torch.eye(2).expand(2, 2, 2))
    >>> mixture.deviations.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    centres, weight, classes = _checked(means, weights, component_classes)
    count, dimension = centres.shape
    covariance = _as_tensor("covariances", covariances, f"numbers of the shape {(count, dimension, dimension)}")
    if covariance.shape != (count, dimension, dimension):
        raise InputError("covariances", tuple(covariance.shape), f"the shape {(count, dimension, dimension)}")
    if not bool(torch.isfinite(covariance).all()) or not torch.allclose(covariance, covariance.mT):
        raise InputError("covariances", covariance.tolist(), "finite symmetric matrices")
    variances, axes = torch.linalg.eigh(covariance)
    if not bool((variances > 0.0).all()):
        raise InputError("covariances", f"of eigenvalues {variances.min():.3g} and up", "positive definite matrices")
    return GaussianMixture(centres, variances.sqrt(), axes, weight, classes)


def density(mixture: GaussianMixture, process: Process, t: ArrayLike, x: ArrayLike) -> Array:
    """The density p_t(x) of a one-dimensional mixture in a process's own frame; t and x broadcast.

        p_t(x) = sum_c w_c N(x; alpha mu_c, alpha^2 s_c^2 + sigma^2)

    Raises InputError for a mixture of another dimension, times outside the process, or a point without noise.
    Source: ES 6, 12.

    >>> from companion.forward import rectified_flow
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> float(density(pair, rectified_flow(), 1.0, 0.0).round(9))                # nothing but noise is left
    0.39894228
    """
    if mixture.shape != (1,):
        raise InputError("mixture", f"of shape {mixture.shape}", "a one-dimensional mixture")
    times, positions = np.broadcast_arrays(process.check_time(t), numbers("x", x, "finite numbers", np.isfinite))
    alpha, sigma = process.alpha(times)[..., None], process.sigma(times)[..., None]
    centre = alpha * mixture.means[:, 0].numpy()
    width = np.sqrt((alpha * mixture.deviations.reshape(-1).numpy()) ** 2 + sigma**2)
    if not np.all(width > 0.0):
        raise InputError("t", t, "times with noise, since the mixture has points")
    bells = np.exp(-0.5 * ((positions[..., None] - centre) / width) ** 2) / (width * math.sqrt(2.0 * math.pi))
    result: Array = bells @ mixture.component_weights.numpy()
    return result


def _half_spread_of_predictions(mixture: GaussianMixture, x: Tensor, sigma: Tensor) -> Tensor:
    """(snr / 2) sum_z p(z | x) |D_z - D|^2, in nats, so that one tolerance serves every level."""
    posterior = mixture.posterior(x, sigma).exp()
    classes = range(posterior.shape[1])
    predictions = torch.stack([mixture(x, sigma, torch.full((len(x),), k)) for k in classes], dim=1)
    mean = (posterior[:, :, None] * predictions).sum(dim=1, keepdim=True)
    return 0.5 * (posterior * (predictions - mean).square().sum(dim=2)).sum(dim=1) / sigma**2


def _checked(
    means: Sequence[Sequence[float]] | Tensor,
    weights: Sequence[float] | Tensor | None,
    component_classes: Sequence[int] | Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    centres = _as_tensor("means", means, "finite numbers of shape (components, dimension)")
    if centres.ndim != 2 or centres.shape[1] == 0 or not bool(torch.isfinite(centres).all()):
        raise InputError("means", means, "finite numbers of shape (components, dimension)")
    count = len(centres)
    expected = f"{count} positive probabilities that sum to one"
    weight = _as_tensor("weights", [1.0 / count] * count if weights is None else weights, expected)
    if weight.shape != (count,) or not bool((weight > 0.0).all()) or abs(float(weight.sum()) - 1.0) > 1e-9:
        raise InputError("weights", weights, expected)
    expected = f"{count} classes, at least two, numbered 0, 1, ... without gaps"
    classes = _as_tensor(
        "component_classes", range(count) if component_classes is None else component_classes, expected
    )
    present = set(classes.tolist()) if classes.shape == (count,) else set()
    if len(present) < 2 or present != set(range(len(present))):
        raise InputError("component_classes", component_classes, expected)
    return centres, weight, classes.to(torch.int64)


def _as_tensor(argument: str, value: object, expected: str) -> Tensor:
    try:
        return torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # a word, rows of different lengths
        raise InputError(argument, value, expected) from None
