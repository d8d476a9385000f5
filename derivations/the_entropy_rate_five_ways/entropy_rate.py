"""The rate at which a sample is forgotten: exact for mixtures, and as it is read off any denoiser.

    R = -dH(X_0 | X_t)/dlambda = dI(X_0; X_t)/dlambda = E|eps - eps*|^2 / 2,      eps* = (x - D)/sigma

in nats per unit of log-snr: half of the loss that a perfect predictor of the noise keeps (ID 15, 33). In time it is
dH/dt = R g^2/sigma^2. The frame is the variance-exploding one, x = x_0 + sigma eps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from companion.arguments import Array, finite_levels, number
from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture
from companion.forward import noise_of

_AT_ONCE = 512  # states in one call of the model

Call = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def entropy_rate(mixture: GaussianMixture, log_snr: ArrayLike) -> Array:
    """-dH(X_0 | X_t)/dlambda of a mixture at each log-snr, in nats, to about 1e-10.

        R = P + (1/2) sum_c w_c sum_j lambda_cj^2 / (lambda_cj^2 + sigma^2)

    P is the production of the entropy of components (`GaussianMixture.production`), the other term what is open in
    each of them; lambda_cj are its deviations. Raises InputError as `GaussianMixture.production` does.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> one = isotropic_mixture([[-1e-9, 0.0], [1e-9, 0.0]], 1.0)                # a Gaussian, in two dimensions
    >>> float(entropy_rate(one, 0.0).round(9))
    0.5
    """
    levels = finite_levels(log_snr)
    classes = torch.arange(len(mixture.means))
    apart = GaussianMixture(mixture.means, mixture.deviations, mixture.axes, mixture.component_weights, classes)
    variances = mixture.deviations.numpy().reshape(len(mixture.means), -1) ** 2
    kept = variances / (variances + noise_of(levels)[..., None, None] ** 2)
    directions = mixture.shape[0] / variances.shape[1]  # isotropic components have one deviation for all of them
    inside = 0.5 * directions * kept.sum(axis=-1) @ mixture.component_weights.numpy()
    return np.asarray(apart.production(levels) + inside)


def half_losses(model: Call, clean: Tensor, noise: Tensor, log_snr: float, condition: Tensor | None = None) -> Array:
    """|eps - eps_model|^2 / 2 of each noised sample, (count,), in nats per unit of log-snr. Source: ID 14, 33.

        eps_model = (x - D(x, sigma))/sigma,    x = x_0 + sigma eps

    Its mean is at least the entropy rate of the law that the clean samples are drawn from, for every model, and more by
    half of the squared distance of its noise from the perfect one. `clean` and `noise` are (count, *shape). Raises
    InputError for a log-snr that is not finite, or noise of another shape.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> draw = torch.Generator().manual_seed(0)
    >>> clean, _ = pair.sample(1000, draw)
    >>> noise = torch.randn(1000, 1, dtype=torch.float64, generator=draw)
    >>> losses = half_losses(pair, clean, noise, 0.0)
    >>> bool(abs(losses.mean() - entropy_rate(pair, 0.0)) < 4.0 * losses.std() / 1000**0.5)
    True
    """
    x, sigma = _noised(clean, noise, log_snr)
    wrong = noise - (x - model(x, _levels(x, sigma), condition)) / sigma
    return np.asarray(0.5 * wrong.double().square().flatten(1).sum(dim=1))


@dataclass(frozen=True)
class Forms:
    """Three readings of the entropy rate at each state, (count,), in nats per unit of log-snr.

    `loss` is |eps - eps_model|^2/2, `divergence` is tr dD/dx / 2, `norm` is
    (|eps|^2 - |eps_model|^2)/2, where |eps|^2 stands for its mean d because it varies along. For every smooth model
    E loss = 2 E divergence - E norm; for a perfect one the three means are equal.
    """

    loss: Array
    divergence: Array
    norm: Array


def forms_of(model: Call, clean: Tensor, noise: Tensor, log_snr: float, probe: Tensor, step: float = 1e-3) -> Forms:
    """The loss, divergence and norm forms of a model's entropy rate at noised samples.

        tr dD/dx ~ v . (D(x + h v) - D(x - h v)) / 2h,     h = step sigma

    The trace is Hutchinson's estimate with `probe` v (count, *shape) of mean zero and covariance one; in float32 a
    step of 0.03 keeps rounding below 1e-3. Raises InputError as `half_losses` does, and for a step not above zero.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> normal, one = isotropic_mixture([[-1e-9], [1e-9]], 1.0), torch.ones(1, 1, dtype=torch.float64)
    >>> forms_of(normal, 0.0 * one, one, 0.0, one).divergence.round(9).tolist()      # D = x/2
    [0.25]
    """
    h = number("step", step, "a number between 1e-12 and 1e6", lambda value: (value >= 1e-12) & (value <= 1e6))
    x, sigma = _noised(clean, noise, log_snr)
    if probe.shape != x.shape:
        raise InputError("probe", f"of shape {tuple(probe.shape)}", f"the shape {tuple(x.shape)} of the samples")
    levels = _levels(x, sigma)
    drawn, said = noise.double(), ((x - model(x, levels, None)) / sigma).double()
    ahead, behind = (model(x + side * h * sigma * probe, levels, None) for side in (1.0, -1.0))
    turned = (probe * (ahead - behind)).double().flatten(1).sum(dim=1) / (2.0 * h * sigma)
    return Forms(
        loss=np.asarray(0.5 * (drawn - said).square().flatten(1).sum(dim=1)),
        divergence=np.asarray(0.5 * turned),
        norm=np.asarray(0.5 * (drawn.square() - said.square()).flatten(1).sum(dim=1)),
    )


def slopes_of(model: Call, x: Tensor, log_snr: float, step: float = 1e-3) -> Array:
    """The Jacobian dD/dx of a model at each state x (count, *shape), (count, n, n), by central differences.

    Row a is the gradient of D_a; n is the number of coordinates, and 2n evaluations are needed. Symmetric for a perfect
    model, Cov(x_0 | x)/sigma^2. Raises InputError for a log-snr that is not finite or a step that is not
    between 1e-12 and a million.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> normal = isotropic_mixture([[-1e-9, 0.0], [1e-9, 0.0]], 1.0)
    >>> slopes_of(normal, torch.zeros(1, 2, dtype=torch.float64), 0.0).round(6).tolist()
    [[[0.5, 0.0], [0.0, 0.5]]]
    """
    h = number("step", step, "a number between 1e-12 and 1e6", lambda value: (value >= 1e-12) & (value <= 1e6))
    sigma = float(noise_of(finite_levels(log_snr)))
    count, size = len(x), x[0].numel()
    columns = []
    for directions in torch.split(torch.eye(size, dtype=x.dtype), max(1, _AT_ONCE // count)):
        moved = h * sigma * directions.reshape(-1, 1, *x.shape[1:])
        asked = torch.cat([x + moved, x - moved]).flatten(0, 1)
        ahead, behind = model(asked, _levels(asked, sigma), None).double().reshape(2, -1, count, size)
        columns.append((ahead - behind) / (2.0 * h * sigma))
    return np.asarray(torch.cat(columns).permute(1, 2, 0))


def stretching_rates(slopes: ArrayLike) -> Array:
    """The rates at which generation stretches small differences, per unit of log-snr, (..., n) in increasing order.

        chi_j = (c_j - 1)/2,     c_j the eigenvalues of the symmetric part of dD/dx

    The probability flow is dx/dlambda = (D - x)/2, so a difference along an eigenvector grows like e^(chi lambda). The
    entropy rate is sum_j (1/2 + E chi_j). Raises InputError for matrices (..., n, n) that are not square and finite.
    Source: ID 50, 64.

    >>> stretching_rates([[1.5, 0.0], [0.0, 0.5]]).tolist()
    [-0.25, 0.25]
    """
    matrices = np.asarray(slopes, dtype=np.float64)
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2] or not np.all(np.isfinite(matrices)):
        raise InputError("slopes", f"of shape {matrices.shape}", "square matrices of finite numbers")
    symmetric = 0.5 * (matrices + np.swapaxes(matrices, -1, -2))
    return np.asarray(0.5 * (np.linalg.eigvalsh(symmetric) - 1.0))


def _noised(clean: Tensor, noise: Tensor, log_snr: float) -> tuple[Tensor, float]:
    if noise.shape != clean.shape:
        raise InputError("noise", f"of shape {tuple(noise.shape)}", f"the shape {tuple(clean.shape)} of the samples")
    sigma = float(noise_of(finite_levels(log_snr)))
    return clean + sigma * noise, sigma


def _levels(x: Tensor, sigma: float) -> Tensor:
    return torch.full((len(x),), sigma, dtype=x.dtype)
