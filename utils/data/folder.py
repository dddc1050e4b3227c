"""Folders of images: decodes them once, or reads them from the disk if they don't fit into
memory."""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from model import COLOURS, ImageSize, Shape, image_shape, pixels_of, shape_for
from utils.data.dataset import Images, Wanted, in_memory
from utils.data.decoded import MOMENT, Decoded
from utils.data.listing import Listing, list_parts
from utils.data.memory import room_for_images
from utils.errors import UserError
from utils.settings import FOLDER_SIZES

AT_ONCE, PER_TURN = 128, 16  # images that are passed to all threads together, and to each in turn

LabelledImages = tuple[Images, np.ndarray]  # images (N, H, W, C), uint8, and labels (N,)
# to train on, to test on, to validate on; and the classes
Parts = tuple[LabelledImages, LabelledImages, LabelledImages | None, list[str]]


class ImageFiles:
    """Images (N, H, W, C), uint8, that are decoded whenever they are read, and resized to ``size``.

    They are read by as many threads as torch has. Reading raises UserError for a file that is
    damaged, or no image.
    """

    def __init__(self, paths: list[str], size: ImageSize):
        channels, height, width = image_shape(size)
        self.paths, self.size = paths, size
        self.shape = len(paths), height, width, channels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return np.stack(list(self._read([self.paths[i] for i in index])))

    def all(self, title: str) -> Iterator[np.ndarray]:
        """Yield all images, with a bar on a terminal, unless that takes no time."""
        images = (image for part in cut(self.paths, AT_ONCE) for image in self._read(part))
        yield from tqdm(
            images, title, len(self), unit=" images", disable=None, delay=1, dynamic_ncols=True
        )

    def _read(self, paths: list[str]) -> Iterator[np.ndarray]:
        """Yield images, decoded by several threads."""
        with torn_is_an_error(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for images in pool.map(self._decoded, cut(paths, PER_TURN)):
                yield from images

    def _decoded(self, paths: list[str]) -> list[np.ndarray]:
        """Return decoded images."""
        _, height, width, channels = self.shape
        images = (decode(path) if channels == COLOURS else decode_grey(path) for path in paths)
        return [
            np.asarray(image.resize((width, height))).reshape(self.shape[1:]) for image in images
        ]


def cut(paths: list[str], length: int) -> Iterator[list[str]]:
    """Yield parts of ``length``; the last may be shorter."""
    return (paths[start : start + length] for start in range(0, len(paths), length))


def read_folder(
    root: Path,
    wanted: Wanted,
    size: ImageSize | None,
    device: str,
    cache_dir: str | None,
    channels: int = COLOURS,
) -> Parts:
    """Return the images below train/<class>/** and test/<class>/**, with 3 channels or 1, resized
    to ``size``.

    They are decoded once, into files below ``cache_dir``, unless that takes no time. Images that
    don't fit into memory are read by batches, from such a file or from the images themselves.
    Raises UserError.
    """
    train, test = list_parts(root)
    room, side = room_for_images(device), pixels_of(size or own_size(train), channels)

    def read(listing: Listing, indices: np.ndarray, part: object) -> LabelledImages:
        nonlocal room
        images = _within(
            room,
            ImageFiles([listing.paths[i] for i in indices], side),
            listing.folder,
            part,
            cache_dir,
        )
        room -= images.nbytes if in_memory(images) else 0
        return images, listing.labels[indices]

    chosen = wanted.chosen(train.labels, test.labels)
    if chosen.validation is None:
        return (
            read(train, chosen.train, wanted.train),
            read(test, chosen.test, wanted.test),
            None,
            named(root, train.classes),
        )

    held = wanted.train, wanted.validate
    return (
        read(train, chosen.train, held),
        read(test, chosen.test, wanted.test),
        read(train, chosen.validation, ("validation", *held)),
        named(root, train.classes),
    )


def named(root: Path, classes: list[str]) -> list[str]:
    """Return the classes of a folder by number: their names, with the meanings of WordNet's names
    where words.txt has them."""
    try:
        lines = (root / "words.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return classes
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return [f"{name} {words[name].strip()}" if name in words else name for name in classes]


def folder_shape(root: Path, size: ImageSize | None = None, channels: int | None = None) -> Shape:
    """Return the classes of a folder, and the size of its images: ``size``, or its own.

    It has 3 channels, or ``channels``. Reads only the first image. Raises UserError.
    """
    train, _ = list_parts(root)
    return shape_for(len(train.classes), size or own_size(train), channels or COLOURS)


def own_size(train: Listing) -> int:
    """Return the default size of a folder's images, which the first one determines."""
    with torn_is_an_error():
        shorter = min(decode(train.paths[0]).size)
    return min(FOLDER_SIZES, key=lambda size: abs(size - shorter))


def _within(
    room: int, files: ImageFiles, folder: Path, part: object, cache_dir: str | None
) -> Images:
    """Return the images in memory, if there are ``room`` bytes for them, or else to be read from
    the disk.

    ``part`` says which images of the folder they are.
    """
    title, amount = f"decoding {folder.name}", int(np.prod(files.shape))
    what = f"{folder}: {len(files):,} images of {files.size} pixels"

    def decoded() -> np.ndarray:
        images = np.empty(files.shape, np.uint8)
        for row, image in zip(images, files.all(title)):
            row[:] = image
        return images

    if amount <= room:
        kept = (
            Decoded(files.paths, files.shape, folder, part, cache_dir)
            if cache_dir is not None
            else None
        )
        return kept.read(decoded, what) if kept and kept.seconds > MOMENT else decoded()

    what += f", {amount / 2**30:.1f} GiB, are too many to keep in memory"
    if cache_dir is None:
        print(f"{what}; they are decoded in each epoch anew", flush=True)
        return files
    return Decoded(files.paths, files.shape, folder, part, cache_dir).mapped(
        lambda: files.all(title), what
    )


@contextlib.contextmanager
def torn_is_an_error() -> Iterator[None]:
    """Raise errors for torn TIFFs, of which Pillow would make what it can, with a warning.

    Filters of warnings are set once for all threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Truncated")
        yield


def decode(path: str) -> Image.Image:
    """Return an RGB image of Pillow's. Raises UserError for a file that is damaged, or no image."""
    with opened(path) as image:
        return image.convert("RGB")


def decode_grey(path: str) -> Image.Image:
    """Return a grey image of Pillow's, mode L; the upper 8 bits of 16. Raises UserError as
    decode."""
    with opened(path) as image:
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert("L")


def is_grey(path: str) -> bool:
    """Return True if an image has no colours by its mode; its pixels are not read. Raises UserError
    as decode."""
    with opened(path) as image:
        return image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


@contextlib.contextmanager
def opened(path: str) -> Iterator[Image.Image]:
    """Yield an image of Pillow's, whose pixels can be read inside.

    Raises UserError for a file that is damaged, or no image.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("no regular file")  # opening a pipe may wait forever
        with open(path, "rb") as stream:
            yield Image.open(stream)
    except Exception as error:  # Pillow raises different errors for different damage
        raise UserError(
            f"{path}: not an image, or damaged ({error}); replace or remove it"
        ) from None
