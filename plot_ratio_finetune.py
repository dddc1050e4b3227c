"""Prints the magnitude baseline (pruned by weight norm, fine-tuned) beside the other methods at the
same budget."""

from utils.errors import UserError
from utils.script import run
from utils.settings import BaseNetwork, Comparison, Folders, Task
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add_fields(BaseNetwork(ratio=0.75), ratio="the budget")
    _, task, asked, folders, budget = p.settled(
        Task(), Comparison(), Folders(), BaseNetwork(ratio=0.75)
    )

    from utils.figures.comparison import print_table
    from utils.figures.curves import subject_of
    from utils.figures.gather import gather, measure_latency
    from utils.figures.labels import kind_of

    subject = subject_of(task.model, task.dataset, folders.plot_dir)
    known = subject.known("magnitude", "uniform", "neuralscale_15")
    curves = gather(
        subject,
        known,
        runs=asked.runs,
        published=asked.published,
        found=lambda kind: kind in {kind_of(method.method) for method in known},
    )
    if not any(budget.ratio in curve.points for curve in curves):
        raise UserError(f"--ratio {budget.ratio:g}: no run and no published figure at this ratio")
    device = measure_latency(curves, subject, asked.device) if asked.axis == "latency" else ""
    print_table(curves, subject, asked.axis, ratio=budget.ratio, device=device)


if __name__ == "__main__":
    run(main)
