"""Two isotropic classes on every clock: against the mixture's own quadrature, 30-digit integrals, and each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp
from scipy import stats

from companion.entropy import partition
from companion.errors import InputError
from companion.estimate.run import profile
from companion.exact import two_gaussians
from companion.exact.laws import monte_carlo_entropy, production_in_time
from companion.exact.mixtures import isotropic_mixture
from companion.forward import (
    cosine,
    linear,
    log_snr_levels,
    noise_of,
    ornstein_uhlenbeck,
    rectified_flow,
    scaled_linear,
    variance_exploding,
)
from derivations.kit import landmarks
from derivations.kit.speciation import decision_time, entropy, half_maximum, kappa_decided, peak, production

OU, VE = ornstein_uhlenbeck(), variance_exploding()
PROCESSES = [OU, linear(), scaled_linear(), cosine(), VE, rectified_flow()]
ALL = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)


def pair(dimension: int, delta: float, s: float):
    """Two classes sqrt(d) delta apart, along the diagonal: every coordinate carries the same share."""
    means = torch.full((2, dimension), 0.5 * delta, dtype=torch.float64)
    return isotropic_mixture(torch.stack([-means[0], means[1]]), s)


@ALL
@pytest.mark.parametrize("s", [0.0, 0.5, 2.0])
def test_entropy_and_production_are_those_of_the_mixture(process, s):
    t = np.linspace(0.05, 0.95, 7)
    mixture = pair(5, 2.0, s)
    apart = 2.0 * np.sqrt(5.0)
    # Both sides are quadratures that claim 1e-10; the production is multiplied by rates up to 40.
    truth = mixture.entropy(process.log_snr(t))
    np.testing.assert_allclose(entropy(process, t, apart, s), truth, atol=1e-10, rtol=0.0)
    truth = production_in_time(mixture, process, t)
    np.testing.assert_allclose(production(process, t, apart, s), truth, atol=1e-9, rtol=0.0)


@ALL
def test_nothing_is_produced_where_the_signal_is_zero(process):
    end = process.span[1]
    if process.alpha(np.array(end)) < 1e-3 or process is VE:
        assert float(production(process, end, 2.0, 1.0)) == pytest.approx(0.0, abs=1e-12)
        assert float(entropy(process, end, 2.0, 1.0)) == pytest.approx(np.log(2.0), abs=1e-12)


@pytest.mark.parametrize("d", [2.0, 4.0, 64.0, 1e3, 1e6, 1e12, 1e290])
def test_variance_preserving_peak_is_the_known_one_in_every_dimension(d):
    top = peak(OU, 2.0 * np.sqrt(d), 1.0)
    # The values are given to 9 digits; a time of 334 has an ulp of 6e-14.
    assert top.time - 0.5 * np.log(d) == pytest.approx(-0.205501748, abs=6e-10)
    assert top.height == pytest.approx(0.479515971, abs=6e-10)


@pytest.mark.parametrize(("d", "place"), [(4.0, 0.5746), (16.0, 0.6162), (64.0, 0.6364), (1024.0, 0.6433)])
def test_variance_exploding_peak_is_the_known_one(d, place):
    assert peak(VE, 2.0 * np.sqrt(d), 1.0).time / np.sqrt(d) == pytest.approx(place, abs=6e-5)


def test_variance_exploding_peak_has_the_known_limit():
    top = peak(VE, 2.0 * 1e10, 1.0)
    assert top.time / 1e10 == pytest.approx(0.643803, abs=6e-7)
    assert top.height * 1e10 == pytest.approx(0.667771, abs=6e-7)


def peak_to_thirty_digits(rate, kappa_of, start):
    """The zero of d/dt of log( rate(t) kappa P(kappa) ), with P by adaptive quadrature and its derivative by hand."""

    def bell(kappa, power):
        # E over L ~ N(0, kappa) of sech(L/2)^power
        return mp.quad(
            lambda u: mp.exp(-u * u / 2) * mp.sech(mp.sqrt(kappa) * u / 2) ** power, [-12, -6, -3, 0, 3, 6, 12]
        )

    def slope(t):
        kappa = kappa_of(t)
        first, third = bell(kappa, 1), bell(kappa, 3)
        # P ~ e^(-kappa/8) E sech(L/2), and the heat equation: d/dkappa E f(L) = E f''(L)/2, 4 sech'' = sech - 2 sech^3.
        log_p = -mp.mpf(1) / 8 + (first - 2 * third) / (8 * first)
        log_rate = mp.diff(lambda x: mp.log(rate(x)), t)
        return log_rate + (1 / kappa + log_p) * mp.diff(kappa_of, t)

    return mp.findroot(slope, (start, start + mp.mpf(10) ** -6))


@pytest.mark.slow
@pytest.mark.parametrize("s", [0.5, 1.5])
@pytest.mark.parametrize("process", [OU, VE, rectified_flow()], ids=lambda process: process.name)
def test_peak_is_right_to_ten_digits(process, s):
    signal_noise_rate = {
        "ou": (lambda t: mp.exp(-t), lambda t: 1 - mp.exp(-2 * t), lambda t: 2),
        "ve": (lambda t: 1, lambda t: t * t, lambda t: 2 * t),
        "flow": (lambda t: 1 - t, lambda t: t * t, lambda t: 2 * t / (1 - t)),
    }
    alpha, noise, diffusion = signal_noise_rate[process.name]
    with mp.workdps(30):
        width = mp.mpf(s)

        def variance(t):
            return alpha(t) ** 2 * width**2 + noise(t)

        found = peak(process, 8.0, s)
        truth = peak_to_thirty_digits(
            lambda t: diffusion(t) / variance(t), lambda t: 64 * alpha(t) ** 2 / variance(t), mp.mpf(found.time)
        )
        assert abs(found.time - truth) < 1e-10
        assert found.height == pytest.approx(float(production(process, float(truth), 8.0, s)), rel=1e-13)


@pytest.mark.parametrize("s", [0.0, 0.4, 1.0, 1.9])
@pytest.mark.parametrize("apart", [1.0, 2.5, 7.0, 300.0])
def test_peak_is_where_the_exact_derivative_vanishes(apart, s):
    """The landmarks solve for kappa with the derivatives of two clocks by hand; here time is found on any clock."""
    for process, landmark in ((OU, landmarks.peak_in_vp_time), (VE, landmarks.peak_in_ve_time)):
        kappa = landmark(apart, s)
        time = peak(process, apart, s).time
        if kappa == (apart / s) ** 2 if s else False:
            assert time == 0.0
        else:
            here = two_gaussians.control_parameter(
                process.alpha(np.array(time)), process.sigma(np.array(time)), apart, s
            )
            # kappa varies by d log kappa/dt <= 20 times the error of 1e-10 in time.
            assert float(here) == pytest.approx(kappa, rel=2e-9)


@ALL
@settings(max_examples=8)
@given(
    log_apart=st.floats(-1.0, 2.0),
    s=st.floats(0.0, 3.0),
)
def test_no_time_beats_the_peak_and_the_half_heights_are_half(process, log_apart, s):
    apart = 10.0**log_apart
    if process.name == "scaled_linear" and apart > 30.0:
        apart = 30.0  # at the end of this process kappa is 4.7e-3 apart^2, and it has to see the confusion
    top = peak(process, apart, s)
    ends = half_maximum(process, apart, s)
    reach = min(process.span[1], 8.0 * apart + 8.0 * s) if process is VE else min(process.span[1], 12.0)
    t = np.linspace(1e-6, reach, 301)
    assert production(process, t, apart, s).max() <= top.height * (1.0 + 1e-12)
    assert ends[0] <= top.time <= ends[1]
    for end in ends:
        if end not in process.span:
            # the bracket of 1e-13 in t, times a slope of at most a few hundred heights per unit of time
            assert float(production(process, end, apart, s)) == pytest.approx(0.5 * top.height, rel=1e-9)


@pytest.mark.parametrize("process", [VE, rectified_flow()], ids=lambda process: process.name)
def test_points_close_to_each_other_are_the_same_curve(process):
    """Near the data both processes are sigma = t, where lengths have no scale."""
    near, far = 1e-100, peak(VE, 1.0, 0.0)
    top = peak(process, near, 0.0)
    assert (top.time / near, top.height * near) == pytest.approx((far.time, far.height), rel=1e-9)
    ends = np.array(half_maximum(process, near, 0.0)) / near
    np.testing.assert_allclose(ends, half_maximum(VE, 1.0, 0.0), rtol=1e-9)


@ALL
def test_points_a_millionth_apart(process):
    """So close to the data that alpha is 1 to a millionth."""
    apart = 1e-6
    time = np.array(decision_time(process, 0.5, apart, 0.0))
    assert float((process.sigma(time) / apart) ** 2) == pytest.approx(1.0 / landmarks.half_entropy(), rel=1e-5)
    ends = half_maximum(process, apart, 0.0)
    top = peak(process, apart, 0.0)
    heights = production(process, np.array([ends[0], top.time, ends[1]]), apart, 0.0)
    np.testing.assert_allclose(heights, top.height * np.array([0.5, 1.0, 0.5]), rtol=1e-9)


@pytest.mark.parametrize("beyond", [1e-13, 1e-9, 1e-8, 1e-7, 1e-4])
def test_a_peak_hardly_inside_the_process(beyond):
    """For s = 1 the peak of VP is where kappa is the largest production's, here hardly less than in the data."""
    kappa = landmarks.largest_production()
    top = peak(OU, (kappa * (1.0 + beyond)) ** 0.5, 1.0)
    assert top.time == pytest.approx(0.5 * np.log1p(beyond), abs=1e-7)
    assert top.height == pytest.approx(2.0 * kappa * float(two_gaussians.production(kappa)), rel=1e-13)


