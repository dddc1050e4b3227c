"""The two halves of the magnitude baseline: train the base network; prune and fine-tune it."""
from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from model import build_model, uniform_filters
from model.gate import gates_of
from utils import records
from utils.engine import check_memory
from utils.magnitude import largest_filters, prune, pruned_widths
from utils.options import refuse_empty_layers, seed_of
from utils.records import UserError
from utils.sweep import describe, discard, prepare, train_or_skip, working

SAME_OUTPUTS = 1e-3  # relative; masking and removing differ by the rounding of float32


def train_base(args: argparse.Namespace) -> None:
    """The body of train_norm.py."""
    args.seed = seed_of(args)
    refuse_empty_layers(args.model, args.ratio)
    with working(args):
        data, runner = prepare(args)
        filters = uniform_filters(args.model, args.ratio)
        described = describe(args, data, "base", args.ratio, filters)
        check_memory(described["params"], runner)
        result = records.result_file(args.plot_dir, args.model, args.save, args.ratio)
        weights = records.weights_file(args.model_dir, args.model, args.save)
        if args.overwrite:
            discard(args, result, args.save)
        elif weights.exists() and not result.exists() and not weights_are(weights, filters):
            raise UserError(f"{weights}: another network has this name; choose another --save, or --overwrite")
        print(f"base network: {described['params']:,} parameters, {described['macs'] / 1e6:.1f} MMACs")
        train_or_skip(args, result, args.save, described, partial(build_model, args.model, filters, **data.shape), data, runner)


def weights_are(path: Path, filters: list[int]) -> bool:
    """Whether the network stored in ``path`` has these filters: then its training was interrupted just before the end."""
    return records.read_tensors(path).get("filters") == filters


def fine_tune(args: argparse.Namespace) -> None:
    """The body of fine_tune.py."""
    args.seed = seed_of(args)
    refuse_empty_layers(args.model, args.ratio)
    path = records.weights_file(args.model_dir, args.model, args.prune_fname)
    base = records.read_tensors(path)
    with working(args):
        data, runner = prepare(args)
        try:
            network = build_model(args.model, base["filters"], gated=True, **data.shape)
            if (base["model"], base["dataset"]) != (args.model, data.name):
                raise UserError(f"{path}: a {base['model']} of {base['dataset']}, not a {args.model} of {data.name}")
            missing = network.load_state_dict(base["network"], strict=False)
            if missing.unexpected_keys or not all(key.endswith("gate.weight") for key in missing.missing_keys):
                raise KeyError("weights")
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(f"{path}: not a network of train_norm.py, or damaged ({type(error).__name__})") from None
        network = runner.place(network)
        widths = pruned_widths(args.model, args.ratio, base["filters"], **data.shape)
        kept = largest_filters(network, widths)
        described = {
            **describe(args, data, "magnitude", args.ratio, widths), "base": args.prune_fname,
            "kept": [mask.nonzero().flatten().tolist() for mask in kept]}
        small, difference = prune(network, kept, data.image_size)
        if not difference < SAME_OUTPUTS:
            raise UserError(f"{path}: removing the pruned filters changed the outputs by {difference:.1e}, relative to the largest; "
                            "are its weights finite?")
        physical = sum(p.numel() for p in small.parameters()) - sum(gate.weight.numel() for gate in gates_of(small))
        print(f"pruned {sum(base['filters']) - sum(widths)} of {sum(base['filters'])} filters by L1 norm: {' '.join(map(str, widths))}\n"
              f"  {described['params']:,} parameters, {described['macs'] / 1e6:.1f} MMACs; rebuilt small ({physical:,} parameters), "
              f"its outputs differ by {difference:.1e}", flush=True)
        result, name = records.result_file(args.plot_dir, args.model, args.save, args.ratio), records.at_ratio(args.save, args.ratio)
        if args.overwrite:
            discard(args, result, name)
        train_or_skip(args, result, name, described, lambda: small, data, runner, milestones=())
