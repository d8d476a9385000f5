"""Files that are written whole or not at all, and the folders they go to."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from companion.errors import InputError, first_line

__all__ = ["make_folder", "write_text", "written_whole"]


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when the block ends well, and is removed when it does not.

    OSError, naming `path`, for whatever numpy, torch and others raise when a disk is full.
    """
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")  # the ending tells the format
    try:
        yield unfinished
        os.replace(unfinished, path)
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        said = getattr(error, "strerror", None) or first_line(error)
        raise OSError(getattr(error, "errno", None) or errno.EIO, said, str(path)) from error
    finally:
        with suppress(OSError):  # the first error is the one to tell
            unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "note.txt", "decided")
    ...     (Path(folder) / "note.txt").read_text(encoding="utf-8")
    'decided'
    """
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def make_folder(folder: Path, argument: str) -> None:
    """Makes `folder`, unless it is there; InputError, naming `argument`, where none can be made or written to.

    For before a run, so that a folder that cannot be written costs no time, and last of its checks, so that other bad
    input leaves none behind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     make_folder(Path(folder) / "a" / "b", "out")
    ...     (Path(folder) / "a" / "b").is_dir()
    True
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(argument, folder, f"a folder, or a place for one ({error.strerror})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(argument, folder, "a folder that can be written to")
