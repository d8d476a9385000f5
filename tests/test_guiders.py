"""Guidance by the level of noise in pipelines of the real classes: which calls are guided, how, and what is kept."""

import json
import warnings
from functools import cache
from inspect import signature

import diffusers
import numpy as np
import pytest
import torch

from companion import guiders
from companion.errors import InputError
from companion.guiders import GuidanceByNoise, guide_by_noise
from companion.models.steps import Interval
from derivations.bring_your_own_model.tiny import KINDS

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside the schedulers

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
CASES = [
    ("stable diffusion", diffusers.PNDMScheduler, {**LATENT, "skip_prk_steps": True, "steps_offset": 1}),
    ("stable diffusion", diffusers.HeunDiscreteScheduler, {**LATENT, "steps_offset": 1}),
    ("stable diffusion xl", diffusers.EulerDiscreteScheduler, {**LATENT, "timestep_spacing": "leading"}),
    ("stable diffusion xl", diffusers.HeunDiscreteScheduler, LATENT),
    ("stable diffusion 3", diffusers.FlowMatchEulerDiscreteScheduler, {"shift": 3.0}),
    ("stable diffusion 3", diffusers.FlowMatchHeunDiscreteScheduler, {"shift": 3.0}),
    ("dit", diffusers.DDIMScheduler, {"clip_sample": False}),
    ("dit", diffusers.HeunDiscreteScheduler, {}),
]
BLOCKS = {"stable diffusion xl": "StableDiffusionXLAutoBlocks", "stable diffusion 3": "StableDiffusion3AutoBlocks"}
STOCK = {f"{each[0]}, {each[1].__name__}": each for each in CASES}
MODULAR = [case for case in STOCK if STOCK[case][0] in BLOCKS]
ASKED = {"prompt": ["a cat", "a dog"], "negative_prompt": ["", ""], "height": 16, "width": 16}
INTERVAL, STEPS, SCALE = Interval(-2.0, 1.5), 12, 4.0


@cache
def built(case):
    kind, scheduler, options = STOCK[case]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a pipeline without a safety checker
        torch.manual_seed(0)
        pipeline = KINDS[kind][0](scheduler(**options), {"num_embeds_ada_norm": 1000} if kind == "dit" else {})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def network_of(pipeline):
    return pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer


def generators(seeds=(0, 1)):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def drawn(pipeline, scale=SCALE, seeds=(0, 1)):
    """The latents that a stock pipeline draws, of two samples, and the rows of every call of its network."""
    rows = []
    hook = network_of(pipeline).register_forward_hook(
        lambda network, args, told, output: rows.append(len(output[0])), with_kwargs=True
    )
    common = {"num_inference_steps": STEPS, "guidance_scale": scale, "generator": generators(seeds)}
    try:
        if isinstance(pipeline, diffusers.DiTPipeline):
            return torch.as_tensor(pipeline(class_labels=[1, 2], output_type="np", **common).images), rows
        return pipeline(**ASKED, output_type="latent", **common).images, rows
    finally:
        hook.remove()


def rows_seen(pipeline, timesteps):
    """The rows that the network itself computes, below the hooks of `guide_by_noise`."""
    seen = []
    inner = next(module for module in network_of(pipeline).modules() if isinstance(module, torch.nn.Conv2d))
    hook = inner.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    with guide_by_noise(pipeline, timesteps):
        found, handed = drawn(pipeline)
    hook.remove()
    assert set(handed) == {4}  # the pipeline is handed both predictions at every call
    return found, seen


@pytest.mark.parametrize("case", STOCK)
def test_exactly_the_calls_inside_are_guided(case):
    pipeline = built(case)
    _, seen = rows_seen(pipeline, INTERVAL.timesteps(pipeline.scheduler))
    inside = INTERVAL.steps(pipeline.scheduler)
    assert 2 < inside.sum() < len(inside) - 2
    assert seen == np.where(inside, 4, 2).tolist()
    assert len(seen) == {1: STEPS, 2: 2 * STEPS - 1}[pipeline.scheduler.order] + ("PNDM" in case)
    network = network_of(pipeline)
    assert not network._forward_hooks and not network._forward_pre_hooks


