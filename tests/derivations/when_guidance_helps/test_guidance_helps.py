"""When guidance helps: the identities, the law of guided paths of true denoisers, and weights that mend a defect."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq

from companion import guided
from companion.estimate.best_weight import best_weight
from companion.estimate.plan import Data
from companion.exact.mixtures import isotropic_mixture
from derivations.kit.identity import mutants, survivors
from derivations.when_guidance_helps import proofs, rules
from derivations.when_guidance_helps.defects import LINE, PLANE, Defect, additive_leak, defects, weak_conditioning

BY_LABEL = {identity.label: identity for identity in proofs.identities()}
BY_NAME = {defect.name: defect for defect in defects(LINE)}
NODES = 24  # of a divergence: a step of 0.75 deviations leaves exp(-2 pi^2 / 0.75^2) = 1e-15 of a smooth integrand
PAIR = isotropic_mixture([[-1.0], [1.0]], 0.3)  # whose window and entropies cost little


@pytest.fixture
def coarse(monkeypatch):
    """Steps of the ODE twice as long: 16 times the error, and still below 1e-5 nats."""
    monkeypatch.setattr(rules, "_STEP", 0.6)


def test_every_identity_holds():
    assert [label for label, identity in BY_LABEL.items() if not identity.holds()] == []


def test_no_slip_in_any_identity_survives():
    assert all(len(list(mutants(identity))) > 10 for identity in proofs.identities())
    assert [mutant.slip for identity in proofs.identities() for mutant in survivors(identity)] == []


def test_the_proof_ends_where_the_identity_does():
    assert (proofs.feedback().last, proofs.feedback().first) == BY_LABEL["eq-feedback-weight"].sides


# True denoisers: two points at -1 and 1, whose D_c is 1 and D tanh(y), in the natural state y, dy = D_w dsnr + dB

Y = np.linspace(-12.0, 22.0, 1001)
SNR, STEPS = 3.0, 400
RATIO = 0.5 * (1.0 + np.exp(-2.0 * Y))  # p / p_c at any snr
APART = (1.0 - np.tanh(Y)) ** 2  # |D_c - D|^2


def law_under_guidance(weight):
    """The densities of y on a grid at every step of Euler's rule, `weight` a function of the snr."""
    step, spacing = SNR / STEPS, Y[1] - Y[0]
    laws, transitions = [], {}
    for number in range(STEPS):
        w = weight(number * step)
        drift = np.tanh(Y) + w * (1.0 - np.tanh(Y))
        if number == 0:  # from y = 0
            laws.append(np.exp(-0.5 * (Y - w * step) ** 2 / step) / math.sqrt(2.0 * math.pi * step))
            continue
        if w not in transitions:
            moved = (Y[:, None] - (Y + drift * step)[None, :]) / math.sqrt(step)
            transitions[w] = np.exp(-0.5 * moved**2) * spacing / math.sqrt(2.0 * math.pi * step)
        laws.append(transitions[w] @ laws[-1])
    return np.array(laws) * spacing


@pytest.mark.parametrize(("weights", "side"), [((2.0, 2.0), -1), ((1.0, 3.0), -1), ((0.5, 0.5), 1), ((1.0, 1.0), 0)])
def test_thm_true_denoisers(weights, side):
    """The mean of p / p_c on guided paths falls where w > 1, by the rate of the proof, and is 1 for the class itself.

    Euler's rule errs by a share of the step, 1/133, times rates of about (w - 1) |D_c - D|^2: 4% are left to it.
    """
    laws = law_under_guidance(lambda snr: weights[0] if snr < 1.0 else weights[1])
    assert np.allclose(laws.sum(axis=1), 1.0, atol=1e-9)
    snr = SNR / STEPS * np.arange(STEPS)
    w = np.where(snr < 1.0, *weights)
    expected = 1.0 - ((w[1:] - 1.0) * (laws[:-1] @ (RATIO * APART))).sum() * SNR / STEPS - (w[0] - 1.0) * SNR / STEPS
    mean = float(laws[-1] @ RATIO)
    assert mean == pytest.approx(expected, rel=0.04)
    assert np.sign(round(mean - 1.0, 2)) == side
    # What the law misses is at most what the paths miss: half of the integral of (w - 1)^2 E_c|D_c - D|^2.
    at = np.linspace(0.0, SNR, STEPS + 1)[1:]
    true = np.exp(-0.5 * (Y - at[:, None]) ** 2 / at[:, None]) / np.sqrt(2.0 * math.pi * at[:, None]) * (Y[1] - Y[0])
    paths = 0.5 * ((w - 1.0) ** 2 * (true @ APART)).sum() * SNR / STEPS
    kept = true[-1] > 1e-40
    missed = float(true[-1][kept] @ np.log(true[-1][kept] / laws[-1][kept]))
    assert -1e-9 < missed <= paths + 1e-9
    assert (missed > 1e-3) == (side != 0)


