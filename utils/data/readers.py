"""Readers of data sets, as uint8 tensors on the device: CIFAR, TinyImageNet, the digits, and any
folder of images."""

import gzip
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import COLOURS, ImageSize, Shape, pixels_of, shape_for
from utils.data.dataset import Data, Images, Split, Wanted, in_memory, mean_and_std
from utils.data.folder import Parts, folder_shape, read_folder
from utils.errors import UserError
from utils.records.locks import wait_for_lock
from utils.records.paths import ARCHIVES, image_folder
from utils.settings import DATASETS, Dataset, dataset_facts, dataset_name

NEITHER = f"--dataset {{}}: neither {', '.join(DATASETS)} nor a folder"
NUM_DIGITS_TEST = 360  # the last of the 1,797 digits


def load_data(
    dataset: str,
    data_dir: str = "data",
    device: str = "cpu",
    *,
    limit_train: int | None = None,
    limit_test: int | None = None,
    validate: int | None = None,
    batch_size: int = 1,
    image_size: ImageSize | None = None,
    default_size: ImageSize | None = None,
    channels: int | None = None,
    cache_dir: str | None = None,
    **augmentation: Any,
) -> Data:
    """Read a data set from a folder with train/<class>/** and test/<class>/**, or by name.

    By name, it is read from its archive in ``data_dir``, or from such a folder of its name there,
    or else it is downloaded.

    ``limit_train`` and ``limit_test`` are numbers of images, equally many of each class;
    ``validate`` is the number of training images that are held out. ``image_size`` in pixels (a
    side, or height and width), ``channels`` (1, grey, or 3, the default), and crop, flip and
    rotation (degrees) in ``augmentation``, where not None, replace a folder's own; ``default_size``
    does if ``image_size`` is None. A folder's images are decoded once into files below
    ``cache_dir``; without it, they are decoded each time, and those that do not fit into memory for
    each batch.

    Raises UserError for data that is missing, damaged, without classes, or has fewer images than a
    batch.
    """
    name = dataset_name(dataset)
    own = {key: value for key, value in augmentation.items() if value is not None}
    settings = replace(dataset_facts(name), **own)
    if channels not in (None, len(settings.mean or ())):
        settings = replace(settings, mean=None, std=None)  # they are those of other channels
    wanted = Wanted(limit_train, limit_test, validate)

    # refuse options for folders before anything is read
    given = (
        ["--image-size"] * bool(image_size)
        + ["--channels"] * (channels not in (None, COLOURS))
        + ["--rotation" if key == "rotation" else f"--no-{key}" for key in own]
    )
    folder = _folder_of(dataset, data_dir, given)
    if folder:
        size = settings.image_size if _is_fixed(dataset) else image_size or default_size
        found = read_folder(folder, wanted, size, device, cache_dir, channels or COLOURS)
    elif dataset in ARCHIVES:
        found = _read_cifar(dataset, Path(data_dir), wanted)
    elif dataset == "digits":
        found = _read_digits(wanted)
    else:
        raise UserError(NEITHER.format(dataset))
    _check_numbers(found, wanted, batch_size)
    return _data(name, found, settings, device)


def _is_fixed(dataset: str) -> bool:
    """Return True for TinyImageNet by name, whose images stay as they are, wherever they are."""
    return dataset == "tinyimagenet" and not Path(dataset).is_dir()


def _folder_of(dataset: str, data_dir: str, given: list[str]) -> Path | None:
    """Return the folder of a data set's images, if they are in one.

    Raises UserError if options for folders are ``given`` for other images.
    """
    folder = None if _is_fixed(dataset) and given else image_folder(dataset, data_dir)
    if given and folder is None and dataset in DATASETS:
        raise UserError(
            f"{given[0]} goes with a folder of images alone; {dataset}'s are the paper's "
            "(--dataset path/to/folder)"
        )
    return folder


def _check_numbers(found: Parts, wanted: Wanted, batch_size: int) -> None:
    """Print a line where there are fewer images than wanted. Raises UserError if there are fewer
    than a batch."""
    (_, train_labels), (_, test_labels), _, _ = found
    if len(train_labels) < batch_size:
        raise UserError(
            f"--batch-size {batch_size}: there are only {len(train_labels)} training images; give "
            "that many or fewer"
        )
    for option, limit, labels in (
        ("--limit-train", wanted.train, train_labels),
        ("--limit-test", wanted.test, test_labels),
    ):
        if limit and len(labels) < limit:
            print(
                f"{option} {limit}: there are only {len(labels)} images; all of them are taken",
                flush=True,
            )


