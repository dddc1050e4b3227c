"""A search on few digits, which takes seconds, and what it has found."""

import json
from pathlib import Path

from running import DIGITS

from utils.powerlaw import PowerLaw

SEARCH = [
    *DIGITS,
    "--ratio",
    0.0625,
    "--epochs",
    5,
    "--warmup",
    0,
    "--prune-every",
    1,
    "--prune-step",
    5,
    "--batch-size",
    20,
]


def recorded(name: str) -> dict:
    """Read the record of a search."""
    return json.loads(Path(f"prune_record/{name}.json").read_text())


def law_of(name: str, iteration: int = -1) -> PowerLaw:
    """Read the law that an iteration of a search has fitted."""
    entry = recorded(name)["iterations"][iteration]
    return PowerLaw(entry["alpha"], entry["beta"])


def last_row(name: str) -> list[int]:
    """Read the widths that were left at the end of a search's first iteration."""
    return [
        int(width)
        for width in Path(f"prune_record/{name}_0.csv").read_text().split()[-1].split(",")
    ]
