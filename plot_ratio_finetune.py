"""Prints the magnitude baseline (pruned by weight norm, fine-tuned) beside the other methods at the
same budget."""

from utils.errors import UserError
from utils.script import run
from utils.settings import Comparison, Folders, NetworkSize, Target, Task
from utils.settings.parser import Parser
from utils.settings.target import is_size


def main() -> None:
    p = Parser(__doc__)
    preset = NetworkSize(ratio=0.75)
    p.add_fields(
        preset,
        ratio="the budget",
        target="in place of the ratio: the budget as a target, as 25%% or 300k",
    )
    _, task, asked, folders, budget = p.parse_settings(Task(), Comparison(), Folders(), preset)

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
    size = Target.parse(budget.target) if budget.target else budget.ratio
    if not any(is_size(at, size) for curve in curves for at in curve.points):
        raise UserError(
            f"--target {budget.target}: no run at this target"
            if budget.target
            else f"--ratio {budget.ratio:g}: no run and no published figure at this ratio"
        )
    device = measure_latency(curves, subject, asked.device) if asked.axis == "latency" else ""
    print_table(curves, subject, asked.axis, size=size, device=device)


if __name__ == "__main__":
    run(main)
