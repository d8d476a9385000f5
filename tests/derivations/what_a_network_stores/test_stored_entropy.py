"""What a network stores, against closed forms, quadratures and exact finite data."""

import math

import numpy as np
import pytest
import torch

from companion import InputError, empirical_distribution, isotropic_mixture
from companion.forward import linear, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.kit.coordinates import residual
from derivations.what_a_network_stores import entropy, proofs

BY_LABEL = {identity.label: identity for identity in proofs.identities()}
VP, VE, FLOW = entropy.SHARES.values()
LEVELS = np.linspace(-24.0, 24.0, 4801)  # Simpson's rule in steps of 0.01: 1e-10 of a smooth rate


def random_rotation(dimension, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension, dimension)))[0]


def test_prop_store_clock():
    """c is a process's own number, and the limits of the rates of a normal law of rank one in two dimensions."""
    assert BY_LABEL["eq-store-clock"].holds()
    for process, times, origin in (
        (ornstein_uhlenbeck(), [0.2, 1.0], VP),
        (linear(), [0.1, 0.7], VP),
        (variance_exploding(), [0.3, 5.0], VE),
        (rectified_flow(), [0.2, 0.9], FLOW),
    ):
        snr = np.exp(process.log_snr(np.array(times)))
        np.testing.assert_allclose(entropy.share(process, times), origin(snr / (1.0 + snr)), rtol=1e-9)
    flat, moment = [1.7, 0.0], 1.7
    for origin, last in ((VP, 0.5), (VE, 0.5), (FLOW, 0.5 + 0.5 * moment)):
        # What is left at the log-snr 24 is of the order exp(-12) where sigma itself appears, and smaller else.
        assert entropy.gaussian_rate(flat, 24.0, origin) == pytest.approx(last, abs=1e-4)
    assert entropy.gaussian_rate(flat, -24.0, VE) == pytest.approx(1.0, abs=1e-9)
    assert entropy.gaussian_rate(flat, -24.0, VP) == pytest.approx(0.0, abs=1e-9)


def test_thm_store_balance():
    """By SymPy for abstract densities, and the integrated form for a preserved and for a moving equilibrium."""
    assert residual(*BY_LABEL["eq-store-local"].sides, 2, 1) == [0, 0]
    assert BY_LABEL["eq-store-balance"].holds()
    preserved, moving = BY_LABEL["eq-store-balance"].worlds
    left, right = BY_LABEL["eq-store-balance"].sides
    without = right.args[0] if right.args[0].has(proofs.mixture_score) else right.args[1]
    assert preserved.agree((left, without)) and not moving.agree((left, without))


def test_thm_store_total():
    """The rate integrates to the divergence of a normal law, and capacity less information is what points store."""
    variances = [0.05, 0.7, 3.0]
    stored = entropy.total(LEVELS, entropy.gaussian_rate(variances, LEVELS, VP))[-1]
    divergence = 0.5 * sum(v - 1.0 - math.log(v) for v in variances)
    assert stored == pytest.approx(divergence, abs=1e-6)
    law = isotropic_mixture([[-1.3], [0.2], [0.9]], 0.0, [0.2, 0.5, 0.3])
    moment = 0.2 * 1.69 + 0.5 * 0.04 + 0.3 * 0.81
    coarse = np.linspace(-16.0, 6.0, 441)
    rate = entropy.capacity_rate(1, moment, coarse) - law.production(coarse)
    known = entropy.capacity(1, moment, coarse) - (float(law.entropy(-200.0)) - law.entropy(coarse))
    np.testing.assert_allclose(entropy.total(coarse, rate), known - known[0], atol=1e-6)
    assert abs(known[0]) < 1e-6
    assert BY_LABEL["eq-store-rate"].holds() and BY_LABEL["eq-store-total"].holds()


def test_cor_store_slope():
    """Finite data, a flat normal law, and a curve, each at the end of the log-snr."""
    points = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    law, moment = empirical_distribution(points), float(points.square().sum(dim=1).mean())
    end, generator = 30.0, torch.Generator().manual_seed(1)
    assert np.abs(entropy.sample_rate(law, [12.0, end], 200, generator)).max() < 1e-12
    intercept = float(entropy.capacity(3, moment, end)) - math.log(7.0) - 1.5 * end
    assert intercept == pytest.approx(0.5 * (moment - 3.0) - math.log(7.0), abs=1e-9)
    variances, end = np.array([0.3, 1.8, 0.0, 0.0, 0.0]), 20.0
    stored = float(entropy.stored_gaussian(np.diag(variances), end))
    limit = 0.5 * (variances.sum() - 5.0) - 0.5 * np.log(variances[:2]).sum()
    assert stored - 1.5 * end == pytest.approx(limit, abs=1e-6)  # the rest is of the order exp(-20)
    curve = entropy.curve(800)
    slope = entropy.capacity_rate(2, 2.0, 9.0) - entropy.sample_rate(curve, [9.0], 2000, generator)
    # The standard error was 0.0002 in ten seeds, and the curvature adds a few sigma^2 = 1e-4.
    assert slope == pytest.approx(0.5, abs=0.002)


