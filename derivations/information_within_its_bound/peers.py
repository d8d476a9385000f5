"""What the benchmark of estimators found: their errors, task by task."""

from typing import Any

import numpy as np

from companion.arguments import Array

__all__ = ["best_settings", "mean_over_seeds", "relative_errors"]


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


def best_settings(errors: dict[str, Array]) -> list[str]:
    """Of an estimator's settings, names of one first word, the one of lowest mean error, of those with the most tasks.

    >>> best_settings({"a": np.array([0.5, 0.3]), "a fast": np.array([0.3, 0.3]), "a lazy": np.array([0.1, np.nan])})
    ['a fast']
    """
    rank = {name: (-np.isfinite(each).sum(), np.nanmean(each)) for name, each in errors.items()}
    first = {name: name.partition(" ")[0] for name in errors}
    return [name for name in errors if rank[name] == min(rank[each] for each in errors if first[each] == first[name])]
