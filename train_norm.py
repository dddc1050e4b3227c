"""Trains the base network of the magnitude baseline: the template, from scratch."""

from utils.script import run
from utils.settings import BaseNetwork, training_preset
from utils.settings.parser import run_arguments


def main() -> None:
    given = run_arguments(__doc__, training_preset, lambda _: BaseNetwork())
    from utils.training.finetune import train_base

    train_base(given.settings, given.networks, given.storage, given.machine)


if __name__ == "__main__":
    run(main)
