"""Each statement of the chapters "Listening to the posterior" and "What each improvement buys", by its label, against
a computation of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, roots_hermitenorm

from benchmarks.listening_results import AVERAGED as STORED_AVERAGED
from benchmarks.listening_results import cases, entropy_on_paths, expected_entropy
from companion.denoiser import FunctionDenoiser
from companion.entropy import binary_entropy, partition
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import measure
from companion.estimate.noise import path_noise
from companion.estimate.paths import Paths, trajectories
from companion.estimate.plan import DEFAULT, PUBLISHED
from companion.estimate.run import profile
from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.forward import edm_levels, log_snr_levels, noise_of

NEAR = isotropic_mixture([[-2.0], [2.0]], 1.0)
AVERAGED = replace(DEFAULT, name="averaged", extrapolated=False)
UNEQUAL = isotropic_mixture([[-0.5, 0.0], [0.5, 0.0]], [0.5, 1.0])
ROUNDING = 1e-9  # of sums over some sixty steps of numbers up to a hundred, in float64


@given(
    st.floats(0.05, 80.0),
    st.floats(0.02, 0.99),
    st.lists(st.floats(-5.0, 5.0), min_size=9, max_size=9),
)
def test_prop_two_forms(sigma, share, numbers):
    """A step of the natural variable y, and the Gaussian kernel in x, lead to the same state."""
    x, guess, noise = np.array(numbers).reshape(3, 3)
    after = share * sigma
    dsnr = after**-2 - sigma**-2
    natural = after**2 * (x / sigma**2 + guess * dsnr + np.sqrt(dsnr) * noise)
    kept = (after / sigma) ** 2
    kernel = kept * x + (1.0 - kept) * guess + after * np.sqrt(1.0 - kept) * noise
    np.testing.assert_allclose(natural, kernel, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mixture", [NEAR, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize("own", [0, 1])
def test_thm_log_odds(mixture, own):
    """The accumulated increments are the log-ratio of the kernels' densities along the path, for coarse steps too."""
    levels, paths = log_snr_levels(12, -5.0, 4.0), 50
    sigma = torch.from_numpy(noise_of(levels))
    noise = map(torch.from_numpy, path_noise(3, range(paths), mixture.shape[0]))  # what `trajectories` draws
    x = next(noise) * sigma[0]
    total = torch.zeros(paths, dtype=torch.float64)
    run = trajectories(mixture, Paths((0, 1), [own] * paths, levels, seed=3, from_nothing=False))
    for step, held in enumerate(run.held):
        np.testing.assert_allclose(held[:, 1 - own], total.numpy(), atol=ROUNDING)
        np.testing.assert_allclose(held[:, own], 0.0)
        if step + 1 == len(levels):
            break
        kept = (sigma[step + 1] / sigma[step]) ** 2
        noisy = sigma[step].expand(paths)
        means = [kept * x + (1.0 - kept) * mixture(x, noisy, torch.full((paths,), z)) for z in (0, 1)]
        variance = sigma[step + 1] ** 2 * (1.0 - kept)
        x = means[own] + variance.sqrt() * next(noise)
        squares = [((x - mean) ** 2).sum(dim=1) for mean in means]
        total += (squares[own] - squares[1 - own]) / (2.0 * variance)


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.8, 0.2]])
def test_prop_partition_production(weights):
    """E[gamma (1 - gamma) |D_A - D_B|^2] snr / 2 over fresh samples is the derivative of the exact entropy."""
    mixture = isotropic_mixture([[-0.5], [0.5]], [0.5, 1.0], weights)
    count = 40000
    for log_snr in (-2.0, 0.0, 2.0):
        sigma = torch.full((count,), float(noise_of(log_snr)), dtype=torch.float64)
        x, _ = mixture.sample_noised(count, float(sigma[0]), torch.Generator().manual_seed(1))
        posterior = mixture.posterior(x, sigma).exp()
        apart = mixture(x, sigma, torch.zeros(count).long()) - mixture(x, sigma, torch.ones(count).long())
        values = 0.5 * np.exp(log_snr) * (posterior.prod(dim=1) * apart.square().sum(dim=1)).numpy()
        step = 1e-4
        slope = mixture.entropy(log_snr - step) - mixture.entropy(log_snr + step)
        error = values.std() / np.sqrt(count)
        assert abs(values.mean() - slope / (2.0 * step)) < 4.0 * error  # four standard errors
        assert mixture.production(log_snr) == pytest.approx(slope / (2.0 * step), rel=1e-5)


