"""Every process against finite differences of its own kernel, its inverse, its limits, and the discrete chain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.errors import InputError
from companion.exact.gaussian_pairs import gaussian_pair
from companion.forward import (
    central_interval,
    cosine,
    edm_levels,
    linear,
    log_snr_levels,
    noise_of,
    ornstein_uhlenbeck,
    production_levels,
    rectified_flow,
    scaled_linear,
    time_levels,
    variance_exploding,
)

PROCESSES = [ornstein_uhlenbeck(), linear(), scaled_linear(), cosine(), variance_exploding(), rectified_flow()]
PRESERVING = PROCESSES[:4]
each_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)


def times(process, count=9):
    first, last = process.span
    return first + (min(last, 4.0) - first) * np.linspace(0.02, 0.98, count)


def slope(function, t, step=1e-4):
    """A fourth-order central difference: error step^4 times a fifth derivative, plus rounding over step (1e-12)."""
    before, after = function(t - step), function(t + step)
    return (8.0 * (after - before) - function(t + 2.0 * step) + function(t - 2.0 * step)) / (12.0 * step)


@each_process
def test_drift_and_diffusion_are_those_of_the_kernel(process):
    t = times(process)
    drift = slope(lambda u: np.log(process.alpha(u)), t)
    diffusion = slope(lambda u: process.sigma(u) ** 2, t) - 2.0 * drift * process.sigma(t) ** 2
    np.testing.assert_allclose(process.drift(t), drift, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(process.diffusion(t), diffusion, rtol=1e-6, atol=1e-9)
    clock = -(process.sigma(t) ** 2) * slope(process.log_snr, t)
    np.testing.assert_allclose(process.diffusion(t), clock, rtol=1e-6, atol=1e-9)


@each_process
def test_log_snr_is_that_of_the_kernel_and_falls(process):
    t = times(process, 200)
    expected = 2.0 * np.log(process.alpha(t) / process.sigma(t))
    np.testing.assert_allclose(process.log_snr(t), expected, rtol=1e-9, atol=1e-9)
    assert np.all(np.diff(process.log_snr(t)) < 0.0)


@each_process
@given(log_snr=st.floats(-7.5, 30.0))
def test_time_is_the_inverse_of_log_snr(process, log_snr):
    t = process.time(np.array(log_snr))
    assert process.span[0] <= t <= process.span[1] or log_snr < process.log_snr(np.array(process.span[1]))
    assert float(process.log_snr(t)) == pytest.approx(log_snr, rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("process", PRESERVING, ids=lambda process: process.name)
def test_variance_is_preserved(process):
    t = times(process)
    np.testing.assert_allclose(process.alpha(t) ** 2 + process.sigma(t) ** 2, 1.0, rtol=1e-14)
    np.testing.assert_allclose(process.drift(t), -0.5 * process.diffusion(t), rtol=1e-14)


@each_process
@pytest.mark.parametrize("t", [1e-100, 1e-12, 0.5])
def test_time_keeps_its_digits_near_the_data(process, t):
    assert float(process.time(process.log_snr(np.array(t)))) == pytest.approx(t, rel=1e-13)
    assert float(cosine(0.0).time(np.array(np.inf))) == 0.0


@pytest.mark.parametrize("process", PRESERVING[:3], ids=lambda process: process.name)
def test_noise_keeps_its_digits_near_the_data(process):
    """sigma^2 = B for a small B = int b: computed as 1 - alpha^2 it would have lost them all."""
    t = np.array(1e-13)
    assert float(process.sigma(t) ** 2 / t) == pytest.approx(float(process.diffusion(np.array(0.0))), rel=1e-6)
    assert float(process.time(process.log_snr(t)) / t) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    ("process", "rates"),
    [
        (linear(), lambda n: np.linspace(0.1, 20.0, n) / n),
        (scaled_linear(), lambda n: np.linspace(0.85**0.5, 12.0**0.5, n) ** 2 / n),
    ],
    ids=["linear", "scaled_linear"],
)
def test_the_discrete_chain_tends_to_it(process, rates):
    """prod (1 - beta_k), the alpha^2 of DDPM's chain, tends to e^-B with an error that halves with doubled steps."""
    limit = process.log_snr(np.array(1.0))
    errors = []
    for steps in (1000, 2000, 4000):
        kept = np.prod(1.0 - rates(steps))
        errors.append(abs(np.log(kept / (1.0 - kept)) - limit))
    assert errors[0] < 0.11  # (1/2) sum beta^2 over 1000 steps is 0.067 for linear
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.05)
    assert errors[1] / errors[2] == pytest.approx(2.0, abs=0.05)


