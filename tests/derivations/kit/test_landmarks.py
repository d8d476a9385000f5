"""The landmarks against derivatives of the entropy at 40 digits, against the processes, and against the density."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.forward import ornstein_uhlenbeck, variance_exploding
from derivations.kit import landmarks, speciation

TWELVE_DIGITS = 1e-12


def moment(kappa, power):
    """E h_b(L)^power at the working precision: h_b(kappa/2 + sqrt(kappa) u) over a standard normal u."""
    root = mpmath.sqrt(kappa)
    # The nearest pole is pi / sqrt(kappa) > 0.95 off the line for kappa < 11: a step of 1/12 leaves exp(-72) = 1e-31.
    step = mpmath.mpf(1) / 12
    total = mpmath.mpf(0)
    for k in range(-156, 157):
        log_odds = kappa / 2 + root * k * step
        against = mpmath.exp(-abs(log_odds))
        entropy = mpmath.log1p(against) + abs(log_odds) * against / (1 + against)
        total += mpmath.npdf(k * step) * entropy**power
    return step * total


def peak_of(entropy_at, near):
    """Where the first derivative of the entropy is largest in size: a root of the second, no formula of it used."""
    return mpmath.findroot(lambda x: mpmath.diff(entropy_at, x, 2), near)


@pytest.fixture(autouse=True)
def forty_digits():
    with mpmath.workdps(40):
        yield


def test_half_entropy():
    truth = mpmath.findroot(lambda kappa: moment(kappa, 1) - mpmath.log(2) / 2, (4, mpmath.mpf("4.2")))
    assert landmarks.half_entropy() == pytest.approx(float(truth), rel=TWELVE_DIGITS)
    assert landmarks.half_entropy() == pytest.approx(4.17605, abs=5e-6)  # a separate computation's six digits


def test_largest_production():
    log_kappa = peak_of(lambda x: moment(mpmath.exp(x), 1), (mpmath.mpf("1.79"), mpmath.mpf("1.8")))
    assert landmarks.largest_production() == pytest.approx(float(mpmath.exp(log_kappa)), rel=TWELVE_DIGITS)


def test_largest_variance():
    def variance(kappa):
        return moment(kappa, 2) - moment(kappa, 1) ** 2

    truth = mpmath.findroot(lambda kappa: mpmath.diff(variance, kappa), (mpmath.mpf("5.3"), mpmath.mpf("5.4")))
    assert landmarks.largest_variance() == pytest.approx(float(truth), rel=TWELVE_DIGITS)


@pytest.mark.parametrize("weight", [0.001, 0.1, 0.3, 0.5, 0.8, 0.99, 0.999])
def test_largest_variance_for_any_weight(weight):
    """The only top of the variance on a grid of half a per cent, summed over each class's own normal law."""
    kappa = np.geomspace(0.05, 100.0, 1501)
    deviations = np.linspace(-9.0, 9.0, 1801)
    bell = np.exp(-0.5 * deviations**2) / np.exp(-0.5 * deviations**2).sum()
    prior = math.log(weight / (1.0 - weight))
    moments = np.zeros((2, len(kappa)))
    for share, sign in ((weight, 0.5), (1.0 - weight, -0.5)):
        entropies = binary_entropy(prior + sign * kappa[:, None] + np.sqrt(kappa)[:, None] * deviations)
        moments += share * np.array([entropies @ bell, entropies**2 @ bell])
    variance = moments[1] - moments[0] ** 2
    tops = 1 + np.flatnonzero((variance[1:-1] > variance[:-2]) & (variance[1:-1] > variance[2:]))
    assert kappa[tops] == pytest.approx([landmarks.largest_variance(weight)], rel=6e-3)


def test_peak_in_ve_time_of_points():
    # kappa = 4 / u^2 at u = t / |m|, |m| half of the distance
    truth = peak_of(lambda u: moment(4 / u**2, 1), (mpmath.mpf("0.64"), mpmath.mpf("0.65")))
    assert 2.0 / math.sqrt(landmarks.peak_in_ve_time(2.0, 0.0)) == pytest.approx(float(truth), rel=TWELVE_DIGITS)


@pytest.mark.parametrize(("d", "over_sqrt_d"), [(4, 0.5746), (16, 0.6162), (64, 0.6364), (1024, 0.6433)])
def test_ve_peaks_of_wide_classes(d, over_sqrt_d):
    """t / sqrt(d) at delta = 2, s = 1, by a separate computation's four digits."""
    kappa = landmarks.peak_in_ve_time(2.0 * math.sqrt(d), 1.0)
    assert math.sqrt(4.0 / kappa - 1.0 / d) == pytest.approx(over_sqrt_d, abs=5e-5)


