"""What is known of the images that a network was trained on: how they become its input, and what
its outputs are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.records.files import is_number
from utils.records.networks import HINT
from utils.records.run import load_checked
from utils.settings import dataset_facts


@dataclass(frozen=True)
class Images:
    """``mean`` and ``std`` of pixels between 0 and 1, and the ``classes`` in order, where they are
    known; ``resize``, how other sizes are brought to the network's; ``inside``, whether
    network.onnx takes pixels and normalises them itself."""

    mean: list[float] | None
    std: list[float] | None
    classes: list[str] | None
    resize: str
    inside: bool = False

    def normalised(self, image: Any, size: int) -> Tensor:
        """A network's input (1, 3, S, S) of an RGB image of Pillow's, as images are evaluated
        here."""
        from PIL import Image

        sized = image.resize((size, size), Image.Resampling[self.resize.upper()])
        return self.from_pixels(torch.from_numpy(np.array(sized))[None])

    def from_pixels(self, pixels: Tensor) -> Tensor:
        """A network's input (N, 3, S, S) of pixels (N, S, S, 3), uint8."""
        scale, shift = (factor[:, None, None] for factor in self.factors())
        return pixels.permute(0, 3, 1, 2).float() * scale - shift

    def factors(self) -> tuple[Tensor, Tensor]:
        """What pixels between 0 and 255 are multiplied with, and what is subtracted then: (3,)
        each."""
        mean, std = (
            255 * torch.tensor(values, dtype=torch.float64).float()
            for values in (self.mean or [0.0] * 3, self.std or [1.0] * 3)
        )
        return 1 / std, mean / std

    def names(self, number: int) -> list[str]:
        return self.classes or [f"class {index}" for index in range(number)]


def images_of(dataset: str, given: Mapping[str, Any], num_classes: int) -> Images:
    """What is known of a data set: as ``given``, else by its name."""
    facts = dataset_facts(dataset)
    classes = given.get("classes") or (
        list(facts.classes) if len(facts.classes) == num_classes else None
    )
    mean, std = given.get("mean") or facts.mean, given.get("std") or facts.std
    return Images(
        list(mean) if mean else None,
        list(std) if std else None,
        classes,
        "nearest" if dataset == "digits" else "bicubic",
    )


def stored_with(path: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    """What weights say of the images that they were trained on; {} where they are an earlier
    version's. Raises UserError."""

    def is_list(value: Any, *lengths: int) -> bool:
        return isinstance(value, list) and len(value) in lengths

    def check() -> dict[str, Any]:
        found = {key: stored[key] for key in ("mean", "std", "classes") if key in stored}
        for key, least in (("mean", 0), ("std", 1e-9)):
            if key in found and not (
                is_list(found[key], 3) and all(is_number(value, least, 1) for value in found[key])
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
    """The same, from the data set, where that is one without files or a folder that is there, and
    has the images that ``counts`` says.

    ``settings``: those that chose its images. Raises UserError for a folder that can't be read.
    """
    if dataset != "digits" and not Path(dataset).is_dir():
        return {}
    from utils.data import load_data

    data = load_data(
        dataset,
        limit_train=settings.get("limit_train"),
        validate=settings.get("validate"),
        image_size=None if dataset == "digits" else settings.get("image_size"),
    )
    if len(data.train) != counts.get("images", len(data.train)):
        return {}
    return dict(data.told)
