"""The shipped results of the garments chapter: of the shipped weights, as the chapter claims, and found again."""

from itertools import combinations

import numpy as np
import pytest
import torch

from benchmarks import garments_results as script
from companion.entropy import partition
from companion.estimate.run import profile, profiles
from companion.exact.empirical import empirical_distribution
from companion.forward import log_snr_levels
from derivations.kit.garments import CLASSES, held_out_garments
from derivations.kit.measured import read
from derivations.ten_garments import model

PARTS = ("profiles", "samples", "held_out", "exact", "guided")
FLOOR = 0.16755  # of one class of ten against all, prop-floor
KINDS = ({"t-shirt", "pullover", "dress", "coat", "shirt"}, {"sandal", "sneaker", "boot"})


@pytest.fixture(scope="module")
def measured():
    return read("ten_garments/profiles")


def half(found, label):
    """A half-entropy level and its standard error."""
    value, lower, upper = found["half_entropy"][found["partition"].index(label)]
    return value, (upper - lower) / (2.0 * 1.96)


@pytest.mark.parametrize("part", PARTS)
def test_results_are_of_the_shipped_weights_and_as_large_as_the_script_says(part):
    found = read(f"ten_garments/{part}")
    assert found["model_digest"] == model().digest
    assert found["command"] == f"python benchmarks/garments_results.py {part}"


def test_one_run_answers_all_questions(measured):
    assert measured["pairs"]["partition"] == [f"{CLASSES[i]}|{CLASSES[j]}" for i, j in combinations(range(10), 2)]
    assert measured["others"]["production"].shape == (10, len(measured["log_snr"]))
    assert measured["evaluations"] == script.SAMPLES * 11 * (len(script.LEVELS) + 1)


def test_against_all_it_ends_near_the_floor_and_against_the_others_near_zero(measured):
    # Of clean pictures a few do not show their class: what is left is a twentieth of a nat at most.
    assert measured["others"]["last"].max() < 0.05
    assert np.abs(measured["all"]["entropy"][:, -1] - FLOOR).max() < 0.05


def test_the_null_branch_is_not_the_mixture(measured):
    assert measured["null"]["entropy"][:, -1].mean() < FLOOR - 0.02
    null = measured["null_against_all"]
    assert null["entropy"][0][-1] < np.log(2.0) - 5.0 * null["entropy_se"][0][-1]
    assert np.interp(2.0, measured["log_snr"], null["entropy"][0]) < 0.5 * np.log(2.0)


def test_like_garments_are_told_apart_later(measured):
    (early, early_error), (late, late_error) = (
        half(measured["pairs"], pair) for pair in ("trouser|sneaker", "sneaker|boot")
    )
    assert late - early > 4.0 * np.hypot(early_error, late_error)
    levels = dict(zip(measured["pairs"]["partition"], measured["pairs"]["half_entropy"][:, 0], strict=True))
    like = [any(set(pair.split("|")) <= kind for kind in KINDS) for pair in levels]
    values = np.array(list(levels.values()))
    one, other = values[np.array(like)], values[~np.array(like)]
    assert len(one) == 13
    assert np.mean(one[:, None] > other) > 0.8
    assert levels["trouser|dress"] > np.median(one)  # a pair of two kinds, and late: it is no rule


def test_true_priors_decide_every_class_later(measured):
    moved = measured["true"]["half_entropy"][:, 0] - measured["others"]["half_entropy"][:, 0]
    assert moved.min() > 0.0


@pytest.mark.parametrize("which", ["ten", "pairs"])
def test_real_garments_are_judged_within_chance_until_the_cross_entropy_rises_and_too_surely_after(which):
    found = read("ten_garments/held_out")[which]
    least = found["cross_entropy"].argmin()
    score = found["gap"] / found["gap_se"]
    assert np.abs(score[:least]).max() < found["worst_by_chance"] < score[-1]
    assert 0 < least < len(score) - 1
    assert found["posterior_entropy"][-1] < found["posterior_entropy"][least]


def test_few_paths_scatter_about_many(measured):
    few = read("ten_garments/samples")
    for prior, largest in (("balanced", "others"), ("true", "true")):
        off = [
            np.sqrt(
                np.nanmean((few["rows"][f"{n}"][prior]["half_entropy"] - measured[largest]["half_entropy"])[:, 0] ** 2)
            )
            for n in script.FEW
        ]
        assert 0.05 < off[0] < 1.0
        assert off[1] < 0.5


def test_network_and_exact_denoiser_agree_on_pairs_that_are_decided_early(measured):
    exact = read("ten_garments/exact")
    assert exact["partition"] == list(script.TEN_PAIRS) and exact["images"] == 12000
    gap = np.array([half(measured["pairs"], pair)[0] - half(exact, pair)[0] for pair in exact["partition"]])
    early = exact["half_entropy"][:, 0] < -2.5
    assert early.sum() == 7
    assert np.abs(gap[early]).max() < 0.3 < gap[~early].min()


def test_guidance_everywhere_decides_earlier_than_in_the_window():
    rules = read("ten_garments/guided")["rules"]
    none, window, everywhere = (rules[name]["half_entropy"][:, 0].mean() for name in ("none", "window", "everywhere"))
    assert everywhere < window < none


@pytest.mark.slow
def test_fewer_images_are_told_apart_earlier_only_where_classes_are_alike():
    exact, held_out = read("ten_garments/exact"), held_out_garments()
    for pair, moves in (("sneaker|boot", False), ("pullover|coat", True)):
        two = [CLASSES.index(name) for name in pair.split("|")]
        chosen = torch.isin(held_out.labels, torch.tensor(two))
        small = empirical_distribution(held_out.images[chosen], (held_out.labels[chosen] == two[1]).long())
        found = profile(small, "0|1", log_snr=log_snr_levels(33, -9.0, 5.0), samples=200, seed=1).half_entropy
        own, (many, error) = (found.upper - found.lower) / (2.0 * 1.96), half(exact, pair)
        assert bool((many - found.value) / np.hypot(own, error) > 6.0) is moves


@pytest.mark.slow
def test_a_small_run_finds_the_shipped_levels_again(measured):
    garments, names = model(), ("trouser|sneaker", "sneaker|boot")
    asked = [partition(garments, name) for name in names]
    for found in profiles(garments, asked, log_snr=log_snr_levels(20, -8.0, 2.0), samples=36, seed=5):
        shipped, error = half(measured["pairs"], found.partition)
        own = (found.half_entropy.upper - found.half_entropy.lower) / (2.0 * 1.96)
        # Four standard errors of both, and 0.15 for the coarser levels.
        assert abs(found.half_entropy.value - shipped) < 4.0 * np.hypot(own, error) + 0.15, found.partition
