"""Gaussian mixtures against densities integrated to one, automatic differentiation, samples and invariances."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion.entropy import partition
from companion.errors import InputError
from companion.exact.mixtures import GaussianMixture, full_mixture, isotropic_mixture
from companion.forward import cosine, linear, ornstein_uhlenbeck, rectified_flow, scaled_linear, variance_exploding

DOUBLE = torch.float64
ROUNDING = 1e-10  # a few hundred float64 operations on numbers of order one to a hundred


def plane(seed: int, grouped: bool = False) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(4, 2, 2, dtype=DOUBLE, generator=generator)
    weights = torch.rand(4, dtype=DOUBLE, generator=generator) + 0.1
    return full_mixture(
        torch.randn(4, 2, dtype=DOUBLE, generator=generator),
        roots @ roots.mT + 0.05 * torch.eye(2),
        weights / weights.sum(),
        [0, 1, 0, 1] if grouped else None,
    )


def points(mixture: GaussianMixture, count: int = 5, seed: int = 1) -> torch.Tensor:
    return 2.0 * torch.randn(count, *mixture.shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def levels(count: int, value: float) -> torch.Tensor:
    return torch.full((count,), value, dtype=DOUBLE)


@pytest.mark.parametrize("condition", [None, 0, 1])
@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_density_integrates_to_one(condition, sigma):
    mixture = plane(0, grouped=True)
    line = torch.linspace(-25.0, 25.0, 1001, dtype=DOUBLE)  # the trapezoidal rule on a smooth function: rounding error
    grid = torch.cartesian_prod(line, line)
    density = mixture.log_density(grid, levels(len(grid), sigma), condition).exp()
    assert float(density.sum() * 0.05**2) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    "mixture", [plane(0), plane(1, grouped=True), isotropic_mixture(torch.eye(3), [0.0, 0.5, 2.0])]
)
@pytest.mark.parametrize("condition", [None, 0, 1])
def test_denoiser_is_the_gradient_of_the_log_density(mixture, condition):
    x, sigma = points(mixture).requires_grad_(), torch.linspace(0.3, 3.0, 5, dtype=DOUBLE)
    (gradient,) = torch.autograd.grad(mixture.log_density(x, sigma, condition).sum(), x)
    label = None if condition is None else torch.full((5,), condition)
    torch.testing.assert_close(mixture.score(x.detach(), sigma, label), gradient, rtol=ROUNDING, atol=ROUNDING)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), sigma=st.floats(0.01, 100.0))
def test_posterior_is_bayes_rule_and_mixes_the_class_denoisers(seed, sigma):
    mixture = plane(seed, grouped=True)
    x, level = points(mixture), levels(5, sigma)
    joint = torch.stack([mixture.log_density(x, level, k) + math.log(mixture.weights[k]) for k in (0, 1)], dim=1)
    posterior = mixture.posterior(x, level)
    torch.testing.assert_close(posterior, torch.log_softmax(joint, dim=1), rtol=1e-8, atol=1e-8)
    branches = torch.stack([mixture(x, level, torch.full((5,), k)) for k in (0, 1)], dim=1)
    torch.testing.assert_close((posterior.exp()[:, :, None] * branches).sum(dim=1), mixture(x, level, None))


def rotated(mixture: GaussianMixture, covariances: torch.Tensor, turn: torch.Tensor) -> GaussianMixture:
    return full_mixture(
        mixture.means @ turn.T, turn @ covariances @ turn.T, mixture.component_weights, mixture.component_classes
    )


def space(seed: int, dimension: int = 3) -> tuple[GaussianMixture, torch.Tensor]:
    """Four components in two classes, and their covariances: in three dimensions the axes of a matrix, turned over, are
    those of another one. In two they may be their own mirror image."""
    generator = torch.Generator().manual_seed(seed)
    roots = torch.randn(4, dimension, dimension, dtype=DOUBLE, generator=generator)
    covariances = roots @ roots.mT + 0.05 * torch.eye(dimension)
    means = torch.randn(4, dimension, dtype=DOUBLE, generator=generator)
    return full_mixture(means, covariances, [0.1, 0.2, 0.3, 0.4], [0, 1, 1, 0]), covariances


@pytest.mark.parametrize("sigma", [0.0, 0.3, 4.0])
@pytest.mark.parametrize("dimension", [3, 5])
def test_in_space_it_is_scipys_normal_law(sigma, dimension):
    """Densities by scipy, and D of a component from its matrix, mu + C (C + sigma^2)^-1 (x - mu)."""
    mixture, covariances = space(7, dimension)
    x, level = points(mixture), levels(5, sigma)
    noised = covariances + sigma**2 * torch.eye(dimension, dtype=DOUBLE)
    laws = [
        stats.multivariate_normal(mean, cov) for mean, cov in zip(mixture.means.numpy(), noised.numpy(), strict=True)
    ]
    joint = torch.from_numpy(np.stack([law.pdf(x.numpy()) for law in laws], axis=1)) * mixture.component_weights
    denoised = torch.stack(
        [
            mean + torch.linalg.solve(noise, (x - mean).T).T @ cov
            for mean, cov, noise in zip(mixture.means, covariances, noised, strict=True)
        ],
        dim=1,
    )
    of_class = [joint[:, [0, 3]].sum(dim=1), joint[:, [1, 2]].sum(dim=1)]
    posterior = torch.stack(of_class, dim=1) / joint.sum(dim=1, keepdim=True)
    torch.testing.assert_close(mixture.posterior(x, level).exp(), posterior, rtol=1e-9, atol=1e-12)
    for condition, parts in ((None, [0, 1, 2, 3]), (0, [0, 3]), (1, [1, 2])):
        total = joint[:, parts].sum(dim=1)
        density = total / mixture.component_weights[parts].sum()
        torch.testing.assert_close(mixture.log_density(x, level, condition), density.log(), rtol=1e-9, atol=1e-9)
        label = None if condition is None else torch.full((5,), condition)
        expected = (joint[:, parts, None] * denoised[:, parts]).sum(dim=1) / total[:, None]
        torch.testing.assert_close(mixture(x, level, label), expected, rtol=1e-8, atol=1e-8)
        if sigma > 0.0:
            torch.testing.assert_close(mixture.score(x, level, label), (expected - x) / sigma**2, rtol=1e-6, atol=1e-7)


def test_clean_scores_in_space_are_those_of_the_density():
    """At sigma = 0 too, where (D - x) / sigma^2 is 0 / 0."""
    mixture, _ = space(8)
    x = points(mixture).requires_grad_()
    for condition in (None, 0, 1):
        (gradient,) = torch.autograd.grad(mixture.log_density(x, levels(5, 0.0), condition).sum(), x)
        label = None if condition is None else torch.full((5,), condition)
        torch.testing.assert_close(mixture.score(x.detach(), levels(5, 0.0), label), gradient, rtol=1e-8, atol=1e-8)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), sigma=st.floats(0.05, 20.0))
def test_turning_space_turns_what_it_says(seed, sigma):
    mixture, covariances = space(seed)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed + 1)))
    turned = rotated(mixture, covariances, turn)
    x, level, label = points(mixture), levels(5, sigma), torch.tensor([0, 1, 1, 0, 1])
    torch.testing.assert_close(turned.posterior(x @ turn.T, level), mixture.posterior(x, level), rtol=1e-7, atol=1e-8)
    for condition in (None, label):
        expected = mixture(x, level, condition) @ turn.T
        torch.testing.assert_close(turned(x @ turn.T, level, condition), expected, rtol=1e-7, atol=1e-8)
    regrouped, again = (each.sides(partition(each, [1], [0])) for each in (mixture, turned))
    assert regrouped.weights == (0.5, 0.5)
    torch.testing.assert_close(again.posterior(x @ turn.T, level), regrouped.posterior(x, level), rtol=1e-7, atol=1e-8)
    odds = [(p[:, 0] - p[:, 1]) for p in (mixture.posterior(x, level), regrouped.posterior(x, level))]
    torch.testing.assert_close(odds[0], -odds[1])  # both classes weigh 1/2 here anyway


def test_samples_are_drawn_from_the_generator_that_is_given():
    before = torch.get_rng_state()
    for mixture in (plane(0), isotropic_mixture([[-1.0], [1.0]], 0.3)):
        first, again, other = (mixture.sample_noised(9, 0.5, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
        assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
        assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_in_space_have_the_means_and_covariances():
    """40 000 of a class of one component, in units in which the covariance is 1: a mean of 1 / sqrt(n), a product of
    sqrt(2 / n), within five deviations."""
    mixture, covariances = space(9)
    single = full_mixture(mixture.means[:2], covariances[:2], [0.4, 0.6])
    x, z = single.sample(40_000, torch.Generator().manual_seed(0), condition=1)
    assert set(z.tolist()) == {1}
    units = torch.linalg.solve(torch.linalg.cholesky(covariances[1]), (x - single.means[1]).T)
    assert units.mean(dim=1).abs().max() < 5.0 / math.sqrt(40_000)
    assert (units @ units.T / 40_000 - torch.eye(3)).abs().max() < 5.0 * math.sqrt(2.0 / 40_000)


def test_isotropic_and_full_say_the_same():
    means, deviation = [[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, -1.0]], torch.tensor([0.5, 1.0, 2.0], dtype=DOUBLE)
    round_ones = isotropic_mixture(means, deviation, [0.2, 0.3, 0.5])
    matrices = deviation[:, None, None] ** 2 * torch.eye(3, dtype=DOUBLE)
    general = full_mixture(means, matrices, [0.2, 0.3, 0.5])
    x, sigma, label = points(round_ones), torch.linspace(0.1, 9.0, 5, dtype=DOUBLE), torch.tensor([0, 1, 2, 1, 0])
    for ask in (lambda m: m(x, sigma, label), lambda m: m(x, sigma, None), lambda m: m.posterior(x, sigma)):
        torch.testing.assert_close(ask(round_ones), ask(general), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("mixture", [plane(3), plane(3, grouped=True)])
def test_a_batch_of_labels_is_its_rows_one_by_one(mixture):
    x, sigma = points(mixture), torch.linspace(0.1, 9.0, 5, dtype=DOUBLE)
    label = torch.tensor([1, 0, 1, 1, 0])
    rows = [mixture(x[i : i + 1], sigma[i : i + 1], label[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(mixture(x, sigma, label), torch.cat(rows), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_samples_follow_the_density(sigma):
    mixture = plane(2, grouped=True)
    x, z = mixture.sample_noised(4000, sigma, torch.Generator().manual_seed(0))
    for k in (0, 1):
        share = float((z == k).double().mean())
        error = math.sqrt(mixture.weights[k] * (1.0 - mixture.weights[k]) / 4000)
        assert abs(share - mixture.weights[k]) < 4.0 * error
        parts = mixture._components_of(k)
        width = (mixture.deviations[parts, None, :] ** 2 * mixture.axes[parts] ** 2).sum(dim=2).add(sigma**2).sqrt()
        weights = mixture.component_weights[parts] / mixture.component_weights[parts].sum()

        def marginal(value, parts=parts, width=width, weights=weights):
            means = mixture.means[parts, 0].numpy()
            return stats.norm.cdf(value[:, None], means, width[:, 0].numpy()) @ weights.numpy()

        # A correct sampler fails at this level once in a thousand seeds; the seed is fixed.
        assert stats.kstest(x[z == k, 0].numpy(), marginal).pvalue > 1e-3


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), log_snr=st.floats(-5.0, 8.0), grouped=st.booleans())
@pytest.mark.parametrize(
    "process",
    [ornstein_uhlenbeck(), linear(), scaled_linear(), cosine(), variance_exploding(), rectified_flow()],
    ids=lambda process: process.name,
)
def test_a_diffused_mixture_is_the_one_of_the_ve_frame_seen_in_another(process, seed, log_snr, grouped):
    """p_t(x) = alpha^-d p(x / alpha) at noise sigma / alpha: densities with the Jacobian, posteriors without."""
    mixture, t = plane(seed, grouped), process.time(torch.tensor(log_snr, dtype=DOUBLE).numpy())
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    diffused, none = mixture.diffused(process, t), levels(5, 0.0)
    x = alpha * points(mixture)
    there = (x / alpha, levels(5, sigma / alpha))
    for k in (None, 0, 1):
        expected = mixture.log_density(*there, k) - 2.0 * math.log(alpha)
        torch.testing.assert_close(diffused.log_density(x, none, k), expected, rtol=1e-9, atol=1e-9)
        label = None if k is None else torch.full((5,), k)
        gradient = mixture.score(*there, label) / alpha
        torch.testing.assert_close(diffused.score(x, none, label), gradient, rtol=1e-8, atol=1e-8 / alpha)
    torch.testing.assert_close(diffused.posterior(x, none), mixture.posterior(*there), rtol=1e-8, atol=1e-9)
    assert diffused.weights == mixture.weights
    assert diffused.classes == mixture.classes


def test_a_diffused_mixture_has_the_density_of_the_process():
    mixture = isotropic_mixture([[-1.0], [0.5], [2.0]], [0.0, 0.4, 1.0], [0.2, 0.5, 0.3], [0, 1, 0])
    x = torch.linspace(-4.0, 4.0, 9, dtype=DOUBLE)
    for process, t in ((ornstein_uhlenbeck(), 0.3), (variance_exploding(), 2.0), (rectified_flow(), 1.0)):
        found = mixture.diffused(process, t).log_density(x[:, None], levels(9, 0.0)).exp()
        alpha, widths = float(process.alpha(t)), mixture.deviations.numpy()
        centre, width = alpha * mixture.means[:, 0].numpy(), np.hypot(alpha * widths, process.sigma(t))
        expected = torch.from_numpy(stats.norm.pdf(x[:, None].numpy(), centre, width)) @ mixture.component_weights
        torch.testing.assert_close(found, expected, rtol=ROUNDING, atol=ROUNDING)


def test_at_the_first_time_a_diffused_mixture_is_the_clean_one():
    for mixture in (plane(0), isotropic_mixture([[-1.0], [1.0]], [0.0, 0.5])):
        for process in (linear(), variance_exploding(), rectified_flow()):
            assert mixture.diffused(process, 0.0).digest == mixture.digest


def test_ends_of_the_noise_axis():
    mixture = isotropic_mixture([[-1.0], [1.0]], 0.0, [0.3, 0.7])
    x = torch.tensor([[0.9]], dtype=DOUBLE)
    assert mixture(x, levels(1, 1e-3), None).item() == pytest.approx(1.0, abs=1e-12)
    assert mixture(x, levels(1, 1e6), None).item() == pytest.approx(0.4, abs=1e-9)  # the mean: nothing is known
    assert mixture.posterior(x, levels(1, 1e6)).exp().tolist()[0] == pytest.approx([0.3, 0.7], abs=1e-9)


def test_sides_are_those_of_the_partition():
    mixture = isotropic_mixture([[0.0], [1.0], [2.0], [3.0]], 0.1, [0.1, 0.2, 0.3, 0.4])
    true = mixture.sides(partition(mixture, [0], [1, 3], "true"))
    assert true.weights == pytest.approx((1 / 7, 6 / 7))
    assert true.component_classes.tolist() == [0, 1, 1]
    balanced = mixture.sides(partition(mixture, [0], [1, 3]))
    assert balanced.component_weights.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 3])
    assert balanced.digest != true.digest
    with pytest.raises(InputError, match="condition is"):
        isotropic_mixture([[0.0], [1.0]], 0.1).sides(partition(mixture, [0], [3]))


@pytest.mark.parametrize("whole", ["all", "null"])
def test_a_class_on_both_sides_leaves_the_floor(whole):
    """In clean data the class is known, and what is open of the side is the partition's own floor."""
    mixture = isotropic_mixture([[0.0], [1.0], [2.0], [3.0]], 0.1, [0.1, 0.2, 0.3, 0.4])
    asked = partition(mixture, [0, 2], whole)
    sides = mixture.sides(asked)
    assert sides.weights == pytest.approx((0.5, 0.5))
    assert float(sides.entropy(-40.0)) == pytest.approx(asked.entropy, abs=1e-9)
    assert float(sides.entropy(40.0)) == pytest.approx(asked.floor, abs=1e-6)  # classes ten deviations apart