def test_weights_on_both_sides_of_one_can_cancel():
    """A normal class inside a wider normal law: w = 3 at first and then less than 1 leave the law of the class.

    In the natural state D_z = s_z^2 y / (1 + s_z^2 snr), so that Var' = 2 k Var + 1 with k the guided slope.
    """
    narrow, wide, turn, last = 0.5, 2.0, 1.0, 4.0

    def growth(weights, snr):
        """int_snr^last 2 k: log(1 + s^2 snr) in each piece."""

        def grown(low, high, w):
            of_class, of_whole = (np.log((1.0 + s**2 * high) / (1.0 + s**2 * low)) for s in (narrow, wide))
            return 2.0 * (of_whole + w * (of_class - of_whole)) if high > low else 0.0

        return grown(min(snr, turn), turn, weights[0]) + grown(max(snr, turn), last, weights[1])

    def variance(second):
        return sum(quad(lambda u: math.exp(growth((3.0, second), u)), *ends)[0] for ends in ((0.0, turn), (turn, last)))

    true = last + narrow**2 * last**2
    assert variance(1.0) < 0.95 * true
    second = brentq(lambda w: variance(w) - true, 0.0, 1.0)
    assert variance(second) == pytest.approx(true, rel=1e-9)
    assert 0.0 < second < 0.99


def test_prop_loss_of_a_weight():
    """The parabola of the losses, on a real mixture by quadrature: its lowest point, and the truth's is 1."""
    for truth, nodes in ((LINE, NODES), (PLANE, 12)):
        levels = np.array([-3.0, 0.0, 2.0])
        np.testing.assert_allclose(rules.denoising(truth, truth, levels, nodes)[0], 1.0, atol=1e-9)
        for defect in defects(truth):
            weights, spread = rules.denoising(defect.model, truth, levels, nodes)
            for level, weight, square in zip(levels, weights, spread, strict=True):
                least, more = (
                    rules.mean_square(rules.by_interval(defect.model, rules.Interval(w)), truth, level, nodes)
                    for w in (weight, weight + 0.5)
                )
                assert more == pytest.approx(least + 0.25 * square, rel=1e-9)


@pytest.mark.parametrize("name", ["leak of 20%", "weak at some noise", "pulled to the middle", "blurred, null more"])
def test_prop_best_weight(name):
    """No weight that is a function of the level has a smaller divergence of its paths, and the gain is the integral."""
    defect = BY_NAME[name]
    levels = np.linspace(-10.0, rules.LAST, 33)
    weights, spread = rules.denoising(defect.model, LINE, levels, NODES)

    def missed(table):
        rates = rules.mean_square(rules.by_level(defect.model, levels, table), LINE, levels, NODES)
        return float(np.trapezoid(0.5 * np.exp(levels) * rates, levels))

    least, none = missed(weights), missed(np.ones_like(weights))
    gain = np.trapezoid(0.5 * np.exp(levels) * (weights - 1.0) ** 2 * spread, levels)
    assert none - least == pytest.approx(float(gain), rel=1e-9)  # by the same sum: they agree to rounding
    draw = np.random.default_rng(0)
    for _ in range(3):
        assert missed(weights + 0.2 * draw.standard_normal(len(weights))) > least
    samples, labels = LINE.sample(3000, torch.Generator().manual_seed(1))
    found = best_weight(defect.model, Data(samples, labels.numpy()), levels[8:28:4], 2)
    assert np.all(np.abs(found.weight - weights[8:28:4]) < 4.0 * found.weight_se)


