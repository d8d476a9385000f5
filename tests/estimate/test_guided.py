"""Profiles on guided paths against the exact law of the log-odds there, and against none where nothing is guided.

Two truths: the chapter on guidance for two points, and, for any mixture on a line, the backward equation of the guided
process in z = y / sqrt(snr), whose noise is one per unit of log-snr, by Crank and Nicolson.
"""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import solve_banded
from scipy.special import expit, logsumexp

import companion
from companion.denoiser import FunctionDenoiser
from companion.entropy import NULL
from companion.errors import InputError
from companion.estimate.measure import gather, integral, measure_block
from companion.estimate.paths import Paths, trajectories
from companion.estimate.plan import DEFAULT, PUBLISHED, Data
from companion.estimate.result import Profile
from companion.estimate.run import Run
from companion.guidance import Guidance
from derivations.guidance.half_levels import cross_entropy, half_level, posterior_entropy
from derivations.guidance.many_classes import cross_entropy_of_paths

PAIR = companion.isotropic_mixture([[-1.0], [1.0]], 0.0)  # kappa = 4 snr
MEANS, WIDTHS = np.array([-1.5, 0.0, 1.2]), np.array([0.3, 0.6, 0.2])
THREE = companion.full_mixture(MEANS[:, None], WIDTHS[:, None, None] ** 2)
UNEQUAL = companion.full_mixture([[-0.5], [1.0]], [[[0.16]], [[1.0]]])


def _exact(model, sides, weight, interval, end):
    """Cross entropy and posterior entropy at one level, to about 2e-4: steps of 0.02 in log-snr and 0.05 in z."""
    mean, variance = model.means.flatten().numpy()[:, None], model.deviations.flatten().numpy()[:, None] ** 2
    z = np.arange(-8.0 - 3.5 * np.exp(0.5 * end), 8.0 + 3.5 * np.exp(0.5 * end), 0.05)
    edges = [-9.0, *(edge for edge in interval if -9.0 < edge < end), end]
    levels = np.concatenate([np.linspace(a, b, 2 + int((b - a) / 0.02)) for a, b in pairwise(edges)])

    def at(level):
        spread = variance + np.exp(-level)
        x = z * np.exp(-0.5 * level)
        density = -0.5 * (x - mean) ** 2 / spread - 0.5 * np.log(spread)
        return density, mean + variance / spread * (x - mean)

    first, second = (logsumexp(at(end)[0][side], axis=0) - np.log(len(side)) for side in sides)
    odds, total = first - second, np.zeros(2)
    for sign, side in zip((1.0, -1.0), sides, strict=True):
        for own in side:
            u = np.stack([np.logaddexp(0.0, -sign * odds), np.logaddexp(0.0, -odds) + odds * expit(-odds)], axis=1)
            for before, after in list(pairwise(levels))[::-1]:
                middle, step = 0.5 * (before + after), after - before
                density, d = at(middle)
                null = (np.exp(density - logsumexp(density, axis=0)) * d).sum(axis=0)
                w = weight if interval[0] <= middle < interval[1] else 1.0
                drift = np.exp(0.5 * middle) * (null + w * (d[own] - null)) - 0.5 * z
                up, down = (0.5 / 0.05**2 + s * drift / 0.1 for s in (1.0, -1.0))
                up[[0, -1]] = down[[0, -1]] = 0.0  # the ends stay as they are
                move = np.zeros((3, len(z)))
                move[0, 1:], move[1], move[2, :-1] = up[:-1], -up - down, down[1:]
                moved = move[1][:, None] * u
                moved[:-1] += up[:-1, None] * u[1:]
                moved[1:] += down[1:, None] * u[:-1]
                matrix = -0.5 * step * move
                matrix[1] += 1.0
                u = solve_banded((1, 1), matrix, u + 0.5 * step * moved)
            start = np.exp(-0.5 * z**2)
            total += 0.5 / len(side) * (start @ u) / start.sum()
    return total


