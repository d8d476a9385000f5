"""Each adapter against its pipeline: x_0 by the scheduler, samples by the pipeline itself, null and prompts."""

import copy
import warnings
from dataclasses import replace
from functools import cache
from itertools import pairwise

import diffusers
import numpy as np
import pytest
import torch
import transformers

from companion.denoiser import Denoiser
from companion.entropy import partition
from companion.errors import InputError
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import measure
from companion.estimate.placement import default_levels
from companion.models.load import load
from derivations.bring_your_own_model.tiny import KINDS, save_tiny
from derivations.kit.measured import read

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside the schedulers

PROMPTS = ("a cat", "a dog", "a red")
PIPELINES = {
    "dit": diffusers.DiTPipeline,
    "stable diffusion": diffusers.StableDiffusionPipeline,
    "stable diffusion 2": diffusers.StableDiffusionPipeline,
    "stable diffusion xl": diffusers.StableDiffusionXLPipeline,
    "stable diffusion 3": diffusers.StableDiffusion3Pipeline,
}
PROMPTED = [kind for kind in PIPELINES if kind != "dit"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: save_tiny(kind, tmp_path_factory.mktemp(kind.replace(" ", "_"))) for kind in KINDS}


@pytest.fixture(scope="module")
def models(folders):
    return {kind: load(folder, PROMPTS if kind in PROMPTED else ()) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def doubles(folders):
    """The same networks in float64: what is compared are formulas and calls, and not the rounding of one processor."""

    @cache
    def opened(kind):
        in_float64(kind)
        return load(folders[kind], PROMPTS if kind in PROMPTED else (), dtype=torch.float64)

    return opened


def in_float64(kind):
    if kind in PROMPTED and int(transformers.__version__.split(".")[0]) < 5:
        pytest.skip("transformers before 5 encodes no prompt in float64: its masks overflow")


# Ten layers of float64 on numbers of the size of sigma: some tens of roundings each, and as much again passed on.
CLOSE = 2.0**-53 * 1e4


def pipeline_of(kind, folder, dtype=torch.float32):
    if dtype == torch.float64:
        in_float64(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a pipeline without a safety checker
        pipeline = PIPELINES[kind].from_pretrained(folder, local_files_only=True).to(dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def batch(model, log_snr, count=3):
    generator = torch.Generator().manual_seed(int(10 * log_snr) + 100)
    sigma = torch.full((count,), float(np.exp(-0.5 * log_snr)), dtype=model.dtype)
    clean, noise = (torch.randn(count, *model.shape, generator=generator).to(model.dtype) for _ in range(2))
    return clean + sigma[0] * noise, sigma, torch.arange(count) % 3


def output_of_pipeline(kind, pipeline, state, step, rows):
    """What the pipeline's own loop hands to its network, for prompts `rows`; row 3 is the pipeline's negative."""
    step = torch.full((len(state),), float(step))
    if kind == "dit":
        return pipeline.transformer(state, timestep=step, class_labels=rows).sample[:, :4]
    if kind == "stable diffusion 3":
        text, null, pooled, no_pool = pipeline.encode_prompt(list(PROMPTS), None, None)
        text, pooled = torch.cat([text, null[:1]])[rows], torch.cat([pooled, no_pool[:1]])[rows]
        return pipeline.transformer(state, encoder_hidden_states=text, pooled_projections=pooled, timestep=step).sample
    if kind == "stable diffusion xl":
        text, null, pooled, no_pool = pipeline.encode_prompt(list(PROMPTS))
        text, pooled = torch.cat([text, null[:1]])[rows], torch.cat([pooled, no_pool[:1]])[rows]
        ids = pipeline._get_add_time_ids((16, 16), (0, 0), (16, 16), state.dtype, text_encoder_projection_dim=8)
        added = {"text_embeds": pooled, "time_ids": ids.repeat(len(state), 1)}
        return pipeline.unet(state, step, encoder_hidden_states=text, added_cond_kwargs=added).sample
    text, null = pipeline.encode_prompt(list(PROMPTS), "cpu", 1, True)
    return pipeline.unet(state, step, encoder_hidden_states=torch.cat([text, null[:1]])[rows]).sample


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("kind", PIPELINES)
def test_posterior_mean_is_the_schedulers_x0(kind, null, folders, doubles):
    model, pipeline = doubles(kind), pipeline_of(kind, folders[kind], torch.float64)
    for step in (850, 600, 400, 150, 20):
        if kind == "stable diffusion 3":
            time = step / 1000.0
            log_snr = 2.0 * np.log((1.0 - time) / time)
        else:
            alphas = pipeline.scheduler.alphas_cumprod.double()
            log_snr = float(torch.logit(alphas[step]))
        x, sigma, condition = batch(model, log_snr)
        rows = torch.full((3,), 3) if null else condition
        with torch.no_grad():
            if kind == "stable diffusion 3":
                state = (1.0 - time) * x
                theirs = state - time * output_of_pipeline(kind, pipeline, state, step, rows)
            else:
                scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
                scheduler.alphas_cumprod = alphas
                scheduler.set_timesteps(1000)
                state = x * scheduler.alphas_cumprod[step].sqrt()
                output = output_of_pipeline(kind, pipeline, state, step, rows)
                theirs = scheduler.step(output, step, state).pred_original_sample
        assert (model(x, sigma, None if null else condition) - theirs).abs().max() < CLOSE * max(1.0, float(sigma[0]))


def sampled(model, sigmas, noise, condition, guidance):
    """The probability flow, one Euler step a level, which is what DDIM, Euler and flow matching all do in x."""
    x = noise * sigmas[0]
    for now, after in pairwise(sigmas):
        level = torch.full((len(x),), now)
        with_class, without = model(x, level, condition), model(x, level, None)
        mean = without + guidance * (with_class - without)
        x = mean + (after / now) * (x - mean)
    return x


@pytest.mark.parametrize("kind", PROMPTED)
def test_the_pipelines_own_guided_samples_come_out_of_the_adapter(kind, folders, models):
    model, pipeline = models[kind], pipeline_of(kind, folders[kind])
    noise = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0))
    prompts = {"prompt": [PROMPTS[1], PROMPTS[2]], "guidance_scale": 2.0, "num_inference_steps": 4}
    if kind == "stable diffusion 3":
        # Its first level is the noise itself, where sigma is infinite: one step from there, then the rest.
        theirs = pipeline(latents=noise, output_type="latent", **prompts).images
        times = pipeline.scheduler.sigmas.double().numpy()
        assert times[0] == 1.0
        start = [model.from_noise(noise, rows) for rows in (torch.tensor([1, 2]), None)]
        mean = start[1] + 2.0 * (start[0] - start[1])
        state = (1.0 - times[1]) * mean + times[1] * noise
        sigmas = times[1:] / (1.0 - times[1:])
        noise = state / (1.0 - times[1]) / sigmas[0]
    else:
        theirs = pipeline(latents=noise.clone(), output_type="latent", **prompts).images
        alphas = pipeline.scheduler.alphas_cumprod.double().numpy()
        steps = pipeline.scheduler.timesteps.numpy().astype(int)
        sigmas = ((1.0 - alphas[steps]) / alphas[steps]) ** 0.5
        if kind == "stable diffusion xl":
            sigmas = np.append(sigmas, 0.0)
            noise = noise * float(pipeline.scheduler.init_noise_sigma) / sigmas[0]
        else:
            # DDIM's noise is the state, alpha x, and its last step goes to the first entry of its table.
            noise = noise / (alphas[steps[0]] ** 0.5 * sigmas[0])
            sigmas = np.append(sigmas, ((1.0 - alphas[0]) / alphas[0]) ** 0.5)
            theirs = theirs / alphas[0] ** 0.5
    ours = sampled(model, sigmas, noise, torch.tensor([1, 2]), 2.0)
    # Four steps of float32 from sigma about 14; the samples are of size one.
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_the_transformers_pipeline_too_and_its_pictures(folders, models):
    model, pipeline = models["dit"], pipeline_of("dit", folders["dit"])
    theirs = pipeline([0, 2], 1.0, torch.Generator().manual_seed(0), 4, output_type="np").images
    noise = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0))
    alphas = pipeline.scheduler.alphas_cumprod.double().numpy()
    steps = pipeline.scheduler.timesteps.numpy()
    sigmas = np.append(((1.0 - alphas[steps]) / alphas[steps]) ** 0.5, 0.0)
    state = noise / (alphas[steps[0]] ** 0.5 * sigmas[0])
    ours = model.decode(sampled(model, sigmas, state, torch.tensor([0, 2]), 1.0))
    pictures = (ours / 2.0 + 0.5).clamp(0.0, 1.0).permute(0, 2, 3, 1).numpy()
    assert pictures.std() > 0.0
    assert np.abs(pictures - theirs).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract(kind, models):
    model: Denoiser = models[kind]
    assert (len(model.classes), len(model.weights), model.has_null) == (3, 3, True)
    assert sum(model.weights) == pytest.approx(1.0, abs=1e-12)
    assert (model.dtype, model.device) == (torch.float32, torch.device("cpu"))
    assert model.log_snr_range[0] < -4.0 < 6.0 < model.log_snr_range[1]
    assert (len(model.digest), bool(model.name)) == (16, True)
    x, sigma, condition = batch(model, 0.0)
    for asked in (condition, None):
        for dtype in (torch.float32, torch.float64):
            prediction = model(x.to(dtype), sigma.to(dtype), asked)
            assert (prediction.shape, prediction.dtype) == (x.shape, dtype)
            assert bool(torch.isfinite(prediction).all())


