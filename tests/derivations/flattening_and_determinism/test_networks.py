"""The velocity that entropy matching predicts, the two readings of the information, and the shipped results."""

import numpy as np
import pytest
import torch

from derivations.flattening_and_determinism import networks, proofs
from derivations.flattening_and_determinism.networks import Exact, Velocity, across, readings, standardised
from derivations.flattening_and_determinism.spectra import entropy_rate, flattened, information_rate, spectra
from derivations.kit.joint_gaussian import Joint, random_joint
from derivations.kit.measured import read

LEVELS = np.array([-3.0, 1.0, 4.0, 9.0])
PAIRS = 20_000
JOINT = flattened(6, 2, 3, 1e-4, 0.7, seed=0)


def read_of(marginal, conditional) -> dict[str, np.ndarray]:
    sampler = standardised(JOINT, np.random.default_rng(0))
    return readings(JOINT, marginal, conditional, LEVELS, sampler, PAIRS, seed=1)


def wrong(sees: bool, by: float):
    """The exact velocity and an error of its own: a part of the state."""
    exact = Exact(JOINT, sees)
    return lambda x, log_snr, y: exact(x, log_snr, y) + by * x.double()


def apart(part: float):
    """The exact velocity without y and a part of what y changes in it."""
    without, given = Exact(JOINT, sees=False), Exact(JOINT, sees=True)
    return lambda x, log_snr, y: (1.0 - part) * without(x, log_snr, y) + part * given(x, log_snr, y)


def test_lem_flattening_velocity():
    """Both displayed identities, and the loss of SI 40 at one log-snr by the score of the kernel itself."""
    found = {identity.label: identity for identity in proofs.identities()}
    assert found["eq-flattening-velocity"].holds() and found["eq-flattening-target"].holds()
    draw = np.random.default_rng(0)
    x0, noise, e = draw.standard_normal((3, 1000, 2))
    alpha, sigma = 0.6, 0.8
    x = alpha * x0 + sigma * noise
    kernel = -(x - alpha * x0) / sigma**2
    loss = 0.5 * sigma**2 * np.sum((-x - kernel + e) ** 2, axis=1)
    velocity = -sigma * e / alpha
    ours = 0.5 * alpha**2 * np.sum((velocity - (alpha * noise - sigma * x0)) ** 2, axis=1)
    np.testing.assert_allclose(ours, loss, rtol=1e-12)


def test_exact_velocities_are_read_exactly():
    """Every mean against its closed form, within four deviations: 24 comparisons, a false alarm in 600."""
    inner, outer = spectra(JOINT)
    found = read_of(Exact(JOINT, sees=False), Exact(JOINT, sees=True))
    entropy, shared = entropy_rate(outer, LEVELS), information_rate(inner, outer, LEVELS)
    relative = 4.0 * np.sqrt(2.0 / PAIRS)  # or less: sums of squares of normal numbers
    np.testing.assert_allclose(found["stored"], entropy, rtol=relative)
    np.testing.assert_allclose(found["stored_given"], entropy + shared, rtol=relative)
    np.testing.assert_allclose(found["distance"], shared, rtol=relative, atol=1e-6)
    assert np.all(np.abs(found["losses"] - shared) < 4.0 * found["deviation"])
    assert max(found["regret"].max(), found["regret_given"].max()) == 0.0


def test_prop_flattening_readings():
    """A wrong network without y adds its regret to both readings; a wrong one with y takes its own from the losses."""
    inner, outer = spectra(JOINT)
    shared = information_rate(inner, outer, LEVELS)
    without = read_of(wrong(False, 0.3), Exact(JOINT, sees=True))
    close = 4.0 * without["deviation"] + 4.0 * np.sqrt(2.0 / PAIRS) * (shared + without["regret"])
    assert np.all(without["regret"] > 0.0)
    assert np.all(np.abs(without["losses"] - shared - without["regret"]) < close)
    assert np.all(np.abs(without["distance"] - shared - without["regret"]) < close)
    given = read_of(Exact(JOINT, sees=False), wrong(True, 0.3))
    assert np.all(np.abs(given["losses"] - shared + given["regret_given"]) < 4.0 * given["deviation"])
    for part in (0.7, 1.3):  # of what y changes: the distance is its square, the losses 1 - (1 - part)^2
        found = read_of(Exact(JOINT, sees=False), apart(part))
        relative = 4.0 * np.sqrt(2.0 / PAIRS)
        np.testing.assert_allclose(found["distance"], part**2 * shared, rtol=relative, atol=1e-6)
        assert np.all(np.abs(found["losses"] - (1.0 - (1.0 - part) ** 2) * shared) < 4.0 * found["deviation"])


