"""Blocks of paths, measured and kept: in memory, or in a folder, where the same run goes on when it was killed.

    FOLDER/run.json                              what is measured: model, partitions, seed, method, levels, versions
    FOLDER/blocks/0-150-00000150-00000300.npz    stream 0 in blocks of 150: what paths 150 to 299 gave; 1 is the pilot
    FOLDER/profile.json                          the result; of several partitions profile-1.json, profile-2.json, ...

A block's file is written whole or not at all, says what run it is of, and has a checksum for each array, that of a zip
file. All that is gathered is read from these files, so that a run that was killed, or that several processes share,
ends with the bits of one without a break. What would change a number is refused, naming it. What may change is how many
paths follow (`tolerance`; `samples` where no pilot depends on it), and what moves numbers by rounding alone, the size
of a block and the name of the device, of which `mixture` tells: blocks of another size stand for their paths.
"""

import hashlib
import io
import json
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from companion import __version__
from companion.denoiser import Denoiser, FunctionDenoiser, digest_of
from companion.entropy import Partition
from companion.errors import InputError
from companion.estimate.cost import memory_said
from companion.estimate.measure import Record, measure_block
from companion.estimate.paths import Progress
from companion.estimate.plan import Plan
from companion.estimate.processes import ALONE, Processes
from companion.estimate.result import Profile
from companion.files import locked, make_folder, write_text, written_whole

__all__ = ["Folder", "Memory", "result_paths"]

Described = dict[str, Any]


def result_paths(folder: Path, count: int) -> list[Path]:
    """Where the results of a run of so many partitions are written.

    >>> [path.name for path in result_paths(Path("out"), 2)]
    ['profile-1.json', 'profile-2.json']
    """
    return [folder / f"profile{'' if count == 1 else f'-{place}'}.json" for place in range(1, count + 1)]


@dataclass(frozen=True, eq=False)
class Memory:
    """Blocks that are measured one after the other, in no folder; `seconds` is what that took."""

    model: Denoiser
    progress: Progress = None
    took: list[float] = field(default_factory=list)
    mixture: str = ""

    @property
    def seconds(self) -> float:
        return sum(self.took)

    def records(self, plan: Plan, numbers: Sequence[int]) -> list[list[Record]]:
        """The records of a plan's blocks `numbers`, measured."""
        start = time.perf_counter()
        found = [measure_block(self.model, plan, number, self.progress) for number in numbers]
        self.took.append(time.perf_counter() - start)
        return found


class _Piece(NamedTuple):
    """A block's file, and what its name says: the paths in it, of a plan with blocks of `size`."""

    path: Path
    paths: range
    size: int