def test_two_hundred_classes_a_step_is_fast():
    generator = torch.Generator().manual_seed(0)
    mixture = isotropic_mixture(torch.randn(200, 64, dtype=DOUBLE, generator=generator), 0.5)
    x, sigma = points(mixture, 1000), levels(1000, 1.0)
    labels = [torch.full((1000,), k) for k in range(200)]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        for label in labels:
            mixture(x, sigma, label)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0  # 0.05 s when written, 0.25 ms a call


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: isotropic_mixture([[0.0], [math.nan]], 1.0), "means is"),
        (lambda: isotropic_mixture([0.0, 1.0], 1.0), "means is"),
        (lambda: isotropic_mixture([[0.0], [1.0]], -1.0), "deviation is"),
        (lambda: isotropic_mixture([[0.0], [1.0]], [1.0, 1.0, 1.0]), "deviation is"),
        (lambda: isotropic_mixture([[0.0], [1.0]], 1.0, [0.5, 0.6]), "weights is"),
        (lambda: isotropic_mixture([[0.0], [1.0]], 1.0, [1.0, 0.0]), "weights is"),
        (lambda: isotropic_mixture([[0.0], [1.0]], 1.0, [math.nan, 1.0]), "weights is"),
        (lambda: isotropic_mixture([[0.0], [1.0]], 1.0, None, [0, 2]), "component_classes is"),
        (lambda: isotropic_mixture([[0.0], [1.0]], 1.0, None, [0, 0]), "component_classes is"),
        (lambda: full_mixture([[0.0], [1.0]], torch.ones(2, 2, 2)), "covariances is"),
        (lambda: full_mixture([[0.0, 0.0]] * 2, torch.ones(2, 2, 2)), "covariances is of eigenvalues"),
        (lambda: full_mixture([[0.0, 0.0]] * 2, torch.tensor([[1.0, 0.5], [0.0, 1.0]]).expand(2, 2, 2)), "symmetric"),
        (lambda: plane(0).sample(0, torch.Generator()), "count is 0"),
        (lambda: plane(0).diffused(rectified_flow(), 1.5), "t is 1.5"),
        (lambda: plane(0).diffused(linear(), math.nan), "t is nan"),
        (lambda: plane(0).diffused(linear(), [0.1, 0.2]), "expected one time"),
        (lambda: plane(0).diffused(variance_exploding(), math.inf), "expected a time of finite alpha and sigma"),
        (lambda: plane(0)(torch.zeros(1, 2, dtype=DOUBLE), levels(1, 1.0), torch.tensor([4])), "condition is 4"),
    ],
)
def test_bad_input_is_refused(build, says):
    with pytest.raises(InputError, match=says):
        build()
