"""Twenty questions: every displayed equation with its slips, and what the theorems say, by counting other things."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch.autograd.functional import hessian, jacobian

from companion.exact import two_gaussians
from derivations.kit.identity import mutants, survivors
from derivations.twenty_questions import guessing, proofs

BY_LABEL = {identity.label: identity for identity in proofs.identities()}


@st.composite
def tables(draw):
    columns = draw(st.integers(1, 4))
    strings = draw(st.sets(st.integers(0, 2**columns - 1), min_size=2))
    return np.array([[s >> q & 1 for q in range(columns)] for s in sorted(strings)])


@pytest.mark.parametrize("label", sorted(BY_LABEL))
def test_every_identity_holds_and_no_slip_survives(label):
    assert BY_LABEL[label].holds()
    assert len(list(mutants(BY_LABEL[label]))) > 8
    assert [mutant.slip for mutant in survivors(BY_LABEL[label])] == []


def entropy(weights):
    return -sum(float(w) * math.log(w) for w in weights if w > 0)


@settings(max_examples=30)
@given(tables())
def test_thm_questions_drop(table):
    """Against joint entropies of strings; at most one bit a question, and one bit only where every split is even."""
    assert all(BY_LABEL[label].holds() for label in ("eq-questions-entropy", "eq-questions-sizes", "eq-questions-drop"))
    things, columns = table.shape
    found = guessing.orders(table)
    for order, left in zip(itertools.permutations(range(columns)), found, strict=True):
        for j in range(columns + 1):
            strings = [tuple(row) for row in table[:, order[:j]].tolist()]
            law = [strings.count(one) / things for one in set(strings)]
            assert left[j] == pytest.approx(math.log(things) - entropy(law), abs=1e-12)
        for j in range(columns):
            strings = [tuple(row) for row in table[:, order[:j]].tolist()]
            for place in set(strings):
                here = table[[one == place for one in strings], order[j]]
                even = 2 * here.sum() == len(here)
                if not even:
                    break
            drop = left[j] - left[j + 1]
            assert drop <= math.log(2.0) + 1e-12
            assert (drop > math.log(2.0) - 1e-9) == even


def test_the_last_sign_of_id_2_is_a_minus():
    """With a plus an even split of eight would tell three bits; the game tells one."""
    cube = np.array([[k >> b & 1 for b in range(3)] for k in range(8)])
    whole, yes, drop = guessing.splits(cube)[0]
    assert (whole, yes) == (8.0, 4.0)
    assert drop == pytest.approx(math.log(2.0), rel=1e-14)
    assert math.log(8) - 0.5 * math.log(4) + 0.5 * math.log(4) == pytest.approx(3.0 * math.log(2.0))


@settings(max_examples=30)
@given(tables())
def test_prop_questions_oracle(table):
    assert BY_LABEL["eq-questions-oracle"].holds()
    for order in itertools.permutations(range(table.shape[1])):
        law = guessing.random_oracle(table[:, order])
        assert law == guessing.fixed_oracle(table[:, order])
        assert set(law.values()) == {Fraction(1, len(table))}
        coin = guessing.coin_oracle(table[:, order])
        assert sum(coin.values()) == 1 and set(coin) == set(law)


def test_eq_questions_random():
    """The conditional probabilities of the strings that a fixed oracle gives are ratios of sizes."""
    table = np.array([[k >> b & 1 for b in range(3)] for k in (0, 1, 3, 4, 6)])
    law = guessing.random_oracle(table)
    for begun in [(), (0,), (1,), (0, 1), (1, 0)]:
        here = [row for row in table.tolist() if tuple(row[: len(begun)]) == begun]
        chance = {a: sum(p for string, p in law.items() if string[: len(begun) + 1] == (*begun, a)) for a in (0, 1)}
        yes = sum(row[len(begun)] for row in here)
        assert Fraction(chance[1], chance[0] + chance[1]) == Fraction(yes, len(here))


def test_a_coin_draws_the_wrong_things():
    three = np.array([[0, 0], [0, 1], [1, 1]])
    assert guessing.coin_oracle(three) == {(0, 0): Fraction(1, 4), (0, 1): Fraction(1, 4), (1, 1): Fraction(1, 2)}


@settings(max_examples=30)
@given(tables())
def test_prop_questions_masking(table):
    """The slope by differences of a sum over masks written out here; convexity; the mean over orders."""
    assert BY_LABEL["eq-questions-masking"].holds()
    things, columns = table.shape

    def by_masks(r):
        total = 0.0
        for mask in itertools.product((0, 1), repeat=columns):
            strings = [tuple(row) for row in table[:, np.array(mask) == 1].tolist()]
            law = [strings.count(one) / things for one in set(strings)]
            total += math.prod(r if seen else 1.0 - r for seen in mask) * (math.log(things) - entropy(law))
        return total

    r, step = np.linspace(0.1, 0.9, 5), 1e-3
    np.testing.assert_allclose(guessing.masked_entropy(table, r), [by_masks(at) for at in r], atol=1e-12)
    slope = [
        (8 * (by_masks(a - step) - by_masks(a + step)) - by_masks(a - 2 * step) + by_masks(a + 2 * step)) / (12 * step)
        for a in r
    ]  # exact for polynomials of degree 4, up to rounding of 1e-16 / step
    np.testing.assert_allclose(guessing.masked_production(table, r), slope, atol=1e-11)
    rate = guessing.masked_production(table, np.linspace(0.0, 1.0, 21))
    assert np.all(np.diff(rate) <= 1e-12)
    drops = -np.diff(guessing.orders(table).mean(axis=0))
    assert np.all(np.diff(drops) <= 1e-12)


def test_thm_questions_weak():
    assert BY_LABEL["eq-questions-noisy"].holds() and BY_LABEL["eq-questions-weak"].holds()
    for share in (0.5, 0.3, 0.05):
        mean = 2.0 * share - 1.0
        for delta in (0.02, 0.01):  # the next term is at most delta^4 / 12 * (1 + 2) in all
            leading = 0.5 * delta**2 * (1.0 - mean**2)
            assert float(guessing.noisy_information(share, delta)) == pytest.approx(leading, abs=delta**4)
        assert guessing.noisy_information(share, 0.4) <= guessing.noisy_information(0.5, 0.4)
    # n answers of reliability sqrt(snr / n): the gap to the Gaussian channel falls like 1 / n.
    gaps = [
        abs(guessing.repeated_answers(n, math.sqrt(1.5 / n)) - float(two_gaussians.entropy(6.0)))
        for n in (100, 200, 400, 800)
    ]
    assert gaps[-1] < 1e-3
    assert all(0.4 < after / before < 0.6 for before, after in itertools.pairwise(gaps))


def test_the_limit_by_its_law():
    """The law of the log-odds after many weak answers is N(2 snr, 4 snr), the distance in distribution 1/sqrt(n)."""
    n, snr = 900, 1.5
    delta = math.sqrt(snr / n)
    log_odds = np.random.default_rng(0).binomial(n, 0.5 * (1.0 + delta), 20_000) * 2.0 - n
    log_odds *= math.log((1.0 + delta) / (1.0 - delta))
    for at in (-1.0, 2.0, 5.0):
        share = (log_odds <= at).mean()
        # Half a step of the lattice, 1/sqrt(2 pi n), and four standard errors of a share.
        assert abs(share - norm.cdf(at, 2.0 * snr, 2.0 * math.sqrt(snr))) < 0.014 + 2.0 / math.sqrt(20_000)


def test_prop_questions_bridge():
    """The fixed oracle's transition from y at one snr to z at another solves the random oracle's forward equation.

    Transitions from every y fix the law of the paths. Six weighted points in the plane; derivatives by autograd in
    float64, so the sides agree to rounding.
    """
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    prior = torch.rand(6, generator=generator, dtype=torch.float64).log_softmax(0)

    def posterior(z, snr):
        return (prior + points @ z - 0.5 * snr * points.square().sum(1)).softmax(0)

    def transition(z, snr, y, start):
        given = posterior(y, start)  # of x_0, when the game stands at y
        gap = (z - y - (snr - start) * points).square().sum(1)
        return (given * torch.exp(-gap / (2 * (snr - start))) / (2 * torch.pi * (snr - start))).sum()

    for start, length in ((0.3, 0.5), (1.0, 2.0), (4.0, 0.1)):
        y = start * points[0] + start**0.5 * torch.randn(2, generator=generator, dtype=torch.float64)
        z = y + length * points[1] + length**0.5 * torch.randn(2, generator=generator, dtype=torch.float64)
        snr = torch.tensor(start + length, dtype=torch.float64)
        in_time = jacobian(lambda s, z=z, y=y, start=start: transition(z, s, y, start), snr)
        slope = hessian(lambda z, s=snr, y=y, start=start: transition(z, s, y, start), z)
        carried = jacobian(lambda z, s=snr, y=y, start=start: posterior(z, s) @ points * transition(z, s, y, start), z)
        assert float(in_time) == pytest.approx(float(0.5 * slope.trace() - carried.trace()), rel=1e-9, abs=1e-14)


def test_eq_questions_gaussian():
    assert BY_LABEL["eq-questions-gaussian"].holds()
