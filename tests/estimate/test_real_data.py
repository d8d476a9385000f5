"""Forward-noised real data: the exact entropy of an exact mixture, no control variate, both kinds of paths compared."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import roots_hermitenorm

from companion.denoiser import FunctionDenoiser
from companion.entropy import NULL, binary_entropy, partition
from companion.errors import InputError
from companion.estimate.confidence import weighted_mean
from companion.estimate.held_out import against_data, drawn_samples
from companion.estimate.measure import measure
from companion.estimate.paths import Paths, trajectories
from companion.estimate.plan import DEFAULT, Data, Plan, owners
from companion.estimate.run import profile
from companion.exact.mixtures import isotropic_mixture
from companion.forward import log_snr_levels

PAIR = isotropic_mixture([[-2.0], [2.0]], 1.0)
UNEQUAL = isotropic_mixture([[-0.5], [0.5]], [0.5, 1.0])
WIDE = isotropic_mixture(np.eye(16)[:2] / np.sqrt(2.0), [0.5, 0.7])
THREE = isotropic_mixture([[-2.0], [0.0], [3.0]], [0.5, 1.0, 0.7], [0.3, 0.3, 0.4])
LEVELS = log_snr_levels(96, -7.0, 7.0)
SURE = FunctionDenoiser(
    lambda x, sigma, z: PAIR(x, sigma, z) + 0.5 * (2.0 * z - 1.0).reshape(-1, 1),
    shape=(1,), classes=PAIR.classes, dtype=torch.float64,
)  # fmt: skip


def data_of(mixture, count, seed=0):
    samples, labels = mixture.sample(count, torch.Generator().manual_seed(seed))
    return Data(samples, labels.numpy())


@pytest.mark.parametrize(
    ("mixture", "first", "prior"),
    [(PAIR, 0, "balanced"), (UNEQUAL, 0, "balanced"), (WIDE, 0, "balanced"), (THREE, 1, "true"), (THREE, 1, 0.9)],
    ids=["equal", "unequal", "sixteen dimensions", "three", "another prior"],
)
def test_data_of_an_exact_mixture_give_the_exact_entropy(mixture, first, prior):
    """4 standard errors of 1500 paths at each of 96 levels (1 in 200 by chance) and 0.005 for the steps."""
    asked = partition(mixture, [first], "others", prior)
    found = profile(mixture, asked, log_snr=LEVELS, samples=1500, seed=1, data=data_of(mixture, 6000))
    if prior == 0.9:
        weights = torch.tensor(mixture.weights, dtype=torch.float64)
        weights[first] = 9.0 * (1.0 - weights[first])
        truth_of = replace(mixture, component_weights=weights / weights.sum())
    else:
        truth_of = mixture
    truth = truth_of.sides(partition(truth_of, [first], "others", prior)).entropy(LEVELS)
    assert found.paths == "data"
    assert np.all(np.abs(found.entropy - truth) <= 4.0 * found.entropy_se + 0.005)
    assert found.certificate["calibration"].verdict != "fails"


def test_a_path_of_data_leads_to_its_sample():
    samples = torch.tensor([[3.0], [-1.0], [0.5]], dtype=torch.float64)
    run = trajectories(PAIR, Paths((0, 1), [0, 0, 0], log_snr_levels(8, -6.0, 12.0), data=samples))
    sigma = np.exp(-6.0)
    expected = [PAIR(samples, torch.full((3,), sigma, dtype=torch.float64), torch.full((3,), z)) for z in (0, 1)]
    torch.testing.assert_close(run.predictions[-1], torch.stack(expected), atol=5.0 * sigma, rtol=0.0)


def control_on(model, data, log_snr):
    """sum_k h(S_k) - E[ h(S_k) | path, branch ] on paths of data, as the estimator would form it on its own paths.

    S is the log-odds with D held over each step; the expectation is that of the reverse kernel of the path's class.
    """
    nodes, weights = roots_hermitenorm(32)
    labels = torch.as_tensor(data.labels)
    run = trajectories(model, Paths((0, 1), np.zeros(len(labels)), log_snr, seed=1, data=data.samples))
    odds = (run.held[:, :, 0] - run.held[:, :, 1]).numpy()
    apart = run.predictions[:, 0] - run.predictions[:, 1]
    gaps = (apart.flatten(2).square().sum(dim=2) * run.dsnr[:, None]).numpy()
    total = np.zeros(len(labels))
    sums = []
    sign = 1.0 - 2.0 * data.labels
    for now, following, gap in zip(odds[:-1], odds[1:], gaps[:-1], strict=True):
        foreseen = binary_entropy(now[:, None] + 0.5 * (sign * gap)[:, None] + np.sqrt(gap)[:, None] * nodes)
        total = total + binary_entropy(following) - foreseen @ (weights / weights.sum())
        sums.append(total)
    values = np.stack(sums, axis=1)
    return values.mean(axis=0), values.std(axis=0) / np.sqrt(len(labels))


def test_the_controls_mean_is_not_zero_on_data_of_a_wrong_model_and_it_is_off():
    """Predictions pulled apart by a quarter: with the control the estimate would move by ten of its errors."""
    data = data_of(PAIR, 4000)
    mean, error = control_on(SURE, data, LEVELS)
    assert np.max(np.abs(mean) - 10.0 * error) > 0.0
    assert np.max(np.abs(mean)) > 0.05
    mean, error = control_on(PAIR, data, log_snr_levels(512, -7.0, 7.0))
    assert np.all(np.abs(mean) <= 4.0 * error + 0.003)  # the exact model, as the steps become small

    asked = partition(SURE, [0], [1])
    assert not Plan((asked,), LEVELS, 100, data=data).controlled
    assert Plan((asked,), LEVELS, 100).controlled
    (with_controls,), _ = measure(SURE, [asked], LEVELS, 300, 1, DEFAULT, data=data)
    (without,), _ = measure(SURE, [asked], LEVELS, 300, 1, replace(DEFAULT, control=False), data=data)
    np.testing.assert_array_equal(with_controls.entropy_of_path, without.entropy_of_path)


def test_own_samples_are_those_of_the_mixture():
    """Mean and variance of 2000 samples of a class of deviation 1 at 2, within 4 errors and 0.02 for the steps."""
    found = drawn_samples(PAIR, partition(PAIR, [0], [1]), 4000, seed=3)
    one = found.samples[found.labels == 1].numpy()
    assert len(one) == 2000
    assert abs(one.mean() - 2.0) < 4.0 / np.sqrt(2000.0) + 0.02
    assert abs(one.var() - 1.0) < 4.0 * np.sqrt(2.0 / 2000.0) + 0.02


def test_own_samples_of_sides_that_share_classes_and_of_the_null_branch():
    asked = partition(THREE, [0], "null")
    found = drawn_samples(THREE, asked, 40)
    assert found.labels.tolist() == np.array(asked.branches)[owners(40, asked.shares)].tolist()
    assert set(found.labels) == {0, NULL}
    assert torch.isfinite(found.samples).all()


def test_own_and_real_are_compared_only_where_they_can_be():
    asked = partition(PAIR, [0], [1])
    own = profile(PAIR, asked, log_snr=LEVELS, samples=100)
    real = profile(PAIR, asked, log_snr=LEVELS, samples=100, seed=1, data=data_of(PAIR, 400))
    assert against_data(own, real).certificate["own and real"].value is not None
    for one, other, complaint in (
        (own, own, "one of the model's, then one of data"),
        (own, replace(real, model_digest="other"), "model_digest"),
        (own, replace(real, partition="0|2"), "partition"),
        (own, replace(real, log_snr=real.log_snr + 1.0), "the same levels"),
        (own, replace(real, seed=own.seed), "the noise would be the same"),
    ):
        with pytest.raises(InputError, match=complaint):
            against_data(one, other)


def test_a_model_that_is_too_sure_is_told_by_the_labels():
    asked = partition(SURE, [0], [1])
    found = profile(SURE, asked, log_snr=LEVELS, samples=1200, seed=1, data=data_of(PAIR, 4000), trust=["last level"])
    assert found.certificate["calibration"].passed is False
    (measured,), _ = measure(SURE, [asked], LEVELS, 1200, 1, data=data_of(PAIR, 4000))
    mean, _ = weighted_mean(measured.entropy_of_path, measured)
    np.testing.assert_array_equal(mean, found.entropy)
