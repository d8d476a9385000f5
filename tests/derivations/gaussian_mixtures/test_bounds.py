"""The bounds against the exact values they bound: that they hold everywhere, and where they are tight."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from derivations.gaussian_mixtures import bounds

KAPPA = np.geomspace(1e-4, 1e4, 321)
ROUNDING = 1e-12  # of values compared where a bound is an equality


def test_lem_gaussian_tails():
    """The tail bound, the union over rivals, and the mass bound, from kappa = 1e-4 to 1e4."""
    for fraction in (0.0, bounds.BEST_FRACTION, 0.5, 0.9):
        exact = stats.norm.cdf(-(1.0 - fraction) * np.sqrt(KAPPA) / 2.0)
        np.testing.assert_allclose(bounds.tail(KAPPA, fraction), exact, rtol=1e-10, atol=1e-300)
        for classes in (2, 10, 1000):
            bound = bounds.tail_bound(KAPPA, fraction, classes)
            assert np.all(bounds.tail(KAPPA, fraction, classes) <= bound * (1.0 + ROUNDING))
        mass = 4.0 * two_gaussians.production(KAPPA)
        assert np.all(mass <= bounds.mass_bound(KAPPA, fraction))
    assert np.all(mass <= 0.5 * np.exp(-KAPPA / 8.0) * (1.0 + ROUNDING))
    assert bounds.tail(1e-4, 0.5) == pytest.approx(float(bounds.tail_bound(1e-4, 0.5)), rel=1e-2)  # tight at 0


def test_lem_gaussian_tails_in_any_geometry():
    """Rivals at different distances and angles: the nearest one's kappa bounds them all."""
    draw, count = np.random.default_rng(2), 100_000
    for classes in (3, 8):
        places = 3.0 * draw.standard_normal((classes, 4))
        kappa = ((places[:, None] - places[None, :]) ** 2).sum(axis=-1)  # alpha = v = 1
        log_odds = 0.5 * kappa[0, 1:] + draw.standard_normal((count, 4)) @ (places[0] - places[1:]).T
        nearest = kappa[0, 1:].min()
        for fraction in (0.0, 0.5):
            below = (log_odds.min(axis=1) < 0.5 * fraction * nearest).mean()
            bound = float(bounds.tail_bound(nearest, fraction, classes))
            assert below <= bound + 4.0 * math.sqrt(0.25 / count)
        rivals = np.exp(-log_odds).sum(axis=1)  # over the true class
        mass = rivals / (1.0 + rivals)
        error = mass.std() / math.sqrt(count)
        assert mass.mean() - 4.0 * error <= 0.5 * np.exp(-kappa[0, 1:] / 8.0).sum()
        assert mass.mean() - 4.0 * error <= 0.5 * (classes - 1) * math.exp(-nearest / 8.0)


def test_tail_of_many_classes_by_simulation():
    """min_j L_ij from the joint normal law with the covariances (kappa_ij + kappa_ik - kappa_jk)/2 = kappa/2."""
    kappa, classes, count = 9.0, 6, 400_000
    covariance = 0.5 * kappa * (np.eye(classes - 1) + 1.0)
    draws = np.random.default_rng(0).multivariate_normal(np.full(classes - 1, 0.5 * kappa), covariance, count)
    below = (draws.min(axis=1) < 0.25 * kappa).mean()
    exact = float(bounds.tail(kappa, 0.5, classes))
    assert abs(below - exact) < 4.0 * math.sqrt(exact * (1.0 - exact) / count)


def test_best_fraction_balances_the_two_terms():
    fractions = np.linspace(0.01, 0.99, 981)
    rates = np.minimum(fractions / 2.0, (1.0 - fractions) ** 2 / 8.0)
    assert fractions[rates.argmax()] == pytest.approx(bounds.BEST_FRACTION, abs=1e-3)
    slow, fast = bounds.BEST_FRACTION / 2.0, (1.0 - bounds.BEST_FRACTION) ** 2 / 8.0
    assert slow == pytest.approx(fast, rel=1e-12)


