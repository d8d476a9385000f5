"""The command line of a script in benchmarks/ whose parts each write one shipped result, with its origin."""

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from companion.files import write_text

__all__ = ["Parts", "run_parts"]

Parts = dict[str, Callable[[], tuple[dict[str, Any], int]]]


def run_parts(
    script: str,
    explained: str,
    parts: Parts,
    folder: Path,
    packages: Sequence[str],
    as_text: Callable[[dict[str, Any]], str] = lambda result: json.dumps(result, indent=1) + "\n",
) -> int:
    """Run the parts that the command line names, or all, on one thread; each returns its result and its evaluations.

    A result goes to `folder` as PART.json, whole or not at all. `explained` is what --help says, and `packages` are
    those whose versions are written down.
    """
    parser = argparse.ArgumentParser(description=explained, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(parts)}; all when none is named")
    chosen = parser.parse_args().parts or list(parts)
    if unknown := set(chosen) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    torch.set_num_threads(1)
    for part in chosen:
        started = time.perf_counter()
        measured, evaluations = parts[part]()
        origin = {
            "command": f"python benchmarks/{script}.py {part}",
            "device": "one thread of a shared CPU",
            "seed": 0,
            "seconds": round(time.perf_counter() - started),
            "evaluations": evaluations,
            "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        }
        folder.mkdir(exist_ok=True)
        write_text(folder / f"{part}.json", as_text(origin | measured))
        print(f"{part}.json: {evaluations} evaluations, {origin['seconds']} s", flush=True)
    return 0
