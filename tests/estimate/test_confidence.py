"""Bands against the truth: how often they hold it, over runs that benchmarks/band_coverage.py counts in thousands."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.band_coverage import BAND_SETTINGS, ON_DATA, covered
from companion.entropy import Partition, partition
from companion.estimate.confidence import (
    limits,
    pointwise_factor,
    simultaneous_factor,
    skewness,
    weighted_mean,
    widest,
)
from companion.estimate.measure import Measurement, measure
from companion.estimate.result import resampled
from companion.estimate.run import profile
from companion.exact.mixtures import isotropic_mixture
from companion.forward import log_snr_levels

PAIR = isotropic_mixture([[-2.0], [2.0]], 1.0)
ASKED = partition(PAIR, [0], [1])
RUNS = 40


def least_inside(share, levels):
    """So many of RUNS are inside at each of `levels` levels, but for one run of the test in a thousand."""
    return stats.binom.ppf(0.001 / levels, RUNS, share)


@pytest.mark.parametrize(("setting", "on_data"), [*[(BAND_SETTINGS[k], False) for k in (0, 1, 3)], (ON_DATA[0], True)])
def test_bands_hold_the_truth(setting, on_data):
    """A band of true coverage 93% would fail once in a thousand at the worst of 64 levels, one of 75% three times in
    four at a single one; the simultaneous band likewise, once."""
    found = covered(setting, RUNS, on_data=on_data, first_seed=900)
    for share in ("pointwise_least", "elsewhere_least"):
        assert found[share] * RUNS >= least_inside(0.93, 64), found
    assert found["simultaneous"] * RUNS >= least_inside(0.93, 1), found
    assert abs(found["bias_in_errors"]) < 0.5 + 4.0 / np.sqrt(RUNS)


def test_rare_undecided_paths_widen_the_band_of_a_run_that_drew_none():
    """A share q of the paths has h = log 2 and the rest none, 300 paths: exact binomial coverage at each q.

    The plain band of two errors holds the truth q log 2 for q = 0.003 in 59% of the runs: all others drew none.
    """
    drawn = np.arange(0, 301)
    before = np.array([0.3, 0.02])  # levels at which the paths are still undecided
    for q in (0.003, 0.01, 0.02):
        chance = stats.binom.pmf(drawn, 300, q)
        inside = plain = 0.0
        for count, weight in zip(drawn, chance, strict=True):
            share = np.append(before, count / 300.0)
            error = np.log(2.0) * np.sqrt(share * (1.0 - share) / 299.0)
            lower, upper = limits(np.log(2.0) * share, error, np.zeros(3), 1.97)
            inside += weight * (lower[-1] <= q * np.log(2.0) <= upper[-1])
            plain += weight * (abs(share[-1] - q) * np.log(2.0) <= 1.97 * error[-1])
        assert inside > 0.93, (q, inside)
        assert plain < 0.93 or q == 0.02


@given(
    st.lists(st.floats(0.0, 0.69), min_size=1, max_size=8),
    st.lists(st.floats(0.0, 0.1), min_size=8, max_size=8),
    st.floats(1.9, 4.0),
    st.sampled_from([0.0, 0.1675]),
)
def test_limits_are_ordered_and_hold_the_estimate(entropy, error, factor, floor):
    values = np.array(entropy)
    skew = np.linspace(-0.3, 0.3, len(values))
    lower, upper = limits(values, np.array(error[: len(values)]), skew, factor, floor)
    assert np.all((lower >= 0.0) & (upper <= np.log(2.0) + 1e-15))
    assert np.all(lower <= values + 1e-9) and np.all(values <= upper + 1e-9)
    wider = limits(values, np.array(error[: len(values)]), skew, 1.5 * factor, floor)
    assert np.all(wider[0] <= lower + 1e-9) and np.all(wider[1] >= upper - 1e-9)


def test_above_the_tail_the_band_is_plain():
    lower, upper = limits(np.array([0.6, 0.2]), np.array([0.01, 0.02]), np.zeros(2), 2.0)
    np.testing.assert_allclose((lower, upper), ([0.58, 0.16], [0.62, 0.24]), atol=1e-7)
    lower, upper = limits(
        np.array([0.6, 0.1]), np.array([0.01, 0.005]), np.zeros(2), 2.0, floor=0.1675
    )  # below a floor
    np.testing.assert_allclose((lower[1], upper[1]), (0.09, 0.11), atol=1e-7)


def test_simultaneous_factor_lies_between_one_level_and_a_bonferroni_bound():
    (found,), _ = measure(PAIR, [ASKED], log_snr_levels(32, -6.0, 5.0), 300)
    factor, one = simultaneous_factor(found.entropy_of_path, found), pointwise_factor(found)
    assert one < factor < stats.t.ppf(1.0 - 0.025 / 32, 296) + 0.1
    same = np.repeat(found.entropy_of_path[:, 15:16], 32, axis=1)  # 32 copies of one level are one level
    assert simultaneous_factor(same, found) == pytest.approx(one, abs=0.12)  # a quantile of 2000 draws: 4 deviations


def test_profile_has_the_bands_of_its_paths():
    found = profile(PAIR, ASKED, log_snr=log_snr_levels(32, -6.0, 5.0), samples=300)
    (measured,), _ = measure(PAIR, [ASKED], log_snr_levels(32, -6.0, 5.0), 300)
    entropy, error = weighted_mean(measured.entropy_of_path, measured)
    skew = skewness(measured.entropy_of_path, measured)
    for simultaneous, factor in ((False, found.pointwise), (True, found.simultaneous)):
        np.testing.assert_array_equal(found.band(simultaneous), limits(entropy, error, skew, factor, 0.0))


@given(st.floats(-0.5, 0.5), st.floats(-2.5, 2.5))
def test_limits_invert_halls_cubic(skew, factor):
    """t + g t^2 / 3 + g^2 t^3 / 27 + g / 6 of the end is the factor: what the estimate's skewness adds is taken off."""
    lower, upper = limits(np.array([0.4]), np.array([0.01]), np.array([skew]), abs(factor))
    for end, expected in ((lower, abs(factor)), (upper, -abs(factor))):
        t = (0.4 - end[0]) / 0.01
        g = skew if abs(skew) >= 1e-6 else 1e-6
        assert t + g * t**2 / 3.0 + g**2 * t**3 / 27.0 + g / 6.0 == pytest.approx(expected, abs=1e-6)


