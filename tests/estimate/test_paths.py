"""Trajectories against the laws they must follow: the reverse kernel, the likelihood ratio, the exact marginals."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import stats

from companion.denoiser import FunctionDenoiser
from companion.entropy import NULL
from companion.errors import InputError
from companion.estimate.paths import Levels, Paths, by_levels, check_levels, check_model, trajectories
from companion.exact.mixtures import isotropic_mixture
from companion.forward import edm_levels, log_snr_levels, noise_of

PAIR = isotropic_mixture([[-2.0], [2.0]], 1.0)
UNEQUAL = isotropic_mixture([[-0.5, 0.0], [0.5, 0.0]], [0.5, 1.0])


@pytest.mark.parametrize("from_nothing", [True, False])
def test_held_ratio_is_that_of_the_reverse_kernels(from_nothing):
    """The reverse kernel with alpha = 1: mean and variance of x_s given x_t, L from squared distances to both means."""
    levels = log_snr_levels(12, -4.0, 4.0)
    run = trajectories(UNEQUAL, Paths((0, 1), [0, 1, 1], levels, 3, from_nothing))
    odds = np.zeros(3)
    for k in range(len(run.log_snr) - 1):
        after, predictions = _state(run, k + 1), run.predictions[k].numpy()
        sigma2, after2 = noise_of(run.log_snr[k]) ** 2, noise_of(run.log_snr[k + 1]) ** 2
        if np.isfinite(sigma2):
            means = after2 / sigma2 * _state(run, k) + (1.0 - after2 / sigma2) * predictions
            variance = (sigma2 - after2) * after2 / sigma2
        else:  # nothing is known: y = D snr + noise, so that x = y / snr
            means, variance = predictions, after2
        distance = ((after - means) ** 2).sum(axis=2)
        odds = odds + (distance[1] - distance[0]) / (2.0 * variance)
        np.testing.assert_allclose(run.held[k + 1, :, 0] - run.held[k + 1, :, 1], odds, rtol=1e-9, atol=1e-9)


def _state(run, k):
    """x from the prediction of class 0, an affine function of it (ES 11): D = mu + s^2 / (s^2 + sigma^2) (x - mu)."""
    mean, variance = UNEQUAL.means[0].numpy(), 0.25
    return mean + (run.predictions[k, 0].numpy() - mean) * (variance + noise_of(run.log_snr[k]) ** 2) / variance


@pytest.mark.parametrize("branch", [0, 1, NULL])
def test_paths_end_as_samples_of_their_branch(branch):
    """Kolmogorov-Smirnov against the exact marginal: 2000 paths; p > 1e-3 fails once in 1000 seeds, and this is one."""
    levels = log_snr_levels(128, -6.0, 5.0)
    seen = []
    model = FunctionDenoiser(
        lambda x, sigma, z: (seen.append(x), PAIR(x, sigma, z))[1],
        shape=(1,),
        classes=("0", "1"),
        has_null=True,
        dtype=torch.float64,
    )
    trajectories(model, Paths((branch,), np.zeros(2000), levels))
    wide = np.sqrt(1.0 + float(noise_of(levels[-1])) ** 2)
    means = {0: [-2.0], 1: [2.0], NULL: [-2.0, 2.0]}[branch]
    ends = seen[-1][:, 0].numpy()
    result = stats.kstest(ends, lambda x: np.mean([stats.norm(mean, wide).cdf(x) for mean in means], axis=0))
    assert result.pvalue > 1e-3


def test_a_path_is_the_same_whoever_it_travels_with():
    """For isotropic classes each state's D is computed alone; sums over the dimension may lose an ulp in a batch."""
    levels = edm_levels(10)
    paths = Paths((0, 1, NULL), [0, 1, 0, 1, 1, 2], levels, 7)
    whole = trajectories(UNEQUAL, paths)
    others = [([1, 4], [1, 1]), ([5], [2]), ([3, 0, 2], [1, 0, 0])]
    some = [(chosen, replace(paths, owner=owner, numbers=chosen)) for chosen, owner in others]
    for chosen, each in [*some, *zip(([0, 1, 2, 3], [4, 5]), paths.blocks(4), strict=True)]:
        found = trajectories(UNEQUAL, each)
        for name in ("held", "averaged", "gaps", "noise"):
            expected = getattr(whole, name)[:, chosen]
            np.testing.assert_allclose(expected, getattr(found, name), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("together", [2, 3, 5, 100])
def test_levels_scored_together_are_the_levels_one_by_one(together):
    """To rounding, whatever is left over at the end; the last level has no step after it."""
    paths = Paths((0, 1, NULL), [0, 1, 2, 1], edm_levels(9), 5, predicted=True)
    one_by_one, some = (list(by_levels(UNEQUAL, paths, count)) for count in (1, together))
    assert [len(each.log_snr) for each in some] == [len(range(10)[k : k + together]) for k in range(0, 10, together)]
    for part in fields(Levels):
        a, b = (np.concatenate([getattr(each, part.name) for each in run]) for run in (one_by_one, some))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=part.name)
    whole = trajectories(UNEQUAL, paths)
    assert whole.dsnr[-1] == 0.0 and not whole.noise[-1].any() and bool((whole.dsnr[:-1] > 0.0).all())


