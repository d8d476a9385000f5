"""The one plot style of the book, and the two axes that every figure of a profile shares.

A figure's title states what it shows, every axis has its unit, and none opens a window: a notebook shows it, `savefig`
writes it. The panel is white in light and dark pages alike, and colours are told apart by colour-blind readers.
"""

import math
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from companion.errors import InputError
from companion.estimate.result import Profile
from companion.exact.mixtures import GaussianMixture
from companion.files import written_whole
from companion.forward import noise_of, ornstein_uhlenbeck

__all__ = ["COLOURS", "STYLE", "TRUTH", "draw_certificate", "draw_paths", "figure", "noise_axis", "plot"]
__all__ += ["plot_with_error", "save_plot"]

# Okabe and Ito (2008), ordered so that neighbours differ in lightness too; yellow is left out, it is lost on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
TRUTH = "#000000"  # exact curves are black, estimates are coloured

STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 160,
    **dict.fromkeys(("figure.facecolor", "savefig.facecolor", "axes.facecolor"), "white"),
    "axes.prop_cycle": cycler(color=COLOURS),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    **dict.fromkeys(("axes.labelsize", "font.size"), 9.5),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8.5),
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same figure on every machine
    "lines.linewidth": 1.6,
    "svg.hashsalt": "companion",
}

_WIDTH, _LONGEST_SIDE = 38, 60  # letters of a title that one of two panels holds in a line, and of a side of it


def figure(
    rows: int = 1, columns: int = 1, width: float = 7.2, height: float = 2.9, **layout: Any
) -> tuple[Figure, Any]:
    """A figure in the book's style and its axes, as `matplotlib.pyplot.subplots` returns them.

    `width` and `height` are in inches, the height of one row; `layout` goes to `subplots` (sharex, gridspec_kw, ...).

    >>> fig, (left, right) = figure(1, 2)
    """
    import matplotlib.pyplot as plt  # here, so that reading the style never chooses a backend

    mpl.rcParams.update(STYLE)
    fig, axes = plt.subplots(rows, columns, figsize=(width, height * rows), **layout)
    return fig, axes


def noise_axis(axes: Axes, first: float | None = None, last: float | None = None, sigma: bool = True) -> None:
    """Labels the x axis as log-snr, from noise on the left to data on the right, with sigma along the top.

        sigma = exp(-log_snr / 2),    the noise of the variance-exploding frame

    Call it after plotting; `first` and `last` set the limits. `sigma=False` leaves the top axis out, for a panel with
    a long title.

    >>> fig, axes = figure()
    >>> noise_axis(axes, -4.0, 4.0)
    """
    low, high = axes.set_xlim(first, last)
    axes.set_xlabel("log-snr (noise → data)")
    if sigma:
        top = axes.secondary_xaxis("top")
        shown = [level for level in 10.0 ** np.arange(-4.0, 5.0) if noise_of(high) <= level <= noise_of(low)]
        top.set_xticks([-2.0 * np.log(level) for level in shown], [f"{level:g}" for level in shown])
        top.set_xlabel("noise level σ")


def draw_paths(axes: Axes, mixture: GaussianMixture, log_snr: ArrayLike, paths: ArrayLike, colours: list[str]) -> None:
    """Trajectories on the density of a one-dimensional mixture, from noise to data, in the variance-preserving frame.

    `paths` (levels, count) are states of the variance-exploding frame at increasing `log_snr` (levels,), each path in
    its colour. At every level the density is scaled to the same height, or points would outshine everything.

    >>> from companion.exact.mixtures import isotropic_mixture
    >>> fig, axes = figure()
    >>> draw_paths(axes, isotropic_mixture([[-1.0], [1.0]], 0.0), [-1.0, 1.0], [[0.5], [1.0]], [COLOURS[0]])
    """
    if mixture.shape != (1,):
        raise InputError("mixture", f"of shape {mixture.shape}", "a one-dimensional mixture")
    process, levels = ornstein_uhlenbeck(), np.asarray(log_snr, dtype=np.float64)
    preserved = process.alpha(process.time(levels))[:, None] * np.asarray(paths, dtype=np.float64)
    reach, first, last = 1.1 * float(np.abs(preserved).max()), float(levels[0]), float(levels[-1])
    columns, x = np.linspace(first, last, 400), np.linspace(-reach, reach, 400)
    at, sigma = x[:, None] / process.alpha(process.time(columns)), torch.from_numpy(noise_of(columns))
    values = mixture.log_density(torch.from_numpy(at.reshape(-1, 1)), sigma.repeat(len(x))).numpy().reshape(at.shape)
    shown: dict[str, Any] = {"vmin": 0.0, "vmax": 1.6, "cmap": "Greys"}  # black is kept for the curves
    shown |= {"origin": "lower", "aspect": "auto", "interpolation": "bilinear"}
    axes.imshow(np.exp(values - values.max(axis=0)), extent=(first, last, -reach, reach), **shown)
    for path, colour in zip(preserved.T, colours, strict=True):
        axes.plot(levels, path, color=colour, linewidth=0.8)
    axes.set(ylim=(-reach, reach), ylabel="state α x (data units)")


