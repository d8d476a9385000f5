"""Dimensions at a noise level against high-precision quadrature, against one another, and what they refuse."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from companion.errors import InputError
from companion.exact.empirical import empirical_distribution
from companion.forward import noise_of, variance_exploding
from derivations.generative_bandwidth import bandwidth


def _on_line(points, sigma):
    """The dimension at noise levels sigma of equally probable points on a line."""
    law = empirical_distribution(torch.tensor(np.array(points))[:, None])
    return 2.0 * law.production(-2.0 * np.log(sigma))


def _sphere_in_high_precision(m: int, sigma: float) -> float:
    """Over the noncentral law of |x|/sigma, with a Bessel function in its density: not the module's integral."""
    order, a = mpmath.mpf(m - 1) / 2, 1 / mpmath.mpf(sigma)

    def density(z):
        return (
            z * (z / a) ** order * mpmath.exp(-((z - a) ** 2) / 2) * mpmath.besseli(order, z * a) * mpmath.exp(-z * a)
        )

    def ratio(k):
        return mpmath.besseli(order + 1, k) / mpmath.besseli(order, k)

    ends = [max(0, a - 10), a + mpmath.sqrt(m), a + mpmath.sqrt(m) + 10]
    total = mpmath.quad(density, ends)
    return float((1 - mpmath.quad(lambda z: density(z) * ratio(z * a) ** 2, ends) / total) * a**2)


@pytest.mark.parametrize(("m", "sigma"), [(1, 0.2), (1, 0.5), (1, 3.0), (3, 0.4), (10, 0.3), (10, 1.0)])
def test_spheres_are_exact(m, sigma):
    with mpmath.workdps(20):
        assert float(bandwidth.sphere(m, 1.0, sigma)) == pytest.approx(_sphere_in_high_precision(m, sigma), abs=1e-8)


@pytest.mark.parametrize(("m", "kappa"), [(1, 0.3), (2, 7.0), (5, 900.0), (40, 3.0), (300, 1e-3), (300, 500.0)])
def test_the_bessel_ratio_is_exact_also_where_the_functions_underflow(m, kappa):
    with mpmath.workdps(30):
        order = mpmath.mpf(m - 1) / 2
        expected = mpmath.besseli(order + 1, kappa) / mpmath.besseli(order, kappa)
    assert float(bandwidth.bessel_ratio(m, kappa)) == pytest.approx(float(expected), rel=1e-12)


@given(m=st.integers(1, 300), radius=st.floats(0.01, 100.0), relative=st.floats(1e-3, 100.0))
def test_a_dimension_is_between_zero_and_that_of_the_space_and_has_no_unit(m, radius, relative):
    found = float(bandwidth.sphere(m, radius, relative * radius))
    assert 0.0 <= found <= m + 1.0
    assert found == pytest.approx(float(bandwidth.sphere(m, 1.0, relative)), rel=1e-6)
    # A sphere is at most as open as the Gaussian of its covariance: of all such laws that has the largest error.
    assert found <= (m + 1.0) / (1.0 + (m + 1.0) * relative**2) * (1.0 + 1e-9) + 1e-9


def test_points_on_a_fine_grid_are_the_interval_and_the_circle():
    fine = (np.arange(400) + 0.5) / 400
    assert _on_line(fine, 0.1) == pytest.approx(
        float(bandwidth.interval(1.0, 0.1)), abs=1e-5
    )  # the ends are blurred by the step, (0.0025)^2
    angle = 2.0 * np.pi * np.arange(150) / 150
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for sigma, missed in ((0.1, 1e-8), (0.3, 2e-5)):
        exact = float(bandwidth.sphere(1, 1.0, sigma))
        assert bandwidth.curve(circle, np.full(150, 1 / 150), sigma) == pytest.approx(exact, abs=missed)


def test_the_largest_value_of_the_circle_is_inside():
    values = bandwidth.sphere(1, 1.0, noise_of(np.linspace(-4.0, 8.0, 61)))
    assert 1.11 < values.max() < 1.12
    assert abs(values[-1] - 1.0) < 2e-4


def test_samples_agree_with_the_finite_denoiser():
    """E|x_0 - D|^2 with the package's own denoiser, on other states."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    data = empirical_distribution(points, torch.arange(60) % 2)
    found = bandwidth.sampled(empirical_distribution(points), 0.7, 20_000, generator)
    clean, _ = data.sample(20_000, generator)
    x = clean + 0.7 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    errors = (clean - data(x, torch.full((20_000,), 0.7, dtype=torch.float64), None)).square().sum(dim=1) / 0.49
    both = math.hypot(found.standard_error, float(errors.std()) / math.sqrt(20_000))
    assert abs(found.value - float(errors.mean())) < 4.5 * both


def test_the_spectrum_adds_up_and_is_the_jacobian_of_the_denoiser():
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    spectrum = bandwidth.spectrum(empirical_distribution(points), 0.8, 500, generators[0])
    assert np.all(np.diff(spectrum, axis=1) <= 0.0)
    found = bandwidth.sampled(empirical_distribution(points), 0.8, 500, generators[1])
    assert spectrum.sum(axis=1).mean() == pytest.approx(found.value, rel=1e-10)  # the same states


def test_the_rate_of_ve_is_the_dimension_over_the_time():
    assert bandwidth.rate([1.0, 2.0], variance_exploding(), [0.5, 4.0]).tolist() == [2.0, 0.5]


SQUARE = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
RING = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
EVEN = [0.25] * 4


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: bandwidth.gaussian([-1.0], 1.0), "variances"),
        (lambda: bandwidth.gaussian([1.0], 0.0), "sigma"),
        (lambda: bandwidth.gaussian([1.0], math.nan), "sigma"),
        (lambda: bandwidth.sphere(0, 1.0, 1.0), "dimension"),
        (lambda: bandwidth.sphere(301, 1.0, 1.0), "dimension"),
        (lambda: bandwidth.sphere(1, -1.0, 1.0), "radius"),
        (lambda: bandwidth.sphere(1, 1.0, 1e-6), "sigma"),
        (lambda: bandwidth.bessel_ratio(1, 0.0), "kappa"),
        (lambda: bandwidth.bessel_ratio(1.5, 1.0), "dimension"),
        (lambda: bandwidth.curve([[0.0, 1.0]], [1.0], 1.0), "points"),
        (lambda: bandwidth.curve("no", EVEN, 3.0), "points"),
        (lambda: bandwidth.curve(RING, [1.0], 3.0), "shares"),
        (lambda: bandwidth.curve(RING, EVEN, 0.5), "sigma"),
        (lambda: bandwidth.curve(RING, EVEN, [3.0]), "sigma"),
        (lambda: bandwidth.interval(0.0, 1.0), "length"),
        (lambda: bandwidth.interval(1.0, 1e-5), "sigma"),
        (lambda: bandwidth.rate(-1.0, variance_exploding(), 1.0), "dimension"),
        (lambda: bandwidth.rate(1.0, variance_exploding(), -1.0), "t"),
        (lambda: bandwidth.sampled(empirical_distribution(SQUARE), 0.0, 10, torch.Generator()), "sigma"),
        (lambda: bandwidth.spectrum(empirical_distribution(SQUARE), 1.0, 1, torch.Generator()), "count"),
    ],
)
def test_bad_input_is_named(call, argument):
    with pytest.raises(InputError, match=f"^{argument} is"):
        call()
