"""Scenes are what their attributes and captions say."""

import itertools
import math

import pytest
import torch

from companion.models.digits import LabelledImages
from derivations.when_words_take_hold.scenes import ATTRIBUTES, Scenes, caption, caption_chance, composed, drawn, named

NAMES = tuple(ATTRIBUTES)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    garments = LabelledImages(torch.rand(30, 1, 28, 28) * 2.0 - 1.0, torch.arange(30) % 10)
    return drawn(garments, 4000, seed=0)


def test_attributes_are_uniform_and_independent(scenes: Scenes):
    # 21 pairs of attributes and 7 attributes, each chi-squared with at most 19 degrees of freedom; 50 is exceeded with
    # probability 1.3e-4 at 19 and less below, so all hold with a false-alarm rate of at most 0.4%.
    for one, other in itertools.combinations_with_replacement(range(7), 2):
        sizes = [len(ATTRIBUTES[NAMES[column]]) for column in (one, other)]
        cells = scenes.attributes[:, one] * sizes[1] + scenes.attributes[:, other]
        possible = sizes[0] if one == other else sizes[0] * sizes[1]
        counts = cells.bincount()
        counts = counts[counts > 0]
        assert len(counts) == possible
        assert ((counts - 4000 / possible) ** 2 / (4000 / possible)).sum() < 50.0


def test_each_attribute_changes_what_it_names_and_nothing_else():
    garment = torch.ones(2, 1, 28, 28)
    base = [0, 0, 0, 0, 0, 0, 0]
    for column, rows in {
        "window": (1, 11),
        "star": (2, 7),
        "wall": (0, 32),
        "colour": (12, 32),
        "side": (12, 32),
    }.items():
        other = list(base)
        other[NAMES.index(column)] = 1
        one, two = composed(garment, torch.tensor([base, other]))
        changed = (one != two).any(0).any(1).nonzero()[:, 0]
        assert (changed.min(), changed.max() + 1) == rows
    grey = composed(garment[:1], torch.tensor([[0, 0, 0, 0, 1, 1, 1]]))
    assert (grey.amax(1) - grey.amin(1)).abs().max() < 1e-6
    assert (grey.min() >= -1.0) and (grey.max() <= 1.0)


def test_captions_tell_scenes_apart_and_name_only_what_is_there():
    every = list(itertools.product(*(range(len(values)) for values in ATTRIBUTES.values())))
    assert len({caption(values) for values in every}) == len(every) == 1280
    for values in every[::37]:
        subsets = [names for size in range(8) for names in itertools.combinations(NAMES, size)]
        said = {names: caption(values, names) for names in subsets if names == named(values, names)}
        assert len(set(said.values())) == len(said)
        assert math.isclose(sum(caption_chance(values, names) for names in subsets), 1.0)
        assert all(caption(values, names) == said[named(values, names)] for names in subsets)


def test_a_caption_of_one_thing_tells_little_of_the_others_and_a_long_one_much():
    # By Bayes' rule, from the captions' shares: what a caption does not name is there less often than not.
    def chance_of_star(names: tuple[str, ...]) -> float:
        without, with_star = (caption_chance((0, 0, 0, 0, 0, star, 0), names) for star in (0, 1))
        return with_star / (without + with_star)

    assert 0.3 < chance_of_star(("kind",)) < 0.5
    assert chance_of_star(("colour", "kind", "side", "wall")) < 0.15
