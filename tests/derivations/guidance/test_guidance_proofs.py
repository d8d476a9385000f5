"""The derivations on guidance: every displayed equation and its slips, and what the theorems say against the laws."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import expit

from companion.exact import equidistant, two_gaussians
from companion.exact.mixtures import isotropic_mixture
from derivations.guidance import flow, proofs
from derivations.guidance.fokker_planck import guided_law
from derivations.guidance.half_levels import cross_entropy, half_level, posterior_entropy, surprise
from derivations.guidance.many_classes import cross_entropy_of_paths, half_level_of_strong_guidance, three_classes
from derivations.guidance.samples import distortion, price_of_paths
from derivations.kit.identity import mutants, survivors

IDENTITIES = {identity.label: identity for identity in proofs.identities()}


def hold(*labels: str) -> bool:
    return all(IDENTITIES[label].holds() for label in labels)


@pytest.mark.parametrize("label", sorted(IDENTITIES))
def test_every_identity_holds_and_no_slip_survives(label):
    assert IDENTITIES[label].holds()
    assert len(list(mutants(IDENTITIES[label]))) > 8
    assert [mutant.slip for mutant in survivors(IDENTITIES[label])] == []


def guided_paths(mixture, snr, weight, count, generator):
    """Euler's steps of the guided reverse diffusion from y = 0: the state and |D_c - D_0|^2 at each snr."""
    y = torch.zeros(count, mixture.means.shape[1], dtype=torch.float64)
    own = torch.zeros(count, dtype=torch.long)
    for before, after in pairwise(snr):
        sigma = torch.full((count,), before**-0.5, dtype=torch.float64)
        whole = mixture(y / before, sigma, None)
        gap = mixture(y / before, sigma, own) - whole
        yield y, gap.square().sum(dim=1)
        y = y + (after - before) * (whole + weight * gap)
        y = y + math.sqrt(after - before) * torch.randn(y.shape, generator=generator, dtype=torch.float64)


def test_thm_guided_odds():
    """The drift and the flow of L at random states of mixtures of other widths and weights, through their denoisers."""
    assert hold("eq-guided-drift", "eq-guided-noise", "eq-guided-flow", "eq-guided-deviations")
    draw, weight = torch.Generator().manual_seed(0), 3.0
    for s, prior in ((0.0, 0.5), (0.8, 0.3)):
        mixture = isotropic_mixture([[1.0, 0.5, 0.0], [-0.4, -0.2, 0.9]], s, [prior, 1.0 - prior])
        apart = float((mixture.means[0] - mixture.means[1]).norm())
        snr, step = 0.9, 1e-4
        sigma = torch.full((20,), snr**-0.5, dtype=torch.float64)
        x = 2.0 * torch.randn(20, 3, generator=draw, dtype=torch.float64)

        def odds(x, snr, mixture=mixture):
            log_p = mixture.posterior(x, torch.full((len(x),), snr**-0.5, dtype=torch.float64))
            return (log_p[:, 0] - log_p[:, 1]).numpy()

        whole, own = (mixture(x, sigma, z) for z in (None, torch.zeros(20, dtype=torch.long)))
        ahead = whole + weight * (own - whole)
        L = odds(x, snr)
        kappa = [two_gaussians.control_parameter(1.0, at**-0.5, apart, s) for at in (snr - step, snr, snr + step)]
        # y = snr x moves by D_w dsnr, or by half of it where the flow goes: dx/dsigma = (x - D_w)/sigma.
        y = snr * x
        gained = odds((y + step * ahead) / (snr + step), snr + step) - odds(
            (y - step * ahead) / (snr - step), snr - step
        )
        expected = (0.5 + (weight - 1.0) * expit(-L)) * (kappa[2] - kappa[0])
        np.testing.assert_allclose(gained, expected, rtol=1e-6)
        slope = (x - ahead) * (-0.5 / snr)  # of x in the snr, as sigma = snr^(-1/2)
        flowed = odds(x + step * slope, snr + step) - odds(x - step * slope, snr - step)
        rate = 0.25 + (L - math.log(prior / (1.0 - prior))) / (2.0 * kappa[1]) + 0.5 * (weight - 1.0) * expit(-L)
        np.testing.assert_allclose(flowed, rate * (kappa[2] - kappa[0]), rtol=1e-5, atol=1e-9)


