"""The bounds from a random subset against exact entropies; every draw of the classes, or many seeds, with their rates.

Points are used where they can be: their denoisers do not move along a path, so that no step leaves a bias.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit, logsumexp
from scipy.stats import norm

from companion.denoiser import FunctionDenoiser
from companion.entropy import partition
from companion.errors import InputError
from companion.estimate.bracket import allowances, bracket, leave_one_out, null_inconsistency
from companion.exact.equidistant import partition_entropy
from companion.exact.mixtures import isotropic_mixture

FORTY = isotropic_mixture(np.eye(40) / np.sqrt(2.0), 0.0)  # one apart: kappa is the snr
KAPPA = np.array([2.0, 8.0, 16.0, 32.0, 64.0])
SCATTERED = isotropic_mixture(np.random.default_rng(5).normal(size=(20, 2)), 0.0)
LINE = np.array([0.0, -1.5, 0.4, 1.1, 2.0, 2.3])  # class 0 and five others
ON_LINE = isotropic_mixture(LINE[:, None], 0.0)


def against_others(mixture, first, log_snr):
    return mixture.sides(partition(mixture, [first])).entropy(log_snr)


def on_line(sigma, classes, count=4000):
    """Midpoints of `count` equally probable cells of c and each of `classes`: log p_z / p_c there, and the owner."""
    cells = norm.ppf((np.arange(count) + 0.5) / count)
    states = np.concatenate([LINE[k] + sigma * cells for k in (0, *classes)])[:, None]
    owner = np.repeat(np.arange(len(classes) + 1), count)
    log_density = -0.5 * ((states - LINE[[0, *classes]]) / sigma) ** 2
    return (log_density[:, 1:] - log_density[:, :1])[:, None, :], owner


@pytest.mark.parametrize("sigma", [0.4, 1.0])
@pytest.mark.parametrize("prior", [0.5, 0.2])
def test_leave_one_out_is_the_mean_cross_entropy_of_every_draw(sigma, prior):
    """All ten draws of three of five, averaged, against all predictors of two classes by quadrature.

    To 2e-4: at 0.4 and 4000 cells the outermost ones leave 6e-5. One class more or less in the weights changes 1e-2.
    """
    whole = partition(ON_LINE, [0], "others", prior)
    found = []
    for drawn in itertools.combinations(range(1, 6), 3):
        ratios, owner = on_line(sigma, drawn)
        values = leave_one_out(ratios, owner, np.zeros_like(ratios), whole)[:, 0]
        found.append(prior * values[owner == 0].mean() + (1.0 - prior) * values[owner > 0].mean())

    x = np.linspace(-8.0, 9.0, 4001)
    densities = norm.pdf(x[:, None], LINE, sigma)
    expected = []
    for seen in itertools.combinations(range(1, 6), 2):
        rivals = 0.999 * densities[:, seen].mean(axis=1) + 0.001 * densities[:, 0]
        posterior = prior * densities[:, 0] / (prior * densities[:, 0] + (1.0 - prior) * rivals)
        others = densities[:, 1:].mean(axis=1)
        integrand = prior * densities[:, 0] * np.log(posterior) + (1.0 - prior) * others * np.log1p(-posterior)
        expected.append(-np.trapezoid(integrand, x))
    assert np.mean(found) == pytest.approx(np.mean(expected), abs=2e-4)
    truth = ON_LINE.sides(partition(ON_LINE, [0])).entropy(-2.0 * np.log(sigma))
    assert prior != 0.5 or np.mean(expected) > truth + 0.02


def told_apart(generator, paths, m):
    """log p_z / p_c at three levels for equidistant classes, as one run would have them, their owners and halves."""
    path = np.arange(paths)
    owner = np.where(path % 2, 1 + path // 2 % m, 0)
    log_likelihood = 3.0 * generator.normal(size=(paths, 3, m + 1))
    log_likelihood[path, :, owner] += 9.0
    return log_likelihood[:, :, 1:] - log_likelihood[:, :, :1], owner, path // (2 * m) % 2


def test_allowance_has_seen_neither_the_class_nor_the_path():
    """Other densities and other paths of class j, or of the half that is scored, leave the allowance where it was."""
    generator = np.random.default_rng(0)
    ratios, owner, half = told_apart(generator, 240, 5)
    whole = partition(FORTY, [0])
    before = allowances(ratios, owner, half, whole)
    assert before.max() > 1.0
    for j in range(5):
        changed = ratios.copy()
        changed[:, :, j] += generator.normal(size=(240, 3))
        changed[owner == j + 1] -= 3.0
        after = allowances(changed, owner, half, whole)
        np.testing.assert_allclose(after[:, :, j], before[:, :, j], atol=1e-3)  # 20 bisections of at most 30
        assert np.abs(after - before).max() > 0.1
    changed = ratios.copy()
    changed[half == 1] *= 1.5
    after = allowances(changed, owner, half, whole)
    np.testing.assert_allclose(after[half == 1], before[half == 1], atol=1e-3)
    assert np.abs(after[half == 0] - before[half == 0]).max() > 0.1


def test_allowance_is_best_at_unseen_classes():
    """The mass that q' takes from c is what it takes from the others, those of S left out: the slope in b is zero."""
    generator = np.random.default_rng(1)
    ratios, owner, half = told_apart(generator, 800, 4)
    b = allowances(ratios, owner, half, partition(FORTY, [0]))[half == 1][0, 0]
    for j in range(4):
        others = [k for k in range(4) if k != j]
        first = ratios[(owner == 0) & (half == 0)][:, 0, others]
        taken = expit(b[j] + logsumexp(first, axis=1) - np.log(3.0)).mean()
        left = []
        for k in others:
            paths = ratios[(owner == k + 1) & (half == 0), 0]
            seen = logsumexp(paths[:, others], axis=1) - np.log(3.0)
            unseen = logsumexp(paths[:, [i for i in others if i != k]], axis=1) - np.log(2.0)
            left.append(3.0 / 39.0 * expit(-b[j] - seen).mean() + 36.0 / 39.0 * expit(-b[j] - unseen).mean())
        assert taken == pytest.approx(np.mean(left), abs=1e-5)


