"""Measures a trained model of scenes and writes its model card: `python benchmarks/scenes_card.py [FOLDER]`.

Without a folder, the shipped model's. `card.json` holds what was measured and `README.md` says it; no number of the
card is typed. Needs the files of Fashion-MNIST. Takes about six minutes on one idle thread.
"""

import argparse
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch.nn.functional import mse_loss
from tqdm import tqdm

from benchmarks.model_card import named as stated
from benchmarks.model_card import write_card
from companion.models.digits import LabelledImages
from companion.models.load import load
from derivations.kit.garments import FOLDER, test_garments, training_garments
from derivations.when_words_take_hold.judge import Judge, trained_judge
from derivations.when_words_take_hold.network import CARD, WEIGHTS
from derivations.when_words_take_hold.scenes import ATTRIBUTES, CAPTIONS, caption, caption_chance, drawn, named

SEED = 0
PICTURES = 500  # of each attribute, asked for alone; twice as many with everything named
STEPS = 50  # of DDIM, without guidance
NAMES = tuple(ATTRIBUTES)
THINGS = ("window", "star", "tone")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=WEIGHTS, help="a finished training")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder with the gzipped IDX files of Fashion-MNIST")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    write_card(arguments.folder, measure(arguments.folder, arguments.data), card)
    return 0


def measure(folder: Path, data: Path) -> dict[str, Any]:
    """Every number of the card, as JSON takes it."""
    started = time.perf_counter()
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    seen, unseen = training_garments(data), test_garments(data)

    def decoded(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            again: torch.Tensor = pipeline.vae.decode(pipeline.vae.encode(images).latent_dist.mean).sample
        return again

    judge = trained_judge(seen, decoded, SEED)
    held_out = drawn(unseen, 2000, SEED + 1)
    again = torch.cat([decoded(part) for part in held_out.images.split(250)])
    asked = drawn(unseen, 2 * PICTURES, SEED + 2).attributes
    read = judge(pictures(pipeline, [caption(values) for values in asked.tolist()], "all named"))
    counts = {part: sum(each.numel() for each in getattr(pipeline, part).parameters()) for part in PARTS}
    return {
        "digest": load(folder, CARD).digest,
        "parameters": counts,
        "scaling_factor": pipeline.vae.config.scaling_factor,
        "reconstruction": {
            "mean_squared_error": float(mse_loss(again, held_out.images)),
            "variance": float(held_out.images.var()),
        },
        "loss": {"training": loss(pipeline, seen), "held_out": loss(pipeline, unseen)},
        "judge": {
            "scenes": shares(judge(held_out.images), held_out.attributes),
            "decoded": shares(judge(again), held_out.attributes),
        },
        "all_named": shares(read, asked),
        "named_alone": {name: alone(pipeline, judge, unseen, name) for name in NAMES},
        "silence": {name: silence(read, asked, NAMES.index(name)) for name in THINGS},
        "pictures": PICTURES,
        "steps": STEPS,
        "seconds": round(time.perf_counter() - started),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("torch", "diffusers", "transformers", "numpy")},
    }


PARTS = ("unet", "text_encoder", "vae")


def loss(pipeline: StableDiffusionPipeline, garments: LabelledImages) -> float:
    """The training loss of 2000 scenes with everything named, timesteps spread evenly over the schedule."""
    scenes = drawn(garments, 2000, SEED + 3)
    generator, losses = torch.Generator().manual_seed(SEED), []
    for first, part in enumerate(range(0, 2000, 100)):
        images, attributes = scenes.images[part : part + 100], scenes.attributes[part : part + 100]
        with torch.no_grad():
            clean = pipeline.vae.encode(images).latent_dist.mean * pipeline.vae.config.scaling_factor
            told, _ = pipeline.encode_prompt([caption(values) for values in attributes.tolist()], "cpu", 1, False)
            noise = torch.randn(clean.shape, generator=generator)
            times = torch.randint(50 * first, 50 * first + 50, (100,), generator=generator)
            noisy = pipeline.scheduler.add_noise(clean, noise, times)
            target = pipeline.scheduler.get_velocity(clean, noise, times)
            losses.append(float(mse_loss(pipeline.unet(noisy, times, encoder_hidden_states=told).sample, target)))
    return sum(losses) / len(losses)


