"""What the shipped trainings say, against what no training may break."""

import numpy as np
import pytest

from derivations.kit.measured import read

SPLIT = read("semantic_and_perceptual/split")


def test_no_latent_says_more_of_the_digit_than_it_holds_or_than_there_is_to_say():
    for row in range(len(SPLIT["weights"])):
        information, error, nats = (SPLIT[name][row] for name in ("information", "error", "nats"))
        assert information.shape == error.shape == nats.shape == (len(SPLIT["splits"][row]), 2, SPLIT["copies"])
        assert np.all(information <= np.log(10.0))
        # I(Z; Y) <= I(Z; X) <= the mean KL term; about 200 readings, none four errors above it.
        assert np.all(information <= nats + 4.0 * error)


@pytest.mark.parametrize("weight", [0.2, 0.5])
def test_the_label_changes_sides_in_every_training(weight):
    row = int(np.flatnonzero(SPLIT["weights"] == weight)[0])
    apart = SPLIT["information"][row][:, 0] - SPLIT["information"][row][:, 1]
    assert np.all(apart[SPLIT["splits"][row] == -2.0] < -1.0) and np.all(apart[SPLIT["splits"][row] == 5.0] > 1.0)


def test_latents_of_gaussian_data_are_empty_below_their_water_level():
    linear = read("semantic_and_perceptual/linear")
    for place, weight in enumerate(linear["weights"]):
        level = np.log(weight / (1.0 - weight)) - np.log(linear["variances"][0])
        under = linear["splits"] < level
        assert np.all(linear["nats"][0, place][under] == 0.0) and np.all(linear["nats"][0, place][~under] > 0.0)
        assert np.all(np.abs(linear["information"][0, place][under]) < 0.01)
    modes = np.array([np.sum(linear["variances"] > 0.0), len(linear["variances"])])
    assert modes[0] == modes[1] <= 64


def test_with_two_coordinates_the_diffusion_decoder_keeps_the_contrast_and_the_gaussian_one_is_nearer():
    pictures = read("semantic_and_perceptual/pictures")
    contrast, error = pictures["contrast"], pictures["squared_error"]  # (sizes, 2 decoders, copies)
    assert pictures["sizes"].tolist() == [8.0, 2.0]
    assert contrast[1, 0].min() > contrast[1, 1].max()
    assert np.all(error[:, 0].min(axis=-1) > error[:, 1].max(axis=-1))
