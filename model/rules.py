"""What follows from an operation of a network for the widths of its result: a rule for each kind in model/operations.py."""
from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvTransposeNd

from model import operations as ops
from model.gate import Gate, GatedBatchNorm2d
from model.notes import BATCH, Notes
from model.tracing import ByMode
from model.widths import Input, Literal, Piece, Step, Value


def follow(notes: Notes, node: fx.Node, result: Any) -> None:
    """Notes what the result of a module, function or method has of widths. Raises UnreadableNetwork."""
    module = notes.layer(node)
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    if isinstance(module, ops.LAYERS) and ops.known(module) and source is not None:
        (linear if isinstance(module, nn.Linear) else convolution)(notes, node, module, source, result)
    elif not notes.tracked(node) or source is None:
        return
    elif isinstance(module, (*ops.NORMS, GatedBatchNorm2d)):
        norm(notes, node, module, source)
    elif isinstance(module, Gate):
        notes.keeps(node, source)
    elif isinstance(module, nn.Flatten):
        reshape(notes, node, source, [])
    elif isinstance(module, nn.MultiheadAttention):
        notes.fixes(node)
    elif module is not None and not isinstance(module, ByMode):
        by_channel(notes, node, module, source)
    else:
        function(notes, node, ops.key(module.function if isinstance(module, ByMode) else node.target), source, result)


# --- layers --------------------------------------------------------------------------------------------------------

def convolution(notes: Notes, node: fx.Node, module: Any, source: fx.Node, result: Tensor) -> None:
    """A dense one reads every channel and makes a width; a grouped one keeps its filters per group, and ties the two."""
    value, target = notes.values.get(source.name), str(node.target)
    if value and value.axis != 1:
        raise notes.refusal(node, "works along the channels")
    transposed = isinstance(module, _ConvTransposeNd)
    pixels = math.prod(notes.shapes[source.name][2:] if transposed else result.shape[2:])
    notes.calls.append((f"{target}.weight", pixels))
    weight: tuple[fx.Node | None, ...] = (node,)
    if module.groups == 1:
        width = notes.widths.new(module.out_channels, target)
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


