"""Rules of a standard normal against its moments and against functions whose means are known."""

import math

import pytest
import torch
from scipy import stats

from companion.exact.quadrature_nodes import plane_rule, radial_rule, space_rule

RULES = {
    "line": plane_rule(150, 1),
    "plane": plane_rule(150, 2),
    "space": space_rule(0.4),
    "radial": radial_rule(150, 3),
    "radial, many": radial_rule(150, 200),
}


@pytest.mark.parametrize("name", RULES)
def test_moments(name):
    """E|x|^2 = d, E x_1^4 = 3, E x_1 = 0; a ball of 7.5 deviations leaves 1e-10 of the fourth moment out."""
    nodes, weights = RULES[name]
    dimension = nodes.shape[1]
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-13)
    assert float(weights @ nodes.square().sum(dim=1)) == pytest.approx(dimension, rel=1e-9)
    assert float(weights @ nodes[:, 0] ** 4) == pytest.approx(3.0, abs=1e-8)
    assert float(weights @ nodes[:, 0]) == pytest.approx(0.0, abs=1e-13)


@pytest.mark.parametrize("name", RULES)
def test_a_smooth_function_of_the_distance(name):
    """E exp(-|x|^2 / 2d) = (1 + 1/d)^(-d/2)."""
    nodes, weights = RULES[name]
    dimension = nodes.shape[1]
    mean = float(weights @ torch.exp(-0.5 * nodes.square().sum(dim=1) / dimension))
    assert mean == pytest.approx((1.0 + 1.0 / dimension) ** (-0.5 * dimension), rel=1e-10)


def test_the_radius_is_a_chi_variable():
    nodes, weights = radial_rule(400, 5)
    assert float(weights @ nodes[:, 1]) == pytest.approx(stats.chi(4).mean(), rel=1e-10)
    assert float(weights @ torch.log(nodes[:, 1])) == pytest.approx(0.5 * (math.log(2.0) + 1.0 - 0.5772156649015329))
