"""Partitions: weights and priors by hand, floors against their formula and against the entropy of clean data."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from companion.denoiser import FunctionDenoiser
from companion.entropy import NULL, Partition, neural_entropy_rate, partition
from companion.errors import InputError
from companion.exact.mixtures import isotropic_mixture

THREE = isotropic_mixture([[-2.0], [0.0], [3.0]], 0.1, [0.5, 0.3, 0.2])
TEN = isotropic_mixture([[float(k)] for k in range(10)], 0.0)


def test_sides_keep_the_models_proportions():
    group = partition(THREE, [0], [1, 2], prior="true")
    assert group.first == {0: 1.0}
    assert group.second == pytest.approx({1: 0.6, 2: 0.4})
    assert group.prior == pytest.approx(0.5)
    assert partition(THREE, [1], [2], "true").prior == pytest.approx(0.6)  # renormalised on both sides (ES 99)
    assert partition(THREE, [1], [2]).prior == 0.5
    assert group.shares == pytest.approx([0.5, 0.3, 0.2])
    assert partition(THREE, [0], "null").branches == (0, NULL)


@pytest.mark.parametrize(
    ("second", "prior"), [("others", 0.5), ("all", 1.0 / 3.0), ("null", 1.0 / 3.0), ([1], 0.625), ([1, 2], 0.5)]
)
def test_the_true_prior_counts_both_sides_in_the_weights_of_the_classes(second, prior):
    """ES 99, 101: 0.5 against 0.5, 1, 1, 0.3 and 0.5. The null branch weighs what all classes do."""
    asked = partition(THREE, [0], second, "true")
    assert asked.prior == pytest.approx(prior, rel=1e-12)
    assert partition(THREE, [0], second).prior == partition(THREE, [0], second, 0.5).prior == 0.5
    assert asked.log_odds == pytest.approx(np.log(prior / (1.0 - prior)), abs=1e-12)
    assert asked.entropy == pytest.approx(-prior * np.log(prior) - (1.0 - prior) * np.log(1.0 - prior), rel=1e-12)


def test_both_sides_get_half_of_the_paths():
    """And a branch of both sides gets its part of either: the null branch comes last, wherever it stands."""
    asked = partition(THREE, [2], "all", 0.1)
    assert asked.branches == (0, 1, 2)
    assert asked.shares == pytest.approx([0.25, 0.15, 0.5 + 0.1])
    reversed_sides = partition(THREE, [NULL], [2, 0])
    assert reversed_sides.label == "null|2,0" and reversed_sides.branches == (0, 2, NULL)
    assert reversed_sides.shares == pytest.approx([0.5 * 5.0 / 7.0, 0.5 * 2.0 / 7.0, 0.5])
    assert reversed_sides.whole == pytest.approx((0.5, 0.3, 0.2))


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6), st.floats(0.05, 0.95))
def test_floor_is_the_entropy_of_the_side_given_the_class(weights, prior):
    """H(side | class) from the joint table, for class 0 against the whole."""
    share = np.array(weights) / np.sum(weights)
    against_all = Partition("0|all", {0: 1.0}, dict(enumerate(share)), prior)
    joint = np.stack([prior * (np.arange(len(share)) == 0), (1.0 - prior) * share])
    given_class = joint / joint.sum(axis=0)
    logs = np.log(np.where(given_class > 0.0, given_class, 1.0))
    assert against_all.floor == pytest.approx(-np.sum(joint * logs), abs=1e-12)
    through_null = Partition("0|null", {0: 1.0}, {NULL: 1.0}, prior, tuple(share))
    assert through_null.floor == pytest.approx(against_all.floor, abs=1e-12)


def test_floors_of_the_formula_sheet():
    assert partition(TEN, [3], "all").floor == pytest.approx(0.16755, abs=5e-6)
    assert partition(isotropic_mixture([[0.0], [1.0]], 0.0), [0], "all").floor == pytest.approx(0.47739, abs=5e-6)
    assert partition(TEN, [3], "others").floor == 0.0


@pytest.mark.parametrize("text", ["3|8", "0,6,8,9|1,4,7", "3|others", "3|all", "3|null", " 3 | 8 "])
def test_text_means_what_it_says(text):
    first, second = text.replace(" ", "").split("|")
    side = second if second in ("others", "all", "null") else [int(k) for k in second.split(",")]
    assert partition(TEN, text) == partition(TEN, [int(k) for k in first.split(",")], side)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", "two sides"),
        ("3|8|9", "two sides"),
        ("", "two sides"),
        ("|8", "at least one class on each side"),
        ("3|", "at least one class on each side"),
        (",|8", "at least one class on each side"),
        ("3|12", "classes among 0, 1, 2"),
        ("cat|3", "classes among 0, 1, 2"),
        ("-1|3", "classes among 0, 1, 2"),
        ("all|3", "classes among 0, 1, 2"),
        ("3|3", "sides that share no class"),
        ("3,4|4,5", "sides that share no class"),
        ("3,3|4", "no class named twice"),
        ("0,1,2,3,4,5,6,7,8,9|others", "at least one class on each side"),
    ],
)
def test_bad_text_is_named(text, expected):
    with pytest.raises(InputError, match=expected) as raised:
        partition(TEN, text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (([0], [7]), "classes among"),
        (([-5], [1]), "classes among"),
        (([], [1]), "at least one class"),
        (([0], []), "at least one class"),
        (([0], "rest"), "a group of classes or one of others, all, null"),
        (([0], [1], "fair"), "balanced"),
        (([0], [1], 0.0), "a probability between 0 and 1"),
        (([0], [1], 1.0), "a probability between 0 and 1"),
        (([0], [1], float("nan")), "a probability between 0 and 1"),
    ],
)
def test_bad_partitions_are_named(arguments, expected):
    with pytest.raises(InputError, match=expected):
        partition(THREE, *arguments)


def test_null_needs_a_null_class():
    model = FunctionDenoiser(lambda x, sigma, z: x, shape=(1,), classes=("a", "b"))
    with pytest.raises(InputError, match="a model with a null class"):
        partition(model, "a|null")


def test_names_where_numbers_belong_are_pointed_to_the_text():
    with pytest.raises(
        InputError, match=r"first is \['cat'\], expected classes by their numbers, .* names go into text"
    ):
        partition(THREE, ["cat"], ["dog"])


@pytest.mark.parametrize("log_snr", [-3.0, 0.0, 2.5])
@pytest.mark.parametrize("variance", [0.0, 0.2, 1.0, 9.0])
def test_the_rate_of_a_gaussian_is_its_distance_from_the_equilibrium(variance, log_snr):
    """In VP the state's variance is S = alpha^2 v + 1 - alpha^2, and the rate (1 - alpha^2) (S + 1/S - 2) / 2."""
    snr = np.exp(log_snr)
    signal = snr / (1.0 + snr)
    spread = np.sqrt(variance + 1.0 / snr)
    # Three points with the weights of a Gauss-Hermite rule are exact for a square.
    x = torch.tensor([[-np.sqrt(3.0)], [0.0], [np.sqrt(3.0)]], dtype=torch.float64) * spread
    rates = neural_entropy_rate(variance / spread**2 * x, x, log_snr).numpy()
    state = signal * variance + 1.0 - signal
    expected = 0.5 * (1.0 - signal) * (state + 1.0 / state - 2.0)
    assert np.dot([1.0, 4.0, 1.0], rates) / 6.0 == pytest.approx(expected, rel=1e-12, abs=1e-14)
