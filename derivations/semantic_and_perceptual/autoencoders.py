"""Diffusion autoencoders with two latents, split at a noise level, and a variational autoencoder of the same encoder.

Everything is in nats, in the variance-exploding frame x = x_0 + sigma eps and on the clock of the log-snr, where the
denoising loss of SI 61 is

    int (snr/2) E |x_0 - D(x, log-snr, z)|^2 d log-snr = int (1/2) E |eps - eps^|^2 d log-snr    from FIRST to LAST.

Levels below `split` see the semantic latent, levels above it the perceptual one (SI 16, 70). Both encoders see the
clean image, as the paper's do. Trainings stand side by side: all tensors have a leading axis of copies.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from companion.errors import InputError
from companion.forward import noise_of
from derivations.semantic_and_perceptual.networks import Stack, descend

FIRST, LAST = -6.0, 6.0  # of the log-snr; at LAST the noise is 0.05, two fifths of a grey level
_HIDDEN, _NARROW, _BATCH, _RATE = 128, 64, 64, 2e-3
_PIXELS, _WAVES = 64, (0.25, 0.5, 1.0, 2.0)
_SHALLOW, _STEEP = -6.0, 3.0  # of the logarithm of a latent's deviation


@dataclass(frozen=True)
class Settings:
    """What determines a training: the level of the split, the weight gamma of the KL term, and the sizes.

    `warm_up` is the share of the steps in which the weight grows from 0; a split at LAST leaves one latent. Raises
    InputError for a split outside FIRST to LAST, a weight below 0, or a share outside 0 to 1.
    """

    split: float = LAST
    weight: float = 0.2
    latent: int = 8
    copies: int = 5
    steps: int = 2000
    warm_up: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if not FIRST <= self.split <= LAST:
            raise InputError("split", self.split, f"a log-snr from {FIRST:g} to {LAST:g}")
        if not 0.0 <= self.weight < math.inf:
            raise InputError("weight", self.weight, "a finite number of at least 0")
        if not 0.0 <= self.warm_up <= 1.0:
            raise InputError("warm_up", self.warm_up, "a number between 0 and 1")

    def weight_at(self, step: int) -> float:
        """The weight of the KL term at a step.

        >>> [Settings(weight=1.0, steps=10, warm_up=0.4).weight_at(step) for step in (0, 2, 4, 9)]
        [0.0, 0.5, 1.0, 1.0]
        """
        rising = self.warm_up * self.steps
        return self.weight * (min(1.0, step / rising) if rising > 0.0 else 1.0)


@dataclass(frozen=True)
class Latent:
    """A Gaussian latent of each of n images: q(z|x) = N(mean, deviation^2), both (copies, n, latent) (SI 62)."""

    mean: Tensor
    deviation: Tensor

    def sample(self, draw: torch.Generator) -> Tensor:
        """One z ~ q(z|x) for every image."""
        return self.mean + self.deviation * torch.randn(self.mean.shape, generator=draw)

    def nats(self) -> Tensor:
        """KL( q(z|x) || N(0, 1) ) of every image and coordinate, in nats.

        >>> Latent(torch.tensor([[[1.0]]]), torch.tensor([[[1.0]]])).nats()
        tensor([[[0.5000]]])
        """
        return 0.5 * (self.mean.square() + self.deviation.square() - 1.0) - self.deviation.log()


class _Encoder(nn.Module):
    def __init__(self, settings: Settings, centre: Tensor, draw: torch.Generator) -> None:
        super().__init__()
        self.centre = centre
        self.body = Stack(settings.copies, (_PIXELS, _NARROW, _NARROW, 2 * settings.latent), draw)

    def forward(self, x: Tensor) -> Latent:
        mean, size = self.body(x - self.centre).chunk(2, dim=-1)
        return Latent(mean, size.clamp(_SHALLOW, _STEEP).exp())


class DiffusionAutoencoders(nn.Module):
    """Copies of a diffusion autoencoder with a semantic and a perceptual latent; `trained` makes them."""

    def __init__(self, settings: Settings, images: Tensor, draw: torch.Generator) -> None:
        super().__init__()
        flat = images.flatten(1)
        self.settings, self.centre = settings, flat.mean(dim=0)
        self.spread = float((flat - self.centre).square().mean().sqrt())
        self.semantic, self.perceptual = (_Encoder(settings, self.centre, draw) for _ in range(2))
        sizes = (_PIXELS + 2 * len(_WAVES) + 1 + 2 * settings.latent, _HIDDEN, _HIDDEN, _HIDDEN, _PIXELS)
        self.decoder = Stack(settings.copies, sizes, draw)

    def latents(self, images: Tensor) -> tuple[Latent, Latent]:
        """The semantic and the perceptual latent of images (n, 1, 8, 8)."""
        x = images.flatten(1).expand(self.settings.copies, -1, -1)
        return self.semantic(x), self.perceptual(x)

    def denoise(self, x: Tensor, log_snr: Tensor, semantic: Tensor, perceptual: Tensor) -> Tensor:
        """D(x, log-snr, z), (copies, n, 64), of states x and levels (n,): each level sees its own latent only."""
        early = (log_snr < self.settings.split).to(x.dtype)[:, None]
        sigma = torch.exp(-0.5 * log_snr)[:, None]
        angle = log_snr[:, None] * torch.tensor(_WAVES)
        level = torch.cat([log_snr[:, None] / LAST, angle.sin(), angle.cos()], dim=1).expand(len(x), -1, -1)
        # Scaled as by Karras et al. (2022): what is learned is of order one at every level.
        whole, away = (sigma.square() + self.spread**2).sqrt(), x - self.centre
        seen = torch.cat([away / whole, level, semantic * early, perceptual * (1.0 - early)], dim=-1)
        learned = self.decoder(seen)
        clean: Tensor = self.centre + (self.spread / whole) ** 2 * away + sigma * self.spread / whole * learned
        return clean

    def nats(self, images: Tensor, draw: torch.Generator, levels: int = 48) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The terms of the bound on images, each (copies,): the loss below and above the split, and both KL terms.

        int (1/2) E |eps - eps^|^2 d log-snr by the midpoint rule, and E KL( q(z|x) || N(0, 1) ), one latent each
        """
        step, losses = (LAST - FIRST) / levels, torch.zeros(2, self.settings.copies)
        with torch.no_grad():
            semantic, perceptual = self.latents(images)
            for place in range(levels):
                level = FIRST + (place + 0.5) * step
                loss = self._loss(images, torch.full((len(images),), level), semantic, perceptual, draw)
                losses[int(level >= self.settings.split)] += step * loss
        totals = [latent.nats().sum(dim=-1).mean(dim=1) for latent in (semantic, perceptual)]
        return losses[0], losses[1], totals[0], totals[1]

    def reconstruct(self, images: Tensor, draw: torch.Generator, steps: int = 48) -> Tensor:
        """Images (copies, n, 64) that the probability-flow ODE makes of noise and of the latents of images."""
        levels = torch.linspace(FIRST, LAST, steps)
        with torch.no_grad():
            semantic, perceptual = (latent.sample(draw) for latent in self.latents(images))
            shape = (self.settings.copies, len(images), _PIXELS)
            x = self.centre + math.hypot(noise_of(FIRST), self.spread) * torch.randn(shape, generator=draw)
            for place, level in enumerate(levels.tolist()):
                clean = self.denoise(x, torch.full((len(images),), level), semantic, perceptual)
                x = clean + math.exp(-0.5 * (LAST - FIRST) / (steps - 1)) * (x - clean) if place < steps - 1 else clean
        return x

    def _loss(self, x: Tensor, log_snr: Tensor, one: Latent, other: Latent, draw: torch.Generator) -> Tensor:
        """(1/2) E |eps - eps^|^2, (copies,), of images or of each copy's own batch of them."""
        clean = x.flatten(1).expand(self.settings.copies, -1, -1) if x.dim() == 4 else x
        sigma = torch.exp(-0.5 * log_snr)[:, None]
        noisy = clean + sigma * torch.randn(clean.shape, generator=draw)
        error = (clean - self.denoise(noisy, log_snr, one.sample(draw), other.sample(draw))) / sigma
        return 0.5 * error.square().sum(dim=-1).mean(dim=1)

    def objective(self, batch: Tensor, step: int, draw: torch.Generator) -> Tensor:
        """SI 70 and the KL terms of SI 60, summed over the copies, on batches (copies, n, 64)."""
        semantic, perceptual = self.semantic(batch), self.perceptual(batch)
        places = (torch.arange(batch.shape[1]) + torch.rand(1, generator=draw)) / batch.shape[1]
        loss = (LAST - FIRST) * self._loss(batch, FIRST + (LAST - FIRST) * places, semantic, perceptual, draw)
        paid = sum(latent.nats().sum(dim=-1).mean(dim=1) for latent in (semantic, perceptual))
        total: Tensor = (loss + self.settings.weight_at(step) * paid).sum()
        return total


