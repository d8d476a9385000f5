"""Blocks of paths, measured and kept: in memory, or in a folder, where the same run goes on when it was killed.

    FOLDER/run.json                              what is measured: model, partitions, seed, method, levels, versions
    FOLDER/blocks/0-150-00000150-00000300.npz    stream 0 in blocks of 150: what paths 150 to 299 gave; 1 is the pilot
    FOLDER/profile.json                          the result; of several partitions profile-1.json, profile-2.json, ...

A block's file is written whole or not at all, says what run it is of, and each of its arrays has the checksum of a zip
file. All that is gathered is read from these files, so that a run that was killed, or that several processes share,
ends with the bits of one without a break. What would change a number is refused, naming it. What leaves the numbers as
they are may change: how many paths follow (`tolerance`; `samples` where no pilot depends on it). What moves them by
rounding alone may change too, the size of a block and the name of the device, and then `mixture` says so: blocks of
another size stand for their paths.
"""

import hashlib
import io
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
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
from companion.estimate.cost import memory_said
from companion.estimate.measure import Record, measure_block
from companion.estimate.plan import Data, Plan
from companion.estimate.processes import ALONE, Processes
from companion.estimate.result import Profile
from companion.files import locked, make_folder, write_text, written_whole

__all__ = ["Folder", "Memory", "Progress", "result_paths"]

Described = dict[str, Any]
Progress = Callable[[int], None]

_FORMAT = "companion run 3"


def result_paths(folder: Path, count: int) -> list[Path]:
    """Where the results of a run of so many partitions are written.

    >>> [path.name for path in result_paths(Path("out"), 2)]
    ['profile-1.json', 'profile-2.json']
    """
    return [folder / f"profile{'' if count == 1 else f'-{place}'}.json" for place in range(1, count + 1)]


@dataclass
class Memory:
    """Blocks that are measured one after the other and kept in memory; `seconds` is what that took."""

    model: Denoiser
    progress: Progress | None = None
    seconds: float = 0.0
    mixture: str = ""

    def records(self, plan: Plan, numbers: Sequence[int]) -> list[list[Record]]:
        """The records of a plan's blocks `numbers`."""
        start = time.perf_counter()
        found = [measure_block(self.model, plan, number, self.progress) for number in numbers]
        self.seconds += time.perf_counter() - start
        return found


class _Piece(NamedTuple):
    """What the name of a block's file says: paths `start` to `stop` - 1, of a plan with blocks of `size`."""

    start: int
    stop: int
    size: int
    path: Path


