"""The theorems of the chapter on flattening and determinism: each test carries the label of its theorem."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from companion.errors import InputError
from companion.forward import linear, ornstein_uhlenbeck
from derivations.flattening_and_determinism.spectra import (
    effective_radius,
    entropy_rate,
    fitted_spectra,
    flattened,
    information,
    information_rate,
    information_when_flat,
    spectra,
)
from derivations.kit.joint_gaussian import Joint, observed, random_joint, stored, total_correlation

LEAST = (1e-1, 1e-2, 1e-4, 1e-6)
# Both ends of every rate fall like e^-|log-snr|, so that what lies outside is below 1e-9 of a nat; the trapezoidal rule
# of a function that is smooth on the scale of a unit and flat at both ends is exact to rounding at this step.
LOG_SNR = np.linspace(-30.0, 40.0, 1401)


def thin(least: float, noise: float = 1.0) -> Joint:
    return flattened(25, 8, 15, least, noise, seed=0)


LAWS = [
    *(pytest.param(thin(least), id=f"flattened to {least:g}") for least in LEAST),
    *(pytest.param(random_joint(25, 15, noise, seed=0), id=f"noise {noise}") for noise in (1.0, 0.6, 0.25)),
    *(pytest.param(flattened(50, 10, 8, least, 1.0, seed=0), id=f"wide, {least:g}") for least in LEAST),
]


def divergence(covariance: np.ndarray) -> float:
    return 0.5 * float(np.trace(covariance) - np.linalg.slogdet(covariance)[1] - len(covariance))


def rounding(covariance: np.ndarray) -> float:
    """What float64 leaves open in half a log-determinant: each eigenvalue to 1e-16 of the largest, and a margin."""
    values = np.linalg.eigvalsh(covariance)
    return float(len(values) * 1e-15 * values[-1] / values[0] + 1e-12)


@pytest.mark.parametrize("joint", LAWS)
def test_thm_flattening_entropy(joint):
    """The rate integrates to S_tot of SI 50, whose determinant is taken of the matrix; and up to any last log-snr."""
    _, outer = spectra(joint)
    rate = entropy_rate(outer, LOG_SNR)
    assert np.trapezoid(rate, LOG_SNR) == pytest.approx(divergence(joint.marginal), abs=1e-6)
    part = LOG_SNR <= 5.0
    assert np.trapezoid(rate[part], LOG_SNR[part]) == pytest.approx(
        stored(outer, 5.0), abs=1e-3
    )  # cut inside: second order
    for level in (-9.0, 0.0, 7.0):
        alpha2 = 1.0 / (1.0 + np.exp(-level))
        noised = alpha2 * joint.marginal + (1.0 - alpha2) * np.eye(len(outer))
        assert stored(outer, level) == pytest.approx(divergence(noised), abs=rounding(joint.marginal))


@pytest.mark.parametrize("process, last", [(ornstein_uhlenbeck(), 14.0), (linear(), 1.0)], ids=["OU", "linear"])
def test_thm_flattening_entropy_in_time(process, last):
    """The same total in the time of two variance-preserving processes, less what is left at the last time."""
    _, outer = spectra(thin(1e-4))

    def in_time(time):
        a, s, g2 = (float(f(np.array(time))) for f in (process.alpha, process.sigma, process.diffusion))
        v = a**2 * outer + s**2
        return 0.5 * g2 * float(np.sum(v - 2.0 + 1.0 / v))

    pieces = np.concatenate([[0.0], last * np.geomspace(1e-7, 1.0, 15)])
    total = sum(quad(in_time, a, b, epsabs=1e-9, epsrel=1e-10)[0] for a, b in pairwise(pieces))
    at_the_end = stored(outer, float(process.log_snr(np.array(last))))
    assert total + at_the_end == pytest.approx(stored(outer, np.inf), abs=1e-6)


def test_thm_flattening_entropy_window():
    """A thin direction stores half a nat per unit of log-snr between 0 and -log u: middle and end."""
    for u in (1e-4, 1e-6):
        end = -np.log(u)
        assert entropy_rate([u], end / 2.0) == pytest.approx(0.5, abs=2.5 * np.sqrt(u))
        assert entropy_rate([u], end) == pytest.approx(0.25, abs=2.0 * u)
        shifted = entropy_rate([u], end + np.array([-2.0, 2.0]))
        np.testing.assert_allclose(shifted, 0.5 / (1.0 + np.exp([-2.0, 2.0])), atol=20.0 * u)


def test_prop_flattening_ends():
    """Noise that is left: below snr^2/4 sum (u - 1)^2, and close to it; signal that is left: the closed form."""
    _, outer = spectra(thin(1e-6))
    for level in (-12.0, -8.0, -2.0, 1.0):
        bound = 0.25 * np.exp(2.0 * level) * np.sum((outer - 1.0) ** 2)
        assert stored(outer, level) <= bound
    assert stored(outer, -10.0) == pytest.approx(0.25 * np.exp(-20.0) * np.sum((outer - 1.0) ** 2), rel=1e-3)
    for level in (4.0, 9.1, 16.0):
        snr = np.exp(level)
        left = 0.5 * np.sum(np.log1p(1.0 / (outer * snr)) - np.log1p(1.0 / snr) + (outer - 1.0) / (1.0 + snr))
        assert stored(outer, np.inf) - stored(outer, level) == pytest.approx(left, abs=1e-9)


@pytest.mark.parametrize("joint", LAWS)
def test_thm_flattening_information(joint):
    """The rate integrates to I, whose determinants are taken of matrices; each window is one pair of eigenvalues."""
    inner, outer = spectra(joint)
    assert np.trapezoid(information_rate(inner, outer, LOG_SNR), LOG_SNR) == pytest.approx(
        joint.information(), abs=1e-6
    )
    assert np.all(inner <= outer * (1.0 + 1e-9))
    assert 0.5 * np.log(outer / inner).sum() == pytest.approx(joint.information(), abs=rounding(joint.marginal))
    for level in (-3.0, 2.0, 6.0):
        floor = float(np.exp(-0.5 * level))
        assert information(inner, outer, level) == pytest.approx(joint.information(floor), abs=1e-9)


def test_thm_flattening_information_height():
    for c, u in ((0.01, 1.0), (0.5, 0.6), (1e-6, 3.0)):
        fine = np.linspace(-40.0, 40.0, 80_001)
        rate = information_rate([c], [u], fine)
        assert rate.max() == pytest.approx(0.5 * np.tanh(0.25 * np.log(u / c)), abs=1e-6)
        assert fine[rate.argmax()] == pytest.approx(-0.5 * np.log(u * c), abs=1e-2) or u / c > 1e5  # a flat top


def test_cor_flattening_given():
    """What a network given y stores is the mean over y of a divergence: that of X, and the information (SI 9, 10)."""
    joint = thin(1e-2)
    inner, outer = spectra(joint)
    _, y = joint.samples(100_000, np.random.default_rng(0))
    means = y @ joint.gain.T
    values = 0.5 * np.sum(means**2, axis=1) + divergence(joint.within)
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - stored(outer, np.inf) - joint.information()) < 4.0 * error
    exact = divergence(joint.within) + 0.5 * np.trace(joint.gain @ joint.condition @ joint.gain.T)
    assert exact == pytest.approx(stored(outer, np.inf) + information(inner, outer, np.inf), abs=1e-9)


def test_thm_flattening_limit():
    """S_tot grows by exactly (d - k)/2 times the gap's function, and I falls to its limit by the closed form."""
    kept = spectra(thin(0.1))[1][17:]
    assert np.all(kept >= 0.1)
    for least in (*LEAST, 1e-8):
        joint = thin(least)
        wide = np.sort(np.linalg.eigvalsh(joint.marginal))[17:]
        expected = stored(wide, np.inf) + 8.5 * (least - 1.0 - np.log(least))
        assert divergence(joint.marginal) == pytest.approx(expected, abs=rounding(joint.marginal))
        limit, more = information_when_flat(25, 8, 15, least, 1.0, seed=0)
        assert joint.information() == pytest.approx(limit + more, abs=rounding(joint.marginal))
    turned = [information_when_flat(25, 8, 15, least, 1.0, seed=0)[1] for least in (1e-3, 1e-6)]
    assert turned[0] / turned[1] == pytest.approx(1000.0, rel=0.1)
    # The bound by the channel on the flattened directions: here by all of it.
    channel = np.random.default_rng(0).standard_normal((15, 25))
    for least in LEAST:
        assert information_when_flat(25, 8, 15, least, 1.0, 0)[1] <= 0.5 * least * np.sum(channel**2)


