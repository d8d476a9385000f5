"""The command line of a script in benchmarks/ whose parts each write one shipped result, with its origin."""

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from companion.files import write_text

__all__ = ["Parts", "rounded", "run_parts"]

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


def rounded(result: dict[str, Any]) -> str:
    """JSON with five significant digits and one line a field; arrays as lists.

    >>> print(rounded({"a": np.array([1 / 3, 2.0]), "b": np.bool_(True)}), end="")
    {
    "a": [0.33333, 2.0],
    "b": true
    }
    """
    lines = [f"{json.dumps(key)}: {json.dumps(_plain(value))}" for key, value in result.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(each) for each in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.5g}")
    return bool(value) if isinstance(value, np.bool_) else value
