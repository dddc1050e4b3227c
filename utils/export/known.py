"""The images that a network was trained on: the way from images to its input, and the names of its
outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import COLOURS, ImageSize, Shape, image_shape
from utils.records.files import is_number
from utils.records.networks import HINT
from utils.records.run import load_checked
from utils.settings import dataset_facts, dataset_name


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of images, and their classes.

    ``mean`` and ``std`` are those of pixels between 0 and 1, and ``classes`` the names in order, if
    they are known. ``resize`` is the method by which images are brought to the network's size. If
    ``inside``, network.onnx takes pixels and normalises them itself. ``channels`` is 3 for RGB, 1
    for grey.
    """

    mean: list[float] | None
    std: list[float] | None
    classes: list[str] | None
    resize: str
    inside: bool = False
    channels: int = COLOURS

    @property
    def colour(self) -> str:
        """Pillow's mode of the images."""
        return "RGB" if self.channels == COLOURS else "L"

    def normalised(self, image: Any, size: ImageSize) -> Tensor:
        """Return a network's input (1, C, H, W) for an image of Pillow's, as in evaluation."""
        from PIL import Image

        channels, height, width = image_shape(size)
        sized = image.resize((width, height), Image.Resampling[self.resize.upper()])
        return self.from_pixels(torch.from_numpy(np.array(sized)).view(1, height, width, channels))

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """Return a network's input (N, C, H, W) for pixels (N, H, W, C), uint8."""
        scale, shift = (factor[:, None, None] for factor in self.factors())
        return pixels.permute(0, 3, 1, 2).float() * scale - shift

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return the factors for pixels between 0 and 255, and the numbers to subtract then: (3,)
        each."""
        mean, std = (
            255 * torch.tensor(values, dtype=torch.float64).float()
            for values in (
                self.mean or [0.0] * self.channels,
                self.std or [1.0] * self.channels,
            )
        )
        return 1 / std, mean / std

    def names(self, number: int) -> list[str]:
        """Return the names of the classes."""
        return self.classes or [f"class {index}" for index in range(number)]


def images_of(
    dataset: str, given: Mapping[str, Any], num_classes: int, channels: int = COLOURS
) -> Preprocessing:
    """Return the preprocessing of a data set: as ``given``, or else by its name."""
    facts = dataset_facts(dataset)
    if channels != COLOURS:
        facts = replace(facts, mean=None, std=None)  # it is of other channels
    classes = given.get("classes") or (
        list(facts.classes) if len(facts.classes) == num_classes else None
    )
    mean, std = given.get("mean") or facts.mean, given.get("std") or facts.std
    return Preprocessing(
        list(mean) if mean else None,
        list(std) if std else None,
        classes,
        facts.interpolation,
        channels=channels,
    )


def images_for(dataset: str, given: Mapping[str, Any], shape: Shape) -> Preprocessing:
    """The same, of networks of a shape."""
    return images_of(dataset, given, shape["num_classes"], shape.get("channels", COLOURS))


def stored_with(path: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what weights have about the images that they were trained on; {} for an earlier
    version's.

    Raises UserError.
    """

    def is_list(value: Any, *lengths: int) -> bool:
        return isinstance(value, list) and len(value) in lengths

    def check() -> dict[str, Any]:
        found = {key: stored[key] for key in ("mean", "std", "classes") if key in stored}
        for key, least in (("mean", 0), ("std", 1e-9)):
            if key in found and not (
                is_list(found[key], stored.get("channels", COLOURS))
                and all(is_number(value, least, 1) for value in found[key])
            ):
                raise ValueError(key)
        names = found.get("classes", [])
        if not (
            is_list(names, 0, stored["num_classes"])
            and all(isinstance(name, str) for name in names)
        ):
            raise ValueError("classes")
        return found

    return load_checked(path, check, HINT)


def measured(
    dataset: str, settings: Mapping[str, Any], counts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the same from the data set, if it needs no files or is a folder that is there, and has
    the images in ``counts``.

    ``settings`` are those that chose its images. Raises UserError for a folder that can't be read.
    """
    installed = dataset_facts(dataset).installed
    if not installed and not Path(dataset).is_dir():
        return {}
    from utils.data import load_data

    data = load_data(
        dataset,
        limit_train=settings.get("limit_train"),
        validate=settings.get("validate"),
        image_size=None if installed else settings.get("image_size"),
        channels=settings.get("channels"),
    )
    if len(data.train) != counts.get("images", len(data.train)):
        return {}
    return dict(data.facts)


def known_of(
    dataset: str, shape: Shape, settings: dict[str, Any], counts: dict[str, Any]
) -> dict[str, Any]:
    """Return what weights lack about their images, measured on these.

    Returns {} if the data set's name says it all, and if the images are others now.
    """
    by_name = images_for(dataset_name(dataset), {}, shape)
    if by_name.mean and by_name.classes and not Path(dataset).is_dir():
        return {}
    found = measured(dataset, settings, counts)
    # with other classes, these are other images
    return found if len(found.get("classes", ())) == shape["num_classes"] else {}
