"""The command line of a training in a chapter's folder: how it ends."""

import sys
from collections.abc import Callable

from companion.errors import one_line

__all__ = ["exit_status"]


def exit_status(program: str, carried_out: Callable[[], None]) -> int:
    """Carries out a command; returns 0, 2 for whatever went wrong, said in one line, or 130 after Ctrl-C.

    >>> exit_status("train", lambda: print("done"))
    done
    0
    """
    try:
        carried_out()
    except KeyboardInterrupt as interrupt:
        print(f"\n{program}: {str(interrupt) or 'stopped'}", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"{program}: error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0
