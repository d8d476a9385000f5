"""One Gaussian class under a sampler with steps: each step shrinks it by the cosine of an angle.

A noise level sigma is seen as the angle theta with tan theta = sigma / s, s the deviation of the class: infinite noise
is a right angle, clean data are angle zero.
"""

import numpy as np
from numpy.typing import ArrayLike
from sympy import Basic, cos, sin, sqrt, symbols

from companion.arguments import Array
from companion.forward import noise_of
from derivations.kit.identity import Identity, Proof
from derivations.kit.worlds import World, Worlds

s, now, then = symbols(r"s sigma \sigma'", positive=True)
angle, angle_then = symbols(r"theta \theta'", positive=True)


def _world(deviation: float, one: float, other: float) -> World:
    """A class, and two noise levels given by their angles."""
    values: dict[Basic, float] = {s: deviation, angle: one, angle_then: other}
    return World(values | {now: deviation * np.tan(one), then: deviation * np.tan(other)})


WORLDS = Worlds(_world, (0.7, 1.2, 0.5), (2.0, 0.9, 0.8))


def step() -> Proof:
    """A step of the sampler over the same step of the exact flow, both of which scale a Gaussian class."""
    taken, exact = (s**2 + now * then) / (s**2 + now**2), sqrt((s**2 + then**2) / (s**2 + now**2))
    proof = Proof(taken / exact, WORLDS)
    cosines = s / sqrt(s**2 + now**2), s / sqrt(s**2 + then**2)
    sines = now / sqrt(s**2 + now**2), then / sqrt(s**2 + then**2)
    proof.then("part by part", cosines[0] * cosines[1] + sines[0] * sines[1])
    proof.then("of two angles", cos(angle) * cos(angle_then) + sin(angle) * sin(angle_then))
    proof.then("the cosine of a difference", cos(angle - angle_then))
    return proof


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (step().identity("eq-grid-step", "none"),)


def shrinkage(log_snr: ArrayLike, deviation: float) -> float:
    """By what the sampler with these levels scales a class N(0, s^2): the product of the cosines of its steps,

        q = prod_k cos(theta_k - theta_{k-1}),    theta = arctan(sigma / s), from a right angle to zero,

    the first factor because the sampler starts from noise without signal, the last for the step to no noise.

    >>> round(shrinkage([0.0], 1.0), 6)                            # one level: D at sigma = 1 of a class of deviation 1
    0.5
    """
    angles = np.concatenate([[0.5 * np.pi], np.arctan(noise_of(log_snr) / deviation), [0.0]])
    return float(np.prod(np.cos(np.diff(angles))))


def equal_angles(count: int, deviation: float) -> Array:
    """The `count` log-snr whose angles divide the right angle evenly: of all, these shrink the class least.

    >>> equal_angles(2, 1.0).round(6)                              # sixty degrees and thirty
    array([-1.098612,  1.098612])
    """
    levels: Array = -2.0 * np.log(deviation * np.tan(0.5 * np.pi * np.arange(count, 0, -1) / (count + 1)))
    return levels


def divergence_of(shrunk: float) -> float:
    """KL( N(0, s^2) || N(0, q^2 s^2) ) = log q + 1 / (2 q^2) - 1/2, in nats.

    >>> divergence_of(1.0)
    0.0
    """
    return float(np.log(shrunk) + 0.5 / shrunk**2 - 0.5)
