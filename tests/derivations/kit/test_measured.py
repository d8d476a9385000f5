"""Every shipped result: where it comes from, of which weights, and how large all of them are together."""

import pytest

from companion import InputError, load
from derivations import ten_garments
from derivations.kit.measured import files, read
from derivations.when_words_take_hold import network
from tools.book import ROOT

# The networks that ship, by the name that a result gives its `model`; one without a name is of the digits'.
SHIPPED = {
    "digits": lambda: load("digits"),
    "garments": ten_garments.model,
    "scenes": lambda: load(network.WEIGHTS, network.CARD),
}


@pytest.mark.parametrize("name", files())
def test_a_result_says_where_it_comes_from(name):
    result = read(name)
    script, *part = result["command"].removeprefix("python ").removeprefix("-m ").split()
    path = ROOT / (script if script.endswith(".py") else f"{script.replace('.', '/')}.py")
    assert path.is_file() and path.parent.name == "benchmarks"
    assert part in ([], ["--few"]) or part[0] in name
    assert result["seconds"] > 0
    assert {"python", "torch"} <= set(result["versions"])
    # Where nothing is drawn there is neither a seed nor a count of evaluations.
    assert (result["seed"], result["evaluations"]) == (None, None) or result["seed"] == 0 <= result["evaluations"]
    shipped = SHIPPED[result.get("model", "digits")]().digest
    other = name in ("guided_digits/stopped", "guided_digits/mislabelled")  # of networks that their script trains
    assert (result.get("model_digest", shipped) == shipped) is not other


def test_the_results_are_small():
    # Of what Colab installs, a megabyte for the digits and the exact models, and a tenth more for each of the garments,
    # the scenes, and the networks of other trainings.
    assert sum(path.stat().st_size for path in files().values()) < 1_300_000


def test_a_result_that_does_not_ship_is_one_clear_line():
    with pytest.raises(InputError, match="name is ten_digits/eleven, expected one of"):
        read("ten_digits/eleven")
