"""Formulas that are broken lose nothing, and fit where there is a place to break."""

import re

import pytest
from sympy import symbols

from derivations import identities
from derivations.kit.language import tex
from derivations.kit.layout import breadth, lines, side_by_side


def signs(text):
    """The signs of TeX without what only sets it: brackets, spaces, points of alignment, and the 1 above a fraction."""
    return sorted(re.sub(r"\\left|\\right|\\Big[lr]|\\quad|\\,|\\\\\[4pt\]|[\s{}&()1]", "", text))


@pytest.mark.parametrize("room", [12.0, 30.0])
def test_broken_lines_hold_the_whole_formula(room):
    for label, identity in identities().items():
        for side in identity.sides:
            assert signs("".join(lines(side, room))) == signs(tex(side)), label


def test_an_equation_is_broken_only_if_it_must_be():
    for label, identity in identities().items():
        short = len(identity.sides) == 2 and sum(breadth(tex(side)) for side in identity.sides) < 30.0
        assert not (short and "\\\\" in side_by_side(identity.sides)), label


def test_a_sum_is_broken_between_terms_and_a_bracket_spans_lines():
    a, b, c, d = symbols("a b c d")
    assert lines(a * (b + c) - d, room=4.0) == [r"a \, \Bigl( b", r"\quad + c \Bigr)", "- d"]
