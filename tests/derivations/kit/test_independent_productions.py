"""Three routes to one production: they agree with each other and with the package, and refuse what they cannot do."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.errors import InputError
from companion.exact.mixtures import isotropic_mixture
from derivations.kit.independent_productions import (
    production_from_entropy,
    production_from_errors,
    production_from_scores,
    random_mixture,
)

ROUTES = (production_from_entropy, production_from_scores, production_from_errors)
ENOUGH = 1e-8  # the slowest to converge, the Hermite rule, misses 1e-9 on these mixtures


@settings(max_examples=15, derandomize=True)
@given(
    components=st.integers(2, 5),
    dimension=st.integers(1, 2),
    seed=st.integers(0, 1000),
    log_snr=st.floats(-1.5, 0.7),
)
def test_the_routes_agree_on_a_line_and_in_a_plane(components, dimension, seed, log_snr):
    mixture = random_mixture(components, dimension, seed)
    values = [route(mixture, log_snr) for route in ROUTES]
    np.testing.assert_allclose(values, float(mixture.production(log_snr)), atol=ENOUGH, rtol=0.0)


@pytest.mark.parametrize("components", [2, 3, 4, 5])
def test_the_routes_agree_in_space(components):
    mixture = random_mixture(components, 3, seed=3)
    values = [route(mixture, 0.2) for route in ROUTES]
    np.testing.assert_allclose(values, float(mixture.production(0.2)), atol=ENOUGH, rtol=0.0)


def test_points_in_a_plane_have_no_covariance_and_agree():
    triangle = isotropic_mixture([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]], 0.0, [0.5, 0.3, 0.2])
    values = [route(triangle, 0.0) for route in ROUTES]
    np.testing.assert_allclose(values, float(triangle.production(0.0)), atol=ENOUGH, rtol=0.0)


def test_random_mixtures_are_what_they_say():
    mixture = random_mixture(5, 3, seed=1)
    assert float(mixture.deviations.min()) >= 0.5
    assert float(mixture.deviations.max()) <= 1.5
    assert float(mixture.component_weights.max() / mixture.component_weights.min()) <= 6.0
    assert bool((random_mixture(5, 3, seed=1).means == mixture.means).all())
    assert not bool((random_mixture(5, 3, seed=2).means == mixture.means).all())


def test_what_the_routes_cannot_do_is_refused():
    mixture = random_mixture(2, 1, seed=0)
    for route in ROUTES:
        for log_snr in (math.nan, math.inf):
            with pytest.raises(InputError, match="finite log-snr"):
                route(mixture, log_snr)
    grouped = isotropic_mixture([[0.0], [1.0], [2.0]], 1.0, component_classes=[0, 0, 1])
    for route in (production_from_scores, production_from_errors):
        with pytest.raises(InputError, match="one component a class"):
            route(grouped, 0.0)
    with pytest.raises(InputError, match="components is"):
        random_mixture(1, 1, seed=0)
    with pytest.raises(InputError, match="dimension is 4"):
        random_mixture(2, 4, seed=0)
