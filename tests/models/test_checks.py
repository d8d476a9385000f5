"""Every check passes on a good model and fails on one that was made to fail it."""

from dataclasses import dataclass

import pytest
import torch

from companion.denoiser import FunctionDenoiser
from companion.errors import InputError
from companion.models.checks import examine, refuse
from companion.models.edm import EDMDenoiser
from companion.models.load import load
from companion.models.tiny import save_tiny
from companion.theory.finite import finite_data
from companion.theory.mixtures import isotropic_mixture

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
    finding = answers(finite_data(points, torch.tensor([0, 1])))["clipping"]
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
    "null": (a_class_for_its_null, "below 0.5 at the highest noise"),
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
    network, other = torch.nn.Linear(1, 1).eval(), torch.nn.Linear(1, 1)
    fields = {"name": "", "shape": (1,), "classes": ("a", "b"), "weights": (0.5, 0.5), "log_snr_range": (-9.0, 9.0)}
    model = EDMDenoiser(network, other, **fields, force_fp32=False, digest="")
    with pytest.raises(InputError, match="train mode"):
        examine(model, (None,), LEVELS)


def test_a_dit_in_train_mode_drops_labels(tmp_path):
    # What the eval mode of the adapter saves from: the network itself, asked twice.
    network = load(save_tiny("dit", tmp_path)).network.train()
    state, labels = torch.zeros(64, 4, 8, 8), torch.zeros(64, dtype=torch.int64)
    with torch.no_grad():
        said = network(state, timestep=torch.full((64,), 500.0), class_labels=labels).sample
    assert (said - said[:1]).abs().flatten(1).amax(dim=1).gt(1e-3).any()
