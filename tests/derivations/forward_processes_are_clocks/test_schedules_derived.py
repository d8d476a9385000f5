"""Six processes: what is derived from their equations holds, notices every slip, and is what the package computes."""

import numpy as np
import pytest
import sympy
from sympy import lambdify

from companion.forward import (
    cosine,
    linear,
    ornstein_uhlenbeck,
    rectified_flow,
    scaled_linear,
    variance_exploding,
)
from derivations.forward_processes_are_clocks import schedules
from derivations.kit.identity import survivors
from derivations.kit.language import t

PROCESSES = {
    "VP, constant rate": ornstein_uhlenbeck(),
    "VP, linear rate": linear(),
    "VP, scaled linear rate": scaled_linear(),
    "VP, cosine": cosine(),
    "VE, EDM": variance_exploding(),
    "rectified flow": rectified_flow(),
}
each_process = pytest.mark.parametrize("name", PROCESSES)


@pytest.mark.parametrize("identity", schedules.identities(), ids=lambda identity: identity.label)
def test_identity_holds(identity):
    assert identity.holds()


def test_every_slip_is_seen():
    assert [(one.label, mutant.slip) for one in schedules.identities() for mutant in survivors(one)] == []


@each_process
def test_prop_six_clocks(name):
    """What is derived from a process's equation is what the package computes, and its proofs run."""
    clock, process = schedules.CLOCKS[name], PROCESSES[name]
    for proof in (schedules.signal_of_clock(name), schedules.noise_of_clock(name), schedules.time_of_clock(name)):
        assert len(proof.steps) > 2
    times = np.linspace(0.05, 0.95, 7)
    derived = {
        "drift": clock.drift,
        "diffusion": clock.diffusion,
        "alpha": clock.signal,
        "sigma": sympy.sqrt(clock.noise),
        "log_snr": sympy.log(clock.signal**2 / clock.noise),
    }
    for field, formula in derived.items():
        values = lambdify(t, formula.subs(clock.numbers))(times) * np.ones_like(times)
        np.testing.assert_allclose(getattr(process, field)(times), values, rtol=1e-10, atol=1e-12)
    levels = process.log_snr(times)
    inverse = lambdify(schedules.lam, clock.time.subs(clock.numbers))(levels)
    np.testing.assert_allclose(inverse, times, rtol=1e-10)
    np.testing.assert_allclose(process.time(levels), times, rtol=1e-10)
    assert len(schedules.preserved().steps) > 2
