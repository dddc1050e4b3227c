"""Finds the places at which gates are needed in a network that was read from its graph: behind its
norms, and wherever else a closed gate must reach."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from model.gate import GatedBatchNorm2d, GateLayer, SharedGate
from model.graph.liveness import zeros
from model.graph.reading import Reading


class GatePlaces(NamedTuple):
    """The widths (roots) that gates have to close at a node.

    ``behind``: behind the node, for everything that takes its result. ``before``: before the layers
    that read all channels of the node's result.
    """

    behind: dict[str, set[int]]
    before: dict[str, set[int]]


def places(
    reading: Reading,
    free: Sequence[int],
    behind: Callable[[str], Sequence[str]] = lambda name: [name],
) -> GatePlaces:
    """Return the places for gates such that no layer reads anything but zero from a closed filter.

    These are behind the norms of a width, or behind its layers where it has no norms, and wherever
    a layer would still read something else. ``behind(node)`` returns the nodes that get a gate in
    order to close a node; where it returns none, the layers that read the node get one before them.
    """
    owner = owners(reading, free)

    # first behind norms, and behind layers without norms
    has = {name: set(widths.tolist()) - {-1} for name, widths in owner.items()}
    nodes = [node for node in reading.graph.nodes if node.name in has and node.name in reading.live]
    norms = [node.name for node in nodes if node.name in reading.norms]
    normed = set().union(*[has[name] for name in norms])
    first = {
        **{node.name: has[node.name] - normed for node in nodes if node.name in reading.makers},
        **{name: has[name] for name in norms},
    }
    readers = readers_of(reading)
    found = GatePlaces({}, {})
    for name in first:
        for gated in behind(name) if first[name] else ():
            found.behind.setdefault(gated, set()).update(first[name])

    # then wherever a layer still reads an open channel, until none does
    while True:
        zero = zeros(
            reading,
            {
                name: torch.isin(owner[name], torch.tensor(sorted(widths)))
                for name, widths in found.behind.items()
            }.get,
        )
        open_ = {
            name: set(owner[name][~zero[name]].tolist()) - {-1} - found.before.get(name, set())
            for name in readers
        }
        if not any(open_.values()):
            return found
        for name, widths in open_.items():
            for gated in (where := behind(name)) if widths else ():
                found.behind.setdefault(gated, set()).update(widths)
            if widths and not where:
                found.before.setdefault(name, set()).update(widths)


def owners(reading: Reading, free: Sequence[int]) -> dict[str, Tensor]:
    """Return for each node the root of each channel's width; -1 where that is not in ``free``."""
    return {
        name: torch.cat(
            [
                torch.full(
                    (piece.channels,),
                    root if (root := reading.widths.root(piece.width)) in free else -1,
                )
                for piece in value.pieces
            ]
        )
        for name, value in reading.values.items()
    }


def readers_of(reading: Reading) -> dict[str, list[str]]:
    """Return the nodes that are read with all channels, and what reads them, among live nodes."""
    found: dict[str, list[str]] = {}
    for node in reading.graph.nodes:
        if node.name in reading.steps and node.name in reading.live:
            for source in reading.steps[node.name].inputs:
                if source.whole:
                    found.setdefault(source.name, []).append(node.name)
    return found


def gate_index(
    reading: Reading, name: str, widths: set[int], units: Mapping[int, int]
) -> tuple[list[int], Tensor | None]:
    """Return which gates the channels of a node have, where gates of ``widths`` are put behind it.

    Returns the widths in the order in which their gates are concatenated, and for each channel the
    index of its gate; an index past the last stands for none. The index is None where channel c has
    gate c. ``units`` has the units of each free width.
    """
    order, index, behind = dict[int, int](), list[Tensor](), 0
    for piece in reading.values[name].pieces:
        root, size = reading.widths.root(piece.width), reading.per_unit(piece)
        if root in widths:
            if root not in order:
                order[root] = behind
                behind += units[root]
            index.append(order[root] + torch.arange(units[root]).repeat_interleave(size))
        else:
            index.append(torch.full((size * units[root] if root in units else piece.channels,), -1))

    # channels without a gate: one past the last
    found = torch.cat(index)
    found[found < 0] = behind
    return list(order), None if len(order) == 1 and torch.equal(
        found, torch.arange(behind)
    ) else found


def shared_gate(
    reading: Reading, name: str, widths: set[int], gates: Mapping[int, GateLayer]
) -> SharedGate:
    """Return the gates of some widths for the channels of a node; its other channels have none.

    ``gates`` has the gate of each free width.
    """
    order, index = gate_index(
        reading, name, widths, {root: len(gate.weight) for root, gate in gates.items()}
    )
    return SharedGate([gates[root] for root in order], index, reading.values[name].axis, name)


def put_gates(
    network: fx.GraphModule, reading: Reading, free: Sequence[int], filters: Sequence[int]
) -> None:
    """Put a GateLayer for each width into a network that runs its graph; all places of a width
    share it."""
    gates = nn.ModuleList(GateLayer(width, number) for number, width in enumerate(filters))
    names = {name for name, _ in network.named_children()}
    network.add_module(
        next(name for number in itertools.count() if (name := f"gates{number or ''}") not in names),
        gates,
    )

    behind, of_width, device = (
        places(reading, free).behind,
        dict(zip(free, gates)),
        next(network.parameters()).device,
    )
    for node in list(network.graph.nodes):
        if node.name in behind:
            _gate(
                network,
                node,
                shared_gate(reading, node.name, behind[node.name], of_width).to(device),  # type: ignore[arg-type]
            )
    network.recompile()


def _gate(network: fx.GraphModule, node: fx.Node, gate: SharedGate) -> None:
    """Put a gate behind a node: into a batch norm, or as a node of its own."""
    module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, GatedBatchNorm2d):
        return  # it is used twice, and has its gate
    if module is not None and GatedBatchNorm2d.takes(module):
        GatedBatchNorm2d.gate_in(module, gate)
        return

    name = f"gate_{node.name}"
    network.add_module(name, gate)
    with network.graph.inserting_after(node):
        behind = network.graph.call_module(name, (node,))
    node.replace_all_uses_with(behind, delete_user_cb=lambda user: user is not behind)
