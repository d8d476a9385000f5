"""What the chapter says of the shipped tables of defects by rules, and some of their entries computed again."""

import numpy as np
import pytest

from derivations.kit import measured
from derivations.when_guidance_helps import rules
from derivations.when_guidance_helps.defects import LINE, defects

LINE_BED = measured.read("when_guidance_helps/line")
COLUMN = {name: LINE_BED["sampled"][:, place] for place, name in enumerate(LINE_BED["rules"])}
PATHS = {name: LINE_BED["along_paths"][:, place] for place, name in enumerate(LINE_BED["rules"])}
ROW = {name: place for place, name in enumerate(LINE_BED["defects"])}
# Written to five digits, and computed with 60 nodes: the paths' trapezoids are the coarsest part.
ROUNDING = 1e-4


def test_the_table_is_of_the_defects_of_the_chapter():
    assert list(LINE_BED["defects"]) == [defect.name for defect in defects(LINE)]
    assert LINE_BED["sampled"].shape == LINE_BED["along_paths"].shape == (10, 7)
    assert np.all(LINE_BED["sampled"] > -1e-6) and np.all(PATHS["w*"] > -1e-9)
    np.testing.assert_allclose(LINE_BED["window"], rules.window(LINE), rtol=ROUNDING)


@pytest.mark.parametrize("name", ["leak of 20%", "weak at some noise"])
def test_entries_computed_again(name):
    """Fresh, with the shipped settings: to the digits that were written."""
    (defect,), row = [each for each in defects(LINE) if each.name == name], ROW[name]
    found = rules.Interval(*LINE_BED["interval"][row])
    again = rules.sampled(rules.by_interval(defect.model, found), LINE, rules.jumps_of(found))
    assert again == pytest.approx(COLUMN["interval"][row], rel=0.01, abs=1e-6)  # its ends have five digits
    weights, spread = rules.denoising(defect.model, LINE, rules.LEVELS)
    np.testing.assert_allclose(LINE_BED["best_weight"][row], weights, rtol=ROUNDING)
    np.testing.assert_allclose(LINE_BED["spread"][row], spread, rtol=ROUNDING)
    assert rules.along_paths(defect.model, LINE) == pytest.approx(PATHS["none"][row], rel=ROUNDING)


def test_the_best_weight_is_best_for_the_paths():
    """Of all rules that are functions of the level; its table is linear between levels, which costs up to 1e-5."""
    for name in ("none", "constant", "window", "interval", "w* measured"):
        assert np.all(PATHS["w*"] <= PATHS[name] + 1e-5), name


def test_the_searches_find_no_worse_than_what_they_contain():
    assert np.all(COLUMN["interval"] <= np.minimum(COLUMN["constant"], COLUMN["window"]))
    assert np.all(np.maximum(COLUMN["constant"], COLUMN["window"]) <= COLUMN["none"])


def test_what_mends_what():
    scaled = [ROW[name] for name in ("weak conditioning", "weak at some noise", "too sure")]
    assert np.all(COLUMN["w*"][scaled] < 1e-6) and np.all(COLUMN["none"][scaled] > 0.09)
    leaks = [ROW["leak of 5%"], ROW["leak of 20%"]]
    np.testing.assert_allclose(LINE_BED["leak"], [0.05, 0.2] + [0.0] * 8, atol=1e-4)
    assert np.all(COLUMN["feedback"][leaks] < 3e-4)
    by_level = np.stack([COLUMN[name][leaks] for name in ("constant", "window", "interval", "w*")])
    assert np.all(by_level > 0.6 * COLUMN["none"][leaks])
    across = ROW["offset at some noise"]
    np.testing.assert_allclose(LINE_BED["sampled"][across], COLUMN["none"][across], atol=2e-4)


def test_where_the_search_beats_the_best_weight_its_paths_are_worse_than_none():
    beaten = COLUMN["interval"] < COLUMN["w*"] - 1e-5
    assert beaten.sum() == 7
    assert np.all(PATHS["interval"][beaten] > PATHS["none"][beaten])


def test_what_the_window_keeps_of_the_gain():
    gains = {name: COLUMN["none"] - COLUMN[name] for name in ("window", "constant", "interval")}
    told = gains["interval"] > 1e-3
    window, constant = (gains[name] / gains["interval"] for name in ("window", "constant"))
    scaled_or_leaking = [
        ROW[name] for name in ("leak of 5%", "leak of 20%", "weak conditioning", "weak at some noise", "too sure")
    ]
    assert window[scaled_or_leaking].min() == pytest.approx(0.82, abs=0.01)
    blurs = window[[ROW["blurred, null more"], ROW["blurred alike"]]]
    np.testing.assert_allclose(blurs, [0.61, 0.88], atol=0.01)
    assert window[ROW["pulled to the middle"]] < 0.01 and window[ROW["one mode too rare"]] < 0.1
    assert (constant > window)[told].sum() == 6


def test_samples_of_a_law_miss_what_its_paths_miss():
    """Both are KL of the noised laws where the branches are those of a law: to a thousandth, the paths' quadrature."""
    laws = [ROW[name] for name in ("leak of 5%", "leak of 20%", "blurred alike", "one mode too rare")]
    np.testing.assert_allclose(PATHS["none"][laws], COLUMN["none"][laws], rtol=1e-3)
    beyond = [ROW["weak conditioning"], ROW["too sure"]]
    assert np.all(COLUMN["none"][beyond] > 1.4 * PATHS["none"][beyond])
