"""What the benchmark of estimators found: their errors, task by task."""

from typing import Any

import numpy as np

from companion.arguments import Array

__all__ = ["mean_over_seeds", "relative_errors"]


def mean_over_seeds(rows: Array) -> Array:
    """The mean of each row of `rows` (tasks, seeds) over the seeds that are there; NaN for a row without any.

    >>> mean_over_seeds(np.array([[1.0, 3.0], [2.0, np.nan], [np.nan, np.nan]])).tolist()
    [2.0, 2.0, nan]
    """
    there = np.isfinite(rows)
    count = there.sum(axis=1)
    return np.where(count > 0, np.where(there, rows, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def relative_errors(result: dict[str, Any]) -> dict[str, Array]:
    """Mean over seeds of |estimate / truth - 1|, (tasks,), by estimator; NaN where the truth is 0 or no row is there.

    >>> result = {"truths": np.array([2.0, 0.0]), "estimates": {"a": np.array([[1.0, 3.0], [0.1, 0.1]])}}
    >>> relative_errors(result)["a"].tolist()
    [0.5, nan]
    """
    truths = np.where(result["truths"] > 0.0, result["truths"], np.nan)[:, None]
    return {name: mean_over_seeds(np.abs(found / truths - 1.0)) for name, found in result["estimates"].items()}
