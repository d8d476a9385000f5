"""A small network in the entropy-matching parameterisation, trained on samples of a joint Gaussian, and what it stores.

A state x = alpha x_0 + sigma eps of a variance-preserving process has the equilibrium N(0, I), and the network is to be
e = s + x, the score less the equilibrium's (SI 4, 8). On x_0 and eps its loss with the weight of the likelihood (SI 30,
40) is, for a unit of log-snr,

    (1/2) E | sigma e + alpha v |^2,    v = alpha eps - sigma x_0,

so what it learns is the velocity, e = -alpha v / sigma, at log-snr that are drawn evenly. What it misses of the exact
v*, a = (alpha^2 / 2) E |v_network - v*|^2, is its regret in nats for a unit of log-snr.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from companion.arguments import Array
from companion.entropy import neural_entropy_rate
from derivations.kit.joint_gaussian import Joint

Sampler = Callable[[int], tuple[Array, Array]]  # of pairs (x_0, y)


class Velocity(nn.Module):
    """A multilayer perceptron of the state, the log-snr and, where there is one, the condition: the velocity v.

    >>> Velocity(3, 2, 8)(torch.zeros(5, 3), torch.zeros(5), torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """

    def __init__(self, dimension: int, conditions: int, hidden: int) -> None:
        super().__init__()
        sizes = [dimension + conditions + 7, hidden, hidden, hidden]
        layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.SiLU())]
        self.body = nn.Sequential(*layers, nn.Linear(hidden, dimension))
        self.conditions = conditions

    def forward(self, x: Tensor, log_snr: Tensor, y: Tensor) -> Tensor:
        angle = log_snr[:, None] * torch.tensor([0.2, 0.4, 0.8])
        seen = y if self.conditions else y[:, :0]
        velocity: Tensor = self.body(torch.cat([x, seen, log_snr[:, None] / 8.0, angle.sin(), angle.cos()], dim=1))
        return velocity


def noised(x0: Array, log_snr: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
    """States of a variance-preserving process and their velocities, (batch, d) both."""
    clean = torch.from_numpy(x0).float()
    noise = torch.from_numpy(draw.standard_normal(x0.shape)).float()
    alpha, sigma = torch.sigmoid(log_snr).sqrt()[:, None], torch.sigmoid(-log_snr).sqrt()[:, None]
    return alpha * clean + sigma * noise, alpha * noise - sigma * clean


def trained(
    sampler: Sampler, network: Velocity, ends: tuple[float, float], steps: int, batch: int, rate: float, seed: int
) -> Velocity:
    """The network after `steps` of Adam on fresh noise, its learning rate falling along a cosine."""
    draw = np.random.default_rng(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    strata = np.arange(batch) / batch
    for _ in range(steps):
        x0, y = sampler(batch)
        level = ends[0] + (ends[1] - ends[0]) * (strata + draw.uniform(0.0, 1.0 / batch, batch))
        log_snr = torch.from_numpy(level).float()
        x, velocity = noised(x0, log_snr, draw)
        missed = (network(x, log_snr, torch.from_numpy(y).float()) - velocity).square().sum(dim=1)
        loss = 0.5 * (torch.sigmoid(log_snr) * missed).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
    return network