@pytest.mark.parametrize("case", list(STOCK)[::2])
def test_the_weight_is_one_more_than_what_the_strength_leaves_of_the_pipelines_own(case):
    pipeline = built(case)
    plain, strong, middle = (drawn(pipeline, scale)[0] for scale in (1.0, SCALE, 0.5 * (1.0 + SCALE)))
    assert (plain - strong).abs().max() > 0.01 * strong.abs().max()
    everywhere = [-1.0, 2000.0]
    for strengths, expected in ((None, strong), ([0.0, 0.0], plain), ([0.5, 0.5], middle)):
        with guide_by_noise(pipeline, everywhere, strengths):
            found = drawn(pipeline)[0]
        if strengths is None:
            assert torch.equal(found, expected)  # nothing is touched
        # Other batches and another order of the same sums, in float32, over twelve steps that pass them on.
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("case", list(STOCK)[::2])
def test_a_pipeline_that_does_not_guide_is_left_alone(case):
    pipeline = built(case)
    plain, _ = drawn(pipeline, 1.0, (0, 0))  # two classes from the same noise: the states of a batch are equal
    with guide_by_noise(pipeline, [-2.0, -1.0]):
        found, rows = drawn(pipeline, 1.0, (0, 0))
    assert torch.equal(found, plain)
    assert set(rows) == {2}


def test_hooks_are_gone_after_an_error():
    pipeline = built(next(iter(STOCK)))
    with pytest.raises(ZeroDivisionError), guide_by_noise(pipeline, [1.0, 2.0]):
        raise ZeroDivisionError
    assert not pipeline.unet._forward_hooks and not pipeline.unet._forward_pre_hooks


def modular(case):
    """The modular pipeline of the same parts as the stock one."""
    stock, blocks = built(case), BLOCKS[STOCK[case][0]]
    if not hasattr(diffusers, blocks):
        pytest.skip(f"no {blocks} in diffusers {diffusers.__version__}")
    pipeline = getattr(diffusers, blocks)().init_pipeline()
    known = pipeline.component_names
    pipeline.register_components(**{key: part for key, part in stock.components.items() if part and key in known})
    return pipeline


def drawn_by_guider(pipeline, guider):
    """The latents, and the calls of the network at each timestep in turn."""
    pipeline.update_components(guider=guider)
    told = []
    hook = network_of(pipeline).register_forward_hook(
        lambda network, args, known, output: told.append(known["timestep"] if "timestep" in known else args[1]),
        with_kwargs=True,
    )
    try:
        found = pipeline(**ASKED, num_inference_steps=STEPS, generator=generators(), output="latents")
    finally:
        hook.remove()
    return found, [float(torch.as_tensor(timestep).reshape(-1)[0]) for timestep in told]


@pytest.mark.parametrize("case", MODULAR)
def test_exactly_the_calls_inside_are_guided_by_the_guider_and_twice_in_a_row(case):
    pipeline = modular(case)
    guider = GuidanceByNoise(SCALE, INTERVAL.timesteps(pipeline.scheduler))
    drawings = []
    for _ in range(2):  # what is left from one drawing must not change what is encoded for the next
        found, told = drawn_by_guider(pipeline, guider)
        drawings.append(found)
        inside = INTERVAL.steps(pipeline.scheduler)
        expected = [
            t for t, twice in zip(pipeline.scheduler.timesteps.tolist(), inside, strict=True) for _ in range(1 + twice)
        ]
        assert told == expected
        assert 2 < inside.sum() < len(inside) - 2
    assert torch.equal(*drawings)


@pytest.mark.parametrize("case", MODULAR)
def test_the_guider_draws_what_the_stock_pipeline_draws_with_its_network_hooked(case):
    table = [250.0, 400.0, 700.0], [0.5, 1.5, 0.2]
    found, _ = drawn_by_guider(modular(case), GuidanceByNoise(SCALE, *table))
    stock = built(case)
    with guide_by_noise(stock, *table):
        expected, _ = drawn(stock)
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("case", MODULAR)
def test_fractions_of_steps_are_right_for_the_stock_guider_of_a_solver_of_first_order_alone(case):
    pipeline = modular(case)
    pipeline.scheduler.set_timesteps(STEPS)
    start, stop = INTERVAL.fractions(pipeline.scheduler)
    told = drawn_by_guider(pipeline, diffusers.ClassifierFreeGuidance(SCALE, start=start, stop=stop))[1]
    ours = drawn_by_guider(pipeline, GuidanceByNoise(SCALE, INTERVAL.timesteps(pipeline.scheduler)))[1]
    assert (told == ours) == (pipeline.scheduler.order == 1)


