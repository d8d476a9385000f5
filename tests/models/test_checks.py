"""Every check passes on a good model and fails on one that was made to fail it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from companion.denoiser import FunctionDenoiser
from companion.errors import InputError
from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import isotropic_mixture
from companion.models.checks import examine, refuse
from companion.models.edm import EDMDenoiser
from companion.models.load import load
from companion.models.schedules import Schedule, schedule_of
from derivations.bring_your_own_model.tiny import save_tiny

LEVELS = (-8.0, 0.0, 6.0)
CONDITIONS = (0, 1, None)
MIXTURE = isotropic_mixture([[-1.0] * 16, [1.0] * 16], 0.2)


@dataclass(frozen=True)
class WithNetwork(FunctionDenoiser):
    """A function that is known to be a network."""

    network: object = None


def made(function, kind=FunctionDenoiser):
    return kind(function, shape=(16,), classes=("left", "right"), has_null=True)


def truth(x, sigma, condition):
    return MIXTURE(x.double(), sigma.double(), condition).float()


def answers(model, conditions=CONDITIONS, levels=LEVELS):
    return {finding.name: finding for finding in examine(model, conditions, levels)}


def test_exact_models_pass_every_check():
    for model in (MIXTURE, made(truth)):
        assert all(finding.passed for finding in examine(model, CONDITIONS, LEVELS))


def test_exact_data_with_values_at_the_ends_is_not_called_clipped():
    points = torch.tensor([[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0]], dtype=torch.float64)
    finding = answers(empirical_distribution(points, torch.tensor([0, 1])))["clipping"]
    assert finding.passed is None
    assert finding.value > 0.2


def ignoring_labels(x, sigma, condition):
    return truth(x, sigma, torch.zeros(len(x), dtype=torch.int64))


def a_class_for_its_null(x, sigma, condition):
    return truth(x, sigma, torch.zeros(len(x), dtype=torch.int64) if condition is None else condition)


def overflowing(x, sigma, condition):
    return torch.where(sigma[:, None] < 0.1, torch.nan, truth(x, sigma, condition))


def dropping(x, sigma, condition):
    return torch.nn.functional.dropout(truth(x, sigma, condition), 0.3)


def normalised_over_the_batch(x, sigma, condition):
    mean = truth(x, sigma, condition)
    return mean - mean.mean(dim=0) + 0.1 * (condition is None) + 0.01 * (0 if condition is None else condition[0])


FAILING = {
    "labels": (ignoring_labels, "left and right do not"),
    "null": (a_class_for_its_null, "it answers as left does"),
    "shape, finite": (overflowing, "finite values at log-snr 6.00"),
    "repeatable": (dropping, "one answer to one question"),
    "samples": (normalised_over_the_batch, "no sample to depend on the others"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_model_made_to_fail_a_check_fails_it(name):
    function, said = FAILING[name]
    findings = examine(made(function), CONDITIONS, LEVELS)
    assert name in [finding.name for finding in findings if finding.passed is False]
    with pytest.raises(InputError, match=said):
        refuse([finding for finding in findings if finding.name == name])


def test_two_labels_are_compared():
    far = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    finding = answers(made(lambda x, sigma, condition: far[condition] + 0.0 * x), (0, 1))["labels"]
    assert finding.passed is True
    assert finding.value == pytest.approx(float((far[0] - far[1]).abs().max()))


def test_states_keep_their_noise_from_level_to_level():
    seen = []

    def mean(x, sigma, condition):  # of data at 0: all of a state is noise
        seen.extend(x / sigma[:, None] if len(x) == 4 else [])
        return torch.zeros_like(x)

    answers(made(mean), (0,), (-8.0, -7.5, -5.2))
    states = torch.stack(seen).reshape(-1, 4, 16)
    torch.testing.assert_close(states, states[:1].expand_as(states))  # float32, at each step a rounding


def test_another_shape_is_said():
    finding = answers(made(lambda x, sigma, condition: x[:, :3]))["shape, finite"]
    assert finding.passed is False
    assert "it has (4, 3)" in finding.advice


def test_a_network_whose_output_is_clipped_fails():
    clipped = made(lambda x, sigma, condition: truth(x, sigma, condition).clamp(-0.9, 0.9), WithNetwork)
    assert answers(clipped)["clipping"].passed is False
    assert answers(made(truth, WithNetwork))["clipping"].passed is True


def test_train_mode_is_found_in_any_part(tmp_path):
    model = load(save_tiny("dit", tmp_path))
    assert answers(model, (0, 1, 2))["eval mode"].passed
    model.network.transformer_blocks[0].norm1.emb.class_embedder.train()
    found = answers(model, (0, 1, 2))
    assert found["eval mode"].value == 2.0  # it and its table
    with pytest.raises(InputError, match=r"call network\.eval"):
        refuse(list(found.values()))


def test_the_other_networks_mode_too():
    network, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    schedule = Schedule(np.array([0.01, 100.0]), np.array([9.0, -9.0]), "denoised")
    fields = {"name": "", "shape": (1,), "classes": ("a", "b"), "weights": (0.5, 0.5), "has_null": True, "digest": ""}
    model = EDMDenoiser(network, schedule, **fields, unconditional=other, force_fp32=False)
    other.train()
    with pytest.raises(InputError, match="train mode"):
        examine(model, (None,), LEVELS)


def test_a_dit_in_train_mode_drops_labels(tmp_path):
    # What the eval mode of the adapter saves from: the network itself, asked twice.
    network = load(save_tiny("dit", tmp_path)).network.train()
    state, labels = torch.zeros(64, 4, 8, 8), torch.zeros(64, dtype=torch.int64)
    with torch.no_grad():
        said = network(state, timestep=torch.full((64,), 500.0), class_labels=labels).sample
    assert (said - said[:1]).abs().flatten(1).amax(dim=1).gt(1e-3).any()


# What a network was trained to predict, and what its configuration says: the digits' network, whose D is taken back
# into the output of another kind, at the timesteps of that kind's schedule.
SAID = ("epsilon", "sample", "v_prediction", "flow")
# The output of one, read as the other, is small where it should be at both ends: no check of the ends can tell.
UNSEEN = {("sample", "v_prediction"), ("epsilon", "flow")}
SCHEDULES = {
    **{kind: schedule_of({"_class_name": "DDPMScheduler", "prediction_type": kind}) for kind in SAID[:3]},
    "flow": schedule_of({"_class_name": "FlowMatchEulerDiscreteScheduler"}),
}


def read_as(said, trained):
    model, schedule = load("digits"), SCHEDULES[trained]
    lowest, highest = model.log_snr_range

    def network(labels):
        def output(state, times):
            level = np.interp(-times.double().numpy(), -schedule.timesteps[::-1], schedule.clock[::-1])
            log_snr = torch.from_numpy(level).clamp(lowest, highest)
            c_in, c_skip, c_out = (value.reshape(-1, 1, 1, 1) for value in schedule.scalings(log_snr))
            x = state.double() / c_in
            mean = model(x.float(), torch.exp(-0.5 * log_snr).float(), labels).double()
            return ((mean - c_skip * x) / c_out).to(state.dtype)

        return output

    def mean(x, sigma, condition):
        log_snr = -2.0 * sigma.double().log()
        return SCHEDULES[said].posterior_mean(network(condition), x, log_snr)

    return FunctionDenoiser(mean, shape=model.shape, classes=model.classes)


@pytest.mark.parametrize("trained", SAID)
@pytest.mark.parametrize("said", SAID)
def test_another_prediction_than_was_trained_fails(said, trained):
    found = answers(read_as(said, trained), (3, 8), (-9.0, 0.0, 8.0))
    passed = found["first level"].passed and found["last level"].passed
    assert passed == (said == trained or (trained, said) in UNSEEN)


@pytest.mark.parametrize("seed", range(3))
def test_the_digits_pass_both_ends_with_every_class(seed):
    model = load("digits")
    for condition in (seed, seed + 5):
        findings = {each.name: each for each in examine(model, [condition], (-10.0, 0.0, 9.0), seed)}
        assert findings["first level"].passed and findings["last level"].passed


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dimension", [1, 4, 64])
def test_exact_means_pass_both_ends(dimension, seed):
    # By Jensen's inequality E f(E[eps | x]) is at most E f(eps) for a convex f, so Chernoff's bound for the mean of
    # four squares holds: it exceeds 9 with probability exp(-2 (9 - 1 - log 9)) = 1e-5, with the states a true chain's.
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(6, dimension, generator=generator, dtype=torch.float64)
    for model in (
        empirical_distribution(points, torch.tensor([0, 0, 0, 1, 1, 1])),
        isotropic_mixture(points[:2].numpy(), 0.3),
    ):
        findings = {each.name: each for each in examine(model, (0, 1, None), LEVELS, seed)}
        assert findings["first level"].passed and findings["last level"].passed, findings


def test_the_first_level_is_as_strict_as_is_said():
    # Size 1 is as the model draws it; along the noise it may have 1/2 + 4 / sigma, sigma = e^4.
    most = 0.5 + 4.0 * np.exp(-4.0)

    def model(constant, share):
        def mean(x, sigma, condition):
            far = (sigma > 50.0)[:, None]
            return torch.where(far, constant + share * x / sigma[:, None], torch.ones_like(x))

        return made(mean)

    for constant, share, passed in (
        (3.99, 0.0, True),
        (4.01, 0.0, False),
        (0.0, 0.0, True),
    ):
        assert answers(model(constant, share))["first level"].passed is passed
    generator = torch.Generator().manual_seed(0)
    size = float(torch.randn(2, 16, generator=generator).square().mean())  # of the noise that is drawn
    for share, passed in ((0.99, True), (1.01, False), (-0.99, True), (-1.01, False)):
        assert answers(model(1.0, share * most / size))["first level"].passed is passed


def test_above_log_snr_minus_three_the_first_level_is_only_said():
    assert answers(made(truth), levels=(-2.9, 0.0, 6.0))["first level"].passed is None
    assert answers(made(truth), levels=(-3.1, 0.0, 6.0))["first level"].passed is True


@pytest.mark.parametrize(("left", "passed"), [(2.99, True), (3.01, False)])
def test_the_last_level_is_as_strict_as_is_said(left, passed):
    def leaving(x, sigma, condition):
        near = (sigma < 0.05)[:, None]
        return torch.where(near, x - left * sigma[:, None], torch.zeros_like(x))

    finding = answers(made(leaving))["last level"]
    assert finding.value == pytest.approx(left, rel=1e-3)  # x is of size 1, with 24 bits, and sigma is 0.05
    assert finding.passed is passed


@pytest.mark.parametrize(("share", "passed"), [(0.49, True), (0.51, False)])
def test_the_null_is_as_strict_as_is_said(share, passed):
    def mean(x, sigma, condition):
        side = share if condition is None else 2.0 * condition[:, None] - 1.0
        return torch.ones_like(x) * side + 0.01 * x / (1.0 + sigma[:, None])

    # The classes' means are -1 and 1: spread 1, mean 0.
    for asked in ((0, 1, None), (0, None), (None,)):
        finding = answers(made(mean), asked)["null"]
        assert finding.value == pytest.approx(share, rel=1e-5)
        assert finding.passed is passed


def test_a_null_that_is_a_class_is_named():
    finding = answers(made(a_class_for_its_null), (1, None))["null"]
    assert finding.passed is False
    assert "answers as left does" in finding.advice


def test_a_thousand_classes_are_compared_in_the_memory_of_their_answers():
    # 1000 answers at three levels, four states each of 256 numbers: 12 MB, and 6 GB if every difference were kept.
    directions = torch.randn(1000, 256, generator=torch.Generator().manual_seed(0))
    asked = []

    def mean(x, sigma, condition):
        asked.append(len(x))
        return directions[condition] + 0.0 * x

    model = FunctionDenoiser(mean, shape=(256,), classes=tuple(map(str, range(1000))))
    findings = answers(model, range(1000))
    closest = torch.cdist(directions, directions).fill_diagonal_(torch.inf)
    one, other = divmod(int(closest.argmin()), 1000)
    assert findings["labels"].passed is True
    assert findings["labels"].value == pytest.approx(float((directions[one] - directions[other]).abs().max()))
    assert sum(asked) < 4 * 1000 * 3 + 4 * 40


def test_two_equal_labels_of_a_thousand_are_named():
    def mean(x, sigma, condition):
        return torch.where(condition == 998, 17, condition)[:, None] + 0.0 * x

    model = FunctionDenoiser(mean, shape=(8,), classes=tuple(map(str, range(1000))))
    assert "17 and 998 do not" in answers(model, range(1000))["labels"].advice
