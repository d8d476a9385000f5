"""The mutual information of two continuous vectors from samples of the pair, by two denoisers trained for seconds.

Noise x, the one of fewer dimensions, to z = alpha x + sigma eps, alpha^2 = logistic(lambda), lambda the log-snr. With
the best predictions e_y of eps from (z, y) and e from z alone, the theorem of I-MMSE reads

    I(X; Y) = int (1/2) ( E|eps - e|^2 - E|eps - e_y|^2 ) dlambda.

I does not change under invertible maps of x and of y. So every margin is first made Gaussian by its ranks, and both
vectors are turned to their canonical coordinates: each has unit covariance, and x_i is correlated with y_i alone, by
rho_i. There the best linear predictions are known, their integral is -(1/2) sum_i log(1 - rho_i^2) for every law, and a
network learns only what they miss. Where the pair is Gaussian nothing is left to learn.

A network that predicts linear + g gains, over the linear prediction with its residual r,

    G = int ( E<r, g> - (1/2) E|g|^2 ) dlambda,        I = -(1/2) sum_i log(1 - rho_i^2) + G_y - G,

with equality for the best g. G is taken on pairs that the networks did not see, so each is wrong in the second order of
its network's error, and from below: G_y for a poor network makes the estimate too small, G too large.
"""

import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import digamma, ndtri
from scipy.stats import rankdata
from torch import Tensor, nn

from companion.arguments import Array
from companion.errors import InputError

__all__ = ["Canonical", "PairInformation", "canonical", "gaussian_margins", "mutual_information"]

FIRST, LAST = -6.0, 12.0  # of the log-snr, where networks are asked
CENTRE, SPREAD = 1.5, 2.0  # of the logistic law of the log-snr in training, and of half of that in the estimate
HIDDEN, LAYERS, HIDDEN_ALONE, LAYERS_ALONE = 128, 3, 64, 2  # with y, and without
BATCH, RATE, HELD_OUT, NOISES = 256, 6e-3, 0.4, 16


@dataclass(frozen=True)
class PairInformation:
    """`information` in nats with its `standard_error`, and its three parts, information = linear + with_y - without."""

    information: float
    standard_error: float
    linear: float
    with_y: float
    without: float
    steps: int
    evaluations: int
    fit_seconds: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Canonical:
    """Pairs in canonical coordinates: x (n, d), y (n, e), d <= e, of unit covariances, with E x_i y_j = rho_i [i = j].

    `excess` is the mean of -(1/2) sum log(1 - rho_i^2) over n pairs, less its truth, where the pair is Gaussian.
    """

    x: Array
    y: Array
    rho: Array
    excess: float

    @property
    def linear(self) -> float:
        """The information of a Gaussian pair of this covariance, -(1/2) sum_i log(1 - rho_i^2), in nats."""
        return float(-0.5 * np.log1p(-(self.rho**2)).sum())


def gaussian_margins(samples: ArrayLike) -> Array:
    """Normal quantiles of the ranks of each column of `samples` (n, d): the same for every increasing map of a column.

    >>> x = np.random.default_rng(0).standard_normal((100, 2))
    >>> bool((gaussian_margins(x) == gaussian_margins(np.exp(x))).all())
    True
    """
    given = np.asarray(samples, dtype=np.float64)
    return np.asarray(ndtri((rankdata(given, axis=0) - 0.5) / len(given)))


def canonical(x: ArrayLike, y: ArrayLike) -> Canonical:
    """The pairs x (n, d), y (n, e) in canonical coordinates; the two are exchanged where d > e.

    The plug-in estimate of the information of a Gaussian pair is too large by (1/2)(b_d + b_e - b_{d+e}), where b_k is
    E log|S| - log|Sigma| of the covariance of n samples, sum_{i<k} digamma((n - 1 - i)/2) - k log((n - 1)/2).

    >>> pair = canonical([[0.0], [1.0], [2.0], [4.0]], [[1.0], [0.0], [2.0], [3.0]])
    >>> bool(np.allclose(pair.x.T @ pair.y / 4, pair.rho)), bool(np.allclose(pair.y.T @ pair.y / 4, 1.0))
    (True, True)
    """
    first, second = _white(np.asarray(x, dtype=np.float64)), _white(np.asarray(y, dtype=np.float64))
    if first.shape[1] > second.shape[1]:
        first, second = second, first
    count, d, e = len(first), first.shape[1], second.shape[1]
    left, rho, right = np.linalg.svd(first.T @ second / count)
    excess = 0.5 * (_log_det_bias(d, count) + _log_det_bias(e, count) - _log_det_bias(d + e, count))
    return Canonical(first @ left, second @ right.T, rho, excess)