def by_hand(values, stratum, weights):
    """Paths of these entropies (paths, levels); for a run of one partition without a floor."""
    asked, levels = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5), np.arange(float(values.shape[1]))
    return Measurement(asked, levels, *[values] * 6, np.asarray(stratum), np.asarray(weights))


@pytest.mark.parametrize(
    ("paths", "strata", "factor"), [(4, 2, 12.7062), (5, 2, 12.7062), (8, 2, 2.7764), (8, 3, 3.1824), (124, 2, 1.9799)]
)
def test_a_band_of_few_paths_is_students(paths, strata, factor):
    """Of tables of t, at 0.975: one degree, four, three and 120; each stratum and each control costs one."""
    stratum = np.arange(paths) % strata
    measured = by_hand(np.zeros((paths, 1)), stratum, np.full(strata, 1.0 / strata))
    assert pointwise_factor(measured) == pytest.approx(factor, abs=5e-5)
    assert simultaneous_factor(np.zeros((paths, 1)), measured) == pointwise_factor(measured)  # where all is still


@pytest.mark.parametrize(("counts", "weights"), [((4, 4), (0.5, 0.5)), ((3, 6), (0.2, 0.8))])
def test_a_band_of_few_paths_holds_the_truth(counts, weights):
    """Normal values in two strata of unequal spread, four and six of them: of 1000 runs 95 in 100 hold the mean, or
    more, for the degrees of two controls that are not used are lost. Four deviations of the share are 0.03."""
    generator, stratum = np.random.default_rng(0), np.repeat([0, 1], counts)
    held = 0
    for _ in range(1000):
        values = (1.0 + 2.0 * stratum[:, None]) * generator.normal(size=(len(stratum), 1))
        measured = by_hand(values, stratum, weights)
        mean, error = weighted_mean(values, measured)
        held += abs(mean[0]) <= pointwise_factor(measured) * error[0]
    assert 0.92 < held / 1000 < 0.995


