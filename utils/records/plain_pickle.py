"""Reads pickles of plain data: numbers, strings, bytes, lists, tuples, dicts, and numpy's arrays of
numbers.

Unpickling runs whatever a file asks for, and numpy's part of it believes any length and address.
Here neither is called: the few opcodes of plain data are carried out one by one, and arrays are
made from the bytes in the file.
"""

import math
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_PARTS = 2 * 10**6  # opcodes; numpy's scalars take 7 each
MOST_NUMBERS = 100_000  # in one array
WRITTEN = {
    "INT",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG",
    "LONG1",
    "LONG4",
    "FLOAT",
    "BINFLOAT",
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
    "BYTEARRAY8",
}
TAKES_TO_MARK = {"LIST", "TUPLE", "DICT", "APPENDS", "SETITEMS"}
TAKES = {
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "APPEND": 1,
    "SETITEM": 2,
    "STACK_GLOBAL": 2,
    "REDUCE": 2,
    "BUILD": 1,
}


class Kind:
    """Stands for numpy.dtype, with plain numbers only."""

    def __init__(self, name: str, *_: Any):
        if not re.fullmatch(r"[iu][1248]|f[248]|b1", name):
            raise ValueError(f"it has an array of {name[:20]!r}")
        self.name, self.order = name, "="

    def fill(self, state: Any) -> None:
        """Set the byte order from a pickled state."""
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError("a byte order is damaged")
        self.order = state[1]


class Array:
    """Stands for numpy.ndarray and numpy's scalars, and makes numbers from the pickled bytes when
    asked."""

    def __init__(self, data: Any = b"", kind: Any = None, shape: Any = (), order: Any = "C"):
        self.data, self.kind, self.shape, self.order = data, kind, shape, order

    def fill(self, state: Any) -> None:
        """Set everything from a pickled state."""
        self.shape, self.kind, fortran, self.data = state[-4:]
        self.order = "F" if fortran else "C"

    def numbers(self) -> list[Any] | float:
        """Return nested lists, as deep as the shape.

        Raises ValueError if the shape and kind don't match the bytes that are there.
        """
        if not (
            isinstance(self.kind, Kind)
            and isinstance(self.shape, tuple)
            and isinstance(self.data, (bytes, bytearray, str))
        ):
            raise ValueError("an array is damaged")

        dtype, size = np.dtype(self.kind.order + self.kind.name), len(self.data)
        if len(self.shape) > 8 or not all(
            isinstance(n, int) and 0 <= n <= size for n in self.shape
        ):
            raise ValueError("the shape of an array is damaged")
        if math.prod(self.shape) * dtype.itemsize != size or size > MOST_NUMBERS * dtype.itemsize:
            raise ValueError(
                f"an array has {size} bytes, and not those of its shape, or more than "
                f"{MOST_NUMBERS} numbers"
            )

        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        return np.frombuffer(data, dtype).reshape(self.shape, order=self.order).tolist()


PARTS: dict[tuple[str, str], Any] = {  # names that a file may have
    # Protocols 0 to 2 store bytes in this way. As text, like Python 2's, they take no more memory
    # however often they are asked for.
    ("_codecs", "encode"): lambda text, encoding: text,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): Kind,
    ("multiarray", "_reconstruct"): lambda cls, shape, kind: Array(),
    ("multiarray", "scalar"): lambda kind, data: Array(data, kind),
    ("numeric", "_frombuffer"): Array,
}


def _part(module: Any, name: Any) -> Any:
    """Return a named part. Raises ValueError for one that a file may not have."""
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ValueError("a name is damaged")
    part = (re.sub(r"^numpy\._?core\.", "", module), name)
    if part not in PARTS:
        raise ValueError(f"it names {module}.{name}")
    return PARTS[part]


def _put(target: Any, items: list[Any]) -> dict[Any, Any]:
    """Put alternating keys and values into a dict.

    Keys must be short: hashing a tuple, or a number of a million digits, can take forever.
    """
    if not isinstance(target, dict):
        raise ValueError(f"it treats a {type(target).__name__} as a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not (
            (isinstance(key, str) and len(key) <= 1000)
            or (isinstance(key, (int, float)) and -(2**63) <= key < 2**63)
        ):
            raise ValueError(f"a key of a dict is a {type(key).__name__}, or too long")
        target[key] = value
    return target


# opcodes that push one new object, made from their argument or from the items they take
MAKES: dict[str, Callable[[Any, list[Any]], Any]] = {
    **dict.fromkeys(WRITTEN, lambda value, items: value),
    "NONE": lambda value, items: None,
    "NEWTRUE": lambda value, items: True,
    "NEWFALSE": lambda value, items: False,
    "EMPTY_LIST": lambda value, items: [],
    "EMPTY_TUPLE": lambda value, items: (),
    "EMPTY_DICT": lambda value, items: {},
    "LIST": lambda value, items: items,
    **dict.fromkeys(["TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"], lambda value, items: tuple(items)),
    "DICT": lambda value, items: _put({}, items),
    "GLOBAL": lambda value, items: _part(*str(value).split(" ", 1)),
    "STACK_GLOBAL": lambda value, items: _part(*items),
    "REDUCE": lambda value, items: items[0](*items[1]),
}
# opcodes that change the last object with the items they take
CHANGES: dict[str, Callable[[Any, list[Any]], Any]] = {
    **dict.fromkeys(["APPEND", "APPENDS"], lambda target, items: target.extend(items)),
    **dict.fromkeys(["SETITEM", "SETITEMS"], _put),
    "BUILD": lambda target, items: target.fill(*items),
}


def unpickle(content: bytes) -> Any:
    """Return the pickled object: numbers, strings, bytes, lists, tuples, dicts, and Array.

    Damage raises errors of many kinds.
    """
    stack, below, memo = list[Any](), list[list[Any]](), dict[Any, Any]()
    for count, (opcode, value, _) in enumerate(pickletools.genops(content)):
        if count == MOST_PARTS:
            raise ValueError(f"more than {MOST_PARTS} parts")
        name = opcode.name

        # the items that it takes: a fixed number, or all above the last mark
        items = [stack.pop() for _ in range(TAKES.get(name, 0))][::-1]
        if name in TAKES_TO_MARK:
            items, stack = stack, below.pop()

        if name in MAKES:
            stack.append(MAKES[name](value, items))
        elif name in CHANGES:
            CHANGES[name](stack[-1], items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if value is None else value] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[value])
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"it asks for {name}")
