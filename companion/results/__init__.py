"""Results that take longer than a chapter may: small files of numbers that ship with the package.

Each is one JSON object and carries its own origin: `command` writes it again, with the `device`, `seed`, `seconds` and
`evaluations` it took, the `versions`, and the `model_digest` of the network, where one was measured.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from companion.errors import InputError

__all__ = ["FOLDER", "read"]

FOLDER = Path(__file__).parent


def read(name: str) -> dict[str, Any]:
    """A shipped result by its name; lists of numbers become float64 arrays, and null in them NaN.

    Raises InputError for a name that nothing ships under.

    >>> result = read("listening/orders")
    >>> result["command"], result["levels"][:3].tolist()
    ('python benchmarks/listening_results.py orders', [33.0, 65.0, 129.0])
    """
    known = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.json"))
    if name not in known:
        raise InputError("name", name, f"one of {', '.join(known)}")
    return {key: _array(value) for key, value in json.loads((FOLDER / f"{name}.json").read_text("utf-8")).items()}


def _array(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _array(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    array = np.array(value, dtype=object)
    numbers = all(isinstance(each, (int, float)) or each is None for each in array.flat)
    return array.astype(np.float64) if numbers else [_array(each) for each in value]
