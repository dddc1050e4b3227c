"""How long a network takes: the median of synchronised forward passes."""
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from model import BUDGETS, Shape, build_model
from utils.records.methods import Method
from utils.records.results import Result
from utils.records.run import provenance
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


def rounding_told(method: Method, network: Result, runner: Runner) -> str:
    """What it costs and gains one network that its widths are multiples of ``method.round_to``, for people: both are measured now."""
    model, ratio, convcut = method.model, network["ratio"], method.convcut
    shape: Shape = {"num_classes": network["num_classes"], "image_size": network["image_size"]}
    amount, used, milliseconds = method.amount(ratio, **shape), [], []
    for filters in (network["filters"], method.unrounded().filters(ratio, **shape)):
        used.append(BUDGETS[method.budget](model, filters, convcut=convcut, **shape) / amount)
        milliseconds.append(latency(build_model(model, filters, convcut=convcut, **shape), shape["image_size"], runner))
    return (f"rounded to multiples of {method.round_to}: {used[0]:.2%} of the budget, unrounded {used[1]:.2%}; {milliseconds[0]:.1f} ms "
            f"for {BATCH} images, unrounded {milliseconds[1]:.1f} ({provenance(runner.device)['versions']['device']})")


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
