"""Prunes a network in its owner's training loop, in three lines: make, step, finish."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from model.cost import Cost, Number
from model.errors import UnreadableNetwork
from model.gate import gates_of
from model.graph.blueprint import Blueprint
from model.graph.trace import random_state_kept
from model.images import ImageSize, pixels_of
from utils.compression.criteria import criterion_of
from utils.compression.goals import amount_of, amount_text, fewest_of, saved_per_filter
from utils.compression.rounds import FreeWidths, Goal, RoundedWidths
from utils.compression.state import GoalPruner, Rounds
from utils.errors import UserError
from utils.settings.compression import CRITERIA
from utils.settings.target import Limit, Target
from utils.training.magnitude import filter_norms

MULTIPLE = 8  # channels, of layers that are still pruned


class Pruner:
    """Prunes ``network``, an image classifier, to a target while its owner trains it.

    Make it after the optimizer, call ``step(optimizer)`` after each backward pass (before or after
    the optimizer's step), and ``finish()`` when the loop is done. The network stays the same
    object; its parameters are replaced by smaller ones, in the optimizer too, with their momentum.

    ``target`` is a part of the network, as "25%", or a number, as "300k" or "50M", in the unit of
    ``budget``: "macs" or "params". ``batches`` is the number of batches in which it is pruned, in
    ``rounds`` rounds. ``image_size`` is a number of pixels, or (height, width). Layers keep
    ``min_width`` filters, in multiples of ``round_to``. ``criterion``: "taylor", "magnitude", or
    "random" with its ``seed``.

    Raises UserError for a target that no widths reach or that is no pruning, and UnreadableNetwork
    for a network whose filters can't be removed.
    """

    def __init__(
        self,
        network: nn.Module,
        target: str,
        *,
        batches: int,
        num_classes: int = 10,
        image_size: ImageSize = 32,
        channels: int = 3,
        budget: str = "macs",
        rounds: int = 30,
        criterion: str = "taylor",
        min_width: int = 2,
        round_to: int = 1,
        seed: int = 0,
    ):
        if batches < 1 or rounds < 1 or min_width < 1 or round_to < 1:
            raise UserError("batches, rounds, min_width and round_to are 1 or more")
        if budget not in ("macs", "params") or criterion not in CRITERIA:
            raise UserError(f"budget {budget!r}, criterion {criterion!r}: there is no such one")
        # Read a copy of the network, and put gates into the network itself.
        with random_state_kept():
            read = copy.deepcopy(network).cpu()
            blueprint = Blueprint(read, num_classes, pixels_of(image_size, channels))
        if why := blueprint.why_graph_with_gates:
            raise UnreadableNetwork(f"can't be pruned by its own code: {why}")
        self.budget, full = budget, blueprint.template
        floors = [fewest_of(width, min_width, round_to) for width in full]
        amount = self._amount(blueprint, floors, Limit(Target.parse(target), budget))
        device = next(network.parameters()).device
        self.network = blueprint.build(network, full, gated=True)
        for gate in gates_of(network):
            gate.to(device)
        compaction = blueprint.cutter(network, MULTIPLE, through_norms=True)

        # Its goal, and the scores that decide.
        def price(alive: Tensor) -> int:
            return int(getattr(compaction.count(list(alive.split(full))), budget))

        saved = partial(saved_per_filter, partial(cost_of, blueprint, budget))
        goal: Goal = FreeWidths(full, floors, amount, price, saved)
        if round_to > 1:
            goal = RoundedWidths(goal, round_to, floors, amount, price)
        norms = partial(filter_norms, compaction)
        scores = criterion_of(criterion, gates_of(network), norms, seed)
        self._pruner = GoalPruner(compaction, scores, goal, Rounds(min(rounds, batches), batches))
        self._pruner.listen()

    def _amount(self, blueprint: Blueprint, floors: list[int], limit: Limit) -> int:
        """Return the most that the network may cost. Raises UserError if that is no pruning, or
        less than it costs with the fewest filters."""
        amount = amount_of(limit, int(cost_of(blueprint, self.budget, blueprint.template)))
        least = int(cost_of(blueprint, self.budget, floors))
        if least > amount:
            raise UserError(
                f"target {limit.target}: is {amount_text(amount, self.budget)}, and with the "
                "fewest filters that its layers may have the network has "
                f"{amount_text(least, self.budget)}"
            )
        return amount

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Count one batch, after its backward pass, and prune if a round is due.

        Raises ValueError for an optimizer that trains the gates, as one does that was made later
        than this.
        """
        gates = {id(gate.weight) for gate in self._pruner.gates}
        if any(id(one) in gates for group in optimizer.param_groups for one in group["params"]):
            raise ValueError("the optimizer trains the gates too; make it before the Pruner")
        self._pruner.step(optimizer)

    def finish(self) -> nn.Module:
        """Return the network, the same object, without its gates. Raises RuntimeError if it is not
        pruned to the target yet."""
        if not self.finished:
            raise RuntimeError(
                f"only {self._pruner.batches} of {self._pruner.rounds.batches} batches were seen; "
                "go on, or make the Pruner with fewer batches"
            )
        return self.network

    @property
    def finished(self) -> bool:
        """True once the network is pruned to the target; further steps do nothing."""
        return self._pruner.finished

    @property
    def widths(self) -> list[int]:
        """The number of filters that each width has now."""
        return self._pruner.widths

    @property
    def cost(self) -> int:
        """The cost of the network now, in the unit of the budget."""
        return int(getattr(self._pruner.compaction.count(self._pruner.layers), self.budget))


def cost_of(blueprint: Blueprint, budget: str, widths: Number) -> Number:
    """Return the cost of one network, widths (L,), or of n, widths (L, n), in the unit of
    ``budget``."""
    blueprint.count(cost := Cost(), widths)
    return getattr(cost, budget)
