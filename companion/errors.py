"""The one error that bad input raises, and the errors of other libraries as that one."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["InputError", "first_line", "foreign", "one_line"]


class InputError(ValueError):
    """Bad input, said in one line: the argument, its value, and what was expected.

    >>> raise InputError("levels", 1, "at least two noise levels")
    Traceback (most recent call last):
    companion.errors.InputError: levels is 1, expected at least two noise levels
    """

    def __init__(self, argument: str, value: object, expected: str):
        shown = " ".join(str(value).split()) or repr(value)  # an array prints over many lines, "" prints nothing
        if len(expected) > 400:  # a list of a thousand names; what to do may stand behind it
            expected = f"{expected[:280]} ... {expected[-110:]}"
        super().__init__(f"{argument} is {shown if len(shown) <= 200 else shown[:197] + '...'}, expected {expected}")


@contextmanager
def foreign(argument: str, value: object, expected: str) -> Iterator[None]:
    """What another library raises inside, of whatever kind, as one InputError with its cause.

    >>> with foreign("model", "a folder", "a network"): [][0]
    Traceback (most recent call last):
    companion.errors.InputError: model is a folder, expected a network (list index out of range)
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) or type(error).__name__ == "OutOfMemoryError":  # torch's has its own advice
            raise
        raise InputError(argument, value, f"{expected} ({first_line(error)})") from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line; a single word comes with the kind of error."""
    kind, said = type(error).__name__, (str(error).strip().splitlines() or [""])[0]
    return said if " " in said else f"{kind}: {said}" if said else kind


def one_line(error: BaseException) -> str:
    """What an error says, with its kind and its place in the code where neither input nor a file is to blame.

    >>> one_line(InputError("levels", 1, "at least two noise levels"))
    'levels is 1, expected at least two noise levels'
    """
    said, kind = first_line(error), type(error).__name__
    if isinstance(error, InputError | OSError):
        return said
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{said if said.startswith(kind) else f'{kind}: {said}'} ({Path(where.filename).name}, line {where.lineno})"