def test_the_simultaneous_factor_of_independent_levels_is_that_of_their_largest_deviation():
    """Eight levels, 400 paths a stratum, unequal weights and spreads: P(all |t| < f) = 0.95 is (2 F(f) - 1)^8 for
    Student's F, to the stretch of the pointwise factor. The quantile of 2000 draws is good to 0.1, four deviations, and
    the levels are correlated by chance, 1 / 20."""
    generator, stratum = np.random.default_rng(1), np.repeat([0, 1], 400)
    values = (1.0 + 3.0 * stratum[:, None]) * generator.normal(size=(800, 8)) * np.logspace(-3.0, 0.0, 8)
    measured = by_hand(values, stratum, [0.3, 0.7])
    expected = stats.norm.ppf(0.5 + 0.5 * 0.95 ** (1.0 / 8.0))
    assert simultaneous_factor(values, measured) == pytest.approx(expected, abs=0.1)
    still = np.concatenate([values, np.zeros((800, 3))], axis=1)  # levels that do not move are not counted
    assert simultaneous_factor(still, by_hand(still, stratum, [0.3, 0.7])) == pytest.approx(expected, abs=0.1)


def test_the_simultaneous_factor_of_few_paths_is_students_too():
    """Two levels that vary in a stratum each are independent: the normal quantile of their largest deviation, times
    2.7764 / 1.96, as t of four degrees is; 2000 draws are good to 0.15, four deviations times that."""
    values = np.array([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 0.0], [0.0, 1.0]])
    measured = by_hand(values, np.repeat([0, 1], 4), [0.5, 0.5])
    expected = stats.norm.ppf(0.5 + 0.5 * np.sqrt(0.95)) * 2.7764 / stats.norm.ppf(0.975)
    assert simultaneous_factor(values, measured) == pytest.approx(expected, abs=0.15)


def test_the_simultaneous_factor_counts_the_weights_of_the_strata():
    """Level 0 varies in the first stratum alone, level 1 in both, so that their deviations are correlated by the share
    of its weighted variance, r. Two normal numbers of that correlation: P(both below f) by the bivariate law."""
    generator, stratum = np.random.default_rng(2), np.repeat([0, 1], 500)
    normal = generator.normal(size=1000)
    for weights in ([0.9, 0.1], [0.1, 0.9]):
        values = np.stack([np.where(stratum == 0, normal, 0.0), normal], axis=1)
        measured = by_hand(values, stratum, weights)
        r = weights[0] / np.hypot(*weights)
        both = stats.multivariate_normal([0.0, 0.0], [[1.0, r], [r, 1.0]])

        def inside(f, both=both):
            return both.cdf([f, f], lower_limit=[-f, -f])

        f = simultaneous_factor(values, measured) * stats.norm.ppf(0.975) / pointwise_factor(measured)
        assert inside(f) == pytest.approx(0.95, abs=4.0 * np.sqrt(0.95 * 0.05 / 2000))


def test_skewness_is_the_third_cumulant_of_the_stratified_mean():
    """Two and three values: cumulants of a mean of n are kappa_3 / n^2 and, unbiased, s^2 / n; those of strata add."""
    values = np.array([0.0, 1.0, 0.0, 0.0, 3.0])[:, None]
    measured = by_hand(values, [0, 0, 1, 1, 1], [0.4, 0.6])
    third = 0.6**3 * 2.0 / 9.0  # of 0, 0, 3: the mean of -1, -1 and 8 is 2
    variance = 0.4**2 * 0.5 / 2.0 + 0.6**2 * 3.0 / 3.0
    assert skewness(values, measured)[0] == pytest.approx(third / variance**1.5, rel=1e-12)
    assert skewness(0.0 * values, measured)[0] == 0.0


def test_curves_drawn_again_have_the_mean_and_the_variance_of_a_bootstrap():
    """Sum of W mean_z, and W^2 / n times the variance about the mean with n, not n - 1: 400 replicates, four errors."""
    generator, stratum = np.random.default_rng(3), np.array([0] * 3 + [1] * 5)
    values = np.concatenate([generator.normal(size=(8, 2)), np.ones((8, 1))], axis=1)
    measured = by_hand(values, stratum, [0.3, 0.7])
    curves = resampled(values, measured)
    mean, _ = weighted_mean(values, measured)
    parts = zip([0.3, 0.7], [values[:3], values[3:]], strict=True)
    variance = sum(weight**2 * members.var(axis=0) / len(members) for weight, members in parts)
    assert curves.shape == (400, 3)
    np.testing.assert_allclose(curves[:, 2], 1.0, rtol=1e-12)
    assert np.all(np.abs(curves.mean(axis=0) - mean)[:2] < 4.0 * np.sqrt(variance[:2] / 400))
    # A variance of 400 draws, no rarer in the tails than normal ones: its deviation is sqrt(2 / 400) of it.
    np.testing.assert_allclose(curves.var(axis=0, ddof=1)[:2], variance[:2], rtol=4.0 * np.sqrt(2.0 / 400))