def _data(name: str, found: Parts, settings: Dataset, device: str) -> Data:
    """Return a data set on the device, with the mean and deviation of its training images."""
    train, test, held, classes = found
    mean, std = (
        (255 * np.array([settings.mean, settings.std])) if settings.mean else mean_and_std(train[0])
    )

    def on_device(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    def split(images: Images, labels: np.ndarray) -> Split:
        return Split(
            on_device(images, torch.uint8) if in_memory(images) else images,
            on_device(labels, torch.int64),
        )

    return Data(
        name,
        split(*train),
        split(*test),
        len(classes),
        pixels_of(train[0].shape[1:3]),
        on_device(mean, torch.float32),
        on_device(np.maximum(std, 1.0), torch.float32),
        settings,
        split(*held) if held else None,
        tuple(classes),
        train[0].shape[3],
    )


def shape_of(
    dataset: str, image_size: ImageSize | None = None, channels: int | None = None
) -> Shape:
    """Return the classes and images of networks for a data set: its facts, or those of a folder.

    Reads one image. ``image_size`` and ``channels`` are as for load_data. Raises UserError for a
    name that is neither.
    """
    if Path(dataset).is_dir():
        return folder_shape(Path(dataset), image_size, channels)
    facts = dataset_facts(dataset)
    if facts.num_classes is None:
        raise UserError(NEITHER.format(dataset))
    return shape_for(facts.num_classes, image_size or facts.image_size, channels or COLOURS)


# --- reading --------------------------------------------------------------------------------------


def _parts(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    wanted: Wanted,
    classes: list[str],
) -> Parts:
    """Return the parts of a data set in memory."""
    chosen = wanted.chosen(train_labels, test_labels)
    held = (
        None
        if chosen.validation is None
        else (train[chosen.validation], train_labels[chosen.validation])
    )

    return (
        (train[chosen.train], train_labels[chosen.train]),
        (test[chosen.test], test_labels[chosen.test]),
        held,
        classes,
    )


def _read_digits(wanted: Wanted) -> Parts:
    """Return the digits, enlarged to 32x32 pixels of three channels."""
    digits, labels = _digits()
    images = np.round(digits * (255 / 16)).astype(np.uint8)
    images = images.repeat(4, axis=1).repeat(4, axis=2)[..., None].repeat(3, axis=3)
    train, test = slice(None, -NUM_DIGITS_TEST), slice(-NUM_DIGITS_TEST, None)
    return _parts(
        images[train],
        labels[train],
        images[test],
        labels[test],
        wanted,
        list(DATASETS["digits"].classes),
    )


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images (1797, 8, 8) with numbers from 0 to 16, and labels.

    They are scikit-learn's, read without importing it, which takes seconds.
    """
    spec = find_spec("sklearn")
    path = (
        Path(spec.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if spec else Path()
    )
    if not path.is_file():  # another version has them elsewhere
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.images, digits.target
    with gzip.open(path, "rt") as stream:
        rows = np.loadtxt(stream, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)


def _read_cifar(name: str, root: Path, wanted: Wanted) -> Parts:
    """Return CIFAR, downloaded if it is not there. Raises UserError."""
    from torchvision import datasets

    def read(download: bool) -> list[Any]:
        return [
            getattr(datasets, name)(root=str(root), train=train, download=download)
            for train in (True, False)
        ]

    try:
        try:
            train, test = read(download=False)
        # absent, or not whole; two processes would download into one file
        except RuntimeError:
            with wait_for_lock(
                root / name, f"{root}: waits for another process, which downloads {name}"
            ):
                train, test = read(download=True)
    # torchvision raises many kinds: no network, a bad checksum, a full disk
    except Exception as error:
        raise UserError(
            f"{root}: {name} is not there, or damaged, and can't be downloaded ({error}); put its "
            f"archive there, or its images, as {root / name / 'train'}/<class>/ and "
            f"{root / name / 'test'}/<class>/"
        ) from None

    return _parts(
        train.data,
        np.array(train.targets),
        test.data,
        np.array(test.targets),
        wanted,
        list(test.classes),
    )
