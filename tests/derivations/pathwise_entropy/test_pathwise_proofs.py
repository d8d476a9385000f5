"""The derivations for pathwise entropy: every displayed equation, its mutants, and the numbers that follow from it."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from companion.entropy import binary_entropy
from companion.exact import gaussian_pairs, two_gaussians
from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.forward import ornstein_uhlenbeck, variance_exploding
from derivations.kit import landmarks
from derivations.kit.algebra import same_identity
from derivations.kit.identity import survivors
from derivations.kit.reverse_paths import reverse_paths
from derivations.pathwise_entropy import pathwise, proofs

IDENTITIES = {identity.label: identity for identity in proofs.identities()}

# A mutant that holds because it says the same: a factor inside the logarithm adds a multiple of the sum of p(i|x) times
# (D_i - D), which is zero, and the sign of a vector does not change its square.
SAME = {
    "eq-entropy-slope": ["posterior[i] doubled"],
    "eq-variance-production": ["posterior[i] doubled", "(-D + D[i])*log(posterior[i])*posterior[i] negated"],
}


def hold(*labels: str) -> bool:
    return all(IDENTITIES[label].holds() for label in labels)


@pytest.mark.parametrize("label", sorted(IDENTITIES))
def test_every_identity_holds_and_no_slip_survives_that_says_another_thing(label):
    assert IDENTITIES[label].holds()
    left = survivors(IDENTITIES[label])
    assert [mutant.slip for mutant in left] == SAME.get(label, [])
    assert all(same_identity(mutant, IDENTITIES[label], classes=2) for mutant in left)


def entropy_at(mixture: GaussianMixture, y: torch.Tensor, snr: float) -> np.ndarray:
    sigma = torch.full((len(y),), 1.0 / math.sqrt(snr), dtype=torch.float64)
    log_p = mixture.posterior(y / snr, sigma).numpy()
    return -(np.exp(log_p) * np.maximum(log_p, -700.0)).sum(axis=1)


def test_thm_pathwise_walk():
    """In the plane: drift and noise of h against differences along y and the snr, and a short step of exact paths."""
    assert hold("eq-posterior-martingale", "eq-posterior-slope", "eq-entropy-drift", "eq-entropy-slope")
    mixture = isotropic_mixture([[-1.0, 0.3], [0.8, 0.6], [0.2, -1.1]], [0.5, 0.7, 0.4], [0.5, 0.2, 0.3])
    snr, step = 1.7, 1e-3
    y = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.full((50,), 1.0 / math.sqrt(snr), dtype=torch.float64)
    x = y / snr
    p = np.exp(mixture.posterior(x, sigma).numpy())
    each = np.stack([mixture(x, sigma, torch.full((50,), k)).numpy() for k in range(3)], axis=1)
    away = each - mixture(x, sigma, None).numpy()[:, None]
    here = entropy_at(mixture, y, snr)
    drift = (entropy_at(mixture, y, snr + step) - entropy_at(mixture, y, snr - step)) / (2.0 * step)
    noise = []
    for axis in torch.eye(2, dtype=torch.float64):
        up, down = (entropy_at(mixture, y + sign * step * axis, snr) for sign in (1.0, -1.0))
        noise.append((up - down) / (2.0 * step))
        drift += 0.5 * (up - 2.0 * here + down) / step**2
    noise = np.stack(noise, axis=1)
    drift += (noise * mixture(x, sigma, None).numpy()).sum(axis=1)
    # Differences of second order: step^2 times numbers of order ten.
    np.testing.assert_allclose(drift, -0.5 * (p * (away**2).sum(axis=2)).sum(axis=1), atol=3e-5)
    np.testing.assert_allclose(noise, -((p * np.log(p))[:, :, None] * away).sum(axis=1), atol=3e-5)


def test_cor_pathwise_rises():
    """Half of all short steps rise, Doob's bound, and the exact share that comes back to a tie."""
    two = isotropic_mixture([[-1.0], [1.0]], 0.0)
    shares, count = [], 40_000
    for step in (1e-3, 1e-5):
        states, _ = reverse_paths(two, [0.0, step], count, torch.Generator().manual_seed(0))
        before, after = (
            entropy_at(two, math.exp(at) * x, math.exp(at)) for at, x in zip((0.0, step), states, strict=True)
        )
        shares.append(float((after > before).mean()))
    # At a step dk of kappa the drift over the noise is sqrt(dk)/(2 |L|): the share misses 1/2 by about its mean.
    assert shares[0] < 0.5 + 4.5 * 0.5 / math.sqrt(count)
    assert shares[1] == pytest.approx(0.5, abs=0.01)

    walk, count = np.linspace(-3.0, 4.5, 500), 20_000
    states, _ = reverse_paths(two, walk, count, torch.Generator().manual_seed(1))
    odds = 2.0 * np.exp(walk)[:, None] * states[:, :, 0].numpy()
    gained = np.diff(4.0 * np.exp(walk))[:, None]
    sure = expit(np.abs(odds)) >= 0.9
    assert sure.any(axis=0).all()
    first = sure.argmax(axis=0)
    start = np.take_along_axis(odds, first[None], axis=0)[0]
    ahead = np.arange(len(walk) - 1)[:, None] >= first
    products = np.maximum(odds[1:] * odds[:-1], 0.0)
    back = 1.0 - np.prod(np.where(ahead, -np.expm1(-2.0 * products / gained), 1.0), axis=0)  # Brownian bridges
    expected = 2.0 * expit(-np.abs(start))
    assert back.mean() == pytest.approx(float(expected.mean()), abs=4.5 * back.std() / math.sqrt(count))

    h = binary_entropy(odds)
    start_entropy = np.take_along_axis(h, first[None], axis=0)[0]
    for c in (0.4, 0.6):
        reached = np.where(np.arange(len(walk))[:, None] > first, h, 0.0).max(axis=0) >= c
        assert reached.mean() <= float((start_entropy / c).mean()) + 4.5 * 0.5 / math.sqrt(count)


