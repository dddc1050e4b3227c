"""Exports a network, trained or not: the folder that needs nothing of this project."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model import (
    BUDGETS,
    COLOURS,
    ImageSize,
    Shape,
    build_model,
    count_macs,
    count_params,
    pixels_in,
    shape_for,
)
from utils.data import shape_of
from utils.data.channels import channels_for
from utils.errors import UserError
from utils.export.compare import TOLERANCE, check_example, differences
from utils.export.contents import ARCHITECTURE, README, Plan, interface, own_class, say
from utils.export.folder import check_free, replacing_folder
from utils.export.formats import (
    EXAMPLE,
    ONNX,
    PACKAGES,
    PROGRAM,
    SOURCE,
    WEIGHTS,
    check_packages,
    written,
)
from utils.export.known import Images, images_for, known_of, stored_with
from utils.export.texts import example_text, readme
from utils.records.methods import is_own, method_of, read_scalings, refuse_impossible
from utils.records.networks import network_of, read_stored
from utils.records.paths import at_size, named_after, result_file, size_slug, weights_file
from utils.records.results import read_result
from utils.records.run import provenance, same_settings
from utils.records.shapes import recorded, shape_in
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

FILES = (ARCHITECTURE, WEIGHTS, ONNX, PROGRAM, README, SOURCE, EXAMPLE)
OF_RESULTS = (
    "method",
    "ratio",
    "target",
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
    # what of a training's result goes with its network
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
    """Exports the network that a training ``save`` left: from scratch at a ratio or target,
    fine-tuned, or a base network.

    Raises UserError where it isn't there or isn't whole, where ``out`` is taken, and where what was
    written gives other outputs.
    """
    check_packages()
    target = Path(out or named_after("exported", task.model) / f"{save}_{size_slug(size)}")
    check_free(target, FILES, overwrite)
    path = weights_file(model_dir, task.model, at_size(save, size))
    # train_norm.py's have no ratio in their name
    if not path.exists() and (base := weights_file(model_dir, task.model, save)).exists():
        path = base
    stored, dataset = read_stored(path, task.model), dataset_name(task.dataset)
    if (stored["model"], stored["dataset"]) != (task.model, dataset):
        raise UserError(
            f"{path}: a {stored['model']} of {stored['dataset']}, not a {task.model} of "
            f"{dataset}; give its --model and "
            "--dataset"
        )
    source = result_file(folders.plot_dir, task.model, save, size)
    result = read_result(source)
    if (found := size_of(result)) != size:  # the same file name has int(100 * ratio)
        raise UserError(f"{source}: of {size_told(found)}, not {size_shown(size)}; give that")
    told: dict[str, Any] = dict(result)
    same_settings(path, {key: told.get(key) for key in stored["begun_with"]}, stored["begun_with"])
    if stored["filters"] != result["filters"]:
        raise UserError(f"{path}: has other filters than its result {source}; train it again")
    about = {
        "trained": True,
        "name": save,
        "accuracy": told["last"],
        **{key: told[key] for key in OF_RESULTS if key in told},
    }
    # of a folder's images, wherever that size comes from
    shape = shape_in(stored)
    known = stored_with(path, stored) or known_of(
        task.dataset, shape, {**told["settings"], **shape}, told
    )
    images = replace(images_for(dataset, known, shape), inside=preprocessing)
    return write(
        network_of(path, stored),
        stored["filters"],
        stored["convcut"],
        task.model,
        dataset,
        shape,
        about,
        target,
        overwrite,
        images=images,
    )


def trained_size(
    network: NetworkSize, model: str, save: str, budget: str | None, model_dir: str
) -> Size:
    """The size by which the weights of a training ``save`` are named. A target without a ``budget``
    is in the unit in which such weights are there. Raises UserError where they are there in both.
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
    """Exports a network as a sweep would begin to train it with the seed 0: for images of
    ``image_size`` and ``channels``, or as its search had them, else its data set. Raises
    UserError."""
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

    kind = "_".join(
        [
            method.name,
            *["macs"] * (method.budget == "macs" and not isinstance(size, Target)),
            *[f"by{method.round_to}"] * (method.round_to != 1),
            *[f"from{method.min_width}"] * (networks.min_width is not None),
            *["kept"] * (networks.keep is not None),
        ]
    )
    name = f"{networks.prune_fname}_{kind}" if networks.prune_fname else kind
    target = Path(
        out or named_after("exported", model) / f"{dataset}_{name}_{size_slug(wanted)}_untrained"
    )
    check_free(target, FILES, overwrite)

    filters = method.filters(wanted, **shape)
    torch.manual_seed(seed_from(0))
    about = {
        "trained": False,
        "method": method.name,
        "ratio": method.ratio(wanted, **shape),
        **({"target": str(size)} if isinstance(size, Target) else {}),
        "seed": 0,
        "budget": method.budget,
        "round_to": method.round_to,
        "min_width": method.min_width,
        "keep": list(method.keep),
        "origin": method.origin,
    }
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
        about,
        target,
        overwrite,
        images=images,
    )


