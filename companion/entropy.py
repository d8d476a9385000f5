"""What is asked, and its entropy: two sides of a partition, their priors, and the entropy that no signal removes.

A side is a mixture of branches: classes, 0 to K-1, or NULL, the model's own unconditional prediction. Sides usually are
disjoint groups of classes (ES 25); the second side may also hold everything.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from companion.arguments import Array, composed, number, numbers, probabilities
from companion.denoiser import Denoiser
from companion.errors import InputError

__all__ = ["NULL", "Classes", "Partition", "binary_entropy", "classes_first", "cross_entropy", "log_odds"]
__all__ += ["neural_entropy_rate", "partition"]

NULL = -1
_COMPLEMENTS = ("others", "all", "null")


@overload
def binary_entropy(log_odds: torch.Tensor) -> torch.Tensor: ...
@overload
def binary_entropy(log_odds: ArrayLike) -> Array: ...
def binary_entropy(log_odds: ArrayLike | torch.Tensor) -> Array | torch.Tensor:
    """The entropy of a yes-or-no variable, in nats: h_b(L) = log(2 cosh(L/2)) - (L/2) tanh(L/2), L its log-odds.

    A float64 tensor gives a tensor on its device, which is not waited for; all else gives a float64 array. Accurate to
    rounding, relatively, until it underflows near |L| = 750. Raises InputError for NaN, which a tensor keeps.

    >>> binary_entropy([0.0, np.inf]).round(6)
    array([0.693147, 0.      ])
    """
    if not isinstance(log_odds, torch.Tensor):
        checked = np.array(numbers("log_odds", log_odds, "numbers", lambda x: ~np.isnan(x)), order="C")
        result: Array = binary_entropy(torch.from_numpy(checked)).numpy()[()]
        return result
    size = log_odds.abs().clamp_max_(800.0)  # e^-800 is zero, and 0 * inf is avoided
    odds_against = torch.exp(-size)
    # In place, because on many paths and places this is most of what the estimator itself costs.
    return torch.log1p(odds_against).addcdiv_(size.mul_(odds_against), odds_against.add_(1.0))


def cross_entropy(log_odds: ArrayLike, share: ArrayLike) -> Array:
    """The surprise of a posterior gamma = logistic(L) where the first side has the probability `share`, in nats:

        -share log gamma - (1 - share) log(1 - gamma),    at least the entropy of `share`; h_b(L) where share is gamma.

    >>> cross_entropy([0.0, 2.0], [1.0, 0.0]).round(6)
    array([0.693147, 2.126928])
    """
    odds, of_first = np.asarray(log_odds, dtype=np.float64), np.asarray(share, dtype=np.float64)
    return of_first * np.logaddexp(0.0, -odds) + (1.0 - of_first) * np.logaddexp(0.0, odds)


def neural_entropy_rate(prediction: torch.Tensor, x: torch.Tensor, log_snr: float) -> torch.Tensor:
    """What an entropy-matching network stores per unit of log-snr at states x, in nats, for a VP process:

        (g^2 / 2) |e|^2 dt = (snr / 2) |D - alpha^2 x|^2 d log-snr,    alpha^2 = snr / (1 + snr),    e = s + alpha x.

    `prediction` D and `x` are (batch, *shape), x in the variance-exploding frame, where the VP state is alpha x with
    the score s and the equilibrium N(0, I); returns (batch,). Its mean over noised data, integrated over log-snr, is
    the neural entropy, which grows with the last log-snr for data on a surface. Source: SI 3, 4, 11.

    >>> x = torch.tensor([[0.3], [-2.0]], dtype=torch.float64)
    >>> neural_entropy_rate(0.5 * x, x, 0.0).tolist()     # data N(0, 1) are the equilibrium: nothing to store
    [0.0, 0.0]
    """
    snr = math.exp(log_snr)
    return 0.5 * snr * (prediction - snr / (1.0 + snr) * x).flatten(1).square().sum(dim=1)


@dataclass(frozen=True)
class Partition:
    """A yes-or-no question about the class: does the sample come from the first side or from the second?

    `first` and `second` map branches to their weights inside the side, which sum to one; `prior` is the probability
    of the first side (ES 25, 101). `whole` holds the weights of the classes behind the null branch, for the floor.
    Raises InputError for weights or a prior that are no such probabilities.

    >>> round(Partition("3|all", {3: 1.0}, {k: 0.1 for k in range(10)}, 0.5).floor, 5)
    0.16755
    """

    label: str
    first: dict[int, float]
    second: dict[int, float]
    prior: float
    whole: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        probabilities("first", list(self.first.values()), 1)
        probabilities("second", list(self.second.values()), 1)
        number("prior", self.prior, "a probability between 0 and 1", lambda prior: (prior > 0.0) & (prior < 1.0))

    @property
    def branches(self) -> tuple[int, ...]:
        """Every branch of either side, classes first."""
        return tuple(sorted({*self.first, *self.second}, key=classes_first))

    @property
    def shares(self) -> list[float]:
        """The share of the paths that each branch draws when both sides get half of them."""
        return [0.5 * (self.first.get(b, 0.0) + self.second.get(b, 0.0)) for b in self.branches]

    @property
    def log_odds(self) -> float:
        """The log-odds of the first side before anything is seen."""
        return float(np.log(self.prior) - np.log1p(-self.prior))

    def log_weights(self, branches: Sequence[int]) -> Array:
        """The logarithms of the branches' weights in the first and in the second side, (2, branches)."""
        with np.errstate(divide="ignore"):  # of a branch that is not in a side
            return np.log([[side.get(branch, 0.0) for branch in branches] for side in (self.first, self.second)])

    @property
    def entropy(self) -> float:
        """The entropy before anything is seen, in nats."""
        return float(binary_entropy(self.log_odds))

    @property
    def floor(self) -> float:
        """The entropy that is left when the class is known, in nats, for classes that can be told apart.

        A class z of both sides leaves the side open: with a_z, b_z its weights in the sides and pi the prior,

            floor = sum_z (pi a_z + (1 - pi) b_z) h( pi a_z / (pi a_z + (1 - pi) b_z) ).

        The null branch counts as the mixture of all classes.
        """
        a, b = (dict(enumerate(self.whole)) if NULL in side else side for side in (self.first, self.second))
        open_classes = [(self.prior * a[k], (1.0 - self.prior) * b[k]) for k in sorted(a.keys() & b.keys())]
        return float(sum((p + q) * binary_entropy(np.log(p / q)) for p, q in open_classes))


