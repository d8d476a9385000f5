"""The statements of the chapter on neural entropy: each test carries the label of its statement."""

import numpy as np
import pytest
import torch

from companion.denoiser import FunctionDenoiser
from companion.entropy import neural_entropy_rate
from companion.errors import InputError
from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import full_mixture
from companion.forward import linear, noise_of, ornstein_uhlenbeck, scaled_linear
from derivations.neural_entropy.closed_forms import gaussian_rate, idle_loss, speed_of_clock
from derivations.neural_entropy.pixels import pixel_denoiser
from derivations.neural_entropy.readings import between, mean_of, own_images, read_images

# A mean of independent states is within four of its standard errors, but once in 16 000 times.
SURE = 4.0
POINTS, SHARES = np.array([-1.4, -0.1, 0.3, 1.7]), np.array([0.2, 0.3, 0.1, 0.4])


def on_line():
    return empirical_distribution(torch.from_numpy(POINTS)[:, None], weights=SHARES)


def rate_by_quadrature(level):
    """(snr/2) E|D - alpha^2 x|^2 of the four points, the density of the states written down: nothing of the theorem.

    The trapezoidal rule in steps of a tenth of the noise, nine deviations beyond the points, misses 1e-15.
    """
    sigma = float(noise_of(level))
    x = np.arange(POINTS[0] - 9.0 * sigma, POINTS[-1] + 9.0 * sigma, 0.1 * sigma)[:, None]
    bells = SHARES * np.exp(-0.5 * ((x - POINTS) / sigma) ** 2) / np.sqrt(2.0 * np.pi) / sigma
    density = np.maximum(bells.sum(axis=1), 1e-300)
    mean = torch.from_numpy(bells @ POINTS / density)[:, None]
    return float(0.1 * sigma * density @ neural_entropy_rate(mean, torch.from_numpy(x), level).numpy())


def test_thm_neural_saved():
    """Rate and bandwidth of four points add up to what there is to save; the bandwidth by another quadrature."""
    moment = float(SHARES @ POINTS**2)
    for level in (-6.0, -1.0, 0.5, 3.0, 8.0):
        bandwidth = float(on_line().production(level))
        assert rate_by_quadrature(level) + bandwidth == pytest.approx(float(idle_loss(1, moment, level)), rel=1e-9)


def test_thm_neural_saved_in_space():
    """Drawn states of tilted Gaussians in three dimensions, and the trace of their posterior covariance."""
    root = np.random.default_rng(0).standard_normal((2, 3, 3))
    means = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
    mixture = full_mixture(means.tolist(), (root @ root.transpose(0, 2, 1)).tolist())
    moment = float(0.5 * (np.einsum("kij,kij->k", root, root) + (means**2).sum(axis=1)).sum())
    count, level = 50_000, 0.7
    sigma = float(noise_of(level))
    x, _ = mixture.sample_noised(count, sigma, torch.Generator().manual_seed(0))
    noise = torch.full((count,), sigma, dtype=torch.float64)
    # sigma^2 times the divergence of D is the trace of the covariance; here by differences of D
    step, divergence = 1e-4, torch.zeros(count, dtype=torch.float64)
    for k in range(3):
        moved = torch.zeros(3, dtype=torch.float64)
        moved[k] = step
        divergence += (mixture(x + moved, noise, None) - mixture(x - moved, noise, None))[:, k] / (2.0 * step)
    whole = neural_entropy_rate(mixture(x, noise, None), x, level) + 0.5 * divergence
    found = mean_of(whole.numpy())
    assert abs(found.value - idle_loss(3, moment, level)) < SURE * found.error < 0.1


def test_eq_neural_pythagoras():
    """On drawn clean and noisy samples the two sides' squares add up to the hypotenuse's: they are orthogonal."""
    mixture = full_mixture([[0.0, 0.0], [2.0, 1.0]], [[[1.0, 0.4], [0.4, 0.5]], [[0.3, 0.0], [0.0, 0.3]]])
    count, level = 50_000, 1.0
    sigma, generator = float(noise_of(level)), torch.Generator().manual_seed(4)
    clean, _ = mixture.sample(count, generator)
    x = clean + sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    snr, prediction = np.exp(level), mixture(x, torch.full((count,), sigma, dtype=torch.float64), None)
    silent = snr / (1.0 + snr) * x  # alpha times the state of the process
    hypotenuse, missed = (0.5 * snr * (clean - guess).square().sum(dim=1) for guess in (silent, prediction))
    apart = mean_of((hypotenuse - missed - neural_entropy_rate(prediction, x, level)).numpy())
    assert abs(apart.value) < SURE * apart.error < 0.1
    moment = float(mixture.sample(400_000, generator)[0].square().sum(dim=1).mean())
    assert float(hypotenuse.mean()) == pytest.approx(float(idle_loss(2, moment, level)), rel=0.03)


