"""What is noted while a network is read: which results have channels of which widths, and how each
is made."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from model.gate import Gate, GatedBatchNorm2d
from model.graph.channels import Input, Literal, Piece, Step, Value, Widths
from model.graph.operations import key
from model.graph.trace import TrainingFlagCall

BATCH = 2  # images, while it is read


class Layer(NamedTuple):
    """A convolution or a linear layer: what it is called, and the names of its tensors in the
    network."""

    name: str
    weight: str
    bias: str | None
    groups: int = 1
    transposed: bool = False


class NotApart(Exception):
    """An operation mixes channels, or may do so: the widths of all that it takes have to stay. Its
    text says why."""


class ChannelMap:
    """``values``: of each node whose result has channels of widths, which. ``steps``: how each of
    these is made; and of a result without, what of its inputs it reads whole. ``dims``: of each
    weight, for each dimension, the node whose channels it has (None: none). ``calls``: the weights
    that multiply, the node that has all the places at which they do, and the dimension of it that
    they make. Names are those of nodes, and of tensors in the network.
    """

    def __init__(self, network: nn.Module):
        self.layers = dict(network.named_modules())
        tensors = [
            *network.named_parameters(remove_duplicate=False),
            *network.named_buffers(remove_duplicate=False),
        ]
        self.tensors = dict(tensors)
        first: dict[int, str] = {}
        # of tied weights, the first
        self.path = {name: first.setdefault(id(tensor), name) for name, tensor in tensors}
        self.widths = Widths()
        self.values: dict[str, Value] = {}
        self.steps: dict[str, Step] = {}
        self.shapes: dict[str, torch.Size] = {}
        self.dims: dict[str, tuple[str | None, ...]] = {}
        self.calls: list[tuple[str, str, int]] = []
        self.literals: list[Literal] = []
        # of nodes, the convolution or linear layer that makes its channels
        self.makers: dict[str, Layer] = {}
        self.norms: set[str] = set()  # nodes
        # nodes whose channels all have to stay: of weights that are used twice, and what is taken
        # as it is
        self.pinned: set[str] = set()
        # of lists of results that have each the channels of a node: that, and as Step
        self.parts: dict[str, tuple[fx.Node, str, int]] = {}
        self.attributes: dict[str, str] = {}  # of nodes that fetch a tensor, its name
        # nodes whose channels are made of weights alone, not of the images
        self.of_weights: set[str] = set()
        # of nodes that are the shape of a result, or part of it, the dimensions
        self.sizes: dict[str, list[int]] = {}
        # of numbers, the dimensions of which results they depend on
        self.counts: dict[str, dict[str, set[int]]] = {}
        # what goes by the dimensions of a weight, whose channels may be known later
        self.counted: list[tuple[str, str, set[int]]] = []

    # --- about a node -----------------------------------------------------------------------------

    def layer(self, node: fx.Node) -> nn.Module | None:
        return self.layers[str(node.target)] if node.op == "call_module" else None

    def gate_of(self, node: fx.Node) -> Gate | None:
        """The gate that a node applies, if it does."""
        module = self.layer(node)
        module = module.gate if isinstance(module, GatedBatchNorm2d) else module
        return module if isinstance(module, Gate) else None

    def function(self, node: fx.Node) -> Any:
        """By what the function or method of a node is known; None of a module."""
        module = self.layer(node)
        if isinstance(module, TrainingFlagCall):
            return key(module.function)
        return None if module is not None else key(node.target)

    def operation(self, node: fx.Node) -> str:
        """The operation of a node and where it is, for people."""
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
        return NotApart(f"{self.operation(node)} {why}")

    def tracked(self, node: fx.Node) -> list[fx.Node]:
        """What a node takes that has channels of widths."""
        sources = [
            self.parts[source.name][0] if source.name in self.parts else source
            for source in node.all_input_nodes
        ]
        return [source for source in dict.fromkeys(sources) if source.name in self.values]

    def loose(self, name: str) -> bool:
        """Whether the channels of a node are those of a weight alone, which nothing has met yet."""
        roots = {self.widths.root(piece.width) for piece in self.values[name].pieces}
        return not any(self.widths.layers[root] or self.widths.fixed[root] for root in roots)

    # --- noting -----------------------------------------------------------------------------------

    def set(self, node: fx.Node, value: Value, step: Step) -> None:
        shape = self.shapes.get(node.name)
        if shape is None or value.axis >= len(shape) or shape[value.axis] != value.channels:
            raise self.not_apart(node)
        self.values[node.name], self.steps[node.name] = value, step
        if node.name in self.attributes or (
            step.inputs and all(source.name in self.of_weights for source in step.inputs)
        ):
            self.of_weights.add(node.name)

    def keeps(
        self, node: fx.Node, source: fx.Node, zero: str = "all", axis: int | None = None
    ) -> None:
        """Channel c of the result follows from channel c of ``source``, which may lie along another
        axis there."""
        value = self.values[source.name]
        self.set(
            node,
            Value(value.axis if axis is None else axis, value.pieces),
            Step([Input(source.name)], zero),
        )

    def reads(self, node: fx.Node, source: fx.Node) -> None:
        """Each number of the result is made of all channels of ``source``, whatever their number,
        and it has no channels itself.

        What is closed is in it as zero. A mean counts it, so that all channels stay there while
        gates close.
        """
        self.steps[node.name] = Step([Input(source.name, whole=True)], "none")
        self.pinned.add(source.name)

    def fixes(self, node: fx.Node, why: str = "") -> None:
        """The result has no channels of a width; those of what it takes stay as they are."""
        for source in self.tracked(node):
            self.fix(source.name, why or f"{self.operation(node)} takes them as they are")

    def fix(self, name: str, why: str) -> None:
        """The widths of a result have to stay, and all of its channels."""
        self.widths.fix(self.values[name].pieces, why)
        self.pinned.add(name)

    def assign(self, path: str, *dims: fx.Node | None) -> None:
        """A weight has in its first dimensions the channels of these nodes. Used twice, they are
        tied."""
        path = self.path[path]
        names = [
            node.name if node is not None and node.name in self.values else None for node in dims
        ]
        names += [None] * (self.tensors[path].dim() - len(names))
        for name, size in zip(names, self.tensors[path].shape):
            if name and self.values[name].channels != size:
                raise NotApart(f"{path} has not as many channels as {name}")
        before = self.dims.setdefault(path, tuple(names))
        for one, other in zip(before, names):
            if one != other:
                self.pinned |= {name for name in (one, other) if name}
                self._tie(one, other, path)

    def tie(self, one: str, other: str) -> None:
        """The results of two nodes have the same channels: channel c of the one is of the width of
        channel c of the other.

        A weight's own that meets several widths side by side has these.
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
        """Puts these pieces in the place of one of a weight alone, in all that is made of it."""
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
        if one and other:
            self.widths.tie(self.values[one].pieces, self.values[other].pieces)
        elif name := one or other:
            self.widths.fix(self.values[name].pieces, f"{path} is used twice")

    def meets(self, node: fx.Node, source: fx.Node, axis: int) -> bool:
        """Whether a weight of the network that a node takes, ``source``, has its channels: ``axis``
        dimensions from the end.

        Of anything else that has as many, and has them always, it follows that the widths are
        fixed.
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
        self.set(source, Value(axis, pieces), Step([], "none"))
        self.assign(path, *[source if d == axis else None for d in range(len(shape))])
        return True

    # --- what is asked ----------------------------------------------------------------------------

    def per_unit(self, piece: Piece) -> int:
        """The channels of a piece that belong to one unit of its width."""
        return piece.channels // self.widths.units[self.widths.root(piece.width)]
