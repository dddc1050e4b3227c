"""The commands to type next, when a search or a training has ended."""

import shlex
from collections.abc import Sequence

from utils.settings.datasets import dataset_name
from utils.settings.fields import command_options, field_specs
from utils.settings.storage import Places
from utils.settings.work import Task

TRAINING = ("record_dir", "plot_dir", "data", "model_dir")  # the folders of scripts that train
LOOKING = ("record_dir", "plot_dir")  # those of scripts that read records and results
EXPORTING = (*LOOKING, "model_dir")  # those of export.py


def search_script(dataset: str) -> str:
    """Return the name of the script that searches on a data set, a name or a path."""
    return f"{'imagenet_' * is_tiny(dataset)}architecture_descent.py"


def sweep_script(dataset: str) -> str:
    """Return the name of the script that sweeps over sizes on a data set, a name or a path."""
    return f"{'imagenet_' * is_tiny(dataset)}ratio_swipe.py"


def is_tiny(dataset: str) -> bool:
    """Return True for TinyImageNet, whose scripts have defaults of their own."""
    return dataset_name(dataset) == "tinyimagenet"


def command(
    script: str, task: Task, *options: str, places: Places, folders: Sequence[str] = LOOKING
) -> str:
    """Return a command line of this project on the network and the images of ``task``.

    It has those of its ``folders`` that are not the defaults.
    """
    own = Places(**{spec.name: getattr(places, spec.name) for spec in field_specs(Places)})
    others = [spec.name for spec in field_specs(Places) if spec.name not in folders]
    subject = ("--model", task.model, "--dataset", task.dataset)
    return shlex.join(
        ["python3", script, *subject, *options, *command_options(own, Places(), without=others)]
    )


def after_search(task: Task, save: str, morph: bool, places: Places) -> list[str]:
    """Return the commands after the search ``save``: to see what it found, and to train it."""
    options = [*["--morph"] * morph, "--prune-fname", save]
    return [
        command("list_architecture.py", task, "--prune-fname", save, places=places),
        command(
            sweep_script(task.dataset),
            task,
            *(*options, "--save", f"{save}_0"),
            places=places,
            folders=TRAINING,
        ),
    ]


def after_base(task: Task, save: str, places: Places) -> list[str]:
    """Return the commands after the magnitude baseline's base network ``save``: to prune it."""
    options = ("--prune-fname", save, "--save", f"{save}_tuned_0")
    return [command("fine_tune.py", task, *options, places=places, folders=TRAINING)]


def after_training(task: Task, save: str, size: Sequence[str], places: Places) -> list[str]:
    """Return the commands after the trainings ``save``: to compare them with others, and to export
    one, of the ``size`` in these options."""
    return [
        command("plot_ratio.py", task, places=places),
        command("export.py", task, *("--save", save, *size), places=places, folders=EXPORTING),
    ]


def tell_next(commands: Sequence[str]) -> None:
    """Print the commands to type next, a line each."""
    for line in commands:
        print(f"next: {line}", flush=True)
