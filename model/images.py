"""The images that a network is for: their channels, and the pixels of their sides.

Square images of 3 channels have one number, the pixels of a side. All others have Pixels: (height,
width), after the channels if these are not 3.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, TypeAlias, TypedDict

COLOURS = 3  # channels by default


class Pixels(tuple[int, ...]):
    """(height, width) or (channels, height, width), shown as 48x96 or 1x48x96."""

    __slots__ = ()

    def __str__(self) -> str:
        return "x".join(map(str, self))


# as a caller may give it: a side, (height, width) or (channels, height, width)
ImageSize: TypeAlias = int | tuple[int, ...]


class _Shape(TypedDict):
    num_classes: int
    image_size: ImageSize  # a side, or (height, width)


class Shape(_Shape, total=False):
    """The classes and images of networks for one data set, as keyword arguments."""

    channels: int  # only if they are not 3


def image_shape(image_size: ImageSize, channels: int = COLOURS) -> tuple[int, int, int]:
    """Return (channels, height, width) of images, with ``channels`` if ``image_size`` has none.

    Raises ValueError for anything that is no size.
    """
    sides = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    shape = sides if len(sides) == 3 else (channels, *sides)
    if len(shape) != 3 or not all(isinstance(side, Integral) and side > 0 for side in shape):
        raise ValueError(
            f"image_size is a number of pixels, or height and width, not {image_size!r} with "
            f"{channels!r} channels"
        )
    channels, height, width = map(int, shape)
    return channels, height, width


def pixels_of(image_size: ImageSize, channels: int = COLOURS) -> int | Pixels:
    """Return the canonical size of images, for comparisons: a number if they are square and have 3
    channels, or else Pixels."""
    channels, height, width = image_shape(image_size, channels)
    if channels != COLOURS:
        return Pixels((channels, height, width))
    return height if height == width else Pixels((height, width))


def shape_for(num_classes: int, image_size: ImageSize, channels: int = COLOURS) -> Shape:
    """Return the keyword arguments for such networks, without channels if they are 3."""
    channels, height, width = image_shape(image_size, channels)
    shape: Shape = {"num_classes": num_classes, "image_size": pixels_of((height, width))}
    return shape if channels == COLOURS else {**shape, "channels": channels}


def pixels_in(shape: Shape | dict[str, Any]) -> int | Pixels:
    """Return the canonical size, as by ``pixels_of``, of the images in keyword arguments."""
    return pixels_of(shape["image_size"], shape.get("channels", COLOURS))
