"""The shipped garments model: small, whole, read by stock diffusers, moved by its label, described by its card."""

import gzip
import json

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

import companion
from benchmarks import garments_card
from companion.forward import log_snr_levels
from derivations.kit.garments import CLASSES, held_out_garments, levels_of
from derivations.kit.sampling import deterministic, start
from derivations.ten_garments import WEIGHTS, model, train


@pytest.fixture(scope="module")
def garments():
    return model()


def test_the_weights_are_small_and_nothing_unfinished_ships():
    files = {str(path.relative_to(WEIGHTS)): path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()}
    assert sorted(files) == [
        "README.md",
        "card.json",
        "companion.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    assert sum(files.values()) < 3_000_000


def test_it_is_what_the_training_command_makes(garments):
    described = json.loads((WEIGHTS / "companion.json").read_text())
    settings = train.settings()
    assert described["training"] == vars(settings)
    assert described["classes"] == list(CLASSES) == list(garments.classes)
    assert len(described["losses"]) == settings.steps // 100
    # The mean of the last thousand steps is below that of the second hundred: it has learned something.
    assert np.mean(described["losses"][-10:]) < 0.8 * described["losses"][1]
    assert tuple(garments.network.config.block_out_channels) == train.CHANNELS


def test_the_card_says_what_was_measured_on_these_weights(garments):
    measured = json.loads((WEIGHTS / "card.json").read_text())
    described = json.loads((WEIGHTS / "companion.json").read_text())
    assert measured["digest"] == garments.digest
    assert (WEIGHTS / "README.md").read_text() == garments_card.card(measured, described)


def test_what_was_measured_is_good_enough():
    measured = json.loads((WEIGHTS / "card.json").read_text())
    assert measured["judge_accuracy"]["test"] >= 0.90
    assert measured["judge_accuracy"]["generated"] >= 0.85


def test_stock_diffusers_reads_it_and_its_denoiser_is_the_schedulers_own_x0(garments):
    network = UNet2DModel.from_pretrained(WEIGHTS / "unet").eval()
    scheduler = DDPMScheduler.from_pretrained(WEIGHTS / "scheduler")
    images, labels = held_out_garments().images[:10], torch.arange(10)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    for timestep in (50, 250, 450, 650, 850):
        noisy = scheduler.add_noise(images, noise, torch.full((10,), timestep))
        with torch.no_grad():
            velocity = network(noisy, timestep, class_labels=labels).sample
        theirs = scheduler.step(velocity, timestep, noisy).pred_original_sample
        share = scheduler.alphas_cumprod[timestep].double()
        sigma = ((1 - share) / share).sqrt().float().expand(10)
        ours = garments(noisy / share.sqrt().float(), sigma, labels)
        # Numbers of size one in float32. The adapter finds the timestep from sigma, which float32 keeps to 6e-8 of
        # itself: a thousandth of a step at most, and a step moves the answer by less than a hundredth.
        assert (ours - theirs).abs().max() < 5e-5


def test_labels_and_the_null_class_move_the_output(garments):
    images = held_out_garments().images[::200]
    sigma = torch.full((len(images),), 5.0)
    x = images + 5.0 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    answers = [garments(x, sigma, torch.full((len(images),), label)) for label in range(10)]
    answers.append(garments(x, sigma, None))
    for one in range(11):
        for other in range(one):
            assert (answers[one] - answers[other]).abs().max() > 0.1


@pytest.mark.slow
def test_it_draws_the_garment_it_is_asked_for(garments):
    # Judged by the nearest of the 2000 held-out garments, which reads others of them right in about three quarters.
    labels = torch.arange(40) % 10
    drawn = deterministic(garments, start(40, garments.shape, seed=1), labels, log_snr_levels(24, -9.0, 7.0))
    held_out = held_out_garments()
    nearest = torch.cdist(drawn.flatten(1), held_out.images.flatten(1)).argmin(dim=1)
    # At a rate of 0.65, fewer than 20 of 40 are right once in 50 times; at chance, a tenth, never.
    assert (held_out.labels[nearest] == labels).sum() >= 20


def few_garments(folder):
    """The first 64 held-out garments as the files of a training set."""
    some = held_out_garments()
    for name, array in (
        ("train-images-idx3-ubyte.gz", levels_of(some.images[:64])),
        ("train-labels-idx1-ubyte.gz", some.labels[:64].numpy().astype(np.uint8)),
    ):
        head = b"\x00\x00\x08" + bytes([array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
        with gzip.open(folder / name, "wb") as file:
            file.write(head + array.tobytes())
    return folder


def test_the_command_trains_from_files_and_keeps_what_is_finished(tmp_path, capsys):
    data, out = few_garments(tmp_path), tmp_path / "model"
    command = ["--data", str(data), "--out", str(out), "--steps", "2"]
    assert train.main(command) == 0
    assert f"the model is in {out}" in capsys.readouterr().out
    found = companion.load(out)
    assert (found.classes, found.has_null, found.shape) == (CLASSES, True, (1, 28, 28))
    assert train.main(command) == 2
    assert "expected a folder that holds no model yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nowhere"], "dataset-fashion-mnist"),
        (["--steps", "0"], "steps is 0"),
        (["--seed", "-1"], "seed is -1"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, options, said):
    assert train.main(["--out", str(tmp_path / "out"), *options]) == 2
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1 and "Traceback" not in message
