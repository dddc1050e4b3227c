"""Training from scratch, at every ratio, of the networks that a search or a baseline gives (section 4)."""
from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from model import build_model, count_macs, count_params, prepare_filters, uniform_filters
from utils import records
from utils.data import Data, load_data, test_batches, training_batches
from utils.engine import (
    Diverged,
    Runner,
    check_compiler,
    check_memory,
    evaluate,
    generator,
    pick_device,
    seed_from,
    sgd,
    train_one_epoch,
)
from utils.options import dataset_name, refuse_empty_layers, seed_of, show_settings
from utils.records import UserError
from utils.schedule import training_lr

# What the result of a training depends on, beside the network and the data set; compared when work is found.
SETTINGS = ("seed", "epochs", "batch_size", "lr", "momentum", "weight_decay", "limit_train", "limit_test", "amp")


def prepare(args: argparse.Namespace) -> tuple[Data, Runner]:
    """The data and the device of a script that trains, with the settings printed."""
    runner = Runner(pick_device(args.device), args.amp)
    if args.compile:
        check_compiler(runner.device)
    data = load_data(args.dataset, args.data, runner.device, limit_train=args.limit_train, limit_test=args.limit_test,
                     batch_size=args.batch_size)
    show_settings(args, device=runner.device, images=len(data.train), num_classes=data.num_classes)
    return data, runner


def describe(args: argparse.Namespace, data: Data, method: str, ratio: float, filters: list[int], convcut: bool = False) -> dict:
    """What a result says of its network."""
    return {
        "model": args.model, "dataset": data.name, **data.shape, "method": method, "ratio": ratio, "seed": args.seed,
        "convcut": convcut, "filters": filters, "params": count_params(args.model, filters, convcut=convcut, **data.shape),
        "macs": count_macs(args.model, filters, convcut=convcut, **data.shape)}


def sweep(args: argparse.Namespace) -> None:
    """The body of the ratio_swipe scripts: one training per ratio; what is finished is skipped."""
    args.seed = seed_of(args)
    method, scaling, pruned = method_of(args, dataset_name(args.dataset))
    if len({records.percent(ratio) for ratio in args.ratios}) < len(args.ratios):
        raise UserError(f"--ratios {' '.join(map(str, args.ratios))}: two of them share a file name, which has int(100 * ratio)")
    for ratio in args.ratios:
        refuse_empty_layers(args.model, ratio)
    with working(args):
        data, runner = prepare(args)
        check_memory(count_params(args.model, uniform_filters(args.model, max(args.ratios)), **data.shape), runner)
        trainings = [(records.result_file(args.plot_dir, args.model, args.save, ratio), records.at_ratio(args.save, ratio))
                     for ratio in args.ratios]
        for path, name in trainings if args.overwrite else []:  # all at once: a stopped sweep goes on with --resume alone
            discard(args, path, name)
        for ratio, (path, name) in zip(args.ratios, trainings):
            filters = prepare_filters(args.model, ratio, scaling=scaling, pruned_filters=pruned, **data.shape)
            described = describe(args, data, method, ratio, filters, args.convcut)
            budget = count_params(args.model, uniform_filters(args.model, ratio), **data.shape)
            print(f"ratio {ratio:g}, {method}: filters {' '.join(map(str, filters))}\n"
                  f"  {described['params']:,} parameters, {described['params'] / budget:.2%} of the budget {budget:,}; "
                  f"{described['macs'] / 1e6:.1f} MMACs", flush=True)
            build = partial(build_model, args.model, filters, convcut=args.convcut, **data.shape)
            train_or_skip(args, path, name, described, build, data, runner)


def working(args: argparse.Namespace):
    """Holds the name of a run that trains from scratch or fine-tunes."""
    return records.working_on(Path(args.plot_dir) / args.model / args.save, Path(args.model_dir) / args.model)


def discard(args: argparse.Namespace, path: Path, name: str) -> None:
    """Removes the result ``path`` of the training ``name``, and its unfinished work: --overwrite."""
    path.unlink(missing_ok=True)
    records.unfinished_training(args.model_dir, args.model, name).unlink(missing_ok=True)


def method_of(args: argparse.Namespace, dataset: str):
    """(name of the method, power law or None, shape to scale or None) that the options ask for. Raises UserError."""
    if args.uniform + args.morph > 1 or (args.uniform and args.prune_fname):
        raise UserError("give one of --uniform, --morph [--prune-fname NAME] and --prune-fname NAME")
    if args.descent_idx is not None and (args.uniform or args.morph):
        raise UserError("--descent-idx goes with --prune-fname NAME alone")
    suffix = "+convcut" if args.convcut else ""
    if args.uniform:
        return "convcut" if args.convcut else "uniform", None, None
    if args.morph:
        return "morphnet" + suffix, None, records.read_morph(args.record_dir, args.prune_fname, args.model, dataset)
    if not args.prune_fname:
        raise UserError("say which networks to train: --prune-fname NAME (of a search, or 'published'), --uniform or --morph")
    record = records.read_scalings(args.record_dir, args.prune_fname, args.model, dataset)
    if (record.get("settings") or {}).get("morph"):
        raise UserError(f"{args.prune_fname} is a --morph search; give --morph too")
    index = -1 if args.descent_idx is None else args.descent_idx
    law = records.law_of(record, index)
    iteration = index % len(record["iterations"])
    print(f"{args.prune_fname}: alpha and beta of descent iteration {iteration}, of 0 to {len(record['iterations']) - 1}")
    return f"neuralscale_{iteration + 1}" + suffix, law, None


