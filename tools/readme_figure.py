"""Draws the figure of the README, book/three_decisions.png, from shipped results: `python -m tools.readme_figure`."""

import numpy as np

from companion.figures import COLOURS, figure, noise_axis, plot_with_error
from derivations.kit.measured import read
from tools.book import ROOT

PAIRS = ("0|1", "4|9", "3|8")


def main() -> None:
    results = read("kit/digits_profiles")
    fig, axes = figure(1, 1, width=7.2, height=3.2)
    levels = []
    for pair, color in zip(PAIRS, COLOURS, strict=False):
        row = list(results["partitions"]).index(pair)
        half = float(results["half_entropy"][row][0])
        levels.append(half)
        label = f"{pair.replace('|', ' or ')}: half decided at {half:.1f}"
        plot_with_error(axes, results["log_snr"], results["entropy"][row], results["entropy_se"][row], color, label)
        axes.plot(half, np.log(2.0) / 2.0, "o", color=color)
    axes.set_title("A diffusion model of digits settles 0 or 1 at more noise than 3 or 8")
    axes.set(ylabel="class entropy (nats)", ylim=(0.0, 0.75))
    axes.legend()
    noise_axis(axes, -8.0, 6.0)
    fig.savefig(ROOT / "book" / "three_decisions.png")


if __name__ == "__main__":
    main()