def test_prop_flattening_cancel():
    """Of d - k thin directions d - k - d_Y have no window of information; the others' rates are under the bound."""
    channel = np.random.default_rng(0).standard_normal((15, 25))
    for least in LEAST:
        joint = thin(least)
        inner, outer = (part[:17] for part in spectra(joint))
        open_windows = np.log(outer / inner)
        assert np.sum(open_windows > 1e-8 + 1e-14 / least) <= 15
        bound = 0.125 * np.linalg.slogdet(np.eye(15) + least * channel @ channel.T)[1]
        apart = information_rate(inner, outer, LOG_SNR)
        assert apart.min() > -1e-9 and apart.max() <= bound <= 0.125 * least * np.sum(channel**2)
        if least <= 1e-4:
            assert entropy_rate(outer, -0.5 * np.log(least)) > 8.2  # of 8.5


def test_prop_flattening_cancel_needs_noise():
    """With the noise of Y as thin as the data, the thin directions keep their windows."""
    draw = np.random.default_rng(0)
    channel = draw.standard_normal((15, 25))
    turned = np.linalg.qr(draw.standard_normal((25, 25)))[0]
    across = channel @ turned[:, 8:]
    expected = 0.5 * np.linalg.slogdet(np.eye(17) + across.T @ across)[1]  # I(X_thin; Y | X_kept), least = noise^2
    for least in (1e-2, 1e-4, 1e-6):
        inner, outer = (part[:17] for part in spectra(thin(least, noise=np.sqrt(least))))
        assert 0.5 * np.log(outer / inner).sum() > 0.5 * expected > 5.0


