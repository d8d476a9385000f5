"""Training the text-to-image model: the same bits whether or not it was stopped, and bad input in one line."""

import gzip
import json
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file
from tokenizers.pre_tokenizers import ByteLevel

from derivations.kit.garments import held_out_garments
from derivations.when_words_take_hold import train as training
from derivations.when_words_take_hold.scenes import drawn
from derivations.when_words_take_hold.train import SceneSettings, components, main, tokenizer, train

SETTINGS = SceneSettings(steps=4, batch=4, scenes=20, autoencoder_steps=3, autoencoder_batch=2)


def interrupt_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends this process a real Ctrl-C while the loss is computed for the given time, in either training."""
    counted, plain = iter(range(1, 10**6)), training.mse_loss

    def counting(*arguments: object) -> torch.Tensor:
        if next(counted) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(*arguments)

    monkeypatch.setattr(training, "mse_loss", counting)


def test_a_training_stopped_in_each_of_its_parts_and_resumed_ends_with_the_same_bits(tmp_path, monkeypatch):
    garments, whole, stopped = held_out_garments(), tmp_path / "whole", tmp_path / "stopped"
    train(garments, whole, SETTINGS, progress=False)
    # A step of the autoencoder has three losses, one of the denoiser one. After two steps of the first; then, in the
    # last step of the first and two of the second.
    for call, where in ((5, "autoencoder"), (5, ".")):
        interrupt_at(call, monkeypatch)
        with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
            train(garments, stopped, SETTINGS, progress=False)
        monkeypatch.undo()
        assert (stopped / where / "checkpoint.safetensors").exists()
    train(garments, stopped, SETTINGS, progress=False)
    files = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(str(path.relative_to(stopped)) for path in stopped.rglob("*") if path.is_file())
    for name in files:
        if name != "companion.json":  # which has the seconds
            assert (whole / name).read_bytes() == (stopped / name).read_bytes(), name
    names = load_file(whole / "text_encoder" / "model.safetensors")  # as published ones are called
    assert all(name.startswith("text_model.") for name in names)
    described = json.loads((whole / "companion.json").read_text())
    assert len(described["losses"]) == 1 and len(described["training"]["autoencoder"]["losses"]) == 1


def test_latents_are_principal_components_of_patches_divided_by_the_roots_of_their_deviations():
    images = drawn(held_out_garments(), 200, seed=1).images
    maps = components(images)
    patches = images.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(-1, 48)
    covariance = torch.cov((patches @ maps.T).T)
    # Rounded in float32; the smallest of eight components has a variance of 0.3 and more.
    variances = covariance.diagonal()
    assert (covariance - torch.diag(variances)).abs().max() < 1e-4
    explained = torch.linalg.eigvalsh(torch.cov(patches.T))[-8:]
    assert torch.allclose(variances, explained.sqrt(), rtol=1e-3)
    assert explained.sum() > 0.9 * patches.var(0).sum()


def test_captions_drop_words_at_the_rates_that_are_written_down():
    """Of 4000 captions of one scene, each attribute is named with probability 0.5 0.9 + 0.4 0.4 = 0.61, and none with
    0.1 + 0.5 0.1^7 + 0.4 0.6^7 = 0.1112; five deviations of 0.0077 and of 0.0050 are missed once in two million."""
    attributes = torch.tensor([[0, 0, 0, 0, 1, 1, 1]]).expand(4000, 7)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        captions = training._captions(attributes)
    for phrase in ("red", "boot", "on the left", "blue wall", "with a window", "with a star", "in black and white"):
        assert abs(sum(phrase in said for said in captions) / 4000 - 0.61) < 5 * 0.0077
    assert abs(captions.count("") / 4000 - 0.1112) < 5 * 0.005


def test_the_tokenizer_reads_any_bytes():
    reader = tokenizer()
    assert len(reader) == 2 * len(ByteLevel.alphabet()) + len(training._merges()) + 2
    for text in ("turquoise", "Ünïcode ☂", "x" * 20):
        assert reader.unk_token_id not in reader(text).input_ids[1:-1]


def broken(folder, name, content):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (lambda folder: ["--data", str(folder)], "train-images-idx3-ubyte.gz"),
        (
            lambda folder: [
                "--data",
                str(broken(folder / "cut", "train-images-idx3-ubyte.gz", gzip.compress(b"0")[:9])),
            ],
            "train-images-idx3-ubyte.gz",
        ),
        (lambda folder: ["--steps", "0"], "steps is 0"),
        (lambda folder: ["--seed", "-1"], "seed is -1"),
        (lambda folder: ["--threads", "100000"], "threads is 100000"),
        (lambda folder: ["--out", str(broken(folder, "file", b"") / "file")], "expected a folder, not a file"),
        (lambda folder: ["--out", str(broken(folder, "companion.json", b"{}"))], "holds no model yet"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tmp_path, capsys):
    assert main(["--out", str(tmp_path / "out"), *arguments(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
