"""Draws accuracy against parameters for each method, and prints the table behind it."""
from pathlib import Path

from utils import options


def main() -> None:
    p = options.parser(__doc__, dataset="CIFAR100")
    options.add_plotting(p)
    args = p.parse_args()

    from utils import comparison
    subject = comparison.subject_of(args)
    short = options.dataset_settings(subject.dataset).short
    eff = f"{subject.model}_10_eff_{short}"
    curves = comparison.gather(args, subject, {
        "uniform": ("uniform", [f"{subject.model}_uni_{short}"]),
        "morphnet": ("MorphNet (Taylor-FO)", [f"{subject.model}_pruned_{short}"]),
        "magnitude": ("magnitude pruning", [f"{subject.model}_norm_{short}"]),
        "neuralscale_1": ("NeuralScale, iteration 1", [f"{eff}_early"]),
        "neuralscale_15": ("NeuralScale, iteration 15", [f"{eff}_late"]),
    })
    device = comparison.measure_latency(curves, subject, args.device) if args.axis == "latency" else ""
    comparison.print_table(curves, subject)
    out = Path(args.out or Path(args.plot_dir) / subject.model / f"{subject.dataset}_accuracy_{args.axis}.png")
    comparison.draw(curves, subject, args.axis, f"{subject.model} on {subject.dataset}", out, device)


if __name__ == "__main__":
    options.run(main)
