"""The adapter against x_0 as the schedulers' own formulas define it, on small real networks from `save_pretrained`."""

import json
import os
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from companion.errors import InputError
from companion.models.load import load

# What UNet2DModel and the schedulers call the same thing; the levels lie inside every schedule below.
LEVELS = (-6.0, -2.5, 0.0, 2.5, 6.0)
# Ten layers of float64 on numbers of the size of sigma: some tens of roundings each, and as much again passed on.
CLOSE = 2.0**-53 * 1e4
SCHEDULES = {
    "linear": {"beta_schedule": "linear"},
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.02},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "trained": {"trained_betas": [1e-4 + 0.03 * (k / 500) ** 2 for k in range(500)], "num_train_timesteps": 500},
    "rescaled": {"beta_schedule": "linear", "rescale_betas_zero_snr": True},
}


def saved(folder: Path, scheduler: diffusers.SchedulerMixin, **options: object) -> diffusers.UNet2DModel:
    """A small network with every weight moved off its start, and its scheduler, as a pipeline folder."""
    arguments = {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
        "add_attention": False,
        "num_class_embeds": 4,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = diffusers.UNet2DModel(**{**arguments, **options})
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    network.eval().save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    return network


def in_double(folder: Path):
    """The model with float64 weights, so that what is compared is the formulas and not the rounding of float32."""
    model = load(folder)
    model.network.double()
    return model


def batch(log_snr: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sigma = torch.full((3,), float(np.exp(-0.5 * log_snr)), dtype=torch.float64)
    images = torch.rand(3, 1, 8, 8, generator=generator, dtype=torch.float64) * 2.0 - 1.0
    noise = torch.randn(3, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images + sigma[0] * noise, sigma, torch.tensor([0, 1, 2])


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_posterior_mean_is_the_schedulers_own_x0(tmp_path, schedule, prediction):
    scheduler = diffusers.DDIMScheduler(prediction_type=prediction, clip_sample=False, **SCHEDULES[schedule])
    saved(tmp_path, scheduler)
    model = in_double(tmp_path)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(len(scheduler.alphas_cumprod))
    clock = torch.logit(scheduler.alphas_cumprod)
    for log_snr in LEVELS:
        # At a whole timestep, where the scheduler itself says what x_0 is: DDIM's step reports it.
        step = int((clock - log_snr).abs().argmin())
        x, sigma, condition = batch(float(clock[step]))
        state = x * scheduler.alphas_cumprod[step].sqrt()
        with torch.no_grad():
            output = model.network(state, step, class_labels=condition).sample
        expected = scheduler.step(output, step, state).pred_original_sample
        assert (model(x, sigma, condition) - expected).abs().max() < CLOSE * max(1.0, float(sigma[0]))


def test_rectified_flow_is_x_minus_t_times_the_velocity(tmp_path):
    saved(tmp_path, diffusers.FlowMatchEulerDiscreteScheduler())
    model = in_double(tmp_path)
    for time in (0.9, 0.5, 0.1234):
        x, sigma, condition = batch(2.0 * np.log((1.0 - time) / time))
        state = (1.0 - time) * x
        with torch.no_grad():
            output = model.network(state, torch.tensor(1000.0 * time), class_labels=condition).sample
        assert (model(x, sigma, condition) - (state - time * output)).abs().max() < CLOSE * max(1.0, float(sigma[0]))


def test_a_rescaled_schedule_leaves_out_the_timestep_without_signal(tmp_path):
    saved(tmp_path, diffusers.DDIMScheduler(**SCHEDULES["rescaled"]))
    lowest, highest = load(tmp_path).log_snr_range
    assert -30.0 < lowest < -10.0 < 9.0 < highest < 10.0


def test_timesteps_are_fractions_between_the_tables_levels(tmp_path):
    saved(tmp_path, diffusers.DDPMScheduler())
    model = load(tmp_path)
    between = 0.25 * model.schedule.clock[400] + 0.75 * model.schedule.clock[401]
    assert model.schedule.timestep(between) == pytest.approx(400.75, abs=1e-9)


def test_a_learned_time_embedding_reports_the_grid_it_used(tmp_path):
    saved(tmp_path, diffusers.DDPMScheduler(), time_embedding_type="learned", num_train_timesteps=1000)
    model = in_double(tmp_path)
    between = 0.25 * model.schedule.clock[400] + 0.75 * model.schedule.clock[401]
    assert model.schedule.timestep(between) == 401.0
    x, sigma, condition = batch(between)
    with torch.no_grad():
        alpha, noise = torch.tensor([between, -between], dtype=torch.float64).sigmoid().sqrt()
        told = model.network(alpha * x, 401, class_labels=condition)
    assert (model(x, sigma, condition) - (x - noise / alpha * told.sample)).abs().max() < CLOSE * float(sigma[0])


def test_null_is_the_last_row_and_labels_move_the_output(tmp_path):
    network = saved(tmp_path, diffusers.DDPMScheduler(prediction_type="sample"))
    model = load(tmp_path)
    assert (model.classes, model.weights, model.has_null) == (("0", "1", "2"), (1 / 3,) * 3, True)
    x, sigma, _ = batch(0.0)
    x, state, step = x.float(), x.float() * 0.5**0.5, torch.tensor(float(model.schedule.timestep(0.0)))
    with torch.no_grad():
        rows = [network(state, step, class_labels=torch.full((3,), row)).sample for row in range(4)]
    assert torch.equal(model(x, sigma, None), rows[3])
    for row in range(3):
        assert torch.equal(model(x, sigma, torch.full((3,), row)), rows[row])
        assert (rows[row] - rows[3]).abs().max() > 1e-3


def test_what_companion_json_says_is_used(tmp_path):
    saved(tmp_path, diffusers.DDPMScheduler())
    classes, weights = ["a", "b", "c", "d"], [0.1, 0.2, 0.3, 0.4]
    described = {"name": "mine", "classes": classes, "weights": weights, "has_null": False}
    (tmp_path / "companion.json").write_text(json.dumps(described))
    model = load(tmp_path)
    assert (model.name, model.classes, model.weights) == ("mine", tuple(classes), tuple(weights))
    x, sigma, _ = batch(0.0)
    with pytest.raises(InputError, match="mine has no null class"):
        model(x.float(), sigma, None)


def test_learned_variances_are_left_aside(tmp_path):
    saved(tmp_path, diffusers.DDPMScheduler(variance_type="learned_range"), out_channels=2)
    x, sigma, condition = batch(0.0)
    assert load(tmp_path)(x.float(), sigma, condition).shape == (3, 1, 8, 8)


def test_a_model_folder_with_the_scheduler_in_it_or_beside_it(tmp_path):
    saved(tmp_path, diffusers.DDPMScheduler())
    beside = load(tmp_path / "unet")
    (tmp_path / "scheduler" / "scheduler_config.json").rename(tmp_path / "unet" / "scheduler_config.json")
    inside = load(tmp_path / "unet")
    assert beside.digest == inside.digest


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path):
    saved(tmp_path, diffusers.DDPMScheduler())
    before = torch.get_rng_state()
    model = load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.network.training


def test_the_digest_follows_weights_and_schedule(tmp_path):
    network = saved(tmp_path, diffusers.DDPMScheduler())
    digests = {load(tmp_path).digest}
    diffusers.DDPMScheduler(prediction_type="sample").save_pretrained(tmp_path / "scheduler")
    digests.add(load(tmp_path).digest)
    diffusers.DDPMScheduler(beta_end=0.021).save_pretrained(tmp_path / "scheduler")
    digests.add(load(tmp_path).digest)
    network.conv_out.bias.data.add_(1e-6)
    network.save_pretrained(tmp_path / "unet")
    digests.add(load(tmp_path).digest)
    assert len(digests) == 4


def test_noise_and_classes_outside_the_model_are_refused(tmp_path):
    saved(tmp_path, diffusers.DDPMScheduler())
    model = load(tmp_path)
    x, sigma, condition = batch(0.0)
    with pytest.raises(InputError, match="log-snr is -12"):
        model(x.float(), torch.full((3,), float(np.exp(6.0))), condition)
    for wrong in (-1, 3):  # 3 is the null row, which has no number of its own
        with pytest.raises(InputError, match="classes from 0 to 2"):
            model(x.float(), sigma, torch.full((3,), wrong))


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    saved(tmp_path, diffusers.DDPMScheduler())
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Trap(tmp_path / "it ran")}, tmp_path / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.bin, expected safetensors") as refused:
        load(tmp_path)
    assert not (tmp_path / "it ran").exists()
    assert "\n" not in str(refused.value)


def break_weights(folder: Path, length: int) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:length])


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop_a_tensor(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["conv_out.bias"]
    save_file(tensors, path, metadata={"format": "pt"})


def one_class(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "class_embedding.weight": tensors["class_embedding.weight"][:2].clone()}, path)
    edit(folder / "unet" / "config.json", num_class_embeds=2)


