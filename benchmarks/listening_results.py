"""Measures the estimator's error on exact mixtures: the results that "What each improvement buys" reads.

    python benchmarks/listening_results.py               all of them: about ten minutes on one thread
    python benchmarks/listening_results.py samples       one of them: improvements, samples, orders, grids

They go to derivations/what_each_improvement_buys/results/ as JSON, with their origin. The chapter
measures a part of each again, with fewer paths, when it runs.

Biases are computed without sampling. For two Gaussian classes, each of one width, every D is linear in y, so y and G
are linear in the normal numbers that are drawn, L is a quadratic form of them with a known characteristic function.
"""

import sys
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import Parts, run_parts
from companion.entropy import binary_entropy, partition
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import measure
from companion.estimate.plan import DEFAULT, PUBLISHED, Method
from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.forward import edm_levels, linear, log_snr_levels, time_levels
from derivations.kit.measured import FOLDER

SEED = 0
PATHS = 20000  # for a deviation
SAMPLES = (50, 100, 300, 1000, 3000)
SEEDS = 40
SHARED = 32  # intervals of the coarsest grid of `orders`, whose levels all finer ones have
COUNTS = (33, 65, 129, 257, 513)

Array = NDArray[np.float64]
NOTHING = replace(PUBLISHED, name="start from nothing", from_nothing=True)
AVERAGED = replace(NOTHING, name="averaged drift", averaged=True)
TWO_SIZES = replace(AVERAGED, name="two step sizes", extrapolated=True)
STEPS: tuple[Method, ...] = (PUBLISHED, NOTHING, AVERAGED, TWO_SIZES, DEFAULT)


def cases() -> dict[str, GaussianMixture]:
    """The mixtures of the chapter: two of equal covariance, two of unequal covariances."""
    apart = torch.zeros(2, 16, dtype=torch.float64)
    apart[0, 0], apart[1, 0] = -0.5, 0.5
    return {
        "near": isotropic_mixture([[-2.0], [2.0]], 1.0),
        "far": isotropic_mixture([[-8.0], [8.0]], 1.0),
        "unequal 16": isotropic_mixture(apart, [0.5, 0.7]),
        "unequal 1": isotropic_mixture([[-0.5], [0.5]], [0.5, 1.0]),
    }


def improvements() -> tuple[dict, int]:
    """Bias at the worst level, and largest deviation at 300 samples, of each step from the published rule to ours."""
    rows, total, log_snr = {}, 0, edm_levels(64)
    for name, mixture in cases().items():
        truth = mixture.entropy(log_snr)
        found: dict[str, list[float]] = {"bias": [], "deviation_of_300": []}
        for method in STEPS:
            bias = expected_entropy(mixture, log_snr, np.arange(64), method) - truth
            (_, error), evaluations = estimate(mixture, log_snr, PATHS, method)
            found["bias"].append(float(bias[np.abs(bias).argmax()]))
            found["deviation_of_300"].append(float(error.max()) * (PATHS / 300) ** 0.5)
            total += evaluations
        rows[name] = found
    return {"levels": 64, "paths": PATHS, "methods": [method.name for method in STEPS], "cases": rows}, total


def samples() -> tuple[dict, int]:
    """Error at the worst level against the number of paths, 64 levels, near classes: mean and its error over seeds."""
    mixture, log_snr = cases()["near"], edm_levels(64)
    truth = mixture.entropy(log_snr)
    rows, total = {}, 0
    for method in (PUBLISHED, DEFAULT):
        errors = np.zeros((len(SAMPLES), SEEDS))
        for row, count in enumerate(SAMPLES):
            for seed in range(SEEDS):
                (entropy, _), evaluations = estimate(mixture, log_snr, count, method, SEED + seed)
                errors[row, seed] = np.abs(entropy - truth).max()
                total += evaluations
        rows[method.name] = {
            "error": errors.mean(axis=1).tolist(),
            "error_se": (errors.std(axis=1, ddof=1) / SEEDS**0.5).tolist(),
        }
    return {"levels": 64, "samples": list(SAMPLES), "seeds": SEEDS, "methods": rows}, total


