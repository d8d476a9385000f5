"""Point sets: posterior, denoiser and covariance against the exact finite data set and against differences."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from companion.errors import InputError
from companion.exact.empirical import empirical_distribution
from derivations.fixed_points_and_branching.data_in_noise import point_set


@given(seed=st.integers(0, 1000), dimension=st.integers(1, 4), sigma=st.floats(0.3, 3.0))
def test_denoiser_is_that_of_the_finite_data_set(seed, dimension, sigma):
    draw = np.random.default_rng(seed)
    places, x = draw.standard_normal((5, dimension)), draw.standard_normal(dimension)
    data = empirical_distribution(torch.from_numpy(places), torch.tensor([0, 0, 1, 1, 1]))
    points = point_set(data)
    expected = data(torch.from_numpy(x)[None], torch.tensor([sigma], dtype=torch.float64), None)[0].numpy()
    assert points.denoised(x, sigma) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    # sigma^2 dD/dx by central differences: their error is of the order of the step squared.
    step = 1e-5
    slopes = [
        (points.denoised(x + e, sigma) - points.denoised(x - e, sigma)) / (2.0 * step) for e in step * np.eye(dimension)
    ]
    assert points.covariance(x, sigma) == pytest.approx(sigma**2 * np.array(slopes), abs=1e-7)


def test_in_its_span_keeps_distances_and_rates():
    draw = np.random.default_rng(1)
    places, weights = draw.standard_normal((4, 50)), draw.dirichlet(np.ones(4))
    points = point_set(places, weights)
    flat = points.in_its_span()
    assert flat.points.shape == (4, 3)
    assert flat.diameter == pytest.approx(points.diameter, rel=1e-12)
    assert flat.spread == pytest.approx(points.spread, rel=1e-12)
    centre = weights @ places
    assert flat.stretching(np.zeros(3), 5.0) == pytest.approx(points.stretching(centre, 5.0)[-3:], abs=1e-12)
    assert points.stretching(centre, 5.0)[:-3] == pytest.approx(-1.0, abs=1e-12)  # nothing to learn across the span


@pytest.mark.parametrize(
    ("points", "weights"),
    [
        ([[0.0]], None),
        ([[0.0], [0.0]], None),
        ([0.0, 1.0], None),
        ([[0.0], [np.nan]], None),
        ([[0.0], [1.0]], [0.5, 0.6]),
        ([[0.0], [1.0]], [0.2, 0.3, 0.5]),
    ],
)
def test_bad_input(points, weights):
    with pytest.raises(InputError):
        point_set(points, weights)


@pytest.mark.parametrize("question", ["posterior", "log_density", "denoised", "covariance", "stretching"])
def test_bad_states_and_levels(question):
    asked = getattr(point_set([[0.0], [1.0]]), question)
    for x in ([], [np.nan], [0.0, 1.0], 0.0, [[0.0]], "many", None):
        with pytest.raises(InputError, match=r"^x is"):
            asked(x, 1.0)
    for sigma in (0.0, -1.0, np.nan, np.inf, 1e-200, [1.0], "much", None):
        with pytest.raises(InputError, match=r"^sigma is"):
            asked([0.0], sigma)