def test_across_reads_the_gain_and_the_rate_of_thin_directions():
    amplified, rate = across(JOINT, Exact(JOINT, sees=False), 2, LEVELS, PAIRS, seed=2)
    alpha2 = 1.0 / (1.0 + np.exp(-LEVELS))
    gain = np.sqrt(alpha2 * (1.0 - alpha2)) * (1.0 - 1e-4) / (alpha2 * 1e-4 + 1.0 - alpha2)
    np.testing.assert_allclose(amplified, gain, rtol=1e-4)  # the states are float32, and thin ones differences of them
    np.testing.assert_allclose(rate, entropy_rate([1e-4], LEVELS), rtol=4.0 * np.sqrt(2.0 / (4 * PAIRS)))


def test_a_network_learns():
    """Two hundred steps on a small law halve what predicting nothing misses, with y and without."""
    sampler = standardised(JOINT, np.random.default_rng(3))
    found = []
    for conditions in (0, 3):
        torch.manual_seed(0)
        network = Velocity(6, conditions, 48)
        networks.train(network, sampler, (-6.0, 6.0), steps=200, batch=128, rate=4e-3)
        found.append(network)
    inside = np.array([1.0, 3.0])
    learnt = readings(JOINT, *found, inside, sampler, 2000, seed=1)
    inner, outer = spectra(JOINT)
    entropy, shared = entropy_rate(outer, inside), information_rate(inner, outer, inside)
    assert np.all(learnt["regret"] < 0.5 * entropy)
    assert np.all(learnt["regret_given"] < 0.5 * (entropy + shared))


def totals(result: dict, name: str) -> np.ndarray:
    return np.array([np.trapezoid(row, result["log_snr"]) for row in result[name]])


def exact_totals(laws: list[Joint], result: dict) -> tuple[np.ndarray, np.ndarray]:
    rates = [
        (entropy_rate(spectra(law)[1], result["log_snr"]), information_rate(*spectra(law), result["log_snr"]))
        for law in laws
    ]
    entropy, shared = np.trapezoid(rates, result["log_snr"]).T
    return entropy, shared


def test_flattened_networks_lose_the_end_of_the_plateau():
    """Up to 1e-4 almost all of the entropy is stored and the information is found; at 1e-6 neither."""
    result = read("flattening_and_determinism/flattening")
    laws = [flattened(25, 8, 15, least, 1.0, seed=0) for least in result["least"]]
    entropy, shared = exact_totals(laws, result)
    share = totals(result, "stored") / entropy
    assert share[:3].min() > 0.95 and share[3] < 0.8
    for reading in ("distance", "losses"):
        assert np.abs(totals(result, reading)[:2] / shared[:2] - 1.0).max() < 0.1
    assert totals(result, "distance")[3] > 1.5 * shared[3]
    assert totals(result, "losses")[3] < 0.9 * shared[3]
    assert 50.0 < result["gain"][3].max() < 200.0


def test_determined_networks_find_the_information_until_the_last_edge():
    """At the paper's noises at least 97%; the losses miss what the regrets differ by, within four deviations."""
    result = read("flattening_and_determinism/determinism")
    laws = [random_joint(25, 15, noise, seed=0) for noise in result["noises"]]
    _, shared = exact_totals(laws, result)
    for reading in ("distance", "losses"):
        share = totals(result, reading) / shared
        assert share[:3].min() > 0.97 and share[:3].max() < 1.0 and share[3] < 0.96
    differ = totals(result, "regret_given") - totals(result, "regret")
    step = result["log_snr"][1] - result["log_snr"][0]
    deviation = step * np.sqrt(np.square(result["deviation"]).sum(axis=1))
    assert np.all(np.abs(shared - totals(result, "losses") - differ) < 4.0 * deviation)


def test_wide_networks_say_too_much_by_distance_and_too_little_by_losses():
    result = read("flattening_and_determinism/wide")
    laws = [flattened(50, 10, 8, least, 1.0, seed=0) for least in result["least"]]
    entropy, shared = exact_totals(laws, result)
    assert np.all(totals(result, "stored")[1:] < 0.95 * entropy[1:])
    assert totals(result, "distance")[2] > 4.0 * shared[2] > 0.0 > totals(result, "losses")[2]
    assert np.all(np.diff(totals(result, "regret")) > 0.0)


def test_a_thousand_samples_cost_little_and_less_training_much():
    result, base = read("flattening_and_determinism/why"), read("flattening_and_determinism/flattening")
    stored = dict(zip(result["variants"], totals(result, "stored"), strict=True))
    reference = totals(base, "stored")[3]
    assert stored["1000 samples"] == pytest.approx(reference, rel=0.05)
    for name in ("a quarter of the steps", "a quarter of the width"):
        assert stored[name] < 0.8 * reference < reference < stored["four times the steps"]
    gain = {name: float(row.max()) for name, row in zip(result["variants"], result["gain"], strict=True)}
    assert 2.0 * gain["a quarter of the steps"] < base["gain"][3].max() < 0.5 * gain["four times the steps"]