@dataclass(frozen=True, eq=False)
class Folder:
    """The folder of a run, whose `plan` and `pilot` are those before its levels are placed; `processes` share the work.

    `used` says of each block that went into the `results` how many seconds it took, on which device, and in batches of
    which size. Raises InputError where the folder holds a file that is damaged or of another run, where another process
    is at work, where no folder can be made, and where memory is short, naming the size of block to use.
    """

    path: Path
    model: Denoiser
    plan: Plan
    pilot: Plan | None
    results: Sequence[Path]
    processes: Processes = ALONE
    progress: Progress = None
    used: dict[_Piece, tuple[float, str, int]] = field(default_factory=dict)
    run: Described = field(init=False)

    def __post_init__(self) -> None:
        vars(self).update(run=_described(self.model, self.plan, self.pilot))
        noted = self._noted()
        _compare(self.run, noted or self.run, "", f", as in the run that {self.path} holds; name another folder")
        for result, partition in zip(self.results, self.plan.partitions, strict=False):
            if os.path.exists(result) and not (noted and self._is_of(result, partition)):
                raise InputError("result", result, "no file of another run there; move it, or name another folder")

    def finished(self, asked: Described) -> bool:
        """Whether the results are what this run gave when it was last `asked` so. Nothing is evaluated or written."""
        return bool(self._noted().get("finished") == {"asked": asked, "results": [*map(_digest, self.results)]})

    @property
    def missing(self) -> int:
        """How many evaluations, whatever the levels, the folder does not hold yet."""
        plans = [plan for plan in (self.pilot, self.plan) if plan is not None]
        return sum(_evaluations(plan, self._lacking(plan, range(plan.blocks))) for plan in plans)

    @property
    def seconds(self) -> float:
        """The seconds that measuring the blocks in use took, over all processes and all attempts."""
        return sum(seconds for seconds, _, _ in self.used.values())

    @property
    def mixture(self) -> str:
        """What differs between the blocks in use, which moves a result by rounding; empty where nothing does."""
        sizes = sorted({size for _, _, size in self.used.values()})
        devices = sorted({device for _, device, _ in self.used.values()})
        said = [f"blocks of {' and '.join(map(str, sizes))} paths"] * (len(sizes) > 1)
        return ", ".join(said + [f"on {' and '.join(devices)}"] * (len(devices) > 1))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run works in the folder in the meantime, and an interrupt says how many blocks are kept.

        Where the file system cannot lock files, two equal runs measure everything twice, with the same numbers.
        """
        with ExitStack() as held:

            def begin() -> None:
                make_folder(self.path, "out")
                if held.enter_context(locked(self.path / ".running")):  # else they may be of a process that is alive
                    for left in (self.path / "blocks").glob(".*.unfinished.npz"):
                        left.unlink(missing_ok=True)
                make_folder(self.path / "blocks", "out")
                self._note(self._noted().get("finished"))

            self.processes.by_first(begin)
            try:
                yield
            except KeyboardInterrupt:
                kept = f"{len(self._pieces(0) + self._pieces(1))} finished blocks are kept in {self.path}"
                raise KeyboardInterrupt(f"stopped; {kept}, and the same command goes on") from None

    def finish(self, found: Sequence[Profile], asked: Described) -> None:
        """Writes the results, and notes that they are what the run gives when `asked` so."""

        def write() -> None:
            for result, path in zip(found, self.results, strict=True):
                result.save(path)
            self._note({"asked": asked, "results": [*map(_digest, self.results)]})

        self.processes.by_first(write)

    def records(self, plan: Plan, numbers: Sequence[int]) -> list[list[Record]]:
        """The records of a plan's blocks `numbers`: read where they are finished, otherwise measured and kept."""
        lacking, processes = self._lacking(plan, numbers), self.processes
        # What cannot be used is refused before hours are spent, and nobody writes before everybody has looked.
        processes.together(lambda: self._read(plan, [each for each in numbers if each not in lacking]))
        for first in range(0, len(lacking), processes.count):  # one block for each process; they wait for each other
            mine = lacking[first : first + processes.count][processes.number :][:1]
            processes.together(partial(self._keep, plan, mine))
            others = _evaluations(plan, set(lacking[first : first + processes.count]).difference(mine))
            if self.progress is not None and others:
                self.progress(others)
        return self._read(plan, numbers)

    def _noted(self) -> Described:
        """The folder's run.json, or what its blocks say where that is damaged; empty where there is none."""
        path, told = self.path / "run.json", list[Described]()
        if not os.path.exists(path):
            return {}
        with suppress(OSError, ValueError, RecursionError):
            if isinstance(noted := json.loads(path.read_text(encoding="utf-8")), dict):
                return noted
        for piece in self._pieces(0) + self._pieces(1):
            with suppress(InputError):  # a damaged block is named when it is read
                told.append(_load(piece.path)[1]["run"])
        if path.is_dir() or not told or any(each != told[0] for each in told):
            raise InputError("run.json", f"cut short or damaged in {self.path}", "whole; name another folder")
        return told[0]

    def _note(self, finished: Described | None) -> None:
        text = json.dumps({**self.run, "finished": finished}, indent=1, allow_nan=False, default=float)
        write_text(self.path / "run.json", text + "\n")

    def _is_of(self, result: Path, partition: Partition) -> bool:
        """Whether a file is a profile of the same question: of this run, perhaps from before it was asked for more."""
        plan, rule = self.plan, self.run["guidance"]
        wanted = (self.model.digest, rule, partition.label, plan.seed, plan.method.name, partition.prior)
        with suppress(InputError):
            found = Profile.load(result)
            which = found.model_digest, found.guidance
            return wanted == (*which, found.partition, found.seed, found.method, found.prior)
        return False

    def _pieces(self, stream: int) -> list[_Piece]:
        blocks, said = self.path / "blocks", re.compile(rf"{stream}-(\d+)-(\d+)-(\d+)\.npz")
        paths = sorted(blocks.iterdir()) if os.path.isdir(blocks) else []
        found = [(path, map(int, name.groups())) for path in paths if (name := said.fullmatch(path.name))]
        return [_Piece(path, range(start, stop), size) for path, (size, start, stop) in found]

    def _lacking(self, plan: Plan, numbers: Sequence[int]) -> list[int]:
        pieces = self._pieces(plan.stream)
        return [number for number in numbers if _cover(plan, number, pieces) is None]

    def _keep(self, plan: Plan, numbers: Sequence[int]) -> None:
        """Measures blocks and writes their files."""
        for number in numbers:
            paths, start = plan.paths(number), time.perf_counter()
            with memory_said(len(paths)):
                records = measure_block(self.model, plan, number, self.progress)
            seconds, device = time.perf_counter() - start, _device_name(self.model)
            about = {"run": self.run, **_place(plan, paths), "seconds": seconds, "device": device}
            arrays = {f"{index}.{name}": each[name] for index, each in enumerate(map(vars, records)) for name in each}
            name = f"{plan.stream}-{plan.block}-{paths.start:08d}-{paths.stop:08d}.npz"
            with written_whole(self.path / "blocks" / name) as unfinished:
                np.savez(unfinished, allow_pickle=False, about=json.dumps(about, allow_nan=False), **arrays)

    def _read(self, plan: Plan, numbers: Sequence[int]) -> list[list[Record]]:
        """The records of finished blocks, each from the pieces that cover it."""
        pieces, found = self._pieces(plan.stream), []
        for number in numbers:
            parts = []
            for piece, paths in _cover(plan, number, pieces) or []:
                records, about = _load(piece.path)
                said = {**about["run"], "log_snr": about["log_snr"], "paths": about["paths"]}
                ours = {**self.run, **_place(plan, piece.paths)}
                _compare(said, ours, f" in {piece.path}", "; remove that file and ask again")
                size = plan.block if piece.paths == plan.paths(number) else piece.size
                self.used[piece] = (float(about["seconds"]), str(about["device"]), size)
                parts.append([record.of_paths(paths.start, paths.stop) for record in records])
            found.append([Record.concatenate(of_partition) for of_partition in zip(*parts, strict=True)])
        return found


