"""Images that are decoded once, into a file that all processes then read: bytes of pixels, and
nothing else."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import __version__ as pillow

from model import ImageSize, pixels_of
from utils.errors import UserError
from utils.records.files import replacing
from utils.records.locks import wait_for_lock
from utils.records.paths import all_decoded_images, decoded_images

RULES = 1  # of decoding; files of another number are made anew
# seconds of decoding on one thread, for JPEG files of 32x32 pixels, and for large ones
PER_IMAGE, PER_BYTE = 2e-4, 1 / 15e6
MOMENT = 0.5  # seconds; images that are decoded in less get no file

# the path of an image below its folder, its length in bytes, and the time of its last change
File = tuple[str, int, int]


class Decoded:
    """The file below ``cache_dir`` with the decoded images (N, H, W, C), uint8, of ``paths``, the
    ``part`` of ``folder``.

    It is renamed into place when it is whole. If the images have changed, the file has another
    name, and the old one is removed when a new one is made. Of two processes that need it, the
    second waits. Raises UserError for a file that is no image.
    """

    def __init__(
        self, paths: list[str], shape: tuple[int, ...], folder: Path, part: object, cache_dir: str
    ):
        self.shape, self.amount, self.folder, self.cache_dir = (
            shape,
            int(np.prod(shape)),
            folder,
            cache_dir,
        )
        files = files_of(folder, paths)
        # seconds to decode them, about
        self.seconds = len(files) * PER_IMAGE + sum(length for _, length, _ in files) * PER_BYTE
        size = pixels_of(shape[1:3], shape[3])
        self.source = f"{folder.name}_{size}_{_hash(os.path.realpath(folder), part)[:8]}"
        self.path = decoded_images(cache_dir, self.source, fingerprint(files, size))

    @property
    def is_whole(self) -> bool:
        """True if the file is there and whole."""
        return self.path.is_file() and self.path.stat().st_size == self.amount

    def read(self, decode: Callable[[], np.ndarray], what: str) -> np.ndarray:
        """Return the images in memory, read from the file, or else decoded by ``decode`` and
        written to it.

        ``what`` describes them. A file that can't be written is no reason to stop: a line says why.
        """
        with contextlib.ExitStack() as turn:
            if not self.is_whole:
                try:
                    turn.enter_context(self._turn())
                except UserError as error:
                    print(f"{what}; they are decoded at each start: {error}", flush=True)
                    return decode()
            if not self.is_whole:
                print(f"{what}; they are decoded once, into {self.path}", flush=True)
                images = decode()
                try:
                    self._write([images])
                except UserError as error:
                    print(f"{error}. Without that file they are decoded at each start", flush=True)
                return images

        print(f"{what}; they are read from {self.path}", flush=True)
        try:
            return np.fromfile(self.path, np.uint8).reshape(self.shape)
        except (OSError, ValueError):  # it was removed meanwhile
            return decode()

    def mapped(self, decode: Callable[[], Iterable[np.ndarray]], what: str) -> np.ndarray:
        """Return the images, mapped from the file, read only; it is made from ``decode`` if it is
        not there.

        ``what`` describes them. Raises UserError if the file can't be written.
        """
        if not self.is_whole:
            with self._turn():
                if not self.is_whole:
                    print(f"{what}; they are decoded once, into {self.path}", flush=True)
                    self._write(decode())
        else:
            print(f"{what}; they are read from {self.path}", flush=True)

        try:
            return np.memmap(self.path, np.uint8, "r", shape=self.shape)
        except OSError as error:  # a limit on addresses includes files
            raise UserError(
                f"{self.path}: can't be mapped into memory ({error.strerror}); raise the limit "
                "(ulimit -v), or --no-cache"
            ) from None

    def _turn(self) -> contextlib.AbstractContextManager[None]:
        """Hold the file, after another process that decodes these images."""
        return wait_for_lock(
            self.path, f"{self.path}: waits for another process, which decodes these images"
        )

    def _write(self, images: Iterable[np.ndarray]) -> None:
        """Write the file from arrays, one after the other; then remove the files that it
        replaces."""
        with replacing(self.path) as temporary:
            if (free := shutil.disk_usage(self.path.parent).free) < self.amount:
                raise UserError(
                    f"{self.path.parent}: decoded images take {self.amount / 2**30:.1f} GiB "
                    f"there, and {free / 2**30:.1f} are "
                    "free; make room, give another --record-dir, or --no-cache"
                )
            with temporary.open("wb") as stream:
                for part in images:
                    stream.write(np.ascontiguousarray(part).data)

        for stale in all_decoded_images(self.cache_dir, self.source):
            if stale != self.path:
                # another process was faster, or it is another user's
                with contextlib.suppress(OSError):
                    stale.unlink()
                    print(
                        f"{stale}: removed; the images of {self.folder} have changed since they "
                        "were decoded into it",
                        flush=True,
                    )


def files_of(folder: Path, paths: list[str]) -> list[File]:
    """Return the files of images, by which changes are found. Raises UserError for a missing
    one."""
    begin = len(os.path.join(folder, ""))
    try:
        return [
            (path[begin:], (about := os.stat(path)).st_size, about.st_mtime_ns) for path in paths
        ]
    except OSError as error:  # a link that leads nowhere
        raise UserError(
            f"{error.filename}: not an image ({error.strerror}); replace or remove it"
        ) from None


def fingerprint(files: list[File], size: ImageSize) -> str:
    """Return a fingerprint of the files that images are decoded from, and of the decoding."""
    return _hash(RULES, pillow, size, files)[:32]


def _hash(*content: object) -> str:
    """Return a checksum."""
    return hashlib.sha256(repr(content).encode(errors="surrogateescape")).hexdigest()
