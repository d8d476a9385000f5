"""Distances of sets: closed forms, invariance, and what a classifier makes of digits that it has not seen."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from companion.errors import InputError
from companion.models.digits import LabelledImages, held_out_digits, training_digits
from derivations.kit.fidelity import classifier, coverage, frechet_distance, measures


def two_sets(seed: int, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    mixed = draw.standard_normal((5, 5))
    return draw.standard_normal((60, 5)) @ mixed, draw.standard_normal((90, 5)) + shift


def test_the_distance_is_the_formula_with_a_matrix_root():
    one, other = two_sets(0)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = sqrtm(first @ second).real
    apart = np.square(one.mean(0) - other.mean(0)).sum()
    # Both are a few hundred operations in float64 on numbers of order ten.
    assert frechet_distance(one, other) == pytest.approx(apart + np.trace(first + second - 2.0 * root), rel=1e-9)


def test_the_distance_is_symmetric_sees_no_rotation_and_is_the_square_of_a_shift():
    one, other = two_sets(1)
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((5, 5)))[0]
    distance = frechet_distance(one, other)
    assert frechet_distance(other, one) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(one @ turn, other @ turn) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(one, one + np.array([3.0, 0.0, 4.0, 0.0, 0.0])) == pytest.approx(25.0, rel=1e-9)
    assert frechet_distance(one[:3], other[:4]) >= 0.0  # fewer points than dimensions


def test_of_scaled_sets_it_is_the_difference_of_the_roots():
    one, _ = two_sets(3)
    one = one - one.mean(axis=0)
    # tr (C + 9 C - 2 * 3 C) = 4 tr C
    expected = 4.0 * np.trace(np.cov(one, rowvar=False))
    assert frechet_distance(one, 3.0 * one) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sets", [(np.zeros((1, 2)), np.zeros((3, 2))), (np.zeros((3, 2)), np.zeros((3, 3)))])
def test_sets_that_have_no_distance_are_refused(sets):
    with pytest.raises(InputError, match="features"):
        frechet_distance(*sets)


def test_coverage_by_counting():
    of, by = two_sets(4, shift=0.0)
    distances = np.linalg.norm(by[:, None] - by, axis=2)
    radii = np.sort(distances, axis=1)[:, 3]  # the point itself comes first
    inside = [(np.linalg.norm(point - by, axis=1) <= radii).any() for point in of]
    assert coverage(of, by) == pytest.approx(np.mean(inside))
    assert coverage(by, by) == 1.0
    assert coverage(of + 100.0, by) == 0.0


def test_the_classifier_knows_held_out_digits_and_its_features_make_its_logits():
    digits, known = held_out_digits(), classifier()
    logits = known.logits(digits.images)
    told = known.network.predict_log_proba(digits.images.flatten(1).double().numpy())
    largest, of_told = (each.max(axis=1, keepdims=True) for each in (logits, told))
    np.testing.assert_allclose(logits - largest, told - of_told, atol=1e-9)
    right = logits.argmax(axis=1) == digits.labels.numpy()
    # Ten of 360 are missed; another processor's training may miss a few others. Chance alone is one in ten right.
    assert right.mean() > 0.93
    margin = known.margin(digits)
    np.testing.assert_array_equal(margin > 0.0, right)


def test_shuffled_labels_are_seen_by_the_class_distance_and_not_by_the_distance():
    digits = training_digits()
    half = LabelledImages(digits.images[:700], digits.labels[:700])
    turn = torch.randperm(700, generator=torch.Generator().manual_seed(0))
    right, wrong = measures(half, half), measures(LabelledImages(half.images, half.labels[turn]), half)
    assert wrong["distance"] == pytest.approx(right["distance"], abs=1e-9)
    assert (wrong["precision"], wrong["recall"]) == (1.0, 1.0)
    assert wrong["class_distance"] > 10.0 and wrong["accuracy"] < 0.25 and wrong["margin"] < 0.0