class VariationalAutoencoders(nn.Module):
    """Copies of a variational autoencoder with the same encoder and a Gaussian decoder of one deviation (SI 60, 64)."""

    def __init__(self, settings: Settings, images: Tensor, deviation: float, draw: torch.Generator) -> None:
        super().__init__()
        self.settings, self.deviation, self.centre = settings, deviation, images.flatten(1).mean(dim=0)
        self.encoder = _Encoder(settings, self.centre, draw)
        self.decoder = Stack(settings.copies, (settings.latent, _HIDDEN, _HIDDEN, _HIDDEN, _PIXELS), draw)

    def latent(self, images: Tensor) -> Latent:
        """The latent of images (n, 1, 8, 8)."""
        found: Latent = self.encoder(images.flatten(1).expand(self.settings.copies, -1, -1))
        return found

    def reconstruct(self, images: Tensor, draw: torch.Generator) -> Tensor:
        """The decoder's mean (copies, n, 64) of one sampled latent of each image."""
        with torch.no_grad():
            made: Tensor = self.centre + self.decoder(self.latent(images).sample(draw))
        return made

    def objective(self, batch: Tensor, step: int, draw: torch.Generator) -> Tensor:
        """SI 60 with SI 64 and its constants, less those that nothing is learned from, summed over the copies."""
        latent = self.encoder(batch)
        error = (batch - self.centre - self.decoder(latent.sample(draw))) / self.deviation
        loss = 0.5 * error.square().sum(dim=-1).mean(dim=1)
        total: Tensor = (loss + self.settings.weight_at(step) * latent.nats().sum(dim=-1).mean(dim=1)).sum()
        return total


