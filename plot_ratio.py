"""Draws accuracy against parameters for each method, and prints the table behind it."""
from pathlib import Path

from utils.script import run
from utils.settings import Comparison, Folders, Task
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add("--out", "the PNG to write (default: <plot-dir>/<model>/<dataset>_....png)", metavar="FILE")
    given, task, asked, folders = p.settled(Task(dataset="CIFAR100"), Comparison(), Folders())

    from utils.figures.comparison import show
    from utils.figures.curves import gather, subject_of
    subject = subject_of(task.model, task.dataset, folders.plot_dir)
    known = subject.known("uniform", "morphnet", "magnitude", "neuralscale_1", "neuralscale_15")
    curves = gather(subject, known, runs=asked.runs, published=asked.published)
    out = Path(given["out"] or subject.folder / f"{subject.dataset}_accuracy_{asked.axis}.png")
    show(curves, subject, asked, f"{subject.model} on {subject.dataset}", out)


if __name__ == "__main__":
    run(main)
