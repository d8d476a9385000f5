"""Two Gaussian classes against 50-digit quadrature, asymptotics, and finite differences."""

import json
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.optimize import brentq

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture

ROWS = json.loads((Path(__file__).parent / "reference_values.json").read_text())["rows"]
KAPPA = np.array([row["kappa"] for row in ROWS])
TOLERANCE = 1e-10  # what the package promises; the reference is printed to 13 or 14 digits


def reference(column):
    return np.array([float(row[column]) for row in ROWS])


@pytest.mark.parametrize(
    ("function", "column"),
    [
        (two_gaussians.entropy, "entropy"),
        (two_gaussians.log_entropy, "log_entropy"),
        (two_gaussians.variance, "variance"),
        (two_gaussians.production, "minus_dH_dkappa"),
    ],
)
def test_reference_values_to_ten_digits(function, column):
    truth = reference(column)
    # The reference's variance at kappa = 1000 is itself 8e-10 off; the test below computes that one anew.
    trusted = (KAPPA != 1000.0) if column == "variance" else np.full(KAPPA.shape, True)
    # Values that underflow a double must come out as the same zero; np.testing takes 0 == 0 as equal.
    np.testing.assert_allclose(function(KAPPA)[trusted], truth[trusted], rtol=TOLERANCE, atol=0.0)


@pytest.mark.parametrize("kappa", [100, 1000])
def test_far_tail_against_forty_digits(kappa):
    with mpmath.workdps(40):

        def entropy_of(log_odds):
            return mpmath.log(2 * mpmath.cosh(log_odds / 2)) - log_odds / 2 * mpmath.tanh(log_odds / 2)

        def moment(power):
            def integrand(log_odds):
                return mpmath.npdf(log_odds, mpmath.mpf(kappa) / 2, mpmath.sqrt(kappa)) * entropy_of(log_odds) ** power

            return mpmath.quad(integrand, range(-160, 161, 2), maxdegree=3)

        mean, square = moment(1), moment(2)
        assert two_gaussians.entropy(kappa) == pytest.approx(float(mean), rel=TOLERANCE)
        assert two_gaussians.variance(kappa) == pytest.approx(float(square - mean**2), rel=TOLERANCE)


@pytest.mark.parametrize("weight", [1e-12, 1e-15, 1.0 - 1e-12])
@pytest.mark.parametrize("kappa", [1e-12, 1.0, 25.0, 300.0])
def test_extreme_weights_against_thirty_digits(weight, kappa):
    """Over the log-odds, around where the rarer class is confused, in steps of a share of a deviation."""
    with mpmath.workdps(30):
        prior = mpmath.log(weight) - mpmath.log1p(-mpmath.mpf(weight))
        step = mpmath.mpf(1) / (6 if kappa < 10 else 60)
        total = mpmath.mpf(0)
        for n in range(-int(12 / step), int(12 / step) + 1):
            log_odds = (
                prior - mpmath.sign(prior) * min(mpmath.mpf(kappa) / 2, abs(prior)) + mpmath.sqrt(kappa) * n * step
            )
            against = mpmath.exp(-abs(log_odds))
            entropy = mpmath.log1p(against) + abs(log_odds) * against / (1 + against)
            total += mpmath.npdf(log_odds, prior, mpmath.sqrt(kappa)) * 2 * mpmath.cosh(log_odds / 2) * entropy
        truth = (
            mpmath.log(step * mpmath.sqrt(kappa * weight * (1 - mpmath.mpf(weight))) * total) - mpmath.mpf(kappa) / 8
        )
    assert float(two_gaussians.log_entropy(kappa, weight)) == pytest.approx(float(truth), rel=1e-13, abs=1e-12)


def test_log_entropy_is_finite_where_the_entropy_underflows():
    assert two_gaussians.entropy(1e4) == 0.0
    assert np.isfinite(two_gaussians.log_entropy(1e6))


def test_shapes_and_ends():
    assert two_gaussians.entropy(np.full((2, 3), 4.0)).shape == (2, 3)
    assert two_gaussians.entropy(0.0) == pytest.approx(np.log(2.0), rel=1e-14)
    assert two_gaussians.entropy(np.inf) == 0.0
    assert two_gaussians.log_entropy(np.inf) == -np.inf
    assert two_gaussians.variance(0.0) == pytest.approx(0.0, abs=1e-30)


