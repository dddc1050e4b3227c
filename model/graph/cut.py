"""Removes closed filters from a network that was read from its graph, in its own layers; filters
that are tied go together.

One gate closes a filter everywhere, so the same channels of a width stay everywhere, and no
selections are needed. The arithmetic of the rest does not change: neither outputs nor gradients nor
momentum.
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

    ``network`` is the module to train. It stays the same object; its parameters are sliced, its
    gates are not. ``kept`` has for each width, by its number, the filters that it still has
    (bools); with it alone a fresh network can be cut to the same shape. ``costs`` adds what widths
    cost to a Cost.

    A norm of all channels takes its mean over closed filters too, as zeros, so these are not
    removed. With ``through_norms`` they are; the cut is then not ``exact``, for the mean is one
    over fewer.
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

        # the channels, over all results, that one filter of each width has
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
        """Remove the filters outside ``alive``, whose gates are closed.

        ``alive`` has a bool per filter for each gate, on the CPU. Nothing is done unless at least
        the fraction ``worthwhile`` of the channels can go. Returns True if something was removed.
        """
        kept = {
            str(number): self._rounded_up(number, living) for number, living in enumerate(alive)
        }

        # channels count, not filters: a width of many layers weighs more
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
        """Cut a fresh network to the shape that another one had when its ``kept`` was saved.

        Raises UnreadableNetwork for a ``kept`` of an earlier version, which has channels of each
        result.
        """
        if kept.keys() != self.kept.keys():
            raise UnreadableNetwork(
                "begun by a version that ran the network's graph, and can't be gone on with"
            )
        self._cut({name: mask.cpu() for name, mask in kept.items()}, optimizer)

    def kept_filters(self) -> list[Tensor]:
        """Return for each gate the indices of the filters that remain."""
        return [mask.nonzero().flatten() for mask in self.kept.values()]

    def count(self, alive: list[Tensor]) -> Cost:
        """Return the cost of the network with the filters ``alive`` alone."""
        self.costs(cost := Cost(), [int(living.sum()) for living in alive])
        return cost

    def channel_mask(self, name: str) -> Tensor:
        """Return which channels of a node's result in the full network remain (bools)."""
        return self._mask(name, self.kept)

    def sliced(self, path: str, tensor: Tensor) -> Tensor:
        """Return the part of a tensor of the full network that remains."""
        dims = self.reading.dims.get(path, ())
        left = {
            name: self._mask(name, self.kept).nonzero().flatten()
            for name in dims
            if name is not None
        }
        return chosen(tensor, dims, left)

    @property
    def gate_nodes(self) -> dict[str, tuple[list[int], Tensor | None]]:
        """Return the nodes of the full network with gates behind them: the numbers of their widths,
        and which gate each channel has."""
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
        """Return the number of channels of a node's result in the full network."""
        return int(self.blueprint.channels(name, self.filters))

    def finished(self) -> nn.Module:
        """Return the network without its gates. Raises ValueError if a closed filter is still
        there."""
        if any(
            bool((module.multipliers() != 1).any())
            for module in self.network.modules()
            if isinstance(module, SharedGate)
        ):
            raise ValueError("filters are there that are closed")

        # the graph calls gates as nodes of their own, or in batch norms and hooks
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
        """Return the number of a free width; None for a fixed one."""
        return self.blueprint.position.get(self.reading.widths.root(width))

    def _rounded_up(self, number: int, alive: Tensor) -> Tensor:
        """Return ``alive`` with enough other remaining filters to make the channels a multiple of
        8.

        All filters stay in a width from which none may go.
        """
        there = self.kept[str(number)]
        if number in self.held:
            return there
        alive = alive & there
        multiple = self.multiple // math.gcd(self.blueprint.group_sizes[number], self.multiple)
        missing = -int(alive.sum()) % multiple or (0 if alive.any() else multiple)
        spare = (there & ~alive).nonzero().flatten()[:missing]
        return alive.index_fill(0, spare, True)

    def _mask(self, name: str, masks: Mapping[str, Tensor]) -> Tensor:
        """Return the channels of a node's result in the full network that are in ``masks``."""
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
        """Slice the weights from ``self.kept`` to ``kept``, and the gates at all their places."""
        reading, left = self.reading, dict[str, Tensor]()
        for name in reading.values:
            before, after = self._mask(name, self.kept), self._mask(name, kept)
            left[name] = after[before].nonzero().flatten().to(self.device, non_blocking=True)

        # weights and gates
        cut(self.network, reading, left, optimizer)
        for module in self.network.modules():
            if isinstance(module, SharedGate):
                module.cut(left[module.place])

        # a network that runs its graph has numbers of channels in it
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
    """Return the numbers of the widths over whose channels something takes a mean."""
    reading, held = blueprint.reading, set()
    for name, step in reading.steps.items():
        for source in step.inputs if step.solid or name not in reading.values else ():
            for piece in reading.values[source.name].pieces if source.whole else ():
                held.add(blueprint.position.get(reading.widths.root(piece.width)))
    return {number for number in held if number is not None}
