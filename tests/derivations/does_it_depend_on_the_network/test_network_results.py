"""The shipped results of the chapter on several networks: as the chapter says, and in part found again."""

import numpy as np
import pytest

from benchmarks import does_it_depend_on_the_network_results as script
from companion.entropy import partition
from companion.estimate.run import profiles
from companion.models.load import load
from derivations.does_it_depend_on_the_network.networks import RECIPES, SEEDS, SHIPPED, SIZES
from derivations.does_it_depend_on_the_network.spread import spread_over_networks
from derivations.kit.measured import read

PAIRS = slice(0, 45)


@pytest.fixture(scope="module")
def results():
    return {part: read(f"does_it_depend_on_the_network/{part}") for part in script.PARTS}


def of_seeds(results, key):
    return np.array([[run[key] for run in results["levels"]["networks"][name]] for name in SEEDS])


def test_the_networks_are_different_ones_and_every_result_is_of_the_same(results):
    digests = {name: one["digest"] for name, one in results["judged"]["networks"].items()}
    assert list(digests) == list(RECIPES) and len(set(digests.values())) == len(digests)
    assert digests[SHIPPED] == load("digits").digest
    for part in ("levels", "sizes"):
        known = {name: digest for name, digest in results[part]["digests"].items() if name in RECIPES}
        assert known == {name: digests[name] for name in known} and known


def test_a_part_of_a_run_is_found_again(results):
    # The pair alone, from other paths: within four combined standard errors, a false alarm once in 16 000.
    model, at = load("digits"), results["levels"]["partitions"].index("0|1")
    found = profiles(model, [partition(model, [0], [1])], log_snr=script.LEVELS, samples=60, seed=7)[0].half_entropy
    shipped = results["levels"]["networks"][SHIPPED][0]
    error = np.hypot(shipped["se"][at], (found.upper - found.lower) / (2.0 * 1.96))
    assert abs(found.value - shipped["half_entropy"][at]) < 4.0 * error


def test_networks_differ_by_less_than_what_they_have_in_common_differs_from_the_exact_denoiser(results):
    value = of_seeds(results, "half_entropy")[..., PAIRS]
    spread = spread_over_networks(value)
    off = value.mean(axis=(0, 1)) - results["levels"]["exact"]["half_entropy"][PAIRS]
    assert 0.0 < spread.deviation < np.sqrt(np.mean(off**2)) / 3.0
    assert np.mean(off) > 0.0
    assert results["levels"]["partitions"][np.argmax(np.abs(off))] == "3|9"
    # More pairs than chance has are below 0.05: of 45 it has ten or more once in 20 000, were they independent.
    assert np.sum(spread.p_of_none < 0.05) >= 10


def test_what_the_chapter_says_of_the_order_holds_in_every_network(results):
    value, names = of_seeds(results, "half_entropy").mean(axis=1), results["levels"]["partitions"]
    error = of_seeds(results, "se").mean(axis=1)
    for of_network, of_error in zip(value, error, strict=True):
        early, late = names.index("0|1"), names.index("3|8")
        assert of_network[late] - of_network[early] > 10.0 * np.hypot(of_error[early], of_error[late])
        assert names[np.argmax(of_network[PAIRS])] == "3|9"
        digits = [names[45 + k][0] for k in np.argsort(of_network[45:])]
        assert set(digits[:3]) == {"0", "4", "6"} and digits[-1] == "8"
    for name in SEEDS:
        assert results["judged"]["networks"][name]["certificate"]["null branch"][2] == "fails"


def test_a_short_training_decides_late_and_the_shorter_the_later(results):
    truth = results["sizes"]["networks"][f"exact_{SHIPPED}"]["half_entropy"][PAIRS]
    late = [results["sizes"]["networks"][name]["half_entropy"][PAIRS] - truth for name in (*SIZES, SHIPPED)]
    means = [each.mean() for each in late]
    assert means == sorted(means, reverse=True) and means[0] > 1.0
    assert np.all(late[0] > 0.0)
    assert abs(means[2] - means[3]) < 0.1
    losses = [results["judged"]["networks"][name]["loss"]["held_out"] for name in (*SIZES, SHIPPED)]
    assert losses == sorted(losses, reverse=True)


def test_a_network_that_memorises_has_the_levels_of_its_images_and_not_those_of_all(results):
    memory, own, every = (
        results["sizes"]["networks"][name]["half_entropy"][PAIRS]
        for name in ("memory_100", "exact_memory_100", f"exact_{SHIPPED}")
    )
    to_own, to_every = (np.sqrt(np.mean((memory - each) ** 2)) for each in (own, every))
    assert to_own < to_every / 3.0
    assert np.mean(memory - every) < 0.0  # too early
    near = {name: one["nearest"]["p_generated_nearer"] for name, one in results["judged"]["networks"].items()}
    assert [name for name, p in near.items() if p < 0.001] == ["memory_100"]


def test_what_the_certificate_sees(results):
    judged = results["judged"]["networks"]
    assert all(len(one["refused"]) == 0 for one in judged.values())
    assert judged["steps_300"]["on_data"]["own"]["calibration"][2] == "fails"
    memory = judged["memory_100"]
    for line in ("calibration", "own and real"):
        assert memory["on_data"]["held_out"][line][2] == "fails"
        assert memory["on_data"]["seen"][line][2] != "fails" != memory["on_data"]["own"][line][2]
        assert judged[SHIPPED]["on_data"]["held_out"][line][2] != "fails"
    failing = [name for name, one in judged.items() if one["certificate"]["agreement"][2] == "fails"]
    assert failing == ["steps_300", "steps_1000"]
    passed = {line for line, (*_, verdict) in judged[SHIPPED]["certificate"].items() if verdict != "fails"}
    assert all(memory["certificate"][line][2] != "fails" for line in passed)
