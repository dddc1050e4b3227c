"""Images that are decoded once, into a file that is mapped into memory: bytes of pixels and nothing else."""
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.records.files import replacing
from utils.records.locks import in_turn
from utils.records.paths import all_decoded_images, decoded_images

RULES = 1  # of decoding; another number than that of a file asks for the file anew


def decoded_once(decode: Callable[[], Iterable[np.ndarray]], paths: list[str], shape: tuple[int, ...], folder: Path, part: object,
                 cache_dir: str, what: str) -> np.ndarray:
    """The images (N, S, S, 3), uint8, of the files ``paths``, mapped from a file below ``cache_dir``, read only.

    Where that file is missing, or not whole, it is made of what ``decode`` gives; it is renamed into its place when it is
    whole. One that the images of this ``part`` of ``folder`` have changed since has another name, and is removed.
    Of two processes the second waits. Raises UserError where the file can't be written.
    """
    source = f"{folder.name}_{shape[1]}_{_hash(os.path.realpath(folder), part)[:8]}"
    path = decoded_images(cache_dir, source, fingerprint(folder, paths, shape[1]))
    amount = int(np.prod(shape))

    def is_whole() -> bool:
        return path.is_file() and path.stat().st_size == amount

    if not is_whole():
        with in_turn(path, f"{path}: waits for another process, which decodes these images"):
            if not is_whole():
                print(f"{what}; they are decoded once, into {path}", flush=True)
                _write(path, decode(), amount)
        for stale in all_decoded_images(cache_dir, source):
            if stale != path:
                print(f"{stale}: removed; the images of {folder} have changed since they were decoded into it", flush=True)
                stale.unlink(missing_ok=True)
    else:
        print(f"{what}; they are read from {path}", flush=True)
    try:
        return np.memmap(path, np.uint8, "r", shape=shape)
    except OSError as error:  # a limit on addresses counts files too
        raise UserError(f"{path}: can't be mapped into memory ({error.strerror}); raise the limit (ulimit -v), or --no-cache") from None


def fingerprint(folder: Path, paths: list[str], size: int) -> str:
    """Of the files that images are decoded from, by their names below ``folder``, lengths and times of change, and of how."""
    from PIL import __version__ as pillow
    try:
        files = [(os.path.relpath(path, folder), (about := os.stat(path)).st_size, about.st_mtime_ns) for path in paths]
    except OSError as error:  # a link that leads nowhere
        raise UserError(f"{error.filename}: not an image ({error.strerror}); replace or remove it") from None
    return _hash(RULES, pillow, size, files)[:32]


def _hash(*content: object) -> str:
    return hashlib.sha256(repr(content).encode(errors="surrogateescape")).hexdigest()


def _write(path: Path, images: Iterable[np.ndarray], amount: int) -> None:
    with replacing(path) as temporary:
        if (free := shutil.disk_usage(path.parent).free) < amount:
            raise UserError(f"{path.parent}: decoded images take {amount / 2**30:.1f} GiB there, and {free / 2**30:.1f} are free; make "
                            "room, give another --record-dir, or --no-cache")
        with temporary.open("wb") as stream:
            for image in images:
                stream.write(image.tobytes())
