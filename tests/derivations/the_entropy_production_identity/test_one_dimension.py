"""Cauchy and box classes: their noised densities against convolutions, their entropies against Gaussian limits."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from companion.errors import InputError
from derivations.the_entropy_production_identity.one_dimension import box_classes, cauchy_classes

CAUCHY = cauchy_classes([-1.0, 1.0], 0.5, [0.3, 0.7])
BOXES = box_classes([0.0, 0.5], 1.0, [0.3, 0.7])


@pytest.mark.parametrize("x", [-3.0, -0.4, 0.0, 0.9, 5.0])
def test_densities_are_convolutions_and_slopes_their_derivatives(x):
    sigma, step = 0.4, 1e-5
    for classes, clean in (
        (CAUCHY, [stats.cauchy(-1.0, 0.5), stats.cauchy(1.0, 0.5)]),
        (BOXES, [stats.uniform(0.0, 1.0), stats.uniform(0.5, 1.0)]),
    ):
        density, slope = classes.densities(x, sigma)
        for c, law in enumerate(clean):
            # The clean density is averaged over the noise; the edges of a box are given to the integrator.
            edges = [edge for edge in (0.0, 0.5, 1.0, 1.5) if abs(edge - x) < 10.0 * sigma]
            truth = integrate.quad(
                lambda y, law=law: law.pdf(y) * stats.norm.pdf(x, y, sigma),
                x - 10.0 * sigma,
                x + 10.0 * sigma,
                points=edges or None,
                epsabs=1e-13,
            )[0]
            assert density[c] == pytest.approx(truth, abs=1e-10)
        difference = (classes.densities(x + step, sigma)[0] - classes.densities(x - step, sigma)[0]) / (2.0 * step)
        np.testing.assert_allclose(slope, difference, atol=1e-8)


def test_clean_boxes_leave_what_they_share():
    assert BOXES.entropy(1e-7) == pytest.approx(-0.5 * (0.3 * math.log(0.3) + 0.7 * math.log(0.7)), abs=1e-6)


def test_much_noise_leaves_the_prior():
    prior = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    assert BOXES.entropy(1e3) == pytest.approx(prior, abs=1e-6)
    assert CAUCHY.entropy(1e4) == pytest.approx(prior, abs=1e-4)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="scale is"):
        cauchy_classes([0.0, 1.0], 0.0, [0.5, 0.5])
    with pytest.raises(InputError, match="length is"):
        box_classes([0.0, 1.0], math.nan, [0.5, 0.5])
    with pytest.raises(InputError, match="weights is"):
        box_classes([0.0, 1.0], 1.0, [0.5])
    for sigma in (0.0, math.nan):
        for function in (BOXES.entropy, BOXES.production):
            with pytest.raises(InputError, match="sigma is"):
                function(sigma)
