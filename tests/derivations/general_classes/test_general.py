"""The identities of the chapter on general classes, each broken in every place, and its theorems against numbers."""

import math

import numpy as np
import pytest
import sympy
from scipy import stats
from scipy.optimize import brentq
from sympy import Limit

from companion.entropy import binary_entropy
from companion.exact import two_gaussians
from companion.exact.affinity import LINE, entropy_on_line, production_on_line
from companion.exact.gaussian_pairs import gaussian_pair
from companion.exact.mixtures import isotropic_mixture
from companion.forward import noise_of, ornstein_uhlenbeck
from derivations.general_classes import proofs
from derivations.general_classes.decision_times import crossing_time, half_time, peak_time
from derivations.general_classes.parity_classes import sign_pair
from derivations.kit.identity import survivors
from derivations.kit.language import Norm2, i, j, mean

VP = ornstein_uhlenbeck()
BY_LABEL = {identity.label: identity for identity in proofs.identities()}

# A factor that tends to one in the limit may be anything that does: v_i, v_j and all their powers.
SURVIVORS = {
    "eq-general-score-expansion": [
        "i -> j in v[i]",
        "-1 -> 1 in 1/v[i]",
        "-1 -> 0 in 1/v[i]",
        "-1 -> -2 in 1/v[i]",
        "j -> i in v[j]",
        "-2 -> 2 in v[j]**(-2)",
        "-2 -> -1 in v[j]**(-2)",
        "-2 -> -4 in v[j]**(-2)",
    ]
}


@pytest.mark.parametrize("label", BY_LABEL)
def test_every_slip_is_caught_but_those_that_say_the_same(label):
    identity = BY_LABEL[label]
    assert identity.holds()
    alive = survivors(identity)
    assert [mutant.slip for mutant in alive] == SURVIVORS.get(label, [])
    for mutant in alive:
        assert sympy.simplify(limit_of(mutant.identity.sides[0]) - limit_of(identity.sides[0])) == 0


def limit_of(side):
    assert isinstance(side, Limit)
    body, *where = side.args
    noised = {proofs.variance[n]: 1 + proofs.epsilon * (proofs.clean[n] - 1) for n in (i, j)}
    apart = sympy.Symbol("Delta")
    return Limit(body.xreplace({**noised, Norm2(mean[i] - mean[j]): apart**2}), *where).doit()


def test_def_general_gap():
    # Gap and fluctuation are all of the log-odds but the prior: the fluctuation has the mean zero on class i.
    (world,) = BY_LABEL["eq-general-log-odds"].worlds
    average = world.value(proofs.E(1, proofs.fluctuation))
    assert float(average.item()) == pytest.approx(0.0, abs=1e-12)


def covariances(generator, dimension):
    """Two matrices that share no axes."""
    factors = generator.normal(size=(2, dimension, 2 * dimension))
    return factors @ factors.transpose(0, 2, 1) / (2 * dimension)


def exact_moments(first, second, gap):
    """Mean and variance of the log-odds of N(gap, first) against N(0, second) on states of the first."""
    ratio = np.linalg.solve(second, first)
    shift = np.linalg.solve(second, gap)
    off = ratio - np.eye(len(first))
    mean_of = 0.5 * (np.trace(off) - np.linalg.slogdet(ratio)[1] + gap @ shift)
    return mean_of, 0.5 * np.trace(off @ off) + shift @ first @ shift


def test_prop_general_gaussians():
    generator = np.random.default_rng(0)
    clean, direction = covariances(generator, 6), generator.normal(size=6)
    frobenius = ((clean[0] - clean[1]) ** 2).sum()
    for gap, power, leading in ((direction, 1, direction @ direction / 2), (0.0 * direction, 2, frobenius / 4)):
        for time in (5.0, 6.0):
            signal = np.exp(-2.0 * time)
            noised = signal * clean + (1.0 - signal) * np.eye(6)
            average, variance = exact_moments(*noised, np.sqrt(signal) * gap)
            # The next order is a factor of epsilon = e^(-2t) smaller; its coefficient is of order ten here.
            assert average / signal**power == pytest.approx(leading, rel=30.0 * signal)
            assert variance / signal**power == pytest.approx(2.0 * leading, rel=60.0 * signal)
    # What those formulas say is what samples say.
    noised = 0.5 * clean + 0.5 * np.eye(6)
    x = generator.multivariate_normal(0.5 * direction, noised[0], size=100_000)
    log_odds = stats.multivariate_normal(0.5 * direction, noised[0]).logpdf(x)
    log_odds -= stats.multivariate_normal(np.zeros(6), noised[1]).logpdf(x)
    average, variance = exact_moments(*noised, 0.5 * direction)
    assert abs(log_odds.mean() - average) < 4.0 * np.sqrt(variance / len(x))
    spread = ((log_odds - log_odds.mean()) ** 2).std() / np.sqrt(len(x))
    assert abs(log_odds.var() - variance) < 4.0 * spread


