"""Results that take longer than a chapter may: small files of numbers that ship beside the chapter that reads them.

A result `chapter/part` lies in derivations/CHAPTER/results/PART.json; what two chapters read is of the kit.

Each is one JSON object and carries its own origin: `command` writes it again, with the `device`, `seed`, `seconds` and
`evaluations` it took, the `versions`, and the `model_digest` of the network, where one was measured.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from companion.errors import InputError

FOLDER = Path(__file__).parent.parent


def read(name: str) -> dict[str, Any]:
    """A shipped result by its name; lists of numbers become float64 arrays, and null in them NaN.

    Raises InputError for a name that nothing ships under.

    >>> result = read("what_each_improvement_buys/orders")
    >>> result["command"], result["levels"][:3].tolist()
    ('python benchmarks/listening_results.py orders', [33.0, 65.0, 129.0])
    """
    known = files()
    if name not in known:
        raise InputError("name", name, f"one of {', '.join(known)}")
    return {key: _array(value) for key, value in json.loads(known[name].read_text("utf-8")).items()}


def files() -> dict[str, Path]:
    """The file of every shipped result, by its name."""
    return {f"{path.parts[-3]}/{path.stem}": path for path in sorted(FOLDER.glob("*/results/*.json"))}


def _array(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _array(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    array = np.array(value, dtype=object)
    numbers = all(isinstance(each, (int, float)) or each is None for each in array.flat)
    return array.astype(np.float64) if numbers else [_array(each) for each in value]
