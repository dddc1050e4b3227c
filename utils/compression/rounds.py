"""What a pruning round closes: pure functions of scores, of what is alive, and of what networks
cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

Cost = Callable[[list[int]], int]  # of a network by its widths: parameters or multiply-accumulates
# what one filter less in each layer saves, at these widths
CostPerFilter = Callable[[list[int]], Sequence[float]]


class Goal(Protocol):
    """Which widths a network is pruned to, round by round."""

    def after(self, part: float, scores: Tensor, alive: Tensor) -> Tensor:
        """Return the filters (a bool each) that outlive the round at which ``part`` of the pruning
        (0 to 1) is done."""


def widths_of(alive: Tensor, full: Sequence[int]) -> list[int]:
    """The living filters of each layer, of which ``full[l]`` there were."""
    return [int(layer.sum()) for layer in alive.split(list(full))]


def best(scores: Tensor, alive: Tensor, full: Sequence[int], widths: Sequence[int]) -> Tensor:
    """The ``widths[l]`` living filters of each layer with the highest scores; of equal ones the
    first."""
    kept = torch.zeros_like(alive)
    start = 0
    for size, width in zip(full, widths):
        layer = slice(start, start + size)
        ranked = torch.where(alive[layer], scores[layer], -torch.inf).argsort(
            descending=True, stable=True
        )
        kept[start + ranked[:width]] = True
        start += size
    return kept & alive


class FreeWidths:
    """The widths that the scores leave: over all layers, those filters go first whose score is
    lowest for what they cost.

    ``limit`` is what the network may cost in the end, ``floors[l]`` the fewest filters of layer l.
    The cost falls by the same factor in each round, and a round closes no more filters than it
    takes to get there.
    """

    def __init__(
        self,
        full: Sequence[int],
        floors: Sequence[int],
        limit: int,
        cost: Cost,
        per_filter: CostPerFilter,
    ):
        self.full, self.floors, self.limit, self.cost, self.per_filter = (
            list(full),
            list(floors),
            limit,
            cost,
            per_filter,
        )
        self.whole = cost(self.full)

    def after(self, part: float, scores: Tensor, alive: Tensor) -> Tensor:
        limit = (
            self.limit
            if part >= 1
            else max(self.limit, int(self.whole * (self.limit / self.whole) ** part))
        )
        widths = widths_of(alive, self.full)
        if self.cost(widths) <= limit:
            return alive

        # The best of each layer are out of reach; of the others those go first that matter least
        # for what they cost.
        protected = best(
            scores,
            alive,
            self.full,
            [min(floor, width) for floor, width in zip(self.floors, widths)],
        )
        per_filter = torch.tensor(self.per_filter(widths), dtype=torch.float64).clamp(min=1e-9)
        worth = scores.double() / per_filter.repeat_interleave(torch.tensor(self.full))
        order = torch.where(alive & ~protected, worth, torch.inf).argsort(stable=True)[
            : int((alive & ~protected).sum())
        ]

        # The fewest that have to go, by bisection: with each of them the network costs less, or as
        # much.
        few, many = 0, len(order)
        while few < many:
            middle = (few + many) // 2
            left = alive.index_fill(0, order[:middle], False)
            few, many = (
                (few, middle)
                if self.cost(widths_of(left, self.full)) <= limit
                else (middle + 1, many)
            )
        return alive.index_fill(0, order[:few], False)


class FixedWidths:
    """Widths that are given: in each layer the filters with the lowest scores go, a few in every
    round."""

    def __init__(self, full: Sequence[int], widths: Sequence[int]):
        self.full, self.widths = list(full), list(widths)

    def after(self, part: float, scores: Tensor, alive: Tensor) -> Tensor:
        now = [
            width if part >= 1 else whole - int((whole - width) * part)
            for whole, width in zip(self.full, self.widths)
        ]
        return best(scores, alive, self.full, now)


class RoundedWidths:
    """Another goal's widths as multiples of a number; ``rounded(widths, most)`` gives these, at
    most ``most`` of each layer."""

    def __init__(
        self, goal: FreeWidths | FixedWidths, rounded: Callable[[list[int], list[int]], list[int]]
    ):
        self.goal, self.rounded = goal, rounded

    def after(self, part: float, scores: Tensor, alive: Tensor) -> Tensor:
        left = self.goal.after(part, scores, alive)
        if part < 1:
            return left
        full = self.goal.full
        return best(
            scores, alive, full, self.rounded(widths_of(left, full), widths_of(alive, full))
        )