@pytest.mark.parametrize("weight", [2.0, 4.0, 7.0])
def test_half_of_the_cross_entropy_is_gone_where_the_exact_law_says(weight):
    """Within 1%: the standard error of 1500 paths is about 0.3%, that of finite steps below 0.1%. The posterior's own
    entropy is controlled less: within 4 of its standard errors, and both curves at three levels."""
    found = companion.profile(companion.guided(PAIR, weight), "0|1", samples=1500, block=750, levels=64, seed=1)
    assert abs(4.0 * np.exp(found.half_entropy.value) / half_level(weight) - 1.0) < 0.01
    kappa, known = 4.0 * np.exp(found.log_snr), np.searchsorted(found.log_snr, [-2.0, -1.0, 0.0])
    for curve, error, exact in (
        (found.entropy, found.entropy_se, cross_entropy),
        (found.posterior_entropy, found.posterior_entropy_se, posterior_entropy),
    ):
        gap = curve[known] - exact(kappa[known], weight)
        assert np.all(np.abs(gap) < 4.0 * error[known] + 5e-4)
    assert (found.quantity, found.paths, found.guidance) == (
        "cross entropy",
        "guided",
        {"weight": weight, "interval": None},
    )


@pytest.mark.parametrize("weight", [1.5, 4.0])
def test_at_the_start_the_cross_entropy_falls_by_the_known_slope(weight):
    """(2w - 1) / 8 a unit of kappa, at kappa 2e-4, to 1%: a hundred standard errors of the controlled sums are less."""
    found = companion.profile(companion.guided(PAIR, weight), "0|1", samples=300, levels=32)
    kappa, slope = 4.0 * np.exp(found.log_snr[0]), (2.0 * weight - 1.0) / 8.0
    assert found.production[0] / kappa == pytest.approx(slope, rel=0.01)
    assert (np.log(2.0) - found.entropy[0]) / kappa == pytest.approx(slope, rel=0.01)


@pytest.mark.parametrize(
    ("model", "asked", "sides", "weight", "interval"),
    [
        (UNEQUAL, "0|1", [[0], [1]], 3.0, None),
        (UNEQUAL, "0|1", [[0], [1]], 0.5, None),
        (UNEQUAL, "0|1", [[0], [1]], 4.0, (-2.0, 0.5)),
        (THREE, "0|1,2", [[0], [1, 2]], 3.0, (-1.5, 6.0)),
    ],
)
def test_curves_are_those_of_the_backward_equation(model, asked, sides, weight, interval):
    """Four standard errors, and what 96 levels leave of the steps, of second order: with 16 levels it is up to 0.03."""
    found = companion.profile(companion.guided(model, weight, interval), asked, samples=2000, block=1000, levels=96)
    for level in (-1.0, 0.8):
        exact = _exact(model, sides, weight, interval or (-99.0, 99.0), level)
        for curve, error, truth in (
            (found.entropy, found.entropy_se, exact[0]),
            (found.posterior_entropy, found.posterior_entropy_se, exact[1]),
        ):
            at, se = (np.interp(level, found.log_snr, each) for each in (curve, error))
            assert abs(at - truth) < 4.0 * se + 1.5e-3
    assert found.certificate["agreement"].verdict != "fails"
    assert [found.certificate[name].verdict for name in ("null branch", "calibration")] == ["not measured"] * 2


def test_of_ten_classes_each_path_is_guided_towards_its_own():
    """At the true prior the paths of class 0 are as surprised at "0|others" as paths that the chapter draws otherwise,
    within 4 standard errors of both and 2e-3 for the steps of either. Ten points one apart: kappa is the snr."""
    model, grid = companion.isotropic_mixture(np.sqrt(0.5) * np.eye(10), 0.0), np.linspace(-7.0, 0.7, 40)
    run = Run(companion.guided(model, 2.0), "0|others", log_snr=grid, samples=1500, block=1500, prior="true")
    (measured,) = gather(run.plan, [measure_block(run.model, run.plan, 0)])
    own, kappa = measured.entropy_of_path[measured.stratum == 0][:, -1], np.exp(0.7)
    drawn = cross_entropy_of_paths(np.linspace(0.0, kappa, 61)[1:], 2.0, 10, 10_000, np.random.default_rng(0))
    error = np.hypot(own.std() / np.sqrt(len(own)), drawn.standard_error[-1])
    assert abs(own.mean() - drawn.cross_entropy[-1]) < 4.0 * error + 2e-3


