"""The truth beside the model: captions' class entropy from enumerated scenes, bounded from both sides.

So many scenes of every combination of attributes stand for all of them. Noised they are a mixture of Gaussians, and the
posterior of a caption is a sum of softmax weights (`companion.empirical_distribution`), exact at every noise and
without any path. What the finite set gets wrong is bounded ("An enumerated set brackets the law" in the book): on its
own scenes its entropy is on average too small, and on new scenes its cross entropy is too large,

    E H_n(Z | X)  <=  H(Z | X)  <=  -E log p_n(z | x).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from companion.arguments import Array
from companion.entropy import binary_entropy, cross_entropy
from companion.errors import InputError
from companion.exact.empirical import EmpiricalDistribution, empirical_distribution
from companion.forward import noise_of
from companion.models.digits import LabelledImages
from derivations.when_words_take_hold.questions import CELLS, Said, law_of
from derivations.when_words_take_hold.scenes import ATTRIBUTES, LABELS, composed

__all__ = ["Curve", "Enumerated", "curve", "enumerated", "new_scenes", "own_scenes"]

Mask = NDArray[np.bool_]
Encode = Callable[[Tensor], Tensor]  # pictures (n, 3, 32, 32) to what the model denoises (n, *shape)
_NAMES = tuple(ATTRIBUTES)
_KIND = _NAMES.index("kind")
_SMALL = ("window", "star")  # each garment is shown with and without them
_REPLICATES = 400


@dataclass(frozen=True, eq=False)
class Enumerated:
    """Scenes that stand for all that some captions may show.

    The cells that no caption tells apart are one class of `law`, and `weights` (captions, K) are p(class | caption).
    """

    law: EmpiricalDistribution
    weights: Tensor

    def log_likelihoods(self, clean: Tensor, log_snr: Array, seed: int = 0) -> Array:
        """log p(x | caption), up to what all captions share, of scenes noised to each level.

        `clean` is (samples, *shape); returns (samples, levels, captions), float64, as the model's `log_likelihoods`.
        A scene has one noise, which all levels scale: each level by itself is exact.
        """
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed), dtype=clean.dtype)
        ratios, found = (self.weights / torch.tensor(self.law.weights)).log(), []
        for sigma in noise_of(log_snr).tolist():
            log_posterior = self.law.posterior(
                clean + sigma * noise, torch.full((len(clean),), sigma, dtype=clean.dtype)
            )
            found.append(torch.logsumexp(log_posterior[:, None] + ratios, dim=2))
        return torch.stack(found, dim=1).numpy()


def enumerated(
    prompts: Sequence[Said], garments: LabelledImages, encode: Encode, each: int, seed: int = 0
) -> Enumerated:
    """`each` scenes of every cell that one of the captions may show, of garments drawn without replacement.

    The cells that differ in window and star alone show the same garments: what tells them apart is then not the
    garment. Raises InputError for fewer garments of a kind than `each`.
    """
    laws = np.stack([law_of(said) for said in prompts])
    cells = np.flatnonzero(laws.any(axis=0))
    source, chosen = torch.Generator().manual_seed(seed), dict[tuple[int, ...], Tensor]()
    attributes, shown = torch.from_numpy(CELLS[cells]), []
    for values in CELLS[cells].tolist():
        key = tuple(0 if name in _SMALL else value for name, value in zip(_NAMES, values, strict=True))
        if key not in chosen:
            of_kind = (garments.labels == LABELS[values[_KIND]]).nonzero()[:, 0]
            if not 1 <= each <= len(of_kind):
                raise InputError("each", each, f"1 to {len(of_kind)}, the garments of a kind that there are")
            chosen[key] = of_kind[torch.multinomial(torch.ones(len(of_kind)), each, generator=source)]
        shown.append(chosen[key])
    pictures = composed(garments.images[torch.cat(shown)], attributes.repeat_interleave(each, dim=0))
    rows, which, counts = np.unique(laws[:, cells], axis=1, return_inverse=True, return_counts=True)
    labels = torch.from_numpy(which.reshape(-1)).repeat_interleave(each)
    return Enumerated(empirical_distribution(encode(pictures), labels, name="scenes"), torch.from_numpy(rows * counts))


def own_scenes(truth: Enumerated, each: int, seed: int = 0) -> Tensor:
    """`each` of the enumerated scenes for every caption, drawn by its law, caption by caption."""
    source, first = torch.Generator().manual_seed(seed), torch.tensor(truth.law.bounds)
    chosen = _drawn(truth.weights, each, source)
    place = (torch.rand(len(chosen), generator=source) * first.diff()[chosen]).long()
    return truth.law.points[first[chosen] + place]


def new_scenes(laws: Sequence[Array], garments: LabelledImages, encode: Encode, each: int, seed: int = 0) -> Tensor:
    """`each` scenes of these garments for every law over CELLS, law by law."""
    source = torch.Generator().manual_seed(seed)
    attributes = torch.from_numpy(CELLS)[_drawn(torch.from_numpy(np.stack(laws)), each, source)]
    labels = torch.tensor(LABELS)[attributes[:, _KIND]]
    of_kind = (garments.labels == labels[:, None]).double()
    chosen = torch.multinomial(of_kind, 1, generator=source)[:, 0]
    return encode(composed(garments.images[chosen], attributes))


def _drawn(laws: Tensor, each: int, source: torch.Generator) -> Tensor:
    """`each` outcomes of every law (laws, K), law by law, spread over the outcomes in their order."""
    places = (torch.arange(each) + torch.rand(len(laws), 1, generator=source, dtype=torch.float64)) / each
    return torch.searchsorted(laws.cumsum(dim=1), places, right=True).clamp(max=laws.shape[1] - 1).flatten()


@dataclass(frozen=True, eq=False)
class Curve:
    """The entropy of a question at each level, (levels,), its standard error, and its half-entropy level.

    `half` is [value, lower, upper], with an interval of 95% by bootstrap over scenes; NaN where the curve does not come
    down to half-way between log 2 and the floor.
    """

    log_snr: Array
    entropy: Array
    entropy_se: Array
    half: Array


def curve(log_odds: Array, of_first: Mask, log_snr: Array, floor: float, crossed: bool = False) -> Curve:
    """The mean over scenes of h(L), or with `crossed` of -log p(the caption it was drawn for), balanced.

    `log_odds` is (scenes, levels), `of_first` (scenes,) says which were drawn for the first caption.
    """
    share = of_first.astype(np.float64)[:, None]
    values = cross_entropy(log_odds, share) if crossed else binary_entropy(log_odds)
    generator, target = np.random.default_rng(0), 0.5 * (np.log(2.0) + floor)
    entropy, variance, replicates = (
        np.zeros(len(log_snr)),
        np.zeros(len(log_snr)),
        np.zeros((_REPLICATES, len(log_snr))),
    )
    for side in (values[of_first], values[~of_first]):
        count = len(side)
        entropy += 0.5 * side.mean(axis=0)
        variance += 0.25 * side.var(axis=0, ddof=1) / count
        replicates += 0.5 / count * (generator.multinomial(count, np.full(count, 1.0 / count), _REPLICATES) @ side)
    value, *others = (_crossing(log_snr, each, target) for each in (entropy, *replicates))
    return Curve(log_snr, entropy, np.sqrt(variance), np.array([value, *np.quantile(others, [0.025, 0.975])]))


def _crossing(levels: Array, values: Array, target: float) -> float:
    """The first level at which the values are down to the target, linearly; NaN where none is, or the first."""
    at = int(np.argmax(values <= target))
    return float(np.interp(target, values[[at, at - 1]], levels[[at, at - 1]])) if at > 0 else np.nan
