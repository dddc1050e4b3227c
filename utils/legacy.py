"""Reads the original release's ``.pk`` results, without trusting them.

Unpickling runs whatever code a file names. This unpickler knows how to make numbers, strings, lists, dicts and numpy
arrays, and refuses a file that names anything else.
"""
from __future__ import annotations

import io
import math
import pickle
import re
from pathlib import Path

import numpy as np

from utils.records import UserError

_CORE = np._core if hasattr(np, "_core") else np.core  # its name changed with numpy 2; files have either


class _Array:
    """Stands for numpy.ndarray in the file: a name to pass on, not a thing to make (its memory would not come from the file)."""

    def __new__(cls, *arguments):
        raise pickle.UnpicklingError("it makes an array of numbers that are not in the file")


def _empty_array(cls: type, shape: tuple, kind: bytes) -> np.ndarray:
    """What numpy pickles an array as: an empty one, which the file then fills."""
    return _CORE.multiarray._reconstruct(np.ndarray, (0,), b"b")


_ARRAY_PARTS = {
    ("numpy", "ndarray"): _Array, ("numpy", "dtype"): np.dtype, ("multiarray", "_reconstruct"): _empty_array,
    ("multiarray", "scalar"): _CORE.multiarray.scalar, ("numeric", "_frombuffer"): _CORE.numeric._frombuffer}
MOST_EPOCHS = 100_000
LARGEST = 64 * 2**20  # bytes; a result of 300 epochs has some 20,000


class _NumbersOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        part = (re.sub(r"^numpy\._?core\.", "", module), name)
        if part in _ARRAY_PARTS:
            return _ARRAY_PARTS[part]
        if (module, name) == ("_codecs", "encode"):  # how Python 2 and 3 share the bytes of an array
            return _encode
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def read_test_accuracy(path: Path) -> list[float]:
    """The test accuracy of each epoch, in %. Raises UserError for a file that holds anything but numbers."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        content = _NumbersOnly(io.BytesIO(path.read_bytes())).load()
        curve = next(value for key, value in content.items() if re.search("test.*acc|acc.*test", str(key).lower()))
        if len(curve) > MOST_EPOCHS:
            raise ValueError(f"more than {MOST_EPOCHS} epochs")
        accuracy = [float(number) for number in curve]
        if not accuracy or not all(math.isfinite(a) and 0 <= a <= 100 for a in accuracy):
            raise ValueError("no accuracies in %")
    except StopIteration:
        raise UserError(f"{path}: has no list of test accuracies; it has {', '.join(map(str, content))[:200]}") from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(f"{path}: refused or damaged ({str(error)[:200]}); only dicts of numbers are read") from None
    return accuracy
