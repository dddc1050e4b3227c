"""A network in training that is pruned during its first epochs, to a goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model.gate import GateLayer
from utils.compression.criteria import Criterion
from utils.compression.rounds import Goal, widths_of
from utils.training.device import give_back_freed_memory
from utils.training.scratch import Training


@dataclass(frozen=True)
class Rounds:
    """When pruning rounds are due: ``number`` of them, evenly over the first ``batches`` batches of
    a training."""

    number: int
    batches: int

    @classmethod
    def over(cls, epochs: float, batches_per_epoch: int, number: int) -> Rounds:
        """``number`` rounds over so many epochs, at most one a batch."""
        batches = max(1, round(epochs * batches_per_epoch))
        return cls(min(number, batches), batches)

    def due(self, batch: int) -> int:
        """Return how many rounds have to be done when ``batch`` batches are."""
        return min(self.number, batch * self.number // self.batches)


@dataclass
class Shrinking(Training):
    """``pruner`` decides and cuts; the rest is any training."""

    pruner: GoalPruner = field(kw_only=True)

    def begin_epoch(self) -> None:
        self.pruner.listen()

    def after_step(self) -> bool:
        self.pruner.step(self.optimizer)
        return True

    def note(self) -> str:
        return f", {sum(self.pruner.widths)} of {sum(self.pruner.full)} filters"

    def state_dict(self) -> dict[str, Any]:
        return {"pruner": self.pruner.state_dict(), **super().state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # first: it cuts the network to the shape of its weights
        self.pruner.load_state_dict(state["pruner"], self.optimizer)
        super().load_state_dict(state)


class GoalPruner:
    """Closes the gates of a network round by round until a goal is reached, and removes what they
    close.

    ``gates``: one per layer, in the order of the filter list. ``compact(alive, optimizer, last)``
    removes what is closed; in the last round all of it. ``restore(state, optimizer, last)`` does so
    for a fresh network from what ``compacted()`` gave.
    """

    def __init__(
        self, gates: list[GateLayer], criterion: Criterion, goal: Goal, rounds: Rounds, cutter: Any
    ):
        self.gates, self.criterion, self.goal, self.rounds, self.cutter = (
            gates,
            criterion,
            goal,
            rounds,
            cutter,
        )
        self.full = [len(gate.weight) for gate in gates]
        self.alive = torch.ones(sum(self.full), dtype=torch.bool)
        self.batches = self.done = 0

    @property
    def widths(self) -> list[int]:
        """The living filters of each layer."""
        return widths_of(self.alive, self.full)

    @property
    def finished(self) -> bool:
        return self.done >= self.rounds.number

    def listen(self) -> None:
        """Let the gates receive gradients for as long as somebody reads them."""
        for gate in self.gates:
            gate.weight.requires_grad_(not self.finished)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Count one batch, after its backward pass; prune where a round is due."""
        if self.finished:
            return
        self.criterion.observe()
        self.batches += 1
        if self.rounds.due(self.batches) > self.done:
            self.done += 1
            self._round(optimizer)

    def _round(self, optimizer: torch.optim.Optimizer) -> None:
        part = self.done / self.rounds.number
        self.alive = self.goal.after(part, self.criterion.scores(), self.alive)
        for gate, is_open in zip(self.gates, self.alive.split(self.full)):
            gate.weight.detach().copy_(is_open)
        if self.cutter.cut(self._layers(), optimizer, last=self.finished):
            give_back_freed_memory()
        if self.finished:
            self.listen()

    def _layers(self) -> list[Tensor]:
        return list(self.alive.split(self.full))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, beside the network."""
        return {
            "alive": self.alive,
            "batches": self.batches,
            "done": self.done,
            "criterion": self.criterion.state_dict(),
            "cut": self.cutter.state(),
        }

    def load_state_dict(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Raises ValueError for the state of a pruner of other gates."""
        if len(state["alive"]) != len(self.alive):
            raise ValueError("the state is of other gates")
        self.alive, self.batches, self.done = (
            state["alive"],
            int(state["batches"]),
            int(state["done"]),
        )
        self.criterion.load_state_dict(state["criterion"])
        for gate, is_open in zip(self.gates, self._layers()):
            gate.weight.detach().copy_(is_open)
        self.cutter.restore(state["cut"], self._layers(), optimizer, last=self.finished)
