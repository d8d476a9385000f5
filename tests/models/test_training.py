"""Training: the same bits whether or not it was stopped, whole files or none, and a loss that falls."""

import json
import math
import os
import signal
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from companion.cli import main
from companion.errors import InputError
from companion.models import training
from companion.models.digits import training_digits
from companion.models.load import load
from companion.models.training import Settings, train, velocity_loss

SETTINGS = Settings(steps=12, batch=16)
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def interrupt_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends this process a real Ctrl-C while the given step is computed."""
    counted = iter(range(1, 10**6))

    def loss(*arguments: object) -> torch.Tensor:
        if next(counted) == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return velocity_loss(*arguments)

    monkeypatch.setattr(training, "velocity_loss", loss)


def test_a_stopped_and_resumed_run_ends_with_the_same_bits(tmp_path, monkeypatch):
    train(training_digits(), tmp_path / "whole", SETTINGS, progress=False)
    for stop in (5, 3):  # stopped after 5 steps, then after 3 more
        interrupt_after(stop, monkeypatch)
        with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
            train(training_digits(), tmp_path / "stopped", SETTINGS, progress=False)
        monkeypatch.undo()
        assert [path.name for path in (tmp_path / "stopped").iterdir()] == ["checkpoint.safetensors"]
    train(training_digits(), tmp_path / "stopped", SETTINGS, progress=False)
    for name in (WEIGHTS, "unet/config.json", "scheduler/scheduler_config.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes(), name
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == ["companion.json", "scheduler", "unet"]
    courses = [json.loads((tmp_path / run / "companion.json").read_text())["losses"] for run in ("whole", "stopped")]
    assert courses[0] == courses[1] and len(courses[0]) == 1  # the mean of its twelve steps


def test_another_seed_gives_other_weights_and_the_callers_random_numbers_stay(tmp_path):
    before = torch.get_rng_state()
    for seed in (0, 1):
        train(training_digits(), tmp_path / str(seed), Settings(steps=2, batch=4, seed=seed), progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    zero, one = (load_file(tmp_path / seed / WEIGHTS)["conv_in.weight"] for seed in "01")
    assert not torch.equal(zero, one)


def states_of(network):
    return {name: value.detach().double().clone() for name, value in network.named_parameters()}


def test_the_saved_weights_are_the_moving_average_of_a_run_in_closed_form(tmp_path, monkeypatch):
    """A loss that is linear in the weights has one gradient g at every step, and AdamW then takes steps of one size,

        w -> (1 - r decay) w - r sign(g),    r = rate min(1, (k + 1) / 100) cos^2(pi k / 2 n),

    for |g| far above its 1e-8 (Loshchilov and Hutter 2019). What is saved is the average, of which a step keeps the
    smaller of 0.25 and k / (k + 10). A float32 keeps 6e-8 of a weight of order one, a step changes it by 0.005 and
    more: the last weights and their average are 0.01 apart.
    """
    before, sign = {}, {}

    def linear(network, *arguments):
        if not before:
            before.update(states_of(network))
            generator = torch.Generator().manual_seed(0)
            draws = {name: torch.randn(value.shape, generator=generator) for name, value in before.items()}
            sign.update({name: torch.where(draw < 0.0, -1.0, 1.0) for name, draw in draws.items()})
        return sum((1e-3 * sign[name] * value).sum() for name, value in network.named_parameters())

    monkeypatch.setattr(training, "velocity_loss", linear)
    asked = Settings(steps=4, batch=2, learning_rate=0.5, weight_decay=0.1, average=0.25)
    train(training_digits(), tmp_path, asked, progress=False)
    saved = load_file(tmp_path / WEIGHTS)
    assert saved.keys() == before.keys()
    assert sum(value.numel() for value in saved.values()) < 1e6  # or the gradient's norm would be more than one
    for name, start in before.items():
        weight, average = start, start
        for k in range(4):
            rate = 0.5 * (k + 1) / 100.0 * math.cos(math.pi * k / 8.0) ** 2
            weight = (1.0 - 0.1 * rate) * weight - rate * sign[name]
            kept = min(0.25, (k + 1) / (k + 11))
            average = kept * average + (1.0 - kept) * weight
        torch.testing.assert_close(saved[name].double(), average, rtol=1e-6, atol=1e-6)
        assert (average - weight).abs().min() > 1e-4


def test_the_shipped_network_was_trained_with_these_settings():
    """Its folder says with which; `companion train digits` without options trains it again."""
    described = json.loads((Path(training.__file__).parent / "weights/digits/companion.json").read_text())
    assert asdict(Settings()) == described["training"]


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    """Linear to one in a hundred steps, times a quarter of a cosine, squared; past the last step nothing is left."""
    for steps in (40, 400):
        found = [training._rate(step, steps) for step in range(steps + 1)]
        warm = np.minimum(np.arange(1, steps + 2) / 100.0, 1.0)
        np.testing.assert_allclose(found, warm * np.cos(0.5 * np.pi * np.arange(steps + 1) / steps) ** 2, atol=1e-15)


def test_a_checkpoint_is_written_every_so_many_steps(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY", 3)
    monkeypatch.setattr(training._Run, "save", lambda run, path: written.append(run.step))
    train(training_digits(), tmp_path, Settings(steps=7, batch=2), progress=False)
    assert written == [3, 6]


def test_a_large_gradient_is_cut_to_length_one(tmp_path, monkeypatch):
    """The first moment after one step is a tenth of the gradient (Adam's 1 - 0.9)."""
    lengths, steps = [], training._steps
    monkeypatch.setattr(training, "velocity_loss", lambda *arguments: 1e4 * velocity_loss(*arguments))

    def noted(run, *arguments):
        steps(run, *arguments)
        moments = [run.optimizer.state[value]["exp_avg"] for value in run.network.parameters()]
        lengths.append(10.0 * math.sqrt(sum(float(moment.double().square().sum()) for moment in moments)))

    monkeypatch.setattr(training, "_steps", noted)
    train(training_digits(), tmp_path, Settings(steps=1, batch=4), progress=False)
    assert lengths == [pytest.approx(1.0, abs=1e-4)]


def test_a_batch_is_drawn_evenly_with_labels_hidden_as_often_as_asked(tmp_path, monkeypatch):
    """20 000 images in one batch: shares within 4.5 deviations of theirs, times uniform on 0 to 999, each label that of
    its image. The network is trained with its dropout on."""
    digits, seen = training_digits(), []

    def noted(network, images, labels, timesteps, noise):
        seen.append((images, labels, timesteps, noise, network.training))
        return velocity_loss(network, images[:2], labels[:2], timesteps[:2], noise[:2])

    monkeypatch.setattr(training, "velocity_loss", noted)
    train(digits, tmp_path, Settings(steps=1, batch=20_000, label_dropout=0.3, dropout=0.1), progress=False)
    ((images, labels, timesteps, noise, training_mode),) = seen
    assert training_mode
    hidden = labels == 10
    assert abs(float(hidden.double().mean()) - 0.3) < 4.5 * math.sqrt(0.3 * 0.7 / 20_000)
    known = {image.numpy().tobytes(): int(label) for image, label in zip(digits.images, digits.labels, strict=True)}
    named = [known[image.numpy().tobytes()] for image in images[~hidden]]
    assert labels[~hidden].tolist() == named and len(set(named)) == 10
    assert len({image.numpy().tobytes() for image in images}) > 0.99 * len(known)  # each is missed once in a million
    mean, deviation = float(timesteps.double().mean()), math.sqrt((1000.0**2 - 1.0) / 12.0)
    assert abs(mean - 499.5) < 4.5 * deviation / math.sqrt(20_000)
    assert (int(timesteps.min()), int(timesteps.max())) == (0, 999)  # either is missed once in 5e8
    assert abs(float(noise.square().mean()) - 1.0) < 4.5 * math.sqrt(2.0 / noise.numel())
    blocks = [module for module in load(tmp_path).network.modules() if isinstance(module, torch.nn.Dropout)]
    assert {module.p for module in blocks} == {0.1}


def test_the_loss_is_that_of_the_velocity():
    """alpha^2 is the product of 1 - beta, beta from 1e-4 to 0.02: by hand, for the shipped network.

    The noisy images are rounded to float32 in two ways, and some ten layers of float32 keep that far below 1e-4.
    """
    network = load("digits").network
    digits, generator = training_digits(), torch.Generator().manual_seed(0)
    images, labels, timesteps = digits.images[:5], torch.tensor([3, 10, 0, 9, 5]), torch.tensor([0, 1, 400, 900, 999])
    noise = torch.randn(images.shape, generator=generator)
    alpha2 = np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))[timesteps]
    alpha, sigma = (torch.from_numpy(np.sqrt(each)).reshape(-1, 1, 1, 1) for each in (alpha2, 1.0 - alpha2))
    with torch.no_grad():
        predicted = network((alpha * images + sigma * noise).float(), timesteps, class_labels=labels).sample
        found = float(velocity_loss(network, images, labels, timesteps, noise))
    assert found == pytest.approx(float((predicted - (alpha * noise - sigma * images)).square().mean()), rel=1e-4)


