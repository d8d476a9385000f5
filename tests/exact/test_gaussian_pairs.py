"""Gaussian classes that differ in covariance: against mixtures, chi-squared quadrature, derivatives and samples."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.optimize import brentq

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.gaussian_pairs import (
    gaussian_pair,
    isotropic_log_entropy,
    log_ratio,
)
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


@pytest.mark.parametrize("dimension", [1, 2, 30, 41, 1000, 65536, 10**6, 10**9])
def test_the_two_ways_agree_in_every_dimension(dimension):
    levels = np.linspace(-4.0, 4.0, 21) - 0.5 * np.log(dimension)
    pair = gaussian_pair(1.5, 0.5, multiplicity=dimension)
    by_radius = np.exp(isotropic_log_entropy(dimension, log_ratio(levels, 1.5, 0.5)))
    # Both sum d terms of rounding error 1e-16 times the log-ratio, which is of order 1/sqrt(d) here.
    np.testing.assert_allclose(pair.entropy(levels), by_radius, rtol=0.0, atol=1e-14 + 2e-16 * dimension**0.5)


@pytest.mark.parametrize("dimension", [2, 50, 10**6])
def test_production_is_the_derivative(dimension):
    levels, step = np.linspace(-4.0, 4.0, 21) - 0.5 * np.log(dimension), 2e-4
    for pair in (gaussian_pair(1.5, 0.5, multiplicity=dimension), gaussian_pair([2.0, 0.3], [0.4, 1.1], [0.5, 0.1])):
        slope = (pair.entropy(levels - step) - pair.entropy(levels + step)) / (2.0 * step)
        # step^2/6 times a third derivative, of at most about 3 in these families
        np.testing.assert_allclose(pair.production(levels), slope, rtol=0.0, atol=2e-8)


@pytest.mark.parametrize("dimension", [1, 5, 400])
def test_log_entropy_against_chi_squared_quadrature(dimension):
    for ratio in (-3.0, 0.05, 0.7, 6.0):
        # A = e^l and B = 1; under each class |x|^2 is its variance times a chi-squared variable.
        def under(variance, ratio=ratio):
            def integrand(z):
                squared = variance * stats.chi2.isf(stats.norm.sf(z), dimension)
                log_odds = -0.5 * dimension * ratio + 0.5 * squared * -np.expm1(-ratio)
                return stats.norm.pdf(z) * float(binary_entropy(log_odds))

            return integrate.quad(integrand, -9.0, 9.0, limit=500, epsabs=1e-13)[0]

        truth = 0.5 * (under(np.exp(ratio)) + under(1.0))
        assert np.exp(isotropic_log_entropy(dimension, ratio)) == pytest.approx(truth, abs=1e-10)


@pytest.mark.parametrize("ratio", [20.0, 90.0])
@pytest.mark.parametrize("dimension", [2, 3])
def test_log_entropy_of_very_different_widths(dimension, ratio):
    """Over z = log |x|^2, to thirty digits; in steps of 1/2 in L where L = 0."""
    with mpmath.workdps(30):
        half, size = mpmath.mpf(dimension) / 2, mpmath.mpf(ratio)
        middle = mpmath.log(dimension * size / (1 - mpmath.exp(-size)))
        step = 1 / (2 * half * size)
        total = mpmath.mpf(0)
        for n in range(int(-35 / step), int(3 / step)):  # from where the density has fallen by e^-35
            z = middle + n * step
            log_odds = -half * size + mpmath.exp(z) * (1 - mpmath.exp(-size)) / 2
            density = mpmath.exp(half * z - mpmath.exp(z) / 2 - half * mpmath.log(2) - mpmath.loggamma(half))
            against = mpmath.exp(-abs(log_odds))
            entropy_of = mpmath.log1p(against) + abs(log_odds) * against / (1 + against)
            total += density * (1 + mpmath.exp(log_odds)) / 2 * entropy_of
        truth = float(mpmath.log(total * step))
    assert float(isotropic_log_entropy(dimension, ratio)) == pytest.approx(truth, abs=1e-11)


@pytest.mark.parametrize("dimension", [10**12, 10**15])
def test_log_entropy_has_its_limit_in_the_highest_dimensions(dimension):
    kappa = np.array([0.1, 4.0, 30.0])
    found = isotropic_log_entropy(dimension, np.sqrt(2.0 * kappa / dimension))
    np.testing.assert_allclose(
        found, two_gaussians.log_entropy(kappa), rtol=0.0, atol=1e-9
    )  # what is missing is of order 1/d


def test_log_entropy_against_thirty_digits_where_it_underflows():
    dimension, ratio = 3000, mpmath.mpf(2)
    with mpmath.workdps(30):
        half = mpmath.mpf(dimension) / 2
        log_b = lambda q: (half - 1) * mpmath.log(q) - q / 2 - half * mpmath.log(2) - mpmath.loggamma(half)  # noqa: E731

        def integrand(q):  # q = |x|^2, B = 1
            log_odds = -half * ratio + q / 2 * (1 - mpmath.exp(-ratio))
            entropy_of = mpmath.log(2 * mpmath.cosh(log_odds / 2)) - log_odds / 2 * mpmath.tanh(log_odds / 2)
            return mpmath.exp(log_b(q)) * (1 + mpmath.exp(log_odds)) / 2 * entropy_of

        crossing = dimension * ratio / (1 - mpmath.exp(-ratio))
        # by the trapezoidal rule: the nearest pole is 2 pi / (1 - e^-2) = 7.3 away in q, so steps of 1 leave e^-45
        truth = float(mpmath.log(sum(integrand(crossing + k) for k in range(-300, 301))))
    assert truth < -600.0
    assert float(isotropic_log_entropy(dimension, 2.0)) == pytest.approx(truth, rel=1e-12)


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
        assert log_ratio(180.0, first, second) == pytest.approx((first - second) * 180.0, rel=1e-14)


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
        (lambda: isotropic_log_entropy(0, 1.0), "dimension"),
        (lambda: isotropic_log_entropy(3, 0.0), "ratio"),
    ],
)
def test_bad_input_is_named(bad, named):
    with pytest.raises(InputError, match=named):
        bad()