def test_prop_sandwich():
    low, high = bounds.log_production_bounds(KAPPA)
    exact = two_gaussians.log_production(KAPPA)
    assert np.all(low <= exact + ROUNDING)
    assert np.all(exact <= high + ROUNDING)
    # Tight at both ends: above at 0 and at infinity, below at 0; sqrt(pi/2) apart at infinity, at most 1.604 anywhere.
    assert exact[0] == pytest.approx(high[0], abs=1e-4)
    assert exact[0] == pytest.approx(low[0], abs=1e-4)
    assert exact[-1] == pytest.approx(high[-1], abs=1e-3)
    assert high[-1] - low[-1] == pytest.approx(0.5 * math.log(math.pi / 2.0), abs=1e-3)
    assert (high - low).max() <= 0.5 * math.log(1.0 + 0.5 * math.pi)
    assert (exact - low).max() <= 0.5 * math.log(0.5 * math.pi)
    # The entropy itself: h_b <= log 2 / cosh(L/2).
    assert np.all(two_gaussians.log_entropy(KAPPA) <= math.log(math.log(2.0)) - KAPPA / 8.0 + ROUNDING)


def random_classes(seed, count):
    draw = np.random.default_rng(seed)
    return 2.0 * draw.standard_normal((count, 2)), draw.dirichlet(np.full(count, 3.0))


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 5), log_snr=st.floats(-6.0, 2.0))
def test_thm_three_regimes(seed, count, log_snr):
    """Points in a plane, where log kappa is log-snr: production against the pairs' sum and both regimes' bounds."""
    means, weights = random_classes(seed, count)
    squared = ((means[:, None] - means[None, :]) ** 2).sum(axis=-1)
    kappa = squared * math.exp(log_snr)
    mixture = isotropic_mixture(means.tolist(), 0.0, weights.tolist())
    exact = float(mixture.production(log_snr))
    before, after = bounds.production_bounds(kappa, weights)
    pairs = bounds.pair_bound(kappa, weights)
    assert exact <= pairs + 1e-10  # the quadrature's promise
    assert pairs <= before * (1.0 + ROUNDING)
    assert exact <= after + 1e-10


def test_three_regimes_are_tight_at_their_ends():
    means, weights = random_classes(3, 4)
    squared = ((means[:, None] - means[None, :]) ** 2).sum(axis=-1)
    mixture = isotropic_mixture(means.tolist(), 0.0, weights.tolist())
    early, late = -9.0, 4.0
    _, after = bounds.production_bounds(squared * math.exp(early), weights)
    assert float(mixture.production(early)) == pytest.approx(after, rel=0.01)
    assert float(mixture.production(late)) == pytest.approx(
        bounds.pair_bound(squared * math.exp(late), weights), rel=0.05
    )


def test_bad_input_is_refused():
    for kappa in (-1.0, math.nan):
        for function in (
            lambda x: bounds.tail(x, 0.5),
            lambda x: bounds.mass_bound(x, 0.5),
            bounds.log_production_bounds,
        ):
            with pytest.raises(InputError, match="kappa is"):
                function(kappa)
    for fraction in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="fraction is"):
            bounds.tail_bound(1.0, fraction)
    with pytest.raises(InputError, match="classes is 1"):
        bounds.tail(1.0, 0.5, 1)
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    for weights in ([0.5, 0.6], [1.0], [1.5, -0.5], [math.nan, 0.5]):
        with pytest.raises(InputError, match="weights is"):
            bounds.pair_bound(pair, weights)
    for kappa in (
        np.zeros((3, 3)),
        [[0.0, 1.0], [2.0, 0.0]],
        [[0.0, -1.0], [-1.0, 0.0]],
        [[0.0, math.nan], [math.nan, 0.0]],
    ):
        with pytest.raises(InputError, match="kappa is"):
            bounds.production_bounds(kappa, [0.5, 0.5])
