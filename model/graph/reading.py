"""Reads from a network's graph which channels of which results belong together.

One pass over shapes follows every result. A convolution or a linear layer makes a new width.
Operations that work channel by channel keep the widths they are given. Sums and products tie the
widths of their operands; a concatenation lines them up.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from model.errors import UnreadableNetwork
from model.graph import rules
from model.graph.channel_map import BATCH, ChannelMap
from model.graph.channels import MadeFrom, Piece, Value
from model.graph.sizes import fix_counted
from model.graph.trace import Traced, trace
from model.graph.tracer import images, on_meta
from model.images import ImageSize


class Reading(ChannelMap):
    """The channel map of a whole network, for images of ``image_size``.

    ``logits`` is the shape of its output, ``live`` the nodes that the output depends on. Raises
    UnreadableNetwork, with the name and place of the operation that can't be read.
    """

    def __init__(self, network: nn.Module, image_size: ImageSize, graph: fx.Graph | None = None):
        self.graph, self.whole, self.module_calls = (
            Traced(graph, True, []) if graph else trace(network, image_size)
        )
        super().__init__(network)

        self.live = live_nodes(self.graph)
        try:
            logits = run_on_shapes(network, self.graph, BATCH, image_size, self)
        except UnreadableNetwork as error:
            # torch.fx adds lines of its own
            raise UnreadableNetwork(str(error).splitlines()[0]) from None

        fix_counted(self)
        self.logits = tuple(logits.shape) if isinstance(logits, Tensor) else None

    def live_paths(self) -> set[str]:
        """Return the tensors that the output is computed with."""
        nodes = [node for node in self.graph.nodes if node.name in self.live]
        called = {str(node.target) for node in nodes if node.op == "call_module"}
        taken = {str(node.target) for node in nodes if node.op == "get_attr"}
        return {
            path
            for name, path in self.path.items()
            if name in taken or name.rpartition(".")[0] in called
        }

    def fix_dead_widths(self) -> None:
        """Fix the widths on which no logits depend: those of a head for training alone, for
        example."""
        roots: dict[bool, set[int]] = {True: set(), False: set()}
        for name, value in self.values.items():
            roots[name in self.live] |= {self.widths.root(piece.width) for piece in value.pieces}
        for width in roots[False] - roots[True]:
            self.widths.fixed[width] = self.widths.fixed[width] or "no logits follow from them"

    def follow(self, node: fx.Node, result: Any) -> None:
        """Record the widths of a node's result."""
        if isinstance(result, Tensor):
            self.shapes[node.name] = result.shape
        if node.op == "placeholder":
            if isinstance(result, Tensor):
                channels = result.shape[1]
                images = Piece(
                    self.widths.add(channels, fixed="the channels of the images"), channels
                )
                self.set(node, Value(1, (images,)), MadeFrom([]))
        elif node.op == "get_attr":
            if isinstance(result, Tensor):
                rules.fetch(self, node, result)
        elif node.op == "output":
            self.fixes(node, "the network's output")
        else:
            rules.follow(self, node, result)


def live_nodes(graph: fx.Graph) -> set[str]:
    """Return the nodes that the output of a graph depends on.

    Uses of tensors that are changed in place must have been rewired before.
    """
    live: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or any(user.name in live for user in node.users):
            live.add(node.name)
    return live


class _Walk(fx.Interpreter):
    """Runs a graph on shapes, and passes each result to a reading."""

    def __init__(
        self, network: nn.Module, graph: fx.Graph, image_size: ImageSize, reading: Reading | None
    ):
        super().__init__(network, graph=graph)
        self.image_size, self.reading = image_size, reading
        self.numbers: dict[str, int] = {}  # how many numbers each node's result has

    def run_node(self, node: fx.Node) -> Any:
        if self.reading is None:
            result = super().run_node(node)
            if isinstance(result, Tensor):
                self.numbers[node.name] = result.numel()
            return result

        try:
            result = super().run_node(node)
        except Exception as error:  # an operation may raise anything for shapes that don't fit
            reason = " ".join(str(error).split())[:150]
            raise UnreadableNetwork(
                f"{self.reading.operation(node)} does not take what images of {self.image_size} "
                f"pixels give it ({type(error).__name__}: {reason})"
            ) from None
        self.reading.follow(node, result)
        return result


def run_on_shapes(
    network: nn.Module,
    graph: fx.Graph,
    batch: int,
    image_size: ImageSize,
    reading: Reading | None = None,
) -> Any:
    """Run a network on shapes, for images (batch, C, H, W).

    Returns the output and fills in ``reading``; without a reading, returns how many numbers each
    node's result has.
    """
    walk = _Walk(on_meta(network), graph, image_size, reading)
    with torch.device("meta"):  # also for tensors that it makes itself
        output = walk.run(images(network, batch, image_size))
    return output if reading else walk.numbers
