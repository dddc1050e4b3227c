"""The magnitude baseline: remove the filters whose weights are small (Li et al., Pruning Filters for Efficient ConvNets,
ICLR 2017), the same fraction in every layer."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model import BUDGETS, prepare_filters, uniform_filters
from model.errors import OverBudget, UnknownLayer, UnreadableNetwork
from model.gate import gates_of
from model.graph.channels import Input
from model.graph.compaction import Compactor
from model.graph.operations import LAYERS
from utils.errors import UserError
from utils.records.methods import impossible


def pruned_widths(name: str, ratio: float, filters: list[int], *, num_classes: int, image_size: int, budget: str = "params",
                  min_width: int = 0, keep: Sequence[str] = ()) -> list[int]:
    """What is left of ``filters``: the same fraction of every layer, the largest within the budget of ``ratio``.

    A layer has 1 filter left, or ``min_width``, or all where it has fewer; those of ``keep`` have all. Raises UserError where the
    network is within that budget unpruned, or what has to be left of it is not.
    """
    base, amount = (BUDGETS[budget](name, widths, num_classes=num_classes, image_size=image_size)
                    for widths in (filters, uniform_filters(name, ratio)))
    if base <= amount:
        raise UserError(f"--ratio {ratio:g}: the base network is within this budget as it is; there is nothing to prune")
    try:
        return prepare_filters(name, ratio, pruned_filters=filters, num_classes=num_classes, image_size=image_size, budget=budget,
                               min_width=min_width, keep=keep, own=filters)
    except (OverBudget, UnknownLayer) as error:
        raise impossible(error, ratio, 1, min_width, keep) from None


def largest_filters(network: nn.Module, widths: list[int], image_size: int = 32) -> list[Tensor]:
    """For each gate, which of its filters to keep: the ``widths[l]`` with the largest L1 norm (bools)."""
    kept = []
    for norm, width in zip(filter_norms(network, image_size), widths):
        mask = torch.zeros(len(norm), dtype=torch.bool, device=norm.device)
        mask[norm.topk(width).indices] = True
        kept.append(mask)
    return kept


def compactor_of(network: nn.Module, image_size: int) -> Compactor:
    """Raises UserError for a network whose filters can't be removed."""
    try:
        return Compactor(network, image_size, multiple=1)
    except UnreadableNetwork as error:
        raise UserError(f"this network can't be pruned by magnitude: {error}, so its filters can't be removed") from None


def filter_norms(network: nn.Module, image_size: int = 32) -> list[Tensor]:
    """For each gate, (width,): the L1 norm of each filter, in the layer whose output reaches the gate first.

    Behind a sum that is the layer of the branch, its first operand, not that of the shortcut. Where a gate is in several
    places, or a filter is several channels, they add up.
    """
    compactor = compactor_of(network, image_size)
    reading, norms = compactor.reading, dict[str, Tensor]()
    found = [torch.zeros_like(gate.weight.detach()) for gate in gates_of(network)]
    for node in compactor.nodes:
        layer, sources = reading.layer(node), reading.steps[node.name].inputs
        if isinstance(layer, LAYERS):
            filters = reading.dims[reading.path[f"{node.target}.weight"]].index(node.name)  # the dimension that they are along
            norms[node.name] = layer.weight.detach().abs().transpose(0, filters).flatten(1).sum(dim=1)
        elif parts := [spread_norms(norms[source.name], source) for source in sources if not source.whole or len(sources) == 1]:
            joined = len(parts[0]) < len(compactor.kept[node.name])
            norms[node.name] = torch.cat(parts) if joined else parts[0]
        else:
            norms[node.name] = torch.zeros(len(compactor.kept[node.name]), device=compactor.device)
        if node.name in compactor.gate_nodes:
            layers, index = compactor.gate_nodes[node.name]
            of_gates = norms[node.name]
            if index is not None:
                size = sum(len(found[gate]) for gate in layers) + 1
                of_gates = of_gates.new_zeros(size).index_add(0, index.to(of_gates.device), of_gates)[:-1]
            for gate, part in zip(layers, of_gates.split([len(found[gate]) for gate in layers])):
                found[gate] += part
    return found


def spread_norms(norm: Tensor, source: Input) -> Tensor:
    """The norms of the channels that are made of those of ``source``."""
    return norm.view(-1, source.taken).sum(dim=1).repeat_interleave(source.given)


def prune(network: nn.Module, kept: list[Tensor], image_size: int) -> tuple[nn.Module, float]:
    """The network without the filters outside ``kept``, and how far its outputs are from the masked one's.

    The filters are masked by their gates and then removed; on random images the two networks' outputs are compared,
    relative to the largest.
    """
    with torch.no_grad():
        for gate, mask in zip(gates_of(network), kept):
            gate.weight.copy_(mask)
        network.eval()
        images = torch.randn(8, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(kept[0].device)
        masked = network(images)
        compactor = compactor_of(network, image_size)
        compactor.compact([mask.cpu() for mask in kept], worthwhile=0)
        difference = (compactor.network.eval()(images) - masked).abs().max() / masked.abs().max()
    return compactor.network, float(difference)
