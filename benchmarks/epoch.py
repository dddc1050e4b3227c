"""How much faster an epoch of this project is than one of a plain PyTorch loop on the same images.

The plain loop has a DataLoader with two processes, torchvision's transforms and torch.optim.SGD.
Both train the same uniform networks, by turns; printed are the medians over the turns and their
ratio, in seconds and in processor seconds, which don't count what else the machine does.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from campaign.loaders import plain_batches
from steps import OPTIMIZATION, image_options, plain_step, uniform_network
from torch import nn

from utils.data import Data, load_data, training_batches
from utils.script import run
from utils.training.device import Runner, pick_device
from utils.training.loop import Totals, sgd, training_step

NETWORKS = ("vgg@0.125", "vgg@0.25", "resnet18@0.25", "mobilenetv2@0.25")


def own_epoch(network: nn.Module, data: Data, size: int, runner: Runner) -> Callable[[], None]:
    """Return a function that trains for an epoch of this project."""
    network, batches = runner.place(network), training_batches(data, size)
    optimizer, draw = sgd(network, *OPTIMIZATION), torch.Generator().manual_seed(0)

    def epoch() -> None:
        totals = Totals(runner.device)
        for images, labels in batches.epoch(draw):
            totals.add(*training_step(network, optimizer, images, labels, runner), labels)

    return epoch


def plain_epoch(
    network: nn.Module, data: Data, size: int, workers: int, runner: Runner
) -> Callable[[], None]:
    """Return a function that trains for an epoch of a plain loop."""
    step = plain_step(network, plain_batches(data, size, workers, runner.device), runner)

    def epoch() -> None:
        for _ in range(len(data.train.labels) // size):
            step()

    return epoch


def processor_seconds() -> float:
    """Return the processor seconds of this process and of those that it started, as far as they are
    still there or were waited for."""
    mine = sum(os.times()[:4])
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) == os.getpid():
            mine += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return mine


def took(epoch: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds and the processor seconds of an epoch."""
    began = time.perf_counter(), processor_seconds()
    epoch()
    return time.perf_counter() - began[0], processor_seconds() - began[1]


def main() -> None:
    p = image_options(__doc__ or "", batch_size=64)
    p.add_argument("--limit-train", type=int, default=10_000)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NAME@RATIO")
    args = p.parse_args()

    runner = Runner(pick_device(args.device))
    data = load_data(args.dataset, args.data, runner.device, limit_train=args.limit_train)
    print(
        f"{args.dataset}, {len(data.train.labels):,} images, batches of {args.batch_size}, "
        f"{runner.device}, {torch.get_num_threads()} threads, {args.workers} workers"
    )
    for asked in args.networks:
        name, ratio = asked.split("@")
        plain = plain_epoch(
            uniform_network(name, float(ratio), data), data, args.batch_size, args.workers, runner
        )
        own = own_epoch(uniform_network(name, float(ratio), data), data, args.batch_size, runner)
        times = {"plain": [took(plain)], "own": [took(own)]}  # the first turn is for warming up
        for _ in range(args.turns):
            times["plain"].append(took(plain))
            times["own"].append(took(own))

        seconds, processor = (
            {
                kind: statistics.median(one[which] for one in found[1:])
                for kind, found in times.items()
            }
            for which in (0, 1)
        )
        print(
            f"{asked:18} plain {seconds['plain']:6.2f} s, own {seconds['own']:6.2f} s: "
            f"{seconds['plain'] / seconds['own']:.2f} times as fast; by the processor "
            f"{processor['plain'] / processor['own']:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    run(main, resumes=False)
