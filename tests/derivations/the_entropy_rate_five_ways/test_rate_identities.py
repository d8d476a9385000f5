"""The five forms of the entropy rate: every identity holds, every slip is caught, every theorem has its check."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import roots_hermitenorm, wofz

from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import isotropic_mixture
from companion.forward import noise_of, ornstein_uhlenbeck, variance_exploding
from derivations.kit.coordinates import Divergence, Gradient, Laplacian
from derivations.kit.differences import slope
from derivations.kit.identity import mutants, survivors
from derivations.kit.independent_productions import production_from_errors, random_mixture
from derivations.kit.language import E, Norm2, mixture_score, sigma
from derivations.the_entropy_rate_five_ways import denoising_loss
from derivations.the_entropy_rate_five_ways import proofs as rates
from derivations.the_entropy_rate_five_ways.entropy_rate import (
    entropy_rate,
    forms_of,
    half_losses,
    slopes_of,
    stretching_rates,
)
from derivations.the_entropy_rate_five_ways.independent_rates import ROUTES, small_mixture
from derivations.the_entropy_rate_five_ways.worlds import CHANNELS, Given, clean, log_posterior, noise

BY_LABEL = {identity.label: identity for identity in (*rates.identities(), *denoising_loss.identities())}


def proved(proof, label):
    """A proof ends where its identity says, and starts there too."""
    sides = BY_LABEL[label].sides
    return proof.first == sides[0] and proof.last in sides[1:]


@pytest.mark.parametrize("label", BY_LABEL)
def test_identities_hold_and_every_slip_is_caught(label):
    identity = BY_LABEL[label]
    assert identity.holds()
    assert len(list(mutants(identity))) >= 10
    assert survivors(identity) == []


@pytest.mark.parametrize("log_snr", [-1.0, 0.5])
def test_def_entropy_rate(log_snr):
    """The slope of the entropy of which point it was, and of the mutual information of a mixture with its states."""
    points = isotropic_mixture([[-1.0, 0.0], [0.3, 0.8], [1.2, -0.4]], 0.0, [0.2, 0.5, 0.3])
    # Step 0.1, eighth order.
    assert -slope(points.entropy, log_snr, 0.1) == pytest.approx(float(entropy_rate(points, log_snr)), abs=1e-7)
    mixture = small_mixture(2, 2, seed=3)
    assert ROUTES["slope of the entropy"](mixture, log_snr) == pytest.approx(float(entropy_rate(mixture, log_snr)))


def test_lem_rate_tweedie():
    """First and second order; and the full matrix, not its trace alone, against differences of a denoiser."""
    assert proved(rates.first_tweedie(), "eq-rate-tweedie")
    assert rates.second_tweedie().first == Divergence(rates.mixture_denoiser)
    points = torch.tensor([[-1.0, 0.2], [0.4, 0.9], [0.7, -0.8]], dtype=torch.float64)
    data, x = empirical_distribution(points, torch.arange(3)), torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    share = data.posterior(x, torch.ones(1, dtype=torch.float64)).exp()[0]
    away = data.points - share @ data.points
    np.testing.assert_allclose(slopes_of(data, x, 0.0)[0], (share[:, None] * away).T @ away, atol=1e-6)


def test_lem_rate_parts():
    """E|s|^2 = -E div s, also without any moment: Cauchy data, whose noised density is Voigt's."""
    assert proved(rates.by_parts(), "eq-rate-parts")
    x, width, noise_level = np.linspace(-4000.0, 4000.0, 2_000_001), 0.5, 0.7
    step = x[1] - x[0]
    z = (x + 1j * width) / (noise_level * math.sqrt(2.0))
    w = wofz(z)
    p = w.real / (noise_level * math.sqrt(2.0 * math.pi))
    first = -2.0 * z * w + 2j / math.sqrt(math.pi)
    slope = first.real / (noise_level * math.sqrt(2.0 * math.pi)) / (noise_level * math.sqrt(2.0))
    score = slope / p
    divergence = np.gradient(score, step, edge_order=2)
    norm = step * float((p * score**2).sum())
    assert norm == pytest.approx(-step * float((p * divergence).sum()), abs=2e-5)  # the differences of step 0.004
    assert 0.0 < norm < 1.0 / noise_level**2


@pytest.mark.parametrize(("components", "dimension", "log_snr"), [(3, 1, 0.4), (3, 2, -0.5), (2, 3, 0.0)])
def test_thm_rate_five_ways(components, dimension, log_snr):
    """By steps, and by five routes that share nothing but the mixture, all against the slope of the entropy."""
    proof = rates.five_ways()
    assert proved(proof, "eq-rate-five")
    steps = [step for _, step in proof.steps]
    assert all(side in steps for side in BY_LABEL["eq-rate-five"].sides)
    mixture = small_mixture(components, dimension, seed=8)
    values = [route(mixture, log_snr) for route in ROUTES.values()]
    np.testing.assert_allclose(values, float(entropy_rate(mixture, log_snr)), atol=1e-8, rtol=0.0)


def test_thm_rate_five_ways_in_the_time_of_a_process():
    """dH/dt = R g^2/sigma^2: one number, read on two clocks, against differences of the entropy itself."""
    line = isotropic_mixture([[-1.0], [0.3], [1.2]], 0.0, [0.2, 0.5, 0.3])
    for process in (ornstein_uhlenbeck(), variance_exploding()):
        at = np.array(0.5)
        grown = slope(lambda time, process=process: line.entropy(process.log_snr(np.array(time))), 0.5, 0.005)
        rate = entropy_rate(line, process.log_snr(at)) * process.diffusion(at) / process.sigma(at) ** 2
        assert grown == pytest.approx(float(rate), abs=1e-8)


