"""Equidistant classes against two classes, quadrature in the plane, 25 digits, fresh samples and its own derivative."""

import json
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact import equidistant, two_gaussians
from companion.exact.laws import monte_carlo_entropy
from companion.exact.mixtures import isotropic_mixture
from companion.forward import noise_of
from derivations.kit import shared_covariance

ROWS = json.loads((Path(__file__).parent / "reference_values.json").read_text())["rows"]
HELD = [row for row in ROWS if float(row["kappa"]) <= 5000.0]  # beyond, the entropy is no float
KAPPA = np.array([float(row["kappa"]) for row in HELD])
TOLERANCE = 1e-10  # what the package promises
LEVELS = np.linspace(-8.0, 5.0, 14)
CORNERS = torch.eye(3)


def test_two_classes_are_the_reference_values():
    for function, column in ((equidistant.entropy, "entropy"), (equidistant.production, "minus_dH_dkappa")):
        truth = np.array([float(row[column]) for row in HELD])
        np.testing.assert_allclose(function(KAPPA, 2), truth, rtol=TOLERANCE, atol=0.0)


@pytest.mark.parametrize("weight", [0.5, 0.2, 0.001])
def test_one_class_against_one_is_the_binary_integral_with_weights(weight):
    kappa = KAPPA[KAPPA < 2000.0]
    computed = equidistant.partition_entropy(kappa, 1, 1, weight)
    np.testing.assert_allclose(computed, two_gaussians.entropy(kappa, weight), rtol=TOLERANCE, atol=0.0)


def test_three_classes_are_the_quadrature_in_the_plane():
    for deviation in (0.0, 0.3):
        triangle = isotropic_mixture(CORNERS, deviation)
        kappa = two_gaussians.control_parameter(1.0, noise_of(LEVELS), math.sqrt(2.0), deviation)
        np.testing.assert_allclose(equidistant.entropy(kappa, 3), triangle.entropy(LEVELS), atol=1e-10)
        per_log_snr = kappa * equidistant.production(kappa, 3) / (1.0 + deviation**2 * np.exp(LEVELS))
        np.testing.assert_allclose(per_log_snr, triangle.production(LEVELS), atol=1e-10)


@pytest.mark.parametrize("weight", [0.5, 0.1])
@pytest.mark.parametrize(
    ("first", "second"), [([0], [1, 2]), ([0, 1], [2]), ([0], [0, 1, 2]), ([0, 1], [1, 2]), ([0, 1], [0, 1])]
)
def test_partitions_of_three_classes_are_the_quadrature_in_the_plane(weight, first, second):
    # A class of both sides is two components at one place, one for each side.
    weights = [weight / len(first)] * len(first) + [(1.0 - weight) / len(second)] * len(second)
    sides = [0] * len(first) + [1] * len(second)
    mixture = isotropic_mixture(CORNERS[first + second], 0.0, weights, sides)
    shared = len({*first} & {*second})
    computed = equidistant.partition_entropy(2.0 * np.exp(LEVELS), len(first), len(second), weight, shared)
    np.testing.assert_allclose(computed, mixture.entropy(LEVELS), atol=1e-10)


@pytest.mark.parametrize(("classes", "kappa"), [(3, 40.0), (17, 0.3), (1000, 20.0), (10**6, 6.0)])
def test_entropy_against_25_digits(classes, kappa):
    """The integral with e^-u in it, whose terms cancel, at 25 digits and with steps that follow from theory alone."""
    with mpmath.workdps(25):
        a = mpmath.sqrt(mpmath.mpf(kappa) / 2)
        step = min(mpmath.mpf(1) / 3, mpmath.mpf(1) / (5 * a))  # the strip of half-width pi/2a leaves exp(-5 pi^2)
        nodes = [k * step for k in range(-int(10 / step), int(10 / step) + 1)]
        shares = [step * mpmath.npdf(xi) for xi in nodes]
        factors = [mpmath.exp(a * xi) for xi in nodes]

        def laplace(u):
            return mpmath.fsum(share * mpmath.exp(-u * factor) for share, factor in zip(shares, factors, strict=True))

        def integrand(v):
            u = mpmath.exp(v)
            return mpmath.exp(-u) - laplace(u * mpmath.exp(a * a)) * laplace(u) ** (classes - 1)

        far = 40 + float(a) ** 2 + math.log(classes)
        fifth = mpmath.mpf(1) / 5  # the strip of half-width pi/2 leaves exp(-5 pi^2) = 4e-22
        total = fifth * mpmath.fsum(integrand(fifth * k) for k in range(-int(far * 5), int(30 * (1 + a)))) - a * a
        assert equidistant.entropy(kappa, classes) == pytest.approx(float(total), rel=TOLERANCE)


