"""Scenes that words describe: a real garment before a wall, 32x32 in colour, with seven attributes that are known.

A garment of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), 20x20 here, is dyed and stands on the left or on the right
before a plain wall, which may have a window in its middle and a small star in its upper right corner; the whole picture
may be black and white. Attributes are independent and their values equally probable, so every floor of a question
about them is known.

A caption names some of them, and a thing only where it is: "red boot on the left, blue wall, with a star". What it
leaves out is drawn at random (`CAPTIONS`), so what it says of the rest follows from Bayes' rule (`caption_chance`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate, pad

from companion.models.digits import LabelledImages

__all__ = [
    "ATTRIBUTES",
    "CAPTIONS",
    "LABELS",
    "SIZE",
    "Scenes",
    "caption",
    "caption_chance",
    "composed",
    "drawn",
    "named",
]

SIZE = 32

# The phrases of each attribute's values; a thing that is not there has none.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "colour": ("red", "orange", "purple", "turquoise"),
    "kind": ("boot", "sneaker", "bag", "top", "trousers"),
    "side": ("on the left", "on the right"),
    "wall": ("blue wall", "green wall", "pink wall", "yellow wall"),
    "window": ("", "with a window"),
    "star": ("", "with a star"),
    "tone": ("", "in black and white"),
}
_NAMES = tuple(ATTRIBUTES)

# How captions are made: a share of them leaves each attribute out with one probability. The last are empty.
CAPTIONS = ((0.5, 0.1), (0.4, 0.6), (0.1, 1.0))

LABELS = (9, 7, 8, 0, 1)  # what Fashion-MNIST calls the kinds
_DYES = ((200, 30, 40), (245, 140, 30), (110, 40, 150), (40, 200, 200))
_WALLS = ((45, 70, 155), (60, 135, 75), (200, 115, 150), (205, 175, 70))
_LUMA = (0.299, 0.587, 0.114)
_FRAME, _PANE = (70, 45, 30), (215, 235, 250)
_WINDOW = (1, 10, 10, 12)  # top, left, height, width
_STAR = ("..#..", ".###.", "#####", ".###.", "..#..")
_STAR_AT = (2, 26)
_PALE = 0.6  # of white
_GARMENT = 20


@dataclass(frozen=True)
class Scenes:
    """`images`, float32 (n, 3, 32, 32) from -1 to 1; `attributes`, int64 (n, 7), the places of values in ATTRIBUTES."""

    images: torch.Tensor
    attributes: torch.Tensor


def drawn(garments: LabelledImages, count: int, seed: int) -> Scenes:
    """`count` scenes of independent attributes, each with a garment of its kind drawn with replacement.

    `garments` are images (m, 1, 28, 28) from -1 to 1 with labels as Fashion-MNIST numbers its classes.

    >>> garments = LabelledImages(torch.ones(10, 1, 28, 28), torch.arange(10))
    >>> drawn(garments, 3, seed=0).images.shape
    torch.Size([3, 3, 32, 32])
    """
    source = torch.Generator().manual_seed(seed)
    sizes = [len(values) for values in ATTRIBUTES.values()]
    attributes = torch.stack([torch.randint(size, (count,), generator=source) for size in sizes], dim=1)
    order = torch.rand(count, generator=source)
    chosen = torch.empty(count, dtype=torch.int64)
    for kind, label in enumerate(LABELS):
        of_kind, wanted = (garments.labels == label).nonzero()[:, 0], attributes[:, _NAMES.index("kind")] == kind
        chosen[wanted] = of_kind[(order[wanted] * len(of_kind)).long()]
    return Scenes(composed(garments.images[chosen], attributes), attributes)


def composed(garments: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
    """The pictures, (n, 3, 32, 32), of garments (n, 1, 28, 28) in scenes of these attributes, int64 (n, 7); the kind is
    the garment's own."""
    value = {name: attributes[:, column] for column, name in enumerate(_NAMES)}

    def there(name: str) -> torch.Tensor:
        return (value[name] == 1).float().reshape(-1, 1, 1, 1)

    scenes = _colours(_WALLS)[value["wall"]].expand(-1, 3, SIZE, SIZE)
    for name, (shown, picture) in {"window": _window(), "star": _star()}.items():
        scenes = scenes + shown * there(name) * (picture - scenes)
    bright = interpolate((garments + 1.0) / 2.0, size=_GARMENT, mode="bilinear", antialias=True).clamp(0.0, 1.0)
    bright = torch.where(
        (value["side"] == 1).reshape(-1, 1, 1, 1),
        pad(bright, (SIZE - _GARMENT, 0, SIZE - _GARMENT, 0)),
        pad(bright, (0, SIZE - _GARMENT, SIZE - _GARMENT, 0)),
    )
    dyed = _colours(_DYES)[value["colour"]] * (0.35 + 0.65 * bright)
    scenes = scenes + (4.0 * bright).clamp(max=1.0) * (dyed - scenes)
    grey = (scenes * torch.tensor(_LUMA).reshape(3, 1, 1)).sum(1, keepdim=True)
    return 2.0 * (scenes + there("tone") * (grey - scenes)) - 1.0