def test_ve_limit_and_vp_constants():
    kappa = landmarks.peak_in_ve_time(1.0, 0.0)
    assert 2.0 / math.sqrt(kappa) == pytest.approx(0.643803, abs=5e-7)
    # dH/dt sqrt(d) at delta = 2: |dkappa/dt| = 2 kappa^(3/2) / (2 sqrt(d))
    assert kappa**1.5 * two_gaussians.production(kappa) == pytest.approx(0.667771, abs=5e-7)
    # VP, s = 1, delta = 2: kappa = 4 e^(-2 (t - t_S)), a separate computation's nine digits.
    peak = landmarks.peak_in_vp_time(2.0 * math.sqrt(4096.0), 1.0)
    assert 0.5 * math.log(4.0 / peak) == pytest.approx(-0.205501748, abs=5e-10)
    assert 2.0 * peak * two_gaussians.production(peak) == pytest.approx(0.479515971, abs=5e-10)


@settings(max_examples=30)
@given(distance=st.floats(2.0, 100.0), s=st.floats(0.0, 1.2))
def test_peaks_are_maxima_on_the_processes_own_clocks(distance, s):
    """dH/dt = -(dH/dkappa) |dkappa/dlambda| g^2/sigma^2, with g and sigma from the process."""

    def found(process, peak):
        def rate(t):
            t = np.asarray(t)
            kappa = two_gaussians.control_parameter(process.alpha(t), process.sigma(t), distance, s)
            saturation = 1.0 - kappa * s**2 / distance**2
            return float(
                two_gaussians.production(kappa) * kappa * saturation * process.diffusion(t) / process.sigma(t) ** 2
            )

        noise = distance**2 / peak(distance, s) - s**2  # kappa = distance^2 / (s^2 + noise), in the exploding frame
        time = float(process.time(np.array(-math.log(noise)))) if noise > 1e-12 else 0.0
        step = 0.01 * max(1.0, time)
        around = [t for t in (time - step, time - 0.3 * step, time + 0.3 * step, time + step) if t > 1e-3]
        return all(rate(t) < rate(max(time, 1e-9)) for t in around)

    assert found(ornstein_uhlenbeck(), landmarks.peak_in_vp_time)
    assert found(variance_exploding(), landmarks.peak_in_ve_time)


@settings(max_examples=30)
@given(distance=st.floats(0.5, 100.0), s=st.floats(0.0, 2.0))
def test_peak_in_log_snr_is_the_maximum_over_log_snr(distance, s):
    def lost(log_snr):
        step = 1e-3
        ends = two_gaussians.control_parameter(
            1.0, np.exp(-0.5 * (log_snr + step * np.array([-1.0, 1.0]))), distance, s
        )
        return float(np.subtract(*two_gaussians.entropy(ends)))

    found = minimize_scalar(lambda x: -lost(x), bounds=(-16.0, 16.0), method="bounded", options={"xatol": 1e-9})
    kappa = landmarks.peak_in_log_snr(distance, s)
    # A maximum found by its height is known to the square root of the height's relative error, 1e-13 here; and the
    # quotient's own peak lies step^2 off.
    assert kappa == pytest.approx(
        float(two_gaussians.control_parameter(1.0, np.exp(-0.5 * found.x), distance, s)), rel=1e-4
    )


@pytest.mark.parametrize(("distance", "s"), [(4.0, 0.0), (4.0, 0.5), (5.0, 1.0), (40.0, 1.0), (7.0, 1.6)])
def test_peaks_are_those_found_in_time(distance, s):
    """`speciation.peak` searches the process's own time with its own coefficients, to about 1e-10."""
    pairs = ((ornstein_uhlenbeck(), landmarks.peak_in_vp_time), (variance_exploding(), landmarks.peak_in_ve_time))
    for process, peak in pairs:
        time = np.array(speciation.peak(process, distance, s).time)
        found = two_gaussians.control_parameter(process.alpha(time), process.sigma(time), distance, s)
        assert peak(distance, s) == pytest.approx(float(found), rel=1e-8)


