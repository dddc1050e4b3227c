"""Architecture descent: prune a network, fit how its layers shrink, rebuild it in that shape, and again (section 3)."""
from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from model import build_model, count_params, prepare_filters
from model.gate import gates_of
from utils import records
from utils.compaction import Compactor
from utils.data import Data, load_data, training_batches
from utils.engine import Runner, check_memory, generator, give_back_freed_memory, pick_device, seed_from, sgd, train_one_epoch
from utils.options import dataset_name, refuse_empty_layers, seed_of, show_settings
from utils.powerlaw import PowerLaw, fit_power_law
from utils.pruning import TaylorPruner
from utils.records import UserError
from utils.schedule import first_pruning_epoch, search_lr

# What the result of a search depends on, beside model and data; kept in the record and compared on --resume.
SETTINGS = ("seed", "ratio", "morph", "warmup", "iterations", "epochs", "prune_every", "prune_step", "prune_fraction",
            "batch_size", "lr", "momentum", "weight_decay", "limit_train", "amp", "compact")


@dataclass
class Iteration:
    """A network being pruned, with all that changes while it is."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    pruner: TaylorPruner
    compactor: Compactor | None
    epoch: int = 0
    seconds: float = 0.0

    def after_step(self) -> bool:
        """Scores the batch just trained; after a pruning round, removes what has died."""
        rounds = self.pruner.rounds
        go_on = self.pruner.step()
        pruned = self.compactor and self.pruner.rounds > rounds
        if pruned and self.compactor.compact(list(self.pruner.alive.split(self.pruner.full_widths)), self.optimizer):
            self.pruner.resize(self.compactor.kept_filters())
            give_back_freed_memory()
        return go_on

    def state_dict(self) -> dict:
        return {
            "kept": self.compactor.kept if self.compactor else None, "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(), "pruner": self.pruner.state_dict(), "epoch": self.epoch,
            "seconds": self.seconds}

    def load_state_dict(self, state: dict) -> None:
        if self.compactor:
            self.compactor.restore(state["kept"], self.optimizer)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.pruner.load_state_dict(state["pruner"])
        self.epoch, self.seconds = state["epoch"], state["seconds"]


def descend(args: argparse.Namespace) -> None:
    """The body of the search scripts: reads the data, runs the iterations, writes a record after each."""
    if args.epochs <= first_pruning_epoch(args.warmup):
        raise UserError(f"--warmup {args.warmup} leaves no epoch to prune in; --epochs must be at least "
                        f"{first_pruning_epoch(args.warmup) + 1}, not {args.epochs}")
    if args.morph:
        args.iterations, args.prune_fraction = 1, args.prune_fraction or 0.5
    args.prune_fraction = args.prune_fraction or 0.95
    args.seed = seed_of(args)
    refuse_empty_layers(args.model, args.ratio)
    path = records.search_record(args.record_dir, args.save)
    with records.working_on(path, checkpoint_of(args).parent):
        settings = {name: getattr(args, name) for name in SETTINGS}
        record = stored_record(path, args, settings)
        if record and len(record["iterations"]) >= args.iterations:
            checkpoint_of(args).unlink(missing_ok=True)
            print(f"{path}: finished before, with these settings; nothing to do (--overwrite begins anew)")
            return
        runner = Runner(pick_device(args.device), args.amp)
        # The search never looks at the test images.
        data = load_data(args.dataset, args.data, runner.device, limit_train=args.limit_train, limit_test=1, batch_size=args.batch_size)
        if record and (record["num_classes"], record["image_size"]) != (data.num_classes, data.image_size):
            raise UserError(f"{path}: begun with {record['num_classes']} classes of {record['image_size']} pixels; the data now has "
                            f"{data.num_classes} of {data.image_size}")
        show_settings(args, device=runner.device, images=len(data.train), num_classes=data.num_classes)
        # The networks of later iterations are about as large as the first one.
        check_memory(count_params(args.model, prepare_filters(args.model, args.ratio, search=True), **data.shape), runner)
        if args.overwrite:  # only now, when nothing the user can mend stands in the way of the new search
            for old in [path, checkpoint_of(args), *records.all_search_rows(args.record_dir, args.save)]:
                old.unlink(missing_ok=True)
        record = record or {
            "model": args.model, "dataset": data.name, **data.shape,
            "settings": settings, "versions": records.versions(runner.device), "iterations": []}
        record["settings"] = settings
        for iteration in range(len(record["iterations"]), args.iterations):
            law = records.law_of(record, -1) if iteration else None
            filters = prepare_filters(args.model, args.ratio, scaling=law, search=True, **data.shape)
            rows, seconds = residual_filters(args, data, runner, iteration, filters)
            law = fit_power_law(rows, count_params(args.model, np.array(rows).T, **data.shape))
            records.write_rows(records.search_rows(args.record_dir, args.save, iteration), rows)
            record["iterations"].append({"alpha": law.alpha, "beta": law.beta, "filters": filters, "rounds": len(rows),
                                         "seconds": round(seconds, 1)})
            records.write_json(path, record)
            checkpoint_of(args).unlink(missing_ok=True)
            report(iteration, filters, rows, law)
        print(f"recorded in {path}")


def stored_record(path: Path, args: argparse.Namespace, settings: dict) -> dict | None:
    """What an earlier run left under this name, if this run may go on with it. Raises UserError if it may not."""
    if args.overwrite:
        return None
    if not path.exists():
        if checkpoint_of(args).exists() and not args.resume:
            raise UserError(f"--save {args.save}: an interrupted search has this name; --resume goes on with it, --overwrite begins anew")
        return None
    record = records.read_search(args.record_dir, args.save, args.model, dataset_name(args.dataset))
    unfinished = len(record["iterations"]) < args.iterations
    records.same_settings(path, settings, record["settings"], may_grow=("iterations",))
    if unfinished and not args.resume:
        raise UserError(f"--save {args.save}: {path} has {len(record['iterations'])} of {args.iterations} iterations; --resume goes on "
                        "with them, --overwrite begins anew")
    return record


def checkpoint_of(args: argparse.Namespace) -> Path:
    return records.unfinished_search(args.model_dir, args.model, args.save)


def residual_filters(args: argparse.Namespace, data: Data, runner: Runner, iteration: int,
                     filters: list[int]) -> tuple[list[list[int]], float]:
    """One iteration: warm up, then train and prune to the end. The recorded rows of widths, and the seconds it took."""
    torch.manual_seed(seed_from(args.seed, iteration))
    network = runner.place(build_model(args.model, filters, **data.shape, gated=True))
    compactor = Compactor(network) if args.compact else None
    state = Iteration(compactor.network if compactor else network,
                      sgd(network, args.lr, args.momentum, args.weight_decay),
                      TaylorPruner(gates_of(network), args.prune_every, args.prune_step, args.prune_fraction), compactor)
    begun_with = {"iteration": iteration, "filters": filters, "dataset": data.name, "images": len(data.train),
                  **{name: getattr(args, name) for name in SETTINGS if name != "iterations"}}
    if args.resume and checkpoint_of(args).exists():
        resume(checkpoint_of(args), begun_with, state)
    batches = training_batches(data, args.batch_size, search=True)
    while state.epoch < args.epochs and not state.pruner.ended:
        began, epoch = time.monotonic(), state.epoch
        pruning = epoch >= first_pruning_epoch(args.warmup)
        for gate in state.pruner.gates:
            gate.weight.requires_grad_(pruning)
        for group in state.optimizer.param_groups:
            group["lr"] = search_lr(epoch, args.warmup, args.lr)
        train_one_epoch(
            state.network, batches, state.optimizer, runner, epoch=epoch,
            draw=generator(args.seed, iteration, epoch), title=f"iteration {iteration}, epoch {epoch}",
            after_step=state.after_step if pruning else None,
            note=lambda: f", {sum(state.pruner.widths)} of {sum(filters)} filters")
        state.epoch += 1
        state.seconds += time.monotonic() - began
        if not state.pruner.ended:
            records.write_tensors(checkpoint_of(args), {"begun_with": begun_with, **state.state_dict()})
    state.pruner.finish()
    return state.pruner.history, state.seconds


def resume(path: Path, begun_with: dict, state: Iteration) -> None:
    """Puts ``state`` where the interrupted run left it, if it was in this iteration.

    (It was in an earlier one where the record was written, but the process killed before the checkpoint was removed.)
    Raises UserError for a checkpoint that is damaged or of other settings.
    """
    saved = records.read_tensors(path)
    try:
        if saved["begun_with"]["iteration"] < begun_with["iteration"]:
            return
        records.same_settings(path, begun_with, saved["begun_with"])
        state.load_state_dict(saved)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise UserError(f"{path}: damaged, or of another network ({type(error).__name__}); --overwrite begins anew") from None
    print(f"goes on in iteration {begun_with['iteration']} at epoch {state.epoch}", flush=True)


def report(iteration: int, filters: list[int], rows: list[list[int]], law: PowerLaw) -> None:
    """Prints what an iteration found."""
    def line(name: str, numbers: list) -> None:
        print(f"  {name:9}", " ".join(f"{n:>9}" if isinstance(n, int) else f"{n:9.4g}" for n in numbers))

    print(f"iteration {iteration}: {len(rows)} rows of residual filters")
    line("searched", filters)
    line("left", rows[-1])
    line("alpha", law.alpha)
    line("beta", law.beta)
    sys.stdout.flush()
