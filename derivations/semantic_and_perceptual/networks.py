"""Small networks side by side: equal perceptrons with a leading axis, each with its own weights and its own data.

Five seeds of one training cost half of five trainings, and a mean over them has an error.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Stack(nn.Module):
    """`copies` perceptrons side by side, (copies, batch, in) to (copies, batch, out), with independent weights.

    SiLU between the layers; a layer whose width stays as it is adds to what it was given.

    >>> Stack(3, (2, 8, 8, 1), torch.Generator().manual_seed(0))(torch.zeros(3, 5, 2)).shape
    torch.Size([3, 5, 1])
    """

    def __init__(self, copies: int, sizes: Sequence[int], draw: torch.Generator) -> None:
        super().__init__()
        shapes = [(copies, each, after) for each, after in pairwise(sizes)]
        spread = [(torch.rand(shape, generator=draw) * 2.0 - 1.0) / math.sqrt(shape[1]) for shape in shapes]
        self.weights = nn.ParameterList(spread)
        self.offsets = nn.ParameterList([torch.zeros(copies, 1, after) for _, _, after in shapes])

    def forward(self, x: Tensor) -> Tensor:
        layers = list(zip(self.weights, self.offsets, strict=True))
        for weight, offset in layers[:-1]:
            step = nn.functional.silu(torch.baddbmm(offset, x, weight))
            x = x + step if x.shape == step.shape else step
        weight, offset = layers[-1]
        return torch.baddbmm(offset, x, weight)


def descend(network: nn.Module, steps: int, rate: float, loss: Callable[[int], Tensor]) -> None:
    """Minimises `loss`, a function of the step, by AdamW at a rate that warms up and falls to zero along a cosine."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01, fused=True)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100.0) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        optimiser.zero_grad()
        loss(step).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
