"""How long a network takes: the median of synchronised forward passes."""
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from utils.training.device import Runner

BATCH = 100  # images, as in the paper
WARMUP, REPEATS = 2, 11


@torch.no_grad()
def latency(network: nn.Module, image_size: int, runner: Runner) -> float:
    """Milliseconds for one batch of 100 images: the median of 11 forward passes after 2 that do not count."""
    network = runner.place(network).eval()
    images = torch.randn(BATCH, 3, image_size, image_size, device=runner.device).to(memory_format=torch.channels_last)

    def forward() -> None:
        with runner.autocast():
            network(images)

    seconds = [timed(runner, forward) for _ in range(WARMUP + REPEATS)]
    return 1000 * statistics.median(seconds[WARMUP:])


def timed(runner: Runner, work: Callable[[], object]) -> float:
    """The seconds that ``work`` takes on the device."""
    synchronize(runner)
    began = time.perf_counter()
    work()
    synchronize(runner)
    return time.perf_counter() - began


def synchronize(runner: Runner) -> None:
    """Waits until the device has done all it was given."""
    if runner.device.startswith("cuda"):
        torch.cuda.synchronize(runner.device)
