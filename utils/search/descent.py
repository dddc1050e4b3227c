"""Architecture descent: prune a network, fit how its layers shrink, rebuild it in that shape, and
again (section 3)."""

import math

import numpy as np

from model import BUDGETS, Shape, layer_names, prepare_filters, widths_of
from utils.data import Data
from utils.powerlaw import FEWEST_ROWS, PowerLaw, fit_power_law
from utils.records.searches import IterationRecord, iteration_told, not_fitted
from utils.search.iteration import residual_filters
from utils.search.run import SearchRun
from utils.settings import SearchSettings, least_width, stored
from utils.training.device import Runner

NAMED = 6  # layers in a line of the report


def descend(
    settings: SearchSettings, data: Data, runner: Runner, run: SearchRun | None = None
) -> list[IterationRecord]:
    """The iterations of a search. With a ``run`` each is recorded as it ends, and those that it has
    already are kept."""
    found = run.iterations if run else []
    law = PowerLaw(found[-1]["alpha"], found[-1]["beta"]) if found else None
    for iteration in range(len(found), settings.iterations):
        filters = searched_widths(settings, law, data.shape)
        rows, seconds = residual_filters(settings, iteration, filters, data, runner, run)
        fitted = rows[: max(FEWEST_ROWS, math.ceil(settings.fit_rows * len(rows)))]
        law = fit_power_law(
            fitted, BUDGETS[settings.budget](settings.model, np.array(fitted).T, **data.shape)
        )
        found.append(
            {
                "alpha": law.alpha,
                "beta": law.beta,
                "fit": law.fit,
                "filters": filters,
                "rounds": len(rows),
                "seconds": round(seconds, 1),
            }
        )
        if run:
            run.record(found, rows)
        report(settings, found, rows)
    return found


def searched_widths(settings: SearchSettings, law: PowerLaw | None, shape: Shape) -> list[int]:
    """The widths of the network that is searched next: those of ``law`` at the template's budget,
    first the template's.

    Raises OverBudget where the layers that are kept, and the fewest filters of the others, cost
    more, and UnknownLayer.
    """
    return prepare_filters(
        settings.model,
        settings.ratio,
        scaling=law,
        search=True,
        budget=settings.budget,
        min_width=least_width(settings.model, settings.min_width),
        keep=settings.keep,
        **shape,
    )


def report(settings: SearchSettings, found: list[IterationRecord], rows: list[list[int]]) -> None:
    """Prints what the last of the iterations ``found``, with these recorded rows."""
    iteration, entry = len(found) - 1, found[-1]
    print(f"{iteration_told(iteration, settings.morph)}: {len(rows)} rows of residual filters")
    for name, numbers in (
        ("searched", entry["filters"]),
        ("left", rows[-1]),
        ("alpha", entry["alpha"]),
        ("beta", entry["beta"]),
    ):
        print(
            f"  {name:9}",
            " ".join(f"{n:>9}" if isinstance(n, int) else f"{n:9.4g}" for n in numbers),
            flush=True,
        )

    # What is not as in the paper: no law, or layers that have no say in theirs.
    if told := not_fitted({"settings": stored(settings), "iterations": found}, [iteration]):
        print(f"  fit       {told}", flush=True)
    kept = widths_of(settings.model, settings.keep)
    whole = [
        layer
        for layer, (before, left) in enumerate(zip(entry["filters"], rows[-1]))
        if before == left and layer not in kept
    ]
    if whole and not told:
        print(
            "  flat      the laws of layers that never lost a filter: "
            f"{named(settings.model, whole)}",
            flush=True,
        )


def named(model: str, widths: list[int]) -> str:
    """The layers of these widths, by their names, each by its first."""
    names = [layer_names(model)[width][0] for width in widths]
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)
