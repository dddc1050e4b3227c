"""Accuracy of this project's pruning beside other tools', at equal multiply-accumulates (MACs).

For each seed one base network is trained. Every way of pruning begins with its weights, cuts to the
same MACs, and trains for the same epochs, at the same learning rates, on the same batches. Held-out
training images and the test images are classified after the last epoch; whatever is chosen is
chosen by the former.

Torch-Pruning 1.6 (pip install torch-pruning) is asked within each layer and over all of them;
nvidia-modelopt (pip install nvidia-modelopt torchprofile==0.0.4) for FastNAS, which finds a
subnetwork first and then trains it. Ways whose tool is not installed are left out. Each result is
stored as it comes, and what is stored is not run again; --table prints what there is.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from others.counting import macs_of
from steps import image_options
from torch import nn

from utils.compression.prune import prune
from utils.compression.state import Rounds
from utils.data import load_data, training_batches
from utils.errors import UserError
from utils.records.files import read_json, write_json
from utils.records.networks import load_network
from utils.records.paths import weights_file
from utils.records.results import Result
from utils.records.run import provenance
from utils.script import run
from utils.settings import BaseNetwork, Machine, Storage, TrainingSettings
from utils.settings.compression import Compression, PruningSettings
from utils.settings.target import Target
from utils.study.statistics import pooled
from utils.training.device import Runner, pick_device
from utils.training.finetune import train_base
from utils.training.train import Training, train

OURS: dict[str, dict[str, Any]] = {
    "taylor": {},
    "taylor_uniform": {"uniform": True},
    "magnitude": {"criterion": "magnitude"},
    "magnitude_uniform": {"criterion": "magnitude", "uniform": True},
    "random": {"criterion": "random"},
    "random_uniform": {"criterion": "random", "uniform": True},
}
WORDS = {
    "base": "the base network",
    "taylor": "Taylor score per MAC",
    "taylor_uniform": "Taylor score, uniform widths",
    "magnitude": "magnitude",
    "magnitude_uniform": "magnitude, uniform widths",
    "random": "random",
    "random_uniform": "random, uniform widths",
    "tp_layers": "Torch-Pruning, within each layer",
    "tp_all": "Torch-Pruning, over all layers",
    "fastnas": "FastNAS (nvidia-modelopt)",
}
TOOLS = {"tp_layers": "torch_pruning", "tp_all": "torch_pruning", "fastnas": "modelopt"}
METHODS = tuple(WORDS)[1:]
NETWORKS = tuple(
    f"{Path(__file__).parent}/others/networks.py:{name}" for name in ("vgg", "resnet18")
)
REFERENCE = "taylor"  # this project's default, which the others are compared with
SHARED = ("dataset", "limit_train", "validate", "batch_size")
ASKED = (*SHARED, "base_epochs", "epochs", "target")  # of a stored result
NUMBERS = ("held_out", "test", "params", "macs")
Facts = dict[str, Any]


class Bench:
    """One network and one seed: its base network, and what each way of pruning makes of it."""

    def __init__(self, network: str, seed: int, args: argparse.Namespace):
        self.model, self.seed, self.args = network, seed, args
        self.out, self.work = Path(args.out, short(network)), str(Path(args.work, short(network)))
        self.machine = Machine(device=args.device)
        shared: dict[str, Any] = {"seed": seed, **{key: getattr(args, key) for key in SHARED}}
        self.settings = PruningSettings(model=self.model, epochs=args.epochs, **shared)
        self.base_settings = TrainingSettings(
            model=self.model,
            epochs=args.base_epochs,
            milestones=self.settings.milestones,
            **shared,
        )

    @property
    def weights(self) -> Path:
        """The weights of the base network."""
        return weights_file(self.work, self.model, f"base_{self.seed}")

    def storage(self, name: str) -> Storage:
        """Return the places of a run's files."""
        places = {key: self.work for key in ("record_dir", "plot_dir", "model_dir")}
        return Storage(save=f"{name}_{self.seed}", data=self.args.data, resume=True, **places)

    def base(self) -> Facts:
        """Train the base network."""
        storage = self.storage("base")
        return facts(train_base(self.base_settings, BaseNetwork(), storage, self.machine))

    def ours(self, name: str) -> Facts:
        """Prune the base network as prune.py does."""
        compression = Compression(weights=str(self.weights), target=self.args.target, **OURS[name])
        return facts(prune(self.settings, compression, self.storage(name), self.machine))

    def others(self, name: str) -> Facts:
        """Prune the base network with another tool, in the same training."""
        runner, args = Runner(pick_device(self.args.device)), self.args
        data = load_data(
            args.dataset,
            args.data,
            runner.device,
            limit_train=args.limit_train,
            validate=args.validate,
            cache_dir=self.work,
        )
        network = load_network(self.weights, self.model)
        example = torch.zeros(1, 3, data.image_size, data.image_size)
        macs = Target.parse(args.target).amount(macs_of(network, example))

        # FastNAS prunes before the training, Torch-Pruning in the rounds of this project's pruning.
        begin: Callable[..., Training] = Training
        if name == "fastnas":
            from others.fastnas import fast_nas

            network = fast_nas(network, macs, example, data, runner, self.seed)
        else:
            from others.torch_pruning import TorchPruning

            batches, settings = len(training_batches(data, args.batch_size)), self.settings
            rounds = Rounds.over(
                settings.prune_part * settings.epochs, batches, settings.prune_rounds
            )
            begin = partial(
                TorchPruning,
                macs=macs,
                rounds=rounds,
                over_all=name == "tp_all",
                example=example.to(runner.device),
            )
        state = train(self.settings, lambda: network, data, runner, title=f"{name}, ", begin=begin)
        network = state.network
        return {
            "params": sum(parameter.numel() for parameter in network.parameters()),
            "macs": macs_of(network, example.to(runner.device)),
            "test": state.curve["test_acc"][-1],
            "held_out": state.curve["val_acc"][-1],
            "widths": [one.out_channels for one in network.modules() if isinstance(one, nn.Conv2d)],
            **provenance(runner.device),
        }

    def result(self, name: str) -> None:
        """Prune in one way, and store the result, unless it is stored. Raises UserError for one
        with other settings."""
        path = self.out / f"{name}_{self.seed}.json"
        asked = {key: getattr(self.args, key) for key in ASKED}
        if path.exists():
            if read_json(path).get("asked") != asked:
                raise UserError(f"{path}: of other settings; choose another --out")
            return
        work = (
            self.base
            if name == "base"
            else partial(self.ours if name in OURS else self.others, name)
        )
        write_json(path, {"seed": self.seed, **work(), "asked": asked})


