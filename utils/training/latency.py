"""The latency of networks: the median of synchronised forward passes."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from model import BUDGETS, ImageSize, build_model, image_shape, pixels_in
from utils.records.method import Method
from utils.records.results import Result
from utils.records.run import provenance
from utils.records.shapes import shape_in
from utils.records.sizes import size_of
from utils.training.device import Runner

BATCH = 100  # images, as in the paper
WARMUP, REPEATS = 2, 11


def latency(network: nn.Module, image_size: ImageSize, runner: Runner) -> float:
    """Return the milliseconds for a batch of 100 images: the median of 11 passes, after 2 to warm
    up."""
    return latencies([network], image_size, runner)[0]


@torch.no_grad()
def latencies(networks: list[nn.Module], image_size: ImageSize, runner: Runner) -> list[float]:
    """Return the latency of each network in milliseconds.

    The networks take turns, so that other work on the machine affects all of them.
    """
    placed = [runner.place(network).eval() for network in networks]
    images = torch.randn(BATCH, *image_shape(image_size), device=runner.device).to(
        memory_format=torch.channels_last
    )

    def forward(network: nn.Module) -> None:
        with runner.autocast():
            network(images)

    seconds = [
        [timed(runner, partial(forward, network)) for network in placed]
        for _ in range(WARMUP + REPEATS)
    ]
    return [1000 * statistics.median(own[WARMUP:]) for own in zip(*seconds)]


def rounding_told(method: Method, network: Result, runner: Runner) -> str:
    """Return a line with the costs and gains of rounding widths to multiples of
    ``method.round_to``.

    The network and its unrounded one are both measured now.
    """
    model, size, convcut = method.model, size_of(network), method.convcut
    shape = shape_in(network)
    amount, both = (
        method.amount(size, **shape),
        (network["filters"], method.unrounded().filters(size, **shape)),
    )

    # the budget that each uses, and the time it takes
    used = [
        BUDGETS[method.budget](model, filters, convcut=convcut, **shape) / amount
        for filters in both
    ]
    milliseconds = latencies(
        [build_model(model, filters, convcut=convcut, **shape) for filters in both],
        pixels_in(shape),
        runner,
    )

    return (
        f"rounded to multiples of {method.round_to}: {used[0]:.2%} of the budget, unrounded "
        f"{used[1]:.2%}; {milliseconds[0]:.1f} ms for {BATCH} images, unrounded "
        f"{milliseconds[1]:.1f} ({provenance(runner.device)['versions']['device']})"
    )


def timed(runner: Runner, work: Callable[[], object]) -> float:
    """Return the seconds that ``work`` takes on the device."""
    synchronize(runner)
    began = time.perf_counter()
    work()
    synchronize(runner)
    return time.perf_counter() - began


def synchronize(runner: Runner) -> None:
    """Wait until the device has finished all work."""
    if runner.device.startswith("cuda"):
        torch.cuda.synchronize(runner.device)
