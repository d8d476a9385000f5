"""What the chapter says of the digits network and of networks that were stopped early, held to the shipped numbers."""

import numpy as np
import pytest

from derivations.information_within_its_bound.elsewhere import PUBLISHED
from derivations.kit.measured import read

MOST = np.log(10.0)


def at_the_end(kind, name):
    found = read("information_within_its_bound/digits")["paths"][kind][name]
    return found["value"][-1], found["se"][-1]


def test_the_bounded_routes_are_within_the_bound_and_nearly_full():
    left, error = at_the_end("own", "entropy")
    assert 2.27 < MOST - left <= MOST and error < 0.01
    surprise, error = at_the_end("held_out", "surprise")
    assert 2.2 < MOST - surprise < MOST and error < 0.03


@pytest.mark.parametrize("kind", ["own", "held_out", "training"])
def test_the_null_branch_exceeds_the_bound_by_ten_errors(kind):
    value, error = at_the_end(kind, "null")
    assert value > MOST + 10.0 * error


def test_the_excess_on_the_chain_is_the_distance_of_null_branch_and_mixture():
    null, error = at_the_end("own", "null")
    mixture, between = (at_the_end("own", name)[0] for name in ("mixture", "between"))
    assert abs(null - mixture - between) < 4.0 * error
    found = read("information_within_its_bound/digits")
    before = found["log_snr"] <= 0.0
    assert found["paths"]["own"]["between"]["value"][before][-1] < 0.2 * between


def test_the_loss_of_the_null_branch_proves_its_error_on_held_out_images():
    value, error = at_the_end("held_out", "null_loss")
    assert value - 4.0 * error > MOST


def test_the_chain_of_a_network_that_was_stopped_knows_more_than_it_knows_of_the_data():
    found = read("information_within_its_bound/stopped")
    assert found["data"][0, 0] < 0.0
    chain, data = found["chain"][1], found["data"][1]
    assert chain[0] - data[0] > 3.0 * np.hypot(chain[1], data[1])  # 3.8 in the shipped file
    assert np.all(found["chain"][:, 0] <= MOST + 1e-9)


def test_the_published_numbers_exceed_what_their_labels_hold():
    for said, classes in PUBLISHED.values():
        assert said > 1.5 + np.log(classes)
