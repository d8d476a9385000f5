"""The propositions of "What biases the estimate": by quadrature, by one integral, and on runs of the estimator."""

import numpy as np
import pytest
from scipy.stats import norm

from companion.entropy import binary_entropy, partition
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import measure
from companion.estimate.plan import PUBLISHED
from companion.exact import equidistant, two_gaussians
from companion.exact.mixtures import isotropic_mixture

LEVELS = np.linspace(-6.0, 6.0, 13)
QUADRATURE = 1e-7  # what two entropies by quadrature may differ by; the bounds are kept by far more almost everywhere
# Random classes on a line, widths from 0.1 to 1.5: near and far, overlapping, one inside the other.
CASES = range(10)


def floor_of(q):
    return 0.5 * (1.0 + q) * float(binary_entropy(-np.log(q)))


def test_eq_biases_three():
    # Each of the three steps is one argument of `partition`, and the estimates of all four entropies meet their exact
    # values on many fine levels: what is left there of the third term is within 0.01 nats.
    ten = isotropic_mixture(8.0 / np.sqrt(2.0) * np.eye(10), 1.0)
    levels = np.linspace(-7.0, 3.0, 61)
    kappa = two_gaussians.control_parameter(1.0, np.exp(-0.5 * levels), 8.0, 1.0)
    exact = {
        ("others", "true"): equidistant.partition_entropy(kappa, 1, 9),
        ("others", "balanced"): equidistant.partition_entropy(kappa, 1, 9, 0.5),
        ("all", "balanced"): equidistant.partition_entropy(kappa, 1, 10, 0.5, shared=1),
    }
    asked = [partition(ten, [0], second, prior) for second, prior in exact]
    found, _ = measure(ten, asked, levels, 600)
    for each, truth in zip(found, exact.values(), strict=True):
        value, error = weighted_mean(each.entropy_of_path, each)
        assert (np.abs(value - truth) < 4.0 * error + 0.01).all()
    assert [each.entropy for each in asked] == pytest.approx([binary_entropy(np.log(9.0)), *[np.log(2.0)] * 2])
    assert [each.floor for each in asked] == pytest.approx([0.0, 0.0, floor_of(0.1)])


@pytest.mark.parametrize("seed", CASES)
def test_prop_biases_balance(seed):
    generator = np.random.default_rng(seed)
    means, widths = generator.normal(0.0, 2.0, (2, 1)).tolist(), generator.uniform(0.1, 1.5, 2).tolist()
    even = isotropic_mixture(means, widths).entropy(LEVELS)
    for prior in (0.5, 0.3, 0.05, 0.005):
        entropy = isotropic_mixture(means, widths, [prior, 1.0 - prior]).entropy(LEVELS)
        assert (2.0 * prior * even <= entropy + QUADRATURE).all()
        assert (entropy <= 2.0 * (1.0 - prior) * even + QUADRATURE).all()


def test_prop_biases_balance_for_many_classes():
    kappa = np.geomspace(0.01, 300.0, 13)
    for classes in (2, 10, 200):
        share = 1.0 / classes
        true, even = (equidistant.partition_entropy(kappa, 1, classes - 1, odds) for odds in (None, 0.5))
        assert (2.0 * share * even <= true + 1e-12).all()
        assert (true <= 2.0 * (1.0 - share) * even + 1e-12).all()


@pytest.mark.parametrize("seed", CASES)
def test_prop_biases_whole(seed):
    generator = np.random.default_rng(seed)
    means, widths = generator.normal(0.0, 2.0, (3, 1)).tolist(), generator.uniform(0.1, 1.5, 3).tolist()
    for q in (0.5, 0.2, 0.02):
        rest = [0.3 * (1.0 - q), 0.7 * (1.0 - q)]
        others = isotropic_mixture(means, widths, [0.5, 0.5 * rest[0] / (1.0 - q), 0.5 * rest[1] / (1.0 - q)])
        even = others.sides(partition(others, [0], "others", "true")).entropy(LEVELS)
        # The class stands twice: once as itself and once inside the whole.
        whole = isotropic_mixture([means[0], *means], [widths[0], *widths], [0.5, 0.5 * q, *(0.5 * np.array(rest))])
        term = whole.sides(partition(whole, [0], "others", "true")).entropy(LEVELS) - even
        assert (q * (np.log(2.0) - even) <= term + QUADRATURE).all()
        assert (term <= floor_of(q) + q * even + QUADRATURE).all()


