"""Forward paths, made from drift and diffusion, against the kernel, and the test that holds them against it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from companion.errors import InputError
from companion.forward import cosine, linear, ornstein_uhlenbeck, rectified_flow, scaled_linear, variance_exploding
from derivations.forward_processes_are_clocks.simulation import forward_paths, normal_test

PROCESSES = [ornstein_uhlenbeck(), linear(), scaled_linear(), cosine(), variance_exploding(), rectified_flow()]
each_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: process.name)
CLEAN = torch.tensor([1.5, -0.5], dtype=torch.float64)
FORWARD_LEVELS = np.array([3.0, 0.0, -3.0])  # log-snr falls as time passes
FALSE_ALARM = 1e-3  # that one of the six processes is refused though correct


def kernel_residuals(process, times, paths):
    """(x - alpha x_0) / sigma: standard normal, if the paths have the kernel."""
    alpha, sigma = (torch.from_numpy(values(times))[:, None, None] for values in (process.alpha, process.sigma))
    return (paths - alpha * CLEAN) / sigma


def natural_residuals(process, times, paths):
    """The steps of y = alpha x / sigma^2 from noise to data, less x_0 dsnr, over sqrt(dsnr)."""
    alpha, sigma = (torch.from_numpy(values(times))[:, None, None] for values in (process.alpha, process.sigma))
    y, snr = (alpha * paths / sigma**2).flip(0), (alpha**2 / sigma**2).flip(0)
    dy, dsnr = torch.diff(y, dim=0, prepend=0.0 * y[:1]), torch.diff(snr, dim=0, prepend=0.0 * snr[:1])
    return (dy - CLEAN * dsnr) / dsnr.sqrt()


def simulated(process, times, count=10_000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return forward_paths(process, CLEAN.expand(count, 2), times, 50, generator)


@each_process
def test_simulated_paths_have_the_kernel(process):
    """The rule for dX = f X dt + g dW knows nothing of alpha and sigma. The bias of 50 midpoint steps is below
    2e-4 of sigma and of sigma^2; 10 000 paths see 1e-2."""
    times = process.time(FORWARD_LEVELS)
    test = normal_test(kernel_residuals(process, times, simulated(process, times)))
    assert test.smallest > FALSE_ALARM / len(PROCESSES) / test.count
    for wrong in (
        replace(process, diffusion=lambda t: 1.1 * process.diffusion(t)),
        replace(process, drift=lambda t: process.drift(t) - 0.1),
    ):
        test = normal_test(kernel_residuals(process, times, simulated(wrong, times)))
        assert test.smallest < FALSE_ALARM / len(PROCESSES) / test.count


@pytest.mark.parametrize("process", [cosine(), rectified_flow()], ids=lambda process: process.name)
def test_simulated_paths_reach_an_end_without_signal(process):
    """At t = 1 drift and diffusion are infinite and nothing of x_0 is left. The bias of 50 steps is 1 part in 100."""
    times = np.array([0.9, 1.0])
    paths = simulated(process, times, count=2000)
    test = normal_test(kernel_residuals(process, times, paths))
    assert test.smallest > FALSE_ALARM / 2 / test.count


@each_process
def test_simulated_paths_are_brownian_in_the_natural_variable(process):
    """y = alpha x / sigma^2 is snr x_0 plus a Brownian motion in the snr, whatever process made x."""
    times = process.time(FORWARD_LEVELS)
    test = normal_test(natural_residuals(process, times, simulated(process, times, seed=1)))
    assert test.smallest > FALSE_ALARM / len(PROCESSES) / test.count


@pytest.mark.parametrize("process", PROCESSES[:4], ids=lambda process: process.name)
def test_the_mean_of_a_simulation_is_of_second_order(process):
    quiet, start = replace(process, diffusion=np.zeros_like), torch.ones(1, 1, dtype=torch.float64)
    times = process.time(FORWARD_LEVELS[:2])
    errors = [
        np.abs(forward_paths(quiet, start, times, steps, torch.Generator())[:, 0, 0].numpy() - process.alpha(times))
        for steps in (32, 64)
    ]
    np.testing.assert_allclose(errors[0] / errors[1], 4.0, rtol=0.02)


def test_the_variance_of_a_simulation_is_of_second_order():
    """The flow to t = 1/2: 11% too little with one step, and a quarter of it with two; the samples' error is 0.2%."""
    start, generator = torch.zeros(500_000, 1, dtype=torch.float64), torch.Generator().manual_seed(0)
    errors = [
        float(forward_paths(rectified_flow(), start, [0.5], steps, generator).var()) / 0.25 - 1.0 for steps in (1, 2)
    ]
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.6)


def test_normal_test_gives_uniform_p_values():
    """On 400 sets of 20 normal samples every kind of p-value is uniform; a shift or a scale is found."""
    samples = torch.randn(400, 20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    test = normal_test(samples)
    for p_values in (test.mean, test.covariance[:, :2], test.covariance[:, 2], test.kolmogorov):
        assert stats.kstest(p_values.ravel(), "uniform").pvalue > 1e-3  # the seed is fixed
    many = samples.reshape(1, 8000, 2)
    assert normal_test(many + 0.1).mean.max() < 1e-6
    assert normal_test(1.1 * many).covariance[:, :2].max() < 1e-6
    assert normal_test(many @ torch.tensor([[1.0, 0.1], [0.0, 1.0]], dtype=torch.float64)).covariance[0, 2] < 1e-6
    assert normal_test(3.0**0.5 * (2.0 * stats.norm.cdf(many) - 1.0)).kolmogorov.max() < 1e-6


def test_bad_input_is_refused():
    for process, times in (
        (rectified_flow(), [0.5, 1.1]),
        (rectified_flow(), [0.0, 0.5]),
        (rectified_flow(), [0.5, 0.2]),
        (rectified_flow(), 0.5),
        (rectified_flow(), [0.5, np.nan]),
        (variance_exploding(), [1.0, np.inf]),
    ):
        with pytest.raises(InputError, match="t is"):
            forward_paths(process, CLEAN[None], times, 10, torch.Generator())
    with pytest.raises(InputError, match="steps is 0"):
        forward_paths(linear(), CLEAN[None], [0.5], 0, torch.Generator())
    for samples in (torch.zeros(3, 1, 2), torch.zeros(3, 2), torch.full((1, 3, 1), torch.nan)):
        with pytest.raises(InputError, match="samples is"):
            normal_test(samples)
