"""A run that is kept in a folder: killed at any moment, the same run goes on from its last finished block.

    FOLDER/run.json                              what is measured: model, partitions, seed, method, levels, versions
    FOLDER/blocks/0-150-00000150-00000300.npz    stream 0 in blocks of 150: what paths 150 to 299 gave; 1 is the pilot

A block's file is written whole or not at all, says what run it is of, and has a checksum. All that is gathered is read
from these files, so that a run that was killed, or that several processes share, ends with the bits of one without a
break. One run at a time works in a folder, as long as its file system can lock files: `alone`. What would change a
number is refused, naming it. What leaves the numbers as they are may change: how many paths
follow (`tolerance`; `samples` where no pilot depends on it). What moves them by rounding alone may change too, the size
of a block and the name of the device, and then `Run.mixture` says so: blocks of another size stand for their paths.
"""

import hashlib
import io
import json
import os
import platform
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from companion import __version__
from companion.denoiser import Denoiser, FunctionDenoiser, digest_of
from companion.entropy import Partition
from companion.errors import InputError
from companion.estimate.accumulate import Record
from companion.estimate.measure import measure_block
from companion.estimate.memory import memory_said
from companion.estimate.plan import Data, Plan
from companion.estimate.processes import ALONE, Processes
from companion.estimate.profile import Progress
from companion.estimate.result import Profile
from companion.files import make_folder, write_text, written_whole

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

__all__ = ["Run"]

Described = dict[str, Any]

_FORMAT = "companion run 3"


class _Piece(NamedTuple):
    """What the name of a block's file says: paths `start` to `stop` - 1, of a plan with blocks of `size`."""

    start: int
    stop: int
    size: int
    path: Path


