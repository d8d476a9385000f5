"""Monte Carlo in K - 1 dimensions against quadrature in the plane, binary integrals, and equidistant classes."""

import numpy as np
import pytest
import torch

from companion.errors import InputError
from companion.exact import equidistant, two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.forward import noise_of
from derivations.kit.shared_covariance import monte_carlo

LEVELS = np.array([-4.0, -2.0, 0.0, 2.0])
MEANS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.3, 2.0], [4.0, 1.0], [1.5, -1.5]], dtype=torch.float64)
WEIGHTS = [0.1, 0.2, 0.3, 0.15, 0.25]
SQUARES = torch.cdist(MEANS, MEANS).numpy() ** 2
PLANE = isotropic_mixture(MEANS, 0.5, WEIGHTS)
SCALE = two_gaussians.control_parameter(1.0, noise_of(LEVELS), 1.0, 0.5)
PER_LOG_SNR = 1.0 / (1.0 + 0.25 * np.exp(LEVELS))  # dlog scale / dlambda for a width of 1/2


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def grouped(groups):
    """The classes of each group as one class, in their true weights."""
    chosen = torch.tensor([k for group in groups for k in group])
    weights = PLANE.component_weights[chosen] / PLANE.component_weights[chosen].sum()
    classes = torch.cat([torch.full((len(group),), g) for g, group in enumerate(groups)])
    return isotropic_mixture(PLANE.means[chosen], float(PLANE.deviations[0]), weights, classes)


@pytest.mark.parametrize("groups", [None, [[0, 3], [1]], [[0, 3], [1, 2, 4]], [[4], [0, 1], [3]]])
def test_means_in_the_plane_with_any_weights_and_groups(groups):
    truth = PLANE if groups is None else grouped(groups)
    result = monte_carlo(SQUARES, SCALE, 50_000, seeded(), WEIGHTS, groups)
    assert np.all(np.abs(result.entropy - truth.entropy(LEVELS)) < 4.0 * result.entropy_se)
    error = np.abs(result.production * PER_LOG_SNR - truth.production(LEVELS))
    assert np.all(error < 4.0 * result.production_se)
    assert np.all(result.entropy_se < 0.005) and np.all(result.production_se < 0.005)


def test_a_rectangle_is_two_independent_choices():
    along, across = np.array([0.0, 0.0, 3.0, 3.0]), np.array([0.0, 1.0, 0.0, 1.0])
    squares = (along[:, None] - along) ** 2 + (across[:, None] - across) ** 2
    scale = np.array([0.3, 2.0, 8.0])
    result = monte_carlo(squares, scale, 20_000, seeded(1))
    exact = two_gaussians.entropy(9.0 * scale) + two_gaussians.entropy(scale)
    assert np.all(np.abs(result.entropy - exact) < 4.0 * result.entropy_se)
    coarse = monte_carlo(squares, scale, 20_000, seeded(1), groups=[[0, 1], [2, 3]])
    assert np.all(np.abs(coarse.entropy - two_gaussians.entropy(9.0 * scale)) < 4.0 * coarse.entropy_se + 1e-12)


@pytest.mark.parametrize("classes", [2, 12, 500])
def test_equidistant_classes_and_standard_errors_that_are_errors(classes):
    """Twenty runs: their deviations from the exact values, in standard errors, spread as those of a normal variable."""
    kappa = 6.0
    exact = equidistant.entropy(kappa, classes), kappa * equidistant.production(kappa, classes)
    scores = []
    for seed in range(20):
        result = monte_carlo(1.0 - np.eye(classes), kappa, 1000, seeded(seed))
        scores.append(
            [
                (result.entropy - exact[0]) / result.entropy_se,
                (result.production - exact[1]) / result.production_se,
            ]
        )
    spread = np.sqrt(np.mean(np.square(scores), axis=0))
    assert np.all(np.abs(np.mean(scores, axis=0)) < 4.0 / np.sqrt(20.0))  # a bias of a standard error would be seen
    assert np.all(spread > 0.5) and np.all(spread < 1.6)  # chi-squared with 20 degrees: one in 1e4 beyond


def test_the_dimension_changes_nothing():
    """The same five means turned into a space of 10^5 dimensions give the same distances, so the same numbers."""
    basis = torch.linalg.qr(torch.randn(100_000, 2, generator=seeded(), dtype=torch.float64)).Q
    far = MEANS @ basis.T
    turned = monte_carlo(torch.cdist(far, far).numpy() ** 2, 1.0, 2000, seeded(), WEIGHTS)
    plain = monte_carlo(SQUARES, 1.0, 2000, seeded(), WEIGHTS)
    # Not to rounding: the axes in which the noise is drawn may come out turned.
    error = 4.0 * np.hypot(plain.entropy_se, turned.entropy_se)
    assert abs(float(turned.entropy - plain.entropy)) < error


def test_production_is_minus_the_derivative_of_the_entropy():
    step = 0.05
    around = monte_carlo(SQUARES, np.exp([-step, 0.0, step]), 200_000, seeded(), WEIGHTS, [[0, 1], [2, 3, 4]])
    slope = (around.entropy[0] - around.entropy[2]) / (2.0 * step)
    assert slope == pytest.approx(
        around.production[1], abs=0.01
    )  # the draws are shared, so the noise of the slope is small


def test_nothing_and_everything_is_known_at_the_ends():
    result = monte_carlo(SQUARES, [0.0, 1e6], 1000, seeded(), WEIGHTS)
    assert result.entropy[0] == pytest.approx(-np.sum(np.multiply(WEIGHTS, np.log(WEIGHTS))), rel=1e-12)
    assert result.entropy[1] == pytest.approx(0.0, abs=1e-12)
    assert result.entropy.shape == result.production_se.shape == (2,)
    grouped = monte_carlo(SQUARES, 1e6, 1000, seeded(), WEIGHTS, [[0, 1], [2]])
    assert np.isfinite(grouped.production) and grouped.entropy == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kappa": [[0.0, 1.0]]}, "kappa is of shape"),
        ({"kappa": [[0.0, 1.0, 4.0], [1.0, 0.0, 1.0]]}, "kappa is of shape"),
        ({"kappa": [[0.0]]}, "kappa is of shape"),
        ({"kappa": [[0.0, 1.0], [2.0, 0.0]]}, "symmetric"),
        ({"kappa": [[1.0, 1.0], [1.0, 1.0]]}, "zero on the diagonal"),
        ({"kappa": [[0.0, np.nan], [np.nan, 0.0]]}, "finite squared"),
        ({"kappa": [[0.0, 1.0, 9.0], [1.0, 0.0, 1.0], [9.0, 1.0, 0.0]]}, "no points are so far apart"),
        ({"scale": -1.0}, "scale is"),
        ({"scale": [1.0, np.inf]}, "scale is"),
        ({"count": 1}, "count is"),
        ({"weights": [0.5, 0.6]}, "weights is"),
        ({"weights": [1.0, 0.0]}, "weights is"),
        ({"groups": [[0, 1]]}, "groups is"),
        ({"groups": [[0], []]}, "groups is"),
        ({"groups": [[0], [0, 1]]}, "groups is"),
        ({"groups": [[0], [2]]}, "groups is"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"kappa": [[0.0, 1.0], [1.0, 0.0]], "scale": 1.0, "count": 10, "generator": seeded()} | change
    with pytest.raises(InputError, match=message):
        monte_carlo(**arguments)
