"""The derivations for Gaussian classes: every displayed equation, its mutants, and the numbers that follow from it."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from companion.exact import two_gaussians
from companion.exact.laws import production_in_time
from companion.exact.mixtures import isotropic_mixture
from companion.forward import Process, linear, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.gaussian_mixtures import proofs
from derivations.kit import landmarks
from derivations.kit.identity import survivors

IDENTITIES = {identity.label: identity for identity in proofs.identities()}


def hold(*labels: str) -> bool:
    return all(IDENTITIES[label].holds() for label in labels)


@pytest.mark.parametrize("label", sorted(IDENTITIES))
def test_every_identity_holds_and_no_slip_survives(label):
    assert IDENTITIES[label].holds()
    assert [mutant.slip for mutant in survivors(IDENTITIES[label])] == []


@pytest.mark.parametrize("process", [ornstein_uhlenbeck(), variance_exploding()], ids=lambda process: process.name)
def test_def_gaussian_classes(process):
    """A class noised by the exact kernel has the mean alpha mu and the variance v; kappa is their ratio."""
    mu, s, t, count = 3.0, 0.7, np.array(0.6), 200_000
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    clean, noise = np.random.default_rng(0).standard_normal((2, count))
    states = alpha * (mu + s * clean) + sigma * noise
    v = alpha**2 * s**2 + sigma**2
    assert states.mean() == pytest.approx(alpha * mu, abs=4.5 * math.sqrt(v / count))
    assert states.var() == pytest.approx(v, rel=4.5 * math.sqrt(2.0 / count))
    assert two_gaussians.control_parameter(alpha, sigma, mu, s) == pytest.approx((alpha * mu) ** 2 / v, rel=1e-14)


def test_thm_gaussian_log_odds():
    """The law of the log-odds on states drawn in ten dimensions: means, covariances, normality."""
    assert hold("eq-linear-log-odds", "eq-evidence", "eq-log-odds-covariance")
    draw = np.random.default_rng(0)
    means, weights, s, sigma, count = 0.6 * draw.standard_normal((4, 10)), [0.4, 0.3, 0.2, 0.1], 0.5, 0.8, 200_000
    mixture = isotropic_mixture(means.tolist(), s, weights)
    x, _ = mixture.sample_noised(count, sigma, torch.Generator().manual_seed(1), condition=0)
    posterior = mixture.posterior(x, torch.full((count,), sigma, dtype=torch.float64)).numpy()
    log_odds = posterior[:, :1] - posterior[:, 1:]
    distances = np.linalg.norm(means[:, None] - means[None, :], axis=-1)
    kappa = two_gaussians.control_parameter(1.0, sigma, distances, s)
    covariance = 0.5 * (kappa[0, 1:, None] + kappa[0, None, 1:] - kappa[1:, 1:])
    expected = np.log(weights[0] / np.array(weights[1:])) + 0.5 * kappa[0, 1:]
    deviations = np.sqrt(np.diag(covariance))
    # Standard errors: of a mean 1/sqrt(n); of a normal covariance at most sqrt(2/n) of the deviations' product.
    assert np.all(np.abs(log_odds.mean(axis=0) - expected) < 4.5 * deviations / math.sqrt(count))
    error = np.abs(np.cov(log_odds.T) - covariance)
    assert np.all(error < 4.5 * math.sqrt(2.0 / count) * np.outer(deviations, deviations))
    standard = (log_odds - expected) / deviations
    assert np.all(np.abs((standard**3).mean(axis=0)) < 4.5 * math.sqrt(15.0 / count))
    assert np.all(np.abs((standard**4).mean(axis=0) - 3.0) < 4.5 * math.sqrt(96.0 / count))


CLOCKS = [(ornstein_uhlenbeck(), 0.7), (linear(), 0.4), (variance_exploding(), 1.3), (rectified_flow(), 0.6)]


@pytest.mark.parametrize(("process", "t"), CLOCKS, ids=lambda value: value.name if isinstance(value, Process) else "")
def test_thm_kappa_production(process, t):
    """(g^2/2v) kappa_ij E[p(i|x) p(j|x)], summed over pairs, against the package's production in time."""
    assert hold("eq-score-gap", "eq-kappa-production")
    mixture, s = isotropic_mixture([[-1.0], [0.5], [2.0]], 0.4, [0.2, 0.5, 0.3]), 0.4
    alpha, sigma = float(process.alpha(np.array(t))), float(process.sigma(np.array(t)))
    v = (alpha * s) ** 2 + sigma**2
    means, x = mixture.means[:, 0].numpy(), np.linspace(-12.0, 14.0, 4001)
    kappa = alpha**2 * (means[:, None] - means[None, :]) ** 2 / v
    scaled = (x / np.sqrt(v) - alpha * means[:, None] / np.sqrt(v)) ** 2
    joint = np.array(mixture.weights)[:, None] * np.exp(-0.5 * scaled) / np.sqrt(2.0 * np.pi * v)
    together = np.einsum("in,jn->ij", joint / joint.sum(axis=0), joint) * (x[1] - x[0])
    found = process.diffusion(np.array(t)) / (4.0 * v) * (kappa * together).sum()
    assert found == pytest.approx(float(production_in_time(mixture, process, t)), rel=1e-9)


