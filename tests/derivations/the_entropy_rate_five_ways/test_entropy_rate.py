"""The rate at which a sample is forgotten: six routes to one number, and what a denoiser says of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import roots_hermitenorm

from companion.errors import InputError
from companion.exact.empirical import empirical_distribution
from companion.exact.mixtures import isotropic_mixture
from companion.forward import noise_of
from derivations.the_entropy_rate_five_ways.entropy_rate import (
    entropy_rate,
    forms_of,
    half_losses,
    slopes_of,
    stretching_rates,
)
from derivations.the_entropy_rate_five_ways.independent_rates import ROUTES, exponents, small_mixture

ENOUGH = 1e-7  # the lattice in four dimensions misses 1e-8 of these mixtures, the others less than 1e-9
LINE = torch.tensor([[-1.2], [-0.4], [0.3], [1.1]], dtype=torch.float64)


def crooked(x, sigma, condition):
    """A smooth field that is no gradient, in two dimensions, and no denoiser of anything."""
    return torch.stack([torch.sin(x[:, 1]) + 0.3 * x[:, 0], torch.cos(x[:, 0] - 0.4 * x[:, 1])], dim=1)


@settings(max_examples=12, derandomize=True)
@given(components=st.integers(2, 4), dimension=st.integers(1, 2), seed=st.integers(0, 99), log_snr=st.floats(-2.0, 1.0))
def test_the_routes_agree_on_a_line_and_in_a_plane(components, dimension, seed, log_snr):
    mixture = small_mixture(components, dimension, seed)
    values = [route(mixture, log_snr) for route in ROUTES.values()]
    np.testing.assert_allclose(values, float(entropy_rate(mixture, log_snr)), atol=ENOUGH, rtol=0.0)


@pytest.mark.parametrize(("components", "dimension"), [(2, 3), (3, 3), (2, 4)])
def test_the_routes_agree_in_higher_dimensions(components, dimension):
    mixture = small_mixture(components, dimension, seed=1)
    values = [route(mixture, 0.0) for route in ROUTES.values()]
    np.testing.assert_allclose(values, values[0], atol=ENOUGH, rtol=0.0)
    if dimension == 3:
        np.testing.assert_allclose(values, float(entropy_rate(mixture, 0.0)), atol=ENOUGH, rtol=0.0)


@pytest.mark.parametrize("dimension", [1, 4, 7])
def test_a_gaussian_has_a_closed_form(dimension):
    """(d/2) s^2/(s^2 + sigma^2), here as a mixture of two equal components."""
    normal = isotropic_mixture(np.zeros((2, dimension)).tolist(), 0.7)
    levels = np.array([-3.0, 0.0, 2.0])
    truth = 0.5 * dimension * 0.49 / (0.49 + noise_of(levels) ** 2)
    np.testing.assert_allclose(entropy_rate(normal, levels), truth, atol=1e-10)


def test_what_is_forgotten_of_points_is_which_point_it_was():
    """Every point its own class: the rate is the production, and its integral the entropy log K."""
    points = isotropic_mixture(LINE.tolist(), 0.0)
    levels = np.linspace(-9.0, 9.0, 400)
    np.testing.assert_allclose(entropy_rate(points, levels), points.production(levels), atol=1e-12)
    passed = np.trapezoid(entropy_rate(points, levels), levels)
    known = float(points.entropy(-9.0) - points.entropy(9.0))
    assert passed == pytest.approx(known, abs=1e-5)  # the trapezoid of 400 levels


def test_a_component_that_belongs_to_a_class_of_several_counts_for_itself():
    grouped = isotropic_mixture(LINE.tolist(), 0.2, component_classes=[0, 0, 1, 1])
    alone = isotropic_mixture(LINE.tolist(), 0.2)
    np.testing.assert_allclose(entropy_rate(grouped, 1.0), entropy_rate(alone, 1.0), atol=1e-14)


def test_single_exponents_of_a_gaussian():
    """The Jacobian of the score is -1/(s_j^2 + sigma^2) along every axis."""
    mixture = small_mixture(2, 3, seed=5)
    one = replace(
        mixture,
        means=mixture.means[:1].expand(2, 3),
        deviations=mixture.deviations[:1].expand(2, 3),
        axes=mixture.axes[:1].expand(2, 3, 3),
    )
    truth = np.sort(-1.0 / (mixture.deviations[0].numpy() ** 2 + noise_of(0.5) ** 2))
    np.testing.assert_allclose(exponents(one, 0.5), truth, atol=1e-9)


def test_half_of_the_loss_of_a_perfect_model_is_the_rate():
    """By Gauss and Hermite's rule over the noise, for every point: no chance in it."""
    data = empirical_distribution(LINE, torch.arange(4))
    points = isotropic_mixture(LINE.tolist(), 0.0)
    nodes, shares = roots_hermitenorm(90)
    noise = torch.from_numpy(nodes)[:, None]
    for level in (-2.0, 0.0):
        losses = [half_losses(data, point.expand(90, 1), noise, level) for point in LINE]
        found = np.mean(losses, axis=0) @ (shares / shares.sum())
        assert found == pytest.approx(float(entropy_rate(points, level)), abs=1e-7)  # 90 nodes
        worse = [half_losses(lambda x, s, c: 0.9 * data(x, s, c), point.expand(90, 1), noise, level) for point in LINE]
        x = LINE[:, None] + float(noise_of(level)) * noise
        denoised = data(x.reshape(-1, 1), torch.full((360,), float(noise_of(level)), dtype=torch.float64), None)
        missed = 0.5 * (0.1 * denoised.numpy() / float(noise_of(level))) ** 2
        added = missed.reshape(4, 90).mean(axis=0) @ (shares / shares.sum())
        assert np.mean(worse, axis=0) @ (shares / shares.sum()) == pytest.approx(found + added, abs=1e-7)