def test_cor_flattening_correlation():
    """S_tot is that of the coordinates and the total correlation, which alone grows without end (SI 7)."""
    grown = []
    for least in (*LEAST, 1e-8):
        covariance = thin(least).marginal
        single = sum(stored([variance], np.inf) for variance in np.diag(covariance))
        correlation = total_correlation(covariance)
        assert divergence(covariance) == pytest.approx(single + correlation, abs=max(1e-10, rounding(covariance)))
        grown.append((single, correlation + 8.5 * np.log(least)))
    assert np.ptp([single for single, _ in grown[2:]]) < 0.1
    assert abs(grown[-1][1] - grown[-2][1]) < 1e-3


def test_thm_flattening_determinism():
    """The information is rank times log(1/noise) and a constant, from above; S_tot does not move."""
    draw = np.random.default_rng(0)
    channel, root = draw.standard_normal((15, 25)), draw.standard_normal((25, 25)) / 5.0
    covariance = root @ root.T + 1e-3 * np.eye(25)
    strengths = np.linalg.eigvalsh(channel @ covariance @ channel.T)
    for noise in (1.0, 0.25, 0.01, 1e-3):
        joint = random_joint(25, 15, noise, seed=0)
        above = joint.information() - 15.0 * np.log(1.0 / noise) - 0.5 * np.log(strengths).sum()
        assert -1e-9 < above < 0.5 * noise**2 * np.sum(1.0 / strengths) + 1e-9
        assert divergence(joint.marginal) == pytest.approx(divergence(covariance), abs=1e-8)


def test_prop_flattening_shift():
    """In log-snr less log(1/noise^2) the rates become one curve of steps at the channel's strengths; peak in time."""
    channel = np.random.default_rng(0).standard_normal((15, 25))
    strengths = np.linalg.eigvalsh(channel @ channel.T)
    shifted = np.linspace(-2.0, 12.0, 141)
    limit = 0.5 * np.sum(1.0 / (1.0 + np.exp(shifted[:, None]) / strengths), axis=1)
    gaps = []
    for noise in (1e-2, 1e-3, 1e-4):
        rate = information_rate(*spectra(random_joint(25, 15, noise, seed=0)), shifted - 2.0 * np.log(noise))
        gaps.append(np.abs(rate - limit).max())
    assert gaps[0] > 10.0 * gaps[1] > 100.0 * gaps[2] and gaps[2] < 1e-3
    for noise in (1.0, 0.25):
        inner, outer = spectra(random_joint(25, 15, noise, seed=0))
        peak = 0.5 * np.sum(1.0 / inner - 1.0 / outer)
        assert peak == pytest.approx(0.5 * np.sum(channel**2) / noise**2, rel=1e-6)