def _white(samples: Array) -> Array:
    centred = samples - samples.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    return np.asarray(centred @ vectors / np.sqrt(values))


def _log_det_bias(dimension: int, count: int) -> float:
    return float(np.sum(digamma((count - 1 - np.arange(dimension)) / 2) - np.log((count - 1) / 2)))


class Pair(nn.Module):
    """Both predictions of the noise less their linear parts, from states z of noised x, and from (z, y).

    They start at zero, at the best linear predictions; the one with y is added to the one without, so that where y says
    nothing both err alike. Where x has one dimension no network is trained without y: ranks have made it Gaussian.
    """

    def __init__(self, rho: Tensor, others: int) -> None:
        super().__init__()
        size = len(rho)
        self.rho = rho
        self.with_y = _network(2 * size + others + 3 + 7, 2 * size, HIDDEN, LAYERS)
        self.alone = _network(size + 1 + 7, 2 * size, HIDDEN_ALONE, LAYERS_ALONE) if size > 1 else None

    def forward(self, x: Tensor, y: Tensor, log_snr: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Linear residual and network's correction, with y and then without; x, noise (b, d), log_snr (b, 1)."""
        signal, error = torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()
        z = signal * x + error * noise
        spread = 1.0 - signal**2 * self.rho**2  # the variance of z given y
        white = (z - signal * self.rho * y[:, : len(self.rho)]) / spread.sqrt()
        angle = log_snr * torch.tensor([0.2, 0.4, 0.8])
        level = torch.cat([log_snr / 6.0, angle.sin(), angle.cos()], dim=1)
        untold = torch.zeros_like(z)
        if self.alone is not None:
            shift, slope = self.alone(torch.cat([z, _size(z), level], dim=1)).chunk(2, dim=1)
            untold = signal * (shift + slope * z)
        features = [z, white, y, _size(z), _size(white), _size(y), level]
        shift, slope = self.with_y(torch.cat(features, dim=1)).chunk(2, dim=1)
        told = untold.detach() + signal * (shift + slope * white)
        return noise - error * white / spread.sqrt(), told, noise - error * z, untold


def _network(inputs: int, outputs: int, hidden: int, layers: int) -> nn.Sequential:
    body = [layer for sizes in pairwise([inputs] + layers * [hidden]) for layer in (nn.Linear(*sizes), nn.SiLU())]
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*body, last)


def _size(vectors: Tensor) -> Tensor:
    return torch.log1p(vectors.square().mean(dim=1, keepdim=True))


def mutual_information(
    x: ArrayLike, y: ArrayLike, seed: int = 0, seconds: float = 20.0, steps: int | None = None
) -> PairInformation:
    """I(X; Y) in nats from pairs x (n, d), y (n, e), by denoisers trained for `seconds` of processor time.

    With `steps` the training ends after so many steps instead, and a seed repeats the estimate to the bit on one
    machine. Six tenths of the pairs train the networks, the others tell their gains; the linear part is of all. The
    estimate can be slightly negative where there is no information. Raises InputError for fewer than 100 pairs, other
    than two arrays of as many rows, a value that is not finite, and a column that is constant.

    >>> draw = np.random.default_rng(0)
    >>> x = draw.standard_normal((2000, 1))
    >>> found = mutual_information(x, 0.8 * x + 0.6 * draw.standard_normal((2000, 1)), steps=20)
    >>> bool(abs(found.information + np.log(0.6)) < 4 * found.standard_error)
    True
    """
    started = time.process_time()
    pair = canonical(*(gaussian_margins(each) for each in _checked(x, y)))
    draw = torch.Generator().manual_seed(seed)
    pick = torch.randperm(len(pair.x), generator=draw)
    held = round(HELD_OUT * len(pick))
    first, second = (torch.from_numpy(each).float()[pick] for each in (pair.x, pair.y))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Pair(torch.from_numpy(pair.rho).float(), pair.y.shape[1])
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-4, betas=(0.9, 0.99), fused=True)
    begun = time.process_time()
    done = _train(network, optimiser, first[held:], second[held:], draw, begun, seconds, steps)
    fitted = time.process_time() - begun
    with_y, without = _gains(network, first[:held], second[:held], draw)
    linear = pair.linear - pair.excess
    # Where the density is Gaussian: log p(x | y) - log p(x), whose mean is the linear part.
    residual = pair.x - pair.rho * pair.y[:, : len(pair.rho)]
    ratio = 0.5 * (pair.x**2 - residual**2 / (1.0 - pair.rho**2)).sum(axis=1)[pick.numpy()]
    gain = with_y - without
    both = np.cov(ratio[:held], gain)
    variance = ratio.var() / len(ratio) + both[1, 1] / held + 2.0 * both[0, 1] / len(ratio)
    networks = 1 if network.alone is None else 2
    return PairInformation(
        information=float(linear + gain.mean()),
        standard_error=float(np.sqrt(variance)),
        linear=linear,
        with_y=float(with_y.mean()),
        without=float(without.mean()),
        steps=done,
        evaluations=networks * (done * BATCH + held * NOISES),
        fit_seconds=fitted,
        seconds=time.process_time() - started,
    )


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    found = []
    for name, given in (("x", x), ("y", y)):
        array = np.asarray(given, dtype=np.float64)
        if array.ndim != 2 or len(array) < 100:
            raise InputError(name, f"of shape {array.shape}", "an array (pairs, dimensions) of at least 100 pairs")
        if not np.isfinite(array).all():
            raise InputError(name, "not finite everywhere", "finite numbers")
        if (array == array[0]).all(axis=0).any():
            raise InputError(name, "constant in a column", "columns that vary")
        found.append(array)
    if len(found[0]) != len(found[1]):
        raise InputError("y", f"of {len(found[1])} rows", f"{len(found[0])} rows, as x has")
    return found[0], found[1]