def named(values: Sequence[int], names: Collection[str] = _NAMES) -> tuple[str, ...]:
    """Those of the attributes `names` that a caption of a scene with these values names: a thing only where it is."""
    return tuple(name for name, value in zip(_NAMES, values, strict=True) if name in names and ATTRIBUTES[name][value])


def caption(values: Sequence[int], names: Collection[str] = _NAMES) -> str:
    """What a caption says that names the attributes `names` of a scene with these values, one for each attribute.

    >>> caption((0, 0, 0, 0, 0, 1, 0))
    'red boot on the left, blue wall, with a star'
    >>> caption((0, 0, 0, 0, 0, 1, 0), ("side", "tone"))
    'garment on the left'
    """
    said = {name: ATTRIBUTES[name][value] for name, value in zip(_NAMES, values, strict=True) if name in names}
    said = {name: phrase for name, phrase in said.items() if phrase}
    if not said.keys().isdisjoint({"colour", "kind", "side"}):
        said["kind"] = " ".join(said.pop(name, "garment" if name == "kind" else "") for name in _NAMES[:3]).strip()
    return ", ".join(said[name] for name in _NAMES if name in said)


def caption_chance(values: Sequence[int], names: Collection[str]) -> float:
    """The probability that a scene with these values gets the caption that names `names`, and nothing else.

    sum_r share_r prod_i (1 - r_i if named, r_i if not), over the attributes i that the scene has to name; 0 for a name
    of a thing that is not there.

    >>> round(caption_chance((0, 0, 0, 0, 0, 0, 0), ()), 4)
    0.1519
    """
    nameable = named(values)
    if not set(names) <= set(nameable):
        return 0.0
    silent, spoken = len(nameable) - len(set(names)), len(set(names))
    return sum(share * left_out**silent * (1.0 - left_out) ** spoken for share, left_out in CAPTIONS)


def _colours(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 3, 1, 1) / 255.0


def _window() -> tuple[torch.Tensor, torch.Tensor]:
    """Where it covers the wall, (1, 32, 32), and how it looks, (3, 32, 32): a dark frame, a cross and four panes."""
    top, left, height, width = _WINDOW
    shown, pane = torch.zeros(1, SIZE, SIZE), torch.ones(1, height, width)
    shown[:, top : top + height, left : left + width] = 1.0
    pane[:, [0, -1]] = pane[:, :, [0, -1]] = pane[:, height // 2 - 1 : height // 2] = 0.0
    pane[:, :, width // 2 - 1 : width // 2 + 1] = 0.0
    picture = torch.zeros(1, SIZE, SIZE)
    picture[:, top : top + height, left : left + width] = pane
    return shown, _colours([_FRAME])[0].lerp(_colours([_PANE])[0], picture)


def _star() -> tuple[torch.Tensor, torch.Tensor]:
    top, left = _STAR_AT
    shown = torch.zeros(1, SIZE, SIZE)
    pattern = torch.tensor([[float(mark == "#") for mark in row] for row in _STAR])
    shown[:, top : top + len(_STAR), left : left + len(_STAR[0])] = _PALE * pattern
    return shown, torch.ones(3, SIZE, SIZE)
