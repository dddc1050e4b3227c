"""Data sets as uint8 tensors on the device: CIFAR, TinyImageNet, the digits, and any folder of images."""
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import Shape
from utils.errors import UserError
from utils.records.paths import tiny_imagenet_folder
from utils.settings import FOLDER_SIZES, Dataset, dataset_facts, dataset_name

MEASURED = 10_000  # images at least, of larger data sets, for their mean and standard deviation
NUM_DIGITS_TEST = 360  # the last of the 1,797 digits

Limits = tuple[int | None, int | None]  # of training and of test images
Part = tuple[np.ndarray, np.ndarray]  # images (N, S, S, 3), uint8, and labels (N,)
Parts = tuple[Part, Part, int]  # to train on, to test on, and the number of classes


@dataclass
class Split:
    """Images (N, S, S, 3), uint8, and labels (N,), int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Data:
    """A data set in memory. ``mean`` and ``std`` are per channel, of pixels between 0 and 255."""

    name: str
    train: Split
    test: Split
    num_classes: int
    image_size: int
    mean: Tensor
    std: Tensor
    settings: Dataset

    @property
    def shape(self) -> Shape:
        """What the networks for this data have in common, as the keyword arguments of ``model``'s functions."""
        return {"num_classes": self.num_classes, "image_size": self.image_size}


def load_data(dataset: str, data_dir: str = "data", device: str = "cpu", *, limit_train: int | None = None,
              limit_test: int | None = None, batch_size: int = 1) -> Data:
    """Reads a data set by name, or from a folder with train/<class>/** and test/<class>/**.

    Raises UserError for data that is missing, damaged, without classes, or has fewer images than a batch.
    """
    name = dataset_name(dataset)
    settings = dataset_facts(name)
    limits = (limit_train, limit_test)
    if Path(dataset).is_dir():
        found = _read_folder(Path(dataset), limits)
    elif dataset in ("CIFAR10", "CIFAR100"):
        found = _read_cifar(dataset, Path(data_dir), limits)
    elif dataset == "digits":
        found = _read_digits(limits)
    elif dataset == "tinyimagenet":
        found = _read_folder(tiny_imagenet_folder(data_dir), limits, 64)
    else:
        raise UserError(f"--dataset {dataset}: neither CIFAR10, CIFAR100, tinyimagenet, digits nor a folder")
    (train_images, train_labels), (test_images, test_labels), num_classes = found
    if len(train_labels) < batch_size:
        raise UserError(f"--batch-size {batch_size}: there are only {len(train_labels)} training images")
    for option, limit, labels in (("--limit-train", limit_train, train_labels), ("--limit-test", limit_test, test_labels)):
        if limit and len(labels) < limit:
            print(f"{option} {limit}: there are only {len(labels)} images; all of them are taken", flush=True)
    mean, std = (255 * np.array([settings.mean, settings.std])) if settings.mean else mean_and_std(train_images)

    def on_device(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    return Data(name, Split(on_device(train_images, torch.uint8), on_device(train_labels, torch.int64)),
                Split(on_device(test_images, torch.uint8), on_device(test_labels, torch.int64)),
                num_classes, train_images.shape[1], on_device(mean, torch.float32),
                on_device(np.maximum(std, 1.0), torch.float32), settings)


def mean_and_std(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of images (N, S, S, 3), uint8: per channel, shape (3,), over all pixels; of evenly spaced images where N >= 2 * MEASURED.

    The sums are exact, and taken without a copy of the images.
    """
    images = images[:: max(1, len(images) // MEASURED)]
    pixels = images.size // 3
    mean = np.einsum("nhwc->c", images, dtype=np.float64, casting="safe") / pixels
    square = np.einsum("nhwc,nhwc->c", images, images, dtype=np.float64, casting="safe") / pixels
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def balanced(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """The indices of the first ``limit`` images, taking the classes in turn; all of them without a limit."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    rank = np.empty(len(labels), int)
    rank[by_class] = np.concatenate([np.arange(count) for count in counts])
    return np.sort(np.lexsort((labels, rank))[:limit])


# --- reading -------------------------------------------------------------------------------------------------------

def _first(images: np.ndarray, labels: np.ndarray, limit: int | None) -> Part:
    chosen = balanced(labels, limit)
    return images[chosen], labels[chosen]


def _read_digits(limits: Limits) -> Parts:
    from sklearn.datasets import load_digits
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), 0 to 16
    images = images.repeat(4, axis=1).repeat(4, axis=2)[..., None].repeat(3, axis=3)
    train, test = slice(None, -NUM_DIGITS_TEST), slice(-NUM_DIGITS_TEST, None)
    return _first(images[train], digits.target[train], limits[0]), _first(images[test], digits.target[test], limits[1]), 10


def _read_cifar(name: str, root: Path, limits: Limits) -> Parts:
    from torchvision import datasets
    try:
        train, test = (getattr(datasets, name)(root=str(root), train=train, download=True) for train in (True, False))
    except Exception as error:  # torchvision raises many kinds: no network, a bad checksum, a full disk
        raise UserError(f"{root}: {name} is not there, or damaged, and can't be downloaded ({error}); put its archive "
                        "there, or give --dataset a folder of images") from None
    return _first(train.data, np.array(train.targets), limits[0]), _first(test.data, np.array(test.targets), limits[1]), len(test.classes)


def _read_folder(root: Path, limits: Limits, size: int | None = None) -> Parts:
    """Decodes train/<class>/** and test/<class>/**; images that are not size x size are resized."""
    from torchvision.datasets import ImageFolder
    splits = []
    hint = "; run val_format.py first" if (root / "val").is_dir() else ""
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise UserError(f"{root / part}: there is no such folder; a data set has train/<class>/ and test/<class>/{hint}")
        try:
            splits.append(ImageFolder(str(root / part)))
        except OSError as error:
            raise UserError(f"{root / part}: {' '.join(str(error).split())[:300]}{hint}") from None
    train_classes, test_classes = (split.classes for split in splits)
    if train_classes != test_classes:
        odd = sorted(set(train_classes) ^ set(test_classes))
        hint = "; run val_format.py first" if (root / "val" / "images").is_dir() else ""
        raise UserError(f"{root}: train and test have different classes, {', '.join(odd[:3])} for one{hint}")
    if size is None:  # the first image decides
        shorter = min(_decode(splits[0].samples[0][0]).size)
        size = min(FOLDER_SIZES, key=lambda s: abs(s - shorter))
    train, test = (_decoded(split, limit, size) for split, limit in zip(splits, limits))
    return train, test, len(train_classes)


def _decoded(split: Any, limit: int | None, size: int) -> Part:
    """The images of an ImageFolder, as many as ``limit`` says."""
    labels = np.array(split.targets)
    chosen = balanced(labels, limit)
    images = np.empty((len(chosen), size, size, 3), np.uint8)
    for row, index in zip(images, chosen):
        row[:] = _decode(split.samples[index][0]).resize((size, size))
    return images, labels[chosen]


def _decode(path: str) -> Any:
    """An RGB image of Pillow's. Raises UserError for a file that is damaged, or no image."""
    from torchvision.datasets.folder import default_loader
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("no regular file")  # whoever opens a pipe may wait for ever
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Truncated")  # of a torn TIFF Pillow would make what it can
            return default_loader(path)
    except Exception as error:  # Pillow raises whatever the damage happens to cause
        raise UserError(f"{path}: not an image, or damaged ({error}); replace or remove it") from None
