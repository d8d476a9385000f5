"""What a folder holds is recognised, and what is no posterior mean, or not safe to read, is refused in one line."""

import json
import shutil

import diffusers
import pytest
import torch
from safetensors.torch import load_file

from companion.errors import InputError
from companion.models.class_conditional import ClassDenoiser
from companion.models.load import load
from companion.models.stable_diffusion import PromptDenoiser
from derivations.bring_your_own_model.tiny import save_tiny

PROMPTS = ("a cat", "a dog")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_network_alone_is_recognised_by_its_configuration(tmp_path):
    save_tiny("unet", tmp_path / "unet")
    save_tiny("dit", tmp_path / "dit")
    assert isinstance(load(tmp_path / "unet"), ClassDenoiser)
    assert isinstance(load(tmp_path / "unet" / "unet"), ClassDenoiser)
    alone = load(tmp_path / "dit" / "transformer")
    assert isinstance(alone, ClassDenoiser)
    assert alone.decode is None
    assert alone.digest == load(tmp_path / "dit").digest
    assert isinstance(load("digits"), ClassDenoiser)


def test_the_names_under_which_older_versions_wrote_a_transformer(tmp_path):
    save_tiny("dit", tmp_path)
    new = load(tmp_path)
    edit(tmp_path / "transformer" / "config.json", _class_name="Transformer2DModel", num_vector_embeds=None)
    edit(tmp_path / "model_index.json", transformer=["diffusers", "Transformer2DModel"])
    x, sigma, condition = torch.randn(3, 4, 8, 8), torch.ones(3), torch.tensor([0, 1, 2])
    assert torch.equal(load(tmp_path)(x, sigma, condition), new(x, sigma, condition))


def test_class_names_come_from_the_pipelines_labels_and_stay_apart(tmp_path):
    save_tiny("dit", tmp_path)
    edit(tmp_path / "model_index.json", id2label={"0": "crane", "1": "tench, Tinca tinca", "2": "crane"})
    assert load(tmp_path).classes == ("crane", "tench", "crane (2)")
    assert load(tmp_path, weights=(0.5, 0.25, 0.25)).weights == (0.5, 0.25, 0.25)
    (tmp_path / "companion.json").write_text(
        json.dumps({"classes": ["a", "b", "c"], "has_null": False, "name": "mine"})
    )
    model = load(tmp_path)
    assert (model.name, model.classes, model.has_null) == ("mine", ("a", "b", "c"), False)
    with pytest.raises(InputError, match="mine has no null class"):
        model(torch.zeros(1, 4, 8, 8), torch.ones(1), None)


def test_a_transformer_without_learned_variances(tmp_path):
    save_tiny("dit", tmp_path, options={"out_channels": 4})
    assert load(tmp_path)(torch.zeros(1, 4, 8, 8), torch.ones(1), torch.tensor([1])).shape == (1, 4, 8, 8)


def test_pickled_weights_are_read_only_when_asked_and_are_the_same_model(tmp_path):
    safe = load(save_tiny("dit", tmp_path))
    for part in ("transformer", "vae"):
        weights = tmp_path / part / "diffusion_pytorch_model.safetensors"
        torch.save(load_file(weights), weights.with_suffix(".bin"))
        weights.unlink()
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.bin, expected safetensors"):
        load(tmp_path)
    assert load(tmp_path, allow_pickle=True).digest == safe.digest


def test_the_half_precision_files_of_a_folder_are_found(tmp_path):
    whole = load(save_tiny("stable diffusion", tmp_path), PROMPTS)
    for part in ("unet", "vae", "text_encoder"):
        (weights,) = (tmp_path / part).glob("*.safetensors")
        weights.rename(weights.with_name(weights.name.replace(".safetensors", ".fp16.safetensors")))
    assert load(tmp_path, PROMPTS).digest == whole.digest


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_pickle_that_is_more_than_tensors_never_runs(tmp_path, allowed):
    save_tiny("dit", tmp_path)
    (tmp_path / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"pos_embed.proj.bias": Trap(tmp_path / "it ran")}, tmp_path / "transformer" / "model.bin")
    (tmp_path / "transformer" / "model.bin").rename(tmp_path / "transformer" / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError) as refused:
        load(tmp_path, allow_pickle=allowed)
    assert not (tmp_path / "it ran").exists()
    assert "\n" not in str(refused.value)


def rename(folder, name):
    return folder.rename(folder.with_name(name))


