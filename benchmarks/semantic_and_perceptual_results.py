"""Trains autoencoders on digits and reads what their latents say of the digit, for the chapter on both latents.

    python benchmarks/semantic_and_perceptual_results.py [split] [latents] [pictures] [window] [linear]

writes derivations/semantic_and_perceptual/results/PART.json; about half an hour of one thread. Each training is of five
copies side by side. A finished one stays in .cache/semantic_and_perceptual, and the command goes on from there.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.manifold import TSNE
from tqdm import tqdm

from benchmarks.harness import rounded, run_parts
from companion.files import make_folder, write_text
from companion.models.digits import held_out_digits, training_digits
from derivations.kit.measured import FOLDER
from derivations.semantic_and_perceptual.autoencoders import (
    LAST,
    DiffusionAutoencoders,
    Latent,
    Settings,
    trained,
    trained_variational,
)
from derivations.semantic_and_perceptual.modes import best_shares, linear_latent, nats, principal_modes
from derivations.semantic_and_perceptual.readings import label_information

# The splits for each weight of the KL term; at the weight of 1 the best latents are empty.
SPLITS = {
    0.05: (-2.0, 0.0, 2.0, 3.5, 5.0),
    0.2: (-2.0, -1.0, 0.0, 1.0, 2.0, 3.5, 5.0),
    0.5: (-2.0, -1.0, 0.0, 1.0, 2.0, 5.0),
    1.0: (-2.0, 0.0, 2.0, 5.0),
}
COLD, COLD_WEIGHT = 2.0, 0.2  # a training without warm-up
STEPS, COPIES, LATENT, BATCH, LEVELS = 2500, 5, 8, 64, 48
SHOWN = 0.2  # the weight of the pictures
DECODER = 0.3  # the deviation of the variational autoencoder's decoder
CACHE = FOLDER.parent / ".cache" / "semantic_and_perceptual"

Row = dict[str, Any]


def settings(split: float, weight: float, **others: Any) -> Settings:
    return Settings(
        split=split, weight=weight, latent=others.pop("latent", LATENT), copies=COPIES, steps=STEPS, **others
    )


def kept(name: str, make: Callable[[], Row]) -> Row:
    """A row that an earlier run has finished, or a new one."""
    path = CACHE / f"{name}.json"
    if not path.exists():
        make_folder(CACHE, "cache")
        started = time.process_time()
        made = make()
        write_text(path, rounded(made | {"seconds": time.process_time() - started}))
    found: Row = json.loads(path.read_text("utf-8"))
    return found


def told(training: Latent, held_out: Latent) -> tuple[np.ndarray, np.ndarray]:
    return label_information(training, training_digits().labels, held_out, held_out_digits().labels)


def read(model: DiffusionAutoencoders) -> Row:
    """Both latents of held-out digits: information, the terms of the bound, KL of each coordinate, one draw of each."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        pairs = list(zip(model.latents(training_digits().images), model.latents(held_out_digits().images), strict=True))
    found = [told(*pair) for pair in pairs]
    terms = model.nats(held_out_digits().images, draw, LEVELS)
    return {
        "information": [information for information, _ in found],
        "error": [error for _, error in found],
        "losses": [term.tolist() for term in terms[:2]],
        "nats": [term.tolist() for term in terms[2:]],
        "coordinates": [held_out.nats().mean(dim=1).tolist() for _, held_out in pairs],
        "latents": [held_out.sample(draw)[0].tolist() for _, held_out in pairs],
    }


def row(split: float, weight: float, warm_up: float = 0.3) -> Row:
    name = f"split_{split:g}_weight_{weight:g}_warm_up_{warm_up:g}"
    made = settings(split, weight, warm_up=warm_up)
    return kept(name, lambda: read(trained(training_digits().images, made)))


def seconds(rows: list[Row]) -> int:
    """What rows took that this run may have found finished."""
    return round(sum(each["seconds"] for each in rows))


def trainings(count: int) -> int:
    """How often an image was denoised in so many trainings and readings."""
    return count * COPIES * (STEPS * BATCH + LEVELS * len(held_out_digits().labels))


def split() -> tuple[Row, int]:
    """Information of both latents over the split and the weight; and what a training without warm-up leaves."""
    rows = [[row(at, weight) for at in splits] for weight, splits in tqdm(SPLITS.items(), desc="weights")]
    cold, names = row(COLD, COLD_WEIGHT, warm_up=0.0), ("information", "error", "losses", "nats")
    every = [cold, *(each for line in rows for each in line)]
    return {
        "weights": list(SPLITS),
        "splits": list(SPLITS.values()),
        "copies": COPIES,
        "latent": LATENT,
        "steps": STEPS,
        **{name: [[each[name] for each in line] for line in rows] for name in names},  # (weights)(splits, 2, copies)
        "cold_weight": COLD_WEIGHT,
        "cold_split": COLD,
        **{f"cold_{name}": cold[name] for name in ("information", "nats")},
        "seconds": seconds(every),
    }, trainings(len(every))