def test_thm_guided_surprise():
    """Three classes of other widths and weights, off the theorem's example: the surprise that paths lose."""
    assert hold("eq-guided-surprise", "eq-guided-slope")
    mixture = isotropic_mixture([[1.2], [0.0], [-1.5]], [0.5, 0.9, 0.3], [0.5, 0.2, 0.3])
    snr = np.concatenate([[1e-9], np.linspace(0.01, 3.0, 300)])
    for weight in (0.5, 3.0):
        states = list(guided_paths(mixture, snr, weight, 4000, torch.Generator().manual_seed(1)))
        lost = (weight - 0.5) * sum(
            gap.numpy() * (after - before) for (_, gap), before, after in zip(states, snr, snr[1:], strict=False)
        )
        y, _ = states[-1]
        log_p = mixture.posterior(y / snr[-2], torch.full((4000,), snr[-2] ** -0.5, dtype=torch.float64))[:, 0].numpy()
        missed = -log_p - (math.log(2.0) - lost)
        # Euler's steps cost a hundredth of what is lost, besides the error of 4000 paths.
        assert missed.mean() == pytest.approx(0.0, abs=4.5 * missed.std() / math.sqrt(4000) + 0.01 * lost.mean() + 1e-3)


@pytest.mark.parametrize("weight", [0.7, 2.0, 7.0])
def test_prop_guided_slopes(weight):
    """The slopes by differences of the laws, at the start and beyond, for priors that are not one half."""
    assert hold("eq-guided-cross-entropy", "eq-guided-entropy")
    step = 1e-3
    for prior in (0.5, 0.2):
        for sampler in ("sde", "ode"):
            start = -math.log(prior)
            first = (cross_entropy([step, 2.0 * step], weight, sampler, prior) - start) / np.array([step, 2.0 * step])
            expected = -(2.0 * weight - 1.0) * (1.0 - prior) ** 2 / 2.0
            # Differences from both steps, extrapolated: what is left is of the order weight^2 step^2.
            assert 2.0 * first[0] - first[1] == pytest.approx(expected, rel=1e-3)
    for sampler in ("sde", "ode"):
        first = (posterior_entropy([step, 2.0 * step], weight, sampler) - math.log(2.0)) / np.array([step, 2.0 * step])
        assert 2.0 * first[0] - first[1] == pytest.approx(-0.125, rel=1e-3)
    law = guided_law([0.99, 1.0, 1.01], weight)
    slope = np.diff(law.expectation(surprise)[::2]).item() / 0.02
    doubt = law.expectation(lambda L: expit(-L) ** 2)[1]
    assert slope == pytest.approx(-(weight - 0.5) * doubt, rel=1e-4)


def test_thm_guided_price():
    """Weights on unguided paths give the guided law, and the mean of their logarithm on guided paths the price."""
    assert hold("eq-guided-girsanov")
    weight, steps, count, last = 2.0, 400, 20_000, 2.0
    draw, step = np.random.default_rng(0), last / 400
    L, doubt = np.zeros(count), np.zeros(count)
    for _ in range(steps):
        before = expit(-L) ** 2
        L = L + 0.5 * step + math.sqrt(step) * draw.standard_normal(count)
        doubt += 0.5 * step * (before + expit(-L) ** 2)
    ratio = (2.0 * expit(L)) ** (weight - 1.0) * np.exp(-0.5 * weight * (weight - 1.0) * doubt)
    assert ratio.mean() == pytest.approx(1.0, abs=4.5 * ratio.std() / math.sqrt(count))
    for function in (surprise, np.tanh):
        weighted = ratio * function(L)
        truth = guided_law([last], weight).expectation(function).item()
        assert weighted.mean() == pytest.approx(truth, abs=4.5 * weighted.std() / math.sqrt(count))
    kept = ratio * np.log(ratio)  # KL of the paths is the mean of ratio log ratio over unguided ones
    assert kept.mean() == pytest.approx(price_of_paths([last], weight).item(), abs=4.5 * kept.std() / math.sqrt(count))


def test_cor_guided_never():
    """With exact denoisers every weight but 1 leaves the class, and by the stochastic path for less than the price."""
    kappa = np.array([1.0, 4.0])
    for weight in (0.7, 4.0):
        by_sde, by_ode = (distortion(kappa, weight, sampler) for sampler in ("sde", "ode"))
        assert np.all(by_sde.divergence > 1e-3) and np.all(by_ode.divergence > 1e-3)
        assert np.all(by_sde.divergence < price_of_paths(kappa, weight))
        assert np.all(np.sign(by_sde.mean) == math.copysign(1.0, weight - 1.0))
    for sampler in ("sde", "ode"):
        still = distortion(kappa, 1.0, sampler)
        np.testing.assert_allclose(still.divergence, 0.0, atol=1e-6)
        np.testing.assert_allclose(still.mean, 0.0, atol=1e-7)
        np.testing.assert_allclose(still.deviation, 1.0, atol=1e-7)


