"""Reads the original release's ``.pk`` files, results and records of searches, without trust."""

import contextlib
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.records.plain_pickle import Array, unpickle
from utils.records.searches import IterationRecord, check_scaling

LARGEST = 64 * 2**20  # bytes; a result of 300 epochs has some 20,000
MOST_EPOCHS = 100_000
MOST_ITERATIONS = MOST_LAYERS = 1000


@contextlib.contextmanager
def _unpickled(path: Path) -> Iterator[Any]:
    """Yield the content of the pickle ``path``.

    Raises UserError for anything that goes wrong, inside the block too.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST} bytes")
        yield unpickle(path.read_bytes())
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(
            f"{path}: refused or damaged ({str(error)[:300]}); only dicts of numbers are read"
        ) from None


def _has(content: Any) -> str:
    """Return the type of an object with its first keys, or those of its first item, for a
    message."""
    inside = content[0] if isinstance(content, (list, tuple)) and content else content
    keys = ", ".join(str(key)[:50] for key in list(inside)[:10]) if isinstance(inside, dict) else ""
    return f"it has a {type(content).__name__}{f' with {keys}' if keys else ''}"


def _number(value: Any) -> float:
    """Return a number, alone or in a list or array of one. Raises ValueError."""
    value = value.numbers() if isinstance(value, Array) else value
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(value, (int, float)):
        raise ValueError(f"a {type(value).__name__} where a number should be")
    return float(value)


def _in_order(values: Any, most: int) -> Sequence[Any]:
    """Return the values of a list, a tuple, an array, or a dict with numbered keys, in their order.

    Keys end in 0, 1, 2, ... or 1, 2, 3, ... Raises ValueError.
    """
    if isinstance(values, dict) and len(values) <= most:
        numbered = {
            int(number[1]): value
            for key, value in values.items()
            if (number := re.search(r"(\d{1,9})$", str(key)))
        }
        if len(numbered) == len(values) and sorted(numbered) in (
            list(range(len(values))),
            list(range(1, len(values) + 1)),
        ):
            return [numbered[number] for number in sorted(numbered)]

    values = values.numbers() if isinstance(values, Array) else values
    if not isinstance(values, (list, tuple)) or len(values) > most:
        raise ValueError(f"not a list of at most {most} numbers; {_has(values)}")
    return values


def _numbers(values: Any, most: int) -> list[float]:
    """Return numbers in their order. Raises ValueError."""
    return [_number(value) for value in _in_order(values, most)]


def read_test_accuracy(path: Path) -> list[float]:
    """Return the test accuracy of each epoch, in %.

    Raises UserError for a file that holds anything but numbers.
    """
    with _unpickled(path) as content:
        curves = [
            value
            for key, value in content.items()
            if "test" in str(key).lower() and "acc" in str(key).lower()
        ]
        if not curves:
            raise ValueError(f"no list of test accuracies; {_has(content)}")

        accuracy = _numbers(curves[0], MOST_EPOCHS)
        if not accuracy or not all(math.isfinite(a) and 0 <= a <= 100 for a in accuracy):
            raise ValueError("no accuracies in %")
        return accuracy


def _pair(content: Any) -> list[Any]:
    """Return the values under the one key with alpha in its name and the one with beta.

    Raises ValueError.
    """
    found = [
        [
            value
            for key, value in content.items()
            if word in str(key).lower() and other not in str(key).lower()
        ]
        for word, other in (("alpha", "beta"), ("beta", "alpha"))
    ]
    if [len(values) for values in found] != [1, 1]:
        raise ValueError("not one alpha and one beta")
    return [values[0] for values in found]


def _iterations(values: Any) -> Sequence[Any]:
    """Return alpha, or beta, of the layers in each iteration, where there are one or several."""
    try:
        return [_numbers(values, MOST_LAYERS)]
    except ValueError:
        return _in_order(values, MOST_ITERATIONS)


def read_release_search(path: Path, layers: int) -> list[IterationRecord]:
    """Return alpha and beta after each iteration of a search.

    The file holds them in one dict, or in a list or dict with a dict for each iteration. Raises
    UserError for any other layout, and for numbers that are not those of ``layers`` layers.
    """
    with _unpickled(path) as content:
        try:
            # one dict for all iterations, or one for each
            one_dict = isinstance(content, dict) and any(
                "alpha" in str(key).lower() for key in content
            )
            pairs = (
                zip(*map(_iterations, _pair(content)), strict=True)
                if one_dict
                else map(_pair, _in_order(content, MOST_ITERATIONS))
            )
            found: list[IterationRecord] = [
                {"alpha": _numbers(a, MOST_LAYERS), "beta": _numbers(b, MOST_LAYERS)}
                for a, b in pairs
            ]

            if not found:
                raise ValueError("no iteration")
            for entry in found:
                check_scaling(entry, layers)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"no alpha and beta of {layers} layers for each iteration: {error}; {_has(content)}"
            ) from None
        return found