def in_groups(notes: Notes, value: Value, channels: int) -> bool:
    """Makes every width go by groups of so many channels; False where groups go across widths."""
    if any(piece.channels % channels for piece in value.pieces):
        return False
    for piece in value.pieces:
        notes.widths.coarsen(piece, piece.channels // channels)
    return True


def linear(notes: Notes, node: fx.Node, module: nn.Linear, source: fx.Node, result: Tensor) -> None:
    """Reads every channel, along the last dimension, and makes a width."""
    value, target = notes.values.get(source.name), str(node.target)
    if value and value.axis != len(notes.shapes[source.name]) - 1:
        raise notes.refusal(node, "works along another dimension than that of the channels")
    notes.calls.append((f"{target}.weight", places(result, module.out_features)))
    piece = Piece(notes.widths.new(module.out_features, target), module.out_features)
    notes.set(node, Value(result.dim() - 1, (piece,)), Step([Input(source.name, whole=True)] if value else [], "none"))
    notes.assign(f"{target}.weight", node, source)
    if module.bias is not None:
        notes.assign(f"{target}.bias", node)


def places(result: Tensor, features: int) -> int:
    """At how many places of an image a linear layer works; some work on what is the same for all images."""
    return result.numel() // features // (BATCH if result.shape[0] % BATCH == 0 else 1)


def norm(notes: Notes, node: fx.Node, module: Any, source: fx.Node) -> None:
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
    elif not in_groups(notes, value, per_group) or (per_group > 1 and not tensors):
        return notes.fixes(node)
    else:
        notes.set(node, value, Step([Input(source.name, 0, per_group, per_group)], "none"))
    notes.norms.add(node.name)
    for name in tensors:
        notes.assign(f"{target}.{name}", node)


def layer_norm(notes: Notes, node: fx.Node, value: Value, source: fx.Node, dims: int, paths: list[str]) -> None:
    first = len(notes.shapes[source.name]) - dims  # the first dimension that is normalised
    if value.axis < first:
        return notes.keeps(node, source, "none")
    if not paths:
        return notes.fixes(node)
    notes.set(node, value, Step([Input(source.name, whole=True)], "none", [(0, value.channels)]))
    notes.norms.add(node.name)
    for path in paths:
        notes.assign(path, *[node if first + d == value.axis else None for d in range(dims)])


def layer_norm_function(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
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


def by_channel(notes: Notes, node: fx.Node, module: nn.Module, source: fx.Node) -> None:
    if not isinstance(module, (*ops.ZERO_MODULES, *ops.OTHER_MODULES)):
        raise notes.refusal(node)
    notes.keeps(node, source, "all" if isinstance(module, ops.ZERO_MODULES) else "none")
    if isinstance(module, nn.PReLU) and module.num_parameters > 1:
        notes.assign(f"{node.target}.weight", node)


# --- functions and methods -----------------------------------------------------------------------------------------

def function(notes: Notes, node: fx.Node, what: Any, source: fx.Node, result: Any) -> None:
    if what in ops.NUMBERS or not isinstance(result, (Tensor, tuple, list)):
        return
    if what in ops.FIXING:
        notes.fixes(node)
    elif not isinstance(result, Tensor):
        raise notes.refusal(node)
    elif what in ops.ZERO_FUNCTIONS or what in ops.OTHER_FUNCTIONS:
        notes.keeps(node, source, "all" if what in ops.ZERO_FUNCTIONS else "none")
    elif what in ops.BINARY:
        binary(notes, node, what, result)
    elif what in SHAPES:
        SHAPES[what](notes, node, source, list(node.args[1:]))
    else:
        raise notes.refusal(node)


def binary(notes: Notes, node: fx.Node, what: Any, result: Tensor) -> None:
    """Ties the widths of operands that meet, channel by channel; one of a single channel is applied to all."""
    operands = [arg for arg in node.args[:2] if isinstance(arg, fx.Node) and arg.name in notes.shapes]
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
        step.zero = "any"
    elif (what in ops.SUMS and aligned == list(node.args[:2])) or (what in ops.QUOTIENTS and operands == aligned == [node.args[0]]):
        step.zero = "all"


# --- shapes --------------------------------------------------------------------------------------------------------

def dimensions(node: fx.Node, given: list[Any], name: str, rank: int) -> list[int] | None:
    """The dimensions that an argument names, given as numbers or in a list; None where it says nothing, or is computed."""
    said = node.kwargs.get(name, given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given)
    said = list(said) if isinstance(said, (list, tuple)) else [said]
    return [dim % rank for dim in said] if said and all(isinstance(dim, int) for dim in said) else None


def join(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Channels behind each other; or, along another dimension, results of equal widths."""
    parts: Any = node.args[0] if node.args else node.kwargs["tensors"]
    rank = len(notes.shapes[node.name])
    dims = dimensions(node, given[:1], "dim", rank) or [0]
    tracked = notes.tracked(node)
    axes = {notes.values[part.name].axis for part in tracked}
    if len(axes) != 1:
        raise notes.refusal(node, "joins channels with what is none")
    [axis] = axes
    if dims != [axis]:
        pieces = notes.values[tracked[0].name].pieces
        if len(tracked) < len(set(parts)):
            notes.fixes(node, f"{notes.operation(node)} joins them with what has as many channels always")
        for part in tracked:
            notes.widths.tie(pieces, notes.values[part.name].pieces)
        return notes.set(node, Value(axis, pieces), Step([Input(part.name) for part in tracked], "all" if len(tracked) == len(set(parts)) else "none"))
    found, step, start = list[Piece](), Step([]), 0
    for part in parts:
        size = notes.shapes[part.name][axis]
        if part.name in notes.values:
            found += notes.values[part.name].pieces
            step.inputs.append(Input(part.name, start))
        else:
            found.append(Piece(notes.widths.new(size, fixed="what is joined to others has these channels always"), size))
            step.solid.append((start, start + size))
        start += size
    notes.set(node, Value(axis, tuple(found)), step)


def reshape(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Channels stay a dimension, or become one with the pixels behind them; whatever else is done, their widths are fixed."""
    value, before, after = notes.values[source.name], notes.shapes[source.name], notes.shapes[node.name]
    outer, channels = math.prod(before[: value.axis]), value.channels
    for axis in range(len(after)):
        size = after[axis]
        if math.prod(after[:axis]) != outer or size < channels or size % channels:
            continue
        behind = [math.prod(before[value.axis + 1 : end]) for end in range(value.axis + 1, len(before) + 1)]
        if size // channels in behind:
            times = size // channels
            pieces = tuple(Piece(piece.width, piece.channels * times) for piece in value.pieces)
            notes.set(node, Value(axis, pieces), Step([Input(source.name, 0, 1, times)]))
            return literal(notes, node, given, axis)
    notes.fixes(node)


def literal(notes: Notes, node: fx.Node, given: list[Any], axis: int) -> None:
    """Notes a number of channels that stands in the arguments, or is computed for them from another result."""
    listed = len(given) == 1 and isinstance(given[0], (list, tuple))
    sizes = given[0] if listed else given
    if node.target not in ("flatten", torch.flatten) and axis < len(sizes) and sizes[axis] != -1:
        notes.literals.append(Literal(node.name, (1, axis) if listed else (1 + axis,), node.name))


def expand(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Along the pixels alone: the channels stay."""
    axis = len(notes.shapes[node.name]) - len(notes.shapes[source.name]) + notes.values[source.name].axis
    if notes.shapes[node.name][axis] != notes.values[source.name].channels:
        return notes.fixes(node)
    notes.keeps(node, source, axis=axis)
    others = [other for other in notes.tracked(node) if other is not source]
    for other in others:  # expand_as
        notes.steps[node.name].inputs.append(Input(other.name))
        notes.steps[node.name].zero = "none"
        notes.widths.tie(notes.values[source.name].pieces, notes.values[other.name].pieces)
    if not others:
        literal(notes, node, given, axis)


def permute(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    dims = dimensions(node, given, "dims", len(notes.shapes[source.name]))
    if dims is None:
        raise notes.refusal(node)
    notes.keeps(node, source, axis=dims.index(notes.values[source.name].axis))


def transpose(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    one, other = (dim % rank for dim in (*given, *node.kwargs.values()))
    notes.keeps(node, source, axis={one: other, other: one}.get(axis, axis))


def reduce(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """A mean over pixels keeps channels apart; one over channels does not."""
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    dims = dimensions(node, given[:1], "dim", rank)
    if dims is None or axis in dims:
        raise notes.refusal(node)
    kept = len(notes.shapes[node.name]) == rank
    notes.keeps(node, source, axis=axis if kept else axis - sum(dim < axis for dim in dims))


def squeeze(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    before, axis = notes.shapes[source.name], notes.values[source.name].axis
    dims = dimensions(node, given, "dim", len(before)) or [dim for dim, size in enumerate(before) if size == 1]
    if before[axis] == 1:
        return notes.fixes(node)
    notes.keeps(node, source, axis=axis - sum(dim < axis and before[dim] == 1 for dim in dims))


def unsqueeze(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    dims = dimensions(node, given, "dim", len(notes.shapes[node.name]))
    if dims is None:
        raise notes.refusal(node)
    axis = notes.values[source.name].axis
    notes.keeps(node, source, axis=axis + (dims[0] <= axis))


def pick(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Part of a result, x[...]: of its pixels, with all channels; parts of the channels fix their widths."""
    index = list(given[0]) if isinstance(given[0], tuple) else [given[0]]
    if not all(part is None or part is Ellipsis or isinstance(part, (int, slice)) for part in index):
        raise notes.refusal(node)
    rank = len(notes.shapes[source.name])
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index[at : at + 1] = [slice(None)] * (rank - sum(part is not None for part in index) + 1)
    index += [slice(None)] * (rank - sum(part is not None for part in index))
    source_axis, axis = -1, 0
    for part in index:
        source_axis += part is not None
        if source_axis == notes.values[source.name].axis and part is not None:
            return notes.keeps(node, source, axis=axis) if part == slice(None) else notes.fixes(node)
        axis += not isinstance(part, int)


def pad(notes: Notes, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Zeros, or what is at the border, around the pixels."""
    shape, value = notes.shapes[node.name], notes.values[source.name]
    if shape[value.axis] != value.channels:
        return notes.fixes(node)
    notes.keeps(node, source, "all" if not [*given[2:], *node.kwargs.values()] else "none")


SHAPES: dict[Any, Callable[[Notes, fx.Node, fx.Node, list[Any]], None]] = {
    **dict.fromkeys(ops.JOINS, join), **dict.fromkeys(ops.RESHAPES, reshape), **dict.fromkeys(ops.REDUCTIONS, reduce),
    torch.permute: permute, "permute": permute, torch.transpose: transpose, "transpose": transpose, torch.swapaxes: transpose,
    torch.squeeze: squeeze, "squeeze": squeeze, torch.unsqueeze: unsqueeze, "unsqueeze": unsqueeze, operator.getitem: pick,
    "expand": expand, "expand_as": expand, F.pad: pad, F.layer_norm: layer_norm_function}
