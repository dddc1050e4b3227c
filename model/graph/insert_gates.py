"""Puts gates into a network that is read from its graph: behind its norms, and wherever else a closed one must reach."""
from __future__ import annotations

import itertools

import torch
from torch import Tensor, fx, nn

from model.gate import GatedBatchNorm2d, GateLayer, SharedGate
from model.graph.liveness import zeros
from model.graph.reading import Reading


def put_gates(network: fx.GraphModule, reading: Reading, free: list[int], filters: list[int]) -> None:
    """One GateLayer per width, in their order, shared by all the places of a width: behind its norms, or behind its layers
    where it has none; and where a layer would still read of it what is not zero, behind that."""
    gates = nn.ModuleList(GateLayer(width) for width in filters)
    others = dict(network.named_children())
    network._modules.clear()
    free_name = next(name for number in itertools.count() if (name := f"gates{number or ''}") not in others)
    for name, module in {free_name: gates, **others}.items():  # first: gates_of goes by the order of modules
        network.add_module(name, module)
    where = places(reading, free)
    for node in list(network.graph.nodes):
        if node.name in where:
            _gate(network, node, _shared(reading, node.name, where[node.name], free, gates, filters))
    network.recompile()


def places(reading: Reading, free: list[int]) -> dict[str, set[int]]:
    """The nodes behind which there are gates, and of which widths."""
    owner = {name: torch.cat([torch.full((piece.channels,), root if (root := reading.widths.root(piece.width)) in free else -1)
                              for piece in value.pieces]) for name, value in reading.values.items()}  # the width of each channel
    has = {name: set(widths.tolist()) - {-1} for name, widths in owner.items()}
    layers = reading.makers & has.keys()
    normed = set().union(*[has[name] for name in reading.norms])
    open_ = {**{name: has[name] - normed for name in layers}, **{name: has[name] for name in reading.norms}}
    read = {source.name for step in reading.steps.values() for source in step.inputs if source.whole}
    where: dict[str, set[int]] = {}
    while any(open_.values()):
        for name, widths in open_.items():
            if widths:
                where.setdefault(name, set()).update(widths)
        zero = zeros(reading, {name: torch.isin(owner[name], torch.tensor(sorted(widths))) for name, widths in where.items()}.get)
        open_ = {name: set(owner[name][~zero[name]].tolist()) - {-1} for name in read}
    return where


def _shared(reading: Reading, name: str, widths: set[int], free: list[int], gates: nn.ModuleList, filters: list[int]) -> SharedGate:
    """The gates of some widths for the channels of a node; its other channels have none."""
    value, index, layers, behind = reading.values[name], list[Tensor](), list[GateLayer](), 0
    begins: dict[int, int] = {}
    for piece in value.pieces:
        root = reading.widths.root(piece.width)
        units = filters[free.index(root)] if root in free else 0
        if root in widths:
            if root not in begins:
                begins[root] = behind
                behind += units
                layers.append(gates[free.index(root)])  # type: ignore[arg-type]  # a list of GateLayers
            index.append(begins[root] + torch.arange(units).repeat_interleave(reading.per_unit(piece)))
        else:
            index.append(torch.full((units * reading.per_unit(piece) if root in free else piece.channels,), -1))
    found = torch.cat(index)
    found[found < 0] = behind
    whole = len(layers) == 1 and torch.equal(found, torch.arange(behind))
    return SharedGate(layers, None if whole else found, value.axis)


def _gate(network: fx.GraphModule, node: fx.Node, gate: SharedGate) -> None:
    """Puts a gate behind a node: into a batch norm, or as a node of its own."""
    module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, GatedBatchNorm2d):
        return  # it is used twice, and has its gate
    if type(module) is nn.BatchNorm2d and module.affine and module.track_running_stats and module.momentum is not None:
        owner, _, name = str(node.target).rpartition(".")
        setattr(network.get_submodule(owner), name, GatedBatchNorm2d.of(module, gate))
        return
    name = f"gate_{node.name}"
    network.add_module(name, gate)
    with network.graph.inserting_after(node):
        behind = network.graph.call_module(name, (node,))
    node.replace_all_uses_with(behind, delete_user_cb=lambda user: user is not behind)
