"""How much a noisy representation says of a label, by an estimate that cannot exceed the label's entropy.

    I(Z; Y) = H(Y) - H(Y | Z) >= H(Y) - E[ -log c(Y | Z) ]

for any classifier c: here small ones, fitted and stopped on training images alone and asked on held-out ones. Z is the
sampled latent z ~ q(z|x), not its mean. An image in Gaussian noise is such a representation too.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from companion.arguments import Array
from companion.errors import InputError
from derivations.semantic_and_perceptual.autoencoders import Latent
from derivations.semantic_and_perceptual.networks import Stack, descend

_HIDDEN, _STEPS, _RATE, _EVERY, _DRAWS = 64, 300, 1e-2, 10, 16
_KEPT = 0.8  # of the training images: the others say when to stop


def label_information(
    training: Latent, labels: Tensor, held_out: Latent, asked: Tensor, seed: int = 0
) -> tuple[Array, Array]:
    """A lower bound of I(Z; Y) in nats and its standard error over the held-out images, each (copies,).

    `labels` (n,) and `asked` (m,) are whole numbers from 0; Z is drawn anew at every step, and 16 times for each
    held-out image. At most H(Y), the entropy of the held-out labels' frequencies, since a surprise is never negative;
    where no classifier beats their training frequencies it is near 0, on either side. Raises InputError for labels that
    do not fit the latents, or for held-out ones that training has not seen.
    """
    for name, found, latent in (("labels", labels, training), ("asked", asked, held_out)):
        if found.shape != latent.mean.shape[1:2]:
            raise InputError(name, f"of shape {tuple(found.shape)}", f"of shape ({latent.mean.shape[1]},)")
    if not set(asked.tolist()) <= set(labels.tolist()):
        raise InputError("asked", sorted(set(asked.tolist())), f"labels among {sorted(set(labels.tolist()))}")
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=draw)
    fitted, watched = order[: int(_KEPT * len(labels))], order[int(_KEPT * len(labels)) :]
    size = (training.mean.square() + training.deviation.square()).mean(dim=1, keepdim=True).sqrt()

    def drawn(latent: Latent, chosen: Tensor | slice) -> Tensor:
        return Latent(latent.mean[:, chosen] / size, latent.deviation[:, chosen] / size).sample(draw)

    classifier = _Classifier(training.mean.shape[0], training.mean.shape[2], labels, draw)
    test = [drawn(training, watched) for _ in range(4)]
    best = torch.full((training.mean.shape[0],), math.inf)
    kept = [weight.detach().clone() for weight in classifier.parameters()]

    def loss(step: int) -> Tensor:
        nonlocal best
        if step % _EVERY == 0:
            with torch.no_grad():
                now = torch.stack([classifier.surprise(z, labels[watched]).mean(dim=1) for z in test]).mean(dim=0)
                better = now < best
                best = torch.where(better, now, best)
                for old, new in zip(kept, classifier.parameters(), strict=True):
                    old[better] = new[better]
        return classifier.surprise(drawn(training, fitted), labels[fitted]).mean(dim=1).sum()

    descend(classifier, _STEPS, _RATE, loss)
    with torch.no_grad():
        for old, new in zip(kept, classifier.parameters(), strict=True):
            new.copy_(old)
        asked_for = [classifier.surprise(drawn(held_out, slice(None)), asked) for _ in range(_DRAWS)]
    surprise = torch.stack(asked_for).mean(dim=0).double().numpy()
    share = np.bincount(asked.numpy()) / len(asked)
    entropy = -float(np.sum(share[share > 0.0] * np.log(share[share > 0.0])))
    return entropy - surprise.mean(axis=1), surprise.std(axis=1, ddof=1) / math.sqrt(len(asked))


class _Classifier(nn.Module):
    """Begins as the labels' frequencies, whatever it is shown: where there is nothing to learn, that is kept."""

    def __init__(self, copies: int, latent: int, labels: Tensor, draw: torch.Generator) -> None:
        super().__init__()
        share = labels.bincount().double() / len(labels)
        self.body = Stack(copies, (latent, _HIDDEN, len(share)), draw)
        with torch.no_grad():
            self.body.weights[-1].zero_()
            self.body.offsets[-1].copy_(share.log().float().expand_as(self.body.offsets[-1]))

    def surprise(self, z: Tensor, labels: Tensor) -> Tensor:
        """-log c(y|z), (copies, n)."""
        log_share: Tensor = self.body(z).log_softmax(dim=-1)
        return -log_share.gather(-1, labels.expand(len(z), -1)[..., None])[..., 0]
