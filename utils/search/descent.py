"""Architecture descent: prune a network, fit how its layers shrink, rebuild it in that shape,
repeat (paper, section 3)."""

import math

import numpy as np

from model import BUDGETS, Shape, layer_names, prepare_filters, widths_of
from utils.data import Data
from utils.powerlaw import FEWEST_ROWS, PowerLaw, fit_power_law
from utils.records.searches import IterationRecord, iteration_told, not_fitted
from utils.search.iteration import residual_filters
from utils.search.search_run import SearchRun
from utils.settings import SearchSettings, least_width, stored
from utils.training.device import Runner

NAMED = 6  # layers in a line of the report


def descend(
    settings: SearchSettings, data: Data, runner: Runner, run: SearchRun | None = None
) -> list[IterationRecord]:
    """Return the iterations of a search.

    With a ``run``, each iteration is recorded as it ends, and those that it already has are kept.
    """
    found = run.iterations if run else []
    law = PowerLaw(found[-1]["alpha"], found[-1]["beta"]) if found else None
    for iteration in range(len(found), settings.iterations):
        # a network in the shape of the last law, pruned until a layer is at its end
        filters = searched_widths(settings, law, data.shape)
        rows, seconds = residual_filters(settings, iteration, filters, data, runner, run)

        # the law of its layers, fitted to the first of the recorded rows
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
        print_iteration(settings, found, rows)
    return found


def searched_widths(settings: SearchSettings, law: PowerLaw | None, shape: Shape) -> list[int]:
    """Return the widths of the next network: those of ``law``, at first the template's, at its
    budget.

    Raises OverBudget where kept layers and the fewest filters of the others cost more than that,
    and UnknownLayer.
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


def print_iteration(
    settings: SearchSettings, found: list[IterationRecord], rows: list[list[int]]
) -> None:
    """Print the last of the iterations ``found``, with its recorded ``rows``."""
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

    # where the search differs from the paper's: no law was fitted, or some layers never shrank
    if reason := not_fitted({"settings": stored(settings), "iterations": found}, [iteration]):
        print(f"  fit       {reason}", flush=True)
    kept = widths_of(settings.model, settings.keep)
    whole = [
        layer
        for layer, (before, left) in enumerate(zip(entry["filters"], rows[-1]))
        if before == left and layer not in kept
    ]
    if whole and not reason:
        print(
            "  flat      the laws of layers that never lost a filter: "
            f"{named(settings.model, whole)}",
            flush=True,
        )


def named(model: str, widths: list[int]) -> str:
    """Return the layers of these widths, each width by its first layer."""
    names = [layer_names(model)[width][0] for width in widths]
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)
