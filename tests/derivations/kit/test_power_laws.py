"""Power laws that are there are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from companion.errors import InputError
from derivations.kit.power_laws import power_law


@given(st.floats(-3.0, 3.0), st.floats(0.01, 100.0))
def test_a_power_law_is_found(exponent, factor):
    x = np.array([1.0, 3.0, 10.0, 1e4])
    law = power_law(x, factor * x**exponent)
    assert law.exponent == pytest.approx(exponent, abs=1e-13)
    assert law.factor == pytest.approx(factor, rel=1e-12)
    assert law.standard_error < 1e-13


def test_a_power_law_is_fitted_like_everybody_fits_lines():
    x, y = np.array([1.0, 2.0, 4.0, 16.0, 64.0]), np.array([1.0, 1.5, 1.9, 5.0, 7.0])
    line = stats.linregress(np.log(x), np.log(y))
    law = power_law(x, y)
    assert (law.exponent, law.standard_error) == pytest.approx((line.slope, line.stderr), rel=1e-12)
    steps = np.diff(np.log(y)) / np.diff(np.log(x))
    assert law.interval == pytest.approx((steps.min(), steps.max()), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "named"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "x"),
        ([1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0], "x"),
        ([1.0, 2.0, 3.0, np.nan], [1.0, 2.0, 3.0, 4.0], "x"),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 0.0], "y"),
        ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0], "y"),
    ],
)
def test_bad_input_is_named(x, y, named):
    with pytest.raises(InputError, match=f"^{named} is"):
        power_law(x, y)
