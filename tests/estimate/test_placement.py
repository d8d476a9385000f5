"""Levels where the entropy falls: against mixtures whose entropy is known, and against equal spacing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.denoiser import FunctionDenoiser
from companion.entropy import Partition, partition
from companion.errors import InputError
from companion.estimate.measure import Measurement, measure
from companion.estimate.placement import PILOT_LEVELS, default_levels, pilot_samples, place
from companion.estimate.plan import DEFAULT, PUBLISHED, Plan
from companion.estimate.run import profile
from companion.exact.mixtures import isotropic_mixture

PAIR = isotropic_mixture([[-2.0], [2.0]], 1.0)


@settings(max_examples=20)
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
    placed = np.max(-np.diff(pair.entropy(found.log_snr)))
    equal = np.max(-np.diff(pair.entropy(default_levels(pair, 32))))
    assert placed < 0.09 < 0.1 < equal


def test_a_pilot_has_noise_of_its_own_and_is_counted():
    asked = partition(PAIR, [0], [1])
    found = profile(PAIR, asked, samples=160, levels=20)
    assert found.evaluations == 2 * (160 * 21 + 20 * (PILOT_LEVELS + 1))
    plain, again = (profile(PAIR, asked, log_snr=found.log_snr, samples=160) for _ in range(2))
    np.testing.assert_array_equal(plain.entropy, found.entropy)  # the pilot places levels and does nothing else
    np.testing.assert_array_equal(plain.entropy, again.entropy)


def test_a_pilot_is_one_path_in_eight_and_two_a_branch():
    many = isotropic_mixture([[float(k)] for k in range(6)], 0.1)
    plan = Plan((partition(many, [0], "others"),), default_levels(many), 200)
    assert pilot_samples(plan) == 25
    plan = Plan((partition(many, [0], "others"),), default_levels(many), 24)
    assert pilot_samples(plan) == 20  # five branches have a tenth of the paths each
    plan = Plan((partition(many, [0], "others"),), default_levels(many), 19)
    assert plan.by_side and pilot_samples(plan) == 4  # two a side


def test_without_a_pilot_levels_are_equally_spaced():
    found = profile(PAIR, partition(PAIR, [0], [1]), samples=20, levels=9, method=PUBLISHED)
    np.testing.assert_allclose(found.log_snr, np.linspace(-10.0, 10.0, 9))
    assert DEFAULT.placed and not PUBLISHED.placed


def pilot_of(levels, production):
    """A pilot of four paths, two a side, that all have this production at its levels."""
    asked = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5)
    of_path = np.tile(production, (4, 1))
    return Measurement(asked, levels, *[of_path] * 6, np.array([0, 1, 0, 1]), np.array([0.5, 0.5]))


FINE = 20.0 / 1999  # one of the 2000 places between -10 and 10 at which `place` looks


def test_levels_of_a_constant_production_have_the_density_that_is_said():
    """0.0005 nats a unit of log-snr: the window leaves one unit before it and one after it, to a place of `place`.

    In the window u goes from 0 to 1, and half of the levels are as dense as 1 + u, half evenly: F(u) is the share of
    the levels up to u.
    """
    levels = place([pilot_of(np.linspace(-10.0, 10.0, 16), np.full(16, 0.0005))], 200)
    before, inside, after = levels[:20], levels[20:180], levels[180:]
    np.testing.assert_allclose(inside[[0, -1]], [-9.0, 9.0], atol=1.01 * FINE)
    np.testing.assert_allclose(before, np.linspace(-10.0, inside[0], 20, endpoint=False), atol=1e-12)
    np.testing.assert_allclose(after, inside[-1] + (10.0 - inside[-1]) * (np.arange(1, 21) / 20.0) ** 2, atol=1e-12)
    u = (inside - inside[0]) / (inside[-1] - inside[0])
    share = 0.5 * u + 0.5 * (u + 0.5 * u**2) / 1.5
    np.testing.assert_allclose(share, np.linspace(0.0, 1.0, 160), atol=1e-6)  # read off 1000 places, linearly


def test_half_of_the_levels_in_the_window_follow_the_root_of_the_production():
    """A production that grows like v^2, v = log-snr + 10, seen on 2001 levels: its root is v, its integral v^3 / 3.

    The largest of a level and its neighbours moves v by 0.01, one level; `place` looks at 2000 places.
    """
    pilot = np.linspace(-10.0, 10.0, 2001)
    levels = place([pilot_of(pilot, 3e-4 * (pilot + 10.0) ** 2)], 1000)
    inside = levels[100:]  # all is produced at the end: the window reaches it, and no level comes after
    first, last = inside[[0, -1]] + 10.0
    assert last == 20.0 and np.all(np.diff(levels) > 0.0)
    assert first == pytest.approx(5.0 ** (1.0 / 3.0), abs=0.03)  # 1e-4 v^3 = 0.0005
    v = inside + 10.0
    u = (v - first) / (last - first)
    share = 0.5 * (u + 0.5 * u**2) / 1.5 + 0.5 * (v**2 - first**2) / (last**2 - first**2)
    np.testing.assert_allclose(share, np.linspace(0.0, 1.0, 900), atol=2e-3)


@pytest.mark.parametrize("at", [5, 9])
def test_a_peak_seen_at_one_level_of_the_pilot_may_lie_on_either_side(at):
    """Its neighbours are given its height p, so that the rate rises from zero two levels before: over a length x it
    has added p x^2 / 2 h, h the pilot's step. The window is where that is 0.0005 nats, and as far from the end."""
    pilot = np.linspace(-10.0, 10.0, 16)
    step, height = pilot[1] - pilot[0], 0.2
    levels = place([pilot_of(pilot, np.where(np.arange(16) == at, height, 0.0))], 100)
    reached = np.sqrt(2.0 * step * 0.0005 / height)
    assert levels[10] == pytest.approx(pilot[at - 2] + reached, abs=1.01 * FINE)
    assert levels[89] == pytest.approx(pilot[at + 2] - reached, abs=1.01 * FINE)


