"""The laws of peak and window of the two papers' processes are the proved ones."""

import numpy as np
import pytest

from companion.errors import InputError
from companion.forward import ornstein_uhlenbeck, scaled_linear, variance_exploding
from derivations.kit.speciation import entropy
from derivations.vp_against_ve.scaling import scaling, speciation_time

OU, VE = ornstein_uhlenbeck(), variance_exploding()


def test_scaling_tells_a_clock_in_log_d_from_one_in_powers_of_d():
    d = np.geomspace(10.0, 1e6, 11)
    preserving, exploding = scaling(OU, d, 2.0, 1.0), scaling(VE, d, 2.0, 1.0)
    assert (preserving.logarithmic, exploding.logarithmic) == (True, False)
    # For s = 1 nothing of VP depends on d but t_S itself; VE misses its limit by a share of the order 1/d.
    assert preserving.scale.exponent == pytest.approx(0.5, abs=1e-11)
    assert preserving.scale.factor == pytest.approx(np.exp(-0.205501748), rel=1e-8)
    assert preserving.width.exponent == pytest.approx(0.0, abs=1e-12)
    assert exploding.width.exponent == pytest.approx(0.5, abs=1.0 / d[0])
    assert exploding.width.interval[0] <= 0.5 + 1e-6 and exploding.width.interval[1] >= 0.5 - 1e-6
    far = scaling(VE, d * 1e6, 2.0, 1.0)
    assert far.width.exponent == pytest.approx(0.5, abs=1e-7)
    assert far.scale.factor == pytest.approx(0.643803, abs=1e-6)


def test_a_window_lasts_from_share_to_share():
    d = np.array([16.0, 32.0, 64.0, 128.0])
    laws = scaling(VE, d, 2.0, 0.5, share=0.2)
    for column, left in ((0, 0.2), (1, 0.8)):
        found = entropy(VE, laws.windows[:, column], 2.0 * np.sqrt(d), 0.5)
        np.testing.assert_allclose(found, left * np.log(2.0), rtol=1e-12)
    np.testing.assert_allclose(laws.widths, laws.windows[:, 1] - laws.windows[:, 0], rtol=1e-15)
    assert np.all(laws.widths > 0.0)


def test_a_peak_at_the_end_has_no_law():
    # kappa starts between 5.5 and 5.9: 45% and 55% are decided inside, at 3.6 and 4.9, but the peak is at t = 0.
    with pytest.raises(InputError, match="peaks inside"):
        scaling(OU, [1.0, 1.02, 1.04, 1.06], 5.5**0.5, 1.0, share=0.45)


def test_a_window_outside_the_process_has_no_law():
    with pytest.raises(InputError, match="dimensions is"):
        scaling(scaled_linear(), [4.0, 16.0, 64.0, 4096.0], 2.0, 1.0)
    with pytest.raises(InputError, match="dimensions is"):
        scaling(OU, [1.0, 2.0, 3.0, 4.0], 2.0, 0.9)  # 90% are decided at t = 0 or before, at d = 1


@pytest.mark.parametrize("d", [1.0, 16.0, 1e6, 1e300])
def test_speciation_time_is_the_papers_to_leading_order(d):
    assert float(speciation_time(VE, d)) == pytest.approx(np.sqrt(d), rel=1e-13)
    assert float(speciation_time(OU, d)) == pytest.approx(0.5 * np.log1p(d), rel=1e-13)


def test_a_process_that_ends_before_has_no_speciation_time():
    assert np.isnan(speciation_time(scaled_linear(), 1e6))
