"""Who is not c: a prediction from a few other classes, judged on the classes it was not made of.

A predictor q' of c against S without j says log q'(c)/q'(not c) = log-odds before + log p_c / p', with

    p' = (1 - w) e^b p_(S without j) + w p_c,    w = 1/1000.

Both terms keep it from being surprised by a class it has not seen, and neither can make its cross entropy less than
the entropy. The allowance b, by level, is what does best at the other classes of S, each left out in turn, on the other
half of the paths: neither j nor the path that is scored has a part in it. The share w bounds the surprise at the log of
1000 times the prior odds, where a rival close to c is left out, for at most a thousandth of a nat.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from companion.entropy import Partition

__all__ = ["allowances", "left_out", "log_mean", "rest_of_null", "surprise"]

Array = NDArray[np.float64]
Owner = NDArray[np.int64]

_OWN_SHARE = 1e-3
_BISECTIONS = 20


def left_out(ratios: Array, owner: Owner, allowance: Array, whole: Partition) -> Array:
    """What each path adds to the mean of U_j, (paths, levels), from log p_z / p_c of the m classes in S.

    `ratios` and `allowance` are (paths, levels, m); `owner` (paths,) is 0 for c and k for the k-th class of S. Of
    `whole`, c against all M others, only the prior and M are used. For an owner in S the weight is (M - m + 1) / M
    where it is left out, 1 / M elsewhere: the mean over its paths, then over S, is the second part of U_j.

    >>> from companion.entropy import Partition
    >>> whole = Partition("c|others", {0: 1.0}, {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}, 0.5)
    >>> left_out(np.zeros((4, 1, 3)), np.arange(4), np.zeros((4, 1, 3)), whole).round(4).ravel().tolist()
    [0.6931, 0.6931, 0.6931, 0.6931]
    """
    m, others = ratios.shape[2], len(whole.second)
    surprised = surprise(_log_mean_without_each(ratios) + allowance, owner[:, None, None], whole)
    of_others = np.where(_own(owner, m), others - m + 1, 1) / others
    weights = np.where(owner[:, None] == 0, 1.0 / m, of_others)
    return np.asarray(np.einsum("nlj,nj->nl", surprised, weights))


def allowances(ratios: Array, owner: Owner, half: Owner, whole: Partition) -> Array:
    """The b of each path, level and left-out class, (paths, levels, m), by bisection on the other half of the paths.

    Without the share of c the cross entropy is convex in b, and least where q' takes from c what it takes from the
    others. `half` (paths,) is 0 or 1; each has paths of c and of every class of S. b is at least 0.
    """
    m, prior = ratios.shape[2], whole.prior
    own, of_first = _own(owner, m), owner == 0
    share = (m - 1) / len(whole.second)
    seen = whole.log_odds - _log_mean_without_each(ratios)
    unseen = whole.log_odds - _log_mean_without_each(np.where(own[:, None, :], -np.inf, ratios))
    result = np.empty_like(ratios)
    for other_half in (0, 1):
        first, others = (np.flatnonzero((half == other_half) & side) for side in (of_first, ~of_first))
        weights = np.where(own[others], 0.0, (1.0 - prior) / np.sum(~own[others], axis=0))
        low, high = np.zeros(ratios.shape[1:]), np.full(ratios.shape[1:], np.abs(ratios).max() + np.log(m))
        for _ in range(_BISECTIONS):
            b = 0.5 * (low + high)
            denied = prior * expit(b - seen[first]).mean(axis=0)
            claimed = share * expit(seen[others] - b) + (1.0 - share) * expit(unseen[others] - b)
            small = denied < np.einsum("nlj,nj->lj", claimed, weights)
            low, high = np.where(small, b, low), np.where(small, high, b)
        result[half != other_half] = low
    return result


def _own(owner: Owner, m: int) -> NDArray[np.bool_]:
    return np.asarray(owner[:, None] == np.arange(1, m + 1))


def log_mean(ratios: Array) -> Array:
    """log of the mean of exponentials over the last axis.

    >>> float(log_mean(np.log([[1.0, 3.0]]))[0].round(6))                 # log 2
    0.693147
    """
    return np.asarray(logsumexp(ratios, axis=-1) - np.log(ratios.shape[-1]))


def _log_mean_without_each(ratios: Array) -> Array:
    """log of the mean over the last axis without each of its entries; a class that is masked, -inf, is no entry."""
    m = ratios.shape[-1]
    largest = np.arange(m) == ratios.argmax(axis=-1)[..., None]
    smaller, total = np.where(largest, -np.inf, ratios), logsumexp(ratios, axis=-1, keepdims=True)
    # Without the largest a difference would have no digits left: the others are summed anew.
    without = np.where(largest, logsumexp(smaller, axis=-1, keepdims=True), total + np.log1p(-np.exp(smaller - total)))
    return np.asarray(without - np.log(np.sum(np.isfinite(ratios), axis=-1, keepdims=True) - 1))


def surprise(rest: Array, owner: Owner, whole: Partition) -> Array:
    """-log q' of the side that drew the path, in nats; `rest` is the log of the rivals' density over that of c.

    >>> from companion.entropy import Partition
    >>> even = Partition("c|others", {0: 1.0}, {1: 1.0}, 0.5)
    >>> surprise(np.array([0.0, -1000.0]), np.array([0, 1]), even).round(4).tolist()     # log 2 and log 1001
    [0.6931, 6.9088]
    """
    odds = whole.log_odds - np.logaddexp(np.log1p(-_OWN_SHARE) + rest, np.log(_OWN_SHARE))
    return np.asarray(np.logaddexp(0.0, np.where(owner == 0, -odds, odds)))


def rest_of_null(ratio: Array, weight: float) -> Array:
    """log of the rivals' density over that of c, from log p_null / p_c, where the null branch holds c by its `weight`.

    Minus infinity where the null branch holds even less of c's density.

    >>> rest_of_null(np.log([0.25 * 1.0 + 0.75 * 3.0]), 0.25).round(6).tolist()        # log 3
    [1.098612]
    """
    with np.errstate(divide="ignore"):
        return np.asarray(ratio + np.log(-np.expm1(np.minimum(np.log(weight) - ratio, 0.0))) - np.log1p(-weight))
