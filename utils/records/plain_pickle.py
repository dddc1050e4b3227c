"""Reads pickles that are made of plain data: numbers, strings, bytes, lists, tuples, dicts, and
numpy's arrays of numbers.

Unpickling runs what a file asks for, and numpy's part of it believes any length and address. Here
neither is called: the few opcodes that plain data are made of are carried out one by one, and
arrays are made of the bytes that are in the file.
"""

import math
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_PARTS = 2 * 10**6  # opcodes; numpy's scalars take 7 each
MOST_NUMBERS = 100_000  # in one array
MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
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
    """Stands for numpy.dtype: the plain numbers only."""

    def __init__(self, name: str, *_: Any):
        if not re.fullmatch(r"[iu][1248]|f[248]|b1", name):
            raise ValueError(f"it has an array of {name[:20]!r}")
        self.name, self.order = name, "="

    def fill(self, state: Any) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError("a byte order is damaged")
        self.order = state[1]


class Array:
    """Stands for numpy.ndarray and numpy's scalars: what the file says of one, made into numbers
    when they are asked for."""

    def __init__(self, data: Any = b"", kind: Any = None, shape: Any = (), order: Any = "C"):
        self.data, self.kind, self.shape, self.order = data, kind, shape, order

    def fill(self, state: Any) -> None:
        self.shape, self.kind, fortran, self.data = state[-4:]
        self.order = "F" if fortran else "C"

    def numbers(self) -> list[Any] | float:
        """Nested lists, as deep as the shape. Raises ValueError where shape and kind don't give the
        bytes that are there."""
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


PARTS: dict[tuple[str, str], Any] = {  # what a file may name
    # How protocols 0 to 2 store bytes; as text, like Python 2's, they take no more memory however
    # often they are asked for.
    ("_codecs", "encode"): lambda text, encoding: text,
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): Kind,
    ("multiarray", "_reconstruct"): lambda cls, shape, kind: Array(),
    ("multiarray", "scalar"): lambda kind, data: Array(data, kind),
    ("numeric", "_frombuffer"): Array,
}


def _part(module: Any, name: Any) -> Any:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ValueError("a name is damaged")
    part = (re.sub(r"^numpy\._?core\.", "", module), name)
    if part not in PARTS:
        raise ValueError(f"it names {module}.{name}")
    return PARTS[part]


def _put(target: Any, items: list[Any]) -> dict[Any, Any]:
    """Keys and values, by turns, into a dict. Keys are short: to hash a tuple, or a number of a
    million digits, can take for ever."""
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


def unpickle(content: bytes) -> Any:
    """What is pickled in ``content``: numbers, strings, bytes, lists, tuples, dicts, and Array.
    Raises all sorts of errors."""
    stack, below, memo = list[Any](), list[list[Any]](), dict[Any, Any]()
    for count, (opcode, value, _) in enumerate(pickletools.genops(content)):
        if count == MOST_PARTS:
            raise ValueError(f"more than {MOST_PARTS} parts")
        items = [stack.pop() for _ in range(TAKES.get(opcode.name, 0))][::-1]
        if opcode.name in TAKES_TO_MARK:
            items, stack = stack, below.pop()
        match opcode.name:
            case name if name in WRITTEN:
                stack.append(value)
            case name if name in MADE:
                stack.append(MADE[name]())
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if value is None else value] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "MARK":
                below.append(stack)
                stack = []
            case "APPEND" | "APPENDS":
                stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                _put(stack[-1], items)
            case "LIST":
                stack.append(items)
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(items))
            case "DICT":
                stack.append(_put({}, items))
            case "GLOBAL":
                stack.append(_part(*str(value).split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_part(*items))
            case "REDUCE":
                part, arguments = items
                stack.append(part(*arguments))
            case "BUILD":
                stack[-1].fill(*items)
            case "STOP":
                return stack.pop()
            case "PROTO" | "FRAME":
                pass
            case name:
                raise ValueError(f"it asks for {name}")
