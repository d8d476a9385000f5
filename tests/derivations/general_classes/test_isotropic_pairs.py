"""The second way to the entropy of isotropic Gaussian classes: against the first, and quadrature to thirty digits."""

import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.gaussian_pairs import gaussian_pair
from derivations.general_classes.isotropic_pairs import isotropic_log_entropy


@pytest.mark.parametrize("dimension", [1, 2, 30, 41, 1000, 65536, 10**6, 10**9])
def test_the_two_ways_agree_in_every_dimension(dimension):
    levels = np.linspace(-4.0, 4.0, 21) - 0.5 * np.log(dimension)
    pair = gaussian_pair(1.5, 0.5, multiplicity=dimension)
    by_radius = np.exp(isotropic_log_entropy(dimension, pair.log_ratio(levels)[:, 0]))
    # Both sum d terms of rounding error 1e-16 times the log-ratio, which is of order 1/sqrt(d) here.
    np.testing.assert_allclose(pair.entropy(levels), by_radius, rtol=0.0, atol=1e-14 + 2e-16 * dimension**0.5)


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


@pytest.mark.parametrize(("dimension", "ratio", "named"), [(0, 1.0, "dimension"), (3, 0.0, "ratio")])
def test_bad_input_is_named(dimension, ratio, named):
    with pytest.raises(InputError, match=named):
        isotropic_log_entropy(dimension, ratio)
