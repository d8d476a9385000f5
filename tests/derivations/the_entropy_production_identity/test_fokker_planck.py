"""The Fokker-Planck equation on a grid against the Gaussian kernels of the Ornstein-Uhlenbeck process, and at rest."""

import math

import numpy as np
import pytest

from companion.errors import InputError
from companion.exact.laws import production_in_time
from companion.exact.mixtures import isotropic_mixture
from companion.forward import ornstein_uhlenbeck
from derivations.the_entropy_production_identity.fokker_planck import evolve, on_line

WIDE = on_line([-1.0, 1.2], 0.4, [0.3, 0.7], reach=10.0, nodes=501)
START = on_line([-1.0, 1.2], 0.4, [0.3, 0.7], reach=5.0, nodes=301)


def test_a_linear_drift_is_the_gaussian_kernel():
    mixture = isotropic_mixture([[-1.0], [1.2]], 0.4, [0.3, 0.7])
    process = ornstein_uhlenbeck()
    for t, later in zip((0.1, 0.5), evolve(WIDE, lambda x: -x, 2.0, [0.1, 0.5]), strict=True):
        # 1e-10 of quadrature, and the states of density below 1e-13.
        assert later.entropy() == pytest.approx(float(mixture.entropy(process.log_snr(np.array(t)))), abs=1e-9)
        assert later.production(2.0) == pytest.approx(float(production_in_time(mixture, process, t)), abs=1e-9)


def test_a_double_well_comes_to_rest_in_its_potential():
    """After a long time the density is exp(2 U) with f = U', and the class is forgotten."""
    (later,) = evolve(START, lambda x: x - x**3, 1.0, [60.0])
    at_rest = np.exp(2.0 * (START.x**2 / 2.0 - START.x**4 / 4.0))
    at_rest /= at_rest.sum() * (START.x[1] - START.x[0])
    np.testing.assert_allclose(later.joint.sum(axis=0), at_rest, atol=1e-8)
    assert later.entropy() == pytest.approx(-(0.3 * math.log(0.3) + 0.7 * math.log(0.7)), abs=1e-8)


def test_bad_input_is_refused():
    good = {"centres": [0.0, 1.0], "width": 0.2, "weights": [0.5, 0.5]}
    for case in ({"nodes": 300}, {"width": 0.0}, {"weights": [0.5, 0.6]}, {"centres": [0.0, 4.0]}):
        with pytest.raises(InputError, match=next(iter(case))):
            on_line(**good | case)
    start = on_line(**good, nodes=11)
    with pytest.raises(InputError, match="drift is"):
        evolve(START, lambda x: -x, 2.0, [0.5])
    with pytest.raises(InputError, match="g2 is"):
        evolve(start, lambda x: -x, 0.0, [1.0])
    with pytest.raises(InputError, match="times is"):
        evolve(start, lambda x: -x, 1.0, [-1.0])
