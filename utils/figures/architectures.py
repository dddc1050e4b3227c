"""The networks that a search found: their widths per iteration and size, as a table, as JSON and as
heat maps."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model import Shape, count_macs, count_params
from utils.records.method import Method
from utils.records.methods import is_own_search, methods_of, read_scalings, refuse_impossible
from utils.records.paths import named_after, shown_name
from utils.records.searches import SearchRecord, budget_of, floors_of, not_fitted
from utils.records.shapes import recorded, shape_in
from utils.records.sizes import sizes_asked
from utils.settings import (
    Folders,
    Limit,
    Size,
    Task,
    dataset_name,
    networks_preset,
    size_told,
)
from utils.settings.target import size_order, size_shown

MOST = 4  # heat maps in a picture


@dataclass(frozen=True)
class ArchitectureListing:
    """The networks of a search: the ``methods`` of its iterations, at several sizes."""

    model: str
    dataset: str
    name: str  # of the search
    record: SearchRecord
    shape: Shape
    methods: list[Method]
    sizes: tuple[Size, ...]

    @property
    def last(self) -> Method:
        """The method of the last iteration; those of all iterations have the same options."""
        return self.methods[-1]

    @property
    def options(self) -> str:
        """The options of scaling that are not the defaults, for titles."""
        method = self.last
        text = ", scaled to MACs" if method.budget == "macs" else ""
        text += f", widths multiples of {method.round_to}" if method.round_to != 1 else ""
        text += f", at least {method.min_width}" * (method.min_width > 0)
        return text + f", {' '.join(method.keep)} kept" * bool(method.keep)

    def rows(self) -> list[tuple[Size, dict[str, Any]]]:
        """Return a row for each size and iteration, with widths and costs."""
        return [
            (size, self.row(size, iteration, method))
            for size in self.sizes
            for iteration, method in enumerate(self.methods)
        ]

    def row(self, size: Size, iteration: int, method: Method) -> dict[str, Any]:
        """Return the row of one network."""
        filters = method.filters(size, **self.shape)
        return {
            "ratio": method.ratio(size, **self.shape),
            **({"target": str(size.target)} if isinstance(size, Limit) else {}),
            "iteration": iteration,
            "filters": filters,
            "params": count_params(self.model, filters, **self.shape),
            "macs": count_macs(self.model, filters, **self.shape),
        }


def list_architectures(task: Task, name: str, given: Mapping[str, Any], folders: Folders) -> None:
    """Print the networks of the search ``name``, and draw their widths if ``given`` says so.

    Raises UserError.
    """
    listing = listing_of(task, name, given, folders)
    aside = sys.stderr if given["json"] else sys.stdout  # what is no JSON
    if line := listing.last.other_size(listing.shape["image_size"]):
        print(line, file=aside)

    rows = listing.rows()
    if given["json"]:
        print_json(listing, rows)
    else:
        print_table(listing, rows)
        if listing.last.round_to != 1:
            print_rounding(listing, rows)
    if reason := not_fitted(listing.record):
        print(f"{name}: {reason}", file=aside)

    if given["plot"]:
        folder = named_after(folders.plot_dir, listing.model)
        out = Path(given["out"] or folder / f"{listing.dataset}_{name}_architectures.png")
        with redirect_stdout(aside):
            draw_widths(listing, rows, out)


def listing_of(
    task: Task, name: str, given: Mapping[str, Any], folders: Folders
) -> ArchitectureListing:
    """Return the networks of the search ``name`` with the options that were ``given``, or else
    those of the search. Raises UserError."""
    model, dataset = task.model, dataset_name(task.dataset)
    record = read_scalings(folders.record_dir, name, model, dataset)
    shape = shape_in(record)
    # a user's folder may have the name of a published data set
    if not is_own_search(record) and Path(task.dataset).is_dir():
        from utils.data import shape_of

        shape = shape_of(task.dataset)
    shape["image_size"] = given.get("image_size", shape["image_size"])

    budget = given.get("budget") or budget_of(record)
    searched_width, searched_keep = floors_of(record)
    min_width, keep = given.get("min_width", searched_width), given.get("keep", searched_keep)
    sizes = sizes_asked(networks_preset(task.dataset).with_overrides(given), budget)
    refuse_impossible(
        model,
        task.dataset,
        *sizes,
        image_size=shape["image_size"],
        channels=shape.get("channels"),
        keep=keep,
    )
    methods = methods_of(
        folders.record_dir,
        name,
        record,
        model,
        budget=budget,
        round_to=given.get("round_to", 1),
        min_width=min_width,
        keep=keep,
    )
    return ArchitectureListing(model, dataset, name, record, shape, methods, sizes)


def print_json(listing: ArchitectureListing, rows: list[tuple[Size, dict[str, Any]]]) -> None:
    """Print the networks as JSON, with the options they were made with."""
    method = listing.last
    about = {
        "model": listing.model,
        "dataset": listing.dataset,
        **recorded(listing.shape),
        "budget": method.budget,
        "round_to": method.round_to,
        "min_width": method.min_width,
        "keep": list(method.keep),
    }
    print(json.dumps({**about, "architectures": [row for _, row in rows]}, indent=1))


def print_table(listing: ArchitectureListing, rows: list[tuple[Size, dict[str, Any]]]) -> None:
    """Print a line for each network."""
    print(
        f"{listing.model} on {listing.dataset}, {listing.name}: filters per layer{listing.options}"
    )
    width = max(6, *(len(size_shown(size)) for size in listing.sizes))
    targets = any(isinstance(size, Limit) for size in listing.sizes)
    print(
        f"{'target' if targets else 'ratio':>{width}} {'iteration':>9} "
        f"{'--descent-idx':>13} {'parameters':>11} {'MMACs':>8}  filters"
    )
    for size, row in rows:
        index = "-" if listing.last.law is None else row["iteration"]
        print(
            f"{size_shown(size):>{width}} {row['iteration'] + 1:9} {index:>13} "
            f"{row['params']:11,} {row['macs'] / 1e6:8.1f}  {' '.join(map(str, row['filters']))}"
        )


def print_rounding(listing: ArchitectureListing, rows: list[tuple[Size, dict[str, Any]]]) -> None:
    """Print the costs and gains of rounded widths, for the last iteration at each size."""
    from utils.training.device import Runner, pick_device
    from utils.training.latency import rounding_told

    runner, method = Runner(pick_device("auto")), listing.last
    for size, row in dict(rows).items():
        network: Any = {**row, **recorded(listing.shape), "budget": method.budget}
        line = rounding_told(method, network, runner)
        print(f"{size_told(size)}, {method.name}, {line}", flush=True)


def draw_widths(
    listing: ArchitectureListing, rows: list[tuple[Size, dict[str, Any]]], out: Path
) -> None:
    """Draw a heat map of the widths for each of up to four sizes, with a scale of its own."""
    import numpy as np

    from utils.figures import style

    # the smallest and the largest size, and evenly chosen ones between
    sizes = sorted({size for size, _ in rows}, key=size_order)
    if len(sizes) > MOST:
        sizes = [sizes[round(i * (len(sizes) - 1) / (MOST - 1))] for i in range(MOST)]

    layers = len(rows[0][1]["filters"])
    fig, axes = style.figure(
        len(sizes), 1, width=4.2 + 0.33 * layers, height=0.6 + 2.9 * len(sizes), squeeze=False
    )
    for shown, ax in zip(sizes, axes[:, 0]):
        widths = np.array([row["filters"] for size, row in rows if size == shown])
        image = style.heat_map(ax, widths, size_told(shown), widths.max())
        fig.colorbar(image, ax=ax, label="filters", pad=0.01)

    title = (
        f"{shown_name(listing.model)} on {listing.dataset}: filters per layer over the descent "
        f"({listing.name}{listing.options})"
    )
    fig.suptitle(style.wrapped(title, 45 + 3 * layers))
    style.save(fig, out)
