"""Names of users' networks: MODULE:FUNCTION or FILE.py:FUNCTION, with further arguments in
brackets."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

NAME = re.compile(r"([^:]*[^:\s]):([^\W\d]\w*)(?:\((.*)\))?", re.DOTALL)
OURS = "num_classes"  # this argument comes from the data set
KINDS = (int, float, bool, str, type(None))


class Name(NamedTuple):
    """The parts of a name.

    ``place`` is a module, or a file that ends in .py; ``arguments`` are those of ``function``
    beside num_classes.
    """

    place: str
    function: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        """Return the canonical name: net.py:Net(depth=3,drop=0.1)."""
        place = os.path.normpath(self.place) if self.is_file else self.place
        inside = ",".join(f"{key}={spelled(self.arguments[key])}" for key in sorted(self.arguments))
        return f"{place}:{self.function}" + (f"({inside})" if inside else "")

    @property
    def is_file(self) -> bool:
        return self.place.endswith(".py")


def is_imported(name: str) -> bool:
    """Return True if a name is MODULE:FUNCTION or FILE.py:FUNCTION, with arguments or without."""
    return bool(NAME.fullmatch(name))


def parsed(name: str) -> Name:
    """Return the parts of a name. Raises ValueError, in a line, for arguments it can't have."""
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not MODULE:FUNCTION or FILE.py:FUNCTION")
    place, function, inside = match.groups()

    # read as a call with keywords alone, all of them literals
    try:
        call: Any = ast.parse(f"f({inside or ''})", mode="eval").body
        found = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        if (
            not isinstance(call.func, ast.Name)
            or call.args
            or None in found
            or len(found) < len(call.keywords)
        ):
            raise ValueError
    except (ValueError, SyntaxError, TypeError, AttributeError, MemoryError, RecursionError):
        raise ValueError(
            f"{name!r}: what is in brackets must be KEY=VALUE, KEY=VALUE, … of numbers, texts in "
            "quotes, True, False, None and tuples of these"
        ) from None

    return Name(place, function, {key: checked(key, value) for key, value in found.items()})


def canonical(name: str) -> str:
    """Return the canonical name of a network, this project's or a user's. Raises ValueError."""
    return str(parsed(name)) if is_imported(name) else name


def with_arguments(name: str, texts: Iterable[str]) -> str:
    """Return the name of the same function with more arguments, KEY=VALUE each.

    Raises ValueError for one that is not of that form, or is given twice.
    """
    found = parsed(name)
    arguments = dict(found.arguments)
    for text in texts:
        key, value = argument(text)
        if key in arguments:
            raise ValueError(f"{key} is given twice")
        arguments[key] = value
    return str(found._replace(arguments=arguments))


def argument(text: str) -> tuple[str, Any]:
    """Return the key and value of KEY=VALUE; a value that is no Python literal is a text.

    Raises ValueError.
    """
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier()):
        raise ValueError(f"{text!r} is not KEY=VALUE")

    # true and None are usually meant as Python's
    if value.lower() in ("true", "false", "none") and value not in ("True", "False", "None"):
        raise ValueError(
            f"{text}: say {value.capitalize()}, or as a text {key}={value!r} with the quotes"
        )

    try:
        said = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        said = value
    return key, checked(key, said)


def checked(key: str, value: Any) -> Any:
    """Return ``value`` if a name can have it. Raises ValueError."""
    if key == OURS:
        raise ValueError(f"{OURS} is the number of classes of the data set; no other can be given")
    if not plain(value) or ast.literal_eval(spelled(value)) != value:
        raise ValueError(
            f"{key}={value!r}: only numbers, texts, True, False, None, and tuples, lists and "
            "dicts of these"
        )
    return value


def plain(value: Any) -> bool:
    """Return True if a value is of a kind that a name can have."""
    if isinstance(value, (tuple, list)):
        return all(map(plain, value))
    if isinstance(value, dict):
        return all(plain(key) and plain(part) for key, part in value.items())
    return (
        isinstance(value, KINDS) and value not in (float("inf"), float("-inf")) and value == value
    )


def spelled(value: Any) -> str:
    """Return a value's canonical spelling: Python's, without blanks between parts."""
    if isinstance(value, tuple):
        return f"({','.join(map(spelled, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    if isinstance(value, dict):
        return (
            "{" + ",".join(f"{spelled(key)}:{spelled(part)}" for key, part in value.items()) + "}"
        )
    return ascii(value)


def as_options(arguments: Mapping[str, Any]) -> str:
    """Return arguments as they are typed after --model-args."""
    return " ".join(f"{key}={spelled(value)}" for key, value in arguments.items())
