"""Prunes a trained network to a target while it trains on: the files, the result, and the
output."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model import image_shape, is_imported, pixels_in
from model.errors import OverBudget
from model.graph.flatten import plain
from utils.compression.given import read_given
from utils.compression.goals import amount_text, asked_widths
from utils.compression.plan import Costs, PruningPlan, costs_of
from utils.compression.state import Shrinking
from utils.data import evaluation_batches
from utils.errors import UserError
from utils.records.paths import at_size
from utils.records.results import Result, identity_of
from utils.records.run import provenance
from utils.records.shapes import recorded
from utils.records.sizes import size_options
from utils.settings import Machine, Storage
from utils.settings.commands import after_training, tell_next
from utils.settings.compression import Compression, PruningSettings
from utils.training.compare import check_training
from utils.training.device import Runner
from utils.training.latency import BATCH, latencies
from utils.training.loop import evaluate
from utils.training.prepare import check_memory, prepare
from utils.training.train import Training, TrainingRun


class PruningRun(TrainingRun):
    """A pruning. It stores what a training does, and what the network was before and which
    filters it has kept."""

    before: dict[str, Any]
    network: nn.Module  # in the end

    def begin(self, plan: PruningPlan) -> None:
        """Note what is to be pruned, which work found under this name is compared with."""
        widths, given = plan.widths, plan.given
        self.base_filters, self.origin = given.filters, widths.origin
        self.begun_with = {
            **identity_of(
                self.settings,
                plan.method,
                plan.ratio,
                budget=widths.limit.budget,
                round_to=widths.round_to,
                min_width=widths.min_width,
                keep=widths.keep,
            ),
            "target": str(widths.limit.target),
            "weights": given.fingerprint,
            "base_filters": given.filters,
            **recorded(plan.data.shape),
            **plan.data.counts,
        }

    def outcome(self, state: Training) -> dict[str, Any]:
        """Return the network that was found, and what it was before."""
        assert isinstance(state, Shrinking)
        found, self.network = costs_of(state.pruner), state.network
        return {
            "filters": state.pruner.widths,
            "params": found.params,
            "macs": found.macs,
            "before": self.before,
        }

    def beside_weights(self, state: Training) -> dict[str, Any]:
        """Return the filters of the given network, and which of them were kept."""
        assert isinstance(state, Shrinking)
        kept = [mask.nonzero().flatten().tolist() for mask in state.pruner.layers]
        return {**super().beside_weights(state), "kept": kept}


def prune(
    settings: PruningSettings,
    compression: Compression,
    storage: Storage,
    machine: Machine | None = None,
) -> Result:
    """Prune the network with the given weights to a target while it trains on, and train it to the
    end. Raises UserError."""
    model, keep = settings.model, compression.keep or ()
    given = read_given(Path(compression.weights), settings, keep)
    widths = asked_widths(compression, model, settings.dataset, storage.record_dir)
    defaults, name = PruningSettings(dataset=settings.dataset), at_size(storage.save, widths.limit)
    run = PruningRun(settings, defaults, storage, widths.limit, name)

    with run.exclusive():
        data, runner = prepare(
            settings,
            storage,
            machine,
            compression,
            default_size=given.shape["image_size"] if given.shape else None,
            channels=given.channels,
        )

        # What is to be done, and whether it can be.
        plan = PruningPlan.of(given.fitted(data), widths, compression.criterion, settings, data)
        check_memory(plan.whole.params, runner)
        run.begin(plan)
        if storage.overwrite or not run.result.exists():
            check_training(model, data.shape, gated=True)
            plan.pruner(plan.network(gated=True))
        if storage.overwrite:
            run.discard()
        following = after_training(settings, storage.save, size_options(widths.limit), storage)
        if found := run.finished():
            tell_next(following)
            return found

        # What the network is before, and what it becomes.
        base = runner.place(plan.network(gated=False))
        run.before = before(base, plan, runner)
        try:
            result = run.train(partial(plan.network, gated=True), data, runner, plan.begin)
        except OverBudget as error:
            raise UserError(f"--target {widths.limit.target}: {error}; give a larger one") from None
        tell_both(run, result, base, plan, runner)
        tell_next(following)
    return result


def before(network: nn.Module, plan: PruningPlan, runner: Runner) -> dict[str, Any]:
    """Measure the network as it came, and print that."""
    loss, accuracy = evaluate(network, evaluation_batches(plan.data), runner)
    widths = " ".join(map(str, plan.given.filters))
    print(f"{plan.given.path}: accuracy {accuracy:.2f} %, {plan.whole}; filters {widths}")
    rounds, asked = plan.rounds, plan.settings.prune_rounds
    few = (
        f", one a batch, not {asked}: --prune-part has few batches" if rounds.number < asked else ""
    )
    print(
        f"pruned to {amount_text(plan.amount, plan.widths.limit.budget)} at most, in "
        f"{rounds.number} rounds{few}",
        flush=True,
    )
    return {
        "params": plan.whole.params,
        "macs": plan.whole.macs,
        "test_loss": loss,
        "test_acc": accuracy,
    }


def tell_both(
    run: PruningRun, result: Result, base: nn.Module, plan: PruningPlan, runner: Runner
) -> None:
    """Print what the network was and what it is, both measured on this machine."""
    size = pixels_in(plan.data.shape)
    small = run.network.eval()
    if not is_imported(plan.given.model):
        # without the gates that it has kept
        small = plain(small, torch.zeros(1, *image_shape(size)))
    milliseconds = latencies([base, small], size, runner)
    shown = (
        ("before", run.before["test_acc"], plan.whole),
        ("after", result["last"], Costs(result["params"], result["macs"])),
    )
    for (when, accuracy, costs), took in zip(shown, milliseconds):
        print(
            f"{when:6}  accuracy {accuracy:.2f} %, {costs}, {took:.1f} ms for {BATCH} images",
            flush=True,
        )
    device = provenance(runner.device)["versions"]["device"]
    print(f"filters {' '.join(map(str, result['filters']))}; measured on {device}")
