"""The shipped digits model: small, whole, described by its card, and drawing the digit it is asked for."""

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

import companion.models
from companion.forward import log_snr_levels
from companion.models.digits import held_out_digits, training_digits
from companion.models.load import load

FOLDER = Path(companion.models.__file__).parent / "weights" / "digits"
CARD = Path(__file__).parents[2] / "benchmarks" / "digits_card.py"


def test_the_weights_are_small_and_nothing_unfinished_ships():
    files = {str(path.relative_to(FOLDER)): path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert sorted(files) == [
        "README.md",
        "card.json",
        "companion.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    assert sum(files.values()) < 1_000_000


def test_the_card_says_what_was_measured_on_these_weights():
    specification = importlib.util.spec_from_file_location("digits_card", CARD)
    digits_card = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(digits_card)
    measured = json.loads((FOLDER / "card.json").read_text())
    model = json.loads((FOLDER / "companion.json").read_text())
    assert measured["digest"] == load("digits").digest
    assert (FOLDER / "README.md").read_text() == digits_card.card(measured, model)


def test_what_was_measured_is_good_enough():
    measured = json.loads((FOLDER / "card.json").read_text())
    assert measured["classifier_accuracy"]["generated"] >= 0.98
    assert measured["nearest_training_image"]["p_generated_nearer"] > 0.05
    for compared in (measured["chain"]["ten_classes"], measured["chain"]["all_pairs"]):
        assert abs(compared["largest_difference_in_standard_errors"]) <= 2.0
    assert measured["chain"]["accuracy_3_8"] >= 0.95


def test_labels_and_the_null_class_move_the_output():
    model = load("digits")
    images = held_out_digits().images[:10]
    x = images + torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    answers = [model(x, torch.ones(10), torch.full((10,), label)) for label in range(10)]
    answers.append(model(x, torch.ones(10), None))
    for one in range(11):
        for other in range(one):
            assert (answers[one] - answers[other]).abs().max() > 0.1


def test_the_class_average_of_what_it_predicts_is_the_null_prediction_roughly():
    # At log-snr -8 almost nothing is known: the null branch is the mean over classes, and both are the mean digit.
    model = load("digits")
    sigma = torch.full((360,), float(np.exp(4.0)))
    images = held_out_digits().images
    x = images + sigma[0] * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    null = model(x, sigma, None)
    average = torch.stack([model(x, sigma, torch.full((360,), label)) for label in range(10)]).mean(0)
    mean_digit = training_digits().images.mean(0, keepdim=True)
    # Pixels have a spread of about 0.5 between classes; the network, trained by minutes, gets a tenth of it right.
    assert (null - average).square().mean().sqrt() < 0.1
    assert (null - mean_digit).square().mean().sqrt() < 0.1


@pytest.mark.slow
def test_it_draws_the_digit_it_is_asked_for():
    model = load("digits")
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    snr = np.exp(log_snr_levels(64, -9.0, 8.0))
    y = float(np.sqrt(snr[0])) * torch.randn(200, *model.shape, generator=generator)
    for now, after in pairwise(snr):
        mean = model(y / float(now), torch.full((200,), float(now**-0.5)), labels)
        y = y + float(after - now) * mean + float(np.sqrt(after - now)) * torch.randn(y.shape, generator=generator)
    training = training_digits()
    judge = SVC(gamma=0.064).fit(training.images.flatten(1), training.labels)
    right = judge.predict((y / float(snr[-1])).flatten(1)) == labels.numpy()
    # Right on 98%, it gets fewer than 188 of 200 with probability 0.0002; right on 90%, at least 188 with 0.03.
    assert right.sum() >= 188