def test_width_moves_peaks_and_distance_brings_them_back():
    universal, exploding = landmarks.largest_production(), landmarks.peak_in_ve_time(1.0, 0.0)
    widths = [0.0, 0.25, 0.5, 1.0]
    for peak, limit in ((landmarks.peak_in_log_snr, universal), (landmarks.peak_in_ve_time, exploding)):
        moved = [peak(4.0, s) for s in widths]
        assert moved == sorted(moved, reverse=True)
        assert peak(1e4, 1.0) == pytest.approx(limit, rel=1e-6)
    assert landmarks.peak_in_vp_time(1e4, 0.5) == pytest.approx(universal, rel=1e-6)
    assert landmarks.peak_in_vp_time(5.0, 1.0) == pytest.approx(universal, rel=TWELVE_DIGITS)


@pytest.mark.parametrize("s", [0.0, 0.5, 2.0])
def test_score_splits_at_four_whatever_the_width(s):
    """The slope of the exact denoiser at the midpoint passes 1, by automatic differentiation, at kappa = 4."""
    distance = 10.0
    mixture = isotropic_mixture([[-3.0, 0.0, 4.0], [3.0, 0.0, -4.0]], s)

    def slope(sigma):
        level = torch.full((1,), sigma, dtype=torch.float64)
        midpoint = torch.zeros(1, 3, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda x: mixture(x, level, None), midpoint)
        return float(torch.linalg.eigvalsh(jacobian[0, :, 0, :])[-1])

    sigma = brentq(lambda sigma: slope(sigma) - 1.0, 1.0, 20.0, xtol=1e-14)
    assert float(two_gaussians.control_parameter(1.0, sigma, distance, s)) == pytest.approx(
        landmarks.score_splits(), rel=1e-12
    )


@pytest.mark.parametrize("weight", [0.5, 0.6, 0.1, 0.99])
def test_score_splits_counts_the_zeros_of_the_score(weight):
    x = np.linspace(-1.3, 1.3, 400_000)  # an even number: never a zero itself
    kappa = landmarks.score_splits(weight)
    for factor, zeros in ((0.998, 1), (1.002, 3)):
        a = 0.25 * factor * kappa  # classes at +-1, v = 1/a
        score = a * (np.tanh(a * x + 0.5 * math.log(weight / (1.0 - weight))) - x)
        assert (np.diff(np.sign(score)) != 0).sum() == zeros


@pytest.mark.parametrize("weight", [0.3, 0.9, 0.999])
def test_uneven_weights(weight):
    for landmark in (landmarks.half_entropy, landmarks.largest_production, landmarks.score_splits):
        assert landmark(weight) == pytest.approx(landmark(1.0 - weight), rel=1e-11)  # the prior log-odds' rounding
        assert landmark(weight) > landmark()
    assert two_gaussians.entropy(landmarks.half_entropy(weight), weight) == pytest.approx(
        0.5 * two_gaussians.entropy(0.0, weight), rel=1e-12
    )
    kappa = landmarks.largest_production(weight) * np.array([0.999, 1.0, 1.001])
    assert (kappa * two_gaussians.production(kappa, weight)).argmax() == 1


def test_peaks_at_the_ends_of_floats():
    for distance, s in ((1e-300, 0.0), (1e300, 1e-300), (1e300, 1e300)):
        assert landmarks.peak_in_log_snr(distance, s) == pytest.approx(landmarks.peak_in_log_snr(1.0, s / distance))
        assert landmarks.peak_in_ve_time(distance, s) == pytest.approx(landmarks.peak_in_ve_time(1.0, s / distance))
    # VP's own clock sees the scale: points close by are told apart while t is small, where it runs like VE's t^2 ...
    assert landmarks.peak_in_vp_time(1e-300, 0.0) == pytest.approx(landmarks.peak_in_vp_time(1e-9, 0.0), rel=1e-12)
    # ... and points far apart where it runs like the log-snr.
    assert landmarks.peak_in_vp_time(1e300, 0.0) == pytest.approx(landmarks.largest_production(), rel=TWELVE_DIGITS)


def test_bad_input_is_refused():
    for landmark in (landmarks.half_entropy, landmarks.largest_production, landmarks.score_splits):
        for weight in (0.0, 1.0, math.nan, 0.9999):
            with pytest.raises(InputError, match="weight is"):
                landmark(weight)
    for peak in (landmarks.peak_in_log_snr, landmarks.peak_in_ve_time, landmarks.peak_in_vp_time):
        for distance, s, name in (
            (0.0, 1.0, "distance"),
            (math.inf, 1.0, "distance"),
            (1.0, -1.0, "s"),
            (1.0, math.nan, "s"),
        ):
            with pytest.raises(InputError, match=f"{name} is"):
                peak(distance, s)