@pytest.mark.parametrize("kind", KINDS)
def test_labels_move_the_output_and_samples_do_not_know_each_other(kind, doubles):
    model = doubles(kind)
    for log_snr in (-4.0, -1.0, 1.0, 3.0, 6.0):
        x, sigma, condition = batch(model, log_snr)
        together = model(x, sigma, condition)
        for row in range(3):
            alone = model(x[row : row + 1], sigma[:1], condition[row : row + 1])
            # A batch of one takes other routines of the same arithmetic.
            assert (together[row] - alone[0]).abs().max() < CLOSE * max(1.0, float(sigma[0]))
        assert torch.equal(model(x, sigma, condition), together)
    x, sigma, _ = batch(model, 0.0)
    answers = [model(x, sigma, torch.full((3,), label)) for label in range(3)] + [model(x, sigma, None)]
    for one in range(4):
        for other in range(one):
            assert (answers[one] - answers[other]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_noise_levels_and_classes_may_differ_within_a_batch(kind, doubles):
    model = doubles(kind)
    x, _, _ = batch(model, 0.0)
    sigma, condition = torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64), torch.tensor([2, 0, 1])
    together = model(x, sigma, condition)
    for row in range(3):
        pick = slice(row, row + 1)
        assert (together[pick] - model(x[pick], sigma[pick], condition[pick])).abs().max() < CLOSE * 5.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_half_precision_network_loses_its_own_digits_only(kind, folders, models):
    half = load(folders[kind], PROMPTS if kind in PROMPTED else (), dtype=torch.bfloat16)
    assert half.network_dtype == torch.bfloat16
    assert half.dtype == torch.float32
    for log_snr in (-4.0, -1.0, 1.0, 3.0, 6.0):
        x, sigma, condition = batch(models[kind], log_snr)
        exact, rounded = models[kind](x, sigma, condition), half(x, sigma, condition)
        assert rounded.dtype == torch.float32
        _, _, c_out = models[kind].schedule.scalings(-2.0 * sigma.double().log())
        # A rounding to 8 bits is 0.2% at most. Two a layer in ten layers add up like a random walk to 0.9% of outputs
        # of size three, 0.03, and the largest of some hundred numbers is four or five deviations.
        assert (exact - rounded).abs().max() < 0.15 * float(c_out.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_train_mode_is_refused(kind, folders):
    model = load(folders[kind], PROMPTS if kind in PROMPTED else ())
    assert not any(module.training for module in model.network.modules())
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    model.network.train()
    with pytest.raises(InputError, match=r"train mode, expected eval mode: call network\.eval"):
        model(*batch(model, 0.0))


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_outside_is_refused(kind, models):
    model = models[kind]
    x, sigma, condition = batch(model, 0.0)
    for wrong in (-1, 3):
        with pytest.raises(InputError, match="classes from 0 to 2"):
            model(x, sigma, torch.full((3,), wrong))
    with pytest.raises(InputError, match="what the network was trained on"):
        model(x, torch.full((3,), 1e5), condition)


@pytest.mark.parametrize("kind", PROMPTED)
def test_the_digest_follows_prompts_network_and_schedule_and_nothing_else(kind, folders, models, tmp_path):
    again = load(folders[kind], PROMPTS)
    other = load(folders[kind], ("a cat", "a dog", "a blue"))
    elsewhere = load(save_tiny(kind, tmp_path / "other", seed=1), PROMPTS)
    assert again.digest == models[kind].digest == load(pipeline_of(kind, folders[kind]), PROMPTS).digest
    assert len({again.digest, other.digest, elsewhere.digest}) == 3
    assert (again.classes, again.weights) == (PROMPTS, (1 / 3,) * 3)


@pytest.mark.parametrize("kind", [*PROMPTED, "dit"])
def test_a_loaded_pipeline_is_the_same_model(kind, folders, models):
    model = load(pipeline_of(kind, folders[kind]), PROMPTS if kind in PROMPTED else ())
    x, sigma, condition = batch(model, 1.0)
    assert torch.equal(model(x, sigma, condition), models[kind](x, sigma, condition))
    assert torch.equal(model(x, sigma, None), models[kind](x, sigma, None))


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_is_looked_at_on_an_accelerator(kind, models):
    # Tensors without numbers: whatever would make a program wait for its GPU raises here.
    tables = {name: getattr(models[kind], name).to("meta") for name in TABLES if kind in PROMPTED}
    model = replace(models[kind], network=copy.deepcopy(models[kind].network).to("meta"), **tables)
    x, sigma, condition = (each.to("meta") for each in batch(model, 0.0))
    for asked in (condition, None):
        assert model(x, sigma, asked).shape == x.shape
        if model.from_noise is not None:
            assert model.from_noise(x, asked).shape == x.shape


TABLES = ("prompts", "pooled", "time_ids")


def test_xl_has_zeros_for_its_null_with_sizes_of_their_own(models):
    model = models["stable diffusion xl"]
    assert not model.prompts[3].any()
    assert not model.pooled[3].any()
    assert model.time_ids.tolist() == [[16.0, 16.0, 0.0, 0.0, 16.0, 16.0]] * 4


def test_xl_that_was_trained_on_the_empty_prompt_has_that_for_its_null(folders):
    pipeline = pipeline_of("stable diffusion xl", folders["stable diffusion xl"], torch.float64)
    pipeline.register_to_config(force_zeros_for_empty_prompt=False)
    empty = pipeline.encode_prompt([""], do_classifier_free_guidance=False)
    model = load(pipeline, PROMPTS)
    assert (model.prompts[3] - empty[0][0]).abs().max() < CLOSE
    assert (model.pooled[3] - empty[2][0]).abs().max() < CLOSE


def test_xl_on_edms_schedule(tmp_path):
    in_float64("stable diffusion xl")
    scheduler = diffusers.EDMEulerScheduler(sigma_data=0.5, prediction_type="epsilon")
    model = load(save_tiny("stable diffusion xl", tmp_path, scheduler), PROMPTS, dtype=torch.float64)
    assert (model.schedule.prediction, model.schedule.sigma_data) == ("edm", 0.5)
    for sigma in (0.05, 0.5, 2.0, 10.0, 60.0):
        x, level, condition = batch(model, -2.0 * np.log(sigma))
        with torch.no_grad():
            times = scheduler.precondition_noise(level).float()
            output = model.output(scheduler.precondition_inputs(x, sigma), times, condition)
        assert (model(x, level, condition) - scheduler.precondition_outputs(x, output, sigma)).abs().max() < CLOSE


def test_sd3_without_its_third_encoder(tmp_path):
    folder = save_tiny("stable diffusion 3", tmp_path)
    with_it = load(folder, PROMPTS)
    for name in ("text_encoder_3", "tokenizer_3"):
        for path in (folder / name).iterdir():
            path.unlink()
        (folder / name).rmdir()
    without = load(folder, PROMPTS)
    assert with_it.digest != without.digest
    assert not without.prompts[:, 8:].any()  # zeros where its tokens would be


@pytest.mark.parametrize("kind", ["stable diffusion 2", "dit"])
def test_zero_terminal_snr_is_asked_in_the_models_own_frame(kind, tmp_path):
    options = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "steps_offset": 1}
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction", clip_sample=False, **options)
    model = load(save_tiny(kind, tmp_path, scheduler), PROMPTS if kind in PROMPTED else ())
    noise = torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(0))
    for condition in (torch.tensor([0, 1, 2]), None):
        rows = torch.full((3,), 3) if condition is None else condition
        with torch.no_grad():
            output = model.output(noise, torch.full((3,), 999.0), rows)[:, : model.shape[0]]
        assert torch.equal(model.from_noise(noise, condition), -output)
    with pytest.raises(InputError, match="classes from 0 to 2"):
        model.from_noise(noise, torch.full((3,), 3))


