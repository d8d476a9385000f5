"""Clock and conversion against the schedulers' own x_0, and against the definition of each prediction."""

from inspect import signature

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from companion.errors import InputError
from companion.models.schedules import Schedule, schedule_of

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # inside the schedulers

DDPM, DDIM = diffusers.DDPMScheduler, diffusers.DDIMScheduler
TRAINED = [1e-4 + 0.03 * (k / 500) ** 2 for k in range(500)]
UNIT = 2.0**-53  # a rounding of float64
ZERO = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
DISCRETE = {
    "linear": (DDIM, {"beta_schedule": "linear"}),
    "scaled linear": (DDIM, {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}),
    "cosine": (DDIM, {"beta_schedule": "squaredcos_cap_v2"}),
    "trained": (DDIM, {"trained_betas": TRAINED, "num_train_timesteps": 500}),
    "zero snr": (DDIM, {"beta_schedule": "linear", **ZERO}),
    "sigmoid": (DDPM, {"beta_schedule": "sigmoid"}),
    "laplace": (DDPM, {"beta_schedule": "laplace"}),
    "parallel": (diffusers.DDIMParallelScheduler, {}),
}


def configured(scheduler):
    return schedule_of({**scheduler.config, "_class_name": type(scheduler).__name__})


def answer(state: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """What a smooth network might say: of the size of its input, and different at each timestep."""
    return torch.sin(2.0 * state + 0.01 * times.reshape(-1, 1)) + 0.3 * state.flip(1)


def five(schedule: Schedule) -> np.ndarray:
    return np.linspace(0.1, 0.9, 5) * (len(schedule.timesteps) - 1) // 1


def states(log_snr: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """float64, of numbers that float32 holds: some solvers round their sample to it."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(4, 16, generator=generator) * 2.0 - 1.0
    x = clean + float(np.exp(-0.5 * log_snr)) * torch.randn(4, 16, generator=generator)
    return x.double(), torch.full((4,), log_snr, dtype=torch.float64)


def close(ours: torch.Tensor, theirs: torch.Tensor, x: torch.Tensor, rounded: float = 0.0) -> None:
    """Apart by what float64 loses, on terms of the size of x, and by what they have `rounded` to float32.

    A logarithm of size ten and its exponential lose some ten units, which `answer` triples, and some dozen operations
    follow: at most a few hundred units, where a slip in a formula is 10^13 of them.
    """
    assert (ours - theirs).abs().max() < 1000.0 * UNIT * (1.0 + x.abs().max()) + rounded


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("name", DISCRETE)
def test_every_beta_schedule_and_prediction_gives_the_schedulers_x0(name, prediction):
    kind, options = DISCRETE[name]
    scheduler = kind(prediction_type=prediction, clip_sample=False, **options)
    schedule = configured(scheduler)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(scheduler.config.num_train_timesteps)
    for index in five(schedule).astype(int):
        x, log_snr = states(schedule.clock[index])
        state = x * scheduler.alphas_cumprod[index].sqrt()
        step = int(schedule.timesteps[index])
        output = answer(state, torch.full((4,), float(step)))
        theirs = scheduler.step(output, step, state).pred_original_sample
        close(schedule.posterior_mean(answer, x, log_snr), theirs, x)


def quotient(x: torch.Tensor, sigma: float) -> float:
    """What x / (1 + sigma^2) loses in float32, to which two of these solvers round: by its divisor and by itself."""
    return 2.0**-23 * float(x.abs().max()) / (1.0 + float(sigma) ** 2)


SOLVERS = [
    diffusers.EulerDiscreteScheduler,
    diffusers.EulerAncestralDiscreteScheduler,
    diffusers.LMSDiscreteScheduler,
]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("kind", SOLVERS, ids=lambda kind: kind.__name__)
def test_solvers_in_the_variance_exploding_frame_agree(kind, prediction):
    # Their sample is our x, and their timesteps are asked at whole numbers here.
    scheduler = kind(prediction_type=prediction, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    schedule = configured(scheduler)
    scheduler.set_timesteps(1000)
    scheduler.sigmas = scheduler.sigmas.double()
    for row in (100, 300, 500, 700, 900):
        step = scheduler.timesteps[row]
        scheduler._step_index = None
        x, log_snr = states(float(-2.0 * np.log(float(scheduler.sigmas[row]))))
        output = answer(scheduler.scale_model_input(x, step), torch.full((4,), float(step)))
        theirs = scheduler.step(output, step, x).pred_original_sample
        close(schedule.posterior_mean(answer, x, log_snr), theirs, x, quotient(x, scheduler.sigmas[row]))


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction", "flow_prediction"])
@pytest.mark.parametrize(
    "kind", [diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler], ids=lambda kind: kind.__name__
)
def test_multistep_solvers_agree(kind, prediction):
    flow = {"use_flow_sigmas": True, "flow_shift": 3.0} if prediction == "flow_prediction" else {}
    scheduler = kind(prediction_type=prediction, **flow)
    schedule = configured(scheduler)
    scheduler.set_timesteps(50)
    scheduler.sigmas = scheduler.sigmas.double()
    for row in (5, 15, 25, 35, 45):
        scheduler._step_index = row
        sigma = float(scheduler.sigmas[row])
        log_snr = 2.0 * np.log1p(-sigma) - 2.0 * np.log(sigma) if flow else -2.0 * np.log(sigma)
        if flow:
            time = float(schedule.timestep(log_snr))
            assert time == pytest.approx(1000.0 * sigma, rel=1e-12)
        else:
            time = float(scheduler.timesteps[row])
            assert float(schedule.timestep(log_snr)) == pytest.approx(time, abs=2e-2)  # they round sigma's timestep
        x, levels = states(log_snr)
        state = x * ((1.0 - sigma) if flow else (1.0 + sigma**2) ** -0.5)
        times = torch.full((4,), float(schedule.timestep(log_snr)))
        theirs = scheduler.convert_model_output(answer(state, times), sample=state)
        close(schedule.posterior_mean(answer, x, levels), theirs, x)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_is_its_own_preconditioning(prediction, sigma_data):
    scheduler = diffusers.EDMEulerScheduler(prediction_type=prediction, sigma_data=sigma_data, sigma_max=60.0)
    schedule = configured(scheduler)
    assert schedule.log_snr_range == pytest.approx((-2.0 * np.log(60.0), -2.0 * np.log(0.002)), abs=1e-12)
    for sigma in (0.01, 0.2, 1.0, 7.0, 50.0):
        x, log_snr = states(-2.0 * np.log(sigma))
        times = scheduler.precondition_noise(torch.full((4,), sigma, dtype=torch.float64)).float()
        theirs = scheduler.precondition_outputs(x, answer(scheduler.precondition_inputs(x, sigma), times), sigma)
        close(schedule.posterior_mean(answer, x, log_snr), theirs, x)


def test_eulers_continuous_timesteps_are_edms_clock():
    scheduler = diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction",
        timestep_type="continuous",
        use_karras_sigmas=True,
        sigma_min=0.01,
        sigma_max=100.0,
    )
    schedule = configured(scheduler)
    assert schedule.log_snr_range == pytest.approx((-2.0 * np.log(100.0), -2.0 * np.log(0.01)), abs=1e-12)
    scheduler.set_timesteps(20)
    scheduler.sigmas = scheduler.sigmas.double()
    for row in (0, 5, 10, 15, 19):
        sigma, step = float(scheduler.sigmas[row]), scheduler.timesteps[row]
        scheduler._step_index = row
        time = schedule.timestep(-2.0 * np.log(sigma))
        assert time == pytest.approx(float(step), abs=1e-6)  # their logarithm, of size 4.6, is a float32: 2.4e-7 off
        x, log_snr = states(-2.0 * np.log(sigma))
        output = answer(scheduler.scale_model_input(x, step), torch.full((4,), float(time)))
        theirs = scheduler.step(output, step, x).pred_original_sample
        close(schedule.posterior_mean(answer, x, log_snr), theirs, x, quotient(x, sigma))


TARGETS = {
    "epsilon": lambda x0, eps, alpha, beta, s: eps,
    "sample": lambda x0, eps, alpha, beta, s: x0,
    "v_prediction": lambda x0, eps, alpha, beta, s: alpha * eps - beta * x0 / s,
    "edm": lambda x0, eps, alpha, beta, s: beta * x0 / s - alpha * eps,
    "flow": lambda x0, eps, alpha, beta, s: eps - x0,
}


@pytest.mark.parametrize("prediction", TARGETS)
@given(log_snr=st.floats(-12.0, 12.0), sigma_data=st.sampled_from([0.5, 1.0, 2.0]), seed=st.integers(0, 99))
def test_a_network_that_knows_gives_back_the_clean_sample(prediction, log_snr, sigma_data, seed):
    s = sigma_data if prediction in ("v_prediction", "edm") else 1.0
    schedule = Schedule(np.array([0.0, 900.0]), np.array([13.0, -13.0]), prediction, 1000.0, sigma_data=s)
    clean, eps = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sigma = float(np.exp(-0.5 * log_snr))
    alpha, beta = s / (s**2 + sigma**2) ** 0.5, sigma / (s**2 + sigma**2) ** 0.5
    seen = []

    def knowing(state, times):
        seen.append(state)
        return TARGETS[prediction](clean, eps, alpha, beta, s)

    found = schedule.posterior_mean(knowing, clean + sigma * eps, torch.full((3,), log_snr, dtype=torch.float64))
    close(found, clean, clean + sigma * eps)
    frame = (clean + sigma * eps) / (1.0 + sigma) if prediction == "flow" else alpha * clean / s + beta * eps
    close(seen[0], frame, frame)


@pytest.mark.parametrize("prediction", ["sample", "v_prediction"])
def test_zero_terminal_snr_is_left_out_of_the_clock_and_asked_at_the_noise(prediction):
    scheduler = DDIM(prediction_type=prediction, clip_sample=False, **ZERO)
    schedule = configured(scheduler)
    scheduler.set_timesteps(1000)
    assert schedule.terminal == 999.0
    assert len(schedule.timesteps) == 999
    noise = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    theirs = scheduler.step(answer(noise, torch.full((4,), 999.0)), 999, noise).pred_original_sample
    # The scheduler's own alpha there is 0 or 2e-4, by how a processor multiplies up its table of float32 numbers: of v
    # it makes alpha z - beta v, with a beta of 1 but for alpha^2. The same output comes into both.
    alpha = float(scheduler.alphas_cumprod[999].sqrt())
    apart = schedule.mean_from_noise(answer, noise) - theirs
    assert apart.abs().max() < (2.0 * alpha + 2.0**-22) * noise.abs().max()


def test_a_flow_is_asked_at_the_noise():
    schedule = configured(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
    noise = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    x0 = noise - answer(noise, torch.full((4,), 1000.0))
    assert (schedule.mean_from_noise(answer, noise) - x0).abs().max() < 2.0**-22 * noise.abs().max()  # some roundings


def test_eps_says_nothing_where_there_is_no_signal():
    assert not configured(DDIM(**ZERO)).starts_from_noise
    assert not configured(DDIM()).starts_from_noise
    assert configured(DDIM(prediction_type="v_prediction", **ZERO)).starts_from_noise


@pytest.mark.parametrize("prediction", ["sample", "v_prediction", "flow"])
def test_the_noise_is_the_limit_of_ever_lower_snr(prediction):
    # A network that does not look at times. Off by a share 1 / (1 + sigma) at most are c_in x, c_skip x and c_out.
    schedule = Schedule(np.array([0.0, 999.0]), np.array([9.0, -30.0]), prediction, 999.0)
    noise = torch.randn(4, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_snr = torch.full((4,), -28.0, dtype=torch.float64)
    near = schedule.posterior_mean(lambda state, times: state.sin(), noise * float(np.exp(14.0)), log_snr)
    share = 1.0 / (1.0 + float(np.exp(14.0)))
    limit = schedule.mean_from_noise(lambda state, times: state.sin(), noise)
    assert (near - limit).abs().max() < share * (2.0 * noise.abs().max() + 1.0)


@pytest.mark.parametrize("kind", ["EulerDiscreteScheduler", "UniPCMultistepScheduler", "DPMSolverMultistepScheduler"])
def test_the_small_number_that_solvers_put_for_zero_snr_is_not_taken_for_a_level(kind):
    theirs = configured(getattr(diffusers, kind)(rescale_betas_zero_snr=True))
    exact = configured(DDIM(rescale_betas_zero_snr=True))
    assert theirs.terminal == exact.terminal == 999.0
    assert np.array_equal(theirs.clock, exact.clock)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_shift_moves_the_ends_and_not_the_clock(shift):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    schedule = configured(scheduler)
    assert schedule.timesteps[:2] == pytest.approx(1000.0 * scheduler.sigmas[[-1, -2]].double().numpy(), rel=1e-6)
    for sigma in (0.9, 0.5, 0.1):
        log_snr = 2.0 * np.log((1.0 - sigma) / sigma)
        assert float(schedule.timestep(log_snr)) == pytest.approx(1000.0 * sigma, abs=1e-9)


def schedulers() -> dict[str, type]:
    """The schedulers of diffusers that make a table of cumulative alphas of betas, by their names."""
    kinds = {name: getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")}
    return {name: kind for name, kind in kinds.items() if "beta_schedule" in signature(kind).parameters}


TABLES = schedulers()
VIDEO = {name for name, kind in TABLES.items() if "snr_shift_scale" in signature(kind).parameters}
NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195, "num_train_timesteps": 800}
KEYS = {
    **{
        f"beta_schedule {name}": {"beta_schedule": name}
        for name in ("linear", "squaredcos_cap_v2", "sigmoid", "laplace")
    },
    "beta_start": {"beta_start": 0.001},
    "beta_end": {"beta_end": 0.015},
    "num_train_timesteps": {"num_train_timesteps": 700},
    "trained_betas": {"trained_betas": TRAINED, "num_train_timesteps": 500},
    "rescale_betas_zero_snr": {"rescale_betas_zero_snr": True},
    **{f"prediction_type {kind}": {"prediction_type": kind} for kind in ("sample", "v_prediction", "flow_prediction")},
    "use_flow_sigmas": {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0},
    "use_flow_sigmas alone": {"use_flow_sigmas": True},
    "timestep_type": {"timestep_type": "continuous", "prediction_type": "v_prediction", "sigma_data": 0.5},
    "sigma_data": {"sigma_data": 0.5},
    "shift": {"shift": 3.0},
    "invert_sigmas": {"invert_sigmas": True},
    "snr_shift_scale": {"snr_shift_scale": 2.0},
    **{key: {key: True} for key in ("thresholding", "clip_sample", "set_alpha_to_one", "use_karras_sigmas")},
    **{key: {key: True} for key in ("use_exponential_sigmas", "use_beta_sigmas", "use_dynamic_shifting")},
    "sigma_min": {"sigma_min": 0.1, "sigma_max": 10.0},
    "timestep_spacing": {"timestep_spacing": "trailing", "steps_offset": 1, "interpolation_type": "log_linear"},
}


def said_of(config: dict[str, object]) -> list[object]:
    """What a configuration says of a network, or that it is refused, naming a key."""
    try:
        schedule = schedule_of(config)
    except InputError as error:
        key = str(error).split(" is ")[0]
        assert key in config or key == "the noise", error
        return [key]
    return [schedule.timesteps, schedule.clock, schedule.prediction, schedule.terminal, schedule.sigma_data]


@pytest.mark.parametrize("kind", [name for name in TABLES if name not in VIDEO])
def test_a_key_means_the_same_with_every_class_or_is_refused(kind):
    for name, keys in KEYS.items():
        ours, theirs = ({"_class_name": each, **NOISE, **keys} for each in (kind, "DDIMScheduler"))
        for mine, ddims in zip(said_of(ours), said_of(theirs), strict=True):
            assert np.array_equal(mine, ddims), (kind, name)


def test_the_classes_with_a_table_are_all_there():
    assert {"DDIMScheduler", "PNDMScheduler", "HeunDiscreteScheduler", "UnCLIPScheduler"} <= set(TABLES)
    assert len(TABLES) - len(VIDEO) >= 20


@pytest.mark.parametrize("kind", [name for name in TABLES if name not in VIDEO])
def test_what_is_left_out_is_the_default_of_the_class(kind):
    table = TABLES[kind]().alphas_cumprod.double().numpy()
    clock = schedule_of({"_class_name": kind}).clock
    assert clock == pytest.approx(np.log(table) - np.log1p(-table), rel=1e-12)


@pytest.mark.parametrize("kind", sorted(VIDEO))
def test_a_shifted_snr_is_refused(kind):
    with pytest.raises(InputError, match=r"snr_shift_scale is 3\.0"):
        schedule_of({"_class_name": kind})


@pytest.mark.parametrize("rescaled", [kind for kind in TABLES if kind not in VIDEO])
def test_zero_terminal_snr_is_the_networks_whatever_the_solver(rescaled):
    # With a solver that left the key aside the levels ended at -7.2, and D was 9% off.
    config = {**dict(DDIM(rescale_betas_zero_snr=True).config), "_class_name": rescaled}
    table = DDIM(rescale_betas_zero_snr=True).alphas_cumprod.double().numpy()[:-1]
    schedule = schedule_of(config)
    assert schedule.terminal == 999.0
    assert schedule.clock == pytest.approx(np.log(table) - np.log1p(-table), rel=1e-12)


@pytest.mark.parametrize("kind", ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_the_ends_of_a_flow_are_shifted_unless_that_is_done_later(kind, dynamic):
    # sigma / (1 - sigma) is 1/999 at the first timestep and 999 at the last but one; a shift of 3 multiplies both.
    schedule = schedule_of({"_class_name": kind, "shift": 3.0, "use_dynamic_shifting": dynamic})
    odds = np.array([999.0, 1.0 / 999.0]) * (1.0 if dynamic else 3.0)
    assert schedule.log_snr_range == pytest.approx(tuple(-2.0 * np.log(odds)), abs=1e-12)
    assert schedule.timesteps[[-1, 0]] == pytest.approx(1000.0 * odds / (1.0 + odds), rel=1e-12)
    assert float(schedule.timestep(0.0)) == pytest.approx(500.0, rel=1e-12)


FLOW, EDM = {"_class_name": "FlowMatchHeunDiscreteScheduler"}, {"_class_name": "EDMEulerScheduler"}
PNDM = {"_class_name": "PNDMScheduler"}
REFUSED = {
    "a vector quantised model's": ({"_class_name": "VQDiffusionScheduler"}, "with alphas_cumprod"),
    "no scheduler": ({"_class_name": "NoScheduler"}, "with alphas_cumprod"),
    "a network": ({"_class_name": "UNet2DModel"}, "with alphas_cumprod"),
    "a module": ({"_class_name": "schedulers"}, "with alphas_cumprod"),
    "nothing": ({}, "scheduler is None"),
    "another prediction": ({"_class_name": "DDIMScheduler", "prediction_type": "score"}, "epsilon, sample or v_"),
    "an edm of samples": ({**EDM, "prediction_type": "sample"}, "epsilon or v_"),
    "edm without a range": ({**EDM, "sigma_min": 90.0}, "0 < sigma_min < sigma_max"),
    "edm of infinite noise": ({**EDM, "sigma_max": np.inf}, "sigma_max is inf, expected a positive number"),
    "edm of no noise": ({**EDM, "sigma_min": 0.0}, r"sigma_min is 0\.0, expected a positive number"),
    "edm of data without size": ({**EDM, "sigma_data": "x"}, "sigma_data is x"),
    "edm with betas": ({**EDM, "beta_start": 0.1}, r"beta_start is 0\.1, expected no such key beside EDM"),
    "edm to zero snr": ({**EDM, "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is True"),
    "continuous eps": ({"_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous"}, "discrete"),
    "continuous to zero snr": (
        {**PNDM, "timestep_type": "continuous", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
        "sigma_max is inf",
    ),
    "inverted": ({**FLOW, "invert_sigmas": True}, "grows with the noise"),
    "a flow of eps": ({**FLOW, "prediction_type": "epsilon"}, "flow_prediction, or nothing, beside a flow"),
    "a flow to zero snr": ({**FLOW, "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is True"),
    "a flow of two timesteps": ({**FLOW, "num_train_timesteps": 2}, "num_train_timesteps is 2"),
    "a flow shifted by nan": ({**FLOW, "shift": np.nan}, "shift is nan"),
    "a flow shifted back": ({**FLOW, "shift": -1.0}, r"shift is -1\.0"),
    "noise that falls": ({"_class_name": "DDIMScheduler", "trained_betas": [0.1, 0.0, 0.1]}, "noise that grows"),
    "few timesteps": ({**PNDM, "num_train_timesteps": 10}, r"at log-snr 2\.24 at the last of 10 timesteps"),
    "no timesteps": ({**PNDM, "num_train_timesteps": 0}, "num_train_timesteps is 0"),
    "half a timestep": ({**PNDM, "num_train_timesteps": 10.5}, r"num_train_timesteps is 10\.5"),
    "a timestep too many": ({**FLOW, "num_train_timesteps": 100_001}, "num_train_timesteps is 100001"),
    "timesteps without end": ({**PNDM, "num_train_timesteps": 10**12}, "num_train_timesteps is 1000000000000"),
    "timesteps unsaid": ({**PNDM, "num_train_timesteps": None}, "num_train_timesteps is None"),
    "no betas": ({**PNDM, "trained_betas": []}, r"trained_betas is of shape \(0,\)"),
    "one beta": ({**PNDM, "trained_betas": [0.1]}, r"trained_betas is of shape \(1,\)"),
    "betas in rows": ({**PNDM, "trained_betas": [[0.1, 0.2]]}, r"trained_betas is of shape \(1, 2\)"),
    "words for betas": ({**PNDM, "trained_betas": ["x", "y"]}, "trained_betas is "),
    "betas of nan": ({**PNDM, "trained_betas": [0.1, np.nan]}, "trained_betas is "),
    "betas above one": ({**PNDM, "trained_betas": [0.1, 1.5]}, "trained_betas is "),
    "other than so many betas": (
        {**PNDM, "trained_betas": TRAINED, "num_train_timesteps": 1000},
        r"trained_betas is of shape \(500,\), expected one for each of 1000 timesteps",
    ),
    "an unknown rise": ({**PNDM, "beta_schedule": "quadratic"}, "beta_schedule is quadratic"),
    "no rise": ({**PNDM, "beta_schedule": None}, "beta_schedule is None"),
    **{f"beta {bad}": ({**PNDM, "beta_end": bad}, f"beta_end is {bad}") for bad in (None, "x", np.nan, -0.1, 1.0)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_schedules_that_have_no_place_are_refused(name):
    config, said = REFUSED[name]
    with pytest.raises(InputError, match=said):
        schedule_of(config)


def test_as_many_timesteps_as_are_allowed():
    assert len(schedule_of({**FLOW, "num_train_timesteps": 100_000}).clock) == 99_999  # the last has no signal


def test_whole_timesteps_are_the_nearest():
    schedule = schedule_of(dict(DDPM().config) | {"_class_name": "DDPMScheduler"}, fractional=False)
    between = 0.25 * schedule.clock[400] + 0.75 * schedule.clock[401]
    assert schedule.timestep(between) == 401.0


def test_noise_outside_the_clock_is_refused():
    schedule = configured(DDPM())
    with pytest.raises(InputError, match="log-snr is -12"):
        schedule.timestep([0.0, -12.0])
