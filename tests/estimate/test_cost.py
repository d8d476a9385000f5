"""What a run will cost: evaluations as a counting model counts them, seconds by a clock that the model moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from companion.denoiser import FunctionDenoiser
from companion.entropy import Partition
from companion.errors import InputError
from companion.estimate import cost
from companion.estimate.cost import Cost, expected_cost, memory_said, states_in_memory
from companion.estimate.paths import check_model
from companion.estimate.plan import PUBLISHED, Plan
from companion.estimate.run import Run, profile
from companion.exact.mixtures import isotropic_mixture
from companion.forward import noise_of

PAIR = isotropic_mixture([[-1.0], [1.0]], 0.5)
EVEN = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5)


def counted(calls, dtype=torch.float64):
    def answer(x, sigma, condition):
        calls.append((len(x), x.dtype, float(sigma[0]), float(x.abs().max())))
        return PAIR(x.double(), sigma.double(), condition).to(x.dtype)

    return FunctionDenoiser(answer, (1,), PAIR.classes, dtype=dtype, log_snr_range=(-8.0, 8.0))


@pytest.mark.parametrize(
    "options", [{}, {"method": PUBLISHED}, {"log_snr": [-2.0, 0.0, 1.0]}], ids=["pilot", "published", "levels"]
)
def test_the_evaluations_said_are_those_that_are_made(options):
    calls = []
    model = counted(calls)
    options = {"samples": 40, "levels": 12, "block": 16, **options}
    run = Run(model, "0|1", **options)
    said = expected_cost(model, run.plan, run.pilot)
    assert said.left == said.evaluations
    calls.clear()
    check_model(model, run.plan.branches, run.plan.log_snr)  # what is tried before the run is no part of its cost
    tried = sum(call[0] for call in calls)
    calls.clear()
    done = []
    found = profile(model, "0|1", progress=done.append, **options)
    assert said.evaluations == found.evaluations == sum(done) == sum(call[0] for call in calls) - tried


@pytest.mark.parametrize(("seconds", "tried"), [(0.01, 600), (0.0166, 600), (0.0168, 4), (1.0, 4)])
def test_the_rate_is_that_of_the_largest_trial_of_less_than_ten_seconds(monkeypatch, seconds, tried):
    """A clock that each sample moves on by so many seconds, the first call by a minute more, for loading: a trial has
    its rate to the last digit. 600 samples of 1/60 s are ten seconds. Three processes are three times as fast."""
    now, calls = [0.0], []
    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    model = counted(calls)

    def slow(x, sigma, condition):
        now[0] += (
            seconds * len(x) + (60.0 if not calls else 0.0) + (100.0 if len(x) == 600 and len(calls) == 2 else 0.0)
        )
        return model(x, sigma, condition)

    timed = replace(model, function=slow)
    plan = Plan((EVEN,), np.array([-3.0, 0.0]), 1000, block=600)
    for processes, options in ((1, {}), (3, {"processes": 3})):
        calls.clear()
        said = expected_cost(timed, plan, replace(plan, samples=100), left=600, **options)
        assert said.per_second == pytest.approx(processes / seconds, rel=1e-12)
        assert (said.tried, said.block, said.left) == (tried, 600, 600)
        assert said.evaluations == (1000 + 100) * 2 * 3
        assert said.seconds == pytest.approx(600 * seconds / processes, rel=1e-12)
    assert {call[2] for call in calls} == {float(noise_of(-3.0))}  # of one class, at the first level, as large as there
    assert [call[0] for call in calls] == ([4, 4, 600, 600] if tried == 600 else [4, 4])
    assert {call[3] for call in calls} == {float(noise_of(-3.0))}


def test_a_block_is_no_larger_than_the_run():
    plan = Plan((EVEN,), np.array([-3.0, 0.0]), 10, block=150)
    found = expected_cost(counted([]), plan, None)
    assert (found.block, found.tried, found.evaluations) == (10, 10, 10 * 2 * 3)
    assert found.available is None  # a processor
    assert found.memory >= states_in_memory(plan, 1) + 2**20  # and the process itself


@pytest.mark.parametrize("dimension", [3, 5000])
def test_the_states_are_counted(dimension):
    """A block's paths have 9 numbers of the state's size, 10 a branch, and noise drawn ahead, twice, for 4096 numbers
    or for all; each path of the run has 8 results a level and partition, twice. Eight bytes a number."""
    asked = (Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5), Partition("0|2", {0: 1.0}, {2: 1.0}, 0.5))
    plan = Plan(asked, np.arange(7.0), 90, block=20)
    states = 20 * (9 * dimension + 3 * 10 * dimension + 2 * max(dimension, 4096))
    assert states_in_memory(plan, dimension) == 8 * (states + 90 * 7 * 2 * 16)
    whole = replace(plan, block=200)  # more than there are paths
    states = 90 * (9 * dimension + 3 * 10 * dimension + 2 * max(dimension, 4096))
    assert states_in_memory(whole, dimension) == 8 * (states + 90 * 7 * 2 * 16)


@pytest.mark.parametrize(
    ("paths", "said"),
    [(5, "block is 5, expected 2 or fewer"), (2, "1 or fewer"), (1, "more memory than one path needs")],
)
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_want_of_memory_names_half_of_the_block(paths, said, error):
    with pytest.raises(InputError, match=said), memory_said(paths):
        raise error


def test_another_error_is_no_want_of_memory():
    with pytest.raises(RuntimeError, match="sizes do not match"), memory_said(5):
        raise RuntimeError("sizes do not match")


def test_one_line_says_it():
    said = Cost(26208, 26208, 1000.0, 2 * 10**9, None, 150, 150)
    assert said.said_of("digits") == "26208 evaluations of digits, about 26 s at 1e+03 a second; memory about 2.00 GB"
    rest = replace(said, left=1000, available=8 * 10**9, tried=4)
    assert rest.said_of("digits") == (
        "26208 evaluations of digits (25208 of them done), about 1 s at 1e+03 a second; memory about 2.00 GB of the "
        "device's 8.0 GB, and what 150 paths need and the 4 tried do not"
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(89.0, "89 s"), (90.0, "1.5 minutes"), (5399.0, "90 minutes"), (5400.0, "1.5 hours")]
)
def test_durations_as_a_person_says_them(seconds, said):
    assert f"about {said} at" in Cost(1, 1, 1.0 / seconds, 1, None, 1, 1).said_of("x")
