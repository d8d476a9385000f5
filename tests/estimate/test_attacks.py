"""What a careless or hostile caller does: every bad input is one InputError, and no good one loses a run."""

import json
import shutil

import numpy as np
import pytest
import torch

from companion.entropy import NULL, Partition, partition
from companion.errors import InputError
from companion.estimate.bracket import bracket
from companion.estimate.held_out import against_data, calibration, drawn_samples, log_likelihoods
from companion.estimate.plan import Data, Plan
from companion.estimate.result import Profile
from companion.estimate.run import profile, profiles
from companion.exact.mixtures import isotropic_mixture

PAIR = isotropic_mixture([[-1.0], [1.0]], 0.3)
THREE = isotropic_mixture([[-3.0], [0.0], [3.0]], 1.0)
ASKED = partition(PAIR, [0], [1])
LEVELS = np.linspace(-8.0, 6.0, 12)
LABELS = np.arange(40) % 2
SAMPLES = torch.tensor(2.0 * LABELS - 1.0)[:, None]


def run(**changes):
    return profile(PAIR, ASKED, **{"samples": 20, "levels": 4, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": 20.5}, "samples is 20.5, expected a whole number of at least 4"),
        ({"samples": "many"}, "samples is many, expected a whole number of at least 4"),
        ({"samples": None}, "samples is None"),
        ({"method": "published"}, "method is published, expected DEFAULT"),
        ({"log_snr": "ab"}, "log_snr is ab, expected finite levels"),
        ({"levels": 2.5}, "levels is 2.5, expected a whole number of at least 2"),
        ({"levels": None}, "levels is None"),
        ({"block": 2.5}, "block is 2.5, expected a whole number of at least 1"),
        ({"block": None}, "block is None"),
        ({"tolerance": "small"}, "tolerance is small, expected a positive number"),
        ({"tolerance": float("inf")}, "tolerance is inf, expected a positive number"),
        ({"tolerance": 0.1, "most": 10}, "most is 10, expected at least one block, 150 paths"),
        ({"tolerance": 0.1, "most": None}, "most is None"),
    ],
)
def test_numbers_that_are_none_are_named(changes, said):
    with pytest.raises(InputError, match=said):
        run(**changes)


def test_what_is_no_partition_is_named():
    for asked in (None, 3, [3], [ASKED, None], [], [[ASKED]]):
        with pytest.raises(InputError, match=r"partitions is .*, expected "):
            profiles(PAIR, asked, samples=20)
    with pytest.raises(InputError, match=r"partition is .*, expected one"):
        profile(PAIR, [ASKED], samples=20)


def test_a_partition_may_be_text():
    named, made = profiles(PAIR, ["0|1", ASKED], samples=20, levels=4)
    np.testing.assert_array_equal(named.entropy, made.entropy)
    (alone,) = profiles(PAIR, "0|1", samples=20, levels=4)
    assert alone.as_dict() == {**run().as_dict(), "seconds": alone.seconds}
    weighted = isotropic_mixture([[-1.0], [1.0]], 0.3, [0.25, 0.75])
    assert profile(weighted, "0|1", samples=20, levels=4, prior="true").prior == 0.25


@pytest.mark.parametrize("trust", ["null", ["everything"], ["eval mode"]])
def test_what_cannot_be_trusted_is_named(trust):
    with pytest.raises(InputError, match=r"trust is .*, expected names among null, clipping, first level, last level"):
        run(trust=trust)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_profile_is_not_saved_without_a_name(path):
    with pytest.raises(InputError, match="expected a file that can be written"):
        run().save(path)


def test_numbers_of_numpy_are_plain_in_the_result(tmp_path):
    """Otherwise the file could not be written, after the run."""
    found = run(samples=np.int64(20), seed=np.int32(3), block=np.int16(7), levels=np.int64(4))
    found.save(tmp_path / "profile.json")
    read = Profile.load(tmp_path / "profile.json")
    assert (read.seed, read.evaluations) == (3, found.evaluations)