def test_sd3_starts_from_noise_and_the_other_published_schedules_do_not(models):
    assert [kind for kind, model in models.items() if model.from_noise is not None] == ["stable diffusion 3"]


@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_decoded_as_the_pipeline_does(kind, folders, models):
    if kind == "unet":
        assert models[kind].decode is None
        return
    pipeline = pipeline_of(kind, folders[kind], torch.float64)
    model, vae = load(pipeline, PROMPTS if kind in PROMPTED else ()), pipeline.vae
    latents = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shift = 0.06 if kind == "stable diffusion 3" else 0.0
    with torch.no_grad():
        theirs = vae.decode(latents / 0.18215 + shift).sample
    assert (model.decode(latents) - theirs).abs().max() < 2.0**-23 * theirs.abs().max()  # returned as float32


def test_the_table_of_what_was_tried_holds_what_is_asked_of_an_adapter():
    table = read("bring_your_own_model/adapters")
    assert len(table["rows"]) == 28
    for row in table["rows"]:
        assert row["difference"] < 1e-5
        assert row["label_moves"] > 1e-3
        assert row["null"]


@pytest.mark.slow
def test_bfloat16_moves_the_entropy_of_digits_by_less_than_it_can_be_measured():
    whole, half = load("digits"), load("digits", dtype=torch.bfloat16)
    levels, asked = default_levels(whole, 16), [partition(whole, "3|8")]
    (exact,), (rounded,) = (measure(model, asked, levels, 60, 0)[0] for model in (whole, half))
    # On the same noise. What half precision may move is one standard error of the entropy; the difference has an error
    # of its own, from path to path, and at 16 levels more than 4.5 of those are chance once in 10,000 times.
    moved, by_chance = weighted_mean(rounded.entropy_of_path - exact.entropy_of_path, exact)
    _, error = weighted_mean(exact.entropy_of_path, exact)
    assert np.all(np.abs(moved) < error + 4.5 * by_chance)
