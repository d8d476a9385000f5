"""Ten garments: when a network that draws clothes decides which, beside the network that draws digits."""

from pathlib import Path

from companion.models.load import load
from companion.models.trained import TrainedDenoiser

__all__ = ["WEIGHTS", "model"]

WEIGHTS = Path(__file__).parent / "weights"


def model() -> TrainedDenoiser:
    """The network that ships with this chapter, in eval mode on the CPU; classes as in `derivations.kit.garments`.

    >>> model().classes[:2], model().has_null
    (('t-shirt', 'trouser'), True)
    """
    return load(WEIGHTS, name="garments")
