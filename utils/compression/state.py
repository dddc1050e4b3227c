"""The state of a training in whose first epochs the network is pruned to a goal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from model.architecture import Compaction
from model.gate import gates_of
from utils.compression.criteria import Criterion
from utils.compression.rounds import Goal, widths_of
from utils.training.device import give_back_freed_memory
from utils.training.train import Training


@dataclass(frozen=True)
class Rounds:
    """A schedule of pruning rounds: ``number`` of them, evenly over a training's first ``batches``
    batches."""

    number: int
    batches: int

    @classmethod
    def over(cls, epochs: float, batches_per_epoch: int, number: int) -> Rounds:
        """Return ``number`` rounds over these epochs, at most one a batch."""
        batches = max(1, round(epochs * batches_per_epoch))
        return cls(min(number, batches), batches)

    def due(self, batch: int) -> int:
        """Return how many rounds have to be done when ``batch`` batches are."""
        return min(self.number, batch * self.number // self.batches)


class GoalPruner:
    """Closes the gates of a network round by round until a goal is reached, and removes what they
    close.

    Call ``step()`` after each backward pass. In the last round all that is closed is removed, and
    the network goes on without it. ``compaction`` removes filters from the network, in multiples of
    channels that are fast, until then.
    """

    def __init__(self, compaction: Compaction, criterion: Criterion, goal: Goal, rounds: Rounds):
        self.compaction, self.criterion = compaction, criterion
        self.goal, self.rounds = goal, rounds
        self.gates = gates_of(compaction.network)
        self.full = [len(gate.weight) for gate in self.gates]
        self.alive = torch.ones(sum(self.full), dtype=torch.bool)
        self.batches = self.done = 0

    @property
    def layers(self) -> list[Tensor]:
        """The filters of each layer that are alive (bools)."""
        return list(self.alive.split(self.full))

    @property
    def widths(self) -> list[int]:
        """The living filters of each layer."""
        return widths_of(self.alive, self.full)

    @property
    def finished(self) -> bool:
        """True once the last round is done."""
        return self.done >= self.rounds.number

    def listen(self) -> None:
        """Let the gates receive gradients for as long as somebody reads them."""
        for gate in self.gates:
            gate.weight.requires_grad_(not self.finished)

    def step(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Count one batch, after its backward pass; prune where a round is due.

        Raises OverBudget where the last round can't reach the goal.
        """
        if self.finished:
            return
        self.criterion.observe()
        for gate in self.gates:  # no optimizer of a user's own clears them
            gate.weight.grad = None
        self.batches += 1
        if self.rounds.due(self.batches) <= self.done:
            return

        # Close gates, and remove what they close.
        self.done += 1
        part = self.done / self.rounds.number
        self.alive = self.goal.after(part, self.criterion.scores(self.layers), self.alive)
        self._close()
        if self.finished:
            self.compaction.multiple = 1
        if self.compaction.compact(
            self.layers, optimizer, **({"worthwhile": 0} if self.finished else {})
        ):
            give_back_freed_memory()
        if self.finished:
            self._end()

    def _close(self) -> None:
        for gate, is_open in zip(self.gates, self.layers):
            gate.weight.detach().copy_(is_open)

    def _end(self) -> None:
        self.listen()
        self.compaction.finished()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, beside the network's own numbers."""
        return {
            "alive": self.alive,
            "batches": self.batches,
            "done": self.done,
            "criterion": self.criterion.state_dict(),
            "kept": self.compaction.kept,
        }

    def load_state_dict(
        self, state: dict[str, Any], optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Bring a fresh network to the shape that another one had. Raises ValueError for the state
        of a pruner of other gates."""
        if len(state["alive"]) != len(self.alive):
            raise ValueError("the state is of other gates")
        self.alive = state["alive"]
        self.batches, self.done = int(state["batches"]), int(state["done"])
        self.criterion.load_state_dict(state["criterion"])
        self._close()
        self.compaction.restore(state["kept"], optimizer)
        if self.finished:
            self._end()


@dataclass
class Shrinking(Training):
    """A network in training, whose ``pruner`` decides which filters go, and removes them."""

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