def trained(images: Tensor, settings: Settings) -> DiffusionAutoencoders:
    """Diffusion autoencoders, trained on images (n, 1, 8, 8); every copy draws its own start and its own batches.

    >>> from companion.models.digits import training_digits
    >>> model = trained(training_digits().images, Settings(split=0.0, copies=2, steps=2))
    >>> [latent.mean.shape for latent in model.latents(training_digits().images[:3])]
    [torch.Size([2, 3, 8]), torch.Size([2, 3, 8])]
    """
    draw = torch.Generator().manual_seed(settings.seed)
    model = DiffusionAutoencoders(settings, images, draw)
    descend(model, settings.steps, _RATE, lambda step: model.objective(_batches(images, settings, draw), step, draw))
    return model


def trained_variational(images: Tensor, settings: Settings, deviation: float) -> VariationalAutoencoders:
    """Variational autoencoders, trained on images (n, 1, 8, 8), whose decoder has the given deviation."""
    draw = torch.Generator().manual_seed(settings.seed)
    model = VariationalAutoencoders(settings, images, deviation, draw)
    descend(model, settings.steps, _RATE, lambda step: model.objective(_batches(images, settings, draw), step, draw))
    return model


def _batches(images: Tensor, settings: Settings, draw: torch.Generator) -> Tensor:
    return images.flatten(1)[torch.randint(len(images), (settings.copies, _BATCH), generator=draw)]
