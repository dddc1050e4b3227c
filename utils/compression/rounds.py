"""Decides a pruning round, by pure functions: from scores, living filters and costs to the filters
that stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from model.errors import OverBudget

# what is left of a network with these filters (a bool each) costs, in parameters or MACs
Price = Callable[[Tensor], int]
# what one filter less in each layer saves, at these widths
CostPerFilter = Callable[[list[int]], Sequence[float]]
# the largest widths of a kind that cost no more
WidthsWithin = Callable[[int], list[int]]


class Goal(Protocol):
    """Widths that a network is pruned to, round by round."""

    full: list[int]

    def after(self, part: float, scores: Tensor, alive: Tensor) -> Tensor:
        """Return the filters (a bool each) that outlive the round at which ``part`` of the pruning
        (0 to 1) is done. Raises OverBudget where the last round can't reach the goal."""


def widths_of(alive: Tensor, full: Sequence[int]) -> list[int]:
    """Return the number of living filters of each layer, of which ``full[l]`` there were."""
    return [int(layer.sum()) for layer in alive.split(list(full))]


def best(scores: Tensor, alive: Tensor, full: Sequence[int], widths: Sequence[int]) -> Tensor:
    """Return the ``widths[l]`` living filters of each layer with the highest scores; of equal ones
    the first."""
    found = []
    for values, living, width in zip(scores.split(list(full)), alive.split(list(full)), widths):
        ranked = torch.where(living, values, -torch.inf).argsort(descending=True, stable=True)
        found.append(torch.zeros_like(living).index_fill(0, ranked[:width], True) & living)
    return torch.cat(found)


class FreeWidths:
    """The widths that the scores leave. Over all layers, the filters with the lowest score for
    their cost go first.

    ``limit`` is what the network may cost in the end, ``floors[l]`` the fewest filters of layer l.
    The cost falls by the same factor in each round, and a round closes no more filters than it
    takes to get there.
    """

    def __init__(
        self,
        full: Sequence[int],
        floors: Sequence[int],
        limit: int,
        price: Price,
        per_filter: CostPerFilter,
    ):
        self.full, self.floors, self.limit = list(full), list(floors), limit
        self.price, self.per_filter = price, per_filter
        self.whole = price(torch.ones(sum(full), dtype=torch.bool))

    def after(self, part: float, scores: Tensor, alive: Tensor) -> Tensor:
        limit = self.limit
        if part < 1:
            limit = max(limit, int(self.whole * (self.limit / self.whole) ** part))
        if self.price(alive) <= limit:
            return alive

        # The best of each layer are out of reach; of the others those go first that matter least
        # for what they cost.
        widths = widths_of(alive, self.full)
        ranked = alive & ~best(scores, alive, self.full, self.floors)
        saved = torch.tensor(self.per_filter(widths), dtype=torch.float64).clamp(min=1e-9)
        worth = scores.double() / saved.repeat_interleave(torch.tensor(self.full))
        order = torch.where(ranked, worth, torch.inf).argsort(stable=True)[: int(ranked.sum())]

        # The fewest that have to go, by bisection: with each of them the network costs less, or as
        # much.
        few, many = 0, len(order)
        while few < many:
            middle = (few + many) // 2
            fits = self.price(alive.index_fill(0, order[:middle], False)) <= limit
            few, many = (few, middle) if fits else (middle + 1, many)
        left = alive.index_fill(0, order[:few], False)
        if part >= 1:
            refuse_above(self.price(left), limit)
        return left


class FixedWidths:
    """Given widths. In each layer the filters with the lowest scores go, a few in every round.

    Where layers that add up keep different filters, the network costs more than its widths say: in
    the last round it gets the widths of a smaller one, until it is within ``limit``.
    """

    def __init__(self, full: Sequence[int], within: WidthsWithin, limit: int, price: Price):
        self.full, self.within, self.limit, self.price = list(full), within, limit, price
        self.widths = within(limit)

    def after(self, part: float, scores: Tensor, alive: Tensor) -> Tensor:
        if part < 1:
            now = [
                whole - int((whole - width) * part) for whole, width in zip(self.full, self.widths)
            ]
            return best(scores, alive, self.full, now)
        widths, amount = self.widths, self.limit
        while (price := self.price(left := best(scores, alive, self.full, widths))) > self.limit:
            amount = min(amount * self.limit // price, amount - 1)  # ends: it falls every time
            widths = self.within(amount)
        return left


class RoundedWidths:
    """Another goal's widths as multiples of a number, the largest that cost no more.

    Layers have ``floors[l]`` filters at least, which are such multiples, or all that a layer has.
    """

    def __init__(self, goal: Goal, multiple: int, floors: Sequence[int], limit: int, price: Price):
        self.goal, self.multiple, self.floors = goal, multiple, list(floors)
        self.limit, self.price, self.full = limit, price, goal.full

    def after(self, part: float, scores: Tensor, alive: Tensor) -> Tensor:
        left = self.goal.after(part, scores, alive)
        if part < 1:
            return left
        wanted, most = widths_of(left, self.full), widths_of(alive, self.full)
        widths = [
            max(floor, width // self.multiple * self.multiple)
            for width, floor in zip(wanted, self.floors)
        ]

        # Up again, those first that lost most of what they had, as far as the limit allows.
        lost = [(wide - width) / wide for wide, width in zip(wanted, widths)]
        for layer in sorted(range(len(widths)), key=lambda layer: -lost[layer]):
            more = [*widths[:layer], widths[layer] + self.multiple, *widths[layer + 1 :]]
            if (
                lost[layer] > 0
                and more[layer] <= most[layer]
                and self.price(best(scores, alive, self.full, more)) <= self.limit
            ):
                widths = more
        left = best(scores, alive, self.full, widths)
        refuse_above(self.price(left), self.limit)
        return left


def refuse_above(price: int, limit: int) -> None:
    """Raise OverBudget if the last round leaves more than was asked for."""
    if price > limit:
        raise OverBudget(f"the fewest filters that it may have cost {price:,}, not {limit:,}")
