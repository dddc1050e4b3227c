"""Iterative pruning by the first-order Taylor criterion, with a record of the surviving widths
(paper, section 3.1)."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor


def taylor_criterion(weight: Tensor, grad: Tensor) -> Tensor:
    """Return (g * dL/dg)^2 per filter: the squared first-order change of the loss without the
    filter.

    After Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019, equation 8.
    """
    return (weight * grad).square()


def per_cost(criterion: Tensor, cost: Sequence[float], widths: list[int]) -> Tensor:
    """Divide the criterion of each filter by the cost of a filter of its layer.

    ``criterion`` has the filters of all layers, ``widths[l]`` of layer l. Raises ValueError for a
    cost that is not a positive number.
    """
    if not (len(cost) == len(widths) and all(0 < number < math.inf for number in cost)):
        raise ValueError(
            f"a filter of each of {len(widths)} layers must cost a positive number, not "
            f"{list(cost)}"
        )
    return criterion.double() / torch.tensor(cost, dtype=torch.float64).repeat_interleave(
        torch.tensor(widths)
    )


def survivors(criterion: Tensor, alive: Tensor, step: int, most: int) -> Tensor:
    """Return the filters that survive a round: a bool per filter, over all layers together.

    Filters already pruned count as criterion 0. The threshold is the (pruned + ``step``)-th
    smallest value, at most the ``most``-th. Every filter at or below it falls, ties together.
    """
    criterion = torch.where(alive, criterion, torch.zeros_like(criterion))
    rank = min(int((~alive).sum()) + step, most)
    return alive & (criterion > criterion.kthvalue(rank).values)


def survivors_above(
    criterion: Tensor, alive: Tensor, layers: list[int], floors: list[int], step: int, most: int
) -> Tensor:
    """Return the filters that survive a round in which each layer keeps at least its floor.

    ``layers[l]`` is the full width of layer l. Layers at their floor are not ranked. Of the others,
    every filter at or below the ``step``-th smallest value falls, fewer where that would make more
    than ``most`` in all. A layer that this would take below its floor keeps its best filters.
    """
    # rank the filters of layers that may still lose some
    ranked = torch.cat(
        [part & (part.sum() > floor) for part, floor in zip(alive.split(layers), floors)]
    )
    rank = min(step, most - int((~alive).sum()), int(ranked.sum()))
    if rank < 1:
        return alive
    left = alive & ~(ranked & (criterion <= criterion[ranked].kthvalue(rank).values))

    # a layer that fell below its floor gets its best filters back
    found = []
    for part, before, values, floor in zip(
        left.split(layers), alive.split(layers), criterion.split(layers), floors
    ):
        if part.sum() < min(floor, int(before.sum())):
            # a stable sort: among equals, the first
            best = torch.where(before, values, -1).sort(descending=True, stable=True).indices
            part = torch.zeros_like(part).index_fill(0, best[:floor], True)
        found.append(part)
    return torch.cat(found)


class TaylorPruner:
    """Closes the gates that matter least, a few at a time, until a layer is down to its last
    filter.

    Call ``step()`` after each backward pass; it reads the gradients of the gates and clears
    nothing. Batches are numbered from 0. When the number is a positive multiple of ``prune_every``,
    a round closes about ``prune_step`` gates by their mean criterion since the last round. Once
    every layer has lost a filter, each finished round appends the surviving widths to ``history``.
    The iteration ends when a round finds a layer with one survivor or would take its last one (that
    round is not recorded), or after the rounds that prune ``prune_fraction`` of all filters. If it
    ends with an empty history, the widths at that moment are the only row.

    With ``min_width``, a layer with that many filters left, or with no more at the start, is left
    alone, and pruning continues in the others. Every round is recorded. The iteration ends when
    ``prune_fraction`` of the filters above these floors is gone, or no layer is above its floor.
    The layers numbered in ``keep`` are never pruned, and their filters don't count.

    ``gates`` are modules with a 1-D ``weight``, one per layer. ``cost``, called with the surviving
    widths, returns the cost of one filter of each layer, in any unit; the mean criterion is divided
    by it. With ``cost_at_end`` a round is decided twice, the second time with the costs at the
    widths that the first would leave.

    The criterion is summed on the gates' device. Decisions are made on the CPU, so a round waits
    for the device once.
    """

    def __init__(
        self,
        gates: Sequence[Any],
        prune_every: int = 50,
        prune_step: int = 10,
        prune_fraction: float = 0.95,
        cost: Callable[[list[int]], Sequence[float]] | None = None,
        cost_at_end: bool = False,
        min_width: int = 0,
        keep: Collection[int] = (),
    ):
        self.gates = list(gates)
        if min_width < 0 or not {*keep} <= {*range(len(self.gates))}:
            raise ValueError(
                f"{len(self.gates)} layers can't keep {min_width} filters each, or all of "
                f"{sorted(keep)}"
            )
        self.cost_at_end, self.min_width = cost_at_end, min_width
        self.prune_every, self.prune_step, self.cost = prune_every, prune_step, cost

        # the fewest filters that each layer keeps, and how much is pruned above these
        self.full_widths = [len(gate.weight) for gate in self.gates]
        self.pruned_layers = [layer for layer in range(len(self.gates)) if layer not in keep]
        self.floors = [
            min(min_width, width) if layer in self.pruned_layers else width
            for layer, width in enumerate(self.full_widths)
        ]
        self.most_pruned = int(prune_fraction * (sum(self.full_widths) - sum(self.floors)))
        self.most_rounds = math.ceil(self.most_pruned / prune_step)

        # the state, which a checkpoint holds
        self.history: list[list[int]] = []
        self.batches = self.rounds = self.scored = 0
        self.ended = False
        self.alive = torch.ones(sum(self.full_widths), dtype=torch.bool)
        self.total = self.gates[0].weight.detach().new_zeros(len(self.alive))

        for gate in self.gates:
            gate.weight.requires_grad_(True)

    @property
    def widths(self) -> list[int]:
        """The surviving filters of each layer."""
        return self._widths(self.alive)

    @property
    def most_batches_left(self) -> int:
        """The most batches until the iteration ends."""
        rounds = (
            math.ceil((self.most_pruned - int((~self.alive).sum())) / self.prune_step)
            if self.min_width
            else self.most_rounds - self.rounds
        )
        return max(1, self.rounds + rounds) * self.prune_every + 2 - self.batches

    def _widths(self, alive: Tensor) -> list[int]:
        """Return how many filters of each layer are in the mask ``alive``."""
        return [int(layer.sum()) for layer in alive.split(self.full_widths)]

    def step(self) -> bool:
        """Score one batch, and prune if a round is due. Returns False once the iteration has
        ended."""
        if self.ended or self._pruned_down():
            self.finish()
            return False

        # add this batch to the criterion of each filter
        weights = torch.cat([gate.weight.detach() for gate in self.gates])
        grads = torch.cat([gate.weight.grad for gate in self.gates])
        self.total += taylor_criterion(weights, grads)
        self.scored += 1

        number, self.batches = self.batches, self.batches + 1
        if number > 0 and number % self.prune_every == 0 and not self._round():
            self.finish()
        return not self.ended

    def finish(self) -> None:
        """End the iteration, at this point or because the epochs have run out."""
        self.ended = True
        if not self.history:
            self.history.append(self.widths)

    def _pruned_down(self) -> bool:
        """Return True if enough is pruned: by the number of rounds or, with floors, by the number
        of filters."""
        return (
            self.rounds >= self.most_rounds
            if not self.min_width
            else int((~self.alive).sum()) >= self.most_pruned
        )

    def _round(self) -> bool:
        """Prune once. Returns False where a layer has, or would have, nothing more to lose."""
        total = self.total.cpu()
        if not torch.isfinite(total).all():
            raise FloatingPointError("the Taylor criterion is not finite")
        if self._fewest(self.widths) <= 1:
            return False

        # decide by the costs at the present widths, or once more at those that would be left
        alive = self._survivors(total / self.scored, self.widths)
        if self.cost and self.cost_at_end and self._fewest(widths := self._widths(alive)) >= 1:
            alive = self._survivors(total / self.scored, widths)
        if self._fewest(widths := self._widths(alive)) < 1:
            return False

        # close the gates, and begin to score for the next round
        self.alive = alive
        self._close_gates()
        self.rounds += 1
        self.scored = 0
        self.total.zero_()

        # recorded once every layer has shrunk, from where on the power law may hold
        if self.min_width or all(
            widths[layer] < self.full_widths[layer] for layer in self.pruned_layers
        ):
            self.history.append(widths)
        return True

    def _fewest(self, widths: list[int]) -> float:
        """Return the width of the narrowest pruned layer, which may lose its last filter; inf with
        floors."""
        return (
            math.inf
            if self.min_width
            else min((widths[layer] for layer in self.pruned_layers), default=0)
        )

    def _survivors(self, criterion: Tensor, widths: list[int]) -> Tensor:
        """Return the filters that survive a round, with the costs at these ``widths``."""
        if self.cost:
            criterion = per_cost(criterion, self.cost(widths), self.full_widths)
        if self.min_width:
            return survivors_above(
                criterion,
                self.alive,
                self.full_widths,
                self.floors,
                self.prune_step,
                self.most_pruned,
            )

        # layers that are never pruned are not ranked
        alive, ranked = self.alive.clone(), self._of_pruned_layers()
        alive[ranked] = survivors(
            criterion[ranked], alive[ranked], self.prune_step, self.most_pruned
        )
        return alive

    def _of_pruned_layers(self) -> Tensor:
        """Return a mask of the filters in layers that are pruned at all."""
        return torch.tensor(
            [layer in self.pruned_layers for layer in range(len(self.gates))]
        ).repeat_interleave(torch.tensor(self.full_widths))

    def _close_gates(self) -> None:
        """Set each gate to 1 or 0."""
        for gate, is_open in zip(
            self.gates, self.alive.to(self.total.device, non_blocking=True).split(self.full_widths)
        ):
            gate.weight.detach().copy_(is_open)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, except the gates themselves."""
        return {
            name: getattr(self, name)
            for name in ("history", "batches", "rounds", "scored", "ended", "alive", "total")
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state. Raises ValueError for that of a pruner of other gates."""
        if not len(state["alive"]) == len(state["total"]) == len(self.alive):
            raise ValueError("the state is of other gates")
        for name in self.state_dict():
            setattr(self, name, state[name])
        self.total = self.total.to(self.gates[0].weight.device)  # it was read onto the CPU
