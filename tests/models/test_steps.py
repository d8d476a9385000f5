"""Intervals and grids against the noise that each scheduler itself steps through, and the rule of the guiders."""

import diffusers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from companion.errors import InputError
from companion.models.schedules import schedule_of
from companion.models.steps import Interval, on_common_schedulers, scheduler_grid

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside the schedulers

LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SCHEDULERS = {
    "DDIM": (diffusers.DDIMScheduler, {**LATENT, "steps_offset": 1}),
    "PNDM": (diffusers.PNDMScheduler, {**LATENT, "skip_prk_steps": True}),
    "Euler": (diffusers.EulerDiscreteScheduler, {**LATENT, "timestep_spacing": "leading", "steps_offset": 1}),
    "Euler, Karras": (diffusers.EulerDiscreteScheduler, {**LATENT, "use_karras_sigmas": True}),
    "Euler, continuous": (
        diffusers.EulerDiscreteScheduler,
        {"sigma_min": 0.002, "sigma_max": 80.0, "timestep_type": "continuous", "prediction_type": "v_prediction"}
        | {"use_karras_sigmas": True},
    ),
    "Heun": (diffusers.HeunDiscreteScheduler, LATENT),
    "DPM-Solver++": (diffusers.DPMSolverMultistepScheduler, LATENT),
    "EDM": (diffusers.EDMEulerScheduler, {}),
    "flow": (diffusers.FlowMatchEulerDiscreteScheduler, {"shift": 3.0}),
    "flow, dynamic": (diffusers.FlowMatchEulerDiscreteScheduler, {"use_dynamic_shifting": True}),
    "flow, Heun": (diffusers.FlowMatchHeunDiscreteScheduler, {"shift": 3.0}),
    "of its own": (diffusers.ScoreSdeVeScheduler, {}),
}
STEPPED = [name for name in SCHEDULERS if name not in ("flow, dynamic", "of its own")]


def made(name):
    kind, options = SCHEDULERS[name]
    return kind(**options)


def own_log_snr(scheduler):
    """The log-snr of each call of the network, from the scheduler's own table of noise."""
    if hasattr(scheduler, "sigmas"):
        sigma = np.asarray(scheduler.sigmas, dtype=np.float64)[: len(scheduler.timesteps)]
        flow = type(scheduler).__name__.startswith("FlowMatch")
        with np.errstate(divide="ignore"):
            return -2.0 * np.log(sigma / (1.0 - sigma) if flow else sigma)
    kept = np.asarray(scheduler.alphas_cumprod, dtype=np.float64)[np.asarray(scheduler.timesteps)]
    return np.log(kept / (1.0 - kept))


@pytest.mark.parametrize("name", STEPPED)
@pytest.mark.parametrize("steps", [7, 20, 50])
def test_the_steps_inside_are_those_whose_own_noise_is(name, steps):
    scheduler = made(name)
    scheduler.set_timesteps(steps)
    own = own_log_snr(scheduler)
    compared = 0
    for first, last in [(-2.0, 1.5), (-3.3, -1.1), (0.1, 5.0), (-30.0, 0.0), (-1.0, 30.0), (-0.01, 0.01)]:
        # Some solvers round their timesteps to whole ones: a step so close to an end may lie beyond it.
        if min(np.abs(own - first).min(), np.abs(own - last).min()) > 0.02:
            compared += 1
            inside = (own >= first) & (own <= last)
            np.testing.assert_array_equal(Interval(first, last).steps(scheduler), inside)
    assert compared > 2


@given(steps=st.integers(1, 400), first=st.floats(-5.0, 4.0), length=st.floats(0.01, 5.0))
def test_fractions_are_the_same_steps_by_the_rule_of_the_guiders(steps, first, length):
    scheduler = made("flow")
    scheduler.set_timesteps(steps)
    interval = Interval(first, first + length)
    start, stop = interval.fractions(scheduler)
    assert 0.0 <= start < 1.0
    assert start <= stop <= 1.0
    step = np.arange(steps)
    counted = (int(start * steps) <= step) & (step < int(stop * steps))
    np.testing.assert_array_equal(counted, interval.steps(scheduler))