@given(
    st.floats(1e-4, 0.09),
    st.floats(0.05, 0.9),
    st.floats(1.9, 4.0),
    st.sampled_from([0.0, 0.1675]),
    st.floats(0.0, 3.0),
)
def test_limits_in_the_tail_are_those_whose_own_deviation_explains_the_estimate(left, share, factor, floor, before):
    """|x - x'| = factor sqrt(c x'), c = error^2 / x of this level, or of an earlier one of the tail where it is more.

    The error is a share of sqrt(x), that of the paths still undecided among all.
    """
    error = 0.1 * share * np.sqrt(left)
    c = error**2 / left
    earlier = 0.095  # a level of the tail, whose c is `before` times this one's
    entropy = floor + np.array([0.4, earlier, left])
    errors = np.array([0.01, np.sqrt(before * c * earlier), error])
    lower, upper = limits(entropy, errors, np.zeros(3), factor, floor)
    c = max(c, before * c)
    for end in (lower[2] - floor, upper[2] - floor):
        if 0.0 < end + floor < np.log(2.0):
            assert abs(left - end) == pytest.approx(factor * np.sqrt(c * max(end, 0.0)), rel=1e-6, abs=1e-9)
    assert lower[2] <= entropy[2] <= upper[2] and upper[2] > lower[2]
    assert upper[0] - lower[0] == pytest.approx(2.0 * factor * 0.01, rel=1e-4)


def test_the_tail_begins_where_less_than_a_tenth_is_left():
    """And goes on to the end, also where an estimate comes back above it by chance."""
    entropy, error = np.array([0.101, 0.099, 0.12]), np.full(3, 0.01)
    lower, upper = limits(entropy, error, np.zeros(3), 2.0)
    middle = 0.5 * (lower + upper)
    assert middle[0] == pytest.approx(0.101, abs=1e-6)
    spread = 4.0 * 1e-4 / 0.099
    np.testing.assert_allclose(middle[1:], entropy[1:] + 0.5 * spread, rtol=1e-9)


@pytest.mark.parametrize("floor", [0.0, 0.1675])
def test_a_run_that_ends_at_its_floor_is_not_certain(floor):
    """x = 0 and no error: the other end is the x' of x' = factor sqrt(c x'), c of the level before."""
    lower, upper = limits(floor + np.array([0.4, 0.01, 0.0]), np.array([0.01, 0.003, 0.0]), np.zeros(3), 2.0, floor)
    assert (lower[2], upper[2]) == pytest.approx((floor, floor + 4.0 * 0.003**2 / 0.01), rel=1e-9)


def test_the_widest_place_of_the_band():
    """Two levels whose bands are plain, of errors 0.1 and 0.2: half of the wider is two errors of it."""
    values = 0.4 + 0.1 * np.array([[1.0, 2.0], [-1.0, -2.0]] * 2)
    measured = by_hand(values, [0, 0, 1, 1], [0.5, 0.5])
    _, error = weighted_mean(values, measured)
    np.testing.assert_allclose(error, np.sqrt(0.02 / 4.0) * np.array([1.0, 2.0]))
    assert widest(measured, 0.5) == pytest.approx(0.5 * error[1], rel=1e-6)


def test_the_band_of_a_cross_entropy_may_pass_log_two():
    values = 0.65 + 0.1 * np.array([[2.0], [-2.0]] * 2)
    measured = by_hand(values, [0, 0, 1, 1], [0.5, 0.5])
    error = float(weighted_mean(values, measured)[1][0])
    assert widest(measured, 1.0) == pytest.approx(0.5 * (error + np.log(2.0) - 0.65), rel=1e-6)
    assert widest(replace(measured, posterior_of_path=values), 1.0) == pytest.approx(error, rel=1e-6)
