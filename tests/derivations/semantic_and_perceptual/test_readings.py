"""What latents say of a label: never more than its entropy, nothing of noise, and near the truth where it is known."""

import math

import numpy as np
import pytest
import torch

from companion.errors import InputError
from companion.exact.two_gaussians import entropy
from companion.models.digits import training_digits
from derivations.semantic_and_perceptual.autoencoders import Latent
from derivations.semantic_and_perceptual.modes import linear_latent, principal_modes
from derivations.semantic_and_perceptual.readings import label_information


def latent(mean: torch.Tensor) -> Latent:
    return Latent(mean, torch.ones_like(mean))


def test_prop_latents_reading():
    """Three copies: classes that lie apart, two Gaussians of known information, and noise alone."""
    labels = torch.arange(3000) % 2

    def of(asked: torch.Tensor) -> Latent:
        return latent((2.0 * asked - 1.0)[None, :, None] * torch.tensor([50.0, 1.0, 0.0])[:, None, None])

    information, error = label_information(of(labels), labels, of(labels), labels)
    truth = math.log(2.0) - float(entropy(4.0))  # means two deviations apart
    assert np.all(information <= math.log(2.0))
    assert information[0] == pytest.approx(math.log(2.0), abs=0.01)
    # A lower bound: a classifier of 2400 examples misses about one over their number, and chance allows four errors.
    assert truth - 4.0 * error[1] - 0.01 < information[1] < truth + 4.0 * error[1]
    assert abs(information[2]) < 0.01


def test_prop_latents_reading_of_labels_that_are_unlike_those_in_training():
    """However wrong the classifier is, the estimate stays below H(Y): here every label is another one when asked."""
    labels = torch.arange(600) % 3
    mean = 5.0 * torch.nn.functional.one_hot(labels).float()[None]
    right, _ = label_information(latent(mean), labels, latent(mean), labels)
    wrong, _ = label_information(latent(mean), labels, latent(mean), (labels + 1) % 3)
    assert right[0] <= math.log(3.0) and right[0] > 0.9 * math.log(3.0)
    assert wrong[0] < -1.0


def test_a_latent_of_noise_alone_is_as_good_as_none_and_one_of_all_modes_is_the_image():
    images, labels = training_digits().images, training_digits().labels
    modes = principal_modes(images)
    shares = np.stack([np.zeros(len(modes[1])), np.full(len(modes[1]), 1.0)])
    found = linear_latent(images, modes, shares)
    assert torch.all(found.deviation[0] == 1.0) and torch.all(found.deviation[1] == 0.0)
    back = found.mean[1].double().numpy() * np.sqrt(modes[1]) @ modes[2].T + modes[0]
    np.testing.assert_allclose(back, images.flatten(1).numpy(), atol=1e-4)
    np.testing.assert_allclose(found.mean[1].var(dim=0), 1.0, rtol=1e-3)
    assert len(labels) == len(back)


def test_bad_labels_are_one_line():
    mean = torch.zeros(1, 6, 2)
    for labels, asked, name in (
        (torch.zeros(5, dtype=torch.int64), torch.zeros(6, dtype=torch.int64), "labels"),
        (torch.zeros(6, dtype=torch.int64), torch.zeros(7, dtype=torch.int64), "asked"),
        (torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.int64), "asked"),
    ):
        with pytest.raises(InputError) as caught:
            label_information(latent(mean), labels, latent(mean), asked)
        assert str(caught.value).startswith(name)