def test_training_lowers_the_loss(tmp_path):
    digits = training_digits()
    for steps in (1, 40):
        train(digits, tmp_path / str(steps), Settings(steps=steps), progress=False)
    generator = torch.Generator().manual_seed(0)
    timesteps = torch.randint(1000, (1437,), generator=generator)
    noise = torch.randn(digits.images.shape, generator=generator)
    with torch.no_grad():
        first, last = (
            velocity_loss(load(tmp_path / steps).network, digits.images, digits.labels, timesteps, noise).item()
            for steps in ("1", "40")
        )
    # The target's mean square is near 1 (an untrained network scores about that); 40 steps reach half of it.
    assert first > 0.9
    assert last < 0.6


def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path, monkeypatch):
    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(training_digits(), tmp_path, SETTINGS, progress=False)
    monkeypatch.undo()
    with pytest.raises(InputError, match="not of seed 0, steps 12"):
        train(training_digits(), tmp_path, Settings(steps=13, batch=16, seed=1), progress=False)


@pytest.mark.parametrize("length", [0, 5, 100_000])
def test_a_truncated_checkpoint_is_refused_in_one_line(tmp_path, monkeypatch, length):
    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(training_digits(), tmp_path, SETTINGS, progress=False)
    monkeypatch.undo()
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:length])
    with pytest.raises(InputError, match="remove it to start again") as refused:
        train(training_digits(), tmp_path, SETTINGS, progress=False)
    assert "\n" not in str(refused.value)


