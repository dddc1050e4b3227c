"""Rules for the widths of results: one for each kind in model/graph/operations.py and
layer_kinds.py.

Where no rule is sure, the widths of everything an operation takes are fixed, and its result has
none: it then depends only on channels that are always there.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from model.gate import Gate, GatedBatchNorm2d
from model.graph import layer_kinds
from model.graph import operations as ops
from model.graph.channel_map import ChannelMap, NotApart
from model.graph.channels import Input, MadeFrom, Piece, Value
from model.graph.layer_rules import convolution, layer_function, layer_of, linear, norm, slopes
from model.graph.reduce_rules import normalize, parts, reduce, softmax
from model.graph.shape_rules import (
    expand,
    flat,
    join,
    movedim,
    pad,
    permute,
    pick,
    reshape,
    squeeze,
    transpose,
    unsqueeze,
)
from model.graph.sizes import compares, fixes_counts, number
from model.graph.trace import TrainingFlagCall
from model.graph.tracer import DECIDES
from model.graph.whole import known

SHAPES: dict[Any, Callable[[ChannelMap, fx.Node, fx.Node, list[Any]], None]] = {
    **dict.fromkeys(ops.RESHAPES, reshape),
    **dict.fromkeys(ops.REDUCTIONS, reduce),
    **dict.fromkeys(ops.PARTS, parts),
    **dict.fromkeys(ops.SOFTMAX, softmax),
    **dict.fromkeys([torch.transpose, torch.swapaxes, "transpose", "swapaxes"], transpose),
    torch.permute: permute,
    "permute": permute,
    **dict.fromkeys([torch.movedim, "movedim", torch.moveaxis, "moveaxis"], movedim),
    torch.squeeze: squeeze,
    "squeeze": squeeze,
    torch.unsqueeze: unsqueeze,
    "unsqueeze": unsqueeze,
    operator.getitem: pick,
    "expand": expand,
    "expand_as": expand,
    F.pad: pad,
    F.normalize: normalize,
}
RESHAPED = {*ops.RESHAPES, "expand"}  # may be given a number of channels as such


def follow(notes: ChannelMap, node: fx.Node, result: Any) -> None:
    """Record the widths of the result of a module, function or method."""
    if not node.all_input_nodes:
        return

    # a number, or a shape: the code may depend on it
    if isinstance(result, torch.Size) or not any(
        isinstance(leaf, Tensor) for leaf in tree_leaves(result)
    ):
        number(notes, node)
        decided = (
            node.all_input_nodes if result is None else [node] if node.meta.get(DECIDES) else []
        )
        # the code depends on it
        fixes_counts(
            notes, node, numbers=[number for number in decided if not compares(notes, number)]
        )
        return

    source = node.all_input_nodes[0]
    if same_weight(notes, node, source):
        return
    if node.target not in RESHAPED or source.name not in notes.values:
        fixes_counts(notes, node)
    try:
        apply(notes, node, source, result)
    except NotApart as reason:
        notes.values.pop(node.name, None)
        notes.fixes(node, str(reason))
    # a weight of several dimensions that no layer takes stays as it is
    for weight in node.all_input_nodes:
        if (
            notes.attributes.get(weight.name) in notes.tensors
            and weight.name not in notes.values
            and not layer_takes(notes, node)
        ):
            path = notes.attributes[weight.name]
            for name in notes.dims.get(notes.path[path], ()):
                if name is not None:
                    notes.fix(name, f"{path} is used again by {notes.operation(node)}")
            notes.assign(path)


def same_weight(notes: ChannelMap, node: fx.Node, source: fx.Node) -> bool:
    """Return True if the result is a weight of the network, at most in another format."""
    if (
        source.name in notes.attributes
        and source.name not in notes.values
        and node.op == "call_method"
        and node.target in ops.SAME
    ):
        notes.attributes[node.name] = notes.attributes[source.name]
        return True
    return False


def layer_takes(notes: ChannelMap, node: fx.Node) -> bool:
    """Return True if a node is a layer that has recorded the channels of its weights."""
    return notes.function(node) in ops.LAYER_FUNCTIONS and node.name in notes.values


def fetch(notes: ChannelMap, node: fx.Node, tensor: Tensor) -> None:
    """Record a tensor of the network.

    One with a single long dimension may have the channels of whatever it meets.
    """
    path = notes.attributes[node.name] = notes.path.get(str(node.target), "")
    long = [dim for dim, size in enumerate(tensor.shape) if size > 1]
    if path and len(long) == 1 and not for_layer(notes, node):
        size = tensor.shape[long[0]]
        notes.set(
            node, Value(long[0], (Piece(notes.widths.add(size), size),)), MadeFrom([], "none")
        )
        notes.assign(path, *[node if dim == long[0] else None for dim in range(tensor.dim())])


def for_layer(notes: ChannelMap, node: fx.Node) -> bool:
    """Return True if a tensor is the weight of a layer or norm that is called as a function."""
    same = [user for user in node.users if user.op == "call_method" and user.target in ops.SAME]
    return any(notes.function(user) in ops.LAYER_FUNCTIONS for user in node.users) or any(
        for_layer(notes, user) for user in same
    )


def apply(notes: ChannelMap, node: fx.Node, source: fx.Node, result: Any) -> None:
    """Apply the rule for a node. Raises NotApart where there is none, or where it does not hold."""
    module = notes.layer(node)

    # layers
    if isinstance(module, layer_kinds.LAYERS) and known(module):
        (linear if isinstance(module, nn.Linear) else convolution)(
            notes, node, layer_of(module, str(node.target)), source
        )
    elif notes.function(node) in ops.LAYER_FUNCTIONS:
        layer_function(notes, node, notes.function(node), source)

    elif not notes.tracked(node):
        return
    elif module is None or isinstance(module, TrainingFlagCall):
        function(notes, node, notes.function(node), source, result)
    elif source.name not in notes.values or not isinstance(result, Tensor):
        raise notes.not_apart(node)

    # modules that keep channels apart
    elif isinstance(module, (*layer_kinds.NORMS, GatedBatchNorm2d)):
        norm(notes, node, module, source)
    elif isinstance(module, Gate):
        notes.keeps(node, source)
    elif isinstance(module, nn.Flatten):
        flat(notes, node, source)
    elif isinstance(module, layer_kinds.SOFTMAX_MODULES):
        softmax(notes, node, source, [module.dim])
    else:
        by_channel(notes, node, module, source)


def by_channel(notes: ChannelMap, node: fx.Node, module: nn.Module, source: fx.Node) -> None:
    """Apply the rule for a module that works channel by channel."""
    if not isinstance(module, (*layer_kinds.ZERO_MODULES, *layer_kinds.OTHER_MODULES)):
        raise notes.not_apart(node)
    if isinstance(module, nn.PReLU):
        return slopes(notes, node, source, f"{node.target}.weight")
    along_pixels(notes, node, source, isinstance(module, layer_kinds.SPATIAL_MODULES))
    zero_if = "all" if isinstance(module, layer_kinds.ZERO_MODULES) else "none"
    notes.keeps(node, source, zero_if)


def along_pixels(notes: ChannelMap, node: fx.Node, source: fx.Node, spatial: bool) -> None:
    """Raise NotApart for an operation along the pixels whose pixels are channels."""
    if spatial and notes.values[source.name].axis != 1:
        raise notes.not_apart(node, "works along the channels")


# --- functions and methods ------------------------------------------------------------------------


def function(notes: ChannelMap, node: fx.Node, what: Any, source: fx.Node, result: Any) -> None:
    """Apply the rule for a function or method."""
    if what in ops.NO_NUMBERS:
        return

    if what in SHAPES and source.name in notes.values:
        SHAPES[what](notes, node, source, list(node.args[1:]))
    elif source.name in notes.parts and (
        (what is operator.getitem and isinstance(node.args[1], int)) or what is getattr
    ):
        of, zero, axis = notes.parts[source.name]
        notes.keeps(node, of, zero, axis)

    elif not isinstance(result, Tensor):
        raise notes.not_apart(node)
    elif what in ops.ELEMENTWISE:
        elementwise(notes, node, what, result)
    elif what in ops.JOINS or what is torch.stack:
        join(notes, node)
    elif source.name in notes.values and (
        what in ops.ZERO_FUNCTIONS or what in ops.OTHER_FUNCTIONS
    ):
        along_pixels(notes, node, source, what in ops.SPATIAL_FUNCTIONS)
        notes.keeps(node, source, "all" if what in ops.ZERO_FUNCTIONS else "none")
    else:
        raise notes.not_apart(node)


def elementwise(notes: ChannelMap, node: fx.Node, what: Any, result: Tensor) -> None:
    """Tie the widths of operands that meet, channel by channel.

    An operand of a single channel is applied to all.
    """
    operands = [arg for arg in node.all_input_nodes if arg.name in notes.shapes]
    if len(operands) < len([arg for arg in node.all_input_nodes if arg.name not in notes.counts]):
        raise notes.not_apart(node)
    tracked, axis = meeting(notes, node, operands)
    # the first operand names the filters
    tracked.sort(key=lambda arg: arg.name in notes.of_weights)
    aligned = [arg for arg in tracked if notes.values[arg.name].channels == result.shape[-axis]]
    if not aligned:
        raise notes.not_apart(node, "applies them to what has other channels always")

    pieces = notes.values[aligned[0].name].pieces
    step = MadeFrom([Input(arg.name, whole=arg not in aligned) for arg in tracked], "none")
    notes.set(node, Value(result.dim() - axis, pieces), step)

    # operands without widths, with one channel, and with channels of their own
    for arg in operands:
        if arg not in tracked:
            if notes.meets(node, arg, axis):
                step.inputs.append(Input(arg.name))
        elif arg not in aligned:
            notes.widths.fix(
                notes.values[arg.name].pieces,
                f"{notes.operation(node)} applies them to all channels",
            )
        else:
            notes.tie(aligned[0].name, arg.name)

    both = [arg for arg in node.args[:2] if arg in aligned]
    if what in ops.PRODUCTS:
        step.zero_if = "any"
    elif (what in ops.SUMS and len(both) == 2) or (
        what in ops.QUOTIENTS and operands == aligned == [node.args[0]]
    ):
        step.zero_if = "all"


def meeting(notes: ChannelMap, node: fx.Node, operands: list[fx.Node]) -> tuple[list[fx.Node], int]:
    """Return the operands with widths, and how many dimensions from the end their channels are.

    A weight whose numbers lie along another dimension meets none of them, and stays as it is.
    """
    tracked = [arg for arg in operands if arg.name in notes.values]
    from_end = {arg: len(notes.shapes[arg.name]) - notes.values[arg.name].axis for arg in tracked}
    firm = {from_end[arg] for arg in tracked if not notes.loose(arg.name)}

    if len(firm) == 1 and len(set(from_end.values())) > 1:
        for arg in [arg for arg in tracked if from_end[arg] not in firm]:
            notes.fix(arg.name, f"{notes.operation(node)} has them along another dimension")
            tracked.remove(arg)

    if len({from_end[arg] for arg in tracked}) != 1:
        raise notes.not_apart(node, "combines channels with what is none")
    return tracked, from_end[tracked[0]]