def untrained_shape(
    task: Task,
    networks: Networks,
    folders: Folders,
    image_size: ImageSize | None,
    channels: int | None,
) -> Shape:
    """The classes and images of a network that nobody has trained: of these images, else of its
    search's, else of its data set's. Raises UserError."""
    dataset = dataset_name(task.dataset)
    if networks.prune_fname:
        record = read_scalings(folders.record_dir, networks.prune_fname, task.model, dataset)
        if is_own(record):
            found = shape_in(record)
            return shape_for(
                found["num_classes"],
                image_size or found["image_size"],
                channels or found.get("channels", COLOURS),
            )
    if not (dataset in DATASETS or Path(task.dataset).is_dir()):
        raise UserError(
            f"--dataset {task.dataset}: its classes are not known here; give its folder's path, "
            "export a trained network of it "
            "with --save, or one of a search of it with --prune-fname"
        )
    channels = channels_for(task.model, task.dataset, image_size, channels)
    return shape_of(task.dataset, image_size, channels)


def write(
    network: nn.Module,
    filters: list[int],
    convcut: bool,
    model: str,
    dataset: str,
    shape: Shape,
    about: dict[str, Any],
    target: Path,
    overwrite: bool = False,
    *,
    images: Images | None = None,
) -> Path:
    """Writes the folder ``target``, whole or not at all, and says what is in it. Each file is read
    again and compared.

    ``images``: how images become the network's input; by itself what the data set's name says.
    """
    images, pixels = images or images_for(dataset, {}, shape), pixels_in(shape)
    if images.inside and images.mean is None:
        raise UserError(
            "--preprocessing: the mean and deviation of the training images are not known; "
            "give --dataset the path to the "
            "folder with these images"
        )
    network = network.cpu().eval()
    plan = Plan.of(network, model, dataset, shape)
    counts = {
        "params": count_params(model, filters, convcut=convcut, **shape),
        "macs": count_macs(model, filters, convcut=convcut, **shape),
    }
    told = {
        "model": model,
        "dataset": dataset,
        **recorded(shape),
        "classes": images.classes,
        "mean": images.mean,
        "std": images.std,
        "convcut": convcut,
        "filters": filters,
        **counts,
        "stored_params": plan.params,
        **interface(images, shape),
        **about,
        "not_written": {SOURCE: plan.reason} if plan.reason else {},
    }

    with replacing_folder(target, FILES, overwrite) as folder:
        for name, content in written(plan.network, plan.state, plan.source, pixels, images):
            (folder / name).write_bytes(content)
        found = differences(network, folder, pixels, images, plan.reference)
        told |= {
            "training_differs": found.pop("training", ""),
            "exported_with": {**provenance("cpu")["versions"], **versions()},
            "differences": found,
        }
        texts = {
            ARCHITECTURE: json.dumps(told, indent=1, ensure_ascii=False) + "\n",
            EXAMPLE: example_text(images, pixels),
            README: readme(told, TOLERANCE, own_class(told, plan.state)),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        if images.mean:
            check_example(folder, network, pixels, images)
        sizes = {name: (folder / name).stat().st_size for name in found}
    say(told, sizes)
    print(f"exported to {target}")
    return target


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}