def test_a_step_at_an_end_is_inside_and_an_end_beyond_the_training_is_moved():
    scheduler = made("DDIM")
    scheduler.set_timesteps(10)
    own = own_log_snr(scheduler)
    assert Interval(own[3], own[6]).steps(scheduler).nonzero()[0].tolist() == [3, 4, 5, 6]
    assert Interval(-100.0, 100.0).steps(scheduler).all()
    # The first call of a flow is told that there is no signal: no finite log-snr is so far out.
    flow = made("flow")
    flow.set_timesteps(10)
    assert Interval(-100.0, 100.0).steps(flow).tolist() == [False, *[True] * 9]


@pytest.mark.parametrize("name", ["Euler", "flow", "Heun", "DPM-Solver++"])
@pytest.mark.parametrize("levels", [np.linspace(-4.0, 3.0, 9), np.array([-3.0, -1.0, -0.8, 2.0])])
def test_a_scheduler_steps_through_the_grid_that_it_is_given(name, levels):
    scheduler = made(name)
    given = scheduler_grid(scheduler, levels)
    scheduler.set_timesteps(**given)
    found = own_log_snr(scheduler)
    if name == "Heun":  # each level but the first is asked twice
        assert len(found) == 2 * len(levels) - 1
        found = np.append(found[:1], found[1::2])
    if "timesteps" in given:
        # Half of a timestep, where a timestep is a log-snr of 0.03 at most on these levels.
        np.testing.assert_allclose(found, levels, atol=0.02)
    else:
        np.testing.assert_allclose(found, levels, atol=2e-5)  # sigma in float32, nearly 1 at the noise of a flow
    asked, told = (schedule_of(scheduler).timestep(each) for each in (levels, found))
    np.testing.assert_allclose(told, asked, atol=0.51)


@pytest.mark.parametrize(
    ("name", "levels", "named"),
    [
        ("DDIM", [-1.0, 1.0], "scheduler is DDIMScheduler, expected one that takes noise levels"),
        ("PNDM", [-1.0, 1.0], "scheduler is PNDMScheduler"),
        ("flow, Heun", [-1.0, 1.0], "scheduler is FlowMatchHeun"),
        ("Euler, Karras", [-1.0, 1.0], "use_karras_sigmas is True"),
        ("flow, dynamic", [-1.0, 1.0], "use_dynamic_shifting"),
        ("Euler", [1.0, -1.0], "log-snr that increase"),
        ("Euler", [[-1.0, 0.0], [0.0, 1.0]], "log-snr that increase"),
        ("Euler", [-9.0, 1.0], "log-snr is -9, expected .* what the network was trained on"),
        ("Heun", [0.0, 1e-3], "fewer: two of them are one timestep"),
        ("of its own", [-1.0, 1.0], "scheduler is ScoreSdeVeScheduler"),
    ],
)
def test_a_grid_that_would_not_be_stepped_through_is_refused(name, levels, named):
    with pytest.raises(InputError, match=named):
        scheduler_grid(made(name), levels)


def test_common_schedulers_step_as_their_pipelines_do():
    """The noise of DPM-Solver++ is Karras' there, which puts other steps inside than a scheduler without it would."""
    told = on_common_schedulers(Interval(-2.0, 1.0), 20)["Stable Diffusion, DPM-Solver++"]["inside"]
    found = {}
    for karras in (True, False):
        scheduler = diffusers.DPMSolverMultistepScheduler(**LATENT, steps_offset=1, use_karras_sigmas=karras)
        scheduler.set_timesteps(20)
        levels = own_log_snr(scheduler)
        found[karras] = (np.flatnonzero((levels >= -2.0) & (levels <= 1.0)) + 1)[[0, -1]].tolist()
    assert told == found[True] != found[False]


@pytest.mark.parametrize("ends", [(1.0, -1.0), (0.0, 0.0), (np.nan, 1.0), (-np.inf, 1.0), ("a", 1.0)])
def test_an_interval_that_is_none_is_refused(ends):
    with pytest.raises(InputError, match="interval is"):
        Interval(*ends)


def test_an_interval_that_the_network_was_not_trained_on_is_refused():
    with pytest.raises(InputError, match="interval is 20 to 30, expected one that meets"):
        Interval(20.0, 30.0).timesteps(made("DDIM"))
