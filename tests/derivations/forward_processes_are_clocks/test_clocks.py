"""Clocks: every identity holds, no slip in one goes unseen, and each theorem is checked by a route of its own."""

import math

import numpy as np
import pytest
import sympy
import torch
from scipy import stats
from sympy import Derivative

from companion.exact.mixtures import full_mixture, isotropic_mixture
from companion.forward import (
    cosine,
    linear,
    ornstein_uhlenbeck,
    rectified_flow,
    scaled_linear,
    variance_exploding,
)
from derivations.forward_processes_are_clocks import clocks
from derivations.kit.identity import survivors
from derivations.kit.language import alpha, sigma, t

DOUBLE = torch.float64
PROCESSES = {
    "VP, constant rate": ornstein_uhlenbeck(),
    "VP, linear rate": linear(),
    "VP, scaled linear rate": scaled_linear(),
    "VP, cosine": cosine(),
    "VE, EDM": variance_exploding(),
    "rectified flow": rectified_flow(),
}
each_process = pytest.mark.parametrize("name", PROCESSES)

# (label, slip) of a survivor: what it says instead, equal to what the identity says by SymPy's own calculus.
RATIO = alpha**2 / sigma**2
SAME = {
    ("eq-clocks-diffusion", "alpha(t)**2/sigma(t)**2 negated"): Derivative(sympy.log(-RATIO), t),
    ("eq-clocks-diffusion", "alpha(t)**2/sigma(t)**2 doubled"): Derivative(sympy.log(2 * RATIO), t),
}


@pytest.mark.parametrize("identity", clocks.identities(), ids=lambda identity: identity.label)
def test_identity_holds(identity):
    assert identity.holds()


def test_every_slip_is_seen_or_is_none():
    found = {(one.label, mutant.slip) for one in clocks.identities() for mutant in survivors(one)}
    assert found == set(SAME)
    for other in SAME.values():
        assert sympy.simplify(other.doit() - sympy.log(RATIO).diff(t)) == 0


def test_thm_kernel_of_clock():
    """Nothing is left of the Fokker-Planck equation where mean and variance move as told; each error leaves its own."""
    left = clocks.kernel().last
    mean_off, variance_off = sympy.symbols("e_m e_v")
    assert left.subs({mean_off: 0, variance_off: 0}) == 0
    assert left.subs(mean_off, 0) != 0
    assert left.subs(variance_off, 0) != 0


@pytest.mark.parametrize("log_snr", [-4.0, 0.0, 2.5])
def test_thm_posterior_sees_snr(log_snr):
    """States that are one state x_0 + sigma eps of the VE frame have one posterior, whatever process carries them."""
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(4, 2, 2, dtype=DOUBLE, generator=generator)
    means = torch.randn(4, 2, dtype=DOUBLE, generator=generator)
    mixture = full_mixture(means, roots @ roots.mT + 0.1 * torch.eye(2), [0.1, 0.2, 0.3, 0.4], [0, 1, 2, 0])
    ve = torch.randn(20, 2, dtype=DOUBLE, generator=generator) * (1.0 + math.exp(-log_snr / 2.0))
    noise = torch.full((20,), math.exp(-log_snr / 2.0), dtype=DOUBLE)
    for process in PROCESSES.values():
        time = process.time(np.array(log_snr))
        own = float(process.alpha(time)) * ve
        found = mixture.diffused(process, time).posterior(own, torch.zeros(20, dtype=DOUBLE))
        torch.testing.assert_close(found, mixture.posterior(ve, noise), rtol=1e-9, atol=1e-10)


@each_process
@pytest.mark.parametrize("log_snr", [-3.0, 0.5, 2.0])
def test_cor_one_entropy(name, log_snr):
    """The class entropy in a process's own frame, by a plain sum over its own densities, is that of the log-snr."""
    mixture = isotropic_mixture([[-1.0], [0.2], [1.5]], [0.3, 0.2, 0.5], [0.2, 0.3, 0.5])
    process = PROCESSES[name]
    diffused = mixture.diffused(process, process.time(np.array(log_snr)))
    width = float(diffused.deviations.max())
    reach = float(diffused.means.abs().max()) + 9.0 * width
    line = torch.linspace(-reach, reach, 8001, dtype=DOUBLE)
    zero = torch.zeros_like(line)
    joint = torch.stack([w * diffused.log_density(line[:, None], zero, k).exp() for k, w in enumerate(mixture.weights)])
    surprise = -torch.special.xlogy(joint, joint / joint.sum(dim=0).clamp(min=1e-300))
    assert float(surprise.sum() * (line[1] - line[0])) == pytest.approx(float(mixture.entropy(log_snr)), abs=1e-9)


def test_thm_natural_variable():
    """Its proofs run; and dy = D dsnr + dB, stepped from nothing, arrives at the mixture's own distribution."""
    for prove in (
        clocks.natural_drift,
        clocks.natural_noise,
        clocks.carried_covariance,
        clocks.natural_covariance,
        clocks.reverse_drift,
    ):
        assert len(prove().steps) > 1
    mixture = isotropic_mixture([[-1.0], [0.5]], [0.2, 0.6], [0.3, 0.7])
    generator = torch.Generator().manual_seed(0)
    snr, steps, count = 3.0, 300, 2000
    y = torch.zeros(count, 1, dtype=DOUBLE)
    for k in range(steps):
        middle = snr * (k + 0.5) / steps  # y / middle is the VE state, up to the error of the step
        noise = torch.full((count,), middle**-0.5, dtype=DOUBLE)
        xi = torch.randn(count, 1, dtype=DOUBLE, generator=generator)
        y = y + mixture(y / middle, noise, None) * snr / steps + xi * (snr / steps) ** 0.5
    widths = np.sqrt(np.array([0.2, 0.6]) ** 2 + 1.0 / snr)
    distribution = stats.kstest(
        y[:, 0].numpy() / snr, lambda x: stats.norm.cdf(x[:, None], [-1.0, 0.5], widths) @ np.array([0.3, 0.7])
    )
    assert distribution.pvalue > 1e-3  # the seed is fixed


