"""A small network in the entropy-matching parameterisation, trained on samples of a joint Gaussian, and what it stores.

A state x = alpha x_0 + sigma eps of a variance-preserving process has the equilibrium N(0, I), and the network is to be
e = s + x, the score less the equilibrium's (SI 4, 8). On x_0 and eps its loss with the weight of the likelihood (SI 30,
40) is, for a unit of log-snr,

    (1/2) E | sigma e + alpha v |^2,    v = alpha eps - sigma x_0,

so what it learns is the velocity, e = -alpha v / sigma, at log-snr that are drawn evenly. A network that says v_N where
the exact answer is v* has in that loss the regret (alpha^2 / 2) E |v_N - v*|^2, in nats for a unit of log-snr.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from companion.arguments import Array
from companion.entropy import neural_entropy_rate
from derivations.kit.joint_gaussian import Joint

Predicts = Callable[[Tensor, Tensor, Tensor], Tensor]  # the velocity, from a state, its log-snr and the condition
Sampler = Callable[[int], tuple[Array, Array]]  # of that many pairs (x_0, y)


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
        seen = y[:, : self.conditions]
        velocity: Tensor = self.body(torch.cat([x, seen, log_snr[:, None] / 8.0, angle.sin(), angle.cos()], dim=1))
        return velocity


class Exact:
    """The exact velocity of a joint Gaussian, where a network would stand; `sees` says whether it is told y.

        v = (alpha x - D) / sigma,    D = M y + alpha C (alpha^2 C + sigma^2)^-1 (x - alpha M y)

    with S and no y for the marginal. All states at one log-snr; float64. Source: SI 37, 58.

    >>> from derivations.kit.joint_gaussian import observed
    >>> exact = Exact(observed([[1.0]], [[1.0]], 1.0), sees=False)
    >>> abs(exact(torch.ones(1, 1), torch.zeros(1), torch.zeros(1, 1)).item()) < 1e-12      # N(0, 1): nothing to learn
    True
    """

    def __init__(self, joint: Joint, sees: bool) -> None:
        self.values, self.vectors = np.linalg.eigh(joint.within if sees else joint.marginal)
        self.gain = joint.gain * np.sqrt(np.diag(joint.condition)) if sees else 0.0 * joint.gain

    def __call__(self, x: Tensor, log_snr: Tensor, y: Tensor) -> Tensor:
        alpha2, sigma2 = (float(torch.sigmoid(sign * log_snr[0].double())) for sign in (1.0, -1.0))
        mean = y.double().numpy() @ self.gain.T
        apart = (x.double().numpy() - np.sqrt(alpha2) * mean) @ self.vectors
        # (alpha z - alpha u z / (alpha^2 u + sigma^2)) / sigma, without its cancellation; and of the mean, -sigma M y.
        pull = np.sqrt(alpha2 * sigma2) * (1.0 - self.values) / (alpha2 * self.values + sigma2)
        return torch.from_numpy((pull * apart) @ self.vectors.T - np.sqrt(sigma2) * mean)


def standardised(joint: Joint, draw: np.random.Generator) -> Sampler:
    """Fresh pairs of the law, the condition scaled to unit variances.

    >>> from derivations.kit.joint_gaussian import observed
    >>> [part.shape for part in standardised(observed([[1.0]], [[1.0]], 1.0), np.random.default_rng(0))(4)]
    [(4, 1), (4, 1)]
    """

    def pairs(count: int) -> tuple[Array, Array]:
        x, y = joint.samples(count, draw)
        return x, y / np.sqrt(np.diag(joint.condition))

    return pairs


def drawn_from(x: Array, y: Array, draw: np.random.Generator) -> Sampler:
    """Pairs out of a data set, with replacement."""

    def pairs(count: int) -> tuple[Array, Array]:
        chosen = draw.integers(len(x), size=count)
        return x[chosen], y[chosen]

    return pairs


def noised(x0: Array, log_snr: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
    """States of a variance-preserving process and their velocities, (batch, d) both."""
    clean = torch.from_numpy(x0).float()
    noise = torch.from_numpy(draw.standard_normal(x0.shape)).float()
    alpha, sigma = torch.sigmoid(log_snr).sqrt()[:, None], torch.sigmoid(-log_snr).sqrt()[:, None]
    return alpha * clean + sigma * noise, alpha * noise - sigma * clean


def train(network: Velocity, sampler: Sampler, ends: tuple[float, float], steps: int, batch: int, rate: float) -> None:
    """`steps` of Adam on fresh noise at log-snr spread evenly between `ends`, the learning rate falling to zero."""
    draw = np.random.default_rng(steps)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x0, y = sampler(batch)
        places = (np.arange(batch) + draw.uniform(size=batch)) / batch  # one in each part of the range
        log_snr = torch.from_numpy(ends[0] + (ends[1] - ends[0]) * places).float()
        x, velocity = noised(x0, log_snr, draw)
        missed = (network(x, log_snr, torch.from_numpy(y).float()) - velocity).square().sum(dim=1)
        loss = 0.5 * (torch.sigmoid(log_snr) * missed).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()


READINGS = ("stored", "stored_given", "distance", "losses", "deviation", "regret", "regret_given")


@torch.no_grad()
def readings(
    joint: Joint, marginal: Predicts, conditional: Predicts, levels: Array, sampler: Sampler, count: int, seed: int
) -> dict[str, Array]:
    """What two networks say at each log-snr, on `count` pairs of the sampler, in nats for a unit of log-snr.

        stored, stored_given      (sigma^2 / 2) E |e|^2 without and with y (SI 11)
        distance                  (sigma^2 / 2) E |e_y - e|^2 (SI 13)
        losses, deviation         the loss without y less the loss with y, and the deviation of this mean
        regret, regret_given      what either loss exceeds the least by

    Arrays of the shape of `levels`.
    """
    draw = np.random.default_rng(seed)
    exact = Exact(joint, sees=False), Exact(joint, sees=True)

    def at(level: float) -> list[float]:
        x0, y = sampler(count)
        log_snr, told = torch.full((count,), level), torch.from_numpy(y).float()
        x, true = noised(x0, log_snr, draw)
        answers = [predicts(x, log_snr, told).double() for predicts in (marginal, conditional, *exact)]
        alpha2, sigma2 = 1.0 / (1.0 + np.exp(-level)), 1.0 / (1.0 + np.exp(level))

        def stored(velocity: Tensor) -> Tensor:
            """By the denoiser alpha x - sigma v, in the variance-exploding frame."""
            denoised = alpha2**0.5 * x.double() - sigma2**0.5 * velocity
            return neural_entropy_rate(denoised, x.double() / float(alpha2**0.5), level)

        def missed(velocity: Tensor, other: Tensor) -> Tensor:
            squares: Tensor = (velocity - other).square().sum(dim=1)
            return 0.5 * float(alpha2) * squares

        losses = missed(answers[0], true.double()) - missed(answers[1], true.double())
        means = [stored(answers[0]), stored(answers[1]), missed(answers[1], answers[0]), losses]
        regrets = [missed(answers[0], answers[2]), missed(answers[1], answers[3])]
        deviation = float(losses.std()) / count**0.5
        return [*(float(each.mean()) for each in means), deviation, *(float(each.mean()) for each in regrets)]

    return dict(zip(READINGS, np.array([at(level) for level in levels.tolist()]).T, strict=True))


@torch.no_grad()
def across(joint: Joint, predicts: Predicts, kept: int, levels: Array, count: int, seed: int) -> tuple[Array, Array]:
    """How a prediction without y amplifies the directions after the `kept` widest, and what it stores in each of them.

        E<v, x> / E<x, x>,    exactly alpha sigma (1 - u) / (alpha^2 u + sigma^2),    and (alpha^2 / 2) E|v|^2 / (d - k)

    over these directions. Both of the shape of `levels`.
    """
    draw = np.random.default_rng(seed)
    sampler, thin = standardised(joint, draw), len(joint.root) - kept
    flat = torch.from_numpy(np.linalg.eigh(joint.marginal)[1][:, :thin].copy())

    def at(level: float) -> tuple[float, float]:
        x0, y = sampler(count)
        log_snr = torch.full((count,), level)
        x, _ = noised(x0, log_snr, draw)
        answer, there = predicts(x, log_snr, torch.from_numpy(y).float()).double() @ flat, x.double() @ flat
        amplified = float((answer * there).sum() / there.square().sum())
        return amplified, float(answer.square().sum()) / (2.0 * count * thin * (1.0 + np.exp(-level)))

    amplified, rate = np.array([at(level) for level in levels.tolist()]).T
    return amplified, rate