@dataclass(frozen=True, eq=False)
class Folder:
    """The folder of a run, whose `plan` and `pilot` are those before its levels are placed; `processes` share the work.

    `results` are the files of its results. `used` says of each block that went into them how many seconds it took, on
    which device, and in batches of which size. Raises InputError where the folder holds another run, where a result is
    there that is not of this one, where another process is at work, where a file is damaged or of another run, where no
    folder can be made, and where memory is short, naming the size of block to use.
    """

    path: Path
    model: Denoiser
    plan: Plan
    pilot: Plan | None
    results: Sequence[Path]
    processes: Processes = ALONE
    progress: Progress | None = None
    used: dict[_Piece, tuple[float, str, int]] = field(default_factory=dict)
    run: Described = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", _described(self.model, self.plan, self.pilot))
        if noted := self._noted():
            _compare(self.run, noted, "", f", as in the run that {self.path} holds; name another folder")
        for result, partition in zip(self.results, self.plan.partitions, strict=False):
            if os.path.exists(result) and not (noted and self._is_of(result, partition)):
                raise InputError("result", result, "no file of another run there; move it, or name another folder")

    def finished(self, asked: Described) -> bool:
        """Whether the results are what this run gave when it was last `asked` so. Nothing is evaluated or written."""
        return bool(self._noted().get("finished") == {"asked": asked, "results": [*map(_digest, self.results)]})

    @property
    def missing(self) -> int:
        """How many evaluations, whatever the levels, the folder does not hold yet."""
        total = 0
        for plan in filter(None, (self.pilot, self.plan)):
            pieces = self._pieces(plan.stream)
            blocks = map(plan.paths, range(plan.blocks))
            left = sum(len(paths) for paths in blocks if _cover(paths, plan.block, pieces) is None)
            total += left * plan.evaluations // plan.samples
        return total

    @property
    def kept(self) -> int:
        """How many blocks the folder holds, the pilot's among them."""
        return len(self._pieces(0)) + len(self._pieces(1))

    @property
    def seconds(self) -> float:
        """The seconds that measuring the blocks in use took, over all processes and all attempts."""
        return sum(seconds for seconds, _, _ in self.used.values())

    @property
    def mixture(self) -> str:
        """What differs between the blocks in use, which moves a result by rounding; empty where nothing does."""
        sizes = sorted({size for _, _, size in self.used.values()})
        devices = sorted({device for _, device, _ in self.used.values()})
        said = [f"blocks of {' and '.join(map(str, sizes))} paths"] if len(sizes) > 1 else []
        return ", ".join(said + ([f"on {' and '.join(devices)}"] if len(devices) > 1 else []))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run works in the folder in the meantime, as long as its file system can lock files.

        Where it cannot, two equal runs measure everything twice, with the same numbers.
        """
        with ExitStack() as held:

            def begin() -> None:
                make_folder(self.path, "out")
                if held.enter_context(locked(self.path / ".running")):  # else they may be of a process that is alive
                    for left in (self.path / "blocks").glob(".*.unfinished.npz"):
                        left.unlink(missing_ok=True)
                make_folder(self.path / "blocks", "out")
                self._note(self._noted().get("finished"))

            self.processes.together(begin if self.processes.number == 0 else lambda: None)
            yield

    def finish(self, found: Sequence[Profile], asked: Described) -> None:
        """Writes the results, and notes that they are what the run gives when `asked` so."""

        def write() -> None:
            for result, path in zip(found, self.results, strict=True):
                result.save(path)
            self._note({"asked": asked, "results": [*map(_digest, self.results)]})

        self.processes.together(write if self.processes.number == 0 else lambda: None)

    def records(self, plan: Plan, numbers: Sequence[int]) -> list[list[Record]]:
        """The records of a plan's blocks `numbers`: read where they are finished, otherwise measured and kept."""
        pieces, together = self._pieces(plan.stream), self.processes.together
        missing = [number for number in numbers if _cover(plan.paths(number), plan.block, pieces) is None]
        there = [number for number in numbers if number not in missing]
        # What cannot be used is refused before hours are spent, and nobody writes before everybody has looked.
        together(lambda: [self._read(plan, number, pieces) for number in there])
        for first in range(0, len(missing), self.processes.count):
            self._measure(plan, missing[first : first + self.processes.count])
        pieces = self._pieces(plan.stream)
        return [self._read(plan, number, pieces) for number in numbers]

    def _noted(self) -> Described:
        """The folder's run.json, or what its blocks say where that is damaged; empty where there is none."""
        path = self.path / "run.json"
        if not os.path.exists(path):
            return {}
        try:
            noted: Described = json.loads(path.read_text(encoding="utf-8"))
            noted.keys()
        except (OSError, ValueError, AttributeError, RecursionError):
            told = []
            for piece in self._pieces(0) + self._pieces(1):
                with suppress(InputError):  # a damaged block is named when it is read
                    told.append(_load(piece.path)[1]["run"])
            if path.is_dir() or not told or any(each != told[0] for each in told):
                said = f"cut short or damaged in {self.path}"
                raise InputError("run.json", said, "whole; name another folder") from None
            noted = told[0]
        return noted

    def _note(self, finished: Described | None) -> None:
        text = json.dumps({**self.run, "finished": finished}, indent=1, allow_nan=False, default=float)
        write_text(self.path / "run.json", text + "\n")

    def _is_of(self, result: Path, partition: Partition) -> bool:
        """Whether a file is a profile of the same question: of this run, perhaps from before it was asked for more."""
        try:
            found = Profile.load(result)
        except InputError:
            return False
        said = (found.model_digest, found.partition, found.seed, found.method, found.prior)
        return said == (self.model.digest, partition.label, self.plan.seed, self.plan.method.name, partition.prior)

    def _pieces(self, stream: int) -> list[_Piece]:
        found = []
        there = os.path.isdir(self.path / "blocks")
        for path in sorted((self.path / "blocks").glob("*.npz")) if there else ():
            if name := re.fullmatch(rf"{stream}-(\d+)-(\d+)-(\d+)", path.stem):
                found.append(_Piece(int(name[2]), int(name[3]), int(name[1]), path))
        return found

    def _measure(self, plan: Plan, numbers: Sequence[int]) -> None:
        """One block for each process, or none; they wait for each other."""
        mine = self.processes.number
        if mine < len(numbers):
            self.processes.together(lambda: self._measure_one(plan, numbers[mine]))
        else:
            self.processes.together(lambda: None)
        others = sum(len(plan.paths(number)) for index, number in enumerate(numbers) if index != mine)
        if self.progress is not None and others:
            self.progress(others * plan.evaluations // plan.samples)

    def _measure_one(self, plan: Plan, number: int) -> None:
        paths, start = plan.paths(number), time.perf_counter()
        with memory_said(len(paths)):
            records = measure_block(self.model, plan, number, self.progress)
        about = {
            "run": self.run,
            "log_snr": plan.log_snr.tolist(),
            "paths": [paths.start, paths.stop],
            "seconds": time.perf_counter() - start,
            "device": _device_name(self.model),
        }
        arrays: dict[str, NDArray[Any]] = {"about": np.array(json.dumps(about, allow_nan=False))}
        for index, record in enumerate(records):
            arrays |= {f"{index}.{name}": values for name, values in vars(record).items()}
        name = f"{plan.stream}-{plan.block}-{paths.start:08d}-{paths.stop:08d}.npz"
        with written_whole(self.path / "blocks" / name) as unfinished:
            np.savez(unfinished, allow_pickle=False, **arrays)

    def _read(self, plan: Plan, number: int, pieces: Sequence[_Piece]) -> list[Record]:
        """The records of a block, from the pieces that cover it."""
        parts = []
        for piece, first, last in _cover(plan.paths(number), plan.block, pieces) or []:
            records, about = _load(piece.path)
            named = {**self.run, "log_snr": plan.log_snr.tolist(), "paths": [piece.start, piece.stop]}
            found = {**about["run"], "log_snr": about["log_snr"], "paths": about["paths"]}
            _compare(found, named, f" in {piece.path}", "; remove that file and ask again")
            whole = (piece.start, piece.stop) == (plan.paths(number).start, plan.paths(number).stop)
            self.used[piece] = (float(about["seconds"]), str(about["device"]), plan.block if whole else piece.size)
            parts.append([record.of_paths(first, last) for record in records])
        return [Record.concatenate(of_partition) for of_partition in zip(*parts, strict=True)]


def _described(model: Denoiser, plan: Plan, pilot: Plan | None) -> Described:
    """What a run is, as JSON gives it back. A pilot places the levels of all paths, so that its samples count."""
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
        "seed": plan.seed,
        "method": asdict(plan.method),
        "strata": "sides" if plan.by_side else "branches",
        "samples of the pilot": None if pilot is None else pilot.samples,
        "levels": len(plan.log_snr),
        "log_snr": plan.log_snr.tolist() if pilot is None else None,
        "data": None if plan.data is None else _data_digest(plan.data),
        "versions": {"companion": __version__, "torch": version("torch"), "numpy": np.__version__},
    }
    read_back: Described = json.loads(json.dumps(described, allow_nan=False, default=float))
    return read_back


