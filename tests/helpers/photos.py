"""A folder of photos, which is decoded once into files that are read from then on."""

import time
from itertools import count
from pathlib import Path

from image_folders import write_image

from utils.data import load_data
from utils.records.locks import is_free

PIXELS = 48
SMALL = ["--batch-size", 6, "--epochs", 2]
SWEEP = ["ratio_swipe.py", "--save", "s_0", "--uniform", "--ratios", 0.0625, *SMALL]


def write_photos(root: Path, train: int = 12, test: int = 4, size: int = PIXELS) -> Path:
    """Write an image folder of two classes of noise; the numbers are those of both together."""
    seeds = count()
    for part, number in (("train", train), ("test", test)):
        for i in range(number):
            write_image(root / part / f"class {i % 2}" / f"{i}.png", size, next(seeds))
    return root


def load(photos, **options):
    """Load photos at their own size, with their decoded files in prune_record."""
    return load_data(str(photos), **{"image_size": PIXELS, "cache_dir": "prune_record", **options})


def stored() -> list[str]:
    """List the files of decoded images: which part, its size, and the two fingerprints of each."""
    return sorted(path.name for path in Path("prune_record/images").iterdir())


def unfinished() -> list[Path]:
    """List the files into which living processes decode now."""
    return [path for path in Path("prune_record/images").glob(".*.tmp.rgb") if not is_free(path)]


def wait_until(true) -> None:
    """Wait until something is true, a minute at the most."""
    give_up = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)
