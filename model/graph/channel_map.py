"""The record that reading a network fills in: the widths of each result, and how it is made."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from model.gate import Gate, GatedBatchNorm2d
from model.graph.channels import Input, Literal, MadeFrom, Piece, Value, WidthGroups
from model.graph.operations import key
from model.graph.trace import TrainingFlagCall

BATCH = 2  # images, while it is read


class Layer(NamedTuple):
    """A convolution or linear layer, with the names of its tensors in the network."""

    name: str
    weight: str
    bias: str | None
    groups: int = 1
    transposed: bool = False


class NotApart(Exception):
    """Raised where an operation mixes channels, or may do so; the message says why.

    The widths of everything it takes then have to stay.
    """


class ChannelMap:
    """Maps the results and weights of a network to widths. Keys are names of nodes and of tensors.

    ``values``: for each node whose result has widths, the widths of its channels. ``steps``: how
    each of these results is made; for a result without widths, which inputs it reads whole.
    ``dims``: for each dimension of a weight, the node whose channels it has, or None. ``calls``:
    for each multiplication with a weight, (the weight, the node with all places at which it is
    used, the dimension of that node which the weight makes).
    """

    def __init__(self, network: nn.Module):
        self.layers = dict(network.named_modules())
        tensors = [
            *network.named_parameters(remove_duplicate=False),
            *network.named_buffers(remove_duplicate=False),
        ]
        self.tensors = dict(tensors)
        first: dict[int, str] = {}
        # tied weights go by their first name
        self.path = {name: first.setdefault(id(tensor), name) for name, tensor in tensors}

        # the widths, and which results and weights have them
        self.widths = WidthGroups()
        self.values: dict[str, Value] = {}
        self.steps: dict[str, MadeFrom] = {}
        self.shapes: dict[str, torch.Size] = {}
        self.dims: dict[str, tuple[str | None, ...]] = {}
        self.calls: list[tuple[str, str, int]] = []
        self.literals: list[Literal] = []
        # the convolution or linear layer that makes the channels of a node
        self.makers: dict[str, Layer] = {}
        self.norms: set[str] = set()  # nodes
        # nodes whose channels all have to stay, of weights that are used twice for example
        self.pinned: set[str] = set()
        # a list of results that all have one node's channels: (node, as in Step, axis)
        self.parts: dict[str, tuple[fx.Node, str, int]] = {}
        self.attributes: dict[str, str] = {}  # for nodes that fetch a tensor, its name
        # nodes whose channels come from weights alone, not from the images
        self.of_weights: set[str] = set()
        # for nodes that are the shape of a result, or part of it, the dimensions
        self.sizes: dict[str, list[int]] = {}
        # for numbers, the dimensions of the results that they depend on
        self.counts: dict[str, dict[str, set[int]]] = {}
        # operations that depend on the dimensions of a weight, whose channels may be known later
        self.counted: list[tuple[str, str, set[int]]] = []

    # --- about a node -----------------------------------------------------------------------------

    def layer(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a node calls, if it calls one."""
        return self.layers[str(node.target)] if node.op == "call_module" else None

    def gate_of(self, node: fx.Node) -> Gate | None:
        """Return the gate that a node applies, if it applies one."""
        module = self.layer(node)
        module = module.gate if isinstance(module, GatedBatchNorm2d) else module
        return module if isinstance(module, Gate) else None

    def function(self, node: fx.Node) -> Any:
        """Return the key of a node's function or method in model/graph/operations.py; None for a
        module."""
        module = self.layer(node)
        if isinstance(module, TrainingFlagCall):
            return key(module.function)
        return None if module is not None else key(node.target)

    def operation(self, node: fx.Node) -> str:
        """Return the name and place of a node's operation, for messages."""
        module = self.layer(node)
        if module and not isinstance(module, TrainingFlagCall):
            return f"{type(module).__name__} ({node.target})"
        inside = [path for path in node.meta.get("nn_module_stack", {}) if path]
        target = module.function if isinstance(module, TrainingFlagCall) else node.target
        name = getattr(target, "__name__", str(target))
        return f"{name} (in {inside[-1]})" if inside else f"{name} ({node.name})"

    def not_apart(
        self, node: fx.Node, why: str = "is not known to keep channels apart"
    ) -> NotApart:
        """Return a NotApart error for a node."""
        return NotApart(f"{self.operation(node)} {why}")

    def tracked(self, node: fx.Node) -> list[fx.Node]:
        """Return the nodes a node takes whose results have widths."""
        sources = [
            self.parts[source.name][0] if source.name in self.parts else source
            for source in node.all_input_nodes
        ]
        return [source for source in dict.fromkeys(sources) if source.name in self.values]

    def loose(self, name: str) -> bool:
        """Return True if the channels of a node come from weights alone, and nothing has met them
        yet."""
        roots = {self.widths.root(piece.width) for piece in self.values[name].pieces}
        return not any(self.widths.layers[root] or self.widths.fixed[root] for root in roots)

    # --- noting -----------------------------------------------------------------------------------

    def set(self, node: fx.Node, value: Value, step: MadeFrom) -> None:
        """Record the widths of a node's result and how it is made. Raises NotApart if they don't
        fit."""
        shape = self.shapes.get(node.name)
        if shape is None or value.axis >= len(shape) or shape[value.axis] != value.channels:
            raise self.not_apart(node)
        self.values[node.name], self.steps[node.name] = value, step

        # a result of weights alone is one too
        if node.name in self.attributes or (
            step.inputs and all(source.name in self.of_weights for source in step.inputs)
        ):
            self.of_weights.add(node.name)

    def keeps(
        self, node: fx.Node, source: fx.Node, zero: str = "all", axis: int | None = None
    ) -> None:
        """Record that channel c of the result follows from channel c of ``source``.

        The channels may lie along another ``axis`` in the result.
        """
        value = self.values[source.name]
        self.set(
            node,
            Value(value.axis if axis is None else axis, value.pieces),
            MadeFrom([Input(source.name)], zero),
        )

    def reads(self, node: fx.Node, source: fx.Node) -> None:
        """Record that each number of the result depends on all channels of ``source``, however many
        there are, and that the result has no widths itself.

        Closed channels take part as zeros. A mean counts them, so all channels stay while gates
        close.
        """
        self.steps[node.name] = MadeFrom([Input(source.name, whole=True)], "none")
        self.pinned.add(source.name)

    def fixes(self, node: fx.Node, why: str = "") -> None:
        """Fix the widths of all that a node takes; its result has none."""
        for source in self.tracked(node):
            self.fix(source.name, why or f"{self.operation(node)} takes them as they are")

    def fix(self, name: str, why: str) -> None:
        """Fix the widths of a result, and keep all of its channels."""
        self.widths.fix(self.values[name].pieces, why)
        self.pinned.add(name)

    def assign(self, path: str, *dims: fx.Node | None) -> None:
        """Record that the first dimensions of a weight have the channels of these nodes.

        The channels are tied where the weight is used twice.
        """
        path = self.path[path]
        names = [
            node.name if node is not None and node.name in self.values else None for node in dims
        ]
        names += [None] * (self.tensors[path].dim() - len(names))

        # a width that does not fit would be found only when it is changed
        for name, size in zip(names, self.tensors[path].shape):
            if name and self.values[name].channels != size:
                raise NotApart(f"{path} has not as many channels as {name}")

        # used before: both uses have to agree
        before = self.dims.setdefault(path, tuple(names))
        for one, other in zip(before, names):
            if one != other:
                self.pinned |= {name for name in (one, other) if name}
                self._tie(one, other, path)

    def tie(self, one: str, other: str) -> None:
        """Tie the results of two nodes: channel c of both belongs to the same width.

        A weight that meets several widths side by side is divided into these first.
        """
        for name, firm in ((one, other), (other, one)):
            pieces, others = self.values[name].pieces, self.values[firm].pieces
            if (
                len(pieces) == 1 < len(others)
                and self.loose(name)
                and self.values[name].channels == self.values[firm].channels
            ):
                self._spread(pieces[0], others)
        self.widths.tie(self.values[one].pieces, self.values[other].pieces)

    def _spread(self, loose: Piece, pieces: tuple[Piece, ...]) -> None:
        """Replace the piece ``loose``, of weights alone, by ``pieces`` in everything made from
        it."""
        root, size = self.widths.root(loose.width), self.per_unit(loose)
        if any(piece.channels % size for piece in pieces):
            return

        for name, value in self.values.items():
            if any(self.widths.root(piece.width) == root for piece in value.pieces):
                found = [
                    [
                        Piece(part.width, part.channels // size * self.per_unit(piece))
                        for part in pieces
                    ]
                    if self.widths.root(piece.width) == root
                    else [piece]
                    for piece in value.pieces
                ]
                self.values[name] = Value(value.axis, tuple(itertools.chain(*found)))

    def _tie(self, one: str | None, other: str | None, path: str) -> None:
        """Tie two results that one weight connects; fix the widths of one without a partner."""
        if one and other:
            self.widths.tie(self.values[one].pieces, self.values[other].pieces)
        elif name := one or other:
            self.widths.fix(self.values[name].pieces, f"{path} is used twice")

    def meets(self, node: fx.Node, source: fx.Node, axis: int) -> bool:
        """Return True if ``source`` is a weight with the channels of the node that takes it,
        ``axis`` dimensions from the end.

        Anything else with as many channels has them always, which fixes the widths.
        """
        shape, pieces = self.shapes[source.name], self.values[node.name].pieces
        if len(shape) < axis or shape[-axis] == 1:
            return False

        path, axis = self.attributes.get(source.name), len(shape) - axis
        if path not in self.tensors:
            self.fix(
                node.name,
                f"{self.operation(node)} combines them with what has as many channels always",
            )
            return False

        self.set(source, Value(axis, pieces), MadeFrom([], "none"))
        self.assign(path, *[source if d == axis else None for d in range(len(shape))])
        return True

    # --- what is asked ----------------------------------------------------------------------------

    def per_unit(self, piece: Piece) -> int:
        """Return how many channels of a piece belong to one unit of its width."""
        return piece.channels // self.widths.units[self.widths.root(piece.width)]