def test_prop_rate_fisher():
    """Four forms of the trace in every state; the identity is local, its sides are fields."""
    identity = BY_LABEL["eq-rate-fisher"]
    for world in CHANNELS:
        trace = world.value(-Given(Laplacian(log_posterior)))
        assert trace.shape[0] == len(world.weights)
        assert float(trace.min()) > -1e-9  # never negative: it is a covariance
        assert world.agree([Given(Norm2(Gradient(log_posterior))), *identity.sides])


def test_prop_rate_stretching():
    """R = sum_j (1/2 + E chi_j), the exponents from slopes of the denoiser, by quadrature on a line."""
    assert BY_LABEL["eq-rate-per-level"].holds()
    points = isotropic_mixture([[-1.15], [-0.85], [0.85], [1.15]], 0.0)
    for level in (-1.0, 1.0, 4.0):
        noise_level = float(noise_of(level))
        x = np.linspace(-1.15 - 9.0 * noise_level, 1.15 + 9.0 * noise_level, 4001)
        at = torch.from_numpy(x[:, None])
        density = points.log_density(at, torch.full((4001,), noise_level, dtype=torch.float64)).exp().numpy()
        chi = stretching_rates(slopes_of(points, at, level))[:, 0]
        mean = (x[1] - x[0]) * float(density @ (0.5 + chi))
        assert mean == pytest.approx(float(entropy_rate(points, level)), abs=1e-6)
        assert chi.min() >= -0.5 - 1e-9


def test_prop_rate_class():
    """The production of class entropy is the rate less the mean rate inside the classes."""
    assert proved(rates.class_part(), "eq-rate-class")
    mixture = random_mixture(3, 2, seed=4)
    inside = 0.0
    for c, weight in enumerate(mixture.component_weights.tolist()):
        variances = mixture.deviations[c].numpy() ** 2
        inside += weight * 0.5 * float((variances / (variances + 1.0)).sum())
    whole = ROUTES["divergence"](mixture, 0.0)
    assert whole - inside == pytest.approx(production_from_errors(mixture, 0.0), abs=1e-8)
    assert whole - inside == pytest.approx(float(mixture.production(0.0)), abs=1e-8)


def test_prop_rate_constant():
    """The smallest loss with 1/sigma^2, and that ID 16 and 34 do not hold as they are printed."""
    assert proved(denoising_loss.smallest_loss(), "eq-rate-constant")
    held = {name: identity.holds() for name, identity in denoising_loss.as_printed().items()}
    assert [name for name, fine in held.items() if not fine] == ["ID 16", "ID 34"]
    assert len(held) == 5
    world = CHANNELS[1]
    perfect = world.value(E(Norm2(Given(noise) - sigma * mixture_score)))
    np.testing.assert_allclose(perfect, world.value(4 * sigma**2 * E(Norm2(mixture_score))), atol=1e-10)
    assert float(perfect[0]) > 0.1  # what a perfect network would still be told to improve


def test_prop_rate_loss():
    """Half of a network's loss is never below the rate, and exceeds it by half of its squared distance."""
    proof = denoising_loss.loss_of_a_network()
    assert proved(proof, "eq-rate-loss")
    points = isotropic_mixture([[-1.0], [1.0]], 0.0)
    nodes, shares = roots_hermitenorm(120)
    weights, drawn = shares / shares.sum(), torch.from_numpy(nodes)[:, None]
    for factor in (0.0, 0.7, 1.0, 1.3):
        both = [
            half_losses(lambda x, s, c, f=factor: f * points(x, s, c), centre.expand(120, 1), drawn, -0.5)
            for centre in points.means
        ]
        half = float(np.mean(both, axis=0) @ weights)
        rate = float(entropy_rate(points, -0.5))
        assert half >= rate - 1e-9
        assert (half == pytest.approx(rate, abs=1e-8)) == (factor == 1.0)


def test_prop_rate_implicit():
    """The divergence form lies half way between the loss and the norm, for a field that is nobody's score."""
    assert proved(denoising_loss.implicit_loss(), "eq-rate-implicit")
    nodes, shares = roots_hermitenorm(60)
    weights, drawn = shares / shares.sum(), torch.from_numpy(nodes)[:, None]
    one = torch.ones(60, 1, dtype=torch.float64)
    forms = forms_of(lambda x, s, c: torch.sin(1.3 * x) + 0.2 * x, 0.4 * one, drawn, 0.3, one, step=1e-4)
    loss, divergence, norm = (float(weights @ part) for part in (forms.loss, forms.divergence, forms.norm))
    assert loss - divergence == pytest.approx(divergence - norm, abs=1e-7)
    assert abs(loss - divergence) > 0.01


def test_worlds_do_not_take_their_answers_from_the_formulas():
    """A world whose points are another law than its denoiser's is found out."""
    world = CHANNELS[0]
    wrong = {**world.values, rates.mixture_denoiser: world.values[rates.mixture_denoiser] + 0.01}
    broken = replace(world, values=wrong)
    assert not broken.agree(BY_LABEL["eq-rate-tweedie"].sides)
    assert not broken.agree(BY_LABEL["eq-rate-five"].sides[:3])
    assert broken.agree([E(Norm2(clean)), E(Given(Norm2(clean)))])
