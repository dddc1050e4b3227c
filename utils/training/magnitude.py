"""The magnitude baseline: remove the filters whose weights are small (Li et al., Pruning Filters for Efficient ConvNets,
ICLR 2017), the same fraction in every layer."""
from typing import Any

import torch
from torch import Tensor, nn

from model import prepare_filters
from model.compaction import Compactor
from model.gate import gates_of
from utils.errors import UserError


def pruned_widths(name: str, ratio: float, filters: list[int], *, num_classes: int, image_size: int, budget: str = "params") -> list[int]:
    """What is left of ``filters``: the same fraction of every layer, the largest within the budget of ``ratio``.

    Raises UserError where the network is within that budget unpruned.
    """
    widths = prepare_filters(name, ratio, pruned_filters=filters, num_classes=num_classes, image_size=image_size, budget=budget)
    if any(width >= before for width, before in zip(widths, filters)):
        raise UserError(f"--ratio {ratio:g}: the base network is within this budget as it is; there is nothing to prune")
    return widths


def largest_filters(network: nn.Module, widths: list[int]) -> list[Tensor]:
    """For each gate, which of its filters to keep: the ``widths[l]`` with the largest L1 norm (bools)."""
    kept = []
    for conv, width in zip(feeding_convolutions(network), widths):
        norm = conv.weight.detach().abs().sum(dim=(1, 2, 3))
        mask = torch.zeros(len(norm), dtype=torch.bool, device=norm.device)
        mask[norm.topk(width).indices] = True
        kept.append(mask)
    return kept


def compactor_of(network: nn.Module) -> Compactor:
    """Raises UserError for a network whose filters can't be removed."""
    try:
        return Compactor(network, multiple=1)
    except NotImplementedError as error:
        raise UserError(f"this network can't be pruned by magnitude: {error}, so its filters can't be removed") from None


def feeding_convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """For each gate of a network, the convolution whose output reaches it first.

    Behind a sum that is the convolution of the branch, its first operand, not that of the shortcut.
    """
    tracer = compactor_of(network)
    found = {}
    for node in tracer.graph.nodes:
        if node.name in tracer.gate_nodes:
            source: Any = node.args[0]
            while not isinstance(tracer.modules.get(source.target if source.op == "call_module" else ""), nn.Conv2d):
                source = source.args[0]
            found[tracer.gate_nodes[node.name]] = tracer.modules[source.target]
    return [found[i] for i in range(len(gates_of(network)))]


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
        compactor = compactor_of(network)
        compactor.compact(kept, worthwhile=0)
        difference = (compactor.network.eval()(images) - masked).abs().max() / masked.abs().max()
    return compactor.network, float(difference)