BROKEN = {
    "truncated": (lambda folder: break_weights(folder, 20_000), "whole safetensors file"),
    "cut in the header": (lambda folder: break_weights(folder, 5), "whole safetensors file"),
    "empty": (lambda folder: break_weights(folder, 0), "whole safetensors file"),
    "no weights": (lambda folder: os.remove(folder / "unet" / "diffusion_pytorch_model.safetensors"), "holds a"),
    "a tensor missing": (drop_a_tensor, r"conv_out\.bias is only in one"),
    "another size": (lambda folder: edit(folder / "unet" / "config.json", block_out_channels=[8, 24]), "that fit"),
    "no configuration": (lambda folder: (folder / "unet" / "config.json").unlink(), r"holds config\.json"),
    "no JSON": (lambda folder: (folder / "unet" / "config.json").write_text("{"), "readable JSON"),
    "another network": (lambda folder: edit(folder / "unet" / "config.json", _class_name="Net"), "a UNet2DModel"),
    "no classes": (lambda folder: edit(folder / "unet" / "config.json", num_class_embeds=None), "one embedding"),
    "no scheduler": (lambda folder: shutil.rmtree(folder / "scheduler"), "scheduler_config"),
    "another scheduler": (
        lambda folder: edit(folder / "scheduler" / "scheduler_config.json", _class_name="KarrasVeScheduler"),
        "KarrasVeScheduler, expected a scheduler of diffusers",
    ),
    "no schedule": (
        lambda folder: edit(
            folder / "scheduler" / "scheduler_config.json", trained_betas=[0.1, 0.0, 0.1], num_train_timesteps=3
        ),
        "noise that grows",
    ),
    "a flow of no length": (
        lambda folder: edit(
            folder / "scheduler" / "scheduler_config.json",
            _class_name="FlowMatchEulerDiscreteScheduler",
            prediction_type="flow_prediction",
            num_train_timesteps=1,
        ),
        "num_train_timesteps is 1, expected a whole number",
    ),
    "one class": (one_class, "num_class_embeds is 2, expected at least 3, two classes and the null class"),
    "class names": (lambda folder: (folder / "companion.json").write_text('{"classes": ["a"]}'), "3 different names"),
    "prior": (lambda folder: (folder / "companion.json").write_text('{"weights": [1, 1, 1]}'), "sum to one"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_folder_is_refused_in_one_line(tmp_path, how):
    saved(tmp_path, diffusers.DDPMScheduler())
    change, said = BROKEN[how]
    change(tmp_path)
    with pytest.raises(InputError, match=said) as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_name_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"")
    for wrong in ("digitz", tmp_path / "nothing", tmp_path / "model.bin"):
        with pytest.raises(InputError, match=r"a shipped model \(digits\) or a folder"):
            load(wrong)
