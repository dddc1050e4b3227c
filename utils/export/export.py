"""Exports a network, trained or not: the folder that needs nothing of this project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model import (
    BUDGETS,
    COLOURS,
    ImageSize,
    Shape,
    build_model,
    shape_for,
)
from utils.data import shape_of
from utils.data.channels import channels_for
from utils.errors import UserError
from utils.export.folder import check_free
from utils.export.formats import (
    check_packages,
)
from utils.export.known import images_for, known_of, stored_with
from utils.export.write import FILES, write
from utils.records.method import Method
from utils.records.methods import is_own_search, method_of, read_scalings, refuse_impossible
from utils.records.networks import Stored, network_of, read_stored
from utils.records.paths import at_size, named_after, result_file, size_slug, weights_file
from utils.records.results import read_result
from utils.records.run import same_settings
from utils.records.shapes import shape_in
from utils.records.sizes import size_asked, size_of
from utils.settings import (
    DATASETS,
    Folders,
    Limit,
    Networks,
    NetworkSize,
    Size,
    Target,
    Task,
    dataset_name,
    size_told,
)
from utils.settings.target import size_shown
from utils.training.device import seed_from

# entries of a training's result that are exported with its network
OF_RESULTS = (
    "method",
    "ratio",
    "target",
    "params",
    "macs",
    "before",
    "weights",
    "seed",
    "budget",
    "round_to",
    "min_width",
    "keep",
    "origin",
    "best",
    "last",
    "images",
    "test_images",
    "settings",
    "versions",
    "threads",
    "commit",
    "base",
)


def export_trained(
    task: Task,
    save: str,
    size: Size,
    out: str | None,
    folders: Folders,
    model_dir: str,
    overwrite: bool = False,
    preprocessing: bool = False,
) -> Path:
    """Export the network that a training ``save`` left.

    It was trained from scratch at a ratio or target, fine-tuned, or is a base network. Raises
    UserError where it isn't there or isn't whole, where ``out`` is taken, and where a file that was
    written gives other outputs.
    """
    check_packages()
    target = Path(out or named_after("exported", task.model) / f"{save}_{size_slug(size)}")
    check_free(target, FILES, overwrite)
    dataset = dataset_name(task.dataset)
    path = weights_file(model_dir, task.model, at_size(save, size))
    # the weights of a base network have no ratio in their name
    if not path.exists() and (base := weights_file(model_dir, task.model, save)).exists():
        path = base
    expect_weights(path, save)
    stored = read_stored(path, task.model)
    result = result_of(path, stored, task, save, size, folders)

    origin = {
        "trained": True,
        "name": save,
        "accuracy": result["last"],
        **{key: result[key] for key in OF_RESULTS if key in result},
    }
    # a folder's images are of this size, whatever determined it
    shape = shape_in(stored)
    known = stored_with(path, stored) or known_of(
        task.dataset, shape, {**result["settings"], **shape}, result
    )
    images = replace(images_for(dataset, known, shape), inside=preprocessing)
    return write(
        network_of(path, stored),
        stored["filters"],
        stored["convcut"],
        task.model,
        dataset,
        shape,
        origin,
        target,
        overwrite,
        images=images,
    )


def expect_weights(path: Path, save: str) -> None:
    """Raise UserError if ``save`` has no weights in ``path``, but has them at other sizes."""
    there = [other.stem for other in sorted(path.parent.glob(f"{save}@*.pt"))]
    found = [name for name in there if not name.endswith("@unfinished")]
    if found and not path.exists():
        raise UserError(
            f"{path}: there is no such file, but there is {', '.join(found)}; give the --ratio, or "
            "the --target and --budget, of one of them"
        )


def result_of(
    path: Path, stored: Stored, task: Task, save: str, size: Size, folders: Folders
) -> dict[str, Any]:
    """Return the result that belongs to the weights in ``path``. Raises UserError if none does."""
    dataset = dataset_name(task.dataset)
    if (stored["model"], stored["dataset"]) != (task.model, dataset):
        raise UserError(
            f"{path}: a {stored['model']} of {stored['dataset']}, not a {task.model} of "
            f"{dataset}; give its --model and --dataset"
        )

    source = result_file(folders.plot_dir, task.model, save, size)
    result = read_result(source)
    if (found := size_of(result)) != size:  # the same file name has int(100 * ratio)
        raise UserError(f"{source}: of {size_told(found)}, not {size_shown(size)}; give that")
    has: dict[str, Any] = dict(result)
    same_settings(path, {key: has.get(key) for key in stored["begun_with"]}, stored["begun_with"])
    if stored["filters"] != result["filters"]:
        raise UserError(f"{path}: has other filters than its result {source}; train it again")
    return has


def trained_size(
    network: NetworkSize, model: str, save: str, budget: str | None, model_dir: str
) -> Size:
    """Return the size in the name of the weights of a training ``save``.

    A target without a ``budget`` is in the unit of the weights that are there. Raises UserError if
    there are weights in both.
    """
    if not network.target or budget:
        return size_asked(network, budget or "params")
    sizes = [size_asked(network, unit) for unit in BUDGETS]
    there = [size for size in sizes if weights_file(model_dir, model, at_size(save, size)).exists()]
    if len(there) > 1:
        raise UserError(
            f"--target {network.target}: {save} was trained with it both in parameters and in "
            "MACs; say which with --budget"
        )
    return there[0] if there else size_asked(network, "macs")


def export_untrained(
    task: Task,
    networks: Networks,
    size: float | Target,
    out: str | None,
    folders: Folders,
    overwrite: bool = False,
    image_size: ImageSize | None = None,
    channels: int | None = None,
    preprocessing: bool = False,
) -> Path:
    """Export a network as a sweep would begin to train it with the seed 0.

    It is for images of ``image_size`` and ``channels``, by default those of its search, or else of
    its data set. Raises UserError.
    """
    check_packages()
    model, dataset = task.model, dataset_name(task.dataset)
    method = method_of(networks, model, dataset, folders.record_dir)
    wanted = Limit(size, method.budget) if isinstance(size, Target) else size
    shape = untrained_shape(task, networks, folders, image_size, channels)
    refuse_impossible(
        model,
        task.dataset,
        wanted,
        image_size=shape["image_size"],
        channels=shape.get("channels"),
        keep=method.keep,
    )
    if line := method.other_size(shape["image_size"]):
        print(line)

    name = untrained_name(method, networks, size)
    target = Path(
        out or named_after("exported", model) / f"{dataset}_{name}_{size_slug(wanted)}_untrained"
    )
    check_free(target, FILES, overwrite)

    filters = method.filters(wanted, **shape)
    torch.manual_seed(seed_from(0))
    built = build_model(model, filters, convcut=method.convcut, **shape)
    known = known_of(task.dataset, shape, dict(shape), {})
    images = replace(images_for(dataset, known, shape), inside=preprocessing)
    return write(
        built,
        filters,
        method.convcut,
        model,
        dataset,
        shape,
        untrained_origin(method, wanted, shape),
        target,
        overwrite,
        images=images,
    )


def untrained_name(method: Method, networks: Networks, size: float | Target) -> str:
    """Return a name for the folder of an untrained network, with the options it was made with."""
    kind = "_".join(
        [
            method.name,
            *["macs"] * (method.budget == "macs" and not isinstance(size, Target)),
            *[f"by{method.round_to}"] * (method.round_to != 1),
            *[f"from{method.min_width}"] * (networks.min_width is not None),
            *["kept"] * (networks.keep is not None),
        ]
    )
    return f"{networks.prune_fname}_{kind}" if networks.prune_fname else kind


def untrained_origin(method: Method, size: Size, shape: Shape) -> dict[str, Any]:
    """Return where an untrained network comes from, by the names in results."""
    target = {"target": str(size.target)} if isinstance(size, Limit) else {}
    return {
        "trained": False,
        "method": method.name,
        "ratio": method.ratio(size, **shape),
        **target,
        "seed": 0,
        "budget": method.budget,
        "round_to": method.round_to,
        "min_width": method.min_width,
        "keep": list(method.keep),
        "origin": method.origin,
    }


def untrained_shape(
    task: Task,
    networks: Networks,
    folders: Folders,
    image_size: ImageSize | None,
    channels: int | None,
) -> Shape:
    """Return the classes and images of an untrained network.

    These are the given images, or else those of its search, or of its data set. Raises UserError.
    """
    dataset = dataset_name(task.dataset)
    if networks.prune_fname:
        record = read_scalings(folders.record_dir, networks.prune_fname, task.model, dataset)
        if is_own_search(record):
            found = shape_in(record)
            return shape_for(
                found["num_classes"],
                image_size or found["image_size"],
                channels or found.get("channels", COLOURS),
            )
    if not (dataset in DATASETS or Path(task.dataset).is_dir()):
        raise UserError(
            f"--dataset {task.dataset}: its classes are not known here; give its folder's path, "
            "export a trained network of it with --save, or one of a search of it with "
            "--prune-fname"
        )
    channels = channels_for(task.model, task.dataset, image_size, channels)
    return shape_of(task.dataset, image_size, channels)