@dataclass(frozen=True, eq=False)
class Run:
    """A folder that keeps the blocks of a run: `profile(..., blocks=Run(folder).blocks)` may be killed and asked again.

    `processes` share the work; each calls the same function and gets every block. `used` says of each file that went
    into the result how many seconds it took and on which device.

    `blocks` raises InputError where the folder holds another run, where another process is at it, where a file is
    damaged or of another run, where no folder can be made, and where memory is short, naming the size of block to use.

    >>> import tempfile
    >>> from companion.entropy import partition
    >>> from companion.estimate.profile import profile
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> pair = isotropic_mixture([[-1.0], [1.0]], 0.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = profile(pair, partition(pair, [0], [1]), samples=60, blocks=Run(Path(folder)).blocks)
    ...     again = profile(pair, partition(pair, [0], [1]), samples=60, blocks=Run(Path(folder)).blocks)
    ...     files = sorted(path.name for path in Path(folder, "blocks").iterdir())
    >>> bool((first.entropy == again.entropy).all()), files
    (True, ['0-150-00000000-00000060.npz', '1-150-00000000-00000007.npz'])
    """

    folder: Path
    processes: Processes = ALONE
    used: dict[_Piece, tuple[float, str]] = field(default_factory=dict)
    _held: list[int] = field(default_factory=list)  # the open file that is locked, while there is one

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run works in the folder in the meantime; InputError, naming it, where one does already.

        The system takes the lock back from a process that is killed. A file system without locks, as some that are
        mounted from elsewhere, refuses nothing: two equal runs then measure everything twice, with the same numbers.
        """
        if self._held or self.processes.number > 0 or fcntl is None:
            self.processes.together(lambda: None)
            yield
            return
        path = self.folder / ".running"
        opened = self.processes.together(lambda: _locked(path))
        self._held.extend([] if opened is None else [opened])
        try:
            yield
        finally:
            self._held.clear()
            path.unlink(missing_ok=True)
            if opened is not None:
                os.close(opened)

    def missing(self, plan: Plan) -> int:
        """How many evaluations of a plan, whatever its levels, the folder does not hold yet."""
        pieces = self._pieces(plan.stream)
        each = len(plan.branches) * (len(plan.log_snr) + plan.from_nothing)
        blocks = [plan.paths(number) for number in range(plan.blocks)]
        return each * sum(len(paths) for paths in blocks if _cover(paths, plan.block, pieces) is None)

    def blocks(
        self, model: Denoiser, plan: Plan, numbers: Sequence[int], progress: Progress | None = None
    ) -> list[list[Record]]:
        """The records of a plan's blocks `numbers`: read where they are finished, otherwise measured and kept."""
        self._written(_common(model, plan))  # another run's folder is left as it is
        with self.alone():
            return self._blocks(model, plan, numbers, progress)

    def _blocks(
        self, model: Denoiser, plan: Plan, numbers: Sequence[int], progress: Progress | None
    ) -> list[list[Record]]:
        described = self._opened(model, plan)
        pieces = self._pieces(plan.stream)
        missing = [number for number in numbers if _cover(plan.paths(number), plan.block, pieces) is None]
        for number in numbers:  # what cannot be used is refused before hours are spent, not after
            if number not in missing:
                self._read(plan, number, pieces, described)
        self.processes.gathered(None)  # nobody writes before everybody has looked
        for first in range(0, len(missing), self.processes.count):
            self._measure(model, plan, missing[first : first + self.processes.count], described, progress)
        pieces = self._pieces(plan.stream)
        return [self._read(plan, number, pieces, described) for number in numbers]

    @property
    def kept(self) -> int:
        """How many blocks the folder holds, the pilot's among them."""
        return len(self._pieces(0)) + len(self._pieces(1))

    @property
    def seconds(self) -> float:
        """The seconds that measuring the blocks in use took, over all processes and all attempts."""
        return sum(seconds for seconds, _ in self.used.values())

    @property
    def mixture(self) -> str:
        """What differs between the blocks in use, which moves a result by rounding; empty where nothing does."""
        sizes = sorted({piece.size for piece in self.used})
        devices = sorted({device for _, device in self.used.values()})
        said = [f"blocks of {' and '.join(map(str, sizes))} paths"] if len(sizes) > 1 else []
        return ", ".join(said + ([f"on {' and '.join(devices)}"] if len(devices) > 1 else []))

    def finish(self, asked: Described, result: Path) -> None:
        """Notes that `result` is what the run gives when asked so, and removes what killed processes left behind."""
        path = self.folder / "run.json"
        written = json.loads(path.read_text(encoding="utf-8"))
        finished = {"asked": asked, "result": _file_digest(result)}
        write_text(path, json.dumps({**written, "finished": finished}, indent=1, allow_nan=False) + "\n")
        # Where nothing is locked, they may be of a process that is alive.
        for left in (self.folder / "blocks").glob(".*.unfinished.npz") if self._held else ():
            left.unlink(missing_ok=True)

    def finished(self, model: Denoiser, plan: Plan, pilot: Plan | None, asked: Described, result: Path) -> bool:
        """Whether `result` is what this run gave when it was last asked so; InputError where the folder holds another.

        `plan` and `pilot` are those of `planned`. Nothing is evaluated and nothing is written. InputError too where
        `result`, or a picture beside it, is there and not of this run: it would be written over.
        """
        written = self._written(_common(model, plan))
        for each in (plan, pilot):
            if each is not None and str(each.stream) in written.get("streams", {}):
                own = _own(each)
                if each is plan and pilot is not None:
                    own.pop("log_snr")  # which the pilot will move
                self._compare(own, written["streams"][str(each.stream)])
        finished = written.get("finished")
        picture = result.with_suffix(".png")
        if os.path.exists(result) and not (
            written and ((finished and finished["result"] == _file_digest(result)) or _is_of(result, model, plan))
        ):
            raise InputError("result", result, "no file of another run there; move it, or name another folder")
        if os.path.exists(picture) and not (finished or os.path.exists(result)):
            raise InputError("picture", picture, "no file of another run there; move it, or name another folder")
        return finished is not None and finished == {"asked": asked, "result": _file_digest(result)}

    def _opened(self, model: Denoiser, plan: Plan) -> Described:
        """What the blocks of a plan say they are of, after a comparison with what the folder holds."""
        common, own = _common(model, plan), _own(plan)
        written = self._written(common)
        streams = written.get("streams", {})
        stream = str(plan.stream)
        if stream in streams:
            self._compare(own, streams[stream])
        if self.processes.number == 0:
            make_folder(self.folder / "blocks", "folder")
        if stream not in streams and self.processes.number == 0:
            described = {**written, **common, "streams": {**streams, stream: own}}
            write_text(self.folder / "run.json", json.dumps(described, indent=1, allow_nan=False) + "\n")
        return {**common, **own}

    def _written(self, common: Described) -> Described:
        """The folder's run.json, compared with what is common to all streams; empty where there is none."""
        path = self.folder / "run.json"
        if not os.path.exists(path):
            return {}
        try:
            written: Described = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(written["streams"], dict):
                raise TypeError
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            written = self._told_by_blocks()
            if path.is_dir() or not written:
                raise InputError(
                    "run.json", f"cut short or damaged in {self.folder}", "whole; name another folder"
                ) from None
        self._compare(common, written)
        return written

    def _told_by_blocks(self) -> Described:
        """What run.json held, from the blocks, each of which says what run it is of; empty where they do not agree."""
        told: Described = {}
        for piece in self._pieces(0) + self._pieces(1):
            with suppress(InputError):  # a damaged block is named when it is read
                run = _load(piece.path)[1]["run"]
                own = {name: run.pop(name) for name in _OWN}
                told = told or {**run, "streams": {}}
                agreed = told["streams"].setdefault(str(own["stream"]), own)
                if any(_differences({**told, **agreed}, {**told, **run, **own}, "")):
                    return {}
        return told

    def _compare(self, asked: Described, written: Described) -> None:
        _compare(asked, written, "", f", as in the run that {self.folder} holds; name another folder")

    def _pieces(self, stream: int) -> list[_Piece]:
        found = []
        there = os.path.isdir(self.folder / "blocks")
        for path in sorted((self.folder / "blocks").glob("*.npz")) if there else ():
            name = re.fullmatch(rf"{stream}-(\d+)-(\d+)-(\d+)", path.stem)
            if name:
                found.append(_Piece(int(name[2]), int(name[3]), int(name[1]), path))
        return found

    def _measure(
        self, model: Denoiser, plan: Plan, numbers: Sequence[int], described: Described, progress: Progress | None
    ) -> None:
        """One block for each process, which wait for each other; what one of them raises, all raise."""
        mine = self.processes.number
        if mine < len(numbers):
            self.processes.together(lambda: self._measure_one(model, plan, numbers[mine], described, progress))
        else:
            self.processes.together(lambda: None)
        others = sum(len(plan.paths(number)) for index, number in enumerate(numbers) if index != mine)
        if progress is not None and others:
            progress(others * len(plan.branches) * (len(plan.log_snr) + plan.from_nothing))

    def _measure_one(
        self, model: Denoiser, plan: Plan, number: int, described: Described, progress: Progress | None
    ) -> None:
        paths = plan.paths(number)
        path = self.folder / "blocks" / f"{plan.stream}-{plan.block}-{paths.start:08d}-{paths.stop:08d}.npz"
        start = time.perf_counter()
        with memory_said(len(paths)):
            records = measure_block(model, plan, number, progress)
        _write(path, plan, paths, records, described, time.perf_counter() - start, _device_name(model))

    def _read(self, plan: Plan, number: int, pieces: Sequence[_Piece], described: Described) -> list[Record]:
        """The records of a block, from the pieces that cover it."""
        parts = []
        for piece, first, last in _cover(plan.paths(number), plan.block, pieces) or []:
            arrays, about = _load(piece.path)
            _compare(about["run"], described, f" in {piece.path}", "; remove that file and ask again")
            if about["paths"] != [piece.start, piece.stop] or about["block"] != piece.size:
                raise InputError(f"paths in {piece.path}", about["paths"], "those of its name; remove that file")
            self.used[piece] = (float(about["seconds"]), str(about["device"]))
            parts.append([_record(arrays, index).of_paths(first, last) for index in range(len(plan.partitions))])
        return [Record.concatenate(of_partition) for of_partition in zip(*parts, strict=True)]