def test_prop_feedback_weight(coarse):
    """An additive leak is mended at every state, a multiplicative one by a constant, and each only by its own.

    The cap on the weight at 100 is reached where the class has 1/100 of the density that the leak puts there.
    """
    leak = BY_NAME["leak of 20%"]
    sigma = torch.tensor([0.5], dtype=torch.float64).expand(9)
    x, condition = torch.linspace(-0.7, 1.3, 9, dtype=torch.float64)[:, None], torch.ones(9, dtype=torch.int64)
    mended = rules.by_feedback(leak, 0.2)(x, sigma, condition)
    torch.testing.assert_close(mended, LINE(x, sigma, condition), atol=1e-10, rtol=0.0)
    missed = {
        name: rules.sampled(rule, LINE, nodes=NODES)
        for name, rule in {
            "additive": leak.model,
            "additive by feedback": rules.by_feedback(leak, 0.2),
            "additive by a constant": guided(leak.model, 1.0 / 0.8),
            "multiplicative by a constant": guided(BY_NAME["weak conditioning"].model, 1.0 / 0.7),
        }.items()
    }
    assert missed["multiplicative by a constant"] < 1e-4
    assert missed["additive"] > 0.1 > missed["additive by a constant"] > 0.05
    assert missed["additive by feedback"] < 1e-3


def test_a_leak_is_a_law_and_keeps_the_whole():
    x, sigma = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64)[:, None], torch.full((7,), 0.4, dtype=torch.float64)
    for truth, at in ((LINE, x), (PLANE, torch.cat([x, x.flip(0)], dim=1))):
        leaky = additive_leak(truth, 0.3)
        torch.testing.assert_close(leaky(at, sigma, None), truth(at, sigma, None), atol=1e-12, rtol=0.0)
        mixed = 0.7 * truth.log_density(at, sigma, 1).exp() + 0.3 * truth.log_density(at, sigma).exp()
        torch.testing.assert_close(leaky.log_density(at, sigma, 1).exp(), mixed, atol=1e-12, rtol=1e-10)


def test_the_divergences_are_zero_for_the_truth_and_converge():
    assert abs(rules.sampled(LINE, LINE, nodes=NODES)) < 1e-6
    assert abs(rules.sampled(PLANE, PLANE, nodes=12)) < 1e-6
    assert rules.along_paths(LINE, LINE, nodes=NODES) == 0.0
    weak = guided(weak_conditioning(LINE, 0.3), 1.2)
    coarse, fine = (rules.sampled(weak, LINE, nodes=nodes) for nodes in (48, 60))
    assert coarse == pytest.approx(fine, abs=1e-6)


def test_an_interval_jumps_where_it_says(coarse):
    """An interval that covers every level is a constant, and one cut into two at a level is the same rule."""
    model = BY_NAME["weak conditioning"].model
    constant = rules.sampled(guided(model, 1.5), LINE, nodes=NODES)
    whole = rules.sampled(rules.by_interval(model, rules.Interval(1.5)), LINE, (0.3,), nodes=NODES)
    assert whole == pytest.approx(constant, abs=1e-5)  # with a level more
    inside = rules.Interval(1.5, -1.0, 0.7)
    here = rules.sampled(rules.by_interval(model, inside), LINE, rules.jumps_of(inside), NODES)
    there = rules.sampled(guided(model, 1.5, (-1.0, 0.7)), LINE, rules.jumps_of(inside), NODES)
    assert here == pytest.approx(there, abs=1e-5)


def test_a_window_and_a_leak_are_found():
    """The window holds the central 80% of the entropy; the leak of the best feedback is the leak."""
    first, last = rules.window(PAIR)
    assert float(PAIR.entropy(first)) == pytest.approx(0.9 * math.log(2.0), abs=1e-3)
    assert float(PAIR.entropy(last)) == pytest.approx(0.1 * math.log(2.0), abs=1e-3)
    leaky = additive_leak(PAIR, 0.1)
    assert rules.best_leak(Defect("leak", PAIR, leaky, leaky), nodes=12) == pytest.approx(0.1, abs=1e-3)
    assert rules.best_leak(Defect("weak", PAIR, weak_conditioning(PAIR, 0.3)), nodes=12) == 0.0


def test_many_rules_at_once_are_each_of_them_and_the_search_takes_the_least(coarse):
    defect = Defect("weak", PAIR, weak_conditioning(PAIR, 0.3))
    intervals = [rules.Interval(1.2, -2.0, 1.0), rules.Interval(2.0, 0.0), rules.Interval(1.4)]
    together = rules.all_sampled(defect, intervals, 12)
    alone = [rules.sampled(rules.by_interval(defect.model, each), PAIR, rules.jumps_of(each), 12) for each in intervals]
    np.testing.assert_allclose(together, alone, atol=1e-4)  # with the other rules' levels among its own
    assert rules.search_weight(defect, nodes=12).weight == pytest.approx(1.0 / 0.7, rel=0.003)  # the last grid's step
