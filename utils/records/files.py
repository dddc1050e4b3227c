"""Reading and writing files: whole or not at all, checked, and without running code from them.

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
from typing import Any, NoReturn

from model import is_imported, template
from utils.errors import UserError
from utils.records.locks import is_free, new_file

MOST = 10**15  # of anything that is counted: filters, parameters, multiply-accumulates


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, put in its place when the block ends well; on an error
    ``path`` stays."""
    if not path.name:
        raise UserError(f"{path}: is a folder, no place for a file")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path)
        with new_file(temporary) as descriptor:
            yield temporary
            os.fsync(descriptor)
            if sys.platform != "win32":  # where a file that is open can't be renamed
                # while it is held, so that nobody takes it for what a killed writer left
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
    """Removes what writers of ``path`` left that were killed."""
    # \d: earlier versions'
    ours = re.compile(
        re.escape(f".{path.name}.") + r"([0-9a-f]{16}|\d{1,10})" + re.escape(f".tmp{path.suffix}")
    )
    for remains in path.parent.glob(f".{glob.escape(path.name)}.*.tmp{glob.escape(path.suffix)}"):
        with contextlib.suppress(OSError):  # it has gone, or is another user's
            if ours.fullmatch(remains.name) and is_free(remains):
                remains.unlink()


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_rows(path: Path, rows: list[list[int]]) -> None:
    """One line of widths per recorded round."""
    write_text(path, "".join(",".join(map(str, row)) + "\n" for row in rows))


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """A dict of tensors, numbers, strings, lists and dicts of them."""
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    with replacing(path) as temporary:
        temporary.write_bytes(stream.getvalue())


# --- reading --------------------------------------------------------------------------------------


def read_text(path: Path, hint: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file{'; ' + hint if hint else ''}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: can't be read ({getattr(error, 'strerror', None) or error})"
        ) from None


def read_json(path: Path, hint: str = "") -> Any:
    """Raises UserError for a file that is missing, torn, or holds NaN or infinity."""

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
    """Whether something that was read is a number, or a ``whole`` one, from ``low`` to ``high``."""
    return (
        isinstance(value, int if whole else (int, float))
        and not isinstance(value, bool)
        and low <= value <= high
    )


def are_widths(value: Any, layers: int) -> bool:
    """Whether something that was read is a list of numbers of filters, one per layer."""
    return (
        isinstance(value, list)
        and len(value) == layers
        and all(is_number(width, 1, MOST, whole=True) for width in value)
    )


def layers_in(model: str, filters: list[Any]) -> int:
    """How many widths a network has; of one that is read from its graph, which reading a file must
    not import, as many as say."""
    return len(filters) if is_imported(model) else len(template(model))


def read_rows(path: Path, layers: int, rounds: int | None = None) -> list[list[int]]:
    """The recorded widths of one iteration. Raises UserError for anything else than ``rounds`` rows
    of ``layers`` counts."""
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
    if not (cell.isascii() and cell.isdigit()):  # int() would take 1_0 and +1
        raise ValueError(f"{cell[:20]!r} is not a whole number")
    if len(cell) > len(str(MOST)) or not 1 <= (width := int(cell)) <= MOST:
        raise ValueError(f"{cell[:20]} is no number of filters")
    return width


def refuse_programs(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises UserError for a TorchScript archive: torch.load of some versions runs it, whatever
    ``weights_only`` says."""
    for name in archive.namelist():
        # behind the archive's own name
        if name.lower().split("/")[1:2] in (["constants.pkl"], ["code"]):
            raise UserError(
                f"{path}: a TorchScript archive, which holds code, not weights alone; save the "
                "network's state_dict() instead"
            )


def read_tensors(path: Path) -> dict[str, Any]:
    """What write_tensors wrote, on the CPU. Raises UserError for anything else; runs no code from
    the file."""
    import torch

    try:
        # about odd pickles, which are refused here anyway
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with zipfile.ZipFile(stream) as archive:
                refuse_programs(path, archive)
                if archive.testzip() is not None:  # torch itself checks no sums
                    raise ValueError("a checksum is wrong")
            stream.seek(0)  # the same file, whatever lies under its name by now
            content = torch.load(stream, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except UserError:
        raise
    except Exception as error:  # torch raises whatever the damage happens to cause
        raise UserError(
            f"{path}: damaged, or not weights ({type(error).__name__}); restore it or remove it"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content
