"""Folders that are whole or not there."""
import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from utils.errors import UserError


def check_free(folder: Path, ours: Collection[str], overwrite: bool) -> None:
    """Raises UserError where ``folder`` can't be written: it is a file, or has files in it, and is not to be overwritten.

    What is overwritten has files with the names of ``ours`` alone.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, no folder; choose another --out")
    there = sorted(os.listdir(folder)) if folder.exists() else []
    if there and not overwrite:
        raise UserError(f"{folder}: is there already, with {there[0]} in it; choose another --out, or --overwrite")
    if others := [name for name in there if name not in ours or not (folder / name).is_file()]:
        raise UserError(f"{folder}: has {others[0]}, which no export wrote; --overwrite would remove it. Choose another --out")


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder``, put in its place when the block ends well; on an error ``folder`` stays as it is."""
    folder = Path(os.path.realpath(folder))
    temporary, aside = (folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("tmp", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        mend(folder)
        temporary.mkdir()
        yield temporary
        for path in temporary.iterdir():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        if folder.exists():
            folder.rename(aside)
        temporary.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: can't be written ({error.strerror or error}); what was there is untouched") from None
    finally:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        for remains in (temporary, aside):
            shutil.rmtree(remains, ignore_errors=True)


def mend(folder: Path) -> None:
    """Removes what writers of ``folder`` left that were killed, and puts back what they had put aside."""
    for remains in folder.parent.glob(".*"):
        match = re.fullmatch(re.escape(f".{folder.name}.") + r"(\d{1,10})\.(tmp|old)", remains.name)
        if not match or is_running(int(match[1])):
            continue
        if match[2] == "old" and not folder.exists():
            remains.rename(folder)
        else:
            shutil.rmtree(remains, ignore_errors=True)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks whether it runs
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
