"""What follows from an operation of a network for the widths of its result: a rule for each kind in model/graph/operations.py."""
from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvTransposeNd

from model.gate import Gate, GatedBatchNorm2d
from model.graph import operations as ops
from model.graph.channel_map import ChannelMap
from model.graph.channels import Input, Literal, Piece, Step, Value
from model.graph.shape_rules import RESHAPED, SHAPES, join, reshape
from model.graph.trace import TrainingFlagCall


def follow(notes: ChannelMap, node: fx.Node, result: Any) -> None:
    """ChannelMap what the result of a module, function or method has of widths. Raises UnreadableNetwork."""
    module = notes.layer(node)
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    if source is None:
        return
    if not isinstance(result, (Tensor, tuple, list)) or isinstance(result, torch.Size):
        return number(notes, node, source)
    if node.target not in RESHAPED or source.name not in notes.values:
        notes.fixes_counts(node)
    if isinstance(module, nn.Linear) and ops.known(module):
        linear(notes, node, module, source)
    elif isinstance(module, ops.LAYERS) and ops.known(module):
        convolution(notes, node, module, source)
    elif not notes.tracked(node):
        return
    elif isinstance(module, (*ops.NORMS, GatedBatchNorm2d)):
        norm(notes, node, module, source)
    elif isinstance(module, Gate):
        notes.keeps(node, source)
    elif isinstance(module, nn.Flatten):
        reshape(notes, node, source, [])
    elif isinstance(module, nn.MultiheadAttention):
        notes.fixes(node)
    elif module is not None and not isinstance(module, TrainingFlagCall):
        by_channel(notes, node, module, source)
    else:
        function(notes, node, ops.key(module.function if isinstance(module, TrainingFlagCall) else node.target), source, result)


def number(notes: ChannelMap, node: fx.Node, source: fx.Node) -> None:
    """ChannelMap whether a number, or a shape, depends on the channels of a result."""
    if source.name in notes.values:
        rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
        whole = (node.target == "size" and len(node.args) == 1 and not node.kwargs) or node.args[1:] == ("shape",)
        said: Any = node.args[1] if node.target == "size" and len(node.args) > 1 else node.kwargs.get("dim", axis)
        along = node.target == "size" and (not isinstance(said, int) or said % rank == axis)
        if whole or along or node.target in ("numel", "nelement"):
            notes.counts[node.name] = source.name, whole
        return
    of, whole = next((notes.counts[arg.name] for arg in node.all_input_nodes if arg.name in notes.counts), ("", False))
    if of and whole and node.target is operator.getitem:
        rank, index = len(notes.shapes[of]), node.args[1]
        there = range(rank)[index] if isinstance(index, (int, slice)) else range(rank)
        if notes.values[of].axis not in (there if isinstance(there, range) else [there]):
            return
        notes.counts[node.name] = of, isinstance(index, slice) and index == slice(None)
    elif of:
        notes.counts[node.name] = of, False


# --- layers --------------------------------------------------------------------------------------------------------

