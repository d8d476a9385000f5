"""Class entropy in space and time: its density and its source add up to what quadrature knows."""

import math

import numpy as np
import pytest

from companion.entropy import partition
from companion.errors import InputError
from companion.exact.laws import production_in_time
from companion.exact.mixtures import isotropic_mixture
from companion.forward import cosine, ornstein_uhlenbeck, rectified_flow, variance_exploding
from derivations.kit.independent_productions import random_mixture
from derivations.the_entropy_production_identity.entropy_fields import (
    entropy_current,
    entropy_density,
    entropy_source,
)

LINE = isotropic_mixture([[-1.0], [0.3], [1.2]], [0.3, 0.5, 0.2], [0.2, 0.5, 0.3])
SIDES = LINE.sides(partition(LINE, [0, 2], [1], "true"))
X = np.linspace(-12.0, 12.0, 4001)


@pytest.mark.parametrize("mixture", [LINE, SIDES], ids=["three classes", "two sides"])
@pytest.mark.parametrize(
    "process", [ornstein_uhlenbeck(), cosine(), variance_exploding(), rectified_flow()], ids=lambda one: one.name
)
def test_density_and_source_integrate_to_entropy_and_production(mixture, process):
    times = np.array([[0.1], [0.5], [0.9]])
    step = X[1] - X[0]
    entropies = entropy_density(mixture, process, times, X).sum(axis=1) * step
    np.testing.assert_allclose(entropies, mixture.entropy(process.log_snr(times[:, 0])), atol=1e-9, rtol=0.0)
    rates = entropy_source(mixture, process, times, X).sum(axis=1) * step
    np.testing.assert_allclose(rates, production_in_time(mixture, process, times[:, 0]), atol=1e-9, rtol=0.0)


def test_nothing_flows_through_the_middle_of_a_symmetric_pair():
    pair = isotropic_mixture([[-1.0], [1.0]], 0.1)
    assert float(entropy_current(pair, ornstein_uhlenbeck(), 0.5, 0.0)) == pytest.approx(0.0, abs=1e-15)
    left, right = entropy_current(pair, ornstein_uhlenbeck(), 0.5, [-0.7, 0.7])
    assert left == pytest.approx(-right)


@pytest.mark.parametrize("function", [entropy_density, entropy_source, entropy_current])
def test_what_cannot_be_computed_is_refused(function):
    process = variance_exploding()
    for time in (math.nan, -1.0):
        with pytest.raises(InputError, match="times between"):
            function(LINE, process, time, 0.0)
    with pytest.raises(InputError, match="noise and signal"):
        function(LINE, process, 0.0, 0.0)
    with pytest.raises(InputError, match="one-dimensional"):
        function(random_mixture(2, 2, seed=0), process, 1.0, 0.0)
