"""A network that was read, at any widths: with other tensors in place, or with its graph run
instead of its code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import fx, nn

from model.cost import Number
from model.errors import UnreadableNetwork
from model.graph.channel_map import BATCH
from model.graph.graph_module import graph_module, other_names
from model.graph.hooks import HookPlan, HookPlanner
from model.graph.insert_gates import put_gates
from model.graph.own_numbers import fix_own_numbers, without_gradient
from model.graph.reading import Reading
from model.graph.resize import resize
from model.graph.trace import TrainingFlagCall, write_literals
from model.images import ImageSize


class Resizable:
    """A network that was read, at any widths.

    ``template`` has the network's own widths in units: filters, or groups of filters. ``free`` has
    the reading's numbers of these widths, and ``position`` the place of each in ``template``.
    Raises UnreadableNetwork for a network that can't be read, or has no logits (N, num_classes).
    """

    def __init__(self, network: nn.Module, num_classes: int, image_size: ImageSize):
        self.num_classes, self.image_size = num_classes, image_size
        untrained = without_gradient(network, BATCH, image_size)
        self.reading = reading = Reading(network, image_size)
        self.network = without_flag_calls(network, reading)  # for trials, of copies

        if reading.logits != (BATCH, num_classes):
            raise UnreadableNetwork(
                f"gives {reading.logits or 'no tensor'} for {BATCH} images, not the logits "
                f"({BATCH}, {num_classes})"
            )

        # widths that can't change, and those that remain
        fix_own_numbers(reading, {reading.path[name] for name in untrained} & reading.live_paths())
        reading.fix_dead_widths()
        self.image_shape = next(
            reading.shapes[node.name] for node in reading.graph.nodes if node.op == "placeholder"
        )[1:]
        self.free = reading.widths.free()
        if not self.free:
            raise UnreadableNetwork(
                "; ".join(["has no width that could be chosen", *fixed_layers(reading)[:2]])
            )

        # the units of each width, and the channels in the smallest piece of a unit
        self.template = [reading.widths.units[width] for width in self.free]
        self.group_sizes = [
            min(
                reading.per_unit(piece)
                for value in reading.values.values()
                for piece in value.pieces
                if reading.widths.root(piece.width) == width
            )
            for width in self.free
        ]
        self.position = {width: position for position, width in enumerate(self.free)}
        # constants that tracing has added to the network
        self.constants = {
            node.target: getattr(network, node.target)
            for node in reading.graph.nodes
            if node.op == "get_attr" and node.target.startswith("_tensor_constant")
        }

    def resized(self, network: nn.Module, filters: Sequence[int]) -> nn.Module:
        """Give ``network`` other widths in place; at its own it is left untouched."""
        if list(filters) != self.template:
            resize(
                network,
                self.reading,
                lambda name: int(self.channels(name, filters)),
                lambda root: filters[self.position[root]],
            )
        return network

    def run_graph(
        self, network: nn.Module, filters: Sequence[int], gated: bool = False
    ) -> fx.GraphModule:
        """Return a network of these widths as one that runs its graph, with the same layers.

        Parts on which no logits depend are dropped.
        """
        built = self.graph_module(network)
        write_literals(
            built.graph,
            self.reading.literals,
            {name: int(self.channels(name, filters)) for name in self.reading.values},
        )

        for node in reversed(built.graph.nodes):
            if node.name not in self.reading.live and node.op != "placeholder":
                built.graph.erase_node(node)
        built.delete_all_unused_submodules()
        built.recompile()

        if gated:
            put_gates(built, self.reading, self.free, filters)
        return built

    def graph_module(self, network: nn.Module) -> fx.GraphModule:
        """Return a network as one that runs its graph, with the same layers and widths as when
        read."""
        for name, tensor in self.constants.items():
            setattr(network, name, tensor)
        for name, call in flag_calls(self.reading).items():
            network.add_module(name, TrainingFlagCall(call.function, call.place))

        built = graph_module(network, self.reading.graph)
        for name in self.constants:
            delattr(network, name)
        without_flag_calls(network, self.reading)
        return built

    @cached_property
    def claimed(self) -> dict[str, str]:
        """Return its parts whose names a module that runs a graph can't have, and their names
        there."""
        return other_names(
            str(node.target)
            for node in self.reading.graph.nodes
            if node.op in ("call_module", "get_attr")
        )

    @cached_property
    def hooks(self) -> HookPlan:
        """Return the places of gates in its own code."""
        return HookPlanner(self.reading, self.free).plan()

    def channels(self, name: str, filters: Number) -> Number:
        """Return the number of channels of a node's result."""
        total: Number = 0
        for piece in self.reading.values[name].pieces:
            position = self.position.get(self.reading.widths.root(piece.width))
            total = total + (
                piece.channels
                if position is None
                else self.reading.per_unit(piece) * filters[position]
            )
        return total

    def numel(self, path: str, filters: Number) -> Number:
        """Return how many numbers a weight has."""
        path = self.reading.path[path]
        tensor = self.reading.tensors[path]
        total: Number = 1
        for size, name in zip(tensor.shape, self.reading.dims.get(path, (None,) * tensor.dim())):
            total = total * (size if name is None else self.channels(name, filters))
        return total


def fixed_layers(reading: Reading) -> list[str]:
    """Return a line for each reason for which widths are fixed, with the layers that make them."""
    fixed: dict[str, list[str]] = {}
    for width, why in enumerate(reading.widths.fixed):
        if why and reading.widths.root(width) == width and reading.widths.layers[width]:
            fixed.setdefault(why, []).extend(reading.widths.layers[width])
    return [
        f"fixed: {', '.join(layers[:4])}{', …' * (len(layers) > 4)}: {why}"
        for why, layers in fixed.items()
    ]


def flag_calls(reading: Reading) -> dict[str, TrainingFlagCall]:
    """Return the calls of functions with an argument for training, by their names in the graph."""
    return {
        name: module
        for name, module in reading.layers.items()
        if isinstance(module, TrainingFlagCall)
    }


def without_flag_calls(network: nn.Module, reading: Reading) -> nn.Module:
    """Return ``network`` as its own code made it, without the modules that tracing has added."""
    for name in flag_calls(reading):
        network._modules.pop(name, None)
    return network
