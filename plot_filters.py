"""Draws the residual filters of each layer against the network's size, with the power laws fitted
to them."""

from utils.script import run
from utils.settings import Folders, Task
from utils.settings.parser import Parser


def main() -> None:
    p = Parser(__doc__)
    p.add("--prune-fname", "the search's --save name", required=True, metavar="NAME")
    given, task, folders = p.parse_settings(Task(dataset="CIFAR10"), Folders())

    from utils.figures.residual import draw_residual_filters

    draw_residual_filters(task, given["prune_fname"], folders)


if __name__ == "__main__":
    run(main)
