"""A plan of a pruning: the network, the target, the criterion and the training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from model import count_macs, count_params
from model.gate import gates_of
from utils.compression.criteria import criterion_of
from utils.compression.given import Given
from utils.compression.goals import AskedWidths, amount_of, goal_of
from utils.compression.state import GoalPruner, Rounds, Shrinking
from utils.data import Data, training_batches
from utils.records.method import PRUNED
from utils.settings.compression import PruningSettings
from utils.settings.target import about_ratio, people
from utils.training.magnitude import compactor_of, filter_norms
from utils.training.train import Training

COUNTS = count_params, count_macs
MULTIPLE = 8  # channels, of layers that are still pruned


@dataclass(frozen=True)
class Costs:
    """Parameters, without those of gates, and multiply-accumulates of a network."""

    params: int
    macs: int

    def __str__(self) -> str:
        return f"{self.params:,} parameters, {people(self.macs)} MACs"


@dataclass(frozen=True)
class PruningPlan:
    """The plan of a pruning: the network, the target, the criterion and the training."""

    given: Given
    widths: AskedWidths
    amount: int  # the most that the network may cost
    whole: Costs
    criterion: str
    settings: PruningSettings
    data: Data

    @classmethod
    def of(
        cls,
        given: Given,
        widths: AskedWidths,
        criterion: str,
        settings: PruningSettings,
        data: Data,
    ) -> PruningPlan:
        """Return the plan for these images. Raises UserError if the target is no pruning."""
        params, macs = (count(given.model, given.filters, **data.shape) for count in COUNTS)
        amount = amount_of(widths.limit, macs if widths.limit.budget == "macs" else params)
        return cls(given, widths, amount, Costs(params, macs), criterion, settings, data)

    @property
    def ratio(self) -> float:
        """About the scaling ratio of such a network: costs grow with the square of the widths."""
        whole = self.whole.macs if self.widths.limit.budget == "macs" else self.whole.params
        return about_ratio(self.amount, whole)

    @property
    def method(self) -> str:
        """The method's name in results."""
        return f"{PRUNED}{self.criterion}{self.widths.name}"

    def network(self, *, gated: bool) -> nn.Module:
        """Return the given network, with its weights."""
        return self.given.build(self.data, gated=gated)

    def pruner(self, network: nn.Module) -> GoalPruner:
        """Return the pruner of ``network``, which has gates.

        Raises UserError for a network whose filters can't be removed, and if no widths are small
        enough.
        """
        model, filters, budget = self.given.model, self.given.filters, self.widths.limit.budget
        compaction = compactor_of(model, network, multiple=MULTIPLE, **self.data.shape)

        def price(alive: Tensor) -> int:
            return int(getattr(compaction.count(list(alive.split(filters))), budget))

        goal = goal_of(self.widths, self.amount, model, filters, price, self.data)
        norms = partial(filter_norms, compaction)
        gates = gates_of(compaction.network)
        criterion = criterion_of(self.criterion, gates, norms, self.settings.seed)
        return GoalPruner(compaction, criterion, goal, self.rounds)

    @property
    def rounds(self) -> Rounds:
        """The rounds in the first part of the training."""
        batches = len(training_batches(self.data, self.settings.batch_size))
        epochs = self.settings.prune_part * self.settings.epochs
        return Rounds.over(epochs, batches, self.settings.prune_rounds)

    def begin(
        self, network: nn.Module, optimizer: Any, forward: nn.Module, **more: Any
    ) -> Training:
        """Return a training in whose first part ``network`` is pruned."""
        pruner = self.pruner(network)
        network = pruner.compaction.network
        return Shrinking(network, optimizer, network, pruner=pruner, **more)


def costs_of(pruner: GoalPruner) -> Costs:
    """Return the costs of a pruner's network with the filters that are alive."""
    cost = pruner.compaction.count(pruner.layers)
    return Costs(int(cost.params), int(cost.macs))
