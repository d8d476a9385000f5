"""The counting of games: closed forms for small sets, and what is refused."""

import math

import numpy as np
import pytest

from companion.errors import InputError
from derivations.twenty_questions import guessing

BIT = math.log(2.0)
CUBE = np.array([[k >> b & 1 for b in range(4)] for k in range(16)])


def test_independent_answers_tell_a_bit_each():
    np.testing.assert_allclose(guessing.orders(CUBE), np.tile(BIT * np.arange(4, -1, -1), (24, 1)), atol=1e-14)
    np.testing.assert_allclose(guessing.masked_production(CUBE, [0.0, 0.3, 1.0]), 4.0 * BIT, atol=1e-14)
    np.testing.assert_allclose(
        guessing.masked_entropy(CUBE, [0.0, 0.3, 1.0]), BIT * np.array([4.0, 2.8, 0.0]), atol=1e-14
    )


def test_a_chain_of_questions():
    """Answers 0...01...1 say where the ones begin: question q splits n things at q."""
    chain = np.array([[int(q >= k) for q in range(5)] for k in range(6)])
    left = guessing.entropies(chain)
    for q in range(5):
        share = (q + 1) / 6
        assert left[0] - left[1 << q] == pytest.approx(-share * math.log(share) - (1 - share) * math.log(1 - share))
    assert left[-1] == 0.0


def test_a_sure_oracle_and_a_silent_one():
    assert guessing.noisy_information([0.0, 0.25, 0.5], 1.0) == pytest.approx([0.0, 0.5623351446, BIT], abs=1e-10)
    assert guessing.noisy_information([0.0, 0.25, 0.5], 0.0).tolist() == [0.0, 0.0, 0.0]
    assert guessing.repeated_answers(0, 0.5) == pytest.approx(BIT, rel=1e-15)
    assert guessing.repeated_answers(1, 0.5) == pytest.approx(BIT - guessing.noisy_information(0.5, 0.5), rel=1e-13)
    assert 0.0 < guessing.repeated_answers(1000, 0.5) < 1e-50


TABLES = ("many", None, [], 3.0, [0, 1], [[0, 1]], [[0], [2]], [[0, 1], [0, 1]], [[0, 1], [1]], [[0.5], [1]],
          [[math.nan], [0]], [[], []], CUBE[None], np.eye(9))  # fmt: skip


@pytest.mark.parametrize("function", [guessing.entropies, guessing.orders, guessing.splits, guessing.fixed_oracle,
                                      guessing.random_oracle, guessing.coin_oracle])  # fmt: skip
@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_what_is_no_table(function, table):
    with pytest.raises(InputError, match="table is"):
        function(table)


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, "half", None, [0.5, 2.0]])
def test_what_is_no_share(bad):
    with pytest.raises(InputError, match="revealed is"):
        guessing.masked_entropy(CUBE, bad)
    with pytest.raises(InputError, match="revealed is"):
        guessing.masked_production(CUBE, bad)
    with pytest.raises(InputError, match="share is"):
        guessing.noisy_information(bad, 0.5)
    with pytest.raises(InputError, match="reliability is"):
        guessing.noisy_information(0.5, bad)
    with pytest.raises(InputError, match="reliability is"):
        guessing.repeated_answers(3, bad)


@pytest.mark.parametrize("bad", [-1, 2.5, 1001, math.nan, "two", None])
def test_what_is_no_count(bad):
    with pytest.raises(InputError, match="count is"):
        guessing.repeated_answers(bad, 0.5)
