"""The probability flow against what it preserves, and the growth of a distance against its rates."""

import numpy as np
import pytest
from scipy.stats import norm

from companion.errors import InputError
from derivations.fixed_points_and_branching.data_in_noise import point_set
from derivations.fixed_points_and_branching.reverse_flow import reverse_flow


def test_on_a_line_the_share_below_a_trajectory_stays():
    places, weights = np.array([-1.4, -0.6, 0.6, 1.7]), np.array([0.2, 0.3, 0.4, 0.1])
    points = point_set(places[:, None], weights)
    flow = reverse_flow(points, [[-1.0], [0.3], [1.5]], np.geomspace(3.0, 0.2, 60), steps=8)
    shares = norm.cdf((flow.x[:, :, 0, None] - places) / flow.sigma[:, None, None]) @ weights
    assert shares == pytest.approx(np.broadcast_to(shares[0], shares.shape), abs=1e-8)  # the step to the fourth
    assert flow.rate[:, 0] == pytest.approx(
        [points.stretching(x, s)[-1] for x, s in zip(flow.x[:, 0], flow.sigma, strict=True)]
    )


def test_a_small_distance_grows_by_the_integrated_rate():
    points = point_set([[-1.0], [1.0]], [0.4, 0.6])
    levels, apart = np.geomspace(2.0, 0.3, 100), 1e-6
    flow = reverse_flow(points, [[-0.1], [-0.1 + apart]], levels)
    grown = np.log((flow.x[:, 1, 0] - flow.x[:, 0, 0]) / apart)
    # A distance that grows to 3e-5 is not infinitely small; the trapezoidal rule would be off by 7e-4 at these levels.
    assert flow.stretch[:, 0] == pytest.approx(grown, abs=1e-4)


@pytest.mark.parametrize(
    ("x", "sigma"), [([[0.0]], [1.0, 2.0]), ([[0.0]], [1.0]), ([0.0], [2.0, 1.0]), ([[0.0, 1.0]], [2.0, 1.0])]
)
def test_bad_input(x, sigma):
    with pytest.raises(InputError):
        reverse_flow(point_set([[-1.0], [1.0]]), x, sigma)