@pytest.mark.parametrize("mixture", [NEAR, UNEQUAL], ids=["equal", "unequal"])
def test_prop_truncation(mixture):
    """Started at a level, a run leaves out what the level knows: kappa/8 of the means for little signal."""
    distance = float((mixture.means[0] - mixture.means[1]).norm())
    for sigma in (40.0, 80.0):
        levels = edm_levels(4, sigma_max=sigma)
        known = np.log(2.0) - float(mixture.entropy(levels[0]))
        # the next order is of relative size kappa and d (s_A^2 - s_B^2)^2 snr / distance^2, below 0.01 for both
        assert known == pytest.approx(distance**2 / (8.0 * sigma**2), rel=0.01)
        asked = partition(mixture, [0], [1])
        published, default = (
            profile(mixture, asked, log_snr=levels, samples=200, seed=0, method=method)
            for method in (PUBLISHED, DEFAULT)
        )
        assert published.entropy[0] == pytest.approx(np.log(2.0), abs=1e-12)
        assert published.truncation == pytest.approx(known, rel=0.05)
        assert abs(default.entropy[0] - np.log(2.0) + known) < 0.05 * known


def without_noise(mixture, log_snr, method):
    """E h_b(L) where |D_A - D_B| depends on the level only: L has a normal law, and the sums are on a single path."""
    run = trajectories(mixture, Paths((0, 1), [0], log_snr, 0, method.from_nothing))
    spread, step = run.gaps[:, 0, 1].square().sum(dim=1).numpy(), run.dsnr.numpy()
    variance = np.cumsum(step * spread) - step * spread
    drift = variance.copy()
    if method.averaged:
        drift[1:] = np.cumsum(step[:-1] * (spread[:-1] + spread[1:])) / 2.0
    xi = np.linspace(-9.0, 9.0, 401)
    bell = np.exp(-0.5 * xi**2) / np.exp(-0.5 * xi**2).sum()

    def expected(of_noise):
        return binary_entropy(0.5 * drift[:, None] + np.sqrt(of_noise)[:, None] * xi) @ bell

    expectation = expected(variance)
    if method.extrapolated:
        coarse = variance.copy()
        for k in range(2, len(coarse)):
            coarse[k] = coarse[k - 2] + (step[k - 2] + step[k - 1]) * spread[k - 2]
        expectation = 2.0 * expectation - expected(coarse)
    return expectation[-len(log_snr) :], variance[-len(log_snr) :]


@pytest.mark.parametrize(
    "method",
    [PUBLISHED, replace(AVERAGED, control=False), replace(DEFAULT, control=False)],
    ids=["published", "averaged", "two sizes"],
)
def test_prop_bias_is_the_expectation_of_the_estimate(method):
    levels = edm_levels(32)
    expected, variance = without_noise(NEAR, levels, method)
    if method is PUBLISHED:
        np.testing.assert_allclose(expected, two_gaussians.entropy(variance), rtol=1e-9)
    (found,), _ = measure(NEAR, [partition(NEAR, [0], [1])], levels, 4000, 5, method)
    entropy, error = weighted_mean(found.entropy_of_path, found)
    assert np.all(np.abs(entropy - expected) < 4.5 * error + 1e-12)  # 32 dependent levels, four and a half errors
    assert np.abs(expected - NEAR.entropy(levels)).max() > 0.003  # or the line above could not tell


