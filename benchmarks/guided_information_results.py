"""Trains small networks on guided samples and asks them for their information, for the chapter on guided information.

    python benchmarks/guided_information_results.py networks

writes derivations/guided_information/results/networks.json: five minutes of one thread. As in the paper (SI 13, Figure
10), a network that is given y and one that is not learn the noise in x, both on samples of the guided law; their
distance is integrated. Kinder to the networks than the paper: every batch is drawn anew from the exact guided law, and
the networks predict the noise.
"""

import sys
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.harness import rounded, run_parts
from derivations.guided_information.joint_gaussian import guided
from derivations.kit.joint_gaussian import Joint, random_joint
from derivations.kit.measured import FOLDER

DIMENSION, NOISE, EXAMPLE = 25, 1.0, 0
CONDITIONS, WEIGHTS, SEEDS = (5, 10, 15), (1.0, 2.0, 4.0, 7.0), (0, 1)
FIRST, LAST = -8.0, -2.0 * float(np.log(0.01))  # of the log-snr: the noise floor is a hundredth
HIDDEN, BATCH, STEPS, RATE = 128, 256, 2000, 3e-3
LONGER, LONGER_WEIGHTS = 8000, (1.0, 7.0)  # of the first condition
PAIRS, LOG_SNR = 400, np.linspace(FIRST, LAST, 201)  # of the estimate


class Noise(nn.Module):
    """Predicts the noise in a variance-preserving state, from the log-snr and, where there is one, the condition."""

    def __init__(self, conditions: int) -> None:
        super().__init__()
        sizes = [DIMENSION + conditions + 7, HIDDEN, HIDDEN, DIMENSION]
        layers = [nn.Linear(*each) for each in pairwise(sizes)]
        self.body = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])

    def forward(self, x: Tensor, log_snr: Tensor, y: Tensor) -> Tensor:
        angle = log_snr[:, None] * torch.tensor([0.2, 0.4, 0.8])
        return self.body(torch.cat([x, y, log_snr[:, None] / 8.0, angle.sin(), angle.cos()], dim=1))


def noised(law: Joint, count: int, log_snr: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """States, the noise in them, and conditions of unit variance."""
    x, y = (torch.from_numpy(part).float() for part in law.samples(count, draw))
    noise = torch.from_numpy(draw.standard_normal(x.shape)).float()
    signal, error = torch.sigmoid(log_snr).sqrt()[:, None], torch.sigmoid(-log_snr).sqrt()[:, None]
    return signal * x + error * noise, noise, y / torch.from_numpy(np.sqrt(np.diag(law.condition))).float()


def trained(law: Joint, sees: bool, steps: int, seed: int) -> Noise:
    torch.manual_seed(seed)
    draw = np.random.default_rng([seed, int(sees)])
    network = Noise(len(law.condition) if sees else 0)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        log_snr = torch.from_numpy(draw.uniform(FIRST, LAST, BATCH)).float()
        x, noise, y = noised(law, BATCH, log_snr, draw)
        loss = (network(x, log_snr, y if sees else y[:, :0]) - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


@torch.no_grad()
def rates(law: Joint, with_y: Noise, without: Noise, seed: int) -> np.ndarray:
    """(1/2) E |noise given y - noise|^2 at each of `LOG_SNR`, on fresh pairs of the law (SI 13)."""
    draw, found = np.random.default_rng([seed, 2]), []
    for level in LOG_SNR:
        log_snr = torch.full((PAIRS,), float(level))
        x, _, y = noised(law, PAIRS, log_snr, draw)
        apart = with_y(x, log_snr, y) - without(x, log_snr, y[:, :0])
        found.append(0.5 * float(apart.square().sum(dim=1).mean()))
    return np.array(found)


def networks() -> tuple[dict[str, object], int]:
    """Information of networks for all conditions, weights and seeds, and of longer training for one condition."""
    evaluations = 0

    def measured(conditions: int, weight: float, steps: int, seed: int) -> np.ndarray:
        nonlocal evaluations
        law = guided(random_joint(DIMENSION, conditions, NOISE, EXAMPLE), weight)
        with_y, without = (trained(law, sees, steps, seed) for sees in (True, False))
        evaluations += 2 * (steps * BATCH + PAIRS * len(LOG_SNR))
        return rates(law, with_y, without, seed)

    rows = [
        [[measured(conditions, weight, STEPS, seed) for seed in SEEDS] for weight in WEIGHTS]
        for conditions in tqdm(CONDITIONS, desc="conditions")
    ]
    longer = [measured(CONDITIONS[0], weight, LONGER, SEEDS[0]) for weight in LONGER_WEIGHTS]
    found = np.array(rows)  # (conditions, weights, seeds, levels)
    return {
        "dimension": DIMENSION,
        "noise": NOISE,
        "example": EXAMPLE,
        "conditions": CONDITIONS,
        "weights": WEIGHTS,
        "seeds": len(SEEDS),
        "steps": STEPS,
        "log_snr": LOG_SNR,
        "information": np.trapezoid(found, LOG_SNR),
        "rate": found[0].mean(axis=1),
        "longer_steps": LONGER,
        "longer_weights": LONGER_WEIGHTS,
        "longer_information": np.trapezoid(longer, LOG_SNR),
    }, evaluations


def main() -> int:
    folder = FOLDER / "guided_information/results"
    packages = ("torch", "numpy", "scipy")
    return run_parts("guided_information_results", __doc__ or "", {"networks": networks}, folder, packages, rounded)


if __name__ == "__main__":
    sys.exit(main())