DISTILLED = {
    "a consistency scheduler": lambda folder: edit(
        folder / "scheduler" / "scheduler_config.json", _class_name="LCMScheduler"
    ),
    "another one": lambda folder: edit(folder / "scheduler" / "scheduler_config.json", _class_name="TCDScheduler"),
    "a guidance scale": lambda folder: edit(folder / "unet" / "config.json", time_cond_proj_dim=256),
    "a name": lambda folder: rename(folder, "sdxl-turbo"),
    "where it came from": lambda folder: edit(folder / "unet" / "config.json", _name_or_path="someone/SDXL-Lightning"),
    "a pipeline": lambda folder: edit(folder / "model_index.json", _class_name="LatentConsistencyModelPipeline"),
    "flux": lambda folder: edit(folder / "model_index.json", _class_name="FluxPipeline"),
}


@pytest.mark.parametrize("how", DISTILLED)
def test_distilled_and_guidance_trained_models_are_refused_saying_so(how, tmp_path):
    folder = save_tiny("stable diffusion", tmp_path / "a model")
    folder = DISTILLED[how](folder) or folder
    prompts = () if how in ("a pipeline", "flux") else PROMPTS
    with pytest.raises(InputError, match=r"a model of E\[x_0 \| x\]; one that was distilled") as refused:
        load(folder, prompts)
    assert "\n" not in str(refused.value)


def test_a_distilled_pipeline_that_is_loaded_is_refused_too(tmp_path):
    folder = save_tiny("stable diffusion xl", tmp_path)
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.scheduler = diffusers.LCMScheduler.from_config(pipeline.scheduler.config)
    with pytest.raises(InputError, match="scheduler is LCMScheduler, expected a model of"):
        load(pipeline, PROMPTS)


