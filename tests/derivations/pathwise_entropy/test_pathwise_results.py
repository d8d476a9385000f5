"""The shipped result of the chapter on pathwise entropy: of the shipped weights, as the chapter claims, found again."""

import numpy as np
import pytest

from benchmarks import pathwise_results as script
from companion.entropy import partition
from companion.estimate.measure import measure
from companion.estimate.placement import default_levels
from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.models.load import load
from derivations.kit.measured import read


@pytest.fixture(scope="module")
def measured():
    return read("pathwise_entropy/digits")


def test_every_pair_lies_on_the_arc_of_two_gaussian_classes(measured):
    """At the top of each, within four standard errors."""
    assert len(measured["partitions"]) == len(measured["variance"]) == 10
    kappa = np.geomspace(1e-6, 1e3, 2000)
    by_entropy, spread = two_gaussians.entropy(kappa)[::-1], two_gaussians.variance(kappa)[::-1]
    for place in range(10):
        top = measured["variance"][place].argmax()
        expected = np.interp(measured["entropy"][place][top], by_entropy, spread)
        error = measured["variance_se"][place][top]
        assert 0.0 < error < 0.003
        assert measured["variance"][place][top] == pytest.approx(expected, abs=4.0 * error)


def test_the_script_finds_what_is_known_of_two_points():
    """Mean and variance of the entropy on paths of two points, and the share that comes back, seen on 200 levels."""
    two, levels = isotropic_mixture([[-1.0], [1.0]], 0.0), np.linspace(-6.0, 4.0, 200)
    (found,), _ = measure(two, [partition(two, [0], [1])], levels, samples=4000)
    told = script.told(found)
    kappa = 4.0 * np.exp(levels)
    # Four standard errors, and the estimator's bias on 200 levels.
    assert np.all(np.abs(told["entropy"] - two_gaussians.entropy(kappa)) < 4.0 * told["entropy_se"] + 0.002)
    assert np.all(np.abs(told["variance"] - two_gaussians.variance(kappa)) < 4.0 * told["variance_se"] + 0.001)
    assert told["sure"] == 4000
    assert told["should_come_back"] == pytest.approx(0.15, abs=0.02)  # twice a tenth, less what a level overshoots
    assert told["should_come_back"] - 0.04 < told["came_back"] < told["should_come_back"] + 0.02


def test_a_pair_is_found_again(measured):
    """With a tenth of the paths: mean and variance within their joint errors at every fourth level."""
    model = load("digits")
    levels = default_levels(model, len(measured["log_snr"]))
    (found,), _ = measure(model, [partition(model, [0], [1])], levels, samples=60, seed=1)
    told, place = script.told(found), measured["partitions"].index("0|1")
    for name in ("entropy", "variance"):
        gap = np.abs(told[name] - measured[name][place])
        error = np.hypot(told[f"{name}_se"], measured[f"{name}_se"][place])
        assert np.all(gap[::4] < 4.5 * error[::4] + 0.01)