def test_thm_natural_variable_to_two_observers():
    """What y does beyond D dsnr has the mean zero given y, and the mean (D_Z - D) dsnr given the class as well: for a
    step of any length, as y tells all that its past does. The mean square of D_Z - D is twice the production in snr."""
    mixture = isotropic_mixture([[-1.0], [0.5]], [0.2, 0.6], [0.3, 0.7])
    generator = torch.Generator().manual_seed(0)
    snr, later, count = 1.0, 1.5, 200_000
    clean, classes = mixture.sample(count, generator)
    early, noise = (torch.randn(count, 1, dtype=DOUBLE, generator=generator) for _ in range(2))
    x = clean + early / snr**0.5
    sigma = torch.full((count,), snr**-0.5, dtype=DOUBLE)
    of_all, of_class = mixture(x, sigma, None), mixture(x, sigma, classes)
    beyond = (clean - of_all) * (later - snr) + noise * (later - snr) ** 0.5  # of the path's step
    for seen in (torch.ones_like(x), x, torch.tanh(2.0 * x)):
        product = beyond * seen
        assert abs(product.mean()) < 4.0 * product.std() / count**0.5
    product = (beyond - (of_class - of_all) * (later - snr)) * classes[:, None]
    assert abs(product.mean()) < 4.0 * product.std() / count**0.5
    hidden = beyond * (of_class - of_all) / (later - snr)
    expected = 2.0 * float(mixture.production(math.log(snr))) / snr
    assert abs(hidden.mean() - expected) < 4.0 * hidden.std() / count**0.5
    assert hidden.mean() > 20.0 * hidden.std() / count**0.5  # to who knows the class it is no Brownian motion


@each_process
def test_prop_predictions(name):
    """A network that learns E[a x_0 + b eps | x] is turned into the denoiser; the means by sums over x_0."""
    mixture = isotropic_mixture([[-1.0], [0.7]], [0.3, 0.6], [0.4, 0.6])
    process = PROCESSES[name]
    time = process.time(np.array(0.4))
    a_t, s_t = float(process.alpha(time)), float(process.sigma(time))
    x0 = torch.linspace(-6.0, 7.0, 4001, dtype=DOUBLE)
    prior = mixture.log_density(x0[:, None], torch.zeros_like(x0)).exp()
    for x in (-1.3, 0.2, 0.9):
        eps = (x - a_t * x0) / s_t
        share = prior * torch.exp(-0.5 * eps**2)
        share = share / share.sum()
        denoised = float(
            mixture(torch.tensor([[x / a_t]], dtype=DOUBLE), torch.tensor([s_t / a_t], dtype=DOUBLE), None)
        )
        for a, b in ((0.0, 1.0), (-s_t, a_t), (-1.0, 1.0)):  # eps, v, the flow's velocity
            predicted = float((share * (a * x0 + b * eps)).sum())
            assert (b * x - s_t * predicted) / (b * a_t - a * s_t) == pytest.approx(denoised, abs=1e-9)
    assert len(clocks.tweedie().steps) > 1
    assert len(clocks.velocity().steps) > 1


def test_prop_no_clock():
    """Two pairs of points equally far apart are undecided alike on every clock; under a drift tanh X they are not."""
    assert len(clocks.benes_kernel().steps) > 1
    assert len(clocks.benes_equation().steps) > 1
    time = 0.5
    entropies = [float(benes_pair(points, time).entropy(-math.log(time))) for points in ((-1.0, 1.0), (0.0, 2.0))]
    assert entropies[1] - entropies[0] > 0.01
    generator = np.random.default_rng(0)  # the same class entropies from simulated paths: Euler's rule, 1000 steps
    for points, expected in zip(((-1.0, 1.0), (0.0, 2.0)), entropies, strict=True):
        x = np.repeat(points, 10_000)
        for _ in range(500):
            x = x + np.tanh(x) * time / 500 + math.sqrt(time / 500) * generator.standard_normal(len(x))
        mixture = benes_pair(points, time)
        posterior = mixture.posterior(torch.from_numpy(x)[:, None], torch.full((len(x),), time**0.5, dtype=DOUBLE))
        surprise = -torch.cat([posterior[:10_000, 0], posterior[10_000:, 1]]).numpy()
        assert abs(surprise.mean() - expected) < 4.0 * surprise.std() / math.sqrt(len(x))


def benes_pair(points, time):
    """The points x_0 of each class after time t: Gaussians about x_0 +- t, their odds e^(2 x_0), variance t."""
    ends = [[x0 + sign * time] for x0 in points for sign in (1.0, -1.0)]
    weights = [0.5 * math.exp(sign * x0) / (2.0 * math.cosh(x0)) for x0 in points for sign in (1.0, -1.0)]
    return isotropic_mixture(ends, 0.0, weights, [0, 0, 1, 1])
