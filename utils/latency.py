"""How long a network takes: the median of synchronised forward passes."""
from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from utils.engine import Runner

BATCH = 100  # images, as in the paper
WARMUP, REPEATS = 2, 11


@torch.no_grad()
def latency(network: nn.Module, image_size: int, runner: Runner) -> float:
    """Milliseconds for one batch of 100 images: the median of 11 forward passes after 2 that do not count."""
    network = runner.place(network).eval()
    images = torch.randn(BATCH, 3, image_size, image_size, device=runner.device).to(memory_format=torch.channels_last)
    seconds = []
    for _ in range(WARMUP + REPEATS):
        synchronize(runner)
        began = time.perf_counter()
        with runner.autocast():
            network(images)
        synchronize(runner)
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds[WARMUP:])


def synchronize(runner: Runner) -> None:
    """Waits until the device has done all it was given."""
    if runner.device.startswith("cuda"):
        torch.cuda.synchronize(runner.device)
