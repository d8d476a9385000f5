"""The one error that bad input raises: it names the argument, its value and what was expected."""

__all__ = ["InputError", "first_line"]


def first_line(error: BaseException) -> str:
    """What an error says, in one line; a single word comes with the kind of error."""
    kind, said = type(error).__name__, str(error).strip()
    return said.splitlines()[0] if " " in said else f"{kind}: {said}" if said else kind


class InputError(ValueError):
    """Bad input, said in one line: the argument, its value, and what was expected.

    >>> raise InputError("levels", 1, "at least two noise levels")
    Traceback (most recent call last):
        ...
    companion.errors.InputError: levels is 1, expected at least two noise levels
    """

    def __init__(self, argument: str, value: object, expected: str):
        shown = " ".join(str(value).split()) or repr(value)  # an array prints over many lines, "" prints nothing
        if len(expected) > 400:  # a list of a thousand names; what to do may stand behind it
            expected = f"{expected[:280]} ... {expected[-110:]}"
        super().__init__(f"{argument} is {shown if len(shown) <= 200 else shown[:197] + '...'}, expected {expected}")