def test_the_error_of_the_steps_falls_by_four_where_their_number_doubles_and_edges_cost_no_more():
    """At the last level, with w = 1/2 everywhere or in an interval whose ends are levels. Errors are 0.029 and 0.0075
    there, standard errors of 3000 paths below 0.004 and 0.0025; the rule from one step size has three times as much."""
    errors = []
    for count in (17, 33):
        asked = {"log_snr": np.linspace(-8.0, 4.0, count), "samples": 3000, "block": 1500}
        found = companion.profile(companion.guided(UNEQUAL, 0.5), "0|1", **asked)
        at = int(np.argmin(np.abs(found.log_snr - 1.75)))
        errors.append(found.entropy[at] - _exact(UNEQUAL, [[0], [1]], 0.5, (-99.0, 99.0), found.log_snr[at])[0])
    assert abs(errors[1]) < 0.4 * abs(errors[0]) + 0.004
    rule = companion.guided(UNEQUAL, 4.0, (-2.0, 1.0))
    found = companion.profile(rule, "0|1", log_snr=np.linspace(-8.0, 1.0, 25), samples=2000, block=1000)
    for at in (16, 20):  # at the edge, and an intermediate level: an average over the jump would err by 0.03
        truth = _exact(UNEQUAL, [[0], [1]], 4.0, (-2.0, 1.0), found.log_snr[at])[0]
        assert abs(found.entropy[at] - truth) < 4.0 * found.entropy_se[at] + 2e-3


def test_production_is_the_fall_of_the_curve_and_may_be_negative():
    """Guided away from its class a path is ever more surprising: w = -1, where the exact slope at kappa = 0 is 3/8."""
    found = companion.profile(companion.guided(PAIR, -1.0), "0|1", log_snr=np.linspace(-9.0, 0.5, 60), samples=400)
    assert found.production.max() < 0.0 and found.entropy[-1] > 2.0 * np.log(2.0)
    assert found.band()[1][-1] > found.entropy[-1] and found.half_entropy.value is None
    assert found.certificate["agreement"].value < 0.01


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (companion.guided(PAIR, 1.0), {}),
        (companion.guided(PAIR, 5.0, (-0.2, 0.1)), {"log_snr": np.arange(-6.0, 5.0) - 0.5}),
        (companion.guided(PAIR, 5.0, (-0.2, 0.1)), {"log_snr": np.arange(-6.0, 5.0) - 0.5, "method": PUBLISHED}),
        (companion.guided(PAIR, ([-1.0, 1.0], [1.0, 9.0]), (-6.0, -1.0)), {"log_snr": np.arange(-6.0, 5.0)}),
    ],
)
def test_where_no_level_is_guided_all_numbers_are_those_without(rule, options):
    found, plain = (
        replace(companion.profile(model, "0|1", samples=80, levels=20, seed=3, **options), seconds=0.0)
        for model in (rule, PAIR)
    )
    assert found.as_dict() == plain.as_dict() and found.quantity == "class entropy"


def test_the_published_rule_is_scored_on_guided_paths_too():
    """No control and no second order: within 4 standard errors and the 0.02 that 64 EDM levels cost two points."""
    levels = np.linspace(-8.0, 3.0, 60)
    found = companion.profile(companion.guided(PAIR, 4.0), "0|1", log_snr=levels, method=PUBLISHED, samples=1000)
    gap = found.entropy[30:45:5] - cross_entropy(4.0 * np.exp(levels[30:45:5]), 4.0)
    assert np.all(np.abs(gap) < 4.0 * found.entropy_se[30:45:5] + 0.02)


def _counting(asked):
    def function(x, sigma, z):
        asked.append((float(-2.0 * sigma[0].log()), z is None, len(x)))
        return PAIR(x, sigma, z)

    return FunctionDenoiser(function, (1,), PAIR.classes, has_null=True, dtype=torch.float64, digest="pair")


