"""Data sets: images and labels to train on and to test on, and their facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np
from torch import Tensor
from tqdm import tqdm

from model import COLOURS, ImageSize, Shape, shape_for
from utils.errors import UserError
from utils.settings import Dataset

MEASURED = 10_000  # images at least, of larger data sets, for their mean and standard deviation
AT_ONCE = 64  # images that are measured together


class Images(Protocol):
    """Images of shape (N, H, W, C), uint8, in memory or not.

    An array of indices (B,) reads (B, H, W, C).
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


def in_memory(images: Images) -> TypeGuard[np.ndarray]:
    """Return True for an array in memory, False for one that is mapped from a file."""
    return isinstance(images, np.ndarray) and not isinstance(images, np.memmap)


@dataclass
class Split:
    """Images (N, H, W, C), uint8, and labels (N,), int64, on one device; or labels on it, and
    images that are read by batches."""

    images: Tensor | Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Data:
    """A data set. ``mean`` and ``std`` are per channel, of pixels between 0 and 255."""

    name: str
    train: Split
    test: Split
    num_classes: int
    image_size: ImageSize  # a side, or (height, width)
    mean: Tensor
    std: Tensor
    settings: Dataset
    validation: Split | None = None  # images held out of ``train``
    classes: tuple[str, ...] = ()  # the names of the classes, by their numbers
    channels: int = COLOURS

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of images, by their names in results and on the screen."""
        held_out = {"validation_images": len(self.validation)} if self.validation else {}
        return {"images": len(self.train), "test_images": len(self.test), **held_out}

    @property
    def facts(self) -> dict[str, list[float] | list[str]]:
        """The facts for using a network of these images elsewhere: ``mean`` and ``std`` of pixels
        between 0 and 1, and ``classes``."""
        facts = self.settings
        mean, std = (
            (list(facts.mean), list(facts.std))
            if facts.mean and facts.std
            else ((tensor.double() / 255).tolist() for tensor in (self.mean, self.std))
        )
        return {"mean": mean, "std": std, "classes": list(self.classes)}

    @property
    def shape(self) -> Shape:
        """The classes and images of networks for this data, as arguments of ``model``'s
        functions."""
        return shape_for(self.num_classes, self.image_size, self.channels)


def mean_and_std(images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and deviation of images (N, H, W, C), uint8, per channel, shape (C,).

    They are over all pixels; over evenly spaced images where N >= 2 * MEASURED. The sums are exact,
    and taken over a few images at a time.
    """
    chosen = np.arange(0, len(images), max(1, len(images) // MEASURED))
    channels = images.shape[-1]
    total, square, pixels = np.zeros(channels), np.zeros(channels), 0
    for start in tqdm(
        range(0, len(chosen), AT_ONCE),
        "mean and deviation",
        disable=None,
        delay=1,
        dynamic_ncols=True,
    ):
        part = images[chosen[start : start + AT_ONCE]]
        pixels += part.size // channels
        total += np.einsum("nhwc->c", part, dtype=np.float64, casting="safe")
        square += np.einsum("nhwc,nhwc->c", part, part, dtype=np.float64, casting="safe")

    mean = total / pixels
    return mean, np.sqrt(np.maximum(square / pixels - mean**2, 0))


@dataclass(frozen=True)
class Wanted:
    """The numbers of images that are asked for, equally many of each class; None is all.

    Images to validate on are held out of training.
    """

    train: int | None = None
    test: int | None = None
    validate: int | None = None

    def chosen(self, train: np.ndarray, test: np.ndarray) -> Chosen:
        """Return the indices of images, by the labels of all.

        Images held out are the last of their classes, however many are trained on. Raises UserError
        if a class would have no image left to train on.
        """
        if self.validate is None:
            return Chosen(balanced(train, self.train), balanced(test, self.test), None)
        held = np.sort(len(train) - 1 - balanced(train[::-1], self.validate))
        rest = np.setdiff1d(np.arange(len(train)), held)
        if len({*train}) > len({*train[rest]}):
            raise UserError(
                f"--validate {self.validate}: of {len(train)} training images, in {len({*train})} "
                "classes, that leaves a class without any to train on"
            )
        return Chosen(rest[balanced(train[rest], self.train)], balanced(test, self.test), held)


class Chosen(NamedTuple):
    """The indices of images to train on and to validate on, among the training images, and to test
    on, among the test images."""

    train: np.ndarray
    test: np.ndarray
    validation: np.ndarray | None


def balanced(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """Return the indices of the first ``limit`` images, taking the classes in turn; all without a
    limit."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    rank = np.empty(len(labels), int)
    rank[by_class] = np.concatenate([np.arange(count) for count in counts])
    return np.sort(np.lexsort((labels, rank))[:limit])