@pytest.mark.skipif(guiders._STOCK is None, reason="diffusers before 0.35 has no guiders")
def test_the_guider_is_plain_numbers_and_is_kept_with_a_pipeline(tmp_path):
    guider = GuidanceByNoise(3.0, np.array([700.0, 300.0, 100.0]), torch.tensor([0.25, 1.0, 0.5]), guidance_rescale=0.1)
    guider.save_pretrained(tmp_path / "guider")
    stored = json.loads((tmp_path / "guider" / "guider_config.json").read_text())
    expected = {"timesteps": [100.0, 300.0, 700.0], "strengths": [0.5, 1.0, 0.25], "guidance_scale": 3.0}
    expected |= {"guidance_rescale": 0.1}
    assert {key: value for key, value in stored.items() if not key.startswith("_")} == expected
    again = GuidanceByNoise.from_pretrained(tmp_path / "guider")
    assert again.config == guider.config
    assert GuidanceByNoise.from_config(again.config, guidance_scale=5.0).weight(300.0) == 5.0
    assert [again.weight(t) for t in (99.0, 200.0, 700.0, 701.0)] == [1.0, 2.5, 1.5, 1.0]


def test_a_modular_pipeline_is_saved_and_loaded_with_its_guider(tmp_path):
    pipeline, place = modular(MODULAR[0]), "pretrained_model_name_or_path"
    if place not in signature(diffusers.ComponentSpec).parameters:
        pytest.skip(f"modular pipelines of diffusers {diffusers.__version__} write an index and none of their parts")
    GuidanceByNoise(3.0, [300.0, 700.0]).save_pretrained(tmp_path / "kept")
    kept = diffusers.ComponentSpec("guider", GuidanceByNoise, **{place: str(tmp_path / "kept")})
    pipeline.update_components(guider=kept.load())
    folder = str(tmp_path / "pipeline")
    pipeline.save_pretrained(folder, overwrite_modular_index=True)
    again = diffusers.ModularPipeline.from_pretrained(folder)
    again.load_components(names=["guider"])
    assert isinstance(again.guider, GuidanceByNoise)
    assert again.guider.config.timesteps == [300.0, 700.0]


@pytest.mark.parametrize(
    ("timesteps", "strengths", "named"),
    [
        ([1.0], None, "timesteps is"),
        ([1.0, 1.0], None, "timesteps is"),
        ([1.0, 2.0, 1.0], None, "timesteps is"),
        ([1.0, np.inf], None, "timesteps is"),
        ([[1.0, 2.0]], None, "timesteps is"),
        ("all", None, "timesteps is all"),
        ([1.0, 2.0], [1.0], "strengths is .* 2 finite numbers"),
        ([1.0, 2.0], [1.0, np.nan], "strengths is"),
    ],
)
def test_what_is_no_table_is_refused(timesteps, strengths, named):
    with pytest.raises(InputError, match=named), guide_by_noise(built(next(iter(STOCK))), timesteps, strengths):
        pass
    if guiders._STOCK is not None:
        with pytest.raises(InputError, match=named):
            GuidanceByNoise(3.0, timesteps, strengths)


def test_other_pipelines_and_weights_that_are_no_numbers_are_refused():
    other = diffusers.DDPMPipeline(None, diffusers.DDPMScheduler())
    with (
        pytest.raises(InputError, match="pipeline is a DDPMPipeline, expected one of"),
        guide_by_noise(other, [1.0, 2.0]),
    ):
        pass
    if guiders._STOCK is not None:
        with pytest.raises(InputError, match="guidance_scale is nan"):
            GuidanceByNoise(np.nan)


def test_a_diffusers_without_guiders_is_named(monkeypatch):
    monkeypatch.setattr(guiders, "_STOCK", None)
    with pytest.raises(InputError, match=f"diffusers is {diffusers.__version__}, expected 0.35 or later"):
        GuidanceByNoise(3.0)