def test_a_simulated_path_has_the_kernel_of_its_process():
    """Euler-Maruyama of dX = f X dt + g dW, on the mean and the variance, with an error of order one over the steps."""
    for process in (linear(), scaled_linear(), ornstein_uhlenbeck(), variance_exploding()):
        grid, step = np.linspace(0.0, 1.0, 20_001), 1.0 / 20_000
        factors = 1.0 + process.drift(grid[:-1]) * step
        variance = 0.0
        for factor, rate in zip(factors, process.diffusion(grid[:-1]), strict=True):
            variance = factor**2 * variance + rate * step
        assert float(np.prod(factors)) == pytest.approx(float(process.alpha(np.array(1.0))), rel=5e-3)
        assert variance == pytest.approx(float(process.sigma(np.array(1.0)) ** 2), rel=5e-3)


def test_ends_are_exact():
    one = np.array(1.0)
    assert cosine().alpha(one) == 0.0
    assert cosine().log_snr(one) == -np.inf
    assert rectified_flow().log_snr(one) == -np.inf
    assert rectified_flow().diffusion(one) == np.inf
    for process in PROCESSES:
        assert process.log_snr(np.array(0.0)) == np.inf
        assert process.sigma(np.array(0.0)) == 0.0


@each_process
def test_times_outside_are_refused(process):
    for t in (-0.1, np.nan, [0.1, -1e-9]):
        with pytest.raises(InputError, match="expected times between"):
            process.check_time(t)