def _described(model: Denoiser, plan: Plan, pilot: Plan | None) -> Described:
    """What a run is, as JSON gives it back. A pilot places the levels of all paths, so that its samples count."""
    named = {"name": model.name, "digest": model.digest, "shape": model.shape}
    described = {
        "format": "companion run 5",
        "model": {**named, "dtype": str(model.dtype), "device": model.device.type},
        "guidance": None if plan.guidance is None else plan.guidance.as_dict(),
        "partitions": [asdict(each) for each in plan.partitions],
        "seed": plan.seed,
        "method": asdict(plan.method),
        "strata": "sides" if plan.by_side else "branches",
        "samples of the pilot": None if pilot is None else pilot.samples,
        "levels": len(plan.log_snr),
        "log_snr": plan.log_snr.tolist() if pilot is None else None,
        "data": None if plan.data is None else digest_of(plan.data.samples, torch.from_numpy(plan.data.labels)),
        "versions": {"companion": __version__, "torch": version("torch"), "numpy": np.__version__},
    }
    read_back: Described = json.loads(json.dumps(described, allow_nan=False, default=float))
    return read_back


def _place(plan: Plan, paths: range) -> Described:
    """Where in a run a block is."""
    return {"log_snr": plan.log_snr.tolist(), "paths": [paths.start, paths.stop]}


def _device_name(model: Denoiser) -> str:
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else processor


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if os.path.isfile(path) else ""


def _compare(found: Any, expected: Any, where: str, advice: str, name: str = "") -> None:
    """InputError for the first value in `found` that `expected` has otherwise, named by its place."""
    if isinstance(found, dict) and isinstance(expected, dict):
        # A folder may be renamed; what the model is, its digest says, if it has one.
        known = found.get("digest", FunctionDenoiser.digest) != FunctionDenoiser.digest
        for key in found:
            if not (known and key == "name"):
                _compare(found[key], expected.get(key, "nothing"), where, advice, f"{name}.{key}".lstrip("."))
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, pair in enumerate(zip(found, expected, strict=True)):
            _compare(*pair, where, advice, f"{name}[{index}]")
    elif found != expected or type(found) is not type(expected):
        raise InputError(f"{name}{where}", found, f"{expected}{advice}")


def _evaluations(plan: Plan, numbers: Iterable[int]) -> int:
    """The evaluations of a plan's blocks `numbers`."""
    return sum(len(plan.paths(number)) for number in numbers) * plan.evaluations // plan.samples


def _cover(plan: Plan, number: int, pieces: Sequence[_Piece]) -> list[tuple[_Piece, range]] | None:
    """The pieces that hold a block, each with the paths to take from it; None where some lack.

    A piece of the same paths is the same batch. Pieces of another size hold the same paths to rounding; of the same
    size they are another ending of the run, and not what a run without a break would have.
    """
    paths, chosen = plan.paths(number), []
    # The largest that may stand in comes last, and a piece of the same paths after all of them.
    fitting = [piece for piece in pieces if piece.paths == paths or piece.size != plan.block]
    fitting.sort(key=lambda piece: (piece.paths == paths, piece.paths.stop))
    reached = paths.start
    while reached < paths.stop:
        holding = [piece for piece in fitting if reached in piece.paths]
        if not holding:
            return None
        chosen.append((holding[-1], range(reached, min(holding[-1].paths.stop, paths.stop))))
        reached = holding[-1].paths.stop
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
