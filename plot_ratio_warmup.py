"""Draws accuracy against parameters for warm-ups of P epochs; with --convcut, for a convolution in every shortcut."""
from pathlib import Path

from utils import options

WARMUPS = (0, 2, 5, 10, 15, 30, 60)


def main() -> None:
    p = options.parser(__doc__, dataset="CIFAR100")
    options.add_plotting(p)
    p.add("--convcut", "compare uniform networks with and without identity shortcuts", action="store_true")
    args = p.parse_args()

    from utils import comparison, records
    subject = comparison.subject_of(args)
    model, short = subject.model, options.dataset_settings(subject.dataset).short
    known = {"uniform": ("uniform", [f"{model}_uni_{short}"])}
    if args.convcut:
        known["convcut"] = ("uniform, convolution in every shortcut", [f"{model}_convcut_{short}"])
    else:
        usual = records.published_warmup(model, subject.dataset)
        for warmup in WARMUPS:
            method = "neuralscale_15" if warmup == usual else f"warmup_{warmup}"
            known[method] = (f"NeuralScale, P = {warmup}", [f"{model}_{warmup}_eff_{short}"])
    curves = comparison.gather(args, subject, known)
    device = comparison.measure_latency(curves, subject, args.device) if args.axis == "latency" else ""
    comparison.print_table(curves, subject)
    what = "convcut" if args.convcut else "warmup"
    out = Path(args.out or Path(args.plot_dir) / model / f"{subject.dataset}_{what}_{args.axis}.png")
    title = "identity and convolution shortcuts" if args.convcut else "length of the warm-up"
    comparison.draw(curves, subject, args.axis, f"{model} on {subject.dataset}: {title}", out, device)


if __name__ == "__main__":
    options.run(main)
