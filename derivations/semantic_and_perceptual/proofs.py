"""The split of a diffusion autoencoder: its constants, and the best latents of one Gaussian mode.

A mode has the variance v; s is the signal-to-noise ratio at the split and s_1 at the last level, b and a the squared
correlations of the mode and its noisy states there, r the share of a latent, gamma the weight of the KL term.
The worlds:

NOISE       entropies of the noise between two levels, given the state at a level below both
SHARES      what a latent gains is taken from determinants of a joint law
BEST        a latent's best share is found by a search, without any closed form
CROSSING    the split at which both searches find one share is found by another one
"""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar
from sympy import Integral, Symbol, log

from companion.arguments import Array
from derivations.kit.identity import Identity, Proof
from derivations.kit.worlds import World, Worlds
from derivations.semantic_and_perceptual.gaussian_split import LAST, PERCEPTUAL, SEMANTIC, SPLIT, GaussianSplit, X

dimension = Symbol("d", positive=True)
variance_now = Symbol("q", positive=True)
begin, end, given = Symbol("q_1", positive=True), Symbol("q_2", positive=True), Symbol("q_0", positive=True)
noise_entropy = Symbol("h", real=True)
share, weight = Symbol("r", positive=True), Symbol("gamma", positive=True)
at_split, at_last = Symbol("b", positive=True), Symbol("a", positive=True)
snr_split, snr_last = Symbol("s", positive=True), Symbol("s_1", positive=True)
mode = Symbol("v", positive=True)
level = Symbol("tau", real=True)
semantic_share, semantic_nats, seen_nats = (
    Symbol(r"r_{\mathrm{sem}}", positive=True),
    Symbol(r"I(X;Z_{\mathrm{sem}})", real=True),
    Symbol(r"I(X_\tau;Z_{\mathrm{sem}})", real=True),
)

gained_early, gained_late = Symbol(r"G_{\mathrm{sem}}", real=True), Symbol(r"G_{\mathrm{per}}", real=True)


def _noise(low: float, high: float, known: float, size: int) -> World:
    """Normal vectors, and the difference of their entropies."""
    entropy = [0.5 * size * np.log(2.0 * np.pi * np.e * (level - known)) for level in (low, high)]
    values = {begin: low, end: high, given: known, dimension: size, noise_entropy: entropy[1] - entropy[0]}
    return World(values)


NOISE = Worlds(_noise, (0.7, 2.5, 0.2, 3), (1.0, 1.9, 0.0, 5))


def _shares(gamma: float, *law: float) -> World:
    """Two latents of a normal mode; both gains by the determinants of the joint law."""
    split = GaussianSplit(*law)
    b, a = (split.correlation(X, noisy) ** 2 for noisy in (SPLIT, LAST))
    early = split.information(SEMANTIC, SPLIT) - gamma * split.information(SEMANTIC, X)
    late = split.information(PERCEPTUAL, LAST, (SPLIT,)) - gamma * split.information(PERCEPTUAL, X)
    values = {weight: gamma, share: split.semantic, at_split: b, at_last: a, gained_early: early, gained_late: late}
    return World(values)


SHARES = Worlds(_shares, (0.3, 1.2, 0.4, 2.0, 0.6, 0.6), (0.8, 0.7, -1.0, 1.0, 0.3, 0.3))


@cache
def _searched(gamma: float, b: float, a: float | None) -> float:
    """The share that gains most, to about 1e-8, by a grid of its odds and a search around the best of them."""

    def loses(x: ArrayLike) -> Array:
        r, left = 1.0 / (1.0 + np.exp(-np.asarray(x))), 1.0 / (1.0 + np.exp(np.asarray(x)))
        loss = np.log1p(-r * b) - gamma * np.log(left)
        return np.asarray(loss if a is None else loss - 2.0 * np.log1p(-r * b) + np.log1p(-r * a))

    odds = np.linspace(-9.0, 14.0, 4001)
    best = int(np.argmin(loses(odds)))
    if best == 0:
        return 0.0
    found = minimize_scalar(loses, bracket=tuple(odds[best - 1 : best + 2]), method="golden", tol=1e-12).x
    return float(1.0 / (1.0 + np.exp(-found)))


def _best(gamma: float, variance: float, split: float) -> World:
    """The best share of a latent of a normal mode, found by a search without derivatives."""
    signal = np.exp(split) * variance
    b = signal / (1.0 + signal)
    r = _searched(gamma, b, None)
    symbols = {weight: gamma, mode: variance, level: split, snr_split: np.exp(split), at_split: b, semantic_share: r}
    told = {semantic_nats: -0.5 * np.log1p(-r), seen_nats: -0.5 * np.log1p(-r * b)}
    return World({**symbols, **told}, tolerance=1e-6)  # of a search without derivatives


def _crossing(gamma: float, variance: float, last: float) -> World:
    """The split at which the best shares of two latents are equal, found by a search."""

    def apart(split: float) -> float:
        b, a = (1.0 / (1.0 + np.exp(-at) / variance) for at in (split, last))
        return _searched(gamma, b, None) - _searched(gamma, b, a)

    begins = np.log(gamma / (1.0 - gamma) / variance) + 1e-3
    split = brentq(apart, begins, last - 1e-3, xtol=1e-10)
    return World({weight: gamma, mode: variance, snr_last: np.exp(last), snr_split: np.exp(split)}, tolerance=1e-6)


BEST = Worlds(_best, (0.2, 1.3, 0.4), (0.6, 0.7, 2.0))
CROSSING = Worlds(_crossing, (0.1, 1.3, 1.5), (0.05, 0.4, 3.0))


def water_level() -> Proof:
    """What the best semantic latent holds of a mode: half a nat for each unit of log-snr beyond a threshold."""
    proof = Proof(semantic_nats, BEST)
    proof.then("the information of two normal numbers", -log(1 - semantic_share) / 2)
    proof.then("the best share", -log((1 - at_split) * weight / (at_split * (1 - weight))) / 2)
    proof.then("$b/(1 - b) = s v$", log(snr_split * mode * (1 - weight) / weight) / 2)
    proof.then(r"$s = e^\tau$", (level + log(mode) - log(weight / (1 - weight))) / 2)
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    paid, lost = weight * log(1 - share), log(1 - share * at_split)
    return (
        Identity(
            "eq-latents-noise-entropy",
            (
                noise_entropy,
                Integral(dimension / (2 * (variance_now - given)), (variance_now, begin, end)),
                dimension / 2 * log((end - given) / (begin - given)),
            ),
            "SI 67",
            NOISE,
        ),
        Identity("eq-latents-semantic-gain", (gained_early, (paid - lost) / 2), "none", SHARES),
        Identity(
            "eq-latents-semantic-share",
            (semantic_share, (at_split - weight) / (at_split * (1 - weight))),
            "none",
            BEST,
        ),
        water_level().identity("eq-latents-water", "none"),
        Identity("eq-latents-seen", (seen_nats, log((1 - weight) * (1 + snr_split * mode)) / 2), "none", BEST),
        Identity(
            "eq-latents-perceptual-gain",
            (gained_late, (paid + lost - log(1 - share * at_last)) / 2),
            "none",
            SHARES,
        ),
        Identity(
            "eq-latents-crossing",
            (snr_split, snr_last * (1 - 2 * weight) / (2 * (1 - weight))),
            "none",
            CROSSING,
        ),
    )
