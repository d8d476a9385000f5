"""Draws the picture of the front page and of the README from shipped results: `python -m tools.front_picture`.

Below, the class entropies of the first and of the last decision among the pairs of digits, and between the levels at
which the one has lost a tenth and the other nine tenths, where the network decides. Above, one path of the network at
six levels: the noisy picture, what it expects of the clean one, and the digit that is most probable. Letters are few
and large, so that a telephone shows all of it.
"""

import json
from typing import Any

import numpy as np

from companion.figures import COLOURS, figure, noise_axis
from derivations.kit.measured import read
from tools.book import ROOT

__all__ = ["FILE", "draw", "extremes", "path"]

FILE = ROOT / "book" / "here_it_decides.png"
_FIRST, _LAST, _SHOWN = -7.4, 5.0, (-6, -4, -2, 0, 2, 4)  # log-snr: the axis, and the levels of the pictures
_SIDE = 0.17  # of a picture, in heights of the figure
_ROWS = {"state": (0.725, "it sees"), "prediction": (0.545, "it expects")}


def extremes() -> dict[str, tuple[float, float, float]]:
    """Of the pairs of digits that are decided first and last: where a tenth, a half and nine tenths are decided."""
    results = read("kit/digits_profiles")
    rows = [row for row, name in enumerate(results["partitions"]) if name.replace("|", "").isdigit()]
    half = results["half_entropy"][:, 0]
    chosen = (min(rows, key=lambda row: half[row]), max(rows, key=lambda row: half[row]))
    ends = results["window"][:, :, 0]
    return {results["partitions"][row]: (ends[row, 0], half[row], ends[row, 1]) for row in chosen}


def path() -> list[tuple[int, dict[str, Any]]]:
    """The levels that are shown of one path, each with its state, its prediction and its posterior."""
    shipped = json.loads((ROOT / "book" / "widgets" / "digits.json").read_text(encoding="utf-8"))
    levels = shipped["paths"][0]["levels"]
    return [(level, levels[shipped["log_snr"].index(level)]) for level in _SHOWN]


def draw() -> Any:
    """The picture, as a figure of matplotlib."""
    results, pairs = read("kit/digits_profiles"), extremes()
    (begins, *_), (*_, ends) = pairs.values()
    fig, axes = figure(1, 1, width=6.4, height=4.3)
    fig.set_layout_engine("none")
    axes.set_position((0.125, 0.13, 0.86, 0.33))
    axes.patch.set_visible(False)
    _band(fig, axes, begins, ends)
    for (pair, (_, half, _)), colour, side in zip(pairs.items(), (COLOURS[0], COLOURS[4]), (-1, 1), strict=True):
        axes.plot(results["log_snr"], results["entropy"][results["partitions"].index(pair)], color=colour, linewidth=3)
        axes.plot(half, np.log(2.0) / 2.0, "o", color=colour, markersize=9)
        name = axes.text(half + 0.35 * side, 0.35, pair.replace("|", " or "), color=colour, fontsize=13, va="center")
        name.set(fontweight="bold", ha="left" if side > 0 else "right")
    noise_axis(axes, _FIRST, _LAST, sigma=False)
    axes.set(ylim=(0.0, 0.75), yticks=[0.0, 0.35, 0.7], xticks=_SHOWN)
    axes.set_xlabel("noise   →   log-snr   →   picture", fontsize=12)
    axes.set_ylabel("class entropy (nats)", fontsize=11)
    axes.tick_params(labelsize=12)
    _pictures(fig, axes)
    fig.text(_across(axes, (begins + ends) / 2.0), 0.985, "here it decides", fontsize=17, fontweight="bold", **_TOP)
    return fig


_TOP: dict[str, Any] = {"ha": "center", "va": "top"}


def _across(axes: Any, log_snr: float) -> float:
    """Where a level lies across the figure, from 0 to 1."""
    box = axes.get_position()
    return float(box.x0 + box.width * (log_snr - _FIRST) / (_LAST - _FIRST))


def _band(fig: Any, axes: Any, begins: float, ends: float) -> None:
    low = axes.get_position().y0
    ground = fig.add_axes(
        (_across(axes, begins), low, _across(axes, ends) - _across(axes, begins), 1.0 - low), zorder=-1
    )
    ground.set(xticks=[], yticks=[], facecolor="#F6E7C1")
    ground.spines[:].set_visible(False)


def _pictures(fig: Any, axes: Any) -> None:
    """Above its level each state, what the network expects, and the digit with the largest posterior."""
    width = _SIDE * fig.get_figheight() / fig.get_figwidth()
    for level, told in path():
        middle = _across(axes, level)
        for key, (low, _) in _ROWS.items():
            box = fig.add_axes((middle - width / 2, low, width, _SIDE))
            box.imshow(np.array([int(step, 16) for step in told[key]]).reshape(8, 8), cmap="gray")
            box.set_axis_off()
        share = np.array(told["posterior"]) / sum(told["posterior"])
        fig.text(middle, 0.535, f"{share.argmax()}: {share.max():.0%}", fontsize=12, **_TOP)
    for low, name in _ROWS.values():
        fig.text(0.03, low + _SIDE / 2, name, fontsize=11, rotation=90, ha="center", va="center")


if __name__ == "__main__":
    draw().savefig(FILE)
