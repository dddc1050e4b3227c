"""The picture of a search: the filters left in each layer against the network's size, and the power
laws fitted to them."""

from pathlib import Path

import numpy as np

from model import BUDGETS
from utils.figures import style
from utils.figures.looks import DASHES, MARKERS, METHODS, SEARCHED
from utils.powerlaw import FITTED
from utils.records.files import read_rows
from utils.records.paths import named_after, search_record, search_rows, shown_name
from utils.records.searches import (
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
TOGETHER, PANELS = 8, 8  # most layers in one panel, most panels below each other
COLOURS = [colour for colour, *_ in (*METHODS.values(), *SEARCHED.values())][:TOGETHER]


def panels_of(layers: int) -> list[list[int]]:
    """The layers, counted from 0, that each panel shows, in order; of very many, evenly chosen
    ones."""
    shown = min(layers, TOGETHER * PANELS)
    chosen = [round(number) for number in np.linspace(0, layers - 1, shown)]
    return [part.tolist() for part in np.array_split(chosen, -(-shown // TOGETHER))]


def draw_residual_filters(task: Task, name: str, folders: Folders) -> None:
    """Draws the first and the last iteration of the search ``name`` beside each other, some layers
    in each panel.

    Raises UserError for a record that is not there, damaged, or of another network.
    """
    model, dataset = task.model, dataset_name(task.dataset)
    record = read_search(folders.record_dir, name, model, dataset)
    refuse_changed_network(search_record(folders.record_dir, name), record, model)
    iterations = sorted({0, len(record["iterations"]) - 1})
    law_of(record, 0)
    layers, budget = len(record["iterations"][0]["filters"]), budget_of(record)

    networks = {
        iteration: np.array(
            read_rows(
                search_rows(folders.record_dir, name, iteration),
                layers,
                record["iterations"][iteration]["rounds"],
            ),
            float,
        )
        for iteration in iterations
    }
    sizes_of = {
        iteration: BUDGETS[budget](model, rows.T, **shape_in(record))
        for iteration, rows in networks.items()
    }
    unit = style.unit_of(
        min(sizes.min() for sizes in sizes_of.values()),
        max(sizes.max() for sizes in sizes_of.values()),
    )

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
        taus = np.geomspace(sizes.min(), sizes.max(), 100)
        fitted = law.widths(taus)

        for panel, ax in zip(panels, column):
            for index, layer in enumerate(panel):
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
        style.scale_x(column[-1], sizes.min(), sizes.max(), f"{UNITS[budget]} of the network", unit)
        morph = record["settings"].get("morph", False)
        column[0].set_title(
            iteration_told(iteration, morph) + ", no law fitted" * (law.fit != FITTED and not morph)
        )

    if told := not_fitted(record, iterations):
        print(f"{name}: {told}")
    for row in axes:
        row[0].set_ylabel("filters left in the layer")
        # beside the axes: it covers no curve
        row[-1].legend(title="layer", loc="center left", bbox_to_anchor=(1.01, 0.5))
    fig.suptitle(
        style.wrapped(
            f"{shown_name(model)} on {dataset}, {name}: residual filters, power laws dashed",
            48 * len(iterations),
        )
    )
    style.save(
        fig, Path(named_after(folders.plot_dir, model)) / f"{dataset}_{name}_residual_filters.png"
    )
