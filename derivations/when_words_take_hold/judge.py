"""What a picture shows, told by a classifier that has nothing to do with the model that drew it.

One small convolutional network reads all seven attributes. It learns from real scenes and from what the autoencoder
makes of them, so that a decoder's blur is no reason to be misread; its own accuracy on scenes of garments that it has
not seen stands beside every share that it reports.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from companion.models.digits import LabelledImages
from derivations.when_words_take_hold.scenes import ATTRIBUTES, drawn

__all__ = ["Judge", "trained_judge"]

_SIZES = [len(values) for values in ATTRIBUTES.values()]


@dataclass(frozen=True)
class Judge:
    """`network` gives scores (n, 21) of the attributes' values, one after the other."""

    network: torch.nn.Module

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """The attributes, int64 (n, 7), of images (n, 3, 32, 32) from -1 to 1."""
        with torch.no_grad():
            return torch.stack([scores.argmax(1) for scores in self.network(images).split(_SIZES, dim=1)], dim=1)


def trained_judge(
    garments: LabelledImages,
    decoded: Callable[[torch.Tensor], torch.Tensor],
    seed: int = 0,
    scenes: int = 12000,
    steps: int = 2000,
) -> Judge:
    """A judge trained on scenes of `garments`, every second one as `decoded` gives it back: (n, 3, 32, 32) to the same.

    About a minute on one thread. Where a picture is black and white its colour is not asked for.
    """
    data = drawn(garments, scenes, seed)
    images = data.images.clone()
    images[::2] = torch.cat([decoded(part) for part in torch.split(images[::2], 250)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            *(torch.nn.Conv2d(3, 16, 3, stride=2, padding=1), torch.nn.ReLU()),
            *(torch.nn.Conv2d(16, 32, 3, stride=2, padding=1), torch.nn.ReLU()),
            *(torch.nn.Conv2d(32, 48, 3, stride=2, padding=1), torch.nn.ReLU()),
            *(torch.nn.Flatten(), torch.nn.Dropout(0.3), torch.nn.Linear(768, 96), torch.nn.ReLU()),
            torch.nn.Linear(96, sum(_SIZES)),
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            chosen = torch.randint(scenes, (64,))
            values = data.attributes[chosen]
            values[values[:, -1] == 1, 0] = -1
            loss = torch.stack(
                [
                    cross_entropy(scores, column, ignore_index=-1)
                    for scores, column in zip(network(images[chosen]).split(_SIZES, dim=1), values.T, strict=True)
                ]
            ).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return Judge(network.eval())
