"""Writes the folder of an exported network, and compares its files with the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from model import ImageSize, Shape, count_macs, count_params, pixels_in
from utils.errors import UserError
from utils.export.compare import TOLERANCE, check_example, differences
from utils.export.contents import ARCHITECTURE, README, ExportPlan, interface, own_class, say
from utils.export.folder import replacing_folder
from utils.export.formats import EXAMPLE, ONNX, PACKAGES, PROGRAM, SOURCE, WEIGHTS, written
from utils.export.known import Preprocessing, images_for
from utils.export.texts import example_text, readme
from utils.records.run import provenance
from utils.records.shapes import recorded

FILES = (ARCHITECTURE, WEIGHTS, ONNX, PROGRAM, README, SOURCE, EXAMPLE)


def write(
    network: nn.Module,
    filters: list[int],
    convcut: bool,
    model: str,
    dataset: str,
    shape: Shape,
    origin: dict[str, Any],
    target: Path,
    overwrite: bool = False,
    *,
    images: Preprocessing | None = None,
) -> Path:
    """Write the folder ``target``, whole or not at all, and print what is in it.

    Each file is read again and compared. ``images`` has the way from images to the network's input,
    by default that of the data set's name. Raises UserError.
    """
    images, pixels = images or images_for(dataset, {}, shape), pixels_in(shape)
    if images.inside and images.mean is None:
        raise UserError(
            "--preprocessing: the mean and deviation of the training images are not known; "
            "give --dataset the path to the folder with these images"
        )

    network = network.cpu().eval()
    plan = ExportPlan.of(network, model, dataset, shape)
    about = {
        "model": model,
        "dataset": dataset,
        **recorded(shape),
        "classes": images.classes,
        "mean": images.mean,
        "std": images.std,
        "convcut": convcut,
        "filters": filters,
        "params": count_params(model, filters, convcut=convcut, **shape),
        "macs": count_macs(model, filters, convcut=convcut, **shape),
        "stored_params": plan.params,
        **interface(images, shape),
        **origin,
        "not_written": {SOURCE: plan.reason} if plan.reason else {},
    }

    with replacing_folder(target, FILES, overwrite) as folder:
        for name, content in written(plan.network, plan.state, plan.source, pixels, images):
            (folder / name).write_bytes(content)

        # compared before the rest is written, which describes the differences
        found = differences(network, folder, pixels, images, plan.reference)
        about["training_differs"] = found.pop("training", "")
        about["exported_with"] = {**provenance("cpu")["versions"], **versions()}
        about["differences"] = found
        write_texts(folder, about, plan, images, pixels)
        if images.mean:
            check_example(folder, network, pixels, images)
        sizes = {name: (folder / name).stat().st_size for name in found}
    say(about, sizes)
    print(f"exported to {target}")
    return target


def write_texts(
    folder: Path, about: dict[str, Any], plan: ExportPlan, images: Preprocessing, pixels: ImageSize
) -> None:
    """Write the description of a network, its README and its example."""
    texts = {
        ARCHITECTURE: json.dumps(about, indent=1, ensure_ascii=False) + "\n",
        EXAMPLE: example_text(images, pixels),
        README: readme(about, TOLERANCE, own_class(about, plan.state)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def versions() -> dict[str, str]:
    """Return the versions of the packages that wrote the files."""
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}
