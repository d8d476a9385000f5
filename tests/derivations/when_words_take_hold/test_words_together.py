"""Entropies of several attributes from one table of likelihoods, against sums that are written out."""

import math

import numpy as np
import pytest

from derivations.when_words_take_hold.together import AXES, EIGHT, conditional, entropy_of, pairs, shared_information


def test_the_eight_captions_are_all_combinations():
    assert len({tuple(each.items()) for each in EIGHT}) == 8
    assert [list(each) for each in EIGHT] == [list(AXES)] * 8


@pytest.fixture(scope="module")
def likelihood():
    return np.random.default_rng(0).normal(size=(5, 3, 8))


def entropy(probabilities):
    return -sum(p * math.log(p) for p in probabilities)


def test_eq_words_shared_is_that_of_the_posterior_table(likelihood):
    weights = np.exp(likelihood[2, 1])
    table = (weights / weights.sum()).reshape(2, 2, 2)
    wall = [table[a].sum() for a in range(2)]
    both = [table[a, :, c].sum() for a in range(2) for c in range(2)]
    kind = [table[:, :, c].sum() for c in range(2)]
    assert math.isclose(entropy_of(likelihood, ["wall"])[2, 1], entropy(wall), rel_tol=1e-12)
    assert math.isclose(entropy_of(likelihood, ["wall", "kind"])[2, 1], entropy(both), rel_tol=1e-12)
    assert math.isclose(entropy_of(likelihood, list(AXES))[2, 1], entropy(table.ravel()), rel_tol=1e-12)
    expected = entropy(wall) + entropy(kind) - entropy(both)
    assert math.isclose(shared_information(likelihood, "wall", "kind")[2, 1], expected, rel_tol=1e-9, abs_tol=1e-12)
    assert (shared_information(likelihood, "wall", "side") > 0.0).all()


def test_independent_attributes_share_nothing():
    one, other, third = np.random.default_rng(1).normal(size=(3, 2))
    product = (one[:, None, None] + other[None, :, None] + third[None, None, :]).reshape(1, 1, 8)
    assert abs(shared_information(product, "wall", "side")[0, 0]) < 1e-12
    joint = entropy_of(product, list(AXES)) - sum(entropy_of(product, [name]) for name in AXES)
    assert abs(joint[0, 0]) < 1e-12


def test_told_one_attribute_only_its_captions_are_left(likelihood):
    owner = np.array([0, 3, 5, 6, 7])
    found = conditional(likelihood, owner, "kind", "wall")
    for path, caption in enumerate(owner):
        half = np.exp(likelihood[path, 0].reshape(2, 4)[caption // 4]).reshape(2, 2).sum(axis=0)
        assert math.isclose(found[path, 0], entropy(half / half.sum()), rel_tol=1e-12)


def test_pairs_use_the_paths_of_their_two_captions():
    levels, owner = np.linspace(-2.0, 2.0, 9), np.repeat(np.arange(8), 4)
    likelihood = np.zeros((32, 9, 8))
    likelihood[np.arange(32), :, owner] = np.linspace(0.0, 9.0, 9)  # every path learns its own caption
    likelihood[owner == 7] = 0.0  # but for one
    found = pairs(likelihood, owner, levels)
    assert len(found) == 28 and np.isfinite(found[0, 1].half).all()
    # One side knows all and the other nothing: a little more than half is left, which is no crossing.
    assert np.isnan(found[0, 7].half[0])
