"""Tries every adapter on tiny networks of the real classes: the table of "Bring your own model".

    python benchmarks/adapters_table.py         about twenty seconds on one thread

It goes to derivations/bring_your_own_model/results/adapters.json. Each row is a class of model, what its network
predicts and on which schedule; the largest difference, at five noise levels in float32, between D and x_0 as the
scheduler itself says it (EDM and flow matching, whose schedulers say none: as the formula says it); how much two labels
move D at least; what bfloat16 weights move D at most, of its size. Weights are random: this tries the conversion and
the labels, not a model.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from itertools import combinations

import diffusers
import numpy as np
import torch

from companion.files import write_text
from companion.models.edm import edm_denoiser
from companion.models.load import load
from companion.models.trained import TrainedDenoiser
from derivations.bring_your_own_model.tiny import save_tiny
from derivations.kit.measured import FOLDER

SEED = 0
LEVELS = (-3.0, -1.0, 1.0, 3.0, 5.0)
PROMPTS = ("a cat", "a dog", "a cow")
LATENT = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "clip_sample": False,
}
ZERO = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
DDIM, DDPM, EDM = diffusers.DDIMScheduler, diffusers.DDPMScheduler, diffusers.EDMEulerScheduler
FLOW = diffusers.FlowMatchEulerDiscreteScheduler


def cases() -> list[tuple[str, str, str, str, object]]:
    """Class of the model, kind of tiny network, prediction, schedule, scheduler."""
    rows = [
        ("UNet2DModel", "unet", prediction, schedule, DDPM(prediction_type=prediction, **options))
        for schedule, options in (
            ("linear", {}),
            ("scaled linear", {"beta_schedule": "scaled_linear"}),
            ("cosine", {"beta_schedule": "squaredcos_cap_v2"}),
            ("sigmoid", {"beta_schedule": "sigmoid"}),
            ("trained betas", {"trained_betas": [1e-4 + 0.03 * (k / 1000) ** 2 for k in range(1000)]}),
            ("linear, zero terminal snr", ZERO),
        )
        for prediction in ("epsilon", "sample", "v_prediction")
    ]
    version_1 = ("StableDiffusionPipeline 1.5", "stable diffusion")
    version_2 = ("StableDiffusionPipeline 2", "stable diffusion 2")
    xl, v = ("StableDiffusionXLPipeline", "stable diffusion xl"), {"prediction_type": "v_prediction"}
    return [
        *rows,
        ("UNet2DModel", "unet", "flow", "rectified flow", FLOW()),
        ("DiTPipeline", "dit", "epsilon", "linear", DDIM()),
        (*version_1, "epsilon", "scaled linear", DDIM(**LATENT)),
        (*version_2, "v_prediction", "scaled linear", DDIM(**v, **LATENT)),
        (*version_2, "v_prediction", "scaled linear, zero terminal snr", DDIM(**v, **LATENT, **ZERO)),
        (*xl, "epsilon", "scaled linear", DDIM(**LATENT)),
        (*xl, "edm", "EDM, s = 0.5", EDM(sigma_data=0.5)),
        (*xl, "v_prediction", "EDM, s = 1", EDM(sigma_data=1.0, **v)),
        ("StableDiffusion3Pipeline", "stable diffusion 3", "flow", "rectified flow, shift 3", FLOW(shift=3.0)),
    ]


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning)  # a pipeline without a safety checker
    started, rows, evaluations = time.perf_counter(), [], 0
    for name, kind, prediction, schedule, scheduler in cases():
        with tempfile.TemporaryDirectory() as folder:
            save_tiny(kind, folder, scheduler, SEED)
            prompts = PROMPTS if kind.startswith("stable") else ()
            model, half = load(folder, prompts), load(folder, prompts, dtype=torch.bfloat16)
        row, count = measured(model, half, scheduler)
        rows.append({"model": name, "prediction": prediction, "schedule": schedule, **row})
        evaluations += count
        print(f"{name:28} {prediction:13} {schedule:32} {row['difference']:.1e}  {row['label_moves']:.3f}")
    row, count = edm_network()
    rows.append({"model": "a network with EDM2's interface", "prediction": "D", "schedule": "its own", **row})
    evaluations += count
    origin = {
        "command": "python benchmarks/adapters_table.py",
        "device": "one thread of a shared CPU",
        "seed": SEED,
        "seconds": round(time.perf_counter() - started),
        "evaluations": evaluations,
        "weights": "random",
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("torch", "diffusers", "transformers", "numpy")},
    }
    found = origin | {"levels": LEVELS, "rows": rows}
    write_text(FOLDER / "bring_your_own_model/results/adapters.json", json.dumps(found, indent=1) + "\n")
    return 0


def measured(model: TrainedDenoiser, half: TrainedDenoiser, scheduler: object) -> tuple[dict[str, object], int]:
    """The numbers of one row, and the evaluations they took."""
    generator = torch.Generator().manual_seed(SEED)
    condition = torch.tensor([0, 1, 2])
    difference, moved, rounding = 0.0, np.inf, 0.0
    for asked in LEVELS:
        # At a whole timestep, where a scheduler says what x_0 is.
        step = int(np.abs(model.schedule.clock - asked).argmin()) if len(model.schedule.clock) > 2 else None
        log_snr = asked if step is None else float(model.schedule.clock[step])
        sigma = torch.full((3,), float(np.exp(-0.5 * log_snr)))
        x = torch.randn(3, *model.shape, generator=generator)
        x = x + sigma[0] * torch.randn(3, *model.shape, generator=generator)
        mean = model(x, sigma, condition)
        difference = max(difference, float((mean - x0(model, scheduler, x, log_snr, step)).abs().max()))
        rounding = max(rounding, float((half(x, sigma, condition) - mean).abs().max() / mean.abs().max()))
        answers = [model(x, sigma, torch.full((3,), label)) for label in range(3)] + [model(x, sigma, None)]
        moved = min([moved, *(float((one - other).abs().max()) for one, other in combinations(answers, 2))])
    row = {"difference": difference, "label_moves": moved, "bfloat16": rounding, "null": model.has_null}
    return row | {"starts_from_noise": model.from_noise is not None}, len(LEVELS) * 3 * 7


class Precond(torch.nn.Module):
    """The interface of EDM2's network around one convolution and a row for each label."""

    def __init__(self, label_dim: int):
        super().__init__()
        self.img_channels, self.img_resolution, self.label_dim = 4, 8, label_dim
        self.mix = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.rows = torch.nn.Linear(max(label_dim, 1), 4)

    def body(self, state: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        shift = 0.0 if labels is None else self.rows(labels)[:, :, None, None]
        return (self.mix(state) + shift).sin()

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, class_labels: torch.Tensor | None = None) -> torch.Tensor:
        sigma = sigma.reshape(-1, 1, 1, 1)
        spread = (0.25 + sigma.square()).sqrt()
        return (0.5 / spread).square() * x + 0.5 * sigma / spread * self.body(x / spread, class_labels)