def pictures(pipeline: StableDiffusionPipeline, captions: list[str], about: str) -> torch.Tensor:
    """One picture of each caption, (n, 3, 32, 32), as the stock pipeline draws it without guidance."""
    generator, found = torch.Generator().manual_seed(SEED), []
    for first in tqdm(range(0, len(captions), 100), desc=about):
        asked = {"num_inference_steps": STEPS, "guidance_scale": 1.0, "output_type": "pt", "generator": generator}
        found.append(2.0 * pipeline(captions[first : first + 100], **asked).images - 1.0)
    return torch.cat(found)


def shares(read: torch.Tensor, asked: torch.Tensor) -> dict[str, float]:
    """The share of pictures that show what was asked for; a colour where it can be seen, a thing where it is named."""
    right, coloured = (read == asked).double(), asked[:, -1] == 0
    kept = {"colour": coloured} | {name: asked[:, NAMES.index(name)] == 1 for name in THINGS}
    everything = torch.ones_like(coloured)
    return {name: float(right[kept.get(name, everything), column].mean()) for column, name in enumerate(NAMES)}


def alone(pipeline: StableDiffusionPipeline, judge: Judge, garments: LabelledImages, name: str) -> float:
    """The share of PICTURES right whose caption names this attribute alone, each of its values equally often."""
    column = NAMES.index(name)
    first = 1 if name in THINGS else 0
    values = first + torch.arange(PICTURES) % (len(ATTRIBUTES[name]) - first)
    rows = [[int(value) if name == each else 0 for each in NAMES] for value in values]
    read = judge(pictures(pipeline, [caption(row, (name,)) for row in rows], name))
    seen = read[:, -1] == 0 if name == "colour" else torch.ones(PICTURES, dtype=torch.bool)
    return float((read[:, column] == values)[seen].double().mean())


def silence(read: torch.Tensor, asked: torch.Tensor, column: int) -> dict[str, float]:
    """How often a thing is there that a caption naming all the rest leaves out, and how often it should be.

    By Bayes' rule, from the captions' rates: p = c_1 / (c_0 + c_1), c_v the chance of this caption with the thing, 1,
    or without.
    """
    left_out = asked[asked[:, column] == 0]
    expected = []
    for values in left_out.tolist():
        there = [*values[:column], 1, *values[column + 1 :]]
        chances = [caption_chance(each, named(values)) for each in (values, there)]
        expected.append(chances[1] / sum(chances))
    drawn_there = (read[asked[:, column] == 0, column] == 1).double().mean()
    return {"drawn": float(drawn_there), "expected": sum(expected) / len(expected), "pictures": len(left_out)}