@pytest.mark.parametrize("classes", [10, 200])
def test_fresh_samples_in_all_dimensions_lie_on_the_curve(classes):
    mixture = isotropic_mixture(torch.eye(classes), 0.5)
    levels = np.array([-3.0, 1.0, 3.0])
    kappa = two_gaussians.control_parameter(1.0, noise_of(levels), math.sqrt(2.0), 0.5)
    estimate, error = monte_carlo_entropy(mixture, levels, 4000, torch.Generator().manual_seed(1))
    assert np.all(np.abs(estimate - equidistant.entropy(kappa, classes)) < 4.0 * error)
    assert np.all(error < 0.03)


@pytest.mark.parametrize(("first", "second"), [(1, 29), (10, 20), (15, 15), (3, 4)])
def test_partitions_of_many_classes_lie_within_the_monte_carlo(first, second):
    kappa = np.array([1.0, 5.0, 15.0])
    groups = [range(first), range(first, first + second)]
    generator = torch.Generator().manual_seed(first)
    estimate = shared_covariance.monte_carlo(1.0 - np.eye(30), kappa, 10_000, generator, groups=groups)
    exact = equidistant.partition_entropy(kappa, first, second)
    assert np.all(np.abs(estimate.entropy - exact) < 4.0 * estimate.entropy_se)
    assert np.all(estimate.entropy_se < 0.01)


@given(classes=st.integers(2, 10**6), kappa=st.floats(0.01, 150.0))
def test_production_is_minus_the_derivative_of_the_entropy(classes, kappa):
    step = 1e-3 * kappa
    around = equidistant.entropy(kappa + step * np.array([-2.0, -1.0, 1.0, 2.0]), classes)
    derivative = (around[0] - 8.0 * around[1] + 8.0 * around[2] - around[3]) / (12.0 * step)
    # The entropy's rounding (1e-15 log K) over the step, and a rule of fourth order.
    assert equidistant.production(kappa, classes) == pytest.approx(-derivative, rel=1e-7, abs=1e-10 / kappa)


@settings(max_examples=20)
@given(
    first=st.integers(1, 1000),
    second=st.integers(1, 1000),
    weight=st.floats(0.001, 0.999),
    kappa=st.floats(0.0, 100.0),
    data=st.data(),
)
def test_a_partition_falls_from_its_prior_to_its_floor_and_sees_no_order(first, second, weight, kappa, data):
    shared = data.draw(st.integers(0, min(first, second)))
    start, here, end = equidistant.partition_entropy([0.0, kappa, 600.0], first, second, weight, shared)
    prior = binary_entropy(math.log(weight / (1.0 - weight)))
    both = shared * (weight / first + (1.0 - weight) / second)
    floor = both * binary_entropy(math.log(weight * second / ((1.0 - weight) * first)))
    assert start == pytest.approx(float(prior), rel=1e-12)
    assert end == pytest.approx(float(floor), rel=1e-11, abs=1e-12)  # at kappa = 600 overlaps are below 1e-25
    assert end * (1.0 - 1e-11) <= here <= start * (1.0 + 1e-11)
    mirrored = equidistant.partition_entropy(kappa, second, first, 1.0 - weight, shared)
    assert mirrored == pytest.approx(here, rel=1e-10)


