"""Architecture descent on TinyImageNet: how many filters should each layer have?"""

from utils.script import run
from utils.settings import search_preset
from utils.settings.parser import run_arguments


def main() -> None:
    given = run_arguments(
        __doc__,
        search_preset,
        machine=["device"],
        dataset="tinyimagenet",
        # the paper's on TinyImageNet; architecture_descent.py --dataset tinyimagenet takes all
        models=["resnet18", "mobilenetv2"],
    )
    from utils.search.search import search

    search(given.settings, given.storage, given.machine)


if __name__ == "__main__":
    run(main)
