"""The theorems on the bound: identities without a surviving slip, chains of any denoisers, laws with a known truth."""

import numpy as np
import pytest
import torch
from sympy import Rational, exp, log, symbols

from companion import isotropic_mixture
from companion.exact.equidistant import entropy
from derivations.information_within_its_bound import proofs
from derivations.information_within_its_bound.chains import forgetful, forgetful_information, random_denoisers
from derivations.information_within_its_bound.routes import routes
from derivations.kit.identity import mutants, survivors

BY_LABEL = {identity.label: identity for identity in proofs.identities()}
# A mean of paths may miss by four standard errors: once in sixteen thousand, and seeds are fixed.
FAR = 4.0
FINE = np.arange(1200) % 4, np.linspace(-8.0, 2.0, 201)  # labels and levels of many paths with many steps


def holds_and_refuses_slips(label):
    identity = BY_LABEL[label]
    assert identity.holds()
    assert len(list(mutants(identity))) > 10
    assert [mutant.slip for mutant in survivors(identity)] == []


def error(values):
    return values.std(ddof=1) / np.sqrt(len(values))


def agree(values, expected):
    assert abs(values.mean() - expected) < FAR * error(values)


def test_prop_bound_surprise():
    holds_and_refuses_slips("eq-bound-surprise")


def test_prop_bound_difference():
    holds_and_refuses_slips("eq-bound-parts")
    # What SI 44 integrates to between two levels is the information gained between them, not all of it.
    pair, levels = isotropic_mixture([[-1.0], [1.0]], 0.5), np.linspace(-3.0, 3.0, 601)
    gained = np.trapezoid(pair.production(levels), levels)
    assert abs(gained - (pair.entropy(-3.0) - pair.entropy(3.0))) < 1e-5  # the rule's h^2/12 of a bounded slope
    assert np.log(2.0) - pair.entropy(-3.0) > 0.01


def test_accumulated_posteriors_gain_what_the_proofs_say():
    """Ito's formula for the logarithm and the entropy of the posterior of three classes, in one coordinate."""
    ratios, predictions = list(symbols("l1:4", real=True)), list(symbols("D1:4", real=True))
    weights, along = (Rational(1, 2), Rational(1, 3), Rational(1, 6)), symbols("u", real=True)
    total = sum(weight * exp(ratio) for weight, ratio in zip(weights, ratios, strict=True))
    posterior = [weight * exp(ratio) / total for weight, ratio in zip(weights, ratios, strict=True)]
    mean = sum(q * one for q, one in zip(posterior, predictions, strict=True))
    gain = proofs.generator(log(posterior[0]), ratios, predictions, along)
    own = predictions[0]
    spread = sum(q * (one - mean) ** 2 for q, one in zip(posterior, predictions, strict=True))
    uncertainty = -sum(q * log(q) for q in posterior)
    lost = proofs.generator(uncertainty, ratios, predictions, mean)
    draw = np.random.default_rng(0)
    for _ in range(2):
        at = dict(zip([*ratios, *predictions, along], draw.standard_normal(7).tolist(), strict=True))
        apart = gain - ((own - mean) * along - (own**2 - mean**2) / 2)
        assert abs(float(apart.subs(at))) < 1e-12
        assert abs(float((lost + spread / 2).subs(at))) < 1e-12


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
def test_thm_bound_chain(size):
    """Of any denoisers: the posterior is right about the chain, its entropy is within the bound, the null adds a KL."""
    holds_and_refuses_slips("eq-bound-pythagoras")
    owner, levels = np.arange(400) % 4, np.linspace(-8.0, 2.0, 41)
    for seed in range(2):
        found = routes(random_denoisers(size, seed), owner, levels, seed=seed, held=True)
        assert np.all((found.entropy >= 0.0) & (found.entropy <= np.log(4.0) + 1e-12))
        # The posterior of these very steps: as often right as it says, at every level.
        gaps = (found.surprise - found.entropy)[:, 1:]
        assert np.abs(gaps.mean(axis=0)).max() < FAR * gaps.std(axis=0, ddof=1).max() / np.sqrt(len(gaps))
        agree((found.null - found.mixture - found.between).ravel(), 0.0)
        assert (found.integral(found.between)[:, -1] > 0.0).all()


