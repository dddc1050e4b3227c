"""The cost of a search in multiply-accumulates, which is the same on every machine."""

import numpy as np

from model import macs_when_pruned
from utils.records.files import read_rows
from utils.records.paths import search_rows
from utils.records.searches import read_search
from utils.records.shapes import shape_in
from utils.settings import Places


def search_macs(places: Places, save: str, model: str, iterations: int) -> float:
    """Return the multiply-accumulates of all forward passes in a search's first ``iterations``
    iterations.

    Each iteration trains its whole network for the epochs of the warm-up, then ``prune_every``
    batches before each round with the filters that are left. The number of rounds before the first
    recorded row follows from the filters that are gone; their widths are interpolated. Raises
    UserError for records that are damaged, or not there.
    """
    record = read_search(places.record_dir, save, model, None)
    settings, macs = record["settings"], 0.0
    for number, entry in enumerate(record["iterations"][:iterations]):
        full = entry["filters"]
        rows = read_rows(search_rows(places.record_dir, save, number), len(full), entry["rounds"])

        # the rounds before the first recorded row
        before = np.linspace(
            full,
            rows[0],
            round((sum(full) - sum(rows[0])) / settings["prune_step"]),
            endpoint=False,
        )

        # its batches before each round, and its epochs of warm-up
        macs_of = macs_when_pruned(model, full, **shape_in(record))
        whole, *left = macs_of(np.array([full, *before, *rows]).T).tolist()
        macs += settings["warmup"] * settings["limit_train"] * whole + settings[
            "prune_every"
        ] * settings["batch_size"] * sum(left)
    return macs
