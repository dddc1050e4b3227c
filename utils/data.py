"""Images as uint8 tensors on the device, and batches of them: cropped, flipped, rotated and normalised together."""
from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.options import Dataset, dataset_name, dataset_settings
from utils.records import UserError

PADDING = 4  # pixels around an image, for random crops
SIZES = (32, 64)  # the image sizes that the networks are defined for
NUM_DIGITS_TEST = 360  # the last of the 1,797 digits


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
    def shape(self) -> dict[str, int]:
        """What the networks for this data have in common, as the keyword arguments of ``model``'s functions."""
        return {"num_classes": self.num_classes, "image_size": self.image_size}


@dataclass(frozen=True)
class Augmentation:
    """What is drawn at random for each training image."""

    crop: bool
    flip: bool
    rotation: float


def load_data(dataset: str, data_dir: str, device: str, *, limit_train: int | None = None,
              limit_test: int | None = None, batch_size: int = 1) -> Data:
    """Reads a data set by name, or from a folder with train/<class>/** and test/<class>/**.

    Raises UserError for data that is missing, damaged, without classes, or has fewer images than a batch.
    """
    name = dataset_name(dataset)
    settings = dataset_settings(name)
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
    pixels = train_images.reshape(-1, 3)[:: max(1, len(train_images) // 2000)].astype(np.float64)
    mean = 255 * np.array(settings.mean) if settings.mean else pixels.mean(axis=0)
    std = 255 * np.array(settings.std) if settings.std else np.maximum(pixels.std(axis=0), 1.0)

    def on_device(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    return Data(name, Split(on_device(train_images, torch.uint8), on_device(train_labels, torch.int64)),
                Split(on_device(test_images, torch.uint8), on_device(test_labels, torch.int64)),
                num_classes, train_images.shape[1], on_device(mean, torch.float32), on_device(std, torch.float32), settings)


def balanced(labels: np.ndarray, limit: int | None) -> np.ndarray:
    """The indices of the first ``limit`` images, taking the classes in turn; all of them without a limit."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    rank = np.empty(len(labels), int)
    rank[by_class] = np.concatenate([np.arange(count) for count in counts])
    return np.sort(np.lexsort((labels, rank))[:limit])


def tiny_imagenet_folder(data_dir: str) -> Path:
    """Where TinyImageNet is: ``data_dir`` itself, data_dir/tiny-imagenet-200 or tiny-imagenet-200. Raises UserError."""
    places = [Path(data_dir), Path(data_dir) / "tiny-imagenet-200", Path("tiny-imagenet-200")]
    for place in places:
        if (place / "train").is_dir() and (place / "val").is_dir():
            return place
    raise UserError(f"no TinyImageNet in {', '.join(map(str, places))}: unzip tiny-imagenet-200.zip there, "
                    "or say where it is with --data")


# --- reading -------------------------------------------------------------------------------------------------------

def _read_digits(limits):
    from sklearn.datasets import load_digits
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), 0 to 16
    images = images.repeat(4, axis=1).repeat(4, axis=2)[..., None].repeat(3, axis=3)
    parts = []
    for part, limit in zip((slice(None, -NUM_DIGITS_TEST), slice(-NUM_DIGITS_TEST, None)), limits):
        chosen = balanced(digits.target[part], limit)
        parts.append((images[part][chosen], digits.target[part][chosen]))
    return (*parts, 10)


def _read_cifar(name: str, root: Path, limits):
    from torchvision import datasets
    make = getattr(datasets, name)
    parts = []
    for train, limit in zip((True, False), limits):
        try:
            part = make(root=str(root), train=train, download=True)
        except Exception as error:  # torchvision raises many kinds: no network, a bad checksum, a full disk
            raise UserError(f"{root}: {name} is not there, or damaged, and can't be downloaded ({error}); put its archive "
                            "there, or give --dataset a folder of images") from None
        labels = np.array(part.targets)
        chosen = balanced(labels, limit)
        parts.append((part.data[chosen], labels[chosen]))
    return (*parts, len(part.classes))


def _read_folder(root: Path, limits, size: int | None = None):
    """Decodes train/<class>/** and test/<class>/**; images that are not size x size are resized."""
    from torchvision.datasets import ImageFolder
    splits = []
    for part in ("train", "test"):
        if not (root / part).is_dir():
            hint = "; run val_format.py first" if (root / "val").is_dir() else ""
            raise UserError(f"{root / part}: there is no such folder; a data set has train/<class>/ and test/<class>/{hint}")
        try:
            splits.append(ImageFolder(str(root / part)))
        except (FileNotFoundError, OSError) as error:
            hint = "; run val_format.py first" if (root / "val").is_dir() else ""
            raise UserError(f"{root / part}: {' '.join(str(error).split())[:300]}{hint}") from None
    train_classes, test_classes = (split.classes for split in splits)
    if train_classes != test_classes:
        odd = sorted(set(train_classes) ^ set(test_classes))
        hint = "; run val_format.py first" if (root / "val" / "images").is_dir() else ""
        raise UserError(f"{root}: train and test have different classes, {', '.join(odd[:3])} for one{hint}")
    parts = []
    for split, limit in zip(splits, limits):
        labels = np.array(split.targets)
        chosen = balanced(labels, limit)
        images = None
        for i, index in enumerate(chosen):
            image = _decode(split.samples[index][0])
            if size is None:  # the first image decides
                size = min(SIZES, key=lambda s: abs(s - min(image.size)))
            if image.size != (size, size):
                image = image.resize((size, size))
            if images is None:
                images = np.empty((len(chosen), size, size, 3), np.uint8)
            images[i] = image
        parts.append((images, labels[chosen]))
    return (*parts, len(train_classes))


def _decode(path: str):
    """An RGB image of Pillow's. Raises UserError for a file that is damaged, or no image."""
    from torchvision.datasets.folder import default_loader
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Truncated")  # of a torn TIFF Pillow would make what it can
            return default_loader(path)
    except Exception as error:  # Pillow raises whatever the damage happens to cause
        raise UserError(f"{path}: not an image, or damaged ({error}); replace or remove it") from None


# --- batches -------------------------------------------------------------------------------------------------------

class Batches:
    """The batches of a split: (images (B, 3, S, S) float, labels (B,)) on its device, normalised.

    With an ``augmentation`` the images are shuffled and augmented, afresh for each ``epoch(generator)``.
    """

    def __init__(self, data: Data, split: Split, batch_size: int, augmentation: Augmentation | None = None,
                 dtype: torch.dtype = torch.float32):
        self.split, self.batch_size, self.augmentation = split, batch_size, augmentation
        self.size = data.image_size
        self.scale, self.shift = (1 / data.std).to(dtype), (data.mean / data.std).to(dtype)
        images = split.images
        self.padding = PADDING if augmentation and augmentation.crop else 0
        if self.padding:
            images = F.pad(images, (0, 0, *[self.padding] * 4))
        self.pixels = images.reshape(-1, 3)  # one row per pixel: a crop is a gather of rows
        self.side = images.shape[1]

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def epoch(self, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the split. ``generator`` (on the CPU) decides order and augmentation, if there is any."""
        device, n = self.split.labels.device, len(self.split)
        order = torch.arange(n)
        top, left, flip, angle = torch.zeros(4, n)
        if self.augmentation:
            order = torch.randperm(n, generator=generator)
            top, left = torch.randint(0, 2 * self.padding + 1, (2, n), generator=generator)
            flip = torch.rand(n, generator=generator) < 0.5 if self.augmentation.flip else flip
            angle = (2 * torch.rand(n, generator=generator) - 1) * self.augmentation.rotation
        order, top, left, flip, angle = (t.to(device) for t in (order, top.long(), left.long(), flip.bool(), angle))
        line = torch.arange(self.size, device=device)
        for start in range(0, n, self.batch_size):
            part = slice(start, start + self.batch_size)
            index = order[part]
            rows = (index * self.side + top[part])[:, None] + line
            columns = left[part, None] + torch.where(flip[part, None], self.size - 1 - line, line)
            at = rows[:, :, None] * self.side + columns[:, None, :]
            images = self.pixels.index_select(0, at.flatten()).view(len(index), self.size, self.size, 3)
            images = images.permute(0, 3, 1, 2).to(self.scale.dtype)  # laid out as channels_last
            if self.augmentation and self.augmentation.rotation:
                images = rotate(images, angle[part])
            yield images * self.scale[:, None, None] - self.shift[:, None, None], self.split.labels[index]


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Each image (N, 3, S, S) turned about its centre by its own angle (N,); nearest pixel, black corners."""
    radians = torch.deg2rad(degrees)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    theta = torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)
    grid = F.affine_grid(theta.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def training_batches(data: Data, batch_size: int, *, search: bool = False, dtype: torch.dtype = torch.float32) -> Batches:
    """The training images with the augmentation that the data set asks for (the search may crop less)."""
    augmentation = Augmentation(data.settings.search_crop or not search, data.settings.flip, data.settings.rotation)
    return Batches(data, data.train, batch_size, augmentation, dtype)


def test_batches(data: Data, batch_size: int = 500, dtype: torch.dtype = torch.float32) -> Batches:
    """The test images in order, as they are."""
    return Batches(data, data.test, min(batch_size, len(data.test)), None, dtype)


test_batches.__test__ = False  # not a test, whatever pytest thinks of its name
