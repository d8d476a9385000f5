"""Fewer paths than two a branch: the strata are the sides, and chance takes each path's branch of its side."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.band_coverage import CLASSES, SIXTY
from companion.entropy import NULL, Partition, partition
from companion.errors import InputError
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import Question, measure
from companion.estimate.plan import Data, Plan, owners_by_side
from companion.estimate.run import profile
from companion.exact.mixtures import isotropic_mixture
from companion.forward import log_snr_levels

LEVELS = np.linspace(-6.0, 6.0, 12)
SIDES = [list(range(0, CLASSES, 2)), list(range(1, CLASSES, 2))]
ASKED = partition(SIXTY, *SIDES)
TWENTY = isotropic_mixture(0.1 * (np.arange(20)[:, None] - 9.5), 0.02)
ALTERNATE = partition(TWENTY, range(0, 20, 2), range(1, 20, 2))


def test_the_branch_of_a_path_has_the_probability_of_its_weight():
    """Paths 0, 1, 8 and 11 over 4000 seeds: chi-squared at 1 in 10 000."""
    asked = Partition("by hand", {0: 0.6, 1: 0.3, 2: 0.1}, {2: 0.5, NULL: 0.5}, 0.3)
    owners = np.array([owners_by_side(12, asked, seed) for seed in range(4000)])
    for path in (0, 1, 8, 11):
        weights = (asked.second if path % 2 else asked.first).values()
        branches = [asked.branches.index(branch) for branch in (asked.second if path % 2 else asked.first)]
        counts = [np.sum(owners[:, path] == branch) for branch in branches]
        assert sum(counts) == 4000
        assert stats.chisquare(counts, 4000 * np.array(list(weights))).pvalue > 1e-4


@given(st.lists(st.floats(0.02, 1.0), min_size=1, max_size=8), st.integers(1, 400), st.integers(0, 2**63 - 1))
def test_every_beginning_of_the_walk_follows_the_weights(weights, paths, seed):
    """The discrepancy of the golden ratio's multiples is below 3 in an interval, for so few (0.22 log n + 2)."""
    share = np.array(weights) / np.sum(weights)
    asked = Partition("by hand", dict(enumerate(share)), {len(share): 1.0}, 0.5)
    owner = owners_by_side(2 * paths, asked, seed)
    assert np.all(owner[1::2] == len(share))
    counts = np.cumsum(np.eye(len(share))[owner[::2]], axis=0)
    assert np.all(np.abs(counts - np.arange(1, paths + 1)[:, None] * share) < 3.5)
    np.testing.assert_array_equal(owners_by_side(paths, asked, seed), owner[:paths])


def test_a_plan_that_grows_keeps_its_paths():
    small = Plan((ASKED,), LEVELS, 60, seed=5)
    large = replace(small, samples=8000)
    assert small.by_side and large.by_side and not Plan((ASKED,), LEVELS, 8000, seed=5).by_side
    np.testing.assert_array_equal(large.owner[:60], small.owner)
    assert Question(ASKED, large, 1, torch.device("cpu")).stratum.tolist() == [0, 1] * 75


def test_sixty_classes_from_eighty_paths():
    """Classes of unequal widths and weights, 24 seeds: the mean is the truth within four errors of its own and 0.002
    for the steps, and where 0.05 < H < 0.65, where many paths count, the standard error is the spread over seeds within
    0.45, three deviations of that ratio. Two a branch would be 7320 paths: the smallest weight is 1/1830."""
    levels = log_snr_levels(48, -2.0, 9.0)
    truth = SIXTY.sides(partition(SIXTY, *SIDES)).entropy(levels)
    runs = []
    for seed in range(24):
        (found,), _ = measure(SIXTY, [ASKED], levels, 80, seed)
        runs.append(weighted_mean(found.entropy_of_path, found))
    means, errors = np.array(runs).transpose(1, 0, 2)
    spread = means.std(axis=0, ddof=1)
    assert np.all(np.abs(means.mean(axis=0) - truth) < 4.0 * spread / np.sqrt(24) + 0.002)
    middle = (truth > 0.05) & (truth < 0.65)
    ratio = spread[middle] / np.sqrt(np.mean(errors[:, middle] ** 2, axis=0))
    assert np.all(np.abs(ratio - 1.0) < 0.45), ratio


def test_strata_of_either_kind_agree():
    """One question, asked of strata of either kind: within four errors of the difference at every level."""
    levels = log_snr_levels(24, -2.0, 9.0)
    (by_branch,), _ = measure(TWENTY, [ALTERNATE], levels, 800, 0)
    (by_side,), _ = measure(TWENTY, [ALTERNATE], levels, 38, 1)
    assert len(by_branch.weights) == 20 and by_side.weights.tolist() == [0.5, 0.5]
    (one, first), (other, second) = (weighted_mean(each.entropy_of_path, each) for each in (by_branch, by_side))
    assert np.all(np.abs(one - other) <= 4.0 * np.hypot(first, second) + 1e-6)


def test_labels_of_real_data_count_by_side():
    """Data of the mixture calibrate it; with the labels of the sides exchanged the same data do not."""
    drawn, labels = SIXTY.sample(6000, torch.Generator().manual_seed(2))
    levels = log_snr_levels(64, -2.0, 9.0)
    right = profile(SIXTY, ASKED, log_snr=levels, samples=300, data=Data(drawn, labels.numpy()))
    wrong = profile(SIXTY, ASKED, log_snr=levels, samples=300, data=Data(drawn, labels.numpy() ^ 1))
    assert right.samples == 300 and right.certificate["calibration"].verdict != "fails"
    assert wrong.certificate["calibration"].verdict == "fails"


def test_a_folder_keeps_the_kind_of_its_strata(tmp_path):
    first = profile(TWENTY, ALTERNATE, log_snr=LEVELS, samples=30, out=tmp_path, block=10)
    again = profile(TWENTY, ALTERNATE, log_snr=LEVELS, samples=30, out=tmp_path, block=10)
    np.testing.assert_array_equal(first.entropy, again.entropy)
    with pytest.raises(InputError, match="strata is branches, expected sides, as in the run that"):
        profile(TWENTY, ALTERNATE, log_snr=LEVELS, samples=60, out=tmp_path, block=10)
