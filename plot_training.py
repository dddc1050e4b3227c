"""Draws loss and accuracy over the epochs of finished trainings, and where the learning rate
fell."""

from pathlib import Path

from utils.script import run
from utils.settings import Folders, Task, dataset_name
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "names",
        "what --save was given; NAME stands for NAME_0, NAME_1, ... too, its seeds",
        nargs="+",
        metavar="NAME",
    )
    p.add(
        "--dataset",
        "refuse results of another data set than this one, a name or a path (default: that of "
        "the results)",
    )
    p.add(
        "--out",
        "the PNG to write (default: <plot-dir>/<model>/<NAMES>_training.png)",
        metavar="FILE",
    )
    p.add_fields(Task(), only=["model"])
    given, folders = p.parse_settings(Folders())

    from utils.figures.training import draw_training
    from utils.records.paths import named_after

    draw_training(
        given["model"],
        named_after(folders.plot_dir, given["model"]),
        given["names"],
        Path(given["out"]) if given["out"] else None,
        dataset_name(given["dataset"]) if given["dataset"] else None,
    )


if __name__ == "__main__":
    run(main)