def test_prop_bias_to_leading_order():
    levels = log_snr_levels(1024, -8.0, 4.0)
    kappa = two_gaussians.control_parameter(1.0, noise_of(levels), 4.0, 1.0)
    xi = np.linspace(-9.0, 9.0, 401)
    bell = np.exp(-0.5 * xi**2) / np.exp(-0.5 * xi**2).sum()
    log_odds = 0.5 * kappa[:, None] + np.sqrt(kappa)[:, None] * xi
    undecided = 0.25 / np.cosh(0.5 * log_odds) ** 2
    for method, factor in ((PUBLISHED, -undecided), (AVERAGED, (log_odds - 1.0) * undecided)):
        # from nothing in both, so that truncation is not in the difference
        found, variance = without_noise(NEAR, levels, replace(method, from_nothing=True))
        bias = found - two_gaussians.entropy(kappa)
        # a step is 0.012 in log-snr: so much smaller, times a small number, is the next order
        np.testing.assert_allclose(bias, 0.5 * (variance - kappa) * (factor @ bell), atol=0.03 * np.abs(bias).max())


@pytest.mark.parametrize("grid", [edm_levels, lambda n: log_snr_levels(n, -10.0, 10.0)], ids=["edm", "log-snr"])
def test_prop_bias_is_of_first_order(grid):
    for method, least in ((PUBLISHED, 1.9), (AVERAGED, 1.8)):  # 2 in the limit, which the average reaches later
        worst = []
        for count in (512, 1024):
            expected, _ = without_noise(NEAR, grid(count), method)
            worst.append(np.abs(expected - NEAR.entropy(grid(count))).max())
        assert least < worst[0] / worst[1] < 2.1


@pytest.mark.parametrize("grid", [edm_levels, lambda n: log_snr_levels(n, -10.0, 10.0)], ids=["edm", "log-snr"])
def test_prop_two_sizes_is_of_second_order(grid):
    """Without noise, equal covariances: four times less with twice the levels, within a twentieth."""
    worst = []
    for count in (512, 1024):
        expected, _ = without_noise(NEAR, grid(count), DEFAULT)
        worst.append(np.abs(expected - NEAR.entropy(grid(count))).max())
    assert 3.8 < worst[0] / worst[1] < 4.2


def test_eq_predicted_drift():
    """Every D of a run is that of the state which the recursion of the page reaches, to rounding."""
    levels, own, seed = log_snr_levels(6, -2.0, 3.0), np.array([0, 1, 0, 1, 1]), 4
    snr, noise = np.exp(levels), path_noise(seed, range(5), 2)
    y, before = next(noise) * np.sqrt(snr[0]), None
    run = trajectories(UNEQUAL, Paths((0, 1), own, levels, seed, from_nothing=False, predicted=True))
    for k, predictions in enumerate(run.predictions):
        sigma = torch.full((5,), snr[k] ** -0.5, dtype=torch.float64)
        asked = [UNEQUAL(torch.from_numpy(y / snr[k]), sigma, torch.full((5,), z)) for z in (0, 1)]
        guess = torch.stack(asked).numpy()
        np.testing.assert_allclose(predictions, guess, rtol=1e-10, atol=1e-12)
        if k + 1 < len(levels):
            step = snr[k + 1] - snr[k]
            drift = guess if before is None else guess + (snr[k] - snr[k - 1]) / (2.0 * step) * (guess - before)
            y = y + drift[own, np.arange(5)] * step + np.sqrt(step) * next(noise)
            before = guess


def predicted_law(predicted, steps, functions):
    """E f(y) after the recursion of the page, exactly: noise of three values whose moments to the fifth are normal.

    One dimension, a class of two components: D bends. From y = 0.2 at snr 0.3 to snr 0.8, steps that grow.
    """
    snr = 0.3 * (0.8 / 0.3) ** (np.arange(steps + 1) / steps)
    y, weight, before = np.array([0.2]), np.ones(1), None
    for k in range(steps):
        step = snr[k + 1] - snr[k]
        sigma = torch.full(y.shape, snr[k] ** -0.5, dtype=torch.float64)
        guess = BENT(torch.from_numpy(y[:, None] / snr[k]), sigma, torch.zeros(len(y)).long()).numpy()[:, 0]
        drift = guess
        if predicted and k:
            drift = guess + (snr[k] - snr[k - 1]) / (2.0 * step) * (guess - before)
        y = ((y + drift * step)[:, None] + np.sqrt(3.0 * step) * np.array([-1.0, 0.0, 1.0])).ravel()
        weight = (weight[:, None] * np.array([1.0, 4.0, 1.0]) / 6.0).ravel()
        before = np.repeat(guess, 3)
    return np.array([function(y) @ weight for function in functions])


