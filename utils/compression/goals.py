"""From what was asked for to a goal: how large the network may be, and the widths that it is pruned
to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model import costs_when_pruned, largest_filters_within
from utils.compression.rounds import FixedWidths, FreeWidths, Goal, RoundedWidths
from utils.data import Data
from utils.errors import UserError
from utils.records.methods import Method, method_of
from utils.settings import Networks, dataset_name
from utils.settings.compression import Compression
from utils.settings.target import Target, people


@dataclass(frozen=True)
class Wanted:
    """How small a network is to be: at most ``amount`` of ``budget`` (params or macs), of which it
    has ``whole`` now."""

    budget: str
    amount: int
    whole: int
    method: Method | None  # whose widths it gets; None: those that the criterion leaves

    @property
    def ratio(self) -> float:
        """The scaling ratio of which such a network is about: costs grow with the square of the
        widths."""
        return round((self.amount / self.whole) ** 0.5, 6)


def wanted(
    asked: Compression, model: str, dataset: str, filters: list[int], data: Data, record_dir: str
) -> Wanted:
    """What the options ask for, of a network with these ``filters``. Raises UserError where that is
    no pruning."""
    method = None
    if asked.uniform or asked.morph or asked.prune_fname:
        networks = Networks(
            prune_fname=asked.prune_fname,
            descent_idx=asked.descent_idx,
            uniform=asked.uniform,
            morph=asked.morph,
        )
        method = method_of(networks, model, dataset_name(dataset), record_dir)
    budget = asked.budget or (method.budget if method and not asked.uniform else "macs")
    cost = costs_when_pruned(model, filters, budget, **data.shape)
    whole = int(cost(np.array(filters)[:, None])[0])
    amount = Target.parse(asked.target).amount(whole)
    unit = "parameters" if budget == "params" else "MACs"
    if amount >= whole:
        raise UserError(
            f"--target {asked.target}: the network has {people(whole)} {unit} as it is; there "
            "is nothing to prune"
        )
    return Wanted(budget, amount, whole, method)


def goal_of(
    want: Wanted, asked: Compression, model: str, filters: list[int], floors: list[int], data: Data
) -> Goal:
    """The goal of a pruning. Raises UserError where no widths that are allowed are small enough."""
    cost = costs_when_pruned(model, filters, want.budget, **data.shape)

    def of(widths: list[int]) -> int:
        return int(cost(np.array(widths)[:, None])[0])

    def per_filter(widths: list[int]) -> list[float]:
        full = np.array(widths)[:, None]
        found = cost(np.hstack([full, full - np.eye(len(full), dtype=int)]))
        return [float(number) for number in found[0] - found[1:]]

    smallest = [max(floor, min(asked.round_to, width)) for floor, width in zip(floors, filters)]
    if (least := of(smallest)) > want.amount:
        unit = "parameters" if want.budget == "params" else "MACs"
        raise UserError(
            f"--target {asked.target}: that is {people(want.amount)} {unit}; with the fewest "
            "filters that layers may have the "
            f"network still has {people(least)}. Ask for more, or lower "
            "--min-width, --keep or --round-to"
        )
    goal: FreeWidths | FixedWidths
    if want.method is None:
        goal = FreeWidths(filters, floors, want.amount, of, per_filter)
    else:
        goal = FixedWidths(
            filters,
            largest_filters_within(
                want.amount,
                cost,
                want.method.law,
                want.method.widths or filters,
                least=floors,
                most=filters,
            ),
        )
    if asked.round_to == 1:
        return goal

    def rounded(widths: list[int], most: list[int]) -> list[int]:
        return rounded_within(widths, most, asked.round_to, floors, want.amount, of)

    return RoundedWidths(goal, rounded)


def rounded_within(
    widths: list[int], most: list[int], multiple: int, floors: list[int], amount: int, cost: object
) -> list[int]:
    """Widths near ``widths``, multiples of ``multiple`` where a layer has so many, at most ``most``
    and within ``amount``.

    Each is rounded down to a multiple, and up again, the narrowest step first, as long as that is
    within the amount.
    """
    found = [
        max(floor, width // multiple * multiple or min(multiple, top))
        for width, floor, top in zip(widths, floors, most)
    ]
    while True:
        raised = [
            [*found[:layer], found[layer] + multiple, *found[layer + 1 :]]
            for layer in range(len(found))
            if found[layer] % multiple == 0 and found[layer] + multiple <= most[layer]
        ]
        allowed = [
            (cost(candidate), candidate) for candidate in raised if cost(candidate) <= amount
        ]  # type: ignore[operator]
        # Only layers that rounding made narrower than they were wanted come back.
        allowed = [
            (price, candidate)
            for price, candidate in allowed
            if any(a > b and b < w for a, b, w in zip(candidate, found, widths))
        ]
        if not allowed:
            return found
        found = min(allowed)[1]
