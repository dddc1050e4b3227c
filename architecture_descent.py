"""Architecture descent on CIFAR10, CIFAR100, digits or a folder of images: how many filters should
each layer have?"""

from utils.script import run
from utils.settings import search_preset
from utils.settings.parser import run_arguments


def main() -> None:
    given = run_arguments(__doc__, search_preset, machine=["device"])
    from utils.search.search import search

    search(given.settings, given.storage, given.machine)


if __name__ == "__main__":
    run(main)
