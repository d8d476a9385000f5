"""One class against many others: two bounds of its entropy from a random few of them, and their null branch judged.

"Class c against the M others" asks M + 1 branches at every step. Draw m of the others at random, S. Let p_S be the mean
of their densities, p that of all others, q the posterior of c against p, and

    H = prior E_c[-log q(c)] + (1 - prior) (1/M) sum_z E_z[-log q(not c)],    H_S the same with S for the others.

Below: E H_S <= H, and E H_S rises with m to H at m = M. For h(prior) - H_S is an f-divergence of p_c and p_S, convex in
p_S; p is the mean of p_S over the draw, and p_S the mean over its own subsets of one class less. For any prior.

Above: with any other predictor q' of the path in the place of q, H becomes a cross entropy, which is larger (Gibbs).
Let q' be made of S without j: it has seen m - 1 classes, and j stands for all it has not seen,

    U_j = prior E_c[-log q'(c)] + (1 - prior) (1/M) ( sum_{z in S, z != j} E_z + (M - m + 1) E_j )[-log q'(not c)],

whose mean over the draw is E CE(q') >= H; `leave_one_out` takes the mean over j in S. A q' made of the null branch has
seen every class, and whatever is wrong in that branch makes the bound larger (ES 105). A network learns it by itself;
nothing makes it the mixture of its classes. `null_inconsistency` tells it from that mixture on paths that it draws.

q' says log q'(c)/q'(not c) = log-odds before + log p_c / p', with

    p' = (1 - w) e^b p_(S without j) + w p_c,    w = 1/1000.

Both terms keep it from being surprised by a class it has not seen, and neither can make its cross entropy less than
the entropy. The allowance b, by level, is what does best at the other classes of S, each left out in turn, on the other
half of the paths: neither j nor the path that is scored has a part in it. The share w bounds the surprise at the log of
1000 times the prior odds, where a rival close to c is left out, for at most a thousandth of a nat.

Both bounds hold on the mean over draws, up to the error of finite steps. Where what is left to decide is between c and
one close rival that was not drawn, the upper bound of that draw is too low, and its standard error does not say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logsumexp

from companion.arguments import Array, whole_number
from companion.denoiser import Denoiser
from companion.entropy import NULL, Partition, binary_entropy, cross_entropy, log_odds, partition
from companion.errors import InputError
from companion.estimate.confidence import stratified
from companion.estimate.noise import check_seed
from companion.estimate.paths import Paths, check_levels, path_likelihoods

__all__ = ["Bracket", "NullCheck", "allowances", "bracket", "draw_classes", "leave_one_out", "null_inconsistency"]

Owner = NDArray[np.int64]

_OWN_SHARE = 1e-3
_BISECTIONS = 20


@dataclass(frozen=True, eq=False)
class Bracket:
    """The entropy of class `first` against `others` (M) more between two curves (levels,), in nats.

    `classes` are the m that were used, `upper_from` what the upper bound predicts from: "subset" or "null". Standard
    errors count the paths and the draw of the classes. At m = M `lower` is H, and so is `upper` from the subset.
    """

    first: int
    classes: tuple[int, ...]
    others: int
    prior: float
    upper_from: str
    log_snr: Array
    lower: Array
    lower_se: Array
    upper: Array
    upper_se: Array
    samples: int
    evaluations: int
    seed: int


def bracket(
    model: Denoiser,
    first: int,
    classes: int | Sequence[int],
    log_snr: ArrayLike,
    samples: int,
    seed: int = 0,
    prior: str | float = "balanced",
    upper_from: str = "subset",
) -> Bracket:
    """Bound the entropy of one class against all others, in nats, from one run over it and a random subset of them.

    `classes` is m, drawn with the seed, or the classes themselves, which then must be a random draw. `prior` is that of
    `partition` against all others, `upper_from` "subset" or "null" (one branch more). Half of the `samples` paths are
    those of `first`. Evaluations: samples x branches x (levels + 1). Raises InputError where the others have unequal
    weights (p is no mean of p_S then), for fewer than three classes unless they are all, for fewer than two paths a
    branch, and as `partition` and `path_likelihoods` do. Source: ES 26, 99, 105.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> twenty = isotropic_mixture(np.eye(20), 0.0)
    >>> found = bracket(twenty, 0, 5, [-2.0, 0.0, 2.0], samples=100)
    >>> len(found.classes), found.others, found.evaluations           # 100 paths, 6 branches, 3 levels and the start
    (5, 19, 2400)
    """
    grid, first = check_levels(model, log_snr), whole_number("first", first, 0, len(model.classes) - 1)
    whole = partition(model, [first], "others", prior)
    chosen = draw_classes(whole, classes, seed, least=3)
    if upper_from not in ("subset", "null"):
        raise InputError("upper_from", upper_from, '"subset" or "null"')
    m, others = len(chosen), len(whole.second)
    path = np.arange(whole_number("samples", samples, 4 * m))
    owner = np.where(path % 2, 1 + path // 2 % m, 0)
    branches = (first, *chosen, *([NULL] if upper_from == "null" else []))
    likelihood = path_likelihoods(model, Paths(branches, owner, grid, seed))
    ratios = likelihood[:, :, 1 : m + 1] - likelihood[:, :, :1]
    if upper_from == "null":
        from_null = _of_null(likelihood[:, :, -1] - likelihood[:, :, 0], model.weights[first])
        surprised = _surprise(from_null, owner[:, None], whole)
    elif m < others:
        allowance = allowances(ratios, owner, path // (2 * m) % 2, whole)

    def estimate(kept: Owner, columns: Owner) -> tuple[Array, Array, Array]:
        """Both bounds (2, levels) from these paths and classes of S; the variances that paths of c and others leave."""
        strata = np.searchsorted(columns + 1, owner[kept]) + (owner[kept] > 0)
        seen = ratios[kept][:, :, columns]
        lower = upper = binary_entropy(whole.log_odds - logsumexp(seen, axis=-1) + np.log(len(columns)))
        if upper_from == "null":
            upper = surprised[kept]
        elif m < others:
            upper = leave_one_out(seen, strata, allowance[kept][:, :, columns], whole)
        values, weight = np.stack([lower, upper], axis=1), (1.0 - whole.prior) / len(columns)
        of_first, first_variance = stratified(values, strata, [whole.prior, *[0.0] * len(columns)])
        of_others, variance = stratified(values, strata, [0.0, *[weight] * len(columns)])
        return of_first + of_others, first_variance, variance

    (lower, upper), of_first, of_others = estimate(path, np.arange(m))
    of_draw = of_others
    if m < others:
        without = [estimate(np.flatnonzero(owner != k + 1), np.delete(np.arange(m), k))[0] for k in range(m)]
        # Two stages: classes drawn from M, paths inside each. The jackknife counts both, but few classes can by chance
        # be alike: then what the paths leave.
        jackknife = np.maximum((m - 1) ** 2 / m * np.var(without, axis=0, ddof=1), of_others)
        of_draw = (1.0 - m / others) * jackknife + m / others * of_others
    lower_se, upper_se = np.sqrt(of_first + of_draw)
    bounds = lower, lower_se, upper, upper_se
    cost = len(owner), likelihood.size + likelihood[:, 0].size
    return Bracket(first, chosen, others, whole.prior, upper_from, grid, *bounds, *cost, seed)


@dataclass(frozen=True, eq=False)
class NullCheck:
    """How well the null branch's own paths are told from paths of the mixture of `classes`, (levels,).

    `posterior` is the mean probability of the null branch, 1/2 where it is the mixture; `shortfall` in nats is 0 there
    and at most log 2. The standard errors count paths only.
    """

    classes: tuple[int, ...]
    log_snr: Array
    posterior: Array
    posterior_se: Array
    shortfall: Array
    shortfall_se: Array
    samples: int
    evaluations: int
    seed: int


def null_inconsistency(
    model: Denoiser, log_snr: ArrayLike, samples: int, seed: int = 0, classes: int | Sequence[int] | None = None
) -> NullCheck:
    """Compare the null branch with the mixture of classes that it should be, on paths that it draws.

        posterior = E_null[gamma],    shortfall = E_null[log 2 gamma],    gamma = p_null / (p_null + p_classes)

    Both are f-divergences, convex in the mixture: a random subset (`classes` as in `bracket`) can only raise the mean.
    None asks all classes, in the model's weights. Evaluations: samples x branches x (levels + 1). Raises as `bracket`
    does, and for a model without a null branch. Source: ES 105.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> found = null_inconsistency(isotropic_mixture([[-1.0], [1.0]], 0.0), np.linspace(-8.0, 2.0, 40), samples=200)
    >>> bool(np.all(np.abs(found.posterior - 0.5) < 0.03))
    True
    """
    grid, whole = check_levels(model, log_snr), partition(model, [NULL], range(len(model.classes)))
    chosen = tuple(whole.second) if classes is None else draw_classes(whole, classes, seed, least=1)
    branches, owner = (*chosen, NULL), np.full(whole_number("samples", samples, 2), len(chosen))
    likelihood = path_likelihoods(model, Paths(branches, owner, grid, seed))
    total = sum(whole.second[k] for k in chosen)
    asked = Partition("null", {NULL: 1.0}, {k: whole.second[k] / total for k in chosen}, 0.5)
    odds = log_odds(asked, branches, likelihood)
    values = np.stack([expit(odds), np.log(2.0) - cross_entropy(odds, 1.0)], axis=1)
    (posterior, shortfall), variance = stratified(values, np.zeros_like(owner), [1.0])
    posterior_se, shortfall_se = np.sqrt(variance)
    samples, evaluations = len(owner), likelihood.size + likelihood[:, 0].size
    return NullCheck(chosen, grid, posterior, posterior_se, shortfall, shortfall_se, samples, evaluations, seed)


def draw_classes(whole: Partition, classes: int | Sequence[int], seed: int, least: int) -> tuple[int, ...]:
    """So many classes of the second side drawn with the seed, or those named; InputError as in `bracket`.

    >>> draw_classes(Partition("0|others", {0: 1.0}, dict.fromkeys(range(1, 11), 0.1), 0.5), 3, seed=0, least=3)
    (6, 7, 10)
    """
    others, least = sorted(whole.second), min(least, len(whole.second))
    if np.ptp(list(whole.second.values())) > 1e-9:
        raise InputError("weights", "not equal", "equal weights of the classes of which a subset is drawn")
    if not isinstance(classes, Sequence | np.ndarray):
        count, generator = whole_number("classes", classes, least, len(others)), np.random.default_rng(check_seed(seed))
        return tuple(sorted(generator.choice(others, count, replace=False).tolist()))
    if len(classes) < least or len(set(classes)) < len(classes) or not set(classes) <= set(others):
        raise InputError("classes", classes, f"at least {least} other classes, none twice")
    return tuple(classes)


def leave_one_out(ratios: Array, owner: Owner, allowance: Array, whole: Partition) -> Array:
    """What each path adds to the mean of U_j, (paths, levels), from log p_z / p_c of the m classes in S.

    `ratios` and `allowance` are (paths, levels, m); `owner` (paths,) is 0 for c and k for the k-th class of S. Of
    `whole`, c against all M others, only the prior and M are used. For an owner in S the weight is (M - m + 1) / M
    where it is left out, 1 / M elsewhere: the mean over its paths, then over S, is the second part of U_j.

    >>> whole = Partition("c|others", {0: 1.0}, {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}, 0.5)
    >>> leave_one_out(np.zeros((4, 1, 3)), np.arange(4), np.zeros((4, 1, 3)), whole).round(4).ravel().tolist()
    [0.6931, 0.6931, 0.6931, 0.6931]
    """
    m, others = ratios.shape[2], len(whole.second)
    surprised = _surprise(_log_mean_without_each(ratios) + allowance, owner[:, None, None], whole)
    of_others = np.where(owner[:, None] == np.arange(1, m + 1), others - m + 1, 1) / others
    weights = np.where(owner[:, None] == 0, 1.0 / m, of_others)
    return np.asarray(np.einsum("nlj,nj->nl", surprised, weights))


def allowances(ratios: Array, owner: Owner, half: Owner, whole: Partition) -> Array:
    """The b of each path, level and left-out class, (paths, levels, m), by bisection on the other half of the paths.

    Without the share of c the cross entropy is convex in b, and least where q' takes from c what it takes from the
    others. `half` (paths,) is 0 or 1; each has paths of c and of every class of S. b is at least 0.
    """
    m, prior, of_first = ratios.shape[2], whole.prior, owner == 0
    own, share = owner[:, None] == np.arange(1, m + 1), (m - 1) / len(whole.second)
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


def _log_mean_without_each(ratios: Array) -> Array:
    """log of the mean over the last axis without each of its entries; a class that is masked, -inf, is no entry."""
    largest = np.arange(ratios.shape[-1]) == ratios.argmax(axis=-1)[..., None]
    smaller, total = np.where(largest, -np.inf, ratios), logsumexp(ratios, axis=-1, keepdims=True)
    # Without the largest a difference would have no digits left: the others are summed anew.
    without = np.where(largest, logsumexp(smaller, axis=-1, keepdims=True), total + np.log1p(-np.exp(smaller - total)))
    return np.asarray(without - np.log(np.sum(np.isfinite(ratios), axis=-1, keepdims=True) - 1))


def _surprise(rest: Array, owner: Owner, whole: Partition) -> Array:
    """-log q' of the side that drew the path, in nats; `rest` is the log of the rivals' density over that of c."""
    odds = whole.log_odds - np.logaddexp(np.log1p(-_OWN_SHARE) + rest, np.log(_OWN_SHARE))
    return cross_entropy(odds, owner == 0)


def _of_null(ratio: Array, weight: float) -> Array:
    """log of the rivals' density over that of c, from log p_null / p_c, c by its `weight` in the null branch."""
    with np.errstate(divide="ignore"):  # minus infinity where it holds even less of c's density
        return np.asarray(ratio + np.log(-np.expm1(np.minimum(np.log(weight) - ratio, 0.0))) - np.log1p(-weight))