@dataclass(frozen=True)
class Classes(Partition):
    """Which of all classes? The question in its two halves, `first` and `second`, weighted by the classes' `whole`.

    `questions` asks it as a balanced tree of partitions, depth by depth. By the chain rule of entropy nothing is lost:

        H(Y | X) = sum over partitions of P(class in it) H(its side | X, class in it),

    and of each path -log p(class | path) is the sum of the surprises of those partitions that its class is in.

    >>> four = Classes.of((0.25, 0.25, 0.25, 0.25))
    >>> [[each.label for each in depth] for depth in four.questions], round(float(four.entropy / np.log(2.0)), 9)
    ([['0,1|2,3'], ['0|1', '2|3']], 2.0)
    """

    @staticmethod
    def of(weights: Sequence[float]) -> "Classes":
        """The question about classes of these probabilities."""
        root = _halves(range(len(weights)), weights)
        return Classes("all classes", root.first, root.second, root.prior, tuple(weights))

    @property
    def questions(self) -> list[list[Partition]]:
        """The partitions of the tree: at each depth every group of classes, if not a single one, into its halves."""
        depths = [[_halves(range(len(self.whole)), self.whole)]]
        while depths[-1]:
            groups = [list(side) for each in depths[-1] for side in (each.first, each.second)]
            depths.append([_halves(group, self.whole) for group in groups if len(group) > 1])
        return depths[:-1]

    @property
    def entropy(self) -> float:
        """H(Y) = -sum_k w_k log w_k, in nats."""
        return float(-np.dot(self.whole, np.log(self.whole)))


