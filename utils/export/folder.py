"""Folders that are whole or not there."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from utils.errors import UserError
from utils.records.locks import exclusive


def check_free(folder: Path, ours: Collection[str], overwrite: bool) -> None:
    """Raises UserError where ``folder`` can't be written: it is a file, or has files in it, and is
    not to be overwritten.

    What is overwritten has files with the names of ``ours`` alone.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, no folder; choose another --out")
    there = sorted(os.listdir(folder)) if folder.exists() else []
    if there and not overwrite:
        raise UserError(
            f"{folder}: is there already, with {there[0]} in it; choose another --out, or "
            "--overwrite"
        )
    if others := [name for name in there if not is_ours(folder / name, ours)]:
        raise UserError(
            f"{folder}: has {others[0]}, which no export wrote; --overwrite would remove it. "
            "Choose another --out"
        )


def is_ours(path: Path, ours: Collection[str]) -> bool:
    """Return whether an export wrote ``path``, or Python did when it imported what one wrote."""
    if path.name == "__pycache__" and path.is_dir():
        return all(f"{name.split('.')[0]}.py" in ours for name in os.listdir(path))
    return path.name in ours and path.is_file()


@contextlib.contextmanager
def replacing_folder(folder: Path, ours: Collection[str], overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside ``folder``, put in its place when the block ends well; on an error
    ``folder`` stays as it is.

    ``folder`` is held meanwhile, and has to be free as ``check_free`` says. Raises UserError.
    """
    folder = Path(os.path.realpath(folder))
    names = [f".{folder.name}.{secrets.token_hex(8)}.{what}" for what in ("tmp", "old")]
    temporary, aside = map(folder.with_name, names)
    with exclusive(folder, option="--out"):
        try:
            mend(folder)
            check_free(folder, ours, overwrite)
            temporary.mkdir()
            yield temporary
            for path in temporary.iterdir():
                with path.open("r+b") as stream:
                    os.fsync(stream.fileno())
            if folder.exists():
                folder.rename(aside)
            temporary.rename(folder)
        except OSError as error:
            raise UserError(
                f"{folder}: can't be written ({error.strerror or error}); what was there is "
                "untouched"
            ) from None
        finally:
            if aside.exists() and not folder.exists():
                aside.rename(folder)
            for remains in (temporary, aside):
                shutil.rmtree(remains, ignore_errors=True)


def mend(folder: Path) -> None:
    """Removes what writers of ``folder`` left that were killed, and puts back what they had put
    aside.

    For whoever holds ``folder``: no other process is writing it then, whatever numbers of processes
    earlier versions called theirs by.
    """
    for remains in folder.parent.glob(".*"):
        match = re.fullmatch(
            re.escape(f".{folder.name}.") + r"(?:[0-9a-f]{16}|\d{1,10})\.(tmp|old)", remains.name
        )
        if not match:
            continue
        if match[1] == "old" and not folder.exists():
            remains.rename(folder)
        else:
            shutil.rmtree(remains, ignore_errors=True)