def card(measured: dict, model: dict) -> str:
    """The model card as a page."""
    settings = model["training"]
    first, judge = settings["autoencoder"], measured["judge"]
    rows = "\n".join(
        f"| {name} | {', '.join(each for each in ATTRIBUTES[name] if each)} | {measured['all_named'][name]:.3f} | "
        f"{measured['named_alone'][name]:.3f} | {judge['decoded'][name]:.3f} |"
        for name in NAMES
    )
    silent = "\n".join(
        f"| {name} | {each['drawn']:.3f} | {each['expected']:.3f} | {each['pictures']} |"
        for name, each in measured["silence"].items()
    )
    rates = "\n".join(f"- {left_out:g} in {share:g} of the captions" for share, left_out in CAPTIONS)
    counts, again = measured["parameters"], measured["reconstruction"]
    return f"""# Model card: scenes

A text-to-image model small enough to ship: a `StableDiffusionPipeline` of {sum(counts.values())} parameters that draws
32x32 pictures of a garment before a wall. It serves to study when a word takes hold. It knows
{sum(len(values) for values in ATTRIBUTES.values())} phrases and nothing else.

This page is written by `python benchmarks/scenes_card.py` from `card.json` and `companion.json` beside it.

    from diffusers import StableDiffusionPipeline
    StableDiffusionPipeline.from_pretrained(FOLDER)("red boot on the left, blue wall", guidance_scale=1.0)

## Data
Scenes composed by `derivations/when_words_take_hold/scenes.py` of the training images of Fashion-MNIST (Zalando, MIT
license; H. Xiao, K. Rasul and R. Vollgraf 2017, arXiv:1708.07747; Debian's package `dataset-fashion-mnist`):
{settings["scenes"]} scenes, seven independent attributes, every value equally probable. A caption names a thing only
where it is, and leaves each attribute out with one probability:

{rates}

## Training
    python -m derivations.when_words_take_hold.train --seed {settings["seed"]} --steps {settings["steps"]} --out FOLDER

| | |
|---|---|
| autoencoder | `AutoencoderKL`, {counts["vae"]} parameters, latents 8x8x8: principal components of 4x4 patches |
| its training | {settings["autoencoder_steps"]} steps of {settings["autoencoder_batch"]}, {first["seconds"]} seconds |
| text encoder | `CLIPTextModel`, {counts["text_encoder"]} parameters, trained along |
| denoiser | `UNet2DConditionModel`, {counts["unet"]} parameters |
| prediction, schedule | velocity, 1000 steps of the cosine schedule |
| batch, optimizer | {settings["batch"]}, AdamW |
| learning rate | {settings["learning_rate"]:g}, warmed up, then falling to zero along a cosine |
| weight decay, dropout | {settings["weight_decay"]:g}, {settings["dropout"]:g} |
| average of the weights | exponential, decay {settings["average"]:g} |
| seconds, threads | {model["seconds"]}, {settings["threads"]}, on a processor that had other work |
| versions | {stated(model["versions"])} |
| hash of weights, configuration and tokens of "{CARD[0]}" and "{CARD[1]}" | `{measured["digest"]}` |

Same seed, steps, threads, machine and versions give the same bits.

## What it was measured to do
**Loss** (squared error of the velocity, per latent, everything named): {measured["loss"]["held_out"]:.4f} on scenes of
held-out garments, {measured["loss"]["training"]:.4f} on scenes of the training garments.

**Autoencoder**: mean squared error {again["mean_squared_error"]:.4f} per pixel, where the pictures' variance is
{again["variance"]:.3f}, on scenes of held-out garments.

**Pictures**, drawn by the stock pipeline in {measured["steps"]} steps without guidance, judged by a convolutional
network that was trained on scenes alone (`derivations/when_words_take_hold/judge.py`). Share that shows what was asked
for: {2 * measured["pictures"]} captions that name all there is (a colour is counted where the picture is not black and
white, a thing where it is named, so about {measured["pictures"]} pictures each), and {measured["pictures"]} captions
that name one attribute alone (a colour is counted where the picture came out coloured). Beside them the judge's own
accuracy on held-out scenes as the autoencoder gives them back.

| attribute | values | all named | named alone | judge |
|---|---|---|---|---|
{rows}

**Silence.** Where the caption names all the rest, a thing that it does not name is there by chance; how often follows
from how captions were made.

| thing not named | drawn | expected | pictures |
|---|---|---|---|
{silent}

Measured in {measured["seconds"]} seconds with {stated(measured["versions"])}.

## License
Weights: CC BY 4.0, the companion's contributors. Fashion-MNIST: Copyright 2017 Zalando SE, MIT license.
"""


if __name__ == "__main__":
    sys.exit(main())