def test_thm_variance_production():
    """Two Gaussian classes: the general slope is the one in kappa; and that of a sample against integrals over it."""
    assert hold("eq-variance-production")
    apart, s, sigma = 2.5, 0.8, 0.9
    x, clean = np.linspace(-14.0, 14.0, 1401), np.linspace(-9.0, 9.0, 2401)

    def parts(noise):
        data = sum(np.exp(-0.5 * ((clean - m) / s) ** 2) for m in (-0.5 * apart, 0.5 * apart))
        joint = np.exp(-0.5 * ((x[:, None] - clean) / noise) ** 2) * data
        weight = joint.sum(axis=1) / joint.sum()
        p = joint / joint.sum(axis=1, keepdims=True)
        log_p = np.log(np.maximum(p, 1e-300))
        h = -(p * log_p).sum(axis=1)
        away = clean - (p @ clean)[:, None]
        return weight, h, (p * log_p * away).sum(axis=1), (p * away**2).sum(axis=1)

    def variance(snr):
        weight, h, _, _ = parts(1.0 / math.sqrt(snr))
        return float(weight @ (h - weight @ h) ** 2)

    snr, step = 1.0 / sigma**2, 1e-3
    weight, h, noise, trace = parts(sigma)
    slope = weight @ noise**2 - weight @ ((h - weight @ h) * trace)
    assert slope == pytest.approx((variance(snr + step) - variance(snr - step)) / (2.0 * step), abs=1e-6)

    kappa, v, step = apart**2 / (s**2 + sigma**2), s**2 + sigma**2, 1e-4
    in_kappa = (two_gaussians.variance(kappa + step) - two_gaussians.variance(kappa - step)) / (2.0 * step)
    L = apart * x / v
    gamma, h_b = expit(L), binary_entropy(L)
    bells = sum(np.exp(-0.5 * (x - m) ** 2 / v) for m in (-0.5 * apart, 0.5 * apart))
    weight = bells / bells.sum()
    gap = (apart * sigma**2 / v) ** 2  # |D_1 - D_2|^2, and d kappa = |D_1 - D_2|^2 d snr
    square = (L * gamma * (1.0 - gamma)) ** 2 * gap  # sum p log p (D_i - D) is gamma (1 - gamma) L (D_1 - D_2)
    slope = weight @ square - weight @ ((h_b - weight @ h_b) * gamma * (1.0 - gamma) * gap)
    assert slope / gap == pytest.approx(float(in_kappa), abs=1e-8)


