"""Prints the magnitude baseline (pruned by weight norm, fine-tuned) beside the other methods at the same budget."""
from utils import options


def main() -> None:
    p = options.parser(__doc__, dataset="CIFAR100")
    options.add_plotting(p)
    p.add("--ratio", "the budget", type=options.ratio, default=0.75)
    args = p.parse_args()

    from utils import comparison
    from utils.records import UserError
    subject = comparison.subject_of(args)
    model, short = subject.model, options.dataset_settings(subject.dataset).short
    curves = comparison.gather(args, subject, {
        "magnitude": ("magnitude pruning, fine-tuned", [f"{model}_norm_{short}"]),
        "uniform": ("uniform", [f"{model}_uni_{short}"]),
        "neuralscale_15": ("NeuralScale, iteration 15", [f"{model}_10_eff_{short}_late"]),
    })
    for curve in curves:
        curve.points = {ratio: point for ratio, point in curve.points.items() if ratio == args.ratio}
    curves = [curve for curve in curves if curve.points]
    if not curves:
        raise UserError(f"--ratio {args.ratio:g}: no run and no published figure at this ratio")
    comparison.print_table(curves, subject)


if __name__ == "__main__":
    options.run(main)
