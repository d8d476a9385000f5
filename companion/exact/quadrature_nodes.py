"""Nodes and weights with which expectations of a standard normal become sums, in one to three dimensions and radially.

Every rule returns nodes (n, dimension) and weights (n,), float64, that sum to one.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["FARTHEST", "FARTHEST_IN_SPACE", "plane_rule", "radial_rule", "space_rule"]

FARTHEST = 9.0  # deviations, beyond which a Gaussian is negligible, 1e-18
FARTHEST_IN_SPACE = 7.5  # 4e-12 of the mass in three dimensions lies beyond


def plane_rule(intervals: int, dimension: int) -> tuple[Tensor, Tensor]:
    """The trapezoidal rule in one or two dimensions, `intervals` steps over 2 * 9 deviations along each axis.

    >>> nodes, weights = plane_rule(150, 1)
    >>> round(float(weights @ nodes[:, 0] ** 4), 12)
    3.0
    """
    u = torch.linspace(-FARTHEST, FARTHEST, intervals + 1, dtype=torch.float64)
    share = torch.softmax(-0.5 * u**2, dim=0)
    if dimension == 1:
        return u[:, None], share
    return torch.cartesian_prod(u, u), torch.outer(share, share).reshape(-1)


@lru_cache(maxsize=4)
def space_rule(step: float) -> tuple[Tensor, Tensor]:
    """The trapezoidal rule in three dimensions, on a cubic grid inside a ball of 7.5 deviations.

    >>> nodes, weights = space_rule(0.5)
    >>> round(float(weights @ nodes[:, 0] ** 2), 9)
    1.0
    """
    reach = math.floor(FARTHEST_IN_SPACE / step)
    u = step * torch.arange(-reach, reach + 1, dtype=torch.float64)
    nodes = torch.cartesian_prod(u, u, u)
    square = nodes.square().sum(dim=1)
    inside = square <= FARTHEST_IN_SPACE**2
    return nodes[inside], torch.softmax(-0.5 * square[inside], dim=0)


@lru_cache(maxsize=8)
def radial_rule(intervals: int, dimension: int) -> tuple[Tensor, Tensor]:
    """A rule in `dimension` dimensions, three or more, for functions of x_1 and of |x_2, ..., x_d|.

    The radius of the other d - 1 coordinates, which has the density r^(d-2) e^(-r^2/2) up to a constant, is laid along
    the second axis; its range may end at 0, where only Gauss's rule is accurate.

    >>> nodes, weights = radial_rule(150, 10)
    >>> round(float(weights @ (nodes**2).sum(dim=1)), 9)
    10.0
    """
    line, line_share = plane_rule(intervals, 1)
    typical = math.sqrt(dimension - 1.0)
    first, last = max(0.0, typical - FARTHEST), typical + FARTHEST
    nodes, gauss = map(torch.from_numpy, np.polynomial.legendre.leggauss(intervals))
    radius = first + 0.5 * (last - first) * (nodes + 1.0)
    radius_share = torch.softmax(gauss.log() + (dimension - 2) * radius.log() - 0.5 * radius**2, dim=0)
    units = torch.zeros(len(line), len(radius), dimension, dtype=torch.float64)
    units[:, :, 0], units[:, :, 1] = line, radius
    return units.reshape(-1, dimension), torch.outer(line_share, radius_share).reshape(-1)