def test_streams_of_one_seed_are_told_apart():
    main, pilot = (trajectories(PAIR, Paths((0, 1), [0, 1], [-2.0, 2.0], 5, stream=s)).held for s in (0, 1))
    assert not np.array_equal(main, pilot)


def test_real_data_follow_the_exact_chain():
    """y at the end is N(x_0 snr, snr): mean and variance of 4000 paths within 4.5 deviations of theirs."""
    points = isotropic_mixture([[-1.0], [1.0]], 0.0)  # D is constant, so that noise . (D_1 - D_0) is dB itself
    data = torch.full((4000, 1), 0.7, dtype=torch.float64)
    held = trajectories(points, Paths((0, 1), [0] * 4000, [-2.0, 0.0, 1.0], 3, data=data)).held
    odds = (held[-1, :, 1] - held[-1, :, 0]).numpy()  # (D_1 - D_0) . y, with |D_z| equal
    snr = np.exp(1.0)
    assert abs(odds.mean() - 2.0 * 0.7 * snr) < 4.5 * np.sqrt(4.0 * snr / 4000.0)
    assert abs(odds.var() / (4.0 * snr) - 1.0) < 4.5 * np.sqrt(2.0 / 4000.0)


@pytest.mark.parametrize("data", [torch.zeros(3, 1), torch.zeros(2, 2), torch.full((2, 1), torch.nan)])
def test_data_that_are_none_are_named(data):
    with pytest.raises(InputError, match=r"2 finite samples of shape \(1,\)"):
        trajectories(PAIR, Paths((0, 1), [0, 1], [-2.0, 2.0], data=data))


def test_same_seed_same_paths_and_another_seed_others():
    first, again, other = (trajectories(PAIR, Paths((0, 1), [0, 1], [-2.0, 0.0, 2.0], seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.averaged, again.averaged)
    assert not np.array_equal(first.averaged, other.averaged)


def test_both_sums_agree_for_points():
    """Points: D does not move along the path, so that the mean over both ends of a step is its left end."""
    run = trajectories(isotropic_mixture([[-1.0], [1.0]], 0.0), Paths((0, 1), [0, 1], [-3.0, 0.0, 3.0]))
    np.testing.assert_allclose(run.averaged[-1], run.held[-1], rtol=1e-12)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([1.0], "at least two noise levels"),
        ([], "at least two noise levels"),
        ([[0.0, 1.0]], "at least two noise levels"),
        ([0.0, 2.0, 1.0], "increasing levels"),
        ([0.0, 0.0], "increasing levels"),
        (np.linspace(9.0, -9.0, 64), "increasing levels"),
        ([0.0, np.nan], "finite levels"),
        ([0.0, 20.0], "levels in -14.000 to 14.000"),
    ],
)
def test_bad_levels_are_named(levels, expected):
    model = FunctionDenoiser(lambda x, sigma, z: x, shape=(1,), classes=("a", "b"))
    with pytest.raises(InputError, match=expected) as raised:
        check_levels(model, levels)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 300


def test_levels_may_pass_the_models_range_by_what_float32_loses():
    model = FunctionDenoiser(lambda x, sigma, z: x, shape=(1,), classes=("a", "b"), log_snr_range=(-5.0, 4.0))
    assert check_levels(model, [-5.0 - 9e-7, 4.0 + 9e-7]).shape == (2,)
    for levels in ([-5.0 - 2e-6, 4.0], [-5.0, 4.0 + 2e-6]):
        with pytest.raises(InputError, match=r"levels in -5\.000 to 4\.000"):
            check_levels(model, levels)


def _mean_of_class(x, z):
    return (2.0 * z - 1.0).reshape(-1, 1).expand_as(x).to(x.dtype)