def test_eq_entropy_chain():
    """ID 69 at one state, all four entropies by integrals over x_0: classes of other widths and weights."""
    x, sigma, means, widths, weights = 0.4, 0.9, (-1.0, 0.8), (0.5, 1.1), (0.3, 0.7)
    clean = np.linspace(-12.0, 12.0, 8001)
    step = clean[1] - clean[0]
    noised = np.exp(-0.5 * ((x - clean) / sigma) ** 2)
    joint = np.stack(
        [w * np.exp(-0.5 * ((clean - m) / s) ** 2) / s * noised for m, s, w in zip(means, widths, weights, strict=True)]
    )
    joint /= joint.sum() * step  # p(x_0, z | x)

    def surprise(density):
        return -density * np.log(np.maximum(density, 1e-300))

    share, total = joint.sum(axis=1) * step, joint.sum(axis=0)
    within = sum(p * surprise(each / p).sum() * step for p, each in zip(share, joint, strict=True))
    told = joint / np.maximum(total, 1e-300)
    left_open = float((total * surprise(told).sum(axis=0)).sum() * step)
    assert left_open > 0.1  # it is no correction here
    assert surprise(total).sum() * step == pytest.approx(within + surprise(share).sum() - left_open, abs=1e-12)


def test_thm_sample_entropy():
    """The sample's entropy in three dimensions from samples of x_0 alone, the ends, and the bound."""
    assert hold("eq-remaining-evidence")
    apart, s, sigma, d, count = 2.0, 0.8, 0.7, 3, 400_000
    total = s**2 + sigma**2
    x = np.array([0.35, -0.4, 1.0])  # the means at +-1 on the first axis
    draw = np.random.default_rng(0)
    odds = apart * x[0] / total
    gamma, variance = float(expit(odds)), (s * sigma) ** 2 / total
    means = np.zeros((2, d))
    means[:, 0] = 0.5 * apart, -0.5 * apart
    centres = means + s**2 / total * (x - means)
    side = (draw.uniform(size=count) > gamma).astype(int)
    clean = centres[side] + math.sqrt(variance) * draw.standard_normal((count, d))
    exponents = -0.5 * ((clean[:, None] - centres) ** 2).sum(axis=2) / variance + np.log([gamma, 1.0 - gamma])
    log_density = np.logaddexp(*exponents.T) - 0.5 * d * math.log(2.0 * math.pi * variance)
    clean_kappa = (apart / s) ** 2
    expected = 0.5 * d * math.log(2.0 * math.pi * math.e * variance)
    expected += float(pathwise.information_to_come(odds, clean_kappa - apart**2 / total))
    assert -log_density.mean() == pytest.approx(expected, abs=4.5 * log_density.std() / math.sqrt(count))
    assert float(pathwise.sample_variance(0.0, clean_kappa)) == pytest.approx(0.0, abs=1e-13)
    assert float(pathwise.sample_variance(clean_kappa, clean_kappa)) == pytest.approx(0.0, abs=1e-13)
    for clean_kappa in (4.0, 16.0, 36.0):
        kappa = np.linspace(0.0, clean_kappa, 25)
        gap = np.abs(np.sqrt(pathwise.sample_variance(kappa, clean_kappa)) - np.sqrt(two_gaussians.variance(kappa)))
        assert np.all(gap <= 0.5 * math.log(2.0) * np.exp(-(clean_kappa - kappa) / 8.0) + 1e-6)


def test_prop_variance_collapse():
    """Three classes of unequal weight: V_Z by sampling in other dimensions, widths and processes, at one eta."""
    assert hold("eq-effective-snr")
    eta, count = 2.1, 100_000
    shape = np.array([[0.0, 0.0], [1.3, 0.2], [-0.4, 1.1]])
    found = []
    for d, s, process in (
        (2, 0.0, ornstein_uhlenbeck()),
        (7, 0.5, variance_exploding()),
        (40, 1.0, ornstein_uhlenbeck()),
    ):
        means = np.zeros((3, d))
        means[:, :2] = math.sqrt(d) * shape
        noise = math.sqrt(d / eta - s**2)  # of the variance-exploding frame, sigma/alpha
        time = process.time(np.array(-2.0 * math.log(noise)))
        alpha, sigma = float(process.alpha(time)), float(process.sigma(time))
        assert d * alpha**2 / (alpha**2 * s**2 + sigma**2) == pytest.approx(eta, rel=1e-9)
        mixture = isotropic_mixture(means.tolist(), s, [0.5, 0.3, 0.2])
        x, _ = mixture.sample_noised(count, noise, torch.Generator().manual_seed(d))
        log_p = mixture.posterior(x, torch.full((count,), noise, dtype=torch.float64)).numpy()
        h = -(np.exp(log_p) * np.maximum(log_p, -700.0)).sum(axis=1)
        squares = (h - h.mean()) ** 2
        found.append((squares.mean(), squares.std() / math.sqrt(count)))
    values, errors = np.array(found).T
    assert np.all(np.abs(values - values[0]) < 4.5 * np.hypot(errors, errors[0]))
    for u, limit in ((0.8, 0.0), (1.0, float(two_gaussians.variance(16.0 / 3.0))), (1.2, 0.0)):
        value = float(two_gaussians.variance(16.0 / 3.0 * 1e40 / (1e40**u - 1.0)))
        assert value == pytest.approx(limit, abs=1e-12)


