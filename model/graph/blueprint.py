"""A network that is read from its graph, at any widths: what it costs, and how it is built."""
from __future__ import annotations

import copy

from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from model.cost import Cost, Number
from model.errors import UnreadableNetwork
from model.graph.channel_map import BATCH
from model.graph.insert_gates import put_gates
from model.graph.operations import settle
from model.graph.reading import Reading, run_on_shapes
from model.graph.reinit import Initialisation
from model.graph.trace import TrainingFlagCall, write_literals


class Blueprint:
    """``template``: the network's own widths, in units: filters, or groups of filters. ``free``: which widths of the reading
    these are. Raises UnreadableNetwork for a network that can't be read, or has no logits (N, num_classes).
    """

    def __init__(self, network: nn.Module, num_classes: int, image_size: int):
        self.reading = reading = Reading(network, image_size)
        if reading.logits != (BATCH, num_classes):
            raise UnreadableNetwork(f"gives {reading.logits or 'no tensor'} for {BATCH} images, not the logits ({BATCH}, {num_classes})")
        self.free = reading.widths.free()
        if not self.free:
            reason = next((f": {why}" for why, layers in zip(reading.widths.fixed, reading.widths.layers) if why and layers), "")
            raise UnreadableNetwork(f"has no width that could be chosen{reason}")
        self.template = [reading.widths.units[width] for width in self.free]
        self.group_sizes = [min(reading.per_unit(piece) for value in reading.values.values() for piece in value.pieces
                                if reading.widths.root(piece.width) == width) for width in self.free]
        self.position = {width: position for position, width in enumerate(self.free)}
        self.constants = {node.target: getattr(network, node.target) for node in reading.graph.nodes  # that tracing made
                          if node.op == "get_attr" and node.target.startswith("_tensor_constant")}
        used = fx.GraphModule(network, copy.deepcopy(reading.graph))
        self.parameters = [name for name, _ in used.named_parameters()]
        self.other_macs = 0  # attention's, of widths that are fixed
        with FlopCounterMode(display=False) as flops:
            numbers = run_on_shapes(network, reading.graph, 1, image_size)
        self.calls = [(path, *self.places(name, axis, numbers[name])) for path, name, axis in reading.calls]
        self.count(counted := Cost(), self.template)
        self.other_macs = flops.get_total_flops() // 2 - counted.macs

    def places(self, name: str, axis: int, numbers: int) -> tuple[int, str]:
        """At how many places a weight makes dimension ``axis`` of a result of so many numbers; for each channel of which node."""
        value, places = self.reading.values.get(name), numbers // self.reading.shapes[name][axis]
        return (places // value.channels, name) if value and value.axis != axis else (places, "")

    def layers(self) -> list[list[str]]:
        """For each width, the layers that make it."""
        return [self.reading.widths.layers[width] for width in self.free]

    def described(self) -> list[str]:
        """A line for each width: its number, units, layers; and for each that is fixed, why."""
        widths, lines = self.reading.widths, [f"{'width':>5} {'filters':>8}  layers"]
        for position, (width, units) in enumerate(zip(self.free, self.template)):
            size = self.group_sizes[position]
            of = f" in groups of {size}" * (size > 1)
            layers = widths.layers[width]
            tied = f" ({len(layers)} tied)" * (len(layers) > 1)
            lines.append(f"{position:5} {units:8}  {', '.join(layers[:4])}{', …' * (len(layers) > 4)}{tied}{of}")
        if not self.reading.whole:
            lines.append("in training it does more than in evaluation, or something else; here it is trained as it is in evaluation")
        fixed: dict[str, list[str]] = {}
        for width, why in enumerate(widths.fixed):
            if why and widths.root(width) == width and widths.layers[width]:
                fixed.setdefault(why, []).extend(widths.layers[width])
        lines += [f"fixed: {', '.join(layers[:4])}{', …' * (len(layers) > 4)}: {why}" for why, layers in fixed.items()]
        return lines

    def channels(self, name: str, filters: Number) -> Number:
        """The channels of a node's result."""
        total: Number = 0
        for piece in self.reading.values[name].pieces:
            position = self.position.get(self.reading.widths.root(piece.width))
            total = total + (piece.channels if position is None else self.reading.per_unit(piece) * filters[position])
        return total

    def numel(self, path: str, filters: Number) -> Number:
        """The numbers in a weight."""
        tensor = self.reading.tensors[path]
        total: Number = 1
        for size, name in zip(tensor.shape, self.reading.dims.get(path, (None,) * tensor.dim())):
            total = total * (size if name is None else self.channels(name, filters))
        return total

    def count(self, cost: Cost, filters: Number) -> None:
        """Adds what the network has at these widths to ``cost``; widths (L,) or, of n networks, (L, n)."""
        for path in self.parameters:
            cost.params = cost.params + self.numel(self.reading.path[path], filters)
        for path, places, each in self.calls:
            cost.macs = cost.macs + places * self.numel(self.reading.path[path], filters) * (self.channels(each, filters) if each else 1)
        cost.macs = cost.macs + self.other_macs

    def build(self, network: nn.Module, filters: list[int], gated: bool) -> nn.Module:
        """``network``, freshly made by its own code, at other widths; at its own widths with its own numbers."""
        reading = self.reading
        for name, module in reading.layers.items():
            if isinstance(module, TrainingFlagCall):
                network.add_module(name, TrainingFlagCall(module.function, module.place))
        for name, tensor in self.constants.items():
            setattr(network, name, tensor)
        built = fx.GraphModule(network, copy.deepcopy(reading.graph))
        if filters != self.template:
            self.redraw(built, filters)
        if gated:
            put_gates(built, reading, self.free, filters)
        return built

    def redraw(self, built: fx.GraphModule, filters: list[int]) -> None:
        tensors = {**dict(built.named_parameters(remove_duplicate=False)), **dict(built.named_buffers(remove_duplicate=False))}
        shapes = {path: tuple(size if name is None else int(self.channels(name, filters))
                              for size, name in zip(self.reading.tensors[path].shape, dims)) for path, dims in self.reading.dims.items()}
        new: dict[str, Tensor] = {}
        initialisation = Initialisation(tensors[path] for path in set(self.reading.path.values()) & tensors.keys())
        for path, shape in shapes.items():
            weight = path.rpartition(".")[0] + ".weight"
            of = (tensors[weight], shapes[weight]) if path.endswith(".bias") and weight in shapes and weight in tensors else (None, ())
            if path not in tensors or (shape == tensors[path].shape and (of[0] is None or of[1] == of[0].shape)):
                continue
            tensor = initialisation.redrawn(tensors[path], shape, *of)
            new[path] = nn.Parameter(tensor) if isinstance(tensors[path], nn.Parameter) else tensor
        for alias, path in self.reading.path.items():
            if path in new and alias in tensors:
                owner, _, name = alias.rpartition(".")
                setattr(built.get_submodule(owner), name, new[path])
        for module in built.modules():
            settle(module)
        write_literals(built.graph, self.reading.literals, {name: int(self.channels(name, filters)) for name in self.reading.values})
        built.recompile()

