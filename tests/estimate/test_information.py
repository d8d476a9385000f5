"""The mutual information of samples and classes, against one-integral truths; its bounds, its files, its bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion import FunctionDenoiser, Information, InputError, guided, mutual_information
from companion.cli import main
from companion.exact import equidistant
from companion.exact.mixtures import isotropic_mixture
from companion.exact.two_gaussians import entropy
from companion.models.checks import JUDGED

PAIR = isotropic_mixture([[-1.0], [1.0]], 1.0)
GAUSSIAN = 0.8  # the correlation of two standard normal variables


def of_normal(x, sigma, y):
    """The posterior mean of a standard normal variable, given one of correlation 0.8 or none."""
    noise = sigma[:, None] ** 2
    if y is None:
        return x / (1.0 + noise)
    left = 1.0 - GAUSSIAN**2
    return GAUSSIAN * y + left / (left + noise) * (x - GAUSSIAN * y)


PAIRED = FunctionDenoiser(of_normal, (1,), condition_shape=(1,), dtype=torch.float64)


def pairs(count):
    draws = torch.randn(2, count, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return draws[0], GAUSSIAN * draws[0] + np.sqrt(1.0 - GAUSSIAN**2) * draws[1]


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_all_routes_agree_for_two_gaussians(distance):
    """Within four standard errors of the integral up to the last level, where kappa is distance^2 to 1e-4 of it: of six
    numbers one is outside once in 2600 seeds."""
    pair = isotropic_mixture([[-0.5 * distance], [0.5 * distance]], 1.0)
    found = mutual_information(pair, pair.sample(600, torch.Generator().manual_seed(1)), samples=400, levels=48)
    truth = np.log(2.0) - entropy(distance**2)
    for course in (found.of_model, found.of_data, found.mixture, found.null, found.null_losses):
        assert abs(course.total.value - truth) < 4.0 * course.nats_se[-1] + 1e-3, course
    assert found.of_model.total.upper <= found.most


def test_routes_agree_for_ten_equidistant_classes():
    """Three standard errors; I is half of log 10 there. By the chain rule the neural entropies of classes and of their
    mixture differ by the mixture's own integral (SI 14), on the same paths, to three errors of both."""
    ten = isotropic_mixture(2.0 * np.eye(10), 1.0)
    found = mutual_information(ten, samples=110, levels=64)
    truth = np.log(10.0) - equidistant.entropy(8.0, 10)
    for course in (found.of_model, found.mixture, found.null):
        assert abs(course.total.value - truth) < 3.0 * course.nats_se[-1], course
    stored = found.stored.total.value - found.stored_mixture.total.value
    error = np.hypot(found.stored.nats_se[-1], found.stored_mixture.nats_se[-1])
    assert abs(stored - found.mixture.total.value) < 3.0 * error


@settings(deadline=None, max_examples=12)
@given(scale=st.floats(-30.0, 30.0), shift=st.floats(-5.0, 5.0), turn=st.floats(0.0, 9.0), count=st.integers(2, 5))
def test_no_denoiser_takes_the_bounded_route_out_of_its_bounds(scale, shift, turn, count):
    """Exaggerated, oscillating, inconsistent and nearly deaf branches; wholly deaf ones are refused before a run."""

    def wrong(x, sigma, condition):
        label = torch.full_like(sigma, -1.0) if condition is None else condition.to(sigma.dtype)
        told = (scale * torch.sin(turn * label + shift))[:, None] * torch.cos(turn * x)
        return told + 0.01 * label[:, None] + shift * x / (1.0 + sigma[:, None] ** 2)

    names = tuple(map(str, range(count)))
    model = FunctionDenoiser(wrong, (2,), names, dtype=torch.float64, has_null=True)
    found = mutual_information(model, samples=30, log_snr=np.linspace(-4.0, 4.0, 9), trust=JUDGED)
    course = found.of_model
    for curve in (course.nats, course.lower, course.upper):
        assert np.all((curve >= 0.0) & (curve <= found.most))


def test_the_order_of_classes_changes_nothing_but_chance():
    """Four errors of the difference of two runs; the tree halves other groups."""
    means, weights = np.array([[-2.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, -3.0]]), np.array([0.4, 0.3, 0.2, 0.1])
    one, other = (
        mutual_information(isotropic_mixture(means[order], 1.0, weights[order]), samples=200, levels=32, seed=seed)
        for seed, order in enumerate(([0, 1, 2, 3], [3, 0, 2, 1]))
    )
    assert one.most == pytest.approx(other.most, rel=1e-12)
    gap = one.of_model.total.value - other.of_model.total.value
    assert abs(gap) < 4.0 * np.hypot(one.of_model.nats_se[-1], other.of_model.nats_se[-1])


def test_a_run_in_a_folder_goes_on_to_the_bit_and_its_file_is_read_back(tmp_path):
    """Without one of its blocks the same command measures that one again; the seconds differ."""
    data, how = PAIR.sample(80, torch.Generator().manual_seed(1)), {"samples": 60, "levels": 12, "block": 20}
    one, two = mutual_information(PAIR, data, tmp_path, **how), mutual_information(PAIR, data, **how)
    for part in ("model", "data"):
        next((tmp_path / part / "blocks").glob("0-20-00000020*")).unlink()
    again = mutual_information(PAIR, data, tmp_path, **how)
    for found in (two, again, Information.load(tmp_path / "information.json")):
        assert {**found.as_dict(), "seconds": 0} == {**one.as_dict(), "seconds": 0}
    (tmp_path / "information.json").write_text("{}")
    with pytest.raises(InputError, match="a whole file of the format"):
        Information.load(tmp_path / "information.json")