def test_the_distortion_of_the_flow_from_behind():
    """Mean, deviation and divergence from the density that the way back gives: differences of second order."""
    kappa, weight = 4.0, 4.0
    L = np.linspace(-2.0, 16.0, 6001)
    xi = flow.origin_of(L, kappa, weight)
    slope = np.gradient(xi, L)
    density = slope * np.exp(-0.5 * xi**2) / math.sqrt(2.0 * math.pi)
    z = (L - 0.5 * kappa) / math.sqrt(kappa)
    log_ratio = np.log(slope * math.sqrt(kappa)) - 0.5 * xi**2 + 0.5 * z**2
    found = distortion([kappa], weight, "ode")
    mean = float(np.trapezoid(density * z, L))
    assert found.mean.item() == pytest.approx(mean, abs=1e-5)
    assert found.deviation.item() == pytest.approx(math.sqrt(np.trapezoid(density * (z - mean) ** 2, L)), abs=1e-5)
    assert found.divergence.item() == pytest.approx(float(np.trapezoid(density * log_ratio, L)), abs=1e-5)


def test_prop_guided_response():
    """A weak guidance in a window moves L by four times the entropy of the window; the flow, by its early part more."""
    assert hold("eq-guided-response")
    last, window, push = 6.0, (1.0, 3.0), 1e-3
    for prior in (0.5, 0.25):
        start = math.log(prior / (1.0 - prior))
        moved = guided_law([last], 1.0 + push, start, window).expectation(np.positive).item() - start - 0.5 * last
        gone = -float(np.diff(two_gaussians.entropy(np.array(window), prior)).item())
        assert moved / push == pytest.approx(2.0 / prior * gone, rel=5e-3)  # of second order in the push
    moved = flow.expectation(np.positive, [last], 1.0 + push, 0.0, window).item() - 0.5 * last
    kappa = np.linspace(*window, 2001)
    factor = 0.5 * np.sqrt(last / kappa) * 4.0 * two_gaussians.production(kappa)
    assert moved / push == pytest.approx(float(np.trapezoid(factor, kappa)), rel=5e-3)


def test_prop_guided_strong():
    """The half level times the weight tends to its limit as one over the weight."""
    assert hold("eq-guided-strong")
    limit = half_level_of_strong_guidance(2)
    assert limit == pytest.approx(math.sqrt(2.0) + math.log(1.0 + math.sqrt(2.0)), rel=1e-12)
    gaps = [weight * half_level(weight) / limit - 1.0 for weight in (5.0, 10.0)]
    assert 0.4 < gaps[1] / gaps[0] < 0.6 and 0.0 < gaps[1] < 0.06
    # Ten classes without noise: the equation itself, by small steps.
    for k in (3, 10):
        L, kappa, step = 0.0, 0.0, 1e-4
        while math.log1p((k - 1.0) * math.exp(-L)) > 0.5 * math.log(k):
            p = 1.0 / (1.0 + (k - 1.0) * math.exp(-L))
            L, kappa = L + 0.5 * step * (1.0 - p + (1.0 - p) / (k - 1.0)), kappa + step
        assert kappa == pytest.approx(half_level_of_strong_guidance(k), rel=1e-3)


def test_prop_guided_many():
    """Three classes by the equation and by paths; ten unguided, the class entropy; the slope at the start."""
    assert hold("eq-guided-among-many", "eq-guided-gap")
    levels = np.linspace(0.0, 0.4, 21)[1:]
    unguided = cross_entropy_of_paths(levels, 1.0, 10, 4000, np.random.default_rng(0))
    truth = equidistant.entropy(levels, 10)
    assert np.all(np.abs(unguided.cross_entropy - truth) < 4.5 * unguided.standard_error + 1e-4)
    exact = three_classes(levels[-2:], 4.0)
    drawn = cross_entropy_of_paths(levels, 4.0, 3, 5000, np.random.default_rng(1))
    assert np.all(np.abs(drawn.cross_entropy[-2:] - exact) < 4.5 * drawn.standard_error[-2:] + 2e-4)
    for k, weight in ((3, 4.0), (10, 2.0)):
        near = np.array([1e-4, 2e-4])
        drawn = cross_entropy_of_paths(near, weight, k, 4000, np.random.default_rng(2))
        slope = (drawn.cross_entropy[1] - math.log(k)) / near[1]
        assert slope == pytest.approx(-(2.0 * weight - 1.0) * (k - 1.0) / (4.0 * k), rel=1e-3)
