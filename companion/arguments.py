"""What functions ask of the numbers they are given: each question is one line there, and every refusal an InputError.

NaN fails every comparison, so no condition has to mention it.
"""

import unicodedata
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from companion.errors import InputError

__all__ = ["Array", "Condition", "composed", "finite_levels", "number", "numbers", "probabilities", "whole_number"]

Array = NDArray[np.float64]
Condition = Callable[[Array], NDArray[np.bool_]]

# Noise levels to 1e43, signal-to-noise ratios to 1e86: their squares and those of what is divided by them are numbers.
_FARTHEST_LEVEL = 200.0


def composed(text: str) -> str:
    """A text with its accents composed, however it was typed: what looks the same is the same."""
    return unicodedata.normalize("NFC", text)


def numbers(argument: str, value: ArrayLike, expected: str, holds: Condition) -> Array:
    """`value` as a float64 array of any shape; InputError if it is none, or `holds` is False for one of its numbers.

    >>> numbers("kappa", [1.0, -1.0], "numbers of at least 0", lambda kappa: kappa >= 0.0)
    Traceback (most recent call last):
        ...
    companion.errors.InputError: kappa is [1.0, -1.0], expected numbers of at least 0
    """
    try:
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # a word, ragged rows, too large, a tensor with a grad
        raise InputError(argument, value, expected) from None
    if not np.all(holds(values)):
        raise InputError(argument, value, expected)
    return values


def number(argument: str, value: float, expected: str, holds: Condition) -> float:
    """`value` as one float; InputError as for `numbers`, and for an array.

    >>> number("share", 0.5, "a share between 0 and 1", lambda share: (share > 0.0) & (share < 1.0))
    0.5
    """
    values = numbers(argument, value, expected, holds)
    if values.ndim > 0:
        raise InputError(argument, value, expected)
    return float(values)


def whole_number(argument: str, value: int, least: int, most: int = 2**53) -> int:
    """`value` as an int between `least` and `most`; InputError for a fraction, or anything that is no number.

    >>> whole_number("classes", 2, least=2)
    2
    """
    expected = f"a whole number of at least {least}" + ("" if most == 2**53 else f" and at most {most}")
    return int(number(argument, value, expected, lambda n: (n >= least) & (n <= most) & (n == np.round(n))))


def probabilities(argument: str, value: ArrayLike, least: int = 2, count: int | None = None) -> Array:
    """`value` as positive float64 numbers (K,) that sum to one, K = `count` or at least `least`; InputError otherwise.

    >>> probabilities("weights", [0.5, 0.5])
    array([0.5, 0.5])
    """
    expected = f"at least {least} positive numbers that sum to one"
    if count is not None:
        least, expected = count, f"{count} positive probabilities that sum to one"
    weights = numbers(argument, value, expected, lambda weight: (weight > 0.0) & (weight <= 1.0))
    if weights.ndim != 1 or not least <= len(weights) <= (count or len(weights)) or abs(weights.sum() - 1.0) > 1e-9:
        raise InputError(argument, value, expected)
    # JSON and other people's tables have "1" and true, which numpy would take for a number.
    if {str, bool} & set(map(type, np.asarray(value, dtype=object))):
        raise InputError(argument, value, expected)
    return weights


def finite_levels(log_snr: ArrayLike) -> Array:
    """Log-snr as a float64 array of any shape; InputError for one that is NaN or farther than 200 from zero.

    >>> finite_levels([-2.0, 2.0])
    array([-2.,  2.])
    """
    expected = f"finite log-snr between {-_FARTHEST_LEVEL:g} and {_FARTHEST_LEVEL:g}"
    return numbers("log_snr", log_snr, expected, lambda level: np.abs(level) <= _FARTHEST_LEVEL)
