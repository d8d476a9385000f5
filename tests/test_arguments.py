"""What is asked of a number holds up to its very ends: the last that is accepted, and the first that is refused."""

import numpy as np
import pytest

from companion.arguments import finite_levels, number, numbers, probabilities, whole_number
from companion.errors import InputError

MOST = 2**53  # from here on float64 no longer holds every whole number


def anything(values):
    return np.isfinite(values)


@pytest.mark.parametrize("value", [object(), 1j, None, "word", [[1.0], [1.0, 2.0]], 10**400, np.nan, [1.0, np.inf]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="expected numbers"):
        numbers("x", value, "numbers", anything)


def test_one_number_is_no_array():
    assert number("x", np.array(2.0), "a number", anything) == 2.0
    with pytest.raises(InputError, match="expected a number"):
        number("x", [2.0], "a number", anything)


@pytest.mark.parametrize("value", [2, 3.0, np.float64(5), MOST])
def test_a_whole_number_may_be_least_and_most(value):
    assert whole_number("n", value, 2) == value
    assert whole_number("n", 2, 2, most=2) == 2


@pytest.mark.parametrize(
    ("value", "most", "says"),
    [
        (1, MOST, "at least 2$"),
        (MOST + 2, MOST, "at least 2$"),
        (2.5, MOST, "at least 2$"),
        (3.75, MOST, "at least 2$"),
        (6, 5, "at least 2 and at most 5$"),
    ],
)
def test_whole_numbers_outside_and_fractions_are_refused(value, most, says):
    with pytest.raises(InputError, match=says):
        whole_number("n", value, 2, most)


def test_probabilities_may_be_off_by_rounding_and_be_one():
    assert probabilities("w", [1.0], least=1).tolist() == [1.0]
    assert probabilities("w", [0.5, 0.5 + 1e-10]).dtype == np.float64
    assert probabilities("w", [0.2, 0.3, 0.5], count=3).tolist() == [0.2, 0.3, 0.5]


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ([1.0], {}),
        (1.0, {"least": 1}),
        ([[0.5, 0.5], [0.5, 0.5]], {}),
        ([[0.25, 0.25], [0.25, 0.25]], {}),
        ([1.0, 0.0], {}),
        ([1.5, -0.5], {}),
        ([0.5, 0.5 + 1e-8], {}),
        ([0.5, 0.5 - 1e-8], {}),
        ([0.5, 0.5], {"count": 3}),
        ([0.2, 0.3, 0.5], {"count": 2}),
        ([True], {"least": 1}),
        (["0.5", "0.5"], {}),
    ],
)
def test_what_are_no_probabilities_is_refused(value, asked):
    with pytest.raises(InputError, match="positive"):
        probabilities("w", value, **asked)


def test_levels_reach_as_far_as_their_squares_are_numbers():
    assert finite_levels([-200.0, 200.0]).tolist() == [-200.0, 200.0]
    for level in (-200.5, 200.5, np.nan, np.inf):
        with pytest.raises(InputError, match="between -200 and 200"):
            finite_levels(level)
