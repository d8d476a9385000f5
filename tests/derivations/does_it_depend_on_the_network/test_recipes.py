"""The networks that are compared: trained as their recipes say, kept, and the shipped one among them."""

import pytest
import torch

from companion.errors import InputError
from companion.models.digits import training_digits
from companion.models.load import load
from companion.models.training import Settings
from derivations.does_it_depend_on_the_network import networks
from derivations.does_it_depend_on_the_network.networks import RECIPES, SHIPPED, Recipe, first_of_each, network


def test_the_first_of_each_digit_are_training_images_with_their_labels_and_none_twice():
    few, every = first_of_each(10), training_digits()
    assert few.labels.bincount().tolist() == [10] * 10
    assert len(torch.unique(few.images.flatten(1), dim=0)) == 100
    apart = torch.cdist(few.images.flatten(1), every.images.flatten(1))
    assert apart.min(dim=1).values.max() == 0.0
    assert torch.equal(every.labels[apart.argmin(dim=1)], few.labels)


def test_the_seeds_have_the_recipe_of_the_shipped_network(tmp_path):
    assert network(SHIPPED, tmp_path).digest == load("digits").digest
    assert [recipe.settings.seed for recipe in networks.SEEDS.values()] == [0, 1, 2, 3, 4]
    assert all(recipe.settings == Settings(seed=seed) for seed, recipe in enumerate(networks.SEEDS.values()))
    assert all(len(recipe.images.labels) == 1437 for recipe in (networks.SEEDS | networks.SIZES).values())
    assert RECIPES["memory_100"].settings.dropout == 0.0 and len(RECIPES["memory_100"].images.labels) == 100


def test_a_network_is_trained_once_and_then_read(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "two_steps", Recipe(Settings(steps=2), of_each=3))
    first = network("two_steps", tmp_path, progress=False)
    written = (tmp_path / "two_steps" / "companion.json").stat().st_mtime_ns
    again = network("two_steps", tmp_path, progress=False)
    assert again.digest == first.digest != load("digits").digest
    assert (tmp_path / "two_steps" / "companion.json").stat().st_mtime_ns == written


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(InputError, match="name is seed_9, expected one of seed_0"):
        network("seed_9", tmp_path)
    for count in (0, 1437):
        with pytest.raises(InputError, match=f"count is {count}"):
            first_of_each(count)
