"""Lists the widths that a search found: per iteration and ratio or target, with parameters and
multiply-accumulates (MACs)."""

from utils.script import run
from utils.settings import Folders, NetworkShape, Task, networks_preset
from utils.settings.parser import Parser

SCALED = ["budget", "round_to", "min_width", "keep"]


def main() -> None:
    p = Parser(__doc__)
    p.add(
        "--prune-fname",
        "the search's --save name, or 'published' for the paper's",
        required=True,
        metavar="NAME",
    )
    p.add_fields(networks_preset("CIFAR10"), only=["ratios", "target", *SCALED])
    p.add(
        "--json",
        "print JSON instead of a table; iterations are counted from 0 there",
        action="store_true",
    )
    p.add("--plot", "draw heat maps of the widths over the iterations", action="store_true")
    p.add(
        "--out",
        "the PNG to write (default: <plot-dir>/<model>/<dataset>_<name>_architectures.png)",
        metavar="FILE",
    )
    p.add_fields(
        NetworkShape(),
        only=["image_size"],
        image_size="pixels of a side of the images, or of both, height x width (default: as the "
        "search had them)",
    )
    given, task, folders = p.parse_settings(Task(), Folders())

    from utils.figures.architectures import list_architectures

    list_architectures(task, given["prune_fname"], given, folders)


if __name__ == "__main__":
    run(main)
