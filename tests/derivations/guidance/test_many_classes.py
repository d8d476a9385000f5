"""The shipped half levels among three and ten classes: as the chapter claims, found again, and the input refused."""

import math

import numpy as np
import pytest
import torch

from benchmarks import guidance_results as script
from companion.errors import InputError
from companion.exact import equidistant
from companion.exact.mixtures import isotropic_mixture
from derivations.guidance import many_classes, samples
from derivations.guidance.any_mixture import cross_entropy_of_mixture
from derivations.guidance.half_levels import cross_entropy, half_level
from derivations.kit.measured import read


@pytest.fixture(scope="module")
def measured():
    return read("guidance/many_classes")


def test_the_exact_ones_are_exact(measured):
    for k, at in zip((2, 3, 10), measured["unguided"], strict=True):
        assert float(equidistant.entropy(at, k)) == pytest.approx(0.5 * math.log(k), abs=1e-9)
    for weight, at in zip(measured["weights"], measured["two"], strict=True):
        assert half_level(weight) == pytest.approx(at, abs=1e-8)
    weight, at = measured["weights"][-1], measured["three"][-1]
    assert many_classes.three_classes([at], weight).item() == pytest.approx(0.5 * math.log(3.0), abs=1e-6)


def test_ten_classes_are_found_again(measured):
    """With other paths and fewer steps; what steps cost is below what they were seen to cost when halved."""
    for weight, at, error in zip(measured["weights"], measured["ten"], measured["ten_se"], strict=True):
        assert 0.0 < error < 0.001 * at
        levels = np.linspace(0.0, 1.1 * at, 31)[1:]
        drawn = many_classes.cross_entropy_of_paths(levels, weight, 10, 4000, np.random.default_rng(7))
        value, own = (float(np.interp(at, levels, each)) for each in (drawn.cross_entropy, drawn.standard_error))
        assert value == pytest.approx(0.5 * math.log(10.0), abs=4.5 * own + 0.002)
    assert np.all(measured["halved_steps"] < 0.004)


def test_the_crossing_of_a_curve():
    kappa = np.linspace(1.0, 3.0, 41)
    assert script.crossing(kappa, np.exp(-kappa), math.exp(-2.04)) == pytest.approx(
        2.04, abs=1e-5
    )  # of fourth order in the step


def test_any_mixture_has_the_half_levels_of_two_points_in_odds_of_one_to_nine():
    levels = np.linspace(-9.0, 0.5, 120)
    for prior in (0.1, 0.9):
        two = isotropic_mixture([[1.0], [-1.0]], 0.0, [prior, 1.0 - prior])
        mean, error = cross_entropy_of_mixture(two, levels, 4.0, 1000, torch.Generator().manual_seed(0))
        exact = cross_entropy(4.0 * np.exp(levels[-50:]), 4.0, prior=prior)
        # Euler's steps of 8% in the snr cost at most 2% of what is lost.
        assert np.all(np.abs(mean[-50:] - exact) < 4.5 * error[-50:] + 0.02 * (-math.log(prior) - exact))


def test_bad_input():
    draw = np.random.default_rng(0)
    for bad in ([], [2.0, 1.0], [0.0], [math.nan], 1.0, "x", [20.0]):
        with pytest.raises(InputError, match="kappa"):
            many_classes.three_classes(bad, 2.0)
    for bad in ([], [2.0, 1.0], [0.0], [math.inf], 1.0, None):
        with pytest.raises(InputError, match="kappa"):
            many_classes.cross_entropy_of_paths(bad, 2.0, 3, 10, draw)
    for bad in (0.4, 11.0, math.nan, "x"):
        with pytest.raises(InputError, match="weight"):
            many_classes.three_classes([1.0], bad)
    with pytest.raises(InputError, match="weight"):
        many_classes.cross_entropy_of_paths([1.0], math.inf, 3, 10, draw)
    for classes, count, name in ((1, 10, "classes"), (2.5, 10, "classes"), (3, 1, "count")):
        with pytest.raises(InputError, match=name):
            many_classes.cross_entropy_of_paths([1.0], 2.0, classes, count, draw)
    with pytest.raises(InputError, match="classes"):
        many_classes.half_level_of_strong_guidance(1)
    with pytest.raises(InputError, match="sampler"):
        samples.distortion([1.0], 2.0, "euler")
    two = isotropic_mixture([[1.0], [-1.0]], 0.0)
    for levels, weight, count, name in (
        ([1.0, 0.0], 2.0, 10, "log_snr"), ([0.0], 2.0, 10, "log_snr"), ([math.nan, 1.0], 2.0, 10, "log_snr"),
        ([0.0, 1.0], math.nan, 10, "weight"), ([0.0, 1.0], 2.0, 1, "count"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=name):
            cross_entropy_of_mixture(two, levels, weight, count, torch.Generator())
    with pytest.raises(InputError, match="weight"):
        samples.price_of_paths([1.0], math.nan)