def test_cor_neural_least():
    """The Gaussian of the same mean and covariance has the least rate, and is the only one here that has it."""
    levels = np.linspace(-8.0, 8.0, 33)
    mean = float(SHARES @ POINTS)
    variance = float(SHARES @ (POINTS - mean) ** 2)
    moment = variance + mean**2
    least = gaussian_rate([variance], [mean], levels)
    of_points = idle_loss(1, moment, levels) - on_line().production(levels)
    assert np.all(of_points >= least - 1e-12) and np.max(of_points - least) > 0.1
    # by Tweedie on a line: alpha^2 sigma^2 ... of the Gaussian itself, from its linear denoiser
    snr = np.exp(levels)
    signal = snr / (1.0 + snr)
    slope, shift = snr * variance / (1.0 + snr * variance), mean / (1.0 + snr * variance)
    wide = variance + 1.0 / snr
    exact = 0.5 * snr * ((slope - signal) ** 2 * wide + ((slope - signal) * mean + shift) ** 2)
    np.testing.assert_allclose(least, exact, rtol=1e-9)


def scaled(law, factor):
    """The denoiser of a law whose own part is longer by a factor."""

    def denoised(x, sigma, condition):
        signal = (1.0 / (1.0 + sigma.double() ** 2)).reshape(-1, *[1] * (x.dim() - 1))
        return signal * x + factor * (law(x, sigma, condition) - signal * x)

    return FunctionDenoiser(denoised, law.shape, law.classes, law.weights, True, dtype=torch.float64)


