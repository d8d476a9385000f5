"""The processes that share a run: one, unless torchrun or `accelerate launch` started several."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from companion.errors import InputError, first_line, one_line

__all__ = ["ALONE", "Processes", "Together", "launched"]

_T = TypeVar("_T")

_PATIENCE = timedelta(minutes=5)  # to find each other; afterwards one waits for another's block as long as it takes


@dataclass(frozen=True)
class Processes:
    """`count` processes share a run and this is number `number`, on its machine number `local`; 0 speaks and writes.

    `gathered` waits for all of them and gives what each said, in the order of their numbers.
    """

    number: int = 0
    count: int = 1
    local: int = 0
    gathered: Callable[[str], list[str]] = lambda said: [said]

    def together(self, action: Callable[[], _T]) -> _T:
        """What `action` gives this process, after all have done theirs; what it raises in one, all raise, once."""
        if self.count == 1:
            return action()
        failed = None
        try:
            result = action()
        except Together:
            raise  # all know it
        except Exception as error:
            failed = error
        for number, said in enumerate(self.gathered(one_line(failed) if failed else "")):
            if said:
                raise Together(f"{said} (process {number})") from failed
        return result

    def by_first(self, action: Callable[[], None]) -> None:
        """Process 0 does `action`, and the others wait."""
        self.together(action if self.number == 0 else lambda: None)

    def device(self, name: str) -> str:
        """The device called `name`, or of several such as cuda this process's own.

        >>> ALONE.device("cuda"), Processes(3, 4, local=3).device("cpu")
        ('cuda', 'cpu')
        """
        kind = name.partition(":")[0]
        several = getattr(getattr(torch, kind, None), "device_count", int)() if self.count > 1 and kind != "cpu" else 0
        return f"{kind}:{self.local % several}" if several else name  # `load` refuses what is no device


class Together(InputError):
    """What one of several processes met, in the same line in all of them."""

    def __init__(self, said: str):
        ValueError.__init__(self, said)


ALONE = Processes()


def launched() -> Processes:
    """The processes that a launcher started, after they have found each other; else this one alone.

    A launcher sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; where one of them is not what it should be, it was
    left behind by something else. Raises InputError where the others do not come within five minutes, and where
    accelerate was asked for several but started one.

    >>> launched() == ALONE
    True
    """
    names = ("RANK", "WORLD_SIZE", "MASTER_PORT", "LOCAL_RANK")
    said, address = [os.environ.get(name, "") for name in names], os.environ.get("MASTER_ADDR")
    number, count, port, local = (int(each) if each.isdecimal() else -1 for each in said)
    if address and not said[0] and os.environ.get("ACCELERATE_USE_CPU") == "True":
        raise InputError("processes", 1, "what accelerate was asked for, which --multi_gpu starts on a CPU too")
    if not (0 <= number < count and count > 1 and port > 0 and address):
        return ALONE
    try:
        if not distributed.is_initialized():
            distributed.init_process_group("gloo", timeout=_PATIENCE)
        group = distributed.new_group(backend="gloo", timeout=timedelta(days=30))
    except (RuntimeError, ValueError, AttributeError) as error:  # AttributeError: a torch without torch.distributed
        expected = f"so many processes that meet at {address}:{port}; unset it to run alone ({first_line(error)})"
        raise InputError("WORLD_SIZE", count, expected) from error

    def gathered(said: str) -> list[str]:
        found: list[Any] = [None] * count
        distributed.all_gather_object(found, said, group=group)
        return found

    return Processes(number, count, number if local < 0 else local, gathered)
