"""Several attributes at once: eight captions that differ in three of them, and whether their entropies add up.

Of a state x with the posterior p(a, b, c | x) of three attributes of two values each,

    H(a | x) + H(b | x) - H(a, b | x) = I(a; b | x) >= 0,

what the attributes tell of each other once the state is seen. Drawn independently they tell nothing before; where the
mean of this is zero at every noise, two questions together are decided as each of them is alone.
"""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from scipy.special import log_softmax, logsumexp

from companion.arguments import Array
from companion.entropy import binary_entropy
from derivations.when_words_take_hold.questions import Said
from derivations.when_words_take_hold.truth import Curve, curve

__all__ = ["AXES", "EIGHT", "conditional", "entropy_of", "pairs", "shared_information"]

AXES: dict[str, tuple[str, str]] = {
    "wall": ("blue wall", "yellow wall"),
    "side": ("on the left", "on the right"),
    "kind": ("boot", "sneaker"),
}
EIGHT: list[Said] = [dict(zip(AXES, phrases, strict=True)) for phrases in product(*AXES.values())]
_NAMES = tuple(AXES)


def entropy_of(likelihood: Array, names: Sequence[str]) -> Array:
    """H(attributes | x) of each state in nats, (samples, levels), from log-likelihoods (samples, levels, 8)."""
    table = log_softmax(likelihood, axis=2).reshape(*likelihood.shape[:2], 2, 2, 2)
    others = tuple(2 + place for place, name in enumerate(_NAMES) if name not in names)
    of_these = logsumexp(table, axis=others) if others else table
    flat = of_these.reshape(*likelihood.shape[:2], -1)
    return np.asarray(-(np.exp(flat) * flat).sum(axis=2))


def shared_information(likelihood: Array, first: str, second: str) -> Array:
    """I(a; b | x) of each state in nats, (samples, levels)."""
    single = entropy_of(likelihood, [first]) + entropy_of(likelihood, [second])
    return single - entropy_of(likelihood, [first, second])


def conditional(likelihood: Array, owner: Array, of: str, given: str) -> Array:
    """The entropy of one attribute where the other is told, of each path, (samples, levels): on the paths of the
    captions that say what the path's own says of `given`. Its mean is H(of | given, x), by other means than the chain
    rule's."""
    place, told = _NAMES.index(of), _NAMES.index(given)
    values = np.array(list(product(range(2), repeat=3)))
    found = np.empty(likelihood.shape[:2])
    for value in range(2):
        rows = values[owner, told] == value
        sides = [np.flatnonzero((values[:, told] == value) & (values[:, place] == side)) for side in range(2)]
        odds = logsumexp(likelihood[rows][:, :, sides[0]], axis=2) - logsumexp(likelihood[rows][:, :, sides[1]], axis=2)
        found[rows] = binary_entropy(odds)
    return found


def pairs(likelihood: Array, owner: Array, log_snr: Array) -> dict[tuple[int, int], Curve]:
    """The curve of each pair of the eight captions, on the paths or scenes of the two."""
    found = {}
    for one, other in combinations(range(len(EIGHT)), 2):
        rows = np.flatnonzero((owner == one) | (owner == other))
        odds = likelihood[rows][:, :, one] - likelihood[rows][:, :, other]
        found[one, other] = curve(odds, owner[rows] == one, log_snr, 0.0)
    return found
