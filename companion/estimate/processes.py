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

    def device(self, name: str) -> torch.device:
        """The device called `name`, of several such as cuda this process's own; InputError where there is none.

        >>> ALONE.device("cpu")
        device(type='cpu')
        """
        try:
            device = torch.device(name)
            if self.count > 1 and device.type != "cpu":
                device = torch.device(device.type, self.local % getattr(torch, device.type).device_count())
            torch.zeros(1, device=device).cpu()
        except Exception as error:  # torch has no one error for a device that is not there
            raise InputError("device", name, "a device of this torch, such as cpu or cuda") from error
        return device


class Together(InputError):
    """What one of several processes met, in the same line in all of them."""

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
        expected = f"so many processes that meet at {met}; unset it to run alone ({first_line(error)})"
        raise InputError("WORLD_SIZE", count, expected) from error

    def gathered(said: str) -> list[str]:
        found: list[Any] = [None] * count
        distributed.all_gather_object(found, said, group=group)
        return found

    local = os.environ.get("LOCAL_RANK", "")
    return Processes(number, count, int(local) if local.isdecimal() else number, gathered)
