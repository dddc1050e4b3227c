"""CIFAR10 as a folder of images: where it is, or from an archive of it."""

import contextlib
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from utils.errors import UserError

NAME = "CIFAR10"
ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


def find(data: Path) -> Path:
    """Return the folder of images in ``data``, or their archive. Raises UserError."""
    if not data.is_dir():
        raise UserError(f"--data {data}: there is no such folder")
    folder = data / NAME
    if is_whole(folder):
        return folder
    for ending in ENDINGS:
        if (archive := data / f"{NAME}{ending}").is_file():
            return archive
    raise UserError(
        f"--data {data}: has neither {NAME}/ with train/<class>/ and test/<class>/ nor an archive "
        f"of it, {NAME}.tar or {NAME}.zip"
    )


@contextlib.contextmanager
def opened(found: Path) -> Iterator[Path]:
    """Yield the folder that has CIFAR10/, from an archive if ``found`` is one. Raises UserError."""
    if found.is_dir():
        yield found.parent.resolve()
        return
    with TemporaryDirectory(prefix="campaign-images-") as place:
        unpack(found, Path(place))
        root = Path(place)
        if is_whole(root) and not is_whole(root / NAME):  # an archive of what is in the folder
            inside = root / NAME
            inside.mkdir(exist_ok=True)
            for part in ("train", "test"):
                (root / part).rename(inside / part)
        if not is_whole(root / NAME):
            raise UserError(f"{found}: has no {NAME}/train and {NAME}/test, nor train and test")
        yield root


def unpack(archive: Path, place: Path) -> None:
    """Unpack an archive of images. Raises UserError if that can't be done."""
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(place)
        else:
            with tarfile.open(archive) as packed:
                packed.extractall(place, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise UserError(f"{archive}: can't be unpacked ({error}); make it again") from None


def is_whole(folder: Path) -> bool:
    """Return True if a folder has both parts of a data set."""
    return all((folder / part).is_dir() for part in ("train", "test"))