@pytest.mark.parametrize(("process", "t"), CLOCKS, ids=lambda value: value.name if isinstance(value, Process) else "")
def test_cor_kappa_clock(process, t):
    """d log kappa/dt = -g^2/v, and -dH/dlog kappa from it, against differences."""
    assert hold("eq-kappa-clock")
    distance, s, step = 3.0, 0.4, 1e-4

    def at(time):
        return two_gaussians.control_parameter(
            process.alpha(np.array(time)), process.sigma(np.array(time)), distance, s
        )

    v = (process.alpha(np.array(t)) * s) ** 2 + process.sigma(np.array(t)) ** 2
    slope = (np.log(at(t + step)) - np.log(at(t - step))) / (2.0 * step)
    assert slope == pytest.approx(float(-process.diffusion(np.array(t)) / v), rel=1e-5)  # step^2 times a few hundred
    pair = isotropic_mixture([[0.0], [distance]], s)
    in_time = float(production_in_time(pair, process, t))
    assert in_time == pytest.approx(
        float(at(t) * two_gaussians.production(at(t)) * process.diffusion(np.array(t)) / v), rel=1e-9
    )


def test_lem_log_odds_diffusion():
    """A mean over L moves with kappa by E[f''/2 + tanh(L/2) f'/2], for a function that is no entropy."""
    assert hold("eq-log-odds-diffusion")
    prior, kappa, step = 0.7, 2.3, 1e-3
    share = 1.0 / (1.0 + math.exp(-prior))

    def mean(function, at):
        u = np.linspace(-10.0, 10.0, 2001)
        bell = np.exp(-0.5 * u**2) / np.exp(-0.5 * u**2).sum()
        sides = ((share, 0.5), (1.0 - share, -0.5))
        return sum(weight * function(prior + sign * at + math.sqrt(at) * u) @ bell for weight, sign in sides)

    slope = (mean(np.sin, kappa + step) - mean(np.sin, kappa - step)) / (2.0 * step)
    generator = mean(lambda x: -0.5 * np.sin(x) + 0.5 * np.tanh(0.5 * x) * np.cos(x), kappa)
    assert slope == pytest.approx(generator, abs=1e-6)  # step^2


def test_thm_binary_curve():
    """The one integral against quadrature in the states, in four dimensions and with unequal weights."""
    assert hold("eq-binary-entropy", "eq-binary-production", "eq-binary-curvature", "eq-competing-mass")
    mixture = isotropic_mixture([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, -2.0, 0.0]], 0.5, [0.3, 0.7])
    log_snr = np.array([-3.0, -1.0, 1.0])
    kappa = two_gaussians.control_parameter(1.0, np.exp(-0.5 * log_snr), 3.0, 0.5)
    np.testing.assert_allclose(two_gaussians.entropy(kappa, 0.3), mixture.entropy(log_snr), rtol=1e-10)
    share = 1.0 - kappa * 0.25 / 9.0  # dlog kappa/dlambda = sigma^2/v
    np.testing.assert_allclose(
        kappa * two_gaussians.production(kappa, 0.3) * share, mixture.production(log_snr), rtol=1e-10
    )


def test_prop_landmarks():
    """Each universal landmark makes its own derivative vanish, and the midpoint's slope is one at the pitchfork."""
    assert hold("eq-binary-curvature", "eq-variance-slope", "eq-midpoint-slope")
    peak, widest = landmarks.largest_production(), landmarks.largest_variance()
    assert two_gaussians.production(peak) == pytest.approx(float(peak * two_gaussians.curvature(peak)), rel=1e-13)
    around = widest * np.array([0.999, 1.0, 1.001])
    assert two_gaussians.variance(around).argmax() == 1
    assert two_gaussians.entropy(landmarks.half_entropy()) == pytest.approx(0.5 * math.log(2.0), rel=1e-13)
    assert landmarks.score_splits() == 4.0


def test_prop_moving_peaks():
    """The clocks' rates, and the peak of dH/dt found in time without them, with the process's own coefficients."""
    assert hold("eq-vp-rate", "eq-ve-rate", "eq-log-snr-rate")
    distance, s = 5.0, 0.7
    pair = isotropic_mixture([[0.0], [distance]], s)
    for process, near, peak in (
        (ornstein_uhlenbeck(), (0.5, 2.0), landmarks.peak_in_vp_time),
        (variance_exploding(), (0.5, 4.0), landmarks.peak_in_ve_time),
    ):

        def slope(t, process=process):
            step = 2e-3
            ends = [float(production_in_time(pair, process, t + m * step)) for m in (-2, -1, 1, 2)]
            return ends[0] - 8.0 * ends[1] + 8.0 * ends[2] - ends[3]

        time = np.array(brentq(slope, *near, xtol=1e-12))
        found = two_gaussians.control_parameter(process.alpha(time), process.sigma(time), distance, s)
        assert peak(distance, s) == pytest.approx(float(found), rel=1e-7)  # step^4, and 1e-11/step of quadrature
