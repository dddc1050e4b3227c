"""Checks whether a network can be searched: compares what was read of it with the network
itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model import (
    ImageSize,
    Shape,
    build_model,
    count_macs,
    count_params,
    image_shape,
    is_imported,
    pixels_in,
    template,
    uniform_filters,
)
from model.gate import gates_of
from model.graph.compaction import Compactor
from model.graph.tracer import on_meta
from utils.errors import UserError
from utils.pruning import TaylorPruner
from utils.training.compare import compare_training
from utils.training.device import Runner
from utils.training.loop import sgd, training_step

if TYPE_CHECKING:
    from typing_extensions import Unpack

BATCH = 2
EXACT = 1e-6  # relative difference of float64 outputs that rounding can explain


def check(name: str, **shape: Unpack[Shape]) -> None:
    """Build a network at random widths, count it, close gates, compact it, and take a training
    step.

    A user's network is compared with its own code instead of compacted. Raises UserError where
    something differs from what was read.
    """
    pixels = pixels_in(shape)
    draw = torch.Generator().manual_seed(0)

    # between a tenth and half of each width
    widths = [
        max(1, int(width * ratio))
        for width, ratio in zip(
            template(name), (0.1 + 0.4 * torch.rand(10**4, generator=draw)).tolist()
        )
    ]
    images = torch.randn(BATCH, *image_shape(pixels), generator=draw)

    # its costs, and what removing filters does
    _check_counts(name, widths, images, shape)
    if is_imported(name):
        for gated in (False, True):
            # the first line, whose code is run, was printed before
            print(*compare_training(name, shape, gated=gated)[1:], sep="\n")
    else:
        network = build_model(name, widths, gated=True, **shape)
        _check_compaction(network.double(), images.double(), pixels)

    # a training step as in a search
    network = build_model(name, uniform_filters(name, 0.25), gated=True, **shape)
    pruner = TaylorPruner(gates_of(network))
    loss, _ = training_step(
        network,
        sgd(network, 0.01, 0.5, 5e-4),
        images,
        torch.arange(BATCH) % shape["num_classes"],
        Runner(),
    )

    if any(gate.weight.grad is None for gate in pruner.gates) or not loss.isfinite():
        raise UserError(
            f"{name}: a training step gives some widths no gradient, or no finite loss "
            f"({loss.item():g})"
        )


def _check_counts(name: str, widths: list[int], images: Tensor, shape: Shape) -> None:
    """Compare the parameters and multiply-accumulates of a built network with those counted from
    its graph. Raises UserError."""
    network = build_model(name, widths, **shape).eval()
    built = (
        sum(parameter.numel() for parameter in network.parameters()),
        _multiply_accumulates(network, images[:1]),
    )
    counted = count_params(name, widths, **shape), count_macs(name, widths, **shape)
    if built != counted:
        raise UserError(
            f"{name}: built at random widths it has {built[0]:,} parameters and {built[1]:,} "
            "multiply-accumulates, not the "
            f"{counted[0]:,} and {counted[1]:,} that were read from its graph"
        )


def _multiply_accumulates(network: nn.Module, image: Tensor) -> int:
    """Return the multiply-accumulates of an image, as counted by torch.utils.flop_counter.

    It counts on shapes where the network's code can run on them: there it sees recurrent layers
    too.
    """
    try:
        return _counted(on_meta(network), image.to("meta"))
    except Exception:  # whatever its code does with what has no numbers
        return _counted(network, image)


def _counted(network: nn.Module, image: Tensor) -> int:
    """Return the multiply-accumulates of one forward pass."""
    with FlopCounterMode(display=False) as flops, sdpa_kernel(SDPBackend.MATH):
        network(image)
    return flops.get_total_flops() // 2


@torch.no_grad()
def _check_compaction(network: nn.Module, images: Tensor, image_size: ImageSize) -> None:
    """Close half of the gates and remove what is dead. Raises UserError if the outputs change."""
    compactor = Compactor(network.eval(), image_size, multiple=1)
    alive = [torch.arange(len(gate.weight)) % 2 == 0 for gate in gates_of(network)]
    for gate, living in zip(gates_of(network), alive):
        gate.weight.copy_(living)

    expected = network(images)
    before = sum(parameter.numel() for parameter in network.parameters())
    compactor.compact(alive, worthwhile=0)
    difference = (compactor.network(images) - expected).abs().max() / expected.abs().max()
    if not difference < EXACT:
        raise UserError(
            f"removing filters whose gates are closed changes the outputs, by {difference:.1e} "
            "of the largest"
        )

    after = sum(parameter.numel() for parameter in compactor.network.parameters())
    print(
        f"closed half of the gates at random widths: {after / before:.0%} of the parameters are "
        f"left, outputs differ by {difference:.1e}"
    )
