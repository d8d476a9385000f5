"""Gaussian classes that differ in covariance: against mixtures, derivatives and samples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.gaussian_pairs import gaussian_pair
from companion.exact.mixtures import full_mixture, isotropic_mixture
from companion.forward import noise_of, ornstein_uhlenbeck

LEVELS = np.linspace(-4.0, 4.0, 5)
TILTED = gaussian_pair([1.5, 2.0], [0.5, 0.1], [0.3, 1.2])
variances = st.floats(0.05, 5.0)


@pytest.mark.parametrize("dimension", [1, 2, 7, 64])
def test_isotropic_classes_are_the_mixture_by_quadrature(dimension):
    mixture = isotropic_mixture(torch.zeros(2, dimension), [1.5**0.5, 0.5**0.5])
    pair = gaussian_pair(1.5, 0.5, multiplicity=dimension)
    # The quadrature of mixtures promises about 1e-10; in dimension 64 it is 4e-10 off, as the next test shows.
    np.testing.assert_allclose(pair.entropy(LEVELS), mixture.entropy(LEVELS), rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(pair.production(LEVELS), mixture.production(LEVELS), rtol=0.0, atol=1e-9)


def test_different_axes_and_means_are_the_mixture_by_quadrature():
    matrices = [torch.diag(torch.tensor(row)) for row in (TILTED.first, TILTED.second)]
    mixture = full_mixture([[0.0, 0.0], TILTED.gap.tolist()], torch.stack(matrices))
    np.testing.assert_allclose(TILTED.entropy(LEVELS), mixture.entropy(LEVELS), rtol=0.0, atol=1e-10)
    np.testing.assert_allclose(TILTED.production(LEVELS), mixture.production(LEVELS), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("dimension", [2, 50, 10**6])
def test_production_is_the_derivative(dimension):
    levels, step = np.linspace(-4.0, 4.0, 21) - 0.5 * np.log(dimension), 2e-4
    for pair in (gaussian_pair(1.5, 0.5, multiplicity=dimension), gaussian_pair([2.0, 0.3], [0.4, 1.1], [0.5, 0.1])):
        slope = (pair.entropy(levels - step) - pair.entropy(levels + step)) / (2.0 * step)
        # step^2/6 times a third derivative, of at most about 3 in these families
        np.testing.assert_allclose(pair.production(levels), slope, rtol=0.0, atol=2e-8)


@pytest.mark.parametrize(("dimension", "kappa"), [(10**2, 4.455), (10**4, 4.206), (10**6, 4.179)])
def test_half_entropy_at_the_known_control_parameter(dimension, kappa):
    # kappa = (1/2) e^(-4t) |Delta Sigma|_F^2 in the variance-preserving process, for variances 1.5 and 0.7; the values
    # are printed to three decimals.
    pair, process = gaussian_pair(1.5, 0.7, multiplicity=dimension), ornstein_uhlenbeck()
    excess = lambda t: float(pair.entropy(process.log_snr(np.array(t)))) - 0.5 * np.log(2.0)  # noqa: E731
    half = brentq(excess, 0.01, 10.0, xtol=1e-12)
    assert 0.5 * np.exp(-4.0 * half) * dimension * 0.8**2 == pytest.approx(kappa, abs=5e-4)


@pytest.mark.parametrize("split", [False, True])
def test_entropy_tends_to_the_two_class_curve(split):
    errors = []
    for dimension in (10**3, 10**4, 10**5):
        first, second = ([1.5, 0.5], [0.5, 1.5]) if split else (1.5, 0.5)
        pair = gaussian_pair(first, second, multiplicity=dimension // 2 if split else dimension)
        levels = np.linspace(-2.0, 2.0, 21) - 0.5 * np.log(dimension)
        errors.append(np.abs(pair.entropy(levels) - two_gaussians.entropy(pair.control_parameter(levels))).max())
    order = np.polyfit(np.log([1e3, 1e4, 1e5]), np.log(errors), 1)[0]
    assert order == pytest.approx(-1.0, abs=0.05)  # an error of 1/d, and of 1/d^2 seen on top of it at d = 1000


@settings(max_examples=40)  # a busy machine is not a failure
@given(a=variances, b=variances, gap=st.floats(0.0, 3.0), level=st.floats(-6.0, 6.0))
def test_entropy_is_symmetric_and_falls(a, b, gap, level):
    pair, mirrored = gaussian_pair(a, b, gap, 3), gaussian_pair(b, a, -gap, 3)
    assert pair.entropy(level) == pytest.approx(float(mirrored.entropy(level)), abs=1e-13)
    assert -1e-13 < float(pair.entropy(level + 0.5)) <= float(pair.entropy(level)) + 1e-13
    assert float(pair.production(level)) > -1e-13


def test_control_parameter_of_equal_covariances_is_the_binary_one():
    found = gaussian_pair(2.25, 2.25, 2.0, 3).control_parameter(LEVELS)
    np.testing.assert_allclose(
        found, two_gaussians.control_parameter(1.0, noise_of(LEVELS), 2.0 * 3**0.5, 1.5), rtol=1e-14
    )


def test_much_noise_leaves_digits_and_little_noise_no_warning():
    """Twice the mean of the log-odds, its variance, and kappa are one number while noise is large."""
    pair = gaussian_pair([1.5, 3.0], [0.5, 0.1], [0.0, 0.2], [5, 2])
    for level in (-180.0, -40.0, -20.0):
        mean, deviation = pair.log_odds_moments(level)
        np.testing.assert_allclose([2.0 * mean, deviation**2], pair.control_parameter(level), rtol=1e-7)
    for first, second in ((0.0, 1.0), (1.0, 0.0)):  # a point against a width: nothing is left to decide
        point = gaussian_pair(first, second)
        assert abs(float(point.entropy(180.0))) < 1e-15
        assert abs(float(point.production(180.0))) < 1e-15
        assert float(point.log_ratio(180.0)[0]) == pytest.approx((first - second) * 180.0, rel=1e-14)


def test_moments_of_the_log_odds_against_samples():
    generator, level = np.random.default_rng(0), 0.3
    noise = noise_of(level) ** 2
    a, b = TILTED.first + noise, TILTED.second + noise
    x = generator.normal(size=(200_000, 2)) * np.sqrt(a)
    log_odds = stats.norm.logpdf(x, 0.0, np.sqrt(a)) - stats.norm.logpdf(x, TILTED.gap, np.sqrt(b))
    draws = log_odds.sum(axis=1)
    mean, deviation = TILTED.log_odds_moments(level)
    error = draws.std() / np.sqrt(len(draws))
    assert abs(draws.mean() - mean) < 4.0 * error
    spread = ((draws - draws.mean()) ** 2).std() / np.sqrt(len(draws))  # of the variance
    assert abs(draws.var() - deviation**2) < 4.0 * spread


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (lambda: gaussian_pair(-1.0, 1.0), "first"),
        (lambda: gaussian_pair(1.0, np.nan), "second"),
        (lambda: gaussian_pair(1.0, 1.0, np.inf), "gap"),
        (lambda: gaussian_pair(1.0, 1.0, multiplicity=1.5), "multiplicity"),
        (lambda: gaussian_pair(1.0, 1.0, multiplicity=0), "multiplicity"),
        (lambda: gaussian_pair([1.0, 2.0], [1.0, 2.0, 3.0]), "broadcast"),
        (lambda: TILTED.entropy(np.nan), "log_snr"),
        (lambda: TILTED.production(np.inf), "log_snr"),
    ],
)
def test_bad_input_is_named(bad, named):
    with pytest.raises(InputError, match=named):
        bad()
