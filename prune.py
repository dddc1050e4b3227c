"""Makes a trained network smaller: prunes filters while it trains on, down to a target, and trains
what is left to the end."""

from utils.script import run
from utils.settings import Folders, dataset_name
from utils.settings.compression import Compression, PruningSettings
from utils.settings.parser import run_arguments


def main() -> None:
    given = run_arguments(
        __doc__,
        lambda dataset: PruningSettings(dataset=dataset),
        lambda _: Compression(weights="FILE", target="25%"),
        machine=("device",),
    )
    from utils.compression.prune import prune
    from utils.figures.page import typed, write_page

    prune(given.settings, given.networks, given.storage, given.machine)
    storage = given.storage
    write_page(
        given.settings.model,
        [storage.save],
        Folders(record_dir=storage.record_dir, plot_dir=storage.plot_dir),
        dataset=dataset_name(given.settings.dataset),
        command=typed(),
    )


if __name__ == "__main__":
    run(main)
