"""The processes that share a run: one, unless torchrun or `accelerate launch` started several."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from torch import distributed

from companion.errors import InputError

__all__ = ["ALONE", "Processes", "launched"]

_T = TypeVar("_T")

_PATIENCE = timedelta(minutes=5)  # to find each other; afterwards one waits for another's block as long as it takes


@dataclass(frozen=True)
class Processes:
    """`count` processes share a run and this is number `number`; number 0 speaks and writes for all.

    `gathered(value)` waits for all of them and gives everybody's value, in the order of their numbers. `local` is this
    one's number on its machine.
    """

    number: int = 0
    count: int = 1
    local: int = 0
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


def launched() -> Processes:
    """The processes that a launcher started, after they have found each other; else this one alone.

    A launcher sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Where one of them is missing, empty or not what it
    should be, it was left behind by something else, and this process is alone. Raises InputError where they are whole
    and the others do not come within five minutes, and where accelerate was asked for several but started one.

    >>> launched() == ALONE
    True
    """
    said = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")}
    number, count, port = (
        int(said[name]) if said[name].isdecimal() else -1 for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")
    )
    if said["MASTER_ADDR"] and not said["RANK"] and os.environ.get("ACCELERATE_USE_CPU") == "True":
        raise InputError("processes", 1, "what accelerate was asked for, which --multi_gpu starts on a CPU too")
    if not (0 <= number < count and count > 1 and port > 0 and said["MASTER_ADDR"]):
        return ALONE
    try:
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=_PATIENCE)
        group = distributed.new_group(backend="gloo", timeout=timedelta(days=30))
    except (RuntimeError, ValueError, AttributeError) as error:  # AttributeError: a torch without torch.distributed
        met = f"{said['MASTER_ADDR']}:{said['MASTER_PORT']}"
        said_why = (str(error).splitlines() or ["no reason given"])[0]
        expected = f"so many processes that meet at {met}; unset it to run alone ({said_why})"
        raise InputError("WORLD_SIZE", count, expected) from error

    def gathered(value: Any) -> list[Any]:
        found: list[Any] = [None] * count
        distributed.all_gather_object(found, value, group=group)
        return found

    local = os.environ.get("LOCAL_RANK", "")
    return Processes(number, count, int(local) if local.isdecimal() else number, gathered)