def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(tmp_path, monkeypatch):
    def full_disk(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    interrupt_after(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(training_digits(), tmp_path, SETTINGS, progress=False)
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    interrupt_after(2, monkeypatch)
    monkeypatch.setattr(training, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        train(training_digits(), tmp_path, SETTINGS, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept


def test_training_works_outside_the_main_thread(tmp_path):
    # Signals reach the main thread only, and a notebook may train in another one.
    settings = Settings(steps=1, batch=2)
    worker = threading.Thread(target=train, args=(training_digits(), tmp_path, settings, False))
    worker.start()
    worker.join()
    assert (tmp_path / "companion.json").exists()


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("not a folder")
    finished = tmp_path / "finished"
    finished.mkdir()
    (finished / "companion.json").write_text("{}")
    (tmp_path / "somebodys" / "unet").mkdir(parents=True)
    for arguments, said in (
        (["--out", str(taken)], "a folder, not a file"),
        (["--out", str(taken / "below")], "taken/below"),
        (["--out", str(finished)], "a folder that holds no model yet"),
        (["--out", str(tmp_path / "somebodys")], "a folder that holds no model yet"),
        (["--out", str(tmp_path / "new"), "--steps", "0"], "steps is 0, expected at least 1"),
        (["--out", str(tmp_path / "new"), "--threads", "0"], "threads is 0, expected at least 1"),
        (["--out", str(tmp_path / "new"), "--threads", "99999"], "threads is 99999, expected at most"),
        (["--out", str(tmp_path / "new"), "--seed", "-1"], "seed is -1, expected at least 0"),
        (["--out", str(tmp_path / "new"), "--seed", str(2**63)], "less than 2^63"),
    ):
        assert main(["train", "digits", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("companion: error: ")
        assert said in error
        assert error.count("\n") == 1
    assert taken.read_text() == "not a folder"
    assert (tmp_path / "somebodys" / "unet").exists()
    assert not (tmp_path / "new").exists()


def test_a_run_that_ended_while_its_parts_were_put_in_place_is_completed(tmp_path, monkeypatch):
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    run = Settings(steps=2, batch=2)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_CHECKPOINT_EVERY", 2)
        patch.setattr(training, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            train(training_digits(), tmp_path, run, progress=False)
    assert (tmp_path / "unet").exists()
    train(training_digits(), tmp_path, run, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["companion.json", "scheduler", "unet"]


def test_the_command_stops_at_ctrl_c_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    interrupt_after(2, monkeypatch)
    command = ["train", "digits", "--out", str(tmp_path), "--steps", "4", "--seed", "7"]
    assert main(command) == 130
    assert "stopped after 2 of 4 steps" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(command) == 0
    assert json.loads((tmp_path / "companion.json").read_text())["training"]["seed"] == 7
    assert load(tmp_path).has_null