def short(network: str) -> str:
    """Return the name of a network without its file."""
    return network.rpartition(":")[2]


def facts(result: Result) -> Facts:
    """Return what the table has of the result of a run of this project."""
    return {
        "params": result["params"],
        "macs": result["macs"],
        "test": result["last"],
        "held_out": result["val_acc"][-1],
        "widths": result["filters"],
        **{key: result[key] for key in ("versions", "threads", "commit")},
    }


def stored(out: Path, network: str) -> dict[str, list[Facts]]:
    """Return the stored results of a network, by their ways of pruning."""
    found = {
        name: [
            read_json(path)
            for path in sorted(Path(out, short(network)).glob(f"{name}_[0-9]*.json"))
        ]
        for name in WORDS
    }
    return {name: results for name, results in found.items() if results}


def table(out: Path, network: str) -> str:
    """Return the table of a network: mean accuracy, ± its standard error by the standard deviation
    within ways of pruning, pooled over them; and how far a way is from this project's default, on
    the test images."""
    found = stored(out, network)
    if not found:
        return f"{short(network)}: no results yet"
    pruned = {name: results for name, results in found.items() if name != "base"}

    def spread(key: str) -> float:
        pool = pooled([[one[key] for one in results] for results in pruned.values()])
        return pool.deviation if pool else math.nan

    deviation = {key: spread(key) for key in ("held_out", "test")}
    lines = [
        f"**{short(network)}**",
        "",
        "| | n | held out, % | test, % | test, beside the first | thousand parameters | MMACs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, results in found.items():
        n = len(results)
        mean = {key: fmean(one[key] for one in results) for key in NUMBERS}
        accuracies = [
            f"{mean[key]:.2f}{give_or_take(deviation[key] / math.sqrt(n))}" for key in deviation
        ]
        beside = ""
        if name not in ("base", REFERENCE) and REFERENCE in found:
            other = found[REFERENCE]
            error = deviation["test"] * math.sqrt(1 / n + 1 / len(other))
            difference = mean["test"] - fmean(one["test"] for one in other)
            beside = f"{difference:+.2f}{give_or_take(error)}"
        sizes = f"{mean['params'] / 1e3:.0f} | {mean['macs'] / 1e6:.2f}"
        lines.append(f"| {WORDS[name]} | {n} | {' | '.join(accuracies)} | {beside} | {sizes} |")
    return "\n".join(lines)


def give_or_take(error: float) -> str:
    """Return a standard error as the table has it; nothing where one result of each gives none."""
    return "" if math.isnan(error) else f" ± {error:.2f}"


def main() -> None:
    p = image_options(__doc__ or "", batch_size=64)
    p.set_defaults(dataset="CIFAR10")
    p.add_argument("--networks", nargs="+", default=NETWORKS, metavar="FILE.py:NAME")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    p.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    p.add_argument("--limit-train", type=int, default=10_000)
    p.add_argument("--validate", type=int, default=5_000)
    p.add_argument("--base-epochs", type=int, default=15)
    p.add_argument("--epochs", type=int, default=15)
    p.add_argument("--target", default="25%")
    p.add_argument("--out", default="saved_plots/peers", help="results")
    p.add_argument("--work", default="saved_models/peers", help="weights and unfinished work")
    p.add_argument("--table", action="store_true", help="print the table of what is stored")
    args = p.parse_args()

    if not args.table:
        here = [name for name in args.methods if name in OURS or find_spec(TOOLS[name])]
        if left := [name for name in args.methods if name not in here]:
            print(f"left out, not installed: {', '.join(left)}", flush=True)
        for seed in args.seeds:
            for network in args.networks:
                bench = Bench(network, seed, args)
                for name in ("base", *here):
                    bench.result(name)
    print("\n\n".join(table(args.out, network) for network in args.networks))


if __name__ == "__main__":
    run(main, resumes=True)