@pytest.mark.parametrize(("d", "s"), [(10.0, 0.0), (100.0, 1.0), (1e6, 0.5)])
def test_cor_variance_peak(d, s):
    """The times of the corollary, put into the processes' own kernels, have the landmark and the largest variance."""
    delta, star = 2.0 * math.sqrt(4.0 / 3.0), landmarks.largest_variance()
    low, high = pathwise.half_height()

    def times(kappa):
        return 0.5 * math.log(d * delta**2 / kappa + 1.0 - s**2), math.sqrt(d * delta**2 / kappa - s**2)

    for n, process in enumerate((ornstein_uhlenbeck(), variance_exploding())):
        at = np.array(times(star)[n]) * np.array([0.999, 1.0, 1.001])
        kappa = two_gaussians.control_parameter(process.alpha(at), process.sigma(at), delta * math.sqrt(d), s)
        assert float(kappa[1]) == pytest.approx(star, rel=1e-9)
        assert two_gaussians.variance(kappa).argmax() == 1
    if s == 1.0:
        assert times(low)[0] - times(high)[0] == pytest.approx(0.5 * math.log(high / low), rel=1e-12)
    if s == 0.0:
        span = (low**-0.5 - high**-0.5) * delta * math.sqrt(d)
        assert times(low)[1] - times(high)[1] == pytest.approx(span, rel=1e-12)


def test_prop_two_widths():
    """V_h in three dimensions by sampling x_0's entropy, and both limits at fixed kappa."""
    d, apart, widths, sigma = 3, 9.0, (1.0, 0.6), 2.5
    found = pathwise.two_widths(d, apart, *widths, -2.0 * math.log(sigma))
    draw, count = np.random.default_rng(0), 400_000
    side = draw.integers(2, size=count)
    means = np.zeros((2, d))
    means[1, 0] = apart
    total = np.array(widths) ** 2 + sigma**2
    x = means[side] + np.sqrt(total)[side, None] * draw.standard_normal((count, d))
    logs = -0.5 * ((x[:, None] - means) ** 2).sum(axis=2) / total - 0.5 * d * np.log(total)
    gamma = expit(logs[:, 0] - logs[:, 1])
    inside = 0.5 * d * np.log(2.0 * math.pi * math.e * (np.array(widths) * sigma) ** 2 / total)
    h = gamma * inside[0] + (1.0 - gamma) * inside[1] + binary_entropy(logs[:, 0] - logs[:, 1])
    squares = (h - h.mean()) ** 2
    assert float(found.both) == pytest.approx(squares.mean(), abs=4.5 * squares.std() / math.sqrt(count))
    # What this leaves out is the class entropy of clean data.
    clean = gaussian_pairs.gaussian_pair([1.0] * 2, [0.36] * 2, gap=[apart, 0.0], multiplicity=[1, 2])
    assert float(clean.entropy(60.0)) < 1e-6

    kappa, errors = 5.0, []
    posterior = 0.25 - 2.0 * float(two_gaussians.production(kappa))
    for d in (10**3, 10**6):
        distance = math.sqrt(16.0 * d / 3.0)
        found = pathwise.two_widths(d, distance, *widths, -math.log(distance**2 / kappa))
        limits = float(two_gaussians.variance(kappa)), math.log(widths[0] / widths[1]) ** 2 * posterior
        errors.append((float(found.class_part) / limits[0] - 1.0, float(found.both) / d**2 / limits[1] - 1.0))
    assert np.all(np.abs(errors[0]) < 0.01)
    assert np.all(np.abs(errors[1]) < 1e-5)  # both errors are of the order of 1/d
