"""Twenty questions: the entropy of the game, of its oracles, of masking, and of answers that are hardly answers.

Four worlds check it. The states of GAMES are the things one may be thinking of, and entropies there are those of the
strings of answers, never of sizes. SETS has the sets of revealed answers for states. NOISY knows an answer and what a
noisy oracle says by their joint table. PLANE is two answers under Gaussian noise.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sympy import Derivative, Expr, Function, IndexedBase, Rational, Subs, Symbol, log, symbols

from companion.arguments import Array
from companion.exact.mixtures import isotropic_mixture
from companion.forward import variance_exploding
from derivations.kit.differences import bend, slope
from derivations.kit.identity import Identity, Proof
from derivations.kit.language import E, Norm2, Total, class_entropy, i, mixture_denoiser, prior, snr
from derivations.kit.worlds import World, Worlds, on_mixture

everything = Symbol("N", positive=True)  # the number of things
before, after = symbols("N_{j-1} N_{j}", positive=True)  # how many are left, by the thing one is thinking of
if_no, if_yes = symbols("N_{j}^{0} N_{j}^{1}", positive=True)  # how many would be, of those before
left_before, left_after = symbols("H_{j-1} H_{j}")  # the entropy left
chance_before, chance = symbols("p_{j-1} p_{j}", positive=True)  # of the answers given
given_answers = Symbol(r"p(y \mid a_{1:j})", positive=True)
share = Symbol("q", positive=True)  # N^1 / N_{j-1}


# The game


def _entropy(rows: NDArray[np.int64]) -> float:
    """The entropy of the strings of answers, counted."""
    counts = np.array(list(Counter(map(tuple, rows.tolist())).values()))
    return float(-(counts / len(rows)) @ np.log(counts / len(rows)))


def _game(seed: int, things: int, asked: int, questions: int = 5) -> World:
    """Things with answers drawn at random, no two alike; no question before the last is answered alike everywhere."""
    draw = np.random.default_rng(seed)
    strings = draw.choice(2**questions, things, replace=False)
    rows = (strings[:, None] >> np.arange(questions)) & 1
    earlier, now = rows[:, : asked - 1], rows[:, :asked]

    def alike(one: NDArray[np.int64]) -> Array:
        return np.array([[float((one == row).all(axis=1).sum())] for row in one])

    yes = np.array([[float(rows[(earlier == row).all(axis=1), asked - 1].sum())] for row in earlier])
    frequency = {row: count / things for row, count in Counter(map(tuple, now.tolist())).items()}
    earlier_frequency = {row: count / things for row, count in Counter(map(tuple, earlier.tolist())).items()}
    chances = np.array([[frequency[tuple(row)]] for row in now.tolist()])
    values = {
        everything: things,
        before: alike(earlier),
        after: alike(now),
        if_yes: yes,
        if_no: alike(earlier) - yes,
        share: yes / alike(earlier),
        # H(Y | A) = H(Y) - H(A), as A follows from Y.
        left_before: _entropy(strings[:, None]) - _entropy(earlier),
        left_after: _entropy(strings[:, None]) - _entropy(now),
        chance_before: np.array([[earlier_frequency[tuple(row)]] for row in earlier.tolist()]),
        chance: chances,
        given_answers: 1.0 / things / chances,
        prior: np.ones(1),
    }
    return World(values, 1, np.ones(things), np.full((1, things, 1), 1.0 / things))


GAMES = Worlds(_game, (0, 17, 2), (1, 22, 3))


def _surprise(probability: Expr) -> Expr:
    return probability * log(probability)


def drop_of_a_question() -> Proof:
    """ID 2 with a minus before its last term: what a question tells is the entropy of its split.

    >>> print(drop_of_a_question().last)
    E(-q*log(q) - (1 - q)*log(1 - q))
    """
    proof = Proof(left_before - left_after, GAMES)
    proof.then("What is left open is the mean logarithm of a size", E(log(before)) - E(log(after)))
    proof.then(
        "Of the things that are left, the shares of no and yes give each answer",
        E(log(before) - if_no / before * log(if_no) - if_yes / before * log(if_yes)),
    )
    proof.then(
        "The shares add up to one", E(-(if_no / before) * log(if_no / before) - if_yes / before * log(if_yes / before))
    )
    proof.then("Write $q$ for the share of yes", E(-_surprise(share) - _surprise(1 - share)))
    return proof


# Masking

revealed = Symbol("r", positive=True)
masked = Function("H")(revealed)
worth = IndexedBase("h")  # h_i = H(A_i | the revealed answers other than i)


def _sets(seed: int, things: int, at: float, questions: int = 4) -> World:
    """Things with random answers, and every set of questions that may be visible, counted."""
    draw = np.random.default_rng(seed)
    strings = draw.choice(2**questions, things, replace=False)
    rows = (strings[:, None] >> np.arange(questions)) & 1
    sets = [[q for q in range(questions) if s >> q & 1] for s in range(2**questions)]
    left = np.array([_entropy(strings[:, None]) - _entropy(rows[:, members]) for members in sets])
    sizes = np.array([len(members) for members in sets])

    def weights(r: float) -> Array:
        return np.asarray(r**sizes * (1.0 - r) ** (questions - sizes))

    def told(question: int) -> Array:
        others = [[q for q in members if q != question] for members in sets]
        return np.array([[_entropy(rows[:, [*o, question]]) - _entropy(rows[:, o])] for o in others])

    values = {
        revealed: at,
        masked: left @ weights(at),
        # Exact for a polynomial of fourth degree.
        Derivative(masked, revealed): slope(lambda r: left @ weights(r), at, 0.01),
        worth: np.array([told(q) for q in range(questions)]),
        prior: np.ones(1),
    }
    return World(values, questions, weights(at), np.ones((1, len(sets), 1)), tolerance=1e-9)


SETS = Worlds(_sets, (0, 11, 0.3), (1, 9, 0.8))


# Answers that are hardly answers

reliability = Symbol("delta", positive=True)
lean = Symbol("m", real=True)  # the mean of the true answer, yes = 1 and no = -1
information = Function("I")(reliability)


def _joint(delta: Expr, mean: Expr) -> list[list[Expr]]:
    """The table of true answers and what is said."""
    return [[(1 + truth * mean) / 2 * (1 + truth * said * delta) / 2 for said in (1, -1)] for truth in (1, -1)]


def _mutual(table: ArrayLike) -> float:
    joint = np.asarray(table, dtype=np.float64)
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return float((joint * np.log(joint / apart)).sum())


def _noisy(delta: float, mean: float) -> World:
    """One bit seen through an unreliable answer; its information from the table of four probabilities."""

    def at(d: float) -> float:
        return _mutual([[float(one) for one in row] for row in _joint(d, mean)])

    at_zero = Subs(Derivative(information, (reliability, 2)), reliability, 0)
    known = {reliability: delta, lean: mean, information: at(delta), at_zero: bend(at, 0.0, 0.03)}
    return World(known, tolerance=1e-7)


NOISY = Worlds(_noisy, (0.35, 0.2), (0.8, -0.6))


def _entropy_defect(x: Expr) -> Expr:
    """log 2 less the entropy of probabilities (1 +- x)/2."""
    return Rational(1, 2) * ((1 + x) * log(1 + x) + (1 - x) * log(1 - x))


def weak_answers() -> Proof:
    """The information of one noisy answer begins with the square of its reliability.

    >>> print(weak_answers().last)
    1 - m**2
    """
    at_zero = Subs(Derivative(information, (reliability, 2)), reliability, 0)
    formula = _entropy_defect(reliability) - _entropy_defect(reliability * lean)
    proof = Proof(at_zero, NOISY)
    proof.then(
        "Of the entropy of what is said, and of what is said when the truth is known, take two derivatives",
        formula.diff(reliability, 2).subs(reliability, 0),
    )
    return proof


# Gaussian noise

questions = Symbol("n", positive=True)


def _plane(elements: list[list[float]], at: float) -> World:
    """Points with coordinates of one size in the plane, noised, on a grid."""
    world = on_mixture(isotropic_mixture(elements, 0.0), variance_exploding(), at)
    return replace(world, values={**world.values, questions: 2.0})


PLANE = Worlds(
    _plane, ([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], 0.9), ([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], 1.6)
)


def identities() -> tuple[Identity, ...]:
    """The displayed equations."""
    return (
        Identity("eq-questions-entropy", (left_after, -E(log(given_answers)), E(log(after))), "ID 1", GAMES),
        drop_of_a_question().identity("eq-questions-drop", "none"),
        Identity(
            "eq-questions-sizes",
            (left_before - left_after, E(log(before) - if_no / before * log(if_no) - if_yes / before * log(if_yes))),
            "ID 2",
            GAMES,
        ),
        Identity("eq-questions-oracle", (chance_before * after / before, after / everything, chance), "ID 4", GAMES),
        Identity(
            "eq-questions-noisy",
            (information, _entropy_defect(reliability) - _entropy_defect(reliability * lean)),
            "none",
            NOISY,
        ),
        weak_answers().identity("eq-questions-weak", "none"),
        Identity("eq-questions-masking", (-Derivative(masked, revealed), Total(E(worth[i]), i)), "none", SETS),
        Identity(
            "eq-questions-gaussian",
            (-Derivative(class_entropy(snr), snr), E(questions - Norm2(mixture_denoiser)) / 2),
            "none",
            PLANE,
        ),
    )