def test_prop_class_subset():
    """Forty equidistant classes: E H_S is the entropy against m others, exactly; the upper bound is above the truth.

    16 seeds. Mean lower within 4 of its standard errors (15 values, 1 in 1000 by chance), mean upper no more than 3
    below the truth, and nearer to it with more classes wherever something is left to know.
    """
    truth, above = partition_entropy(KAPPA, 1, 39, 0.5), []
    for m in (4, 8, 16):
        runs = [bracket(FORTY, 0, m, np.log(KAPPA), 256, seed) for seed in range(16)]
        lower, upper = (np.array([getattr(run, side) for run in runs]) for side in ("lower", "upper"))
        error = lower.std(axis=0, ddof=1) / np.sqrt(16)
        assert np.all(np.abs(lower.mean(axis=0) - partition_entropy(KAPPA, 1, m, 0.5)) <= 4.0 * error + 1e-5)
        assert np.all(truth <= upper.mean(axis=0) + 3.0 * upper.std(axis=0, ddof=1) / np.sqrt(16))
        above.append(upper.mean(axis=0) - truth)
    assert np.all(np.diff(above, axis=0)[:, :4] < 0.0)


def test_truth_lies_between_the_bounds_of_classes_that_are_not_alike():
    """Twenty points in a plane, three of them against the others, by quadrature; 20 seeds each, four levels.

    In the mean of the seeds within 3 errors on either side (24 values, at most 3% by chance). Within 2 standard errors
    of a run, on both sides and at all levels: 86% of 600 other runs, 78% where c has one near rival, which is drawn 8
    times of 19. Fewer than 43 of 60 come once in a thousand.
    """
    levels, inside = np.log([1.0, 3.0, 10.0, 40.0]), []
    for first in (0, 4, 11):
        truth = against_others(SCATTERED, first, levels)
        runs = [bracket(SCATTERED, first, 8, levels, 128, seed) for seed in range(20)]
        lower, lower_se, upper, upper_se = (
            np.array([getattr(run, name) for run in runs]) for name in ("lower", "lower_se", "upper", "upper_se")
        )
        assert np.all(lower.mean(axis=0) <= truth + 3.0 * lower.std(axis=0, ddof=1) / np.sqrt(20))
        assert np.all(upper.mean(axis=0) >= truth - 3.0 * upper.std(axis=0, ddof=1) / np.sqrt(20))
        inside += list(np.all((lower - 2.0 * lower_se <= truth) & (truth <= upper + 2.0 * upper_se), axis=1))
    assert np.sum(inside) >= 43


def test_standard_errors_are_the_spread_over_seeds():
    """60 seeds, classes that are not alike: deviation over root mean square error, 0.9 to 1.0 and 0.09 by chance."""
    levels = np.log([2.0, 10.0])
    runs = [bracket(SCATTERED, 0, 8, levels, 128, seed) for seed in range(60)]
    for side in ("lower", "upper"):
        values, errors = (np.array([getattr(run, name) for run in runs]) for name in (side, side + "_se"))
        ratio = values.std(axis=0, ddof=1) / np.sqrt(np.mean(errors**2, axis=0))
        assert np.all((ratio > 0.6) & (ratio < 1.3)), (side, ratio)


