"""Trains networks from scratch on TinyImageNet at several scaling ratios: NeuralScale's, uniform
ones or MorphNet's."""

from utils.script import run
from utils.settings import networks_preset, training_preset
from utils.settings.parser import run_arguments


def main() -> None:
    given = run_arguments(
        __doc__,
        training_preset,
        networks_preset,
        dataset="tinyimagenet",
        # the paper's on TinyImageNet; ratio_swipe.py --dataset tinyimagenet takes all
        models=["resnet18", "mobilenetv2"],
    )
    from utils.training.sweep import sweep

    sweep(given.settings, given.networks, given.storage, given.machine)


if __name__ == "__main__":
    run(main)