def convolution(notes: ChannelMap, node: fx.Node, module: Any, source: fx.Node) -> None:
    """A dense one reads every channel and makes a width; a grouped one keeps its filters per group, and ties the two."""
    value, target = notes.values.get(source.name), str(node.target)
    if value and value.axis != 1:
        raise notes.refusal(node, "works along the channels")
    transposed = isinstance(module, _ConvTransposeNd)
    notes.calls.append((f"{target}.weight", source.name if transposed else node.name, 1))
    weight: tuple[fx.Node | None, ...] = (node,)
    if module.groups == 1:
        width = notes.widths.add(module.out_channels, target)
        step = Step([Input(source.name, whole=True)] if value else [], "none")
        notes.set(node, Value(1, (Piece(width, module.out_channels),)), step)
        weight = (source, node) if transposed else (node, source)
    elif value:
        taken, given = module.in_channels // module.groups, module.out_channels // module.groups
        if transposed or not in_groups(notes, value, taken):
            notes.fixes(node)
            weight = ()
        else:
            made = tuple(Piece(piece.width, piece.channels // taken * given) for piece in value.pieces)
            notes.set(node, Value(1, made), Step([Input(source.name, 0, taken, given)], "none"))
    notes.assign(f"{target}.weight", *weight)
    if module.bias is not None:
        notes.assign(f"{target}.bias", node)


def in_groups(notes: ChannelMap, value: Value, channels: int) -> bool:
    """Makes every width go by groups of so many channels; False where groups go across widths."""
    if any(piece.channels % channels for piece in value.pieces):
        return False
    for piece in value.pieces:
        notes.widths.coarsen(piece, piece.channels // channels)
    return True


def linear(notes: ChannelMap, node: fx.Node, module: nn.Linear, source: fx.Node) -> None:
    """Reads every channel, along the last dimension, and makes a width."""
    value, target = notes.values.get(source.name), str(node.target)
    if value and value.axis != len(notes.shapes[source.name]) - 1:
        raise notes.refusal(node, "works along another dimension than that of the channels")
    axis = len(notes.shapes[node.name]) - 1
    notes.calls.append((f"{target}.weight", node.name, axis))
    piece = Piece(notes.widths.add(module.out_features, target), module.out_features)
    notes.set(node, Value(axis, (piece,)), Step([Input(source.name, whole=True)] if value else [], "none"))
    notes.assign(f"{target}.weight", node, source)
    if module.bias is not None:
        notes.assign(f"{target}.bias", node)


def norm(notes: ChannelMap, node: fx.Node, module: Any, source: fx.Node) -> None:
    """Batch and instance norm work channel by channel, group norm by its groups; layer norm needs all, and keeps their places."""
    value, target = notes.values[source.name], str(node.target)
    tensors = {name: tensor for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
               if tensor is not None and tensor.dim()}
    if isinstance(module, nn.LayerNorm):
        layer_norm(notes, node, value, source, len(module.normalized_shape), [f"{target}.{name}" for name in tensors])
        return
    if value.axis != 1:
        raise notes.refusal(node, "works along another dimension than that of the channels")
    per_group = module.num_channels // module.num_groups if isinstance(module, nn.GroupNorm) else 1
    if isinstance(module, nn.GroupNorm) and module.num_groups == 1:
        notes.set(node, value, Step([Input(source.name, whole=True)], "none", [(0, value.channels)]))
    elif not in_groups(notes, value, per_group) or (isinstance(module, nn.GroupNorm) and not tensors):
        return notes.fixes(node)
    else:
        notes.set(node, value, Step([Input(source.name, 0, per_group, per_group)], "none"))
    notes.norms.add(node.name)
    for name in tensors:
        notes.assign(f"{target}.{name}", node)


def layer_norm(notes: ChannelMap, node: fx.Node, value: Value, source: fx.Node, dims: int, paths: list[str]) -> None:
    first = len(notes.shapes[source.name]) - dims  # the first dimension that is normalised
    if value.axis < first:
        return notes.keeps(node, source, "none")
    if not paths:
        return notes.fixes(node)
    notes.set(node, value, Step([Input(source.name, whole=True)], "none", [(0, value.channels)]))
    notes.norms.add(node.name)
    for path in paths:
        notes.assign(path, *[node if first + d == value.axis else None for d in range(dims)])


def layer_norm_function(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """F.layer_norm(x, normalized_shape, weight, bias), with weights of the network."""
    shape = node.kwargs.get("normalized_shape", given[0] if given else None)
    weights = [arg for arg in node.all_input_nodes if arg is not source]
    paths = [notes.attributes.get(arg.name, "") for arg in weights]
    if not isinstance(shape, (list, tuple)) or not all(path in notes.tensors for path in paths):
        raise notes.refusal(node)
    value = notes.values[source.name]
    layer_norm(notes, node, value, source, len(shape), paths)
    at = value.axis - len(notes.shapes[source.name]) + len(shape)
    if node.name in notes.norms:
        notes.literals.append(Literal(node.name, ("normalized_shape", at) if "normalized_shape" in node.kwargs else (1, at), node.name))
        for weight, path in zip(weights, paths):
            notes.set(weight, Value(at, value.pieces), Step([], "none"))
            notes.dims[notes.path[path]] = tuple(weight.name if d == at else None for d in range(len(shape)))
            notes.steps[node.name].inputs.append(Input(weight.name))


def by_channel(notes: ChannelMap, node: fx.Node, module: nn.Module, source: fx.Node) -> None:
    if not isinstance(module, (*ops.ZERO_MODULES, *ops.OTHER_MODULES)):
        raise notes.refusal(node)
    slopes = isinstance(module, nn.PReLU) and module.num_parameters > 1
    along_pixels(notes, node, source, isinstance(module, ops.SPATIAL_MODULES) or slopes)
    notes.keeps(node, source, "all" if isinstance(module, ops.ZERO_MODULES) else "none")
    if slopes:
        notes.assign(f"{node.target}.weight", node)


def along_pixels(notes: ChannelMap, node: fx.Node, source: fx.Node, spatial: bool) -> None:
    if spatial and notes.values[source.name].axis != 1:
        raise notes.refusal(node, "works along the channels")


# --- functions and methods -----------------------------------------------------------------------------------------

def function(notes: ChannelMap, node: fx.Node, what: Any, source: fx.Node, result: Any) -> None:
    if what in ops.FIXING:
        notes.fixes(node)
    elif not isinstance(result, Tensor):
        raise notes.refusal(node)
    elif what in ops.BINARY:
        binary(notes, node, what, result)
    elif what in ops.JOINS:
        join(notes, node)
    elif source.name not in notes.values:
        raise notes.refusal(node)
    elif what in ops.ZERO_FUNCTIONS or what in ops.OTHER_FUNCTIONS:
        along_pixels(notes, node, source, what in ops.SPATIAL_FUNCTIONS)
        notes.keeps(node, source, "all" if what in ops.ZERO_FUNCTIONS else "none")
    elif what is F.layer_norm:
        layer_norm_function(notes, node, source, list(node.args[1:]))
    elif what in SHAPES:
        SHAPES[what](notes, node, source, list(node.args[1:]))
    else:
        raise notes.refusal(node)


def binary(notes: ChannelMap, node: fx.Node, what: Any, result: Tensor) -> None:
    """Ties the widths of operands that meet, channel by channel; one of a single channel is applied to all."""
    operands = [arg for arg in node.args[:2] if isinstance(arg, fx.Node) and arg.name in notes.shapes]
    if set(operands) != {arg for arg in node.all_input_nodes if arg.name in notes.shapes}:
        raise notes.refusal(node, "has operands by name; give them by place")
    tracked = [arg for arg in operands if arg.name in notes.values]
    from_end = {len(notes.shapes[arg.name]) - notes.values[arg.name].axis for arg in tracked}
    if len(from_end) != 1:
        raise notes.refusal(node, "combines channels with what is none")
    [axis] = from_end
    aligned = [arg for arg in tracked if notes.values[arg.name].channels == result.shape[-axis]]
    if not aligned:
        return notes.fixes(node)
    pieces = notes.values[aligned[0].name].pieces
    step = Step([Input(arg.name, whole=arg not in aligned) for arg in tracked], "none")
    notes.set(node, Value(result.dim() - axis, pieces), step)
    for arg in operands:
        if arg not in tracked:
            if notes.meets(node, arg, axis):
                step.inputs.append(Input(arg.name))
        elif arg not in aligned:
            notes.widths.fix(notes.values[arg.name].pieces, f"{notes.operation(node)} applies them to all channels")
        else:
            notes.widths.tie(pieces, notes.values[arg.name].pieces)
    if what in ops.PRODUCTS:
        step.zero_if = "any"
    elif (what in ops.SUMS and aligned == list(node.args[:2])) or (what in ops.QUOTIENTS and operands == aligned == [node.args[0]]):
        step.zero_if = "all"