@pytest.mark.parametrize(
    ("asked", "interval", "nulls"),
    [
        ("0|1", (-2.0, 2.0), [-2.0, 0.0]),
        (
            "0|1",
            None,
            [-4.0, -4.0, -2.0, 0.0, 2.0],
        ),  # the start from nothing is guided as the first level
        ("0|null", (-2.0, 2.0), [-4.0, -4.0, -2.0, 0.0, 2.0]),
    ],
)
def test_the_null_is_asked_once_more_where_a_level_is_guided(asked, interval, nulls):
    calls, levels = [], np.array([-4.0, -2.0, 0.0, 2.0])
    run = Run(companion.guided(_counting(calls), 3.0, interval), asked, log_snr=levels, samples=10)
    measure_block(run.model, run.plan, 0)
    assert [round(level, 6) for level, null, _ in calls if null] == nulls
    assert sum(count for *_, count in calls) == run.plan.evaluations == run.evaluations


def test_the_drift_is_not_predicted_across_an_edge():
    """dy - dB is u dsnr at the two levels where guidance sets in and ends, and E dsnr elsewhere, to rounding; y from
    the prediction of class 0, which is affine in x, and dB from the same paths without guidance."""
    paths = Paths((0, 1, NULL), [0, 1, 1], np.linspace(-3.0, 3.0, 9), 3, from_nothing=False, predicted=True)
    rule = Guidance(np.zeros(1), np.full(1, 4.0), (-0.75, 1.5))
    moved = []
    for some, weight in ((paths, np.ones(9)), (replace(paths, guidance=rule), rule.weight(paths.log_snr))):
        run = trajectories(UNEQUAL, some)
        d, snr, step = run.predictions[..., 0], run.snr[:, None], run.dsnr[:, None]
        y = snr * (-0.5 + (d[:, 0] + 0.5) * (0.16 + 1.0 / snr) / 0.16)
        u = d[:, 2] + torch.from_numpy(weight)[:, None] * (d[:, [0, 1, 1], [0, 1, 2]] - d[:, 2])
        share = 0.5 * step[:-2] / step[1:-1]
        if some is not paths:
            share[[each - 1 for each in rule.jumps(paths.log_snr)]] = 0.0
        drift = torch.cat([u[:1], u[1:-1] + share * (u[1:-1] - u[:-2])])
        moved.append(y.diff(dim=0) - step[:-1] * drift)
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-9, atol=1e-9)


def test_the_production_is_integrated_on_either_side_of_its_jumps():
    """A parabola with two jumps, to rounding but for the two steps that lead to them, which know their left ends."""
    levels = np.concatenate([np.linspace(-4.0, -2.01, 9), np.linspace(-2.0, 0.99, 12), np.linspace(1.0, 3.0, 7)])
    plan = Run(companion.guided(PAIR, 3.0, (-2.0, 1.0)), "0|1", log_snr=levels, samples=4).plan
    values = (levels**2 + 5.0 * ((levels >= -2.0) & (levels < 1.0)))[None]
    assert integral(values, plan)[0] == pytest.approx((3.0**3 + 4.0**3) / 3.0 + 15.0, abs=1e-3)
    assert plan.jumps == [9, 21]


def test_paths_of_the_null_branch_are_not_guided_and_the_floor_is_not_judged_beside_it():
    found = companion.profile(companion.guided(PAIR, 3.0), "0|null", samples=100, levels=20)
    assert found.certificate["floor"].verdict == "not measured"
    assert companion.profile(companion.guided(PAIR, 3.0), "0|all", samples=100, levels=20).certificate["floor"].passed