def test_prop_general_flow():
    # -d/dt of the mean log-odds is (g^2/2) E_A |s_A - s_B|^2, and g^2 = 2: against the score gap of each axis.
    pair, times, step = (
        gaussian_pair([1.5, 2.0, 0.3], [0.5, 2.5, 0.7], [0.3, 1.0, 0.0], [1, 2, 5]),
        [0.2, 0.8, 1.7],
        1e-4,
    )
    for time in times:
        ends = [pair.log_odds_moments(VP.log_snr(np.array(time + sign * step)))[0] for sign in (1.0, -1.0)]
        signal = np.exp(-2.0 * time)
        own, other = (1.0 + signal * (clean - 1.0) for clean in (pair.first, pair.second))
        gap = (own - other) ** 2 / (own * other**2) + signal * pair.gap**2 / other**2
        assert (ends[1] - ends[0]) / (2.0 * step) == pytest.approx(float(gap @ pair.multiplicity), rel=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_prop_general_moments(order):
    # Each tuple has k! entries of size tau in Delta M_k: |Delta M_k|^2 / k! is (d/k) tau^2.
    pair, snr = sign_pair(12, order, 0.7), np.exp(-11.0)
    average, deviation = pair.log_odds_moments(-11.0)
    leading = 12 / order * 0.49 * snr**order
    assert average == pytest.approx(leading / 2.0, rel=10.0 * snr)
    assert deviation**2 == pytest.approx(leading, rel=10.0 * snr)


def test_prop_general_moments_of_points_on_a_line():
    # Two laws on points with equal means and variances: -1, 0, 1 evenly around 0 against a skew one. M_3 differs.
    points = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    constraints = np.vander(points, 3, increasing=True).T
    skew = np.linalg.svd(constraints)[2][-1]  # leaves mass, mean and variance alone
    even = np.full(5, 0.2)
    other = even + 0.15 * skew / np.abs(skew).max()
    third = float((other - even) @ points**3)
    ratios = []
    for snr in (1e-3, 5e-4):
        z = np.linspace(-12.0, 12.0, 4001)
        first, second = (
            (weights[:, None] * stats.norm.pdf(z - np.sqrt(snr) * points[:, None])).sum(axis=0)
            for weights in (even, other)
        )
        divergence = (first * np.log(first / second)).sum() * (z[1] - z[0])
        ratios.append(divergence / (snr**3 * third**2 / (2.0 * math.factorial(3))))
    assert abs(ratios[1] - 1.0) < 0.6 * abs(ratios[0] - 1.0) < 0.02  # an error of the order of snr


@pytest.mark.parametrize(
    ("family", "slope", "spike"),
    [
        (lambda d: gaussian_pair([1.0], [1.0], [2.0 * math.sqrt(d)]), 1 / 2, False),
        (lambda d: gaussian_pair(1.5, 0.5, multiplicity=d), 1 / 4, False),
        (lambda d: gaussian_pair([1.0 + d], [1.0]), 1 / 2, True),
        (lambda d: sign_pair(2 * d, 2), 1 / 4, False),
        (lambda d: sign_pair(3 * d, 3), 1 / 6, False),
    ],
)
def test_cor_general_speciation(family, slope, spike):
    times = []
    for dimension in (2**14, 2**18):
        pair = family(dimension)
        times.append(
            (
                half_time(pair.entropy, VP),
                peak_time(pair.production, VP),
                crossing_time(pair.log_odds_moments, VP),
            )
        )
    # What is left of the corrections at d = 2^14, of the order of d^(-1/k), divided by the range log 16.
    slopes = np.diff(times, axis=0)[0] / np.log(16.0)
    np.testing.assert_allclose(slopes[:2], slope, atol=2e-3)
    if spike:  # on the wide class the deviation of L is (r-1)/sqrt(2), its mean below (r-1)/2
        assert math.isnan(slopes[2])
    else:
        assert slopes[2] == pytest.approx(slope, abs=2e-3)


def test_gap_and_fluctuation_of_a_spike_cross_on_the_narrow_class_alone():
    """There at one ratio of variances r, the root of (log r - 1 + 1/r)/2 = (1 - 1/r)/sqrt(2)."""
    r = brentq(lambda r: 0.5 * (math.log(r) - 1.0 + 1.0 / r) - (1.0 - 1.0 / r) / math.sqrt(2.0), 2.0, 20.0)
    for dimension in (64, 65536):
        wide, narrow = gaussian_pair(1.0 + dimension, 1.0), gaussian_pair(1.0, 1.0 + dimension)
        assert math.isnan(crossing_time(wide.log_odds_moments, VP))
        time = crossing_time(narrow.log_odds_moments, VP)
        assert time == pytest.approx(0.5 * math.log(dimension / (r - 1.0)), abs=1e-9)  # r = 1 + d e^(-2t)


def test_thm_general_affinity():
    # Three points against two, on a line: affinity and its rate by the trapezoidal rule, and no product in sight.
    points, weights, classes = [-2.0, 0.1, 1.0, -0.5, 1.7], [0.1, 0.15, 0.25, 0.2, 0.3], [0, 0, 0, 1, 1]
    mixture = isotropic_mixture([[point] for point in points], 0.2, weights, classes)
    for level in (-2.0, 0.0, 1.5):
        width = np.sqrt(0.04 + noise_of(level) ** 2)
        x = np.linspace(-2.0 - 10.0 * width, 1.7 + 10.0 * width, 4001)
        bells = np.array(weights)[:, None] * stats.norm.pdf(x, np.array(points)[:, None], width)
        first, second = 2.0 * bells[:3].sum(axis=0), 2.0 * bells[3:].sum(axis=0)
        kept = (first > 0.0) & (second > 0.0)
        tilted = np.exp(LINE[:, None] * np.log(first[kept]) + (1.0 - LINE[:, None]) * np.log(second[kept]))
        affinity = tilted.sum(axis=1) * (x[1] - x[0])
        assert entropy_on_line(np.log(affinity)) == pytest.approx(float(mixture.entropy(level)), abs=1e-9)
        # D = x + sigma^2 s, and the score of a class is the slope of its bells over their sum.
        slopes = bells * (np.array(points)[:, None] - x) / width**2
        scores = [slopes[group].sum(axis=0) / bells[group].sum(axis=0) for group in (slice(0, 3), slice(3, 5))]
        apart = noise_of(level) ** 4 * (scores[0] - scores[1])[kept] ** 2
        rate = 0.5 * np.exp(level) * (tilted @ apart) / tilted.sum(axis=1)
        production = production_on_line(np.log(affinity), rate)
        assert production == pytest.approx(float(mixture.production(level)), abs=1e-9)


@pytest.mark.parametrize("dimension", [1, 40])
def test_cor_general_gaussians(dimension):
    # Monte Carlo, with axes in which the classes differ in everything.
    generator, level = np.random.default_rng(dimension), -0.5
    first, second, gap = generator.uniform(0.2, 2.0, size=(3, dimension)) * [[1.0], [1.0], [0.2]]
    pair = gaussian_pair(first, second, gap)
    noise = noise_of(level) ** 2
    own, other = np.sqrt(first + noise), np.sqrt(second + noise)
    drawn = generator.normal(size=(2, 50_000, dimension))
    x = np.concatenate([gap + own * drawn[0], other * drawn[1]])
    log_odds = (stats.norm.logpdf(x, gap, own) - stats.norm.logpdf(x, 0.0, other)).sum(axis=1)
    entropies = binary_entropy(log_odds)
    error = entropies.std() / np.sqrt(len(entropies))
    assert abs(entropies.mean() - pair.entropy(level)) < 4.0 * error


@pytest.mark.parametrize(
    ("family", "order"),
    [
        (lambda d: gaussian_pair(1.5, 0.5, multiplicity=d), 2),
        (lambda d: sign_pair(2 * d, 2), 2),
        (lambda d: sign_pair(3 * d, 3), 3),
    ],
)
def test_prop_general_limit(family, order):
    errors = []
    for dimension in (10**3, 10**5):
        pair = family(dimension)
        levels = (np.linspace(-3.0, 4.0, 15) - np.log(dimension)) / order
        limit = two_gaussians.entropy(pair.control_parameter(levels))
        errors.append(np.abs(pair.entropy(levels) - limit).max())
    assert errors[1] < 0.15 * errors[0] < 0.015
