"""One iteration of a search: warm up, then train and prune until a layer is at its end (paper,
section 3.1)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from model import Shape, build_model, compactor, macs_per_filter, widths_of
from model.architecture import Compaction
from model.errors import UnreadableNetwork
from model.gate import gates_of
from utils.data import Data, training_batches
from utils.errors import UserError
from utils.pruning import TaylorPruner
from utils.records.searches import iteration_told
from utils.search.search_run import SearchRun
from utils.settings import SearchSettings, least_width
from utils.training.device import Runner, give_back_freed_memory, seed_from
from utils.training.loop import State, fit, sgd
from utils.training.schedule import search_lr


@dataclass
class Pruning(State):
    """A network in training that is pruned from epoch ``warmup`` on (counted from 0)."""

    pruner: TaylorPruner
    compactor: Compaction | None
    warmup: int = 0

    @property
    def ended(self) -> bool:
        return self.pruner.ended

    def begin_epoch(self) -> None:
        """Require gradients of gates only while they are pruned."""
        for gate in self.pruner.gates:
            gate.weight.requires_grad_(self.epoch >= self.warmup)

    def after_step(self) -> bool:
        """Score the batch just trained; after a pruning round, remove the dead filters."""
        if self.epoch < self.warmup:
            return True
        rounds = self.pruner.rounds
        go_on = self.pruner.step()

        if (
            self.compactor
            and self.pruner.rounds > rounds
            and self.compactor.compact(
                list(self.pruner.alive.split(self.pruner.full_widths)), self.optimizer
            )
        ):
            give_back_freed_memory()
        return go_on

    def epochs_left(self, epochs: int, batches: int) -> int:
        pruning = math.ceil(self.pruner.most_batches_left / batches)
        return min(epochs - self.epoch, max(0, self.warmup - self.epoch) + pruning)

    @property
    def left_told(self) -> str:
        return "at most about {} left in this iteration"

    def note(self) -> str:
        return f", {sum(self.pruner.widths)} of {sum(self.pruner.full_widths)} filters"

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with the filters that are kept and the pruner's state."""
        return {
            "kept": self.compactor.kept if self.compactor else None,
            "pruner": self.pruner.state_dict(),
            **super().state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state. Raises UserError for one that this network can't be cut to."""
        if self.compactor:
            try:
                self.compactor.restore(state["kept"], self.optimizer)
            except UnreadableNetwork as error:
                raise UserError(f"this search was {error}; --overwrite begins anew") from None
        super().load_state_dict(state)
        self.pruner.load_state_dict(state["pruner"])


def compactor_or_none(
    model: str, network: nn.Module, shape: Shape, *, aloud: bool
) -> Compaction | None:
    """Return the network's compactor, or None for one whose filters can only be masked.

    With ``aloud``, the reason is printed.
    """
    try:
        return compactor(model, network, **shape)
    except UnreadableNetwork as error:
        if aloud:
            print(f"pruned filters stay in the network, masked: {error}", flush=True)
        return None


def filter_cost(
    settings: SearchSettings, filters: list[int], data: Data
) -> Callable[[list[int]], list[float]]:
    """Return a function of the widths: what a filter of each layer counts for, in a network that
    began with ``filters``."""
    macs = macs_per_filter(settings.model, filters, **data.shape)
    return lambda widths: [float(cost) ** settings.cost_exponent for cost in macs(widths)]


def residual_filters(
    settings: SearchSettings,
    iteration: int,
    filters: list[int],
    data: Data,
    runner: Runner,
    run: SearchRun | None = None,
) -> tuple[list[list[int]], float]:
    """Run one iteration on a fresh network of these ``filters``.

    Returns the recorded rows of widths, and the seconds it took.
    """
    torch.manual_seed(seed_from(settings.seed, iteration))
    network = runner.place(build_model(settings.model, filters, **data.shape, gated=True))

    # removed filters leave the network, which then trains faster
    cutter = (
        compactor_or_none(settings.model, network, data.shape, aloud=iteration == 0)
        if settings.compact
        else None
    )
    traced = cutter.network if cutter else network

    # the optimizer has everything but the gates, the pruner has the gates
    optimizer = sgd(network, settings.lr, settings.momentum, settings.weight_decay)
    pruner = TaylorPruner(
        gates_of(network),
        settings.prune_every,
        settings.prune_step,
        settings.prune_fraction,
        filter_cost(settings, filters, data) if settings.budget == "macs" else None,
        settings.cost_at == "end",
        least_width(settings.model, settings.min_width),
        widths_of(settings.model, settings.keep),
    )
    state = Pruning(
        traced, optimizer, forward=traced, pruner=pruner, compactor=cutter, warmup=settings.warmup
    )

    # train and prune, from a checkpoint if there is one
    title = iteration_told(iteration, settings.morph)
    if run and run.resume_iteration(iteration, filters, data, state.load_state_dict):
        print(f"goes on in {title} at epoch {state.epoch}", flush=True)
    fit(
        state,
        training_batches(data, settings.batch_size, search=True),
        runner,
        epochs=settings.epochs,
        seeds=(settings.seed, iteration),
        lr_at=lambda epoch: search_lr(epoch, settings.warmup, settings.lr),
        title=f"{title}, ",
        checkpoint=lambda: run.save(state.state_dict()) if run else None,
    )

    pruner.finish()
    return pruner.history, state.seconds
