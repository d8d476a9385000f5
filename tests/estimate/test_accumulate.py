"""What a block records, against its definitions: sums over branches and integrals over a normal number, one by one."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import roots_hermite

from companion.entropy import Partition, partition
from companion.estimate.measure import measure_block
from companion.estimate.paths import Paths, by_levels
from companion.estimate.plan import DEFAULT, PUBLISHED, Plan
from companion.exact.mixtures import isotropic_mixture

TWO = isotropic_mixture([[-1.0, 0.0], [0.8, 0.5]], [0.5, 1.0], [0.3, 0.7])
FOUR = isotropic_mixture([[-1.0, 0.0], [1.0, 0.5], [0.0, 2.0], [0.3, -1.0]], [0.5, 1.0, 0.2, 0.7], [0.1, 0.2, 0.3, 0.4])
LEVELS = np.array([-2.0, -0.5, 0.3, 1.0, 2.5])
MANY = isotropic_mixture(np.random.default_rng(0).normal(size=(18, 2)), 0.3)
HERMITE = {count: roots_hermite(count) for count in (5, 32)}


def expected(function, mean, count):
    """E f(t) for t ~ N(mean, 1), by Gauss's rule of so many nodes."""
    nodes, weights = HERMITE[count]
    return function(mean + np.sqrt(2.0) * nodes) @ weights / np.sqrt(np.pi)


def h(odds):
    p = 1.0 / (1.0 + np.exp(-np.asarray(odds)))
    return p * np.logaddexp(0.0, -odds) + (1.0 - p) * np.logaddexp(0.0, odds)


def side(weights, likelihood):
    """log sum_z w_z p_z."""
    return np.log(sum(weight * np.exp(likelihood[branch]) for branch, weight in weights.items()))


def log_odds(asked, likelihood):
    prior = np.log(asked.prior / (1.0 - asked.prior))
    return side(asked.first, likelihood) - side(asked.second, likelihood) + prior


def mean_inside(weights, likelihood, values):
    """The posterior mean inside a side of what its branches say."""
    share = {branch: weight * np.exp(likelihood[branch]) for branch, weight in weights.items()}
    return sum(share[branch] * values[branch] for branch in share) / sum(share.values())


def by_definition(model, plan, asked, of_path):
    """All values of one path (levels,) by name, from its levels alone. The log-likelihoods are those of the run."""
    owner = plan.branches[plan.owner[of_path]]
    found = {name: [] for name in ("entropy", "production", "rough_production", "two_steps", "log_odds")}
    steps = {"foreseen": [0.0], "drawn": [0.0]}
    for level in by_levels(model, Paths.of_block(plan, 0), together=1):
        names = ("held", "averaged", "coarse")
        held, averaged, coarse = ({b: float(getattr(level, n)[0, of_path, k]) for k, b in order(plan)} for n in names)
        predictions = {b: level.predictions[0, k, of_path].numpy() for k, b in order(plan)}
        likelihood = averaged if plan.method.averaged else held
        lag = {branch: coarse[branch] - averaged[branch] for branch in held}
        odds = log_odds(asked, likelihood)
        twice = log_odds(asked, {branch: likelihood[branch] + lag[branch] for branch in held})
        apart = mean_inside(asked.first, likelihood, predictions) - mean_inside(asked.second, likelihood, predictions)
        rate = 0.5 * np.exp(level.log_snr.item()) * np.sum(apart**2)
        p, q = (1.0 / (1.0 + np.exp(-each)) for each in (odds, twice))
        if plan.method.extrapolated:
            found["entropy"].append(2.0 * h(odds) - h(twice))
            found["production"].append(rate * (2.0 * p * (1.0 - p) - q * (1.0 - q)))
        else:
            found["entropy"].append(h(odds))
            found["production"].append(rate * p * (1.0 - p))
        found["rough_production"].append(rate * p * (1.0 - p))
        found["two_steps"].append(h(odds) - h(twice))
        found["log_odds"].append(odds)
        if level.dsnr.item() > 0.0:
            for name, added in zip(steps, step(asked, held, level, plan, of_path, owner), strict=True):
                steps[name].append(added)
    if plan.controlled:
        found |= steps
    return {name: np.array(values)[-len(plan.log_snr) :] for name, values in found.items()}


def order(plan):
    return list(enumerate(plan.branches))


