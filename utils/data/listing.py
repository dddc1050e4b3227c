"""The contents of a folder of images: its classes and their files, in the order that everything
else relies on."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.records.paths import is_hidden

# endings of images' names, in any case
KINDS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Listing:
    """The images of one part of a data set, train/ or test/: by classes, and in a class by
    paths."""

    folder: Path
    classes: list[str]  # in the order of their numbers
    paths: list[str]
    labels: np.ndarray  # (N,): the number of each image's class


def list_parts(root: Path) -> tuple[Listing, Listing]:
    """Return the images to train on and to test on: those below train/<class>/ and test/<class>/.

    Raises UserError if these are missing, or differ in their classes.
    """
    hint = "; run val_format.py first" if (root / "val").is_dir() else ""
    for part in ("train", "test"):
        if not (root / part).is_dir():
            raise UserError(
                f"{root / part}: there is no such folder; a data set has train/<class>/ and "
                f"test/<class>/{hint}"
            )
    train, test = (list_images(root / part, hint) for part in ("train", "test"))

    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        hint = "; run val_format.py first" if (root / "val" / "images").is_dir() else ""
        raise UserError(
            f"{root}: train and test have different classes, {', '.join(odd[:3])} for one{hint}"
        )
    return train, test


def list_images(folder: Path, hint: str = "") -> Listing:
    """Return the images of one part. Each folder in it is a class, except hidden ones.

    Raises UserError, which ends with ``hint``, if there is no class, or one without images.
    """
    try:
        classes = sorted(
            entry.name
            for entry in os.scandir(folder)
            if entry.is_dir() and not is_hidden(entry.name)
        )
    except OSError as error:
        raise UserError(f"{folder}: can't be read ({error.strerror})") from None
    if not classes:
        raise UserError(f"{folder}: has no folder in it; each class has a folder of its own{hint}")

    found = [image_files(os.path.join(folder, name)) for name in classes]
    if empty := [name for name, paths in zip(classes, found) if not paths]:
        more = f", with {len(empty) - 3} more" * (len(empty) > 3)
        raise UserError(
            f"{folder}: no images in {', '.join(empty[:3])}{more}; images end with "
            f"{', '.join(KINDS)}{hint}"
        )

    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in found])
    return Listing(folder, classes, [path for paths in found for path in paths], labels)


def image_files(folder: str) -> list[str]:
    """Return the images below ``folder`` without hidden ones, folder by folder, in the order of
    paths."""
    return [
        os.path.join(place, name)
        for place, names in sorted(walk(folder))
        for name in sorted(names)
        if name.lower().endswith(KINDS)
    ]


def walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder below ``folder``, with the names of its files.

    Hidden ones are left out, and so are links to a folder that they are in.
    """
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not (is_hidden(name) or leads_back(os.path.join(place, name)))
        ]
        yield place, [name for name in files if not is_hidden(name)]


def leads_back(path: str) -> bool:
    """Return True if ``path`` is a link to a folder that it is in, which could be followed
    forever."""
    return os.path.islink(path) and any(
        os.path.samefile(path, above) for above in Path(path).parents
    )
