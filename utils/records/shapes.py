"""The images that a network is for, in records: ``image_size`` is a number or a list of height and
width; ``channels`` is there if they are not 3."""

from collections.abc import Mapping
from typing import Any, TypedDict

from model import COLOURS, ImageSize, Shape, shape_for
from utils.records.files import is_number

MOST = 10**6  # classes, pixels, channels


class _Recorded(TypedDict):
    num_classes: int
    image_size: int | list[int]


class Recorded(_Recorded, total=False):
    """A shape as stored in records."""

    channels: int


def shape_in(record: Mapping[str, Any]) -> Shape:
    """Return the classes and images of a record. Raises ValueError, KeyError or TypeError if it has
    none."""
    size, channels = record["image_size"], record.get("channels", COLOURS)
    sides = [size, size] if is_number(size, 1, MOST, whole=True) else size
    if not (
        isinstance(sides, list)
        and len(sides) == 2
        and all(
            is_number(n, 1, MOST, whole=True) for n in (record["num_classes"], channels, *sides)
        )
    ):
        raise ValueError("num_classes, image_size, channels")
    return shape_for(record["num_classes"], tuple(sides), channels)


def recorded(shape: Shape) -> Recorded:
    """Return a shape as stored in records."""
    size = recorded_size(shape["image_size"])
    found: Recorded = {"num_classes": shape["num_classes"], "image_size": size}
    return {**found, "channels": shape["channels"]} if "channels" in shape else found


def recorded_size(size: ImageSize) -> int | list[int]:
    """Return an image_size as stored in records: height and width as a list."""
    return list(size) if isinstance(size, tuple) else size
