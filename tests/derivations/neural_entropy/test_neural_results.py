"""The shipped results of the chapter on neural entropy: what they must show, and that they can be measured again."""

import numpy as np
import pytest
import torch

from companion import empirical_distribution, load
from companion.models.digits import held_out_digits, training_digits
from derivations.kit.measured import read
from derivations.neural_entropy.closed_forms import idle_loss
from derivations.neural_entropy.readings import mean_of, own_images, read_images

# Of a few dozen levels, each with its standard error, the worst is beyond this once in a thousand runs.
SURE = 4.5
BRANCHES = ("conditional", "null")


@pytest.fixture(scope="module")
def measured():
    return read("neural_entropy/images")


@pytest.fixture(scope="module")
def paths():
    return read("neural_entropy/paths")


@pytest.fixture(scope="module")
def pixels():
    return read("neural_entropy/pixels")


def test_network_and_exact_denoiser_agree_within_a_tenth_up_to_their_parting(measured):
    log_snr = measured["log_snr"]
    until, after = log_snr <= -0.4 + 1e-9, log_snr >= 1.0
    for branch in BRANCHES:
        ratio = measured["network"]["training"][branch]["rate"] / measured["exact"]["training"][branch]["rate"]
        assert np.all(np.abs(ratio[until] - 1.0) < 0.1)
        assert np.all(ratio[after] < 0.85)


def test_the_exact_rate_goes_to_half_the_dimension_and_its_total_is_that_of_the_triangle(measured):
    log_snr, exact = measured["log_snr"], measured["exact"]["training"]["null"]
    assert exact["rate"][log_snr > 5.0] == pytest.approx(32.0, rel=0.01)
    whole = np.trapezoid(idle_loss(64, measured["second_moment"]["training"], log_snr), log_snr)
    assert abs(exact["rate_above"][0] - whole + np.log(1437.0)) < SURE * exact["rate_above_se"][0]
    assert abs(exact["loss_above"][0] - np.log(1437.0)) < SURE * exact["loss_above_se"][0]


def test_shares_of_the_information_above_each_level(measured):
    """93, 67, 41 and 19% of the conditional branch's above 0, 2, 4 and 6, as another implementation found."""
    above = measured["network"]["training"]["conditional"]["rate_above"]
    assert measured["marks"].tolist() == [-10.0, -2.0, 0.0, 2.0, 4.0, 6.0]
    np.testing.assert_allclose(above[2:] / above[0], [0.93, 0.67, 0.41, 0.19], atol=0.03)
    assert above[0] == pytest.approx(150.9, abs=2.0)
    assert measured["network"]["training"]["null"]["rate_above"][0] == pytest.approx(146.9, abs=2.0)


def test_the_network_has_not_memorised(measured):
    gaps = {}
    for kind in ("network", "exact"):
        seen, unseen = (measured[kind][name]["null"] for name in ("training", "held_out"))
        gaps[kind] = unseen["loss_above"][0] - seen["loss_above"][0]
    assert 0.0 < gaps["network"] < 7.0 < 1000.0 < gaps["exact"]


def test_the_networks_own_part_has_the_right_length_where_it_was_trained(measured):
    log_snr = measured["log_snr"]
    for name in ("training", "held_out", "own"):
        length = measured["network"][name]["null"]["length"]
        assert np.all(np.abs(length[log_snr <= 6.0 + 1e-9] - 1.0) < 0.05)
    assert measured["network"]["held_out"]["null"]["length"][-1] > 1.3


def test_rate_and_loss_add_up_to_what_there_is_to_save_and_the_excess(measured):
    for name in ("training", "held_out", "own"):
        read_of = measured["network"][name]["null"]
        whole = idle_loss(64, measured["second_moment"][name], measured["log_snr"])
        # an identity for each image; five digits are kept
        np.testing.assert_allclose(read_of["rate"] + read_of["loss"] - read_of["excess"], whole, rtol=2e-4, atol=1e-3)


