"""Garments: the 70000 images of 28x28 pixels called Fashion-MNIST, and the 2000 of them that ship, held out.

The images are Zalando's (H. Xiao, K. Rasul and R. Vollgraf 2017), under the MIT license. They do not ship: Debian's
package dataset-fashion-mnist has them, and so does any folder with the four files in gzipped IDX.
"""

import gzip
import math
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from companion.errors import InputError
from companion.models.digits import LabelledImages

__all__ = [
    "CLASSES",
    "FOLDER",
    "HELD_OUT",
    "held_out_garments",
    "levels_of",
    "scaled",
    "test_garments",
    "training_garments",
]

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
FOLDER = Path("/usr/share/datasets/fashion-mnist")
HELD_OUT = Path(__file__).parent / "held_out_garments.npz"


def training_garments(folder: Path = FOLDER) -> LabelledImages:
    """The 60000 garments that a model is trained on, read from `folder`: float32 (n, 1, 28, 28), level / 127.5 - 1.

    Raises InputError where `folder` does not hold train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz, whole.
    """
    return scaled(*_read(folder, "train"))


def test_garments(folder: Path = FOLDER) -> LabelledImages:
    """The 10000 garments that no training step sees, in the files whose names begin with t10k; as `training_garments`.

    The first 200 of each class among them are the `held_out_garments`.
    """
    return scaled(*_read(folder, "t10k"))


def held_out_garments() -> LabelledImages:
    """The first 200 test images of each class, in their order; they ship with the package.

    `python benchmarks/garments_held_out.py` wrote them.

    >>> held_out_garments().labels.bincount().tolist()
    [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]
    """
    images, labels = _shipped()
    return scaled(images, labels)


def scaled(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> LabelledImages:
    """Grey levels from 0 to 255, (n, 28, 28), as what a network sees, from -1 to 1."""
    seen = torch.from_numpy(images[:, None] / np.float32(127.5) - np.float32(1.0))
    return LabelledImages(seen, torch.from_numpy(labels.astype(np.int64)))


def levels_of(images: torch.Tensor) -> NDArray[np.uint8]:
    """The grey levels, (n, 28, 28), nearest to images (n, 1, 28, 28); the inverse of `scaled` on data.

    >>> held_out = held_out_garments()
    >>> torch.equal(scaled(levels_of(held_out.images), held_out.labels.numpy()).images, held_out.images)
    True
    """
    rounded: NDArray[np.uint8] = ((images[:, 0] + 1.0) * 127.5).round().clamp(0.0, 255.0).to(torch.uint8).numpy()
    return rounded


@cache
def _shipped() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    with np.load(HELD_OUT, allow_pickle=False) as stored:
        return stored["images"], stored["labels"]


def _read(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = _idx(folder, f"{part}-images-idx3-ubyte.gz", 3)
    labels = _idx(folder, f"{part}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise InputError("folder", folder, f"as many {part} labels as images, not {len(labels)} and {len(images)}")
    if images.shape[1:] != (28, 28):
        raise InputError("folder", folder, "images of 28x28 pixels, not {}x{}".format(*images.shape[1:]))
    if labels.max(initial=0) >= len(CLASSES):
        raise InputError("folder", folder, f"labels from 0 to {len(CLASSES) - 1}, not {labels.max()}")
    return images, labels


def _idx(folder: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """What a gzipped IDX file holds: two zeros, 8 for bytes, the number of dimensions, each in four bytes, and all."""
    path = Path(folder) / name
    try:
        with gzip.open(path) as file:
            content = file.read()
    except FileNotFoundError:
        expected = f"a folder with {name}, such as Debian's package dataset-fashion-mnist puts into {FOLDER}"
        raise InputError("folder", folder, expected) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError("folder", folder, f"{name} in it to be a whole gzip file ({error})") from None
    head = 4 + 4 * dimensions
    magic = bytes((0, 0, 8, dimensions))
    if content[:4] != magic:
        raise InputError("folder", folder, f"{name} in it to begin with {magic.hex()}, not {content[:4].hex()}")
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, head, 4))
    if len(content) != head + math.prod(shape):
        said = f"{name} in it to be {head + math.prod(shape)} bytes long, as its head says, not {len(content)}"
        raise InputError("folder", folder, said)
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
