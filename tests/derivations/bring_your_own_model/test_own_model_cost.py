"""What three published models cost, as shipped: counted again, held to what the papers print and to sums by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import own_model_cost as script
from derivations.kit.measured import read

NAMES = ["DiT-XL/2-256", "Stable Diffusion 1.5", "EDM2-S (img512)"]


@pytest.fixture(scope="module")
def shipped():
    return read("bring_your_own_model/cost")


def test_the_result_says_that_no_card_was_used(shipped):
    assert shipped["device"] == "computed: no accelerator"
    assert [row["model"] for row in shipped["models"]] == NAMES


def test_counts_are_those_that_the_papers_print(shipped):
    """Within two in a hundred: the papers round, and one of them also counts additions outside of matrix products."""
    compared = 0
    for row in shipped["models"]:
        for key in {"parameters", "operations"} & set(row["published"]):
            assert row[key] == pytest.approx(row["published"][key], rel=0.02), (row["model"], key)
            compared += 1
    assert compared == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_counts_are_found_again(shipped, name):
    (row,) = (row for row in shipped["models"] if row["model"] == name)
    found = script.counted(script.MODELS[name][0])
    assert found["parameters"] == row["parameters"]
    # Versions of diffusers and torch may write the same layer with another operation or an array more.
    assert found["operations"] == pytest.approx(row["operations"], rel=0.01)
    assert found["sample_bytes"] == pytest.approx(row["sample_bytes"], rel=0.1)


def test_the_share_of_the_peak_is_the_measured_rate_times_the_operations(shipped):
    (timed,) = (row for row in shipped["models"] if row["model"] == "Stable Diffusion 1.5")
    for card in shipped["cards"]:
        pictures = card["batch"] * card["iterations_per_second"]
        # An iteration evaluates every picture twice, with its prompt and without.
        assert card["share"] * card["peak"] == pytest.approx(2 * pictures * timed["operations"])
        assert 0.05 < card["share"] < 0.6


def test_operations_and_bytes_of_a_chain_by_hand():
    """Two linear layers on 8 rows of 64 numbers: 2 x 8 x 64 x 64 each; beside the input two results live at once."""
    with torch.device("meta"):
        chain = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64), torch.nn.ReLU())
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            chain(torch.empty(8, 64))
    assert counter.get_total_flops() == 2 * (2 * 8 * 64 * 64)
    real, x = chain.to_empty(device="cpu"), torch.zeros(8, 64)
    with torch.no_grad(), script.Held([*real.parameters(), x]) as memory:
        real(x)
    assert memory.most == 2 * 8 * 64 * 4
    assert memory.now == 0


def test_fake_tensors_hold_what_real_ones_do():
    """A small network of EDM2's shapes: a pass in float16 of fake tensors, and a real one in float32, twice that."""

    def small():
        network = script.EDM2(64, resolution=16, labels=10)
        return network, lambda net, x: net(x, x.new_zeros(len(x), 64), x.new_zeros(len(x), 10)), (4, 16, 16)

    network, call, shape = small()
    with torch.no_grad(), script.Held(network.parameters()) as memory:
        call(network, torch.zeros(script.BATCH, *shape))
    assert memory.most == 2 * script.held(small)