def test_several_partitions_share_the_levels_whatever_they_produce():
    """One falls early and one late, and a tenth as much: each has half of the levels that follow the production. Of the
    others 5/12 lie in the first half of the window, where 1 + u goes from 1 to 3/2."""
    pilot = np.linspace(-10.0, 10.0, 201)
    early = np.exp(-((pilot + 5.0) ** 2))
    levels = place([pilot_of(pilot, 0.3 * early), pilot_of(pilot, 0.03 * early[::-1])], 1000)
    inside = levels[100:900]
    assert inside[0] < -6.0 and inside[-1] > 6.0
    # The window reaches as far as either asks, so that its middle is a little off: its own share of 1 + u is taken.
    u = -inside[0] / (inside[-1] - inside[0])
    expected = 0.5 * 0.5 + 0.5 * (u + 0.5 * u**2) / 1.5
    assert np.mean(inside < 0.0) == pytest.approx(expected, abs=0.005)


def test_where_nothing_falls_levels_are_equally_spaced():
    pilot = np.linspace(-10.0, 10.0, 16)
    np.testing.assert_allclose(place([pilot_of(pilot, np.zeros(16))], 9), np.linspace(-10.0, 10.0, 9))


@pytest.mark.parametrize(
    ("known", "ends"), [((-14.0, 14.0), (-10, 10)), ((-5.0, 3.0), (-5, 3)), ((-20.0, -9.0), (-10, -9))]
)
def test_default_levels_stay_in_the_models_range(known, ends):
    assert default_levels(PAIR).tolist() == np.linspace(-10.0, 10.0, 64).tolist()
    model = FunctionDenoiser(PAIR, (1,), ("a", "b"), log_snr_range=known)
    np.testing.assert_allclose(default_levels(model, 5), np.linspace(*ends, 5))


@pytest.mark.parametrize("known", [(10.0, 14.0), (-14.0, -10.0)])
def test_default_levels_need_a_common_range(known):
    with pytest.raises(InputError, match="an interval that meets -10 to 10"):
        default_levels(FunctionDenoiser(PAIR, (1,), ("a", "b"), log_snr_range=known))


def test_the_number_of_default_levels_is_checked():
    assert len(default_levels(PAIR, 2)) == 2
    with pytest.raises(InputError, match="levels is 1, expected a whole number of at least 2"):
        default_levels(PAIR, 1)
