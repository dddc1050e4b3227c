"""Writes a network to take away, trained or not: plain PyTorch source, weights, ONNX, torch.export;
each read again and compared."""

from typing import Any

from utils.errors import UserError
from utils.script import run
from utils.settings import (
    Folders,
    Networks,
    NetworkShape,
    NetworkSize,
    Storage,
    Target,
    Task,
    check_name,
)
from utils.settings.fields import flag
from utils.settings.parser import Parser

CHOOSING = [
    "prune_fname",
    "descent_idx",
    "uniform",
    "morph",
    "convcut",
    "budget",
    "round_to",
    "min_width",
    "keep",
]


def check(given: dict[str, Any], size: NetworkSize) -> None:
    """Raise UserError unless either a trained network or an untrained one is meant."""
    save, chosen = given["save"], [name for name in CHOOSING if name in given]
    if save and size.target:  # a trained one's target is in parameters or in MACs
        chosen = [name for name in chosen if name != "budget"]
    if bool(save) == bool(chosen):
        raise UserError(
            "give either --save NAME, a trained network, or what an untrained one is made from: "
            "--prune-fname NAME, --uniform or --morph, with their options"
        )
    if save and (option := next((o for o in ("image_size", "channels") if o in given), "")):
        raise UserError(
            f"{flag(option)} goes with an untrained network alone: a trained one takes images "
            "like those it was trained on"
        )


def parser() -> Parser:
    """Return the parser of the command line."""
    p = Parser(__doc__)
    p.add(
        "--save",
        "a trained network: the --save name of its training, with its ratio or target (or "
        "train_norm.py's base network)",
        metavar="NAME",
    )

    # an untrained network
    p.add_fields(
        Networks(),
        only=CHOOSING,
        prune_fname="an untrained one: the --save name of a search, or 'published'; with --morph, "
        "of a --morph search",
    )
    p.add_fields(
        NetworkSize(),
        ratio="the network's ratio",
        target="in place of the ratio: the network's target, as 25%% or 300k",
    )
    p.add_fields(
        NetworkShape(),
        only=["image_size", "channels"],
        image_size="of an untrained one: pixels of a side of its images, or of both, height x "
        "width (default: as its search had them, else those of --dataset)",
        channels="of an untrained one: channels of its images, 1 or 3 (default: as its search had "
        "them, else those that it takes of --dataset)",
    )

    # the files
    p.add(
        "--preprocessing",
        "network.onnx takes pixels, (N, H, W, C), uint8, RGB or grey, and normalises them itself",
        action="store_true",
    )
    p.add(
        "--out",
        "the folder to write (default: exported/<model>/<name>_<100 * ratio, or target>)",
        metavar="DIR",
    )
    p.add("--overwrite", "replace an export that is there", action="store_true")
    p.add_fields(Storage(save="NAME"), only=["model_dir"], model_dir="where weights are kept")
    return p


def main() -> None:
    given, task, folders, size = parser().parse_settings(Task(), Folders(), NetworkSize())
    save = given["save"]
    check(given, size)
    networks = Networks().with_overrides(
        {
            **{name: given[name] for name in CHOOSING if name in given},
            "target": (size.target,) if size.target else None,
        }
    )

    from utils.export.export import export_trained, export_untrained, trained_size

    if save:
        model_dir = given.get("model_dir", Storage.model_dir)
        export_trained(
            task,
            check_name(save),
            trained_size(size, task.model, save, networks.budget, model_dir),
            given["out"],
            folders,
            model_dir,
            given["overwrite"],
            given["preprocessing"],
        )
    else:
        export_untrained(
            task,
            networks,
            Target.parse(size.target) if size.target else size.ratio,
            given["out"],
            folders,
            given["overwrite"],
            given.get("image_size"),
            given.get("channels"),
            given["preprocessing"],
        )


if __name__ == "__main__":
    run(main, resumes=False)
