"""The processes that share a run: one, unless `accelerate launch` or torchrun started several."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from companion.errors import InputError

__all__ = ["ALONE", "Processes", "launched"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Processes:
    """`count` processes share a run and this is number `number`; number 0 speaks and writes for all.

    `gathered(value)` waits for all of them and gives everybody's value, in the order of their numbers. `device` is
    where this one computes, "" where that is left to the caller.
    """

    number: int = 0
    count: int = 1
    device: str = ""
    gathered: Callable[[Any], list[Any]] = lambda value: [value]

    def together(self, action: Callable[[], _T]) -> _T:
        """What `action` gives this process; an InputError or OSError that it raises in one is raised in all."""
        failed: InputError | OSError | None = None
        try:
            result = action()
        except (InputError, OSError) as error:
            failed = error
        for number, said in enumerate(self.gathered(str(failed) if failed else "")):
            if failed:
                raise failed
            if said:
                raise _Elsewhere(f"{said} (process {number})")
        return result


class _Elsewhere(InputError):
    """What another process of the run met, in the same line."""

    def __init__(self, said: str):
        ValueError.__init__(self, said)


ALONE = Processes()


def launched(device: str) -> Processes:
    """The processes that a launcher started, each on a device of its own of the kind of `device`; else this one alone.

    Raises InputError where there are several and the package accelerate is not installed.

    >>> launched("cpu") == ALONE
    True
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    try:
        from accelerate import PartialState
        from accelerate.utils import gather_object
    except ImportError:
        raise InputError("processes", os.environ["WORLD_SIZE"], "1, or accelerate: pip install accelerate") from None
    # A process may wait for another one's block, which takes as long as it takes.
    state = PartialState(cpu=device.startswith("cpu"), timeout=timedelta(days=30))

    def gathered(value: Any) -> list[Any]:
        found: list[Any] = gather_object([value])
        return found

    return Processes(state.process_index, state.num_processes, str(state.device), gathered)