def test_all_classes_are_the_entropy_itself():
    """Points in a plane, and Gaussians of unequal widths on a line in the true prior: 4 errors (1e-3 by chance)."""
    levels = np.log([1.0, 3.0, 10.0, 40.0])
    found = bracket(SCATTERED, 3, 19, levels, 2000, seed=1)
    np.testing.assert_array_equal(found.lower, found.upper)
    np.testing.assert_array_equal(found.lower_se, found.upper_se)
    assert np.all(np.abs(found.lower - against_others(SCATTERED, 3, levels)) <= 4.0 * found.lower_se)

    wide = isotropic_mixture([[-3.0], [0.0], [1.0], [4.0]], [0.5, 0.4, 1.0, 0.3])
    levels = np.linspace(-6.0, 4.0, 64)
    found = bracket(wide, 1, 3, levels, 1000, prior="true")
    assert found.prior == 0.25
    truth = wide.sides(partition(wide, [1], "others", "true")).entropy(levels)
    assert np.all(np.abs(found.lower - truth) <= 4.0 * found.lower_se + 0.012)  # the steps, as in test_entropy


def test_an_exact_null_branch_closes_the_bracket_from_above():
    """Three of 39 classes and the exact null branch: the truth, to 4 errors and 0.01 for the steps of its denoiser.

    A null branch of another mixture makes the bound larger.
    """
    levels = np.linspace(-4.0, np.log(64.0), 80)
    truth = partition_entropy(np.exp(levels), 1, 39, 0.5)
    found = bracket(FORTY, 0, 3, levels, 600, upper_from="null")
    assert found.upper_from == "null" and found.evaluations == 600 * 5 * 81
    assert np.all(np.abs(found.upper - truth) <= 4.0 * found.upper_se + 0.01)

    half = isotropic_mixture(np.eye(40)[:20] / np.sqrt(2.0), 0.0)
    wrong = FunctionDenoiser(
        lambda x, sigma, z: (half if z is None else FORTY)(x, sigma, z),
        shape=(40,),
        classes=FORTY.classes,
        has_null=True,
        dtype=torch.float64,
    )
    other = bracket(wrong, 0, 3, levels, 600, upper_from="null")
    np.testing.assert_array_equal(other.lower, found.lower)
    assert np.all(other.upper >= truth - 3.0 * other.upper_se)
    assert np.max(other.upper - found.upper) > 0.05


def test_a_rare_twin_does_not_break_the_upper_bound():
    """c has a twin among 39 that a draw of 4 mostly misses: no draw is surprised by more than log 1001 a path."""
    means = np.eye(40) / np.sqrt(2.0)
    means[1] = 0.9 * means[0] + 0.1 * means[1]
    twins, levels = isotropic_mixture(means, 0.0), np.log([100.0, 1000.0])
    runs = [bracket(twins, 0, [k, 10, 20, 30], levels, 64, seed=k) for k in range(1, 5)]
    # The twin is left out once in four, and stands for 36 of 39 then; else the allowance leaves no more than log 2.
    assert max(run.upper.max() for run in runs) < 0.5 * np.log(1001.0) * 36.0 / 39.0 / 4.0 + 0.75 * np.log(2.0)
    assert runs[0].upper_se.min() > 0.1 > max(run.upper_se.max() for run in runs[1:])


