"""Removes closed filters from a network that was read from its graph, in its own layers: what is
tied goes together.

One gate closes a filter wherever it is, so the channels of a width that stay are the same
everywhere, and nothing has to be put between layers. The arithmetic of what is left does not
change: not the survivors' outputs, not their gradients, not their momentum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, fx, nn

from model.cost import Cost, Number
from model.errors import UnreadableNetwork
from model.gate import SharedGate, gates_of
from model.graph.compaction import MULTIPLE, WORTHWHILE
from model.graph.hooks import unhook_gates
from model.graph.insert_gates import gate_index, places
from model.graph.resizable import Resizable
from model.graph.resize import chosen, cut
from model.graph.trace import write_literals


class Cutter:
    """Holds a gated network of a blueprint at its full width and shrinks it as its gates close.

    ``network`` is the module to train; it stays the same object, its parameters are sliced, but not
    its gates. ``kept`` has for each width, by its number, the filters that it still has (bools); it
    is all that is needed to cut a fresh network to the same shape. Filters that a norm of all
    channels takes its mean over, closed ones as zeros, are not removed, unless ``through_norms``:
    then that is not ``exact``, the mean is one over fewer. ``costs`` adds up what widths cost.
    """

    def __init__(
        self,
        blueprint: Resizable,
        network: nn.Module,
        costs: Callable[[Cost, Number], None],
        multiple: int = MULTIPLE,
        through_norms: bool = False,
    ):
        self.blueprint, self.network, self.multiple = blueprint, network, multiple
        self.costs = costs
        self.reading = blueprint.reading
        self.device = next(network.parameters()).device
        self.filters = [len(gate.weight) for gate in gates_of(network)]
        held = held_widths(blueprint)
        self.held, self.exact = (set(), not held) if through_norms else (held, True)
        self.kept = {
            str(number): torch.ones(units, dtype=torch.bool)
            for number, units in enumerate(self.filters)
        }
        # of all results together, of a filter of each width
        self.per_filter = [0] * len(self.filters)
        for value in self.reading.values.values():
            for piece in value.pieces:
                if (number := self._number(piece.width)) is not None:
                    self.per_filter[number] += self.reading.per_unit(piece)

    def compact(
        self,
        alive: list[Tensor],
        optimizer: torch.optim.Optimizer | None = None,
        worthwhile: float = WORTHWHILE,
    ) -> bool:
        """Removes the filters outside ``alive`` (a bool per filter, per gate, on the CPU), whose
        gates are closed.

        Only if at least the fraction ``worthwhile`` of the channels goes; returns whether it was
        done.
        """
        kept = {
            str(number): self._rounded_up(number, living) for number, living in enumerate(alive)
        }
        before, after = (
            sum(
                channels * int(masks[str(number)].sum())
                for number, channels in enumerate(self.per_filter)
            )
            for masks in (self.kept, kept)
        )
        if after == before or after > (1 - worthwhile) * before:
            return False
        self._cut(kept, optimizer)
        return True

    def restore(
        self, kept: dict[str, Tensor], optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Cuts a fresh network to the shape that another one had when its ``kept`` was saved.
        Raises UnreadableNetwork for what an earlier version has saved, which had channels of each
        result."""
        if kept.keys() != self.kept.keys():
            raise UnreadableNetwork(
                "begun by a version that ran the network's graph, and can't be gone on with"
            )
        self._cut({name: mask.cpu() for name, mask in kept.items()}, optimizer)

    def kept_filters(self) -> list[Tensor]:
        """For each gate, the indices of the filters that are still there."""
        return [mask.nonzero().flatten() for mask in self.kept.values()]

    def count(self, alive: list[Tensor]) -> Cost:
        """What the network has with the filters ``alive`` alone."""
        self.costs(cost := Cost(), [int(living.sum()) for living in alive])
        return cost

    def channel_mask(self, name: str) -> Tensor:
        """Which channels of a node's result in the full network are still there."""
        return self._mask(name, self.kept)

    def sliced(self, path: str, tensor: Tensor) -> Tensor:
        """What is left of a tensor of the full network."""
        dims = self.reading.dims.get(path, ())
        left = {
            name: self._mask(name, self.kept).nonzero().flatten()
            for name in dims
            if name is not None
        }
        return chosen(tensor, dims, left)

    @property
    def gate_nodes(self) -> dict[str, tuple[list[int], Tensor | None]]:
        """Behind which nodes of the full network there are gates: of which widths, by number, and
        which gate each channel has."""
        reading, position, found = self.reading, self.blueprint.position, {}
        for name, widths in places(reading, self.blueprint.free).behind.items():
            order, index = gate_index(
                reading,
                name,
                widths,
                {root: self.filters[number] for root, number in position.items()},
            )
            found[name] = [position[root] for root in order], index
        return found

    def channels(self, name: str) -> int:
        """The channels of a node's result in the full network."""
        return int(self.blueprint.channels(name, self.filters))

    def finished(self) -> nn.Module:
        """The network without its gates: what they close must be gone."""
        if any(
            bool((module.multipliers() != 1).any())
            for module in self.network.modules()
            if isinstance(module, SharedGate)
        ):
            raise ValueError("filters are there that are closed")
        if isinstance(self.network, fx.GraphModule):
            for node in list(self.network.graph.nodes):
                if node.op == "call_module" and isinstance(
                    self.network.get_submodule(str(node.target)), SharedGate
                ):
                    node.replace_all_uses_with(node.all_input_nodes[0])
                    self.network.graph.erase_node(node)
        unhook_gates(self.network)
        if isinstance(self.network, fx.GraphModule):
            self.network.delete_all_unused_submodules()
            self.network.recompile()
        return self.network

    def _number(self, width: int) -> int | None:
        return self.blueprint.position.get(self.reading.widths.root(width))

    def _rounded_up(self, number: int, alive: Tensor) -> Tensor:
        """``alive`` with as many more of the filters there are as make the channels a multiple of
        8; all where none may go."""
        there = self.kept[str(number)]
        if number in self.held:
            return there
        alive = alive & there
        multiple = self.multiple // math.gcd(self.blueprint.group_sizes[number], self.multiple)
        missing = -int(alive.sum()) % multiple or (0 if alive.any() else multiple)
        spare = (there & ~alive).nonzero().flatten()[:missing]
        return alive.index_fill(0, spare, True)

    def _mask(self, name: str, masks: Mapping[str, Tensor]) -> Tensor:
        """Which channels of a node's result in the full network are in ``masks``."""
        reading, found = self.reading, []
        for piece in reading.values[name].pieces:
            number = self._number(piece.width)
            found.append(
                torch.ones(piece.channels, dtype=torch.bool)
                if number is None
                else masks[str(number)].repeat_interleave(reading.per_unit(piece))
            )
        return torch.cat(found)

    def _cut(self, kept: dict[str, Tensor], optimizer: torch.optim.Optimizer | None) -> None:
        """Slices the weights from ``self.kept`` to ``kept``, and the gates at all their places."""
        reading, left = self.reading, dict[str, Tensor]()
        for name in reading.values:
            before, after = self._mask(name, self.kept), self._mask(name, kept)
            left[name] = after[before].nonzero().flatten().to(self.device, non_blocking=True)
        cut(self.network, reading, left, optimizer)
        for module in self.network.modules():
            if isinstance(module, SharedGate):
                module.cut(left[module.place])
        self.kept = kept
        if isinstance(self.network, fx.GraphModule):
            there = {node.name for node in self.network.graph.nodes}
            write_literals(
                self.network.graph,
                [literal for literal in reading.literals if literal.node in there],
                {name: int(self._mask(name, kept).sum()) for name in reading.values},
            )
            self.network.recompile()


def held_widths(blueprint: Resizable) -> set[int]:
    """The widths, by number, of channels over all of which something takes a mean: a norm, or what
    has no channels itself."""
    reading, held = blueprint.reading, set()
    for name, step in reading.steps.items():
        for source in step.inputs if step.solid or name not in reading.values else ():
            for piece in reading.values[source.name].pieces if source.whole else ():
                held.add(blueprint.position.get(reading.widths.root(piece.width)))
    return {number for number in held if number is not None}
