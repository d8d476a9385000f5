"""The analysis of variance against variances that are known, and the band mended by it against how often it holds."""

import numpy as np
import pytest
from scipy import stats

from companion.errors import InputError
from derivations.does_it_depend_on_the_network.spread import (
    half_width,
    interval_of_deviation,
    share_that_agrees,
    spread_over_networks,
)

NETWORKS, RUNS, QUESTIONS = 5, 2, 40_000
S_NET, SHARED, S_RUN = 0.3, 0.5, 0.2


def numbers(generator, network, shared, rest):
    """(networks, runs, questions): a mean of each question, the network's part, the seed's part, and what is left."""
    of_network = network * generator.standard_normal((NETWORKS, 1, QUESTIONS))
    of_seed = shared * generator.standard_normal((1, RUNS, QUESTIONS))
    left = rest * generator.standard_normal((NETWORKS, RUNS, QUESTIONS))
    return 10.0 * generator.standard_normal(QUESTIONS) + of_network + of_seed + left


@pytest.fixture(scope="module")
def drawn():
    return numbers(np.random.default_rng(0), S_NET, SHARED, S_RUN)


def within(values, truth):
    """A mean of independent values, within four of its standard errors: a false alarm once in 16 000."""
    return abs(values.mean() - truth) < 4.0 * values.std(ddof=1) / np.sqrt(len(values))


def test_prop_network_spread(drawn):
    found = spread_over_networks(drawn)
    assert within(found.between, S_NET**2)
    assert within(found.rest, S_RUN**2)
    assert within(found.of_means, S_NET**2 + S_RUN**2 / RUNS)
    # The root of the mean over questions is what the chapter reads; its error is that of the mean over 2 s_net.
    error = found.between.std() / np.sqrt(QUESTIONS) / (2.0 * S_NET)
    assert abs(found.deviation - S_NET) < 4.0 * error


def test_prop_network_spread_needs_no_normal_law_and_no_law_of_the_seeds_at_all():
    generator = np.random.default_rng(6)
    network = S_NET * (generator.exponential(size=(NETWORKS, 1, QUESTIONS)) - 1.0)
    rest = S_RUN * np.sqrt(12.0) * (generator.random((NETWORKS, RUNS, QUESTIONS)) - 0.5)
    found = spread_over_networks(network + np.array([[[7.0], [-100.0]]]) + rest)
    assert within(found.between, S_NET**2)
    assert within(found.rest, S_RUN**2)


def test_it_is_the_two_way_analysis_of_variance(drawn):
    # By the table's sums of squares, which add up; for one question.
    y = drawn[:, :, 0]
    total = np.square(y - y.mean()).sum()
    of_networks = RUNS * np.square(y.mean(axis=1) - y.mean()).sum()
    of_runs = NETWORKS * np.square(y.mean(axis=0) - y.mean()).sum()
    rest = (total - of_networks - of_runs) / ((NETWORKS - 1) * (RUNS - 1))
    found = spread_over_networks(drawn[:, :, :1])
    assert np.isclose(found.rest[0], rest, rtol=1e-9)
    assert np.isclose(found.between[0], (of_networks / (NETWORKS - 1) - rest) / RUNS, rtol=1e-9)


def test_where_networks_do_not_differ_the_f_test_rejects_as_often_as_it_says(drawn):
    p = spread_over_networks(numbers(np.random.default_rng(1), 0.0, SHARED, S_RUN)).p_of_none
    assert stats.kstest(p, "uniform").pvalue > 1e-4  # the stated rate of false alarms
    assert (spread_over_networks(drawn).p_of_none < 0.05).mean() > 0.2  # and more often where they do


def test_two_networks_agree_within_their_bands_as_often_as_the_bands_say():
    # The noise of a run, shared by all networks or not, is what its standard error counts.
    error = np.full((NETWORKS, RUNS, QUESTIONS), np.hypot(SHARED, S_RUN))
    same = numbers(np.random.default_rng(7), 0.0, SHARED, S_RUN)
    apart = numbers(np.random.default_rng(8), 2.0, SHARED, S_RUN)
    # Twenty ordered pairs of a question are not independent: 4 deviations of a share of 0.95 in 40 000 questions alone.
    tolerance = 4.0 * np.sqrt(0.95 * 0.05 / QUESTIONS)
    assert abs(share_that_agrees(same, error) - 0.95) < tolerance
    assert share_that_agrees(apart, error) < 0.5
    assert abs(share_that_agrees(apart, error, 2.0) - 0.95) < tolerance


def test_the_interval_of_a_deviation_holds_it_as_often_as_it_says():
    generator, count = np.random.default_rng(3), 2000
    deviations = generator.standard_normal((count, NETWORKS)).std(axis=1, ddof=1)
    held = [lower <= 1.0 <= upper for lower, upper in (interval_of_deviation(each, 4) for each in deviations)]
    assert stats.binomtest(sum(held), count, 0.95).pvalue > 1e-4


@pytest.mark.parametrize("error", [0.0, 0.4])
def test_the_mended_band_holds_the_mean_of_the_recipe_as_often_as_it_says(error):
    # The deviation is known here: what is tested is that error and deviation are the two parts of one normal law.
    generator, count = np.random.default_rng(4), 20_000
    of_one = S_NET * generator.standard_normal(count) + error * generator.standard_normal(count)
    held = np.abs(of_one) <= half_width(error, S_NET)
    assert stats.binomtest(int(held.sum()), count, 0.95).pvalue > 1e-4
    # Another network of the recipe: sqrt(2) times the deviation.
    apart = of_one - S_NET * generator.standard_normal(count)
    held = np.abs(apart) <= half_width(error, np.sqrt(2.0) * S_NET)
    assert stats.binomtest(int(held.sum()), count, 0.95).pvalue > 1e-4


def test_with_an_estimated_deviation_it_is_student_who_says_how_wide():
    generator, count = np.random.default_rng(5), 3000
    others = generator.standard_normal((count, NETWORKS)).std(axis=1, ddof=1)
    one = generator.standard_normal(count)
    held = [abs(value) <= half_width(0.0, each, NETWORKS - 1) for value, each in zip(one, others, strict=True)]
    assert stats.binomtest(int(np.sum(held)), count, 0.95).pvalue > 1e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spread_over_networks(np.zeros((5, 2))), "values is of shape"),
        (lambda: spread_over_networks(np.zeros((1, 2, 3))), "two of each"),
        (lambda: spread_over_networks(np.full((3, 2, 1), np.nan)), "finite"),
        (lambda: interval_of_deviation(-1.0, 4), "deviation is -1.0"),
        (lambda: interval_of_deviation(1.0, 0), "freedom is 0"),
        (lambda: interval_of_deviation(1.0, 4, 1.0), "level is 1.0"),
        (lambda: half_width(-0.1, 0.1), "error is -0.1"),
        (lambda: half_width(0.1, -0.1), "deviation is -0.1"),
        (lambda: share_that_agrees(np.zeros((5, 2, 3)), np.zeros((5, 2, 1))), "errors of that shape"),
        (lambda: share_that_agrees(np.zeros((5, 2, 3)), -np.ones((5, 2, 3))), "standard errors"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()
