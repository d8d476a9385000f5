"""Real handwritten digits: the 1797 images of 8x8 pixels that come with scikit-learn, and the one way they are split.

The images are the test part of the UCI "Optical Recognition of Handwritten Digits" data (E. Alpaydin and C. Kaynak).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

__all__ = ["CLASSES", "LabelledImages", "held_out_digits", "training_digits"]

CLASSES = tuple("0123456789")


@dataclass(frozen=True)
class LabelledImages:
    """Images of one channel, float32 (n, 1, side, side) from -1 to 1, and their labels, int64 (n,) from 0 to K - 1."""

    images: torch.Tensor
    labels: torch.Tensor


def training_digits() -> LabelledImages:
    """The 1437 digits a model is trained on, their levels 0 to 16 as -1 to 1; the split, drawn once, is stratified.

    >>> training_digits().images.shape
    torch.Size([1437, 1, 8, 8])
    """
    return _split()[0]


def held_out_digits() -> LabelledImages:
    """The 360 digits that no training step sees, 35 to 37 of each class.

    >>> held_out_digits().labels.bincount().tolist()
    [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    """
    return _split()[1]


@cache
def _split() -> tuple[LabelledImages, LabelledImages]:
    source = load_digits()
    images = torch.from_numpy((source.data / 8.0 - 1.0).astype(np.float32)).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(source.target.astype(np.int64))
    training, held_out = train_test_split(np.arange(len(labels)), test_size=360, stratify=source.target, random_state=0)
    return LabelledImages(images[training], labels[training]), LabelledImages(images[held_out], labels[held_out])