def test_draw_and_cost():
    """The seed draws; a named subset is used as it stands; evaluations are counted as they are made."""
    calls = []

    def counted(x, sigma, z):
        calls.append(len(x))
        return SCATTERED(x, sigma, z)

    model = FunctionDenoiser(counted, shape=(2,), classes=SCATTERED.classes, dtype=torch.float64)
    before = len(calls)
    found = bracket(model, 7, 5, [-1.0, 0.0, 2.0], 60, seed=3)
    assert found.evaluations == 60 * 6 * 4 <= sum(calls[before:]) <= 60 * 6 * 4 + 6 * 3 * 64  # and a few trials
    assert len(set(found.classes)) == 5 and 7 not in found.classes and found.others == 19
    again = bracket(SCATTERED, 7, found.classes, [-1.0, 0.0, 2.0], 60, seed=3)
    np.testing.assert_array_equal(again.upper, found.upper)
    assert {bracket(SCATTERED, 7, 3, [0.0, 1.0], 12, seed).classes for seed in range(8)} != {found.classes[:3]}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"classes": 2}, "a whole number of at least 3 and at most 19"),
        ({"classes": 20}, "a whole number of at least 3 and at most 19"),
        ({"classes": [1, 2]}, "at least 3 other classes, none twice"),
        ({"classes": [1, 2, 2]}, "at least 3 other classes, none twice"),
        ({"classes": [0, 1, 2]}, "at least 3 other classes, none twice"),
        ({"classes": [1, 2, 20]}, "at least 3 other classes, none twice"),
        ({"first": 20}, "a whole number of at least 0 and at most 19"),
        ({"first": -1}, "a whole number of at least 0 and at most 19"),
        ({"samples": 11}, "a whole number of at least 12"),
        ({"seed": -1}, "a whole number"),
        ({"prior": 1.0}, "a probability between 0 and 1"),
        ({"upper_from": "all"}, '"subset" or "null"'),
    ],
)
def test_bad_input_is_named(changed, expected):
    with pytest.raises(InputError, match=expected):
        bracket(SCATTERED, **{"first": 0, "classes": 3, "log_snr": [0.0, 1.0], "samples": 12, **changed})


def test_unequal_weights_are_refused():
    """Of c too the weight may differ, but p must be the mean of the p_S."""
    uneven = isotropic_mixture(np.eye(5), 0.0, [0.2, 0.3, 0.2, 0.2, 0.1])
    with pytest.raises(InputError, match="equal weights of the classes of which a subset is drawn"):
        bracket(uneven, 0, 3, [0.0, 1.0], 12)
    own = isotropic_mixture(np.eye(5), 0.0, [0.4, 0.15, 0.15, 0.15, 0.15])
    assert bracket(own, 0, 3, [0.0, 1.0], 12, prior="true").prior == pytest.approx(0.4)


def test_null_check_is_zero_for_the_mixture_and_quadrature_for_another():
    """Two points: an exact null branch cannot be told from them; a point between them is, at the rate of quadrature."""
    pair, levels = isotropic_mixture([[-1.0], [1.0]], 0.0), np.linspace(-5.0, 2.0, 100)
    exact = null_inconsistency(pair, levels, 1000)
    assert np.all(np.abs(exact.posterior - 0.5) <= 4.0 * exact.posterior_se + 0.005)  # the steps: 0.005 at 100 levels
    assert np.all(np.abs(exact.shortfall) <= 4.0 * exact.shortfall_se + 0.02)
    assert exact.evaluations == 1000 * 3 * 101 and exact.classes == (0, 1)

    between = FunctionDenoiser(
        lambda x, sigma, z: torch.zeros_like(x) if z is None else pair(x, sigma, z),
        shape=(1,),
        classes=pair.classes,
        has_null=True,
        dtype=torch.float64,
    )
    found = null_inconsistency(between, levels[::9], 2000)
    x = np.linspace(-10.0, 10.0, 4001)[:, None]
    sigma = np.exp(-0.5 * found.log_snr)
    # In units of the noise: the null branch at 0, the classes at 1 / sigma on either side.
    null, classes = norm.pdf(x), 0.5 * (norm.pdf(x - 1.0 / sigma) + norm.pdf(x + 1.0 / sigma))
    share = null / (null + classes)
    step = x[1, 0] - x[0, 0]
    assert np.all(np.abs(found.posterior - step * (null * share).sum(axis=0)) <= 4.0 * found.posterior_se)
    expected = step * (null * np.log(2.0 * share)).sum(axis=0)
    assert np.all(np.abs(found.shortfall - expected) <= 4.0 * found.shortfall_se)
    assert found.posterior[-1] > 0.8


def test_null_check_of_a_subset_is_larger():
    """Convexity: the mean over all draws of three of ten is above that of the ten, and the exact one is 1/2."""
    ten = isotropic_mixture(np.eye(10), 0.0)
    drawn = [null_inconsistency(ten, np.linspace(-4.0, 3.0, 40), 60, seed, classes=3).posterior for seed in range(8)]
    assert np.mean(drawn, axis=0)[-1] > 0.7
    with pytest.raises(InputError, match="a model with a null class"):
        null_inconsistency(FunctionDenoiser(ten, (10,), ten.classes, dtype=torch.float64), [0.0, 1.0], 10)


def test_results_are_frozen():
    found = bracket(SCATTERED, 0, 3, [0.0, 1.0], 12)
    with pytest.raises(AttributeError):
        found.lower = found.upper
    assert replace(found, seed=1).seed == 1
