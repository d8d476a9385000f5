"""The theorems of the chapter on many classes: each test carries the label of its theorem."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.entropy import binary_entropy, partition
from companion.exact import equidistant, two_gaussians
from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.forward import noise_of
from derivations.kit.identity import mutants, survivors
from derivations.many_classes import proofs

BY_LABEL = {identity.label: identity for identity in proofs.identities()}
LINE = isotropic_mixture([[-1.5], [-0.2], [0.4], [1.9], [3.0]], 0.4, [0.1, 0.3, 0.15, 0.25, 0.2])
POINTS = torch.linspace(-12.0, 13.0, 5001, dtype=torch.float64)[:, None]
STEP = 25.0 / 5000.0


def fields(mixture: GaussianMixture, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The densities of the classes (K, states) on a fine grid, and the posteriors."""
    noise = torch.full((len(POINTS),), sigma, dtype=torch.float64)
    classes = range(len(mixture.classes))
    densities = [mixture.log_density(POINTS, noise, z).exp().numpy() for z in classes]
    return np.array(densities), mixture.posterior(POINTS, noise).exp().numpy().T


def test_every_identity_holds():
    assert [label for label, identity in BY_LABEL.items() if not identity.holds()] == []


def test_no_slip_in_any_identity_survives():
    assert all(len(list(mutants(identity))) > 10 for identity in proofs.identities())
    assert [mutant.slip for identity in proofs.identities() for mutant in survivors(identity)] == []


def test_proofs_end_where_the_identities_do():
    for proof, label in [
        (proofs.jensen_shannon(), "eq-jensen-shannon"),
        (proofs.one_against_the_rest(), "eq-one-against-the-rest"),
        (proofs.equidistant_entropy(), "eq-equidistant-entropy"),
    ]:
        assert (proof.first, proof.last) == BY_LABEL[label].sides
    proof = proofs.equidistant_production()
    start, doubt, integral = BY_LABEL["eq-equidistant-production"].sides
    assert -proof.first == start and (-proof.last - integral).expand() == 0
    assert -doubt in [expression for _, expression in proof.steps]


def test_def_partition():
    """Sides by hand, on a grid, against `sides`: densities, priors, entropy."""
    densities, _ = fields(LINE, 0.5)
    weights = np.array(LINE.weights)
    a, b = [0, 2], [1, 3]
    prior = weights[a].sum() / weights[a + b].sum()
    sides = [weights[side] @ densities[side] / weights[side].sum() for side in (a, b)]
    mixture = LINE.sides(partition(LINE, a, b, "true"))
    assert mixture.weights == pytest.approx((prior, 1.0 - prior), rel=1e-12)
    np.testing.assert_allclose(fields(mixture, 0.5)[0], sides, atol=1e-13)
    log_odds = np.log(prior / (1.0 - prior)) + np.log(sides[0] / sides[1])
    mean = STEP * (prior * sides[0] + (1.0 - prior) * sides[1]) @ binary_entropy(log_odds)
    assert float(mixture.entropy(-2.0 * math.log(0.5))) == pytest.approx(mean, abs=1e-10)


def test_prop_jensen_shannon():
    assert BY_LABEL["eq-jensen-shannon"].holds()
    for sigma in (0.3, 1.0):
        mixture = LINE.sides(partition(LINE, [0, 2], [1, 3]))
        (p, q), _ = fields(mixture, sigma)
        middle = 0.5 * (p + q)
        divergence = 0.5 * STEP * (p * np.log(p / middle) + q * np.log(q / middle)).sum()
        entropy = float(mixture.entropy(-2.0 * math.log(sigma)))
        assert entropy == pytest.approx(math.log(2.0) - divergence, abs=1e-10)


def test_prop_against_all():
    for label in ("eq-against-others", "eq-against-all", "eq-saturation"):
        assert BY_LABEL[label].holds()
    densities, posterior = fields(LINE, 0.4)
    whole = np.array(LINE.weights) @ densities
    for z, weight in enumerate(LINE.weights):
        against_all = densities[z] / (densities[z] + whole)
        np.testing.assert_allclose(against_all, posterior[z] / (posterior[z] + weight), atol=1e-12)
        assert np.all(against_all <= (1.0 / (1.0 + weight)) * (1.0 + 1e-12))  # odds of 1 / weight at most
    # The floor of the exact curve is that of the partition.
    many = isotropic_mixture(torch.eye(10), 0.0)
    floor = partition(many, [0], "all").floor
    assert float(equidistant.partition_entropy(400.0, 1, 10, 0.5, 1)) == pytest.approx(floor, rel=1e-9)


@settings(max_examples=20)
@given(
    means=st.lists(st.floats(-4.0, 4.0), min_size=3, max_size=5, unique=True),
    shares=st.lists(st.floats(0.05, 1.0), min_size=5, max_size=5),
    level=st.floats(-3.0, 4.0),
)
def test_prop_one_against_the_rest(means, shares, level):
    weights = np.array(shares[: len(means)]) / sum(shares[: len(means)])
    mixture = isotropic_mixture([[m] for m in means], 0.2, weights)
    classes = range(len(means))
    total = sum(float(mixture.sides(partition(mixture, [k], "others", "true")).entropy(level)) for k in classes)
    excess = total - float(mixture.entropy(level))
    assert -1e-9 <= excess <= 1.0


