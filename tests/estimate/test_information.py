"""The mutual information of samples and classes, against one-integral truths."""

import numpy as np
import pytest
import torch

from companion import mutual_information
from companion.exact.mixtures import isotropic_mixture
from companion.exact.two_gaussians import entropy


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_all_routes_agree_for_two_gaussians(distance):
    """Within four standard errors of the integral up to the last level, where kappa is distance^2 to 1e-4 of it: of six
    numbers one is outside once in 2600 seeds."""
    pair = isotropic_mixture([[-0.5 * distance], [0.5 * distance]], 1.0)
    found = mutual_information(pair, pair.sample(600, torch.Generator().manual_seed(1)), samples=400, levels=48)
    truth = np.log(2.0) - entropy(distance**2)
    for course in (found.of_model, found.of_data, found.mixture, found.null):
        assert abs(course.total.value - truth) < 4.0 * course.nats_se[-1] + 1e-3, course
    assert found.of_model.total.upper <= found.most