def test_the_information_and_the_neural_entropy_of_normal_variables():
    """I = -log(1 - r^2) / 2; the data N(0, 1) are the equilibrium, of which nothing is stored, and of y the
    information is. Four standard errors; the tail beyond the last level is e^-8."""
    found = mutual_information(PAIRED, pairs(1500), log_snr=np.linspace(-8.0, 8.0, 65))
    truth = -0.5 * np.log(1.0 - GAUSSIAN**2)
    for course in (found.null, found.null_losses, found.stored):
        assert abs(course.total.value - truth) < 4.0 * course.nats_se[-1] + 1e-3
    assert abs(found.stored_null.total.value) < 1e-12 and found.most is found.of_model is None


def test_the_command_writes_what_the_function_gives(tmp_path, capsys):
    digits = np.random.default_rng(0).standard_normal((40, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", samples=digits, labels=np.arange(40) % 10)
    asked = ["information", "--samples", "22", "--levels", "3", "--out", str(tmp_path / "out"), "--json"]
    assert main([*asked, "--data", str(tmp_path / "data.npz"), "--trust", "last level"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == Information.load(tmp_path / "out" / "information.json").as_dict() and told["of_data"] is not None
    assert main([*asked, "--data", str(tmp_path / "none.npz")]) == 2
    assert capsys.readouterr().err.startswith("companion: error: data is ")


X, Z = torch.zeros(6, 1), [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        (PAIR, (torch.zeros(6, 2), Z), "samples of data is of shape"),
        (PAIR, (X, [0, 1, 2, 0, 1, 2]), "labels of data is .* expected classes from 0 to 1"),
        (PAIR, (X, [0, 0, 0, 0, 0, 1]), "labels of data is 1 of class number 1, expected at least 2"),
        (PAIR, (X, [0, 0, 0, 0, 0, 0]), "labels of data is 0 of class number 1"),
        (PAIR, (X * np.nan, Z), "samples of data is"),
        (PAIR, (X, [0.0, np.nan, 0, 1, 0, 1]), "labels of data is .* expected whole numbers"),
        (PAIR, (X, torch.rand(6)), "labels of data is .* expected whole numbers"),
        (PAIR, (X, [[0], [0, 1], 0, 1, 0, 1]), "labels of data is .* expected whole numbers"),
        (PAIR, (X, torch.zeros(6, requires_grad=True)), "labels of data is .* expected whole numbers"),
        (PAIR, (X, Z), "data is 3 samples of class number"),
        (guided(PAIR, 2.0), None, "model is .* expected a model without guidance"),
        (PAIR, (X,), "data is tuple, expected two"),
        (PAIR, {"x": X, "y": Z}, "data is dict, expected two"),
        (PAIRED, (X, torch.rand(6, 1), Z), "data is tuple, expected two"),
        (PAIRED, None, "data is NoneType, expected pairs"),
        (PAIRED, (X, torch.tensor(Z)), "y of data is torch.int64"),
        (PAIRED, (X, torch.ones(6, 1)), "y of data is the same everywhere"),
        (PAIRED, (X, torch.rand(5, 1)), "y of data is .* as many x as y"),
        (PAIRED, (X * np.nan, torch.rand(6, 1)), "x of data"),
    ],
)
def test_bad_input_is_one_line(model, data, said):
    with pytest.raises(InputError, match=said) as refused:
        mutual_information(model, data)
    assert "\n" not in str(refused.value)


def test_the_file_of_somebody_else_is_refused_before_anything_is_done(tmp_path):
    (tmp_path / "information.json").write_text("{}")
    with pytest.raises(InputError, match=r"path is .* expected a whole file of the format"):
        mutual_information(PAIR, samples=40, levels=12, out=tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["information.json"]


@pytest.mark.parametrize("shape", [(-1,), ("a",), [2], (1.5,)])
def test_a_condition_has_a_shape_of_lengths(shape):
    with pytest.raises(InputError, match=r"condition_shape is .* expected a tuple of lengths"):
        replace(PAIRED, condition_shape=shape)


@pytest.mark.parametrize("option", [{"samples": -3}, {"samples": 1.5}, {"samples": 7}, {"block": 1.5}])
def test_a_number_of_pairs_or_of_a_block_that_cannot_be_is_one_line(option):
    with pytest.raises(InputError, match=f"{next(iter(option))} is .* expected a whole number of at least"):
        mutual_information(PAIRED, (X, torch.rand(6, 1)), levels=3, **option)


def test_a_tolerance_asks_for_more_paths_of_the_model_and_not_for_more_data():
    """A tolerance fills whole blocks of the model's own paths; of the data no more than `samples` are asked."""
    found = mutual_information(PAIR, PAIR.sample(100, torch.Generator()), samples=40, levels=12, tolerance=5.0)
    assert found.of_data is not None and found.samples > 40
    assert found.of_data.total.upper <= found.most
