"""Files that are written whole or not at all, the folders they go to, their lock, and streams that a run outlives."""

import errno
import io
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TextIO

from companion.errors import InputError, first_line

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

__all__ = ["Lasting", "locked", "make_folder", "write_text", "written_whole"]


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
    """Writes `text` to `path`, whole or not at all, as UTF-8; OSError as `written_whole`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder, "note.txt"), "decided")
    """
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def make_folder(folder: Path, argument: str) -> None:
    """Makes `folder`, unless it is there; InputError, naming `argument`, where none can be made or written to.

    For before a run, so that a folder that cannot be written costs no time, and last of its checks, so that other bad
    input leaves none behind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     make_folder(Path(folder, "a", "b"), "out")
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(argument, folder, f"a folder, or a place for one ({error.strerror})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(argument, folder, "a folder that can be written to")


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """A file that no other process locks in the meantime; InputError, naming its folder, while one does.

    The system takes the lock back from a process that is killed. False where files cannot be locked, as on some file
    systems that are mounted from elsewhere: then nobody is refused.
    """
    with ExitStack() as held:
        locks = fcntl is not None and _lock(path, held)
        held.callback(path.unlink, missing_ok=True)
        yield locks


def _lock(path: Path, held: ExitStack) -> bool:
    while True:
        with ExitStack() as closing:
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                closing.callback(os.close, file)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(file).st_nlink:  # or another run has ended in between, and taken the file away
                    os.truncate(file, 0)
                    os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                    held.push(closing.pop_all())
                    return True
            except BlockingIOError:
                other = path.read_text(encoding="utf-8", errors="replace") or "another process"
                raise InputError("out", path.parent, f"a folder where no other run works, and {other} does") from None
            except OSError:
                return False


class Lasting(io.TextIOBase):
    """A stream that a run outlives: closed, its reader gone, or its encoding too small for a name.

    What a terminal cannot show is written with backslashes, and what nobody reads is dropped. OSError once, for the
    stream called `name`, where what is written is lost otherwise, on a full disk.
    """

    def __init__(self, stream: TextIO | None, name: str):
        self.stream, self.name = stream or _nowhere(), name

    def write(self, text: str) -> int:
        with self._kept():
            self.stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        with self._kept():
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding or "utf-8"  # None of what is no file

    @contextmanager
    def _kept(self) -> Iterator[None]:
        stream = self.stream
        try:
            yield
        except OSError as error:
            self.stream = _nowhere()
            with suppress(OSError):  # what is left in its buffer would be tried again at the end, with a status of 120
                os.dup2(self.stream.fileno(), stream.fileno())
            if self.name and not isinstance(error, BrokenPipeError):
                raise OSError(error.errno, error.strerror, self.name) from error


@cache
def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
