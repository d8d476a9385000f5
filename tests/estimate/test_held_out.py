"""The posterior of data noised by the exact chain: calibrated where the model is right, found out where it is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from companion.denoiser import FunctionDenoiser
from companion.entropy import NULL, partition
from companion.errors import InputError
from companion.estimate.held_out import against_data, calibration, drawn_samples, log_likelihoods
from companion.estimate.plan import BLOCK, Data
from companion.estimate.run import profile
from companion.exact.mixtures import isotropic_mixture
from companion.forward import log_snr_levels

THREE = isotropic_mixture([[-2.0, 0.0], [0.0, 1.0], [3.0, 0.0]], [0.5, 1.0, 0.5], [0.5, 0.3, 0.2])
PAIR = isotropic_mixture([[-2.0], [2.0]], 1.0)
LEVELS = log_snr_levels(256, -7.0, 7.0)


def scaled(factor):
    """THREE with every class's denoiser pushed away from the middle: too sure of itself."""
    return FunctionDenoiser(
        lambda x, sigma, z: factor * THREE(x, sigma, z),
        shape=(2,),
        classes=THREE.classes,
        weights=THREE.weights,
        dtype=torch.float64,
    )


def held_out(model, samples=600, seed=0):
    data, labels = THREE.sample(samples, torch.Generator().manual_seed(seed))
    found = log_likelihoods(model, data, LEVELS, seed + 1)
    return calibration(found, labels.numpy(), LEVELS, THREE.weights)


def test_exact_model_is_calibrated():
    """Gap within 3.5 standard errors at each level (1 in 500 by chance) + 0.005 for the steps, with 600 samples."""
    found = held_out(THREE)
    assert np.all(np.abs(found.gap) <= 3.5 * found.gap_se + 0.005)
    np.testing.assert_allclose(found.gap, found.cross_entropy - found.posterior_entropy, atol=1e-12)


def test_posterior_entropy_is_the_truth():
    """Three deviations of 0.6 / sqrt(600), the largest a posterior's entropy can have, and 0.01 for the steps."""
    found = held_out(THREE)
    error = found.posterior_entropy[::32] - THREE.entropy(LEVELS[::32])
    assert np.all(np.abs(error) <= 3.0 * 0.6 / np.sqrt(600.0) + 0.01)
    data, labels = THREE.sample(600, torch.Generator().manual_seed(0))  # the same as in held_out
    best = THREE.posterior(data, torch.full((600,), np.exp(-3.5), dtype=torch.float64)).argmax(dim=1)
    assert found.accuracy[-1] == pytest.approx(float((best == labels).double().mean()), abs=0.03)


@pytest.mark.parametrize("factor", [1.5, 0.6])
def test_wrong_model_is_found_out(factor):
    found = held_out(scaled(factor))
    assert np.max(np.abs(found.gap) - 3.5 * found.gap_se) > 0.02


def test_likelihood_ratio_of_points_is_exact():
    """Points: D is constant, log p(path | z) = mu_z . y - |mu_z|^2 snr / 2, and its law over the noise is known."""
    points = isotropic_mixture([[-1.0, 0.0], [1.0, 2.0]], 0.0)
    levels = log_snr_levels(5, -3.0, 2.0)
    data = torch.tensor([[1.0, 2.0]], dtype=torch.float64).expand(4000, 2)
    found = log_likelihoods(points, data, levels, 0)
    odds = found[:, :, 1] - found[:, :, 0]
    snr = np.exp(levels)
    distance2 = 8.0  # |mu_1 - mu_0|^2: L ~ N(kappa / 2, kappa), kappa = 8 snr (ES 14)
    error = np.sqrt(distance2 * snr / 4000.0)
    assert np.all(np.abs(odds.mean(axis=0) - 0.5 * distance2 * snr) <= 4.0 * error)
    np.testing.assert_allclose(odds.var(axis=0), distance2 * snr, rtol=0.1)  # 4.5 deviations of sqrt(2 / 4000)


