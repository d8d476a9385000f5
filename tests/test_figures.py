"""Profiles drawn beside each other: nothing of one is overwritten by another, and the titles are true of all."""

import numpy as np
import pytest

from companion import figures
from companion.entropy import partition
from companion.errors import InputError
from companion.estimate.run import profile
from companion.exact.mixtures import isotropic_mixture


@pytest.fixture(scope="module")
def drawn():
    line = isotropic_mixture([[-1.0], [1.0], [4.0]], 0.0)
    levels = np.linspace(-8.0, 4.0, 25)
    return [profile(line, partition(line, pair), log_snr=levels, samples=40) for pair in ("0|1", "0|2", "0|all")]


def test_several_have_a_legend_and_titles_with_the_ends_of_all(drawn):
    left, right = figures.plot(*drawn[:2])
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["0|1", "0|2"]
    halves = sorted(each.half_entropy.value for each in drawn[:2])
    assert left.get_title(loc="left") == f"half decided between {halves[0]:.2f} and {halves[1]:.2f}"
    edges = [edge.value for each in drawn[:2] for edge in each.window]
    assert right.get_title(loc="left") == f"decided between {min(edges):.2f} and {max(edges):.2f}"
    curves = [curve.get_ydata() for curve in left.lines if len(curve.get_ydata()) == 25]
    assert all((one == each.entropy).all() for one, each in zip(curves, drawn[:2], strict=True))
    assert left.get_ylim()[1] > max(each.entropy.max() for each in drawn[:2])


def test_one_alone_is_named_in_the_title_and_its_floor_in_the_legend(drawn):
    axes = figures.figure(1, 2)[1]
    left, _ = figures.plot(drawn[2], axes=axes)
    assert left is axes[0]
    assert left.get_title(loc="left") == f"0|all: half decided at {drawn[2].half_entropy.value:.2f}"
    assert [text.get_text() for text in left.get_legend().get_texts()] == [f"floor {drawn[2].floor:.4f}"]


def test_the_axes_say_what_they_count(drawn):
    left, right = figures.plot(drawn[0])
    assert left.get_xlabel() == right.get_xlabel() == "log-snr (noise → data)"
    assert (left.get_ylabel(), right.get_ylabel()) == ("class entropy (nats)", "production (nats per unit log-snr)")


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="profiles is"):
        figures.plot()
