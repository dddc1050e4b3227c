"""The look of the figures: one style, markers that differ in greyscale too, legends beside the curves."""
from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display needed
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from utils.records import replacing

MARKERS = "osD^vP*X<>hd"
DASHES = ["-", "--", "-.", ":"]
# Okabe & Ito's colours, which stay apart for colour-blind readers; their lightness differs too.
COLOURS = ["#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F"]

plt.rcParams.update({
    "font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
    "lines.linewidth": 1.6, "lines.markersize": 5, "legend.frameon": False, "figure.dpi": 110, "savefig.dpi": 130})


def figure(rows: int = 1, columns: int = 1, width: float = 7.5, height: float = 4.2, **more):
    """A figure and its axes, laid out so that nothing is cut off."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **more)


def legend_beside(axes: Axes, **more) -> None:
    """The legend to the right of the axes, where it covers no curve."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), **more)


def legend_below(fig: Figure, axes: Axes) -> None:
    """The legend of ``axes`` under the whole figure, in two columns, for labels too long to stand beside it."""
    fig.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def millions(axes: Axes) -> None:
    """The x axis, linear, in millions."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g}"))


def plain_log_x(axes: Axes) -> None:
    """The x axis, logarithmic, labelled with plain numbers in millions at 1, 2, 5."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter("")
    millions(axes)


def band(axes: Axes, x, values: list[list[float]], index: int, label: str) -> None:
    """The mean of each point's values as a line with markers, their range from least to most as a band."""
    colour = COLOURS[index % len(COLOURS)]
    axes.plot(x, [np.mean(v) for v in values], marker=MARKERS[index % len(MARKERS)], color=colour,
              linestyle=DASHES[index % len(DASHES)], label=label)
    axes.fill_between(x, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.15, linewidth=0)


def heat_map(axes: Axes, widths: np.ndarray, title: str, highest: float) -> matplotlib.image.AxesImage:
    """Widths (iterations, layers) as shades, with the numbers written in where they can be read."""
    image = axes.imshow(widths, aspect="auto", cmap="viridis", vmin=0, vmax=highest)
    axes.grid(False)
    axes.set(title=title, xlabel="layer", ylabel="descent iteration")
    axes.set_xticks(range(widths.shape[1]), range(1, widths.shape[1] + 1), fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    size = 8 if widths.shape[1] < 10 else 5.5
    for (row, column), width in np.ndenumerate(widths):
        axes.text(column, row, str(int(width)), ha="center", va="center", fontsize=size,
                  color="black" if width > 0.6 * highest else "white")
    return image


def save(fig: Figure, path: Path) -> None:
    """Writes the figure as a PNG, whole or not at all, and says where."""
    with replacing(path) as temporary:
        fig.savefig(temporary, format="png")
    plt.close(fig)
    print(f"drew {path}")