def test_calibration_is_bayes_rule_in_the_priors():
    """Likelihoods and labels by hand: the posterior is share x likelihood, and what each label costs is its log."""
    share = np.array([0.7, 0.2, 0.1])
    density = np.array([[[1.0, 1.0, 1.0], [1.0, 9.0, 1.0]], [[1.0, 3.0, 4.0], [2.0, 1.0, 30.0]]])
    labels = [1, 2]
    posterior = density * share / (density @ share)[:, :, None]
    surprise = -np.log(np.stack([posterior[n, :, label] for n, label in enumerate(labels)]))
    entropy = -(posterior * np.log(posterior)).sum(axis=2)
    found = calibration(np.log(density) - 5.0, labels, [-1.0, 2.0], share)  # what all classes share cancels
    np.testing.assert_array_equal(found.log_snr, [-1.0, 2.0])
    np.testing.assert_allclose(found.cross_entropy, surprise.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.posterior_entropy, entropy.mean(axis=0), rtol=1e-12)
    # The most probable classes: 0 and 0, for the prior outweighs 3 and 4; then 1 and 2.
    assert found.accuracy.tolist() == [0.0, 1.0]
    half = 0.5 * np.abs(np.diff(surprise - entropy, axis=0)[0])  # the standard error of a mean of two
    np.testing.assert_allclose(found.gap_se, half, rtol=1e-12)
    assert calibration(np.log(density[:1]), labels[:1], [-1.0, 2.0], share).gap_se.tolist() == [np.inf, np.inf]


@pytest.mark.parametrize(("sharper", "count"), [(1.0, 4), (2.0, 4), (0.5, 60)])
def test_the_gap_of_a_posterior_of_known_miscalibration(sharper, count):
    """Two classes of prior 4:1 and log-odds +-L, made `sharper`. The gap is linear in the label, so that its mean and
    its error follow from the share of the labels alone: (share told - share true) times the log-odds told."""
    share, odds = np.array([0.8, 0.2]), 1.3
    labels = np.arange(count) % 4 == 0  # a quarter of class 1
    likelihood = np.tile([0.0, sharper * odds], (count, 1, 1))
    told = sharper * odds + np.log(share[1] / share[0])
    p = 1.0 / (1.0 + np.exp(-told))
    found = calibration(likelihood, labels.astype(int), [0.0], share)
    assert found.gap[0] == pytest.approx((p - 0.25) * told, rel=1e-12)
    assert found.gap_se[0] == pytest.approx(abs(told) * np.sqrt(0.25 * 0.75 / (count - 1)), rel=1e-12)


@pytest.fixture(scope="module")
def both_profiles():
    """A short run on the model's own paths, and one of real data at the same levels with another seed."""
    asked = partition(PAIR, [0], [1])
    drawn, labels = PAIR.sample(60, torch.Generator().manual_seed(0))
    levels = log_snr_levels(3, -2.0, 2.0)
    return profile(PAIR, asked, log_snr=levels, samples=20), profile(
        PAIR, asked, log_snr=levels, samples=20, seed=1, data=Data(drawn, labels.numpy())
    )


def test_own_and_real_entropies_differ_with_the_errors_of_both(both_profiles):
    """3 and 4 hundredths at one level, in the numbers of errors of either band: half of the hypotenuse is 0.025."""
    own, real = both_profiles
    entropy = np.array([0.6, 0.4, 0.1])
    own = replace(own, entropy=entropy, entropy_se=np.array([0.0, 0.01, 0.0]), simultaneous=3.0)
    real = replace(real, entropy=entropy - [0.0, 0.2, 0.0], entropy_se=np.array([0.0, 0.02, 0.0]), simultaneous=2.0)
    found = against_data(own, real).certificate
    assert (found["own and real"].value, found["own and real"].error) == pytest.approx((0.2, 0.025), rel=1e-12)
    assert found["own and real"].limit == 0.03 and found["own and real"].verdict == "fails"
    assert found["calibration"] == real.certificate["calibration"] != own.certificate["calibration"]
    names = [check.name for check in own.certificate.checks if check.name != "calibration"]
    assert [check.name for check in found.checks] == [*names, "calibration", "own and real"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"paths": "model"}, "of model and model paths"),
        ({"partition": "1|0"}, "partition is 1|0"),
        ({"model_digest": "other"}, "model_digest is other"),
        ({"prior": 0.4}, "prior is 0.4"),
        ({"method": "published"}, "method is published"),
        ({"log_snr": np.array([-2.0, 0.0, 2.5])}, "the same levels"),
        ({"seed": 0}, "another one than on the model's own paths"),
    ],
)
def test_profiles_of_two_questions_are_not_compared(both_profiles, changed, said):
    own, real = both_profiles
    with pytest.raises(InputError, match=said.replace("|", r"\|")):
        against_data(own, replace(real, **changed))