@given(weight=st.floats(0.001, 0.999), kappa=st.floats(1e-3, 60.0))
def test_entropy_with_weights_is_the_integral_over_both_classes(weight, kappa):
    prior = np.log(weight / (1.0 - weight))

    def integrand(u, side):
        density = np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi)
        return density * binary_entropy(prior + side * 0.5 * kappa + np.sqrt(kappa) * u)

    direct = sum(
        share * integrate.quad(integrand, -12.0, 12.0, args=(side,), epsabs=1e-13, limit=400)[0]
        for share, side in ((weight, 1.0), (1.0 - weight, -1.0))
    )
    assert two_gaussians.entropy(kappa, weight) == pytest.approx(direct, abs=1e-11)  # quad's own tolerance, summed


@given(weight=st.floats(0.01, 0.99), kappa=st.floats(0.01, 100.0))
def test_production_is_minus_the_derivative_of_the_entropy(weight, kappa):
    step = 1e-4 * kappa
    around = two_gaussians.entropy(kappa + step * np.array([-2.0, -1.0, 1.0, 2.0]), weight)
    derivative = (around[0] - 8.0 * around[1] + 8.0 * around[2] - around[3]) / (12.0 * step)
    # Rounding of the entropy (1e-15) over the step (1e-4 kappa), and a fourth-order rule.
    assert two_gaussians.production(kappa, weight) == pytest.approx(-derivative, rel=1e-9, abs=1e-10 / kappa)


@given(weight=st.floats(0.01, 0.99), kappa=st.floats(0.01, 100.0))
def test_curvature_is_minus_the_derivative_of_the_production(weight, kappa):
    step = 1e-3 * kappa
    around = two_gaussians.production(kappa + step * np.array([-2.0, -1.0, 1.0, 2.0]), weight)
    derivative = (around[0] - 8.0 * around[1] + 8.0 * around[2] - around[3]) / (12.0 * step)
    # The rule's error is step^4/30 times the fifth derivative, 1e-12 (kappa/8)^4/30 of the first; rounding 1e-15/1e-3.
    assert two_gaussians.curvature(kappa, weight) == pytest.approx(-derivative, rel=2e-9, abs=1e-12 / kappa)


@given(weight=st.floats(0.01, 0.99), kappa=st.floats(0.01, 60.0))
def test_expectation_is_the_mean_over_both_classes(weight, kappa):
    prior = np.log(weight / (1.0 - weight))

    def integrand(u, side):
        log_odds = prior + side * 0.5 * kappa + np.sqrt(kappa) * u
        return np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi) * (log_odds / np.cosh(0.5 * log_odds)) ** 2

    direct = sum(
        share * integrate.quad(integrand, -12.0, 12.0, args=(side,), epsabs=1e-13, limit=400)[0]
        for share, side in ((weight, 1.0), (1.0 - weight, -1.0))
    )
    found = two_gaussians.expectation(lambda log_odds: (log_odds / np.cosh(0.5 * log_odds)) ** 2, kappa, weight)
    assert found == pytest.approx(direct, abs=1e-11)  # quad's own tolerance, summed


def test_log_production_where_the_production_underflows():
    """-dH/dkappa = (e^(-kappa/8) / 8) E sech(L/2), L ~ N(0, kappa), by its series in 1/kappa.

    The moments of sech(L/2), pi^2, 5 pi^4, 61 pi^6 times its integral 2 pi, are the Euler numbers.
    """
    kappa = np.array([1e4, 1e5, 1e6])
    series = 1.0 - np.pi**2 / (2 * kappa) + 5 * np.pi**4 / (8 * kappa**2) - 61 * np.pi**6 / (48 * kappa**3)
    truth = -kappa / 8.0 + 0.5 * np.log(2.0 * np.pi / kappa) - np.log(8.0) + np.log(series)
    # The next term is 1385 pi^8 / (384 kappa^4) = 3e-12.
    np.testing.assert_allclose(two_gaussians.log_production(kappa), truth, rtol=0.0, atol=1e-10)
    assert two_gaussians.production(1e4) == 0.0


@given(mean=st.floats(-60.0, 60.0), variance=st.floats(0.0, 300.0))
def test_entropy_of_normal(mean, variance):
    deviation = np.sqrt(variance)

    def integrand(u):
        return np.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi) * binary_entropy(mean + deviation * u)

    zero = [-mean / deviation] if abs(mean) < 10.0 * deviation else None
    direct = integrate.quad(integrand, -10.0, 10.0, epsabs=1e-13, limit=400, points=zero)[0]
    assert two_gaussians.entropy_of_normal(mean, variance) == pytest.approx(direct, abs=1e-11)


