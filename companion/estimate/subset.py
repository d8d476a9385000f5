"""One class against many others: two bounds of its entropy from a random few of them.

"Class c against the M others" asks M + 1 branches at every step. Draw m of the others at random, S. Let p_S be the mean
of their densities, p that of all others, q the posterior of c against p, and

    H = prior E_c[-log q(c)] + (1 - prior) (1/M) sum_z E_z[-log q(not c)],    H_S the same with S for the others.

Below: E H_S <= H, and E H_S rises with m to H at m = M. For h(prior) - H_S is an f-divergence of p_c and p_S, convex in
p_S; p is the mean of p_S over the draw, and p_S the mean over its own subsets of one class less. For any prior.

Above: with any other predictor q' of the path in the place of q, H becomes a cross entropy, which is larger (Gibbs).
Let q' be made of S without j: it has seen m - 1 classes, and j stands for all it has not seen,

    U_j = prior E_c[-log q'(c)] + (1 - prior) (1/M) ( sum_{z in S, z != j} E_z + (M - m + 1) E_j )[-log q'(not c)],

whose mean over the draw is E CE(q') >= H; `left_out` takes the mean over j in S. A q' made of the null branch has seen
every class, and whatever is wrong in that branch makes the bound larger.

Both bounds hold on the mean over draws, up to the error of finite steps. Where what is left to decide is between c and
one close rival that was not drawn, the upper bound of that draw is too low, and its standard error does not say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from companion.arguments import whole_number
from companion.denoiser import Denoiser
from companion.entropy import NULL, Partition, binary_entropy, partition
from companion.errors import InputError
from companion.estimate.noise import check_seed
from companion.estimate.omitted_classes import allowances, left_out, log_mean, rest_of_null, surprise
from companion.estimate.paths import check_finite, check_levels, check_model, trajectories
from companion.estimate.plan import BLOCK

__all__ = ["Bracket", "bracket", "draw_classes", "likelihoods"]

Array = NDArray[np.float64]
Owner = NDArray[np.int64]


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
    branch, and as `partition` and `trajectories` do. Source: ES 26, 99, 105.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> twenty = isotropic_mixture(np.eye(20), 0.0)
    >>> found = bracket(twenty, 0, 5, [-2.0, 0.0, 2.0], samples=100)
    >>> len(found.classes), found.others, found.evaluations           # 100 paths, 6 branches, 3 levels and the start
    (5, 19, 2400)
    """
    whole_number("first", first, 0, len(model.classes) - 1)
    whole = partition(model, [first], "others", prior)
    chosen = draw_classes(whole, classes, seed, least=3)
    if upper_from not in ("subset", "null"):
        raise InputError("upper_from", upper_from, '"subset" or "null"')
    m, others = len(chosen), len(whole.second)
    path = np.arange(whole_number("samples", samples, 4 * m))
    owner = np.where(path % 2, 1 + path // 2 % m, 0)
    branches = (first, *chosen, *([NULL] if upper_from == "null" else []))
    likelihood, evaluations = likelihoods(model, branches, owner, log_snr, seed)
    ratios = likelihood[:, :, 1 : m + 1] - likelihood[:, :, :1]
    if upper_from == "null":
        of_null = rest_of_null(likelihood[:, :, -1] - likelihood[:, :, 0], model.weights[first])
        from_null = surprise(of_null, owner[:, None], whole)
    elif m < others:
        allowance = allowances(ratios, owner, path // (2 * m) % 2, whole)

    def estimate(kept: Owner, columns: Owner) -> tuple[Array, Array, Array]:
        """Both bounds from these paths and these classes of S."""
        strata = np.searchsorted(columns + 1, owner[kept]) + (owner[kept] > 0)
        seen = ratios[kept][:, :, columns]
        lower = binary_entropy(whole.log_odds - log_mean(seen))
        upper = lower
        if upper_from == "null":
            upper = from_null[kept]
        elif m < others:
            upper = left_out(seen, strata, allowance[kept][:, :, columns], whole)
        return _stratified(np.stack([lower, upper], axis=1), strata, whole.prior)

    bounds, of_first, of_others = estimate(path, np.arange(m))
    of_draw = of_others
    if m < others:
        without = [estimate(np.flatnonzero(owner != k + 1), np.delete(np.arange(m), k))[0] for k in range(m)]
        # Two stages: classes drawn from M, paths inside each. The jackknife counts both, but few classes can by chance
        # be alike: then what the paths leave.
        jackknife = np.maximum((m - 1) ** 2 / m * np.var(without, axis=0, ddof=1), of_others)
        of_draw = (1.0 - m / others) * jackknife + m / others * of_others
    (lower, upper), (lower_se, upper_se), grid = bounds, np.sqrt(of_first + of_draw), check_levels(model, log_snr)
    common = (int(first), chosen, others, whole.prior, upper_from, grid)
    return Bracket(*common, lower, lower_se, upper, upper_se, samples, evaluations, seed)


def _stratified(values: Array, owner: Owner, prior: float) -> tuple[Array, Array, Array]:
    """Means (2, levels) in the prior and equal weights of the others; variances that the paths of either side leave."""
    strata = [values[owner == k] for k in range(owner.max() + 1)]
    share = np.array([prior, *[(1.0 - prior) / (len(strata) - 1)] * (len(strata) - 1)])[:, None, None]
    variance = share**2 * np.stack([each.var(axis=0, ddof=1) / len(each) for each in strata])
    return (share * np.stack([each.mean(axis=0) for each in strata])).sum(axis=0), variance[0], variance[1:].sum(axis=0)


def draw_classes(whole: Partition, classes: int | Sequence[int], seed: int, least: int) -> tuple[int, ...]:
    """So many classes of the second side drawn with the seed, or those named; InputError as in `bracket`.

    >>> draw_classes(Partition("0|others", {0: 1.0}, dict.fromkeys(range(1, 11), 0.1), 0.5), 3, seed=0, least=3)
    (6, 7, 10)
    """
    others = sorted(whole.second)
    least = min(least, len(others))
    if np.ptp(list(whole.second.values())) > 1e-9:
        raise InputError("weights", "not equal", "equal weights of the classes of which a subset is drawn")
    if not isinstance(classes, Sequence | np.ndarray):
        count = whole_number("classes", classes, least, len(others))
        generator = np.random.default_rng(check_seed(seed))
        return tuple(sorted(generator.choice(others, count, replace=False).tolist()))
    if len(classes) < least or len(set(classes)) < len(classes) or not set(classes) <= set(others):
        raise InputError("classes", classes, f"at least {least} other classes, none twice")
    return tuple(classes)


def likelihoods(
    model: Denoiser, branches: Sequence[int], owner: Owner, log_snr: ArrayLike, seed: int
) -> tuple[Array, int]:
    """The log-likelihood of each branch on each path, (paths, levels, branches), and the number of evaluations.

    `owner` (paths,) is the index in `branches` of the one that draws the path. Block by block, as `measure`.
    """
    grid = check_levels(model, log_snr)
    check_model(model, branches, grid)
    blocks = []
    for start in range(0, len(owner), BLOCK):
        paths = range(start, min(start + BLOCK, len(owner)))
        run = trajectories(model, branches, owner[start : paths.stop], grid, seed, paths=paths)
        found = [(level.log_snr, level.finite, level.averaged) for level in run]
        check_finite([(log_snr, finite) for log_snr, finite, _ in found])
        blocks.append(torch.stack([averaged for _, _, averaged in found[1:]], dim=1).cpu().numpy())
    return np.concatenate(blocks), (len(grid) + 1) * len(owner) * len(branches)
