"""Draws accuracy against parameters for each method, and prints the table behind it."""

from pathlib import Path

from utils.script import run
from utils.settings import Comparison, Folders, Task
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "--out", "the PNG to write (default: <plot-dir>/<model>/<dataset>_....png)", metavar="FILE"
    )
    p.add(
        "--front",
        "draw accuracy against MACs, with parameters as the size of the marker, and name the "
        "best network of each budget",
        action="store_true",
    )
    given, task, asked, folders = p.parse_settings(Task(), Comparison(), Folders())

    from utils.figures.comparison import compare_methods
    from utils.figures.curves import subject_of

    subject, out = (
        subject_of(task.model, task.dataset, folders.plot_dir),
        Path(given["out"]) if given["out"] else None,
    )
    if given["front"]:
        from utils.figures.front import show_front

        show_front(subject, asked, out)
    else:
        compare_methods(subject, asked, out)


if __name__ == "__main__":
    run(main)