def _train(
    network: Pair,
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    draw: torch.Generator,
    begun: float,
    seconds: float,
    steps: int | None,
) -> int:
    """Steps of the loss |residual - correction|^2, of both predictions, over a logistic law of the log-snr."""
    batch, done, place = min(BATCH, len(x)), 0, len(x)
    order = torch.arange(len(x))
    while done != steps:
        share = done / steps if steps else (time.process_time() - begun) / seconds
        if share >= 1.0:
            break
        for group in optimiser.param_groups:  # a short rise, then half a cosine
            group["lr"] = RATE * min(1.0, (done + 1) / 50) * np.cos(0.5 * np.pi * share) ** 2
        if place + batch > len(x):
            order, place = torch.randperm(len(x), generator=draw), 0
        rows = order[place : place + batch]
        log_snr = _logistic(_stratified(batch, draw))
        residual, told, residual_alone, untold = network(
            x[rows], y[rows], log_snr, torch.randn((batch, x.shape[1]), generator=draw)
        )
        loss = (residual - told).square().sum(dim=1).mean()
        if network.alone is not None:
            loss = loss + (residual_alone - untold).square().sum(dim=1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        done, place = done + 1, place + batch
    return done


@torch.no_grad()
def _gains(network: Pair, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Array, Array]:
    """The gain of each held-out pair, (n,), with y and without, each correction scaled by its best weight in [0, 1].

    Noises come in pairs of opposite sign, half of them at a uniform log-snr and half at a logistic one; each has the
    weight of the mean of both densities.
    """
    inner, square = torch.zeros(2, len(x)), torch.zeros(2, len(x))
    for turn in range(NOISES):
        if turn % 2 == 0:
            noise, places = torch.randn(x.shape, generator=draw), _stratified(len(x), draw)
            log_snr = FIRST + (LAST - FIRST) * places if turn % 4 == 0 else _logistic(places)
            weight = 1.0 / (0.5 / (LAST - FIRST) + 0.5 * _logistic_density(log_snr))
        else:
            noise = -noise
        residual, told, residual_alone, untold = network(x, y, log_snr, noise)
        for row, (left, correction) in enumerate(((residual, told), (residual_alone, untold))):
            inner[row] += (weight * left * correction).sum(dim=1) / NOISES
            square[row] += (weight * correction.square()).sum(dim=1) / NOISES
    best = (inner.mean(dim=1) / square.mean(dim=1).clamp_min(1e-12)).clamp(0.0, 1.0)[:, None]
    with_y, without = (best * inner - 0.5 * best**2 * square).double().numpy()
    return with_y, without


def _stratified(count: int, draw: torch.Generator) -> Tensor:
    """Numbers (count, 1) in (0, 1), one in each of as many equal strata, in random order."""
    return (torch.randperm(count, generator=draw)[:, None] + torch.rand((count, 1), generator=draw)) / count


def _bounds() -> tuple[float, float]:
    low, high = 1.0 / (1.0 + np.exp((CENTRE - np.array([FIRST, LAST])) / SPREAD))
    return float(low), float(high)


def _logistic(places: Tensor) -> Tensor:
    """The quantile function of the logistic law between the first and the last log-snr."""
    low, high = _bounds()
    return CENTRE + SPREAD * torch.logit(low + (high - low) * places)


def _logistic_density(log_snr: Tensor) -> Tensor:
    low, high = _bounds()
    at = torch.sigmoid((log_snr - CENTRE) / SPREAD)
    return at * (1.0 - at) / (SPREAD * (high - low))