def test_whole_numbers_may_be_floats():
    np.testing.assert_array_equal(run(samples=20.0, levels=4.0, block=8.0).entropy, run(block=8).entropy)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (0, [1], "first is 0, expected classes by their numbers"),
        ([0], 1, "second is 1, expected classes by their numbers"),
        ([0], None, "second is None"),
        ("0", [1], "first is 0"),
        ({0}, [1], "first is"),
    ],
)
def test_a_side_that_is_no_group_is_named(first, second, said):
    with pytest.raises(InputError, match=said):
        partition(PAIR, first, second)


def test_sides_and_priors_of_numpy_are_those_of_python():
    found = partition(PAIR, np.array([0]), np.array([1]), np.float32(0.25))
    assert found == partition(PAIR, [0], [1], 0.25)
    assert [type(branch) for branch in found.branches] == [int, int]


@pytest.mark.parametrize(
    ("first", "second", "prior", "said"),
    [
        ({}, {1: 1.0}, 0.5, "first is"),
        ({0: 1.0}, {1: 2.0}, 0.5, "second is"),
        ({0: 1.0}, {1: 1.5, 0: -0.5}, 0.5, "second is"),
        ({0: 1.0}, {1: 1.0}, 1.0, "prior is 1.0"),
        ({0: 1.0}, {1: 1.0}, float("nan"), "prior is nan"),
    ],
)
def test_a_partition_made_by_hand_is_checked(first, second, prior, said):
    with pytest.raises(InputError, match=said):
        Partition("by hand", first, second, prior)


def test_enough_samples_are_enough():
    """49 equal classes on a side: each has two of 4 x 49 paths; of several partitions each branch must have two."""
    fifty = isotropic_mixture(np.eye(50), 0.1)
    asked = [partition(fifty, [k], "others") for k in (0, 1)]
    enough = Plan((asked[0],), LEVELS, 196)
    assert not enough.by_side and np.bincount(enough.owner)[1:].tolist() == [2] * 49
    assert Plan((asked[0],), LEVELS, 195).by_side
    with pytest.raises(InputError, match="at least 100, two paths a branch"):
        profiles(fifty, asked, samples=99)
    with pytest.raises(InputError, match="at least 196, two paths a branch"):
        Plan((asked[0],), LEVELS, 195, by_side=False)


@pytest.mark.parametrize(
    ("samples", "labels", "said"),
    [
        (SAMPLES.numpy(), LABELS, "samples of data"),
        (torch.where(torch.arange(40)[:, None] == 39, torch.nan, SAMPLES), LABELS, "samples of data"),
        (SAMPLES, LABELS[:30], "labels of data"),
        (SAMPLES[:30], LABELS, "labels of data"),
        (SAMPLES[:, 0], LABELS, "labels of data"),
        (SAMPLES, LABELS[:, None], "labels of data"),
        (SAMPLES, LABELS + 0.5, "labels of data"),
        (SAMPLES, LABELS - 3, "labels of data"),
        (SAMPLES, ["left", "right"] * 20, "labels of data"),
    ],
)
def test_data_that_are_none_are_named(samples, labels, said):
    with pytest.raises(InputError, match=said):
        Data(samples, labels)


