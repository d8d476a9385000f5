"""The one error that bad input raises: it names the argument, its value and what was expected."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input, said in one line: the argument, its value, and what was expected.

    >>> raise InputError("levels", 1, "at least two noise levels")
    Traceback (most recent call last):
        ...
    companion.errors.InputError: levels is 1, expected at least two noise levels
    """

    def __init__(self, argument: str, value: object, expected: str):
        shown = " ".join(str(value).split()) or repr(value)  # an array prints over many lines, "" prints nothing
        super().__init__(f"{argument} is {_short(shown, 200)}, expected {_short(expected, 400)}")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