def test_three_forms_of_any_smooth_field():
    """E loss = 2 E divergence - E norm for a field that is no gradient, over the noise of one clean sample."""
    nodes, shares = roots_hermitenorm(40)
    noise = torch.from_numpy(np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2))
    weights = np.outer(shares, shares).reshape(-1) / shares.sum() ** 2
    clean = torch.tensor([[0.7, -0.2]], dtype=torch.float64).expand(1600, 2)
    by_axis = []
    for axis in torch.eye(2, dtype=torch.float64):  # the trace by both axes: no estimate
        forms = forms_of(crooked, clean, noise, 0.4, axis.expand(1600, 2))
        by_axis.append(weights @ forms.divergence)
    loss, norm = weights @ forms.loss, weights @ forms.norm
    assert loss == pytest.approx(2.0 * sum(by_axis) - norm, abs=1e-6)  # h^2/6 of the step 1e-3
    assert abs(loss - norm) > 0.1


def test_slopes_of_a_perfect_model_are_its_posterior_covariance():
    points = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    data = empirical_distribution(points, torch.arange(7))
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for level in (-1.0, 1.0):
        sigma = float(noise_of(level))
        covariance = data.covariance(x, torch.full((5,), sigma, dtype=torch.float64)).numpy()
        np.testing.assert_allclose(slopes_of(data, x, level), covariance / sigma**2, atol=1e-5)  # step 1e-3, h^2
        share = data.posterior(x, torch.full((5,), sigma, dtype=torch.float64)).exp().numpy()
        ordered = data.points.numpy()
        mean = share @ ordered
        for row in range(5):
            away = ordered - mean[row]
            np.testing.assert_allclose(covariance[row], (share[row][:, None] * away).T @ away, atol=1e-12)


def test_stretching_is_what_two_neighbours_on_the_probability_flow_do():
    """dx/dlambda = (D - x)/2, a fourth-order step from two states 1e-5 apart."""
    mixture = small_mixture(3, 2, seed=2)
    start, level, step = torch.tensor([[0.2, -0.1]], dtype=torch.float64), 0.3, 0.02

    def velocity(x, at):
        sigma = torch.full((len(x),), float(noise_of(at)), dtype=torch.float64)
        return 0.5 * (mixture(x, sigma, None) - x)

    def flow(x, h):
        one = velocity(x, level)
        two = velocity(x + 0.5 * h * one, level + 0.5 * h)
        three = velocity(x + 0.5 * h * two, level + 0.5 * h)
        return x + h / 6.0 * (one + 2.0 * two + 2.0 * three + velocity(x + h * three, level + h))

    slopes = slopes_of(mixture, start, level)[0]
    rates, directions = np.linalg.eigh(0.5 * (slopes + slopes.T))
    for rate, direction in zip(0.5 * (rates - 1.0), directions.T, strict=True):
        apart = 1e-5 * torch.from_numpy(direction)[None]
        grown = [float((flow(start + apart, h) - flow(start, h)).norm()) / 1e-5 for h in (step, -step)]
        assert (grown[0] - grown[1]) / (2.0 * step) == pytest.approx(rate, abs=1e-3)  # step^2
    np.testing.assert_allclose(stretching_rates(slopes), 0.5 * (rates - 1.0), atol=1e-12)
    mean = 0.5 * 2 + (0.5 * noise_of(level) ** 2 * exponents(mixture, level)).sum()
    assert mean == pytest.approx(float(entropy_rate(mixture, level)), abs=ENOUGH)


@pytest.mark.parametrize(
    "call",
    [
        lambda: small_mixture(1, 2, 0),
        lambda: small_mixture(2, 5, 0),
        lambda: entropy_rate(small_mixture(2, 1, 0), math.nan),
        lambda: ROUTES["score norm"](small_mixture(2, 1, 0), math.inf),
        lambda: ROUTES["denoising error"](isotropic_mixture(np.eye(5).tolist(), 1.0), 0.0),
        lambda: half_losses(crooked, torch.zeros(2, 2), torch.zeros(3, 2), 0.0),
        lambda: half_losses(crooked, torch.zeros(2, 2), torch.zeros(2, 2), math.nan),
        lambda: forms_of(crooked, torch.zeros(2, 2), torch.zeros(2, 2), 0.0, torch.zeros(2, 1)),
        lambda: forms_of(crooked, torch.zeros(2, 2), torch.zeros(2, 2), 0.0, torch.zeros(2, 2), step=0.0),
        lambda: slopes_of(crooked, torch.zeros(2, 2), 0.0, step=-1.0),
        lambda: stretching_rates([[1.0, 2.0]]),
        lambda: stretching_rates([[math.nan]]),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()
