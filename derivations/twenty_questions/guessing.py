"""Twenty questions: a set of things, yes-or-no questions about them, and oracles that answer.

A `table` is (things, questions) of zeros and ones, row y the answers of thing y; no two rows are equal, so that all
questions together tell every thing. All things are equally probable. Entropies are float64 in nats: a bit is log 2.
Everything is found by counting, over every set of questions and every order.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import binom, entr, xlogy

from companion.arguments import Array, number, numbers, whole_number
from companion.errors import InputError

Law = dict[tuple[int, ...], Fraction]

# Sets of questions are tabulated, and orders are listed: 2^8 and 8! of them.
_MOST_QUESTIONS = 8


def entropies(table: ArrayLike) -> Array:
    """What is left open by each set S of answered questions, (2^questions,) in nats; bit q of the index is question q.

        H(Y | A_S) = E log N_S,    N_S the number of things with the answers of Y to the questions of S

    Raises InputError unless `table` holds zeros and ones, 2 things at least, no two alike, and 1 to 8 questions.
    Source: ID 1.

    >>> (entropies([[0, 0], [0, 1], [1, 0], [1, 1]]) / np.log(2.0)).round(6)
    array([2., 1., 1., 0.])
    """
    rows = _checked_table(table)
    questions = rows.shape[1]
    return np.array([np.log(_sizes(rows, _members(s, questions))).mean() for s in range(2**questions)])


def orders(table: ArrayLike) -> Array:
    """What is left open after j = 0, 1, ... questions, for every order to ask them in: (orders, questions + 1), nats.

    Orders are in the sequence of itertools.permutations. Raises as `entropies` does. Source: ID 1.

    >>> orders([[0, 0], [0, 1], [1, 1]]).round(4)
    array([[1.0986, 0.4621, 0.    ],
           [1.0986, 0.4621, 0.    ]])
    """
    left = entropies(table)
    questions = _checked_table(table).shape[1]
    asked = itertools.permutations(range(questions))
    return np.array([[left[sum(1 << q for q in order[:j])] for j in range(questions + 1)] for order in asked])


def splits(table: ArrayLike) -> Array:
    """Every question in every place where it can be asked: rows of N_{j-1}, N_j^1, and the drop of the entropy there.

        drop = log N_{j-1} - (N^0/N_{j-1}) log N^0 - (N^1/N_{j-1}) log N^1,    0 log 0 = 0

    A place is a set of things that some answers leave over. Raises as `entropies` does. Source: ID 2, with its last
    sign a minus.

    >>> splits([[0, 0], [0, 1], [1, 1]])[0].round(4)
    array([3.    , 2.    , 0.6365])
    """
    rows = _checked_table(table)
    questions = rows.shape[1]
    found = set()
    for s in range(2**questions):
        asked = _members(s, questions)
        for place in {tuple(answers) for answers in rows[:, asked].tolist()}:
            here = rows[(rows[:, asked] == place).all(axis=1)]
            found |= {(len(here), int(here[:, q].sum())) for q in range(questions) if q not in asked}
    sizes = np.array(sorted(found, reverse=True), dtype=np.float64)
    whole, yes = sizes[:, 0], sizes[:, 1]
    drop = np.log(whole) - (xlogy(whole - yes, whole - yes) + xlogy(yes, yes)) / whole
    return np.column_stack([sizes, drop])


def fixed_oracle(table: ArrayLike) -> Law:
    """How often each string of answers is given when the oracle draws a thing first: exact fractions.

    Questions are asked in the order of the columns. Raises as `entropies` does. Source: ID 1.

    >>> fixed_oracle([[0, 0], [0, 1], [1, 1]])[0, 1]
    Fraction(1, 3)
    """
    rows = _checked_table(table)
    return {answers: Fraction(count, len(rows)) for answers, count in Counter(map(tuple, rows.tolist())).items()}


def random_oracle(table: ArrayLike) -> Law:
    """How often each string is given when nothing is drawn first, and each answer in proportion to what it leaves.

        p(a_{j+1} = 0 | a_{1:j}) = N^0_{j+1} / N_j

    Questions are asked in the order of the columns. Raises as `entropies` does. Source: ID 4.

    >>> random_oracle([[0, 0], [0, 1], [1, 1]])[0, 1]
    Fraction(1, 3)
    """
    return _answering(table, lambda no, left: Fraction(no, left))


def coin_oracle(table: ArrayLike) -> Law:
    """How often each string is given by an oracle that tosses a fair coin, but never leaves nothing over.

    Questions are asked in the order of the columns. Raises as `entropies` does. Source: none.

    >>> coin_oracle([[0, 0], [0, 1], [1, 1]])[0, 1]
    Fraction(1, 4)
    """
    return _answering(table, lambda no, left: Fraction(1, 2) if 0 < no < left else Fraction(int(no > 0)))


def _answering(table: ArrayLike, chance_of_no: Callable[[int, int], Fraction]) -> Law:
    rows = _checked_table(table)
    law: Law = {(): Fraction(1)}
    for j in range(rows.shape[1]):
        longer: Law = {}
        for answers, probability in law.items():
            column = rows[(rows[:, :j] == answers).all(axis=1), j]
            no = chance_of_no(int((column == 0).sum()), len(column))
            for answer, chance in ((0, no), (1, 1 - no)):
                if chance > 0:
                    longer[*answers, answer] = probability * chance
        law = longer
    return law


def masked_entropy(table: ArrayLike, revealed: ArrayLike) -> Array:
    """What is left open when each answer is revealed with probability r, independently of the others: nats.

        H(r) = sum_S r^|S| (1-r)^(n-|S|) H(Y | A_S)

    `revealed` is r, of any shape. Raises InputError for an r outside 0 to 1, and as `entropies` does. Source: none.

    >>> (masked_entropy([[0, 0], [0, 1], [1, 0], [1, 1]], [0.0, 0.5, 1.0]) / np.log(2.0)).round(6)
    array([2., 1., 0.])
    """
    left = entropies(table)
    questions = _checked_table(table).shape[1]
    return sum((left[s] * weight for s, weight in _masks(questions, revealed)), np.zeros(np.shape(revealed)))


def masked_production(table: ArrayLike, revealed: ArrayLike) -> Array:
    """What is told per unit of r: the answers, each worth what the revealed ones have not told of it. Nats.

        -dH/dr = sum_i E[ H(Y | A_S) - H(Y | A_S, A_i) ],    S drawn from the other answers

    Raises as `masked_entropy` does. Source: none.

    >>> (masked_production([[0, 0], [0, 1], [1, 0], [1, 1]], [0.0, 0.5, 1.0]) / np.log(2.0)).round(6)
    array([2., 2., 2.])
    """
    left = entropies(table)
    questions = _checked_table(table).shape[1]
    # Whether i itself is in S makes no difference to its term, so that one law of S serves all i.
    worth = [sum(left[s & ~(1 << i)] - left[s | (1 << i)] for i in range(questions)) for s in range(2**questions)]
    return sum((worth[s] * weight for s, weight in _masks(questions, revealed)), np.zeros(np.shape(revealed)))


def noisy_information(share: ArrayLike, reliability: ArrayLike) -> Array:
    """What one answer tells when the oracle says the truth with probability (1 + reliability) / 2: nats.

        I = h((1 + delta m)/2) - h((1 + delta)/2),    m = 2 share - 1,    h(q) = -q log q - (1-q) log(1-q)

    `share` is the probability that the truth is "yes"; arrays broadcast. At reliability 1 it is the drop of a fixed
    oracle, at small delta it is delta^2 (1 - m^2) / 2. Raises InputError for numbers outside 0 to 1. Source: none.

    >>> noisy_information(0.5, [1.0, 0.1]).round(6)
    array([0.693147, 0.005008])
    """
    expected = "numbers between 0 and 1"
    yes = numbers("share", share, expected, lambda q: (q >= 0.0) & (q <= 1.0))
    delta = numbers("reliability", reliability, expected, lambda q: (q >= 0.0) & (q <= 1.0))
    said = 0.5 * (1.0 + delta * (2.0 * yes - 1.0))
    truth = 0.5 * (1.0 + delta)
    result: Array = entr(said) + entr(1.0 - said) - entr(truth) - entr(1.0 - truth)
    return np.maximum(result, 0.0)


def repeated_answers(count: int, reliability: float) -> float:
    """What is left open of an even question that such an oracle has answered `count` times over: nats.

        H = E h(p),    log p/(1-p) = (2 k - count) log((1 + delta)/(1 - delta)),    k "yes" of `count`, binomial

    Raises InputError for a count that is not a whole number from 0 to 1000, and a reliability that is not between 0 and
    1, both excluded. Source: none.

    >>> round(repeated_answers(3, 0.5), 6)
    0.383722
    """
    times = whole_number("count", count, least=0, most=1000)
    delta = number("reliability", reliability, "a number between 0 and 1, both excluded", lambda q: (q > 0) & (q < 1))
    yes = np.arange(times + 1)
    chance = np.exp(
        np.log(binom(times, yes)) + yes * np.log(0.5 * (1.0 + delta)) + (times - yes) * np.log(0.5 * (1.0 - delta))
    )
    # By symmetry the truth may be taken to be "yes": H = -E log p(yes | answers).
    return float(chance @ np.logaddexp(0.0, -(2.0 * yes - times) * np.log((1.0 + delta) / (1.0 - delta))))


def _checked_table(table: ArrayLike) -> NDArray[np.int64]:
    expected = f"zeros and ones, at least 2 rows, no two alike, 1 to {_MOST_QUESTIONS} columns"
    values = numbers("table", table, expected, lambda answer: (answer == 0) | (answer == 1))
    if values.ndim != 2 or len(values) < 2 or not 1 <= values.shape[1] <= _MOST_QUESTIONS:
        raise InputError("table", table, expected)
    if len(np.unique(values, axis=0)) < len(values):
        raise InputError("table", table, expected)
    return values.astype(np.int64)


def _members(s: int, questions: int) -> list[int]:
    return [q for q in range(questions) if s >> q & 1]


def _sizes(rows: NDArray[np.int64], asked: list[int]) -> NDArray[np.int64]:
    """For every thing, how many things share its answers to the questions asked."""
    _, which, counts = np.unique(rows[:, asked] @ (1 << np.arange(len(asked))), return_inverse=True, return_counts=True)
    return np.asarray(counts[which.ravel()])


def _masks(questions: int, revealed: ArrayLike) -> list[tuple[int, Array]]:
    expected = "numbers between 0 and 1"
    r = numbers("revealed", revealed, expected, lambda share: (share >= 0.0) & (share <= 1.0))
    sizes = [s.bit_count() for s in range(2**questions)]
    return [(s, r**size * (1.0 - r) ** (questions - size)) for s, size in enumerate(sizes)]