def test_prop_biases_whole_for_many_classes():
    kappa = np.geomspace(0.01, 1000.0, 13)
    for classes in (2, 10, 200):
        q = 1.0 / classes
        even = equidistant.partition_entropy(kappa, 1, classes - 1, 0.5)
        term = equidistant.partition_entropy(kappa, 1, classes, 0.5, shared=1) - even
        assert (q * (np.log(2.0) - even) <= term + 1e-11).all()
        assert (term <= floor_of(q) + q * even + 1e-11).all()
        assert abs(term[-1] - floor_of(q)) < 1e-9  # separated classes reach the floor


def test_prop_biases_samples():
    # Two paths a side, again and again, against the chain's own entropy in closed form: classes of one covariance, for
    # which the log-odds of the chain are normal with the left-point sum S, prop-bias. Coarse levels, so that the
    # entropy of the chain is far from that of the process: the mean must meet the first and miss the second.
    pair = isotropic_mixture([[-1.5], [1.5]], 1.0)
    levels = np.linspace(-4.0, 4.0, 9)
    snr = np.exp(levels)
    spread = 9.0 / (1.0 + snr) ** 2  # |D_A - D_B|^2 of classes of width 1, three apart
    chain = two_gaussians.entropy(np.concatenate([[0.0], np.cumsum(np.diff(snr) * spread[:-1])]))
    question = partition(pair, [0], [1])
    few = []
    for seed in range(300):
        (found,), _ = measure(pair, [question], levels, 4, seed, PUBLISHED)
        few.append(weighted_mean(found.entropy_of_path, found)[0])
    mean, error = np.mean(few, axis=0), np.std(few, axis=0, ddof=1) / 300**0.5
    assert (np.abs(mean - chain)[1:] < 4.0 * error[1:]).all()
    # From the fifth level on the steps cost 0.05 nats and more.
    assert (np.abs(chain - pair.entropy(levels))[4:] > 5.0 * error[4:]).all()
    # At the first level: what the start leaves out, exactly.
    assert np.allclose(mean[0], np.log(2.0), atol=1e-12)


def test_prop_biases_samples_against_the_null_branch():
    # The side is a mixture here, and its chain has no closed form: few paths and many agree.
    three = isotropic_mixture([[-2.0], [0.0], [2.0]], 0.5)
    levels = np.linspace(-4.0, 3.0, 8)
    question = partition(three, [0], "null")
    (many,), _ = measure(three, [question], levels, 4000, 1, PUBLISHED)
    value, error = weighted_mean(many.entropy_of_path, many)
    few = []
    for seed in range(2, 146):
        (found,), _ = measure(three, [question], levels, 4, seed, PUBLISHED)
        few.append(weighted_mean(found.entropy_of_path, found)[0])
    chance = np.hypot(error, np.std(few, axis=0, ddof=1) / 12.0)
    assert (np.abs(np.mean(few, axis=0) - value)[1:] < 4.0 * chance[1:]).all()


def test_eq_subset_cross_entropy():
    # On a line, by a fine sum: the cross entropy of the posterior is the entropy, that of a posterior made of fewer
    # rivals or of another prior is larger.
    means, width, prior = [-1.0, 0.5, 2.0, 4.0], 0.8, 0.3
    x, step = np.linspace(-7.0, 10.0, 4001, retstep=True)
    densities = norm.pdf(x, np.array(means)[:, None], width)

    def cross_entropy(share):
        of_others = (densities[1:] * -np.log1p(-share)).sum() * step
        return prior * (densities[0] * -np.log(share)).sum() * step + (1.0 - prior) / 3.0 * of_others

    def predictor(rivals, weight=prior):
        first = weight * densities[0]
        return first / (first + (1.0 - weight) * densities[rivals].mean(axis=0))

    weights = [prior, *[(1.0 - prior) / 3.0] * 3]
    four = isotropic_mixture([[mean] for mean in means], width, weights)
    mixture = four.sides(partition(four, [0], "others", "true"))
    truth = float(mixture.entropy(np.array([40.0]))[0])  # next to no noise: the densities above
    assert abs(cross_entropy(predictor([1, 2, 3])) - truth) < 1e-7
    for wrong in (predictor([1, 2]), predictor([2, 3]), predictor([1, 2, 3], 0.5)):
        assert cross_entropy(wrong) > truth + 1e-3
