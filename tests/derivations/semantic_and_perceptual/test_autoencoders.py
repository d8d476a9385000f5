"""The autoencoders: their terms against closed forms, what each level sees, and that training learns."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from companion.errors import InputError
from companion.models.digits import held_out_digits, training_digits
from derivations.semantic_and_perceptual.autoencoders import (
    FIRST,
    LAST,
    DiffusionAutoencoders,
    Latent,
    Settings,
    VariationalAutoencoders,
    trained,
    trained_variational,
)
from derivations.semantic_and_perceptual.networks import Stack

IMAGES, ASKED = training_digits().images, held_out_digits().images


def untrained(split: float = 0.0, copies: int = 2) -> DiffusionAutoencoders:
    model = DiffusionAutoencoders(Settings(split, copies=copies), IMAGES, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.decoder.weights[-1].zero_()
    return model


def test_def_latents_split_terms_of_a_decoder_that_knows_only_mean_and_spread():
    """Such a decoder's loss has a closed form: half a nat a pixel for each unit of log(1 + snr spread^2)."""
    model = untrained()
    losses = model.nats(IMAGES, torch.Generator().manual_seed(1), levels=120)[:2]

    def below(level: float) -> float:
        return 0.5 * 64.0 * math.log1p(math.exp(level) * model.spread**2)

    expected = [below(0.0) - below(FIRST), below(LAST) - below(0.0)]
    for found, exact in zip(losses, expected, strict=True):
        # 1437 images of 64 pixels at 60 levels: more than four standard errors, and the midpoint rule's own.
        assert found.numpy() == pytest.approx(exact, rel=0.01)


def test_a_level_sees_its_own_latent_alone():
    model = DiffusionAutoencoders(Settings(0.5, copies=2), IMAGES, torch.Generator().manual_seed(0))
    x, one, other = torch.randn(2, 3, 64), torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    for level, first_counts in ((0.4, True), (0.5, False)):
        levels = torch.full((3,), level)
        base = model.denoise(x, levels, one, other)
        assert torch.equal(base, model.denoise(x, levels, one + 1.0, other)) is not first_counts
        assert torch.equal(base, model.denoise(x, levels, one, other + 1.0)) is first_counts


def test_nats_are_the_divergence_from_the_standard_normal():
    mean, deviation = torch.randn(2, 3, 4), torch.rand(2, 3, 4) + 0.1
    expected = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0))
    torch.testing.assert_close(Latent(mean, deviation).nats(), expected)


def test_copies_are_networks_of_their_own():
    stack = Stack(2, (3, 5, 5, 1), torch.Generator().manual_seed(0))
    x = torch.randn(2, 4, 3)
    for copy in range(2):
        h = x[copy]
        for place, (weight, offset) in enumerate(zip(stack.weights, stack.offsets, strict=True)):
            out = h @ weight[copy] + offset[copy]
            h = out if place == 2 else torch.nn.functional.silu(out) + (h if place == 1 else 0.0)
        torch.testing.assert_close(stack(x)[copy], h)
    assert not torch.equal(stack.weights[0][0], stack.weights[0][1])


def test_training_learns_and_is_a_function_of_its_settings():
    settings = Settings(split=0.0, copies=2, steps=150)
    model, again = trained(IMAGES, settings), trained(IMAGES, settings)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))
    early, late, *paid = model.nats(ASKED, torch.Generator().manual_seed(1))
    blind = [64.0 * 0.5 * math.log1p(math.exp(level) * model.spread**2) for level in (FIRST, 0.0, LAST)]
    # Below what mean and spread alone reach; held-out sums of 360 images vary by less than a tenth of what is asked.
    assert torch.all(early < 0.97 * (blind[1] - blind[0])) and torch.all(late < 0.97 * (blind[2] - blind[1]))
    assert all(torch.all(nats > 0.0) for nats in paid)


def test_reconstructions_are_nearer_to_their_own_digit():
    settings, draw = Settings(copies=1, steps=400), torch.Generator().manual_seed(1)
    made = [
        trained(IMAGES, settings).reconstruct(ASKED, draw, steps=24)[0],
        trained_variational(IMAGES, settings, 0.3).reconstruct(ASKED, draw)[0],
    ]
    for pictures in made:
        apart = torch.cdist(pictures, ASKED.flatten(1))
        own = apart.diagonal()
        near = (apart < own[:, None]).sum(dim=1) < 5
        # By chance 5 in 360, with a standard error of 0.006 over the images.
        assert near.double().mean() > 5.0 / 360.0 + 4.0 * 0.006 and own.mean() < 0.9 * apart.mean()


def test_the_gaussian_decoder_pays_what_its_deviation_says():
    model = VariationalAutoencoders(Settings(weight=0.0, copies=1), IMAGES, 0.5, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.decoder.weights[-1].zero_()
        found = model.objective(IMAGES.flatten(1)[None], 0, torch.Generator())
    expected = ((IMAGES.flatten(1) - model.centre) ** 2).sum(dim=1).mean() / (2.0 * 0.5**2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("wrong", [{"split": 7.0}, {"split": math.nan}, {"weight": -1.0}, {"warm_up": 1.5}])
def test_settings_that_mean_nothing_are_one_line(wrong):
    with pytest.raises(InputError) as caught:
        Settings(**wrong)
    assert str(caught.value).startswith(next(iter(wrong)))