def test_more_steps_change_nothing(monkeypatch):
    kappa = np.array([1e-6, 0.1, 1.0, 10.0, 100.0, 500.0])

    def computed():
        entropies = [equidistant.entropy(kappa, classes) for classes in (2, 1000, 10**9)]
        return [*entropies, equidistant.partition_entropy(kappa, 1, 1000, 0.5, 1), equidistant.production(kappa, 1000)]

    plain = computed()
    monkeypatch.setattr(equidistant, "_STEP", 0.11)
    monkeypatch.setattr(equidistant, "_NORMAL_STEP", 0.2)
    monkeypatch.setattr(equidistant, "_FARTHEST_DEVIATION", 12.0)
    monkeypatch.setattr(equidistant, "_NEGLIGIBLE", -60.0)
    np.testing.assert_allclose(plain, computed(), rtol=1e-12, atol=0.0)


def test_shapes_ends_and_more_classes_than_atoms():
    assert equidistant.entropy(np.full((2, 3), 4.0), 5).shape == (2, 3)
    assert equidistant.entropy(0.0, 1000) == pytest.approx(math.log(1000.0), rel=1e-14)
    assert equidistant.entropy([1e4, np.inf], 1000).tolist() == [0.0, 0.0]
    assert equidistant.production([1e4, np.inf], 1000).tolist() == [0.0, 0.0]
    assert equidistant.entropy(0.0, 10**100) == pytest.approx(100.0 * math.log(10.0), rel=1e-13)
    assert equidistant.entropy(100.0, 10**100) == pytest.approx(100.0 * math.log(10.0) - 25.0, rel=1e-12)


def test_half_kappa():
    assert equidistant.half_kappa(lambda kappa: equidistant.entropy(kappa, 2)) == pytest.approx(4.17605, abs=5e-6)
    floor = float(binary_entropy(math.log(2.0))) * 0.75
    at = equidistant.half_kappa(lambda kappa: equidistant.partition_entropy(kappa, 1, 2, 0.5, 1), floor)
    assert equidistant.partition_entropy(at, 1, 2, 0.5, 1) == pytest.approx(0.5 * (math.log(2.0) + floor), rel=1e-10)
    with pytest.raises(InputError, match="half way to the floor"):
        equidistant.half_kappa(lambda kappa: np.maximum(equidistant.entropy(kappa, 2), 0.6), 0.05)
    with pytest.raises(InputError, match="floor is"):
        equidistant.half_kappa(lambda kappa: equidistant.entropy(kappa, 2), -1.0)


@pytest.mark.parametrize("classes", [1, 0, 2.5, np.nan, 10**101])
def test_bad_classes_are_refused(classes):
    for function in (equidistant.entropy, equidistant.production):
        with pytest.raises(InputError, match="classes is"):
            function(1.0, classes)


@pytest.mark.parametrize("kappa", [-1.0, np.nan, [1.0, -1e-9]])
def test_bad_kappa_is_refused(kappa):
    with pytest.raises(InputError, match="kappa is"):
        equidistant.entropy(kappa, 3)
    with pytest.raises(InputError, match="kappa is"):
        equidistant.partition_entropy(kappa, 1, 2)


def test_bad_sides_are_refused():
    for arguments, name in [
        ({"first": 0, "second": 2}, "first"),
        ({"first": 1, "second": 0.5}, "second"),
        ({"first": 1, "second": 3, "shared": 2}, "shared"),
        ({"first": 1, "second": 3, "shared": -1}, "shared"),
        ({"first": 1, "second": 3, "weight": 1.0}, "weight"),
        ({"first": 1, "second": 3, "weight": np.nan}, "weight"),
    ]:
        with pytest.raises(InputError, match=f"{name} is"):
            equidistant.partition_entropy(1.0, **arguments)


@pytest.mark.parametrize(("first", "second", "shared"), [(1, 10, 1), (1, 200, 1), (3, 5, 2), (2, 8, 0)])
def test_the_end_of_a_partition_is_its_floor(first, second, shared):
    """Where the class is known: balanced sides of m and n classes, s of them in both, leave the side of those open."""
    open_ = shared * 0.5 * (1.0 / first + 1.0 / second)
    floor = open_ * binary_entropy(np.log(second / first))
    found = equidistant.partition_entropy([2000.0, 5600.0, 5800.0, 1e6], first, second, 0.5, shared=shared)
    np.testing.assert_allclose(found, floor, atol=1e-12)
