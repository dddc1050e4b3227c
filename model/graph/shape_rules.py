"""What follows from an operation that changes the shape of a result, for where its channels are: a rule for each."""
from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from model.graph import operations as ops
from model.graph.channel_map import ChannelMap
from model.graph.channels import Input, Literal, Piece, Step, Value


def dimensions(node: fx.Node, given: list[Any], name: str, rank: int) -> list[int] | None:
    """The dimensions that an argument names, given as numbers or in a list; None where it says nothing, or is computed."""
    listed = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
    said: Any = node.kwargs.get(name, node.kwargs.get("axis", listed))
    numbers = [dim for dim in (said if isinstance(said, (list, tuple)) else [said]) if isinstance(dim, int)]
    return [dim % rank for dim in numbers] if numbers and said in (numbers, tuple(numbers), numbers[0]) else None


def join(notes: ChannelMap, node: fx.Node) -> None:
    """Channels behind each other; or, along another dimension, results of equal widths."""
    parts: Any = node.args[0] if node.args else node.kwargs["tensors"]
    rank = len(notes.shapes[node.name])
    dims = dimensions(node, list(node.args[1:2]), "dim", rank) or [0]
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
        zero = "all" if len(tracked) == len(set(parts)) else "none"
        return notes.set(node, Value(axis, pieces), Step([Input(part.name) for part in tracked], zero))
    found, step, start = list[Piece](), Step([]), 0
    for part in parts:
        size = notes.shapes[part.name][axis]
        if part.name in notes.values:
            found += notes.values[part.name].pieces
            step.inputs.append(Input(part.name, start))
        else:
            found.append(Piece(notes.widths.add(size, fixed="what is joined to others has these channels always"), size))
            step.solid.append((start, start + size))
        start += size
    notes.set(node, Value(axis, tuple(found)), step)


def reshape(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Channels stay a dimension, or become one with the pixels behind them; whatever else is done, their widths are fixed."""
    value, before, after = notes.values[source.name], notes.shapes[source.name], notes.shapes[node.name]
    if node.kwargs.keys() & {"shape", "size"}:
        notes.fixes_counts(node)
        return notes.fixes(node, f"{notes.operation(node)} has its sizes by name")
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
    notes.fixes_counts(node)
    notes.fixes(node)


def literal(notes: ChannelMap, node: fx.Node, given: list[Any], axis: int) -> None:
    """ChannelMap a number of channels that stands in the arguments, or is computed for them from another result."""
    listed = len(given) == 1 and isinstance(given[0], (list, tuple))
    sizes = given[0] if listed else given
    if node.target in ("flatten", torch.flatten) or axis >= len(sizes):
        return notes.fixes_counts(node)
    notes.fixes_counts(node, allowed=sizes[axis] if sizes.count(sizes[axis]) == 1 else None)
    if sizes[axis] != -1:
        notes.literals.append(Literal(node.name, (1, axis) if listed else (1 + axis,), node.name))


def expand(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Along the pixels alone: the channels stay."""
    axis = len(notes.shapes[node.name]) - len(notes.shapes[source.name]) + notes.values[source.name].axis
    whole = [arg for arg in node.all_input_nodes if arg.name in notes.shapes]
    if notes.shapes[node.name][axis] != notes.values[source.name].channels or node.kwargs or len(notes.tracked(node)) < len(whole):
        notes.fixes_counts(node)
        return notes.fixes(node)
    notes.keeps(node, source, axis=axis)
    others = [other for other in notes.tracked(node) if other is not source]
    for other in others:  # expand_as
        notes.steps[node.name].inputs.append(Input(other.name))
        notes.steps[node.name].zero_if = "none"
        notes.widths.tie(notes.values[source.name].pieces, notes.values[other.name].pieces)
    if not others:
        literal(notes, node, given, axis)


def permute(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    dims = dimensions(node, given, "dims", len(notes.shapes[source.name]))
    if dims is None:
        raise notes.refusal(node)
    notes.keeps(node, source, axis=dims.index(notes.values[source.name].axis))


def transpose(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    one, other = (dim % rank for dim in (*given, *node.kwargs.values()))
    notes.keeps(node, source, axis={one: other, other: one}.get(axis, axis))


def reduce(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """A mean over pixels keeps channels apart; one over channels does not."""
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    dims = dimensions(node, given[:1], "dim", rank)
    if dims is None or axis in dims:
        raise notes.refusal(node)
    kept = len(notes.shapes[node.name]) == rank
    notes.keeps(node, source, axis=axis if kept else axis - sum(dim < axis for dim in dims))


def squeeze(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    before, axis = notes.shapes[source.name], notes.values[source.name].axis
    dims = dimensions(node, given, "dim", len(before))
    if dims is None and not given and not node.kwargs:  # said, that a width of one filter is none of them
        dims = [dim for dim, size in enumerate(before) if size == 1]
        node.args = (source, tuple(dims))
    if dims is None or axis in dims:
        return notes.fixes(node)
    notes.keeps(node, source, axis=axis - sum(dim < axis and before[dim] == 1 for dim in dims))


def unsqueeze(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    dims = dimensions(node, given, "dim", len(notes.shapes[node.name]))
    if dims is None:
        raise notes.refusal(node)
    axis = notes.values[source.name].axis
    notes.keeps(node, source, axis=axis + (dims[0] <= axis))


def pick(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
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


def pad(notes: ChannelMap, node: fx.Node, source: fx.Node, given: list[Any]) -> None:
    """Zeros, or what is at the border, around the pixels."""
    rank, axis = len(notes.shapes[source.name]), notes.values[source.name].axis
    around: Any = given[0] if given else node.kwargs["pad"]
    behind = 2 * (rank - 1 - axis)
    if not isinstance(around, (list, tuple)) or any(size != 0 for size in around[behind : behind + 2]):
        return notes.fixes(node)
    filled = [*given[2:], *([node.kwargs["value"]] if "value" in node.kwargs else [])]
    notes.keeps(node, source, "all" if not any(filled) else "none")


SHAPES: dict[Any, Callable[[ChannelMap, fx.Node, fx.Node, list[Any]], None]] = {
    **dict.fromkeys(ops.RESHAPES, reshape), **dict.fromkeys(ops.REDUCTIONS, reduce),
    torch.permute: permute, "permute": permute, torch.transpose: transpose, "transpose": transpose, torch.swapaxes: transpose,
    torch.squeeze: squeeze, "squeeze": squeeze, torch.unsqueeze: unsqueeze, "unsqueeze": unsqueeze, operator.getitem: pick,
    "expand": expand, "expand_as": expand, F.pad: pad}
RESHAPED = {*ops.RESHAPES, "expand"}  # they may be given a number of channels as such
