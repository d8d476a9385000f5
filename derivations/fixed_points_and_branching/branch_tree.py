"""The tree in which the points of a set part: all their fixed-point paths, from the data up to where one is left.

The path of a data point is followed upward in sigma until it ends, in a fold or a fork. The state left there runs up
the log density into another stable fixed point, and the path goes on from that one, which as a rule belongs to other
data points already: their branches join. Above half the largest distance of two points a single path is left.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from companion.arguments import Array
from derivations.fixed_points_and_branching.data_in_noise import PointSet, positive_level
from derivations.fixed_points_and_branching.fixed_points import Path, follow, relax

_BEYOND = 1e-5  # how far above a turn, in log sigma, the next fixed point is looked for
_SAME = 1e-4  # two stable fixed points are one if they are closer, in units of sigma
_KICKED, _KICK = 1e-2, 0.05  # how far below a fork a path is left, in log sigma, and by how many sigma


@dataclass(frozen=True, eq=False)
class Group:
    """Data points that share one stable path, from its first level to its last."""

    members: tuple[int, ...]
    path: Path


@dataclass(frozen=True)
class Merger:
    """Groups of data points whose paths are one from the level `sigma` upward.

    "fold": one branch ends, and jumps to the others. "fork": mirror images meet without a jump.
    """

    sigma: float
    groups: tuple[tuple[int, ...], ...]
    kind: Literal["fold", "fork"]

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(sorted(member for group in self.groups for member in group))


@dataclass(frozen=True, eq=False)
class Tree:
    """All stable paths of the data points, piece by piece, and the mergers from small sigma to large."""

    groups: tuple[Group, ...]
    mergers: tuple[Merger, ...]

    def partition(self, sigma: float) -> tuple[tuple[int, ...], ...]:
        """Which data points share a path at a level: the equivalence classes after ID 41, sorted.

        Raises InputError for a level that is not positive and finite.
        """
        level = positive_level("sigma", sigma)
        parts: set[tuple[int, ...]] = {(member,) for group in self.groups for member in group.members}
        for merger in self.mergers:
            if merger.sigma <= level:
                parts = {part for part in parts if not set(part) <= set(merger.members)} | {merger.members}
        return tuple(sorted(parts))


def branch_tree(points: PointSet) -> Tree:
    """The tree of a point set.

    Every merger is found where its branch ends: to rounding for folds. A branch that ends may jump to a top of the
    density that belongs to no data point; it then goes on alone, and what lands there later joins it. Source: ID 41.

    >>> from derivations.fixed_points_and_branching.data_in_noise import point_set
    >>> tree = branch_tree(point_set([[-1.4], [-0.6], [0.6], [1.4]]))
    >>> [(merger.members, merger.kind, round(merger.sigma, 4)) for merger in tree.mergers]
    [((0, 1), 'fold', 0.398), ((2, 3), 'fold', 0.398), ((0, 1, 2, 3), 'fork', 0.8854)]
    >>> tree.partition(0.5)
    ((0, 1), (2, 3))
    """
    highest, start = 0.51 * points.diameter, 0.05 * points.nearest
    active = [Group((j,), _rising(points, y, start, highest)) for j, y in enumerate(points.points)]
    done, mergers = [], []
    while min(group.path.sigma[-1] for group in active) < highest * (1.0 - 1e-12):
        end = min(group.path.sigma[-1] for group in active)
        level = end * np.exp(_BEYOND)
        # Where every group is just above the turn: an ended one where it has run to, the others on their paths.
        ended = [group for group in active if group.path.sigma[-1] <= level]
        landed = [
            relax(points, group.path.x[-1], level) if group in ended else _at(points, group.path, level)
            for group in active
        ]
        for group in ended:
            if group not in active:
                continue  # it has joined an earlier one
            state = landed[active.index(group)]
            near = [bool(np.linalg.norm(other - state) < _SAME * level) for other in landed]
            together = [one for one, close in zip(active, near, strict=True) if close]
            hosts = [one for one in together if one not in ended]
            path = _part(hosts[0].path, level, highest) if hosts else _rising(points, state, level, highest)
            if len(together) > 1:
                kind: Literal["fold", "fork"] = "fold" if hosts or not all(map(_forks, together)) else "fork"
                mergers.append(Merger(float(end), tuple(sorted(one.members for one in together)), kind))
            done += [Group(one.members, _part(one.path, 0.0, level)) for one in together]
            members = tuple(sorted(member for one in together for member in one.members))
            active = [one for one in active if one not in together] + [Group(members, path)]
            landed = [other for other, close in zip(landed, near, strict=True) if not close] + [state]
    return Tree(tuple(done + active), tuple(mergers))


def found_from_noise(points: PointSet, kicked: bool = True) -> tuple[int, ...]:
    """The data points that are reached when the one fixed point of much noise is followed down to little noise.

    At a fork the path loses its stability; with `kicked` it is left there along the top eigenvector, to both sides.
    Folds are gone through, but what hangs on a fold of its own is never met. Source: ID 41.

    >>> from derivations.fixed_points_and_branching.data_in_noise import point_set
    >>> found_from_noise(point_set([[-1.0], [1.0]])), found_from_noise(point_set([[-1.0], [1.1], [2.0]]))
    ((0, 1), (1,))
    """
    highest, lowest = 0.51 * points.diameter, 0.05 * points.nearest
    starts = [(relax(points, points.weights @ points.points, highest), highest)]
    found: set[int] = set()
    while starts:
        state, level = starts.pop()
        path = follow(points, state, level, lowest)
        fork = next((turn for turn in path.turns if turn.kind == "crossing"), None)
        if fork is not None and kicked:
            below = fork.sigma * np.exp(-_KICKED)
            direction = np.linalg.eigh(points.covariance(fork.x, fork.sigma))[1][:, -1] * _KICK * below
            starts += [(relax(points, fork.x + side * direction, below), below) for side in (1.0, -1.0)]
        elif path.unstable[-1] == 0 and path.sigma[-1] < highest * 0.9:
            found.add(int(np.linalg.norm(points.points - path.x[-1], axis=1).argmin()))
    return tuple(sorted(found))


def _rising(points: PointSet, state: Array, level: float, highest: float) -> Path:
    return follow(points, state, level, highest, to_first_turn=True)


def _at(points: PointSet, path: Path, level: float) -> Array:
    """The state of a stable path at a level between two of its states."""
    near = [np.interp(np.log(level), np.log(path.sigma), coordinate) for coordinate in path.x.T]
    return relax(points, np.array(near), level)


def _part(path: Path, first: float, last: float) -> Path:
    """A rising path between two levels, with the state before the first of them."""
    inside = slice(max(0, int(np.searchsorted(path.sigma, first)) - 1), int(np.searchsorted(path.sigma, last, "right")))
    return Path(path.sigma[inside], path.x[inside], path.unstable[inside], path.turns)


def _forks(group: Group) -> bool:
    return bool(group.path.turns) and group.path.turns[-1].kind == "fork"