def _halves(group: Sequence[int], weights: Sequence[float]) -> Partition:
    sides = group[: len(group) // 2], group[len(group) // 2 :]
    shares = [sum(weights[k] for k in side) for side in sides]
    first, second = ({k: weights[k] / share for k in side} for side, share in zip(sides, shares, strict=True))
    label = "|".join(",".join(map(str, side)) for side in sides)
    return Partition(label, first, second, shares[0] / sum(shares), tuple(weights))


def log_odds(partition: Partition, branches: Sequence[int], log_likelihood: Array) -> Array:
    """L of a partition from one log-likelihood a branch, (..., branches) to (...,), by log-sum-exp (ES 25, 108).

    >>> two = Partition("0|1", {0: 1.0}, {1: 1.0}, 0.5)
    >>> float(log_odds(two, [0, 1], np.log([0.2, 0.8])).round(6))
    -1.386294
    """
    first, second = (logsumexp(log_likelihood + weights, axis=-1) for weights in partition.log_weights(branches))
    result: Array = first - second + partition.log_odds
    return result


def partition(
    model: Denoiser, first: Sequence[int] | str, second: Sequence[int] | str = "others", prior: str | float = "balanced"
) -> Partition:
    """The partition of classes `first` against `second`, each side weighted by the model's class weights.

    `first` and `second` are groups of classes by their numbers; `second` may be "others" (the classes not in `first`),
    "all" (the mixture of all classes, the first ones included) or "null" (the model's unconditional branch). Or `first`
    is both as a person writes them: "3|8", "0,6,8,9|1,4,7", "3|others", with classes as the model names them, or by
    number, "#0|#1", where a class is a long prompt. `prior` is "balanced" (1/2, ES 102), "true" (in proportion to the
    classes' weights, ES 101), or the first side's probability. Raises InputError for text of another form, an unknown
    class, an empty side, a class named twice, a null branch the model does not have, or a prior outside (0, 1).

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> three = isotropic_mixture([[-1.0], [0.0], [1.0]], 0.1)
    >>> partition(three, "0|1,2") == partition(three, [0], [1, 2]), partition(three, [0]).second
    (True, {1: 0.5, 2: 0.5})
    >>> partition(three, "0|7")
    Traceback (most recent call last):
        ...
    companion.errors.InputError: partition is 0|7, expected classes among 0, 1, 2
    """
    if isinstance(first, str):
        if not isinstance(second, str) or second != "others":
            raise InputError("first", first, "classes by their numbers beside a second side; text has both sides")
        first, second = _sides(model, first)
    count, left = len(model.classes), _group("first", first)
    if isinstance(second, str):
        if second not in _COMPLEMENTS:
            raise InputError("second", second, f"a group of classes or one of {', '.join(_COMPLEMENTS)}")
        if second == "null" and not model.has_null:
            raise InputError("partition", "against null", "a model with a null class")
        others = [k for k in range(count) if k not in left]
        right = {"others": others, "all": list(range(count)), "null": [NULL]}[second]
    else:
        right = _group("second", second)
    named = {NULL: "null", **dict(enumerate(model.classes))}
    names = [",".join(named.get(k, str(k)) for k in side) for side in (left, right)]
    label = f"{names[0]}|{second if isinstance(second, str) else names[1]}"
    for side in (left, right):
        if not side:
            raise InputError("partition", label, "at least one class on each side")
        if len(set(side)) < len(side):
            raise InputError("partition", label, "no class named twice on a side")
        if not named.keys() >= set(side):
            raise InputError("partition", label, _among(model, ""))
    if not (isinstance(second, str) and second == "all") and set(left) & set(right):
        raise InputError("partition", label, "sides that share no class")
    share = {NULL: sum(model.weights), **dict(enumerate(model.weights))}
    totals = [sum(share[k] for k in side) for side in (left, right)]
    share_of_first = {"balanced": 0.5, "true": totals[0] / sum(totals)}.get(str(prior), prior)
    if not (isinstance(share_of_first, (float, np.floating)) and 0.0 < share_of_first < 1.0):
        raise InputError("prior", prior, '"balanced", "true", or a probability between 0 and 1')
    sides = [{k: share[k] / total for k in side} for side, total in zip((left, right), totals, strict=True)]
    return Partition(label, sides[0], sides[1], float(share_of_first), tuple(model.weights))


def classes_first(branch: int) -> tuple[bool, int]:
    """The order of branches everywhere: classes in their own order, then the null branch."""
    return branch == NULL, branch


def _sides(model: Denoiser, text: str) -> tuple[list[int], list[int] | str]:
    """The groups of classes in the text of a partition; the second may be one of `_COMPLEMENTS`."""
    sides = [[composed(each.strip()) for each in side.split(",")] for side in text.split("|")]
    if len(sides) != 2:
        raise InputError("partition", text, 'two sides with one "|" between, such as 3|8 or 0,6|1,4')
    first, second = ([name for name in side if name] for side in sides)
    known = {f"#{k}": k for k in range(len(model.classes))}
    known |= {composed(name): k for k, name in enumerate(model.classes)}
    whole = len(second) == 1 and second[0] in _COMPLEMENTS and second[0] not in model.classes
    if not (first and second):
        raise InputError("partition", text, "at least one class on each side")
    for name in first if whole else first + second:
        if name not in known:
            raise InputError("partition", text, _among(model, name))
    return [known[name] for name in first], second[0] if whole else [known[name] for name in second]


def _group(argument: str, side: Sequence[int]) -> list[int]:
    group = np.asarray(side)
    if group.ndim != 1 or (group.size and group.dtype.kind not in "iu"):
        raise InputError(
            argument, side, 'classes by their numbers, such as [3]; their names go into text, such as "3|8"'
        )
    return list(map(int, group))


def _among(model: Denoiser, name: str) -> str:
    """The classes that may be named: all, where they are few, else those most like `name`."""
    listed = ", ".join(model.classes)
    if len(listed) <= 120:
        return f"classes among {listed}"
    near = get_close_matches(name, model.classes, n=3) or list(model.classes[:3])
    count = len(model.classes)
    return f"classes among {count}, such as {', '.join(near)}, or by number, #0 to #{count - 1}"
