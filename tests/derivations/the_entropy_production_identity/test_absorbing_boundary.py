"""The half-line with a wall: its density against a simulation and its mass, its flux against the slope at the wall."""

import math

import numpy as np
import pytest

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact import two_gaussians
from derivations.the_entropy_production_identity.absorbing_boundary import (
    entropy_before_wall,
    flux_into_wall,
    production_before_wall,
    survival,
)

CASE = ([1.0, 2.0], [0.4, 0.6])


def test_survival_is_that_of_random_walks():
    """Random walks, each step corrected by the chance that the bridge between its ends touches the wall."""
    draw = np.random.default_rng(0)
    steps, count, time = 100, 20_000, 1.0
    dt = time / steps
    x = draw.choice(CASE[0], count, p=CASE[1])
    alive = np.ones(count)
    for _ in range(steps):
        after = x + math.sqrt(dt) * draw.standard_normal(count)
        alive *= np.where(after > 0.0, -np.expm1(-2.0 * np.maximum(x * after, 0.0) / dt), 0.0)
        x = after
    error = alive.std() / math.sqrt(count)
    assert abs(alive.mean() - survival(*CASE, time)) < 4.0 * error


def test_far_from_the_wall_it_is_the_line():
    """Two points at distance one, far away: the binary integral's entropy, and no flux."""
    far = ([50.0, 51.0], [0.5, 0.5])
    assert entropy_before_wall(*far, 0.25) == pytest.approx(float(two_gaussians.entropy(4.0)), abs=1e-10)
    # kappa = 1/t, so dH/dt is kappa^2 times the production per kappa.
    assert production_before_wall(*far, 0.25) == pytest.approx(16.0 * float(two_gaussians.production(4.0)), abs=1e-9)
    assert flux_into_wall(*far, 0.25) == 0.0


def test_flux_is_the_rate_of_arrival_times_the_entropy_of_who_arrives():
    t = 0.7
    rates = [w * a / t * math.exp(-0.5 * a * a / t) / math.sqrt(2.0 * math.pi * t) for a, w in zip(*CASE, strict=True)]
    step = 1e-4
    arrival = (survival(*CASE, t - step) - survival(*CASE, t + step)) / (2.0 * step)
    assert sum(rates) == pytest.approx(arrival, abs=1e-7)
    whose = float(binary_entropy(math.log(rates[0] / rates[1])))
    assert flux_into_wall(*CASE, t) == pytest.approx(sum(rates) * whose, abs=1e-12)


@pytest.mark.parametrize("function", [survival, entropy_before_wall, production_before_wall, flux_into_wall])
def test_bad_input_is_refused(function):
    with pytest.raises(InputError, match="starts is"):
        function([0.0, 1.0], [0.5, 0.5], 1.0)
    with pytest.raises(InputError, match="weights is"):
        function([1.0, 2.0], [0.5, 0.6], 1.0)
    for time in (0.0, math.nan, math.inf):
        with pytest.raises(InputError, match="t is"):
            function([1.0, 2.0], [0.5, 0.5], time)
