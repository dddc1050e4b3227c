"""The commands of docs/recipes.md for CIFAR, one after the other at small settings, end in a picture
with every curve of theirs."""

import re
import shlex

import pytest
from image_folders import write_images
from pictures import lines_of, table
from running import REPOSITORY, succeed

CLASSES = 100  # so that the published laws of CIFAR100 are of these networks
SMALL = {  # appended to what the recipe says; fine_tune.py starts from a network of ratio 0.125
    "architecture_descent.py": "--ratio 0.125 --iterations 2 --epochs 6 --warmup 0 --prune-every 1 --batch-size 25",
    "ratio_swipe.py": "--ratios 0.0625 0.125 --epochs 1",
    "train_norm.py": "--ratio 0.125 --epochs 1",
    "fine_tune.py": "--ratio 0.0625 --epochs 1",
    "list_architecture.py": "--ratios 0.125",
    "plot_ratio_finetune.py": "--ratio 0.0625",
}
TRAINS = ("architecture_descent.py", "ratio_swipe.py", "train_norm.py", "fine_tune.py")


def recipe() -> list[list[str]]:
    """Script and arguments of each command of the CIFAR section, up to the plots of the last
    of its code blocks with one."""
    section = re.search(
        r"^## CIFAR10 and CIFAR100\n(.*?)^## ",
        (REPOSITORY / "docs" / "recipes.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )[1]
    lines = [
        line
        for block in re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    commands = [
        shlex.split(line)[1:] for line in lines if line.startswith("python3 ") and "…" not in line
    ]
    # Layers that are kept at their full width leave no room for the others at ratios as small as
    # these; targets are in place of them (test_targets.py runs such commands).
    return [
        command
        for command in commands
        if command[0] not in ("submit.py", "export.py") and not {"--keep", "--target"} & {*command}
    ]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder CIFAR100 of 100 classes of noise, 2 images each to train on."""
    classes = [f"{label:03}" for label in range(CLASSES)]
    return write_images(tmp_path_factory.mktemp("images") / "CIFAR100", classes, train=2, test=1)


def test_the_commands_end_in_a_picture_with_every_curve_of_theirs(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = recipe()
    assert {command[0] for command in commands} >= {
        *SMALL,
        "plot_ratio.py",
        "plot_ratio_warmup.py",
        "plot_filters.py",
    }
    assert (
        sum(
            "--save" in command
            for command in commands
            if command[0] in ("ratio_swipe.py", "fine_tune.py")
        )
        == 8
    )

    out = {}
    # again: some were trained since
    commands.append(["plot_ratio.py", "--model", "vgg", "--dataset", "CIFAR100"])
    for script, *arguments in commands:
        own = [*SMALL.get(script, "").split(), *(["--dataset", images] if script in TRAINS else [])]
        out[script, "--front" in arguments] = succeed(script, *arguments, *own)

    mine = {
        label: set(points)
        for label, points in table(out["plot_ratio.py", False]).items()
        if not label.endswith(", published")
    }
    both = {0.0625, 0.125}
    assert mine == {
        "uniform": both,
        "MorphNet (Taylor-FO)": both,
        "MorphNet (Taylor-FO), own search": both,
        "magnitude pruning, fine-tuned": {0.0625},
        "NeuralScale, iteration 1": both,
        "NeuralScale, iteration 2": both,
        "NeuralScale, iteration 15 (published law), scaled to MACs": both,
        "NeuralScale, iteration 15 (published law), widths multiples of 8": both,
    }
    for picture in ("front", "accuracy_params"):
        assert {*mine} <= {*lines_of(f"saved_plots/vgg/CIFAR100_{picture}.png")[0]}
    tuned = table(out["plot_ratio_finetune.py", False])
    assert {"magnitude pruning, fine-tuned", "uniform", "NeuralScale, iteration 2"} <= {*tuned}