def latents() -> tuple[Row, int]:
    """t-SNE of a draw of both latents of held-out digits, by the first copy, for a split near the data and in noise."""
    shown = {at: row(at, SHOWN) for at in (SPLITS[SHOWN][-1], SPLITS[SHOWN][0])}
    places = [
        [TSNE(random_state=0, init="pca", perplexity=30.0).fit_transform(np.array(draw)) for draw in found["latents"]]
        for found in shown.values()
    ]
    return {
        "weight": SHOWN,
        "splits": list(shown),
        "labels": held_out_digits().labels.tolist(),
        "places": np.round(np.array(places, dtype=np.float64)).astype(int).tolist(),  # (splits, 2 latents, digits, 2)
        "seconds": seconds(list(shown.values())),
    }, trainings(len(shown))


def pictures() -> tuple[Row, int]:
    """Reconstructions and information by both autoencoders, with eight coordinates and with two."""
    rows = {size: kept(f"pictures_{size}", lambda size=size: compared(size)) for size in (LATENT, 2)}
    return {
        "weight": SHOWN,
        "deviation": DECODER,
        "sizes": list(rows),
        "digits": chosen(),
        **{name: [found[name] for found in rows.values()] for name in ("information", "error", "nats")},
        **{name: [found[name] for found in rows.values()] for name in ("squared_error", "contrast")},
        "made": [found["made"] for found in rows.values()],
        "draws": np.round(rows[2]["draws"], 2),
        "seconds": seconds(list(rows.values())),
    }, trainings(2 * len(rows))


def chosen() -> list[int]:
    """The first held-out digit of each class."""
    labels = held_out_digits().labels.tolist()
    return [labels.index(digit) for digit in range(10)]


def compared(size: int) -> Row:
    """A diffusion autoencoder with one latent beside a variational one, by what both make of held-out digits."""
    images, asked, draw = training_digits().images, held_out_digits().images, torch.Generator().manual_seed(1)
    diffusion = trained(images, settings(LAST, SHOWN, latent=size))
    variational = trained_variational(images, settings(LAST, SHOWN, latent=size), DECODER)
    made = [diffusion.reconstruct(asked, draw), variational.reconstruct(asked, draw)]
    with torch.no_grad():
        pairs = [(diffusion.latents(each)[0], variational.latent(each)) for each in (images, asked)]
        held_out = [latent.nats().sum(dim=-1).mean(dim=1) for latent in pairs[1]]
    found = [told(*pair) for pair in zip(*pairs, strict=True)]
    return {
        "information": [information for information, _ in found],
        "error": [error for _, error in found],
        "nats": [each.tolist() for each in held_out],
        "squared_error": [(each - asked.flatten(1)).square().mean(dim=(1, 2)).tolist() for each in made],
        "contrast": [(detail(each) / detail(asked.flatten(1))).tolist() for each in made],
        "made": [each[0, chosen()].double().numpy().round(2) for each in made],
        "draws": [latent.sample(draw)[0].double().numpy().round(3) for latent in pairs[1]],
    }


def detail(flat: torch.Tensor) -> torch.Tensor:
    """The mean square of the difference of neighbouring pixels, of pictures (..., n, 64)."""
    square = flat.unflatten(-1, (8, 8))
    across, down = square.diff(dim=-1), square.diff(dim=-2)
    return across.square().mean(dim=(-1, -2, -3)) + down.square().mean(dim=(-1, -2, -3))


def window() -> tuple[Row, int]:
    """What a held-out digit in noise says of its class, by classifiers of their own for every level."""
    levels = np.linspace(-6.0, 4.0, 21)

    def noisy(images: torch.Tensor) -> Latent:
        mean = images.flatten(1).expand(len(levels), -1, -1)
        return Latent(mean, torch.from_numpy(np.exp(-0.5 * levels)).float()[:, None, None].expand_as(mean))

    information, error = told(noisy(training_digits().images), noisy(held_out_digits().images))
    return {"levels": levels, "information": information, "error": error}, 0


def linear() -> tuple[Row, int]:
    """What the best latents of Gaussian data with the digits' covariance say of the digits."""
    modes = principal_modes(training_digits().images)
    splits, weights = np.arange(-4.0, 5.6, 1.0), (0.05, 0.2, 0.5)
    shares = np.array([[best_shares(modes[1], at, LAST, weight, LATENT) for at in splits] for weight in weights])

    def of_both(which: int) -> np.ndarray:
        flat = shares[:, :, which].reshape(-1, shares.shape[-1])
        information, _ = told(*(linear_latent(each, modes, flat) for each in both))
        return information.reshape(len(weights), len(splits))

    both = (training_digits().images, held_out_digits().images)
    return {
        "splits": splits,
        "weights": weights,
        "variances": modes[1],
        "information": [of_both(0), of_both(1)],  # (2 latents, weights, splits)
        "nats": [nats(shares[:, :, which]).sum(axis=-1) for which in (0, 1)],
    }, 0


def main() -> int:
    folder = FOLDER / "semantic_and_perceptual/results"
    parts = {"split": split, "latents": latents, "pictures": pictures, "window": window, "linear": linear}
    return run_parts(
        "semantic_and_perceptual_results", __doc__ or "", parts, folder, ("torch", "numpy", "scikit-learn"), rounded
    )


if __name__ == "__main__":
    sys.exit(main())