BENT = isotropic_mixture([[-1.0], [1.5], [0.5]], [0.5, 0.7, 1.0], [0.15, 0.35, 0.5], component_classes=[0, 0, 1])


def test_lem_predicted_paths():
    """The mean of y^2 and of the posterior's entropy, for a drift that is not linear: order two, and one without."""

    def undecided(y):
        sigma = torch.full(y.shape, 0.8**-0.5, dtype=torch.float64)
        log_posterior = BENT.posterior(torch.from_numpy(y[:, None] / 0.8), sigma).numpy()
        return binary_entropy(log_posterior[:, 0] - log_posterior[:, 1])

    functions = (np.square, undecided)
    # From a state the path goes on along x_0 dsnr + dB, with x_0 drawn from its posterior, a mixture of two normals.
    mean, width, prior = np.array([-1.0, 1.5]), np.array([0.5, 0.7]), np.array([0.3, 0.7])
    variance = 0.3 + 0.3**2 * width**2
    posterior = prior * np.exp(-0.5 * (0.2 - 0.3 * mean) ** 2 / variance) / np.sqrt(variance)
    posterior /= posterior.sum()
    centre = 0.2 + 0.5 * (mean + 0.2 * width**2) / (1.0 + 0.3 * width**2)
    spread = np.sqrt(0.5 + 0.5**2 * width**2 / (1.0 + 0.3 * width**2))
    xi = np.linspace(-9.0, 9.0, 2001)
    bell = np.exp(-0.5 * xi**2) / np.exp(-0.5 * xi**2).sum()
    truth = np.array(
        [sum(p * (f(c + s * xi) @ bell) for p, c, s in zip(posterior, centre, spread, strict=True)) for f in functions]
    )
    for predicted, least, most in ((False, 1.8, 2.2), (True, 3.4, 5.5)):  # 2 and 4 in the limit
        few, many = (np.abs(predicted_law(predicted, steps, functions) - truth) for steps in (5, 10))
        assert np.all((least < few / many) & (few / many < most))


