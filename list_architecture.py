"""Lists the widths that a search found: per iteration and ratio, with parameters and multiply-accumulates (MACs)."""
import json

from utils import options


def main() -> None:
    p = options.parser(__doc__, dataset="CIFAR100")
    p.add("--prune-fname", "the search's --save name, or 'published' for the paper's", required=True, metavar="NAME")
    p.add("--ratios", "scaling ratios (default: the data set's)", type=options.ratio, nargs="+", metavar="R")
    p.add("--json", "print JSON instead of a table", action="store_true")
    p.add("--plot", "draw heat maps of the widths over the iterations", action="store_true")
    p.add("--out", "the PNG to write (default: <plot-dir>/<model>/<dataset>_<name>_architectures.png)", metavar="FILE")
    args = p.parse_args()

    from model import count_macs, count_params, prepare_filters
    from utils import records
    dataset = options.dataset_name(args.dataset)
    record = records.read_scalings(args.record_dir, args.prune_fname, args.model, dataset)
    shape = {"num_classes": record["num_classes"], "image_size": record["image_size"]}
    table = []
    for ratio in args.ratios or options.dataset_settings(dataset).ratios:
        options.refuse_empty_layers(args.model, ratio)
        for iteration in range(len(record["iterations"])):
            filters = prepare_filters(args.model, ratio, scaling=records.law_of(record, iteration), **shape)
            table.append({
                "ratio": ratio, "iteration": iteration, "filters": filters,
                "params": count_params(args.model, filters, **shape), "macs": count_macs(args.model, filters, **shape)})
    if args.json:
        print(json.dumps({"model": args.model, "dataset": dataset, **shape, "architectures": table}, indent=1))
    else:
        print(f"{args.model} on {dataset}, {args.prune_fname}: filters per layer")
        print(f"{'ratio':>6} {'it.':>4} {'parameters':>11} {'MMACs':>8}  filters")
        for row in table:
            filters = " ".join(map(str, row["filters"]))
            print(f"{row['ratio']:6g} {row['iteration']:4} {row['params']:11,} {row['macs'] / 1e6:8.1f}  {filters}")
    if args.plot:
        plot(args, dataset, table)


def plot(args, dataset: str, table: list[dict]) -> None:
    """Heat maps of up to four ratios, on one scale of colours each."""
    import sys
    from contextlib import redirect_stdout
    from pathlib import Path

    import numpy as np

    from utils import plotting
    ratios = sorted({row["ratio"] for row in table})
    if len(ratios) > 4:  # the ends and what lies evenly between
        ratios = [ratios[round(i * (len(ratios) - 1) / 3)] for i in range(4)]
    layers = len(table[0]["filters"])
    fig, axes = plotting.figure(len(ratios), 1, width=4.2 + 0.33 * layers, height=0.6 + 2.9 * len(ratios), squeeze=False)
    for ratio, ax in zip(ratios, axes[:, 0]):
        widths = np.array([row["filters"] for row in table if row["ratio"] == ratio])
        image = plotting.heat_map(ax, widths, f"ratio {ratio:g}", widths.max())
        fig.colorbar(image, ax=ax, label="filters", pad=0.01)
    fig.suptitle(f"{args.model} on {dataset}: filters per layer over the descent ({args.prune_fname})")
    out = args.out or Path(args.plot_dir) / args.model / f"{dataset}_{args.prune_fname}_architectures.png"
    with redirect_stdout(sys.stderr if args.json else sys.stdout):
        plotting.save(fig, Path(out))


if __name__ == "__main__":
    options.run(main)
