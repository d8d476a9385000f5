"""Levels where the entropy falls: against mixtures whose entropy is known, and against equal spacing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.errors import InputError
from companion.estimate.entropy import measure
from companion.estimate.partition import partition
from companion.estimate.placement import PILOT_LEVELS, default_levels, pilot_samples, place
from companion.estimate.plan import DEFAULT, PUBLISHED, Plan
from companion.estimate.profile import profile
from companion.theory.mixtures import isotropic_mixture
from companion.theory.quadrature import exact_entropy

PAIR = isotropic_mixture([[-2.0], [2.0]], 1.0)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 20.0), st.integers(2, 200), st.integers(0, 1000))
def test_placed_levels_increase_and_reach_both_ends(scale, count, seed):
    pair = isotropic_mixture([[-scale], [scale]], 0.3 * scale)
    asked = partition(pair, [0], [1])
    pilot, _ = measure(pair, [asked], default_levels(pair, PILOT_LEVELS), 10, seed)
    levels = place(pilot, count)
    assert len(levels) == count and np.all(np.diff(levels) > 0.0)
    assert (levels[0], levels[-1]) == (-10.0, 10.0)


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0, 20.0])
def test_the_largest_fall_between_two_levels_is_small(scale):
    """32 levels: no step loses more than 0.09 nats; equal spacing loses up to 0.19 (kappa spans few of its steps)."""
    pair = isotropic_mixture([[-2.0 * scale], [2.0 * scale]], 0.2 * scale)
    found = profile(pair, partition(pair, [0], [1]), samples=160, levels=32)
    placed = np.max(-np.diff(exact_entropy(pair, found.log_snr)))
    equal = np.max(-np.diff(exact_entropy(pair, default_levels(pair, 32))))
    assert placed < 0.09 < 0.1 < equal


def test_a_pilot_has_noise_of_its_own_and_is_counted():
    asked = partition(PAIR, [0], [1])
    found = profile(PAIR, asked, samples=160, levels=20)
    assert found.evaluations == 2 * (160 * 21 + 20 * (PILOT_LEVELS + 1))
    plain, again = (profile(PAIR, asked, found.log_snr, samples=160) for _ in range(2))
    np.testing.assert_array_equal(plain.entropy, found.entropy)  # the pilot places levels and does nothing else
    np.testing.assert_array_equal(plain.entropy, again.entropy)


def test_a_pilot_is_one_path_in_eight_and_two_a_branch():
    many = isotropic_mixture([[float(k)] for k in range(6)], 0.1)
    plan = Plan((partition(many, [0], "others"),), default_levels(many), 200)
    assert pilot_samples(plan) == 25
    plan = Plan((partition(many, [0], "others"),), default_levels(many), 24)
    assert pilot_samples(plan) == 20  # five branches have a tenth of the paths each


def test_without_a_pilot_levels_are_equally_spaced():
    found = profile(PAIR, partition(PAIR, [0], [1]), samples=20, levels=9, method=PUBLISHED)
    np.testing.assert_allclose(found.log_snr, np.linspace(-10.0, 10.0, 9))
    assert DEFAULT.placed and not PUBLISHED.placed


def test_default_levels_stay_in_the_models_range():
    assert default_levels(PAIR).tolist() == np.linspace(-10.0, 10.0, 64).tolist()
    with pytest.raises(InputError, match="levels is 1, expected a whole number of at least 2"):
        default_levels(PAIR, 1)