def test_prop_neural_excess():
    """The excess of an exact denoiser is zero on its own law; of one that is too long or too short it is not."""
    points = torch.randn(40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(40) % 4
    law, levels = empirical_distribution(points, labels), [-3.0, 0.0, 1.0]
    images, classes = points.repeat(200, 1), labels.repeat(200)
    exact = read_images(law, images, classes, levels)
    for branch in (exact.conditional, exact.null):
        excess, best = mean_of(branch.excess), branch.best_length()
        assert np.all(np.abs(excess.value) < SURE * excess.error)
        assert np.all(np.abs(best.value - 1.0) < SURE * best.error)
        moment = float(images.square().sum(dim=1).mean())
        sums = mean_of(branch.rate + branch.loss - branch.excess)
        np.testing.assert_allclose(sums.value, idle_loss(5, moment, levels), rtol=1e-9)  # for every denoiser
    for factor in (0.5, 2.0):
        wrong = read_images(scaled(law, factor), images, classes, levels).null
        best = wrong.best_length()
        assert np.all(np.abs(best.value - 1.0 / factor) < SURE * best.error)
        assert np.all(np.sign(mean_of(wrong.excess).value) == np.sign(factor - 1.0))


def test_prop_neural_excess_of_the_divergence():
    """The loss and the divergence of an exact denoiser are one number."""
    points = torch.randn(40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(40) % 4
    read = read_images(empirical_distribution(points, labels), points.repeat(200, 1), labels.repeat(200), [-2.0, 1.0])
    apart = mean_of(read.conditional.loss - read.conditional.divergence)
    assert np.all(np.abs(apart.value) < SURE * apart.error)


def test_prop_neural_unseen():
    """Any denoiser's loss on images of a law is at least the exact one's: so the rate of the law has a lower bound."""
    draw = torch.Generator().manual_seed(2)
    few, many = (torch.randint(0, 3, (n, 6), generator=draw).double() for n in (30, 4000))
    levels, labels = [-1.0, 1.0, 4.0], torch.arange(30) % 2
    exact = 3.0 * 2.0 * empirical_distribution(torch.tensor([[0.0], [1.0], [2.0]])).production(levels)
    for model in (empirical_distribution(few, labels), pixel_denoiser(few, labels, torch.arange(3.0))):
        loss = mean_of(read_images(model, many, torch.arange(4000) % 2, levels).null.loss)
        assert np.all(loss.value + SURE * loss.error > exact)


def test_histograms_denoise_pixels_whose_values_they_know():
    """Independent pixels: the histograms' denoiser is the exact one, but for the counts that are added."""
    draw = torch.Generator().manual_seed(5)
    images, labels = torch.randint(0, 3, (20_000, 4), generator=draw).double(), torch.arange(20_000) % 2
    model = pixel_denoiser(images, labels, torch.arange(3.0))
    levels = [-1.0, 2.0]
    loss = mean_of(read_images(model, images, labels, levels).null.loss)
    exact = 4.0 * empirical_distribution(torch.tensor([[0.0], [1.0], [2.0]])).production(levels)
    assert np.all(np.abs(loss.value - exact) < SURE * loss.error)


def test_prop_neural_label():
    """The rate given the class less that without it, integrated, is what clean data tell of the class."""
    points, labels = torch.tensor([[-1.4], [-0.1], [0.3], [1.7]], dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    law, levels = empirical_distribution(points, labels), np.linspace(-12.0, 10.0, 177)
    own = [empirical_distribution(points[labels == z]).production(levels) for z in (0, 1)]
    whole = empirical_distribution(points).production(levels)
    moments = [float(points[labels == z].square().mean()) for z in (0, 1)]
    given = np.mean([idle_loss(1, m, levels) - each for m, each in zip(moments, own, strict=True)], axis=0)
    apart = given - (idle_loss(1, float(np.mean(moments)), levels) - whole)
    np.testing.assert_allclose(apart, law.production(levels), atol=1e-9)
    assert np.trapezoid(apart, levels) == pytest.approx(np.log(2.0), abs=1e-4)


def test_prop_neural_label_of_drawn_states():
    """On an exact law's own points the branches' distance and the difference of their rates are the production."""
    points, labels = torch.tensor([[-1.4], [-0.1], [0.3], [1.7]], dtype=torch.float64), torch.tensor([0, 1, 0, 1])
    law, levels = empirical_distribution(points, labels), [-2.0, 0.0, 2.0]
    read = read_images(law, points.repeat(5000, 1), labels.repeat(5000), levels)
    for values in (read.apart, read.conditional.rate - read.null.rate):
        found = mean_of(values)
        assert np.all(np.abs(found.value - law.production(levels)) < SURE * found.error)


def test_prop_neural_clock():
    """Next to the data every linear VP clock runs like 1/t, so that each octave of time weighs the same."""
    for process in (linear(), scaled_linear(), ornstein_uhlenbeck()):
        t = np.array([1e-7, 2e-7, 1e-6])
        np.testing.assert_allclose(speed_of_clock(process, t) * t, 1.0, rtol=2e-3)
        passed = process.log_snr(t[0]) - process.log_snr(t[1])
        assert passed == pytest.approx(np.log(2.0), rel=1e-3)
        step = 1e-4
        slope = -(process.log_snr(0.1 + step) - process.log_snr(0.1 - step)) / (2.0 * step)
        assert float(speed_of_clock(process, 0.1)) == pytest.approx(float(slope), rel=1e-5)


def test_prop_neural_clock_of_a_gaussian():
    """Data of full dimension: per unit of time the rate stays finite, and what it tends to has a closed form."""
    variances, t = np.array([0.1, 0.5, 2.0]), np.array([1e-4, 1e-6])
    process = ornstein_uhlenbeck()
    per_time = gaussian_rate(variances, np.zeros(3), process.log_snr(t)) * speed_of_clock(process, t)
    limit = float(np.sum((variances - 1.0) ** 2 / variances))  # (g^2/2) E|s + x|^2 with g^2 = 2
    assert per_time[1] == pytest.approx(limit, rel=1e-3)
    flat = gaussian_rate([0.0, 1.0], np.zeros(2), process.log_snr(t)) * speed_of_clock(process, t) * t
    assert flat == pytest.approx([0.5, 0.5], rel=1e-3)  # one direction without data


def test_own_images_of_an_exact_law_are_its_points():
    points = torch.tensor([[-1.0, 0.5], [1.0, 0.0], [0.3, -2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1])
    law = empirical_distribution(points, labels)
    found = own_images(law, torch.tensor([1, 0, 1, 1]), np.linspace(-8.0, 10.0, 40))
    assert all(
        (row - points[labels == z]).abs().max(dim=1).values.min() < 1e-6
        for row, z in zip(found, (1, 0, 1, 1), strict=True)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: idle_loss(0, 1.0, 0.0), "dimension"),
        (lambda: idle_loss(2, float("nan"), 0.0), "second_moment"),
        (lambda: gaussian_rate([-1.0], [0.0], 0.0), "variances"),
        (lambda: between(np.array([0.0, 1.0]), np.zeros(2), 0.0, 0.5), "first, last"),
        (lambda: read_images(on_line(), torch.zeros(3, 1), torch.zeros(2).long(), [0.0, 1.0]), "images, labels"),
        (lambda: own_images(on_line(), torch.tensor([9]), [0.0, 1.0]), "labels"),
        (lambda: pixel_denoiser(torch.tensor([[0.5]]), torch.zeros(1).long(), torch.tensor([0.0])), "grey"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InputError, match=message):
        call()