def test_prop_one_against_the_rest_for_a_thousand():
    kappa = np.array([0.0, 5.0, 15.0, 30.0, 60.0])
    excess = 1000.0 * equidistant.partition_entropy(kappa, 1, 999) - equidistant.entropy(kappa, 1000)
    assert np.all((excess >= 0.0) & (excess <= 1.0))
    assert BY_LABEL["eq-one-against-the-rest"].holds()


def test_thm_equidistant():
    assert BY_LABEL["eq-frullani"].holds() and BY_LABEL["eq-equidistant-entropy"].holds()
    levels = np.linspace(-6.0, 3.0, 10)
    four = isotropic_mixture(torch.eye(4), 0.3)
    kappa = two_gaussians.control_parameter(1.0, noise_of(levels), math.sqrt(2.0), 0.3)
    exact = four.entropy(levels)  # in the three dimensions that four means span
    np.testing.assert_allclose(equidistant.entropy(kappa, 4), exact, atol=1e-8)


def test_prop_equidistant_production():
    assert BY_LABEL["eq-equidistant-production"].holds()
    kappa, classes, step = np.array([0.5, 3.0, 12.0]), 7, 1e-3
    slope = (equidistant.entropy(kappa - step, classes) - equidistant.entropy(kappa + step, classes)) / (2.0 * step)
    # The rule is of second order: step^2 times a third derivative of at most 1/10.
    np.testing.assert_allclose(equidistant.production(kappa, classes), slope, atol=1e-7)
    generator = torch.Generator().manual_seed(0)
    for each in kappa:
        x, z = isotropic_mixture(torch.eye(classes), 0.0).sample_noised(20_000, math.sqrt(2.0 / each), generator)
        noise = torch.full((len(x),), math.sqrt(2.0 / each), dtype=torch.float64)
        right = isotropic_mixture(torch.eye(classes), 0.0).posterior(x, noise).exp().gather(1, z[:, None])
        error = float(right.std()) / math.sqrt(len(x)) / 4.0
        doubt = (1.0 - float(right.mean())) / 4.0
        assert abs(doubt - float(equidistant.production(each, classes))) < 4.0 * error


def test_cor_equidistant_partition():
    assert BY_LABEL["eq-equidistant-partition"].holds()
    levels = np.linspace(-6.0, 3.0, 5)
    two_and_two = isotropic_mixture(torch.eye(4), 0.0, [0.1, 0.1, 0.4, 0.4], [0, 0, 1, 1])
    computed = equidistant.partition_entropy(2.0 * np.exp(levels), 2, 2, 0.2)
    np.testing.assert_allclose(computed, two_and_two.entropy(levels), atol=1e-8)


def test_prop_many_classes():
    """Both bounds, and the limit, whose distance at K classes is that between the bounds: O(sqrt(log K))."""
    xi = np.linspace(-12.0, 12.0, 2401)
    normal = 0.01 * np.exp(-0.5 * xi**2) / math.sqrt(2.0 * math.pi)
    for classes in (2, 10, 1000, 10**6, 10**30, 10**100):
        log_classes = math.log(classes)
        for share in (0.01, 0.5, 1.0, 1.5):
            kappa = 4.0 * share * log_classes
            entropy = float(equidistant.entropy(kappa, classes))
            assert entropy >= log_classes - (classes - 1) / classes * kappa / 4.0 - 1e-11 * log_classes
            exponent = math.log(classes - 1) - kappa / 4.0 - math.sqrt(kappa / 2.0) * xi
            assert entropy <= normal @ np.logaddexp(0.0, exponent) * (1.0 + 1e-11)
            assert abs(entropy / log_classes - max(1.0 - share, 0.0)) <= 2.0 / math.sqrt(log_classes)
        half = equidistant.half_kappa(lambda kappa, classes=classes: equidistant.entropy(kappa, classes))
        assert half >= 2.0 * classes / (classes - 1) * log_classes
    assert half / log_classes == pytest.approx(2.0, abs=1e-9)  # 10^100 classes


def test_the_production_of_many_classes_peaks_at_the_end_of_the_decision():
    """In c = kappa / (4 log K): at most c, near c before 1, below c / (c-1) H(c = 1) / log K after it."""
    shares = np.linspace(0.05, 1.5, 30)
    before, after = shares < 0.7, shares > 1.01
    peaks = []
    for classes in (10**3, 10**30, 10**100):
        log_classes = math.log(classes)
        kappa = 4.0 * log_classes * shares
        rate = kappa * equidistant.production(kappa, classes) / log_classes
        assert np.all(rate <= shares * (1.0 + 1e-12))
        left = float(equidistant.entropy(4.0 * log_classes, classes)) / log_classes
        assert np.all(rate[after] <= shares[after] / (shares[after] - 1.0) * left)
        peaks.append(shares[rate.argmax()])
    assert all(earlier < later < 1.0 for earlier, later in itertools.pairwise(peaks))
    # At 10^100 the edge is a tenth wide: 1 / sqrt(log K) = 0.07.
    assert rate[before] == pytest.approx(shares[before], abs=1e-4)
    assert np.all(rate[shares > 1.3] < 0.01)


def test_prop_balanced_limit():
    kappa = np.array([0.5, 4.0, 8.0, 16.0])
    apart = [
        np.abs(equidistant.partition_entropy(kappa, 1, classes - 1, 0.5) - two_gaussians.entropy(kappa / 2.0)).max()
        for classes in (10, 10**3, 10**6, 10**12)
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(apart))
    assert apart[-1] < 1e-5
    half = equidistant.half_kappa(lambda k: equidistant.partition_entropy(k, 1, 10**12, 0.5))
    assert half == pytest.approx(2.0 * 4.17605, abs=1e-3)
