"""Lists the widths that a search found: per iteration and ratio or target, with parameters and
multiply-accumulates (MACs)."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from utils.script import run
from utils.settings import (
    Folders,
    Limit,
    NetworkShape,
    Size,
    Task,
    dataset_name,
    networks_preset,
    size_told,
)
from utils.settings.parser import Parser
from utils.settings.target import size_order, size_shown

SCALED = ["budget", "round_to", "min_width", "keep"]


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "--prune-fname",
        "the search's --save name, or 'published' for the paper's",
        required=True,
        metavar="NAME",
    )
    p.add_fields(networks_preset("CIFAR10"), only=["ratios", "target", *SCALED])
    p.add(
        "--json",
        "print JSON instead of a table; iterations are counted from 0 there",
        action="store_true",
    )
    p.add("--plot", "draw heat maps of the widths over the iterations", action="store_true")
    p.add(
        "--out",
        "the PNG to write (default: <plot-dir>/<model>/<dataset>_<name>_architectures.png)",
        metavar="FILE",
    )
    p.add_fields(
        NetworkShape(),
        only=["image_size"],
        image_size="pixels of a side of the images, or of both, height x width (default: as the "
        "search had them)",
    )
    given, task, folders = p.settled(Task(), Folders())

    from model import count_macs, count_params
    from utils.records.methods import is_own, methods_of, read_scalings, refuse_impossible
    from utils.records.paths import named_after, shown_name
    from utils.records.searches import budget_of, floors_of, not_fitted
    from utils.records.shapes import recorded, shape_in
    from utils.records.sizes import sizes_asked

    model, dataset, name = task.model, dataset_name(task.dataset), given["prune_fname"]
    record = read_scalings(folders.record_dir, name, model, dataset)
    shape = shape_in(record)
    # what was published says nothing of a folder that is called alike
    if not is_own(record) and Path(task.dataset).is_dir():
        from utils.data import shape_of

        shape = shape_of(task.dataset)
    shape["image_size"] = given.get("image_size", shape["image_size"])
    budget = given.get("budget") or budget_of(record)
    round_to, (searched_width, searched_keep) = given.get("round_to", 1), floors_of(record)
    min_width, keep = given.get("min_width", searched_width), given.get("keep", searched_keep)
    scaled = ", scaled to MACs" if budget == "macs" else ""
    scaled += f", widths multiples of {round_to}" if round_to != 1 else ""
    scaled += f", at least {min_width}" * (min_width > 0) + f", {' '.join(keep)} kept" * bool(keep)
    sizes = sizes_asked(networks_preset(task.dataset).settled(given), budget)
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
        round_to=round_to,
        min_width=min_width,
        keep=keep,
    )
    if line := methods[-1].other_size(shape["image_size"]):
        print(line, file=sys.stderr if given["json"] else sys.stdout)
    table: list[tuple[Size, dict[str, Any]]] = []
    for size in sizes:
        for iteration, method in enumerate(methods):
            filters = method.filters(size, **shape)
            row = {
                "ratio": method.ratio(size, **shape),
                **({"target": str(size.target)} if isinstance(size, Limit) else {}),
                "iteration": iteration,
                "filters": filters,
                "params": count_params(model, filters, **shape),
                "macs": count_macs(model, filters, **shape),
            }
            table.append((size, row))
    if given["json"]:
        said = {
            "model": model,
            "dataset": dataset,
            **recorded(shape),
            "budget": budget,
            "round_to": round_to,
            "min_width": min_width,
            "keep": list(keep),
        }
        print(json.dumps({**said, "architectures": [row for _, row in table]}, indent=1))
    else:
        print(f"{model} on {dataset}, {name}: filters per layer{scaled}")
        wide = max(6, *(len(size_shown(size)) for size in sizes))
        print(
            f"{'target' if given.get('target') else 'ratio':>{wide}} "
            f"{'iteration':>9} {'--descent-idx':>13} {'parameters':>11} "
            f"{'MMACs':>8}  filters"
        )
        for size, row in table:
            filters, index = (
                " ".join(map(str, row["filters"])),
                "-" if methods[-1].law is None else row["iteration"],
            )
            print(
                f"{size_shown(size):>{wide}} {row['iteration'] + 1:9} {index:>13} "
                f"{row['params']:11,} {row['macs'] / 1e6:8.1f}  {filters}"
            )
        if round_to != 1:
            from utils.training.device import Runner, pick_device
            from utils.training.latency import rounding_told

            runner = Runner(pick_device("auto"))
            for size, row in dict(table).items():  # of the last iteration
                network = {**row, **recorded(shape), "budget": budget}
                print(
                    f"{size_told(size)}, {methods[-1].name}, "
                    f"{rounding_told(methods[-1], network, runner)}",
                    flush=True,
                )
    if told := not_fitted(record):
        print(f"{name}: {told}", file=sys.stderr if given["json"] else sys.stdout)
    if given["plot"]:
        out = Path(
            given["out"]
            or named_after(folders.plot_dir, model) / f"{dataset}_{name}_architectures.png"
        )
        with redirect_stdout(sys.stderr if given["json"] else sys.stdout):
            plot(
                f"{shown_name(model)} on {dataset}: filters per layer over the descent "
                f"({name}{scaled})",
                table,
                out,
            )


def plot(title: str, table: list[tuple[Size, dict[str, Any]]], out: Path) -> None:
    """Heat maps of up to four sizes, on one scale of colours each."""
    import numpy as np

    from utils.figures import style

    sizes = sorted({size for size, _ in table}, key=size_order)
    if len(sizes) > 4:  # the ends and what lies evenly between
        sizes = [sizes[round(i * (len(sizes) - 1) / 3)] for i in range(4)]
    layers = len(table[0][1]["filters"])
    fig, axes = style.figure(
        len(sizes), 1, width=4.2 + 0.33 * layers, height=0.6 + 2.9 * len(sizes), squeeze=False
    )
    for shown, ax in zip(sizes, axes[:, 0]):
        widths = np.array([row["filters"] for size, row in table if size == shown])
        image = style.heat_map(ax, widths, size_told(shown), widths.max())
        fig.colorbar(image, ax=ax, label="filters", pad=0.01)
    fig.suptitle(style.wrapped(title, 45 + 3 * layers))
    style.save(fig, out)


if __name__ == "__main__":
    run(main)
