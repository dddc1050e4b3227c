"""Architecture descent: prune a network, fit how its layers shrink, rebuild it in that shape, and again (section 3)."""
import math

import numpy as np

from model import BUDGETS, prepare_filters
from utils.data import Data
from utils.powerlaw import FEWEST_ROWS, FITTED, PowerLaw, fit_power_law
from utils.records.searches import IterationRecord, iteration_told
from utils.search.iteration import residual_filters
from utils.search.run import SearchRun
from utils.settings import SearchSettings
from utils.training.device import Runner


def descend(settings: SearchSettings, data: Data, runner: Runner, run: SearchRun | None = None) -> list[IterationRecord]:
    """The iterations of a search. With a ``run`` each is recorded as it ends, and those that it has already are kept."""
    found = run.iterations if run else []
    law = PowerLaw(found[-1]["alpha"], found[-1]["beta"]) if found else None
    for iteration in range(len(found), settings.iterations):
        filters = prepare_filters(settings.model, settings.ratio, scaling=law, search=True, budget=settings.budget, **data.shape)
        rows, seconds = residual_filters(settings, iteration, filters, data, runner, run)
        fitted = rows[: max(FEWEST_ROWS, math.ceil(settings.fit_rows * len(rows)))]
        law = fit_power_law(fitted, BUDGETS[settings.budget](settings.model, np.array(fitted).T, **data.shape))
        found.append({"alpha": law.alpha, "beta": law.beta, "fit": law.fit, "filters": filters, "rounds": len(rows),
                      "seconds": round(seconds, 1)})
        if run:
            run.record(found, rows)
        report(iteration_told(iteration, settings.morph), filters, rows, law)
    return found


def report(told: str, filters: list[int], rows: list[list[int]], law: PowerLaw) -> None:
    """Prints what an iteration found; ``told``: which one it is."""
    print(f"{told}: {len(rows)} rows of residual filters")
    for name, numbers in (("searched", filters), ("left", rows[-1]), ("alpha", law.alpha), ("beta", law.beta)):
        print(f"  {name:9}", " ".join(f"{n:>9}" if isinstance(n, int) else f"{n:9.4g}" for n in numbers), flush=True)
    if law.fit != FITTED:
        hint = "; a longer warm-up, a larger --ratio or a smaller --prune-step records more" * (len(rows) < FEWEST_ROWS)
        print(f"  fit       {law.fit}{hint}", flush=True)
