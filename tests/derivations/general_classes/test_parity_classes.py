"""Classes of signs: against mixtures by quadrature, against drawn samples, and against their own derivative."""

import itertools

import numpy as np
import pytest
from scipy import stats

from companion.entropy import binary_entropy
from companion.errors import InputError
from companion.exact import two_gaussians
from companion.exact.mixtures import isotropic_mixture
from companion.forward import noise_of
from derivations.general_classes.parity_classes import (
    sample_log_odds,
    sign_pair,
)

LEVELS = np.linspace(-4.0, 3.0, 5)


def as_mixture(pair):
    """One tuple as a mixture of points."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=pair.order)))
    likely = (1.0 + pair.correlation * signs.prod(axis=1)) / len(signs)
    weights = np.concatenate([np.full(len(signs), 0.5 / len(signs)), 0.5 * likely])
    return isotropic_mixture(np.tile(signs, (2, 1)), 0.0, weights.tolist(), [0] * len(signs) + [1] * len(signs))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("correlation", [0.3, 0.8, 0.98])
def test_one_tuple_is_the_mixture_by_quadrature(order, correlation):
    pair = sign_pair(order, order, correlation)
    mixture = as_mixture(pair)
    # 1e-10 is what the quadrature of mixtures promises
    np.testing.assert_allclose(pair.entropy(LEVELS), mixture.entropy(LEVELS), rtol=0.0, atol=1e-10)
    np.testing.assert_allclose(pair.production(LEVELS), mixture.production(LEVELS), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize(("dimension", "order"), [(60, 2), (60, 3), (60, 4), (4096, 2)])
def test_entropy_and_moments_against_samples(dimension, order):
    pair, generator = sign_pair(dimension, order), np.random.default_rng(dimension + order)
    level = -np.log(dimension / order) / order + 0.5  # where kappa is of order one
    draws = sample_log_odds(pair, level, 4000 if dimension < 100 else 1000, generator)
    entropies = binary_entropy(draws)
    assert abs(entropies.mean() - pair.entropy(level)) < 4.0 * entropies.std() / np.sqrt(len(draws))
    first = draws[: len(draws) // 2]
    mean, deviation = pair.log_odds_moments(level)
    assert abs(first.mean() - mean) < 4.0 * deviation / np.sqrt(len(first))
    assert first.std() == pytest.approx(float(deviation), rel=4.0 / np.sqrt(len(first)))  # its own error: 0.7/sqrt(n)


def test_draws_are_of_the_first_class_and_then_of_the_second():
    pair, generator = sign_pair(600), np.random.default_rng(5)
    # Almost no noise: the mean log-odds of 300 tuples is +-150 with a deviation of 20.
    draws = sample_log_odds(pair, 4.0, 8, generator)
    assert np.all(draws[:4] > 0.0) and np.all(draws[4:] < 0.0)
    # E_B L = -E_A (p_B / p_A) log(p_B / p_A), for a tuple over two independent states of fair signs.
    level = -2.0
    sigma, count = float(noise_of(level)), 1000
    x = np.linspace(-1.0 - 9.0 * sigma, 1.0 + 9.0 * sigma, 401)
    share = stats.norm.pdf(x, 1.0, sigma) + stats.norm.pdf(x, -1.0, sigma)
    share /= share.sum()
    ratio = 1.0 + 0.8 * np.outer(np.tanh(x / sigma**2), np.tanh(x / sigma**2))
    mean = -300.0 * float(share @ (ratio * np.log(ratio)) @ share)
    second = sample_log_odds(pair, level, 2 * count, generator)[count:]
    assert abs(second.mean() - mean) < 4.0 * second.std() / np.sqrt(count)


def test_moments_of_a_pair_of_signs_are_two_dimensional_integrals():
    pair, level = sign_pair(2, 2), -0.4
    sigma = float(noise_of(level))

    x = np.linspace(-1.0 - 9.0 * sigma, 1.0 + 9.0 * sigma, 401)
    share = stats.norm.pdf(x, 1.0, sigma) + stats.norm.pdf(x, -1.0, sigma)
    share /= share.sum()
    log_odds = -np.log1p(0.8 * np.outer(np.tanh(x / sigma**2), np.tanh(x / sigma**2)))
    mean, deviation = pair.log_odds_moments(level)
    assert mean == pytest.approx(share @ log_odds @ share, abs=1e-13)
    assert deviation**2 + mean**2 == pytest.approx(share @ log_odds**2 @ share, abs=1e-13)


@pytest.mark.parametrize(("dimension", "order"), [(12, 3), (65536, 2), (3 * 2**14, 3)])
def test_production_is_the_derivative(dimension, order):
    pair, step = sign_pair(dimension, order), 2e-4
    levels = -np.log(dimension / order) / order + np.linspace(-3.0, 4.0, 15)
    slope = (pair.entropy(levels - step) - pair.entropy(levels + step)) / (2.0 * step)
    # step^2/6 times a third derivative, of at most about 10 in these families
    np.testing.assert_allclose(pair.production(levels), slope, rtol=0.0, atol=1e-7)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_control_parameter_is_that_of_the_moment_tensors(order):
    # |Delta M_k|^2 has k! entries of tau^2 a tuple, so snr^k |Delta M_k|^2 / k! = (d/k) tau^2 snr^k. E T^2 is snr less
    # snr^2 to leading order, which at snr = e^-12 leaves k e^-12.
    pair = sign_pair(60, order)
    assert pair.control_parameter(-12.0) == pytest.approx(60 / order * 0.64 * np.exp(-12.0 * order), rel=1e-4)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_entropy_tends_to_the_two_class_curve(order):
    errors = []
    for dimension in (order * 2**12, order * 2**16):
        pair = sign_pair(dimension, order)
        levels = -np.log(dimension / order) / order + np.linspace(-1.0, 2.0, 16)
        errors.append(np.abs(pair.entropy(levels) - two_gaussians.entropy(pair.control_parameter(levels))).max())
    assert errors[1] < 0.4 * errors[0] < 0.004


def test_little_noise_leaves_nothing_and_much_noise_leaves_all():
    pair = sign_pair(900, 3)
    assert abs(float(pair.entropy(6.0))) < 1e-13
    assert float(pair.entropy(-15.0)) == pytest.approx(np.log(2.0), abs=1e-13)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (lambda: sign_pair(7, 2), "dimension"),
        (lambda: sign_pair(0, 2), "dimension"),
        (lambda: sign_pair(4, 0), "order"),
        (lambda: sign_pair(4, 2, 0.0), "correlation"),
        (lambda: sign_pair(4, 2, 1.0), "correlation"),
        (lambda: sign_pair(4, 2, float("nan")), "correlation"),
        (lambda: sign_pair(4).entropy(np.nan), "log_snr"),
        (lambda: sample_log_odds(sign_pair(4), 0.0, 3, np.random.default_rng(0)), "count"),
    ],
)
def test_bad_input_is_named(bad, named):
    with pytest.raises(InputError, match=named):
        bad()