def test_lem_predicted_paths_of_unequal_covariances():
    """The exact posterior's mean entropy on the paths of two Gaussian classes, without sampling, twice the levels."""
    mixture = cases()["unequal 1"]
    for method, least, most in ((STORED_AVERAGED, 1.9, 2.1), (DEFAULT, 3.7, 4.1)):
        worst = []
        for count in (129, 257):
            levels, at = log_snr_levels(count, -10.0, 10.0), np.arange(0, count, (count - 1) // 16)
            worst.append(np.abs(entropy_on_paths(mixture, levels, at, method) - mixture.entropy(levels[at])).max())
        assert least < worst[0] / worst[1] < most


@pytest.mark.parametrize("case", ["unequal 1", "unequal 16"])
@pytest.mark.parametrize("method", [PUBLISHED, STORED_AVERAGED, DEFAULT], ids=lambda method: method.name)
def test_the_expected_estimate_is_the_mean_of_the_estimates(case, method):
    """4000 paths of 24 levels; ten dependent levels, each within four and a half standard errors."""
    mixture, levels, at = cases()[case], edm_levels(24), np.arange(1, 24, 2)
    expected = expected_entropy(mixture, levels, at, method)
    assert np.abs(expected - mixture.entropy(levels[at])).max() > 0.005  # or the next line could not tell
    asked = partition(mixture, [0], [1])
    (found,), _ = measure(mixture, [asked], levels, 4000, 11, replace(method, control=True), block=2000)
    entropy, error = weighted_mean(found.entropy_of_path, found)
    assert np.all(np.abs(entropy[at] - expected) < 4.5 * error[at] + 1e-9)


def test_prop_two_sizes_is_of_second_order_for_unequal_covariances():
    """Without sampling: twice the levels halve the bias of one size of steps and quarter that of two sizes."""
    mixture = cases()["unequal 1"]
    for method, least, most in ((PUBLISHED, 1.9, 2.3), (STORED_AVERAGED, 1.9, 2.3), (DEFAULT, 3.6, 4.2)):
        worst = []
        for count in (129, 257):
            levels, at = edm_levels(count), np.arange(0, count, (count - 1) // 8)
            worst.append(np.abs(expected_entropy(mixture, levels, at, method) - mixture.entropy(levels[at])).max())
        assert least < worst[0] / worst[1] < most


@pytest.mark.parametrize("last", [4, 5])
def test_eq_two_sizes(last):
    """L - L' is what changes when the noise of pairs of steps, counted from the end, meets the G before the pair."""
    levels, seed = log_snr_levels(6, -2.0, 3.0), 4
    noise = path_noise(seed, range(5), 2)
    next(noise)
    run = trajectories(UNEQUAL, Paths((0, 1), [0, 1, 0, 1, 1], levels, seed, from_nothing=False, predicted=True))
    gaps = (run.predictions[:, 0] - run.predictions[:, 1]).numpy()
    drawn = [next(noise) * step for step in run.dsnr.sqrt().tolist()]
    fine = sum(gaps[k] * drawn[k] for k in range(last))
    coarse = gaps[0] * drawn[0] if last % 2 else 0.0
    coarse = coarse + sum(gaps[k] * (drawn[k] + drawn[k + 1]) for k in range(last % 2, last, 2))
    lag = (run.averaged - run.coarse)[last].numpy()
    np.testing.assert_allclose(lag[:, 0] - lag[:, 1], np.sum(fine - coarse, axis=1), rtol=1e-9, atol=1e-12)


def test_prop_two_sizes_moments():
    """What the two sizes differ by in a pair of steps has the square and the product with y of two missing terms.

    Centred Gaussians: J = Cov_A - Cov_B = (s_A^2 / (1 + s_A^2 snr) - s_B^2 / (1 + s_B^2 snr)) I. Forty thousand paths,
    five standard errors; the steps change the snr by 1%, and so the moments by some percent.
    """
    dimension, first, second, paths = 4, 0.5, 1.0, 40000
    mixture = isotropic_mixture(torch.zeros(2, dimension, dtype=torch.float64), [first, second])
    levels = np.log([2.0, 2.02, 2.04])
    run = trajectories(mixture, Paths((0, 1), [0] * paths, levels, 3, from_nothing=False, predicted=True))
    lag = (run.averaged - run.coarse)[2, :, 1]  # of class 1 against the path's own: minus that of A against B
    jacobian = second**2 / (1.0 + 2.0 * second**2) - first**2 / (1.0 + 2.0 * first**2)
    step = 0.02
    square = (lag.square() / (dimension * (jacobian * step) ** 2)).numpy()
    assert abs(square.mean() - 1.0) < 5.0 * square.std() / np.sqrt(paths) + 0.05
    noise = path_noise(3, range(paths), dimension)
    next(noise)
    total = (next(noise) + next(noise)) * np.sqrt(step)
    product = lag.numpy() * (total**2).sum(axis=1) / (2.0 * step**2 * jacobian * dimension)
    assert abs(product.mean() - 1.0) < 5.0 * product.std() / np.sqrt(paths) + 0.05


def test_prop_two_sizes_for_unequal_covariances():
    """What the sizes differ by is the averaged rule's bias: 12 000 paths of 24 levels, four standard errors and the
    second order, a fifth of it."""
    levels = log_snr_levels(24, -4.0, 8.0)
    asked = partition(UNEQUAL, [0], [1])
    (found,), _ = measure(UNEQUAL, [asked], levels, 12000, 7, DEFAULT, block=4000)
    truth = UNEQUAL.entropy(levels)
    two_sizes, error = weighted_mean(found.two_steps_of_path, found)
    entropy, deviation = weighted_mean(found.entropy_of_path, found)
    averaged = entropy - two_sizes - truth
    at = int(np.abs(averaged).argmax())
    assert abs(averaged[at]) > 0.01
    assert abs(averaged[at] + two_sizes[at]) < 0.2 * abs(averaged[at]) + 4.0 * np.hypot(error[at], deviation[at])


def test_prop_both_ends():
    """On the forward chain the two readings of the noise differ by half the integrated difference of the traces."""
    generator = np.random.default_rng(0)
    dimension, first, second, paths, steps, last = 4, 0.5, 0.7, 2000, 2000, 4.0
    clean = first * generator.standard_normal((paths, dimension))
    dsnr = last / steps
    y, added = np.zeros((paths, dimension)), np.zeros(paths)

    def apart(y, snr):
        """D_A - D_B of two centred Gaussians: s^2 y / (1 + s^2 snr)."""
        return y * (first**2 / (1.0 + first**2 * snr) - second**2 / (1.0 + second**2 * snr))

    for step in range(steps):
        before = apart(y, step * dsnr)
        dy = clean * dsnr + np.sqrt(dsnr) * generator.standard_normal(y.shape)
        y = y + dy
        added += 0.5 * ((apart(y, (step + 1) * dsnr) - before) * dy).sum(axis=1)
    expected = 0.5 * dimension * np.log((1.0 + first**2 * last) / (1.0 + second**2 * last))
    # sixteen paths' worth of quadratic variation each leave 1% at these steps
    assert added.mean() == pytest.approx(expected, rel=0.01)
    assert expected < -0.5


@pytest.mark.parametrize("share", [0.5, 0.1, 0.001])
def test_eq_shared_floor(share):
    """The floor is the entropy of the side given the class, by summing over classes, and what clean data leave."""
    mixture = isotropic_mixture([[-1.0], [1.0]], 0.0, [share, 1.0 - share])
    floor = partition(mixture, [0], "all").floor
    assert floor == pytest.approx((1.0 + share) / 2.0 * binary_entropy(np.log(1.0 / share)), rel=1e-12)
    sides = np.array([[0.5, 0.0], [0.5 * share, 0.5 * (1.0 - share)]])  # side by class, both sides equally probable
    given_class = sides / sides.sum(axis=0)
    logs = np.log(np.where(given_class > 0.0, given_class, 1.0))
    assert floor == pytest.approx(-(sides * logs).sum(), rel=1e-12)


def opinion(x, sigma, condition):
    """A denoiser that belongs to no distribution at all."""
    sign = 1.0 - 2.0 * condition[:, None]
    return sign * (1.0 + 0.5 * torch.sin(3.0 * x)) + 0.3 * torch.cos(x) / (1.0 + sigma[:, None])


OPINION = FunctionDenoiser(opinion, shape=(2,), classes=("first", "second"), dtype=torch.float64)


@settings(max_examples=5)  # numbers of chance, in five standard errors
@given(st.integers(2, 5), st.floats(-3.0, 0.0), st.floats(1.0, 4.0), st.integers(0, 1000), st.sampled_from([0.5, 0.8]))
def test_prop_controls(count, first, span, seed, prior):
    """What the controls take away has mean zero at every level, for coarse steps and for any denoiser."""
    levels = log_snr_levels(count, first, first + span)
    asked, found = partition(OPINION, [0], [1], prior), []
    for control in (False, True):
        (measured,), _ = measure(OPINION, [asked], levels, 1000, seed, replace(DEFAULT, control=control))
        found.append(measured)
    for of_path in ("entropy_of_path", "production_of_path"):
        removed, error = weighted_mean(getattr(found[0], of_path) - getattr(found[1], of_path), measured)
        # some forty dependent numbers, each within five standard errors
        assert np.all(np.abs(removed) < 5.0 * error + 1e-12)


@pytest.mark.parametrize("now", [0.5, 4.0, 12.0])
@pytest.mark.parametrize("growth", [0.5, 2.0, 8.0])
def test_eq_kept(now, growth):
    """Equal covariances, where the expected entropy is an integral: its mean is H at the end, and a fixed share of the
    entropy now explains all of its variance over paths but three percent."""
    nodes, weights = roots_hermitenorm(101)
    weights = weights / weights.sum()
    odds = 0.5 * now + np.sqrt(now) * nodes
    ends = [two_gaussians.entropy_of_normal(odds + way * 0.5 * growth, growth) for way in (1.0, -1.0)]
    expected = expit(odds) * ends[0] + expit(-odds) * ends[1]
    assert expected @ weights == pytest.approx(float(two_gaussians.entropy(now + growth)), abs=1e-6)
    both = np.stack([expected, binary_entropy(odds)])
    centred = both - (both @ weights)[:, None]
    moments = (centred * weights) @ centred.T
    assert moments[0, 1] ** 2 > 0.97 * moments[0, 0] * moments[1, 1]
