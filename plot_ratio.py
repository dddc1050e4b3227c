"""Draws accuracy against parameters for each method, and prints the table behind it."""
from pathlib import Path

from utils.script import run
from utils.settings import Comparison, Folders, Task
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add("--out", "the PNG to write (default: <plot-dir>/<model>/<dataset>_....png)", metavar="FILE")
    p.add("--front", "draw accuracy against MACs, with parameters as the size of the marker, and name the best network of each budget",
          action="store_true")
    given, task, asked, folders = p.settled(Task(dataset="CIFAR100"), Comparison(), Folders())

    from utils.figures.comparison import show
    from utils.figures.curves import gather, subject_of
    subject = subject_of(task.model, task.dataset, folders.plot_dir)
    known = subject.known("uniform", *["convcut"] * given["front"], "morphnet", "magnitude", "neuralscale_1", "neuralscale_15")
    curves = gather(subject, known, runs=asked.runs, published=asked.published)
    if given["front"]:
        from utils.figures.front import show_front
        show_front(curves, subject, asked, Path(given["out"] or subject.folder / f"{subject.dataset}_front.png"))
    else:
        out = Path(given["out"] or subject.folder / f"{subject.dataset}_accuracy_{asked.axis}.png")
        show(curves, subject, asked, f"{subject.model} on {subject.dataset}", out)


if __name__ == "__main__":
    run(main)