@pytest.mark.parametrize("bad", [(0.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (1.0, np.inf), (1.0, 1.0)])
def test_bad_rates_are_refused(bad):
    for build in (linear, scaled_linear):
        with pytest.raises(InputError, match="beta_min, beta_max"):
            build(*bad)


def test_bad_offset_is_refused():
    for offset in (-0.1, np.nan):
        with pytest.raises(InputError, match="offset"):
            cosine(offset)


@given(count=st.integers(2, 300), sigma_max=st.floats(1.0, 1e3), ratio=st.floats(1e-6, 0.9), rho=st.floats(0.5, 20.0))
def test_edm_levels_are_even_in_their_power_of_sigma(count, sigma_max, ratio, rho):
    levels = edm_levels(count, sigma_max, ratio * sigma_max, rho)
    sigma = noise_of(levels)
    assert len(levels) == count
    assert np.all(np.diff(levels) > 0.0)
    np.testing.assert_allclose(sigma[[0, -1]], [sigma_max, ratio * sigma_max], rtol=1e-9)
    powers = sigma ** (1.0 / rho)
    np.testing.assert_allclose(
        np.diff(powers), (powers[-1] - powers[0]) / (count - 1), rtol=1e-6, atol=1e-12 * powers[0]
    )


def test_time_levels_are_even_on_the_clock():
    for process in PROCESSES:
        levels = time_levels(process, 10, 0.9, 0.1)
        np.testing.assert_allclose(process.time(levels), np.linspace(0.9, 0.1, 10), rtol=1e-9)


def test_the_central_interval_leaves_out_what_the_exact_entropy_says():
    law = gaussian_pair(1.0, 1.0, 4.0)
    levels = np.linspace(-20.0, 20.0, 801)
    for share in (0.5, 0.8, 0.95):
        ends = central_interval(levels, law.production(levels), share)
        begun, ended = law.entropy(levels[0]), law.entropy(levels[-1])
        gone = (begun - law.entropy(np.array(ends))) / (begun - ended)
        # Trapezoids of a curve about as wide as 1, in steps of 0.05: some 0.05^2 / 12 of it.
        np.testing.assert_allclose(gone, [0.5 - 0.5 * share, 0.5 + 0.5 * share], atol=5e-4)


@given(count=st.integers(2, 60), share=st.floats(0.0, 1.0), first=st.floats(-5.0, -2.1), last=st.floats(2.1, 5.0))
def test_between_two_production_levels_lies_one_share_of_the_density(count, share, first, last):
    # A triangle: its cumulated share is known in closed form, and nothing is produced beyond -2 and 2.
    def known(level):
        inside = np.clip(level, -2.0, 2.0)
        return 0.5 + inside / 2.0 - inside * np.abs(inside) / 8.0

    levels = production_levels(count, [-2.0, 0.0, 2.0], [0.0, 3.0, 0.0], share, (first, last))
    assert levels[0] == first
    assert levels[-1] == last
    spread = share * known(levels) + (1.0 - share) * (levels - first) / (last - first)
    # Linear between levels 10 / 2^14 apart: at most the square of that in the cumulated share.
    np.testing.assert_allclose(spread, np.linspace(0.0, 1.0, count), atol=1e-6)


def test_where_a_curve_is_cut_does_not_move_its_production_levels():
    within = production_levels(9, [0.0, 1.0], [1.0, 1.0], 1.0, (-1.0, 2.0))
    # The density ends with the curve, to one of the 2^14 parts of the interval.
    np.testing.assert_allclose(within[1:-1], np.linspace(0.0, 1.0, 9)[1:-1], atol=3.0 / 2**14)


@pytest.mark.parametrize(
    "build",
    [
        lambda: central_interval([0.0, 1.0], [1.0, 1.0], 1.0),
        lambda: central_interval([0.0, 1.0], [1.0, 1.0], 0.0),
        lambda: central_interval([0.0, 1.0], [1.0, 1.0], "most"),
        lambda: central_interval([0.0, 1.0], [0.0, 0.0]),
        lambda: central_interval([0.0, 1.0], [1.0, -1.0]),
        lambda: central_interval([0.0, 1.0], [1.0, np.nan]),
        lambda: central_interval([0.0, 1.0], [1.0]),
        lambda: central_interval([1.0, 0.0], [1.0, 1.0]),
        lambda: central_interval([0.0], [1.0]),
        lambda: production_levels(1, [0.0, 1.0], [1.0, 1.0]),
        lambda: production_levels(3, [0.0, 1.0], [1.0, 1.0], 1.1),
        lambda: production_levels(3, [0.0, 1.0], [1.0, 1.0], 0.5, (2.0, 1.0)),
        lambda: production_levels(3, [0.0, 1.0], [1.0, 1.0], 0.5, (0.0, np.inf)),
        lambda: production_levels(3, [0.0, 1.0], [1.0, 1.0], 0.5, (2.0, 3.0)),
    ],
)
def test_a_production_that_is_none_is_refused(build):
    with pytest.raises(InputError):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: log_snr_levels(1, -1.0, 1.0),
        lambda: log_snr_levels(3, 1.0, -1.0),
        lambda: log_snr_levels(3, -np.inf, 1.0),
        lambda: log_snr_levels(3, np.nan, 1.0),
        lambda: edm_levels(1),
        lambda: edm_levels(3, 1.0, 2.0),
        lambda: edm_levels(3, np.inf, 2.0),
        lambda: edm_levels(3, rho=0.0),
        lambda: time_levels(linear(), 1, 1.0, 0.1),
        lambda: time_levels(linear(), 3, 0.1, 1.0),
        lambda: time_levels(linear(), 3, 1.0, 0.0),
        lambda: time_levels(cosine(), 3, 1.0, 0.1),
        lambda: time_levels(linear(), 3, 2.0, 0.1),
        lambda: time_levels(linear(), 3, 0.5, 0.5),
    ],
)
def test_bad_levels_are_refused(build):
    with pytest.raises(InputError):
        build()
