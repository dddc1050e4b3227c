"""The magnitude baseline: removes the filters with the smallest weights from a trained network, and
fine-tunes it."""

from utils.script import run
from utils.settings import PrunedNetwork, fine_tuning_preset
from utils.settings.parser import run_arguments


def main() -> None:
    given = run_arguments(
        __doc__,
        fine_tuning_preset,
        lambda _: PrunedNetwork(prune_fname="NAME"),
        lr="learning rate, divided by 10 at each of --milestones",
        milestones="where it falls, as parts of the epochs (default: none)",
        epochs="epochs (default: 40, on TinyImageNet 20)",
    )
    from utils.training.finetune import fine_tune

    fine_tune(given.settings, given.networks, given.storage, given.machine)


if __name__ == "__main__":
    run(main)
