"""Settings of searches, trainings and comparisons, one class each; the defaults are the paper's.

A field is an option of the command line (warmup is --warmup), is kept in records, and is compared
when work is found. A new field's default must change nothing: a record without it is read as having
the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from model import BUDGETS, MODELS, is_imported
from model.names import parsed
from utils.errors import UserError
from utils.settings.fields import Settings, setting

AUGMENTATION = ("crop", "flip", "rotation")  # fields; None stands for the data set's own
COST_AT = ("beginning", "end")
# a network of 64 times the width has 4,096 times the parameters
RATIO: Any = {"low": 0, "high": 64, "above": True}
IMPORTED_MIN_WIDTH = 2
TARGET_HELP = (
    "25%% of the template, or 300k, 50M, 1.2G: at most so many parameters or "
    "multiply-accumulates, as --budget says"
)
SMALLEST = 32  # pixels of a side that the networks of this project are trained on
CHANNELS = (1, 3)  # the channels with which images are read
LAYERS_HELP = "names of layers, as check_model.py lists them; * stands for any text"
DATASET_HELP = (
    "CIFAR10, CIFAR100, tinyimagenet, digits, or a path to a folder with train/ and test/"
)


def least_width(model: str, min_width: int | None) -> int:
    """Return the --min-width of a search or a pruning of ``model``: the given one, or the default.

    The default for this project's networks is the paper's 0.
    """
    return min_width if min_width is not None else IMPORTED_MIN_WIDTH if is_imported(model) else 0


def refuse_both(given: Mapping[str, Any], ratio: str) -> None:
    """Raise UserError if both a ratio and a target are given."""
    if given.get("target") and ratio in given:
        raise UserError(
            f"--target and --{ratio} both say how large the networks are; give one of them"
        )


def check_model(name: str) -> str:
    """Return ``name`` if it names a network, with a normalised path. Raises UserError."""
    if name in MODELS:
        return name
    if not is_imported(name):
        raise UserError(
            f"{name!r} is none of {', '.join(MODELS)}, nor MODULE:FUNCTION or FILE.py:FUNCTION"
        )
    try:
        return str(parsed(name))
    except ValueError as error:
        raise UserError(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class Task(Settings):
    """The network, and the images."""

    model: str = setting(
        "vgg",
        f"network: {', '.join(MODELS)}; or MODULE:FUNCTION or FILE.py:FUNCTION, called as "
        "f(num_classes=N)",
        check=check_model,
        metavar="MODEL",
    )
    dataset: str = setting("CIFAR10", DATASET_HELP)


@dataclass(frozen=True, kw_only=True)
class Optimization(Task):
    """The settings that searches and trainings have in common."""

    seed: int = setting(
        0, "seed of weights, order and augmentation", 0, 2**31, shown="X of --save NAME_X, else 0"
    )
    momentum: float = setting(0.5, "SGD momentum", 0, 0.999)
    weight_decay: float = setting(5e-4, "SGD weight decay", 0, 1)
    limit_train: int | None = setting(
        None, "train on N images, equally many of each class", 1, metavar="N"
    )
    validate: int | None = setting(
        None,
        "hold N training images out, equally many of each class: a training reports its accuracy "
        "on them beside that on the test images, a search never sees them",
        1,
        metavar="N",
    )
    image_size: int | tuple[int, ...] | None = setting(
        None,
        "bring the images of a folder to NxN pixels, or to HxW, height x width",
        1,
        2048,
        metavar="N|HxW",
        shown="32 or 64, whichever is nearer to the first one's shorter side",
        sides=True,
    )
    channels: int | None = setting(
        None,
        "read the images of a folder in grey, 1, or in colour, 3",
        choices=CHANNELS,
        shown="3; 1 where the network does not take 3 and all images are grey",
        kept_if_given=True,
    )
    crop: bool | None = setting(None, "don't crop the training images of a folder at random")
    flip: bool | None = setting(
        None, "don't mirror the training images of a folder at random: text, digits"
    )
    rotation: float | None = setting(
        None,
        "turn the training images of a folder at random, by up to this angle to either side",
        0,
        180,
        metavar="DEGREES",
    )
    amp: bool = setting(False, "bfloat16 autocast")

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.image_size
        if self.model in MODELS and isinstance(size, int) and size < SMALLEST:
            raise UserError(
                f"--image-size {size}: {self.model} takes images of {SMALLEST} pixels and more"
            )


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Optimization):
    """An architecture descent."""

    warmup: int = setting(10, "epochs before pruning, P in the paper", 0, 100_000)
    iterations: int = setting(15, "descent iterations", 1, 1000)
    epochs: int = setting(
        300, "most epochs of an iteration; it ends when it is pruned down", 1, 100_000
    )
    morph: bool = setting(False, "MorphNet (Taylor-FO) baseline: one iteration, pruned by half")
    prune_every: int = setting(
        50, "batches between pruning rounds", 1, metavar="K", shown="50, on TinyImageNet 100"
    )
    prune_step: int = setting(10, "filters to prune per round", 1, metavar="N")
    prune_fraction: float = setting(
        0.95, "fraction of all filters to prune", 0, 1, above=True, shown="0.95; 0.5 with --morph"
    )
    min_width: int | None = setting(
        None,
        "leave a layer alone that has N filters left, and prune on in the others; 0 is the paper's "
        "rule: a layer with one left ends the iteration",
        metavar="N",
        shown=f"{IMPORTED_MIN_WIDTH} for networks given by name, 0 for {', '.join(MODELS)}",
        recorded=lambda settings: least_width(settings.model, settings.min_width),
    )
    keep: tuple[str, ...] = setting(
        (), f"layers whose widths stay as they are (default: none): {LAYERS_HELP}", metavar="LAYER"
    )
    ratio: float = setting(1.0, "scale the template's widths before the search", **RATIO)
    batch_size: int = setting(256, "images per step", 1, shown="256, on TinyImageNet 100")
    lr: float = setting(
        0.1,
        "learning rate of the warm-up; from its last epoch on a tenth of it",
        0,
        100,
        above=True,
    )
    compact: bool = setting(
        True, "keep pruned filters in the network, masked; slower, the same search"
    )
    budget: str = setting(
        "params",
        "what widths are fitted against and networks scaled to: parameters, or "
        "multiply-accumulates; with macs a filter's criterion is divided by what the filter costs",
        choices=BUDGETS,
    )
    cost_exponent: float = setting(
        1.0,
        "with --budget macs: the power of what a filter costs that its criterion is divided by",
        0,
        8,
        metavar="E",
    )
    cost_at: str = setting(
        "beginning",
        "with --budget macs: what a filter costs at the widths before the round, or at those that "
        "it would leave",
        choices=COST_AT,
    )
    fit_rows: float = setting(
        1.0,
        "fit the power law to this part of the recorded rows, the first ones, but to 6 at least: "
        "the last are of networks that hardly work any more",
        0,
        1,
        above=True,
        metavar="F",
    )
    limit_test: int | None = setting(
        None,
        "accepted and not used: a search never looks at the test images",
        1,
        metavar="N",
        kept=False,
    )

    def morphnet(self) -> SearchSettings:
        """Return the same for MorphNet (Taylor-FO)."""
        return replace(self, morph=True, iterations=1, prune_fraction=0.5)

    def with_overrides(self, given: Mapping[str, Any]) -> SearchSettings:
        """Return these settings with those ``given``, for MorphNet if it is given. Raises
        UserError."""
        if given.get("morph"):  # one iteration, whatever was given
            return Settings.with_overrides(self.morphnet(), {**given, "iterations": 1})
        return super().with_overrides(given)

    def __post_init__(self) -> None:
        """Check settings that depend on each other. Raises UserError."""
        super().__post_init__()
        if self.epochs <= self.warmup:
            raise UserError(
                f"--warmup {self.warmup} leaves no epoch to prune in; --epochs must be at least "
                f"{self.warmup + 1}, not {self.epochs}"
            )

        if self.budget == "params" and self.cost_exponent != SearchSettings.cost_exponent:
            raise UserError(f"--cost-exponent {self.cost_exponent:g} goes with --budget macs alone")
        if self.budget == "params" and self.cost_at != SearchSettings.cost_at:
            raise UserError(f"--cost-at {self.cost_at} goes with --budget macs alone")
        if self.morph and self.iterations != 1:
            raise UserError(
                f"--morph: the MorphNet baseline is one iteration, not {self.iterations}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Optimization):
    """A training from scratch, or a fine-tuning."""

    epochs: int = setting(300, "epochs", 1, 100_000, shown="300, on TinyImageNet 150")
    batch_size: int = setting(128, "images per step", 1)
    lr: float = setting(
        0.1, "initial learning rate, divided by 10 at each of --milestones", 0, 100, above=True
    )
    milestones: tuple[float, ...] = setting(
        (1 / 3, 2 / 3, 5 / 6),
        "where the learning rate falls, as parts of the epochs",
        0,
        1,
        metavar="F",
        shown="1/3 2/3 5/6, on TinyImageNet 1/3 2/3",
    )
    limit_test: int | None = setting(
        None, "test on N images, equally many of each class", 1, metavar="N"
    )


@dataclass(frozen=True, kw_only=True)
class Comparison(Settings):
    """The curves that are compared, and the axis they are compared on."""

    runs: tuple[str, ...] | None = setting(
        None,
        "your runs: NAME, NAME_0, NAME_1, ... are the seeds of LABEL",
        metavar="LABEL=NAME",
        shown="all of this model and data set",
    )
    published: bool = setting(True, "leave the published curves out")
    axis: str = setting("params", "against what", choices=["params", "macs", "latency"])
    device: str = setting("auto", "where to measure latency")


@dataclass(frozen=True, kw_only=True)
class Machine(Settings):
    """The device that networks are trained on, and how."""

    device: str = setting("auto", "cpu, cuda, cuda:N; auto is CUDA where there is one")
    compile: bool = setting(False, "torch.compile the network; needs a C++ compiler")