def _partition(partition: Partition) -> Described:
    sides = {side: {str(k): w for k, w in getattr(partition, side).items()} for side in ("first", "second")}
    return {**asdict(partition), **sides}


def _data_digest(data: Data) -> str:
    return digest_of(data.samples, torch.from_numpy(np.ascontiguousarray(data.labels)))


def _device_name(model: Denoiser) -> str:
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if os.path.isfile(path) else ""


def _compare(found: Described, expected: Described, where: str, advice: str) -> None:
    """InputError for the first value in `found` that `expected` has otherwise, named by its place."""
    for name, ours, theirs in _differences(found, expected, ""):
        # A folder may be renamed; what the model is, its digest says, if it has one.
        if name != "model.name" or found["model"]["digest"] == FunctionDenoiser.digest:
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


def _load(path: Path) -> tuple[list[Record], Described]:
    """The records of a block's file, one for each partition, and what it says of itself."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            about: Described = json.loads(str(stored["about"]))
            names, count = [part.name for part in fields(Record)], len(about["run"]["partitions"])
            records = [Record(**{name: stored[f"{index}.{name}"] for name in names}) for index in range(count)]
    except Exception:  # numpy and zipfile have many errors for a damaged file, and none is more telling than the others
        raise InputError(str(path), "cut short or damaged", "a whole block; remove that file and ask again") from None
    return records, about
