"""Draws the residual filters of each layer against the network's size, with the power laws fitted to them."""
from utils.script import run
from utils.settings import Folders, Task, dataset_name
from utils.settings.parser import Parser

NAMED = 24  # layers in the legend at most


def main() -> None:
    p = Parser(__doc__)
    p.add("--prune-fname", "the search's --save name", required=True, metavar="NAME")
    given, task, folders = p.settled(Task(), Folders())

    import numpy as np

    from model import BUDGETS
    from utils.figures import style
    from utils.records.files import read_rows
    from utils.records.paths import named_after, search_record, search_rows
    from utils.records.searches import budget_of, iteration_told, law_of, read_search, refuse_changed_network
    model, dataset, name = task.model, dataset_name(task.dataset), given["prune_fname"]
    record = read_search(folders.record_dir, name, model, dataset)
    refuse_changed_network(search_record(folders.record_dir, name), record, model)
    iterations = sorted({0, len(record["iterations"]) - 1})
    law_of(record, 0)
    unit = {"params": "parameters", "macs": "multiply-accumulates"}[budget_of(record)]
    layers = len(record["iterations"][0]["filters"])
    named = -(-layers // NAMED)  # of every so many layers, one has its name in the legend
    fig, axes = style.figure(1, len(iterations), width=1.6 + 4.6 * len(iterations), height=5.0, sharey=True, squeeze=False)
    for iteration, ax in zip(iterations, axes[0]):
        path = search_rows(folders.record_dir, name, iteration)
        rows = np.array(read_rows(path, layers, record["iterations"][iteration]["rounds"]))
        sizes = BUDGETS[budget_of(record)](model, rows.T, num_classes=record["num_classes"], image_size=record["image_size"])
        law = law_of(record, iteration)
        taus = np.geomspace(sizes.min(), sizes.max(), 100)
        fitted = law.widths(taus)
        for layer in range(layers):
            colour = style.plt.cm.viridis(0.92 * layer / max(1, layers - 1))
            every = max(1, len(rows) // 12)
            ax.plot(sizes, rows[:, layer], color=colour, marker=style.MARKERS[layer % 12], markevery=(layer % every, every),
                    linewidth=1, markersize=4, alpha=0.8, label=str(layer + 1) if layer % named == 0 else "_")
            ax.plot(taus, fitted[:, layer], "--", color=colour, linewidth=1.2)
        style.plain_log(ax, "x", 1e6)
        style.plain_log(ax, "y")
        ax.set(title=iteration_told(iteration, record["settings"].get("morph", False)), xlabel=f"{unit} of the network (millions)")
    axes[0, 0].set_ylabel("filters left in the layer")
    axes[0, -1].legend(title="layer", fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))  # beside the axes: it covers no curve
    fig.suptitle(f"{model} on {dataset}, {name}: residual filters (lines) and power laws (dashed)")
    style.save(fig, named_after(folders.plot_dir, model) / f"{dataset}_{name}_residual_filters.png")


if __name__ == "__main__":
    run(main)
