"""The shipped results of the chapter "What biases the estimate": where they are from, and that they are found again."""

import numpy as np
import pytest
import torch

from benchmarks import biases_results as script
from companion.entropy import binary_entropy, partition
from companion.estimate.confidence import weighted_mean
from companion.estimate.measure import measure
from companion.estimate.plan import PUBLISHED
from companion.exact.mixtures import isotropic_mixture
from companion.models.digits import training_digits
from derivations.kit.measured import read


def test_a_softmax_over_coordinates_is_the_denoiser_of_equidistant_classes():
    quick = script.one_of_many(16.0)
    means = 16.0 / np.sqrt(2.0) * torch.eye(script.CLASSES, dtype=torch.float64)
    whole = isotropic_mixture(means, 1.0)
    general = whole.sides(partition(whole, [0], "others", "true"))
    x = 5.0 * torch.randn(20, script.CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for level in (0.1, 2.0, 30.0):
        sigma = torch.full((20,), level, dtype=torch.float64)
        for side in (None, 0, 1):
            condition = None if side is None else torch.full((20,), side)
            apart = (quick(x, sigma, condition) - general(x, sigma, condition)).abs().max()
            assert apart < 1e-10  # rounding of a softmax whose exponents reach a few hundred


@pytest.mark.parametrize("process", ["VP", "VE"])
def test_more_levels_bring_the_end_nearer_to_the_floor(process):
    for rows in read("what_biases_the_estimate/steps")["processes"][process].values():
        first, last = (abs(rows[place]["bias"][-1]) for place in (0, -1))
        # Eight times the levels: of first order it is an eighth. The default's is not seen beside its own chance.
        assert last < 0.5 * first + 3.0 * rows[-1]["se"][-1]


def test_what_the_first_level_knows_is_what_the_published_rule_leaves_out():
    result = read("what_biases_the_estimate/dimensions")
    for name, make in script.GRIDS.items():
        for d, row in zip(result["dimensions"], result["processes"][name]["published"], strict=True):
            lost = np.log(2.0) - script.exact(d, make(script.LEVELS)[:1])
            assert np.allclose(row["bias"][0], lost, rtol=1e-4, atol=1e-7)  # five digits ship


def test_a_part_of_the_steps_is_found_again():
    row = read("what_biases_the_estimate/steps")["processes"]["VE"]["published"][0]
    log_snr = script.GRIDS["VE"](25)
    model = script.one_of_many(16.0)
    (measured,), _ = measure(model, [partition(model, [0], "null")], log_snr, 400, 5, PUBLISHED)
    entropy, error = weighted_mean(measured.entropy_of_path, measured)
    apart = entropy - script.exact(256, log_snr) - row["bias"]
    assert (np.abs(apart) < 4.5 * np.hypot(error, row["se"]) + 1e-4).all()


def largest(values):
    return float(np.abs(values).max())


def test_what_the_chapter_says_of_two_and_of_ten_digits_is_what_was_measured():
    digits, many = read("what_biases_the_estimate/digits"), read("what_biases_the_estimate/samples")["processes"]
    terms = {}
    for n in ("2", "10"):
        exact, estimate = digits["exact"][n], digits["estimated"][n]["published"]["entropy"][0]
        balance, whole = exact["balanced"] - exact["true"], exact["all"] - exact["balanced"]
        terms[n] = [largest(term) for term in (balance, whole, estimate - exact["all"])]
    assert terms["2"][0] == min(terms["2"]) and terms["2"][1] > np.log(2.0) * 2.0 / 3.0
    assert terms["10"][0] == max(terms["10"])
    with_200 = max(largest(row["entropy"] - row["exact"]) for row in many.values())
    assert min(term[2] for term in terms.values()) > 3.0 * with_200  # "several times larger"
    assert with_200 < 0.005  # "a few thousandths of a nat"


def test_a_start_from_nothing_removes_most_of_what_the_first_level_leaves_out():
    for name, rules in read("what_biases_the_estimate/dimensions")["processes"].items():
        published, default = (largest(rules[rule][-1]["bias"]) for rule in ("published", "default"))
        assert default < published, name
        if name != "VE scaled":  # which begins at enough noise in every dimension
            assert default < 0.1 * published, name


def test_the_exact_terms_of_the_digits_keep_the_bounds_of_the_propositions():
    result, labels = read("what_biases_the_estimate/digits"), training_digits().labels
    for chosen in result["sets"]:
        exact = result["exact"][str(len(chosen))]
        q = float((labels == result["digit"]).sum() / torch.isin(labels, torch.from_numpy(chosen).long()).sum())
        term, floor = exact["all"] - exact["balanced"], 0.5 * (1.0 + q) * float(binary_entropy(-np.log(q)))
        chance = 4.0 * exact["whole_se"] + 1e-4  # five digits ship
        assert (term >= q * (np.log(2.0) - exact["balanced"]) - chance).all()
        assert (term <= floor + q * exact["balanced"] + chance).all()
        assert abs(exact["all"][-1] - floor) < 1e-4 * len(chosen)  # the digits themselves show their class
        chance, rarer = 4.0 * exact["balance_se"] + 1e-4, min(q, 1.0 - q)
        assert (2.0 * rarer * exact["balanced"] <= exact["true"] + chance).all()
        assert (exact["true"] <= 2.0 * (1.0 - rarer) * exact["balanced"] + chance).all()
