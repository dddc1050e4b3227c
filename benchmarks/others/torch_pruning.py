"""Torch-Pruning (https://github.com/VainF/Torch-Pruning): group Taylor importance, in rounds while
a network trains."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch_pruning
from torch import Tensor, nn

from others.counting import macs_of
from utils.compression.state import Rounds
from utils.training.loop import sgd
from utils.training.train import Training

FINE = 400  # steps from the whole network to none of it; a round takes as many as it needs


@dataclass
class TorchPruning(Training):
    """A network in training that Torch-Pruning cuts down.

    Each round divides the multiply-accumulates (MACs) by the same factor, as this project's do. Its
    scores are from the gradients
    of all batches since the round before. ``over_all`` ranks the filters of all layers together,
    in place of pruning each layer by the same part.
    """

    macs: int = field(kw_only=True)  # at most so many in the end
    rounds: Rounds = field(kw_only=True)
    over_all: bool = field(kw_only=True)
    example: Tensor = field(kw_only=True)  # one image
    batches: int = 0
    done: int = 0
    summed: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.full = macs_of(self.network, self.example)
        classifier = [one for one in self.network.modules() if isinstance(one, nn.Linear)][-1]
        self.tool = torch_pruning.pruner.BasePruner(
            self.network,
            self.example,
            torch_pruning.importance.GroupTaylorImportance(),
            global_pruning=self.over_all,
            pruning_ratio=1.0,
            iterative_steps=FINE,
            ignored_layers=[classifier],
        )

    def after_step(self) -> bool:
        if self.done >= self.rounds.number:
            return True
        for name, parameter in self.network.named_parameters():
            if parameter.grad is not None:
                before = self.summed.get(name)
                self.summed[name] = parameter.grad + (0 if before is None else before)
        self.batches += 1
        if self.rounds.due(self.batches) > self.done:
            self.done += 1
            self.prune()
        return True

    def prune(self) -> None:
        """Remove filters until this round's MACs are reached."""
        for name, parameter in self.network.named_parameters():
            if parameter.grad is not None:
                parameter.grad = self.summed[name].clone()
        self.summed = {}
        goal = self.full * (self.macs / self.full) ** (self.done / self.rounds.number)
        while macs_of(self.network, self.example) > goal:
            self.tool.step()

        # it has put new parameters in place, which need a new optimizer
        group = self.optimizer.param_groups[0]
        self.optimizer = sgd(self.network, group["lr"], group["momentum"], group["weight_decay"])
        self.network.zero_grad()
