"""Noise that belongs to the sample: path number n of a seed always meets the same noise, whoever it travels with.

So a run can be stopped and resumed, split over processes, or given more paths, and path n is the same path.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from companion.errors import InputError

__all__ = ["check_seed", "path_noise"]


def path_noise(seed: int, paths: Sequence[int], dimension: int, stream: int = 0) -> Iterator[NDArray[np.float64]]:
    """Standard normal numbers (paths, dimension), float64, without end: one draw for each step of the paths.

    Path n draws from Philox (Salmon et al. 2011) with the key (seed, n); `stream` tells uses of one seed apart.

    >>> float(next(path_noise(7, [0, 1], 2))[1, 0] - next(path_noise(7, [1], 2))[0, 0])
    0.0
    """
    generators = [np.random.Generator(np.random.Philox(key=[seed, path], counter=[0, 0, 0, stream])) for path in paths]
    # A generator is slow to call and fast to draw: it is asked for many numbers at once, which changes none of them.
    steps = max(1, min(1024 // dimension, 64))
    while True:
        drawn = np.empty((len(generators), steps, dimension))
        for generator, of_path in zip(generators, drawn, strict=True):
            generator.standard_normal(out=of_path)
        yield from drawn.swapaxes(0, 1)


def check_seed(seed: int) -> int:
    """The seed as a plain int; InputError for one that no generator takes.

    >>> check_seed(np.int64(3))
    3
    """
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise InputError("seed", seed, "a whole number from 0 to 2^63 - 1")
    return int(seed)