BROKEN = {
    "another pipeline": (lambda folder: edit(folder / "model_index.json", _class_name="PixArtPipeline"), (), "PixArt"),
    "no index": (lambda folder: (folder / "model_index.json").unlink(), (), "UNet2DConditionModel, expected a UNet"),
    "a library alone": (lambda folder: edit(folder / "model_index.json", vae=["diffusers"]), (), "the name of a class"),
    "a class by number": (lambda folder: edit(folder / "model_index.json", vae=["x", 3]), (), "the name of a class"),
    "no prompts": (lambda folder: None, (), "at least two different texts"),
    "one prompt": (lambda folder: None, ("a cat",), "at least two different texts"),
    "the same prompt": (lambda folder: None, ("a cat", "a cat"), "at least two different texts"),
    "the null prompt": (lambda folder: None, ("a cat", ""), "at least two different texts"),
    "not a list": (lambda folder: None, "a cat", "at least two different texts"),
    "no text encoder": (lambda folder: shutil.rmtree(folder / "text_encoder"), PROMPTS, "that holds a .safetensors"),
    "no scheduler": (lambda folder: shutil.rmtree(folder / "scheduler"), PROMPTS, "holds scheduler_config"),
    "no network": (lambda folder: shutil.rmtree(folder / "unet"), PROMPTS, "holds config"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_folder_or_prompts_that_do_not_serve_are_refused_in_one_line(how, tmp_path):
    folder = save_tiny("stable diffusion", tmp_path)
    change, prompts, said = BROKEN[how]
    change(folder)
    with pytest.raises(InputError, match=said) as refused:
        load(folder, prompts)
    assert "\n" not in str(refused.value)


def test_networks_shown_or_told_more_than_a_prompt_are_refused(tmp_path):
    inpainting = save_tiny("stable diffusion", tmp_path / "a", options={"in_channels": 9})
    with pytest.raises(InputError, match="in_channels is 9, expected 4, a network shown its state only"):
        load(inpainting, PROMPTS)
    fourier = save_tiny("stable diffusion", tmp_path / "f", options={"time_embedding_type": "fourier"})
    with pytest.raises(InputError, match="time_embedding_type is fourier"):
        load(fourier, PROMPTS)
    sized = {"addition_embed_type": "text_time", "addition_time_embed_dim": 4}
    told = save_tiny("stable diffusion", tmp_path / "b", options={**sized, "projection_class_embeddings_input_dim": 32})
    with pytest.raises(InputError, match="told a prompt and nothing else"):
        load(told, PROMPTS)
    scored = save_tiny("stable diffusion xl", tmp_path / "c", options={"projection_class_embeddings_input_dim": 28})
    with pytest.raises(InputError, match="six numbers of size"):
        load(scored, PROMPTS)


def test_prompts_are_for_pipelines_that_read_them(tmp_path):
    for model in ("digits", save_tiny("unet", tmp_path / "unet"), save_tiny("dit", tmp_path / "dit")):
        with pytest.raises(InputError, match="knows its classes"):
            load(model, PROMPTS)


def test_weights_of_classes(tmp_path):
    for kind in ("unet", "dit"):
        folder, weights = save_tiny(kind, tmp_path / kind), (0.5, 0.25, 0.25)
        assert load(folder, weights=weights).weights == weights
        for wrong in ((0.5, 0.5), (0.5, 0.25, 0.5), ("0.5", "0.25", "0.25")):
            with pytest.raises(InputError, match="3 positive probabilities"):
                load(folder, weights=wrong)
    assert load("digits", weights=(0.05,) * 8 + (0.3, 0.3)).weights[-1] == 0.3


def test_weights_of_prompts(tmp_path):
    folder = save_tiny("stable diffusion", tmp_path)
    model = load(folder, PROMPTS, weights=(0.25, 0.75))
    assert isinstance(model, PromptDenoiser)
    assert model.weights == (0.25, 0.75)
    with pytest.raises(InputError, match="2 positive probabilities"):
        load(folder, PROMPTS, weights=(0.5,))


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_a_loaded_network_with_its_scheduler_is_the_model_of_its_folder(kind, tmp_path):
    folder = save_tiny(kind, tmp_path)
    pipeline = {"unet": diffusers.DDPMPipeline, "dit": diffusers.DiTPipeline}[kind].from_pretrained(folder)
    network, scheduler = getattr(pipeline, "transformer" if kind == "dit" else "unet"), pipeline.scheduler
    expected = load(folder)
    x, sigma = torch.randn(3, *expected.shape, generator=torch.Generator().manual_seed(0)), torch.ones(3)
    network.train()
    for found in (load(network, scheduler=scheduler), load(pipeline)):
        assert (found.digest, found.classes, found.name) == (expected.digest, expected.classes, expected.name)
        for condition in (torch.tensor([0, 1, 2]), None):
            assert torch.equal(found(x, sigma, condition), expected(x, sigma, condition))
    assert load(network, scheduler=scheduler, name="mine", weights=(0.5, 0.25, 0.25)).name == "mine"
    with pytest.raises(InputError, match="scheduler is None, expected the scheduler that the network was trained with"):
        load(network)
    with pytest.raises(InputError, match="device is cpu, expected none here: a loaded model stays as it is"):
        load(pipeline, device="cpu")
    for other in (pipeline, folder):
        with pytest.raises(InputError, match="none here: only a network alone lacks its own"):
            load(other, scheduler=scheduler)
    with pytest.raises(InputError, match="knows its classes"):
        load(pipeline, PROMPTS)
    network.register_to_config(_name_or_path="someone/lightning")
    with pytest.raises(InputError, match="lightning, a distilled model by its name"):
        load(network, scheduler=scheduler)


def test_an_object_of_another_kind_is_refused(tmp_path):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(save_tiny("stable diffusion", tmp_path))
    known = "expected a UNet2DModel, a DiTPipeline, StableDiffusionPipeline, .* or a shipped model"
    image_to_image = diffusers.StableDiffusionImg2ImgPipeline(**pipeline.components)
    for other in (image_to_image, pipeline.unet, pipeline.text_encoder, torch.nn.Linear(1, 1), object(), None, 3):
        with pytest.raises(InputError, match=f"model is a {type(other).__name__}, {known}"):
            load(other)
    with pytest.raises(InputError, match=r"a model of E\[x_0 \| x\]; one that was distilled"):
        load(diffusers.LatentConsistencyModelPipeline(**pipeline.components))
    with pytest.raises(InputError, match="sd-turbo, a distilled model by its name"):
        load(pipeline, PROMPTS, name="sd-turbo")


def test_a_checkpoint_is_sent_to_who_reads_it(tmp_path):
    with pytest.raises(InputError, match=r"companion\.models\.edm\.load reads"):
        load(tmp_path / "edm2-img64-s.pkl")


def test_an_unknown_tiny_kind(tmp_path):
    with pytest.raises(InputError, match="kind is gan, expected one of unet, dit"):
        save_tiny("gan", tmp_path)
