"""Which path is of which branch, block, stratum and sample: whatever the blocks, and counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from companion.entropy import NULL, Partition
from companion.errors import InputError
from companion.estimate.measure import Question
from companion.estimate.plan import PUBLISHED, Data, Plan, owners

LEVELS = np.array([-1.0, 0.0, 2.0])
PAIR = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.3)
GROUPS = Partition("0,1|2,null", {0: 0.25, 1: 0.75}, {2: 0.5, NULL: 0.5}, 0.2)
SHARED = Partition("1|all", {1: 1.0}, {0: 0.2, 1: 0.3, 2: 0.5}, 0.5)


def strata(plan, asked, number):
    """The stratum of each path of a block that a partition uses."""
    return Question(asked, plan, number, torch.device("cpu")).stratum


def joined(plan, asked):
    return np.concatenate([strata(plan, asked, number) for number in range(plan.blocks)])


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([True, False]))
def test_strata_do_not_depend_on_how_the_paths_are_cut_into_blocks(one, other, by_side):
    plans = [Plan((GROUPS,), LEVELS, 37, block=block, by_side=by_side) for block in (one, other)]
    np.testing.assert_array_equal(joined(plans[0], GROUPS), joined(plans[1], GROUPS))
    np.testing.assert_array_equal(plans[0].owner, plans[1].owner)
    for plan in plans:
        cut = [plan.paths(number) for number in range(plan.blocks)]
        assert [path for each in cut for path in each] == list(range(37))
        assert all(len(each) == plan.block for each in cut[:-1])


def test_a_stratum_by_side_is_the_side_that_draws_the_path():
    plan = Plan((GROUPS,), LEVELS, 12, block=5)
    assert plan.by_side
    first = [plan.branches[k] in GROUPS.first for k in plan.owner]
    np.testing.assert_array_equal(joined(plan, GROUPS), np.where(first, 0, 1))


def test_strata_of_a_partition_that_uses_some_of_the_paths():
    """Six branches, in the order of the plan, and a partition that knows two of them: only their paths have strata."""
    many = [Partition(f"{k}|5", {k: 1.0}, {5: 1.0}, 0.5) for k in range(5)]
    plan = Plan(tuple(many), LEVELS, 31, block=7)
    assert plan.branches == (0, 1, 2, 3, 4, 5) and plan.shares == pytest.approx([1.0 / 6.0] * 6)
    own = np.array(plan.branches)[plan.owner]
    np.testing.assert_array_equal(joined(plan, many[3]), (own[np.isin(own, [3, 5])] == 5).astype(int))


@pytest.mark.parametrize("asked", [PAIR, GROUPS, SHARED], ids=lambda asked: asked.label)
@pytest.mark.parametrize("by_side", [True, False])
def test_weights_give_either_side_its_prior(asked, by_side):
    """By branch: prior times the weight in the side. By side: the prior itself. All of them add to one."""
    weights = Plan((asked,), LEVELS, 60, by_side=by_side).weights(asked)
    assert weights.sum(axis=1) == pytest.approx([asked.prior, 1.0 - asked.prior])
    if by_side:
        assert weights.tolist() == [[asked.prior, 0.0], [0.0, 1.0 - asked.prior]]
    else:
        for column, branch in enumerate(asked.branches):
            expected = asked.prior * asked.first.get(branch, 0.0), (1.0 - asked.prior) * asked.second.get(branch, 0.0)
            assert weights[:, column] == pytest.approx(expected)


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.floats(0.05, 1.0), min_size=n, max_size=n)))
def test_shares_that_divide_the_paths_are_met_exactly(parts):
    share = np.round(np.array(parts) / np.sum(parts) * 40.0)
    share = share[share > 0.0]
    counts = np.bincount(owners(int(share.sum()), share / share.sum()), minlength=len(share))
    np.testing.assert_array_equal(counts, share.astype(int))


def test_evaluations_are_branches_times_paths_times_levels_and_the_start():
    plan = Plan((GROUPS,), LEVELS, 40)
    assert plan.from_nothing and plan.evaluations == 40 * 4 * 4
    published = replace(plan, method=PUBLISHED)
    assert not published.from_nothing and not published.controlled and published.evaluations == 40 * 4 * 3
    data = Data(torch.zeros(50, 1), np.arange(50) % 5 % 3)
    real = Plan((PAIR,), LEVELS, 20, method=PUBLISHED, data=data)
    assert real.from_nothing and real.evaluations == 20 * 2 * 4  # real data always start at snr 0
    assert plan.controlled and not Plan((PAIR,), LEVELS, 20, data=data).controlled


def test_the_fewest_paths():
    """Two a side of one partition; two a branch of several, or where a plan had its strata by branch."""
    assert Plan((PAIR,), LEVELS, 4).by_side is False  # a branch a side
    assert Plan((GROUPS,), LEVELS, 4).by_side is True
    assert Plan((GROUPS,), LEVELS, 16).by_side is False  # two of an eighth: the weight 1/4 of half the paths
    assert Plan((GROUPS,), LEVELS, 15).by_side is True
    for partitions, by_side, fewest in (((PAIR,), None, 4), ((GROUPS,), False, 16), ((GROUPS, PAIR), None, 8)):
        assert Plan(partitions, LEVELS, fewest, by_side=by_side).samples == fewest
        with pytest.raises(InputError, match=f"at least {fewest}"):
            Plan(partitions, LEVELS, fewest - 1, by_side=by_side)


def test_the_kth_path_of_a_branch_noises_the_kth_sample_of_its_class():
    """Sample n has the value n and the class n % 3, but for the null branch, which takes from all of them."""
    data = Data(torch.arange(60, dtype=torch.float64)[:, None], np.arange(60) % 3)
    plan = Plan((SHARED,), LEVELS, 20, block=7, by_side=False, data=data)
    taken = torch.cat([plan.data_of(number) for number in range(plan.blocks)])[:, 0].numpy()
    for index, branch in enumerate(plan.branches):
        rows = np.flatnonzero(plan.owner == index)
        np.testing.assert_array_equal(taken[rows], branch + 3.0 * np.arange(len(rows)))
    assert Plan((PAIR,), LEVELS, 20).data_of(0) is None


def test_the_null_branch_has_the_samples_of_its_label_or_all_in_an_order_of_chance():
    labelled = Data(torch.zeros(6, 1), np.array([-1, 0, 1, -1, 1, 0]))  # as files of labels have it
    assert [labelled.of(branch).tolist() for branch in (NULL, 0, 1)] == [[0, 3], [1, 5], [2, 4]]
    sorted_by_class = Data(torch.zeros(300, 1), np.repeat([0, 1, 2], 100))
    order = sorted_by_class.of(NULL)
    assert sorted(order.tolist()) == list(range(300)) and sorted_by_class.of(5).tolist() == []
    # Of the first 60 each class has 20, within four deviations of a draw without replacement, 3.3.
    assert np.all(np.abs(np.bincount(order[:60] // 100) - 20) < 14)
    np.testing.assert_array_equal(order, Data(torch.ones(300, 1), np.repeat([0, 1, 2], 100)).of(NULL))
    with pytest.raises(InputError, match="6 samples in all, expected at least 10"):
        against_null = Partition("0|null", {0: 1.0}, {NULL: 1.0}, 0.5)
        Plan((against_null,), LEVELS, 20, data=Data(torch.zeros(16, 1), np.repeat([0, NULL], [10, 6])))


@pytest.mark.parametrize("asked", [PAIR, GROUPS], ids=lambda asked: asked.label)
def test_data_are_enough_for_a_beginning_of_the_paths(asked):
    """As many paths as `enough` says can be noised, and one more cannot."""
    data = Data(torch.arange(30, dtype=torch.float64)[:, None], np.repeat([0, 1, 2], [3, 15, 12]))
    plan = Plan((asked,), LEVELS, 40, by_side=False)
    most = plan.enough(data)
    shares = dict(zip(plan.branches, plan.shares, strict=True))
    bound = min(len(data.of(branch)) / share for branch, share in shares.items())
    assert bound - 1.0 / min(shares.values()) <= most <= bound + 1.0 / min(shares.values())
    beginning = [np.sum(plan.owner[:most] == k) for k in range(len(plan.branches))]
    assert all(count <= len(data.of(branch)) for count, branch in zip(beginning, plan.branches, strict=True))
    one_more = [np.sum(plan.owner[: most + 1] == k) for k in range(len(plan.branches))]
    assert any(count > len(data.of(branch)) for count, branch in zip(one_more, plan.branches, strict=True))
    with pytest.raises(InputError, match="3 samples of class number 0, expected at least"):
        replace(plan, data=data)
    few = Data(torch.zeros(200, 1), np.arange(200) % 3)
    assert plan.enough(few) == 40
