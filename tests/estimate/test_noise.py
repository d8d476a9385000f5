"""The noise of a path: normal, its own, and the same in any company."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.errors import InputError
from companion.estimate.bracket import bracket, null_inconsistency
from companion.estimate.held_out import drawn_samples, log_likelihoods
from companion.estimate.measure import measure
from companion.estimate.noise import check_seed, path_noise
from companion.estimate.plan import Plan
from companion.estimate.run import Run, profile, profiles, run


@settings(max_examples=30)
@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=5, unique=True),
    st.integers(1, 6000),
    st.integers(0, 3),
)
def test_a_path_draws_the_same_alone(seed, paths, dimension, stream):
    """Dimensions beyond what is drawn at once, too: numbers drawn ahead are the numbers drawn step by step."""
    together = path_noise(seed, paths, dimension, stream)
    alone = [path_noise(seed, [path], dimension, stream) for path in paths]
    for _ in range(3):
        step = next(together)
        assert step.shape == (len(paths), dimension) and step.dtype == np.float64
        np.testing.assert_array_equal(step, np.concatenate([next(each) for each in alone]))


def test_it_is_standard_normal_and_independent():
    """Kolmogorov-Smirnov on 200 000 numbers; correlations of paths, steps, seeds and streams within 5 / sqrt(n).

    By chance alone p < 1e-4 once in 10 000, and one of 22 correlations beyond 5 deviations once in 80 000.
    """
    count = 50_000
    drawn = next(path_noise(3, range(4), count))
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-4
    others = [next(path_noise(4, [0], count))[0], next(path_noise(3, [0], count, stream=1))[0]]
    steps = path_noise(3, [0], count)
    next(steps)
    rows = np.stack([*drawn, *others, next(steps)[0]])
    correlation = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    assert np.all(np.abs(correlation) < 5.0 / np.sqrt(count))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "0", None])
def test_seeds_that_are_none_are_named(seed):
    with pytest.raises(InputError, match=r"a whole number from 0 to 2\^63 - 1"):
        check_seed(seed)


@pytest.mark.parametrize(
    "call", [measure, Run, run, profile, profiles, bracket, null_inconsistency, log_likelihoods, drawn_samples]
)
def test_a_run_that_names_no_seed_is_that_of_seed_zero(call):
    assert inspect.signature(call).parameters["seed"].default == Plan.seed == 0