def train_or_skip(args: argparse.Namespace, path: Path, name: str, described: dict, build: Callable[[], nn.Module],
                  data: Data, runner: Runner, **schedule) -> None:
    """One training with its result in ``path``; skips what is finished, goes on with what is not.

    Raises UserError where something else stands under this name.
    """
    settings = {key: getattr(args, key) for key in SETTINGS}
    begun_with = {**described, **settings, "images": len(data.train), "test_images": len(data.test)}
    checkpoint = records.unfinished_training(args.model_dir, args.model, name)
    if path.exists():
        found = records.read_result(path)
        records.same_settings(path, begun_with, {key: found.get(key, found["settings"].get(key)) for key in begun_with})
        checkpoint.unlink(missing_ok=True)
        print(f"{path}: finished before, with these settings; skipped")
        return
    if checkpoint.exists() and not args.resume:
        raise UserError(f"{checkpoint}: an interrupted training has this name; --resume goes on with it, --overwrite begins anew")
    network, curve, seconds = train(args, build, begun_with, checkpoint, data, runner, name, **schedule)
    best, last = max(curve["test_acc"]), curve["test_acc"][-1]
    records.write_tensors(records.weights_file(args.model_dir, args.model, name), {
        **{key: described[key] for key in ("model", "dataset", "num_classes", "image_size", "convcut", "filters")},
        "network": network.state_dict()})
    records.write_json(path, {
        **begun_with, **curve, "best": best, "last": last, "seconds": round(seconds, 1), "settings": settings,
        "versions": records.versions(runner.device)})
    checkpoint.unlink(missing_ok=True)
    print(f"  best {best:.2f} %, last {last:.2f} %: {path}", flush=True)


def train(args: argparse.Namespace, build: Callable[[], nn.Module], begun_with: dict, checkpoint: Path, data: Data,
          runner: Runner, title: str, *, milestones: tuple[float, ...] | None = None,
          ) -> tuple[nn.Module, dict[str, list[float]], float]:
    """Trains ``build()`` for ``args.epochs``, with a checkpoint after each. The network, its curve, the seconds.

    Raises UserError for a checkpoint that is damaged or was begun with other settings.
    """
    milestones = data.settings.milestones if milestones is None else milestones
    torch.manual_seed(seed_from(args.seed))
    network = runner.place(build())
    optimizer = sgd(network, args.lr, args.momentum, args.weight_decay)
    curve: dict[str, list[float]] = {"train_loss": [], "train_acc": [], "test_loss": [], "test_acc": []}
    seconds = 0.0
    if args.resume and checkpoint.exists():
        saved = records.read_tensors(checkpoint)
        try:
            records.same_settings(checkpoint, begun_with, saved["begun_with"])
            network.load_state_dict(saved["network"])
            optimizer.load_state_dict(saved["optimizer"])
            curve, seconds = {key: list(map(float, saved["curve"][key])) for key in curve}, float(saved["seconds"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(f"{checkpoint}: damaged, or of another network ({type(error).__name__}); --overwrite begins anew") from None
        print(f"goes on at epoch {len(curve['test_acc'])}", flush=True)
    forward = torch.compile(network) if args.compile else network
    batches, tests = training_batches(data, args.batch_size), test_batches(data)
    for epoch in range(len(curve["test_acc"]), args.epochs):
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = training_lr(epoch, args.epochs, milestones, args.lr)
        loss, accuracy, _ = train_one_epoch(forward, batches, optimizer, runner, epoch=epoch,
                                            draw=generator(args.seed, 0, epoch), title=f"{title}, epoch {epoch}")
        test_loss, test_accuracy = evaluate(forward, tests, runner)
        if not math.isfinite(test_loss):
            raise Diverged(f"the loss of the test images is not a finite number after epoch {epoch}, batch {len(batches) - 1} (both "
                           "counted from 0); the state of the last good epoch is kept. Try a smaller --lr")
        print(f"  test: loss {test_loss:.4f}, accuracy {test_accuracy:.2f} %", flush=True)
        for key, number in zip(curve, (loss, accuracy, test_loss, test_accuracy)):
            curve[key].append(number)
        seconds += time.monotonic() - began
        if epoch + 1 < args.epochs:
            records.write_tensors(checkpoint, {"begun_with": begun_with, "network": network.state_dict(),
                                               "optimizer": optimizer.state_dict(), "curve": curve, "seconds": seconds})
    return network, curve, seconds
