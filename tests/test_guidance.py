"""Guidance against its formula, on exact mixtures; and every place that needs a posterior mean refuses it."""

import numpy as np
import pytest
import torch

import companion
from companion.denoiser import FunctionDenoiser
from companion.errors import InputError
from companion.estimate.held_out import log_likelihoods
from companion.estimate.measure import measure
from companion.exact.mixtures import full_mixture
from companion.guidance import Guided
from companion.models.checks import examine

THREE = full_mixture([[-1.0, 0.0], [1.0, 0.5], [0.0, -1.0]], [np.diag([0.3, 0.1]), np.eye(2), 0.2 * np.eye(2)])


def _asked(model, level, condition, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 2.0 * torch.randn(5, 2, generator=generator, dtype=torch.float64)
    sigma = torch.full((5,), np.exp(-0.5 * level), dtype=torch.float64)
    return model(x, sigma, None if condition is None else torch.full((5,), condition))


@pytest.mark.parametrize("condition", [0, 2, None])
@pytest.mark.parametrize("level", [-3.0, -2.5, 0.0, 0.5, 2.0])
def test_inside_the_interval_the_prediction_is_led_away_from_the_null(level, condition):
    """To 1e-12, the rounding of a few sums; outside, from the second end on, and for the null itself, to the bit."""
    found = _asked(companion.guided(THREE, 3.0, (-2.5, 0.5)), level, condition)
    own, null = _asked(THREE, level, condition), _asked(THREE, level, None)
    if -2.5 <= level < 0.5:
        torch.testing.assert_close(found, null + 3.0 * (own - null), rtol=1e-12, atol=1e-12)
    else:
        assert torch.equal(found, own)


def test_a_batch_may_lie_on_both_sides_of_an_edge_and_a_table_is_linear_between_its_levels():
    x, z = torch.ones(4, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    levels = torch.tensor([-5.0, -0.5, 1.0, 7.0], dtype=torch.float64)
    sigma = torch.exp(-0.5 * levels)
    own, null = THREE(x, sigma, z), THREE(x, sigma, None)
    rule = companion.guided(THREE, ([-1.0, 1.0], [2.0, 4.0]), (-4.0, 6.0))
    weights = torch.tensor([1.0, 2.5, 4.0, 1.0], dtype=torch.float64)[:, None]
    torch.testing.assert_close(rule(x, sigma, z), null + weights * (own - null), rtol=1e-12, atol=1e-12)


def test_the_null_is_asked_where_a_level_lies_inside_and_nowhere_else():
    asked = []
    model = FunctionDenoiser(
        lambda x, sigma, z: (asked.append(z is None), THREE(x, sigma, z))[1], (2,), THREE.classes, has_null=True
    )
    rule = companion.guided(model, 2.0, (-1.0, 1.0))
    for level in (-2.0, -1.0, 0.99, 1.0):
        _asked(rule, level, 1)
    assert asked == [False, False, True, False, True, False]


def test_a_weight_of_one_is_the_model_itself():
    assert companion.guided(THREE, 1.0, (-1.0, 1.0)) is THREE
    assert companion.guided(THREE, ([-1.0, 1.0], [1.0, 1.0])) is THREE
    assert isinstance(companion.guided(THREE, 1.0 + 1e-12), Guided)


def test_snr_zero_is_guided_as_the_noisiest_level():
    mean = THREE.means
    whole = mean.mean(dim=0, keepdim=True).expand(2, 2)
    model = FunctionDenoiser(
        THREE, (2,), THREE.classes, has_null=True, from_noise=lambda noise, z: whole if z is None else mean[z]
    )
    noise, z = torch.zeros(2, 2, dtype=torch.float64), torch.tensor([0, 1])
    torch.testing.assert_close(companion.guided(model, 2.0).from_noise(noise, z), 2.0 * mean[z] - whole)
    assert torch.equal(companion.guided(model, 2.0, (0.0, 1.0)).from_noise(noise, z), mean[z])


def test_rules_are_told_apart_by_their_digests():
    rules = [companion.guided(THREE, w, interval) for w in (2.0, 3.0) for interval in (None, (-1.0, 1.0))]
    digests = {rule.digest for rule in [THREE, *rules]}
    assert len(digests) == 5 and companion.guided(THREE, 2.0).digest in digests


@pytest.mark.parametrize(
    ("weight", "interval", "expected"),
    [
        (np.nan, None, "weight is nan, expected a finite number, or increasing log-snr and as many finite weights"),
        (np.inf, None, "weight is inf"),
        ("strong", None, "weight is strong"),
        (([0.0, 1.0], [1.0]), None, "as many finite weights"),
        (([1.0, 0.0], [1.0, 2.0]), None, "increasing log-snr"),
        (([], []), None, "increasing log-snr"),
        ([1.0, 2.0], None, "increasing log-snr"),
        (2.0, (0.5, -2.5), "interval is (0.5, -2.5), expected two increasing log-snr in the model's range, -14.000 to"),
        (2.0, (0.5, 0.5), "two increasing log-snr"),
        (2.0, (-20.0, 0.5), "in the model's range"),
        (2.0, (0.0, np.nan), "in the model's range"),
        (2.0, (0.0, 1.0, 2.0), "two increasing log-snr"),
        (2.0, 1.0, "two increasing log-snr"),
    ],
)
def test_a_bad_rule_is_named_in_one_line(weight, interval, expected):
    model = FunctionDenoiser(THREE, (2,), THREE.classes, has_null=True)
    with pytest.raises(InputError) as raised:
        companion.guided(model, weight, interval)
    assert expected in str(raised.value) and "\n" not in str(raised.value)


def test_a_model_without_an_unconditional_branch_cannot_be_guided():
    with pytest.raises(InputError, match="model is function, expected one with an unconditional branch"):
        companion.guided(FunctionDenoiser(THREE, (2,), THREE.classes), 1.0)


@pytest.mark.parametrize(
    "asks",
    [
        lambda rule: companion.guided(rule, 2.0),
        lambda rule: examine(rule, [0, 1], [-5.0, 0.0, 5.0]),
        lambda rule: companion.bracket(rule, 0, 2, [-2.0, 0.0, 2.0], samples=40),
        lambda rule: log_likelihoods(rule, torch.zeros(2, 2), [-2.0, 0.0, 2.0]),
        lambda rule: measure(rule, [companion.partition(rule, "0|1")], [-2.0, 0.0, 2.0], samples=40),
    ],
)
def test_what_needs_a_posterior_mean_refuses_a_rule_of_guidance(asks):
    with pytest.raises(InputError, match=r"guided, expected a posterior mean: a guided prediction is none$"):
        asks(companion.guided(THREE, 2.0))
