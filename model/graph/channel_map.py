"""What is noted while a network is read: which results have channels of which widths, and how each is made."""
from __future__ import annotations

import torch
from torch import fx, nn

from model.errors import UnreadableNetwork
from model.gate import Gate, GatedBatchNorm2d
from model.graph.channels import Input, Literal, Piece, Step, Value, Widths
from model.graph.trace import TrainingFlagCall

BATCH = 2  # images, while it is read


class ChannelMap:
    """``values``: of each node whose result has channels of widths, which. ``steps``: how each of these is made.
    ``dims``: of each weight, for each dimension, the node whose channels it has (None: none). ``calls``: the weights that
    multiply, the node that has all the places at which they do, and the dimension of its channels. Names are those of nodes, and of
    tensors in the network.
    """

    def __init__(self, network: nn.Module):
        self.layers = dict(network.named_modules())
        tensors = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
        self.tensors = dict(tensors)
        first: dict[int, str] = {}
        self.path = {name: first.setdefault(id(tensor), name) for name, tensor in tensors}  # of tied weights, the first
        self.widths = Widths()
        self.values: dict[str, Value] = {}
        self.steps: dict[str, Step] = {}
        self.shapes: dict[str, torch.Size] = {}
        self.dims: dict[str, tuple[str | None, ...]] = {}
        self.calls: list[tuple[str, str, int]] = []
        self.literals: list[Literal] = []
        self.norms: set[str] = set()  # nodes
        self.pinned: set[str] = set()  # nodes whose channels all have to stay: of weights that are used twice, and what is taken as it is
        self.attributes: dict[str, str] = {}  # of nodes that fetch a tensor, its name
        self.counts: dict[str, tuple[str, bool]] = {}  # of numbers that depend on a node's channels, which; and whether its whole shape

    # --- about a node ----------------------------------------------------------------------------------------------

    def layer(self, node: fx.Node) -> nn.Module | None:
        return self.layers[str(node.target)] if node.op == "call_module" else None

    def gate_of(self, node: fx.Node) -> Gate | None:
        """The gate that a node applies, if it does."""
        module = self.layer(node)
        module = module.gate if isinstance(module, GatedBatchNorm2d) else module
        return module if isinstance(module, Gate) else None

    def operation(self, node: fx.Node) -> str:
        """The operation of a node and where it is, for people."""
        module = self.layer(node)
        if module and not isinstance(module, TrainingFlagCall):
            return f"{type(module).__name__} ({node.target})"
        inside = [path for path in node.meta.get("nn_module_stack", {}) if path]
        target = module.function if isinstance(module, TrainingFlagCall) else node.target
        name = getattr(target, "__name__", str(target))
        return f"{name} (in {inside[-1]})" if inside else f"{name} ({node.name})"

    def refusal(self, node: fx.Node, why: str = "is not known to keep channels apart") -> UnreadableNetwork:
        return UnreadableNetwork(f"{self.operation(node)} {why}")

    def tracked(self, node: fx.Node) -> list[fx.Node]:
        """What a node takes that has channels of widths."""
        return [source for source in node.all_input_nodes if source.name in self.values]

    # --- noting ----------------------------------------------------------------------------------------------------

    def set(self, node: fx.Node, value: Value, step: Step) -> None:
        shape = self.shapes.get(node.name)
        if shape is None or value.axis >= len(shape) or shape[value.axis] != value.channels:
            raise self.refusal(node)
        self.values[node.name], self.steps[node.name] = value, step

    def keeps(self, node: fx.Node, source: fx.Node, zero: str = "all", axis: int | None = None) -> None:
        """Channel c of the result follows from channel c of ``source``, which may lie along another axis there."""
        value = self.values[source.name]
        self.set(node, Value(value.axis if axis is None else axis, value.pieces), Step([Input(source.name)], zero))

    def fixes(self, node: fx.Node, why: str = "") -> None:
        """The result has no channels of a width; those of what it takes stay as they are."""
        for source in self.tracked(node):
            self.widths.fix(self.values[source.name].pieces, why or f"{self.operation(node)} takes them as they are")
            self.pinned.add(source.name)

    def fixes_counts(self, node: fx.Node, allowed: fx.Node | None = None) -> None:
        """What a node does depends on how many channels there are, but for the number ``allowed``: they stay as they are."""
        for source in node.all_input_nodes:
            if source.name in self.counts and source is not allowed:
                of = self.counts[source.name][0]
                self.widths.fix(self.values[of].pieces, f"{self.operation(node)} goes by their number")
                self.pinned.add(of)

    def assign(self, path: str, *dims: fx.Node | None) -> None:
        """A weight has in its first dimensions the channels of these nodes. Used twice, they are tied."""
        path = self.path[path]
        names = [node.name if node is not None and node.name in self.values else None for node in dims]
        names += [None] * (self.tensors[path].dim() - len(names))
        before = self.dims.setdefault(path, tuple(names))
        for one, other in zip(before, names):
            if one != other:
                self.pinned |= {name for name in (one, other) if name}
                self._tie(one, other, path)

    def _tie(self, one: str | None, other: str | None, path: str) -> None:
        if one and other:
            self.widths.tie(self.values[one].pieces, self.values[other].pieces)
        elif name := one or other:
            self.widths.fix(self.values[name].pieces, f"{path} is used twice")

    def meets(self, node: fx.Node, source: fx.Node, axis: int) -> bool:
        """Whether a weight of the network that a node takes, ``source``, has its channels: ``axis`` dimensions from the end.

        Of anything else that has as many, and has them always, it follows that the widths are fixed.
        """
        shape, pieces = self.shapes[source.name], self.values[node.name].pieces
        if len(shape) < axis or shape[-axis] == 1:
            return False
        path, axis = self.attributes.get(source.name), len(shape) - axis
        if path not in self.tensors:
            self.widths.fix(pieces, f"{self.operation(node)} combines them with what has as many channels always")
            self.pinned.add(node.name)
            return False
        self.set(source, Value(axis, pieces), Step([], "none"))
        self.assign(path, *[source if d == axis else None for d in range(len(shape))])
        return True

    # --- what is asked ---------------------------------------------------------------------------------------------

    def per_unit(self, piece: Piece) -> int:
        """The channels of a piece that belong to one unit of its width."""
        return piece.channels // self.widths.units[self.widths.root(piece.width)]
