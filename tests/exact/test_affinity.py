"""The spectral formula for the class entropy: against the binary integral, and against adaptive quadrature."""

import numpy as np
import pytest
from scipy import integrate

from companion.entropy import binary_entropy
from companion.exact import two_gaussians
from companion.exact.affinity import LINE, entropy_on_line, production_on_line

KAPPA = np.array([1e-6, 1e-2, 1.0, 4.17605, 20.0, 100.0, 350.0])
ROUNDING = 2e-15  # a sum of 449 terms of at most log 2


def test_two_gaussians_are_the_binary_integral():
    # Equal Gaussians with control parameter kappa have Z(q) = exp(-q (1-q) kappa / 2).
    log_affinity = -0.5 * KAPPA[:, None] * LINE * (1.0 - LINE)
    np.testing.assert_allclose(entropy_on_line(log_affinity), two_gaussians.entropy(KAPPA), rtol=0.0, atol=ROUNDING)
    # R = -(d log Z / d log kappa) / (q (1-q)) gives the production per unit of log kappa.
    rate = 0.5 * KAPPA[:, None] * np.ones_like(LINE)
    by_kappa = KAPPA * two_gaussians.production(KAPPA)
    np.testing.assert_allclose(production_on_line(log_affinity, rate), by_kappa, rtol=0.0, atol=ROUNDING)


def test_what_is_cut_off_is_below_rounding():
    # Beyond 11 lies e^(-11 pi) / pi of R = 1/2, 1.6e-16; beyond 10 it would be 3.6e-15.
    equal = np.zeros(len(LINE), dtype=complex)
    assert abs(float(production_on_line(equal, 0.5 * np.ones_like(equal))) - 0.125) < 1e-15


@pytest.mark.parametrize("omega", [0.0, 0.7, 2.0])
def test_transform_of_the_kernel(omega):
    def kernel(log_odds):
        return np.cosh(0.5 * log_odds) * float(binary_entropy(log_odds)) * np.cos(omega * log_odds)

    transform, _ = integrate.quad(kernel, -80.0, 80.0, limit=400, epsabs=1e-12)
    assert transform == pytest.approx(0.5 * np.pi / ((0.25 + omega**2) * np.cosh(np.pi * omega)), abs=1e-11)
