"""The images that a network is for: how many channels they have, and how many pixels their sides.

Square images of 3 channels are said by one number, the pixels of a side. All others are Pixels:
(height, width), with the channels before them where these are not 3.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, TypeAlias, TypedDict

COLOURS = 3  # channels where nobody says others


class Pixels(tuple[int, ...]):
    """(height, width) or (channels, height, width), shown as 48x96 or 1x48x96."""

    __slots__ = ()

    def __str__(self) -> str:
        return "x".join(map(str, self))


# what a caller may say: a side, (height, width) or (channels, height, width)
ImageSize: TypeAlias = int | tuple[int, ...]


class _Shape(TypedDict):
    num_classes: int
    image_size: ImageSize  # a side, or (height, width)


class Shape(_Shape, total=False):
    """What networks for one data set have in common, as keyword arguments."""

    channels: int  # where they are not 3


def image_shape(image_size: ImageSize, channels: int = COLOURS) -> tuple[int, int, int]:
    """(channels, height, width) of images; ``channels`` where ``image_size`` does not say them.
    Raises ValueError for what is no size."""
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
    """The one way to say of what size images are, which can be compared: a number where they are
    square and have 3 channels, else Pixels."""
    channels, height, width = image_shape(image_size, channels)
    if channels != COLOURS:
        return Pixels((channels, height, width))
    return height if height == width else Pixels((height, width))


def shape_for(num_classes: int, image_size: ImageSize, channels: int = COLOURS) -> Shape:
    """The keyword arguments for such networks, in which 3 channels go without saying."""
    channels, height, width = image_shape(image_size, channels)
    shape: Shape = {"num_classes": num_classes, "image_size": pixels_of((height, width))}
    return shape if channels == COLOURS else {**shape, "channels": channels}


def pixels_in(shape: Shape | dict[str, Any]) -> int | Pixels:
    """``pixels_of`` the images that keyword arguments say."""
    return pixels_of(shape["image_size"], shape.get("channels", COLOURS))
