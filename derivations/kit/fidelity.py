"""How near generated digits are to others: distances in the features of a classifier that no diffusion model has seen.

A number says something about a generator only beside the same number of two sets that are known to be of one law: their
distance is not zero, because both are finite.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.spatial import cKDTree
from sklearn.neural_network import MLPClassifier

from companion.arguments import Array
from companion.errors import InputError
from companion.models.digits import LabelledImages, training_digits

__all__ = ["Classifier", "classifier", "coverage", "frechet_distance", "measures"]


@dataclass(frozen=True)
class Classifier:
    """A network of two hidden layers; the second one's 64 outputs are the features of an image."""

    network: MLPClassifier

    def features(self, images: torch.Tensor) -> Array:
        """The features (count, 64), float64, of images (count, 1, 8, 8)."""
        hidden = images.flatten(1).double().numpy()
        for weights, offset in zip(self.network.coefs_[:-1], self.network.intercepts_[:-1], strict=True):
            hidden = np.maximum(hidden @ weights + offset, 0.0)
        return hidden

    def logits(self, images: torch.Tensor) -> Array:
        """The log-probabilities (count, 10) of the digits, up to what all ten share."""
        logits: Array = self.features(images) @ self.network.coefs_[-1] + self.network.intercepts_[-1]
        return logits

    def margin(self, digits: LabelledImages) -> Array:
        """By how much the logit of the label exceeds the largest of the others, (count,): below zero it is missed.

        Source: ES appendix C, with this network in place of Inception.
        """
        logits, rows, labels = self.logits(digits.images), np.arange(len(digits.labels)), digits.labels.numpy()
        own = logits[rows, labels]
        logits[rows, labels] = -np.inf
        margin: Array = own - logits.max(axis=1)
        return margin


@cache
def classifier() -> Classifier:
    """Trained on the 1437 training digits, a second or two on one thread; the held-out digits are new to it.

    >>> classifier().features(training_digits().images[:2]).shape
    (2, 64)
    """
    digits = training_digits()
    network = MLPClassifier((128, 64), max_iter=400, tol=1e-3, random_state=0)
    network.fit(digits.images.flatten(1).double().numpy(), digits.labels.numpy())
    return Classifier(network)


def frechet_distance(one: Array, other: Array) -> float:
    """The squared Fréchet distance of two Gaussians that have the moments of features (count, dimension) each:

        |m_1 - m_2|^2 + tr( C_1 + C_2 - 2 (C_1 C_2)^(1/2) )

    which is that of Wasserstein (Heusel et al. 2017). Raises InputError for sets of other dimensions or under two.

    >>> frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [5.0]]))
    9.0
    """
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or min(len(one), len(other)) < 2:
        raise InputError("features", (one.shape, other.shape), "two sets of two or more, of one dimension")
    first, second = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (one, other))
    # The singular values of the product of both square roots are the roots of the eigenvalues of C_1 C_2.
    roots = [np.sqrt(np.maximum(w, 0.0)) * v for w, v in map(np.linalg.eigh, (first, second))]
    shared = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum()
    apart = np.square(one.mean(axis=0) - other.mean(axis=0)).sum() + np.trace(first + second) - 2.0 * shared
    return max(float(apart), 0.0)  # of two equal sets, rounding may leave less than nothing


def coverage(of: Array, by: Array, neighbours: int = 3) -> float:
    """The share of points `of` (count, dimension) that lie in the union of balls around the points `by`.

    A ball reaches to the `neighbours`-th nearest of its own set. Of generated samples by real ones it is precision, of
    real ones by generated ones recall (Kynkäänniemi et al. 2019).

    >>> line = np.arange(5.0)[:, None]
    >>> coverage(np.array([[0.5], [9.0]]), line, neighbours=1)
    0.5
    """
    radii = cKDTree(by).query(by, neighbours + 1)[0][:, -1]
    inside = (np.linalg.norm(some[:, None] - by, axis=2) <= radii for some in np.array_split(of, 1 + len(of) // 250))
    return float(np.concatenate([each.any(axis=1) for each in inside]).mean())


def measures(samples: LabelledImages, real: LabelledImages) -> dict[str, float]:
    """What samples with their labels are worth beside real digits: as many of each class, or the numbers mislead.

    `distance` is the Fréchet distance of all, `class_distance` the mean of those inside the ten classes, which sees
    where a sample is no digit of its label; `precision` and `recall` are `coverage` both ways, `margin` and `accuracy`
    the mean margin of the labels' logits and the share of margins above zero.

    >>> digits = training_digits()
    >>> {name: round(value, 3) for name, value in measures(digits, digits).items() if name != "margin"}
    {'distance': 0.0, 'class_distance': 0.0, 'precision': 1.0, 'recall': 1.0, 'accuracy': 1.0}
    """
    drawn, true = (classifier().features(each.images) for each in (samples, real))
    inside = [frechet_distance(drawn[samples.labels == k], true[real.labels == k]) for k in range(10)]
    margin = classifier().margin(samples)
    return {
        "distance": frechet_distance(drawn, true),
        "class_distance": float(np.mean(inside)),
        "precision": coverage(drawn, true),
        "recall": coverage(true, drawn),
        "margin": float(margin.mean()),
        "accuracy": float((margin > 0.0).mean()),
    }
