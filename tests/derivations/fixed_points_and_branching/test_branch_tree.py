"""The tree of a point set against roots counted by brute force, and against its own symmetries."""

import numpy as np
import pytest

from companion.entropy import partition
from companion.exact.laws import half_level
from companion.exact.mixtures import isotropic_mixture
from derivations.fixed_points_and_branching.branch_tree import branch_tree, found_from_noise
from derivations.fixed_points_and_branching.data_in_noise import point_set
from tests.derivations.fixed_points_and_branching.test_fixed_points import scanned


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_a_line_one_top_is_lost_at_each_merger(seed):
    draw = np.random.default_rng(seed)
    points = point_set(draw.standard_normal((6, 1)))
    tree = branch_tree(points)
    assert len(tree.mergers) == 5
    for merger in tree.mergers:
        for factor in (1.0 - 1e-4, 1.0 + 1e-4):
            roots = scanned(points, factor * merger.sigma, 400_001)
            assert len(tree.partition(factor * merger.sigma)) == (len(roots) + 1) // 2


@pytest.mark.parametrize("seed", range(8))
def test_every_tree_comes_together(seed):
    """Above half the diameter there is one path: the mergers must have joined all points by then."""
    draw = np.random.default_rng(seed)
    points = point_set(draw.standard_normal((5, 1 + seed % 3)), draw.dirichlet(np.full(5, 3.0)))
    tree = branch_tree(points)
    assert tree.partition(0.5 * points.diameter) == (tuple(range(5)),)
    assert sum(len(merger.groups) - 1 for merger in tree.mergers) == 4
    assert list(tree.mergers) == sorted(tree.mergers, key=lambda merger: merger.sigma)


@pytest.mark.parametrize("widths", [(0.315, 0.109), (0.289, 0.412), (0.347, 0.325), (0.074, 0.402)])
def test_pairs_merge_in_the_order_of_their_entropies(widths):
    """Narrow gaps beside nearly symmetric forks included: in the first case one is a thousandth wide."""
    places = np.array([-1.0 - widths[0], -1.0 + widths[0], 1.0 - widths[1], 1.0 + widths[1]])[:, None]
    mergers = branch_tree(point_set(places)).mergers
    mixture = isotropic_mixture(places.tolist(), 0.0)
    groups = {((0,), (1,)): [[0], [1]], ((2,), (3,)): [[2], [3]], ((0, 1), (2, 3)): [[0, 1], [2, 3]]}
    levels = [half_level(mixture.sides(partition(mixture, *groups[merger.groups]))) for merger in mergers]
    assert len(levels) == 3
    assert levels == sorted(levels, reverse=True)
    assert np.abs(np.array(levels) + 2.0 * np.log([merger.sigma for merger in mergers])).max() < 0.3


def test_a_branch_that_ends_soon_after_another():
    tree = branch_tree(point_set([[-1.7], [-0.9], [0.3], [1.6]]))
    assert [merger.groups for merger in tree.mergers] == [((0,), (1,)), ((0, 1), (2,)), ((0, 1, 2), (3,))]


def test_every_path_is_stable_and_a_fixed_point():
    points = point_set(np.random.default_rng(4).standard_normal((7, 2)))
    tree = branch_tree(points)
    assert tree.mergers[-1].members == tuple(range(7))
    for group in tree.groups:
        for sigma, x in zip(group.path.sigma, group.path.x, strict=True):
            assert points.denoised(x, sigma) == pytest.approx(x, abs=1e-9)
        assert group.path.unstable[:-1].max(initial=0) == 0  # the last may be the turn itself
    assert len(found_from_noise(points)) == 1


def test_tree_of_a_space_is_that_of_the_span():
    places = np.random.default_rng(5).standard_normal((4, 12))
    whole, flat = branch_tree(point_set(places)), branch_tree(point_set(places).in_its_span())
    assert [m.groups for m in whole.mergers] == [m.groups for m in flat.mergers]
    assert [m.sigma for m in whole.mergers] == pytest.approx([m.sigma for m in flat.mergers], rel=1e-9)


def test_symmetric_pair_of_pairs():
    tree = branch_tree(point_set([[-1.4], [-0.6], [0.6], [1.4]]))
    assert [m.kind for m in tree.mergers] == ["fold", "fold", "fork"]
    assert tree.mergers[0].sigma == pytest.approx(tree.mergers[1].sigma, rel=1e-11)
    assert found_from_noise(point_set([[-1.0], [1.0]])) == (0, 1)
    assert found_from_noise(point_set([[-1.0], [1.0]]), kicked=False) == ()