def _nan_at_low_noise(x, sigma, z):
    return torch.where(sigma[:, None] < 0.5, torch.nan, _mean_of_class(x, z))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (_nan_at_low_noise, "finite values at log-snr 2.00"),
        (lambda x, sigma, z: _mean_of_class(x, z)[:, :1, None], "that of x"),
        (lambda x, sigma, z: _mean_of_class(x, z).sum(), "that of x"),
        (lambda x, sigma, z: (_mean_of_class(x, z),), "of type tuple, expected a tensor"),
        (lambda x, sigma, z: None, "of type NoneType, expected a tensor"),
        (lambda x, sigma, z: torch.fft.fft(_mean_of_class(x, z)), "of torch.complex64, expected real numbers"),
        (lambda x, sigma, z: 0.5 * x, "a and b do not, so they were not trained"),
        (lambda x, sigma, z: _mean_of_class(x, z) * torch.rand(len(x), 1, dtype=x.dtype), "one answer to one question"),
        (lambda x, sigma, z: _mean_of_class(x, z).cumsum(0), "no sample to depend on the others"),
    ],
)
def test_a_network_that_misbehaves_is_named(function, expected):
    model = FunctionDenoiser(function, shape=(1,), classes=("a", "b"))
    with pytest.raises(InputError, match=expected) as raised:
        check_model(model, (0, 1), np.array([-2.0, 0.0, 1.0, 2.0]))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, sigma, z: _mean_of_class(x, z)[:, :1, None], "the shape of its input"),
        (lambda x, sigma, z: (_mean_of_class(x, z),), "of type tuple, expected a tensor"),
    ],
)
def test_a_network_that_misbehaves_later_is_named_too(function, expected):
    model = FunctionDenoiser(function, shape=(1,), classes=("a", "b"))
    with pytest.raises(InputError, match=expected):
        trajectories(model, Paths((0, 1), [0, 1], [-2.0, 2.0]))


def test_values_that_are_not_finite_are_found_at_the_end():
    model = FunctionDenoiser(_nan_at_low_noise, shape=(1,), classes=("a", "b"))
    finite = []
    with pytest.raises(InputError, match=r"not finite at log-snr 2\.00"):
        finite.extend(each.finite.item() for each in by_levels(model, Paths((0, 1), [0, 1], [-2.0, 0.0, 2.0, 3.0]), 1))
    assert finite == [True, True, True, False, False]


def test_a_null_branch_must_exist():
    model = FunctionDenoiser(lambda x, sigma, z: _mean_of_class(x, z), shape=(1,), classes=("a", "b"))
    with pytest.raises(InputError, match="a model with a null class"):
        check_model(model, (0, NULL), np.array([-2.0, 2.0]))


@pytest.mark.parametrize("seed", [-1, 2**63, 10**20])
def test_a_seed_that_no_generator_takes_is_named(seed):
    with pytest.raises(InputError, match=r"a whole number from 0 to 2\^63 - 1"):
        trajectories(PAIR, Paths((0, 1), [0, 1], [-2.0, 2.0], seed))


def test_a_function_may_overwrite_its_input_and_track_gradients():
    """What a reader's network does inside cannot reach the state, nor what the next branch is asked."""

    def careless(x, sigma, z):
        result = PAIR(x.clone(), sigma, z).requires_grad_()
        x.zero_()
        sigma.zero_()
        return result

    def careful(x, sigma, z):
        return PAIR(x, sigma, z)

    ended = []
    for function in (careful, careless):
        model = FunctionDenoiser(function, shape=(1,), classes=("0", "1"), dtype=torch.float64)
        ended.append(trajectories(model, Paths((0, 1), [0, 1, 1], [-2.0, 0.0, 2.0], np.int64(4))))
    np.testing.assert_array_equal(ended[0].averaged, ended[1].averaged)
    np.testing.assert_array_equal(ended[0].predictions.numpy(), ended[1].predictions.numpy())


def test_a_model_that_knows_snr_zero_is_asked_there():
    pair = isotropic_mixture([[-1.0], [3.0]], 0.5)
    asked = []

    def class_means(noise, condition):
        asked.append(noise)
        return pair.means[condition]

    model = FunctionDenoiser(pair, (1,), pair.classes, dtype=torch.float64, from_noise=class_means)
    run = trajectories(model, Paths((0, 1), [0] * 500 + [1] * 500, [-3.0, 0.0, 3.0]))
    assert run.log_snr.tolist() == [-np.inf, -3.0, 0.0, 3.0]
    np.testing.assert_array_equal(run.predictions[0, :, :, 0], pair.means.expand(2, 1000))
    # The model's own state there is unit noise, whatever the top level is: 1000 squares of mean 1 and variance 2.
    assert all(abs(float(noise.square().mean()) - 1.0) < 4.0 * np.sqrt(2.0 / 1000) for noise in asked)


def test_what_a_person_may_judge_is_advised_to_be_trusted():
    def far_off(x, sigma, condition):
        return x + 1.0 + condition[:, None]  # x is left with more than all its noise at the last level

    model = FunctionDenoiser(far_off, shape=(4,), classes=("a", "b"))
    with pytest.raises(InputError, match=r'trust "(first|last) level" to go on without'):
        check_model(model, (0, 1), np.array([-8.0, 0.0, 8.0]), trust=())
    with pytest.raises(InputError, match="labels that move D") as refused:
        check_model(replace(model, function=lambda x, sigma, condition: 0.0 * x), (0, 1), np.array([-8.0, 0.0, 8.0]))
    assert "to go on without" not in str(refused.value)