def test_prop_flattening_both():
    """A process on X and Y: its entropy is that of both and an information of two noised vectors, below I(X_s; Y)."""
    joint = thin(1e-2)
    cross = joint.gain @ joint.condition
    whole = np.block([[joint.marginal, cross], [cross.T, joint.condition]])
    parts = [np.linalg.eigvalsh(part) for part in (whole, joint.marginal, joint.condition)]
    inner, outer = spectra(joint)
    totals = [stored(part, np.inf) for part in parts]
    assert totals[0] - totals[1] - totals[2] == pytest.approx(joint.information(), abs=1e-9)
    for level in (-2.0, 1.0, 4.0):
        both, alone, other = (stored(part, level) for part in parts)
        assert 0.0 < both - alone - other < information(inner, outer, level)
    rate = entropy_rate(parts[0], LOG_SNR) - entropy_rate(parts[1], LOG_SNR) - entropy_rate(parts[2], LOG_SNR)
    assert np.trapezoid(rate, LOG_SNR) == pytest.approx(joint.information(), abs=1e-6)


def test_the_conditional_law_needs_the_transpose():
    """SI 53's last factor: as printed the shapes do not fit, and where they do the matrix is no covariance."""
    joint = thin(1e-2)
    cross = joint.gain @ joint.condition
    with pytest.raises(ValueError, match="mismatch"):
        cross @ np.linalg.solve(joint.condition, cross)
    np.testing.assert_allclose(
        joint.marginal - cross @ np.linalg.solve(joint.condition, cross.T), joint.within, atol=1e-9
    )
    square = flattened(6, 3, 6, 1e-2, 1.0, seed=0)
    cross = square.gain @ square.condition
    printed = square.marginal - cross @ np.linalg.solve(square.condition, cross)
    assert np.abs(printed - printed.T).max() > 0.01


def test_a_thousand_samples_are_enough_for_a_normal_law():
    """Mean excess d (d + 1)/4n of the entropy and d d_Y/2n of the information; 30 fits."""
    joint, count = thin(1e-4), 1000
    inner, outer = spectra(joint)
    draw = np.random.default_rng(0)
    found = [fitted_spectra(*joint.samples(count, draw)) for _ in range(30)]
    entropy = np.mean([stored(part[1], np.inf) for part in found]) - stored(outer, np.inf)
    shared = np.mean([information(*part, np.inf) for part in found]) - information(inner, outer, np.inf)
    # Half a log-determinant of a sample covariance has the variance d/2n, and the mean of 30 a thirtieth of it; the
    # information is of the size of its excess and varies like that of fifteen correlations. Four deviations.
    assert entropy == pytest.approx(25.0 * 26.0 / (4.0 * count), abs=4.0 * np.sqrt(25.0 / (2.0 * count) / 30.0) + 0.01)
    assert shared == pytest.approx(25.0 * 15.0 / (2.0 * count), abs=4.0 * np.sqrt(15.0 / count / 30.0) + 0.01)


def test_the_effective_radius_gives_the_total():
    """S_tot is -d log R and half of what the trace exceeds the dimension by."""
    for least in LEAST:
        _, outer = spectra(thin(least))
        expected = 0.5 * (outer.sum() - 25.0) - 25.0 * np.log(effective_radius(outer))
        assert stored(outer, np.inf) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: stored([-1.0], 1.0),
        lambda: stored([[1.0]], 1.0),
        lambda: stored([1.0], np.nan),
        lambda: entropy_rate([-1.0], 0.0),
        lambda: information([1.0], [1.0, 2.0], 0.0),
        lambda: information_rate([np.inf], [1.0], 0.0),
        lambda: effective_radius([0.0]),
        lambda: total_correlation([[1.0, 2.0], [2.0, 1.0]]),
        lambda: total_correlation([[1.0, 0.5], [0.0, 1.0]]),
        lambda: flattened(3, 4, 1, 0.1, 1.0, 0),
        lambda: flattened(3, 2, 1, 0.0, 1.0, 0),
        lambda: flattened(3, 2, 1, 0.1, 0.0, 0),
        lambda: observed(np.eye(2), np.eye(3), 1.0),
    ],
)
def test_bad_input(call):
    with pytest.raises(InputError):
        call()
