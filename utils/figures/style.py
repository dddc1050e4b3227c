"""The look of the figures: one style, markers that differ in greyscale too, legends beside the curves."""
import json
import os
from pathlib import Path
from typing import Any

os.environ["MPLBACKEND"] = "Agg"  # pictures are files: no display is needed, nor a notebook's own backend, which may not be installed
import matplotlib
import numpy as np

matplotlib.use("Agg")  # where it was imported before
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from utils.records.files import replacing

MARKERS = "osD^vP*X<>hd"
DASHES = ["-", "--", "-.", ":"]
# Okabe & Ito's colours, which stay apart for colour-blind readers; their lightness differs too.
COLOURS = ["#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F"]

plt.rcParams.update({
    "text.parse_math": False,  # names of users' folders and runs may have a $
    "font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
    "lines.linewidth": 1.6, "lines.markersize": 5, "legend.frameon": False, "figure.dpi": 110, "savefig.dpi": 130})


def figure(rows: int = 1, columns: int = 1, width: float = 7.5, height: float = 4.2, **more: Any) -> tuple[Figure, Any]:
    """A figure and its axes, laid out so that nothing is cut off."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **more)


def millions(axes: Axes) -> None:
    """The x axis, linear, in millions."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g}"))


def plain_log(axes: Axes, which: str, unit: float = 1) -> None:
    """The axis ``which``, x or y, logarithmic, labelled with plain numbers of ``unit`` at 1, 2, 5."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_minor_formatter("")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}"))


def band(axes: Axes, x: list[float], values: list[tuple[float, float, float]], index: int, label: str) -> None:
    """Values (mean, lowest, highest) at each x: the means as a line with markers, the range as a band."""
    colour, marker = look(index)
    mean, low, high = zip(*values) if values else ((), (), ())
    dash = DASHES[(index + index // len(COLOURS)) % len(DASHES)]  # the ninth curve is black again, but dashed
    axes.plot(x, mean, marker=marker, color=colour, linestyle=dash, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def look(index: int) -> tuple[str, str]:
    """Colour and marker of a curve."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def key(line: Line2D) -> Line2D:
    """A line as a legend shows it where its markers differ in size."""
    return Line2D([], [], color=line.get_color(), linewidth=line.get_linewidth(), marker=line.get_marker(), markersize=7)


def round_numbers(largest: float) -> list[float]:
    """Three round numbers up to ``largest``: about all, a third and a tenth of it."""
    def rounded(number: float) -> float:
        ten = 10.0 ** np.floor(np.log10(number))
        return float(ten * max(digit for digit in (1, 2, 5) if digit * ten <= number))

    return [rounded(largest / 10), rounded(largest / 3), rounded(largest)]


def heat_map(axes: Axes, widths: np.ndarray, title: str, highest: float) -> matplotlib.image.AxesImage:
    """Widths (iterations, layers) as shades, with the numbers written in where they can be read."""
    image = axes.imshow(widths, aspect="auto", cmap="viridis", vmin=0, vmax=highest)
    axes.grid(False)
    axes.set(title=title, xlabel="layer", ylabel="iteration (--descent-idx + 1)")
    axes.set_xticks(range(widths.shape[1]), [str(layer) for layer in range(1, widths.shape[1] + 1)], fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda row, _: f"{row + 1:g}"))
    size = 8 if widths.shape[1] < 10 else 5.5
    for (row, column), width in np.ndenumerate(widths):
        axes.text(column, row, str(int(width)), ha="center", va="center", fontsize=size,
                  color="black" if width > 0.6 * highest else "white")
    return image


def numbers(fig: Figure) -> str:
    """What a figure shows, as JSON: of each of its axes, the lines [label, x, y], the rows of the images, and the sizes of markers."""
    def plain(values: Any) -> list[Any]:
        return [plain(value) if np.ndim(value) else float(f"{value:.6g}") for value in np.asarray(values, float)]

    def shown(axes: Axes) -> dict[str, Any]:
        marks = [part for part in axes.collections if isinstance(part, PathCollection) and len(np.asarray(part.get_offsets()))]
        content = {"lines": [[line.get_label(), plain(line.get_xdata()), plain(line.get_ydata())] for line in axes.lines],
                   "images": [plain(image.get_array()) for image in axes.images]}
        return {**content, "sizes": [plain(part.get_sizes()) for part in marks]} if marks else content

    return json.dumps([shown(axes) for axes in fig.axes])


def save(fig: Figure, path: Path) -> None:
    """Writes the figure as a PNG, whole or not at all, with its numbers as the text "Description"; says where."""
    with replacing(path) as temporary:
        fig.savefig(temporary, format="png", metadata={"Description": numbers(fig)})
    plt.close(fig)
    print(f"drew {path}")
