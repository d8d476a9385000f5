"""What a caption says of a scene, by Bayes' rule, and the questions between captions with the floors that follow.

A caption names some attributes of its scene, and which ones is chance (`scenes.caption_chance`). So a caption is a law
over the cells, the combinations of attributes,

    p(cell | caption) = p(cell) P(caption | cell) / sum over cells,

and two captions may describe the same scene: "boot" also those that "boot, blue wall" does. What stays open between
them when the scene is seen clearly is the entropy that their laws share, `Partition.floor` with cells for classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from companion.arguments import Array
from companion.entropy import Partition
from companion.errors import InputError
from derivations.when_words_take_hold.scenes import ATTRIBUTES, caption, caption_chance

__all__ = ["CELLS", "Asked", "Said", "asked", "between", "law_of", "share", "text_of"]

Said = Mapping[str, str]  # the phrase of each attribute that a caption names: {"kind": "boot", "wall": "blue wall"}

CELLS = np.array(list(product(*(range(len(values)) for values in ATTRIBUTES.values()))))  # (1280, 7)


def text_of(said: Said) -> str:
    """The caption that says this; InputError for an attribute or a phrase that scenes do not have.

    >>> text_of({"kind": "boot", "wall": "blue wall"}), text_of({})
    ('boot, blue wall', '')
    """
    return caption(_values(said), said.keys())


def law_of(said: Said) -> Array:
    """p(cell | caption) in the order of CELLS, (1280,): all cells are equally probable before anything is said.

    >>> law = law_of({"wall": "blue wall"})
    >>> round(float(law.sum()), 9), sorted(set(CELLS[law > 0.0, 3].tolist()))
    (1.0, [0])
    """
    return _law(tuple(sorted(said.items()))).copy()


def between(first: Said, second: Said) -> Partition:
    """The question between two captions, asked of cells, balanced; its `floor` is what clean scenes leave open.

    >>> round(between({"kind": "boot", "wall": "blue wall"}, {"kind": "boot"}).floor, 3)
    0.313
    """
    one, other = (
        dict(zip(np.flatnonzero(law).tolist(), law[law > 0.0].tolist(), strict=True))
        for law in map(law_of, (first, second))
    )
    return Partition(f"{text_of(first)}|{text_of(second)}", one, other, 0.5)


def share(of: Said, among: Said) -> float:
    """The probability that a scene of the second caption is as the first one says.

    >>> boot = {"kind": "boot"}
    >>> round(share({"wall": "blue wall"}, boot), 3), round(share({"star": "with a star"}, boot), 3)
    (0.25, 0.374)
    """
    columns = [list(ATTRIBUTES).index(name) for name in of]
    as_said = (CELLS[:, columns] == np.array(_values(of))[columns]).all(axis=1)
    return float(law_of(among)[as_said].sum())


@dataclass(frozen=True)
class Asked(Partition):
    """A question between two captions, classes of a model, with the floor that their laws give it."""

    shared: float = 0.0

    @property
    def floor(self) -> float:
        return self.shared


def asked(prompts: Sequence[Said], first: int, second: int) -> Asked:
    """The question between two of the captions that a model was loaded with, balanced.

    >>> asked([{"kind": "boot"}, {"kind": "boot", "side": "on the left"}], 1, 0).label
    'boot on the left|boot'
    """
    on_cells = between(prompts[first], prompts[second])
    weights = (1.0 / len(prompts),) * len(prompts)
    return Asked(on_cells.label, {first: 1.0}, {second: 1.0}, 0.5, weights, on_cells.floor)


@cache
def _law(said: tuple[tuple[str, str], ...]) -> Array:
    values, names = _values(dict(said)), [name for name, _ in said]
    columns = [list(ATTRIBUTES).index(name) for name in names]
    consistent = (CELLS[:, columns] == np.array(values)[columns]).all(axis=1)
    chances = np.array(
        [caption_chance(cell, names) if fits else 0.0 for cell, fits in zip(CELLS.tolist(), consistent, strict=True)]
    )
    return np.asarray(chances / chances.sum())


def _values(said: Said) -> list[int]:
    """The values that a caption names, and the first ones for all others."""
    for name, phrase in said.items():
        if name not in ATTRIBUTES:
            raise InputError("said", name, f"an attribute among {', '.join(ATTRIBUTES)}")
        if not phrase or phrase not in ATTRIBUTES[name]:
            raise InputError("said", phrase, f"one of {', '.join(filter(None, ATTRIBUTES[name]))}")
    return [values.index(said.get(name, values[0])) for name, values in ATTRIBUTES.items()]