def test_a_folder_goes_on_with_its_own_rule_to_the_bit_and_refuses_another(tmp_path):
    rule = companion.guided(_counting([]), 3.0, (-2.0, 1.0))
    asked = {"samples": 40, "levels": 12, "block": 20, "seed": 4}
    whole = companion.profile(rule, "0|1", **asked)
    companion.profile(rule, "0|1", tmp_path / "run", **asked)
    (tmp_path / "run" / "profile.json").unlink()
    next((tmp_path / "run" / "blocks").glob("0-*-00000020-*")).unlink()
    again = companion.profile(rule, "0|1", tmp_path / "run", **asked)
    assert replace(again, seconds=0.0).as_dict() == replace(whole, seconds=0.0).as_dict()
    assert Profile.load(tmp_path / "run" / "profile.json").as_dict() == again.as_dict()
    for other, said in (
        (companion.guided(_counting([]), 4.0, (-2.0, 1.0)), "guidance.weight is 4.0, expected 3.0"),
        (companion.guided(_counting([]), 3.0), "guidance.interval is None"),
        (_counting([]), "guidance is None, expected {'weight': 3.0, 'interval': [-2.0, 1.0]}"),
    ):
        with pytest.raises(InputError) as raised:
            companion.profile(other, "0|1", tmp_path / "run", **asked)
        assert said in str(raised.value) and "name another folder" in str(raised.value)


def test_guided_paths_take_no_data():
    data = Data(torch.zeros(8, 1, dtype=torch.float64), np.array([0, 1] * 4))
    with pytest.raises(InputError, match="data is given, expected none for a guided model"):
        companion.profile(companion.guided(PAIR, 2.0), "0|1", samples=4, data=data)


def test_a_file_without_guidance_from_before_is_read(tmp_path):
    found = companion.profile(PAIR, "0|1", samples=20, levels=8)
    old = found.as_dict() | {"format": "companion profile 2"}
    for name in ("quantity", "guidance", "posterior_entropy", "posterior_entropy_se"):
        del old[name]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert Profile.load(tmp_path / "old.json").as_dict() == found.as_dict()
    (tmp_path / "new.json").write_text(json.dumps(found.as_dict() | {"format": "companion profile 3", "guidance": {}}))
    with pytest.raises(InputError, match="a whole file of the format 'companion profile 3'"):
        Profile.load(tmp_path / "new.json")


def test_a_guided_profile_says_its_rule_and_its_quantity_wherever_it_is_shown():
    rule = companion.guided(PAIR, ([-3.0, 1.0], [2.0, 4.0]), (-3.0, 1.0))
    some = companion.profile(companion.guided(PAIR, 3.0, (-2.5, 0.5)), "0|1", samples=60, levels=20)
    other = companion.profile(rule, "0|1", samples=60, levels=20)
    assert some.asked == "0|1, guided by 3 at -2.5 to 0.5" and "a table of weights at -3 to 1" in other.asked
    assert some.summary().startswith("0|1, guided by 3 at -2.5 to 0.5 in ") and "\n  cross entropy " in some.summary()
    left, _ = companion.plot(some)
    said = " ".join(left.get_title(loc="left").split())
    assert left.get_ylabel() == "cross entropy (nats)" and "cross entropy halved at" in said
    plain = companion.profile(PAIR, "0|1", samples=60, levels=20)
    left, _ = companion.plot(plain, some)
    assert left.get_ylabel() == "class entropy and cross entropy (nats)"
    assert {-2.5, 0.5} <= set(some.log_snr) and len(some.log_snr) == 20


def test_one_of_the_two_controls_is_left_and_takes_no_mean_with_it():
    """Each step's `foreseen` has mean zero on guided paths: 2000 of them, within 4.5 standard errors at every level."""
    plan = Run(companion.guided(UNEQUAL, 3.0), "0|1", log_snr=np.linspace(-6.0, 0.0, 20), samples=2000, block=2000).plan
    (record,) = measure_block(UNEQUAL, plan, 0)
    (measured,) = gather(plan, [[record]])
    steps = record.foreseen[:, 1:]
    assert np.all(np.abs(steps.mean(axis=0)) < 4.5 * steps.std(axis=0) / np.sqrt(2000.0)) and not record.drawn.any()
    bare = replace(DEFAULT, control=False)
    (alone,) = gather(replace(plan, method=bare), [[record]])
    with_, without = (each.entropy_of_path.var(axis=0) for each in (measured, alone))
    assert np.all(with_ < 0.3 * without)