def orders() -> tuple[dict, int]:
    """The estimate's expectation, and that of the true posterior's entropy on the paths, against the number of levels.

    Bias at the worst of the levels that all grids share. `path` is E h_b of the exact log-odds at the path's state.
    """
    grids = {"EDM": edm_levels, "log-snr": lambda count: log_snr_levels(count, -10.0, 10.0)}
    rows: dict[str, dict] = {}
    for grid, make in grids.items():
        rows[grid] = {}
        for name in ("near", "unequal 1", "unequal 16"):
            mixture = cases()[name]
            found: dict[str, list[float]] = {}
            for count in COUNTS:
                at = np.arange(0, count, (count - 1) // SHARED)
                truth = mixture.entropy(make(count)[at])
                for method in (PUBLISHED, AVERAGED, DEFAULT):
                    bias = expected_entropy(mixture, make(count), at, method) - truth
                    found.setdefault(method.name, []).append(float(bias[np.abs(bias).argmax()]))
                    if len(mixture.means[0]) == 1 and method is not PUBLISHED:
                        bias = entropy_on_paths(mixture, make(count), at, method) - truth
                        found.setdefault(f"path {method.name}", []).append(float(bias[np.abs(bias).argmax()]))
            rows[grid][name] = found
    return {"levels": list(COUNTS), "grids": rows}, 0


def grids() -> tuple[dict, int]:
    """The expectation's bias at the worst of 64 levels, on grids with ever longer last steps."""
    made = {
        "EDM, sigma 80 to 0.002": edm_levels(64),
        "equal steps in log-snr, -10 to 10": log_snr_levels(64, -10.0, 10.0),
        "VP, equal steps in time, to 0.001": time_levels(linear(), 64, 1.0, 1e-3),
        "VP, equal steps in time, to 0.0001": time_levels(linear(), 64, 1.0, 1e-4),
    }
    rows: dict[str, dict] = {}
    for grid, log_snr in made.items():
        rows[grid] = {}
        for name, mixture in cases().items():
            truth, every = mixture.entropy(log_snr), np.arange(64)
            rows[grid][name] = {}
            for method in (PUBLISHED, AVERAGED, DEFAULT):
                bias = expected_entropy(mixture, log_snr, every, method) - truth
                rows[grid][name][method.name] = float(bias[np.abs(bias).argmax()])
    return {"levels": 64, "grids": rows}, 0


def expected_entropy(mixture: GaussianMixture, log_snr: Array, at: Array, method: Method) -> Array:
    """The mean over all runs of the estimate for two balanced classes, each Gaussian of one width, at the levels `at`.

    E h_b(L) is the integral of the transform of h_b, -w'(u)/u with w(u) = pi u / sinh(pi u) that of gamma (1 - gamma),
    times the characteristic function of L, over 2 pi. The trapezoidal rule in u is exact but for the L beyond 300.
    """
    spacing = 0.01
    u = spacing * (np.arange(-1200, 1200) + 0.5)
    transform = (np.pi * u * np.cosh(np.pi * u) / np.sinh(np.pi * u) - 1.0) * np.pi / (u * np.sinh(np.pi * u))
    means, copies = np.unique(mixture.means.numpy(), axis=1, return_counts=True)
    parts = [(1.0, 0.0)] if not method.extrapolated else [(2.0, 0.0), (-1.0, 1.0)]
    total = np.zeros(len(at))
    for own in (0, 1):
        chains = [linear_chain(mean, mixture.deviations.numpy(), own, log_snr, method) for mean in means.T]
        for row, level in enumerate(at + method.from_nothing):
            for factor, lag in parts:
                forms = (quadratic_form(gaps, steps, level, lag, method) for _, gaps, steps in chains)
                exponent = sum(n * characteristic(form, u) for n, form in zip(copies, forms, strict=True))
                value = (transform * np.exp(exponent)).real.sum() * spacing / (2.0 * np.pi)
                total[row] += 0.5 * factor * value
    return total


def entropy_on_paths(mixture: GaussianMixture, log_snr: Array, at: Array, method: Method) -> Array:
    """E h_b of the exact log-odds at the paths' states: the error of the paths' law alone, in one dimension."""
    width, total = mixture.deviations.numpy(), np.zeros(len(at))
    mean = mixture.means.numpy()[:, 0]
    for own in (0, 1):
        states, _, _ = linear_chain(mean, width, own, log_snr, method)
        for row, level in enumerate(at):
            state, snr = states[level + method.from_nothing], np.exp(log_snr[level])
            y = state[0] + np.linalg.norm(state[1:]) * np.linspace(-10.0, 10.0, 2001)
            variance = (snr + snr**2 * width**2)[:, None]
            logs = -0.5 * (y - snr * mean[:, None]) ** 2 / variance - 0.5 * np.log(variance)
            density = np.exp(-0.5 * np.linspace(-10.0, 10.0, 2001) ** 2)
            total[row] += 0.5 * binary_entropy(logs[0] - logs[1]) @ density / density.sum()
    return total


def linear_chain(mean: Array, width: Array, own: int, log_snr: Array, method: Method) -> tuple[Array, Array, Array]:
    """One dimension of the paths of class `own`: states, D of the other class less D of its own, and the steps.

    A row is a level and holds coefficients of 1, of the number that y or the question at pure noise starts with, and
    of the normal number of each step.
    """
    top = np.exp(log_snr[0])
    snr = np.concatenate([[0.0], np.exp(log_snr)]) if method.from_nothing else np.exp(log_snr)
    steps, first_seen = np.diff(snr), 1 + method.from_nothing
    one, start, *noise = np.eye(2 + len(steps))
    states, gaps = np.zeros((2, len(snr), 2 + len(steps)))
    y, before = 0.0 * one if method.from_nothing else np.sqrt(top) * start, one
    for k in range(len(snr)):
        asked, signal = (np.sqrt(top) * start, top) if snr[k] == 0.0 else (y, snr[k])
        guess = [(mean[z] * one + width[z] ** 2 * asked) / (1.0 + width[z] ** 2 * signal) for z in (0, 1)]
        states[k], gaps[k] = y, guess[1 - own] - guess[own]
        if k < len(steps):
            share = steps[k - 1] / (2.0 * steps[k]) if method.extrapolated and k >= first_seen else 0.0
            drift = guess[own] + share * (guess[own] - before)
            y, before = y + drift * steps[k] + np.sqrt(steps[k]) * noise[k], guess[own]
    return states, gaps, steps


def quadratic_form(gaps: Array, steps: Array, level: int, lag: float, method: Method) -> Array:
    """The log-odds at a level as a symmetric form of 1 and the normal numbers drawn so far, less `lag` times delta."""
    at_left = steps[:level] * (0.25 if method.averaged else 0.5)
    weights = np.append(at_left, 0.0) + (np.append(0.0, at_left) if method.averaged else 0.0)
    numbers = 2 + level
    form = -(gaps[: level + 1, :numbers].T * weights) @ gaps[: level + 1, :numbers]
    noise = gaps[:level, :numbers].copy()
    for second in range(level - 1, 0, -2):  # of the pairs of steps, counted from the level backwards
        noise[second] -= lag * (gaps[second, :numbers] - gaps[second - 1, :numbers])
    crossed = np.zeros((numbers, numbers))
    crossed[:, 2:] = (noise * np.sqrt(steps[:level])[:, None]).T
    return form + 0.5 * (crossed + crossed.T)


def characteristic(form: Array, u: Array) -> NDArray[np.complex128]:
    """log E exp(i u L) for L a quadratic form of 1 and independent normal numbers."""
    squared, axes = np.linalg.eigh(form[1:, 1:])
    linear_part = 2.0 * form[0, 1:] @ axes
    left = 1.0 - 2.0j * u[:, None] * squared
    return 1.0j * u * form[0, 0] - 0.5 * (np.log(left) + (u[:, None] * linear_part) ** 2 / left).sum(axis=1)


def estimate(
    mixture: GaussianMixture, log_snr: np.ndarray, paths: int, method: Method, seed: int = SEED
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Entropy and standard error at every level, and the evaluations."""
    asked = partition(mixture, [0], [1])
    (measured,), evaluations = measure(mixture, [asked], log_snr, paths, seed, method, block=min(paths, 2000))
    return weighted_mean(measured.entropy_of_path, measured), evaluations


PARTS: Parts = {
    "improvements": improvements,
    "samples": samples,
    "orders": orders,
    "grids": grids,
}

if __name__ == "__main__":
    sys.exit(
        run_parts(
            "listening_results",
            __doc__ or "",
            PARTS,
            FOLDER / "what_each_improvement_buys" / "results",
            ("torch", "numpy", "scipy"),
        )
    )