def test_the_peak_may_sit_at_the_end_of_the_process():
    assert peak(OU, 2.0, 1.0).time == 0.0  # kappa starts at 4 and production per log kappa is largest at 6
    assert peak(linear(), 1000.0, 1.0).time == 1.0  # kappa ends at 43
    assert half_maximum(OU, 2.0, 1.0)[0] == 0.0
    assert half_maximum(linear(), 1000.0, 1.0)[1] == 1.0


@ALL
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_is_decided_at_its_time(process, share):
    apart = np.array([4.0, 8.0])
    t = decision_time(process, share, apart, 0.5)
    inside = np.isfinite(t)
    assert inside.any()
    left = entropy(process, t[inside], apart[inside], 0.5)
    np.testing.assert_allclose(left, (1.0 - share) * np.log(2.0), rtol=1e-12)


def test_half_entropy_is_the_known_kappa():
    assert kappa_decided(0.5) == pytest.approx(4.17605, abs=6e-6)
    assert float(two_gaussians.entropy(kappa_decided(0.999))) == pytest.approx(0.001 * np.log(2.0), rel=1e-12)


def test_a_share_that_is_never_decided_has_no_time():
    assert np.isnan(decision_time(OU, 0.9, 2.0, 1.0))  # overlapping clean classes
    assert np.isnan(decision_time(linear(), 0.1, 1000.0, 1.0))  # the process ends before they are confused


