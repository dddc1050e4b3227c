"""Reads and writes files: whole or not at all, checked, and without running code from them.

Files are written under a temporary name and renamed, so a reader never sees half of one. Tables and
records are plain text; weights are read with ``weights_only=True``.
"""

import contextlib
import csv
import glob
import io
import json
import math
import os
import re
import secrets
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from model import is_imported, template
from utils.errors import UserError
from utils.records.locks import is_free, new_file

MOST = 10**15  # the largest count: filters, parameters, multiply-accumulates


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and put it in the place of ``path`` when the block ends well.

    On an error ``path`` stays as it is. Raises UserError if it can't be written.
    """
    if not path.name:
        raise UserError(f"{path}: is a folder, no place for a file")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path)
        with new_file(temporary) as descriptor:
            yield temporary
            os.fsync(descriptor)
            # an open file can't be renamed on Windows; elsewhere it is renamed while it is locked,
            # so that nobody takes it for the remains of a killed writer
            if sys.platform != "win32":
                os.replace(temporary, path)
        if sys.platform == "win32":
            os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: can't be written ({error.strerror or error}); what was there is untouched"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_stale(path: Path) -> None:
    """Remove the temporary files that killed writers of ``path`` have left."""
    # \d: earlier versions' names
    ours = re.compile(
        re.escape(f".{path.name}.") + r"([0-9a-f]{16}|\d{1,10})" + re.escape(f".tmp{path.suffix}")
    )
    for remains in path.parent.glob(f".{glob.escape(path.name)}.*.tmp{glob.escape(path.suffix)}"):
        with contextlib.suppress(OSError):  # it is gone already, or another user's
            if ours.fullmatch(remains.name) and is_free(remains):
                remains.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_rows(path: Path, rows: list[list[int]]) -> None:
    """Write the rows of widths, a line for each recorded round."""
    write_text(path, "".join(",".join(map(str, row)) + "\n" for row in rows))


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a dict of tensors, numbers, strings, and lists and dicts of them."""
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    with replacing(path) as temporary:
        temporary.write_bytes(stream.getvalue())


# --- reading --------------------------------------------------------------------------------------


def read_text(path: Path, hint: str = "") -> str:
    """Return the text of a file. Raises UserError, with the ``hint`` if the file is missing."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file{'; ' + hint if hint else ''}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: can't be read ({getattr(error, 'strerror', None) or error})"
        ) from None


def read_json(path: Path, hint: str = "") -> Any:
    """Return the content of a JSON file.

    Raises UserError for a file that is missing, torn, or holds NaN, infinity or an endless number.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"it holds {constant}")

    def finite(digits: str) -> float:
        number = float(digits)
        return number if math.isfinite(number) else refuse(digits)

    def countable(digits: str) -> int:
        return int(digits) if len(digits) < 18 else refuse(digits[:20])

    try:
        return json.loads(
            read_text(path, hint), parse_constant=refuse, parse_float=finite, parse_int=countable
        )
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged or not JSON ({error}); restore it or remove it") from None


def is_number(value: Any, low: float, high: float, *, whole: bool = False) -> bool:
    """Return True if a value is a number, or a ``whole`` one, from ``low`` to ``high``."""
    return (
        isinstance(value, int if whole else (int, float))
        and not isinstance(value, bool)
        and low <= value <= high
    )


def are_widths(value: Any, layers: int) -> bool:
    """Return True if a value is a list of numbers of filters, one per layer."""
    return (
        isinstance(value, list)
        and len(value) == layers
        and all(is_number(width, 1, MOST, whole=True) for width in value)
    )


def layers_in(model: str, filters: list[Any]) -> int:
    """Return how many widths a network has.

    Reading a file must not import a user's network; its ``filters`` have the number.
    """
    return len(filters) if is_imported(model) else len(template(model))


def read_rows(path: Path, layers: int, rounds: int | None = None) -> list[list[int]]:
    """Return the recorded widths of one iteration.

    Raises UserError for anything but ``rounds`` rows of ``layers`` counts.
    """
    try:
        text = read_text(path)
        if not text.endswith("\n"):
            raise ValueError("its last line is torn")
        lines = csv.reader(text.splitlines(), strict=True)
        rows = [[_width(cell) for cell in row] for row in lines]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}); restore it or remove it") from None

    if not rows or any(len(row) != layers for row in rows):
        raise UserError(f"{path}: damaged or of another model; expected rows of {layers} numbers")
    if rounds not in (None, len(rows)):
        raise UserError(
            f"{path}: has {len(rows)} rows, its search recorded {rounds}; restore it or remove it"
        )
    return rows


def _width(cell: str) -> int:
    """Return a width from a cell. Raises ValueError."""
    if not (cell.isascii() and cell.isdigit()):  # int() would take 1_0 and +1
        raise ValueError(f"{cell[:20]!r} is not a whole number")
    if len(cell) > len(str(MOST)) or not 1 <= (width := int(cell)) <= MOST:
        raise ValueError(f"{cell[:20]} is no number of filters")
    return width


def refuse_programs(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise UserError for a TorchScript archive, from which some versions of torch.load run code
    whatever ``weights_only`` is."""
    for name in archive.namelist():
        # the parts of the path below the archive's own name
        if name.lower().split("/")[1:2] in (["constants.pkl"], ["code"]):
            raise UserError(
                f"{path}: a TorchScript archive, which holds code, not weights alone; save the "
                "network's state_dict() instead"
            )


def load_saved(path: Path, stream: BinaryIO, *, before_1_6: bool = False) -> Any:
    """Return the content of a file that torch.save wrote, on the CPU, without running code from it.

    ``before_1_6``: it may be of a PyTorch before 1.6, whose files are no archives. Raises
    UserError for a program, and whatever torch raises for damage.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd pickles, which are refused anyway
        if not before_1_6 or zipfile.is_zipfile(stream):
            with zipfile.ZipFile(stream) as archive:
                refuse_programs(path, archive)
                if archive.testzip() is not None:  # torch itself checks no sums
                    raise ValueError("a checksum is wrong")
        stream.seek(0)  # not opened again: another file may have the name by now
        return torch.load(stream, map_location="cpu", weights_only=True)


def read_tensors(path: Path) -> dict[str, Any]:
    """Return the content that write_tensors wrote, on the CPU.

    Runs no code from the file. Raises UserError for any other file.
    """
    try:
        with path.open("rb") as stream:
            content = load_saved(path, stream)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except UserError:
        raise
    except Exception as error:  # torch raises different errors for different damage
        raise UserError(
            f"{path}: damaged, or not weights ({type(error).__name__}); restore it or remove it"
        ) from None

    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content