def test_the_chain_is_paid_by_its_production():
    """The second equality of the theorem is of continuous time: with fine steps both sides meet."""
    found = routes(random_denoisers(0.3, seed=1), *FINE, block=1200, held=True)
    agree(found.integral(found.spread)[:, -1] - (np.log(4.0) - found.entropy[:, -1]), 0.0)
    agree(found.integral(found.mixture)[:, -1] - (np.log(4.0) - found.entropy[:, -1]), 0.0)


def test_cor_bound_neural():
    """With any field in place of the null branch the difference of two squares is the information of the chain."""
    found = routes(random_denoisers(0.3, seed=2), *FINE, block=1200, held=True)
    agree(found.integral(found.null - found.between)[:, -1] - (np.log(4.0) - found.entropy[:, -1]), 0.0)


def test_prop_bound_path():
    push, until = 2.0, 0.0
    levels = np.unique(np.concatenate([np.linspace(-8.0, until, 33), np.linspace(until, 6.0, 9)]))
    path, state = forgetful_information(push, until, levels)
    found = routes(forgetful(push, until), np.arange(2000) % 2, levels, block=2000, held=True)
    agree(np.log(2.0) - found.entropy[:, -1], path[-1])
    assert path[-1] > 100.0 * state[-1] and np.all(state <= path + 1e-12)
    # Denoisers of one law: the posterior of the path is that of the state, so both entropies are the law's.
    pair, last = isotropic_mixture([[-1.0], [1.0]], 0.5), 2.0
    found = routes(pair, np.arange(1000) % 2, np.linspace(-8.0, last, 65), block=1000)
    agree(found.entropy[:, -1], float(pair.entropy(last)))


@pytest.mark.parametrize("size", [None, 0.1, 1.0])
def test_thm_bound_data(size):
    """Of data of a known law: below their information for any denoisers, and at it for the right ones."""
    holds_and_refuses_slips("eq-bound-gain")
    law = isotropic_mixture(np.eye(4)[:, :3], 0.5)
    clean, labels = law.sample(600, torch.Generator().manual_seed(0))
    model = law if size is None else random_denoisers(size, seed=3)
    levels = np.linspace(-8.0, 2.0, 81)
    found = routes(model, labels.numpy(), levels, data=clean)
    truth = np.log(4.0) - float(law.entropy(levels[-1]))
    bound = np.log(4.0) - found.surprise[:, -1]
    apart = (bound.mean() - truth) / error(bound)
    assert apart < FAR and (size is not None or apart > -FAR)
    agree(bound - found.integral(found.loss_mixture - found.loss_own)[:, -1], 0.0)


def test_thm_bound_null():
    holds_and_refuses_slips("eq-bound-errors")
    # Right classes and a null branch that is wrong by a constant: exactly half its square too much, per unit of snr.
    law, wrong = isotropic_mixture([[-1.0], [1.0]], 0.5), 0.3
    clean, labels = law.sample(800, torch.Generator().manual_seed(1))
    levels = np.linspace(-8.0, 2.0, 81)
    found = routes(WithNull(law, wrong), labels.numpy(), levels, data=clean)
    truth = np.log(2.0) - float(law.entropy(levels[-1])) + 0.5 * wrong**2 * np.exp(levels[-1])
    agree(found.integral(found.null)[:, -1], truth)
    agree(found.integral(found.loss_null - found.loss_own)[:, -1], truth)


class WithNull:
    """A law whose null branch is wrong by a constant."""

    has_null = True

    def __init__(self, law, wrong):
        self.law, self.wrong = law, wrong

    def __getattr__(self, name):
        return getattr(self.law, name)

    def __call__(self, x, sigma, condition):
        return self.law(x, sigma, condition) + (self.wrong if condition is None else 0.0)


@pytest.mark.parametrize("classes", [2, 10])
def test_two_routes_agree_on_equidistant_classes(classes):
    distance, last = 2.0, 0.5
    law = isotropic_mixture(distance / np.sqrt(2.0) * np.eye(classes), 0.5)
    levels = np.linspace(-8.0, last, 65)
    found = routes(law, np.arange(400) % classes, levels)
    truth = np.log(classes) - float(entropy(distance**2 / (0.25 + np.exp(-last)), classes))
    agree(np.log(classes) - found.entropy[:, -1], truth)
    agree(found.integral(found.spread)[:, -1], truth)
