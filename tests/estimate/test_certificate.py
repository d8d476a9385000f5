"""Every line of a certificate: it holds where it should, and fails on a case made to fail."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from companion import figures
from companion.denoiser import FunctionDenoiser
from companion.entropy import NULL, Partition, partition
from companion.errors import InputError
from companion.estimate.certificate import Certificate, Check, certify, judge, worst
from companion.estimate.confidence import simultaneous_factor
from companion.estimate.held_out import against_data, drawn_samples
from companion.estimate.measure import Measurement
from companion.estimate.plan import PUBLISHED, Data, Plan
from companion.estimate.result import Profile
from companion.estimate.run import profile, profiles
from companion.exact.mixtures import isotropic_mixture

PAIR = isotropic_mixture([[-2.0], [2.0]], 1.0)
ASKED = partition(PAIR, [0], [1])
UNEQUAL = isotropic_mixture([[-0.5], [0.5]], [0.5, 1.0])
THREE = isotropic_mixture([[-3.0], [0.0], [3.0]], 0.5)
GOOD = profile(PAIR, ASKED, samples=600)
NAMES = ["truncation", "discretisation", "agreement", "sampling", "null branch", "floor", "calibration"]


def changed(function, mixture=PAIR, has_null=False):
    return FunctionDenoiser(
        function, mixture.shape, mixture.classes, mixture.weights, has_null, dtype=torch.float64, name="changed"
    )


def scaled(factor):
    """Every prediction `factor` times what it should be: posterior means of no distribution."""
    return changed(lambda x, sigma, z: factor * PAIR(x, sigma, z))


def test_a_good_run_holds_in_every_line_that_it_measures():
    assert [check.name for check in GOOD.certificate.checks] == NAMES
    measured = [check.name for check in GOOD.certificate.checks if check.value is not None]
    assert measured == ["truncation", "discretisation", "agreement", "sampling", "floor"]
    assert all(GOOD.certificate[name].passed for name in measured), GOOD.certificate
    assert str(GOOD.certificate) == "5 of 5 checks hold"
    assert "certificate               5 of 5 checks hold" in GOOD.summary()


def test_truncation_fails_where_the_first_level_comes_too_late():
    late = profile(PAIR, ASKED, log_snr=np.linspace(0.0, 8.0, 64), samples=300)
    assert not late.certificate["truncation"].passed
    assert "truncation" in str(late.certificate)
    lost = np.log(2.0) - PAIR.entropy(np.array([-3.0]))[0]
    published = profile(PAIR, ASKED, log_snr=np.linspace(-3.0, 8.0, 64), samples=300, method=PUBLISHED).certificate[
        "truncation"
    ]
    assert not published.passed
    assert published.value > 0.9 * lost  # what a start at log-snr -3 with even odds leaves out


@pytest.mark.parametrize("mixture", [PAIR, UNEQUAL], ids=["equal", "unequal"])
def test_discretisation_fails_on_few_levels_and_tells_the_size_of_the_error(mixture):
    """The error of 8 levels with 2000 paths is within twice the value and four standard errors."""
    asked = partition(mixture, [0], [1])
    few = profile(mixture, asked, log_snr=np.linspace(-6.0, 6.0, 8), samples=2000)
    many = profile(mixture, asked, samples=600)
    assert not few.certificate["discretisation"].passed
    assert many.certificate["discretisation"].passed
    wrong = np.abs(few.entropy - mixture.entropy(few.log_snr)) - 4.0 * few.entropy_se
    assert np.max(wrong) < 2.0 * few.certificate["discretisation"].value
    assert many.certificate["discretisation"].value < 0.5 * few.certificate["discretisation"].value


def test_sampling_fails_with_few_paths_and_other_lines_cannot_tell():
    scarce = profile(PAIR, ASKED, samples=24).certificate
    assert not scarce["sampling"].passed
    assert {scarce[name].verdict for name in ("agreement", "floor")} == {"cannot tell"}
    assert "too few paths for" in str(scarce)


@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_denoisers_of_no_law_pass_on_their_own_paths_and_fail_on_their_own_samples(factor):
    """Own paths are drawn from the kernels that score them: there the fall is the production for any denoisers."""
    wrong, trust = scaled(factor), ["last level"]
    own = profile(wrong, ASKED, samples=600, trust=trust)
    assert own.certificate["agreement"].passed
    data = drawn_samples(wrong, ASKED, 600, 1)
    again = profile(wrong, ASKED, log_snr=own.log_snr, samples=600, seed=2, data=data, trust=trust).certificate
    assert not again["calibration"].passed
    assert not again["agreement"].passed


def test_exact_denoisers_pass_on_their_own_samples():
    again = profile(
        PAIR, ASKED, log_snr=GOOD.log_snr, samples=1200, seed=2, data=drawn_samples(PAIR, ASKED, 1200, 1)
    ).certificate
    assert not [check.name for check in again.checks if check.verdict == "fails"]


def test_agreement_is_seen_through_the_controls():
    """On own paths the noise of the difference is that of the controls: ten times smaller than without."""
    assert GOOD.certificate["agreement"].error < 0.004
    assert GOOD.certificate["agreement"].value < 0.01


def test_null_branch_is_read_where_the_run_has_all_classes():
    """The exact null branch is the mixture; one that exaggerates it is not, and ends below the floor."""

    def exaggerated(x, sigma, z):
        return THREE(x, sigma, z) * (1.15 if z is None else 1.0)

    verdicts = []
    for model in (THREE, changed(exaggerated, THREE, has_null=True)):
        asked = [partition(model, [0], "null"), partition(model, [0], "all"), partition(model, [0], [1])]
        of_null, of_all, pair = (
            each.certificate for each in profiles(model, asked, log_snr=np.linspace(-7, 4, 48), samples=600)
        )
        verdicts.append(of_null["null branch"].verdict)
        assert of_all["null branch"].verdict == pair["null branch"].verdict == "not measured"
        assert of_all["floor"].passed
    assert verdicts == ["holds", "fails"]
    alone = profile(THREE, partition(THREE, [0], "null"), log_snr=np.linspace(-8, 6, 32), samples=200).certificate[
        "null branch"
    ]
    assert (alone.verdict, alone.meaning) == ("not measured", 'measure "null|all" in the same run')


def test_the_hidden_question_changes_nothing_else():
    """profiles() asks null|all by itself where it costs no evaluation; the asked ones come back alone, to the bit."""
    asked = [partition(THREE, [k], "null") for k in range(3)]
    by_itself = profiles(THREE, asked, log_snr=np.linspace(-6, 4, 16), samples=200)
    explicit = profiles(THREE, [*asked, partition(THREE, [NULL], "all")], log_snr=np.linspace(-6, 4, 16), samples=200)
    assert [each.partition for each in by_itself] == ["0|null", "1|null", "2|null"]
    for one, other in zip(by_itself, explicit[:3], strict=True):
        np.testing.assert_array_equal(one.entropy, other.entropy)
        assert one.certificate == other.certificate
        assert one.evaluations == other.evaluations


def test_floor_fails_where_branches_contradict_each_other():
    """Points against a null branch that is pulled to the middle: its paths end elsewhere, and all becomes known."""
    points = isotropic_mixture([[-1.0], [0.0], [1.0]], 0.0)

    def shrunk(x, sigma, z):
        return points(x, sigma, z) * (0.8 if z is None else 1.0)

    model = changed(shrunk, points, has_null=True)
    found = profile(model, partition(model, [0], "null"), log_snr=np.linspace(-8, 8, 64), samples=400)
    assert not found.certificate["floor"].passed
    assert (
        profile(points, partition(points, [0], "all"), log_snr=np.linspace(-8, 8, 64), samples=400)
        .certificate["floor"]
        .passed
    )


def test_calibration_finds_a_model_that_is_consistent_and_too_sure():
    samples, labels = PAIR.sample(1400, torch.Generator().manual_seed(0))
    data = Data(samples, labels.numpy())
    far = isotropic_mixture([[-3.0], [3.0]], 1.0)
    certificates = {}
    for name, model in (("far", far), ("exact", PAIR)):
        own = profile(model, ASKED, log_snr=GOOD.log_snr, samples=600)
        certificates[name] = against_data(
            own, profile(model, ASKED, log_snr=GOOD.log_snr, samples=1200, seed=1, data=data)
        ).certificate
        assert [check.name for check in certificates[name].checks][-2:] == ["calibration", "own and real"]
    assert not certificates["far"]["calibration"].passed
    assert not certificates["far"]["own and real"].passed
    assert "fails" not in [certificates["exact"][name].verdict for name in ("calibration", "own and real")]
    assert certificates["far"]["agreement"].passed  # its own paths tell nothing


def by_hand(asked, levels, **values):
    """Six paths, three of each stratum, of weight a third and two thirds; what is not given is zero."""
    zero = {name: np.zeros((6, len(levels))) for name in ("entropy", "production", "rough_production", "two_steps")}
    given = {**zero, "imbalance": np.zeros((6, 1)), "log_odds": np.zeros((6, len(levels))), **values}
    of_path = {name + ("" if name == "log_odds" else "_of_path"): value for name, value in given.items()}
    return Measurement(
        asked, levels, stratum=np.array([0, 0, 0, 1, 1, 1]), weights=np.array([1.0, 2.0]) / 3.0, **of_path
    )


# Mean 0.02 and variance 3e-4 in the first stratum, mean -0.08 and 48e-4 in the second: the means of 1/3 and 2/3 of them
# add to -0.14 / 3, with a variance of 3e-4 / 3 / 9 + 48e-4 / 3 * 4 / 9.
SIX = np.array([0.00, 0.03, 0.03, 0.00, -0.12, -0.12])[:, None]
MEAN, ERROR = -0.14 / 3.0, np.sqrt((3e-4 + 4.0 * 48e-4) / 27.0)
EVEN = Partition("0|1", {0: 1.0}, {1: 1.0}, 1.0 / 3.0)
THREE_LEVELS = np.array([0.0, 1.0, 3.0])


def certified(measured, beside=(), truncation=0.0, half_width=0.0):
    return certify(Plan((measured.partition,), measured.log_snr, 6), measured, truncation, half_width, beside)


def test_a_line_over_many_levels_has_half_of_its_simultaneous_band_for_an_error():
    """The value at its level with its sign taken off; the error is half of what the band of all levels has on a side,
    so that two of them are the band, whatever number of standard errors that is."""
    steps = np.concatenate([0.0 * SIX, SIX, 0.1 * SIX], axis=1)
    measured = by_hand(EVEN, THREE_LEVELS, two_steps=steps)
    factor = simultaneous_factor(steps, measured)
    assert factor > 2.9  # six paths: Student's t of two degrees is 4.3
    found = certified(measured)["discretisation"]
    assert (found.value, found.error) == pytest.approx((abs(MEAN), 0.5 * factor * ERROR), rel=1e-9)
    assert found.limit == 0.01


def test_agreement_adds_half_of_what_two_rules_of_integration_differ_by():
    """At 0, 1 and 3 a peak of height 1 in the middle is 1.5 by the trapezoid, and 3^3 / 12 = 2.25 by the parabola."""
    production = 0.004 * np.tile([0.0, 1.0, 0.0], (6, 1))
    found = certified(by_hand(EVEN, THREE_LEVELS, production=production, imbalance=SIX))["agreement"]
    assert (found.value, found.error) == pytest.approx((abs(MEAN), np.hypot(ERROR, 0.5 * 0.003)), rel=1e-9)
    assert found.limit == 0.01


def test_the_floor_is_judged_at_the_last_level_and_below_only():
    shared = Partition("0|all", {0: 1.0}, {0: 0.5, 1: 0.5}, 1.0 / 3.0)
    for above in (-0.1, 0.1):
        end = shared.floor + SIX + above
        found = certified(by_hand(shared, THREE_LEVELS, entropy=np.concatenate([end - 9.0, end - 9.0, end], axis=1)))
        expected = max(-above - MEAN, 0.0)
        assert (found["floor"].value, found["floor"].error) == pytest.approx((expected, ERROR), rel=1e-9, abs=1e-15)


def test_what_the_run_says_of_its_ends_and_its_band_is_passed_on():
    found = certified(by_hand(EVEN, THREE_LEVELS), truncation=0.02, half_width=0.02)
    assert [(found[name].value, found[name].error) for name in ("truncation", "sampling")] == [(0.02, 0.0)] * 2
    assert [found[name].limit for name in ("truncation", "sampling")] == [0.01, 0.03]
    assert [found[name].passed for name in ("truncation", "sampling")] == [False, True]


@pytest.mark.parametrize("place", ["own", "beside"])
def test_the_null_branch_is_judged_by_what_is_known_of_it(place):
    """h(prior) - H at the level where it is farthest from zero; only the question of all classes in their weights."""
    asked = Partition("null|all", {NULL: 1.0}, {0: 0.25, 1: 0.75}, 1.0 / 3.0, whole=(0.25, 0.75))
    one = np.ones((6, 1))
    lost = np.concatenate([0.0 * SIX, 0.0 * SIX, SIX], axis=1)
    measured = by_hand(asked, THREE_LEVELS, entropy=asked.entropy - lost)
    wrong = by_hand(replace(asked, second={0: 0.5, 1: 0.5}), THREE_LEVELS, entropy=one * [0.0, 0.0, 0.0])
    question = by_hand(Partition("0|null", {0: 1.0}, {NULL: 1.0}, 0.5, whole=(0.25, 0.75)), THREE_LEVELS)
    found = certified(measured) if place == "own" else certified(question, beside=(wrong, measured))
    error = 0.5 * simultaneous_factor(lost, measured) * ERROR
    assert (found["null branch"].value, found["null branch"].error) == pytest.approx((abs(MEAN), error), rel=1e-9)
    assert certified(question, beside=(wrong,))["null branch"].verdict == "not measured"
    assert certified(by_hand(EVEN, THREE_LEVELS), beside=(measured,))["null branch"].verdict == "not measured"


def test_calibration_is_what_a_label_costs_less_what_the_posterior_expects():
    """Prior 0.2 and log-odds 1 and -2 told to paths of the first and the second side, 10 of each: by hand."""
    asked = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.2)
    data = Data(torch.arange(20, dtype=torch.float64)[:, None], np.arange(20) % 2)
    plan = Plan((asked,), np.array([0.0, 1.0]), 20, data=data)
    stratum = np.arange(20) % 2
    odds = np.where(stratum == 0, 1.0, -2.0)[:, None] + np.array([0.0, 0.1]) * ((np.arange(20) // 2 % 2) - 0.5)[:, None]
    zero = np.zeros((20, 2))
    measured = Measurement(asked, plan.log_snr, *[zero] * 4, zero[:, :1], odds, stratum, np.array([0.2, 0.8]))
    p = 1.0 / (1.0 + np.exp(-odds))
    right = np.where(stratum[:, None] == 0, p, 1.0 - p)
    gap = -np.log(right) + p * np.log(p) + (1.0 - p) * np.log(1.0 - p)
    mean = 0.2 * gap[::2].mean(axis=0) + 0.8 * gap[1::2].mean(axis=0)
    error = np.sqrt(0.04 * gap[::2].var(axis=0, ddof=1) / 10.0 + 0.64 * gap[1::2].var(axis=0, ddof=1) / 10.0)
    found = certify(plan, measured, 0.0, 0.0)["calibration"]
    at = int(np.argmin(np.abs(np.abs(mean) - found.value)))
    assert found.value == pytest.approx(abs(mean[at]), rel=1e-9) and found.limit == 0.03
    factor = simultaneous_factor(gap, measured)
    assert found.error == pytest.approx(0.5 * factor * error[at], rel=1e-6, abs=1e-12)
    assert certified(measured)["calibration"].verdict == "not measured"  # on the model's own paths


def test_lines_are_judged_at_two_errors():
    assert judge("x", 0.009, 0.001, "").passed
    assert judge("x", 0.011, 0.001, "").passed is None  # above its limit, by less than two errors
    assert judge("x", 0.013, 0.001, "").passed is False
    assert judge("x", 0.02, 0.011, "").passed is None
    assert judge("x", 0.04, 0.011, "").passed is False
    value, error = worst(np.array([0.001, -0.03, 0.02]), np.array([0.01, 0.04, 0.01]))
    assert (value, error) == (0.03, 0.02)  # none is sure to be above 0.01: the level that may be highest
    value, error = worst(np.array([0.001, -0.03, 0.025]), np.array([0.01, 0.04, 0.01]))
    assert (value, error) == (0.025, 0.005)  # the level that is sure to be above it, not the largest
    value, error = worst(np.array([0.004, 0.006, 0.005]), np.array([0.05, 0.006, 0.01]))
    assert (value, error) == (0.004, 0.025)  # where the least is known, though the value is less
    value, error = worst(np.array([0.0001, 0.011]), np.array([0.00005, 0.0145]))
    assert value == 0.011  # a level where next to nothing can be wrong tells nothing of the others


def test_a_certificate_comes_back_from_a_file(tmp_path):
    GOOD.save(tmp_path / "profile.json")
    assert Profile.load(tmp_path / "profile.json").certificate == GOOD.certificate
    saved = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    (tmp_path / "profile.json").write_text(json.dumps({**saved, "certificate": [{"name": "x"}]}), encoding="utf-8")
    with pytest.raises(InputError, match="a whole file"):
        Profile.load(tmp_path / "profile.json")


def test_the_panel_tells_verdicts_apart_without_colour():
    _, axes = figures.figure()
    checks = [judge("a", 0.001, 0.0, ""), judge("b", 0.1, 0.001, ""), judge("c", 0.0, 0.1, "")]
    missing = Check("d", None, None, 0.01, None, "")
    drawn = Profile(**{**vars(GOOD), "certificate": Certificate((*checks, missing))})
    figures.draw_certificate(axes, drawn)
    marks = [(line.get_marker(), line.get_markerfacecolor()) for line in axes.lines if line.get_marker() != "None"]
    assert len(set(marks)) == 3
    words = [text.get_text() for text in axes.texts]
    assert [word.split(":")[0] for word in words] == ["holds", "fails", "cannot tell", "not measured"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c", "d"]
