"""The magnitude baseline: removes the filters with the smallest weights, the same fraction of each
layer (Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model import (
    BUDGETS,
    COLOURS,
    ImageSize,
    Shape,
    compactor,
    image_shape,
    prepare_filters,
)
from model.architecture import Compaction
from model.errors import OverBudget, UnknownLayer, UnreadableNetwork
from model.gate import gates_of
from model.graph.channels import Input
from model.graph.resize import tensors_of
from utils.errors import UserError
from utils.records.method import Method, impossible
from utils.settings import Size, size_told

if TYPE_CHECKING:
    from typing_extensions import Unpack


def pruned_widths(
    name: str,
    size: Size,
    filters: list[int],
    *,
    budget: str = "params",
    min_width: int = 0,
    keep: Sequence[str] = (),
    **shape: Unpack[Shape],
) -> list[int]:
    """Return the widths after pruning: the same fraction of each of ``filters``, the largest within
    the budget of a ratio, or within a target.

    A layer keeps at least 1 filter, or ``min_width``, or all where it has fewer; layers in ``keep``
    keep all. Raises UserError if the network is within the budget unpruned, or can't be brought
    within it.
    """
    amount = Method("magnitude", name, budget=budget).amount(size, **shape)
    if BUDGETS[budget](name, filters, **shape) <= amount:
        raise UserError(
            f"--{size_told(size)}: the base network is within this budget as it is; there is "
            "nothing to prune"
        )

    try:
        return prepare_filters(
            name,
            amount=amount,
            pruned_filters=filters,
            budget=budget,
            min_width=min_width,
            keep=keep,
            own=filters,
            **shape,
        )
    except (OverBudget, UnknownLayer) as error:
        raise impossible(error, size, 1, min_width, keep) from None


def largest_filters(compactor: Compaction, widths: list[int]) -> list[Tensor]:
    """Return for each gate a mask of the filters to keep: the ``widths[l]`` with the largest L1
    norm."""
    kept = []
    for norm, width in zip(filter_norms(compactor), widths):
        mask = torch.zeros(len(norm), dtype=torch.bool, device=norm.device)
        mask[norm.topk(width).indices] = True
        kept.append(mask)
    return kept


def compactor_of(
    model: str,
    network: nn.Module,
    *,
    num_classes: int = 10,
    image_size: ImageSize = 32,
    channels: int = COLOURS,
    multiple: int = 1,
) -> Compaction:
    """Return the network's compactor. Raises UserError if its filters can't be removed."""
    try:
        return compactor(
            model,
            network,
            num_classes=num_classes,
            image_size=image_size,
            channels=channels,
            multiple=multiple,
            through_norms=True,
        )
    except UnreadableNetwork as error:
        raise UserError(
            f"this network can't be pruned: {error}, so its filters can't be removed"
        ) from None


def filter_norms(compactor: Compaction) -> list[Tensor]:
    """Return the L1 norm of each filter, (width,) for each gate, in the layer whose output reaches
    the gate first.

    Behind a sum this is the layer of the branch, its first operand, not that of the shortcut. Where
    a gate is in several places, or a filter has several channels, the norms add up.
    """
    reading, norms, gate_nodes = compactor.reading, dict[str, Tensor](), compactor.gate_nodes
    found = [torch.zeros_like(gate.weight.detach()) for gate in gates_of(compactor.network)]
    device, tensors = found[0].device, tensors_of(compactor.network)

    for node in reading.graph.nodes:
        name = node.name
        if name not in reading.values:
            continue

        # a layer has norms of its own
        norms[name] = torch.zeros(compactor.channels(name), device=device, dtype=found[0].dtype)
        if layer := reading.makers.get(name):
            weight = tensors[layer.weight].detach()
            # the dimension of the weight that has the filters
            filters = int(layer.transposed and layer.groups == 1)
            there = compactor.channel_mask(name).to(device)
            norms[name][there] = weight.abs().transpose(0, filters).flatten(1).sum(dim=1)

        # elsewhere each channel has the norms of the first operand that has any
        filled = torch.full((len(norms[name]),), layer is not None)
        for source in reading.steps[name].inputs if layer is None else ():
            part = slice(
                source.start, source.start + len(norms[source.name]) // source.taken * source.given
            )
            if not (filled[part].any() or (source.whole and len(reading.steps[name].inputs) > 1)):
                norms[name][part], filled[part] = spread_norms(norms[source.name], source), True

        # add the norms up, by gates
        if name in gate_nodes:
            layers, index = gate_nodes[name]
            of_gates = norms[name]
            if index is not None:
                size = sum(len(found[gate]) for gate in layers) + 1
                of_gates = of_gates.new_zeros(size).index_add(0, index.to(device), of_gates)[:-1]
            for gate, part in zip(layers, of_gates.split([len(found[gate]) for gate in layers])):
                found[gate] += part
    return found


def spread_norms(norm: Tensor, source: Input) -> Tensor:
    """Return the norms of the channels that are made from those of ``source``."""
    return norm.view(-1, source.taken).sum(dim=1).repeat_interleave(source.given)


def prune(
    compactor: Compaction, kept: list[Tensor], image_size: ImageSize = 32
) -> tuple[nn.Module, float | None]:
    """Remove the filters outside ``kept``, and compare the outputs with those of the masked
    network.

    ``image_size`` is as pixels_of returns it. The filters are masked by their gates and then
    removed. Returns the small network and the largest difference on random images, relative to the
    largest output. The difference is None where outputs must differ: where a norm takes its mean
    over the filters.
    """
    network = compactor.network
    with torch.no_grad():
        for gate, mask in zip(gates_of(network), kept):
            gate.weight.copy_(mask)

        network.eval()
        images = torch.randn(
            8, *image_shape(image_size), generator=torch.Generator().manual_seed(0)
        ).to(kept[0].device)
        masked = network(images)

        compactor.compact([mask.cpu() for mask in kept], worthwhile=0)
        small = compactor.finished()
        difference = (small.eval()(images) - masked).abs().max() / masked.abs().max()
    return small, float(difference) if compactor.exact else None
