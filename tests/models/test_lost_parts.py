"""A folder with a part lost, changed or of another kind: one line, or the same answers to the bit."""

import json
import os
import pickle
import shutil
from pathlib import Path

import diffusers
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from companion.errors import InputError, foreign
from companion.models.checks import examine, refuse
from companion.models.edm import load as load_edm
from companion.models.load import load
from companion.models.pretrained import described, name_of, read_json
from derivations.bring_your_own_model.tiny import KINDS, save_tiny

PROMPTS = ("a cat", "a dog", "a red")
PROMPTED = [kind for kind in KINDS if kind.startswith("stable")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of each kind, and what its model answers."""
    found = {}
    for kind in KINDS:
        folder = save_tiny(kind, tmp_path_factory.mktemp("saved") / kind.replace(" ", "_"))
        found[kind] = folder, answers(folder)
    return found


def copy(saved, kind, tmp_path):
    return Path(shutil.copytree(saved[kind][0], tmp_path / "model"))


def answers(folder):
    model = load(folder, PROMPTS if (folder / "tokenizer").is_dir() else ())
    x = torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(0))
    sigma, condition = torch.tensor([0.1, 1.0, 8.0]), torch.tensor([0, 1, 2])
    return torch.stack([model(x, sigma, condition), model(x, sigma, None)])


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder, prompts, said):
    with pytest.raises(InputError, match=said) as error:
        load(folder, prompts)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 800


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_lost_is_missed_or_was_not_needed(kind, saved, tmp_path):
    folder, expected = copy(saved, kind, tmp_path), saved[kind][1]
    needless = 0
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        held = path.read_bytes()
        path.unlink()
        try:
            assert torch.equal(answers(folder), expected), path
            needless += 1
        except InputError as error:
            assert "\n" not in str(error)
        path.write_bytes(held)
    # The index of a network that is recognised by its own configuration.
    assert needless == (1 if kind == "unet" else 0)


@pytest.mark.parametrize("kind", ["stable diffusion", "stable diffusion xl", "stable diffusion 3"])
def test_a_folder_that_is_lost_is_missed(kind, saved, tmp_path):
    folder, expected = copy(saved, kind, tmp_path), saved[kind][1]
    for path in sorted(each for each in folder.iterdir() if each.is_dir()):
        aside = path.rename(tmp_path / "aside")
        if path.name == "vae" and kind != "stable diffusion xl":  # it draws; XL is told the size of the pictures
            assert load(folder, PROMPTS).decode is None
            assert torch.equal(answers(folder), expected)
        elif path.name == "text_encoder_3":  # what a reader leaves out for its size, said so in `load`
            assert not load(folder, PROMPTS).prompts[:, 8:].any()
        else:
            refused(folder, PROMPTS, "expected")
        aside.rename(path)


NULLED = ("text_encoder", "tokenizer", "scheduler", "unet")


@pytest.mark.parametrize("part", NULLED)
@pytest.mark.parametrize("value", [[None, None], None, ["transformers", "GPT2Model"], "x"])
def test_a_part_that_the_index_does_not_name_is_missed(part, value, saved, tmp_path):
    folder = copy(saved, "stable diffusion", tmp_path)
    edit(folder / "model_index.json", **{part: value})
    try:
        assert torch.equal(answers(folder), saved["stable diffusion"][1])  # read by its own configuration
    except InputError as error:
        assert "\n" not in str(error)


SIZES = {
    "vocabulary": ("tokenizer/tokenizer.json", None, r"vocabulary of tokenizer is of 2 tokens, expected about 54"),
    "length": ("tokenizer/tokenizer_config.json", {"model_max_length": None}, "model_max_length of tokenizer is"),
    "shorter": ("tokenizer/tokenizer_config.json", {"model_max_length": 5}, "is 5, expected 8, text_encoder reads"),
    "end": ("text_encoder/config.json", {"eos_token_id": 49407}, "eos_token_id of text_encoder is 49407, expected 53"),
    "layers": ("text_encoder/config.json", {"num_hidden_layers": 3}, "is only in one of them"),
    "fewer layers": ("text_encoder/config.json", {"num_hidden_layers": 1}, "is only in one of them"),
    "latents": ("vae/config.json", {"latent_channels": 8}, "weights and configuration that fit"),
    "timestep": ("unet/config.json", {"class_embed_type": "timestep"}, "weights and configuration that fit"),
    "no blocks": ("unet/config.json", {"block_out_channels": []}, "weights and configuration that fit"),
    "no groups": ("unet/config.json", {"norm_num_groups": 0}, "weights and configuration that fit"),
    "no size": ("unet/config.json", {"sample_size": None}, "sample_size is None, expected the height"),
    "a switch": ("unet/config.json", {"flip_sin_to_cos": 0}, "flip_sin_to_cos is 0, expected true or false"),
    "a number": ("unet/config.json", {"freq_shift": True}, "freq_shift is True, expected a number"),
    "NaN": ("unet/config.json", {"norm_eps": float("nan")}, "NaN is no number"),
    "tokenizer": ("model_index.json", {"tokenizer": ["transformers", "NoTokenizer"]}, "a pipeline that can be read"),
    "encoder": ("model_index.json", {"text_encoder": ["transformers", "GPT2Model"]}, "expected one of CLIPTextModel"),
}


@pytest.mark.parametrize("how", SIZES)
def test_sizes_of_parts_that_do_not_fit_are_told(how, saved, tmp_path):
    folder, (file, changes, said) = copy(saved, "stable diffusion", tmp_path), SIZES[how]
    if changes is None:
        (folder / file).unlink()
    else:
        edit(folder / file, **changes)
    refused(folder, PROMPTS, said)


CONDITIONS = {
    "timestep": ({"class_embed_type": "timestep"}, "class_embed_type is timestep"),
    "identity": ({"class_embed_type": "identity"}, "class_embed_type is identity"),
    "projection": (
        {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 8},
        "class_embed_type is projection",
    ),
    "simple": (
        {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 8},
        "class_embed_type is simple_projection",
    ),
    "classes": ({"num_class_embeds": 3}, "num_class_embeds is 3, expected null"),
    "images": ({"encoder_hid_dim_type": "image_proj", "encoder_hid_dim": 8}, "encoder_hid_dim_type is image_proj"),
    "width": ({"cross_attention_dim": 12}, "width of the encoded prompts is 8, expected 12"),
}


@pytest.mark.parametrize("how", CONDITIONS)
def test_a_network_that_is_told_more_than_a_prompt_is_refused(how, tmp_path):
    options, said = CONDITIONS[how]
    refused(save_tiny("stable diffusion", tmp_path, options=options), PROMPTS, said)


def test_a_third_vocabulary_that_is_lost_is_missed(saved, tmp_path):
    folder = copy(saved, "stable diffusion 3", tmp_path)
    edit(folder / "text_encoder_3" / "config.json", vocab_size=40)
    refused(folder, PROMPTS, "weights and configuration that fit")


@pytest.mark.parametrize(("rows", "fits"), [(999, False), (1000, True), (2000, False)])
def test_a_learned_table_of_times_is_the_schedules(rows, fits, tmp_path):
    options = {"time_embedding_type": "learned", "num_train_timesteps": rows}
    folder = save_tiny("unet", tmp_path, options=options)
    if fits:
        assert not load(folder).schedule.fractional
    else:
        refused(folder, (), f"num_train_timesteps of the network is {rows}, expected 1000")


def test_weights_that_are_no_numbers_are_told_by_name(saved, tmp_path):
    for kind, part in (("unet", "unet"), ("stable diffusion", "text_encoder")):
        folder = copy(saved, kind, tmp_path / part)
        (path,) = (folder / part).glob("*.safetensors")
        tensors = load_file(path)
        key = sorted(tensors)[0]
        tensors[key].view(-1)[0] = torch.nan
        save_file(tensors, path, metadata={"format": "pt"})
        refused(folder, PROMPTS if part != "unet" else (), "is NaN or infinite, expected finite weights")


def test_a_pipeline_that_is_loaded_is_asked_the_same(saved):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(saved["stable diffusion"][0], local_files_only=True)
    assert torch.equal(
        load(pipeline, PROMPTS)(torch.ones(1, 4, 8, 8), torch.ones(1), None),
        load(saved["stable diffusion"][0], PROMPTS)(torch.ones(1, 4, 8, 8), torch.ones(1), None),
    )
    encoder = pipeline.text_encoder
    pipeline.text_encoder = None
    with pytest.raises(InputError, match="text_encoder is None"):
        load(pipeline, PROMPTS)
    pipeline.text_encoder = encoder
    pipeline.unet.conv_in.bias.data[0] = torch.inf
    with pytest.raises(InputError, match=r"conv_in\.bias is NaN or infinite, expected finite weights in unet"):
        load(pipeline, PROMPTS)


# Prompts


def test_prompts_that_are_cut_or_the_same_to_the_encoder_are_refused(saved):
    folder = saved["stable diffusion"][0]
    refused(folder, ("a cat", "a dog runs"), r"prompt is 'a dog runs'\.\.\. of 10 tokens, expected at most the 8")
    refused(folder, ("a cat", "A CAT"), "texts that differ to the text encoders, from the empty one too")
    for nothing in (" ", ",", "..."):
        refused(folder, ("a cat", nothing), "at least two different texts of words")
    refused(folder, ("caf\u00e9", "cafe\u0301"), "at least two different texts")


# Names


def test_a_model_has_one_name_and_one_verdict_however_its_path_is_spelled(saved, tmp_path, monkeypatch):
    for name, said in (("sd-turbo", "distilled"), ("plain", None)):
        snapshot = tmp_path / "turbo" / f"models--org--{name}" / "snapshots" / "b261bac6"
        folder = Path(shutil.copytree(saved["unet"][0], tmp_path / "turbo" / "plain" / name))
        shutil.copytree(folder, snapshot)
        link = tmp_path / "lightning" / f"link-{name}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(folder)
        monkeypatch.chdir(folder / "unet")
        for spelled in (folder, folder / "unet", "..", ".", "../../" + name, str(folder) + "/", snapshot, link):
            if said:
                refused(spelled, (), f"model is {name}, a {said} model by its name")
            else:
                assert load(spelled).name == name


def test_a_pipelines_place_is_judged_by_its_last_part(saved, tmp_path):
    folder = Path(shutil.copytree(saved["stable diffusion"][0], tmp_path / "turbo" / "plain"))
    assert load(folder, PROMPTS).name == "plain"
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    assert load(pipeline, PROMPTS).name == "plain"
    pipeline.register_to_config(_name_or_path="stabilityai/sd-turbo")
    for name in ("", "mine"):
        with pytest.raises(InputError, match="sd-turbo, a distilled model"):
            load(pipeline, PROMPTS, name=name)
    edit(folder / "model_index.json", _name_or_path="stabilityai/sd-turbo")
    refused(folder, PROMPTS, "sd-turbo, a distilled model")


def test_names_in_a_hubs_cache():
    for place in ("/hub/models--stabilityai--sd-turbo/snapshots/1f/unet", "stabilityai/sd-turbo", "sd-turbo/unet"):
        assert name_of(place) == "sd-turbo"


def test_only_the_bare_word_is_the_shipped_model(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("./digits", (), "a shipped model")
    shutil.copytree(saved["unet"][0], "digits")
    assert load("digits").digest != load("./digits").digest
    for spelled in (Path("digits"), "digits/", str(tmp_path / "digits")):
        assert load(spelled).digest == load("./digits").digest


# What a person writes

DESCRIBED = {
    "another key": ({"hasNull": False}, "key is hasNull, expected one of name, classes, weights, has_null"),
    "no text": ({"classes": ["a", 1, "c"]}, "names that are texts"),
    "empty": ({"classes": ["a", " ", "c"]}, "names that are texts"),
    "nameless": ({"name": ""}, "names that are texts"),
    "twice": ({"classes": ["a", "b", "b"]}, "3 different names"),
    "accents": ({"classes": ["caf\u00e9", "cafe\u0301", "c"]}, "3 different names"),
    "too few": ({"classes": ["a", "b"]}, "3 different names"),
    "a switch": ({"has_null": 1}, "has_null in companion.json is 1, expected a value of type bool"),
    "no weights": ({"weights": []}, "3 positive probabilities"),
    "true": ({"weights": [True, 0.0, 0.0]}, "3 positive probabilities"),
    "a word": ({"weights": ["0.5", 0.25, 0.25]}, "3 positive probabilities"),
    "null": ({"weights": None}, "weights in companion.json is None"),
}


@pytest.mark.parametrize("how", DESCRIBED)
def test_what_a_person_may_write_is_checked(how):
    stored, said = DESCRIBED[how]
    with pytest.raises(InputError, match=said):
        described(stored, "folder", range(3))


def test_what_training_leaves_may_be_there_and_accents_are_composed():
    said = described({"classes": ["cafe\u0301", "b"], "training": {}, "seconds": 1, "versions": {}}, "folder", range(2))
    assert said["classes"] == ("caf\u00e9", "b")


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_a_null_is_taken_at_its_word(kind, saved, tmp_path):
    folder = copy(saved, kind, tmp_path)
    (folder / "companion.json").write_text('{"has_null": false, "name": "mine"}')
    model = load(folder, PROMPTS if kind not in ("unet", "dit") else ())
    # Every row of a U-Net's embedding is a class then; a transformer's row for dropped labels is left alone.
    assert (model.name, model.has_null, len(model.classes)) == ("mine", False, 4 if kind == "unet" else 3)
    with pytest.raises(InputError, match="mine has no null class"):
        model(torch.zeros(1, *model.shape), torch.ones(1), None)
    if kind not in ("unet", "dit"):
        (folder / "companion.json").write_text('{"classes": ["a", "b", "c"]}')
        refused(folder, PROMPTS, "none here: the classes are the prompts")


# Files

NO_FILE = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "huge": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**32),
    "twice": lambda path: path.write_text('{"_class_name": "UNet2DModel", "_class_name": "UNet2DModel"}'),
    "deep": lambda path: path.write_text("[" * 100_000),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("how", NO_FILE)
@pytest.mark.parametrize("file", ["unet/config.json", "scheduler/scheduler_config.json", "companion.json"])
def test_what_is_no_file_of_json_is_refused_at_once(how, file, saved, tmp_path):
    folder = copy(saved, "unet", tmp_path)
    (folder / file).unlink(missing_ok=True)
    NO_FILE[how](folder / file)
    refused(
        folder, (), "expected a (regular file of at most 32 MB|readable JSON|folder that holds|JSON|scheduler_config)"
    )


@pytest.mark.parametrize(
    "file", ["text_encoder/model.safetensors", "tokenizer/vocab.json", "vae/diffusion_pytorch_model.bin"]
)
def test_a_pipe_among_a_parts_files_is_not_waited_for(file, saved, tmp_path):
    folder = copy(saved, "stable diffusion", tmp_path)
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    refused(folder, PROMPTS, "expected a regular file")


def test_variants_are_found_for_each_part_and_the_plain_file_counts_more(saved, tmp_path):
    folder, expected = copy(saved, "stable diffusion", tmp_path), saved["stable diffusion"][1]

    def renamed(part, variant, keep=False):
        (path,) = [each for each in (folder / part).glob("*.safetensors") if each.name.count(".") == 1]
        other = path.with_name(f"{path.stem}.{variant}.safetensors")
        shutil.copy(path, other)
        if not keep:
            path.unlink()
        return other

    renamed("unet", "non_ema")
    renamed("text_encoder", "bf16")
    assert torch.equal(answers(folder), expected)
    other = renamed("vae", "fp16", keep=True)
    save_file({key: 0.0 * value for key, value in load_file(other).items()}, other)
    assert torch.equal(answers(folder), expected)
    assert load(folder, PROMPTS).decode(torch.ones(1, 4, 8, 8)).abs().max() > 0.0
    shutil.copy(
        folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors",
        folder / "unet" / "diffusion_pytorch_model.ema.safetensors",
    )
    refused(folder, PROMPTS, "one variant or the plain file, of ema, non_ema")


def test_a_network_without_a_scheduler_is_told_what_to_write(saved, tmp_path):
    folder = copy(saved, "unet", tmp_path)
    alone = folder / "unet"
    shutil.rmtree(folder / "scheduler")
    refused(alone, (), r'scheduler is missing .* such as {"_class_name": "DDPMScheduler", "beta_schedule": "linear"')
    (alone / "scheduler_config.json").write_text('{"_class_name": "DDPMScheduler", "prediction_type": "v_prediction"}')
    assert torch.equal(answers(alone), saved["unet"][1])


@pytest.mark.parametrize("device", ["moon", "privateuseone", "cuda:99", "meta", 3.5])
def test_a_device_that_is_not_there(device):
    with pytest.raises(InputError, match="expected a device of this torch"):
        load("digits", device=device)


# Pickles


def test_a_checkpoint_of_a_gpu_is_read_without_one(tmp_path, monkeypatch):
    with monkeypatch.context() as gpu:
        gpu.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        (tmp_path / "net.pkl").write_bytes(pickle.dumps({"ema": torch.nn.Linear(2, 2)}))
    with pytest.raises(InputError, match="label_dim 0"):  # read, and no network of EDM
        load_edm(tmp_path / "net.pkl", allow_pickle=True)


@pytest.mark.parametrize("kept", [1, 10, 100, 400])
def test_a_checkpoint_that_is_cut_is_one_line(kept, tmp_path):
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({"ema": torch.nn.Linear(2, 2)})[:kept])
    with pytest.raises(InputError, match="a whole pickle of a network") as error:
        load_edm(tmp_path / "net.pkl", allow_pickle=True)
    assert "\n" not in str(error.value)


# Anything else

VALUES = st.sampled_from([None, -1, 0, 1e9, "", "x", [], {}, True, float("nan"), 3])
ODD = {"unet": ("unet", "scheduler"), "dit": ("transformer", "scheduler"), "stable diffusion": ("unet", "text_encoder")}


@pytest.mark.parametrize("kind", ODD)
@given(data=st.data())
@settings(max_examples=15, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_value_of_a_configuration_may_be_anything(kind, saved, data, tmp_path_factory):
    folder = copy(saved, kind, tmp_path_factory.mktemp("odd"))
    path = next((folder / data.draw(st.sampled_from(ODD[kind]))).glob("*config.json"))
    key = data.draw(st.sampled_from(sorted(json.loads(path.read_text()))))
    edit(path, **{key: data.draw(VALUES)})
    try:
        # What every run asks first: whatever the network's own code raises is one line there.
        refuse(examine(load(folder, PROMPTS if kind in PROMPTED else ()), [0, 1], [-3.0, 0.0, 3.0]))
    except InputError as error:
        assert "\n" not in str(error)


def test_our_own_refusals_pass_through_and_others_keep_their_cause():
    with pytest.raises(InputError, match="expected ours"), foreign("a", 1, "theirs"):
        raise InputError("b", 2, "ours")
    with pytest.raises(InputError, match=r"expected theirs \(KeyError: 'k'\)") as error, foreign("a", 1, "theirs"):
        raise KeyError("k")
    assert isinstance(error.value.__cause__, KeyError)


def test_json_keeps_the_infinity_of_some_schedulers(tmp_path):
    (tmp_path / "a.json").write_text('{"lambda_min_clipped": -Infinity}')
    assert read_json(tmp_path / "a.json") == {"lambda_min_clipped": float("-inf")}


# The transformer's adapter


def test_the_transformers_rows_channels_latents_and_mode(saved, tmp_path):
    folder = saved["dit"][0]
    model = load(folder)
    network = model.network
    x, times = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.full((3,), 500.0)
    rows = [network(x, timestep=times, class_labels=torch.full((3,), row), return_dict=False)[0] for row in range(4)]
    assert rows[0].shape == (3, 8, 8, 8)
    level = torch.tensor(model.schedule.clock[500])
    alpha, beta = (torch.sigmoid(sign * level).sqrt().float() for sign in (1.0, -1.0))
    sigma = (beta / alpha).expand(3)
    for row, condition in enumerate([torch.full((3,), k) for k in range(3)] + [None]):
        mean = model(x / alpha, sigma, condition)
        # The first half of the channels is the noise; float32 at sigma about 4 loses a few 1e-6.
        assert (mean - (x / alpha - sigma[0] * rows[row][:, :4])).abs().max() < 1e-4
        assert (mean - (x / alpha - sigma[0] * rows[row][:, 4:])).abs().max() > 1e-1
    assert not network.training
    eager = diffusers.DiTPipeline.from_pretrained(folder, local_files_only=True)
    eager.transformer.train()
    found = load(eager)
    assert not found.network.training
    found_examined = examine(found, [0, 1, 2, None], [-8.0, 0.0, 8.0])
    assert {each.name: each.passed for each in found_examined}["repeatable"]
    # Latents are scaled by the autoencoder's own factor.
    vae = eager.vae
    vae.register_to_config(scaling_factor=0.5)
    with torch.no_grad():
        assert torch.allclose(found.decode(x), vae.decode(x / 0.5).sample, atol=1e-5)


def test_a_transformer_that_dropped_no_labels_has_no_null(saved, tmp_path):
    folder = copy(saved, "dit", tmp_path)
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    edit(folder / "model_index.json", id2label={str(k): f"class {k}" for k in range(4)})
    refused(folder, (), "num_embeds_ada_norm is 3")
    edit(folder / "model_index.json", id2label=["a", "b"])
    refused(folder, (), "id2label")
    assert path.is_file()
