"""The picture of trainings: loss and accuracy over the epochs, and the learning rate's falls."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.errors import UserError
from utils.records.files import is_number
from utils.records.paths import shown_name
from utils.records.results import Result, results_of
from utils.records.sizes import size_of
from utils.settings import Size, check_name, size_told
from utils.settings.target import size_order

KINDS = {"train": ("training images", ":"), "val": ("held out", "--"), "test": ("test images", "-")}
FALL: dict[str, Any] = {"color": "0.6", "linewidth": 1, "linestyle": (0, (1, 2))}
HIGHEST = 1e6  # the largest loss that is drawn
WIDEST = 4  # columns of names


class TrainingCurve(NamedTuple):
    """All seeds of one name at one ratio or target: losses and accuracies of each epoch, by kind of
    images and seed."""

    losses: dict[str, list[list[float]]]
    accuracies: dict[str, list[list[float]]]
    falls: tuple[float, ...]  # epochs, counted from 1, after which the learning rate falls
    dataset: str


def trainings_of(folder: Path, name: str, dataset: str | None = None) -> dict[Size, TrainingCurve]:
    """Return the finished trainings NAME and NAME_0, NAME_1, ... in ``folder``, by ratio or target.

    Raises UserError if there are none, and for results that are damaged, of another ``dataset``
    than asked for, or of other numbers of epochs than another seed.
    """
    found: dict[Size, list[tuple[Path, Result]]] = {}
    for path, result in results_of(folder, check_name(name), dataset):
        found.setdefault(size_of(result), []).append((path, result))
    return {size: training_of(found[size]) for size in sorted(found, key=size_order)}


def training_of(seeds: list[tuple[Path, Result]]) -> TrainingCurve:
    """Return the curves of all seeds at one ratio or target. Raises UserError."""
    first, like = seeds[0]
    losses: dict[str, list[list[float]]] = {}
    accuracies: dict[str, list[list[float]]] = {}
    for path, result in seeds:
        content: dict[str, Any] = {**result}
        epochs = len(result["test_acc"])
        if (epochs, result["dataset"]) != (len(like["test_acc"]), like["dataset"]):
            raise UserError(
                f"{path}: of {epochs} epochs on {result['dataset']}, {first} of "
                f"{len(like['test_acc'])} on {like['dataset']}; "
                "seeds of one name are trained alike; move one of them away"
            )

        # losses and accuracies of each kind of images
        for kind in KINDS if "val_acc" in content else ("train", "test"):
            for what, kept, highest in (("loss", losses, HIGHEST), ("acc", accuracies, 100.0)):
                curve = content.get(f"{kind}_{what}")
                if not (
                    isinstance(curve, list)
                    and len(curve) == epochs
                    and all(is_number(number, 0, highest) for number in curve)
                ):
                    raise UserError(
                        f"{path}: {kind}_{what} is not a number for each epoch; restore it or "
                        "remove it"
                    )
                kept.setdefault(kind, []).append(curve)

    return TrainingCurve(losses, accuracies, falls_of(like), like["dataset"])


def falls_of(result: Result) -> tuple[float, ...]:
    """Return the epochs after which the learning rate fell, by a result's settings; none if it has
    none."""
    settings = result["settings"]
    epochs, milestones = settings.get("epochs"), settings.get("milestones")
    if not (
        is_number(epochs, 1, 10**6)
        and isinstance(milestones, (list, tuple))
        and all(is_number(at, 0, 1) for at in milestones)
    ):
        return ()
    falls = [round(at * epochs) for at in milestones]
    return tuple(sorted({fall for fall in falls if 0 < fall < epochs}))


def draw_training(
    model: str,
    folder: Path,
    names: Sequence[str],
    out: Path | None = None,
    dataset: str | None = None,
) -> None:
    """Draw loss and accuracy over the epochs as the PNG ``out``.

    There is a column for each name, and a colour for each ratio or target. Lines are means over the
    seeds, bands go from the lowest to the highest of them. Raises UserError.
    """
    shown = {name: trainings_of(folder, name, dataset) for name in dict.fromkeys(names)}
    from matplotlib.pyplot import get_cmap
    from matplotlib.ticker import MaxNLocator

    from utils.figures import style

    sizes = sorted({size for trainings in shown.values() for size in trainings}, key=size_order)
    shades = get_cmap("viridis")
    colours = {
        size: shades(0.9 * index / max(1, len(sizes) - 1)) for index, size in enumerate(sizes)
    }

    # blocks of a row of losses and a row of accuracies
    columns = min(len(shown), WIDEST)
    blocks = -(-len(shown) // columns)
    fig, axes = style.figure(
        2 * blocks,
        columns,
        width=max(6.4, 0.8 + 4.2 * columns),
        height=0.8 + 5.6 * blocks,
        sharey="row",
        squeeze=False,
    )
    for index, (name, trainings) in enumerate(shown.items()):
        block, column = divmod(index, columns)
        top, bottom = axes[2 * block, column], axes[2 * block + 1, column]
        draw_trainings(top, bottom, trainings, colours)
        subject = f"{shown_name(model)} on {next(iter(trainings.values())).dataset}"
        top.set(title=style.wrapped(f"{subject}, {name}", 46), ylabel="loss")
        bottom.set(xlabel="epoch", ylabel="accuracy (%)")

    for ax in axes.flat:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for unused in range(len(shown), blocks * columns):
        for row in (0, 1):
            axes[2 * (unused // columns) + row, unused % columns].set_visible(False)

    every = [one for trainings in shown.values() for one in trainings.values()]
    kinds = {kind for one in every for kind in one.losses}
    add_legend(fig, colours, kinds, any(one.falls for one in every))
    style.save(fig, out or folder / f"{'_'.join(shown)[:100]}_training.png")


def draw_trainings(
    top: Any, bottom: Any, trainings: dict[Size, TrainingCurve], colours: dict[Size, Any]
) -> None:
    """Draw the losses of one name at all sizes at the top, and their accuracies at the bottom."""
    for size, training in trainings.items():
        for ax, curves in ((top, training.losses), (bottom, training.accuracies)):
            for kind, seeds in curves.items():
                draw_curve(ax, np.array(seeds), colours[size], kind)
    for fall in sorted({fall for training in trainings.values() for fall in training.falls}):
        for ax in (top, bottom):
            ax.axvline(fall + 0.5, zorder=0, label="_fall", **FALL)  # between two epochs


def draw_curve(ax: Any, seeds: np.ndarray, colour: Any, kind: str) -> None:
    """Draw one kind of images over the epochs, from (seeds, epochs): the mean as a line, the range
    as a band."""
    epochs = np.arange(1, seeds.shape[1] + 1)
    ax.plot(
        epochs,
        seeds.mean(0),
        KINDS[kind][1],
        color=colour,
        linewidth=1.6 if kind == "test" else 1.0,
        marker="o" if len(epochs) == 1 else None,
        label=kind,
    )
    if len(seeds) > 1 and kind == "test":
        ax.fill_between(epochs, seeds.min(0), seeds.max(0), color=colour, alpha=0.15, linewidth=0)


def add_legend(fig: Any, colours: dict[Size, Any], kinds: set[str], falls: bool) -> None:
    """Add a legend below the picture, for its colours and dashes."""
    from matplotlib.lines import Line2D

    looks: dict[str, dict[str, Any]] = {
        size_told(size): {"color": colour, "linewidth": 2} for size, colour in colours.items()
    }
    looks |= {
        KINDS[kind][0]: {"color": "0.3", "linestyle": KINDS[kind][1]}
        for kind in KINDS
        if kind in kinds
    }

    if falls:
        looks["the learning rate falls"] = FALL

    keys = {label: Line2D([], [], **look) for label, look in looks.items()}
    fig.legend(
        [*keys.values()],
        [*keys],
        loc="outside lower center",
        ncols=max(2, int(fig.get_size_inches()[0] // 2.1)),
    )
