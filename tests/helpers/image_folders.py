"""Folders of images that are made up: noise."""

from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, size: int = 32, seed: int = 7) -> None:
    """Write an image, as PNG whatever its name ends with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    with path.open("wb") as stream:
        Image.fromarray(pixels).save(stream, "PNG")


def write_images(
    root: Path, classes=("cat", "dog", "owl"), size: int = 32, train: int = 4, test: int = 2
) -> Path:
    """Write an image folder: so many images of each class to train on and to test on."""
    seeds = count()
    for part, number in (("train", train), ("test", test)):
        for name in classes:
            for i in range(number):
                write_image(root / part / name / f"{i}.png", size, next(seeds))
    return root
