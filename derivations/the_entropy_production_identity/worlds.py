"""Where the identities of the production are checked: abstract densities, random fields, noised mixtures.

LOCAL      densities that obey one Fokker-Planck equation, in coordinates
FIELDS     random densities and scores: algebra
SLIPS      the same, with a score of the mixture that is wrong by e
MIXTURES   noised Gaussian mixtures, with the differential entropies of their states
SIDES      a partition A | B of such mixtures
"""

from dataclasses import replace

import numpy as np
import torch
from sympy import Derivative, Function, Integer, Symbol, symbols

from companion.arguments import Array
from companion.entropy import partition
from companion.exact.mixtures import GaussianMixture, isotropic_mixture
from companion.forward import Process, ornstein_uhlenbeck, variance_exploding
from derivations.kit.coordinates import Divergence, in_coordinates, velocity
from derivations.kit.differences import slope
from derivations.kit.language import i, j, k, mixture_score, state, t
from derivations.kit.worlds import World, Worlds, on_mixture, random_fields

entropy_of_states, entropy_in_class = Function("H_X")(t), Function("H_{X|Z}")(t)  # differential entropies
A, B = symbols("A B", integer=True, positive=True)  # the two sides of a partition
mixture_slip = Symbol("e")  # what an approximate score of the mixture is wrong by, a vector field


def noised(mixture: GaussianMixture, process: Process, time: float) -> World:
    """A noised mixture on a grid, with the differential entropies of its states and the divergence of its drift."""
    world = on_mixture(mixture, process, time)
    x, weights = torch.from_numpy(world.values[state]), torch.from_numpy(world.weights)
    clean = torch.zeros(len(x), dtype=torch.float64)

    def entropies(at: float) -> Array:
        seen = mixture.diffused(process, at)
        logs = [seen.log_density(x, clean, c) for c in (None, *range(len(mixture.classes)))]
        all_states, *by_class = [-float(weights @ (each.exp() * each)) for each in logs]
        return np.array([all_states, np.dot(mixture.weights, by_class)])

    names, rates = (entropy_of_states, entropy_in_class), slope(entropies, time, 0.01 * time)
    values = {
        **dict(zip(names, entropies(time), strict=True)),
        **{Derivative(name, t): rate for name, rate in zip(names, rates, strict=True)},
        Divergence(velocity): np.full((len(x), 1), mixture.shape[0] * float(process.drift(np.asarray(time)))),
    }
    return replace(world, values={**world.values, **values})


def naming(world: World, **classes: int) -> World:
    """The same world with classes for the indices that no sum binds."""
    names = {symbol: Integer(classes[str(symbol)]) for symbol in (i, j, k, A, B) if str(symbol) in classes}
    return replace(world, prepare=lambda expression: expression.xreplace(names))


def _slipped(*fields: int) -> World:
    """Random fields, and a random error of the mixture's score."""
    world = random_fields(*fields)
    slip = np.random.default_rng(2).standard_normal(world.values[mixture_score].shape)
    return replace(world, values={**world.values, mixture_slip: slip})


def _two_sides(mixture: GaussianMixture, process: Process) -> World:
    """The two sides of a partition of three noised classes, on a grid."""
    return naming(on_mixture(mixture.sides(partition(mixture, [0, 2], [1], "true")), process, 0.4), A=1, B=2)


LOCAL = Worlds(in_coordinates, (1, 2), (1, 3), (2, 2))
FIELDS = Worlds(random_fields, (0,), (1, 4, 3))
SLIPS = Worlds(_slipped, (0,), (1, 4, 3))
_LINE = isotropic_mixture([[-1.0], [0.2], [1.3]], [0.3, 0.5, 0.4], [0.2, 0.5, 0.3])
_PLANE = isotropic_mixture([[-1.0, 0.0], [0.4, 0.9], [0.6, -0.8]], [0.5, 0.7, 0.6], [0.3, 0.3, 0.4])
MIXTURES = Worlds(noised, (_LINE, ornstein_uhlenbeck(), 0.4), (_PLANE, variance_exploding(), 0.6))
SIDES = Worlds(_two_sides, (_LINE, ornstein_uhlenbeck()), (_PLANE, variance_exploding()))