def test_own_paths_come_first(both_profiles):
    _, real = both_profiles
    with pytest.raises(InputError, match="of data and data paths"):
        against_data(replace(real, seed=2), real)


def test_drawn_samples_are_those_of_their_branches():
    """Beyond one block: points are drawn as themselves, and of Gaussians of unequal widths each class has its law, by
    Kolmogorov-Smirnov (1 in 1000 by chance); no path of a later block repeats one of the first."""
    points = isotropic_mixture([[-1.0, 0.0], [1.0, 2.0], [3.0, 0.0]], 0.0)
    found = drawn_samples(points, partition(points, [0, 2], [1]), BLOCK + 50)
    assert len(found.labels) == BLOCK + 50 and set(found.labels.tolist()) == {0, 1, 2}
    np.testing.assert_allclose(found.samples, points.means[torch.from_numpy(found.labels)], atol=1e-12)
    of_two = isotropic_mixture([[-3.0], [-1.0], [1.0], [3.0]], 0.0, component_classes=[0, 0, 1, 1])
    found = drawn_samples(of_two, partition(of_two, [0], [1]), 8)  # few paths, all of whose levels come at once
    assert {*found.samples.flatten().round(decimals=9).tolist()} <= {-3.0, -1.0, 1.0, 3.0}
    unequal = isotropic_mixture([[-1.0], [2.0]], [0.5, 1.5])
    found = drawn_samples(unequal, partition(unequal, [0], [1]), 2 * BLOCK + 100, seed=1, levels=64)
    values = found.samples[:, 0].numpy()
    assert len(np.unique(values)) == len(values)
    for branch, law in ((0, stats.norm(-1.0, 0.5)), (1, stats.norm(2.0, 1.5))):
        assert np.sum(found.labels == branch) == BLOCK + 50
        assert stats.kstest(values[found.labels == branch], law.cdf).pvalue > 1e-3


def test_null_branch_and_seed():
    data, _ = THREE.sample(20, torch.Generator().manual_seed(0))
    first = log_likelihoods(THREE, data, [-2.0, 0.0, 2.0], 3, branches=[0, NULL])
    assert first.shape == (20, 3, 2)
    done = []
    again = log_likelihoods(THREE, data, [-2.0, 0.0, 2.0], branches=[0, NULL], block=15, progress=done.append)
    np.testing.assert_allclose(again, log_likelihoods(THREE, data, [-2.0, 0.0, 2.0], 0, [0, NULL]), rtol=1e-9)
    assert done == [15 * 2] * 4 + [5 * 2] * 4  # the start is a level
    np.testing.assert_array_equal(first, log_likelihoods(THREE, data, [-2.0, 0.0, 2.0], 3, branches=[0, NULL]))
    small = log_likelihoods(THREE, data, [-2.0, 0.0, 2.0], 3, branches=[0, NULL], block=3)
    np.testing.assert_allclose(small, first, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "data",
    [torch.zeros(3, 1), torch.zeros(3, 3), torch.zeros(0, 2), torch.full((3, 2), torch.nan)],
    ids=["narrow", "wide", "empty", "nan"],
)
def test_bad_data_is_named(data):
    with pytest.raises(InputError, match=r"expected finite samples of shape \(2,\)"):
        log_likelihoods(THREE, data, LEVELS)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2, 3], [0, 1, -1], [0, 1, 3]])
def test_labels_that_are_no_classes_are_named(labels):
    with pytest.raises(InputError, match="3 classes from 0 to 2"):
        calibration(np.zeros((3, 2, 3)), labels, [0.0, 1.0], THREE.weights)
