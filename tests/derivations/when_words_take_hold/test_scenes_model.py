"""The shipped text-to-image model: a stock pipeline, of small size, whose words adapter and tokenizers read."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

import companion
from companion.cli import main
from companion.errors import InputError
from companion.models.load import load
from derivations.when_words_take_hold import train
from derivations.when_words_take_hold.scenes import ATTRIBUTES, caption

FOLDER = Path(train.__file__).parent / "weights"
CARD = Path(__file__).parents[3] / "benchmarks" / "scenes_card.py"
PROMPTS = ("red boot on the left", "red boot on the left, blue wall", "purple bag, in black and white")
COMMAND = ["profile", "--model", str(FOLDER), "--prompt", PROMPTS[0], "--prompt", PROMPTS[1], "--partition", "#0|#1"]
COMMAND += ["--samples", "8", "--levels", "4", "--block", "2", "--out"]


def test_the_folder_is_a_pipeline_of_five_megabytes_and_nothing_unfinished_ships():
    files = {str(path.relative_to(FOLDER)): path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert sorted(files) == [
        "README.md",
        "card.json",
        "companion.json",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert sum(files.values()) <= 5_000_000


def test_the_card_says_what_was_measured_on_these_weights():
    specification = importlib.util.spec_from_file_location("scenes_card", CARD)
    scenes_card = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(scenes_card)
    measured, model = (json.loads((FOLDER / name).read_text()) for name in ("card.json", "companion.json"))
    assert measured["digest"] == load(FOLDER, scenes_card.CARD).digest
    assert (FOLDER / "README.md").read_text() == scenes_card.card(measured, model)


STOCK = """
    import sys, warnings
    import torch
    from diffusers import StableDiffusionPipeline

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "`clean_up_tokenization_spaces`")  # transformers 4.44, of its own defaults
        pipeline = StableDiffusionPipeline.from_pretrained(sys.argv[1])
        pictures = pipeline(
            ["blue wall", "yellow wall"], num_images_per_prompt=6, num_inference_steps=8, guidance_scale=1.0,
            output_type="np", generator=torch.Generator().manual_seed(0),
        ).images
    assert not {"companion", "derivations"} & set(sys.modules)
    print(pictures[:, :8, :8].mean((1, 2)).reshape(2, 6, 3).mean(1).round(3).tolist())
"""


def test_the_stock_pipeline_draws_from_the_folder_without_our_code_and_without_a_warning(tmp_path):
    """In a process and a folder of their own; the upper left corner shows the wall: blue is bluer than it is red, and
    yellow the other way round, but for pictures that come out black and white. What transformers says of torchvision
    when it is imported is not of this folder."""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": "", "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", textwrap.dedent(STOCK), str(FOLDER)]
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **quiet}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    said = [line for line in ended.stderr.replace("\r", "\n").splitlines() if line and "torchvision" not in line]
    assert [line for line in said if "%|" not in line] == []
    blue, yellow = json.loads(ended.stdout.splitlines()[-1])
    assert blue[2] > blue[0] and yellow[0] > yellow[2]


def test_both_forms_of_the_tokenizer_read_the_same_and_each_word_of_a_caption_is_one_token(tmp_path):
    """transformers 4 reads vocab.json and merges.txt by rules of its own, 5 reads tokenizer.json where it is."""
    old = tmp_path / "old"
    old.mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(FOLDER / "tokenizer" / name, old)
    one, other = (CLIPTokenizer.from_pretrained(folder) for folder in (FOLDER / "tokenizer", old))
    vocabulary = json.loads((FOLDER / "tokenizer" / "vocab.json").read_text(encoding="utf-8"))
    everything = [caption([min(value, len(values) - 1) for values in ATTRIBUTES.values()]) for value in range(5)]
    for text in (*everything, "", "a boötes in Zürich, 3 o'clock", "garment"):
        assert one(text).input_ids == other(text).input_ids
        assert max(one(text).input_ids) < len(vocabulary) == len(one)
    for text in everything:
        words = text.replace(",", " ,").split()
        assert one(text).input_ids[1:-1] == [vocabulary[f"{word}</w>"] for word in words]
        assert len(words) + 2 <= one.model_max_length == 24


def test_the_weights_of_the_text_encoder_have_the_names_that_both_transformers_ask_for():
    from safetensors.torch import load_file

    names = load_file(FOLDER / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names)
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER)
    loaded = {name.removeprefix("text_model."): value for name, value in pipeline.text_encoder.state_dict().items()}
    for name, value in names.items():
        assert torch.equal(loaded[name.removeprefix("text_model.")], value)


def test_the_adapter_says_what_the_pipelines_own_scheduler_says():
    """At five levels, in float32. x_0 = alpha z - sigma v on either side: one differs from the other by roundings of
    x_0 and of what the network is shown, some 6e-8 of numbers up to 4 each, through a network that enlarges them
    somewhat: 1e-5 leaves a factor of forty. A prompt mistaken for another differs by more than 0.1."""
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER)
    model, scheduler = load(FOLDER, PROMPTS), pipeline.scheduler
    assert isinstance(scheduler, DDIMScheduler)
    encoded, null = pipeline.encode_prompt(list(PROMPTS), "cpu", 1, True)
    clean = 0.5 * torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(1000)
    for step in (40, 200, 500, 800, 950):
        product = scheduler.alphas_cumprod[step].double()
        sigma = ((1.0 - product) / product).sqrt().float()
        x = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(step))
        for condition, told in ((torch.arange(3), encoded), (None, null)):
            state = x * product.sqrt().float()
            with torch.no_grad():
                said = pipeline.unet(state, step, encoder_hidden_states=told).sample
            theirs = scheduler.step(said, step, state).pred_original_sample
            ours = model(x, sigma.expand(3), condition)
            assert (ours - theirs).abs().max() < 1e-5
            if condition is not None and step == 800:
                other = model(x, sigma.expand(3), torch.tensor([1, 2, 0]))
                assert ((ours - other).flatten(1).norm(dim=1) > 0.1).all()


def without_seconds(folder):
    lines = (folder / "profile.json").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith(' "seconds": ')]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "out"
    assert main([*COMMAND, str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_a_profile_of_prompts_that_was_killed_ends_with_the_same_bits(tmp_path, uninterrupted):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "companion", *COMMAND, str(out)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120.0
    while not list(out.glob("blocks/*.npz")) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL and not (out / "profile.json").exists()
    assert main([*COMMAND, str(out)]) == 0
    assert without_seconds(out) == without_seconds(uninterrupted)


@pytest.mark.slow
def test_two_processes_measure_prompts_with_the_bits_of_one(tmp_path, uninterrupted):
    out = tmp_path / "out"
    launch = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch, "-m", "companion", *COMMAND, str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert without_seconds(out) == without_seconds(uninterrupted)


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        (("", "red boot"), "texts of words"),
        (("  ", "red boot"), "texts of words"),
        ((",", "red boot"), "texts of words"),
        (("red boot", "red boot"), "different texts"),
        (("red boot", "Red  boot"), "differ to the text encoders"),
        (("red boot", "red boot, " * 8), "of 26 tokens, expected at most the 24"),
    ],
)
def test_prompts_that_say_nothing_or_the_same_or_too_much_are_refused_in_one_line(prompts, said):
    with pytest.raises(InputError, match=said) as error:
        companion.load(FOLDER, prompts=prompts)
    assert "\n" not in str(error.value)