def test_at_little_noise_the_network_stores_less_than_the_law_of_digits(measured, pixels):
    unseen, log_snr = measured["network"]["held_out"]["null"], measured["log_snr"]
    whole = idle_loss(64, measured["second_moment"]["held_out"], log_snr)
    bound = whole - pixels["loss"] - SURE * pixels["loss_se"]
    assert np.all(unseen["rate"][log_snr > 7.0] < bound[log_snr > 7.0] - 10.0)


def test_the_label_is_told_early_and_within_its_bound(measured, paths):
    log_snr, null = measured["log_snr"], measured["network"]["training"]["null"]
    stored = np.trapezoid(null["rate"][log_snr <= 1e-9], log_snr[log_snr <= 1e-9]) / null["rate_above"][0]
    told = paths["of_model"]["nats"]
    assert stored < 0.1 and told[int(np.argmin(np.abs(log_snr)))] > 0.75 * np.log(10.0)
    assert 2.27 < told[-1] <= np.log(10.0) + 1e-4  # five digits are kept
    assert paths["mixture"]["nats"][-1] <= np.log(10.0) + SURE * paths["mixture"]["nats_se"][-1]
    for name in ("training", "held_out", "own"):
        assert 4.0 < measured["network"][name]["apart_total"] < 5.0
        assert measured["network"][name]["apart_total"] > np.log(10.0)
    known = measured["exact"]["training"]
    assert abs(known["apart_total"] - np.log(10.0)) < SURE * known["apart_total_se"]
    assert measured["exact"]["held_out"]["apart_total"] > 100.0


def test_own_paths_and_own_images_store_the_same(measured, paths):
    """States of the reverse paths, by the package, and the ends of such paths noised anew, by this chapter."""
    for name, branch in (("stored", "conditional"), ("stored_null", "null")):
        course, own = paths[name], measured["network"]["own"][branch]
        apart = course["nats"][-1] - own["rate_above"][0]
        # Steps of the paths and of the integral leave a few tenths of a nat.
        assert abs(apart) < SURE * np.hypot(course["nats_se"][-1], own["rate_above_se"][0]) + 1.0


def test_two_neural_entropies_differ_by_the_information_they_claim(measured):
    """SI 46 beside SI 13, for exact denoisers on their own law: both are log 10."""
    known = measured["exact"]["training"]
    assert abs(known["more_total"] - np.log(10.0)) < SURE * known["more_total_se"]


def test_a_few_images_give_the_shipped_rates(measured):
    training, held_out, model = training_digits(), held_out_digits(), load("digits")
    some = slice(0, None, 12)
    levels = measured["log_snr"][some]
    for name, images in (("training", training), ("held_out", held_out)):
        found = read_images(model, images.images[:100], images.labels[:100], levels, seed=2)
        for branch in BRANCHES:
            rate, shipped = mean_of(getattr(found, branch).rate), measured["network"][name][branch]
            apart = np.abs(rate.value - shipped["rate"][some])
            assert np.all(apart < SURE * np.hypot(rate.error, shipped["rate_se"][some]) + 1e-4)


def test_own_images_look_like_digits():
    """Nearer to a training image of their class than half of what two training images are apart."""
    training, model = training_digits(), load("digits")
    own = own_images(model, torch.tensor([0, 1, 7, 8]), np.linspace(-10.0, 9.2, 24)).flatten(1).float()
    images = training.images.flatten(1)
    typical = torch.cdist(images[:200], images[:200]).mean()
    for row, label in zip(own, (0, 1, 7, 8), strict=True):
        assert torch.cdist(row[None], images[training.labels == label]).min() < 0.5 * typical


def test_the_exact_denoiser_of_the_digits_has_no_excess():
    training = training_digits()
    law = empirical_distribution(training.images.double(), training.labels)
    found = read_images(law, training.images, training.labels, [-2.0, 0.0, 1.0])
    excess = mean_of(found.null.excess)
    assert np.all(np.abs(excess.value) < SURE * excess.error)
