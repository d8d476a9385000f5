"""Times of decision against the landmarks of two Gaussian classes, and where there is none."""

import math

import numpy as np
import pytest

from companion.exact import gaussian_pairs as gaussians
from companion.forward import ornstein_uhlenbeck, variance_exploding
from derivations.general_classes.decision_times import crossing_time, half_time, peak_time
from derivations.kit.speciation import decision_time, peak

PROCESSES = [ornstein_uhlenbeck(), variance_exploding()]


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("dimension", [16, 65536, 10**9])
def test_means_that_differ_are_the_equal_gaussians(process, dimension):
    pair = gaussians.gaussian_pair([1.0], [1.0], [2.0 * math.sqrt(dimension)])
    distance = 2.0 * math.sqrt(dimension)
    half = half_time(pair.entropy, process)
    assert half == pytest.approx(float(decision_time(process, 0.5, distance, 1.0)), rel=1e-9)
    fastest = peak_time(pair.production, process)
    # A maximum is found to the root of the rounding error of its height.
    assert fastest == pytest.approx(peak(process, distance, 1.0).time, rel=1e-6)
    crossing = crossing_time(pair.log_odds_moments, process)
    kappa = float(pair.control_parameter(process.log_snr(np.array(crossing))))
    assert kappa == pytest.approx(4.0, rel=1e-9)  # kappa/2 = sqrt(kappa)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("slope", [-1.0, 4.0])
def test_a_production_that_only_falls_or_rises_has_no_peak(process, slope):
    assert math.isnan(peak_time(lambda level: np.exp(slope * level), process))


def test_classes_that_overlap_have_no_half_and_no_crossing():
    pair, process = gaussians.gaussian_pair(1.5, 0.5, multiplicity=4), ornstein_uhlenbeck()
    assert math.isnan(half_time(pair.entropy, process))
    assert math.isnan(crossing_time(pair.log_odds_moments, process))