def edm_network() -> tuple[dict[str, object], int]:
    """The row of a network that is the contract already but for its labels."""
    torch.manual_seed(SEED)
    model = edm_denoiser(Precond(3), Precond(0))
    difference, moved = 0.0, np.inf
    for log_snr in LEVELS:
        sigma = torch.full((3,), float(np.exp(-0.5 * log_snr)))
        x = torch.randn(3, 4, 8, 8) * (1.0 + sigma[0])
        answers = [model(x, sigma, torch.full((3,), label)) for label in range(3)] + [model(x, sigma, None)]
        moved = min([moved, *(float((one - other).abs().max()) for one, other in combinations(answers, 2))])
        spread = float((0.25 + sigma[0] ** 2).sqrt())
        with torch.no_grad():
            output = model.network.body(x / spread, torch.eye(3)[[1, 1, 1]])
        formula = 0.25 / spread**2 * x + 0.5 * float(sigma[0]) / spread * output
        difference = max(difference, float((answers[1] - formula).abs().max()))
    row = {"difference": difference, "label_moves": moved, "bfloat16": None, "null": True, "starts_from_noise": False}
    return row, len(LEVELS) * 3 * 4


def x0(model: TrainedDenoiser, scheduler: object, x: torch.Tensor, log_snr: float, step: int | None) -> torch.Tensor:
    """What the scheduler, or the formula of a flow, makes of the network's output."""
    sigma, rows, channels = float(np.exp(-0.5 * log_snr)), torch.tensor([0, 1, 2]), model.shape[0]
    with torch.no_grad():
        if isinstance(scheduler, EDM):
            times = scheduler.precondition_noise(torch.full((3,), sigma))
            output = model.output(scheduler.precondition_inputs(x, sigma), times, rows)
            return scheduler.precondition_outputs(x, output, sigma)
        if isinstance(scheduler, FLOW):
            time = sigma / (1.0 + sigma)
            state = (1.0 - time) * x
            return state - time * model.output(state, torch.full((3,), 1000.0 * time), rows)
        solver = DDIM(prediction_type=scheduler.config.prediction_type, clip_sample=False)
        solver.alphas_cumprod = scheduler.alphas_cumprod
        solver.set_timesteps(1000)
        state = scheduler.alphas_cumprod[step].sqrt() * x
        output = model.output(state, torch.full((3,), float(step)), rows)[:, :channels]
        return solver.step(output, step, state).pred_original_sample


if __name__ == "__main__":
    sys.exit(main())
