"""Writes one page of finished trainings, which needs no server and no network: what was asked, the
results, pictures, the filters of each layer, and how to repeat it."""

from pathlib import Path

from utils.script import run
from utils.settings import Folders, Task, dataset_name
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "--save",
        "what --save was given; NAME stands for NAME_0, NAME_1, ... too, its seeds",
        nargs="+",
        required=True,
        metavar="NAME",
    )
    p.add(
        "--dataset",
        "refuse results of another data set than this one, a name or a path (default: that of "
        "the results)",
    )
    p.add(
        "--out",
        "the page to write (default: <plot-dir>/<model>/<dataset>_<NAMES>_report.html)",
        metavar="FILE",
    )
    p.add_fields(Task(), only=["model"])
    given, folders = p.parse_settings(Folders())

    from utils.figures.page import write_page

    write_page(
        given["model"],
        given["save"],
        folders,
        Path(given["out"]) if given["out"] else None,
        dataset=dataset_name(given["dataset"]) if given["dataset"] else None,
    )


if __name__ == "__main__":
    run(main, resumes=False)
