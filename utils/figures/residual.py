"""The picture of a search: the filters left in each layer against the network's size, and the power
laws fitted to them."""

from pathlib import Path
from typing import Any

import numpy as np

from model import BUDGETS
from utils.figures import style
from utils.figures.looks import DASHES, MARKERS, METHODS, SEARCHED
from utils.powerlaw import FITTED, PowerLaw
from utils.records.files import read_rows
from utils.records.paths import named_after, search_record, search_rows, shown_name
from utils.records.searches import (
    SearchRecord,
    budget_of,
    iteration_told,
    law_of,
    not_fitted,
    read_search,
    refuse_changed_network,
)
from utils.records.shapes import shape_in
from utils.settings import Folders, Task, dataset_name

UNITS = {"params": "parameters", "macs": "multiply-accumulates"}
TOGETHER, PANELS = 8, 8  # the most layers in a panel, and panels below each other
COLOURS = [colour for colour, *_ in (*METHODS.values(), *SEARCHED.values())][:TOGETHER]


def panels_of(layers: int) -> list[list[int]]:
    """Return the layers, counted from 0, of each panel, in order; evenly chosen ones if there are
    many."""
    shown = min(layers, TOGETHER * PANELS)
    chosen = [round(number) for number in np.linspace(0, layers - 1, shown)]
    return [part.tolist() for part in np.array_split(chosen, -(-shown // TOGETHER))]


def draw_residual_filters(task: Task, name: str, folders: Folders, out: Path | None = None) -> None:
    """Draw the first and the last iteration of the search ``name`` beside each other, with some
    layers in each panel, as the PNG ``out``.

    Raises UserError for a record that is not there, damaged, or of another network.
    """
    model, dataset = task.model, dataset_name(task.dataset)
    record = read_search(folders.record_dir, name, model, dataset)
    refuse_changed_network(search_record(folders.record_dir, name), record, model)
    iterations = sorted({0, len(record["iterations"]) - 1})
    law_of(record, 0)
    layers, budget = len(record["iterations"][0]["filters"]), budget_of(record)

    # the recorded rows, and the size of the network at each
    networks = {
        iteration: rows_of(folders.record_dir, name, iteration, record) for iteration in iterations
    }
    sizes_of = {
        iteration: BUDGETS[budget](model, rows.T, **shape_in(record))
        for iteration, rows in networks.items()
    }
    unit = style.unit_of(
        min(sizes.min() for sizes in sizes_of.values()),
        max(sizes.max() for sizes in sizes_of.values()),
    )

    # a column for each iteration
    panels = panels_of(layers)
    fig, axes = style.figure(
        len(panels),
        len(iterations),
        width=1.6 + 4.6 * len(iterations),
        height=1.6 + 3.4 * len(panels),
        sharex="col",
        sharey="row",
        squeeze=False,
    )
    for iteration, column in zip(iterations, axes.T):
        rows, sizes, law = networks[iteration], sizes_of[iteration], law_of(record, iteration)
        for panel, ax in zip(panels, column):
            draw_panel(ax, panel, rows, sizes, law)
        style.scale_x(column[-1], sizes.min(), sizes.max(), f"{UNITS[budget]} of the network", unit)
        morph = record["settings"].get("morph", False)
        column[0].set_title(
            iteration_told(iteration, morph) + ", no law fitted" * (law.fit != FITTED and not morph)
        )
    if reason := not_fitted(record, iterations):
        print(f"{name}: {reason}")

    title = f"{shown_name(model)} on {dataset}, {name}: residual filters, power laws dashed"
    add_labels(fig, axes, style.wrapped(title, 48 * len(iterations)))
    usual = named_after(folders.plot_dir, model) / f"{dataset}_{name}_residual_filters.png"
    style.save(fig, out or usual)


def rows_of(record_dir: str, name: str, iteration: int, record: SearchRecord) -> np.ndarray:
    """Return the recorded widths of an iteration, (rounds, layers). Raises UserError."""
    entry = record["iterations"][iteration]
    path = search_rows(record_dir, name, iteration)
    return np.array(read_rows(path, len(entry["filters"]), entry["rounds"]), float)


def draw_panel(
    ax: Any, layers: list[int], rows: np.ndarray, sizes: np.ndarray, law: PowerLaw
) -> None:
    """Draw the filters left in these layers, and their power law, against the network's size."""
    taus = np.geomspace(sizes.min(), sizes.max(), 100)
    fitted = law.widths(taus)

    # marks at different rows, so that they don't cover each other
    for index, layer in enumerate(layers):
        every = max(1, len(rows) // 12)
        ax.plot(
            sizes,
            rows[:, layer],
            color=COLOURS[index],
            marker=MARKERS[index],
            markevery=(index % every, every),
            linewidth=1.2,
            markersize=4.5,
            label=str(layer + 1),
        )
        ax.plot(taus, fitted[:, layer], DASHES[1], color=COLOURS[index], linewidth=1)
    style.plain_log(ax, "y")


def add_labels(fig: Any, axes: Any, title: str) -> None:
    """Label the axes, and add a legend for each row of panels."""
    for row in axes:
        row[0].set_ylabel("filters left in the layer")
        # beside the axes: it covers no curve
        row[-1].legend(title="layer", loc="center left", bbox_to_anchor=(1.01, 0.5))
    fig.suptitle(title)