def plot_with_error(axes: Axes, x: ArrayLike, y: ArrayLike, error: ArrayLike, color: str, label: str) -> None:
    """A curve with a band of two standard errors on either side.

    >>> fig, axes = figure()
    >>> plot_with_error(axes, [0.0, 1.0], [0.5, 0.1], [0.01, 0.01], COLOURS[0], "estimate")
    """
    middle, half = np.asarray(y, dtype=np.float64), 2.0 * np.asarray(error, dtype=np.float64)
    axes.plot(x, middle, color=color, label=label)
    axes.fill_between(x, middle - half, middle + half, color=color, alpha=0.25, linewidth=0.0)


def plot(*profiles: Profile, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
    """Profiles on two panels: entropy with its bands, floor and half-entropy level, and production with its window.

    The entropy has two 95% bands, dark at each level by itself and light at all levels at once; the production's is two
    standard errors on either side. On guided paths it is the cross entropy that is drawn and named. `axes` are two axes
    of one figure, a new one without them; both are returned.

    >>> from companion.estimate.run import profile
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> line = isotropic_mixture([[-1.0], [1.0], [3.0]], 0.0)
    >>> left, right = plot(*(profile(line, pair, samples=50) for pair in ("0|1", "0|2")))
    >>> left.get_ylabel(), [text.get_text() for text in left.get_legend().get_texts()]
    ('class entropy (nats)', ['0|1', '0|2'])
    """
    if not profiles:
        raise InputError("profiles", profiles, "at least one profile")
    left, right = figure(1, 2)[1] if axes is None else axes
    alone = len(profiles) == 1
    for row, each in enumerate(profiles):
        color, name = COLOURS[row % len(COLOURS)], _title(each.asked)
        left.plot(each.log_snr, each.entropy, color=color, label=None if alone else name)
        for simultaneous, opacity in ((True, 0.15), (False, 0.25)):
            left.fill_between(each.log_snr, *each.band(simultaneous), color=color, alpha=opacity, linewidth=0.0)
        plot_with_error(right, each.log_snr, each.production, each.production_se, color, name)
        if each.floor > 0.0:
            said = f"floor {each.floor:.4f}" if alone else None
            left.axhline(each.floor, color=TRUTH if alone else color, linestyle=":", linewidth=1.0, label=said)
        first, last = (edge.value for edge in each.window)
        if alone and first is not None and last is not None:
            right.axvspan(first, last, color=color, alpha=0.08, linewidth=0.0)
    if not alone or profiles[0].floor > 0.0:
        left.legend()
    half = _ends(each.half_entropy.value for each in profiles)
    quantities = " and ".join(sorted({each.quantity for each in profiles}))
    decided = "cross entropy halved" if quantities == "cross entropy" else "half decided"
    said = f"{decided} {half}" if half else f"{decided}: not reached"
    left.set_title(_title(profiles[0].asked, f": {said}") if alone and half else _title(said))
    if window := _ends(edge.value for each in profiles for edge in each.window):
        right.set_title(f"decided {window}")
    negative = any(each.production.min() < 0.0 for each in profiles)  # as a cross entropy's may be
    for panel, label in ((left, f"{quantities} (nats)"), (right, "production (nats per unit log-snr)")):
        panel.set_ylabel(label)
        if panel is left or not negative:
            panel.set_ylim(bottom=0.0)
        noise_axis(panel, sigma=False)
    return left, right


def _ends(levels: Iterable[float | None]) -> str:
    """Where levels lie, in words; none where one of them is not known."""
    known = [math.nan if level is None else level for level in levels]
    least, most = f"{np.min(known):.2f}", f"{np.max(known):.2f}"
    return "" if least == "nan" else f"at {least}" if least == most else f"between {least} and {most}"


def _title(asked: str, said: str = "") -> str:
    """A partition and what is said of it, in lines that one panel holds; prompts are cut, and nothing is a formula."""
    sides = [side if len(side) <= _LONGEST_SIDE else side[: _LONGEST_SIDE - 1] + "…" for side in asked.split("|")]
    name = "|".join(sides[:2]) + ("|…" if len(sides) > 2 else "")
    lines = "\n".join(textwrap.wrap(name + said, _WIDTH)).replace("$", r"\$")
    return f" {lines}" if lines.startswith("_") else lines  # matplotlib leaves such a name out of a legend


def save_plot(path: Path | str, *profiles: Profile) -> None:
    """Writes the picture of profiles, whole or not at all, whatever settings and backend matplotlib was left with.

    A character that the font lacks is drawn as a box. Raises OSError where no file can be written.

    >>> import tempfile
    >>> from companion.estimate.run import profile
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_plot(Path(folder) / "0.png", profile(isotropic_mixture([[-1.0], [1.0]], 0.0), "0|1", samples=50))
    """
    with mpl.rc_context(), warnings.catch_warnings(), written_whole(Path(path)) as unfinished:
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        fig = Figure(figsize=(7.2, 2.9))
        plot(*profiles, axes=fig.subplots(1, 2))
        fig.savefig(unfinished)


def draw_certificate(axes: Axes, profile: Profile) -> None:
    """What a profile can vouch for: each line of its certificate, two errors to the right, against its limit.

    Values are in units of their limit, on a logarithmic scale; beyond the dotted line by more than two errors a check
    fails. A filled circle holds, a cross fails, an open circle cannot tell; a line without a mark was not measured.

    >>> from companion.estimate.run import profile
    >>> from companion.exact.mixtures import isotropic_mixture
    >>> fig, axes = figure()
    >>> draw_certificate(axes, profile(isotropic_mixture([[-1.0], [1.0]], 0.0), "0|1", samples=50))
    >>> axes.get_yticklabels()[0].get_text()
    'truncation'
    """
    checks, (least, most) = profile.certificate.checks, (0.008, 80.0)
    marks = {"holds": ("o", COLOURS[0], COLOURS[0]), "fails": ("X", COLOURS[4], COLOURS[4])}
    for row, check in enumerate(checks):
        colour, said = "0.55", check.verdict
        if check.value is not None and check.error is not None:
            marker, colour, filled = marks.get(said, ("o", "0.3", "white"))
            value, end = check.value / check.limit, (check.value + 2.0 * check.error) / check.limit
            ends = np.clip([value, end], least * 1.1, most * 0.9)
            axes.plot(ends, [row, row], color=colour, linewidth=1.4)
            axes.plot(ends[0], row, marker, color=colour, markerfacecolor=filled, markersize=6, clip_on=False)
            said += f": {check.value:.4f}" + (f" ± {2.0 * check.error:.4f}" if check.error > 0.0 else "")
        axes.text(most * 1.5, row, said, color=colour, va="center", fontsize=8.0, clip_on=False)
    axes.axvline(1.0, color=TRUTH, linestyle=":", linewidth=1.0)
    axes.set(xscale="log", xlim=(least, most), ylim=(len(checks) - 0.5, -0.5), xlabel="times the limit")
    axes.set_xticks([0.01, 0.1, 1.0, 10.0], ["0.01", "0.1", "limit", "10"])
    axes.minorticks_off()
    axes.set_yticks(range(len(checks)), [check.name for check in checks])
    axes.tick_params(axis="y", length=0)