@pytest.mark.slow
def test_fresh_samples_in_high_dimension_lie_on_the_curve():
    generator = torch.Generator().manual_seed(31)
    squares = []
    for dimension in (16, 256, 4096):
        kappa = np.array([kappa_decided(share) for share in (0.1, 0.3, 0.5, 0.7, 0.9)])
        t = OU.time(-np.log(4.0 * dimension / kappa - 1.0))
        sampled, error = monte_carlo_entropy(pair(dimension, 2.0, 1.0), OU.log_snr(t), 600, generator)
        squares.append(((sampled - entropy(OU, t, 2.0 * np.sqrt(dimension), 1.0)) / error) ** 2)
    # 15 independent levels: one right implementation in ten thousand would fail on either side.
    low, high = stats.chi2.ppf([1e-4, 1.0 - 1e-4], 15)
    assert low < np.sum(squares) < high


@pytest.mark.slow
def test_the_estimator_in_high_dimension_lies_on_the_curve():
    mixture = pair(256, 2.0, 1.0)
    levels = log_snr_levels(48, -np.log(256.0) - 6.0, -np.log(256.0) + 3.0)
    result = profile(mixture, partition(mixture, [0], [1]), log_snr=levels, samples=400)
    truth = two_gaussians.entropy(two_gaussians.control_parameter(1.0, noise_of(levels), 2.0 * 16.0, 1.0))
    # The levels share their paths, so not a sum but each: four errors, plus 0.01 nats of the left-point rule's bias.
    assert np.all(np.abs(result.entropy - truth) < 4.0 * result.entropy_se + 0.01)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: entropy(OU, -1.0, 2.0, 1.0), "t is -1.0"),
        (lambda: entropy(OU, np.nan, 2.0, 1.0), "t is nan"),
        (lambda: entropy(VE, 0.0, 2.0, 0.0), "sigma, s is"),
        (lambda: entropy(VE, 1.0, np.nan, 0.0), "distance is nan"),
        (lambda: production(VE, 1.0, -2.0, 0.0), "distance is -2.0"),
        (lambda: production(VE, 1.0, 2.0, -1.0), "s is -1.0"),
        (lambda: peak(VE, 0.0, 1.0), "distance is 0.0"),
        (lambda: peak(rectified_flow(), 1e100, 0.0), "distance, s is"),
        (lambda: peak(OU, [1.0, 2.0], 0.0), "distance, s is"),
        (lambda: peak(scaled_linear(), 1e6, 1.0), "distance is 1000000.0"),
        (lambda: half_maximum(VE, 2.0, np.inf), "s is inf"),
        (lambda: decision_time(VE, 1.0, 2.0, 0.0), "share is 1.0"),
        (lambda: kappa_decided(np.nan), "share is nan"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(InputError, match=named):
        call()
