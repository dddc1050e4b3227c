"""The style of the figures: scales of axes, bands, legends beside the curves, the numbers of a
picture in its file."""

import json
import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# pictures are files: they need no display, nor a notebook's backend, which may not be installed
os.environ["MPLBACKEND"] = "Agg"
import matplotlib
import numpy as np

matplotlib.use("Agg")  # it may have been imported before
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from utils.figures.looks import Look
from utils.records.files import replacing

SPREAD = 8.0  # ratio of the largest to the smallest number above which an axis is logarithmic

plt.rcParams.update(
    {
        "text.parse_math": False,  # names of users' folders and runs may have a $
        "font.size": 10,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
        "legend.frameon": False,
        "figure.dpi": 110,
        "savefig.dpi": 130,
    }
)


def figure(
    rows: int = 1, columns: int = 1, width: float = 7.5, height: float = 4.2, **more: Any
) -> tuple[Figure, Any]:
    """Return a figure and its axes, laid out so that nothing is cut off."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **more)


def unit_of(low: float, high: float) -> tuple[float, str]:
    """Return the unit of numbers from ``low`` to ``high``: its size and its name."""
    return (1e6, "millions") if math.sqrt(low * high) >= 1e6 else (1e3, "thousands")


def scale_x(
    axes: Axes, low: float, high: float, what: str, unit: tuple[float, str] | None = None
) -> None:
    """Set the x axis for numbers from ``low`` to ``high``, and label it with ``what`` and its unit.

    It is logarithmic if they are far apart. Without a ``unit``, its size and its name, numbers are
    counted in thousands or millions.
    """
    size, name = unit or unit_of(low, high)
    if high > SPREAD * low:
        plain_log(axes, "x", size)
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:g}"))
    axes.set_xlabel(f"{what} ({name})")


def plain_log(axes: Axes, which: str, unit: float = 1) -> None:
    """Make the axis ``which``, x or y, logarithmic, with plain numbers in ``unit`` at 1, 2 and
    5."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_minor_formatter("")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}"))


def band(
    axes: Axes,
    x: Sequence[float],
    values: Sequence[tuple[float, float, float]],
    look: Look,
    label: str,
) -> None:
    """Draw values (mean, lowest, highest) at each x: the means as a line with markers, the range as
    a band."""
    mean, low, high = zip(*values) if values else ((), (), ())

    axes.plot(
        x,
        mean,
        marker=look.marker,
        color=look.colour,
        linestyle=look.dash,
        label=label,
        markerfacecolor=look.colour if look.filled else "white",
    )
    axes.fill_between(
        x, low, high, color=look.colour, alpha=0.11 if look.filled else 0.06, linewidth=0
    )


def legend_below(
    fig: Figure, handles: Sequence[Any], labels: Sequence[str], longest: int = 44
) -> None:
    """Add a legend below the axes, where long labels have room, in two columns or in one.

    The figure grows with its lines.
    """
    columns = 2 if max(map(len, labels), default=0) <= longest else 1
    fig.legend(
        handles,
        [wrapped(label, 2 * longest) for label in labels],
        loc="outside lower center",
        ncols=columns,
    )
    width, height = fig.get_size_inches()
    fig.set_size_inches(width, height + 0.2 * max(0, -(-len(labels) // columns) - 4))


def wrapped(text: str, length: int = 80) -> str:
    """Return a title or label in lines of at most ``length`` letters; users' names may be long."""
    return "\n".join(textwrap.wrap(text, length)) or text


def key(line: Line2D) -> Line2D:
    """Return a line as a legend shows it where its markers differ in size."""
    return Line2D(
        [],
        [],
        color=line.get_color(),
        linewidth=line.get_linewidth(),
        linestyle=line.get_linestyle(),
        marker=line.get_marker(),
        markerfacecolor=line.get_markerfacecolor(),
        markersize=7,
    )


def counted(number: float) -> str:
    """Return a large number in words: 20 million, 50 thousand."""
    return next(
        (
            f"{number / size:g} {word}"
            for size, word in ((1e6, "million"), (1e3, "thousand"))
            if number >= size
        ),
        f"{number:g}",
    )


def round_numbers(largest: float) -> list[float]:
    """Return three round numbers up to ``largest``: about all, a third and a tenth of it."""

    def rounded(number: float) -> float:
        ten = 10.0 ** np.floor(np.log10(number))
        return float(ten * max(digit for digit in (1, 2, 5) if digit * ten <= number))

    return [rounded(largest / 10), rounded(largest / 3), rounded(largest)]


def heat_map(
    axes: Axes, widths: np.ndarray, title: str, highest: float
) -> matplotlib.image.AxesImage:
    """Draw widths (iterations, layers) as shades, with the numbers where they can be read."""
    image = axes.imshow(widths, aspect="auto", cmap="viridis", vmin=0, vmax=highest)
    axes.grid(False)
    axes.set(title=title, xlabel="layer", ylabel="iteration (--descent-idx + 1)")

    axes.set_xticks(
        range(widths.shape[1]), [str(layer) for layer in range(1, widths.shape[1] + 1)], fontsize=8
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda row, _: f"{row + 1:g}"))

    # dark numbers on light shades, and light ones on dark
    size = 8 if widths.shape[1] < 10 else 5.5
    for (row, column), width in np.ndenumerate(widths):
        axes.text(
            column,
            row,
            str(int(width)),
            ha="center",
            va="center",
            fontsize=size,
            color="black" if width > 0.6 * highest else "white",
        )
    return image


def numbers(fig: Figure) -> str:
    """Return the contents of a figure as JSON.

    For each of its axes these are the lines [label, x, y], the rows of images, and sizes of
    markers.
    """

    def plain(values: Any) -> list[Any]:
        return [
            plain(value) if np.ndim(value) else float(f"{value:.6g}")
            for value in np.asarray(values, float)
        ]

    def shown(axes: Axes) -> dict[str, Any]:
        marks = [
            part
            for part in axes.collections
            if isinstance(part, PathCollection) and len(np.asarray(part.get_offsets()))
        ]
        content = {
            "lines": [
                [line.get_label(), plain(line.get_xdata()), plain(line.get_ydata())]
                for line in axes.lines
            ],
            "images": [plain(image.get_array()) for image in axes.images],
        }
        return (
            {**content, "sizes": [plain(part.get_sizes()) for part in marks]} if marks else content
        )

    return json.dumps([shown(axes) for axes in fig.axes])


def save(fig: Figure, path: Path) -> None:
    """Write the figure as a PNG, whole or not at all, with its numbers as the text "Description".

    Prints its path.
    """
    with replacing(path) as temporary:
        fig.savefig(temporary, format="png", metadata={"Description": numbers(fig)})
    plt.close(fig)
    print(f"drew {path}")
