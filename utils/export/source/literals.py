"""Values, functions and operators as source."""

import builtins
import keyword
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx


class NotWritableError(Exception):
    """Raised for an operation that can't be written as plain PyTorch; the message has the
    reason."""


class Source(str):
    """A text that goes into the source as it is."""


INFIX = {
    operator.add: "+",
    operator.iadd: "+",
    operator.sub: "-",
    operator.isub: "-",
    operator.mul: "*",
    operator.imul: "*",
    operator.truediv: "/",
    operator.itruediv: "/",
    operator.floordiv: "//",
    operator.ifloordiv: "//",
    operator.mod: "%",
    operator.pow: "**",
    operator.ipow: "**",
    operator.matmul: "@",
    operator.eq: "==",
    operator.ne: "!=",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.and_: "&",
    operator.or_: "|",
    operator.xor: "^",
}
PREFIX = {operator.neg: "-", operator.pos: "+", operator.invert: "~"}
NAMESPACES = (
    ("torch", torch),
    ("F", F),
    ("torch.linalg", torch.linalg),
    ("torch.special", torch.special),
    ("torch.fft", torch.fft),
    ("math", math),
    ("torch.Tensor", Tensor),
)
BUILTINS = {
    id(getattr(builtins, name)): name
    for name in ("abs", "bool", "float", "int", "len", "max", "min", "pow", "round", "sum")
}
FUNCTIONS = {
    id(found): f"{place}.{name}"
    for place, module in reversed(NAMESPACES)
    for name, found in vars(module).items()
    # public functions, by the names that users call
    if callable(found) and not name.startswith("_")
} | BUILTINS


def is_name(text: str) -> bool:
    """Return True if a text can be an attribute's name."""
    return text.isidentifier() and not keyword.iskeyword(text)


def literal(value: Any, name_of: Callable[[fx.Node], str] | None = None) -> str:
    """Return a value as source, with results of other operations named by ``name_of``.

    Raises NotWritableError.
    """

    def inside(part: Any) -> str:
        return literal(part, name_of)

    if isinstance(value, fx.Node) and name_of:
        return name_of(value)
    if isinstance(value, Source):
        return value

    # constants, then containers, then torch's own
    if value is None or value is Ellipsis or isinstance(value, (bool, int)):
        return "..." if value is Ellipsis else repr(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, str):
        return f'"{value}"' if value.isprintable() and not set(value) & {'"', "\\"} else repr(value)

    if isinstance(value, slice):
        return f"slice({inside(value.start)}, {inside(value.stop)}, {inside(value.step)})"
    if isinstance(value, list):
        return f"[{', '.join(map(inside, value))}]"
    if isinstance(value, tuple):  # torch.Size too
        return f"({', '.join(map(inside, value))}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{inside(key)}: {inside(part)}' for key, part in value.items())}}}"

    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        return str(value)
    if isinstance(value, torch.device):
        return f'torch.device("{value}")'
    raise NotWritableError(f"a {type(value).__name__}, {str(value)[:60]!r}, has no source")


def subscript(index: Any, name_of: Callable[[fx.Node], str]) -> str:
    """Return the source of an index, the part between the brackets of x[...]."""

    def part(value: Any) -> str:
        if not isinstance(value, slice):
            return literal(value, name_of)
        start, stop, step = (
            "" if end is None else literal(end, name_of)
            for end in (value.start, value.stop, value.step)
        )
        return f"{start}:{stop}" + f":{step}" * bool(step)

    return ", ".join(map(part, index)) if isinstance(index, tuple) and index else part(index)


def function_name(function: Any) -> str:
    """Return the name of a function of PyTorch or Python. Raises NotWritableError for others."""
    if id(function) not in FUNCTIONS:
        module = getattr(function, "__module__", None)
        raise NotWritableError(
            f"{f'{module}.' * bool(module)}{getattr(function, '__name__', function)} is no "
            "function of PyTorch's"
        )
    return FUNCTIONS[id(function)]


def called(
    function: str, args: tuple[Any, ...], kwargs: dict[str, Any], name_of: Callable[[fx.Node], str]
) -> str:
    """Return the source of a call with these arguments."""
    given = [
        *(literal(arg, name_of) for arg in args),
        *(f"{key}={literal(value, name_of)}" for key, value in kwargs.items()),
    ]
    return f"{function}({', '.join(given)})"
