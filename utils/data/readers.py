"""Data sets as uint8 tensors on the device: CIFAR, TinyImageNet, the digits, and any folder of images."""
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.data.dataset import Data, Images, Split, balanced, in_memory, mean_and_std
from utils.data.folder import Limits, Part, Parts, read_folder
from utils.errors import UserError
from utils.records.paths import tiny_imagenet_folder
from utils.settings import DATASETS, dataset_facts, dataset_name

NUM_DIGITS_TEST = 360  # the last of the 1,797 digits


def load_data(dataset: str, data_dir: str = "data", device: str = "cpu", *, limit_train: int | None = None,
              limit_test: int | None = None, batch_size: int = 1, image_size: int | None = None, cache_dir: str | None = None,
              **augmentation: Any) -> Data:
    """Reads a data set by name, or from a folder with train/<class>/** and test/<class>/**.

    ``image_size`` in pixels, and of ``augmentation`` what is not None of crop, flip and rotation (degrees), are in place of
    a folder's own. Images that do not fit into memory are decoded once into a file below ``cache_dir``, without it for each
    batch anew. Raises UserError for data that is missing, damaged, without classes, or has fewer images than a batch.
    """
    name = dataset_name(dataset)
    own = {key: value for key, value in augmentation.items() if value is not None}
    settings = replace(dataset_facts(name), **own)
    limits = (limit_train, limit_test)
    if Path(dataset).is_dir():
        found = read_folder(Path(dataset), limits, image_size, device, cache_dir)
    elif dataset in DATASETS and (image_size or own):
        option = "--image-size" if image_size else "--rotation" if "rotation" in own else f"--no-{next(iter(own))}"
        raise UserError(f"{option} goes with a folder of images alone; {dataset}'s are the paper's (--dataset path/to/folder)")
    elif dataset in ("CIFAR10", "CIFAR100"):
        found = _read_cifar(dataset, Path(data_dir), limits)
    elif dataset == "digits":
        found = _read_digits(limits)
    elif dataset == "tinyimagenet":
        found = read_folder(tiny_imagenet_folder(data_dir), limits, 64, device, cache_dir)
    else:
        raise UserError(f"--dataset {dataset}: neither CIFAR10, CIFAR100, tinyimagenet, digits nor a folder")
    (train_images, train_labels), (_, test_labels), num_classes = found
    if len(train_labels) < batch_size:
        raise UserError(f"--batch-size {batch_size}: there are only {len(train_labels)} training images")
    for option, limit, labels in (("--limit-train", limit_train, train_labels), ("--limit-test", limit_test, test_labels)):
        if limit and len(labels) < limit:
            print(f"{option} {limit}: there are only {len(labels)} images; all of them are taken", flush=True)
    mean, std = (255 * np.array([settings.mean, settings.std])) if settings.mean else mean_and_std(train_images)

    def on_device(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    def split(images: Images, labels: np.ndarray) -> Split:
        return Split(on_device(images, torch.uint8) if in_memory(images) else images, on_device(labels, torch.int64))

    return Data(name, split(*found[0]), split(*found[1]), num_classes, train_images.shape[1], on_device(mean, torch.float32),
                on_device(np.maximum(std, 1.0), torch.float32), settings)


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
