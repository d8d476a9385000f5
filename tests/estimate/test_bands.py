"""Bands against the truth: how often they hold it, over runs that benchmarks/band_coverage.py counts in thousands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.band_coverage import BAND_SETTINGS, ON_DATA, covered
from companion.estimate.bands import limits, pointwise_factor, simultaneous_factor, skewness, weighted_mean
from companion.estimate.entropy import measure
from companion.estimate.partition import partition
from companion.estimate.profile import profile
from companion.forward import log_snr_levels
from companion.theory.mixtures import isotropic_mixture

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
    found = profile(PAIR, ASKED, log_snr_levels(32, -6.0, 5.0), 300)
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