def test_entropy_of_normal_at_its_ends():
    kappa = np.array([0.01, 4.0, 36.0])
    for sign in (-1.0, 1.0):
        found = two_gaussians.entropy_of_normal(sign * 0.5 * kappa, kappa)
        np.testing.assert_allclose(found, two_gaussians.entropy(kappa), atol=1e-14)
    np.testing.assert_allclose(two_gaussians.entropy_of_normal([3.0, 1e4], 0.0), binary_entropy([3.0, 1e4]), atol=1e-15)
    assert np.all(two_gaussians.entropy_of_normal([-100.0, 100.0, 1e300], 1.0) >= 0.0)  # all of it beyond |L| = 90
    assert two_gaussians.entropy_of_normal(np.zeros((2, 1)), np.ones(3)).shape == (2, 3)
    # A density of 1 / sqrt(2 pi v) times the integral of h_b, pi^2 / 3, once v is large.
    assert two_gaussians.entropy_of_normal(0.0, 1e12) == pytest.approx(np.pi**2 / 3.0 / np.sqrt(2e12 * np.pi), rel=1e-9)
    for variance in (-1.0, np.nan):
        with pytest.raises(InputError, match="variance is"):
            two_gaussians.entropy_of_normal(0.0, variance)


def test_half_entropy_and_the_landmarks_of_the_curve():
    half = brentq(lambda kappa: float(two_gaussians.entropy(kappa)) - 0.5 * np.log(2.0), 1.0, 10.0, xtol=1e-12)
    assert half == pytest.approx(4.17605, abs=5e-6)  # six digits of a separate quadrature
    # VP, s = 1, delta = 2: the production per t peaks at t_S - 0.205501748 with height 0.479515971, for every d.
    d = 1e4
    shift = np.linspace(-0.2056, -0.2054, 2001)
    time = 0.5 * np.log(d) + shift
    kappa = two_gaussians.control_parameter(np.exp(-time), np.sqrt(-np.expm1(-2.0 * time)), 2.0 * np.sqrt(d), 1.0)
    height = 2.0 * kappa * two_gaussians.production(kappa)  # kappa = 4 d e^-2t, so dkappa/dt = -2 kappa
    assert shift[height.argmax()] == pytest.approx(-0.205501748, abs=1e-7)
    assert height.max() == pytest.approx(0.479515971, abs=5e-10)


def test_speciation_at_kappa_four():
    """The slope of the denoiser at the midpoint is kappa / 4: above 1 the midpoint is a minimum of the density."""
    pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    for sigma in (0.5, 1.0, 2.0):
        level = torch.full((1,), sigma, dtype=torch.float64)
        slope = torch.func.jacrev(lambda x, level=level: pair(x, level, None))(torch.zeros(1, 1, dtype=torch.float64))
        assert float(slope) == pytest.approx(
            float(two_gaussians.control_parameter(1.0, sigma, 2.0, 0.0)) / 4.0, rel=1e-12
        )


def test_control_parameter_at_the_ends_of_floats():
    found = two_gaussians.control_parameter(
        [1e-200, 1.0, 1.0, 0.0], [0.0, 1e-200, np.inf, 1.0], [3.0, 1e-200, 1e300, 2.0], 1.5
    )
    np.testing.assert_allclose(found, [4.0, (1e-200 / 1.5) ** 2, 0.0, 0.0], rtol=1e-14)
    assert two_gaussians.control_parameter(1.0, 1e-200, 2e-200, 0.0) == pytest.approx(4.0, rel=1e-14)
    assert two_gaussians.control_parameter(1.0, 1.0, 1e300, 0.0) == np.inf


def test_control_parameter_does_not_see_the_process():
    alpha, sigma = 0.3, 0.7
    assert two_gaussians.control_parameter(alpha, sigma, 2.0, 0.5) == pytest.approx(
        two_gaussians.control_parameter(1.0, sigma / alpha, 2.0, 0.5)
    )


@pytest.mark.parametrize("kappa", [-1.0, np.nan, [1.0, -1e-9]])
def test_bad_kappa_is_refused(kappa):
    for function in (
        two_gaussians.entropy,
        two_gaussians.log_entropy,
        two_gaussians.production,
        two_gaussians.log_production,
        two_gaussians.curvature,
        two_gaussians.variance,
    ):
        with pytest.raises(InputError, match="kappa is"):
            function(kappa)


def test_bad_weight_and_bad_variance_are_refused():
    with pytest.raises(InputError, match="weight is 1"):
        two_gaussians.entropy(1.0, 1.0)
    with pytest.raises(InputError, match="positive total variance"):
        two_gaussians.control_parameter(1.0, 0.0, 2.0, 0.0)