def test_labels_may_be_a_list_or_a_tensor_and_samples_a_networks_output():
    found = [
        run(data=Data(samples, labels)).entropy
        for samples, labels in [
            (SAMPLES, LABELS),
            (SAMPLES.clone().requires_grad_(), LABELS.tolist()),
            (SAMPLES, torch.tensor(LABELS)),
        ]
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("kind", ["drawn", "sorted by class"])
def test_data_of_the_null_branch_are_of_all_classes(kind):
    """Class or everything, on an exact model: right data pass, however they lie in their file.

    Were the first samples taken for the null branch, the calibration would be off by 0.15 and 0.28 nats.
    """
    asked = partition(THREE, [0], "null")
    if kind == "drawn":
        data = drawn_samples(THREE, asked, 1000, seed=5, levels=64)
        assert set(data.labels.tolist()) == {0, NULL}
    else:
        samples, labels = THREE.sample(2000, torch.Generator().manual_seed(0))
        order = torch.argsort(labels, stable=True)
        data = Data(samples[order], labels[order].numpy())
    found = profile(THREE, asked, log_snr=np.linspace(-8.0, 6.0, 40), samples=1000, seed=1, data=data)
    assert found.certificate["calibration"].value < 0.1  # 3 standard errors; 0.15 lie 5 off
    assert found.certificate["calibration"].verdict != "fails"


def test_a_tolerance_takes_all_data_and_then_stops():
    """A run that has used up the data ends with a profile, and not with an error for want of more."""
    found = run(tolerance=1e-4, block=8, data=Data(SAMPLES, LABELS))
    assert found.samples == 40
    assert found.sampling.startswith("stopped at 40 paths, the most")


def test_real_data_are_compared_once():
    own = run()
    real = profile(PAIR, ASKED, log_snr=own.log_snr, samples=20, seed=1, data=Data(SAMPLES, LABELS))
    once = against_data(own, real)
    assert [each.name for each in against_data(once, real).certificate.checks] == [
        each.name for each in once.certificate.checks
    ]


@pytest.mark.parametrize("block", [0, -1, 2.5, "a"])
def test_a_block_of_real_data_is_checked(block):
    with pytest.raises(InputError, match="block is"):
        log_likelihoods(PAIR, SAMPLES, LEVELS, block=block)


def test_real_data_and_branches_are_checked():
    with pytest.raises(InputError, match="branches is"):
        log_likelihoods(PAIR, SAMPLES, LEVELS, branches=[])
    with pytest.raises(InputError, match="data is of type ndarray"):
        log_likelihoods(PAIR, SAMPLES.numpy(), LEVELS)


@pytest.mark.parametrize(
    ("shape", "labels", "weights", "said"),
    [
        ((4, 3, 2), [0, 1, 0, 0.5], [0.5, 0.5], "labels is"),
        ((4, 3, 2), ["a"] * 4, [0.5, 0.5], "labels is"),
        ((4, 3, 2), [0, 1, 0, 1], [0.5, 0.25, 0.25], "weights is"),
        ((4, 3, 2), [0, 1, 0, 1], [0.0, 1.0], "weights is"),
        ((3, 2), [0, 1, 0], [0.5, 0.5], "log_likelihood is"),
        ((0, 3, 2), [], [0.5, 0.5], "log_likelihood is"),
    ],
)
def test_what_calibration_compares_is_checked(shape, labels, weights, said):
    with pytest.raises(InputError, match=said):
        calibration(np.zeros(shape), labels, np.zeros(3), weights)


@pytest.mark.parametrize("classes", [2.5, None, "abc"])
def test_classes_of_a_bracket_are_named(classes):
    with pytest.raises(InputError, match="classes is"):
        bracket(isotropic_mixture(np.eye(6), 0.0), 0, classes, LEVELS, 100)


@pytest.mark.parametrize(
    "change",
    [
        {"entropy": [0.5]},
        {"log_snr": [[0.0, 1.0]]},
        {"production": [None] * 4},
        {"entropy_se": ["a"] * 4},
        {"half_entropy": ["a", "b", "c"]},
        {"half_entropy": "abc"},
        {"pointwise": None},
        {"seconds": "long"},
        {"partition": 5},
        {"prior": float("nan")},
        {name: [] for name in ("log_snr", "entropy", "entropy_se", "entropy_skew", "production", "production_se")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_file_is_refused_when_it_is_read(change, tmp_path):
    """And not later, by a summary or a figure."""
    path = tmp_path / "profile.json"
    run().save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match="expected a whole file"):
        Profile.load(path)


def test_a_file_of_brackets_is_refused(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="expected a whole file"):
        Profile.load(tmp_path / "deep.json")


def test_a_run_whose_blocks_were_removed_starts_again(tmp_path):
    found = run(out=tmp_path)
    shutil.rmtree(tmp_path / "blocks")
    np.testing.assert_array_equal(run(out=tmp_path).entropy, found.entropy)