def _locked(path: Path) -> int | None:
    """A file that this process alone has locked; None where files cannot be locked. InputError while another has."""
    make_folder(path.parent, "folder")
    while True:
        try:
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(opened).st_nlink:  # or another run has ended in between, and taken the file away
                os.truncate(opened, 0)
                os.write(opened, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return opened
            os.close(opened)
        except BlockingIOError:
            other = path.read_text(encoding="utf-8", errors="replace") or "another process"
            os.close(opened)
            raise InputError("folder", path.parent, f"one where no other run works, and {other} does") from None
        except OSError:
            os.close(opened)
            return None


def _is_of(result: Path, model: Denoiser, plan: Plan) -> bool:
    """Whether a file is a profile of the same question: of this run, when it was killed before it could note that."""
    try:
        found = Profile.load(result)
    except InputError:
        return False
    said = (found.model_digest, found.partition, found.seed, found.method, found.prior)
    asked = plan.partitions[0]
    return said == (model.digest, asked.label, plan.seed, plan.method.name, asked.prior)


def _common(model: Denoiser, plan: Plan) -> Described:
    """What all streams of a run share, as JSON gives it back."""
    described = {
        "format": _FORMAT,
        "model": {
            "name": model.name,
            "digest": model.digest,
            "shape": list(model.shape),
            "dtype": str(model.dtype),
            "device": model.device.type,
        },
        "partitions": [_partition(each) for each in plan.partitions],
        "seed": int(plan.seed),
        "method": asdict(plan.method),
        "strata": "sides" if plan.by_side else "branches",
        "data": None if plan.data is None else _data_digest(plan.data),
        "versions": {"companion": __version__, "torch": version("torch"), "numpy": np.__version__},
    }
    read_back: Described = json.loads(json.dumps(described, allow_nan=False))
    return read_back


_OWN = ("stream", "samples of the pilot", "levels", "log_snr")


def _own(plan: Plan) -> Described:
    """What a stream has of its own. A pilot's paths place the levels of all others, so that their number counts."""
    return {
        "stream": plan.stream,
        "samples of the pilot": None if plan.stream == 0 else plan.samples,
        "levels": len(plan.log_snr),
        "log_snr": [float(level) for level in plan.log_snr],
    }


def _partition(partition: Partition) -> Described:
    return {
        "label": partition.label,
        "first": {str(branch): float(weight) for branch, weight in partition.first.items()},
        "second": {str(branch): float(weight) for branch, weight in partition.second.items()},
        "prior": float(partition.prior),
        "whole": [float(weight) for weight in partition.whole],
    }


def _data_digest(data: Data) -> str:
    return digest_of(data.samples, torch.from_numpy(np.ascontiguousarray(data.labels)))


def _device_name(model: Denoiser) -> str:
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _compare(found: Any, expected: Any, where: str, advice: str) -> None:
    """InputError for the first value in `found` that `expected` has otherwise, named by its place."""
    for name, ours, theirs in _differences(found, expected, ""):
        # A folder may be renamed; what the model is, its digest says, if it has one.
        if name == "model.name" and found["model"]["digest"] != FunctionDenoiser.digest:
            continue
        raise InputError(f"{name}{where}", ours, f"{theirs}{advice}")


def _differences(one: Any, other: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one:
            yield from _differences(one[key], other.get(key, "nothing"), f"{name}.{key}" if name else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{name}[{index}]")
    elif one != other or type(one) is not type(other):
        yield name, one, other


def _cover(paths: range, size: int, pieces: Sequence[_Piece]) -> list[tuple[_Piece, int, int]] | None:
    """The pieces that hold `paths`, each with the first and one past the last path to take; None where some lack.

    A piece of the same paths is the same batch. Pieces of another size hold the same paths to rounding; of the same
    size they are another ending of the run, and not what a run without a break would have.
    """
    for piece in pieces:
        if (piece.start, piece.stop) == (paths.start, paths.stop):
            return [(piece, piece.start, piece.stop)]
    chosen, reached = [], paths.start
    while reached < paths.stop:
        holding = [piece for piece in pieces if piece.size != size and piece.start <= reached < piece.stop]
        if not holding:
            return None
        best = max(holding, key=lambda piece: piece.stop)
        chosen.append((best, reached, min(best.stop, paths.stop)))
        reached = best.stop
    return chosen


def _write(
    path: Path,
    plan: Plan,
    paths: range,
    records: Sequence[Record],
    described: Described,
    seconds: float,
    device: str,
) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for index, record in enumerate(records):
        arrays |= {f"{index}.{name}": values for name, values in vars(record).items()}
    about = {
        "run": described,
        "paths": [paths.start, paths.stop],
        "block": plan.block,
        "seconds": seconds,
        "device": device,
    }
    arrays["about"] = np.array(json.dumps(about, allow_nan=False))
    with written_whole(path) as unfinished:
        np.savez(unfinished, allow_pickle=False, checksum=np.array(_checksum(arrays)), **arrays)


def _load(path: Path) -> tuple[dict[str, NDArray[Any]], Described]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        whole = str(arrays.pop("checksum")) == _checksum(arrays)
        about: Described = json.loads(str(arrays.pop("about"))) if whole else {}
    except Exception:  # numpy and zipfile have many errors for a damaged file, and none is more telling than the others
        whole = False
    if not whole:
        raise InputError(str(path), "cut short or damaged", "a whole block; remove that file and ask again")
    return arrays, about


def _checksum(arrays: dict[str, NDArray[Any]]) -> str:
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _record(arrays: dict[str, NDArray[Any]], index: int) -> Record:
    """What a block's file holds of one partition."""
    return Record(**{part.name: arrays[f"{index}.{part.name}"] for part in fields(Record)})