def step(asked, held, level, plan, of_path, owner):
    """The additions to both controls: along the direction between the sides a branch z leads to N(m_z, 1), m_z counted
    from where the path's own branch leads, and the path went as far as its noise."""
    drifts, dsnr = {branch: level.step_gaps[0, of_path, k].numpy() for k, branch in order(plan)}, level.dsnr.item()
    apart = mean_inside(asked.first, held, drifts) - mean_inside(asked.second, held, drifts)
    direction = apart / np.linalg.norm(apart)
    m = {branch: np.sqrt(dsnr) * drifts[branch] @ direction for branch in drifts}
    # noise holds the products of every drift with dB: in two dimensions any two that are not parallel have dB itself.
    rows = np.stack([drifts[branch] for branch in drifts if branch != owner])
    noise = level.noise[0, of_path].numpy()[[k for k, branch in order(plan) if branch != owner]]
    went = np.linalg.lstsq(rows, noise, rcond=None)[0] @ direction / np.sqrt(dsnr)

    def seen(at):
        return h(log_odds(asked, {b: held[b] + m[b] * at - 0.5 * m[b] ** 2 for b in held}))

    def roughly(at):
        """Of many branches: as if the direction were held, and each side were where its mean is."""
        first, second = (mean_inside(weights, held, m) for weights in (asked.first, asked.second))
        return h(log_odds(asked, held) + (first - second) * (at - 0.5 * (first + second)))

    likelihood = {branch: held[branch] for branch in asked.branches}
    joint = {b: asked.prior * asked.first.get(b, 0.0) + (1.0 - asked.prior) * asked.second.get(b, 0.0) for b in held}
    posterior = {b: joint[b] * np.exp(likelihood[b]) for b in likelihood}
    total = sum(posterior.values())
    of_branch = {b: expected(seen if len(likelihood) <= 16 else roughly, m[b], 5) for b in likelihood}
    foreseen = seen(went) - expected(seen, 0.0, 32)
    return foreseen, of_branch[owner] - sum(posterior[b] / total * of_branch[b] for b in likelihood)


ASKED = {
    "two": (TWO, [partition(TWO, [0], [1], 0.2)]),
    "two, exchanged": (TWO, [partition(TWO, [1], [0], 0.2)]),
    "of two against all": (TWO, [partition(TWO, [0], "all")]),  # both branches are on the second side
    "all against of two": (TWO, [Partition("all|1", {0: 0.4, 1: 0.6}, {1: 1.0}, 0.3)]),
    "against the null branch": (TWO, [partition(TWO, [1], "null")]),
    "three": (FOUR, [partition(FOUR, [3], [0, 1])]),
    "groups": (FOUR, [partition(FOUR, [0, 2], [3, 1], "true")]),
    "many": (MANY, [partition(MANY, range(0, 18, 2), range(1, 18, 2))]),
    "some of many": (FOUR, [partition(FOUR, [3], [1]), partition(FOUR, [0], "others"), partition(FOUR, [2], "all")]),
}


@pytest.mark.parametrize("method", [DEFAULT, replace(DEFAULT, extrapolated=False), PUBLISHED], ids=["d", "a", "p"])
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_values_are_those_of_their_definitions(asked, method):
    """To 1e-9: sums and integrals over the same nodes, of numbers of order one."""
    model, partitions = asked
    plan = Plan(tuple(partitions), LEVELS, 16, 3, method)
    for each, record in zip(partitions, measure_block(model, plan, 0), strict=True):
        paths = [n for n in range(plan.samples) if plan.branches[plan.owner[n]] in each.branches]
        strata = [each.branches.index(plan.branches[plan.owner[n]]) for n in paths]
        assert record.stratum.tolist() == ([n % 2 for n in paths] if plan.by_side else strata)
        for row in range(0, len(paths), 3):
            defined = by_definition(model, plan, each, paths[row])
            assert record.path.tolist() == paths and record.foreseen.shape[1] == len(LEVELS) * plan.controlled
            for name, values in defined.items():
                np.testing.assert_allclose(getattr(record, name)[row], values, rtol=0.0, atol=1e-9, err_msg=name)


def test_against_all_of_two_classes_falls_to_the_floor():
    """The side is not the class: what is left when everything is known of the class is the floor, for two points that
    can be told apart at log-snr 5, kappa 594."""
    points = isotropic_mixture([[-1.0], [1.0]], 0.0, [0.3, 0.7])
    asked = partition(points, [0], "all")
    plan = Plan((asked,), np.linspace(-6.0, 5.0, 24), 40)
    (record,) = measure_block(points, plan, 0)
    left = plan.weights(asked).sum(axis=0) @ [record.entropy[record.stratum == k, -1].mean() for k in (0, 1)]
    # A path of class 1 is of the second side, one of class 0 is of the first with odds 0.5 to 0.15.
    assert left == pytest.approx(0.65 * h(np.log(0.5 / 0.15)), abs=1e-9)
    assert asked.floor == pytest.approx(left, abs=1e-9)
