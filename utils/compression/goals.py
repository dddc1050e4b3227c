"""Turns options into a goal: the size that the network may have in the end, and the widths that
it is pruned to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from model import costs_when_pruned, largest_filters_within, widths_of
from model.errors import OverBudget
from utils.compression.rounds import FixedWidths, FreeWidths, Goal, Price, RoundedWidths
from utils.data import Data
from utils.errors import UserError
from utils.records.method import Method
from utils.records.methods import method_of
from utils.records.results import Origin
from utils.settings import Networks, dataset_name, least_width
from utils.settings.compression import Compression
from utils.settings.target import BUDGET_NAMES, Limit, Target, people


@dataclass(frozen=True)
class AskedWidths:
    """The widths that a network is pruned to: those of a ``method``, or None for those that the
    criterion leaves."""

    method: Method | None
    limit: Limit
    min_width: int
    keep: tuple[str, ...]
    round_to: int

    @property
    def origin(self) -> Origin | None:
        """The search that they come from."""
        return self.method.origin if self.method else None

    @property
    def name(self) -> str:
        """The name of the widths in a result's method; "" for the criterion's own."""
        return f"+{self.method.name}" if self.method else ""


def asked_widths(asked: Compression, model: str, dataset: str, record_dir: str) -> AskedWidths:
    """Return the widths that the options ask for. Raises UserError, also for a search that is not
    there."""
    method = None
    if asked.uniform or asked.morph or asked.prune_fname:
        networks = Networks(
            prune_fname=asked.prune_fname,
            descent_idx=asked.descent_idx,
            uniform=asked.uniform,
            morph=asked.morph,
        )
        method = method_of(networks, model, dataset_name(dataset), record_dir)
    searched = method if method and method.origin else None
    budget = asked.budget or (searched.budget if searched else "macs")
    min_width = asked.min_width
    if min_width is None:
        min_width = searched.min_width if searched else least_width(model, None)
    keep = asked.keep if asked.keep is not None else searched.keep if searched else ()
    limit = Limit(Target.parse(asked.target), budget)
    return AskedWidths(method, limit, min_width, keep, asked.round_to)


def amount_of(limit: Limit, whole: int) -> int:
    """Return the most that a network may cost that costs ``whole`` now. Raises UserError if that is
    no pruning."""
    amount = limit.target.amount(whole)
    if amount >= whole:
        raise UserError(
            f"--target {limit.target}: the network has {amount_text(whole, limit.budget)} as it "
            "is; there is nothing to prune"
        )
    return amount


def amount_text(amount: int, budget: str) -> str:
    """Return an amount as people read it: 2.58M MACs."""
    return f"{people(amount)} {BUDGET_NAMES[budget]}"


def floors_of(widths: AskedWidths, model: str, filters: list[int]) -> list[int]:
    """Return the fewest filters of each layer: all of a layer that is kept, else a multiple of
    ``round_to`` if the layer has as many."""
    kept, multiple, found = widths_of(model, widths.keep), widths.round_to, []
    for layer, width in enumerate(filters):
        fewest = fewest_of(width, max(1, widths.min_width), multiple)
        found.append(width if layer in kept else fewest)
    return found


def fewest_of(width: int, min_width: int, multiple: int) -> int:
    """Return the fewest filters of a layer that has ``width``: at least ``min_width``, and a
    multiple, or all if these are fewer."""
    if width < multiple:
        return width
    return min(-(-min(width, min_width) // multiple), width // multiple) * multiple


def goal_of(
    widths: AskedWidths, amount: int, model: str, filters: list[int], price: Price, data: Data
) -> Goal:
    """Return the goal of a pruning to ``amount``. Raises UserError if no widths that are allowed
    are small enough."""
    budget, floors = widths.limit.budget, floors_of(widths, model, filters)
    cost = costs_when_pruned(model, filters, budget, **data.shape)
    fewest = torch.cat([torch.arange(width) < floor for width, floor in zip(filters, floors)])
    if (least := price(fewest)) > amount:
        raise too_small(widths, amount, least)
    method = widths.method
    goal: Goal
    if method is None:
        goal = FreeWidths(filters, floors, amount, price, partial(saved_per_filter, cost))
    else:

        def within(amount: int) -> list[int]:
            return largest_filters_within(
                amount, cost, method.law, method.widths or filters, least=floors, most=filters
            )

        try:
            goal = FixedWidths(filters, within, amount, price)
        except OverBudget as error:
            raise UserError(f"--target {widths.limit.target}: {error}") from None
    if widths.round_to == 1:
        return goal
    return RoundedWidths(goal, widths.round_to, floors, amount, price)


def saved_per_filter(cost: object, widths: list[int]) -> list[float]:
    """Return for each layer the cost that one filter less saves at these ``widths``."""
    full = np.array(widths)[:, None]
    found = cost(np.hstack([full, full - np.eye(len(full), dtype=int)]))  # type: ignore[operator]
    return [float(number) for number in found[0] - found[1:]]


def too_small(widths: AskedWidths, amount: int, least: int) -> UserError:
    """Return the error for a target that no widths reach, with what a user can do."""
    budget = widths.limit.budget
    others = [
        "--target",
        *["--min-width"] * (widths.min_width > 1),
        *["--keep"] * bool(widths.keep),
        *["--round-to"] * (widths.round_to > 1),
    ]
    target = widths.limit.target
    near = f"; is it {target}%?" if not target.percent and amount <= 100 else ""
    return UserError(
        f"--target {target}: is {amount_text(amount, budget)}, and with the fewest "
        f"filters that its layers may have the network has {amount_text(least, budget)}; give "
        f"another {' or '.join(others)}{near}"
    )
