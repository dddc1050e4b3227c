"""Draws the residual filters of each layer against the network's parameters, with the power laws fitted to them."""
from pathlib import Path

from utils import options


def main() -> None:
    p = options.parser(__doc__, dataset="CIFAR100")
    p.add("--prune-fname", "the search's --save name", required=True, metavar="NAME")
    args = p.parse_args()

    import numpy as np

    from model import count_params
    from utils import plotting, records
    dataset = options.dataset_name(args.dataset)
    record = records.read_search(args.record_dir, args.prune_fname, args.model, dataset)
    iterations = sorted({0, len(record["iterations"]) - 1})
    records.law_of(record, 0)
    layers = len(record["iterations"][0]["filters"])
    fig, axes = plotting.figure(1, len(iterations), width=1.6 + 4.6 * len(iterations), height=5.0, sharey=True, squeeze=False)
    for iteration, ax in zip(iterations, axes[0]):
        path = records.search_rows(args.record_dir, args.prune_fname, iteration)
        rows = np.array(records.read_rows(path, layers, record["iterations"][iteration]["rounds"]))
        params = count_params(args.model, rows.T, num_classes=record["num_classes"], image_size=record["image_size"])
        law = records.law_of(record, iteration)
        fitted = law.widths(np.geomspace(params.min(), params.max(), 100))
        for layer in range(layers):
            colour = plotting.plt.cm.viridis(0.92 * layer / (layers - 1))
            every = max(1, len(rows) // 12)
            ax.plot(params, rows[:, layer], color=colour, marker=plotting.MARKERS[layer % 12], markevery=(layer % every, every),
                    linewidth=1, markersize=4, alpha=0.8, label=str(layer + 1))
            ax.plot(np.geomspace(params.min(), params.max(), 100), fitted[:, layer], "--", color=colour, linewidth=1.2)
        plotting.plain_log_x(ax)
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set(title=f"iteration {iteration}", xlabel="parameters of the network (millions)")
    axes[0, 0].set_ylabel("filters left in the layer")
    plotting.legend_beside(axes[0, -1], title="layer", fontsize=8)
    fig.suptitle(f"{args.model} on {dataset}, {args.prune_fname}: residual filters (lines) and power laws (dashed)")
    plotting.save(fig, Path(args.plot_dir) / args.model / f"{dataset}_{args.prune_fname}_residual_filters.png")


if __name__ == "__main__":
    options.run(main)
