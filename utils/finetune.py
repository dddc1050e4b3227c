"""The two halves of the magnitude baseline: train the base network; prune and fine-tune it."""
from __future__ import annotations

import argparse
from pathlib import Path

from torch import nn

from model import build_model, count_macs, count_params, uniform_filters
from model.gate import gates_of
from utils import records
from utils.engine import check_memory
from utils.magnitude import largest_filters, prune, pruned_widths
from utils.options import refuse_empty_layers, seed_of
from utils.records import UserError
from utils.sweep import prepare, train_or_skip

SAME_OUTPUTS = 1e-3  # relative; masking and removing differ by the rounding of float32


def described(args: argparse.Namespace, method: str, filters: list[int], shape: dict[str, int]) -> dict:
    """What a result says of its network, without a data set."""
    return {**shape, "model": args.model, "method": method, "ratio": args.ratio, "seed": args.seed, "convcut": False,
            "filters": filters, "params": count_params(args.model, filters, **shape),
            "macs": count_macs(args.model, filters, **shape)}


def train_base(args: argparse.Namespace) -> None:
    """The body of train_norm.py."""
    args.seed = seed_of(args)
    refuse_empty_layers(args.model, args.ratio)
    with records.working_on(Path(args.plot_dir) / args.model / args.save, Path(args.model_dir) / args.model):
        data, runner = prepare(args, args.batch_size)
        shape = {"num_classes": data.num_classes, "image_size": data.image_size}
        filters = uniform_filters(args.model, args.ratio)
        about = {**described(args, "base", filters, shape), "dataset": data.name}
        check_memory(about["params"], runner)
        result, weights = records.result_file(args.plot_dir, args.model, args.save, args.ratio), records.weights_file(
            args.model_dir, args.model, args.save)
        if weights.exists() and not result.exists() and not args.overwrite and not weights_are(weights, filters):
            raise UserError(f"{weights}: another network has this name; choose another --save, or --overwrite")
        print(f"base network: {about['params']:,} parameters, {about['macs'] / 1e6:.1f} MMACs")
        train_or_skip(args, result, args.save, about,
                      lambda: build_model(args.model, filters, **shape), data, runner)


def weights_are(path: Path, filters: list[int]) -> bool:
    """Whether the network stored in ``path`` has these filters: then its training was interrupted just before the end."""
    return records.read_tensors(path).get("filters") == filters


def fine_tune(args: argparse.Namespace) -> None:
    """The body of fine_tune.py."""
    args.seed = seed_of(args)
    refuse_empty_layers(args.model, args.ratio)
    path = records.weights_file(args.model_dir, args.model, args.prune_fname)
    base = records.read_tensors(path)
    with records.working_on(Path(args.plot_dir) / args.model / args.save, Path(args.model_dir) / args.model):
        data, runner = prepare(args, args.batch_size)
        shape = {"num_classes": data.num_classes, "image_size": data.image_size}
        try:
            network = build_model(args.model, base["filters"], gated=True, **shape)
            if (base["model"], base["dataset"]) != (args.model, data.name):
                raise UserError(f"{path}: a {base['model']} of {base['dataset']}, not a {args.model} of {data.name}")
            missing = network.load_state_dict(base["network"], strict=False)
            if missing.unexpected_keys or not all(key.endswith("gate.weight") for key in missing.missing_keys):
                raise KeyError("weights")
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(f"{path}: not a network of train_norm.py, or damaged ({type(error).__name__})") from None
        network = runner.place(network)
        widths = pruned_widths(args.model, args.ratio, base["filters"], **shape)
        kept = largest_filters(network, widths)
        about = {**described(args, "magnitude", widths, shape), "dataset": data.name, "base": args.prune_fname}
        small, difference = prune(network, kept, data.image_size)
        if not difference < SAME_OUTPUTS:
            raise UserError(f"{path}: removing the pruned filters changed the outputs by {difference:.1e}, relative to the largest; "
                            "are its weights finite?")
        physical = sum(p.numel() for p in small.parameters()) - sum(gate.weight.numel() for gate in gates_of(small))
        print(f"pruned {sum(base['filters']) - sum(widths)} of {sum(base['filters'])} filters by L1 norm: {' '.join(map(str, widths))}\n"
              f"  {about['params']:,} parameters, {about['macs'] / 1e6:.1f} MMACs; rebuilt small ({physical:,} parameters), its outputs "
              f"differ by {difference:.1e}", flush=True)

        def build() -> nn.Module:
            return small

        about["kept"] = [mask.nonzero().flatten().tolist() for mask in kept]
        train_or_skip(args, records.result_file(args.plot_dir, args.model, args.save, args.ratio),
                      f"{args.save}_{records.percent(args.ratio)}", about, build, data, runner, milestones=())