def test_what_is_measured_is_what_the_theorem_says_of_points():
    """The mean of squares over noised data against capacity and information: within five standard errors."""
    law = isotropic_mixture([[-1.0, 0.2], [0.4, 0.9], [0.6, -0.8]], 0.0)
    generator = torch.Generator().manual_seed(0)
    clean, labels = law.sample(20_000, generator)
    moment = float(law.means.square().sum(dim=1).mean())
    levels = np.array([-2.0, 0.0, 3.0, 8.0])
    measured, error = entropy.stored(law, clean, levels, generator)
    exact = entropy.capacity_rate(2, moment, levels) - law.production(levels)
    assert np.all(np.abs(measured - exact) < 5.0 * error)  # false alarms: 4 in 1.7 million
    given, more = entropy.stored(law, clean, levels, generator, labels)
    shared = entropy.shared(law, clean, labels, levels, generator)
    assert np.all(np.abs(given - measured - shared) < 5.0 * (error + more))


def test_thm_store_correlation():
    """By quadratures in the plane; its end for points; and blocks of a joint normal law."""
    assert BY_LABEL["eq-store-correlation"].holds()
    assert BY_LABEL["eq-store-correlation-information"].holds()
    points = torch.tensor([[-1.0, 0.0], [-1.0, 2.0], [1.0, 2.0], [1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    levels, generator = np.linspace(-14.0, 10.0, 97), torch.Generator().manual_seed(0)
    rate = entropy.correlated(empirical_distribution(points), levels, 2000, generator)
    singles = -sum(share * math.log(share) for share in (0.4, 0.4, 0.2, 0.6, 0.4))
    # The standard error of the sum over levels was 0.01 in six seeds; five of it.
    assert entropy.total(levels, rate)[-1] == pytest.approx(singles - math.log(5.0), abs=0.05)
    joint = np.array([[1.3, 0.4, 0.2], [0.4, 0.9, -0.3], [0.2, -0.3, 0.7]])
    both = entropy.stored_gaussian(joint, [2.0, 60.0])
    alone = entropy.stored_gaussian(joint[:2, :2], [2.0, 60.0]) + entropy.stored_gaussian(joint[2:, 2:], [2.0, 60.0])
    for at, seen in zip((0, 1), (math.exp(2.0) / (1.0 + math.exp(2.0)), 1.0), strict=True):
        noised = seen * joint + (1.0 - seen) * np.eye(3)
        information = 0.5 * np.log(np.linalg.det(noised[:2, :2]) * noised[2, 2] / np.linalg.det(noised))
        assert both[at] - alone[at] == pytest.approx(information, abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_prop_store_rotation(seed):
    """Axes move the total correlation between its ends, and leave what is stored."""
    root = np.random.default_rng(seed).standard_normal((4, 6))
    covariance = root @ root.T / 4.0
    eigenvalues, axes = np.linalg.eigh(covariance)
    most = 2.0 * np.log(eigenvalues.mean()) - 0.5 * np.log(eigenvalues).sum()
    equal = axes @ (np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2.0)
    seen = []
    for basis in (axes, equal, random_rotation(4, seed)):
        turned = basis.T @ covariance @ basis
        turned = 0.5 * (turned + turned.T)
        seen.append(entropy.total_correlation(turned))
        total = 0.5 * (np.trace(turned) - np.linalg.slogdet(turned)[1] - 4.0)
        singles = 0.5 * (np.diag(turned) - 1.0 - np.log(np.diag(turned))).sum()
        assert total == pytest.approx(singles + seen[-1], abs=1e-10)
        assert entropy.stored_gaussian(turned, 60.0) == pytest.approx(total, abs=1e-10)
    assert seen[0] == pytest.approx(0.0, abs=1e-10) and seen[1] == pytest.approx(most, abs=1e-10)
    assert 0.0 < seen[2] < most
    assert BY_LABEL["eq-store-correlation-gaussian"].holds() and BY_LABEL["eq-store-gaussian"].holds()


@pytest.mark.parametrize("origin", [VP, VE, FLOW])
def test_prop_store_condition(origin):
    """The information of two numbers as the difference of totals, in every process."""
    within = math.exp(-2.0 * 0.8)
    whole = entropy.gaussian_rate([1.0], LEVELS, origin)
    given = entropy.gaussian_rate([within], LEVELS, origin, means=1.0 - within)
    assert entropy.total(LEVELS, given - whole)[-1] == pytest.approx(0.8, abs=1e-6)
    assert BY_LABEL["eq-store-condition"].holds() and BY_LABEL["eq-store-condition-rate"].holds()


def test_prop_store_bottleneck():
    """All sums of a small random channel x -> z and label, against the bound's five parts."""
    draw = np.random.default_rng(0)
    joint = draw.dirichlet(np.ones(12)).reshape(4, 3)  # of x and y
    encoder, decoder = draw.dirichlet(np.ones(5), 4), draw.dirichlet(np.ones(3), 5)
    target, gamma = draw.dirichlet(np.ones(5)), 0.7
    of_x, of_y, with_y = joint.sum(axis=1), joint.sum(axis=0), joint.T @ encoder
    of_z = of_x @ encoder
    objective = -(with_y.T * np.log(decoder)).sum() + gamma * (of_x @ (encoder * np.log(encoder / target)).sum(axis=1))
    parts = -(of_y * np.log(of_y)).sum()
    parts -= (with_y * np.log(with_y / of_y[:, None] / of_z)).sum()
    parts += gamma * (of_x @ (encoder * np.log(encoder / of_z)).sum(axis=1))
    parts += (with_y.T * np.log(with_y.T / of_z[:, None] / decoder)).sum()
    parts += gamma * (of_z * np.log(of_z / target)).sum()
    assert objective == pytest.approx(parts, abs=1e-12)
    assert BY_LABEL["eq-store-decoder"].holds()


def test_prop_store_wrong():
    """The loss of a wrong denoiser is its error and the entropy rate; weights keep the place of a minimum."""
    law = isotropic_mixture([[-1.0], [0.3], [1.2]], 0.0)
    generator, level = torch.Generator().manual_seed(0), 1.0
    clean, _ = law.sample(200_000, generator)
    sigma = torch.full((len(clean),), math.exp(-0.5 * level), dtype=torch.float64)
    x = clean + sigma[:, None] * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    wrong, exact = 0.3 + 0.5 * x, law(x, sigma, None)
    half = 0.5 * math.exp(level)
    loss, error = half * (wrong - clean).square(), half * (wrong - exact).square()
    apart = (loss - error).flatten()
    assert abs(float(apart.mean()) - float(law.production(level))) < 5.0 * float(apart.std()) / len(x) ** 0.5
    assert BY_LABEL["eq-store-wrong"].holds() and BY_LABEL["eq-store-regression"].holds()


def test_thm_store_control():
    """A linear control with everything in closed form; the reversal of the equilibrium has no gap."""
    assert residual(*BY_LABEL["eq-store-surprise"].sides, 2, 1) == [0, 0]
    for slope, offset, start, end in ((-0.5, 0.3, 0.7, 1.5), (0.4, -0.6, -1.5, 1.0), (-2.0, 1.0, 2.0, 0.5)):
        found = entropy.controlled(slope, offset, start, end)
        assert found.bound - found.gap == pytest.approx(found.truth, abs=1e-9)
        assert found.gap > 1e-3
    best = entropy.controlled(-1.0, 0.0, 0.7, 1.5)
    assert best.gap == pytest.approx(0.0, abs=1e-12) and best.bound == pytest.approx(best.truth, abs=1e-9)


def test_prop_store_loss():
    """For a normal law: the least loss is the information, and with the kernel's entropy the state's."""
    assert BY_LABEL["eq-store-square"].holds() and BY_LABEL["eq-store-kernel"].holds()
    variance, part = 1.5, LEVELS[LEVELS <= 8.0]
    snr = np.exp(part)
    least = entropy.total(part, 0.5 * snr * variance / (1.0 + snr * variance))[-1]  # (snr/2) E|D - x_0|^2
    noise = 1.0 / (1.0 + math.exp(8.0))
    of_kernel = 0.5 * math.log(2.0 * math.pi * math.e * noise)
    of_state = 0.5 * math.log(2.0 * math.pi * math.e * (variance * (1.0 - noise) + noise))
    # At the log-snr -24 the state still knows 3e-11 nats, and Simpson's rule misses less.
    assert least + of_kernel == pytest.approx(of_state, abs=1e-8)


def test_cor_store_split():
    """A normal number and two noisy latents of it: each part of the least loss is a difference of informations."""
    tau, ends, variance = 1.0, (-24.0, 8.0), 1.5
    loss, parts = 0.0, 0.0
    for first, last, latent in ((tau, ends[1], 0.5), (ends[0], tau, 2.0)):
        left = variance * latent / (variance + latent)  # Var(X_0 | Z), Z = X_0 + noise of the variance `latent`
        part = LEVELS[np.abs(LEVELS - 0.5 * (first + last)) <= 0.5 * (last - first) + 1e-9]
        error = 1.0 / (1.0 / left + np.exp(part))  # Var(X_0 | X, Z)
        loss += entropy.total(part, 0.5 * np.exp(part) * error)[-1]
        parts += 0.5 * math.log1p(left * math.exp(last)) - 0.5 * math.log1p(left * math.exp(first))
    assert loss == pytest.approx(parts, abs=1e-8)


def test_a_wrong_argument_is_one_clear_line():
    for matrix in ([[1.0, 2.0], [2.0, 1.0]], [1.0, 2.0], [[0.0]]):
        with pytest.raises(InputError, match="expected a positive definite matrix"):
            entropy.total_correlation(matrix)
    with pytest.raises(InputError, match="slope is 0"):
        entropy.controlled(0.0, 0.0, 0.0, 1.0)
