"""The networks of digits that the chapter compares: one recipe with five seeds, with fewer steps, and with few images.

`RECIPES` says how each is trained. The recipe of all others is that of the shipped network, seed 0 and 5000 steps.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from companion.errors import InputError
from companion.models.digits import LabelledImages, training_digits
from companion.models.load import load
from companion.models.trained import TrainedDenoiser
from companion.models.training import Settings, train

__all__ = ["RECIPES", "SEEDS", "SHIPPED", "SIZES", "Recipe", "first_of_each", "network"]

SHIPPED = "seed_0"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: its settings, and on how many images of each digit, all where that is None."""

    settings: Settings
    of_each: int | None = None

    @property
    def images(self) -> LabelledImages:
        return training_digits() if self.of_each is None else first_of_each(self.of_each)


SEEDS = {f"seed_{seed}": Recipe(Settings(seed=seed)) for seed in range(5)}
SIZES = {f"steps_{steps}": Recipe(Settings(steps=steps)) for steps in (100, 300, 1000)}
RECIPES = SEEDS | SIZES | {"memory_100": Recipe(Settings(steps=2000, dropout=0.0), of_each=10)}


def first_of_each(count: int) -> LabelledImages:
    """The first `count` training images of each digit; InputError where a digit has fewer.

    >>> first_of_each(3).labels.bincount().tolist()
    [3, 3, 3, 3, 3, 3, 3, 3, 3, 3]
    """
    every = training_digits()
    most = int(every.labels.bincount().min())
    if not 1 <= count <= most:
        raise InputError("count", count, f"1 to {most} images of each digit")
    kept = torch.cat([torch.nonzero(every.labels == k)[:count, 0] for k in range(10)])
    return replace(every, images=every.images[kept], labels=every.labels[kept])


def network(name: str, folder: Path, progress: bool = True) -> TrainedDenoiser:
    """The network of a recipe: from `folder`/`name`, where it is trained if it is not there. The shipped one ships.

    A training that was stopped goes on. Raises InputError for a name that is no recipe's, and as `train` does.
    """
    if name not in RECIPES:
        raise InputError("name", name, f"one of {', '.join(RECIPES)}")
    if name == SHIPPED:
        return load("digits")
    if not (folder / name / "companion.json").exists():
        train(RECIPES[name].images, folder / name, RECIPES[name].settings, progress)
    return load(folder / name)
